//! Batches of the real binary: killed while it works, and watched for what it holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Client;
use rivulet::domain::id::{FileId, Scope};
use serde_json::{Value, json};

use crate::kill::Server;
use crate::support::app::TestApp;
use crate::support::sse::Stream;

const MANY: usize = 10_000;
/// Bytes above those of an idle server.
const MEMORY: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_mins(10);

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "number": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
        "buyer": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}},
    }})
}

fn record(index: usize) -> Value {
    json!({"id": format!("r{index}"), "data": {
        "number": format!("R-{index}"), "total": format!("{index}.50"),
        "buyer": {"name": format!("Buyer {index}")},
    }})
}

async fn get(client: &Client, url: &str) -> Value {
    let request = client.get(url).header("Accept", "application/json");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.json().await.unwrap()
}

/// The job once it has ended.
async fn ended(client: &Client, url: &str) -> Value {
    let began = Instant::now();
    loop {
        let job = get(client, url).await;
        if matches!(job["status"].as_str(), Some("completed" | "failed")) {
            return job;
        }
        assert!(began.elapsed() < PATIENCE);
        let last = job["last_event_id"].as_str().unwrap();
        get(client, &format!("{url}/events?limit=1&wait=5&after={last}")).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every outcome of a log once, and every number of it.
async fn outcomes(client: &Client, url: &str) -> BTreeSet<(u64, String)> {
    let stream = client.get(format!("{url}/events")).send().await.unwrap();
    let mut stream = Stream::of(stream);
    let (mut outcomes, mut number) = (BTreeSet::new(), 0);
    while let Some(frame) = stream.next().await {
        number += 1;
        assert_eq!(frame.sequence(), number);
        let payload = frame.payload();
        if let Some(record) = payload["record_index"].as_u64() {
            let subtree = payload["subtree_id"].as_str().unwrap().to_owned();
            assert!(outcomes.insert((record, subtree)), "{payload} came twice");
        }
    }
    outcomes
}

async fn submit(client: &Client, base: &str, body: &Value) -> String {
    let answer = client.post(format!("{base}/jobs")).json(body).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 202);
    let accepted: Value = answer.json().await.unwrap();
    accepted["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_outlives_kills_and_no_record_settles_twice() {
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let inputs: Vec<_> = (0..300).map(record).collect();
    let config = json!({"max_num_concurrent_requests": 2});
    let body = json!({"inputs": inputs, "schema": schema(), "config": config});
    let mut server = Server::start(&data);
    let job = submit(&client, &server.base, &body).await;
    let mut kills = 0;
    for moment in [40, 200, 420] {
        let url = format!("{}/jobs/{job}/events", server.base);
        let mut stream = Stream::of(client.get(url).send().await.unwrap());
        let mut last = None;
        while let Some(frame) = stream.next_or_cut().await {
            let is_there = frame.sequence() >= moment;
            last = Some(frame.event);
            if is_there {
                break;
            }
        }
        kills += usize::from(last.as_deref() != Some("end"));
        server.kill();
        server = Server::start(&data);
    }
    assert!(kills > 0, "no kill came in the middle");
    let url = format!("{}/jobs/{job}", server.base);
    let ended = ended(&client, &url).await;
    let tally = json!({"total": 300, "succeeded": 300, "partial": 0, "failed": 0});
    assert_eq!(ended["progress"]["records"], tally);
    let seen = outcomes(&client, &url).await;
    assert_eq!(seen.len() as u64, ended["total_subtrees"].as_u64().unwrap());
    let page = get(&client, &format!("{url}/records?after=297")).await;
    let values: Vec<_> = page["records"].as_array().unwrap().iter().collect();
    assert_eq!(values[1]["record_id"], "r299");
    assert_eq!(values[1]["results"]["number"], "R-299");
    assert_eq!(values[1]["results"]["total"], 299.5);
}

/// Resident bytes of a process now, and the most there were.
fn memory(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    };
    (of("VmRSS"), of("VmHWM"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_records_run_through_in_bounded_memory_and_a_bad_line_fails_alone() {
    rivulet::tls::install();
    let mut lines = String::new();
    for index in 0..MANY {
        if index == 5_000 {
            lines.push_str("{\"data\": \n");
        } else {
            lines.push_str(&format!("{}\n", record(index)));
        }
    }
    let app = TestApp::start().run().await;
    let (engine, scope) = (&app.app.engine, Scope::local());
    let file = engine.store_file(&scope, "many.jsonl", "", lines.into());
    let file = file.await.unwrap().id;
    let data = app.data();
    let start = app.reopen().await;

    let client = Client::builder().no_proxy().build().unwrap();
    let server = Server::start(&data);
    let job = json!({"document": "number: R-1", "schema": schema()});
    let warm = submit(&client, &server.base, &job).await;
    ended(&client, &format!("{}/jobs/{warm}", server.base)).await;
    let idle = memory(server.id()).0;
    let began = Instant::now();
    let job = submit(
        &client,
        &server.base,
        &json!({"file_id": file, "schema": schema()}),
    )
    .await;
    let url = format!("{}/jobs/{job}", server.base);
    let ended = ended(&client, &url).await;
    let most = memory(server.id()).1;
    println!(
        "{MANY} records in {:?}: {:.1} MiB above {:.1} MiB idle",
        began.elapsed(),
        (most - idle) as f64 / 1_048_576.0,
        idle as f64 / 1_048_576.0
    );
    let tally = json!({"total": MANY, "succeeded": MANY - 1, "partial": 0, "failed": 1});
    assert_eq!(ended["progress"]["records"], tally);
    assert!(most - idle <= MEMORY, "{} bytes above idle", most - idle);
    let page = get(&client, &format!("{url}/records?after=4999&limit=2")).await;
    assert_eq!(page["records"][0]["error_type"], "document_unreadable");
    assert_eq!(page["records"][1]["results"]["number"], "R-5001");
    let output = ended["output_file_id"].as_str().unwrap().to_owned();
    server.kill();

    let app = start.run().await;
    let output = FileId::parse(&output).unwrap();
    let content = app.app.engine.file_content(&Scope::local(), output).await;
    let content = content.unwrap().1;
    let lines: Vec<Value> = std::str::from_utf8(&content)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), MANY);
    for (index, line) in lines.iter().enumerate() {
        if index == 5_000 {
            assert_eq!(line["$error"]["code"], "document_unreadable");
        } else {
            assert_eq!(line["number"], format!("R-{index}"));
        }
    }
}
