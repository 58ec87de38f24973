//! What is asked for: forms and members, and how they become jobs.

use actix_web::HttpRequest;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{NAME, preset};
use crate::domain::error::{Code, Detail, Error};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Operation, Parse};
use crate::domain::own_key::{HEADER, OwnKey};
use crate::domain::pointer::Pointer;
use crate::engine::{DocumentSource, Engine, Extras, JobRequest, SchemaSource};
use crate::http::body::File;
use crate::http::form::Form;
use crate::http::own_key::own_key;
use crate::http::repeat;

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By the server itself.
    Deterministic,
    /// By a model, under the caller's key.
    ByokAssisted,
    /// Into chunks and nothing else.
    Basic,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Deterministic, Self::ByokAssisted, Self::Basic];

    pub fn name(self) -> &'static str {
        match self {
            Self::Deterministic => "deterministic",
            Self::ByokAssisted => "byok_assisted",
            Self::Basic => "basic",
        }
    }
}

/// Providers as clients name them, as the server does, and a model of each where none is named.
const PROVIDERS: [(&str, &str, &str); 3] = [
    ("openai", "openai", "gpt-5-mini"),
    ("anthropic", "anthropic", "claude-haiku-4-5"),
    ("google", "gemini", "gemini-2.5-flash"),
];

/// The fields of a request: texts of a form, or members of a body.
pub struct Fields(Map<String, Value>);

/// Characters of a stranger's value that an error repeats.
const SHOWN: usize = 80;

impl Fields {
    /// Refuses a field that is not among `known`. One that was left empty was not sent.
    pub fn of(mut fields: Map<String, Value>, known: &[&str]) -> Result<Self, Error> {
        fields.retain(|_, value| !value.is_null() && value != "");
        let other = fields.keys().find(|name| !known.contains(&name.as_str()));
        if let Some(name) = other {
            let message = format!("There is no such field. Fields are: {}.", known.join(", "));
            return Err(wrong(name, &message));
        }
        Ok(Self(fields))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "Expected text.")),
        }
    }

    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        let Some(value) = self.0.get(name) else {
            return Ok(false);
        };
        let written = value.as_str().map(str::to_ascii_lowercase);
        match (value, written.as_deref()) {
            (Value::Bool(flag), _) => Ok(*flag),
            (_, Some("true" | "1" | "on" | "yes")) => Ok(true),
            (_, Some("false" | "0" | "off" | "no")) => Ok(false),
            _ => Err(not_allowed(name, value, "true or false")),
        }
    }

    pub fn count(&self, name: &str, default: u32, low: u32, high: u32) -> Result<u32, Error> {
        let Some(value) = self.0.get(name) else {
            return Ok(default);
        };
        let written = value.as_str().and_then(|text| text.trim().parse().ok());
        let number = value.as_u64().or(written);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (low..=high).contains(number));
        let expected = format!("an integer from {low} to {high}");
        number.ok_or_else(|| not_allowed(name, value, &expected))
    }

    /// The place of a word in `words`; `default` when it is not given.
    pub fn word(&self, name: &str, words: &[&str], default: usize) -> Result<usize, Error> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        let expected = || format!("one of {}", words.join(", "));
        let found = words.iter().position(|word| *word == text);
        found.ok_or_else(|| not_allowed(name, &json!(text), &expected()))
    }

    pub fn mode(&self, default: Mode) -> Result<Mode, Error> {
        let names = Mode::ALL.map(Mode::name);
        let default = Mode::ALL.iter().position(|mode| *mode == default);
        let at = self.word("mode", &names, default.unwrap_or_default())?;
        Ok(Mode::ALL.get(at).copied().unwrap_or(Mode::Basic))
    }

    /// `chunk_size` and `overlap`, which is never more than half of a chunk.
    pub fn chunks(&self) -> Result<Parse, Error> {
        let Parse {
            chunk_size,
            overlap,
        } = Parse::default();
        let chunk_size = self.count("chunk_size", chunk_size, 200, 10_000)?;
        let overlap = self.count("overlap", overlap, 0, 2_000)?;
        Ok(Parse {
            chunk_size,
            overlap: overlap.min(chunk_size / 2),
        })
    }

    /// `schema_json` or the schema of `preset`, where there is either.
    pub fn schema(&self) -> Result<Option<Value>, Error> {
        match (self.text("preset")?, self.0.get("schema_json")) {
            (Some(_), Some(_)) => Err(wrong(
                "schema_json",
                "Send one of `preset` and `schema_json`.",
            )),
            (Some(name), None) => preset::schema(name).map(Some).ok_or_else(|| {
                let expected = format!("one of {}", preset::NAMES.join(", "));
                not_allowed("preset", &json!(name), &expected)
            }),
            (None, Some(Value::String(text))) => {
                let schema = serde_json::from_str(text);
                let told = |cause| wrong("schema_json", &format!("This is not JSON: {cause}."));
                schema.map(Some).map_err(told)
            }
            (None, Some(schema @ (Value::Object(_) | Value::Bool(_)))) => Ok(Some(schema.clone())),
            (None, Some(_)) => Err(wrong("schema_json", "Expected a JSON Schema, as text.")),
            (None, None) => Ok(None),
        }
    }

    /// The model that is asked under the caller's key.
    fn byok_model(&self) -> Result<String, Error> {
        let names = PROVIDERS.map(|(name, ..)| name);
        if self.text("byok_provider")?.is_none() {
            let message = format!("`byok_assisted` needs one of {}.", names.join(", "));
            return Err(wrong("byok_provider", &message));
        }
        let at = self.word("byok_provider", &names, 0)?;
        let (_, server, usual) = PROVIDERS.get(at).copied().unwrap_or(PROVIDERS[0]);
        let model = self.text("byok_model")?.unwrap_or(usual);
        Ok(format!("{server}/{model}"))
    }

    /// The document that came as the field `text`.
    pub fn take_text(&mut self) -> Result<Option<String>, Error> {
        match self.0.shift_remove("text") {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong("text", "Expected text.")),
        }
    }

    /// The fields that `self` has not, from `other`.
    pub fn or(mut self, other: &Self, names: &[&str]) -> Self {
        for name in names {
            if let (None, Some(value)) = (self.0.get(*name), other.0.get(*name)) {
                self.0.insert((*name).to_owned(), value.clone());
            }
        }
        self
    }
}

