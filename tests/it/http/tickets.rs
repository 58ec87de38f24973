//! Stream tickets: what they open, and what they do not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::sse::Stream;

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

fn plain() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// A job that has ended.
async fn job(app: &TestApp) -> String {
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    job
}

async fn ticket(app: &TestApp, job: &str) -> Value {
    let path = format!("/v1/extract/jobs/{job}/stream-ticket");
    let answer = app
        .call(app.request(Method::POST, &path), "stream_ticket")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body
}

/// Opens an address as a page does that has nothing but it.
async fn open(app: &TestApp, path: &str) -> Response {
    plain().get(app.url(path)).send().await.unwrap()
}

/// That an answer is a 401 which says what to do and repeats nothing of the ticket.
async fn assert_refused(what: &str, answer: Response, ticket: &str) {
    assert_eq!(answer.status(), 401, "{what}");
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let body = answer.text().await.unwrap();
    assert!(
        body.contains("/stream-ticket") && body.contains("\"unauthorized\""),
        "{what}: {body}"
    );
    let signature = ticket.rsplit('.').next().unwrap();
    assert!(
        signature.len() < 8 || !body.contains(signature),
        "{what}: {body}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_the_events_of_its_job_as_often_as_needed() {
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let job = job(&app).await;
    let expected = app.follow(&job, None).await.rest().await;
    let ticket = ticket(&app, &job).await;
    let url = ticket["events_url"].as_str().unwrap();
    for _ in 0..3 {
        assert_eq!(Stream::of(open(&app, url).await).rest().await, expected);
    }
    let rest = Stream::of(open(&app, &format!("{url}&after=2")).await)
        .rest()
        .await;
    assert_eq!(rest, expected[2..]);
    let again = plain().get(app.url(url));
    let again = again
        .header("Last-Event-ID", &expected[0].id)
        .send()
        .await
        .unwrap();
    assert_eq!(Stream::of(again).rest().await, expected[1..]);
    let end = open(&app, &format!("{url}&after={}", expected.len())).await;
    assert_eq!(end.status(), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_nothing_else() {
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let (mine, other) = (job(&app).await, job(&app).await);
    let ticket = ticket(&app, &mine).await["ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    for id in [&*other, NOBODY] {
        let path = format!("/v1/extract/jobs/{id}/events?ticket={ticket}");
        assert_refused(id, open(&app, &path).await, &ticket).await;
    }
    let base = format!("/v1/extract/jobs/{mine}");
    for (method, path) in [
        (Method::GET, base.clone()),
        (Method::GET, format!("{base}/results")),
        (Method::POST, format!("{base}/cancel")),
        (Method::POST, format!("{base}/stream-ticket")),
        (Method::POST, format!("{base}/events")),
        (Method::DELETE, base.clone()),
        (Method::GET, "/v1/extract/jobs".into()),
        (Method::GET, "/v1/extract/models".into()),
        (Method::GET, format!("{base}/events/../results")),
        (Method::GET, format!("{base}%2fevents")),
        (Method::GET, "/metrics".into()),
    ] {
        let url = app.url(&format!("{path}?ticket={ticket}"));
        let answer = plain().request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_was_changed_or_made_elsewhere_is_refused() {
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let eve = app.key("eve").await;
    let app = app.with_key(&key);
    let job = job(&app).await;
    let good = ticket(&app, &job).await["ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    let parts: Vec<_> = good.split('.').collect();
    let [expires, id, mac] = parts[..] else {
        panic!("{good}")
    };
    let later = expires.parse::<u64>().unwrap() + 1;
    let elsewhere = TestApp::start().run().await;
    let foreign_key = elsewhere.key("ada").await;
    let elsewhere = elsewhere.with_key(&foreign_key);
    let foreign_job = self::job(&elsewhere).await;
    let foreign = ticket(&elsewhere, &foreign_job).await["ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut cases = vec![
        format!("{later}.{id}.{mac}"),
        format!("{expires}.{}.{mac}", &eve[4..16]),
        format!("{expires}.-.{mac}"),
        format!("{expires}.000000000000.{mac}"),
        format!("+{expires}.{id}.{mac}"),
        format!("0{expires}.{id}.{mac}x"),
        format!("{expires}.{id}."),
        format!("{expires}.{id}"),
        format!("{good}."),
        "x".into(),
        foreign,
    ];
    for at in [0, 20, 41] {
        let mut changed = mac.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        cases.push(format!(
            "{expires}.{id}.{}",
            String::from_utf8(changed).unwrap()
        ));
    }
    for bad in &cases {
        let path = format!("/v1/extract/jobs/{job}/events?ticket={bad}");
        assert_refused(bad, open(&app, &path).await, bad).await;
    }
    // They count as wrong keys.
    let mut limited = false;
    for _ in cases.len()..21 {
        let path = format!("/v1/extract/jobs/{job}/events?ticket=x");
        limited = open(&app, &path).await.status() == 429;
    }
    assert!(limited);
    let path = format!("/v1/extract/jobs/{job}/events?ticket={good}");
    assert_eq!(
        open(&app, &path).await.status(),
        200,
        "the good one is not refused for it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_ends_when_it_says_so() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .set("ticket_lifetime", "90s")
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let job = job(&app).await;
    let ticket = ticket(&app, &job).await;
    let url = ticket["events_url"].as_str().unwrap();
    clock.forward(80_000);
    assert_eq!(open(&app, url).await.status(), 200);
    clock.forward(10_001);
    // However often: nobody is guessing, so nobody is told to wait.
    for _ in 0..25 {
        let text = ticket["ticket"].as_str().unwrap();
        assert_refused("expired", open(&app, url).await, text).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_ends_with_its_key() {
    let app = TestApp::start().run().await;
    let (first, second) = (app.key("ada").await, app.key("ada").await);
    let app = app.with_key(&first);
    let job = job(&app).await;
    let one = ticket(&app, &job).await;
    let app = app.with_key(&second);
    let two = ticket(&app, &job).await;
    let url = one["events_url"].as_str().unwrap();
    assert_eq!(open(&app, url).await.status(), 200);
    app.app
        .engine
        .keyring()
        .revoke(&first[4..16])
        .await
        .unwrap();
    let begun = Instant::now();
    let text = one["ticket"].as_str().unwrap();
    while open(&app, url).await.status() == 200 {
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
    assert_refused("revoked", open(&app, url).await, text).await;
    let other = open(&app, two["events_url"].as_str().unwrap()).await;
    assert_eq!(other.status(), 200, "that of another key of the user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_a_header_goes_before_a_ticket() {
    let app = TestApp::start().run().await;
    let (ada, eve) = (app.key("ada").await, app.key("eve").await);
    let app = app.with_key(&ada);
    let job = job(&app).await;
    let url = ticket(&app, &job).await["events_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let status = async |url: &str, key: &str| {
        let request = plain().get(app.url(url)).bearer_auth(key);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(&url, &eve).await, 404, "eve, whatever she holds");
    assert_eq!(status(&url, "x").await, 401);
    let bad = format!("/v1/extract/jobs/{job}/events?ticket=x");
    assert_eq!(status(&bad, &ada).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_a_server_without_keys_is_worth_nothing_once_it_has_some() {
    let app = TestApp::start().run().await;
    let job = job(&app).await;
    let ticket = ticket(&app, &job).await;
    let url = ticket["events_url"].as_str().unwrap();
    assert_eq!(open(&app, url).await.status(), 200);
    let forged = format!("/v1/extract/jobs/{job}/events?ticket=1.-.AAAA");
    assert_refused("forged", open(&app, &forged).await, "1.-.AAAA").await;
    app.key("local").await;
    assert_refused(
        "too old",
        open(&app, url).await,
        ticket["ticket"].as_str().unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_outlive_a_restart() {
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let job = job(&app).await;
    let ticket = ticket(&app, &job).await;
    let app = app.reopen().await.run().await;
    let url = ticket["events_url"].as_str().unwrap();
    assert_eq!(open(&app, url).await.status(), 200);
}
