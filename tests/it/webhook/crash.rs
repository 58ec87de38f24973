//! The server dies between the end of a job and the word of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::child::Child;
use crate::support::dice::Dice;
use crate::support::receiver::{Call, Receiver, Reply};
use crate::support::sse::Stream;

async fn get(base: &str, path: &str) -> Value {
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{base}/v1/extract{path}")).send().await;
    answer.unwrap().json().await.unwrap()
}

/// Lets a server die at a point after a job was accepted, starts another on its data, and gives
/// the requests that a receiver saw until the delivery was recorded.
async fn dies_at(data: &Path, fatal: &str) -> (String, Vec<Call>) {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let mut child = Child::start(data, fatal, |_| {}).await;
    let secret = get(&child.base, "/webhooks/callback-secret").await;
    let secret = secret["secret"].as_str().unwrap().to_owned();
    child.say("begin").await;
    let client = Client::builder().no_proxy().build().unwrap();
    let body = json!({
        "document": "Total: 5",
        "schema": {"type": "object", "properties": {"total": {"type": ["string", "null"]}}},
        "callback_url": receiver.url("/"),
    });
    let request = client.post(format!("{}/v1/extract/jobs", child.base));
    let accepted = request.json(&body).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let accepted: Value = accepted.json().await.unwrap();
    let job = accepted["job_id"].as_str().unwrap().to_owned();
    assert!(child.died().await, "{fatal}");

    let mut child = Child::start(data, "", |_| {}).await;
    let events = format!("{}/v1/extract/jobs/{job}/events", child.base);
    Stream::of(client.get(events).send().await.unwrap())
        .rest()
        .await;
    let mut one = Value::Null;
    for _ in 0..400 {
        let list = get(&child.base, &format!("/jobs/{job}/deliveries")).await;
        assert_eq!(list["total_count"], 1, "{list}");
        one = list["deliveries"][0].clone();
        if one["state"] == "delivered" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(one["state"], "delivered", "{fatal}: {one}");
    let again = get(&child.base, "/webhooks/callback-secret").await;
    assert_eq!(again["secret"], *secret, "it outlives the server");
    let calls = receiver.seen();
    for call in &calls {
        assert_eq!(call.id(), one["delivery_id"].as_str().unwrap(), "{fatal}");
        assert_eq!(call.body, calls[0].body, "{fatal}");
        assert!(call.is_signed_by(&secret), "{fatal}");
        assert_eq!(call.payload()["data"]["job_id"], *job);
    }
    child.say("stop").await;
    assert!(!child.died().await);
    (job, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_outlives_a_death_at_any_point_with_one_id_and_one_body() {
    for (fatal, sent) in [
        // The job has not ended yet.
        ("jobs.end.before:1", 1),
        // It has, and nothing is sent.
        ("jobs.end.after:1", 1),
        ("outbox.take_due.after:1", 1),
        // It is sent, and nobody has noted that.
        ("outbox.record.before:1", 2),
        // All is done but for the rest of the process.
        ("outbox.record.after:1", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (_, calls) = dies_at(&folder.path().join("data"), fatal).await;
        assert_eq!(calls.len(), sent, "{fatal}");
    }
}

const ROUNDS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_of_a_server_that_is_killed_again_and_again_is_told_of() {
    let given = std::env::var("RIVULET_SEED").ok();
    let seed = given.map_or(u64::from(std::process::id()) | 1 << 40, |seed| {
        seed.parse().unwrap()
    });
    println!("RIVULET_SEED={seed}");
    let mut dice = Dice(seed);
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let body = json!({
        "document": "Total: 5",
        "schema": {"type": "object", "properties": {"total": {"type": ["string", "null"]}}},
        "callback_url": receiver.url("/"),
    });
    let mut jobs = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut child = Child::start(&data, "", |_| {}).await;
        for _ in 0..=dice.roll(4) {
            let request = client.post(format!("{}/v1/extract/jobs", child.base));
            let answer = request.json(&body).send().await.unwrap();
            // Those of the life before may still be at work.
            if answer.status() == 202 {
                let accepted: Value = answer.json().await.unwrap();
                jobs.insert(accepted["job_id"].as_str().unwrap().to_owned());
            }
        }
        // Anywhere between the end of the first job and the record of the last delivery.
        tokio::time::sleep(Duration::from_millis(dice.roll(30))).await;
        child.kill();
    }
    let _last = Child::start(&data, "", |_| {}).await;
    let told = |calls: &[Call]| -> BTreeSet<String> {
        let jobs = calls
            .iter()
            .map(|call| call.payload()["data"]["job_id"].clone());
        jobs.map(|job| job.as_str().unwrap().to_owned()).collect()
    };
    let mut count = jobs.len();
    let calls = loop {
        let calls = receiver.calls(count).await;
        if told(&calls) == jobs {
            break calls;
        }
        count = calls.len() + 1;
    };
    let mut first = BTreeMap::new();
    for call in &calls {
        let job = call.payload()["data"]["job_id"].to_string();
        let (id, body) = first.entry(job).or_insert_with(|| (call.id(), &call.body));
        assert_eq!((*id, *body), (call.id(), &call.body), "one id and one body");
    }
    println!("{} jobs, {} messages", jobs.len(), calls.len());
    assert!(jobs.len() as u64 >= ROUNDS, "{} jobs", jobs.len());
}
