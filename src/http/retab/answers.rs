//! Jobs in the words of the dialect.

use serde_json::{Value, json};

use super::bodies;
use super::documents::{restore, shorten};
use super::endpoints::Endpoint;
use super::jobs::named;
use crate::domain::error::{Code, Error};
use crate::domain::id::{DocumentId, Scope};
use crate::domain::job::JobView;
use crate::domain::operation::Operation;
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::engine::{Engine, Wanted};
use crate::http::query::Parameters;

/// How long a job of another dialect is shown to be kept before it has ended: it is kept from then.
const USUAL_LIFETIME_MS: u64 = super::LIFETIME_MS;

/// How much of a request is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    None,
    /// Without the content of documents.
    Brief,
    Whole,
}

/// What is shown of a job beside its state.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub request: Part,
    pub response: bool,
}

impl Shown {
    pub const BRIEF: Self = Self {
        request: Part::Brief,
        response: false,
    };

    /// What the parameters ask for; where they say nothing, this.
    pub fn asked(self, parameters: &Parameters) -> Result<Self, Error> {
        let mut shown = self;
        if parameters.get("include_request").is_some() {
            shown.request = if parameters.flag("include_request")? {
                Part::Whole
            } else {
                Part::None
            };
        }
        if parameters.get("include_response").is_some() {
            shown.response = parameters.flag("include_response")?;
        }
        Ok(shown)
    }
}

pub fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "queued",
        // One that is held back for a reviewer has not ended, and has no word of its own here.
        Status::Processing | Status::Retrying | Status::ReviewRequired => "in_progress",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::Expired => "expired",
    }
}

/// A job.
pub async fn job(
    engine: &Engine,
    scope: &Scope,
    view: &JobView,
    shown: Shown,
) -> Result<Value, Error> {
    let mut body = state(scope, view);
    if view.status == Status::Expired {
        return Ok(expired(body, shown));
    }
    if shown.response && view.status == Status::Completed {
        match response(engine, scope, view).await {
            Ok(response) => body["response"] = response,
            // Its time has come, and nobody has swept it away yet.
            Err(gone) if gone.code == Code::ResultExpired => return Ok(expired(body, shown)),
            Err(other) => return Err(other),
        }
    }
    body["request"] = match shown.request {
        Part::None => Value::Null,
        part => request(engine, scope, view, part).await?,
    };
    Ok(body)
}

/// All that does not need another look into the store.
fn state(scope: &Scope, view: &JobView) -> Value {
    let error = view
        .error
        .as_ref()
        .filter(|_| view.status == Status::Failed);
    let error = error.map(
        |(fault, message)| json!({ "code": fault.name(), "message": message, "details": null }),
    );
    let expires_at = view.expires_at.or_else(|| view.latest_expiry());
    let expires_at = expires_at.unwrap_or(view.created_at.plus_millis(USUAL_LIFETIME_MS));
    json!({
        "id": named(view.id),
        "object": "job",
        "status": word(view.status),
        "endpoint": Endpoint::of(view).path(),
        "request": null,
        "response": null,
        "error": error,
        "created_at": seconds(view.created_at),
        "started_at": view.started_at.map(seconds),
        "completed_at": view.ended_at.map(seconds),
        "expires_at": seconds(expires_at),
        "organization_id": scope.as_str(),
        "metadata": view.spec.metadata,
    })
}

/// A job whose request and response are gone. Older clients take no null for a request.
fn expired(mut body: Value, shown: Shown) -> Value {
    body["status"] = json!(word(Status::Expired));
    body["error"] = Value::Null;
    if shown.request == Part::Brief {
        body["request"] = json!({});
    }
    body
}

/// Unix time.
pub fn seconds(time: Time) -> i64 {
    time.0.div_euclid(1_000)
}

async fn response(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Value, Error> {
    let body = if view.spec.batch.is_some() {
        bodies::batch(engine, scope, view).await?
    } else {
        let result = engine.result(scope, view.id, Wanted::Final).await?;
        bodies::of(engine, scope, &result).await
    };
    Ok(json!({ "status_code": status_code(view), "body": body }))
}

/// 200, or 207 where anything is known to be missing.
pub fn status_code(view: &JobView) -> u16 {
    if view.is_partial() { 207 } else { 200 }
}

/// The request of a job; of one of another dialect what comes nearest to it.
async fn request(
    engine: &Engine,
    scope: &Scope,
    view: &JobView,
    part: Part,
) -> Result<Value, Error> {
    let Some(asked) = bodies::own_request(view) else {
        return Ok(json!({
            "document": { "filename": view.spec.document_name },
            "model": view.spec.config.model,
        }));
    };
    let mut request = asked.request.clone();
    let mut ids = vec![view.spec.document_id];
    if let Operation::GenerateSchema(asked) = &view.spec.operation {
        ids.extend(asked.documents.iter().map(|further| further.document_id));
    }
    let mut documents: Vec<&mut Value> = Vec::new();
    if let Value::Object(members) = &mut request {
        for (name, value) in members.iter_mut() {
            match (name.as_str(), value) {
                ("document", document) => documents.push(document),
                ("documents", Value::Array(items)) => documents.extend(items),
                _ => {}
            }
        }
    }
    for (document, id) in documents.into_iter().zip(ids) {
        fill(engine, scope, document, id, part).await?;
    }
    Ok(request)
}

/// Gives a document its content again, where it is wanted and still there.
async fn fill(
    engine: &Engine,
    scope: &Scope,
    document: &mut Value,
    id: DocumentId,
    part: Part,
) -> Result<(), Error> {
    if part != Part::Whole {
        shorten(document);
        return Ok(());
    }
    match engine.document_content(scope, id).await {
        Ok((_, bytes)) => restore(document, &bytes),
        Err(gone) if gone.code == Code::DocumentNotFound => shorten(document),
        Err(other) => return Err(other),
    }
    Ok(())
}
