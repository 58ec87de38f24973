//! The end of a server that is asked to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};

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
