//! What is refused, and in whose words.

use reqwest::Method;
use serde_json::Value;

use super::{JOBS, PROCESS, call, form, get, post, refusal, with_file};
use crate::support::app::TestApp;
use crate::support::schemas;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_that_is_wrong_is_named_with_422() {
    let app = TestApp::start().run().await;
    for (field, value) in [
        ("chunk_size", "199"),
        ("chunk_size", "10001"),
        ("chunk_size", "many"),
        ("overlap", "-1"),
        ("overlap", "2001"),
        ("mode", "clever"),
        ("preset", "poem"),
        ("schema_json", "{"),
        ("pages", "1"),
    ] {
        for path in [JOBS, PROCESS] {
            let fields = form(&[("text", "x"), (field, value)]);
            let refused = post(&app, path, fields, "parseflow_job").await;
            assert_eq!(
                refusal(&refused),
                (422, "invalid_form", field),
                "{path} {value}"
            );
        }
    }
    for (field, value) in [("output_format", "docx"), ("include_markdown", "maybe")] {
        let fields = form(&[("text", "x"), (field, value)]);
        let refused = post(&app, PROCESS, fields, "parseflow_result").await;
        assert_eq!(refusal(&refused), (422, "invalid_form", field));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_document_and_at_most_one_schema_are_taken() {
    let app = TestApp::start().run().await;
    let both = with_file(&[("text", "x")], "a.txt", b"x".to_vec());
    for fields in [both, form(&[("mode", "basic")])] {
        let refused = post(&app, JOBS, fields, "parseflow_job").await;
        assert_eq!(refusal(&refused), (422, "invalid_form", "file"));
    }
    let fields = [("text", "x"), ("preset", "invoice"), ("schema_json", "{}")];
    let refused = post(&app, JOBS, form(&fields), "parseflow_job").await;
    assert_eq!(refusal(&refused), (422, "invalid_form", "schema_json"));
    let fields = [("text", "x"), ("preset", "invoice"), ("mode", "basic")];
    let refused = post(&app, JOBS, form(&fields), "parseflow_job").await;
    assert_eq!(refusal(&refused), (422, "invalid_form", "mode"));
    let schema = r#"{"type": "object", "properties": {"a": {"type": "text"}}}"#;
    let fields = [("text", "x"), ("schema_json", schema)];
    let refused = post(&app, JOBS, form(&fields), "parseflow_job").await;
    assert_eq!(refusal(&refused).1, "invalid_schema");
    assert_eq!(refused.body["detail"][0]["loc"][1], "schema_json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_too_large_is_refused_with_413() {
    let app = TestApp::start()
        .set("max_document_bytes", 1_024)
        .run()
        .await;
    let large = with_file(&[], "a.txt", vec![b'x'; 1_025]);
    let refused = post(&app, JOBS, large, "parseflow_job").await;
    assert_eq!(refusal(&refused), (413, "too_large", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_before_a_handler_runs_is_worded_alike() {
    let app = TestApp::start().run().await;
    for path in ["/v2/analyze", "/v2/index", "/v2/search"] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let body: Value = answer.json().await.unwrap();
        schemas::check("parseflow_error", &body);
        let told = body["detail"].as_str().unwrap();
        assert!(told.contains("POST /v2/process"), "{told}");
    }
    let answer = app.request(Method::PUT, JOBS).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    schemas::check("parseflow_error", &answer.json().await.unwrap());
    let json = app
        .request(Method::POST, JOBS)
        .json(&serde_json::json!({"text": "x"}));
    let refused = call(&app, json, "parseflow_job").await;
    assert_eq!(refusal(&refused), (415, "unsupported_media_type", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_another_user_are_not_there() {
    let app = TestApp::start().run().await;
    let (alice, bob) = (app.key("alice").await, app.key("bob").await);
    let request = app.request(Method::POST, JOBS).header("X-API-Key", &alice);
    let created = call(
        &app,
        request.multipart(form(&[("text", "x")])),
        "parseflow_job",
    )
    .await;
    let path = format!("{JOBS}/{}", created.body["job_id"].as_str().unwrap());
    let request = app.request(Method::GET, &path).header("X-API-Key", &bob);
    let refused = call(&app, request, "parseflow_job").await;
    assert_eq!(refusal(&refused), (404, "job_not_found", ""));
    let refused = get(&app, &path, "parseflow_job").await;
    assert_eq!(refusal(&refused).0, 401);
}
