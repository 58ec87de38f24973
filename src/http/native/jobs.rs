//! Jobs: start, poll, result, cancel, delete.

use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DeletedBody, events, in_member, list_body, operations, records, refuse_others, wrong};
use crate::domain::config::Config;
use crate::domain::error::{Error, Fault};
use crate::domain::event::{Links, Progress};
use crate::domain::id::{DocumentId, FileId, JobId, SchemaId};
use crate::domain::job::JobView;
use crate::domain::metadata::Metadata;
use crate::domain::review::Decision;
use crate::domain::status::Status;
use crate::domain::template::TemplateUse;
use crate::domain::time::Time;
use crate::engine::keys::Principal;
use crate::engine::ports::JobQuery;
use crate::engine::{
    DocumentSource, Engine, Extras, JobRequest, JobResult, Repeat, SchemaSource, Submitted, Wanted,
};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::wrapped::wrap;
use crate::http::{Options, body, on, own_key, repeat, resource};

/// Room beside an inline document in a job's body, bytes: the schema and the config.
const BESIDE_DOCUMENT: usize = 2 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/jobs",
            [on(Method::POST, create), on(Method::GET, list)],
        ))
        .service(resource(
            "/jobs/{id}",
            [on(Method::GET, show), on(Method::DELETE, delete)],
        ))
        .service(resource("/jobs/{id}/results", [on(Method::GET, results)]))
        .service(resource("/jobs/{id}/cancel", [on(Method::POST, cancel)]))
        .service(resource("/jobs/{id}/retry", [on(Method::POST, retry)]));
}

const MEMBERS: [&str; 17] = [
    "document_id",
    "document",
    "inputs",
    "file_id",
    "schema_id",
    "schema",
    "template",
    "filter",
    "operation",
    "parse",
    "classify",
    "split",
    "generate_schema",
    "config",
    "callback_url",
    "metadata",
    "stream",
];

/// A job's body: what it is about and by which schema, and how the answer is wanted.
pub(super) struct CreateRequest {
    pub(super) job: JobRequest,
    pub(super) stream: bool,
    /// Of the body without `stream`.
    pub(super) body_sha256: [u8; 32],
}

impl CreateRequest {
    /// Reads a body; one that holds a document or records is long, and read where nobody waits.
    pub(super) async fn read(body: Value) -> Result<Self, Error> {
        if body.get("document").is_none() && body.get("inputs").is_none() {
            return body.try_into();
        }
        let read = web::block(move || body.try_into()).await;
        read.unwrap_or_else(|_| Err(Error::internal()))
    }
}

impl TryFrom<Value> for CreateRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        members.retain(|_, value| !value.is_null());
        refuse_others(&members, &MEMBERS)?;
        let stream = match members.shift_remove("stream") {
            None => false,
            Some(Value::Bool(stream)) => stream,
            Some(_) => return Err(wrong("/stream", "Expected true or false.")),
        };
        let body_sha256 = repeat::body_sha256(&members);
        let document = source(&mut members)?;
        let operation = operations::take(&mut members)?;
        let schema = wanted(&mut members, operation)?;
        let config = members.shift_remove("config");
        let callback_url = members.shift_remove("callback_url");
        let callback_url = callback_url.map(|url| text("/callback_url", &url).map(str::to_owned));
        let metadata = members.shift_remove("metadata");
        let metadata = metadata.map(|pairs| Metadata::parse("/metadata", &pairs));
        Ok(Self {
            job: JobRequest {
                document,
                schema,
                config,
                callback_url: callback_url.transpose()?,
                callback_secret: None,
                metadata: metadata.transpose()?.unwrap_or_default(),
                dialect: None,
                endpoint: None,
                asked: None,
            },
            stream,
            body_sha256,
        })
    }
}

/// What is asked for: an operation, or a schema, wherever it is.
fn wanted(
    members: &mut Map<String, Value>,
    operation: Option<SchemaSource>,
) -> Result<SchemaSource, Error> {
    const SOURCES: [&str; 4] = ["schema_id", "schema", "template", "filter"];
    let given = SOURCES.map(|name| members.shift_remove(name));
    match (operation, given) {
        (Some(operation), _) => Ok(operation),
        (_, [Some(id), None, None, None]) => {
            let id = SchemaId::parse(text("/schema_id", &id)?)?;
            Ok(SchemaSource::Stored(id))
        }
        (_, [None, Some(schema), None, None]) => Ok(SchemaSource::Inline(schema)),
        (_, [None, None, Some(template), None]) => {
            let template = text("/template", &template)?.to_owned();
            Ok(SchemaSource::Template(template))
        }
        (_, [None, None, template, Some(filter)]) => {
            let template = template.map(|name| text("/template", &name).map(str::to_owned));
            Ok(SchemaSource::Filter {
                filter: text("/filter", &filter)?.to_owned(),
                template: template.transpose()?,
            })
        }
        _ => Err(wrong(
            "/schema_id",
            "Send exactly one of `schema_id`, `schema`, `template` and `filter`; beside `filter` there may be a `template`.",
        )),
    }
}

