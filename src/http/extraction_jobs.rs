//! The Extraction jobs dialect: one file a request, by a template or a filter.
//!
//! | file | what |
//! |---|---|
//! | `request` | forms and JSON bodies, and how they become jobs |
//! | `jobs` | start, poll, result, and all in one request |
//! | `answers` | jobs and results in the words of the dialect |
//! | `polls` | how often one job may be polled |

mod answers;
mod jobs;
mod polls;
mod request;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web;
use serde_json::{Value, json};

use super::auth::guard;
use super::{on, resource};
use crate::domain::error::Error;
pub(super) use polls::Polls;

/// What its jobs and its idempotency keys are told apart by.
const NAME: &str = "extraction_jobs";

/// All routes of the dialect, each under its whole path.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/api/v1/extraction-jobs", [on(Method::POST, jobs::create)])
                .wrap(from_fn(guard)),
        )
        .service(
            resource(
                "/api/v1/extraction-jobs/{id}",
                [on(Method::GET, jobs::show)],
            )
            .wrap(from_fn(guard)),
        )
        .service(
            resource(
                "/api/v1/extraction-jobs/{id}/result",
                [on(Method::GET, jobs::result)],
            )
            .wrap(from_fn(guard)),
        )
        .service(
            resource("/api/v1/extractFields", [on(Method::POST, jobs::extract)])
                .wrap(from_fn(guard)),
        );
}

/// How this dialect says a domain error: the codes of the others in capital letters.
pub fn wording(error: &Error, _request_id: &str) -> (&'static str, Value) {
    let place = error.errors.first().map(|detail| &*detail.pointer);
    let unnamed = place.filter(|place| !place.is_empty() && !error.detail.contains(place));
    let message = match unnamed {
        Some(place) => format!("At `{place}`: {}", error.detail),
        None => error.detail.clone(),
    };
    let body = json!({
        "success": false,
        "error": {
            "code": error.code.name().to_ascii_uppercase(),
            "message": message,
        }
    });
    ("application/json", body)
}
