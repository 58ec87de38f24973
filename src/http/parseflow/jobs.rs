//! Jobs: start, poll.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};

use super::NAME;
use super::answers::job_body;
use super::asked::{Asked, Beside, Fields, in_form, renamed};
use crate::domain::id::JobId;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Repeat, Submitted};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::form::form;
use crate::http::query::Parameters;
use crate::http::repeat;

const FIELDS: [&str; 9] = [
    "text",
    "chunk_size",
    "overlap",
    "mode",
    "preset",
    "schema_json",
    "callback_url",
    "byok_provider",
    "byok_model",
];

pub async fn create(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let form = form(&request, payload, engine.max_document_bytes() as usize).await?;
    let key = repeat::key(&request, Some(NAME))?;
    let (asked, _) = Asked::of_form(&engine, form, &FIELDS, Beside::of(&request)?)?;
    let repeat = Repeat {
        body_sha256: asked.body_sha256,
        key,
        seen: None,
    };
    let submitted = engine
        .submit_with(&caller, asked.job, repeat, asked.extras)
        .await;
    let Submitted { view, is_repeat } = submitted.map_err(renamed)?;
    let mut response = HttpResponse::Ok()
        .insert_header((LOCATION, format!("/v2/jobs/{}", view.id)))
        .json(job_body(&engine, &caller.scope, &view).await?);
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// Sends the callback of a job that has ended, or another one of it.
pub async fn deliver(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    // Before its form: who has no such job is told that.
    engine.job(&caller.0, id).await?;
    let form = form(&request, payload, 0).await?;
    let fields = Fields::of(form.fields, &["callback_url"])?;
    engine
        .deliver(&caller.0, id, fields.text("callback_url")?)
        .await
        .map_err(in_form)?;
    let view = engine.job(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(job_body(&engine, &caller.0, &view).await?))
}

/// The job, with its result once it has one.
pub async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let wait = Parameters::of(&request)?.wait()?;
    let view = engine.wait(&caller.0, id, wait).await?;
    Ok(HttpResponse::Ok().json(job_body(&engine, &caller.0, &view).await?))
}
