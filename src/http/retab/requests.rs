//! What an endpoint is sent, and how it becomes a job.

use serde_json::{Map, Value, json};

use super::documents::{self, Given};
use super::endpoints::Endpoint;
use super::{LIFETIME_MS, NAME};
use crate::domain::error::Error;
use crate::domain::id::{DocumentId, SchemaId};
use crate::domain::job::Asked;
use crate::domain::metadata::Metadata;
use crate::domain::operation::{GenerateSchema, MAX_FURTHER, Operation};
use crate::engine::{DocumentSource, JobRequest, SchemaSource};
use crate::http::members::wrong;

/// Bytes of a request beside what its documents hold: it is kept with the job.
const MAX_KEPT: usize = 256 << 10;

/// A request, read.
pub struct Target {
    pub job: JobRequest,
    /// More documents that the job is about, which are to be stored before it.
    pub further: Vec<Given>,
    pub stream: bool,
    /// As its client named it; none: whatever the server takes.
    pub model: Option<String>,
}

impl Target {
    /// Reads the body of an endpoint, which stands at `pointer`. Members that the endpoint does
    /// not have are left alone: the vendor's models ignore them.
    pub fn read(endpoint: Endpoint, pointer: &str, body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong(pointer, "Expected an object."));
        };
        members.retain(|_, value| !value.is_null());
        let mut given = taken(endpoint, pointer, &mut members)?;
        let kept = Value::Object(members.clone());
        let size = kept.to_string().len();
        if size > MAX_KEPT {
            let message = format!(
                "Beside its documents the request has {size} bytes; the limit is {MAX_KEPT}."
            );
            return Err(wrong(pointer, &message));
        }
        let fields = Fields {
            pointer,
            members: &members,
        };
        fields.refuse_unserved()?;
        let model = fields.text("model")?.map(str::to_owned);
        let stream = fields.flag("stream")? && endpoint.extracts();
        let config = fields.config(endpoint)?;
        let schema = fields.schema(endpoint)?;
        let first = given.remove(0);
        let metadata = members.get("metadata");
        let metadata = metadata.map(|pairs| Metadata::parse(&format!("{pointer}/metadata"), pairs));
        Ok(Self {
            job: JobRequest {
                document: DocumentSource::Inline {
                    name: first.name,
                    bytes: first.bytes,
                },
                schema,
                config: Some(config),
                callback_url: None,
                callback_secret: None,
                metadata: metadata.transpose()?.unwrap_or_default(),
                dialect: Some(NAME.into()),
                endpoint: Some(endpoint.path().into()),
                asked: Some(Asked {
                    request: kept,
                    lifetime_ms: Some(LIFETIME_MS),
                }),
            },
            further: given,
            stream,
            model,
        })
    }
}

/// The documents of a request, at least one.
fn taken(
    endpoint: Endpoint,
    pointer: &str,
    members: &mut Map<String, Value>,
) -> Result<Vec<Given>, Error> {
    if endpoint != Endpoint::GenerateSchema {
        let at = format!("{pointer}/document");
        let document = members.get_mut("document");
        let document = document.ok_or_else(|| wrong(&at, "This member is missing."))?;
        return Ok(vec![documents::take(&at, document)?]);
    }
    let at = format!("{pointer}/documents");
    let most = MAX_FURTHER + 1;
    match members.get_mut("documents") {
        Some(Value::Array(items)) if (1..=most).contains(&items.len()) => {
            let items = items.iter_mut().enumerate();
            items
                .map(|(index, item)| documents::take(&format!("{at}/{index}"), item))
                .collect()
        }
        _ => Err(wrong(&at, &format!("Expected 1 to {most} documents."))),
    }
}

