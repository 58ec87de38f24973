//! The log in pages of JSON, and what is the same for every way to read it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Reply, Scripted, Server};
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};
use crate::support::store::Wrapped;

const JSON: &str = "application/json";

/// A page whose events are kept as they came.
#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    last_event_id: String,
    last_sequence_number: u64,
    terminal: bool,
}

async fn plain() -> TestApp {
    let provider = Arc::new(Server(Scripted::plain()));
    TestApp::start().provider(provider).run().await
}

async fn gated() -> (TestApp, Arc<Scripted>) {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(scripted.clone()));
    (TestApp::start().provider(provider).run().await, scripted)
}

fn events(job: &str, query: &str) -> String {
    format!("/v1/extract/jobs/{job}/events?{query}")
}

/// A page, or why there is none, held against its schema.
async fn asked(app: &TestApp, job: &str, query: &str) -> Answer {
    let request = app.request(Method::GET, &events(job, query));
    app.call(request.header("Accept", JSON), "events_page")
        .await
}

async fn page(app: &TestApp, job: &str, query: &str) -> Page {
    let request = app.request(Method::GET, &events(job, query));
    let answer = request.header("Accept", JSON).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

fn data(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.data.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_event_once_with_the_bytes_of_the_stream() {
    // Whoever reads this and writes it again has other bytes.
    let nasty = "a\u{2028}b\u{85}\u{7f}/\u{e4}";
    let scripted = Scripted::new(move |_, _| Reply::Value(json!({"b": nasty, "a": "1e2"})));
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted)))
        .run()
        .await;
    let body = app.job_body(wide_schema(30), json!({})).await;
    let whole = app.stream(&body).await.rest().await;
    assert_lawful(&whole);
    let job = whole[0].payload()["job_id"].as_str().unwrap().to_owned();
    for limit in [1, 7, 33, 1_000] {
        let (mut seen, mut after, mut pages) = (Vec::new(), "0".to_owned(), 0);
        loop {
            let page = page(&app, &job, &format!("limit={limit}&after={after}")).await;
            assert_eq!(page.last_sequence_number, whole.len() as u64);
            assert!((1..=limit).contains(&page.events.len()));
            seen.extend(page.events.iter().map(|event| event.get().to_owned()));
            after = page.last_event_id;
            assert_eq!(after, whole[seen.len() - 1].id);
            pages += 1;
            if page.terminal {
                break;
            }
        }
        assert_eq!(seen, data(&whole));
        assert_eq!(pages, whole.len().div_ceil(limit));
        let end = asked(&app, &job, &format!("wait=30&after={after}")).await;
        assert_eq!(end.status, 200);
        let expected = json!({
            "job_id": job, "events": [], "last_event_id": after,
            "last_sequence_number": whole.len(), "terminal": true,
        });
        assert_eq!(end.body, expected);
        assert_eq!(end.headers["cache-control"], "no-store");
    }
    let usual = asked(&app, &job, "").await;
    assert_eq!(usual.body["events"].as_array().unwrap().len(), whole.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_a_number_has_a_hundred_events() {
    let app = plain().await;
    let body = app.job_body(wide_schema(120), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let usual = asked(&app, &job, "").await.body;
    assert_eq!(usual["events"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&usual["last_event_id"], &usual["terminal"]),
        (&json!(format!("{job}.100")), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_before_it_is_too_long_and_one_event_always_fits() {
    let lengths: HashMap<_, _> = (0..24)
        .map(|part| (format!("part_{part:03}"), 90_000))
        .collect();
    let huge = "part_007".to_owned();
    let scripted = Scripted::new(move |subtree, _| {
        let name = subtree.path.as_str().trim_start_matches('/').to_owned();
        let length = if name == huge {
            3 << 20
        } else {
            lengths[&name]
        };
        Reply::Value(json!({"a": "x".repeat(length)}))
    });
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted)))
        .set("max_event_bytes", 4 << 20)
        .run()
        .await;
    let body = app.job_body(wide_schema(24), json!({})).await;
    let whole = app.stream(&body).await.rest().await;
    let job = whole[0].payload()["job_id"].as_str().unwrap().to_owned();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&app, &job, &format!("limit=1000&after={after}")).await;
        let bytes: usize = page.events.iter().map(|event| event.get().len()).sum();
        assert!(bytes <= 1 << 20 || page.events.len() == 1, "{bytes}");
        seen.extend(page.events.iter().map(|event| event.get().to_owned()));
        after = page.last_event_id;
        if page.terminal {
            break;
        }
        let next = &whole[seen.len()];
        assert!(
            bytes + next.data.len() > 1 << 20,
            "the next one would have fitted"
        );
    }
    assert_eq!(seen, data(&whole));
}

/// Reads the metrics until that many requests wait for news of a job.
async fn waiting(app: &TestApp, count: usize) {
    let line = format!("rivulet_streams {count}");
    loop {
        let answer = app.request(Method::GET, "/metrics").send().await.unwrap();
        if answer
            .text()
            .await
            .unwrap()
            .lines()
            .any(|found| found == line)
        {
            return;
        }
    }
}

