//! Requests that are made again: by key, and by the cursor of the job they started.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Response};
use rivulet::app::App;
use rivulet::domain::id::{IdempotencyKey, Scope};
use rivulet::domain::metadata::Metadata;
use rivulet::engine::keys::Principal;
use rivulet::engine::{DocumentSource, JobRequest, Repeat, SchemaSource};
use rivulet::settings::{Settings, Sources};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Scripted, Server};
use crate::support::sse::{Frame, Stream, assert_lawful};
use crate::support::store::{Hold, Wrapped};

const JOBS: &str = "/v1/extract/jobs";
const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

async fn plain() -> TestApp {
    let provider = Arc::new(Server(Scripted::plain()));
    TestApp::start().provider(provider).run().await
}

fn with(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

fn inline() -> Value {
    json!({"document": "Invoice number: 7\nTotal: 12.50 EUR\n", "schema": wide_schema(2)})
}

/// A POST with headers, answered without a stream.
async fn post(app: &TestApp, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(Method::POST, JOBS).json(body);
    let headers = headers.iter();
    let request = headers.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    app.call(request, "job_created").await
}

async fn post_stream(app: &TestApp, body: &Value, headers: &[(&str, &str)]) -> Response {
    let body = with(body, "stream", json!(true));
    let request = app.request(Method::POST, JOBS).json(&body);
    let headers = headers.iter();
    let request = headers.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.unwrap()
}

fn is_replay(headers: &reqwest::header::HeaderMap) -> bool {
    match headers.get("x-idempotent-replay") {
        Some(value) => {
            assert_eq!(value, "true");
            true
        }
        None => false,
    }
}

fn id(answer: &Answer) -> String {
    answer.body["job_id"].as_str().unwrap().to_owned()
}

async fn total(app: &TestApp, list: &str) -> Value {
    let schema = list
        .rsplit('/')
        .next()
        .unwrap()
        .trim_end_matches('s')
        .to_owned()
        + "_list";
    app.get(list, &schema).await.body["total_count"].clone()
}

fn bytes(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.bytes.as_str()).collect()
}

