//! Keys: who is let in, in which words, and how fast a change counts.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use rivulet::app::keyring;
use rivulet::settings::{Settings, Sources};

use crate::support::app::{Answer, TestApp};
use crate::support::openapi::{filled, operations};

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";
const JOBS: &str = "/v1/extract/jobs";

/// A list of jobs, asked for with these headers.
fn ask(app: &TestApp, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = app.request(Method::GET, JOBS);
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

async fn jobs(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    app.call(ask(app, headers), "job_list").await
}

/// The keys of the same data in the hands of another process.
pub fn elsewhere(app: &TestApp) -> rivulet::engine::keys::Keyring {
    let sources = Sources::default().with("data", app.data().display());
    keyring(&Settings::load(sources).unwrap().storage).unwrap()
}

/// How long it takes until an answer has this status.
async fn until(app: &TestApp, headers: &[(&str, &str)], status: u16) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask(app, headers).send().await.unwrap();
        if answer.status() == status {
            return begun.elapsed();
        }
        assert!(begun.elapsed().as_secs() < 10, "still {}", answer.status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_there_is_a_key_every_route_but_the_open_ones_asks_for_it() {
    let app = TestApp::start().run().await;
    assert_eq!(jobs(&app, &[]).await.status, StatusCode::OK);
    let anything = [("Authorization", "Bearer sk-whatever")];
    assert_eq!(jobs(&app, &anything).await.status, StatusCode::OK);
    let key = app.key("ada").await;
    let policy = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().no_proxy().redirect(policy);
    let client = client.build().unwrap();
    let (mut open, mut closed) = (0, 0);
    for (path, method, operation) in operations() {
        let url = app.url(&filled(path, NOBODY));
        let answer = client.request(method.clone(), &url).send().await.unwrap();
        let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
        let status = answer.status().as_u16();
        if is_open {
            open += 1;
            assert_ne!(status, 401, "{method} {path}");
            continue;
        }
        closed += 1;
        assert_eq!(status, 401, "{method} {path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        // In the words of its dialect.
        let places = ["/code", "/error/code", "/detail/code"];
        let code = places
            .iter()
            .find_map(|place| body.pointer(place)?.as_str());
        let code = code.unwrap_or("none").to_ascii_lowercase();
        assert_eq!(code, "unauthorized", "{method} {path}");
        let request = client.request(method.clone(), &url).bearer_auth(&key);
        assert_ne!(
            request.send().await.unwrap().status(),
            401,
            "{method} {path}"
        );
    }
    assert!(open >= 8 && closed >= 20, "{open} open, {closed} closed");
    for path in ["/v1/extract/nothing", "/v1/extract/jobs/x/y/z"] {
        let answer = client.get(app.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_the_header_takes_the_same_key_and_no_form_takes_another() {
    let app = TestApp::start().run().await;
    let (key, other) = (app.key("ada").await, app.key("eve").await);
    let form = |name: &'static str, scheme: &str, key: &str| (name, format!("{scheme}{key}"));
    let forms = |key: &str| {
        [
            form("Authorization", "Bearer ", key),
            form("Authorization", "bearer ", key),
            form("Authorization", "api-key ", key),
            form("Api-Key", "", key),
            form("X-API-Key", "", key),
        ]
    };
    let unknown = format!("rvl_000000000000_{}", &key[17..]);
    let foreign = format!("{}{}", &key[..17], &other[17..]);
    for (name, value) in forms(&key) {
        let answer = jobs(&app, &[(name, &value)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
    }
    for bad in [
        &*unknown,
        &foreign,
        "sk-123",
        "",
        &key[..40],
        &key.to_uppercase(),
    ] {
        let (name, value) = &forms(bad)[bad.len() % 5];
        let refused = jobs(&app, &[(name, value)]).await;
        assert_eq!(refused.refusal(), (401, "unauthorized"), "{name}: {value}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        let secret = &bad[bad.len().min(17)..];
        let said = refused.body.to_string();
        assert!(secret.is_empty() || !said.contains(secret), "{said}");
    }
    let basic = ("Authorization", "Basic dTpw");
    assert_eq!(jobs(&app, &[basic, ("Api-Key", &key)]).await.status, 200);
    assert_eq!(jobs(&app, &[basic]).await.refusal(), (401, "unauthorized"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_different_keys_none_is_picked() {
    let app = TestApp::start().run().await;
    let (ada, eve) = (app.key("ada").await, app.key("eve").await);
    let bearer = format!("Bearer {ada}");
    let same = [("Authorization", &*bearer), ("X-API-Key", &ada)];
    assert_eq!(jobs(&app, &same).await.status, StatusCode::OK);
    for pair in [
        [("Authorization", &*bearer), ("X-API-Key", &*eve)],
        [("X-API-Key", &eve), ("Authorization", &bearer)],
        [("Api-Key", &ada), ("Api-Key", &eve)],
        [("Api-Key", &ada), ("X-API-Key", "x")],
    ] {
        let refused = jobs(&app, &pair).await;
        assert_eq!(refused.refusal(), (401, "unauthorized"), "{pair:?}");
        assert!(refused.body["detail"].as_str().unwrap().contains("differ"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_changes_counts_within_a_second() {
    let app = TestApp::start().run().await;
    assert_eq!(jobs(&app, &[]).await.status, StatusCode::OK);
    let keys = elsewhere(&app);
    let (stored, text) = keys.create("ada", "", None).await.unwrap();
    let second = Duration::from_secs(1);
    assert!(until(&app, &[], 401).await < second);
    let header = [("X-API-Key", text.as_str())];
    assert!(until(&app, &header, 200).await < second);
    keys.revoke(&stored.id).await.unwrap().unwrap();
    assert!(until(&app, &header, 401).await < second);
    // With a revoked key only, it is no server without keys.
    assert_eq!(jobs(&app, &[]).await.refusal(), (401, "unauthorized"));
    let app = app.reopen().await.run().await;
    assert_eq!(jobs(&app, &[]).await.refusal(), (401, "unauthorized"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_counted_and_a_good_one_is_never_refused_for_them() {
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let wrong = format!("rvl_000000000000_{}", "A".repeat(43));
    let header = [("X-API-Key", wrong.as_str())];
    for _ in 0..20 {
        assert_eq!(jobs(&app, &header).await.refusal(), (401, "unauthorized"));
    }
    for _ in 0..5 {
        let refused = jobs(&app, &header).await;
        assert_eq!(refused.refusal(), (429, "rate_limited"));
        let seconds = refused.headers["retry-after"].to_str().unwrap();
        assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()));
    }
    assert_eq!(jobs(&app, &[("X-API-Key", &key)]).await.status, 200);
    assert_eq!(jobs(&app, &[]).await.refusal(), (401, "unauthorized"));
}
