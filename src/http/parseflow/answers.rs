//! Jobs and results in the words of the dialect.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::NAME;
use super::account::remaining;
use super::asked::Mode;
use crate::domain::error::{Code, Error};
use crate::domain::id::Scope;
use crate::domain::job::JobView;
use crate::domain::operation::Operation;
use crate::domain::page::ListQuery;
use crate::domain::record::Batch;
use crate::domain::status::Status;
use crate::domain::webhook::DeliveryState;
use crate::engine::ports::Delivery;
use crate::engine::{Engine, FailedSubtree, JobResult, Wanted};

/// Records that are asked for at once.
const STEP: u32 = 200;

/// Clients of this dialect know these words and `delivered`.
fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "queued",
        Status::Processing | Status::Retrying | Status::ReviewRequired => "running",
        Status::Completed => "succeeded",
        Status::Failed | Status::Cancelled | Status::Expired => "failed",
    }
}

/// How the document was read; none of a job of another dialect that did it otherwise.
fn mode(engine: &Engine, view: &JobView) -> Option<&'static str> {
    let spec = &view.spec;
    if spec.dialect.as_deref() == Some(NAME) {
        let named = spec.endpoint.as_deref();
        let known = Mode::ALL.into_iter().map(Mode::name);
        return known.into_iter().find(|name| Some(*name) == named);
    }
    match spec.operation {
        _ if spec.has_own_key => Some(Mode::ByokAssisted.name()),
        Operation::Parse(_) => Some(Mode::Basic.name()),
        _ if engine.embedded_model().as_ref() == Some(&spec.config.model) => {
            Some(Mode::Deterministic.name())
        }
        _ => None,
    }
}

/// The error of a job that failed: also of one whose end has no word here.
fn error(view: &JobView) -> Value {
    let (code, message) = match (view.status, &view.error) {
        (Status::Cancelled, _) => ("cancelled", "The job was cancelled."),
        (Status::Expired, _) => (
            "expired",
            "The result was kept for a time and is gone. Start the job again to have it again.",
        ),
        (_, Some((fault, message))) => (fault.name(), message.as_str()),
        (_, None) => ("internal", "The job failed."),
    };
    json!({ "code": code, "message": message })
}