/// A request for one document.
pub struct Asked {
    pub job: JobRequest,
    pub extras: Extras,
    pub body_sha256: [u8; 32],
    /// Whether a result that breaks its schema, or lacks a part of it, is refused.
    pub enforce_schema: bool,
}

/// The pair of a job's metadata that names its batch.
pub const BATCH: &str = "batch_id";

/// What a dialect's request has beside its fields.
pub struct Beside {
    /// What the client says of itself: `X-Client-Id`.
    pub client: Option<String>,
    pub callback_url: Option<String>,
    /// The batch that the document is of.
    pub batch: Option<Uuid>,
    /// The caller's key to a provider.
    pub own_key: Option<OwnKey>,
}

impl Beside {
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        let client = request.headers().get("X-Client-Id");
        let client = client.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self {
            client: client.filter(|client| !client.trim().is_empty()),
            callback_url: None,
            batch: None,
            own_key: own_key(request).map_err(in_form)?,
        })
    }
}

impl Asked {
    /// Reads a form whose fields are `known`.
    pub fn of_form(
        engine: &Engine,
        form: Form,
        known: &[&str],
        beside: Beside,
    ) -> Result<(Self, Fields), Error> {
        let mut fields = Fields::of(form.fields, known)?;
        let text = fields.take_text()?;
        let document = match (form.file, text) {
            (Some(file), None) => file,
            (None, Some(text)) => File {
                name: "text".into(),
                media_type: "text/plain".into(),
                bytes: Bytes::from(text),
            },
            _ => return Err(wrong("file", "Send exactly one of `file` and `text`.")),
        };
        let callback_url = fields.text("callback_url")?.map(str::to_owned);
        let beside = Beside {
            callback_url,
            ..beside
        };
        let asked = Self::new(engine, &fields, document, Mode::Deterministic, beside)?;
        Ok((asked, fields))
    }

