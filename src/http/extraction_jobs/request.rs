//! Requests: one file and the fields beside it, as a form or as JSON.

use actix_web::web::Payload;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::NAME;
use crate::domain::error::Error;
use crate::domain::job;
use crate::domain::metadata::Metadata;
use crate::engine::{DocumentSource, Engine, JobRequest, SchemaSource, sha256_hex};
use crate::http::body::{self, Form};
use crate::http::members::{refuse_others, wrong};
use crate::http::repeat;

/// Room beside the file, bytes.
const BESIDE_FILE: usize = 256 << 10;

/// Fields of every request, and then those of jobs.
const FIELDS: [&str; 12] = [
    "file",
    "filename",
    "templateName",
    "filterName",
    "documentSplitting",
    "returnDocuments",
    "returnText",
    "schemaChunking",
    "password",
    "documentReview",
    "deliveryMode",
    "delivery.mode",
];
/// How many of them there are in a request that waits for its end.
const DIRECT: usize = 9;

/// What is asked for, read.
pub struct Asked {
    pub job: JobRequest,
    pub body_sha256: [u8; 32],
    pub is_told: bool,
    pub has_password: bool,
}

/// Reads a request; `direct`: one that waits for its end, and is neither reviewed nor told of.
pub async fn read(
    engine: &Engine,
    request: &HttpRequest,
    payload: Payload,
    direct: bool,
) -> Result<Asked, Error> {
    let limit = engine.max_document_bytes() as usize;
    if body::is_form(request) {
        let form = body::form(request, payload, limit, BESIDE_FILE).await?;
        return asked(form, direct);
    }
    // Base64 takes four bytes for three.
    let body = body::json(request, payload, limit / 3 * 4 + BESIDE_FILE).await?;
    let read = web::block(move || asked(of_json(body)?, direct)).await;
    read.unwrap_or_else(|_| Err(Error::internal()))
}

fn of_json(body: Value) -> Result<Form, Error> {
    let Value::Object(mut fields) = body else {
        return Err(wrong("", "The body must be an object."));
    };
    let file = match fields.shift_remove("file") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(body::File {
            name: String::new(),
            media_type: String::new(),
            bytes: file_bytes(&text)?,
        }),
        Some(_) => return Err(wrong("/file", "Expected Base64 or a data URL, as text.")),
    };
    Ok(Form { fields, file })
}

/// Base64, bare or in a data URL.
fn file_bytes(text: &str) -> Result<Bytes, Error> {
    let Some(url) = text.strip_prefix("data:") else {
        return body::base64("/file", text);
    };
    let encoded = url.split_once(";base64,").map(|(_, encoded)| encoded);
    let encoded = encoded.ok_or_else(|| {
        let message =
            "This looks like a data URL, whose form is `data:application/pdf;base64,...`.";
        wrong("/file", message)
    })?;
    body::base64("/file", encoded)
}

fn asked(form: Form, direct: bool) -> Result<Asked, Error> {
    let fields = Fields::of(form.fields, direct)?;
    let file = form.file.filter(|file| !file.bytes.is_empty());
    let file = file.ok_or_else(|| wrong("/file", "The file is missing or empty."))?;
    if fields.flag("documentSplitting")? {
        let message = "Files are not split within a job yet. Leave it out, or split the file first with POST /v1/extract/split and send each part by itself.";
        return Err(wrong("/documentSplitting", message));
    }
    let (template, filter) = (fields.text("templateName")?, fields.text("filterName")?);
    let schema = match (template.clone(), filter.clone()) {
        (template, Some(filter)) => SchemaSource::Filter { filter, template },
        (Some(template), None) => SchemaSource::Template(template),
        (None, None) => {
            let message = "A template is needed, unless there is a `filterName`.";
            return Err(wrong("/templateName", message));
        }
    };
    let name = fields.text("filename")?.unwrap_or(file.name);
    let is_told = fields.delivery()? == "webhook";
    let options = json!({
        "returnDocuments": fields.flag("returnDocuments")?,
        "returnText": fields.flag("returnText")?,
    });
    let config = fields.config()?;
    let same = json!({
        "file": sha256_hex(&file.bytes), "filename": name, "template": template, "filter": filter,
        "options": options, "config": config, "is_told": is_told, "is_direct": direct,
    });
    let Value::Object(same) = same else {
        return Err(Error::internal());
    };
    Ok(Asked {
        job: JobRequest {
            document: DocumentSource::Inline {
                name,
                bytes: file.bytes,
            },
            schema,
            config: Some(config),
            callback_url: None,
            callback_secret: None,
            metadata: Metadata::default(),
            dialect: Some(NAME.into()),
            endpoint: None,
            asked: Some(job::Asked {
                request: options,
                lifetime_ms: None,
            }),
        },
        body_sha256: repeat::body_sha256(&same),
        is_told,
        has_password: fields.text("password")?.is_some(),
    })
}