/// A job; once it has ended also what came of it and of its callback.
pub async fn job_body(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Value, Error> {
    let mut body = outcome(engine, scope, view).await?;
    body["created_at"] = json!(view.created_at);
    body["updated_at"] = json!(view.updated_at);
    body["callback_url"] = json!(view.spec.callback_url);
    body["delivery"] = Value::Null;
    if let Some(mode) = mode(engine, view) {
        body["mode"] = json!(mode);
    }
    if let Some(result) = body["result"].as_object_mut() {
        result.insert("usage".into(), remaining(engine, scope).await?);
    }
    if !view.status.is_terminal() {
        return Ok(body);
    }
    if let Some(delivery) = delivery(engine, scope, view).await? {
        if delivery["delivered"] == true && body["status"] == "succeeded" {
            body["status"] = json!("delivered");
        }
        body["delivery"] = delivery;
    }
    Ok(body)
}

/// What became of the callbacks of a job; none while there are none.
async fn delivery(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Option<Value>, Error> {
    let all = ListQuery {
        limit: 100,
        cursor: None,
        search: None,
    };
    let all = engine.job_deliveries(scope, view.id, all).await?.items;
    let callbacks: Vec<_> = all.iter().filter(|one| one.webhook.is_none()).collect();
    if callbacks.is_empty() {
        return Ok(None);
    }
    let is_delivered = |one: &&Delivery| one.state == DeliveryState::Delivered;
    let mut told = json!({
        "attempts": callbacks.iter().map(|one| one.attempts).sum::<u32>(),
        "delivered": callbacks.iter().any(is_delivered),
    });
    let last = callbacks.iter().max_by_key(|one| one.last_attempt_at);
    if let Some(last) = last {
        if let Some(at) = last.last_attempt_at {
            told["last_attempt_at"] = json!(at);
        }
        if let Some(status) = last.last_status {
            told["last_status_code"] = json!(status);
        }
    }
    Ok(Some(told))
}

/// What a callback of this dialect's jobs is told. Nothing of it changes with the time.
pub fn callback(
    engine: Engine,
    scope: Scope,
    view: JobView,
) -> BoxFuture<'static, Result<String, Error>> {
    async move { Ok(outcome(&engine, &scope, &view).await?.to_string()) }.boxed()
}

/// How a job stands, and what came of it.
async fn outcome(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Value, Error> {
    let mut body = json!({
        "job_id": view.id,
        "status": word(view.status),
        "result": null,
        "error": null,
    });
    if word(view.status) == "failed" {
        body["error"] = error(view);
    }
    if view.status != Status::Completed {
        return Ok(body);
    }
    match result_body(engine, scope, view, true).await {
        Ok((result, _)) => body["result"] = result,
        // Gone since the job was looked at.
        Err(gone) if gone.code == Code::ResultExpired => {
            let gone = JobView {
                status: Status::Expired,
                ..view.clone()
            };
            body["status"] = json!(word(gone.status));
            body["error"] = error(&gone);
        }
        // Its document was deleted: what stood in it is not told again.
        Err(gone) if gone.code == Code::DocumentNotFound => {
            body["error"] = json!({ "code": gone.code.name(), "message": gone.detail });
        }
        Err(other) => return Err(other),
    }
    Ok(body)
}

/// What came of a job that has ended; with it the engine's own reading, of a job over one document.
pub async fn result_body(
    engine: &Engine,
    scope: &Scope,
    view: &JobView,
    with_markdown: bool,
) -> Result<(Value, Option<JobResult>), Error> {
    if let Some(batch) = view.spec.batch {
        let extraction = records(engine, scope, view, batch).await?;
        return Ok((of_parts(engine, view, &json!({}), extraction), None));
    }
    let result = engine.result(scope, view.id, Wanted::Final).await?;
    let (parsed, extraction) = match view.spec.operation {
        Operation::Parse(_) => (result.results.clone(), json!({})),
        _ => (engine.parsed(scope, view).await?, result.results.clone()),
    };
    let mut body = of_parts(engine, view, &parsed, extraction);
    if with_markdown {
        body["markdown"] = parsed["markdown"].clone();
    }
    let missing = missing(&result);
    if !missing.is_empty() {
        body["missing"] = json!(missing);
    }
    Ok((body, Some(result)))
}

fn of_parts(engine: &Engine, view: &JobView, parsed: &Value, extraction: Value) -> Value {
    let chunks = parsed["chunks"].as_array().into_iter().flatten();
    let chunks = chunks.map(|chunk| {
        json!({
            "index": chunk["index"],
            "text": chunk["text"],
            "tokens": chunk["tokens"],
            "page": chunk["page"],
            "confidence": chunk["confidence"],
        })
    });
    let chunks: Vec<Value> = chunks.collect();
    let mut body = json!({
        "document_id": view.spec.document_id,
        "filename": view.spec.document_name,
        "chunk_count": chunks.len(),
        "chunks": chunks,
        "extraction": extraction,
        "markdown": null,
    });
    if let Some(mode) = mode(engine, view) {
        body["mode"] = json!(mode);
    }
    body
}

/// What a reader of `extraction` must not take for whole.
fn missing(result: &JobResult) -> Vec<Value> {
    let failed = result.failed.iter().map(|failed: &FailedSubtree| {
        json!({
            "path": failed.path,
            "code": failed.error_type.name(),
            "message": failed.error_message,
        })
    });
    let arrays = result.view.arrays.iter();
    let arrays = arrays.filter(|array| array.is_incomplete()).map(|array| {
        json!({
            "path": array.path,
            "code": "incomplete_array",
            "message": "Rows of this array are missing.",
        })
    });
    failed.chain(arrays).collect()
}

/// The records of a batch of another dialect.
async fn records(
    engine: &Engine,
    scope: &Scope,
    view: &JobView,
    batch: Batch,
) -> Result<Value, Error> {
    if batch.is_file {
        return Ok(json!({ "output_file_id": view.output_file }));
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = engine.record_results(scope, view.id, after, STEP).await?;
        let Some(last) = page.last() else {
            return Ok(json!({ "records": all }));
        };
        after = Some(last.index);
        all.extend(page.iter().map(|record| {
            let error = record.error.as_ref();
            let error = error.map(|(fault, message)| json!({"code": fault.name(), "message": message}));
            json!({ "id": record.id, "index": record.index, "extraction": record.value, "error": error })
        }));
    }
}
