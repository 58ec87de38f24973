//! Models whose answers cost money: nothing is asked twice, and nothing wrong is kept.

use std::sync::Arc;

use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, Server, fault, plain_value};

async fn app(model: &Arc<Scripted>) -> TestApp {
    TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await
}

fn with_description(mut schema: Value, property: &str) -> Value {
    schema["properties"][property]["description"] = json!("Said in other words");
    schema
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_paid_for_is_not_asked_for_again() {
    let model = Scripted::plain().paid();
    let app = app(&model).await;
    let body = app.job_body(wide_schema(4), json!({})).await;
    let first = app.submit(&body).await;
    app.end_of(&first).await;
    assert_eq!((model.calls().len(), model.asked().len()), (1, 4));

    let second = app.submit(&body).await;
    let end = app.end_of(&second).await;
    assert_eq!(
        (model.calls().len(), &end["status"]),
        (1, &json!("completed"))
    );
    let usage = &end["usage_metadata"];
    assert_eq!(usage["reused_subtree_count"], 4);
    assert_eq!(
        (&usage["request_count"], &usage["cost_usd"]),
        (&json!(0), &json!(0.0))
    );
    let (one, two) = (
        app.results(&first).await.body,
        app.results(&second).await.body,
    );
    assert_eq!(one["results"], two["results"]);

    let mut off = body.clone();
    off["config"] = json!({"cache": "off"});
    let third = app.submit(&off).await;
    app.end_of(&third).await;
    assert_eq!(model.asked().len(), 8, "`cache: off` asks again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_description_asks_for_its_subtree_only() {
    let model = Scripted::plain().paid();
    let app = app(&model).await;
    let schema = wide_schema(4);
    let mut body = app.job_body(schema.clone(), json!({})).await;
    app.end_of(&app.submit(&body).await).await;
    let property = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .nth(2)
        .unwrap()
        .clone();
    body["schema"] = with_description(schema, &property);
    if body.get("schema_id").is_some() {
        let other = app.job_body(body["schema"].clone(), json!({})).await;
        body["schema_id"] = other["schema_id"].clone();
        body.as_object_mut().unwrap().remove("schema");
    }
    let end = app.end_of(&app.submit(&body).await).await;
    assert_eq!(model.asked()[4..], [property]);
    assert_eq!(end["usage_metadata"]["reused_subtree_count"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_with_their_jobs() {
    let model = Scripted::plain().paid();
    let app = app(&model).await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let gone = app.delete(&format!("/v1/extract/jobs/{job}")).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    app.end_of(&app.submit(&body).await).await;
    assert_eq!(model.asked().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_answer_is_asked_for_once_more_with_its_fault_named() {
    let model = Scripted::new(|subtree, count| {
        let mut value = plain_value(subtree);
        if subtree.id.ends_with('1') && count == 1 {
            value["a"] = json!({"no": "text"});
        }
        Reply::Value(value)
    })
    .paid();
    let app = app(&model).await;
    let body = app.job_body(wide_schema(3), json!({})).await;
    let end = app.end_of(&app.submit(&body).await).await;
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false))
    );
    let calls = model.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].subtrees.len(), 1, "only what was wrong");
    let [correction] = &calls[1].corrections[..] else {
        panic!("{:?}", calls[1].corrections);
    };
    assert_eq!(correction.index, calls[1].subtrees[0]);
    assert_eq!(correction.errors[0].path.as_str(), "/a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stays_wrong_is_no_result() {
    let model = Scripted::new(|subtree, _| {
        let mut value = plain_value(subtree);
        if subtree.id.ends_with('1') {
            value["a"] = json!({"no": "text"});
        }
        Reply::Value(value)
    })
    .paid();
    let app = app(&model).await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let failed: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "subtree_error")
        .collect();
    assert_eq!(failed.len(), 1);
    let error = failed[0].payload();
    assert_eq!(error["error_type"], "validation_failed");
    assert!(
        error["error_message"].as_str().unwrap().contains("/a"),
        "{error}"
    );
    assert_eq!(model.calls().len(), 2);

    // What failed is not kept: a retry asks again.
    let retried = app
        .post(
            &format!("/v1/extract/jobs/{job}/retry"),
            &json!({}),
            "job_summary",
        )
        .await;
    assert_eq!(retried.status, 202);
    app.end_of(&job).await;
    assert_eq!(model.calls().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_does_not_tell_is_reported_and_not_asked_again() {
    let model = Scripted::new(|subtree, _| {
        let mut value = plain_value(subtree);
        value["a"] = Value::Null;
        Reply::Value(value)
    })
    .paid();
    let app = app(&model).await;
    let mut schema = wide_schema(1);
    let name = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    schema["required"] = json!([&name]);
    schema["properties"][&name]["required"] = json!(["a"]);
    schema["properties"][&name]["properties"]["a"] = json!({"type": "string"});
    let body = app.job_body(schema, json!({})).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let result = frames
        .iter()
        .find(|frame| frame.event == "subtree_result")
        .unwrap()
        .payload();
    assert_eq!(result["extracted_result"]["a"], Value::Null);
    assert_eq!(result["validation"]["valid"], false);
    assert_eq!(model.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_calls_all_wait_says_so() {
    let model = Scripted::new(|subtree, count| match count {
        1 => fault(Fault::ProviderRateLimit, Some(1)),
        2 => fault(Fault::ProviderOverloaded, Some(1)),
        _ => Reply::Value(plain_value(subtree)),
    })
    .paid();
    let app = app(&model).await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let said: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "job_status")
        .map(|frame| {
            let payload = frame.payload();
            let text = |name: &str| payload[name].as_str().unwrap().to_owned();
            (text("status"), text("reason"))
        })
        .collect();
    let expected = [
        ("processing", "scheduled"),
        ("retrying", "rate_limited"),
        ("processing", "resumed"),
        ("retrying", "provider_unavailable"),
        ("processing", "resumed"),
    ]
    .map(|(status, reason)| (status.to_owned(), reason.to_owned()));
    assert_eq!(said, expected);
}
