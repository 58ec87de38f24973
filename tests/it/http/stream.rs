//! Streams: what is on the wire, resuming, many followers.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};
use crate::support::sse::{Frame, assert_lawful, rebuild};
use crate::support::store::Wrapped;

fn bytes(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.bytes.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_with_stream_answers_with_the_whole_log_from_its_first_event() {
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(10), json!({})).await;
    let stream = app.stream(&body).await;
    assert_eq!(stream.response_status, 200);
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-stream-protocol", "1"),
        ("transfer-encoding", "chunked"),
        ("location", &format!("/v1/extract/jobs/{job}")),
    ] {
        assert_eq!(stream.headers[name], value, "{name}");
    }
    assert!(!stream.headers.contains_key("content-encoding"));
    assert!(!stream.headers.contains_key("content-length"));
    let frames = stream.rest().await;
    assert_lawful(&frames);
    let start = frames[0].payload();
    assert_eq!(
        (start["job_id"].as_str(), start["total_subtrees"].as_u64()),
        (Some(&*job), Some(10))
    );
    assert_eq!(
        frames
            .iter()
            .filter(|frame| frame.event == "subtree_result")
            .count(),
        10
    );
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (end["status"].as_str(), end["partial"].as_bool()),
        (Some("completed"), Some(false))
    );
    let results = app.results(&job).await;
    assert_eq!(results.body["results"], rebuild(&frames));
    assert_eq!(
        results.body["last_event_id"],
        frames.last().unwrap().id.as_str()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_bytes_and_every_frame_are_as_the_protocol_says() {
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let mut socket = tokio::net::TcpStream::connect(app.app.address)
        .await
        .unwrap();
    let request = format!(
        "GET /v1/extract/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    // Sizes of chunks stand on lines of their own, between CR LF.
    let text: String = body.split("\r\n").skip(1).step_by(2).collect();
    let mut lines = text.split('\n');
    assert_eq!(lines.next(), Some(":ok"));
    let retry: u64 = lines
        .next()
        .unwrap()
        .strip_prefix("retry: ")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1_500..=2_500).contains(&retry), "{retry}");
    let frames: Vec<&str> = text
        .split_once(&format!("retry: {retry}\n"))
        .unwrap()
        .1
        .split("\n\n")
        .collect();
    let (last, frames) = frames.split_last().unwrap();
    assert_eq!(*last, "");
    assert_eq!(frames.len(), 5);
    for (index, frame) in frames.iter().enumerate() {
        let lines: Vec<&str> = frame.split('\n').collect();
        assert_eq!(lines.len(), 3, "{frame}");
        assert!(
            lines[0].starts_with("event: ") && lines[1].starts_with("data: {"),
            "{frame}"
        );
        assert_eq!(lines[2], format!("id: {job}.{}", index + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_broken_by_a_comment_line_without_a_blank_one() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted.clone())))
        .set("heartbeat_seconds", 1)
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut stream = app.stream(&body).await;
    stream.until("job_status").await;
    stream.comment(":hb\n").await;
    scripted.pass(9);
    let frames = stream.until("end").await;
    assert!(
        stream.beside.contains(&":hb".to_owned()),
        "{:?}",
        stream.beside
    );
    assert_eq!(frames[0].event, "subtree_result");
}

