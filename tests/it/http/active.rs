//! How many jobs a user may have active: as many as the setting says, or the key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auth::elsewhere;
use crate::support::app::{Answer, TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};

const JOBS: &str = "/v1/extract/jobs";

/// A server whose jobs stay active, and which gives a user two of them.
async fn held() -> TestApp {
    TestApp::start()
        .provider(Arc::new(Server(Scripted::gated())))
        .set("max_active_jobs", 2)
        .run()
        .await
}

fn body() -> Value {
    json!({"document": "Total: 5 EUR", "schema": wide_schema(1)})
}

async fn post(app: &TestApp, key: &str, path: &str, body: &Value, schema: &str) -> Answer {
    let request = app.request(reqwest::Method::POST, path);
    app.call(request.bearer_auth(key).json(body), schema).await
}

async fn submit(app: &TestApp, key: &str) -> Answer {
    post(app, key, JOBS, &body(), "job_created").await
}

/// The id and the text of a key with a limit.
async fn limited(app: &TestApp, user: &str, limit: u32) -> (String, String) {
    let keys = app.app.engine.keyring();
    let (key, text) = keys.create(user, "of a test", Some(limit)).await.unwrap();
    (key.id, text)
}

/// Held against the number that was in the way.
fn assert_refused(answer: &Answer, limit: &str) {
    assert_eq!(answer.refusal(), (429, "too_many_jobs"), "{}", answer.body);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains(limit), "{detail}");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_a_limit_of_its_own_against_all_jobs_of_its_user() {
    let app = held().await;
    let plain = app.key("ada").await;
    let (_, narrow) = limited(&app, "ada", 1).await;
    let (_, wide) = limited(&app, "ada", 4).await;
    let (_, foreign) = limited(&app, "eve", 1).await;
    assert_eq!(submit(&app, &narrow).await.status, 202);
    assert_refused(&submit(&app, &narrow).await, "this key is 1 active");
    assert_eq!(submit(&app, &plain).await.status, 202);
    assert_refused(&submit(&app, &plain).await, "a user is 2 active");
    for _ in 3..=4 {
        assert_eq!(submit(&app, &wide).await.status, 202);
    }
    assert_refused(&submit(&app, &wide).await, "this key is 4 active");
    // Those of the wide key count for the others of the same user, and for nobody else.
    assert_refused(&submit(&app, &plain).await, "a user is 2 active");
    assert_refused(&submit(&app, &narrow).await, "this key is 1 active");
    assert_eq!(submit(&app, &foreign).await.status, 202);
    let mut streamed = body();
    streamed["stream"] = json!(true);
    let refused = post(&app, &foreign, JOBS, &streamed, "job_created").await;
    assert_refused(&refused, "this key is 1 active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_goes_by_the_limit_of_the_key_too() {
    let app = held().await;
    let (_, narrow) = limited(&app, "ada", 1).await;
    let (_, wide) = limited(&app, "ada", 3).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let started = submit(&app, &wide).await;
        jobs.push(started.body["job_id"].as_str().unwrap().to_owned());
    }
    let path = format!("{JOBS}/{}", jobs[0]);
    let cancel = format!("{path}/cancel");
    let cancelled = post(&app, &wide, &cancel, &json!({}), "job").await;
    assert_eq!(cancelled.status, 202);
    let retry = format!("{path}/retry");
    let refused = post(&app, &narrow, &retry, &json!({}), "job_summary").await;
    assert_refused(&refused, "this key is 1 active");
    let retried = post(&app, &wide, &retry, &json!({}), "job_summary").await;
    assert_eq!(retried.status, 202, "{}", retried.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_another_process_changes_counts_within_a_second() {
    let app = held().await;
    let (id, key) = limited(&app, "ada", 1).await;
    assert_eq!(submit(&app, &key).await.status, 202);
    assert_refused(&submit(&app, &key).await, "this key is 1 active");
    let keys = elsewhere(&app);
    for (limit, expected) in [(Some(3), 202), (Some(2), 429), (None, 429), (Some(9), 202)] {
        keys.limit(&id, limit).await.unwrap().unwrap();
        let begun = Instant::now();
        let named = match limit {
            Some(jobs) => format!("this key is {jobs} active"),
            None => "a user is 2 active".to_owned(),
        };
        loop {
            let answer = submit(&app, &key).await;
            let is_named = || answer.body["detail"].as_str().unwrap().contains(&named);
            if answer.status == expected && (expected == 202 || is_named()) {
                break;
            }
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(1), "{limit:?}: {}", answer.body);
        }
        if expected == 202 {
            // Up to the limit, so that the next one is seen.
            while submit(&app, &key).await.status == 202 {}
        }
    }
}