async fn rest(response: Response) -> Vec<Frame> {
    assert_eq!(response.status(), 200);
    Stream::of(response).rest().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parallel_posts_with_one_key_start_one_job() {
    let start = TestApp::start().provider(Arc::new(Server(Scripted::plain())));
    let app = Arc::new(start.set("max_streams_per_job", 100).run().await);
    let posts = (0..100).map(|number| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            // In any order of members, and streamed or not: it is the same request.
            let mut body = inline();
            if number % 3 == 0 {
                body =
                    json!({"config": null, "schema": body["schema"], "document": body["document"]});
            }
            loop {
                let key = &[("Idempotency-Key", "one")];
                let (status, replay, job) = if number % 2 == 0 {
                    let answer = post_stream(&app, &body, key).await;
                    let status = answer.status().as_u16();
                    let job = answer.headers().get("x-job-id");
                    let job = job.map(|job| job.to_str().unwrap().to_owned());
                    (status, is_replay(answer.headers()), job)
                } else {
                    let answer = post(&app, &body, key).await;
                    let status = answer.status.as_u16();
                    if status == 409 {
                        assert_eq!(answer.refusal().1, "idempotency_key_in_use");
                        assert_eq!(answer.headers["retry-after"], "1");
                    }
                    let job = answer.body["job_id"].as_str().map(str::to_owned);
                    (status, is_replay(&answer.headers), job)
                };
                if status != 409 {
                    return (status, replay, job.unwrap());
                }
            }
        })
    });
    let mut answers: HashMap<_, usize> = HashMap::new();
    let mut jobs = Vec::new();
    for answer in join_all(posts).await {
        let (status, replay, job) = answer.unwrap();
        assert!(
            status == 200 || (status, replay) == (202, false),
            "{status}"
        );
        *answers.entry(replay).or_default() += 1;
        jobs.push(job);
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    assert_eq!(answers, HashMap::from([(false, 1), (true, 99)]));
    assert_eq!(total(&app, JOBS).await, 1);
    assert_eq!(total(&app, "/v1/extract/documents").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_in_use_until_its_job_is_stored() {
    let hold = Arc::new(Hold::default());
    let door = Arc::clone(&hold);
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(move |builder| builder.jobs(move |jobs| Wrapped::held(jobs, door)))
        .run()
        .await;
    let app = Arc::new(app);
    hold.close();
    let post_later = |key: &'static str| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { post(&app, &inline(), &[("Idempotency-Key", key)]).await })
    };
    let first = post_later("k");
    hold.arrivals(1).await;
    for body in [inline(), with(&inline(), "config", json!({"seed": 1}))] {
        let key = [("Idempotency-Key", "k")];
        // One that is not refused would wait at the door.
        let refused = tokio::time::timeout(Duration::from_secs(20), post(&app, &body, &key)).await;
        let refused = refused.expect("an answer at once");
        assert_eq!(refused.refusal(), (409, "idempotency_key_in_use"));
        assert_eq!(refused.headers["retry-after"], "1");
    }
    let other = post_later("K");
    hold.arrivals(2).await;
    hold.open();
    let (first, other) = (first.await.unwrap(), other.await.unwrap());
    assert_eq!((first.status.as_u16(), other.status.as_u16()), (202, 202));
    assert_ne!(id(&first), id(&other));
    let again = post(&app, &inline(), &[("Idempotency-Key", "k")]).await;
    assert_eq!(
        (again.status.as_u16(), is_replay(&again.headers)),
        (200, true)
    );
    assert_eq!(id(&again), id(&first));
    assert_eq!(total(&app, "/v1/extract/documents").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_taken_while_its_document_is_read_leads_to_the_job_that_took_it() {
    let blind = Arc::new(AtomicUsize::new(0));
    let misses = Arc::clone(&blind);
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(move |builder| {
            builder.jobs(move |inner| {
                Arc::new(Wrapped {
                    blind: misses,
                    ..Wrapped::around(inner)
                })
            })
        })
        .run()
        .await;
    let key = ("Idempotency-Key", "k");
    let first = post(&app, &inline(), &[key]).await;
    assert_eq!(first.status, 202);
    blind.store(2, Ordering::SeqCst);
    let second = post(&app, &inline(), &[key]).await;
    assert_eq!(
        (second.status.as_u16(), is_replay(&second.headers)),
        (200, true)
    );
    assert_eq!(id(&second), id(&first));
    blind.store(3, Ordering::SeqCst);
    let third = post(&app, &inline(), &[key]).await;
    assert_eq!(third.refusal(), (409, "idempotency_key_in_use"));
    blind.store(2, Ordering::SeqCst);
    let other = with(&inline(), "config", json!({"seed": 1}));
    let fourth = post(&app, &other, &[key]).await;
    assert_eq!(fourth.refusal(), (422, "idempotency_key_reused"));
    assert_eq!(total(&app, JOBS).await, 1);
    assert_eq!(total(&app, "/v1/extract/documents").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_made_again_needs_nothing_that_it_names() {
    let app = plain().await;
    let document = app.document().await;
    let schema = json!({"name": "Wide", "schema_definition": wide_schema(3)});
    let schema = app.post("/v1/extract/schemas", &schema, "schema").await;
    let schema = schema.body["schema_id"].as_str().unwrap().to_owned();
    let body = json!({"document_id": document, "schema_id": schema});
    let key = ("Idempotency-Key", "order 7, first try");
    let first = post_stream(&app, &body, &[key]).await;
    assert!(!is_replay(first.headers()));
    let job = first.headers()["x-job-id"].to_str().unwrap().to_owned();
    let whole = rest(first).await;
    assert_lawful(&whole);
    app.delete(&format!("/v1/extract/documents/{document}"))
        .await;
    app.delete(&format!("/v1/extract/schemas/{schema}")).await;

    let again = post(&app, &body, &[key]).await;
    assert_eq!(
        (again.status.as_u16(), is_replay(&again.headers)),
        (200, true)
    );
    assert_eq!(
        (id(&again), &again.body["status"]),
        (job.clone(), &json!("completed"))
    );
    assert_eq!(again.headers["location"], format!("{JOBS}/{job}").as_str());

    let last = whole.len();
    for (cursor, expected) in [
        (String::new(), 0),
        ("0".to_owned(), 0),
        (format!("{job}.2"), 2),
        ("3".to_owned(), 3),
        (format!("{NOBODY}.3"), 0),
    ] {
        let again = post_stream(&app, &body, &[key, ("Last-Event-ID", &cursor)]).await;
        assert!(is_replay(again.headers()), "{cursor}");
        assert_eq!(
            bytes(&rest(again).await),
            bytes(&whole[expected..]),
            "{cursor}"
        );
    }
    let ended = post_stream(
        &app,
        &body,
        &[key, ("Last-Event-ID", &format!("{job}.{last}"))],
    )
    .await;
    assert_eq!(
        (ended.status().as_u16(), is_replay(ended.headers())),
        (204, true)
    );
    for (cursor, code) in [
        (format!("{}", last + 1), "last_event_id_out_of_range"),
        ("x".to_owned(), "invalid_last_event_id"),
    ] {
        let streamed = with(&body, "stream", json!(true));
        let refused = post(&app, &streamed, &[key, ("Last-Event-ID", &cursor)]).await;
        assert_eq!(refused.refusal(), (400, code));
    }
    assert_eq!(total(&app, JOBS).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_request_under_a_key_is_refused_and_a_refused_one_leaves_its_key_free() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .set("max_active_jobs", 1)
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let key = ("Idempotency-Key", "k");
    for (name, value, refusal) in [
        ("strem", json!(true), (400, "invalid_request")),
        ("document_id", json!(NOBODY), (404, "document_not_found")),
        ("config", json!({"seed": "x"}), (422, "invalid_config")),
        ("schema", json!({"type": "money"}), (422, "invalid_schema")),
    ] {
        let refused = post(&app, &with(&body, name, value), &[key]).await;
        assert_eq!(refused.refusal(), refusal);
    }
    let other = app.submit(&body).await;
    let full = post(&app, &body, &[key]).await;
    assert_eq!(full.refusal(), (429, "too_many_jobs"));
    // What came inline and started nothing is not kept.
    let full = post(&app, &inline(), &[key]).await;
    assert_eq!(full.refusal(), (429, "too_many_jobs"));
    assert_eq!(total(&app, "/v1/extract/documents").await, 1);
    scripted.pass(9);
    app.end_of(&other).await;
    let first = post(&app, &body, &[key]).await;
    assert_eq!(
        (first.status.as_u16(), is_replay(&first.headers)),
        (202, false)
    );
    app.end_of(&id(&first)).await;

    for (name, value) in [
        ("config", json!({"seed": 2})),
        (
            "schema",
            json!({"type": "object", "properties": {"x": {"const": null}}}),
        ),
        ("document_id", json!(app.document().await)),
    ] {
        let refused = post(&app, &with(&body, name, value), &[key]).await;
        assert_eq!(refused.refusal(), (422, "idempotency_key_reused"), "{name}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains(&id(&first)) && detail.contains("`Idempotency-Key: k`"),
            "{detail}"
        );
    }
    assert_eq!(total(&app, JOBS).await, 2);
    app.delete(&format!("{JOBS}/{}", id(&first))).await;
    let next = post(&app, &with(&body, "config", json!({"seed": 2})), &[key]).await;
    assert_eq!(next.status, 202, "the key is gone with its job");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_none_are_refused_with_the_limit() {
    let app = plain().await;
    let long = "k".repeat(256);
    let bad: [&[u8]; 4] = [b"", long.as_bytes(), "schl\u{fc}ssel".as_bytes(), b"k\tk"];
    for key in bad {
        let request = app.request(Method::POST, JOBS).json(&inline());
        let refused = app
            .call(request.header("Idempotency-Key", key), "job_created")
            .await;
        assert_eq!(refused.refusal(), (400, "invalid_request"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("1 to 255 printable ASCII"), "{detail}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    assert_eq!(
        post(&app, &inline(), &twice).await.refusal(),
        (400, "invalid_request")
    );
    assert_eq!(total(&app, JOBS).await, 0);
    let longest = post(&app, &inline(), &[("Idempotency-Key", &long[1..])]).await;
    assert_eq!(longest.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_led_to_its_job_after_a_restart_of_the_server() {
    let first = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(first.clone())))
        .run()
        .await;
    let body = app.job_body(wide_schema(6), json!({})).await;
    let key = ("Idempotency-Key", "k");
    let mut stream = Stream::of(post_stream(&app, &body, &[key]).await);
    first.pass(2);
    let mut seen = stream.until("subtree_result").await;
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    drop(stream);
    let second = Scripted::plain();
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Server(second.clone())))
        .run()
        .await;
    let polled = post(&app, &body, &[key]).await;
    assert_eq!((polled.status.as_u16(), id(&polled)), (200, job.clone()));
    let cursor = seen.last().unwrap().id.clone();
    // With the key, and also without it: the cursor alone says it too.
    for headers in [
        &[key, ("Last-Event-ID", &*cursor)][..],
        &[("Last-Event-ID", &*cursor)],
    ] {
        let again = post_stream(&app, &body, headers).await;
        assert!(is_replay(again.headers()));
        let mut all = seen.clone();
        all.extend(rest(again).await);
        assert_lawful(&all);
    }
    seen.clear();
    assert_eq!(total(&app, JOBS).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_job_is_answered_for_as_get_would() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let key = ("Idempotency-Key", "k");
    let job = id(&post(&app, &body, &[key]).await);
    app.end_of(&job).await;
    clock.forward(7 * 86_400_000);
    let seen = format!("{job}.1");
    for header in [key, ("Last-Event-ID", &*seen)] {
        let polled = post(&app, &body, &[header]).await;
        assert_eq!((polled.status.as_u16(), id(&polled)), (200, job.clone()));
        let gone = post(&app, &with(&body, "stream", json!(true)), &[header]).await;
        assert_eq!(gone.refusal(), (410, "events_expired"));
    }
}

/// A client that sends its POST again whenever the connection is gone, as several libraries do.
async fn reconnecting(app: &TestApp, body: &Value, frames_a_time: usize) -> (Vec<Frame>, usize) {
    let (mut all, mut requests): (Vec<Frame>, _) = (Vec::new(), 0);
    loop {
        requests += 1;
        let seen = all.last().map(|frame| frame.id.clone());
        let header = seen.as_deref().map(|seen| ("Last-Event-ID", seen));
        let answer = post_stream(app, body, header.as_slice()).await;
        assert_eq!(is_replay(answer.headers()), header.is_some());
        if answer.status() == 204 {
            return (all, requests);
        }
        let mut stream = Stream::of(answer);
        for _ in 0..frames_a_time {
            let Some(frame) = stream.next().await else {
                break;
            };
            all.push(frame);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_repeats_its_post_by_itself_never_makes_a_second_job() {
    let scripted = Scripted::plain();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let body = app.job_body(wide_schema(27), json!({})).await;
    for (frames_a_time, jobs) in [(1, 1), (4, 2), (1_000, 3)] {
        let (frames, requests) = reconnecting(&app, &body, frames_a_time).await;
        assert_lawful(&frames);
        assert!(requests > 1);
        assert_eq!(total(&app, JOBS).await, jobs);
        assert_eq!(scripted.asked().len() as u64, 27 * jobs);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_leads_to_a_job_only_when_the_same_request_started_it() {
    let app = plain().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let last = app.follow(&job, None).await.rest().await.len();
    let seen = format!("{job}.2");
    let polled = post(&app, &body, &[("Last-Event-ID", &seen)]).await;
    assert_eq!(
        (polled.status.as_u16(), is_replay(&polled.headers)),
        (200, true)
    );
    assert_eq!(id(&polled), job);
    let beyond = format!("{job}.{}", last + 1);
    let streamed = with(&body, "stream", json!(true));
    let refused = post(&app, &streamed, &[("Last-Event-ID", &beyond)]).await;
    assert_eq!(refused.refusal(), (400, "last_event_id_out_of_range"));
    let refused = post(&app, &body, &[("Last-Event-ID", "job.x")]).await;
    assert_eq!(refused.refusal(), (400, "invalid_last_event_id"));

    let other = with(&body, "config", json!({"seed": 1}));
    let elsewhere = format!("{NOBODY}.1");
    let fresh: [(&Value, &[(&str, &str)]); 5] = [
        (&body, &[]),
        (&body, &[("Last-Event-ID", "2")]),
        (&body, &[("Last-Event-ID", &elsewhere)]),
        (&other, &[("Last-Event-ID", &seen)]),
        (
            &body,
            &[("Last-Event-ID", &seen), ("Idempotency-Key", "on purpose")],
        ),
    ];
    for (body, headers) in fresh {
        let answer = post_stream(&app, body, headers).await;
        assert!(!is_replay(answer.headers()), "{headers:?}");
        let frames = rest(answer).await;
        assert_lawful(&frames);
        assert_ne!(frames[0].payload()["job_id"], job.as_str());
    }
    app.delete(&format!("{JOBS}/{job}")).await;
    let deleted = post(&app, &body, &[("Last-Event-ID", &seen)]).await;
    assert_eq!(
        (deleted.status.as_u16(), is_replay(&deleted.headers)),
        (202, false)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_key_nor_cursor_leads_to_the_job_of_another_user() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let sources = Sources {
        flags: [("data", data), ("default_model", "scripted".to_owned())]
            .into_iter()
            .collect(),
        ..Sources::default()
    };
    let provider = Arc::new(Server(Scripted::plain()));
    let settings = Settings::load(sources).unwrap();
    let embedded = App::builder(settings)
        .providers(vec![provider])
        .embedded()
        .unwrap();
    let submit = async |user: &str, key: Option<&str>, seen| {
        let request = JobRequest {
            document: DocumentSource::Inline {
                name: "a.txt".into(),
                bytes: "Total: 5".into(),
            },
            schema: SchemaSource::Inline(wide_schema(1)),
            config: None,
            callback_url: None,
            callback_secret: None,
            metadata: Metadata::default(),
            dialect: None,
            endpoint: None,
            options: None,
        };
        let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
        let repeat = Repeat {
            body_sha256: [1; 32],
            key,
            seen,
        };
        let caller = Principal {
            scope: Scope::new(user),
            ..Principal::local()
        };
        let submitted = embedded.engine.submit_once(&caller, request, repeat).await;
        let submitted = submitted.unwrap();
        (submitted.view.id, submitted.is_repeat)
    };
    let (of_alice, _) = submit("alice", Some("k"), None).await;
    assert_eq!(submit("alice", Some("k"), None).await, (of_alice, true));
    assert_eq!(
        submit("alice", None, Some(of_alice)).await,
        (of_alice, true)
    );
    let (of_bob, is_repeat) = submit("bob", Some("k"), None).await;
    assert!(of_bob != of_alice && !is_repeat);
    let (next_of_bob, is_repeat) = submit("bob", None, Some(of_alice)).await;
    assert!(next_of_bob != of_alice && !is_repeat);
    embedded.stop().await;
}
