//! Records of a batch: as they come in, and what became of each.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::wrong;
use crate::domain::error::{Code, Error};
use crate::domain::event::Links;
use crate::domain::id::{FileId, JobId};
use crate::domain::job::JobView;
use crate::domain::record::{MAX_INPUTS, RecordInput};
use crate::engine::{DocumentSource, Engine, RecordResult, Records};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{on, resource};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/jobs/{id}/records", [on(Method::GET, records)]));
}

/// Records of a page when the request names no number, and the most.
const LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// The member `inputs` of a job's body.
pub fn inputs(inputs: Value) -> Result<DocumentSource, Error> {
    let Value::Array(inputs) = inputs else {
        return Err(wrong("/inputs", "Expected a list of records."));
    };
    if inputs.len() > MAX_INPUTS {
        let message = format!(
            "{} records; a request takes 1 to {MAX_INPUTS}. Upload more of them as a file and send `file_id`.",
            inputs.len()
        );
        return Err(wrong("/inputs", &message));
    }
    let inputs = inputs.into_iter().enumerate().map(|(index, input)| {
        let read = match input {
            Value::Object(members) => RecordInput::of_members(members),
            _ => Err("Expected an object with `data`, `text` or `document_id`.".to_owned()),
        };
        read.map_err(|message| wrong(&format!("/inputs/{index}"), &message))
    });
    let inputs = inputs.collect::<Result<_, _>>()?;
    Ok(DocumentSource::Records(Records::Inputs(inputs)))
}

/// The member `file_id` of a job's body.
pub fn file(id: &str) -> Result<DocumentSource, Error> {
    Ok(DocumentSource::Records(Records::File(FileId::parse(id)?)))
}

fn record_body(record: &RecordResult) -> Value {
    let (error_type, error_message) =
        record.error.as_ref().map_or((None, None), |(fault, said)| {
            (Some(fault.name()), Some(said.as_str()))
        });
    json!({
        "record_index": record.index,
        "record_id": record.id,
        "status": record.status,
        "results": record.value,
        "attributions": record.attributions,
        "failed_subtrees": record.failed,
        "arrays": record.arrays,
        "validation": record.validation,
        "error_type": error_type,
        "error_message": error_message,
    })
}

/// The result of a batch: how many records came to which end, and where they are.
pub(super) fn results_body(view: &JobView) -> Value {
    let links = Links::of(view.id);
    json!({
        "job_id": view.id,
        "status": view.status,
        "summary": view.records,
        "records_url": format!("{}/records", links.job),
        "output_file_id": view.output_file,
        "metadata": {
            "usage_metadata": view.spent(),
            "warnings": view.spec.warnings,
            "model": view.spec.config.model,
            "prompt_version": view.spec.prompt_version,
            "duration_ms": view.ended_at.map(|end| end.since(view.created_at)),
            "total_subtrees": view.total_subtrees,
            "subtrees_succeeded": view.subtrees_succeeded,
            "subtrees_failed": view.subtrees_failed,
            "partial": view.is_partial(),
        },
        "config": view.spec.config,
        "last_event_id": format!("{}.{}", view.id, view.sequence),
    })
}

async fn records(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let parameters = Parameters::of(&request)?;
    let limit = parameters.number("limit", 1..=MAX_LIMIT, LIMIT)?;
    let after = parameters.get("after").map(after).transpose()?;
    let page = engine.record_results(&caller.0, id, after, limit).await?;
    let next = page.last().map(|last| last.index);
    let records: Vec<_> = page.iter().map(record_body).collect();
    Ok(HttpResponse::Ok().json(json!({ "job_id": id, "records": records, "next_after": next })))
}

fn after(text: &str) -> Result<u64, Error> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        let message = format!(
            "`{shown}` is not allowed for `after`; expected the number of a record, such as `next_after` of the page before."
        );
        Error::new(Code::InvalidRequest, message.clone()).at("/after", message)
    })
}
