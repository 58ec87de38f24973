//! Arrays that come in one answer with other fields: each has a verdict of its own.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::broken::retry;
use super::{Ran, app, body, ended, ran, read_by, reader};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::{Reader, Server};

const TOGETHER: u32 = 1;

/// A job whose arrays share one subtree with the loose fields.
async fn together(app: &TestApp, document: &Document, mut config: Value) -> Ran {
    config["splitter_configs"] = json!({"max_subtrees": TOGETHER});
    let body = body(app, document, config).await;
    ran(app, &body).await
}

fn verdicts(arrays: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let arrays = arrays.as_array().unwrap().iter();
    arrays
        .map(|array| (text(&array["path"]), text(&array["verdict"])))
        .collect()
}

fn said(items: &str, returned: &str) -> Vec<(String, String)> {
    let one = |path: &str, verdict: &str| (path.to_owned(), verdict.to_owned());
    vec![one("/items", items), one("/returned_items", returned)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrays_that_share_a_subtree_with_other_fields_have_a_verdict_each() {
    for config in [json!({}), json!({"enable_agentic_array_extraction": false})] {
        let document = Document::make(Spec::hard(2, 27));
        let server = Server::start();
        read_by(&server, reader(&document));
        let app = app(&server).await;
        let ran = together(&app, &document, config).await;
        assert_eq!(
            (server.count(), &ran.end["status"]),
            (1, &json!("completed"))
        );
        assert_eq!(ran.rows("items"), &document.truth()["items"]);
        let expected = said("complete", "complete");
        assert_eq!(verdicts(&ran.end["arrays"]), expected);
        assert_eq!(verdicts(&ran.results["metadata"]["arrays"]), expected);
        let results = ran.frames.iter();
        let mut results = results.filter(|frame| frame.event == "subtree_result");
        let event = results.next().unwrap().payload();
        assert_eq!(verdicts(&event["arrays"]), expected);
        assert!(event["completeness"].is_null(), "{event}");
        let evidence = &event["arrays"][0]["evidence"];
        assert_eq!(evidence["rows_read"], 27, "{evidence}");
        assert!(!evidence["reasons"].as_array().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_missing_from_one_of_them_makes_the_job_partial_until_a_retry() {
    let document = Document::make(Spec::hard(2, 27));
    let server = Server::start();
    let mut lacks = document.truth();
    lacks["items"].as_array_mut().unwrap().remove(13);
    read_by(&server, Reader::of(&lacks, "article"));
    let app = app(&server).await;
    let first = together(&app, &document, json!({})).await;
    let expected = said("incomplete", "complete");
    assert_eq!(
        verdicts(&first.end["arrays"]),
        expected,
        "{}",
        first.array("items")
    );
    assert_eq!(first.end["partial"], true);

    read_by(&server, reader(&document));
    retry(&app, &first.job).await;
    let last = first.end["sequence_number"].to_string();
    let second = ended(&app, first.job, Some(&last)).await;
    assert_eq!(second.end["partial"], false, "{}", second.end);
    assert_eq!(
        verdicts(&second.end["arrays"]),
        said("complete", "complete")
    );
    assert_eq!(second.rows("items"), &document.truth()["items"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_known_of_an_array_that_was_not_read_from_words() {
    let document = Document::make(Spec::hard(2, 27));
    let server = Server::start();
    read_by(&server, reader(&document));
    let app = app(&server).await;
    let file = Part::bytes(document.pdf()).file_name("delivery.pdf");
    let upload = app.request(Method::POST, "/v1/extract/documents/upload");
    let uploaded = upload.multipart(Form::new().part("file", file));
    let uploaded: Value = uploaded.send().await.unwrap().json().await.unwrap();
    let body = json!({"document_id": uploaded["document_id"], "schema": document.schema(),
        "config": {"document_input": "native"}});
    let ran = ran(&app, &body).await;
    assert_eq!(verdicts(&ran.end["arrays"]), said("unknown", "unknown"));
    let reasons = &ran.array("items")["evidence"]["reasons"];
    assert!(reasons[0].as_str().unwrap().contains("not given as words"));
}
