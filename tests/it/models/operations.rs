//! Operations with a model: what it is asked, and what is made of its answer.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{WIRES, model_of, only, provider};
use crate::support::app::{TestApp, file};
use crate::support::model::{Honest, Reply, Server, Wire};
use crate::support::schemas;

async fn app(server: &Server, wire: Wire) -> TestApp {
    let provider = provider(server, wire, true);
    TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

/// A server whose model answers so.
fn saying<'a>(said: impl IntoIterator<Item = (&'a str, Value)>) -> Server {
    let server = Server::start();
    let honest = Honest::table(said);
    server.answers(move |asked| honest.answer(asked));
    server
}

async fn done(app: &TestApp, path: &str, body: &Value) -> Value {
    let answer = app
        .post(&format!("/v1/extract/{path}"), body, "results")
        .await;
    assert_eq!(answer.body["status"], "completed", "{}", answer.body);
    let results = answer.body["results"].clone();
    schemas::check(&format!("operation_{}", path.replace('-', "_")), &results);
    results
}

const LETTER: &str =
    "North Sea Trading Ltd\nREMINDER\nWe have not had your payment of 119.00 EUR.\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_classifies_and_only_quotes_that_stand_in_the_document_count() {
    for wire in WIRES {
        let quotes = json!(["not had your payment", "This is a reminder, dear Sir"]);
        let server = saying([("category", json!("dunning letter")), ("quotes", quotes)]);
        let app = app(&server, wire).await;
        let body =
            json!({"document": LETTER, "classify": {"categories": ["invoice", "dunning letter"]}});
        let found = done(&app, "classify", &body).await;
        assert_eq!(found["category"], "dunning letter", "{wire:?}");
        assert_eq!(
            found["evidence"],
            json!([{"text": "not had your payment", "page": 1}]),
            "{wire:?}"
        );
        let confidence = found["confidence"].as_f64().unwrap();
        assert!((0.4..0.7).contains(&confidence), "{wire:?} {confidence}");
        assert_eq!(server.count(), 1);
        let prompt = server.asked()[0].prompt();
        assert!(prompt.contains("dunning letter"), "{prompt}");
    }
    let server = saying([("category", Value::Null), ("quotes", json!([]))]);
    let app = app(&server, Wire::OpenAi).await;
    let body = json!({"document": LETTER, "classify": {"categories": ["invoice", "contract"]}});
    let found = done(&app, "classify", &body).await;
    assert_eq!(
        (&found["category"], &found["confidence"]),
        (&Value::Null, &Value::Null)
    );
}

/// Four pages of text.
fn pages() -> String {
    [
        "Offer of North Sea",
        "its prices",
        "Contract of Bolt",
        "its clauses",
    ]
    .join("\u{c}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_splits_and_every_page_is_in_one_document() {
    let part = |kind: &str, first: u32, last: u32| json!({"kind": kind, "title": null, "first_page": first, "last_page": last});
    for (said, expected, is_sure) in [
        (
            json!([part("offer", 1, 2), part("contract", 3, 4)]),
            [("offer", 1, 2), ("contract", 3, 4)],
            true,
        ),
        (
            json!([part("contract", 3, 9), part("offer", 1, 1)]),
            [("offer", 1, 2), ("contract", 3, 4)],
            false,
        ),
    ] {
        let server = saying([("documents", said)]);
        let app = app(&server, Wire::OpenAi).await;
        let body = json!({"document": pages(), "split": {"kinds": ["offer", "contract"]}});
        let found = done(&app, "split", &body).await;
        let all = found["documents"].as_array().unwrap();
        for (one, (kind, first, last)) in all.iter().zip(expected) {
            assert_eq!(
                (&one["kind"], &one["first_page"], &one["last_page"]),
                (&json!(kind), &json!(first), &json!(last)),
                "{found}"
            );
            assert_eq!(
                one["confidence"].as_f64().unwrap() > 0.3,
                is_sure,
                "{found}"
            );
        }
        assert_eq!((all.len(), &found["page_count"]), (2, &json!(4)));
    }
    let server = saying([("documents", json!([]))]);
    let app = app(&server, Wire::OpenAi).await;
    let answer = app
        .post(
            "/v1/extract/split",
            &json!({"document": pages()}),
            "results",
        )
        .await
        .body;
    assert_eq!(
        (&answer["status"], &answer["metadata"]["error_type"]),
        (&json!("failed"), &json!("validation_failed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_names_fields_and_the_schema_of_them_extracts() {
    let field = |name: &str, kind: &str, children: Value| json!({"name": name, "description": "d", "type": kind, "required": true, "children": children});
    let fields = json!([
        field("Invoice No", "text", json!([])),
        field("total_due", "number", json!([])),
        field(
            "lines",
            "list_of_objects",
            json!([field("price", "number", json!([]))])
        ),
    ]);
    for wire in WIRES {
        let server = saying([("fields", fields.clone()), ("title", json!("Invoice"))]);
        let app = app(&server, wire).await;
        let text =
            String::from_utf8(file("tests/fixtures/documents/fieldbench-invoice.md")).unwrap();
        let schema =
            done(&app, "generate-schema", &json!({"document": text})).await["json_schema"].clone();
        assert_eq!(
            schema["required"],
            json!(["invoice_no", "total_due", "lines"]),
            "{wire:?}"
        );
        let job = app
            .submit(&json!({"document": text, "schema": schema}))
            .await;
        assert_eq!(app.end_of(&job).await["status"], "completed", "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parsing_asks_no_model_and_a_slow_one_is_not_waited_for_longer_than_asked() {
    let (server, gate) = (Server::start(), Arc::new(Semaphore::new(0)));
    server.always(
        Reply::value(json!({"s0": {"quotes": [], "category": null, "reasoning": null}}))
            .held("s0", &gate),
    );
    let app = app(&server, Wire::OpenAi).await;
    let parsed = done(&app, "parse", &json!({"document": LETTER})).await;
    assert_eq!((&parsed["page_count"], server.count()), (&json!(1), 0));
    let body = json!({"document": LETTER, "classify": {"categories": ["invoice"]}});
    let answer = app
        .post("/v1/extract/classify?wait=1", &body, "job_created")
        .await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let job = answer.body["job_id"].as_str().unwrap();
    assert!(answer.headers["location"].to_str().unwrap().ends_with(job));
    gate.add_permits(1);
    assert_eq!(app.end_of(job).await["status"], "completed");
    assert_eq!(
        app.results(job).await.body["results"]["category"],
        Value::Null
    );
}
