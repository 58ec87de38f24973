//! Bodies to bytes and values, with limits.

use actix_multipart::{Field, Multipart};
use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_TYPE, ContentDisposition};
use actix_web::web::Payload;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};

use super::pace::{Pace, paced};
use crate::domain::error::{Code, Error};

/// Parts of a multipart body.
pub(super) const MAX_PARTS: usize = 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An uploaded file.
pub struct File {
    pub name: String,
    /// As its sender said; empty when nothing was said.
    pub media_type: String,
    pub bytes: Bytes,
}

/// The body as JSON, at most `limit` bytes. Its media type must say that it is JSON: a form that
/// any web page can post does not.
pub async fn json(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Value, Error> {
    let media_type = media_type(request);
    if !(media_type == "application/json" || media_type.ends_with("+json")) {
        return Err(Error::new(
            Code::UnsupportedMediaType,
            format!(
                "The body is sent as `{media_type}`. Send JSON with `Content-Type: application/json`."
            ),
        ));
    }
    let payload = Box::pin(paced(payload, Pace::USUAL));
    let bytes = read(payload, limit, "The body").await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(
            Code::InvalidJson,
            format!("The body is not JSON: {error}. Check the place that is named."),
        )
    })
}

/// A file and the texts beside it.
pub struct Form {
    pub fields: Map<String, Value>,
    pub file: Option<File>,
}

/// Whether the body says that it is a multipart one.
pub fn is_form(request: &HttpRequest) -> bool {
    media_type(request) == "multipart/form-data"
}

/// All parts of a multipart body: the one named `file`, at most `limit` bytes, and the others as
/// texts, at most `beside` bytes together. None may be there twice.
pub async fn form(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    beside: usize,
) -> Result<Form, Error> {
    let payload = paced(payload, Pace::USUAL);
    let mut parts = Multipart::new(request.headers(), payload);
    let (mut fields, mut file, mut room) = (Map::new(), None, beside);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| unreadable(&error))?;
        let name = part.name().unwrap_or_default().to_owned();
        let is_there = fields.contains_key(&name) || (name == "file" && file.is_some());
        if is_there || fields.len() >= MAX_PARTS {
            let shown: String = name.chars().take(80).collect();
            let message = format!(
                "The part `{shown}` is there more than once, or there are more than {MAX_PARTS} parts."
            );
            return Err(
                Error::new(Code::InvalidRequest, message.clone()).at(format!("/{shown}"), message)
            );
        }
        if name == "file" {
            file = Some(one_file(part, limit).await?);
            continue;
        }
        let bytes = read(part, room, "What is beside the file").await?;
        room -= bytes.len();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        fields.insert(name, Value::String(text));
    }
    Ok(Form { fields, file })
}

/// The part named `file` of a multipart body, at most `limit` bytes; so many again may be in
/// other parts, which nobody wants.
///
/// What follows the file is read too: a body that was cut off there is refused, and an answer
/// that is sent before the body's end is lost on its way to many clients.
pub async fn file(request: &HttpRequest, payload: Payload, limit: usize) -> Result<File, Error> {
    if media_type(request) != "multipart/form-data" {
        return Err(Error::new(
            Code::UnsupportedMediaType,
            format!(
                "The body is sent as `{}`. Send the file as part `file` of a `multipart/form-data` body, as `curl -F file=@document.pdf` does.",
                media_type(request)
            ),
        ));
    }
    let payload = paced(payload, Pace::USUAL);
    let mut parts = Multipart::new(request.headers(), payload);
    let (mut found, mut count, mut beside) = (None, 0, 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| unreadable(&error))?;
        count += 1;
        if count > MAX_PARTS {
            return Err(Error::new(
                Code::InvalidRequest,
                format!("The body has more than {MAX_PARTS} parts, the limit. Send only `file`."),
            ));
        }
        if part.name() != Some("file") {
            beside += drain(part, limit - beside).await?;
        } else if found.is_none() {
            found = Some(one_file(part, limit).await?);
        } else {
            return Err(Error::new(
                Code::InvalidRequest,
                "The body has several parts `file`. Send each file in a request of its own.",
            )
            .at("/file", "This part is there more than once."));
        }
    }
    found.ok_or_else(|| {
        Error::new(
            Code::InvalidRequest,
            "The body has no part `file`. Send it as `curl -F file=@document.pdf` does.",
        )
        .at("/file", "This part is missing.")
    })
}

pub(super) async fn one_file(part: Field, limit: usize) -> Result<File, Error> {
    let name = part.content_disposition().map_or_else(String::new, name_of);
    let media_type = part
        .content_type()
        .map_or_else(String::new, ToString::to_string);
    let bytes = read(part, limit, "The file").await?;
    Ok(File {
        name,
        media_type,
        bytes,
    })
}

/// The file's name. Older clients send one that is not in ASCII in the extended form only.
fn name_of(disposition: &ContentDisposition) -> String {
    let extended = || {
        let name = disposition.get_filename_ext()?;
        Some(String::from_utf8_lossy(&name.value).into_owned())
    };
    let plain = disposition.get_filename().map(str::to_owned);
    plain.or_else(extended).unwrap_or_default()
}

/// The bytes of a `data:` URL in base64; `None` for any other text.
pub fn data_url(text: &str) -> Option<Result<Bytes, Error>> {
    let rest = text.strip_prefix("data:")?;
    let invalid = |why: &str| {
        Error::new(Code::InvalidRequest, format!("`document` looks like a data URL, but {why}. Its form is `data:application/pdf;base64,...`."))
            .at("/document", why.to_owned())
    };
    let Some((head, body)) = rest.split_once(',') else {
        return Some(Err(invalid("it has no comma")));
    };
    if !head.ends_with(";base64") {
        return Some(Err(invalid("it is not in base64")));
    }
    let compact: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(
        BASE64
            .decode(compact)
            .map(Bytes::from)
            .map_err(|error| invalid(&format!("its base64 cannot be read: {error}"))),
    )
}

/// Bytes in base64, which may be broken into lines.
pub fn base64(pointer: &str, text: &str) -> Result<Bytes, Error> {
    let is_broken = text.bytes().any(|byte| byte.is_ascii_whitespace());
    let decoded = if is_broken {
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        BASE64.decode(compact)
    } else {
        BASE64.decode(text)
    };
    decoded.map(Bytes::from).map_err(|error| {
        let message = format!("This is not Base64: {error}.");
        Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}")).at(pointer, message)
    })
}

/// The media type of the body, lower case and without parameters.
pub(super) fn media_type(request: &HttpRequest) -> String {
    let value = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let value = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    value.trim().to_ascii_lowercase()
}

pub(super) async fn read<S, E>(mut chunks: S, limit: usize, what: &str) -> Result<Bytes, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| unreadable(&error))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Error::new(
                Code::TooLarge,
                format!("{what} is larger than {limit} bytes, the limit."),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Reads a part that nobody wants, and gives its bytes' number.
async fn drain(mut part: Field, limit: usize) -> Result<usize, Error> {
    let mut seen = 0;
    while let Some(chunk) = part.next().await {
        seen += chunk.map_err(|error| unreadable(&error))?.len();
        if seen > limit {
            return Err(Error::new(
                Code::TooLarge,
                format!("What is beside the file is larger than {limit} bytes, the limit."),
            ));
        }
    }
    Ok(seen)
}

pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::InvalidRequest,
        format!(
            "The body could not be read to its end: {error}. Send it whole, in its right form and without long pauses."
        ),
    )
}
