//! The Retab dialect: what its pages promise, by name.

mod clients;
mod direct;
mod jobs;
mod listing;
mod refusals;
mod stream;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::openapi;
use crate::support::provider::{Scripted, Server};
use crate::support::schemas;

const JOBS: &str = "/v1/jobs";
const EXTRACT: &str = "/v1/documents/extract";
const INVOICE: &str = "INVOICE\n\nSeller: Gustav Quantz\nTotal: 48151.62\n";
const DAY: i64 = 86_400;

async fn plain() -> TestApp {
    scripted(&Scripted::plain()).await
}

async fn scripted(scripted: &Arc<Scripted>) -> TestApp {
    let provider = Arc::new(Server(Arc::clone(scripted)));
    TestApp::start().provider(provider).run().await
}

fn document(name: &str, text: &str) -> Value {
    let url = format!("data:text/plain;base64,{}", STANDARD.encode(text));
    json!({ "filename": name, "url": url })
}

/// A request to extract that [`Scripted::plain`] answers.
fn scripted_request() -> Value {
    let text = json!({"type": ["string", "null"]});
    json!({
        "document": document("invoice.txt", INVOICE),
        "model": "scripted",
        "json_schema": {"type": "object", "properties": {"a": text, "b": text, "c": text, "d": text}},
    })
}

/// A request to extract that the embedded model answers.
fn invoice_request() -> Value {
    json!({
        "document": document("invoice.txt", INVOICE),
        "model": "retab-small",
        "json_schema": {
            "type": "object",
            "properties": {"seller": {"type": "string"}, "total": {"type": "number"}}
        },
    })
}

fn of(endpoint: &str, request: &Value) -> Value {
    json!({ "endpoint": endpoint, "request": request })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// Sends a request and holds the answer against the schema of that name in this dialect, errors
/// against the schema of its errors, and both against the OpenAPI document.
async fn call(app: &TestApp, request: RequestBuilder, schema: &str) -> Answer {
    let request = request.build().unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = app.client.execute(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body: Value = response.json().await.unwrap();
    assert_eq!(headers["content-type"], "application/json", "{body}");
    openapi::check(method.as_str(), &path, status.as_u16(), &headers, &body);
    if status.is_success() {
        schemas::check(&format!("retab_{schema}"), &body);
    } else {
        schemas::check("retab_error", &body);
        let id = body["detail"]["details"]["request_id"].as_str().unwrap();
        assert_eq!(headers["x-request-id"], id);
    }
    Answer {
        status,
        headers,
        body,
    }
}

/// Status, code and first place of a refusal.
fn refusal(answer: &Answer) -> (u16, &str, &str) {
    let detail = &answer.body["detail"];
    let place = detail["details"]["errors"][0]["pointer"].as_str();
    let code = detail["code"].as_str().unwrap_or("none");
    (answer.status.as_u16(), code, place.unwrap_or_default())
}

async fn post(app: &TestApp, path: &str, body: &Value, schema: &str) -> Answer {
    call(app, app.request(Method::POST, path).json(body), schema).await
}

async fn get(app: &TestApp, path: &str, schema: &str) -> Answer {
    call(app, app.request(Method::GET, path), schema).await
}

/// A job's action without a body, as clients send it.
async fn act(app: &TestApp, job: &str, action: &str) -> Answer {
    let request = app.request(Method::POST, &format!("{JOBS}/{job}/{action}"));
    call(
        app,
        request.header("Content-Type", "application/json"),
        "job",
    )
    .await
}

async fn started(app: &TestApp, body: &Value) -> String {
    let answer = post(app, JOBS, body, "job").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

/// The native id of a job.
fn native(job: &str) -> String {
    let digits = job.strip_prefix("job_").unwrap();
    uuid::Uuid::parse_str(digits).unwrap().to_string()
}

/// The job once it has ended, whole.
async fn end(app: &TestApp, job: &str) -> Value {
    let wait = format!("/v1/extract/jobs/{}?wait=60", native(job));
    app.request(Method::GET, &wait).send().await.unwrap();
    let job = get(app, &format!("{JOBS}/{job}"), "job").await.body;
    assert!(job["completed_at"].is_i64(), "{job}");
    job
}
