//! What is done beside extraction: as a job, and directly, in one request that waits for the end.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::jobs::{CreateRequest, CreatedBody, body_limit, results_body, submitted};
use super::wrong;
use crate::domain::error::Error;
use crate::domain::event::Links;
use crate::domain::operation::Operation;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Repeat, SchemaSource, Submitted, Wanted};
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, own_key, repeat, resource};

/// Seconds that a direct request waits for the end of its job when it names none, and the most.
const WAIT: u32 = 30;
const MAX_WAIT: u32 = 120;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/parse", [on(Method::POST, parse)]))
        .service(resource("/classify", [on(Method::POST, classify)]))
        .service(resource("/split", [on(Method::POST, split)]))
        .service(resource(
            "/generate-schema",
            [on(Method::POST, generate_schema)],
        ));
}

/// Takes the operation that a job's body names, with its parameters. `None`: a schema is needed.
pub(super) fn take(members: &mut Map<String, Value>) -> Result<Option<SchemaSource>, Error> {
    let name = match members.shift_remove("operation") {
        None => Operation::default().name().to_owned(),
        Some(Value::String(name)) => name,
        Some(_) => return Err(wrong("/operation", "Expected text.")),
    };
    let parameters = members.shift_remove(name.as_str());
    let operation = Operation::read(&name, parameters.as_ref())?;
    for other in Operation::NAMES {
        if members.contains_key(other) {
            let message = format!(
                "These are parameters of the operation `{other}`, and the job is to `{}`. Set `operation` to `{other}`, or leave them out.",
                operation.name()
            );
            return Err(wrong(&format!("/{other}"), &message));
        }
    }
    if operation.is_extract() {
        return Ok(None);
    }
    if let Some(schema) = ["schema_id", "schema", "template", "filter"]
        .into_iter()
        .find(|name| members.contains_key(*name))
    {
        let message = format!("`{}` takes no schema.", operation.name());
        return Err(wrong(&format!("/{schema}"), &message));
    }
    Ok(Some(SchemaSource::Operation(operation)))
}

type Asking = (web::Data<Engine>, web::ReqData<Principal>, HttpRequest);

async fn parse(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    direct((engine, caller, request), payload, "parse").await
}

async fn classify(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    direct((engine, caller, request), payload, "classify").await
}

async fn split(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    direct((engine, caller, request), payload, "split").await
}

async fn generate_schema(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    direct((engine, caller, request), payload, "generate_schema").await
}

/// Starts a job and answers with its result; with the job, where that takes longer than `wait`.
async fn direct(
    (engine, caller, request): Asking,
    payload: web::Payload,
    name: &str,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, body_limit(&engine)).await?;
    let wait = Parameters::of(&request)?.number("wait", 0..=MAX_WAIT, WAIT)?;
    let key = repeat::key(&request, None)?;
    let extras = own_key::extras(&request)?;
    let asked = CreateRequest::read(named(body, name)?).await?;
    if asked.stream {
        let message = "The answer is no stream. POST the same body to /v1/extract/jobs.";
        return Err(wrong("/stream", message).into());
    }
    let repeat = Repeat {
        body_sha256: asked.body_sha256,
        key,
        seen: None,
    };
    let Submitted { view, is_repeat } =
        submitted(&engine, &caller, asked.job, repeat, extras).await?;
    let wait = Duration::from_secs(u64::from(wait));
    let view = engine.wait(&caller.scope, view.id, wait).await?;
    let location = (LOCATION, Links::of(view.id).job);
    let mut response = if view.status.is_terminal() {
        let result = engine.result(&caller.scope, view.id, Wanted::Final).await?;
        HttpResponse::Ok()
            .insert_header(location)
            .json(results_body(&result))
    } else {
        HttpResponse::Accepted()
            .insert_header(location)
            .insert_header((RETRY_AFTER, "1"))
            .json(CreatedBody::of(&engine, &view))
    };
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// The body of the job that does what the path says.
fn named(mut body: Value, name: &str) -> Result<Value, Error> {
    let Value::Object(members) = &mut body else {
        return Ok(body);
    };
    match members.get("operation") {
        None | Some(Value::Null) => {
            members.insert("operation".into(), json!(name));
            Ok(body)
        }
        Some(given) if given == name => Ok(body),
        Some(_) => Err(wrong(
            "/operation",
            &format!("Here it can only be `{name}`."),
        )),
    }
}
