//! Forms: the fields of a body that a browser or `curl -F` sends, and the file among them.

use actix_multipart::{Field, Multipart};
use actix_web::HttpRequest;
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::body::{File, MAX_PARTS, media_type, one_file, read, unreadable};
use super::pace::{Pace, paced};
use crate::domain::error::{Code, Error};
use crate::domain::pointer::Pointer;

/// Room beside a document for all other fields, bytes.
const BESIDE_DOCUMENT: usize = 2 << 20;
/// Characters of a stranger's field name that an error repeats.
const SHOWN: usize = 80;

/// What a form holds.
#[derive(Default)]
pub struct Form {
    /// The part `file`; one without a name and without a byte was left empty in its page.
    pub file: Option<File>,
    /// Every other field, by name: texts.
    pub fields: Map<String, Value>,
}

/// A form in either form, or no body at all; a document in it has at most `limit` bytes.
pub async fn form(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Form, Error> {
    match media_type(request).as_str() {
        "multipart/form-data" => of_parts(request, payload, limit).await,
        "application/x-www-form-urlencoded" => {
            let bytes = whole(payload, limit + BESIDE_DOCUMENT).await?;
            of_pairs(&bytes)
        }
        other => {
            let bytes = whole(payload, limit + BESIDE_DOCUMENT).await?;
            if bytes.is_empty() {
                return Ok(Form::default());
            }
            Err(Error::new(
                Code::UnsupportedMediaType,
                format!(
                    "The body is sent as `{other}`. Send a `multipart/form-data` body, as `curl -F file=@document.pdf` does."
                ),
            ))
        }
    }
}

async fn whole(payload: Payload, limit: usize) -> Result<Bytes, Error> {
    let payload = Box::pin(paced(payload, Pace::USUAL));
    read(payload, limit, "The body").await
}

fn of_pairs(bytes: &[u8]) -> Result<Form, Error> {
    let mut form = Form::default();
    for (name, value) in url::form_urlencoded::parse(bytes) {
        form.add(&name, value.into_owned())?;
    }
    Ok(form)
}

async fn of_parts(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Form, Error> {
    let payload = paced(payload, Pace::USUAL);
    let mut parts = Multipart::new(request.headers(), payload);
    let (mut form, mut room, mut count) = (Form::default(), limit + BESIDE_DOCUMENT, 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| unreadable(&error))?;
        count += 1;
        if count > MAX_PARTS {
            let message = format!("The form has more than {MAX_PARTS} fields, the limit.");
            return Err(Error::new(Code::InvalidForm, message));
        }
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            let file = one_file(part, limit).await?;
            if file.name.is_empty() && file.bytes.is_empty() {
                continue;
            }
            if form.file.replace(file).is_some() {
                return Err(twice("file"));
            }
            continue;
        }
        let text = text(part, &name, room).await?;
        room -= text.len();
        form.add(&name, text)?;
    }
    Ok(form)
}

async fn text(part: Field, name: &str, room: usize) -> Result<String, Error> {
    let bytes = read(part, room, "The form").await?;
    String::from_utf8(bytes.into()).map_err(|_| {
        let at = pointer(name);
        let message = "Expected text in UTF-8. Send a document that is not text as `file`.";
        Error::new(Code::InvalidForm, format!("At `{at}`: {message}")).at(at.as_str(), message)
    })
}

impl Form {
    fn add(&mut self, name: &str, value: String) -> Result<(), Error> {
        let before = self.fields.insert(name.to_owned(), Value::String(value));
        before.map_or(Ok(()), |_| Err(twice(name)))
    }
}

fn twice(name: &str) -> Error {
    let at = pointer(name);
    let message = "This field is there more than once. Send it once.";
    Error::new(Code::InvalidForm, format!("At `{at}`: {message}")).at(at.as_str(), message)
}

fn pointer(name: &str) -> Pointer {
    let shown: String = name.chars().take(SHOWN).collect();
    Pointer::root().join(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_none_may_be_there_twice() {
        let form = of_pairs(b"text=a%20b%3D1&mode=basic").unwrap();
        assert_eq!(form.fields["text"], "a b=1");
        assert_eq!(form.fields["mode"], "basic");
        let Err(error) = of_pairs(b"mode=basic&mode=deterministic") else {
            panic!("two fields of one name were taken");
        };
        assert_eq!(
            (error.code, &*error.errors[0].pointer),
            (Code::InvalidForm, "/mode")
        );
    }
}