async fn pages_come_with_their_events(delay: Option<Duration>) {
    let scripted = Scripted::gated();
    let mut start = TestApp::start().provider(Arc::new(Server(scripted.clone())));
    if let Some(delay) = delay {
        start = start.build(move |builder| builder.jobs(move |jobs| Wrapped::slow(jobs, delay)));
    }
    let app = Arc::new(start.run().await);
    let body = app
        .job_body(wide_schema(8), json!({"max_num_concurrent_requests": 1}))
        .await;
    let mut leader = app.stream(&body).await;
    let mut frames = leader.until("job_status").await;
    let job = leader.headers["x-job-id"].to_str().unwrap().to_owned();
    let began = Instant::now();
    for _ in 0..8 {
        let after = frames.last().unwrap().id.clone();
        let poll = {
            let (app, job) = (Arc::clone(&app), job.clone());
            tokio::spawn(async move { page(&app, &job, &format!("wait=30&after={after}")).await })
        };
        waiting(&app, 2).await;
        scripted.pass(1);
        let page = poll.await.unwrap();
        let next = leader.until("subtree_result").await;
        let came: Vec<_> = page.events.iter().map(|event| event.get()).collect();
        assert_eq!(came[0], data(&next)[0]);
        frames.extend(next);
    }
    // Whoever is not woken looks again after a second.
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let last = page(
        &app,
        &job,
        &format!("wait=30&after={}", frames.last().unwrap().id),
    )
    .await;
    assert!(last.terminal);
    assert!(last.events[0].get().contains(r#""type":"end""#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_waits_comes_with_the_event_and_not_later() {
    pages_come_with_their_events(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_not_late_when_the_event_comes_while_a_slow_store_is_read() {
    pages_come_with_their_events(Some(Duration::from_millis(60))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_waits_in_vain_is_empty_and_leads_on() {
    let (app, scripted) = gated().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut leader = app.stream(&body).await;
    let last = leader.until("job_status").await.last().unwrap().id.clone();
    let job = leader.headers["x-job-id"].to_str().unwrap().to_owned();
    for query in ["wait=0", "wait=", "wait=1"] {
        let empty = asked(&app, &job, &format!("{query}&after={last}"))
            .await
            .body;
        assert_eq!(empty["events"], json!([]));
        assert_eq!(
            (&empty["last_event_id"], &empty["terminal"]),
            (&json!(last), &json!(false))
        );
    }
    scripted.pass(9);
    assert!(leader.until("end").await.len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_wait_are_answered_when_the_job_is_cancelled_and_when_the_server_stops() {
    let (app, _scripted) = gated().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut polls = Vec::new();
    for number in 0..2 {
        let job = app.submit(&body).await;
        let last = page(&app, &job, "wait=30&after=1").await.last_event_id;
        let request = app.request(Method::GET, &events(&job, &format!("wait=30&after={last}")));
        let request = request.header("Accept", JSON);
        polls.push((job, last, tokio::spawn(request.send())));
        waiting(&app, number + 1).await;
    }
    let began = Instant::now();
    let (stopped, (cancelled, _, end)) = (polls.pop().unwrap(), polls.pop().unwrap());
    let path = format!("/v1/extract/jobs/{cancelled}/cancel");
    app.call(app.request(Method::POST, &path), "job").await;
    let end: Value = end.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(
        (&end["events"][0]["type"], &end["terminal"]),
        (&json!("end"), &json!(true))
    );

    let stop = app.reopen();
    let (_, last, poll) = stopped;
    let (_, answer) = tokio::join!(stop, poll);
    let empty: Value = answer.unwrap().unwrap().json().await.unwrap();
    assert_eq!(
        (&empty["events"], &empty["terminal"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(empty["last_event_id"], last);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_goes_by_what_the_client_prefers() {
    let app = plain().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    for (accept, form) in [
        ("*/*", "text/event-stream; charset=utf-8"),
        ("text/*;q=0.1", "text/event-stream; charset=utf-8"),
        (
            "application/json;q=0.8, text/event-stream",
            "text/event-stream; charset=utf-8",
        ),
        ("application/json", JSON),
        ("application/json, text/event-stream;q=0.5", JSON),
        ("application/json, text/plain, */*", JSON),
    ] {
        let request = app.request(Method::GET, &events(&job, ""));
        let answer = request.header("Accept", accept).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{accept}");
        assert_eq!(answer.headers()["content-type"], form, "{accept}");
        assert_eq!(answer.headers()["vary"], "Accept");
    }
    for accept in [
        "image/png",
        "application/json;q=0",
        "text/html, application/xml",
    ] {
        let request = app
            .request(Method::GET, &events(&job, ""))
            .header("Accept", accept);
        let refused = app.call(request, "events_page").await;
        assert_eq!(refused.refusal(), (406, "not_acceptable"), "{accept}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains(accept) && detail.contains("`application/json`"),
            "{detail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_pages_are_refused_with_their_value_and_range() {
    let app = plain().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let last = app.follow(&job, None).await.rest().await.len();
    for (query, value, allowed) in [
        ("limit=0", "`0`", "1 to 1000"),
        ("limit=1001", "`1001`", "1 to 1000"),
        ("limit=-1", "`-1`", "1 to 1000"),
        ("limit=ten", "`ten`", "1 to 1000"),
        ("wait=31", "`31`", "0 to 30"),
        ("wait=1.5", "`1.5`", "0 to 30"),
        ("heartbeat=loud", "`loud`", "comment, event"),
    ] {
        let refused = asked(&app, &job, query).await;
        assert_eq!(refused.refusal(), (400, "invalid_request"), "{query}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains(value) && detail.contains(allowed),
            "{detail}"
        );
    }
    for (query, code) in [
        (format!("after={}", last + 1), "last_event_id_out_of_range"),
        ("after=x".to_owned(), "invalid_last_event_id"),
        ("protocol=2".to_owned(), "unsupported_protocol"),
    ] {
        assert_eq!(asked(&app, &job, &query).await.refusal(), (400, code));
    }
    // A stream has no pages, so it has no use for their parameters; it may say how it beats.
    for query in [
        "limit=0&wait=99",
        "heartbeat=comment",
        "heartbeat=event",
        "heartbeat=",
    ] {
        let answer = app
            .request(Method::GET, &events(&job, query))
            .send()
            .await
            .unwrap();
        assert_eq!(Stream::of(answer).rest().await.len(), last, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_of_pages_are_those_of_streams() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let body = app.job_body(wide_schema(3), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let other = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11.99";
    for (query, header, first) in [
        (String::new(), None, 1),
        ("after=2".to_owned(), None, 3),
        (format!("after={job}.2"), None, 3),
        (format!("after={other}"), None, 1),
        ("after=4".to_owned(), Some(format!("{job}.1")), 2),
        ("after=4".to_owned(), Some(other.to_owned()), 1),
        ("after=4".to_owned(), Some(String::new()), 5),
    ] {
        let mut request = app
            .request(Method::GET, &events(&job, &query))
            .header("Accept", JSON);
        if let Some(header) = &header {
            request = request.header("Last-Event-ID", header);
        }
        let page = app.call(request, "events_page").await.body;
        assert_eq!(
            page["events"][0]["sequence_number"], first,
            "{query} {header:?}"
        );
    }
    clock.forward(7 * 86_400_000);
    for query in ["", "after=1", "wait=30&after=9999"] {
        let code = if query.contains("9999") {
            (400, "last_event_id_out_of_range")
        } else {
            (410, "events_expired")
        };
        assert_eq!(asked(&app, &job, query).await.refusal(), code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_so_far_come_with_the_cursor_that_goes_on_from_them() {
    let (app, scripted) = gated().await;
    let body = app.job_body(wide_schema(6), json!({})).await;
    let mut leader = app.stream(&body).await;
    let job = leader.headers["x-job-id"].to_str().unwrap().to_owned();
    let mut whole = leader.until("job_status").await;
    for _ in 0..6 {
        let partial = app
            .get(
                &format!("/v1/extract/jobs/{job}/results?partial=true"),
                "results",
            )
            .await
            .body;
        let polled = app
            .get(&format!("/v1/extract/jobs/{job}"), "job")
            .await
            .body;
        let last = whole.last().unwrap();
        assert_eq!(partial["last_event_id"], last.id.as_str());
        assert_eq!(partial["results"], rebuild(&whole));
        assert_eq!(
            (&polled["last_event_id"], &polled["last_sequence_number"]),
            (&json!(last.id), &json!(last.sequence()))
        );
        let ahead = page(&app, &job, &format!("after={}", last.id)).await;
        assert!(ahead.events.is_empty() && !ahead.terminal);
        scripted.pass(1);
        whole.extend(leader.until("subtree_result").await);
    }
    whole.extend(leader.rest().await);
    assert_lawful(&whole);
    let done = app.results(&job).await.body;
    assert_eq!(
        (&done["results"], &done["last_event_id"]),
        (&rebuild(&whole), &json!(whole.last().unwrap().id))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_looks_at_no_accept_and_speaks_one_protocol() {
    let app = plain().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let post = |query: &str| app.request(Method::POST, &format!("/v1/extract/jobs{query}"));
    for accept in [JSON, "image/png", "text/event-stream;q=0"] {
        let request = post("?protocol=1").json(&streamed).header("Accept", accept);
        let frames = Stream::of(request.send().await.unwrap()).rest().await;
        assert_lawful(&frames);
    }
    for body in [&body, &streamed] {
        let refused = app
            .call(post("?protocol=2").json(body), "job_created")
            .await;
        assert_eq!(refused.refusal(), (400, "unsupported_protocol"));
    }
    assert_eq!(
        app.get("/v1/extract/jobs", "job_list").await.body["total_count"],
        3
    );
    for path in [
        "/v1/extract/jobs".to_owned(),
        events("018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11", ""),
    ] {
        let head = app.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), 405, "{path}");
    }
}
