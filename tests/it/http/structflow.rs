//! The StructFlow dialect: what its pages promise, by name.

mod jobs;
mod refusals;
mod uploads;

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, multipart};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::openapi;
use crate::support::provider::{Scripted, Server};
use crate::support::schemas;

const JOBS: &str = "/structflow/jobs";

async fn plain() -> TestApp {
    let provider = Arc::new(Server(Scripted::plain()));
    TestApp::start().provider(provider).run().await
}

/// A job's body over these records, whose answer is that of [`Scripted::plain`].
fn body(records: &Value) -> Value {
    json!({
        "model": "scripted",
        "system_prompt": "Extract what is there.",
        "example_output": {"a": "x", "b": "x", "c": "x", "d": "x"},
        "inputs": records,
    })
}

fn two() -> Value {
    json!([{"id": "one", "data": {"total": 1}}, {"id": "two", "data": {"total": 2}}])
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
        schemas::check(schema, &body);
    } else {
        schemas::check("structflow_error", &body);
        let id = body["error"]["request_id"].as_str().unwrap();
        assert_eq!(headers["x-request-id"], id);
    }
    Answer {
        status,
        headers,
        body,
    }
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    let code = answer.body["error"]["code"].as_str();
    (answer.status.as_u16(), code.unwrap_or("none"))
}

async fn get(app: &TestApp, path: &str, schema: &str) -> Answer {
    call(app, app.request(Method::GET, path), schema).await
}

async fn create(app: &TestApp, body: &Value) -> Answer {
    let request = app.request(Method::POST, JOBS).json(body);
    call(app, request, "structflow_job_summary").await
}

async fn started(app: &TestApp, body: &Value) -> String {
    let answer = create(app, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["job_id"].as_str().unwrap().to_owned()
}

/// The job once it has ended.
async fn end(app: &TestApp, job: &str) -> Value {
    let path = format!("{JOBS}/{job}?wait=60");
    let answer = get(app, &path, "structflow_job").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = answer.body["status"].as_str().unwrap();
    assert!(["completed", "failed"].contains(&status), "{}", answer.body);
    answer.body
}

async fn upload(app: &TestApp, name: &str, bytes: &[u8]) -> Answer {
    let part = multipart::Part::bytes(bytes.to_vec()).file_name(name.to_owned());
    let part = part.mime_str("application/x-ndjson").unwrap();
    let form = multipart::Form::new().part("file", part);
    call(
        app,
        app.request(Method::POST, "/files").multipart(form),
        "file",
    )
    .await
}

fn file_id(answer: &Answer) -> String {
    answer.body["file_id"].as_str().unwrap().to_owned()
}

async fn content(app: &TestApp, file: &str) -> reqwest::Response {
    let path = format!("/files/{file}/content");
    app.request(Method::GET, &path).send().await.unwrap()
}
