//! Errors: in the words of the dialect, whoever raises them.

use reqwest::{Method, multipart};
use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{JOBS, body, call, create, refusal, result, show, started, with, with_template};
use crate::support::app::file;
use crate::support::provider::Scripted;

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

fn without(mut body: Value, name: &str) -> Value {
    body.as_object_mut().unwrap().remove(name);
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_another_shape_is_400_and_names_the_field() {
    let app = with_template(Scripted::plain()).await;
    for (what, body) in [
        ("file", without(body(), "file")),
        ("file", with(body(), "file", json!("?"))),
        ("file", with(body(), "file", json!("data:text/plain,x"))),
        ("file", with(body(), "file", json!(""))),
        ("templateName", without(body(), "templateName")),
        ("templateName", with(body(), "templateName", json!(" "))),
        ("documentReview", with(body(), "documentReview", json!(0))),
        ("documentReview", with(body(), "documentReview", json!(100))),
        ("documentReview", with(body(), "documentReview", json!(9.5))),
        (
            "schemaChunking",
            with(body(), "schemaChunking", json!("by page")),
        ),
        ("deliveryMode", with(body(), "deliveryMode", json!("email"))),
        (
            "deliveryMode",
            with(
                with(body(), "deliveryMode", json!("poll")),
                "delivery.mode",
                json!("webhook"),
            ),
        ),
        (
            "documentSplitting",
            with(body(), "documentSplitting", json!(true)),
        ),
        ("returnText", with(body(), "returnText", json!("yes"))),
        (
            "options",
            with(body(), "options", json!({"returnText": true})),
        ),
        (
            "options.returnText",
            with(body(), "options.returnText", json!("true")),
        ),
        ("model", with(body(), "model", json!("x"))),
        ("body", json!([])),
    ] {
        let refused = create(&app, &body).await;
        assert_eq!(
            refusal(&refused),
            (400, "INVALID_REQUEST"),
            "{what}: {}",
            refused.body
        );
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(what), "{what}: {message}");
    }
    let form = multipart::Form::new()
        .text("templateName", "invoice")
        .text("templateName", "other");
    let twice = app.request(Method::POST, JOBS).multipart(form);
    let twice = call(&app, twice, "").await;
    assert_eq!(refusal(&twice), (400, "INVALID_REQUEST"));
    let ignored = with(body(), "returnBoundingBoxes", json!(true));
    assert_eq!(create(&app, &ignored).await.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_or_filter_that_is_not_there_is_404() {
    let app = with_template(Scripted::plain()).await;
    let none = create(&app, &with(body(), "templateName", json!("none"))).await;
    assert_eq!(refusal(&none), (404, "TEMPLATE_NOT_FOUND"));
    let none = create(&app, &with(body(), "filterName", json!("none"))).await;
    assert_eq!(refusal(&none), (404, "FILTER_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_404_outside_the_environment_of_their_caller_and_a_missing_key_is_401() {
    let app = with_template(Scripted::plain()).await;
    let (alice, bob) = (app.key("alice").await, app.key("bob").await);
    let with_key = |method: Method, path: &str, key: &str| {
        let request = app.request(method, path);
        request.header("Authorization", format!("api-key {key}"))
    };
    let template = json!({"name": "invoice", "schema": {"type": "object"}});
    let saved = with_key(Method::POST, "/v1/extract/templates", &alice).json(&template);
    assert_eq!(saved.send().await.unwrap().status(), 201);
    let created = with_key(Method::POST, JOBS, &alice).json(&body());
    let created = call(&app, created, "job_created").await;
    assert_eq!(created.status, 202, "{}", created.body);
    let job = created.body["job"]["id"].as_str().unwrap();
    for path in [format!("{JOBS}/{job}"), format!("{JOBS}/{job}/result")] {
        let theirs = call(&app, with_key(Method::GET, &path, &bob), "").await;
        assert_eq!(refusal(&theirs), (404, "JOB_NOT_FOUND"));
        let nobody = call(&app, app.request(Method::GET, &path), "").await;
        assert_eq!(refusal(&nobody), (401, "UNAUTHORIZED"));
        for id in [NOBODY, "7"] {
            let path = path.replace(job, id);
            let none = call(&app, with_key(Method::GET, &path, &alice), "").await;
            assert_eq!(refusal(&none), (404, "JOB_NOT_FOUND"));
        }
    }
    let theirs = with_key(Method::POST, JOBS, &bob).json(&body());
    let theirs = call(&app, theirs, "").await;
    assert_eq!(refusal(&theirs), (404, "TEMPLATE_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_polled_too_often_is_429_until_a_minute_is_over() {
    let app = with_template(Scripted::plain()).await;
    let job = started(&app, &body()).await;
    for _ in 0..60 {
        show(&app, &job).await;
    }
    let request = app.request(Method::GET, &format!("{JOBS}/{job}"));
    let refused = call(&app, request, "").await;
    assert_eq!(refusal(&refused), (429, "TOO_MANY_POLLS"));
    assert!(refused.headers.contains_key("retry-after"));
    let other = started(&app, &body()).await;
    show(&app, &other).await;
    app.end_of(&job).await;
    assert_eq!(result(&app, &job).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_needs_a_password_is_refused_whether_one_is_sent_or_not() {
    let app = with_template(Scripted::plain()).await;
    let locked = file("tests/fixtures/documents/encrypted-with-password.pdf");
    let locked = with(body(), "file", json!(STANDARD.encode(locked)));
    for body in [locked.clone(), with(locked, "password", json!("secret"))] {
        let refused = create(&app, &body).await;
        assert_eq!(refusal(&refused), (422, "PASSWORD_REQUIRED"));
        let told = refused.body["error"]["message"].as_str().unwrap();
        assert_eq!(told.contains("`password`"), body["password"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_no_handler_raised_speak_the_dialect_too() {
    let app = with_template(Scripted::plain()).await;
    let none = app.request(Method::GET, "/api/v1/none");
    assert_eq!(refusal(&call(&app, none, "").await), (404, "NOT_FOUND"));
    let method = call(&app, app.request(Method::PATCH, JOBS), "").await;
    assert_eq!(refusal(&method), (405, "METHOD_NOT_ALLOWED"));
    let broken = app.request(Method::POST, JOBS);
    let broken = broken.header("Content-Type", "application/json").body("{");
    assert_eq!(
        refusal(&call(&app, broken, "").await),
        (400, "INVALID_JSON")
    );
    let text = app.request(Method::POST, JOBS).body("a=b");
    let text = call(&app, text, "").await;
    assert_eq!(refusal(&text), (415, "UNSUPPORTED_MEDIA_TYPE"));
}
