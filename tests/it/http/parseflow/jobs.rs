//! Jobs: `POST /v2/jobs`, `GET /v2/jobs/{job_id}`.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::{INVOICE, JOBS, call, end, fixture, form, get, post, started, with_file};
use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_over_a_file_is_queued_and_then_has_chunks_extraction_and_markdown() {
    let app = TestApp::start().run().await;
    let fields = [
        ("mode", "deterministic"),
        ("chunk_size", "300"),
        ("overlap", "50"),
        ("preset", "invoice"),
    ];
    let invoice = with_file(
        &fields,
        "fieldbench-invoice.md",
        fixture("fieldbench-invoice.md"),
    );
    let created = post(&app, JOBS, invoice, "parseflow_job").await;
    assert_eq!(created.status, 200);
    let status = created.body["status"].as_str().unwrap();
    assert!(["queued", "running", "succeeded"].contains(&status));
    assert_eq!(created.body["mode"], "deterministic");
    assert_eq!(created.body["callback_url"], json!(null));
    let job = created.body["job_id"].as_str().unwrap();
    assert_eq!(created.headers["location"], format!("/v2/jobs/{job}"));

    let ended = end(&app, job).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(
        (&ended["error"], &ended["delivery"]),
        (&json!(null), &json!(null))
    );
    let result = &ended["result"];
    assert_eq!(result["filename"], "fieldbench-invoice.md");
    assert_eq!(
        result["extraction"]["invoice_number"], "INV-2026-8045",
        "{result:#}"
    );
    assert_eq!(result["extraction"]["total"], json!(85471.18));
    let chunks = result["chunks"].as_array().unwrap();
    assert_eq!(result["chunk_count"], chunks.len());
    assert!(chunks.len() > 2);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(
            (&chunk["index"], &chunk["page"]),
            (&json!(index), &json!(1))
        );
        assert!(chunk["text"].as_str().unwrap().chars().count() <= 300);
    }
    assert!(
        result["markdown"]
            .as_str()
            .unwrap()
            .contains("INV-2026-8045")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_preset_and_schema_and_in_mode_basic_there_are_only_chunks() {
    let app = TestApp::start().run().await;
    for mode in ["deterministic", "basic"] {
        let job = started(&app, &[("text", INVOICE), ("mode", mode)]).await;
        let ended = end(&app, &job).await;
        assert_eq!(
            (&ended["mode"], &ended["status"]),
            (&json!(mode), &json!("succeeded"))
        );
        let result = &ended["result"];
        assert_eq!(
            (&result["mode"], &result["extraction"]),
            (&json!(mode), &json!({}))
        );
        assert_eq!(result["chunks"][0]["text"], INVOICE.trim());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_is_never_more_than_half_of_a_chunk() {
    let app = TestApp::start().run().await;
    let text = "alpha beta gamma delta ".repeat(100);
    let fields = [("text", &*text), ("chunk_size", "200"), ("overlap", "2000")];
    let ended = end(&app, &started(&app, &fields).await).await;
    let chunks = ended["result"]["chunks"].as_array().unwrap().len();
    assert!(
        (11..=24).contains(&chunks),
        "{chunks} chunks of 2,300 characters"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_leads_to_the_same_job_and_with_another_form_to_422() {
    let app = TestApp::start().run().await;
    let send = |text: &'static str, path: &'static str| {
        let request = app
            .request(Method::POST, path)
            .header("Idempotency-Key", "k");
        call(
            &app,
            request.multipart(form(&[("text", text)])),
            "parseflow_job",
        )
    };
    let first = send("one", JOBS).await;
    let again = send("one", JOBS).await;
    assert_eq!(first.body["job_id"], again.body["job_id"]);
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    assert!(first.headers.get("x-idempotent-replay").is_none());
    let other = send("two", JOBS).await;
    assert_eq!(super::refusal(&other).1, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_calls_itself_is_kept_with_the_job() {
    let app = TestApp::start().run().await;
    let request = app
        .request(Method::POST, JOBS)
        .header("X-Client-Id", "desk 7");
    let created = call(
        &app,
        request.multipart(form(&[("text", "x")])),
        "parseflow_job",
    )
    .await;
    let job = created.body["job_id"].as_str().unwrap();
    let native = app.get(&format!("/v1/extract/jobs/{job}"), "job").await;
    assert_eq!(native.body["metadata"], json!({"client_id": "desk 7"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_the_native_dialect_says_the_same_here() {
    let provider = Arc::new(Server(Scripted::plain().paid()));
    let app = TestApp::start().provider(provider).run().await;
    let body = app.job_body(wide_schema(4), json!({})).await;
    let job = app.submit(&body).await;
    let ended = end(&app, &job).await;
    assert_eq!(ended["status"], "succeeded");
    let native = app
        .get(&format!("/v1/extract/jobs/{job}/results"), "results")
        .await;
    assert_eq!(ended["result"]["extraction"], native.body["results"]);
    assert!(
        ended.get("mode").is_none(),
        "it was done by a model of the server's"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_back_for_review_is_running_without_a_result() {
    let app = TestApp::start().run().await;
    let body = json!({
        "document": INVOICE,
        "schema": {"type": "object", "properties": {"due_date": {"type": "string"}}, "required": ["due_date"]},
        "config": {"review": {"required_null": true}},
    });
    let mut stream = app.stream(&body).await;
    let job = loop {
        let frames = stream.until("job_status").await;
        let last = frames.last().unwrap().payload();
        if last["reason"] == "review_required" {
            break last["job_id"].as_str().unwrap().to_owned();
        }
    };
    let held = get(&app, &format!("{JOBS}/{job}"), "parseflow_job").await;
    assert_eq!(held.body["status"], "running");
    assert_eq!(held.body["result"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_result_of_a_job_whose_document_was_deleted_is_gone_and_says_so() {
    let app = TestApp::start().run().await;
    let job = started(&app, &[("text", INVOICE), ("preset", "invoice")]).await;
    let ended = end(&app, &job).await;
    let document = ended["result"]["document_id"].as_str().unwrap();
    app.delete(&format!("/v1/extract/documents/{document}"))
        .await;
    let ended = end(&app, &job).await;
    assert_eq!(ended["result"], json!(null));
    assert_eq!(ended["error"]["code"], "document_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_cancelled_has_failed_and_says_why() {
    let provider = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(provider)))
        .run()
        .await;
    let body = app.job_body(wide_schema(4), json!({})).await;
    let job = app.submit(&body).await;
    app.post(&format!("/v1/extract/jobs/{job}/cancel"), &json!({}), "job")
        .await;
    let ended = end(&app, &job).await;
    assert_eq!(ended["status"], "failed");
    assert_eq!(ended["error"]["code"], "cancelled");
}