    /// The job that these fields ask for of a document.
    pub fn new(
        engine: &Engine,
        fields: &Fields,
        document: File,
        default: Mode,
        beside: Beside,
    ) -> Result<Self, Error> {
        let mode = fields.mode(default)?;
        let chunks = fields.chunks()?;
        let schema = fields.schema()?;
        let enforce_schema = fields.flag("enforce_schema")?;
        if enforce_schema && schema.is_none() {
            let message = "There is nothing to enforce. Send `preset` or `schema_json`.";
            return Err(wrong("enforce_schema", message));
        }
        let (schema, model) = match (mode, schema) {
            (Mode::Basic, Some(_)) => {
                let message = "`basic` gives chunks and extracts nothing. Send `mode` as `deterministic`, or no `preset` and no `schema_json`.";
                return Err(wrong("mode", message));
            }
            (Mode::ByokAssisted, None) => {
                let message = "`byok_assisted` has nothing to ask a model for. Send `preset` or `schema_json`.";
                return Err(wrong("schema_json", message));
            }
            (Mode::ByokAssisted, Some(_)) if beside.own_key.is_none() => {
                let message = "`byok_assisted` asks a model under a key of yours. Send it in this header, with the request only: it is not kept.";
                return Err(wrong(HEADER, message));
            }
            (Mode::ByokAssisted, Some(schema)) => {
                (SchemaSource::Inline(schema), Some(fields.byok_model()?))
            }
            (Mode::Basic | Mode::Deterministic, None) => {
                (SchemaSource::Operation(Operation::Parse(chunks)), None)
            }
            (Mode::Deterministic, Some(schema)) => {
                (SchemaSource::Inline(schema), engine.embedded_model())
            }
        };
        let body_sha256 = hash(fields, mode, &document, &beside);
        let mut pairs = Map::new();
        pairs.extend(
            beside
                .client
                .map(|client| ("client_id".into(), json!(client))),
        );
        pairs.extend(beside.batch.map(|batch| (BATCH.into(), json!(batch))));
        let metadata = Metadata::parse("/X-Client-Id", &Value::Object(pairs));
        Ok(Self {
            job: JobRequest {
                document: DocumentSource::Inline {
                    name: document.name,
                    bytes: document.bytes,
                },
                schema,
                config: model.map(|model| json!({ "model": model })),
                callback_url: beside.callback_url,
                callback_secret: None,
                metadata: metadata.map_err(in_form)?,
                dialect: Some(NAME.into()),
                endpoint: Some(mode.name().into()),
                asked: None,
            },
            extras: Extras {
                own_key: beside.own_key.filter(|_| mode == Mode::ByokAssisted),
                chunks: Some(chunks),
                has_own_callback: true,
            },
            body_sha256,
            enforce_schema,
        })
    }
}

/// What tells the request from others: all of it but the caller's key to a provider.
fn hash(fields: &Fields, mode: Mode, document: &File, beside: &Beside) -> [u8; 32] {
    let mut members = fields.0.clone();
    members.insert("mode".into(), json!(mode.name()));
    members.insert("filename".into(), json!(document.name));
    members.insert("client".into(), json!(beside.client));
    members.insert("callback_url".into(), json!(beside.callback_url));
    let document = Sha256::digest(&document.bytes);
    members.insert("document".into(), json!(document.to_vec()));
    repeat::body_sha256(&members)
}

/// A field that is at fault.
pub fn wrong(name: &str, message: &str) -> Error {
    let shown: String = name.chars().take(SHOWN).collect();
    let at = Pointer::root().join(&shown);
    Error::new(Code::InvalidForm, format!("At `{at}`: {message}")).at(at.as_str(), message)
}

fn not_allowed(name: &str, value: &Value, expected: &str) -> Error {
    let shown = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown: String = shown.chars().take(SHOWN).collect();
    let message = format!("`{shown}` is not allowed; expected {expected}.");
    wrong(name, &message)
}

/// What is wrong with a request, as this dialect has it: with the status of a form.
pub fn in_form(mut error: Error) -> Error {
    if matches!(error.code, Code::InvalidRequest | Code::InvalidJson) {
        error.code = Code::InvalidForm;
    }
    error
}

/// An error of the engine, by the names that fields have here.
pub fn renamed(mut error: Error) -> Error {
    if matches!(error.code, Code::InvalidSchema | Code::SchemaTooComplex) {
        let own = |detail: &Detail| Detail {
            pointer: format!("/schema_json{}", detail.pointer),
            message: detail.message.clone(),
        };
        error.errors = error.errors.iter().map(own).collect();
    }
    for detail in &mut error.errors {
        if detail.pointer == "/config/model" {
            "/byok_model".clone_into(&mut detail.pointer);
        }
    }
    in_form(error)
}