/// The members of a request, by what they say of the job.
struct Fields<'a> {
    pointer: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn wrong(&self, name: &str, message: &str) -> Error {
        wrong(&format!("{}/{name}", self.pointer), message)
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "Expected text.")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.members.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "Expected true or false.")),
        }
    }

    /// What would make the answer another one and is not done here.
    fn refuse_unserved(&self) -> Result<(), Error> {
        let value = |name: &str| self.members.get(name);
        if value("n_consensus").is_some_and(|count| *count != 1) {
            let message = "Every value is asked for once here, and its likelihood is made of what was checked on the page: expected 1.";
            return Err(self.wrong("n_consensus", message));
        }
        if self.flag("web_search")? {
            return Err(self.wrong(
                "web_search",
                "Nothing is looked up elsewhere: expected false.",
            ));
        }
        if value("store").is_some_and(|store| *store != true) {
            let message = "Every job is kept until it expires: expected true.";
            return Err(self.wrong("store", message));
        }
        if let Some(dpi) = value("image_resolution_dpi")
            && !dpi.as_u64().is_some_and(|dpi| (96..=300).contains(&dpi))
        {
            let message = format!("`{dpi}` is not allowed; expected an integer from 96 to 300.");
            return Err(self.wrong("image_resolution_dpi", &message));
        }
        if let Some(format) = value("table_parsing_format")
            && *format != "markdown"
        {
            let message = format!("`{format}` is not made here; tables come as `markdown`.");
            return Err(self.wrong("table_parsing_format", &message));
        }
        let is_keys = |keys: &Value| {
            let keys = keys.as_object();
            keys.is_some_and(|keys| keys.values().all(Value::is_string))
        };
        if value("chunking_keys").is_some_and(|keys| !is_keys(keys)) {
            let message = "Expected an object of texts, such as {\"products\": \"identity.id\"}.";
            return Err(self.wrong("chunking_keys", message));
        }
        Ok(())
    }

    fn config(&self, endpoint: Endpoint) -> Result<Value, Error> {
        let mut config = Map::new();
        for name in ["temperature", "seed"] {
            if let Some(value) = self.members.get(name) {
                config.insert(name.into(), value.clone());
            }
        }
        if let Some(effort) = self.text("reasoning_effort")? {
            let thinks = match effort {
                "none" | "minimal" => false,
                "low" | "medium" | "high" | "xhigh" => true,
                _ => {
                    let message = "Expected none, minimal, low, medium, high or xhigh.";
                    return Err(self.wrong("reasoning_effort", message));
                }
            };
            if thinks {
                config.insert("enable_thinking".into(), json!(true));
            }
        }
        if self.flag("bust_cache")? {
            config.insert("cache".into(), json!("off"));
        }
        let instructions = self.instructions()?;
        if !instructions.is_empty() {
            let text = instructions.join("\n\n");
            config.insert("additional_instructions".into(), json!(text));
        }
        if endpoint.extracts() {
            // What the likelihoods are made of.
            config.insert("per_key_attribution".into(), json!(true));
        }
        Ok(Value::Object(config))
    }

    /// What a client adds to the question, in the order in which it would be read.
    fn instructions(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for name in ["instructions", "context"] {
            let text = self.text(name)?.filter(|text| !text.trim().is_empty());
            all.extend(text.map(str::to_owned));
        }
        let empty = Vec::new();
        let messages = match self.members.get("additional_messages") {
            None => &empty,
            Some(Value::Array(messages)) => messages,
            Some(_) => return Err(self.wrong("additional_messages", "Expected a list.")),
        };
        for (index, message) in messages.iter().enumerate() {
            let refused = |message: &str| {
                let at = format!("additional_messages/{index}/content");
                Err(self.wrong(&at, message))
            };
            match &message["content"] {
                Value::String(text) => all.push(text.clone()),
                Value::Array(parts) => {
                    for part in parts {
                        let text = part["text"].as_str().filter(|_| part["type"] == "text");
                        let Some(text) = text else {
                            return refused("Only parts of text are taken here.");
                        };
                        all.push(text.to_owned());
                    }
                }
                Value::Null => {}
                _ => return refused("Expected text, or a list of parts of text."),
            }
        }
        all.retain(|text| !text.trim().is_empty());
        Ok(all)
    }

    fn schema(&self, endpoint: Endpoint) -> Result<SchemaSource, Error> {
        let operation = match endpoint {
            Endpoint::Extract | Endpoint::Extractions => {
                let schema = self.members.get("json_schema");
                let schema =
                    schema.ok_or_else(|| self.wrong("json_schema", "This member is missing."))?;
                return Ok(SchemaSource::Inline(schema.clone()));
            }
            Endpoint::ProjectExtract => {
                let id = self.text("project_id")?.map(SchemaId::parse);
                let id = id.and_then(Result::ok).ok_or_else(|| {
                    let message = "Expected the id of a stored schema: it stands for a project here. POST /v1/extract/schemas stores one.";
                    self.wrong("project_id", message)
                })?;
                return Ok(SchemaSource::Stored(id));
            }
            Endpoint::Parse | Endpoint::Parses => Operation::read("parse", None)?,
            Endpoint::Classify | Endpoint::Classifications => {
                let categories = self.categories("categories")?;
                let parameters = json!({ "categories": categories });
                let read = Operation::read("classify", Some(&parameters));
                read.map_err(|error| self.renamed(error, "/classify/categories", "categories"))?
            }
            Endpoint::Split | Endpoint::Splits => {
                let known = ["subdocuments", "categories"];
                let name = known
                    .into_iter()
                    .find(|name| self.members.contains_key(*name));
                let name = name.unwrap_or(known[0]);
                let parameters = json!({ "kinds": self.categories(name)? });
                let read = Operation::read("split", Some(&parameters));
                read.map_err(|error| self.renamed(error, "/split/kinds", name))?
            }
            Endpoint::GenerateSchema => Operation::GenerateSchema(GenerateSchema::default()),
        };
        Ok(SchemaSource::Operation(operation))
    }

    /// Kinds of documents, without what is not told of them here.
    fn categories(&self, name: &str) -> Result<Value, Error> {
        let Some(Value::Array(items)) = self.members.get(name).filter(|list| **list != json!([]))
        else {
            return Err(self.wrong(name, "Expected at least one, as `{name, description}`."));
        };
        let mut kinds = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if item.get("partition_key").is_some_and(|key| !key.is_null()) {
                let at = format!("{name}/{index}/partition_key");
                return Err(self.wrong(
                    &at,
                    "Documents are not divided further here: expected null.",
                ));
            }
            let Value::Object(members) = item else {
                kinds.push(item.clone());
                continue;
            };
            let told = ["name", "description"].into_iter();
            let told = told.filter_map(|name| Some((name.to_owned(), members.get(name)?.clone())));
            let told = told.filter(|(name, value)| !(name == "description" && *value == ""));
            kinds.push(Value::Object(told.collect()));
        }
        Ok(Value::Array(kinds))
    }

    /// An error of the engine, by the names that members have here.
    fn renamed(&self, mut error: Error, theirs: &str, ours: &str) -> Error {
        let ours = format!("{}/{ours}", self.pointer);
        error.detail = error.detail.replace(theirs, &ours);
        for detail in &mut error.errors {
            detail.pointer = detail.pointer.replacen(theirs, &ours, 1);
        }
        error
    }
}

