//! Errors: in the words of the dialect, whoever raises them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{JOBS, body, call, create, get, plain, refusal, two, with};
use crate::support::app::TestApp;

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

fn without(mut body: Value, name: &str) -> Value {
    body.as_object_mut().unwrap().remove(name);
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_no_handler_raised_speak_the_dialect_of_their_path() {
    let app = plain().await;
    for path in [
        "/structflow",
        "/structflow/none",
        "/files/a/b/c",
        "/uploads/a/b",
    ] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "not_found", "{path}");
    }
    for path in ["/filesystem", "/v1/extract/none", "/structflows"] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["code"], "not_found", "{path}");
    }
    let answer = call(&app, app.request(Method::PATCH, JOBS), "").await;
    assert_eq!(refusal(&answer), (405, "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "POST, GET");
    let broken = app.request(Method::POST, JOBS);
    let broken = broken.header("Content-Type", "application/json").body("{");
    assert_eq!(
        refusal(&call(&app, broken, "").await),
        (400, "invalid_json")
    );
    let form = app.request(Method::POST, JOBS).body("a=b");
    assert_eq!(
        refusal(&call(&app, form, "").await),
        (415, "unsupported_media_type")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_refused_by_its_size() {
    let app = TestApp::start()
        .set("max_document_bytes", 64 << 10)
        .run()
        .await;
    let large = "x".repeat(3 << 20);
    let answer = create(&app, &body(&json!([{"data": large}]))).await;
    assert_eq!(refusal(&answer), (413, "too_large"));
    let answer = super::upload(&app, "a", &[0; (64 << 10) + 1]).await;
    assert_eq!(refusal(&answer), (413, "too_large"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_in_every_form_and_a_missing_one_is_refused() {
    let app = plain().await;
    let key = app.key("alice").await;
    for path in [JOBS, "/structflow/models", "/files"] {
        let answer = get(&app, path, "").await;
        assert_eq!(refusal(&answer), (401, "unauthorized"), "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for (name, value) in [
        ("Authorization", format!("Bearer {key}")),
        ("Authorization", format!("api-key {key}")),
        ("Api-Key", key.clone()),
        ("X-API-Key", key.clone()),
    ] {
        let request = app.request(Method::GET, JOBS).header(name, value);
        assert_eq!(
            call(&app, request, "structflow_job_list").await.status,
            200,
            "{name}"
        );
    }
    let request = app.request(Method::GET, JOBS).header("X-BYOK-Key", &key);
    let refused = call(&app, request, "").await;
    assert_eq!(
        refusal(&refused),
        (401, "unauthorized"),
        "a key of somebody else's service"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_of_the_form_is_refused_with_what_is_wrong() {
    let app = plain().await;
    let good = || body(&two());
    for (what, body) in [
        ("model", without(good(), "model")),
        ("system_prompt", with(good(), "system_prompt", json!(" "))),
        ("example_output", without(good(), "example_output")),
        (
            "example_output",
            with(good(), "example_output", json!("{}")),
        ),
        ("example_output", with(good(), "example_output", json!({}))),
        ("inputs", without(good(), "inputs")),
        ("inputs", with(good(), "file_id", json!(NOBODY))),
        ("inputs", with(good(), "inputs", json!([]))),
        ("inputs", with(good(), "inputs", json!({}))),
        ("inputs/1", with(good(), "inputs", json!([{"data": 1}, 2]))),
        (
            "inputs/0",
            with(good(), "inputs", json!([{"id": 7, "data": 1}])),
        ),
        (
            "inputs/0",
            with(good(), "inputs", json!([{"data": 1, "more": 1}])),
        ),
        ("webhook_secret", with(good(), "webhook_secret", json!("s"))),
        ("metadata", with(good(), "metadata", json!({"a": 1}))),
        ("temperature", with(good(), "temperature", json!(1))),
        ("body", json!([])),
    ] {
        let refused = create(&app, &body).await;
        assert_eq!(
            refusal(&refused),
            (400, "invalid_request"),
            "{what}: {}",
            refused.body
        );
        let message = refused.body["error"]["message"].as_str().unwrap();
        let named = what.rsplit('/').next().unwrap();
        assert!(message.contains(named), "{what}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_forbidden_is_refused_by_name() {
    let app = plain().await;
    let of_file = |id: &str| with(without(body(&two()), "inputs"), "file_id", json!(id));
    for (body, status, code) in [
        (
            with(body(&two()), "model", json!("none")),
            422,
            "model_not_found",
        ),
        (of_file("7"), 400, "invalid_file_id"),
        (of_file(NOBODY), 404, "file_not_found"),
        (
            with(body(&two()), "webhook_url", json!("http://127.0.0.1/")),
            422,
            "callback_url_forbidden",
        ),
    ] {
        assert_eq!(refusal(&create(&app, &body).await), (status, code));
    }
    for (path, status, code) in [
        (format!("{JOBS}/7"), 400, "invalid_job_id"),
        (format!("{JOBS}/{NOBODY}"), 404, "job_not_found"),
        (format!("{JOBS}/{NOBODY}?wait=61"), 400, "invalid_request"),
        (format!("/files/{NOBODY}"), 404, "file_not_found"),
        (format!("/files/{NOBODY}/content"), 404, "file_not_found"),
    ] {
        assert_eq!(
            refusal(&get(&app, &path, "").await),
            (status, code),
            "{path}"
        );
    }
}
