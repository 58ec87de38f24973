//! The Retab dialect: jobs that do what one of several endpoints does, and the endpoints
//! themselves, which answer once the job has ended.
//!
//! | file | what |
//! |---|---|
//! | `endpoints` | the endpoints, and which of them are served |
//! | `requests` | what an endpoint is sent, and how it becomes a job |
//! | `documents` | documents as they come |
//! | `jobs` | jobs: create, look at, cancel, retry |
//! | `listing` | lists of jobs, with all filters |
//! | `direct` | the endpoints, asked directly |
//! | `stream` | an extraction while it lands |
//! | `answers` | jobs in the words of the dialect |
//! | `bodies` | what each endpoint answers |
//! | `flat` | values by flat paths, and how sure they are |

mod answers;
mod bodies;
mod direct;
mod documents;
mod endpoints;
mod flat;
mod jobs;
mod listing;
mod requests;
mod stream;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use super::auth::guard;
use super::error::Problem;
use super::{on, resource};
use crate::domain::error::{Code, Error};
use crate::engine::Engine;
use endpoints::Endpoint;

/// What its jobs and its idempotency keys are told apart by.
const NAME: &str = "retab";
/// How long a job is kept from its start on: 7 days.
const LIFETIME_MS: u64 = 7 * 86_400_000;
/// Names of models that begin so are the vendor's own and stand for the default of this server.
const OWN_MODELS: &str = "retab-";

/// All routes of the dialect, each under its whole path.
pub fn routes(config: &mut web::ServiceConfig) {
    jobs(config);
    endpoints(config);
    for unserved in ["/v1/edit/{rest:.*}", "/v1/projects/extract/{rest:.*}"] {
        config.service(
            web::resource(unserved)
                .wrap(from_fn(guard))
                .default_service(web::to(refuse)),
        );
    }
}

fn jobs(config: &mut web::ServiceConfig) {
    config
        .service(
            resource(
                "/v1/jobs",
                [
                    on(Method::POST, jobs::create),
                    on(Method::GET, listing::list),
                ],
            )
            .wrap(from_fn(guard)),
        )
        .service(resource("/v1/jobs/{id}", [on(Method::GET, jobs::show)]).wrap(from_fn(guard)))
        .service(
            resource("/v1/jobs/{id}/cancel", [on(Method::POST, jobs::cancel)]).wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/jobs/{id}/retry", [on(Method::POST, jobs::retry)]).wrap(from_fn(guard)),
        );
}

fn endpoints(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/documents/extract", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/documents/extractions", [on(Method::POST, direct::run)])
                .wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/documents/parse", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/documents/split", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/documents/classify", [on(Method::POST, direct::run)])
                .wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/schemas/generate", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        )
        .service(
            resource("/v1/projects/extract", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        )
        .service(resource("/v1/extractions", [on(Method::POST, direct::run)]).wrap(from_fn(guard)))
        .service(resource("/v1/parses", [on(Method::POST, direct::run)]).wrap(from_fn(guard)))
        .service(resource("/v1/splits", [on(Method::POST, direct::run)]).wrap(from_fn(guard)))
        .service(
            resource("/v1/classifications", [on(Method::POST, direct::run)]).wrap(from_fn(guard)),
        );
}

async fn refuse(request: HttpRequest) -> Result<&'static str, Problem> {
    let shown: String = request.path().chars().take(80).collect();
    let message = format!(
        "`{shown}` is not served here. Served are: {}. The project of /v1/projects/extract is named in its body, as `project_id`.",
        Endpoint::names()
    );
    Err(Error::new(Code::NotFound, message).into())
}

/// The model that a name stands for; none: the default of this server.
fn model_of<'a>(engine: &'a Engine, name: Option<&'a str>) -> &'a str {
    match name {
        Some(name) if !name.starts_with(OWN_MODELS) => name,
        _ => engine.default_model(),
    }
}

/// How this dialect says a domain error.
pub fn wording(error: &Error, request_id: &str) -> (&'static str, Value) {
    let body = json!({
        "detail": {
            "code": error.code.name(),
            "message": error.detail,
            "details": {
                "errors": error.errors,
                "request_id": request_id,
            },
        }
    });
    ("application/json", body)
}
