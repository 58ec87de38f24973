//! Several texts in one request: each is a job of its own, and fails or succeeds alone.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::NAME;
use super::account::remaining;
use super::asked::{Asked, BATCH, Beside, Fields, Mode, in_form, renamed, wrong};
use super::process::{WAIT, ended, enforce};
use crate::domain::error::{Code, Detail, Error};
use crate::engine::keys::Principal;
use crate::engine::{Engine, Repeat, Submitted};
use crate::http::body::{self, File};
use crate::http::error::Problem;
use crate::http::repeat;

/// Documents of a request.
const MAX_DOCUMENTS: usize = 100;
/// Documents that are worked on at once.
const AT_ONCE: usize = 4;
/// Room beside the documents in a body, bytes.
const BESIDE_DOCUMENTS: usize = 2 << 20;

/// What is said of all documents, where a document does not say it itself.
const SHARED: [&str; 8] = [
    "chunk_size",
    "overlap",
    "mode",
    "preset",
    "schema_json",
    "enforce_schema",
    "byok_provider",
    "byok_model",
];
const OF_DOCUMENT: [&str; 7] = [
    "text",
    "filename",
    "document_id",
    "chunk_size",
    "overlap",
    "mode",
    "schema_json",
];

/// A document of a batch, read.
struct Item {
    asked: Asked,
    /// The client's own name for it.
    name: Option<String>,
    repeat: Repeat,
}

/// What became of a document.
struct Done {
    body: Value,
    batch: Option<Value>,
    is_repeat: bool,
}

pub async fn batch(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limit = engine.max_document_bytes() as usize + BESIDE_DOCUMENTS;
    let body = body::json(&request, payload, limit).await;
    let items = items(&engine, &request, body.map_err(in_form)?)?;
    let due = Instant::now() + WAIT;
    let (engine, caller) = (&**engine, &*caller);
    let work = items.into_iter();
    let work = work.map(|item| async move { one(engine, caller, item, due).await });
    let done: Vec<Done> = stream::iter(work)
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, Error>>()?;
    let batch = done.iter().find_map(|done| done.batch.clone());
    let is_repeat = done.iter().all(|done| done.is_repeat);
    let results: Vec<_> = done.into_iter().map(|done| done.body).collect();
    let mut response = HttpResponse::Ok().json(json!({
        "batch_id": batch,
        "count": results.len(),
        "results": results,
        "usage": remaining(engine, &caller.scope).await?,
    }));
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// All documents, checked before any of them is begun.
fn items(engine: &Engine, request: &HttpRequest, body: Value) -> Result<Vec<Item>, Error> {
    let Value::Object(mut members) = body else {
        return Err(wrong("documents", "The body must be an object."));
    };
    let documents = match members.shift_remove("documents") {
        Some(Value::Array(documents)) if (1..=MAX_DOCUMENTS).contains(&documents.len()) => {
            documents
        }
        _ => {
            let message = format!("Expected a list of 1 to {MAX_DOCUMENTS} documents.");
            return Err(wrong("documents", &message));
        }
    };
    let shared = Fields::of(members, &SHARED)?;
    let batch = Uuid::new_v4();
    let read = |(index, document): (usize, Value)| {
        let key = repeat::key(request, Some(&format!("{NAME} {index}")))?;
        let beside = Beside {
            batch: Some(batch),
            ..Beside::of(request)?
        };
        let item = Item::read(engine, document, &shared, beside);
        let (asked, name) = item.map_err(|error| in_document(error, index))?;
        let repeat = Repeat {
            body_sha256: asked.body_sha256,
            key,
            seen: None,
        };
        Ok(Item {
            asked,
            name,
            repeat,
        })
    };
    documents.into_iter().enumerate().map(read).collect()
}

impl Item {
    fn read(
        engine: &Engine,
        document: Value,
        shared: &Fields,
        beside: Beside,
    ) -> Result<(Asked, Option<String>), Error> {
        let Value::Object(members) = document else {
            return Err(wrong("text", "A document is an object with `text`."));
        };
        let mut fields = Fields::of(members, &OF_DOCUMENT)?;
        let text = fields.take_text()?;
        let text = text.ok_or_else(|| wrong("text", "This member is missing or empty."))?;
        let name = fields.text("document_id")?.map(str::to_owned);
        let file = fields.text("filename")?.or(name.as_deref());
        let document = File {
            name: file.unwrap_or("text").to_owned(),
            media_type: "text/plain".into(),
            bytes: Bytes::from(text),
        };
        // A document's own schema stands in the place of a preset.
        let inherited = SHARED.iter().copied();
        let inherited = inherited.filter(|name| !(fields.has("schema_json") && *name == "preset"));
        let inherited: Vec<&str> = inherited.collect();
        let fields = fields.or(shared, &inherited);
        let asked = Asked::new(engine, &fields, document, Mode::Basic, beside)?;
        Ok((asked, name))
    }
}

/// The place of a fault, as one in the body.
fn in_document(mut error: Error, index: usize) -> Error {
    let place = format!("/documents/{index}");
    let told = |detail: &Detail| Detail {
        pointer: format!("{place}{}", detail.pointer),
        message: detail.message.clone(),
    };
    error.errors = error.errors.iter().map(told).collect();
    error.detail = format!("In `{place}`: {}", error.detail);
    error
}

async fn one(engine: &Engine, caller: &Principal, item: Item, due: Instant) -> Result<Done, Error> {
    let Asked {
        job,
        extras,
        enforce_schema,
        ..
    } = item.asked;
    let failed = |error: &Error| {
        json!({
            "document_id": item.name,
            "job_id": null,
            "status": "failed",
            "error": { "code": error.code.name(), "message": error.detail },
        })
    };
    let submitted = engine.submit_with(caller, job, item.repeat, extras).await;
    let Submitted { view, is_repeat } = match submitted.map_err(renamed) {
        Ok(submitted) => submitted,
        // The key of the whole request.
        Err(error)
            if matches!(
                error.code,
                Code::IdempotencyKeyReused | Code::IdempotencyKeyInUse
            ) =>
        {
            return Err(error);
        }
        Err(error) => {
            return Ok(Done {
                body: failed(&error),
                batch: None,
                is_repeat: false,
            });
        }
    };
    let batch = json!(view.spec.metadata)[BATCH].clone();
    let wait = due.saturating_duration_since(Instant::now());
    let job = view.id;
    let mut body = match engine.wait(&caller.scope, job, wait).await {
        Ok(view) if !view.status.is_terminal() => {
            json!({ "document_id": item.name, "status": "running", "error": null })
        }
        Ok(view) => match ended(engine, &caller.scope, &view, false).await {
            Ok((mut body, result)) => {
                let broken = result.filter(|_| enforce_schema);
                let broken = broken.and_then(|result| enforce(&result).err());
                if let Some(error) = broken {
                    failed(&error)
                } else {
                    body["status"] = json!("succeeded");
                    body["error"] = Value::Null;
                    named(body, item.name.as_deref())
                }
            }
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    };
    body["job_id"] = json!(job);
    Ok(Done {
        body,
        batch: Some(batch),
        is_repeat,
    })
}

/// A result under the client's own name for the document, where it has one.
fn named(mut body: Value, name: Option<&str>) -> Value {
    if let Some(name) = name {
        body["document_id"] = json!(name);
    }
    body
}
