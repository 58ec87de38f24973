//! The endpoints, asked directly.

use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use super::{
    EXTRACT, INVOICE, JOBS, document, get, invoice_request, plain, post, refusal, scripted,
    scripted_request, with,
};
use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, fault, plain_value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extraction_has_the_form_of_a_chat_completion_with_likelihoods_in_the_tree_of_the_data()
{
    let app = TestApp::start().run().await;
    let request = with(invoice_request(), "extraction_id", json!("mine"));
    let answer = post(&app, EXTRACT, &request, "extract_response").await;
    assert_eq!(answer.status, 200);
    let body = answer.body;
    assert_eq!(body["extraction_id"], "mine");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["model"], "layout", "the model that was asked");
    let parsed = &body["choices"][0]["message"]["parsed"];
    assert_eq!(
        *parsed,
        json!({"seller": "Gustav Quantz", "total": 48151.62})
    );
    for name in ["seller", "total"] {
        let sure = body["likelihoods"][name].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&sure), "{name}: {sure}");
    }
    let list = get(&app, JOBS, "job_list").await.body;
    assert_eq!(list["data"][0]["endpoint"], EXTRACT, "it is a job too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_adds_to_the_question_is_what_the_model_is_told() {
    let app = plain().await;
    let mut request = scripted_request();
    request["context"] = json!("Third of five.");
    request["additional_messages"] = json!([
        {"role": "user", "content": "Amounts are in euros."},
        {"role": "user", "content": [{"type": "text", "text": "Names are in capitals."}]},
    ]);
    request["temperature"] = json!(0.5);
    assert_eq!(
        post(&app, EXTRACT, &request, "extract_response")
            .await
            .status,
        200
    );
    let jobs = app.get("/v1/extract/jobs", "job_list").await.body;
    let config = &jobs["jobs"][0]["config"];
    let told = "Third of five.\n\nAmounts are in euros.\n\nNames are in capitals.";
    assert_eq!(config["additional_instructions"], told);
    assert_eq!(config["temperature"], 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_answer_with_something_missing_is_a_207_and_a_failure_is_an_error_that_names_its_job()
 {
    let failing = Scripted::new(|subtree, _| {
        if subtree.path.as_str().ends_with('1') {
            return fault(Fault::ContentFiltered, None);
        }
        Reply::Value(plain_value(subtree))
    });
    let app = scripted(&failing).await;
    let request = with(scripted_request(), "json_schema", wide_schema(2));
    let partial = post(&app, EXTRACT, &request, "extract_response").await;
    assert_eq!(partial.status, 207);
    assert_eq!(partial.body["requires_human_review"], true);
    let failing = Scripted::new(|_, _| fault(Fault::ContentFiltered, None));
    let app = scripted(&failing).await;
    let failed = post(&app, EXTRACT, &scripted_request(), "extract_response").await;
    assert_eq!(refusal(&failed), (422, "process_failed", ""));
    let message = failed.body["detail"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("job_") && message.contains("content_filtered"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_in_its_older_form_is_read_too() {
    let app = plain().await;
    let content = document("", INVOICE)["url"].as_str().unwrap().to_owned();
    let content = content.split_once(',').unwrap().1.to_owned();
    let old = json!({"content": content, "mime_type": "text/plain"});
    let request = json!({"document": old, "model": "retab-small"});
    let parsed = post(&app, "/v1/documents/parse", &request, "parse_response").await;
    assert_eq!(parsed.status, 200, "{}", parsed.body);
    assert!(
        parsed.body["pages"][0]
            .as_str()
            .unwrap()
            .contains("Gustav Quantz")
    );
    assert_eq!(parsed.body["usage"]["page_count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kind_a_document_is_of_and_where_one_ends_is_told_in_the_words_of_every_age() {
    let app = TestApp::start().run().await;
    let kinds = json!([{"name": "invoice", "description": "Seller and total"}, {"name": "recipe", "description": "Flour and eggs"}]);
    let mut request = json!({"document": document("a.txt", INVOICE), "model": "retab-small", "categories": kinds});
    let class = post(
        &app,
        "/v1/documents/classify",
        &request,
        "classify_response",
    )
    .await
    .body;
    assert_eq!(class["result"]["classification"], "invoice");
    assert_eq!(class["classification"]["category"], "invoice");
    let split = post(&app, "/v1/documents/split", &request, "split_response")
        .await
        .body;
    assert_eq!(split["splits"][0]["pages"], json!([1]));
    request["document"] = document("b.txt", "Nothing to see.");
    let class = post(
        &app,
        "/v1/documents/classify",
        &request,
        "classify_response",
    )
    .await
    .body;
    assert_eq!(class["classification"]["category"], "", "no kind fits");
    let none: &Value = &class["consensus"]["likelihood"];
    assert!(none.is_null());
}
