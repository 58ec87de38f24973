//! Jobs and results in the words of the dialect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::NAME;
use crate::domain::error::{Code, Error};
use crate::domain::evidence::Attributions;
use crate::domain::id::Scope;
use crate::domain::job::JobView;
use crate::domain::operation::Operation;
use crate::domain::review::{Decision, Predicate};
use crate::domain::status::Status;
use crate::engine::{Engine, JobResult};

/// Milliseconds after which a client is to ask again.
const RETRY_AFTER_MS: u32 = 5_000;
/// Missing parts that a message names.
const NAMED: usize = 5;

fn address(view: &JobView) -> String {
    format!("/api/v1/extraction-jobs/{}", view.id)
}

pub fn word(view: &JobView) -> &'static str {
    match view.status {
        Status::Pending => "queued",
        Status::Processing | Status::Retrying => "processing",
        Status::ReviewRequired => "review_required",
        Status::Failed | Status::Cancelled => "failed",
        // Nothing says how it ended but what is left of it.
        Status::Expired if view.is_withheld() || view.subtrees_succeeded == 0 => "failed",
        Status::Completed | Status::Expired => "completed",
    }
}

/// The answer to a create.
pub fn created(view: &JobView) -> Value {
    json!({
        "success": true,
        "job": {
            "id": view.id,
            "status": word(view),
            "statusUrl": address(view),
            "retryAfterMs": RETRY_AFTER_MS,
        }
    })
}

/// A job as it is polled: no value is in it.
pub fn job(engine: &Engine, view: &JobView) -> Value {
    let word = word(view);
    let mut body = json!({
        "id": view.id,
        "status": word,
        "createdAt": view.created_at,
        "updatedAt": view.updated_at,
    });
    match word {
        "completed" => {
            body["completedAt"] = json!(view.ended_at);
            body["resultAvailable"] = json!(engine.has_result(view));
            body["resultUrl"] = json!(format!("{}/result", address(view)));
        }
        "failed" => {
            body["failedAt"] = json!(view.ended_at);
            body["error"] = error(view);
        }
        "review_required" => {
            let review = view.review.as_ref();
            body["resultAvailable"] = json!(false);
            body["reviewRequiredAt"] = json!(review.map(|review| review.required_at));
            body["reviewThreshold"] = json!(view.spec.config.review.as_ref().and_then(threshold));
            body["reviewFlaggedFieldCount"] = json!(review.map(|review| review.flagged));
            body["retryAfterMs"] = json!(RETRY_AFTER_MS);
        }
        "processing" => {
            body["progress"] = json!(view.progress().completion_percentage.floor() as u64);
            body["retryAfterMs"] = json!(RETRY_AFTER_MS);
        }
        _ => body["retryAfterMs"] = json!(RETRY_AFTER_MS),
    }
    json!({ "success": true, "job": body })
}

/// The confidence of a gate in percent, the highest of several; none where it asks for something else.
fn threshold(gate: &Predicate) -> Option<u64> {
    match gate {
        Predicate::ConfidenceBelow(least) => Some((least * 100.0).round() as u64),
        Predicate::AnyOf(inner) | Predicate::AllOf(inner) => {
            inner.iter().filter_map(threshold).max()
        }
        _ => None,
    }
}

fn error(view: &JobView) -> Value {
    let rejected = view.review.as_ref().and_then(|review| review.decision);
    let (code, message) = match (view.status, &view.error) {
        (Status::Cancelled, _) => ("CANCELLED", "The job was cancelled."),
        _ if rejected == Some(Decision::Reject) => {
            ("REVIEW_REJECTED", "A reviewer rejected the result.")
        }
        (_, Some((_, message))) => ("PROCESSING_ERROR", message.as_str()),
        _ => ("PROCESSING_ERROR", "Document processing failed."),
    };
    json!({ "code": code, "message": message })
}

/// Why there is no result to give, before it is asked for.
pub fn refuse(view: &JobView) -> Result<(), Error> {
    let id = view.id;
    let (code, message) = match view.status {
        Status::Completed | Status::Expired => return Ok(()),
        Status::Failed | Status::Cancelled => (
            Code::JobFailed,
            format!("Job {id} has failed: {}", message_of(view)),
        ),
        Status::ReviewRequired => (
            Code::ReviewRequired,
            format!("The result of job {id} is held back until it is reviewed."),
        ),
        Status::Pending | Status::Processing | Status::Retrying => (
            Code::ResultNotReady,
            format!(
                "Job {id} is {}. Poll {} until it has ended.",
                word(view),
                address(view)
            ),
        ),
    };
    Err(Error::new(code, message))
}

