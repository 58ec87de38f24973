//! The database goes away and comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::PATIENCE;
use crate::support::app::{TestApp, wide_schema};
use crate::support::line::{Line, State};
use crate::support::postgres::database;
use crate::support::provider::{Scripted, Server};
use crate::support::sse::{Stream, assert_lawful};

const SUBTREES: usize = 6;
/// A client hears that there is no database, or that there is one again.
const SOON: Duration = Duration::from_millis(2_000);
const NORMAL: Duration = Duration::from_secs(5);

/// Waits for that many heartbeats.
async fn heartbeats(stream: &mut Stream, count: usize) {
    for _ in 0..count {
        let frames = stream.heartbeat().await;
        assert!(frames.is_empty(), "events of a database that is away");
    }
}

async fn survives(state: State) {
    let Some(database) = database().await else {
        return;
    };
    let line = Line::to(database.port).await;
    let model = Scripted::gated();
    let app = TestApp::start()
        .set("store", database.through(line.port))
        .set("heartbeat_seconds", 1)
        .provider(std::sync::Arc::new(Server(model.clone())))
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 1});
    let body = app.job_body(wide_schema(SUBTREES), config).await;
    let mut stream = app.stream(&body).await;
    model.pass(1);
    let mut frames = stream.until("subtree_result").await;

    line.set(state);
    // The model goes on: what it gives waits.
    model.pass(SUBTREES);
    for _ in 0..2 {
        let asked = Instant::now();
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(refused.refusal(), (503, "store_unavailable"));
        assert!(refused.headers.contains_key("retry-after"));
        assert!(asked.elapsed() <= SOON + SOON / 4, "{:?}", asked.elapsed());
    }
    heartbeats(&mut stream, 3).await;

    line.set(State::Open);
    let back = Instant::now();
    let rest = tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap();
    assert!(back.elapsed() <= NORMAL + SOON, "{:?}", back.elapsed());
    frames.extend(rest);
    assert_lawful(&frames);
    assert_eq!(frames.last().unwrap().payload()["status"], "completed");
    assert_eq!(model.asked().len(), SUBTREES, "nothing is asked for twice");
    let job = app.submit(&body).await;
    model.pass(SUBTREES);
    assert_eq!(app.end_of(&job).await["status"], "completed");
    app.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_connections_to_the_database_are_refused() {
    survives(State::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_database_is_silent() {
    survives(State::Silent).await;
}
