//! Jobs whose model is over the wire.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{WIRES, model_of, only, provider};
use crate::support::app::TestApp;
use crate::support::model::reply::End;
use crate::support::model::{CANARY, Failure, Reply, Server, Wire};

const NOTE: &str =
    "Invoice number: R-1017\nSeller: Mueller and Sons\nCity: Cologne\nTotal: 1204.50\nPaid: yes\n";

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "head": {"type": "object", "properties": {
            "invoice_number": {"type": ["string", "null"]}, "total": {"type": ["number", "null"]},
            "paid": {"type": ["boolean", "null"]}, "due": {"type": ["string", "null"]}}},
        "seller": {"type": "object", "properties": {
            "seller": {"type": ["string", "null"]}, "city": {"type": ["string", "null"]},
            "phone": {"type": ["string", "null"]}, "fax": {"type": ["string", "null"]},
            "web_address": {"type": ["string", "null"]}, "tax_number": {"type": ["string", "null"]},
            "account_holder": {"type": ["string", "null"]}, "remark": {"type": ["string", "null"]}}},
    }})
}

async fn app(server: &Server, wire: Wire) -> TestApp {
    let provider = provider(server, wire, true);
    TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

async fn body(app: &TestApp, schema: Value, config: Value) -> Value {
    let document = app.upload("note.txt", NOTE).await;
    json!({"document_id": document.body["document_id"], "schema": schema, "config": config})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_carries_all_subtrees_on_every_wire() {
    for wire in WIRES {
        let server = Server::start();
        let app = app(&server, wire).await;
        let body = body(&app, schema(), json!({})).await;
        let job = app.submit(&body).await;
        let end = app.end_of(&job).await;
        assert_eq!(
            (&end["status"], &end["partial"]),
            (&json!("completed"), &json!(false)),
            "{wire:?} {end}"
        );
        assert_eq!(server.count(), 1, "{wire:?}");
        let usage = &end["usage_metadata"];
        assert_eq!(
            (&usage["request_count"], &usage["model"]),
            (&json!(1), &json!(model_of(wire)))
        );
        assert!(
            usage["prompt_token_count"].as_u64().unwrap() > 50,
            "{usage}"
        );
        assert!(usage["cost_usd"].as_f64().unwrap() > 0.0, "{usage}");
        let results = app.results(&job).await.body;
        assert_eq!(
            results["results"]["head"]["invoice_number"], "R-1017",
            "{wire:?} {results}"
        );
        assert_eq!(results["results"]["head"]["due"], Value::Null);
        assert_eq!(results["results"]["seller"]["city"], "Cologne");

        // Once more: nothing is asked.
        let again = app.end_of(&app.submit(&body).await).await;
        assert_eq!(server.count(), 1, "{wire:?}");
        assert_eq!(again["usage_metadata"]["reused_subtree_count"], 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtree_is_a_result_while_the_others_are_still_written() {
    for wire in WIRES {
        let (server, gate) = (Server::start(), Arc::new(Semaphore::new(0)));
        server.always(Reply::honest().held("\"s1\"", &gate));
        let app = app(&server, wire).await;
        let body = body(&app, schema(), json!({})).await;
        let job = app.submit(&body).await;
        let mut stream = app.follow(&job, None).await;
        let first = loop {
            let frame = stream.next().await.unwrap();
            if frame.event == "subtree_result" {
                break frame.payload();
            }
        };
        assert_eq!(first["subtree_id"], "head", "{wire:?} {first}");
        assert_eq!(first["progress"]["fields_processed"], 4, "{wire:?} {first}");
        gate.add_permits(1);
        let rest = stream.rest().await;
        assert_eq!(
            rest.last().unwrap().payload()["subtrees_succeeded"],
            2,
            "{wire:?}"
        );
        assert_eq!(server.count(), 1, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_keeps_what_had_closed_and_asks_for_the_rest() {
    for wire in WIRES {
        let server = Server::start();
        server.next([Reply::honest().ending(End::Cut)]);
        let app = app(&server, wire).await;
        let body = body(&app, schema(), json!({})).await;
        let job = app.submit(&body).await;
        let frames = app.follow(&job, None).await.rest().await;
        let end = frames.last().unwrap().payload();
        assert_eq!(
            (&end["status"], &end["partial"]),
            (&json!("completed"), &json!(false)),
            "{wire:?}"
        );
        let asked = server.asked();
        assert_eq!(asked.len(), 2, "{wire:?}");
        let members = |at: usize| {
            let schema = asked[at].schema().unwrap();
            schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (members(0).len(), members(1).len()),
            (2, 1),
            "{wire:?}: {:?}",
            members(1)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_refused_is_cut_smaller_and_the_refusal_is_remembered() {
    for wire in WIRES {
        let server = Server::start();
        // Takes no more than four leaves at once.
        server.script(|asked| {
            let leaves = asked.bound_schema().map_or(0, leaves);
            (leaves > 4).then(|| Reply::from(Failure::BadSchema))
        });
        let app = app(&server, wire).await;
        let mut body = body(&app, schema(), json!({"cache": "off"})).await;
        let job = app.submit(&body).await;
        let end = app.end_of(&job).await;
        assert_eq!(
            (&end["status"], &end["partial"]),
            (&json!("completed"), &json!(false)),
            "{wire:?} {end}"
        );
        let results = app.results(&job).await.body;
        assert_eq!(
            results["results"]["head"]["invoice_number"], "R-1017",
            "{wire:?}"
        );
        assert_eq!(results["results"]["seller"]["city"], "Cologne", "{wire:?}");
        // The whole, its two subtrees, and the two halves of the larger one.
        assert_eq!(server.count(), 5, "{wire:?}");
        body["config"]["seed"] = json!(1);
        app.end_of(&app.submit(&body).await).await;
        assert_eq!(
            server.count(),
            8,
            "{wire:?}: nothing is asked that was refused before"
        );
    }
}

fn leaves(schema: &Value) -> usize {
    match schema.get("properties").and_then(Value::as_object) {
        // Where all has to be there, a list says what is not.
        Some(properties) => properties
            .iter()
            .filter(|(name, _)| *name != "omitted")
            .map(|(_, inner)| leaves(inner))
            .sum(),
        None => 1,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_error_says_is_seen_nowhere() {
    for wire in WIRES {
        let server = Server::start();
        server.always(Reply::from(Failure::Internal));
        let app = app(&server, wire).await;
        let body = body(&app, schema(), json!({"n_max_retries": 0})).await;
        let job = app.submit(&body).await;
        let frames = app.follow(&job, None).await.rest().await;
        assert_eq!(frames.last().unwrap().payload()["status"], "failed");
        for frame in &frames {
            assert!(!frame.data.contains(CANARY), "{wire:?} {}", frame.data);
        }
        let results = app.results(&job).await;
        assert!(!results.body.to_string().contains(CANARY), "{wire:?}");
        assert_eq!(server.count(), 1, "{wire:?}: no retries were wanted");
    }
}
