//! Jobs in the words of the dialect.

use serde_json::{Value, json};

use crate::domain::error::{Code, Error};
use crate::domain::id::Scope;
use crate::domain::job::JobView;
use crate::domain::record::RecordStatus;
use crate::domain::status::Status;
use crate::engine::{Engine, RecordResult, Wanted};

/// Records that are asked for at once.
const STEP: u32 = 200;

/// Clients of this dialect know these four words and take any other for an error.
fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "queued",
        Status::Processing | Status::Retrying | Status::ReviewRequired => "processing",
        Status::Completed => "completed",
        Status::Failed | Status::Cancelled | Status::Expired => "failed",
    }
}

/// The error of a job that failed: also of one whose end has no word here.
fn error(view: &JobView) -> Value {
    let (code, message) = match (view.status, &view.error) {
        (Status::Cancelled, _) => ("cancelled", "The job was cancelled."),
        (Status::Expired, _) => (
            "expired",
            "The results were kept until `expires_at`. Start the job again to have them again.",
        ),
        (_, Some((fault, message))) => (fault.name(), message.as_str()),
        (_, None) => ("internal", "The job failed."),
    };
    json!({ "code": code, "message": message })
}

/// A job without what was extracted, as lists show it.
pub fn summary(view: &JobView) -> Value {
    let spent = view.spent();
    let mut body = json!({
        "job_id": view.id,
        "model": view.spec.config.model,
        "status": word(view.status),
        "progress": view.progress().completion_percentage.floor() as u64,
        "created_at": view.created_at,
        "updated_at": view.updated_at,
        "completed_at": view.ended_at,
        "expires_at": view.expires_at,
        "usage": {
            "input_tokens": spent.prompt_token_count,
            "output_tokens": spent.candidates_token_count + spent.thoughts_token_count,
            "total_tokens": spent.total_token_count,
            "requests": spent.request_count,
        },
    });
    if word(view.status) == "failed" {
        body["error"] = error(view);
    }
    if !view.spec.metadata.is_empty() {
        body["metadata"] = json!(view.spec.metadata);
    }
    body
}

/// A job with what was extracted.
pub async fn whole(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Value, Error> {
    let mut body = summary(view);
    if view.status != Status::Completed {
        return Ok(body);
    }
    let extracted = match view.spec.batch {
        Some(batch) if batch.is_file => {
            body["output_file_id"] = json!(view.output_file);
            return Ok(body);
        }
        Some(_) => records(engine, scope, view).await,
        None => document(engine, scope, view).await,
    };
    match extracted {
        Ok(results) => {
            let failed = results.iter().filter(|one| one["status"] == "failed");
            let failed = failed.count();
            body["summary"] = json!({
                "total_count": results.len(),
                "success_count": results.len() - failed,
                "failed_count": failed,
            });
            body["results"] = json!(results);
        }
        // Gone since the job was looked at.
        Err(gone) if gone.code == Code::ResultExpired => {
            let view = JobView {
                status: Status::Expired,
                ..view.clone()
            };
            return Ok(summary(&view));
        }
        Err(other) => return Err(other),
    }
    Ok(body)
}

async fn records(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Vec<Value>, Error> {
    let (mut results, mut after) = (Vec::new(), None);
    loop {
        let page = engine.record_results(scope, view.id, after, STEP).await?;
        let Some(last) = page.last() else {
            return Ok(results);
        };
        after = Some(last.index);
        results.extend(page.iter().map(record));
    }
}

/// A record that is not whole has failed here: its client would take what is missing for nothing.
fn record(result: &RecordResult) -> Value {
    let is_whole = result.status == RecordStatus::Succeeded;
    let mut body = json!({
        "id": result.id,
        "index": result.index,
        "status": if is_whole { "completed" } else { "failed" },
        "output": result.value.as_ref().filter(|_| is_whole),
    });
    if let Some((fault, message)) = &result.error {
        body["error"] = json!({ "code": fault.name(), "message": message });
    }
    if !is_whole && let Some(value) = &result.value {
        body["partial_output"] = value.clone();
    }
    body
}

/// A job of another dialect, over one document: its only record.
async fn document(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Vec<Value>, Error> {
    let result = engine.result(scope, view.id, Wanted::Final).await?;
    let is_whole = !view.is_partial();
    let mut body = json!({
        "id": view.spec.document_id,
        "index": 0,
        "status": if is_whole { "completed" } else { "failed" },
        "output": is_whole.then_some(&result.results),
    });
    if !is_whole {
        let failed = result.failed.first();
        let (code, message) = failed.map_or(
            ("incomplete_array", "Rows of an array are missing."),
            |failed| (failed.error_type.name(), failed.error_message.as_str()),
        );
        body["error"] = json!({ "code": code, "message": message });
        body["partial_output"] = result.results;
    }
    Ok(vec![body])
}
