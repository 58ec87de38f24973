//! The native dialect, `/v1/extract`.
//!
//! Each file of it: routes, requests and how they become domain values, answers and how they
//! come from them.

mod documents;
mod events;
mod files;
mod filters;
mod jobs;
mod operations;
mod plans;
pub(super) mod records;
mod review;
mod schemas;
mod templates;
mod tickets;
mod webhooks;

use actix_web::http::Method;
use actix_web::web;
use serde::Serialize;
use serde_json::{Value, json};

use super::members::{refuse_others, wrong};
use super::{on, resource};
use crate::domain::error::{Code, Error};
use crate::domain::event::BASE;
use crate::domain::page::ListPage;
use crate::engine::Engine;

/// All routes of the dialect, under its base.
pub fn routes(config: &mut web::ServiceConfig) {
    documents::routes(config);
    files::routes(config);
    schemas::routes(config);
    templates::routes(config);
    filters::routes(config);
    jobs::routes(config);
    records::routes(config);
    operations::routes(config);
    plans::routes(config);
    events::routes(config);
    tickets::routes(config);
    webhooks::routes(config);
    review::routes(config);
    config.service(resource("/models", [on(Method::GET, models)]));
}

/// The base path that [`routes`] belong under.
pub fn base() -> &'static str {
    BASE
}

async fn models(engine: web::Data<Engine>) -> web::Json<Value> {
    web::Json(json!({ "models": engine.models(), "default_model": engine.default_model() }))
}

/// What a delete answers with.
#[derive(Serialize)]
struct DeletedBody {
    id: String,
    deleted: bool,
}

/// A page of a list: its items under `name`, and cursors where there is more.
fn list_body<'a, T, B: Serialize>(
    name: &str,
    page: &'a ListPage<T>,
    item: impl Fn(&'a T) -> B,
) -> Value {
    let items: Vec<_> = page.items.iter().map(item).collect();
    let mut body = json!({ "total_count": page.total_count });
    body[name] = json!(items);
    if let Some(cursor) = page.next_cursor {
        body["next_cursor"] = json!(cursor.encode());
    }
    if let Some(cursor) = page.prev_cursor {
        body["prev_cursor"] = json!(cursor.encode());
    }
    body
}

/// The pointers of a schema's own faults, as pointers into the body that carried it as `member`.
fn in_member(mut error: Error, member: &str) -> Error {
    if matches!(error.code, Code::InvalidSchema | Code::SchemaTooComplex) {
        for detail in &mut error.errors {
            detail.pointer.insert_str(0, &format!("/{member}"));
        }
    }
    error
}
