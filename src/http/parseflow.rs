//! The Parseflow dialect: documents to chunks and fields, as jobs and in one request.
//!
//! | file | what |
//! |---|---|
//! | `asked` | forms and members, and how they become jobs |
//! | `preset` | schemas by name |
//! | `jobs` | start, poll, deliver |
//! | `process` | one document in one request |
//! | `batch` | several texts in one request |
//! | `answers` | jobs and results in the words of the dialect |
//! | `archive` | a result as a ZIP file |
//! | `account` | who asks, and how much they did |

mod account;
mod answers;
mod archive;
mod asked;
mod batch;
mod jobs;
mod preset;
mod process;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web;
use serde_json::{Value, json};

use super::auth::guard;
use super::{on, resource};
use crate::domain::error::{Code, Error};
use crate::domain::pointer::Pointer;
use crate::engine::Engine;

/// What its jobs and its idempotency keys are told apart by.
const NAME: &str = "parseflow";
/// All that is served, for those who look for more.
const SERVED: &str = "POST /v2/jobs, GET /v2/jobs/{job_id}, POST /v2/jobs/{job_id}/deliver, POST /v2/process, POST /v2/batch, GET /v2/me, GET /v2/usage, GET /v2/health";

/// Has the callbacks of this dialect's jobs told in its words.
pub fn word_callbacks(engine: &Engine) {
    engine.word_callbacks(NAME, answers::callback);
}

/// All routes of the dialect, each under its whole path.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v2/jobs", [on(Method::POST, jobs::create)]).wrap(from_fn(guard)))
        .service(resource("/v2/jobs/{id}", [on(Method::GET, jobs::show)]).wrap(from_fn(guard)))
        .service(
            resource("/v2/jobs/{id}/deliver", [on(Method::POST, jobs::deliver)])
                .wrap(from_fn(guard)),
        )
        .service(resource("/v2/batch", [on(Method::POST, batch::batch)]).wrap(from_fn(guard)))
        .service(resource("/v2/process", [on(Method::POST, process::process)]).wrap(from_fn(guard)))
        .service(resource("/v2/me", [on(Method::GET, account::me)]).wrap(from_fn(guard)))
        .service(resource("/v2/usage", [on(Method::GET, account::usage)]).wrap(from_fn(guard)))
        .service(resource("/v2/health", [on(Method::GET, account::health)]));
}

/// How this dialect says a domain error: `detail` as its clients read it, a list of places where
/// something of the request is at fault, and `error` as its jobs have it.
pub fn wording(error: &Error, request_id: &str) -> (&'static str, Value) {
    let message = match error.code {
        Code::NotFound => format!("There is nothing at this address. Served are: {SERVED}."),
        _ => error.detail.clone(),
    };
    let places = error.errors.iter().map(|place| {
        let pointer = Pointer::parse(&place.pointer).unwrap_or_default();
        let path: Vec<String> = pointer.tokens().collect();
        let place_of = std::iter::once("body".to_owned()).chain(path);
        json!({
            "loc": place_of.collect::<Vec<_>>(),
            "msg": place.message,
            "type": error.code.name(),
        })
    });
    let mut places: Vec<Value> = places.collect();
    if places.is_empty() {
        places.push(json!({ "loc": ["body"], "msg": message, "type": error.code.name() }));
    }
    let detail = match error.code.status() {
        422 => json!(places),
        _ => json!(message),
    };
    let body = json!({
        "detail": detail,
        "error": {
            "code": error.code.name(),
            "message": message,
            "request_id": request_id,
        }
    });
    ("application/json", body)
}
