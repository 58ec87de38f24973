//! Jobs: limits, cancelling, failing subtrees, retries, polling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, Server, fault, plain_value};
use crate::support::sse::{Frame, assert_lawful};
use crate::support::store::Wrapped;

async fn app(scripted: &Arc<Scripted>) -> TestApp {
    TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .run()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sixth_active_job_is_refused_until_one_has_ended() {
    let scripted = Scripted::gated();
    let app = app(&scripted).await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(app.submit(&body).await);
    }
    let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["code"].as_str()),
        (429, Some("too_many_jobs"))
    );
    assert!(refused.headers.contains_key("retry-after"));
    let mut streaming = body.clone();
    streaming["stream"] = json!(true);
    let refused = app
        .post("/v1/extract/jobs", &streaming, "job_created")
        .await;
    assert_eq!(refused.status, 429, "a streaming job counts too");
    scripted.pass(1);
    let ended =
        futures_util::future::select_all(jobs.iter().map(|job| Box::pin(app.end_of(job)))).await;
    assert_eq!(ended.0["status"], "completed");
    app.submit(&body).await;
    scripted.pass(100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_run_at_once_than_the_job_allows() {
    let scripted = Scripted::gated();
    let app = app(&scripted).await;
    let body = app
        .job_body(wide_schema(12), json!({"max_num_concurrent_requests": 3}))
        .await;
    let mut stream = app.stream(&body).await;
    for done in 1..=12 {
        scripted.pass(1);
        stream.until("subtree_result").await;
        assert!(
            scripted.asked().len() <= done + 3,
            "{} asked, {done} done",
            scripted.asked().len()
        );
    }
    stream.until("end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_ends_once_and_asks_nothing_more() {
    let scripted = Scripted::gated();
    let app = app(&scripted).await;
    let body = app
        .job_body(wide_schema(10), json!({"max_num_concurrent_requests": 2}))
        .await;
    let mut stream = app.stream(&body).await;
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    scripted.pass(3);
    let mut frames = stream.until("subtree_result").await;
    let cancel = format!("/v1/extract/jobs/{job}/cancel");
    let cancelled = app.post(&cancel, &Value::Null, "job").await;
    assert_eq!(
        (cancelled.status.as_u16(), cancelled.body["status"].as_str()),
        (202, Some("cancelled"))
    );
    let asked = scripted.asked().len();
    scripted.pass(100);
    frames.extend(stream.rest().await);
    assert_lawful(&frames);
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (end["status"].as_str(), end["partial"].as_bool()),
        (Some("cancelled"), Some(true))
    );
    assert_eq!(
        app.post(&cancel, &Value::Null, "job").await.status,
        202,
        "again changes nothing"
    );
    assert_eq!(
        app.follow(&job, None).await.rest().await.len(),
        frames.len()
    );
    assert_eq!(
        scripted.asked().len(),
        asked,
        "calls after the acknowledgement"
    );
    let results = app.results(&job).await;
    assert_eq!(results.body["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_job_cannot_be_cancelled_and_an_active_one_not_deleted() {
    let scripted = Scripted::gated();
    let app = app(&scripted).await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let path = format!("/v1/extract/jobs/{job}");
    let refused = app.delete(&path).await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["code"].as_str()),
        (409, Some("job_active"))
    );
    let early = app.results(&job).await;
    assert_eq!(
        (early.status.as_u16(), early.body["code"].as_str()),
        (409, Some("result_not_ready"))
    );
    scripted.pass(9);
    app.end_of(&job).await;
    let refused = app
        .post(&format!("{path}/cancel"), &Value::Null, "job")
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["code"].as_str()),
        (409, Some("job_already_ended"))
    );
    assert_eq!(app.delete(&path).await.status, 200);
    for path in [
        path.clone(),
        format!("{path}/results"),
        format!("{path}/events"),
    ] {
        let gone = app.get(&path, "job").await;
        assert_eq!(
            (gone.status.as_u16(), gone.body["code"].as_str()),
            (404, Some("job_not_found"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_subtrees_leave_the_others_and_are_listed() {
    let scripted = Scripted::new(|subtree, _| match subtree.id.as_str() {
        "part_001" => fault(Fault::ContentFiltered, None),
        "part_002" => Reply::Panic,
        _ => Reply::Value(plain_value(subtree)),
    });
    let app = app(&scripted).await;
    let body = app
        .job_body(wide_schema(4), json!({"n_max_retries": 0}))
        .await;
    let frames = app.stream(&body).await.rest().await;
    assert_lawful(&frames);
    let end = frames.last().unwrap().payload();
    assert_eq!(end["status"], "completed");
    assert_eq!(
        (end["subtrees_failed"].as_u64(), end["partial"].as_bool()),
        (Some(2), Some(true))
    );
    let results = app.results(end["job_id"].as_str().unwrap()).await.body;
    let failed = results["metadata"]["failed_subtrees"].as_array().unwrap();
    let mut faults: Vec<_> = failed
        .iter()
        .map(|f| {
            (
                f["path"].as_str().unwrap(),
                f["error_type"].as_str().unwrap(),
            )
        })
        .collect();
    faults.sort_unstable();
    assert_eq!(
        faults,
        [("/part_001", "content_filtered"), ("/part_002", "internal")]
    );
    assert!(
        results["results"].get("part_001").is_none() && results["results"]["part_000"].is_object()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_every_subtree_fails_is_failed_and_says_why() {
    let scripted = Scripted::new(|_, _| fault(Fault::SchemaTooComplex, None));
    let app = app(&scripted).await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    assert_eq!(
        (end["status"].as_str(), end["error_type"].as_str()),
        (Some("failed"), Some("schema_too_complex"))
    );
    let shown = app
        .get(&format!("/v1/extract/jobs/{job}"), "job")
        .await
        .body;
    assert_eq!(
        (shown["status"].as_str(), shown["error_type"].as_str()),
        (Some("failed"), Some("schema_too_complex"))
    );
    assert_eq!(
        scripted.asked().len(),
        2,
        "a final fault is not asked again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_fault_is_asked_again_and_told() {
    let scripted = Scripted::new(|subtree, count| match count {
        1 => fault(Fault::ProviderOverloaded, Some(1)),
        2 => Reply::Nothing,
        _ => Reply::Value(plain_value(subtree)),
    });
    let app = app(&scripted).await;
    let body = app
        .job_body(wide_schema(1), json!({"n_max_retries": 2}))
        .await;
    let frames = app.stream(&body).await.rest().await;
    assert_lawful(&frames);
    let retries: Vec<_> = frames
        .iter()
        .filter(|f| f.event == "subtree_retry")
        .map(Frame::payload)
        .collect();
    let told: Vec<_> = retries
        .iter()
        .map(|r| {
            (
                r["attempt"].as_u64().unwrap(),
                r["error_type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(1, "provider_overloaded"), (2, "invalid_json")]);
    let result = frames
        .iter()
        .find(|f| f.event == "subtree_result")
        .unwrap()
        .payload();
    assert_eq!(result["attempts"], 3);
    assert_eq!(
        result["usage_metadata"]["request_count"], 2,
        "the call that was overloaded has no bill"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_the_schema_does_not_allow_is_marked_and_not_hidden() {
    let scripted = Scripted::new(|_, _| Reply::Value(json!({"a": 5, "b": "ok"})));
    let app = app(&scripted).await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let frames = app.stream(&body).await.rest().await;
    let result = frames
        .iter()
        .find(|f| f.event == "subtree_result")
        .unwrap()
        .payload();
    assert_eq!(result["validation"]["valid"], false);
    assert_eq!(result["validation"]["errors"][0]["path"], "/part_000/a");
    let job = result["job_id"].as_str().unwrap();
    let results = app.results(job).await.body;
    assert_eq!(results["metadata"]["validation"]["valid"], false);
    let mut unchecked = body.clone();
    unchecked["config"] = json!({"validate_response_schema": false});
    let frames = app.stream(&unchecked).await.rest().await;
    let result = frames
        .iter()
        .find(|f| f.event == "subtree_result")
        .unwrap()
        .payload();
    assert!(result["validation"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_shows_what_it_has_so_far() {
    let scripted = Scripted::gated();
    let app = app(&scripted).await;
    let body = app
        .job_body(wide_schema(4), json!({"max_num_concurrent_requests": 1}))
        .await;
    let mut stream = app.stream(&body).await;
    scripted.pass(1);
    let frame = stream.until("subtree_result").await.pop().unwrap();
    let job = frame.payload()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/extract/jobs/{job}");
    let shown = app.get(&path, "job").await.body;
    assert_eq!(shown["status"], "processing");
    assert_eq!(
        shown["progress"],
        frame.payload()["progress"],
        "a poll tells what the event told"
    );
    assert_eq!(shown["progress"]["completion_percentage"], 25.0);
    assert_eq!(shown["results"].as_object().unwrap().len(), 1);
    assert_eq!(shown["last_event_id"], frame.id.as_str());
    let partial = app
        .get(&format!("{path}/results?partial=true"), "results")
        .await
        .body;
    assert_eq!(
        (partial["results"].clone(), partial["last_event_id"].clone()),
        (shown["results"].clone(), json!(frame.id))
    );
    scripted.pass(9);
    stream.until("end").await;
    let shown = app.get(&path, "job").await.body;
    assert_eq!(shown["progress"]["completion_percentage"], 100.0);
    assert!(shown.get("results").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_the_model_cannot_honour_are_reported_and_the_rest_is_echoed() {
    let app = app(&Scripted::plain()).await;
    let config = json!({"seed": 7, "enable_thinking": false, "temperature": 0.5, "additional_instructions": "Only 2024."});
    let body = app.job_body(wide_schema(1), config).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let results = app.results(&job).await.body;
    let warnings = results["metadata"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["field"], "seed");
    assert_eq!(
        (
            results["config"]["seed"].as_i64(),
            results["config"]["temperature"].as_f64()
        ),
        (Some(7), Some(0.5))
    );
    assert_eq!(results["config"]["max_num_concurrent_requests"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_newest_first_by_status_name_and_page() {
    let scripted = Scripted::plain();
    let app = app(&scripted).await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let job = app.submit(&body).await;
        app.end_of(&job).await;
        jobs.push(job);
    }
    jobs.reverse();
    let ids = |page: &Value| -> Vec<String> {
        let jobs = page["jobs"].as_array().unwrap().iter();
        jobs.map(|job| job["job_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = app.get("/v1/extract/jobs?limit=2", "job_list").await.body;
    assert_eq!(
        (ids(&first), first["total_count"].as_u64()),
        (jobs[..2].to_vec(), Some(5))
    );
    assert!(first.get("prev_cursor").is_none());
    let next = first["next_cursor"].as_str().unwrap();
    let second = app
        .get(
            &format!("/v1/extract/jobs?limit=2&cursor={next}"),
            "job_list",
        )
        .await
        .body;
    assert_eq!(ids(&second), jobs[2..4]);
    let back = second["prev_cursor"].as_str().unwrap();
    let again = app
        .get(
            &format!("/v1/extract/jobs?limit=2&cursor={back}"),
            "job_list",
        )
        .await
        .body;
    assert_eq!(ids(&again), jobs[..2]);
    let none = app
        .get("/v1/extract/jobs?job_status=failed", "job_list")
        .await
        .body;
    assert_eq!(none["total_count"], 0);
    let found = app
        .get("/v1/extract/jobs?search=NOTE.t", "job_list")
        .await
        .body;
    assert_eq!(found["total_count"], 5);
    for (query, status) in [
        ("job_status=done", 400),
        ("limit=0", 400),
        ("limit=x", 400),
        ("cursor=zzz", 400),
    ] {
        let refused = app
            .get(&format!("/v1/extract/jobs?{query}"), "job_list")
            .await;
        assert_eq!(refused.status.as_u16(), status, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_wait_while_the_store_is_away_and_the_job_ends_when_it_is_back() {
    let scripted = Scripted::gated();
    let away = Arc::new(AtomicBool::new(false));
    let switch = away.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .build(move |builder| {
            builder.jobs(move |inner| {
                Arc::new(Wrapped {
                    away: switch,
                    ..Wrapped::around(inner)
                })
            })
        })
        .run()
        .await;
    let body = app.job_body(wide_schema(6), json!({})).await;
    let mut stream = app.stream(&body).await;
    let mut frames = stream.until("job_status").await;
    away.store(true, Ordering::SeqCst);
    scripted.pass(100);
    let job = frames[0].payload()["job_id"].as_str().unwrap().to_owned();
    let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["code"].as_str()),
        (503, Some("store_unavailable"))
    );
    assert!(refused.headers.contains_key("retry-after"));
    let ready = app
        .call(app.request(Method::GET, "/readyz"), "health")
        .await;
    assert_eq!(ready.status, 503);
    // A stream whose log cannot be read is cut, not ended; its reader comes back.
    drop(stream);
    away.store(false, Ordering::SeqCst);
    let cursor = frames.last().unwrap().id.clone();
    frames.extend(app.follow(&job, Some(&cursor)).await.rest().await);
    assert_lawful(&frames);
    assert_eq!(frames.last().unwrap().payload()["subtrees_succeeded"], 6);
    assert_eq!(scripted.asked().len(), 6, "nothing was asked twice");
}
