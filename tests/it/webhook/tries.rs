//! Receivers that are down, slow, broken, elsewhere or gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{callback_secret, deliveries, ended, registered, settled, start, start_with};
use crate::support::app::{TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Reply as Answer, Scripted, Server, fault, plain_value};
use crate::support::receiver::{Receiver, Reply};

const DAYS: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_500_the_same_message_comes_again_about_five_seconds_later() {
    let receiver = Receiver::start(|number, _| Reply::Status([500, 200][number.min(1)])).await;
    let app = start().run().await;
    let secret = callback_secret(&app).await;
    let job = ended(&app, json!({"callback_url": receiver.url("/")})).await;
    let failed = settled(&app, &job, |one| one["attempts"] == 1).await;
    let begun = Instant::now();
    assert_eq!(
        (&failed["state"], &failed["last_status"]),
        (&json!("pending"), &json!(500))
    );
    assert!(failed["next_attempt_at"].as_str() > failed["last_attempt_at"].as_str());
    let calls = receiver.calls(2).await;
    assert!(
        (3..9).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        (calls[0].id(), &calls[0].body),
        (calls[1].id(), &calls[1].body)
    );
    assert_ne!(
        calls[0].header("webhook-timestamp"),
        calls[1].header("webhook-timestamp")
    );
    assert!(calls.iter().all(|call| call.is_signed_by(&secret)));
    let one = settled(&app, &job, |one| one["state"] == "delivered").await;
    assert_eq!(
        (&one["attempts"], &one["last_status"]),
        (&json!(2), &json!(200))
    );
    assert_eq!(one["next_attempt_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_a_receiver_that_stays_broken_is_given_up_after_ten_tries() {
    let clock = Arc::<Shifted>::default();
    let receiver = Receiver::start(|number, _| {
        if number % 2 == 0 {
            Reply::Moved
        } else {
            Reply::Cut
        }
    })
    .await;
    let app = start_with(&clock).run().await;
    let job = ended(&app, json!({"callback_url": receiver.url("/here")})).await;
    for tries in 1..=10 {
        let one = settled(&app, &job, |one| one["attempts"] == tries).await;
        let is_answered = tries % 2 == 1;
        assert_eq!(one["last_status"] == 302, is_answered, "{one}");
        assert_eq!(one["last_error"].is_string(), !is_answered, "{one}");
        let state = if tries == 10 { "failed" } else { "pending" };
        assert_eq!(one["state"], state, "{one}");
        clock.forward(2 * DAYS);
    }
    let calls = receiver.seen();
    assert_eq!(calls.len(), 10);
    assert!(calls.iter().all(|call| call.path == "/here"));
    assert!(
        calls
            .iter()
            .all(|call| call.id() == calls[0].id() && call.body == calls[0].body)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_disables_its_endpoint_and_hears_no_more() {
    let receiver = Receiver::start(|_, _| Reply::Status(410)).await;
    let app = start().run().await;
    let (webhook, _) = registered(&app, json!({"url": receiver.url("/")})).await;
    let job = ended(&app, json!({})).await;
    let one = settled(&app, &job, |one| one["state"] == "disabled").await;
    assert_eq!(
        (&one["attempts"], &one["last_status"]),
        (&json!(1), &json!(410))
    );
    let path = format!("/v1/extract/webhooks/{webhook}");
    let shown = app.get(&path, "webhook").await.body;
    assert_eq!(
        (&shown["enabled"], &shown["disabled_reason"]),
        (&json!(false), &json!("gone"))
    );
    let job = ended(&app, json!({})).await;
    assert!(deliveries(&app, &job).await.is_empty());

    // Until its user says otherwise.
    receiver.answer(Reply::Status(200));
    let request = app
        .request(reqwest::Method::PUT, &path)
        .json(&json!({"enabled": true}));
    app.call(request, "webhook").await;
    let job = ended(&app, json!({})).await;
    settled(&app, &job, |one| one["state"] == "delivered").await;
    assert_eq!(receiver.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_never_answers_holds_up_neither_jobs_nor_other_receivers() {
    let slow = Receiver::start(|_, _| Reply::Never).await;
    let quick = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = start().run().await;
    registered(&app, json!({"url": slow.url("/")})).await;
    registered(&app, json!({"url": quick.url("/")})).await;
    let begun = Instant::now();
    for _ in 0..8 {
        ended(&app, json!({})).await;
    }
    quick.calls(8).await;
    // A try takes fifteen seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(slow.calls(4).await.len(), 4, "no more at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_in_time_is_tried_again() {
    let receiver = Receiver::start(|_, _| Reply::Never).await;
    let clock = Arc::<Shifted>::default();
    let app = start_with(&clock).run().await;
    let job = app
        .submit(&json!({
            "document": "Total: 5", "schema": wide_schema(1), "callback_url": receiver.url("/"),
        }))
        .await;
    receiver.calls(1).await;
    receiver.answer(Reply::Status(200));
    let one = settled(&app, &job, |one| one["attempts"] == 1).await;
    assert!(
        one["last_error"].as_str().unwrap().contains("in time"),
        "{one}"
    );
    clock.forward(DAYS);
    settled(&app, &job, |one| one["state"] == "delivered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_hears_of_the_job_once_it_is_up() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let (url, address) = (receiver.url("/"), receiver.base.replace("http://", ""));
    drop(receiver);
    let clock = Arc::<Shifted>::default();
    let app = start_with(&clock).run().await;
    let job = ended(&app, json!({"callback_url": url})).await;
    let one = settled(&app, &job, |one| one["attempts"] == 1).await;
    assert_eq!(
        (&one["state"], &one["last_status"]),
        (&json!("pending"), &Value::Null)
    );
    assert!(
        one["last_error"].as_str().unwrap().contains("reached"),
        "{one}"
    );
    let receiver = Receiver::at(&address, |_, _| Reply::Status(200)).await;
    clock.forward(DAYS);
    let calls = receiver.calls(1).await;
    assert_eq!(calls[0].id(), one["delivery_id"].as_str().unwrap());
    settled(&app, &job, |one| one["state"] == "delivered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_cancels_and_retries_are_told_each_under_an_id_of_its_own() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let model = Scripted::new(move |subtree, _| {
        if is_mended.load(std::sync::atomic::Ordering::SeqCst) {
            return Answer::Value(plain_value(subtree));
        }
        fault(rivulet::domain::error::Fault::ContentFiltered, None)
    });
    let app = start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await;
    registered(&app, json!({"url": receiver.url("/")})).await;
    let job = ended(&app, json!({})).await;
    let first = receiver.calls(1).await.remove(0);
    let payload = first.payload();
    assert_eq!(
        (&payload["type"], &payload["data"]["run"]),
        (&json!("job.failed"), &json!(1))
    );
    assert_eq!(payload["data"]["error_type"], "content_filtered");
    mended.store(true, std::sync::atomic::Ordering::SeqCst);
    let path = format!("/v1/extract/jobs/{job}/retry");
    assert_eq!(app.post(&path, &json!({}), "job_summary").await.status, 202);
    let second = receiver.calls(2).await.remove(1);
    let payload = second.payload();
    assert_eq!(
        (&payload["type"], &payload["data"]["run"]),
        (&json!("job.completed"), &json!(2))
    );
    assert_eq!(payload["data"]["job_id"], *job);
    assert_ne!(first.id(), second.id());

    model.close();
    let body = json!({"document": "Total: 5", "schema": wide_schema(1)});
    let job = app.submit(&body).await;
    let path = format!("/v1/extract/jobs/{job}/cancel");
    assert_eq!(app.post(&path, &json!({}), "job_summary").await.status, 202);
    let third = receiver.calls(3).await.remove(2);
    assert_eq!(third.payload()["type"], "job.cancelled");
    assert_eq!(third.payload()["data"]["job_id"], *job);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_the_same_request_tells_nobody_again() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app: TestApp = start().run().await;
    let body = json!({
        "document": "Total: 5", "schema": wide_schema(1), "callback_url": receiver.url("/"),
    });
    let send = |body: Value| {
        let request = app.request(reqwest::Method::POST, "/v1/extract/jobs");
        let request = request.header("Idempotency-Key", "once").json(&body);
        app.call(request, "job_created")
    };
    let job = send(body.clone()).await.body["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.end_of(&job).await;
    settled(&app, &job, |one| one["state"] == "delivered").await;
    assert_eq!(send(body.clone()).await.status, 200);
    let mut other = body;
    other["callback_url"] = json!(receiver.url("/elsewhere"));
    assert_eq!(send(other).await.refusal(), (422, "idempotency_key_reused"));
    assert_eq!(receiver.seen().len(), 1);
}
