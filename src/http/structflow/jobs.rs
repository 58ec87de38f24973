//! Jobs: start, poll, list.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::NAME;
use super::answers::{summary, whole};
use crate::domain::error::Error;
use crate::domain::filter::JobFilter;
use crate::domain::id::JobId;
use crate::domain::metadata::Metadata;
use crate::domain::page::ListCursor;
use crate::domain::schema::example::of_example;
use crate::domain::webhook::{MAX_CHOSEN, Secret};
use crate::engine::keys::Principal;
use crate::engine::ports::{JobQuery, Order};
use crate::engine::{Engine, JobRequest, Repeat, SchemaSource, Submitted};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::members::{refuse_others, wrong};
use crate::http::native::records;
use crate::http::query::Parameters;
use crate::http::{body, repeat};

/// Room beside the records in a job's body, bytes.
const BESIDE_RECORDS: usize = 2 << 20;

const MEMBERS: [&str; 8] = [
    "model",
    "system_prompt",
    "example_output",
    "inputs",
    "file_id",
    "webhook_url",
    "webhook_secret",
    "metadata",
];

/// A job's body, read.
struct CreateRequest {
    job: JobRequest,
    body_sha256: [u8; 32],
}

impl TryFrom<Value> for CreateRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        members.retain(|_, value| !value.is_null());
        refuse_others(&members, &MEMBERS)?;
        let body_sha256 = repeat::body_sha256(&members);
        let model = required(&members, "model")?;
        let instructions = required(&members, "system_prompt")?;
        let example = members.get("example_output").unwrap_or(&Value::Null);
        let schema = of_example("/example_output", example)?;
        let callback_url = optional(&members, "webhook_url")?;
        let callback_secret = secret(&members, callback_url.is_some())?;
        let metadata = members.get("metadata");
        let metadata = metadata.map(|pairs| Metadata::parse("/metadata", pairs));
        let document = match (members.shift_remove("inputs"), members.get("file_id")) {
            (Some(inputs), None) => records::inputs(inputs)?,
            (None, Some(Value::String(id))) => records::file(id)?,
            (None, Some(_)) => return Err(wrong("/file_id", "Expected text.")),
            _ => {
                let message = "Send exactly one of `inputs` and `file_id`.";
                return Err(wrong("/inputs", message));
            }
        };
        Ok(Self {
            job: JobRequest {
                document,
                schema: SchemaSource::Inline(schema),
                config: Some(json!({ "model": model, "additional_instructions": instructions })),
                callback_url,
                callback_secret,
                metadata: metadata.transpose()?.unwrap_or_default(),
                dialect: Some(NAME.into()),
                endpoint: None,
                options: None,
            },
            body_sha256,
        })
    }
}

fn optional(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("/{name}"), "Expected text.")),
    }
}

fn required(members: &Map<String, Value>, name: &str) -> Result<String, Error> {
    let text = optional(members, name)?.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| wrong(&format!("/{name}"), "This member is missing or empty."))
}

fn secret(members: &Map<String, Value>, has_url: bool) -> Result<Option<Secret>, Error> {
    let Some(text) = optional(members, "webhook_secret")? else {
        return Ok(None);
    };
    if !has_url {
        let message = "There is no `webhook_url` that it would sign for.";
        return Err(wrong("/webhook_secret", message));
    }
    Secret::chosen(&text).map(Some).map_err(|_| {
        let message = format!(
            "Expected text of 1 to {MAX_CHOSEN} bytes, or `whsec_` and the Base64 of 24 to 64 bytes."
        );
        wrong("/webhook_secret", &message)
    })
}

/// An error of the engine, by the names that members have here.
fn renamed(mut error: Error) -> Error {
    for detail in &mut error.errors {
        for (theirs, ours) in [
            ("/callback_url", "/webhook_url"),
            ("/config/model", "/model"),
            ("/config/additional_instructions", "/system_prompt"),
        ] {
            if detail.pointer == theirs {
                error.detail = error.detail.replace(theirs, ours);
                ours.clone_into(&mut detail.pointer);
            }
        }
    }
    error
}

pub async fn create(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limit = engine.max_document_bytes() as usize + BESIDE_RECORDS;
    let body = body::json(&request, payload, limit).await?;
    let key = repeat::key(&request, Some(NAME))?;
    // Records may be many: read where nobody waits.
    let read = web::block(move || CreateRequest::try_from(body)).await;
    let CreateRequest { job, body_sha256 } = read.unwrap_or_else(|_| Err(Error::internal()))?;
    let repeat = Repeat {
        body_sha256,
        key,
        seen: None,
    };
    let submitted = engine.submit_once(&caller, job, repeat).await;
    let Submitted { view, is_repeat } = submitted.map_err(renamed)?;
    let mut response = HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/{NAME}/jobs/{}", view.id)))
        .json(summary(&view));
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// The job; once it has ended also what came of it.
pub async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let wait = Parameters::of(&request)?.wait()?;
    let view = engine.wait(&caller.0, id, wait).await?;
    Ok(HttpResponse::Ok().json(whole(&engine, &caller.0, &view).await?))
}

/// The newest first, without what was extracted.
pub async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = JobQuery {
        page: Parameters::of(&request)?.history()?,
        filter: JobFilter::default(),
        order: Order::NewestFirst,
    };
    let page = engine.jobs(&caller.0, query).await?;
    let jobs: Vec<_> = page.items.iter().map(summary).collect();
    let next = page.next_cursor.map(ListCursor::encode);
    Ok(HttpResponse::Ok().json(json!({ "data": jobs, "next_cursor": next })))
}
