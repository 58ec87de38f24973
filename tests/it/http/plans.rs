//! Plans: what a job would do, and refusals of what it could not.

use serde_json::{Value, json};

use crate::support::app::{TestApp, file, wide_schema};
use crate::support::provider::{Scripted, Server};

const PLANS: &str = "/v1/extract/plans";

async fn paid() -> TestApp {
    let scripted = Scripted::plain().paid();
    TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted)))
        .run()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_names_every_subtree_its_call_and_why_it_is_cut() {
    let app = paid().await;
    let schema: Value =
        serde_json::from_slice(&file("schemas/examples/invoice.schema.json")).unwrap();
    let document = app.document().await;
    for body in [
        json!({"schema": schema}),
        json!({"schema": schema, "document": "Total: 12.50 EUR"}),
        json!({"schema": schema, "document_id": document, "config": {"splitter_configs": {"packing": "fast"}}}),
    ] {
        let plan = app.post(PLANS, &body, "explained_plan").await.body;
        let subtrees = plan["subtrees"].as_array().unwrap();
        let calls = plan["calls"].as_array().unwrap();
        for subtree in subtrees {
            let call = &calls[subtree["call"].as_u64().unwrap() as usize - 1];
            let ids = call["subtree_ids"].as_array().unwrap();
            assert!(ids.contains(&subtree["subtree_id"]), "{plan:#}");
            assert!(subtree["reason"].as_str().unwrap().ends_with('.'));
        }
        let asked: usize = calls
            .iter()
            .map(|call| call["subtree_ids"].as_array().unwrap().len())
            .sum();
        assert_eq!(asked, subtrees.len());
        let pages = u64::from(body.get("document").is_some() || body.get("document_id").is_some());
        assert_eq!(plan["forecast"]["pages"], pages);
        assert_eq!(plan["forecast"]["estimate"]["calls"], calls.len());
    }
    let list = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(list.body["total_count"], 0, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_below_the_floor_is_refused_with_both_figures_and_starts_nothing() {
    let app = paid().await;
    for (config, pointer, says) in [
        (json!({"max_tokens": 20}), "/config/max_tokens", "20 tokens"),
        (
            json!({"max_seconds": 1, "splitter_configs": {"packing": "fast"}}),
            "/config/max_seconds",
            "1 seconds",
        ),
    ] {
        // So long that even an empty answer takes longer than a second.
        let document = "An invoice of some length. ".repeat(3_000);
        let body = json!({"schema": wide_schema(12), "document": document, "config": config});
        for (path, schema) in [
            (PLANS, "explained_plan"),
            ("/v1/extract/jobs", "job_created"),
        ] {
            let refused = app.post(path, &body, schema).await;
            assert_eq!(refused.refusal(), (422, "budget_too_small"), "{path}");
            assert_eq!(refused.pointers(), [pointer]);
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(
                detail.contains(says) && detail.contains("at least"),
                "{detail}"
            );
        }
    }
    let list = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(list.body["total_count"], 0);
    let list = app.get("/v1/extract/documents", "document_list").await;
    assert_eq!(
        list.body["total_count"], 0,
        "an inline document is let go of"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cost_cannot_be_kept_to_where_no_price_is_known() {
    let app = paid().await;
    let body = json!({"schema": wide_schema(1), "document": "x", "config": {"max_cost": 1}});
    let refused = app.post(PLANS, &body, "explained_plan").await;
    assert_eq!(refused.refusal(), (422, "invalid_config"));
    assert_eq!(refused.pointers(), ["/config/max_cost"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plan_is_asked_with_is_checked_like_a_job() {
    let app = paid().await;
    for (body, refusal) in [
        (json!([]), (400, "invalid_request")),
        (
            json!({"schema": {}, "stream": true}),
            (400, "invalid_request"),
        ),
        (json!({"document": "x"}), (400, "invalid_request")),
        (
            json!({"schema": {}, "document": "x", "document_id": "y"}),
            (400, "invalid_request"),
        ),
        (
            json!({"schema": {}, "document_id": "y"}),
            (400, "invalid_document_id"),
        ),
        (
            json!({"schema": {"type": "money"}}),
            (422, "invalid_schema"),
        ),
        (
            json!({"schema": {}, "config": {"model": "none"}}),
            (422, "model_not_found"),
        ),
        (
            json!({"schema": {}, "config": {"max_tokens": 0}}),
            (422, "invalid_config"),
        ),
    ] {
        let answer = app.post(PLANS, &body, "explained_plan").await;
        assert_eq!(answer.refusal(), refusal, "{body}");
    }
}
