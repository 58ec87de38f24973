//! The StructFlow dialect: jobs over records of data, given inline or as a file.
//!
//! | file | what |
//! |---|---|
//! | `jobs` | requests, and how they become jobs |
//! | `answers` | jobs in the words of the dialect |
//! | `files` | where its files differ from those of the native dialect |

mod answers;
mod files;
mod jobs;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::auth::guard;
use super::{files as shared, on, resource};
use crate::domain::error::Error;
use crate::engine::Engine;

/// What its jobs and its idempotency keys are told apart by.
const NAME: &str = "structflow";

/// All routes of the dialect, each under its whole path.
pub fn routes(config: &mut web::ServiceConfig) {
    jobs_and_models(config);
    config
        .service(
            resource(
                "/files",
                [
                    on(Method::POST, shared::store),
                    on(Method::GET, files::list),
                ],
            )
            .wrap(from_fn(guard)),
        )
        .service(
            resource(
                "/files/{id}",
                [
                    on(Method::GET, files::show),
                    on(Method::DELETE, files::delete),
                ],
            )
            .wrap(from_fn(guard)),
        )
        .service(
            resource("/files/{id}/content", [on(Method::GET, files::content)]).wrap(from_fn(guard)),
        )
        .service(resource("/uploads", [on(Method::POST, shared::begin)]).wrap(from_fn(guard)))
        .service(resource("/uploads/{id}", [on(Method::PUT, shared::append)]).wrap(from_fn(guard)));
}

fn jobs_and_models(config: &mut web::ServiceConfig) {
    config
        .service(
            resource(
                "/structflow/jobs",
                [on(Method::POST, jobs::create), on(Method::GET, jobs::list)],
            )
            .wrap(from_fn(guard)),
        )
        .service(
            resource("/structflow/jobs/{id}", [on(Method::GET, jobs::show)]).wrap(from_fn(guard)),
        )
        .service(resource("/structflow/models", [on(Method::GET, models)]).wrap(from_fn(guard)));
}

async fn models(engine: web::Data<Engine>) -> HttpResponse {
    let models = engine.models();
    let models = models.iter().map(|model| {
        json!({
            "id": model.id,
            "display_name": model.display_name,
            "description": model.description,
            "provider": model.provider,
        })
    });
    HttpResponse::Ok().json(json!({ "data": models.collect::<Vec<_>>() }))
}

/// How this dialect says a domain error.
pub fn wording(error: &Error, request_id: &str) -> (&'static str, Value) {
    let body = json!({
        "error": {
            "code": error.code.name(),
            "message": error.detail,
            "request_id": request_id,
        }
    });
    ("application/json", body)
}
