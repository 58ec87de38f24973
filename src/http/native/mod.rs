//! The native dialect, `/v1/extract`.
//!
//! Each file of it: routes, requests and how they become domain values, answers and how they
//! come from them.

mod documents;
mod events;
mod jobs;
mod operations;
mod plans;
mod repeat;
mod schemas;
mod tickets;
mod webhooks;

use actix_web::http::Method;
use actix_web::web;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{on, resource};
use crate::domain::error::{Code, Error};
use crate::domain::event::BASE;
use crate::domain::page::ListPage;
use crate::domain::pointer::Pointer;
use crate::engine::Engine;

/// All routes of the dialect, under its base.
pub fn routes(config: &mut web::ServiceConfig) {
    documents::routes(config);
    schemas::routes(config);
    jobs::routes(config);
    operations::routes(config);
    plans::routes(config);
    events::routes(config);
    tickets::routes(config);
    webhooks::routes(config);
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

/// Characters of a stranger's member name that an error repeats.
const SHOWN: usize = 80;

/// What is wrong with a request's body, by JSON Pointer.
fn wrong(pointer: &str, message: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}")).at(pointer, message)
}

/// Refuses a body with a member that is not among `known`.
fn refuse_others(members: &Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    let other = members.keys().find(|name| !known.contains(&name.as_str()));
    let Some(name) = other else {
        return Ok(());
    };
    let shown: String = name.chars().take(SHOWN).collect();
    Err(wrong(
        Pointer::root().join(&shown).as_str(),
        &format!(
            "There is no such member. Members are: {}.",
            known.join(", ")
        ),
    ))
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