/// The fields beside the file. A form has only texts, so numbers and flags are taken as such too.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(mut fields: Map<String, Value>, direct: bool) -> Result<Self, Error> {
        fields.retain(|_, value| !value.is_null());
        // Of the days when there were boxes; nothing is said of it.
        fields.shift_remove("returnBoundingBoxes");
        let nested = |name: &&String| {
            let rest = name.strip_prefix("options");
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if let Some(name) = fields.keys().find(nested) {
            let shown: String = name.chars().take(80).collect();
            let message = "Fields are not nested in `options` here. Send them beside the file.";
            return Err(wrong(&format!("/{shown}"), message));
        }
        if let Some(Value::Object(mut delivery)) = fields.shift_remove("delivery") {
            let mode = delivery.shift_remove("mode");
            refuse_others(&delivery, &["mode"])?;
            fields.extend(mode.map(|mode| ("delivery.mode".to_owned(), mode)));
        }
        let known = if direct { DIRECT } else { FIELDS.len() };
        refuse_others(&fields, &FIELDS[..known])?;
        Ok(Self(fields))
    }

    /// A text; empty counts as not given.
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
            }
            Some(_) => Err(wrong(&format!("/{name}"), "Expected text.")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Ok(false),
            Some(_) => Err(wrong(&format!("/{name}"), "Expected true or false.")),
        }
    }

    /// `poll` or `webhook`, under either of its names.
    fn delivery(&self) -> Result<String, Error> {
        let (mode, alias) = (self.text("deliveryMode")?, self.text("delivery.mode")?);
        if let (Some(mode), Some(alias)) = (&mode, &alias)
            && mode != alias
        {
            let message = "`delivery.mode` is another name of it and says something else.";
            return Err(wrong("/deliveryMode", message));
        }
        let mode = mode.or(alias).unwrap_or_else(|| "poll".to_owned());
        if ["poll", "webhook"].contains(&mode.as_str()) {
            return Ok(mode);
        }
        let shown: String = mode.chars().take(80).collect();
        let message = format!("`{shown}` is not allowed; expected `poll` or `webhook`.");
        Err(wrong("/deliveryMode", &message))
    }

    /// The confidence in percent below which a field is to be looked at.
    fn review(&self) -> Result<Option<u64>, Error> {
        let percent = match self.0.get("documentReview") {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(other) => other.as_u64(),
        };
        let percent = percent.filter(|percent| (1..=99).contains(percent));
        let wrong = || wrong("/documentReview", "Expected a whole number from 1 to 99.");
        percent.ok_or_else(wrong).map(Some)
    }

    /// What goes before the settings of the template.
    fn config(&self) -> Result<Value, Error> {
        // The confidence of the document is that of its values.
        let mut config = json!({ "per_key_attribution": true });
        if let Some(percent) = self.review()? {
            config["review"] = json!({ "confidence_below": percent as f64 / 100.0 });
        }
        match self.text("schemaChunking")?.as_deref() {
            None | Some("auto") => {}
            Some("combined") => config["splitter_configs"] = json!({ "max_subtrees": 1 }),
            Some(other) => {
                let shown: String = other.chars().take(80).collect();
                let message = format!("`{shown}` is not allowed; expected `auto` or `combined`.");
                return Err(wrong("/schemaChunking", &message));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(fields) = value else {
            panic!("no object")
        };
        Fields::of(fields, false).unwrap()
    }

    #[test]
    fn a_form_and_a_body_say_the_same_with_other_types() {
        let typed = fields(json!({"documentReview": 92, "returnText": true}));
        let texts = fields(json!({"documentReview": "92", "returnText": "true"}));
        for fields in [typed, texts] {
            assert!(fields.flag("returnText").unwrap());
            assert_eq!(fields.config().unwrap()["review"]["confidence_below"], 0.92);
        }
    }

    #[test]
    fn a_file_comes_as_base64_with_and_without_its_head() {
        for text in ["aGVsbG8=", "data:text/plain;base64,aGVsbG8="] {
            assert_eq!(file_bytes(text).unwrap(), "hello");
        }
        for text in ["data:text/plain,hello", "?"] {
            assert_eq!(file_bytes(text).unwrap_err().errors[0].pointer, "/file");
        }
    }
}
