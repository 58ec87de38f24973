//! Webhooks, from the end of a job to a receiver that checks them.

mod crash;
mod endpoints;
mod forbidden;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{Start, TestApp, wide_schema};
use crate::support::clock::Shifted;

/// How often it is looked what became of a delivery; in all longer than a try may take.
const LOOK: Duration = Duration::from_millis(25);
const LOOKS: u32 = 1_200;

/// A server that may send to this machine.
fn start() -> Start {
    TestApp::start().set("webhooks_loopback", "on")
}

/// The same, whose clock can be moved.
fn start_with(clock: &Arc<Shifted>) -> Start {
    let clock = Arc::clone(clock);
    start().build(move |builder| builder.clock(clock))
}

/// Runs a job to its end.
async fn ended(app: &TestApp, more: Value) -> String {
    let mut body = json!({"document": "Total: 5", "schema": wide_schema(1)});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    job
}

/// Registers an endpoint; its id and its secret.
async fn registered(app: &TestApp, body: Value) -> (String, String) {
    let made = app.post("/v1/extract/webhooks", &body, "webhook").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
    (text("webhook_id"), text("secret"))
}

async fn callback_secret(app: &TestApp) -> String {
    let path = "/v1/extract/webhooks/callback-secret";
    let told = app.get(path, "callback_secret").await;
    told.body["secret"].as_str().unwrap().to_owned()
}

/// What was told of a job.
async fn deliveries(app: &TestApp, job: &str) -> Vec<Value> {
    let path = format!("/v1/extract/jobs/{job}/deliveries");
    let list = app.get(&path, "delivery_list").await;
    assert_eq!(list.status, 200, "{}", list.body);
    list.body["deliveries"].as_array().unwrap().clone()
}

/// Waits until the one delivery of a job is as it should be: a receiver has its request before
/// the server has its answer.
async fn settled(app: &TestApp, job: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..LOOKS {
        let all = deliveries(app, job).await;
        assert!(all.len() <= 1, "{all:?}");
        if let Some(one) = all.into_iter().next() {
            if is_it(&one) {
                return one;
            }
            last = one;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("it stays {last:#}");
}
