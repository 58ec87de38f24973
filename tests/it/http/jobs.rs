//! Jobs: what a body may say, and what is refused before a job exists.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, file, wide_schema};
use crate::support::provider::{Scripted, Server};

const JOBS: &str = "/v1/extract/jobs";
const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

async fn plain() -> TestApp {
    let provider = Arc::new(Server(Scripted::plain()));
    TestApp::start().provider(provider).run().await
}

async fn count(app: &TestApp) -> Value {
    let list = app.get(JOBS, "job_list").await;
    list.body["total_count"].clone()
}

fn with(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

fn without(body: &Value, name: &str) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().shift_remove(name);
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_start_no_job_are_refused_by_their_place() {
    let app = plain().await;
    let good = json!({"document_id": app.document().await, "schema": wide_schema(1)});
    for (name, value, pointer) in [
        ("document", json!("Total: 5"), "/document_id"),
        ("document_id", Value::Null, "/document_id"),
        ("document_id", json!(5), "/document_id"),
        ("schema_id", json!(NOBODY), "/schema_id"),
        ("schema", Value::Null, "/schema_id"),
        ("stream", json!("true"), "/stream"),
        ("strem", json!(true), "/strem"),
        ("a/b~c", json!(1), "/a~1b~0c"),
    ] {
        let refused = app
            .post(JOBS, &with(&good, name, value), "job_created")
            .await;
        assert_eq!(refused.refusal(), (400, "invalid_request"), "{name}");
        assert_eq!(refused.pointers(), [pointer]);
    }
    let refused = app.post(JOBS, &json!("job"), "job_created").await;
    assert_eq!(
        (refused.refusal(), refused.pointers()),
        ((400, "invalid_request"), vec![""])
    );
    assert_eq!(count(&app).await, 0);
    let started = app.post(JOBS, &good, "job_created").await;
    let place = started.headers["location"].to_str().unwrap();
    let job = app.get(place, "job").await.body;
    assert_eq!(job["job_id"], started.body["job_id"]);
    assert_eq!(count(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_body_names_is_looked_at_before_a_job_exists() {
    let app = plain().await;
    let by_id = json!({"document_id": app.document().await, "schema_id": NOBODY});
    let inline = with(&without(&by_id, "schema_id"), "schema", wide_schema(1));
    let money = json!({"type": "object", "properties": {"a/b": {"type": "money"}}});
    let slash = json!({"a/b~": 1});
    for (body, name, value, refusal, pointer) in [
        (
            &by_id,
            "schema_id",
            json!("s"),
            (400, "invalid_schema_id"),
            None,
        ),
        (
            &by_id,
            "schema_id",
            json!(NOBODY),
            (404, "schema_not_found"),
            None,
        ),
        (
            &inline,
            "document_id",
            json!("5"),
            (400, "invalid_document_id"),
            None,
        ),
        (
            &inline,
            "document_id",
            json!(NOBODY),
            (404, "document_not_found"),
            None,
        ),
        (
            &inline,
            "schema",
            json!("{}"),
            (422, "invalid_schema"),
            Some("/schema"),
        ),
        (
            &inline,
            "schema",
            money,
            (422, "invalid_schema"),
            Some("/schema/properties/a~1b/type"),
        ),
        (
            &inline,
            "config",
            json!([]),
            (422, "invalid_config"),
            Some("/config"),
        ),
        (
            &inline,
            "config",
            slash,
            (422, "invalid_config"),
            Some("/config/a~1b~0"),
        ),
    ] {
        let body = with(body, name, value);
        // With a stream it is no stream.
        for body in [&body, &with(&body, "stream", json!(true))] {
            let refused = app.post(JOBS, body, "job_created").await;
            assert_eq!(refused.refusal(), refusal, "{}", refused.body);
            assert_eq!(refused.pointers(), Vec::from_iter(pointer));
        }
    }
    let many: serde_json::Map<_, _> = (0..50_000).map(|n| (format!("c{n}"), json!(0))).collect();
    let many = with(&inline, "config", json!(many));
    let many = app.post(JOBS, &many, "job_created").await;
    assert_eq!(many.refusal(), (422, "invalid_config"));
    assert!(
        many.body.to_string().len() < 20_000,
        "faults are not listed without end"
    );
    assert_eq!(count(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_model_is_refused_with_those_there_are() {
    let app = plain().await;
    let body = app
        .job_body(wide_schema(1), json!({"model": "layuot"}))
        .await;
    let refused = app.post(JOBS, &body, "job_created").await;
    assert_eq!(
        (refused.refusal(), refused.pointers()),
        ((422, "model_not_found"), vec!["/config/model"])
    );
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("layuot") && detail.contains("scripted"),
        "{detail}"
    );
    let models = app.get("/v1/extract/models", "model_list").await.body;
    assert_eq!(
        (&models["default_model"], &models["models"][0]["id"]),
        (&json!("scripted"), &json!("scripted"))
    );
    assert_eq!(count(&app).await, 0);
}

/// The last value that a published schema allows on each side, and the first that it does not.
fn edges(schema: &Value) -> Vec<(Value, Value)> {
    let integer = |number: i128| serde_json::from_str(&number.to_string()).unwrap();
    let bound = |name: &str| {
        schema
            .get(name)
            .map(|bound| bound.to_string().parse::<i128>().unwrap())
    };
    let text = |length: i128| json!("x".repeat(length as usize));
    let sides = [
        ("minimum", -1),
        ("maximum", 1),
        ("minLength", -1),
        ("maxLength", 1),
    ];
    let sides = sides
        .into_iter()
        .filter_map(|(name, step)| Some((name, bound(name)?, step)));
    sides
        .map(|(name, bound, step)| {
            if name.ends_with("Length") {
                (text(bound), text(bound + step))
            } else {
                (integer(bound), integer(bound + step))
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_is_taken_exactly_as_far_as_its_published_schema_goes() {
    let app = plain().await;
    let published: Value = serde_json::from_slice(&file("schemas/api/config.json")).unwrap();
    // Each is its own schema, or null.
    let members = |schema: &Value| {
        let members = schema["properties"]
            .as_object()
            .unwrap()
            .clone()
            .into_iter();
        members.map(|(name, member)| {
            (
                name,
                member["anyOf"][0].clone(),
                member.get("default").cloned(),
            )
        })
    };
    let splitter = &published["properties"]["splitter_configs"]["anyOf"][0];
    let outer = members(&published).map(|member| ("", member));
    let inner = members(splitter).map(|member| ("/splitter_configs", member));
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&with(&body, "config", Value::Null)).await;
    app.end_of(&job).await;
    let used = app.get(&format!("{JOBS}/{job}"), "job").await.body["config"].clone();
    let mut refusals = 0;
    for (place, (name, schema, default)) in outer.chain(inner) {
        let pointer = format!("{place}/{name}");
        if let Some(default) = default {
            assert_eq!(used.pointer(&pointer), Some(&default), "{pointer}");
        }
        let config = |value: Value| {
            let config = json!({ &name: value });
            let nested = json!({"splitter_configs": config});
            with(
                &body,
                "config",
                if place.is_empty() { config } else { nested },
            )
        };
        for (good, bad) in edges(&schema)
            .into_iter()
            .chain([(Value::Null, json!([1]))])
        {
            if name != "model" {
                let job = app.submit(&config(good)).await;
                app.end_of(&job).await;
            }
            let refused = app.post(JOBS, &config(bad), "job_created").await;
            let pointer = format!("/config{pointer}");
            assert_eq!(
                (refused.refusal(), refused.pointers()),
                ((422, "invalid_config"), vec![&*pointer])
            );
            refusals += 1;
        }
    }
    assert!(refusals >= 25, "{refusals} edges are published");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_may_come_with_the_job_as_text_or_as_a_data_url() {
    let app = TestApp::start().run().await;
    let schema = json!({"type": "object", "properties": {"total": {"type": ["number", "null"]}, "number": {"type": ["string", "null"]}}});
    let text = "Number: A-7\nTotal: 12.50 EUR\n";
    let uploaded = app.upload("note.txt", text).await.body["document_id"].clone();
    let lines = STANDARD.encode(text).replace('X', "X\r\n");
    let mut results = Vec::new();
    for document in [
        json!({"document_id": uploaded}),
        json!({"document": text}),
        json!({"document": format!("data:text/plain;base64,{}", STANDARD.encode(text))}),
        json!({"document": format!("data:;base64,{}", STANDARD_NO_PAD.encode(text))}),
        json!({"document": format!("data:application/pdf;base64,{lines}")}),
    ] {
        let body = with(&document, "schema", schema.clone());
        let job = app.submit(&body).await;
        app.end_of(&job).await;
        results.push(app.results(&job).await.body["results"].clone());
        let id = app.get(&format!("{JOBS}/{job}"), "job").await.body["document_id"].clone();
        let kept = format!("/v1/extract/documents/{}/content", id.as_str().unwrap());
        let kept = app.request(Method::GET, &kept).send().await.unwrap();
        assert_eq!(
            kept.text().await.unwrap(),
            text,
            "it is kept like an upload"
        );
    }
    assert_eq!(results[0], json!({"total": 12.5, "number": "A-7"}));
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
    for (document, refusal, says) in [
        ("data:text/plain,Total", (400, "invalid_request"), "base64"),
        ("data:text/plain;base64", (400, "invalid_request"), "comma"),
        (
            "data:text/plain;base64,T*tal",
            (400, "invalid_request"),
            "cannot be read",
        ),
        ("", (422, "document_empty"), "no bytes"),
        (
            "data:image/gif;base64,R0lGODlhAP8=",
            (415, "unsupported_media_type"),
            "GIF",
        ),
    ] {
        let body = json!({"document": document, "schema": schema});
        let refused = app.post(JOBS, &body, "job_created").await;
        assert_eq!(refused.refusal(), refusal, "{}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    }
    assert_eq!(count(&app).await, 5);
}
