//! Subtrees that the schema binds together: the real binary, killed while answers wait for others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::model_of;
use crate::kill::Server as Process;
use crate::support::model::{Asked, Honest, KEY, Reply, Server, Wire};
use crate::support::sse::{Frame, assert_lawful, rebuild};

const WIRE: Wire = Wire::Gemini;
/// Longer than any round takes.
const PATIENCE: Duration = Duration::from_mins(1);
const PARTS: [&str; 3] = ["buyer", "lines", "seller"];

/// When the server is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// One of two is there and waits for the other.
    Waiting,
    /// Both are there, do not fit, and one of them is asked for once more.
    Again,
}

/// With a buyer there is a seller. The seller is the smallest, so that it is asked for last.
fn schema() -> Value {
    let part = |fields: usize| {
        let fields = (0..fields).map(|at| (format!("field_{at}"), json!({"type": "string"})));
        json!({"type": "object", "required": ["field_0"],
            "properties": fields.collect::<Map<_, _>>()})
    };
    json!({
        "type": "object",
        "properties": {"buyer": part(14), "lines": part(10), "seller": part(6)},
        "dependentRequired": {"buyer": ["seller"]},
    })
}

/// Which of the parts a call asks for: each is a call of its own.
fn part_of(asked: &Asked) -> &'static str {
    let schema = asked.schema().unwrap().to_string();
    let named = |part: &&str| schema.contains(&format!("\"{part}\""));
    let mut parts = PARTS.into_iter().filter(|part| named(part));
    let part = parts.next().unwrap();
    assert_eq!(parts.next(), None, "two parts in one call");
    part
}

fn counts(model: &Server) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<_, usize> = PARTS.into_iter().map(|part| (part, 0)).collect();
    for asked in model.asked() {
        *counts.get_mut(part_of(&asked)).unwrap() += 1;
    }
    counts
}

/// A model that fills everything; at `Again` it overlooks the seller the first time.
fn model(moment: Moment, is_held: &Arc<AtomicBool>) -> Server {
    let model = Server::start();
    let honest = Honest::table([("field_0", json!("Ada")), ("field_1", json!("Rotterdam"))]);
    model.answers(move |asked| honest.answer(asked));
    let (is_held, gate) = (Arc::clone(is_held), Arc::new(Semaphore::new(0)));
    let sellers = std::sync::atomic::AtomicUsize::new(0);
    model.script(move |asked| {
        if part_of(asked) != "seller" {
            return Some(Reply::honest());
        }
        let is_first = sellers.fetch_add(1, Ordering::SeqCst) == 0;
        let hold = |reply: Reply| match is_held.load(Ordering::SeqCst) {
            true => reply.held("{", &gate),
            false => reply,
        };
        Some(match (moment, is_first) {
            (Moment::Waiting, _) | (Moment::Again, false) => hold(Reply::honest()),
            (Moment::Again, true) => {
                let schema = asked.schema().unwrap();
                let mut members = schema["properties"].as_object().unwrap().keys();
                let member = members.next().unwrap();
                Reply::value(json!({member: {"seller": null}}))
            }
        })
    });
    model
}

fn start(data: &std::path::Path, model: &Server) -> Process {
    let variables = [
        ("GEMINI_API_KEY", KEY.to_owned()),
        ("GEMINI_BASE_URL", model.base(WIRE)),
    ];
    Process::start_with(data, &variables)
}

async fn submit(client: &Client, server: &Process) -> String {
    let body = json!({"document": "An order of nobody for nothing.", "schema": schema(),
        "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 1, "cache": "off",
            "splitter_configs": {"max_tokens_per_call": 16}}});
    let request = client.post(format!("{}/jobs", server.base)).json(&body);
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    accepted["job_id"].as_str().unwrap().to_owned()
}

fn told(frames: &[Frame]) -> Vec<String> {
    let results = frames
        .iter()
        .filter(|frame| frame.event == "subtree_result");
    let id = |frame: &Frame| frame.payload()["subtree_id"].as_str().unwrap().to_owned();
    let mut told: Vec<_> = results.map(id).collect();
    told.sort();
    told
}

/// Kills the server at that moment, and lets it go on.
async fn round(moment: Moment) {
    let client = Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let is_held = Arc::new(AtomicBool::new(false));

    let undisturbed = model(moment, &is_held);
    let server = start(&folder.path().join("undisturbed"), &undisturbed);
    let job = submit(&client, &server).await;
    let whole = server.follow(&client, &job, None).await.rest().await;
    assert_lawful(&whole);
    let expected = server.results(&client, &job).await;
    assert_eq!(expected[0]["seller"]["field_0"], "Ada");
    drop(server);

    is_held.store(true, Ordering::SeqCst);
    let model = model(moment, &is_held);
    let data = folder.path().join("killed");
    let server = start(&data, &model);
    let job = submit(&client, &server).await;
    let mut stream = server.follow(&client, &job, None).await;
    let mut before = Vec::new();
    while told(&before).is_empty() {
        before.push(stream.next().await.unwrap());
    }
    // Calls are made one after the other: whatever was asked for before is there.
    let asks = match moment {
        Moment::Waiting => 3,
        Moment::Again => {
            let asks = undisturbed.count();
            assert!((4..=5).contains(&asks), "{asks} asks");
            asks
        }
    };
    model.until_asked(asks).await;
    server.kill();
    model.until_idle().await;
    assert_eq!(told(&before), ["lines"], "{moment:?}: the others wait");
    let first = counts(&model);
    assert_eq!(first["lines"], 1);

    is_held.store(false, Ordering::SeqCst);
    let server = start(&data, &model);
    let log = server.follow(&client, &job, None).await.rest().await;
    assert_lawful(&log);
    assert_eq!(log[..before.len()], before[..], "what was seen stays");
    assert_eq!(told(&log), PARTS, "{moment:?}: each has one outcome");
    assert_eq!(rebuild(&log), expected[0], "{moment:?}");
    assert_eq!(server.results(&client, &job).await, expected, "{moment:?}");
    let after = counts(&model);
    assert_eq!(after["lines"], 1, "{moment:?}: it was told and is there");
    for part in ["buyer", "seller"] {
        assert_eq!(after[part], first[part] + 1, "{moment:?}: {part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_only_answers_that_waited_are_asked_for_again() {
    for moment in [Moment::Waiting, Moment::Again] {
        tokio::time::timeout(PATIENCE, round(moment)).await.unwrap();
    }
}
