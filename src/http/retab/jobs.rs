//! Jobs: create, look at, cancel, retry.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::answers::{self, Part, Shown};
use super::documents::Given;
use super::endpoints::Endpoint;
use super::requests::{Target, name_further, placed};
use super::{NAME, model_of};
use crate::domain::error::Error;
use crate::domain::id::{JobId, Scope};
use crate::domain::metadata::Metadata;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Repeat, Submitted};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::members::wrong;
use crate::http::query::Parameters;
use crate::http::{body, repeat};

/// Room beside the documents in a body, bytes.
const BESIDE_DOCUMENTS: usize = 2 << 20;
/// Before the id of a job.
const PREFIX: &str = "job_";

/// Bytes of a body, at most.
pub fn body_limit(engine: &Engine) -> usize {
    // Base64 takes four bytes for three.
    engine.max_document_bytes() as usize / 3 * 4 + BESIDE_DOCUMENTS
}

/// The id of a job, with the prefix of this dialect or without.
pub fn id(text: &str) -> Result<JobId, Error> {
    JobId::parse(text.strip_prefix(PREFIX).unwrap_or(text))
}

pub fn named(id: JobId) -> String {
    format!("{PREFIX}{}", id.0.simple())
}

/// A request that was read, and what tells it from others.
pub struct Read {
    pub target: Target,
    /// Where the body of the endpoint stands in the request.
    pub pointer: &'static str,
    body_sha256: [u8; 32],
}

impl Read {
    /// What an endpoint is asked directly.
    pub fn direct(endpoint: Endpoint, body: Value) -> Result<Self, Error> {
        let whole = Map::from_iter([
            ("endpoint".to_owned(), json!(endpoint.path())),
            ("request".to_owned(), body),
        ]);
        let body_sha256 = repeat::body_sha256(&whole);
        let body = whole.into_iter().next_back().map(|(_, body)| body);
        Ok(Self {
            target: Target::read(endpoint, "", body.unwrap_or_default())?,
            pointer: "",
            body_sha256,
        })
    }

    fn job(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        members.retain(|_, value| !value.is_null());
        let Some(Value::String(endpoint)) = members.get("endpoint") else {
            let message = format!("Expected one of {}.", Endpoint::names());
            return Err(wrong("/endpoint", &message));
        };
        let endpoint = Endpoint::named("/endpoint", endpoint)?;
        let body_sha256 = repeat::body_sha256(&members);
        let metadata = members.get("metadata");
        let metadata = metadata.map(|pairs| Metadata::parse("/metadata", pairs));
        let request = members.shift_remove("request").unwrap_or_default();
        let mut target = Target::read(endpoint, "/request", request)?;
        target.job.metadata = metadata.transpose()?.unwrap_or_default();
        if target.stream {
            let message = "A job is polled: expected false.";
            return Err(wrong("/request/stream", message));
        }
        Ok(Self {
            target,
            pointer: "/request",
            body_sha256,
        })
    }
}

/// Starts the job of a request; equal requests under one key start one.
pub async fn submit(
    engine: &Engine,
    caller: &Principal,
    request: &HttpRequest,
    read: Read,
) -> Result<Submitted, Error> {
    let key = repeat::key(request, Some(NAME))?;
    let mut target = read.target;
    let model = model_of(engine, target.model.as_deref());
    if let Some(config) = &mut target.job.config {
        config["model"] = json!(model);
    }
    let further = store(engine, &caller.scope, target.further).await?;
    name_further(&mut target.job, &further);
    let repeat = Repeat {
        body_sha256: read.body_sha256,
        key,
        seen: None,
    };
    let submitted = engine.submit_once(caller, target.job, repeat).await;
    if submitted.as_ref().map_or(true, |done| done.is_repeat) {
        // No job needs them.
        for id in further {
            let _ = engine.delete_document(&caller.scope, id).await;
        }
    }
    submitted.map_err(|error| placed(error, read.pointer))
}

async fn store(
    engine: &Engine,
    scope: &Scope,
    documents: Vec<Given>,
) -> Result<Vec<crate::domain::id::DocumentId>, Error> {
    let mut ids = Vec::new();
    for document in documents {
        match engine.upload(scope, &document.name, document.bytes).await {
            Ok(uploaded) => ids.push(uploaded.document.id),
            Err(refused) => {
                for id in ids {
                    let _ = engine.delete_document(scope, id).await;
                }
                return Err(refused);
            }
        }
    }
    Ok(ids)
}

pub async fn create(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, body_limit(&engine)).await?;
    // Documents are long: read where nobody waits.
    let read = web::block(move || Read::job(body)).await;
    let read = read.unwrap_or_else(|_| Err(Error::internal()))?;
    let Submitted { view, is_repeat } = submit(&engine, &caller, &request, read).await?;
    let job = answers::job(&engine, &caller.scope, &view, Shown::BRIEF).await?;
    let mut response = HttpResponse::Ok().json(job);
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// The job. What is asked for of its request and its response is there; where nothing is said,
/// as with older clients, both are.
pub async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    job: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&job)?;
    let parameters = Parameters::of(&request)?;
    let whole = Shown {
        request: Part::Whole,
        response: true,
    };
    let shown = whole.asked(&parameters)?;
    let view = engine.job(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(answers::job(&engine, &caller.0, &view, shown).await?))
}

pub async fn cancel(
    engine: web::Data<Engine>,
    caller: Caller,
    job: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = engine.cancel(&caller.0, id(&job)?, None).await?;
    Ok(HttpResponse::Ok().json(answers::job(&engine, &caller.0, &view, Shown::BRIEF).await?))
}

pub async fn retry(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    job: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = engine.retry(&caller, id(&job)?).await?;
    Ok(HttpResponse::Ok().json(answers::job(&engine, &caller.scope, &view, Shown::BRIEF).await?))
}
