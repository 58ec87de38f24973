//! An extraction while it lands: a line of JSON for each look at it that shows something new.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use serde_json::{Map, Value, json};

use super::answers::seconds;
use super::bodies::extraction_id;
use super::direct::unanswered;
use super::flat::{Flat, difference, flatten};
use crate::domain::error::{Code, Error};
use crate::domain::evidence::Attributions;
use crate::domain::id::{Cursor, Scope};
use crate::domain::job::JobView;
use crate::domain::pointer::Pointer;
use crate::domain::time::Time;
use crate::engine::{Engine, JobResult, Wanted};

/// Events read at a time.
const PAGE: u32 = 200;
/// Clients skip a line with nothing in it.
const HEARTBEAT: Bytes = Bytes::from_static(b"\n");

/// The response that streams a job to its end.
pub fn respond(engine: Engine, scope: Scope, view: &JobView, heartbeat: Duration) -> HttpResponse {
    let landing = Landing {
        engine,
        scope,
        view: view.clone(),
        heartbeat,
        sequence: 0,
        shown: Flat::new(),
        sure: BTreeMap::new(),
        first_at: None,
        has_ended: false,
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/stream+json"))
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(lines(landing))
}

fn lines(landing: Landing) -> impl Stream<Item = Result<Bytes, Infallible>> {
    unfold(landing, |mut landing| async move {
        if landing.has_ended {
            return None;
        }
        let line = landing.next().await.unwrap_or_else(|error| {
            landing.has_ended = true;
            landing.fault(&error)
        });
        Some((Ok(line), landing))
    })
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
    sure: BTreeMap<String, f64>,
    first_at: Option<Time>,
    has_ended: bool,
}

impl Landing {
    async fn next(&mut self) -> Result<Bytes, Error> {
        let job = self.view.id;
        let cursor = (self.sequence > 0).then_some(Cursor {
            job: Some(job),
            sequence: self.sequence,
        });
        let page = self
            .engine
            .events_page(&self.scope, job, cursor, PAGE, self.heartbeat);
        let page = page.await?;
        self.sequence = page.cursor;
        if page.terminal {
            self.has_ended = true;
            self.view = self.engine.job(&self.scope, job).await?;
            if let Some(failed) = unanswered(&self.view) {
                return Err(failed);
            }
            let result = self.engine.result(&self.scope, job, Wanted::Final).await?;
            return Ok(self.look(&result));
        }
        if page.events.is_empty() {
            return Ok(HEARTBEAT);
        }
        match self.engine.result(&self.scope, job, Wanted::SoFar).await {
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
        let empty = Attributions::new();
        let attributions = result.attributions.as_ref().unwrap_or(&empty);
        let mut sure = BTreeMap::new();
        confidences(
            &result.results,
            &Pointer::root(),
            "",
            attributions,
            &mut sure,
        );
        let surer: BTreeMap<_, _> = sure
            .iter()
            .filter(|(path, value)| self.sure.get(*path) != Some(value))
            .map(|(path, value)| (path.clone(), *value))
            .collect();
        if !self.has_ended && new.is_empty() && gone.is_empty() && surer.is_empty() {
            return HEARTBEAT;
        }
        self.first_at.get_or_insert(self.view.updated_at);
        (self.shown, self.sure) = (now, sure);
        let whole = self.has_ended.then_some(&result.results);
        let delta = json!({
            "role": "assistant",
            // Text comes whole, at the end: what was found until then is no JSON yet.
            "content": whole.map_or_else(String::new, Value::to_string),
            "flat_parsed": new,
            "flat_likelihoods": surer,
            "flat_deleted_keys": gone,
            "is_valid_json": self.has_ended,
            "full_parsed": whole,
        });
        self.line(
            &json!([{
                "index": 0,
                "finish_reason": self.has_ended.then_some("stop"),
                "logprobs": null,
                "delta": delta,
            }]),
            &Value::Null,
        )
    }

    /// The last line of a stream that has no end to show.
    fn fault(&self, error: &Error) -> Bytes {
        let fault = json!({
            "code": error.code.name(),
            "message": error.detail,
            "details": { "errors": error.errors },
        });
        self.line(&json!([]), &fault)
    }

    fn line(&self, choices: &Value, fault: &Value) -> Bytes {
        let view = &self.view;
        let last_at = self.has_ended.then_some(view.ended_at).flatten();
        let members = [
            ("id", json!(extraction_id(view))),
            ("object", json!("chat.completion.chunk")),
            ("created", json!(seconds(view.created_at))),
            ("model", json!(view.spec.config.model)),
            ("choices", choices.clone()),
            ("extraction_id", json!(extraction_id(view))),
            ("request_at", json!(view.created_at)),
            ("first_token_at", json!(self.first_at)),
            ("last_token_at", json!(last_at)),
            ("streaming_error", fault.clone()),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        let chunk = Value::Object(Map::from_iter(members));
        Bytes::from(format!("{chunk}\n"))
    }
}

/// How sure each leaf is, by flat path; only what is known.
fn confidences(
    value: &Value,
    place: &Pointer,
    path: &str,
    attributions: &Attributions,
    all: &mut BTreeMap<String, f64>,
) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                confidences(value, &place.join(name), &below(name), attributions, all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = below(&index.to_string());
                confidences(item, &place.index(index), &path, attributions, all);
            }
        }
        _ => {
            let known = attributions.get(place.as_str());
            if let Some(confidence) = known.and_then(|known| known.confidence) {
                all.insert(path.to_owned(), confidence);
            }
        }
    }
}