fn message_of(view: &JobView) -> String {
    let error = error(view);
    error["message"].as_str().unwrap_or_default().to_owned()
}

/// What came of a job over one file.
pub async fn data(engine: &Engine, scope: &Scope, result: &JobResult) -> Value {
    let view = &result.view;
    let took = view.ended_at.map(|end| end.since(view.created_at));
    let document = engine.document(scope, view.spec.document_id).await.ok();
    let pages = document.map(|document| document.page_count);
    json!({
        "completionTime": took.map(|millis| millis as f64 / 1_000.0),
        "originalName": view.spec.document_name,
        "processedPages": pages,
        "documents": [document_of(engine, scope, result, pages).await],
    })
}

async fn document_of(
    engine: &Engine,
    scope: &Scope,
    result: &JobResult,
    pages: Option<u32>,
) -> Value {
    let spec = &result.view.spec;
    let is_extracted = spec.operation.is_extract();
    let mut body = Map::from_iter([
        ("extracted".to_owned(), json!(is_extracted)),
        ("documentName".to_owned(), json!(spec.document_name)),
        (
            "averageDocumentConfidence".to_owned(),
            json!(result.attributions.as_ref().and_then(average)),
        ),
        (
            "sourcePages".to_owned(),
            json!((1..=pages.unwrap_or(0)).collect::<Vec<_>>()),
        ),
    ]);
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if is_extracted {
        put("content", result.results.clone());
        if let Some(message) = missing(result) {
            put("message", json!(message));
            put("reason", json!("incomplete"));
        }
    } else {
        put("content", json!({}));
        let (reason, message) = not_extracted(result);
        put("reason", json!(reason));
        put("message", json!(message));
    }
    if let Some(name) = spec
        .template
        .as_ref()
        .and_then(|used| used.template.as_ref())
    {
        put("usedTemplateName", json!(name));
    }
    let is_own = spec.dialect.as_deref() == Some(NAME);
    let asked = spec.asked.as_ref().filter(|_| is_own);
    let wants = |name: &str| asked.is_some_and(|asked| asked.request[name] == true);
    if wants("returnDocuments")
        && let Ok((_, bytes)) = engine.document_content(scope, spec.document_id).await
    {
        put("returnedDocumentBase64", json!(STANDARD.encode(bytes)));
    }
    if wants("returnText")
        && let Ok(text) = engine.document_text(scope, spec.document_id).await
    {
        put("returnedText", json!(text));
    }
    Value::Object(body)
}

/// Over all values whose confidence is known; none where that is none of them.
fn average(attributions: &Attributions) -> Option<f64> {
    let known = attributions.values().filter_map(|one| one.confidence);
    let known: Vec<f64> = known.collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    (!known.is_empty()).then(|| (mean * 1_000.0).round() / 1_000.0)
}

/// What is known to be missing of what was extracted.
fn missing(result: &JobResult) -> Option<String> {
    let failed = result.failed.iter();
    let mut parts: Vec<String> = failed
        .map(|one| format!("`{}` ({})", one.path, one.error_type.name()))
        .collect();
    let arrays = result
        .view
        .arrays
        .iter()
        .filter(|array| array.is_incomplete());
    parts.extend(arrays.map(|array| format!("rows of `{}`", array.path)));
    let count = parts.len();
    parts.truncate(NAMED);
    (count > 0).then(|| format!("Missing, {count} in all: {}.", parts.join(", ")))
}

/// Why nothing was: a word and a sentence.
fn not_extracted(result: &JobResult) -> (&'static str, String) {
    let spec = &result.view.spec;
    let used = spec.template.as_ref();
    match (&spec.operation, used.and_then(|used| used.filter.as_ref())) {
        (Operation::Classify(_), Some(filter)) => {
            let kind = used.and_then(|used| used.kind.as_ref()).map_or_else(
                || "none of its kinds".to_owned(),
                |kind| format!("`{kind}`"),
            );
            let message = format!(
                "The filter `{filter}` took the document for {kind}, which no template extracts."
            );
            ("skipped_by_filter", message)
        }
        (operation, _) => {
            let message = format!("The job was to `{}`, not to extract.", operation.name());
            ("not_an_extraction", message)
        }
    }
}
