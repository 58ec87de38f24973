//! One document in one request that waits for the end.

use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde_json::Value;

use super::NAME;
use super::account::remaining;
use super::answers::{job_body, result_body};
use super::archive::Archive;
use super::asked::{Asked, Beside, Fields, renamed};
use crate::domain::error::{Code, Error};
use crate::domain::id::Scope;
use crate::domain::job::JobView;
use crate::domain::status::Status;
use crate::engine::keys::Principal;
use crate::engine::{Engine, JobResult, Repeat, Submitted};
use crate::http::download::download;
use crate::http::error::Problem;
use crate::http::form::form;
use crate::http::repeat;

/// How long the end is waited for; the job goes on after that.
pub(super) const WAIT: Duration = Duration::from_mins(2);

const FIELDS: [&str; 11] = [
    "text",
    "chunk_size",
    "overlap",
    "mode",
    "preset",
    "schema_json",
    "enforce_schema",
    "output_format",
    "include_markdown",
    "byok_provider",
    "byok_model",
];

/// In which form a result is sent.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Markdown,
    Zip,
}

impl Format {
    fn of(fields: &Fields) -> Result<Self, Error> {
        let words = ["json", "markdown", "zip"];
        let formats = [Self::Json, Self::Markdown, Self::Zip];
        let at = fields.word("output_format", &words, 0)?;
        Ok(formats.get(at).copied().unwrap_or(Self::Json))
    }
}

pub async fn process(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let form = form(&request, payload, engine.max_document_bytes() as usize).await?;
    let key = repeat::key(&request, Some(NAME))?;
    let (asked, fields) = Asked::of_form(&engine, form, &FIELDS, Beside::of(&request)?)?;
    let (format, include) = (Format::of(&fields)?, fields.flag("include_markdown")?);
    let repeat = Repeat {
        body_sha256: asked.body_sha256,
        key,
        seen: None,
    };
    let submitted = engine
        .submit_with(&caller, asked.job, repeat, asked.extras)
        .await;
    let Submitted { view, is_repeat } = submitted.map_err(renamed)?;
    let view = engine.wait(&caller.scope, view.id, WAIT).await?;
    let mut response = if view.status.is_terminal() {
        let with_markdown = include || !matches!(format, Format::Json);
        let ended = ended(&engine, &caller.scope, &view, with_markdown);
        let (mut body, result) = ended.await?;
        body["usage"] = remaining(&engine, &caller.scope).await?;
        if let Some(result) = result.filter(|_| asked.enforce_schema) {
            enforce(&result)?;
        }
        sent(format, &body)?
    } else {
        HttpResponse::Accepted()
            .insert_header((LOCATION, format!("/v2/jobs/{}", view.id)))
            .insert_header((RETRY_AFTER, "1"))
            .json(job_body(&engine, &caller.scope, &view).await?)
    };
    if is_repeat {
        repeat::mark(&mut response);
    }
    Ok(response)
}

/// The result of a job that has ended; refused where it failed.
pub async fn ended(
    engine: &Engine,
    scope: &Scope,
    view: &JobView,
    with_markdown: bool,
) -> Result<(Value, Option<JobResult>), Error> {
    match (view.status, &view.error) {
        (Status::Failed, Some((fault, message))) => Err(Error::new(
            Code::ProcessFailed,
            format!("{message} (`{}`)", fault.name()),
        )),
        (Status::Failed | Status::Cancelled, _) => Err(Error::new(
            Code::ProcessFailed,
            "The job was cancelled before it had a result. Send the request again.",
        )),
        _ => result_body(engine, scope, view, with_markdown).await,
    }
}

/// Refuses a result that is not what its schema asks for.
pub fn enforce(result: &JobResult) -> Result<(), Error> {
    let refused = "The extraction does not follow its schema in full. Send the request without `enforce_schema` to get it as it is.";
    let mut error = Error::new(Code::ProcessFailed, refused);
    for failed in &result.failed {
        error = error.at(
            format!("/extraction{}", failed.path),
            failed.error_message.clone(),
        );
    }
    let broken = result.validation.iter().flat_map(|told| &told.errors);
    for breach in broken {
        error = error.at(
            format!("/extraction{}", breach.path),
            breach.message.clone(),
        );
    }
    let is_valid = result.validation.as_ref().is_none_or(|told| told.valid);
    if is_valid && !result.view.is_partial() {
        return Ok(());
    }
    Err(error)
}

fn sent(format: Format, body: &Value) -> Result<HttpResponse, Error> {
    let markdown = body["markdown"].as_str().unwrap_or_default();
    Ok(match format {
        Format::Json => HttpResponse::Ok().json(body),
        Format::Markdown => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/markdown; charset=utf-8"))
            .body(markdown.to_owned()),
        Format::Zip => {
            let whole = serde_json::to_vec_pretty(body).map_err(|_| Error::internal())?;
            let mut archive = Archive::default();
            archive.add("result.json", &whole)?;
            archive.add("document.md", markdown.as_bytes())?;
            let bytes = Bytes::from(archive.finish()?);
            download("result.zip".into(), "application/zip", bytes)
        }
    })
}
