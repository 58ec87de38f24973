//! Several texts in one request: `POST /v2/batch`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{INVOICE, call, refusal};
use crate::support::app::{Answer, TestApp};

async fn batch(app: &TestApp, body: &Value) -> Answer {
    let request = app.request(Method::POST, "/v2/batch").json(body);
    call(app, request, "parseflow_batch_result").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_has_its_result_in_order_and_settles_alone() {
    let app = TestApp::start().run().await;
    let own = json!({"type": "object", "properties": {"total": {"type": "number", "description": "Total"}}});
    let answer = batch(
        &app,
        &json!({
            "preset": "invoice",
            "mode": "deterministic",
            "chunk_size": 300,
            "documents": [
                {"document_id": "one", "filename": "a.txt", "text": INVOICE},
                {"document_id": "two", "text": " \n "},
                {"text": INVOICE, "schema_json": own.to_string()},
            ],
        }),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["count"], 3);
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(
        (&results[0]["document_id"], &results[0]["filename"]),
        (&json!("one"), &json!("a.txt"))
    );
    assert_eq!(results[0]["extraction"]["invoice_number"], "INV-7");
    assert_eq!(
        (&results[1]["document_id"], &results[1]["status"]),
        (&json!("two"), &json!("failed"))
    );
    assert_eq!(results[1]["error"]["code"], "document_empty");
    assert_eq!(results[2]["extraction"], json!({"total": 12.5}));
    let job = results[0]["job_id"].as_str().unwrap();
    let native = app.get(&format!("/v1/extract/jobs/{job}"), "job").await;
    assert_eq!(native.body["metadata"]["batch_id"], answer.body["batch_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mode_of_a_batch_is_basic_where_none_is_named() {
    let app = TestApp::start().run().await;
    let answer = batch(&app, &json!({"documents": [{"text": INVOICE}]})).await;
    let result = &answer.body["results"][0];
    assert_eq!(
        (&result["mode"], &result["extraction"]),
        (&json!("basic"), &json!({}))
    );
    assert_eq!(result["chunks"][0]["text"], INVOICE.trim());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_comes_again_starts_nothing_and_one_fault_refuses_all_of_it() {
    let app = TestApp::start().run().await;
    let send = |text: &'static str| {
        let body = json!({"documents": [{"text": text}, {"text": INVOICE}]});
        let request = app
            .request(Method::POST, "/v2/batch")
            .header("Idempotency-Key", "k");
        call(&app, request.json(&body), "parseflow_batch_result")
    };
    let (first, again) = (send("x").await, send("x").await);
    assert_eq!(first.body["batch_id"], again.body["batch_id"]);
    assert_eq!(first.body["results"], again.body["results"]);
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    assert_eq!(refusal(&send("y").await).1, "idempotency_key_reused");

    let wrong = json!({"documents": [{"text": "x"}, {"text": "x", "chunk_size": 5}]});
    let refused = batch(&app, &wrong).await;
    assert_eq!(refusal(&refused), (422, "invalid_form", "chunk_size"));
    assert_eq!(
        refused.body["detail"][0]["loc"],
        json!(["body", "documents", "1", "chunk_size"])
    );
    for body in [json!({}), json!({"documents": []}), json!([])] {
        let refused = batch(&app, &body).await;
        assert_eq!(refusal(&refused), (422, "invalid_form", "documents"));
    }
    let jobs = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(jobs.body["total_count"], 2);
}
