//! The database goes away and comes back.
//!
//! `RIVULET_AWAY=30` keeps it away for as many seconds.

use std::time::{Duration, Instant};

use serde_json::json;

use super::PATIENCE;
use crate::storm::number;
use crate::support::app::{TestApp, wide_schema};
use crate::support::line::{Line, State};
use crate::support::postgres::database;
use crate::support::provider::{Scripted, Server};
use crate::support::sse::assert_lawful;

const SUBTREES: usize = 6;
/// A client hears that there is no database, or that there is one again.
const SOON: Duration = Duration::from_millis(2_000);
const NORMAL: Duration = Duration::from_secs(5);

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
    let away = Instant::now();
    let least = Duration::from_secs(number("RIVULET_AWAY", 0));
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while rounds < 3 || away.elapsed() < least {
        let asked = Instant::now();
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(refused.refusal(), (503, "store_unavailable"));
        assert!(refused.headers.contains_key("retry-after"));
        let frames = stream.heartbeat().await;
        assert!(frames.is_empty(), "events of a database that is away");
        rounds += 1;
    }
    assert!(slowest <= SOON + SOON / 4, "{slowest:?}");
    let away = away.elapsed();

    line.set(State::Open);
    let back = Instant::now();
    let next = stream.until("subtree_result");
    frames.extend(tokio::time::timeout(PATIENCE, next).await.unwrap());
    let next = back.elapsed();
    let rest = tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap();
    let ended = back.elapsed();
    println!(
        "{state:?} for {away:?}: {rounds} refusals, the slowest after {slowest:?}; back, the next \
         event after {next:?}, the end after {ended:?}"
    );
    assert!(ended <= NORMAL + SOON, "{ended:?}");
    frames.extend(rest);
    assert_lawful(&frames);
    assert_eq!(frames.last().unwrap().payload()["status"], "completed");
    assert_eq!(model.asked().len(), SUBTREES, "nothing is asked for twice");
    let job = app.submit(&body).await;
    model.pass(SUBTREES);
    assert_eq!(app.end_of(&job).await["status"], "completed");
    println!("a new job had ended {:?} after the return", back.elapsed());
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