/// Names documents that were stored meanwhile as those that the job is about beside its own.
pub fn name_further(job: &mut JobRequest, ids: &[DocumentId]) {
    if let SchemaSource::Operation(Operation::GenerateSchema(asked)) = &mut job.schema {
        let further = ids.iter().map(|id| crate::domain::operation::Further {
            document_id: *id,
            sha256: String::new(),
        });
        asked.documents = further.collect();
    }
}

/// An error of the engine about a request that stands at `pointer`.
pub fn placed(mut error: Error, pointer: &str) -> Error {
    use crate::domain::error::Code;
    let is_of_schema = matches!(error.code, Code::InvalidSchema | Code::SchemaTooComplex);
    for detail in &mut error.errors {
        if is_of_schema {
            detail
                .pointer
                .insert_str(0, &format!("{pointer}/json_schema"));
            continue;
        }
        for (theirs, ours) in [
            ("/config/additional_instructions", "additional_messages"),
            ("/config", ""),
        ] {
            if let Some(rest) = detail.pointer.strip_prefix(theirs) {
                let slash = if ours.is_empty() { "" } else { "/" };
                let there = format!("{pointer}{slash}{ours}{rest}");
                error.detail = error.detail.replace(&detail.pointer, &there);
                detail.pointer = there;
                break;
            }
        }
    }
    error
}