/// What the job is about: one document, or many records.
fn source(members: &mut Map<String, Value>) -> Result<DocumentSource, Error> {
    const SOURCES: [&str; 4] = ["document_id", "document", "inputs", "file_id"];
    let given = SOURCES.map(|name| members.shift_remove(name));
    match given {
        [Some(id), None, None, None] => Ok(DocumentSource::Stored(DocumentId::parse(text(
            "/document_id",
            &id,
        )?)?)),
        [None, Some(document), None, None] => inline_document(text("/document", &document)?),
        [None, None, Some(inputs), None] => records::inputs(inputs),
        [None, None, None, Some(id)] => records::file(text("/file_id", &id)?),
        _ => Err(wrong(
            "/document_id",
            "Send exactly one of `document_id`, `document`, `inputs` and `file_id`.",
        )),
    }
}

pub(super) fn inline_document(text: &str) -> Result<DocumentSource, Error> {
    let bytes = match body::data_url(text) {
        Some(bytes) => bytes?,
        None => Bytes::from(text.to_owned()),
    };
    Ok(DocumentSource::Inline {
        name: "inline".into(),
        bytes,
    })
}

pub(super) fn text<'a>(pointer: &str, value: &'a Value) -> Result<&'a str, Error> {
    value
        .as_str()
        .ok_or_else(|| wrong(pointer, "Expected text."))
}

pub(super) fn one_of(stored: &str, inline: &str) -> Error {
    wrong(
        &format!("/{stored}"),
        &format!("Send exactly one of `{stored}` and `{inline}`."),
    )
}

#[derive(Serialize)]
pub(super) struct CreatedBody {
    job_id: JobId,
    status: Status,
    created_at: Time,
    estimated_completion: Option<Time>,
}

impl CreatedBody {
    pub(super) fn of(engine: &Engine, view: &JobView) -> Self {
        Self {
            job_id: view.id,
            status: view.status,
            created_at: view.created_at,
            estimated_completion: engine.estimated_completion(view),
        }
    }
}

/// A job as polls and lists show it.
#[derive(Serialize)]
pub(super) struct JobBody {
    job_id: JobId,
    status: Status,
    run: u32,
    operation: &'static str,
    created_at: Time,
    updated_at: Time,
    estimated_completion: Option<Time>,
    progress: Progress,
    current_activity: &'static str,
    schema_id: Option<SchemaId>,
    document_id: DocumentId,
    config: Config,
    metadata: Metadata,
    last_sequence_number: u64,
    last_event_id: String,
    total_subtrees: u64,
    subtrees_succeeded: u64,
    subtrees_failed: u64,
    error_type: Option<Fault>,
    error_message: Option<String>,
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file_id: Option<FileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<ReviewBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<TemplateUse>,
}

/// Where a review stands, without a value.
#[derive(Serialize)]
struct ReviewBody {
    version: u32,
    flagged_fields: u64,
    required_at: Time,
    decided_at: Option<Time>,
    decision: Option<Decision>,
}

impl JobBody {
    pub(super) fn of(engine: &Engine, view: &JobView) -> Self {
        let error = view.error.clone().filter(|_| view.status == Status::Failed);
        let (error_type, error_message) = error.unzip();
        Self {
            job_id: view.id,
            status: view.status,
            run: view.run,
            operation: view.spec.operation.name(),
            created_at: view.created_at,
            updated_at: view.updated_at,
            estimated_completion: engine.estimated_completion(view),
            progress: view.progress(),
            current_activity: view.step.activity(),
            schema_id: view.spec.schema_id,
            document_id: view.spec.document_id,
            config: view.spec.config.clone(),
            metadata: view.spec.metadata.clone(),
            last_sequence_number: view.sequence,
            last_event_id: event_id(view),
            total_subtrees: view.total_subtrees,
            subtrees_succeeded: view.subtrees_succeeded,
            subtrees_failed: view.subtrees_failed,
            error_type,
            error_message,
            expires_at: view.expires_at,
            output_file_id: view.output_file,
            review: view.review.as_ref().map(|review| ReviewBody {
                version: review.version,
                flagged_fields: review.flagged,
                required_at: review.required_at,
                decided_at: review.decided_at,
                decision: review.decision,
            }),
            template: view.spec.template.clone(),
        }
    }
}

fn event_id(view: &JobView) -> String {
    format!("{}.{}", view.id, view.sequence)
}

