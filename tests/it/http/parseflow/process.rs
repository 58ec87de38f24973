//! One document in one request: `POST /v2/process`; who asks, and how much.

use reqwest::Method;
use serde_json::{Value, json};

use super::{INVOICE, PROCESS, call, fixture, form, get, post, with_file};
use crate::support::app::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_holds_what_a_job_would_have_as_its_result() {
    let app = TestApp::start().run().await;
    let fields = [
        ("preset", "invoice"),
        ("output_format", "json"),
        ("include_markdown", "true"),
        ("enforce_schema", "false"),
    ];
    let document = with_file(&fields, "a.md", fixture("fieldbench-invoice.md"));
    let answer = post(&app, PROCESS, document, "parseflow_result").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["filename"], "a.md");
    assert_eq!(answer.body["mode"], "deterministic");
    assert_eq!(
        answer.body["extraction"]["vendor"],
        "RAVENNA CONSULTING GROUP"
    );
    assert!(answer.body["markdown"].is_string());
    let usage = &answer.body["usage"];
    assert_eq!(usage["requests_used"], 1);
    assert_eq!(usage["monthly_cap"], json!(null));
    let plain = post(&app, PROCESS, form(&[("text", "x")]), "parseflow_result").await;
    assert_eq!(plain.body["markdown"], json!(null), "it was not asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_ones_own_comes_as_text() {
    let app = TestApp::start().run().await;
    let schema = json!({
        "type": "object",
        "properties": {"invoice_number": {"type": "string", "description": "Invoice number"}},
    });
    let schema = schema.to_string();
    let fields = [("text", INVOICE), ("schema_json", &schema)];
    let answer = post(&app, PROCESS, form(&fields), "parseflow_result").await;
    assert_eq!(
        answer.body["extraction"],
        json!({"invoice_number": "INV-7"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_enforced_refuses_what_does_not_follow_it() {
    let app = TestApp::start().run().await;
    let schema = json!({
        "type": "object",
        "required": ["fax"],
        "properties": {"fax": {"type": "string", "description": "Fax number"}},
    });
    let schema = schema.to_string();
    let fields = |enforce| {
        form(&[
            ("text", INVOICE),
            ("schema_json", &schema),
            ("enforce_schema", enforce),
        ])
    };
    let taken = post(&app, PROCESS, fields("false"), "parseflow_result").await;
    assert_eq!(taken.status, 200);
    let refused = post(&app, PROCESS, fields("true"), "parseflow_result").await;
    assert_eq!(super::refusal(&refused).0, 422);
    assert_eq!(super::refusal(&refused).1, "process_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_comes_as_markdown_and_as_an_archive_as_well() {
    let app = TestApp::start().run().await;
    let send = async |format: &str| {
        let fields = form(&[("text", INVOICE), ("output_format", format)]);
        let request = app.request(Method::POST, PROCESS).multipart(fields);
        request.send().await.unwrap()
    };
    let markdown = send("markdown").await;
    let kind = markdown.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/markdown; charset=utf-8");
    assert!(markdown.text().await.unwrap().contains("INV-7"));

    let archive = send("zip").await;
    assert_eq!(archive.headers()["content-type"], "application/zip");
    let bytes = archive.bytes().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.zip");
    std::fs::write(&path, &bytes).unwrap();
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nprint(z.read('result.json').decode())";
    let read = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let result: Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(result["chunks"][0]["text"], INVOICE.trim());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_gives_the_same_answer_and_counts_once() {
    let app = TestApp::start().run().await;
    let send = || {
        let request = app
            .request(Method::POST, PROCESS)
            .header("Idempotency-Key", "k");
        call(
            &app,
            request.multipart(form(&[("text", INVOICE)])),
            "parseflow_result",
        )
    };
    let (first, again) = (send().await, send().await);
    assert_eq!(first.body["document_id"], again.body["document_id"]);
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    let usage = get(&app, "/v2/usage", "parseflow_usage").await;
    assert_eq!(usage.body["requests_used"], 1);
    assert_eq!(usage.body["requests_limit"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_cannot_be_read_is_refused() {
    let app = TestApp::start().run().await;
    let broken = with_file(&[], "a.pdf", b"%PDF-1.7 and no more".to_vec());
    let refused = post(&app, PROCESS, broken, "parseflow_result").await;
    assert_eq!(super::refusal(&refused).0, 422);
    assert_eq!(super::refusal(&refused).1, "document_corrupt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn me_names_the_user_and_the_key_and_health_asks_for_none() {
    let app = TestApp::start().run().await;
    let key = app.key("alice").await;
    let me = app.request(Method::GET, "/v2/me").header("X-API-Key", &key);
    let me = call(&app, me, "parseflow_me").await;
    assert_eq!(me.body["user"], "alice");
    assert!(me.body["key_id"].is_string());
    assert!(!me.body.to_string().contains(&key));
    assert_eq!(
        get(&app, "/v2/health", "parseflow_health").await.status,
        200
    );
    let refused = get(&app, "/v2/me", "parseflow_me").await;
    assert_eq!(super::refusal(&refused).0, 401);
}