async fn many_followers_of_a_running_job(delay: Option<Duration>) {
    let scripted = Scripted::gated();
    let mut start = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted.clone())))
        .set("max_streams_per_job", 51);
    if let Some(delay) = delay {
        start = start.build(move |builder| builder.jobs(move |jobs| Wrapped::slow(jobs, delay)));
    }
    let app = start.run().await;
    let body = app
        .job_body(wide_schema(200), json!({"max_num_concurrent_requests": 20}))
        .await;
    let job = app.submit(&body).await;
    let opened = join_all((0..50).map(|_| app.follow(&job, None))).await;
    let reading = opened.into_iter().map(|stream| tokio::spawn(stream.rest()));
    let reading: Vec<_> = reading.collect();
    // One at a time, each as soon as the one before was seen: the next commit then falls into
    // the time in which the followers look again. After that, all at once.
    let mut leader = app.follow(&job, None).await;
    for _ in 0..40 {
        scripted.pass(1);
        leader.until("subtree_result").await;
    }
    scripted.pass(160);
    let logs: Vec<_> = join_all(reading)
        .await
        .into_iter()
        .map(|frames| frames.unwrap())
        .collect();
    assert_lawful(&logs[0]);
    assert_eq!(
        logs[0]
            .iter()
            .filter(|frame| frame.event == "subtree_result")
            .count(),
        200
    );
    for log in &logs {
        assert_eq!(bytes(log), bytes(&logs[0]));
    }
    assert_eq!(app.results(&job).await.body["results"], rebuild(&logs[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_followers_of_a_running_job_see_every_event_once() {
    many_followers_of_a_running_job(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_followers_see_every_event_once_when_the_store_is_slow() {
    many_followers_of_a_running_job(Some(Duration::from_millis(30))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_from_every_cursor_gives_exactly_the_rest_byte_for_byte() {
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(30), json!({})).await;
    let whole = app.stream(&body).await.rest().await;
    let job = whole[0].payload()["job_id"].as_str().unwrap().to_owned();
    let last = whole.len();
    for after in 0..last {
        let cursor = format!("{job}.{after}");
        let by_header = app.follow(&job, Some(&cursor)).await.rest().await;
        assert_eq!(bytes(&by_header), bytes(&whole[after..]), "after {after}");
        let path = format!("/v1/extract/jobs/{job}/events?after={after}");
        let by_query = app.client.get(app.url(&path)).send().await.unwrap();
        let by_query = crate::support::sse::Stream::of(by_query).rest().await;
        assert_eq!(
            bytes(&by_query),
            bytes(&whole[after..]),
            "after {after} by query"
        );
    }
    for cursor in [format!("{job}.{last}"), last.to_string()] {
        let answer = app.open_events(&job, Some(&cursor)).await;
        assert_eq!(answer.status(), 204, "{cursor}");
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_that_cannot_be_meant_are_refused_and_foreign_ones_start_over() {
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let last = app.follow(&job, None).await.rest().await.len();
    let events = format!("/v1/extract/jobs/{job}/events");
    for (cursor, code) in [
        (format!("{job}.{}", last + 1), "last_event_id_out_of_range"),
        ("9999".to_owned(), "last_event_id_out_of_range"),
        ("abc".to_owned(), "invalid_last_event_id"),
        (format!("{job}.x"), "invalid_last_event_id"),
    ] {
        let request = app
            .client
            .get(app.url(&events))
            .header("Last-Event-ID", &cursor);
        let answer = app.call(request, "problem").await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["code"].as_str()),
            (400, Some(code)),
            "{cursor}"
        );
        assert!(answer.body["detail"].as_str().unwrap().len() > 20);
    }
    let other = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11.99";
    assert_eq!(app.follow(&job, Some(other)).await.rest().await.len(), last);
    // The header is newer than the address that a browser keeps repeating.
    let request = app.client.get(app.url(&format!("{events}?after=1")));
    let response = request
        .header("Last-Event-ID", format!("{job}.2"))
        .send()
        .await
        .unwrap();
    let frames = crate::support::sse::Stream::of(response).rest().await;
    assert_eq!(frames[0].sequence(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_changes_nothing() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let body = app.job_body(wide_schema(8), json!({})).await;
    let mut stream = app.stream(&body).await;
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    scripted.pass(2);
    let seen = stream.until("subtree_result").await;
    drop(stream);
    scripted.pass(100);
    let cursor = seen.last().unwrap().id.clone();
    let rest = app.follow(&job, Some(&cursor)).await.rest().await;
    let all: Vec<Frame> = seen.into_iter().chain(rest).collect();
    assert_lawful(&all);
    assert_eq!(all.last().unwrap().payload()["subtrees_succeeded"], 8);
    assert_eq!(scripted.asked().len(), 8, "no subtree was asked twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_event_stream_is_told_what_there_is() {
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let events = app.url(&format!("/v1/extract/jobs/{job}/events"));
    for accept in [
        "*/*",
        "text/*",
        "text/event-stream",
        "image/png, text/event-stream;q=0.5",
    ] {
        let answer = app
            .client
            .get(&events)
            .header("Accept", accept)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{accept}");
    }
    let request = app.client.get(&events).header("Accept", "image/png");
    let answer = app.call(request, "problem").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body["code"].as_str()),
        (406, Some("not_acceptable"))
    );
    let request = app.client.get(format!("{events}?protocol=2"));
    assert_eq!(
        app.call(request, "problem").await.body["code"],
        "unsupported_protocol"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_separators_in_values_reach_the_client_escaped_on_one_line() {
    use crate::support::provider::Reply;
    let nasty = "a\u{2028}b\u{2029}c\u{85}d\ne\r\nevent: end\n\ndata: {}";
    let scripted = Scripted::new(move |_, _| Reply::Value(json!({"a": nasty})));
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted)))
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let frames = app.stream(&body).await.rest().await;
    assert_lawful(&frames);
    let result = frames
        .iter()
        .find(|frame| frame.event == "subtree_result")
        .unwrap();
    assert!(!result.data.contains(['\u{2028}', '\u{2029}', '\u{85}']));
    assert_eq!(result.payload()["extracted_result"]["a"], nasty);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_too_large_for_a_frame_is_left_out_and_fetched_from_its_address() {
    use crate::support::provider::Reply;
    let long = "x".repeat(80_000);
    let value = json!({"a": long});
    let expected = value.clone();
    let scripted = Scripted::new(move |_, _| Reply::Value(value.clone()));
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted)))
        .set("max_event_bytes", 65_536)
        .run()
        .await;
    let body = app
        .job_body(wide_schema(1), json!({"per_key_attribution": true}))
        .await;
    let frames = app.stream(&body).await.rest().await;
    let result = frames
        .iter()
        .find(|frame| frame.event == "subtree_result")
        .unwrap();
    assert!(result.data.len() < 65_536);
    let payload = result.payload();
    assert_eq!(payload["oversize"], true);
    assert!(payload["extracted_result"].is_null() && payload["attributions"].is_null());
    let url = payload["result_url"].as_str().unwrap();
    let results = app.get(url, "results").await;
    assert_eq!(results.body["results"]["part_000"], expected);
}
