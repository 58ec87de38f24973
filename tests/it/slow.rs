//! Lines over which bytes trickle, to the database and to a client: everything is late, and all of
//! it arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;

use crate::nodes::PATIENCE;
use crate::support::app::{TestApp, wide_schema};
use crate::support::line::{Line, State};
use crate::support::postgres::database;
use crate::support::provider::{Scripted, Server};
use crate::support::proxy::{Fate, Proxy, streams};
use crate::support::sse::{Stream, assert_lawful};

const SUBTREES: usize = 6;
/// A lease ends after so many seconds without a sign of life.
const LEASE: u64 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_delays_and_loses_nothing_and_no_node_loses_its_jobs() {
    let Some(database) = database().await else {
        return;
    };
    let line = Line::to(database.port).await;
    let files = tempfile::tempdir().unwrap();
    let (model, others) = (Scripted::gated(), Scripted::plain());
    let node = |store: String, model: &Arc<Scripted>| {
        TestApp::start()
            .set("store", store)
            .set("blobs", format!("file://{}", files.path().display()))
            .set("heartbeat_seconds", 1)
            .provider(Arc::new(Server(Arc::clone(model))))
            .run()
    };
    let app = node(database.through(line.port), &model).await;
    let config = json!({"max_num_concurrent_requests": 1});
    let body = app.job_body(wide_schema(SUBTREES), config).await;
    let mut stream = app.stream(&body).await;
    model.until_asked(1).await;
    // Takes every job that the first one does not keep.
    let other = node(database.url(), &others).await;

    line.set(State::Slow);
    let mut log = Vec::new();
    for _ in 0..=LEASE {
        log.extend(stream.heartbeat().await);
    }
    model.pass(2 * SUBTREES);
    let asked = Instant::now();
    let second = app.submit(&body).await;
    println!("a job was taken after {:?}", asked.elapsed());
    log.extend(tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap());
    println!("the job ended {:?} after its model", asked.elapsed());
    assert_lawful(&log);
    let taken = |frame: &crate::support::sse::Frame| frame.data.contains("server_restart");
    assert!(!log.iter().any(taken), "another node took the job over");
    assert_eq!(log.last().unwrap().payload()["status"], "completed");
    let end = tokio::time::timeout(PATIENCE, app.end_of(&second)).await;
    assert_eq!(end.unwrap()["status"], "completed");
    // The second job is for whoever comes first.
    let asked = model.asked().len() + others.asked().len();
    assert_eq!(asked, 2 * SUBTREES, "a subtree was asked for twice");
    app.app.stop().await;
    other.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_on_a_slow_line_gets_every_byte_of_a_stream() {
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(SUBTREES), json!({})).await;
    let job = app.submit(&body).await;
    let proxy = Proxy::before(app.app.address, streams).await;
    proxy.plan([Fate::Slow(64, Duration::from_millis(5))]);
    let url = format!("{}/v1/extract/jobs/{job}/events", proxy.base());
    let client = Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    let slow = Stream::of(client.get(url).send().await.unwrap());
    let slow = tokio::time::timeout(PATIENCE, slow.rest()).await.unwrap();
    let bytes: usize = slow.iter().map(|frame| frame.bytes.len()).sum();
    let least = Duration::from_millis(5) * (bytes / 64) as u32;
    assert!(began.elapsed() >= least, "{bytes} bytes came at once");
    assert_eq!(slow, app.follow(&job, None).await.rest().await);
}
