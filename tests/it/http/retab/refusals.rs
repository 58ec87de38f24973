//! Errors: in the words of the dialect, whoever raises them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{EXTRACT, JOBS, call, document, get, of, plain, post, refusal, scripted_request, with};
use crate::support::app::TestApp;

const NOBODY: &str = "job_018f3c1e7d4a7c3b9d523f1f0e6a9b11";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_no_handler_raised_speak_the_dialect_of_their_path() {
    let app = plain().await;
    for path in [
        "/v1/jobs/a/b/c",
        "/v1/documents/none",
        "/v1/schemas",
        "/v1/projects",
    ] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["detail"]["code"], "not_found", "{path}");
    }
    for path in ["/v1/jobsite", "/v1/extract/none", "/v1"] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["code"], "not_found", "{path}");
    }
    let answer = call(&app, app.request(Method::PATCH, JOBS), "").await;
    assert_eq!(refusal(&answer), (405, "method_not_allowed", ""));
    let broken = app
        .request(Method::POST, JOBS)
        .header("Content-Type", "application/json");
    assert_eq!(
        refusal(&call(&app, broken.body("{"), "").await).1,
        "invalid_json"
    );
    let form = app.request(Method::POST, EXTRACT).body("a=b");
    assert_eq!(
        refusal(&call(&app, form, "").await),
        (415, "unsupported_media_type", "")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_as_api_key_and_as_bearer_and_jobs_are_their_users_own() {
    let app = TestApp::start().run().await;
    let (alice, bob) = (app.key("alice").await, app.key("bob").await);
    let refused = post(&app, JOBS, &of(EXTRACT, &scripted_request()), "job").await;
    assert_eq!(refusal(&refused).1, "unauthorized");
    let request = json!({"document": document("a.txt", "x"), "model": "layout"});
    let body = of("/v1/documents/parse", &request);
    let create = app
        .request(Method::POST, JOBS)
        .json(&body)
        .header("Api-Key", &alice);
    let created = call(&app, create, "job").await;
    assert_eq!(
        (created.status.as_u16(), &created.body["organization_id"]),
        (200, &json!("alice"))
    );
    let path = format!("{JOBS}/{}", created.body["id"].as_str().unwrap());
    let own = app.request(Method::GET, &path).bearer_auth(&alice);
    assert_eq!(call(&app, own, "job").await.status, 200);
    let other = app.request(Method::GET, &path).bearer_auth(&bob);
    assert_eq!(refusal(&call(&app, other, "job").await).1, "job_not_found");
    let list = app.request(Method::GET, JOBS).bearer_auth(&bob);
    assert_eq!(call(&app, list, "job_list").await.body["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_are_not_served_are_refused_by_name_with_the_served_ones() {
    let app = plain().await;
    for endpoint in [
        "/v1/edit/agent/fill",
        "/v1/edit/templates/fill",
        "/v1/edit/templates/generate",
        "/v1/partitions",
        "/v1/edits",
        "/v1/evals/run",
        "/v1/chat/completions",
    ] {
        let refused = post(&app, JOBS, &of(endpoint, &scripted_request()), "job").await;
        assert_eq!(refusal(&refused), (400, "invalid_request", "/endpoint"));
        let message = refused.body["detail"]["message"].as_str().unwrap();
        for word in [endpoint, EXTRACT, "/v1/classifications"] {
            assert!(message.contains(word), "{message}");
        }
    }
    for path in ["/v1/edit/agent/fill", "/v1/projects/extract/proj_1"] {
        let answer = app
            .request(Method::POST, path)
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        let body: Value = answer.json().await.unwrap();
        let message = body["detail"]["message"].as_str().unwrap();
        assert!(
            message.contains(path) && message.contains(EXTRACT),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_pairs_of_metadata_with_keys_of_64_and_values_of_512_characters_and_no_more() {
    let app = plain().await;
    let pairs = |count: usize, key: usize, value: usize| {
        let pairs = (0..count).map(|at| {
            (
                format!("{at:02}{}", "k".repeat(key - 2)),
                json!("v".repeat(value)),
            )
        });
        Value::Object(pairs.collect())
    };
    let body = |metadata: Value| with(of(EXTRACT, &scripted_request()), "metadata", metadata);
    assert_eq!(
        post(&app, JOBS, &body(pairs(16, 64, 512)), "job")
            .await
            .status,
        200
    );
    for (metadata, place) in [
        (pairs(17, 4, 4), "/metadata".to_owned()),
        (pairs(1, 65, 4), format!("/metadata/00{}", "k".repeat(62))),
        (pairs(1, 4, 513), "/metadata/00kk".to_owned()),
        (json!({"a": 1}), "/metadata/a".to_owned()),
    ] {
        let refused = post(&app, JOBS, &body(metadata), "job").await;
        assert_eq!(refusal(&refused), (400, "invalid_request", &*place));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_a_request_is_named_where_it_stands() {
    let app = plain().await;
    let bad_schema = json!({"type": "nonsense"});
    for (name, value, place) in [
        ("document", json!(null), "/document"),
        ("document", json!("x"), "/document"),
        (
            "document",
            json!({"filename": "a", "url": "https://example.org/a.pdf"}),
            "/document/url",
        ),
        (
            "document",
            json!({"filename": "a", "url": "data:text/plain;base64,%"}),
            "/document/url",
        ),
        (
            "document",
            json!({"filename": 1, "url": ""}),
            "/document/filename",
        ),
        ("json_schema", json!(null), "/json_schema"),
        ("json_schema", bad_schema, "/json_schema/type"),
        ("n_consensus", json!(3), "/n_consensus"),
        ("web_search", json!(true), "/web_search"),
        ("store", json!(false), "/store"),
        ("image_resolution_dpi", json!(95), "/image_resolution_dpi"),
        ("image_resolution_dpi", json!(301), "/image_resolution_dpi"),
        ("chunking_keys", json!({"a": 1}), "/chunking_keys"),
        ("temperature", json!(3), "/temperature"),
        ("reasoning_effort", json!("much"), "/reasoning_effort"),
        (
            "additional_messages",
            json!([{"role": "user", "content": [{"type": "image_url"}]}]),
            "/additional_messages/0/content",
        ),
        ("model", json!(1), "/model"),
        ("stream", json!("yes"), "/stream"),
    ] {
        let request = with(scripted_request(), name, value);
        let direct = post(&app, EXTRACT, &request, "extract_response").await;
        assert_eq!(refusal(&direct).2, place, "{name}: {}", direct.body);
        let job = post(&app, JOBS, &of(EXTRACT, &request), "job").await;
        assert_eq!(
            refusal(&job).2,
            format!("/request{place}"),
            "{name}: {}",
            job.body
        );
        let message = job.body["detail"]["message"].as_str().unwrap();
        assert!(!message.contains("/config"), "{message}");
    }
    for (endpoint, request, place) in [
        (
            "/v1/documents/classify",
            json!({"document": document("a", "x")}),
            "/categories",
        ),
        (
            "/v1/documents/classify",
            json!({"document": document("a", "x"), "categories": [{"name": ""}]}),
            "/categories/0/name",
        ),
        (
            "/v1/documents/split",
            json!({"document": document("a", "x"), "categories": [{"name": "a", "partition_key": "id"}]}),
            "/categories/0/partition_key",
        ),
        (
            "/v1/splits",
            json!({"document": document("a", "x")}),
            "/subdocuments",
        ),
        (
            "/v1/documents/parse",
            json!({"document": document("a", "x"), "table_parsing_format": "yaml"}),
            "/table_parsing_format",
        ),
        (
            "/v1/schemas/generate",
            json!({"documents": []}),
            "/documents",
        ),
        (
            "/v1/projects/extract",
            json!({"document": document("a", "x"), "project_id": "proj_1"}),
            "/project_id",
        ),
    ] {
        let refused = post(&app, endpoint, &request, "").await;
        assert_eq!(
            refusal(&refused),
            (400, "invalid_request", place),
            "{endpoint}"
        );
    }
    let refused = post(&app, JOBS, &json!({"request": {}}), "job").await;
    assert_eq!(refusal(&refused).2, "/endpoint");
    let refused = post(&app, JOBS, &json!({"endpoint": EXTRACT}), "job").await;
    assert_eq!(refusal(&refused).2, "/request");
    let unknown = with(scripted_request(), "model", json!("gpt-9"));
    assert_eq!(
        refusal(&post(&app, EXTRACT, &unknown, "").await).1,
        "model_not_found"
    );
    let long = with(scripted_request(), "context", json!("x".repeat(300_000)));
    assert_eq!(
        refusal(&post(&app, EXTRACT, &long, "").await).1,
        "invalid_request"
    );
    let missing = get(&app, &format!("{JOBS}/{NOBODY}"), "job").await;
    assert_eq!(refusal(&missing), (404, "job_not_found", ""));
}
