//! Start, poll, result, and all in one request.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::request::{Asked, read};
use super::{NAME, Polls, answers};
use crate::domain::error::{Code, Error};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::webhook::Topic;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Repeat, Submitted, Wanted};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::repeat;

/// How long a request waits for the end of its job.
const WAIT: Duration = Duration::from_mins(2);
/// Apart from the keys of jobs: the answers to the two differ.
const DIRECT: &str = "extract_fields";

pub async fn create(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let key = repeat::key(&request, Some(NAME))?;
    let asked = read(&engine, &request, payload, false).await?;
    if asked.is_told {
        refuse_untold(&engine, &caller.scope).await?;
    }
    let submitted = submit(&engine, &caller, asked, key).await?;
    let status = if submitted.is_repeat {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = HttpResponse::build(status).json(answers::created(&submitted.view));
    if submitted.is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

async fn submit(
    engine: &Engine,
    caller: &Principal,
    asked: Asked,
    key: Option<crate::domain::id::IdempotencyKey>,
) -> Result<Submitted, Error> {
    let repeat = Repeat {
        body_sha256: asked.body_sha256,
        key,
        seen: None,
    };
    let submitted = engine.submit_once(caller, asked.job, repeat).await;
    submitted.map_err(|mut error| {
        if error.code == Code::PasswordRequired && asked.has_password {
            error
                .detail
                .push_str(" Files are not opened with `password` here.");
        }
        error
    })
}

/// Refuses a job whose end would be told to nobody.
async fn refuse_untold(engine: &Engine, scope: &Scope) -> Result<(), Error> {
    let webhooks = engine.webhooks(scope).await?;
    let is_told = webhooks
        .iter()
        .any(|webhook| webhook.disabled.is_none() && webhook.topics.contains(&Topic::Completed));
    if is_told {
        return Ok(());
    }
    let message = "No enabled webhook hears of completed jobs. Register one with POST /v1/extract/webhooks, or poll.";
    Err(Error::new(Code::UnresolvedWebhookCoverage, message).at("/deliveryMode", message))
}

/// A job of the caller; an id that is none is nobody's job.
async fn found(engine: &Engine, scope: &Scope, id: &str) -> Result<JobView, Error> {
    let id = JobId::parse(id).map_err(|error| Error::new(Code::JobNotFound, error.detail))?;
    engine.job(scope, id).await
}

pub async fn show(
    engine: web::Data<Engine>,
    polls: web::Data<Polls>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = found(&engine, &caller.0, &id).await?;
    if let Some(seconds) = polls.count(view.id) {
        let message = format!(
            "Job {} was polled more than 60 times within a minute. Poll every 5 seconds; again in {seconds}.",
            view.id
        );
        return Err(Error::new(Code::TooManyPolls, message)
            .retry_after(seconds)
            .into());
    }
    Ok(HttpResponse::Ok().json(answers::job(&engine, &view)))
}

pub async fn result(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = found(&engine, &caller.0, &id).await?;
    answers::refuse(&view)?;
    let result = engine.result(&caller.0, view.id, Wanted::Final).await?;
    let view = &result.view;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "job": {
            "id": view.id,
            "status": answers::word(view),
            "completedAt": view.ended_at,
        },
        "data": answers::data(&engine, &caller.0, &result).await,
    })))
}

/// Starts a job and answers with what came of it.
pub async fn extract(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let key = repeat::key(&request, Some(DIRECT))?;
    let asked = read(&engine, &request, payload, true).await?;
    let submitted = submit(&engine, &caller, asked, key).await;
    let Submitted { view, is_repeat } = submitted.map_err(guarded)?;
    let scope = &caller.scope;
    let view = engine.wait(scope, view.id, WAIT).await?;
    answers::refuse(&view)?;
    let result = engine.result(scope, view.id, Wanted::Final).await?;
    let data = answers::data(&engine, scope, &result).await;
    let mut response = HttpResponse::Ok().json(json!({ "success": true, "data": data }));
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// A server that takes no more work says so with 429 here.
fn guarded(mut error: Error) -> Error {
    if error.code == Code::QueueFull {
        error.code = Code::TooManyJobs;
    }
    error
}
