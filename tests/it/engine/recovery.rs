//! Jobs that outlive the process that ran them.

use std::sync::Arc;

use serde_json::json;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};
use crate::support::sse::{Frame, assert_lawful, rebuild};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_after_a_restart_and_asks_only_what_is_missing() {
    let first = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(first.clone())))
        .run()
        .await;
    let body = app
        .job_body(wide_schema(10), json!({"max_num_concurrent_requests": 2}))
        .await;
    let mut stream = app.stream(&body).await;
    first.pass(4);
    let mut frames = Vec::new();
    for _ in 0..4 {
        frames.extend(stream.until("subtree_result").await);
    }
    let job = frames[0].payload()["job_id"].as_str().unwrap().to_owned();
    drop(stream);
    let second = Scripted::plain();
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Server(second.clone())))
        .run()
        .await;
    let cursor = frames.last().unwrap().id.clone();
    let rest = app.follow(&job, Some(&cursor)).await.rest().await;
    let statuses: Vec<_> = rest
        .iter()
        .filter(|frame| frame.event == "job_status")
        .map(Frame::payload)
        .map(|p| {
            (
                p["status"].as_str().unwrap().to_owned(),
                p["reason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [("retrying", "server_restart"), ("processing", "resumed")];
    assert_eq!(
        statuses,
        expected.map(|(s, r)| (s.to_owned(), r.to_owned()))
    );
    let done: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "subtree_result")
        .map(|frame| frame.payload()["subtree_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(done.len(), 4);
    let asked = second.asked();
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(
        done.iter().all(|id| !asked.contains(id)),
        "a committed subtree was asked again"
    );
    frames.extend(rest);
    assert_lawful(&frames);
    assert_eq!(app.results(&job).await.body["results"], rebuild(&frames));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_only_accepted_runs_after_a_restart() {
    let first = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(first)))
        .set("max_running_jobs", 1)
        .run()
        .await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let running = app.submit(&body).await;
    let waiting = app.submit(&body).await;
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    for job in [&running, &waiting] {
        assert_eq!(app.end_of(job).await["status"], "completed");
        assert_lawful(&app.follow(job, None).await.rest().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_jobs_and_their_streams_are_there_after_a_restart() {
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(3), json!({})).await;
    let before = app.stream(&body).await.rest().await;
    let job = before[0].payload()["job_id"].as_str().unwrap().to_owned();
    let results = app.results(&job).await.body;
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    assert_eq!(app.follow(&job, None).await.rest().await, before);
    assert_eq!(app.results(&job).await.body, results);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_more_restarts_than_crashes_are_forgiven() {
    let scripted = Scripted::gated();
    let mut app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let body = app
        .job_body(wide_schema(6), json!({"max_num_concurrent_requests": 1}))
        .await;
    let job = app.submit(&body).await;
    let mut cursor = None;
    for _ in 0..5 {
        scripted.pass(1);
        let mut stream = app.follow(&job, cursor.as_deref()).await;
        cursor = stream
            .until("subtree_result")
            .await
            .pop()
            .map(|frame| frame.id);
        drop(stream);
        app = app
            .reopen()
            .await
            .provider(Arc::new(Server(scripted.clone())))
            .run()
            .await;
    }
    scripted.pass(100);
    let frames = app.follow(&job, None).await.rest().await;
    assert_lawful(&frames);
    assert_eq!(frames.last().unwrap().payload()["subtrees_succeeded"], 6);
}
