//! Schemas that are made to break the server.

use serde_json::{Map, Value, json};

use crate::support::app::TestApp;

/// Definitions `d0`, `d1`, ... of which each is made from a reference to the next.
fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
    let mut definitions: Map<_, _> = (1..length)
        .map(|index| {
            let next = json!({"$ref": format!("#/$defs/d{}", index + 1)});
            (format!("d{index}"), link(next))
        })
        .collect();
    definitions.insert(format!("d{length}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d1", "$defs": definitions})
}

/// Definitions that each hold the next one twice, by plain names.
fn anchored(length: usize) -> Value {
    let definitions: Map<_, _> = (1..=length)
        .map(|index| {
            let next = json!({"$ref": format!("#a{}", index % length + 1)});
            let node = json!({"$anchor": format!("a{index}"), "allOf": [next, next]});
            (format!("d{index}"), node)
        })
        .collect();
    json!({"$ref": "#a1", "$defs": definitions})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_made_to_break_the_server_are_refused_at_every_door() {
    let app = TestApp::start().run().await;
    let document = app.document().await;
    let many = |count: usize, part: Value| -> Map<String, Value> {
        (0..count)
            .map(|index| (format!("p{index}"), part.clone()))
            .collect()
    };
    let (complex, invalid) = ("schema_too_complex", "invalid_schema");
    for (what, schema, code) in [
        (
            "doubling references",
            chain(60, |next| json!({"properties": {"a": next, "b": next}})),
            complex,
        ),
        (
            "doubling allOf",
            chain(60, |next| json!({"allOf": [next, next]})),
            complex,
        ),
        ("doubling anchors", anchored(60), complex),
        (
            "a long chain of references",
            chain(3_000, |next| json!({"not": next})),
            complex,
        ),
        (
            "a chain of bare references",
            chain(15_000, |next| next),
            complex,
        ),
        (
            "a long chain of properties",
            chain(3_000, |next| json!({"properties": {"a": next}})),
            complex,
        ),
        (
            "a loop",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
            invalid,
        ),
        (
            "patterns",
            json!({"properties": many(501, json!({"pattern": "a"}))}),
            complex,
        ),
        (
            "a pattern that unfolds",
            json!({"pattern": "((a{100}){100}){100}"}),
            invalid,
        ),
        (
            "an array that must be long",
            json!({"type": "array", "minItems": 1_000_000_000}),
            complex,
        ),
        (
            "many nodes",
            json!({"$defs": {"x": {"properties": many(1_000, json!({}))}},
            "properties": many(200, json!({"$ref": "#/$defs/x"}))}),
            complex,
        ),
        (
            "much text",
            json!({"description": "d".repeat(1 << 20)}),
            complex,
        ),
    ] {
        let body = json!({"schema_definition": schema});
        let checked = app
            .post("/v1/extract/schemas/validate", &body, "schema_validation")
            .await;
        assert_eq!(checked.body["valid"], false, "{what}");
        let body = json!({"name": "x", "schema_definition": schema});
        let kept = app.post("/v1/extract/schemas", &body, "schema").await;
        assert_eq!(kept.refusal(), (422, code), "{what}: {}", kept.body);
        let body = json!({"document_id": document, "schema": schema});
        let job = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(job.refusal(), (422, code), "{what}");
        for (pointers, member) in [
            (kept.pointers(), "/schema_definition"),
            (job.pointers(), "/schema"),
        ] {
            assert!(
                pointers.iter().all(|p| p.starts_with(member)),
                "{what}: {pointers:?}"
            );
        }
    }
    assert_eq!(
        app.get("/v1/extract/jobs", "job_list").await.body["total_count"],
        0
    );
    assert_eq!(app.get("/healthz", "health").await.status, 200);
}
