//! The Parseflow dialect: what its pages promise, by name.

mod batch;
mod deliver;
mod jobs;
mod process;
mod refusals;

use std::sync::LazyLock;

use jsonschema::Validator;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, file};
use crate::support::{openapi, schemas};

const JOBS: &str = "/v2/jobs";
const PROCESS: &str = "/v2/process";

/// What the vendor's page says of a job, beside our own schema.
static PAGE: LazyLock<Validator> = LazyLock::new(|| {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["job_id", "status"],
        "properties": {
            "job_id": {"type": "string"},
            "status": {"enum": ["queued", "running", "succeeded", "failed", "delivered"]},
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
            "mode": {"enum": ["deterministic", "byok_assisted", "basic"]},
            "callback_url": {"type": ["string", "null"], "format": "uri"},
            "result": {"type": ["object", "null"]},
            "delivery": {
                "type": ["object", "null"],
                "properties": {
                    "attempts": {"type": "integer"},
                    "last_attempt_at": {"type": "string", "format": "date-time"},
                    "last_status_code": {"type": "integer"},
                    "delivered": {"type": "boolean"},
                },
            },
            "error": {
                "type": ["object", "null"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    });
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).unwrap()
});

const INVOICE: &str =
    "INVOICE\n\nInvoice number: INV-7\nInvoice date: 2026-03-02\nTotal: 12.50 EUR\n";

/// Holds an answer against the schema of that name in this dialect, errors against the schema of
/// its errors, jobs against the vendor's own schema, and all against the OpenAPI document.
async fn call(app: &TestApp, request: RequestBuilder, schema: &str) -> Answer {
    let request = request.build().unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = app.client.execute(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body: Value = response.json().await.unwrap();
    assert_eq!(headers["content-type"], "application/json", "{body}");
    openapi::check(method.as_str(), &path, status.as_u16(), &headers, &body);
    if status.is_success() {
        schemas::check(schema, &body);
        if schema == "parseflow_job" {
            let errors: Vec<_> = PAGE.iter_errors(&body).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?} in {body:#}");
            let result = &body["result"];
            assert!(
                result.is_null() || body["status"] != "failed",
                "a job that failed has a result: {body:#}"
            );
            if result.is_object() {
                schemas::check("parseflow_result", result);
            }
        }
    } else {
        schemas::check("parseflow_error", &body);
        let id = body["error"]["request_id"].as_str().unwrap();
        assert_eq!(headers["x-request-id"], id);
        let is_list = body["detail"].is_array();
        assert_eq!(is_list, status == 422, "{body}");
    }
    Answer {
        status,
        headers,
        body,
    }
}

/// Status and code of a refusal, and the last of the way to what is at fault.
fn refusal(answer: &Answer) -> (u16, &str, &str) {
    let body = &answer.body;
    let place = body["detail"][0]["loc"].as_array();
    let place = place.and_then(|loc| loc.last()?.as_str());
    let code = body["error"]["code"].as_str().unwrap_or("none");
    (answer.status.as_u16(), code, place.unwrap_or(""))
}

fn form(fields: &[(&str, &str)]) -> Form {
    let mut form = Form::new();
    for (name, value) in fields {
        form = form.text((*name).to_owned(), (*value).to_owned());
    }
    form
}

fn with_file(fields: &[(&str, &str)], name: &str, bytes: Vec<u8>) -> Form {
    form(fields).part("file", Part::bytes(bytes).file_name(name.to_owned()))
}

async fn post(app: &TestApp, path: &str, form: Form, schema: &str) -> Answer {
    let request = app.request(Method::POST, path).multipart(form);
    call(app, request, schema).await
}

async fn started(app: &TestApp, fields: &[(&str, &str)]) -> String {
    let answer = post(app, JOBS, form(fields), "parseflow_job").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["job_id"].as_str().unwrap().to_owned()
}

async fn get(app: &TestApp, path: &str, schema: &str) -> Answer {
    call(app, app.request(Method::GET, path), schema).await
}

/// The job once it has ended.
async fn end(app: &TestApp, job: &str) -> Value {
    let answer = get(app, &format!("{JOBS}/{job}?wait=60"), "parseflow_job").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = answer.body["status"].as_str().unwrap();
    assert!(
        ["succeeded", "failed", "delivered"].contains(&status),
        "{}",
        answer.body
    );
    answer.body
}

fn fixture(name: &str) -> Vec<u8> {
    file(&format!("tests/fixtures/documents/{name}"))
}
