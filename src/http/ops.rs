//! What operators and tools ask: health, readiness, metrics, the OpenAPI document.

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use super::auth::guard;
use super::{on, resource};
use crate::engine::Engine;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/healthz", [on(Method::GET, health)]))
        .service(resource("/readyz", [on(Method::GET, ready)]))
        .service(resource("/metrics", [on(Method::GET, metrics)]).wrap(from_fn(guard)))
        .service(resource("/openapi.json", [on(Method::GET, openapi)]));
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

async fn ready(engine: web::Data<Engine>) -> Result<HttpResponse, super::error::Problem> {
    engine.check_ready().await?;
    Ok(health().await)
}

async fn metrics(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(engine.metrics())
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(OPENAPI.as_str())
}

macro_rules! embedded {
    ($($folder:literal as $prefix:literal: $($name:literal)*;)*) => {
        &[$($((
            concat!($prefix, $name),
            include_str!(concat!("../../schemas/", $folder, "/", $name, ".json")),
        ),)*)*]
    };
}

/// Every body and event by the name it has under `components.schemas`.
const SCHEMAS: &[(&str, &str)] = embedded! {
    "api" as "": "batch_results" "callback_secret" "config" "config_used" "deleted" "delivery" "delivery_list" "document" "document_list" "document_upload"
        "events_page" "explained_plan" "file" "file_list" "file_upload" "filter" "filter_create" "filter_list" "forecast" "health"
        "job" "job_create" "job_created" "job_list" "job_summary" "model_list"
        "operation_classify" "operation_generate_schema" "operation_parse" "operation_split" "plan"
        "plan_request" "problem" "record_list"
        "results" "review" "review_decide" "review_gate" "schema" "schema_create" "schema_infer" "schema_inferred" "schema_list"
        "schema_update" "schema_validate" "schema_validation" "schema_warning" "stream_ticket"
        "template" "template_create" "template_list"
        "upload_chunk" "upload_create" "webhook" "webhook_create" "webhook_list" "webhook_message" "webhook_update";
    "dialects/extraction_jobs" as "extraction_jobs_": "error" "extract" "extracted" "job"
        "job_create" "job_created" "result";
    "dialects/structflow" as "structflow_": "error" "file_list" "job" "job_create" "job_list"
        "job_summary" "models";
    "dialects/retab" as "retab_": "classification" "classify_response" "error" "extract_chunk"
        "extract_response" "extraction" "job" "job_create" "job_list" "parse" "parse_response"
        "request" "schema" "split" "split_response";
    "dialects/parseflow" as "parseflow_": "batch" "batch_result" "deliver" "error" "health" "job"
        "job_create" "me" "process" "result" "usage";
    "events" as "": "agentic_array_progress" "common" "end" "event" "job_status" "ping" "start"
        "subtree_error" "subtree_result" "subtree_retry";
};

/// The document, put together once: routes from one file, bodies from theirs, so that the
/// schemas tests hold answers against are the very ones that clients read.
static OPENAPI: LazyLock<String> = LazyLock::new(|| {
    let mut document: Value =
        serde_json::from_str(include_str!("../../schemas/openapi.json")).unwrap_or_default();
    let mut components = Map::new();
    for (name, text) in SCHEMAS {
        let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
        if let Value::Object(members) = &mut schema {
            members.shift_remove("$id");
            members.shift_remove("$schema");
        }
        point_to_components(&mut schema);
        components.insert((*name).to_owned(), schema);
    }
    document["components"]["schemas"] = Value::Object(components);
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document.to_string()
});

/// `../events/common.json#/$defs/uuid` becomes `#/components/schemas/common/$defs/uuid`.
fn point_to_components(node: &mut Value) {
    match node {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some((file, rest)) = reference.split_once(".json") {
                            let name = file.rsplit('/').next().unwrap_or(file);
                            let rest = rest.trim_start_matches('#');
                            *reference = format!("#/components/schemas/{name}{rest}");
                        }
                    }
                    other => point_to_components(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        _ => {}
    }
}
