//! Pages of other origins that are allowed: what they may ask, and that they can read every answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use rivulet::engine::Outside;
use serde_json::json;

use super::door::Brittle;
use crate::support::app::{Start, TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::openapi::{filled, operations};

const APP: &str = "https://app.example";
const STRANGER: &str = "https://evil.example";
const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";
const EXPOSED: [&str; 6] = [
    "Location",
    "Retry-After",
    "X-Idempotent-Replay",
    "X-Job-Id",
    "X-Request-Id",
    "X-Stream-Protocol",
];
const TAKEN: [&str; 8] = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Cache-Control",
    "Api-Key",
    "X-API-Key",
    "X-BYOK-Key",
];

fn start() -> Start {
    TestApp::start().set("cors_origins", format!("{APP},http://localhost:3000"))
}

/// The parts of a header that is a list.
fn list(headers: &HeaderMap, name: &str) -> BTreeSet<String> {
    let values = headers.get_all(name).iter();
    let parts = values.flat_map(|value| value.to_str().unwrap().split(", "));
    parts.map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn assert_readable(what: &str, headers: &HeaderMap) {
    assert_eq!(
        list(headers, "access-control-allow-origin"),
        set(&[APP]),
        "{what}"
    );
    assert_eq!(
        list(headers, "access-control-expose-headers"),
        set(&EXPOSED),
        "{what}"
    );
    assert_cautious(what, headers);
}

fn assert_cautious(what: &str, headers: &HeaderMap) {
    assert!(list(headers, "vary").contains("Origin"), "{what}");
    assert!(
        !headers.contains_key("access-control-allow-credentials"),
        "{what}"
    );
}

fn assert_nothing_allowed(what: &str, headers: &HeaderMap) {
    let names = headers.keys().map(reqwest::header::HeaderName::as_str);
    let allowing: Vec<_> = names
        .filter(|name| name.starts_with("access-control-"))
        .collect();
    assert!(allowing.is_empty(), "{what}: {allowing:?}");
    assert_cautious(what, headers);
}

fn preflight(app: &TestApp, path: &str, origin: &str) -> RequestBuilder {
    app.request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization, content-type",
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_of_an_allowed_origin_is_answered_everywhere_and_needs_no_key() {
    let app = start().run().await;
    app.key("ada").await;
    let paths: BTreeSet<_> = operations()
        .map(|(path, ..)| filled(path, NOBODY))
        .collect();
    for path in paths {
        let answer = preflight(&app, &path, APP).send().await.unwrap();
        assert_eq!(answer.status(), 204, "{path}");
        let headers = answer.headers();
        assert_readable(&path, headers);
        assert_eq!(list(headers, "access-control-allow-headers"), set(&TAKEN));
        let methods = list(headers, "access-control-allow-methods");
        assert_eq!(methods, set(&["GET", "POST", "PUT", "DELETE"]));
        let refused = preflight(&app, &path, STRANGER).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{path}");
        assert_nothing_allowed(&path, refused.headers());
    }
}

async fn from(origin: &str, request: RequestBuilder) -> Response {
    request.header("Origin", origin).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_can_be_read_by_a_page_of_an_allowed_origin_and_of_no_other() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = start().build(|builder| builder.clock(moved)).run().await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let end = app.follow(&job, None).await.rest().await.len();
    let events = format!("/v1/extract/jobs/{job}/events");
    let get = |path: &str| app.request(Method::GET, path);
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let keyless = || plain.get(app.url("/v1/extract/jobs"));
    let missing = format!("/v1/extract/jobs/{NOBODY}");
    for origin in [APP, STRANGER] {
        let cases = [
            (200, get("/v1/extract/jobs")),
            (200, get("/metrics")),
            (200, get(&events)),
            (204, get(&format!("{events}?after={end}"))),
            (400, get(&format!("{events}?after=x"))),
            (401, keyless()),
            (404, get(&missing)),
            (404, get("/nothing")),
            (405, app.request(Method::PUT, "/v1/extract/jobs")),
            (415, app.request(Method::POST, "/v1/extract/jobs").body("x")),
        ];
        for (status, request) in cases {
            let answer = from(origin, request).await;
            assert_eq!(answer.status().as_u16(), status);
            let what = format!("{status} {}", answer.url().path());
            match origin {
                APP => assert_readable(&what, answer.headers()),
                _ => assert_nothing_allowed(&what, answer.headers()),
            }
        }
    }
    for _ in 0..20 {
        keyless().bearer_auth("x").send().await.unwrap();
    }
    let limited = from(APP, keyless().bearer_auth("x")).await;
    assert_eq!(limited.status(), 429);
    assert_readable("429", limited.headers());
    clock.forward(8 * 86_400_000);
    let gone = from(APP, get(&events)).await;
    assert_eq!(gone.status(), 410);
    assert_readable("410", gone.headers());
    // Whoever sends no Origin is told that the answer depends on it.
    assert_nothing_allowed(
        "no origin",
        get("/v1/extract/jobs").send().await.unwrap().headers(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_and_a_new_stream_can_be_read_too() {
    let app = start()
        .build(|builder| {
            builder.rewire(|outside| Outside {
                blobs: Arc::new(Brittle),
                ..outside
            })
        })
        .run()
        .await;
    let part = reqwest::multipart::Part::bytes(b"Total: 5".to_vec()).file_name("a.txt");
    let form = reqwest::multipart::Form::new().part("file", part);
    let upload = app.request(Method::POST, "/v1/extract/documents/upload");
    let broken = from(APP, upload.multipart(form)).await;
    assert_eq!(broken.status(), 500);
    assert_readable("500", broken.headers());
    let foreign = from(STRANGER, app.request(Method::GET, "/v1/extract/jobs")).await;
    assert_eq!(foreign.status(), 403);
    assert_nothing_allowed("403", foreign.headers());

    let app = start().run().await;
    let body = json!({"document": "Total: 5", "schema": wide_schema(1), "stream": true});
    let post = app.request(Method::POST, "/v1/extract/jobs").json(&body);
    let stream = from(APP, post).await;
    assert_eq!(
        stream.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_readable("a stream", stream.headers());
    assert!(stream.text().await.unwrap().contains("event: end\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_list_allows_nobody_and_says_nothing_of_origins() {
    let app = TestApp::start().run().await;
    app.key("ada").await;
    for request in [
        preflight(&app, "/v1/extract/jobs", APP),
        app.request(Method::GET, "/v1/extract/jobs")
            .header("Origin", APP),
    ] {
        let answer = request.send().await.unwrap();
        let names = answer.headers().keys();
        assert!(
            names
                .into_iter()
                .all(|name| !name.as_str().starts_with("access-control-"))
        );
        assert!(!answer.headers().contains_key("vary"));
    }
}