pub(super) fn results_body(result: &JobResult) -> Value {
    let view = &result.view;
    let error = view
        .error
        .as_ref()
        .filter(|_| view.status == Status::Failed);
    let mut body = json!({
        "job_id": view.id,
        "status": view.status,
        "results": result.results,
        "metadata": {
            "usage_metadata": view.spent(),
            "failed_subtrees": result.failed,
            "warnings": view.spec.warnings,
            "plan": view.spec.forecast,
            "has_attributions": result.attributions.is_some(),
            "model": view.spec.config.model,
            "prompt_version": view.spec.prompt_version,
            "duration_ms": view.ended_at.map(|end| end.since(view.created_at)),
            "total_subtrees": view.total_subtrees,
            "subtrees_succeeded": view.subtrees_succeeded,
            "subtrees_failed": view.subtrees_failed,
            "partial": view.is_partial(),
            "validation": result.validation,
            "arrays": result.arrays,
            "start_time": view.created_at,
            "end_time": view.ended_at,
            "error_type": error.map(|(fault, _)| fault),
            "error_message": error.map(|(_, message)| message),
        },
        "attributions": result.attributions,
        "config": view.spec.config,
        "last_event_id": event_id(view),
    });
    if let Some(attributions) = &result.attributions {
        body["wrapped_results"] = wrap(&result.results, attributions);
    }
    body
}

/// Bytes of a job's body, at most.
pub(super) fn body_limit(engine: &Engine) -> usize {
    // Base64 takes four bytes for three.
    engine.max_document_bytes() as usize / 3 * 4 + BESIDE_DOCUMENT
}

/// The job of a request; what is wrong with an inline schema is told by its place in the body.
pub(super) async fn submitted(
    engine: &Engine,
    caller: &Principal,
    job: JobRequest,
    repeat: Repeat,
    extras: Extras,
) -> Result<Submitted, Error> {
    let inline = matches!(job.schema, SchemaSource::Inline(_));
    let submitted = engine.submit_with(caller, job, repeat, extras).await;
    submitted.map_err(|error| {
        if inline {
            in_member(error, "schema")
        } else {
            error
        }
    })
}

async fn create(
    engine: web::Data<Engine>,
    options: web::Data<Options>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, body_limit(&engine)).await?;
    events::refuse_protocol(&Parameters::of(&request)?)?;
    let key = repeat::key(&request, None)?;
    let extras = own_key::extras(&request)?;
    let cursor = events::last_event_id(&request)?;
    let CreateRequest {
        job,
        stream,
        body_sha256,
    } = CreateRequest::read(body).await?;
    // Before the job: a refusal after that would hide one that was started.
    let slot = stream
        .then(|| engine.stream_slot(&caller.scope))
        .transpose()?;
    let repeat = Repeat {
        body_sha256,
        key,
        seen: cursor.and_then(|cursor| cursor.job),
    };
    let Submitted { view, is_repeat } = submitted(&engine, &caller, job, repeat, extras).await?;
    let mut response = if let Some(slot) = slot {
        // A job that is new has nothing that the client could have seen.
        let cursor = cursor.filter(|_| is_repeat);
        let follow = engine.follow_in(slot, view.id, cursor).await?;
        events::follow(follow, &options, false)
    } else {
        let status = if is_repeat {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        HttpResponse::build(status)
            .insert_header((LOCATION, Links::of(view.id).job))
            .json(CreatedBody::of(&engine, &view))
    };
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request)?;
    let query = JobQuery {
        page: parameters.list()?,
        filter: parameters.job_filter()?,
        order: parameters.order()?,
    };
    let page = engine.jobs(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("jobs", &page, |view| JobBody::of(&engine, view))))
}

/// The job; while it runs also what it has found so far.
async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let wait = Parameters::of(&request)?.wait()?;
    let view = engine.wait(&caller.0, id, wait).await?;
    if view.status.is_terminal() || view.is_withheld() {
        return Ok(HttpResponse::Ok().json(JobBody::of(&engine, &view)));
    }
    if view.spec.batch.is_some() {
        // Its values are asked for by record.
        return Ok(HttpResponse::Ok()
            .insert_header((RETRY_AFTER, "1"))
            .json(JobBody::of(&engine, &view)));
    }
    let result = engine.result(&caller.0, id, Wanted::SoFar).await?;
    let mut body = json!(JobBody::of(&engine, &result.view));
    if !result.view.status.is_terminal() {
        body["results"] = result.results;
        body["failed_subtrees"] = json!(result.failed);
    }
    Ok(HttpResponse::Ok()
        .insert_header((RETRY_AFTER, "1"))
        .json(body))
}

async fn results(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let partial = Parameters::of(&request)?.flag("partial")?;
    let wanted = if partial {
        Wanted::SoFar
    } else {
        Wanted::Final
    };
    let view = engine.job(&caller.0, id).await?;
    if view.spec.batch.is_some() {
        let view = engine.batch_result(&caller.0, id, wanted).await?;
        return Ok(HttpResponse::Ok().json(records::results_body(&view)));
    }
    let result = engine.result(&caller.0, id, wanted).await?;
    Ok(HttpResponse::Ok().json(results_body(&result)))
}

async fn cancel(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = engine.cancel(&caller.0, JobId::parse(&id)?, None).await?;
    Ok(HttpResponse::Accepted().json(JobBody::of(&engine, &view)))
}

async fn retry(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let own_key = own_key::own_key(&request)?;
    let view = engine.retry_under(&caller, id, own_key).await?;
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, Links::of(view.id).job))
        .json(JobBody::of(&engine, &view)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    engine.delete_job(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}
