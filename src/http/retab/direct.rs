//! The endpoints, asked directly: each starts a job and answers with what it came to.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::status_code;
use super::bodies;
use super::endpoints::Endpoint;
use super::jobs::{Read, body_limit, named, submit};
use super::stream;
use crate::domain::error::{Code, Error};
use crate::domain::job::JobView;
use crate::domain::status::Status;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Submitted, Wanted};
use crate::http::error::Problem;
use crate::http::{Options, body, repeat};

/// How long a client is kept waiting: as long as the vendor's own clients do.
const PATIENCE: Duration = Duration::from_mins(30);

/// Does what the path says. With `stream` the values are sent while they land.
pub async fn run(
    engine: web::Data<Engine>,
    options: web::Data<Options>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let endpoint = Endpoint::at(request.path()).ok_or_else(Error::internal)?;
    let body = body::json(&request, payload, body_limit(&engine)).await?;
    // Documents are long: read where nobody waits.
    let read = web::block(move || Read::direct(endpoint, body)).await;
    let read = read.unwrap_or_else(|_| Err(Error::internal()))?;
    let streams = read.target.stream;
    // Before the job: a refusal after that would hide one that was started.
    drop(engine.stream_slot(&caller.scope)?);
    let Submitted { view, is_repeat } = submit(&engine, &caller, &request, read).await?;
    let mut response = if streams {
        let engine = engine.get_ref().clone();
        stream::respond(engine, caller.scope.clone(), &view, options.heartbeat)
    } else {
        ended(&engine, &caller, &view).await?
    };
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

async fn ended(engine: &Engine, caller: &Principal, view: &JobView) -> Result<HttpResponse, Error> {
    let scope = &caller.scope;
    let view = engine.wait(scope, view.id, PATIENCE).await?;
    if let Some(failed) = unanswered(&view) {
        return Err(failed);
    }
    let result = engine.result(scope, view.id, Wanted::Final).await?;
    let status = StatusCode::from_u16(status_code(&view)).unwrap_or(StatusCode::OK);
    let body = bodies::of(engine, scope, &result).await;
    Ok(HttpResponse::build(status).json(body))
}

/// Why there is no answer, where there is none.
pub fn unanswered(view: &JobView) -> Option<Error> {
    let job = named(view.id);
    match (view.status, &view.error) {
        (Status::Completed, _) => None,
        (Status::Failed, Some((fault, message))) => Some(Error::new(
            Code::ProcessFailed,
            format!("{job} failed with {}: {message}", fault.name()),
        )),
        (status, _) if status.is_terminal() => Some(Error::new(
            Code::ProcessFailed,
            format!("{job} is {}.", status.name()),
        )),
        _ => Some(Error::new(
            Code::ResultNotReady,
            format!("{job} has not ended yet. GET /v1/jobs/{job} follows it."),
        )),
    }
}
