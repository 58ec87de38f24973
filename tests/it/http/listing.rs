//! Lists of jobs by what clients keep with them, in both orders; waiting for an end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};

const JOBS: &str = "/v1/extract/jobs";

fn body(metadata: &Value) -> Value {
    json!({"document": "Total: 5", "schema": wide_schema(1), "metadata": metadata})
}

async fn listed(app: &TestApp, query: &[(&str, &str)]) -> Vec<String> {
    let mut address = url::Url::parse(&app.url(JOBS)).unwrap();
    address.query_pairs_mut().extend_pairs(query);
    let page = app.call(app.client.get(address), "job_list").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let jobs = page.body["jobs"].as_array().unwrap().iter();
    jobs.map(|job| job["job_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_by_metadata_model_time_and_in_both_orders() {
    let provider = Arc::new(Server(Scripted::plain()));
    let app = TestApp::start().provider(provider).run().await;
    let first = app
        .submit(&body(&json!({"team": "billing", "run": "1"})))
        .await;
    let second = app.submit(&body(&json!({"team": "billing"}))).await;
    let third = app.submit(&body(&Value::Null)).await;
    let shown = app.get(&format!("{JOBS}/{first}"), "job").await;
    assert_eq!(
        shown.body["metadata"],
        json!({"team": "billing", "run": "1"})
    );
    let all = [third.clone(), second.clone(), first.clone()];
    assert_eq!(listed(&app, &[]).await, all);
    let mut oldest_first = all.clone();
    oldest_first.reverse();
    assert_eq!(listed(&app, &[("order", "asc")]).await, oldest_first);
    let billing = [("metadata", "{\"team\":\"billing\"}")];
    assert_eq!(
        listed(&app, &billing).await,
        [second.clone(), first.clone()]
    );
    let exact = [("metadata", "{\"team\":\"billing\",\"run\":\"1\"}")];
    assert_eq!(listed(&app, &exact).await, std::slice::from_ref(&first));
    assert_eq!(listed(&app, &[("model", "scripted")]).await, all);
    assert!(listed(&app, &[("model", "other")]).await.is_empty());
    assert_eq!(listed(&app, &[("from", "2020-01-01")]).await, all);
    assert!(listed(&app, &[("to", "2020-01-01")]).await.is_empty());

    let page = app
        .get(&format!("{JOBS}?order=asc&limit=2"), "job_list")
        .await;
    let next = page.body["next_cursor"].as_str().unwrap();
    assert_eq!(page.body["jobs"][0]["job_id"], json!(first));
    let page = app
        .get(
            &format!("{JOBS}?order=asc&limit=2&cursor={next}"),
            "job_list",
        )
        .await;
    assert_eq!(page.body["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(page.body["jobs"][0]["job_id"], json!(third));
    assert_eq!(page.body.get("next_cursor"), None);
    let back = page.body["prev_cursor"].as_str().unwrap();
    let page = app
        .get(
            &format!("{JOBS}?order=asc&limit=2&cursor={back}"),
            "job_list",
        )
        .await;
    assert_eq!(page.body["jobs"][1]["job_id"], json!(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_over_its_limits_and_filters_that_say_nothing_are_refused() {
    let app = TestApp::start().run().await;
    for (metadata, pointer) in [
        (json!("x"), "/metadata"),
        (json!({"a": 1}), "/metadata/a"),
        (json!({"a": "x".repeat(513)}), "/metadata/a"),
    ] {
        let refused = app.post(JOBS, &body(&metadata), "job_created").await;
        assert_eq!(refused.refusal(), (400, "invalid_request"));
        assert_eq!(refused.pointers(), [pointer]);
    }
    for query in [
        "metadata=x",
        "metadata=[]",
        "from=now",
        "to=1",
        "order=up",
        "wait=1",
    ] {
        let answer = app.get(&format!("{JOBS}?{query}"), "job_list").await;
        let expected = if query == "wait=1" { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_waits_is_answered_when_the_job_ends_or_the_time_is_over() {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(Arc::clone(&scripted)));
    let app = TestApp::start().provider(provider).run().await;
    let job = app.submit(&body(&Value::Null)).await;
    let begun = Instant::now();
    let early = app.get(&format!("{JOBS}/{job}?wait=1"), "job").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(early.body["status"], "processing");
    let path = format!("{JOBS}/{job}?wait=60");
    let (waited, ()) = tokio::join!(app.get(&path, "job"), async {
        scripted.until_asked(1).await;
        scripted.pass(1);
    });
    assert_eq!(waited.body["status"], "completed");
    assert!(begun.elapsed() < Duration::from_secs(30));
    for wait in ["61", "-1", "x"] {
        let refused = app.get(&format!("{JOBS}/{job}?wait={wait}"), "job").await;
        assert_eq!(refused.refusal(), (400, "invalid_request"), "{wait}");
    }
}
