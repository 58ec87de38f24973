//! An extraction while it lands: a line of JSON for each look at it that shows something new.

use std::io;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::answers::seconds;
use super::bodies::extraction_id;
use super::direct::unanswered;
use super::flat::{Flat, difference, flatten, likelihoods};
use super::jobs::named;
use crate::domain::error::{Code, Error};
use crate::domain::id::{Cursor, Scope};
use crate::domain::job::JobView;
use crate::domain::time::Time;
use crate::engine::{Engine, JobResult, Wanted};

/// Events read at a time.
const PAGE: u32 = 200;
/// Clients skip a line with nothing in it.
const HEARTBEAT: Bytes = Bytes::from_static(b"\n");

/// How long the last line has to leave before the connection is broken off.
const FLUSH: Duration = Duration::from_millis(100);

/// The response that streams a job to its end.
pub fn respond(engine: Engine, scope: Scope, view: &JobView, heartbeat: Duration) -> HttpResponse {
    let landing = Landing {
        engine,
        scope,
        view: view.clone(),
        heartbeat,
        sequence: 0,
        shown: Flat::new(),
        sure: Flat::new(),
        first_at: None,
        stage: Stage::Open,
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/stream+json"))
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(lines(landing))
}

fn lines(landing: Landing) -> impl Stream<Item = io::Result<Bytes>> {
    unfold(landing, |mut landing| async move {
        let line = match landing.stage {
            Stage::Ended => return None,
            Stage::Broken => {
                landing.stage = Stage::Ended;
                // The last line is sent while there is nothing more to send.
                sleep(FLUSH).await;
                // Clients look at no error within a stream: what came so far would pass for all.
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Stage::Open => Ok(landing.next().await.unwrap_or_else(|error| {
                landing.stage = Stage::Broken;
                landing.fault(&error)
            })),
        };
        Some((line, landing))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last line has been sent.
    Ended,
    /// It has been sent, and is not the end of the job.
    Broken,
}

/// How far a client has seen a job.
struct Landing {
    engine: Engine,
    scope: Scope,
    view: JobView,
    heartbeat: Duration,
    /// Of the last event that was looked at.
    sequence: u64,
    shown: Flat,
    /// The confidences that were shown.
    sure: Flat,
    first_at: Option<Time>,
    stage: Stage,
}

impl Landing {
    async fn next(&mut self) -> Result<Bytes, Error> {
        let (engine, scope, job) = (self.engine.clone(), self.scope.clone(), self.view.id);
        let cursor = (self.sequence > 0).then_some(Cursor {
            job: Some(job),
            sequence: self.sequence,
        });
        let asked_at = Instant::now();
        let page = engine.events_page(&scope, job, cursor, PAGE, self.heartbeat);
        let page = match page.await {
            // The user has as many readers as it may: this one looks less often.
            Err(full) if full.code == Code::TooManyStreams => {
                sleep(self.heartbeat).await;
                return Ok(HEARTBEAT);
            }
            page => page?,
        };
        self.sequence = page.cursor;
        if page.terminal {
            self.view = engine.job(&scope, job).await?;
            if let Some(failed) = unanswered(&self.view) {
                return Err(failed);
            }
            let result = engine.result(&scope, job, Wanted::Final).await?;
            self.stage = Stage::Ended;
            return Ok(self.look(&result));
        }
        if page.events.is_empty() {
            if asked_at.elapsed() < self.heartbeat {
                return Err(draining(&self.view));
            }
            return Ok(HEARTBEAT);
        }
        match engine.result(&scope, job, Wanted::SoFar).await {
            Ok(result) => Ok(self.look(&result)),
            // Nothing is shown before somebody has looked at it.
            Err(held) if held.code == Code::ReviewRequired => Ok(HEARTBEAT),
            Err(other) => Err(other),
        }
    }

    /// What is new in a result; an empty line where nothing is, before the end.
    fn look(&mut self, result: &JobResult) -> Bytes {
        self.view = result.view.clone();
        let now = flatten(&result.results);
        let (new, gone) = difference(&self.shown, &now);
        let known = result.attributions.as_ref();
        let tree = known.map(|attributions| likelihoods(&result.results, attributions));
        let mut sure = flatten(&tree.unwrap_or_default());
        sure.retain(|_, confidence| confidence.is_number());
        let (surer, _) = difference(&self.sure, &sure);
        let has_ended = self.stage == Stage::Ended;
        if !has_ended && new.is_empty() && gone.is_empty() && surer.is_empty() {
            return HEARTBEAT;
        }
        self.first_at.get_or_insert(self.view.updated_at);
        (self.shown, self.sure) = (now, sure);
        let whole = has_ended.then_some(&result.results);
        let delta = json!({
            "role": "assistant",
            // Text comes whole, at the end: what was found until then is no JSON yet.
            "content": whole.map_or_else(String::new, Value::to_string),
            "flat_parsed": new,
            "flat_likelihoods": surer,
            "flat_deleted_keys": gone,
            "is_valid_json": has_ended,
            "full_parsed": whole,
        });
        let is_partial = has_ended && self.view.is_partial();
        let reason = match (has_ended, is_partial) {
            (false, _) => None,
            (true, false) => Some("stop"),
            (true, true) => Some("length"),
        };
        let lack = is_partial.then(|| {
            let message = "Something is known to be missing. What is there is in this line.";
            json!({ "code": "partial", "message": message, "details": {} })
        });
        self.line(&delta, reason, &json!(lack))
    }

    /// The last line of a stream that has no end to show.
    fn fault(&self, error: &Error) -> Bytes {
        let delta = json!({
            "role": "assistant",
            "content": "",
            "flat_parsed": {},
            "flat_likelihoods": {},
            "flat_deleted_keys": [],
            "is_valid_json": false,
            "full_parsed": null,
        });
        let fault = json!({
            "code": error.code.name(),
            "message": error.detail,
            "details": { "errors": error.errors },
        });
        self.line(&delta, None, &fault)
    }

    fn line(&self, delta: &Value, reason: Option<&str>, fault: &Value) -> Bytes {
        let view = &self.view;
        let last_at = view.ended_at.filter(|_| self.stage == Stage::Ended);
        let choice = json!({
            "index": 0,
            "finish_reason": reason,
            "logprobs": null,
            "delta": delta,
        });
        let chunk = json!({
            "id": extraction_id(view),
            "object": "chat.completion.chunk",
            "created": seconds(view.created_at),
            "model": view.spec.config.model,
            "choices": [choice],
            "extraction_id": extraction_id(view),
            "request_at": view.created_at,
            "first_token_at": self.first_at,
            "last_token_at": last_at,
            "streaming_error": fault,
        });
        Bytes::from(format!("{chunk}\n"))
    }
}

fn draining(view: &JobView) -> Error {
    let message = format!(
        "The server is shutting down. GET /v1/jobs/{} has the job later.",
        named(view.id)
    );
    Error::new(Code::Draining, message)
}
