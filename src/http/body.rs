//! Bodies to bytes and values, with limits.

use actix_multipart::Multipart;
use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Payload;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::domain::error::{Code, Error};

/// Parts of a multipart body.
const MAX_PARTS: usize = 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An uploaded file.
pub struct File {
    pub name: String,
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
    let bytes = read(payload, limit, "The body").await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(
            Code::InvalidJson,
            format!("The body is not JSON: {error}. Check the place that is named."),
        )
    })
}

/// The part named `file` of a multipart body, at most `limit` bytes.
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
    let mut parts = Multipart::new(request.headers(), payload);
    for _ in 0..MAX_PARTS {
        let Some(part) = parts.next().await else {
            break;
        };
        let part = part.map_err(|error| unreadable(&error))?;
        if part.name() != Some("file") {
            drain(part, limit).await?;
            continue;
        }
        let name = part
            .content_disposition()
            .and_then(|header| header.get_filename());
        let name = name.unwrap_or("document").to_owned();
        let bytes = read(part, limit, "The file").await?;
        // What follows is read too: an answer sent before the body's end is lost on its way.
        while let Some(Ok(rest)) = parts.next().await {
            drain(rest, limit).await?;
        }
        return Ok(File { name, bytes });
    }
    Err(Error::new(
        Code::InvalidRequest,
        "The body has no part `file`. Send it as `curl -F file=@document.pdf` does.",
    )
    .at("/file", "This part is missing."))
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

/// The media type of the body, lower case and without parameters.
fn media_type(request: &HttpRequest) -> String {
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

async fn read<S, E>(mut chunks: S, limit: usize, what: &str) -> Result<Bytes, Error>
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

/// Reads a part that nobody wants, within the same limit.
async fn drain<S, E>(mut chunks: S, limit: usize) -> Result<(), Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut seen = 0;
    while let Some(chunk) = chunks.next().await {
        seen += chunk.map_err(|error| unreadable(&error))?.len();
        if seen > limit {
            return Err(Error::new(
                Code::TooLarge,
                format!("A part is larger than {limit} bytes, the limit."),
            ));
        }
    }
    Ok(())
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::InvalidRequest,
        format!("The body could not be read to its end: {error}."),
    )
}
