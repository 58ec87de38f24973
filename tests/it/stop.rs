//! The end of a server that is asked to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rivulet::domain::error::Fault;
use rivulet::engine::ports::Jobs;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{Start, TestApp, wide_schema};
use crate::support::postgres::database;
use crate::support::provider::{Scripted, Server, fault};
use crate::support::store::{Hold, Wrapped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_open_streams_after_a_whole_frame_and_gives_the_folder_back() {
    let model = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(3), json!({})).await)
        .await;
    let mut socket = TcpStream::connect(app.app.address).await.unwrap();
    let request = format!("GET /v1/extract/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("event: job_status\n") {
        let mut more = [0; 4096];
        let length = socket.read(&mut more).await.unwrap();
        answer.push_str(std::str::from_utf8(&more[..length]).unwrap());
    }

    let began = Instant::now();
    let next = app.reopen().await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // The last chunk says that the answer is whole: a clean end, not a cut.
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer:?}");
    let chunks = answer.split_once("\r\n\r\n").unwrap().1;
    let last = chunks.trim_end_matches("0\r\n\r\n");
    let (frames, pace) = last.rsplit_once("retry: ").unwrap();
    let pace: u64 = pace.trim_end().parse().unwrap();
    assert!((500..=5_000).contains(&pace), "{pace}");
    // Between the two stands the size of a chunk.
    let (frames, _) = frames.trim_end().rsplit_once("\r\n").unwrap();
    assert!(frames.ends_with("\n\n"), "{last:?}");
    assert!(!answer.contains("event: end\n"));

    let app = next
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
}

/// Waits until the server says that it takes no new work.
async fn until_draining(client: &reqwest::Client, base: &str) -> Value {
    loop {
        let answer = client.get(format!("{base}/readyz")).send().await.unwrap();
        if answer.status() == 503 {
            return answer.json().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_settle_before_a_stop_and_none_is_made_twice_or_begun() {
    let model = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .set("drain", "1m")
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 2});
    let body = app.job_body(wide_schema(6), config).await;
    let job = app.submit(&body).await;
    model.until_asked(2).await;

    let (client, base) = (app.client.clone(), app.base.clone());
    let meanwhile = async {
        let problem = until_draining(&client, &base).await;
        assert_eq!(problem["code"], "draining");
        let jobs = format!("{base}/v1/extract/jobs");
        let refused = client.post(&jobs).json(&body).send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        let polled = client.get(format!("{jobs}/{job}")).send().await.unwrap();
        assert_eq!(polled.status(), 200);
        model.pass(2);
    };
    let (next, ()) = tokio::join!(app.reopen(), meanwhile);
    let before = model.asked();
    assert_eq!(before.len(), 2, "{before:?}");

    let model = Scripted::plain();
    let app = next.provider(Arc::new(Server(model.clone()))).run().await;
    let end = app.end_of(&job).await;
    assert_eq!(end["subtrees_succeeded"], 6, "{end}");
    let after = model.asked();
    assert_eq!(after.len(), 4, "{after:?}");
    assert!(after.iter().all(|asked| !before.contains(asked)));
}

/// A store that gives jobs to an owner, who hears of it when the door is open.
fn giving(door: &Arc<Hold>) -> impl FnOnce(Arc<dyn Jobs>) -> Arc<dyn Jobs> + use<> {
    let given = Arc::clone(door);
    move |inner| {
        Arc::new(Wrapped {
            given,
            ..Wrapped::around(inner)
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_while_it_is_being_claimed_is_never_asked_for() {
    let (model, given) = (Scripted::plain(), Arc::new(Hold::default()));
    given.close();
    let wrap = giving(&given);
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .build(move |builder| builder.jobs(wrap))
        .run()
        .await;
    let body = json!({"document": "Total: 5 EUR", "schema": wide_schema(2)});
    let job = app.submit(&body).await;
    given.arrivals(1).await;
    let path = format!("/v1/extract/jobs/{job}");
    let cancel = format!("{path}/cancel");
    let nothing = json!({});
    let mut cancelling = Box::pin(app.post(&cancel, &nothing, "job"));
    let seen = async { while app.get(&path, "job").await.body["status"] != "cancelled" {} };
    tokio::select! {
        _ = &mut cancelling => panic!("it was answered before it was known who has the job"),
        () = seen => {}
    }
    given.open();
    assert_eq!(cancelling.await.status, 202);
    // Every run has left by then.
    app.reopen().await;
    assert!(model.asked().is_empty(), "{:?}", model.asked());
}

/// A stop that begins while jobs are being given to the server, and its successor.
async fn stops_in_the_middle_of_a_claim(start: impl Fn() -> Start) {
    let (model, given) = (Scripted::plain(), Arc::new(Hold::default()));
    given.close();
    let wrap = giving(&given);
    let app = start()
        .provider(Arc::new(Server(model.clone())))
        .build(move |builder| builder.jobs(wrap))
        .run()
        .await;
    let body = json!({"document": "Total: 5 EUR", "schema": wide_schema(2)});
    let job = app.submit(&body).await;
    given.arrivals(1).await;
    let (client, base) = (app.client.clone(), app.base.clone());
    let mut stopping = Box::pin(app.reopen());
    tokio::select! {
        _ = &mut stopping => panic!("the stop did not wait for what it is being given"),
        _ = until_draining(&client, &base) => {}
    }
    // Still held, so it cannot be over.
    assert!((&mut stopping).now_or_never().is_none());
    given.open();
    let next = stopping.await;
    assert!(model.asked().is_empty(), "{:?}", model.asked());

    let began = Instant::now();
    let app = next
        .like(start())
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let frames = app.follow(&job, None).await.rest().await;
    // A lease that was left would have to run out first.
    assert!(began.elapsed() < Duration::from_secs(10));
    let statuses: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "job_status")
        .map(|frame| frame.payload()["reason"].clone())
        .collect();
    assert_eq!(statuses, [json!("scheduled")]);
    assert_eq!(frames.last().unwrap().payload()["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_claimed_while_the_server_stops_is_given_back() {
    stops_in_the_middle_of_a_claim(TestApp::start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_claimed_while_a_node_stops_is_given_back_for_others() {
    let Some(database) = database().await else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let blobs = format!("file://{}", files.path().display());
    let start = || {
        TestApp::start()
            .set("store", database.url())
            .set("blobs", &blobs)
    };
    stops_in_the_middle_of_a_claim(start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_its_next_attempt_does_not_hold_up_a_stop() {
    let model = Scripted::new(|_, _| fault(Fault::ProviderRateLimit, Some(60_000)));
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .set("drain", "1h")
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(2), json!({})).await)
        .await;
    let mut stream = app.follow(&job, None).await;
    while stream.next().await.unwrap().event != "subtree_retry" {}
    drop(stream);
    let next = tokio::time::timeout(Duration::from_secs(20), app.reopen())
        .await
        .expect("the stop waits for an attempt that it will not make");
    let app = next
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
}
