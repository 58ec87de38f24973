//! Parse, classify, split and generate schemas with what is built in: no key, no model.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, file};
use crate::support::pdf::pdf;
use crate::support::schemas;

const FIXTURES: &str = "tests/fixtures/documents";

async fn upload(app: &TestApp, name: &str) -> String {
    let answer = app.upload(name, file(&format!("{FIXTURES}/{name}"))).await;
    answer.body["document_id"].as_str().unwrap().to_owned()
}

/// The result of a job that was done in one request, held against its schema.
async fn done(app: &TestApp, path: &str, body: &Value) -> Value {
    let answer = app
        .post(&format!("/v1/extract/{path}"), body, "results")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["status"], "completed", "{}", answer.body);
    let results = answer.body["results"].clone();
    schemas::check(&format!("operation_{}", path.replace('-', "_")), &results);
    let job = answer.headers["location"].to_str().unwrap();
    let shown = app.get(job, "job").await;
    assert_eq!(shown.body["operation"], path.replace('-', "_"));
    results
}

/// A PDF whose pages have these lines, the first of each in large letters where it begins with `#`.
fn booklet(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len())
        .map(|at| format!("{} 0 R", 4 + 2 * at))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    for (at, text) in pages.iter().enumerate() {
        let content = 5 + 2 * at;
        objects.push(format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R /Resources << /Font << /F 3 0 R >> >> >>"));
        let mut drawn = String::new();
        for (line, text) in text.lines().enumerate() {
            let (size, text) = text.strip_prefix('#').map_or((10, text), |text| (20, text));
            let y = 780 - 24 * line;
            drawn.push_str(&format!("BT /F {size} Tf 60 {y} Td ({text}) Tj ET\n"));
        }
        let length = drawn.len();
        objects.push(format!("<< /Length {length} >>\nstream\n{drawn}endstream"));
    }
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    pdf(&objects, "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_parsed_into_pages_markdown_and_chunks_without_a_model() {
    let app = TestApp::start().run().await;
    for (name, says, table) in [
        ("fieldbench-invoice.md", "RAVENNA CONSULTING GROUP", None),
        ("fieldbench-receipt.md", "BLUE ORCHID PHARMACY", None),
        (
            "zugferd-kraftfahrversicherung.pdf",
            "Kraftfahrtversicherung",
            None,
        ),
        (
            "tabula-voting-record.pdf",
            "FRENTE PARA LA VICTORIA",
            Some("| --- |"),
        ),
    ] {
        let document = upload(&app, name).await;
        let body = json!({"document_id": document, "parse": {"chunk_size": 500, "overlap": 50}});
        let parsed = done(&app, "parse", &body).await;
        let markdown = parsed["markdown"].as_str().unwrap();
        assert!(
            markdown.to_lowercase().contains(&says.to_lowercase()),
            "{name}: {markdown}"
        );
        assert!(
            table.is_none_or(|table| markdown.contains(table)),
            "{name}: {markdown}"
        );
        let pages = parsed["pages"].as_array().unwrap();
        assert_eq!(parsed["page_count"], pages.len());
        let all: String = pages
            .iter()
            .map(|page| page["text"].as_str().unwrap())
            .collect();
        let chunks = parsed["chunks"].as_array().unwrap();
        for (index, chunk) in chunks.iter().enumerate() {
            let text = chunk["text"].as_str().unwrap();
            assert!(chunk["index"] == index && text.chars().count() <= 500);
        }
        // What is drawn with signs is no word.
        let words = all.split_whitespace();
        for word in words.filter(|word| word.contains(char::is_alphanumeric)) {
            let text = |chunk: &Value| chunk["text"].as_str().unwrap().contains(word);
            assert!(chunks.iter().any(text), "{name}: {word} is in no chunk");
            let plain = markdown.replace('\\', "");
            assert!(plain.contains(word.trim_matches('\\')), "{name}: {word}");
        }
        // The same bytes once more.
        assert_eq!(
            done(&app, "parse", &body).await.to_string(),
            parsed.to_string()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_a_job_like_any_other() {
    let app = TestApp::start().run().await;
    let body = json!({"document": "One.\n\nTwo.", "operation": "parse", "config": {"per_key_attribution": true}});
    let frames = app.stream(&body).await.rest().await;
    let names: Vec<&str> = frames.iter().map(|frame| frame.event.as_str()).collect();
    assert_eq!(
        names.first().zip(names.last()),
        Some((&"start", &"end")),
        "{names:?}"
    );
    let result = frames
        .iter()
        .find(|frame| frame.event == "subtree_result")
        .unwrap();
    assert_eq!(
        result.payload()["extracted_result"]["pages"][0]["text"],
        "One.\n\nTwo."
    );
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["usage_metadata"]["cost_usd"]),
        (&json!("completed"), &json!(0.0))
    );
    let job = end["job_id"].as_str().unwrap();
    let results = app.results(job).await.body;
    assert_eq!(
        results["metadata"]["warnings"][0]["field"],
        "per_key_attribution"
    );
    assert_eq!(results["config"]["per_key_attribution"], false);
    let listed = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(listed.body["jobs"][0]["operation"], "parse");

    // Under one key there is one job, whichever way it is asked for.
    let plain = json!({"document": "One.", "operation": "parse"});
    let request = |path: &str| {
        let request = app.request(Method::POST, path).json(&plain);
        request.header("Idempotency-Key", "k")
    };
    let first = app.call(request("/v1/extract/jobs"), "job_created").await;
    let again = app.call(request("/v1/extract/parse"), "results").await;
    assert_eq!(again.body["job_id"], first.body["job_id"]);
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    let retried = app
        .post(&format!("/v1/extract/jobs/{job}/retry"), &json!({}), "job")
        .await;
    assert_eq!(retried.refusal(), (409, "nothing_to_retry"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parameters_are_refused_by_name_before_there_is_a_job() {
    let app = TestApp::start().run().await;
    let refused = |body: Value| {
        let app = &app;
        async move {
            let mut body = body;
            body["document"] = json!("Invoice 7");
            app.post("/v1/extract/jobs", &body, "job_created").await
        }
    };
    for (body, pointer) in [
        (json!({"operation": "translate"}), "/operation"),
        (json!({"operation": 5}), "/operation"),
        (
            json!({"operation": "parse", "parse": {"chunk_size": 100}}),
            "/parse/chunk_size",
        ),
        (
            json!({"operation": "parse", "parse": {"chunk_size": 400, "overlap": 201}}),
            "/parse/overlap",
        ),
        (json!({"operation": "parse", "schema": {}}), "/schema"),
        (json!({"operation": "parse", "classify": {}}), "/classify"),
        (json!({"parse": {}, "schema": {}}), "/parse"),
        (json!({"operation": "classify"}), "/classify/categories"),
        (
            json!({"operation": "split", "split": {"kinds": ["a", "a"]}}),
            "/split/kinds/1/name",
        ),
        (
            json!({"operation": "generate_schema", "generate_schema": {"document_ids": "x"}}),
            "/generate_schema/document_ids",
        ),
    ] {
        let answer = refused(body.clone()).await;
        assert_eq!(answer.refusal(), (400, "invalid_request"), "{body}");
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    let nobody = json!({"operation": "generate_schema", "generate_schema": {"document_ids": ["018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11"]}});
    assert_eq!(refused(nobody).await.refusal(), (404, "document_not_found"));
    let direct = |body: Value| {
        let app = &app;
        async move { app.post("/v1/extract/parse", &body, "results").await }
    };
    let other: Answer = direct(json!({"document": "x", "operation": "split"})).await;
    assert_eq!(other.pointers(), ["/operation"]);
    let stream = direct(json!({"document": "x", "stream": true})).await;
    assert_eq!(stream.pointers(), ["/stream"]);
    assert_eq!(direct(json!({"document": ""})).await.status, 422);
    let listed = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(listed.body["total_count"], 0, "{}", listed.body);
}

fn categories() -> Value {
    json!([
        {"name": "invoice", "description": "A bill that asks a customer to pay for goods or services: invoice number, payment terms, total due"},
        {"name": "receipt", "description": "Confirms a payment at a till: cash tendered, change, cashier"},
        {"name": "certificate of insurance", "description": "States which insurance coverage and limits a producer has placed for an insured"},
        {"name": "discharge summary", "description": "A hospital's report on a patient: admission, diagnosis, medications, discharge"},
        {"name": "contract", "description": "An agreement between parties with clauses, term, termination and governing law"},
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_classified_by_their_words_or_not_at_all() {
    let app = TestApp::start().run().await;
    for (name, expected) in [
        ("fieldbench-invoice.md", Some("invoice")),
        ("fieldbench-receipt.md", None),
        (
            "fieldbench-certificate.md",
            Some("certificate of insurance"),
        ),
        ("fieldbench-discharge.md", Some("discharge summary")),
        ("tabula-voting-record.pdf", None),
        ("zugferd-kraftfahrversicherung.pdf", None),
    ] {
        let document = upload(&app, name).await;
        let body = json!({"document_id": document, "classify": {"categories": categories()}});
        let found = done(&app, "classify", &body).await;
        let category = found["category"].as_str();
        assert_eq!(category, expected, "{name}: {found}");
        assert_eq!(found["confidence"].is_null(), category.is_none());
        if category.is_some() {
            let text = String::from_utf8_lossy(&file(&format!("{FIXTURES}/{name}"))).into_owned();
            let text: Vec<&str> = text.split_whitespace().collect();
            let text = text.join(" ");
            for quote in found["evidence"].as_array().unwrap() {
                let quote: Vec<&str> = quote["text"].as_str().unwrap().split(' ').collect();
                let last = quote.last().unwrap();
                assert!(
                    text.contains(quote[0]) && text.contains(*last),
                    "{name}: {quote:?}"
                );
            }
        } else {
            assert_eq!(found["evidence"], json!([]));
        }
    }
}

const THREE: [&str; 5] = [
    "#INVOICE\nNorth Sea Trading Ltd\nInvoice No. 2026-1017\nThe goods are listed overleaf.\nPage 1 of 2",
    "North Sea Trading Ltd\nInvoice No. 2026-1017\nTotal 119.00 EUR\nPage 2 of 2",
    "#RECEIPT\nCorner Pharmacy\nReceipt No. 55012\nCash tendered 20.00\nPage 1 of 1",
    "#CONTRACT\nBolt Brothers and Nut Sisters\nThe parties agree as follows.\nPage 1 of 2",
    "Governing law is that of Scotland.\nSigned on 1 May 2026\nPage 2 of 2",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_three_documents_is_split_and_one_without_evidence_is_not() {
    let app = TestApp::start().run().await;
    let file = app.upload("three.pdf", booklet(&THREE)).await.body;
    let body = json!({
        "document_id": file["document_id"],
        "split": {"kinds": ["invoice", "receipt", "contract", "certificate"]},
    });
    let found = done(&app, "split", &body).await;
    let ranges = |found: &Value| -> Vec<(Value, Value, Value)> {
        let all = found["documents"].as_array().unwrap().iter();
        all.map(|one| {
            (
                one["kind"].clone(),
                one["first_page"].clone(),
                one["last_page"].clone(),
            )
        })
        .collect()
    };
    let part = |kind: Value, first: u32, last: u32| (kind, json!(first), json!(last));
    assert_eq!(
        ranges(&found),
        [
            part(json!("invoice"), 1, 2),
            part(json!("receipt"), 3, 3),
            part(json!("contract"), 4, 5)
        ],
        "{found}"
    );
    assert!(found["documents"][1]["reasons"][0].is_string());
    let plain = booklet(&["Some words.", "More words of it.", "And the rest."]);
    let plain = app.upload("plain.pdf", plain).await.body;
    let found = done(&app, "split", &json!({"document_id": plain["document_id"]})).await;
    assert_eq!(ranges(&found), [part(Value::Null, 1, 3)], "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_schema_extracts_what_the_document_says() {
    let app = TestApp::start().run().await;
    let document = upload(&app, "fieldbench-invoice.md").await;
    let body = json!({"document_id": document});
    let schema = done(&app, "generate-schema", &body).await["json_schema"].clone();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties["invoice_date"]["format"], "date", "{schema:#}");
    assert_eq!(properties["total_due"]["type"], "number", "{schema:#}");
    assert_eq!(
        properties["items"]["items"]["properties"]["qty"]["type"], "integer",
        "{schema:#}"
    );
    assert!(
        !schema.to_string().contains("8045"),
        "a value is in the schema"
    );
    let job = app
        .submit(&json!({"document_id": document, "schema": schema}))
        .await;
    app.end_of(&job).await;
    let results = app.results(&job).await.body["results"].clone();
    assert_eq!(results["invoice_no"], "INV-2026-8045", "{results:#}");
    assert_eq!(results["invoice_date"], "2025-01-24", "{results:#}");
    assert_eq!(results["total_due"], json!(85_471.18), "{results:#}");
    assert_eq!(results["items"].as_array().unwrap().len(), 4, "{results:#}");

    // Of two documents only what both have is required.
    let other = app
        .upload("b.txt", "Invoice No: 12\nDue date: 1 May 2026\n")
        .await
        .body;
    let body = json!({"document_id": document, "generate_schema": {"document_ids": [other["document_id"]]}});
    let both = done(&app, "generate-schema", &body).await["json_schema"].clone();
    assert_eq!(both["required"], json!(["invoice_no"]), "{both:#}");
    assert!(both["properties"]["due_date"].is_object());

    // A page without labels and tables gives no schema, and says so.
    let body = json!({"document": "Dear Anna, the weather is fine."});
    let answer = app
        .post("/v1/extract/generate-schema", &body, "results")
        .await
        .body;
    assert_eq!(
        (&answer["status"], &answer["results"]),
        (&json!("failed"), &json!({}))
    );
    assert_eq!(
        answer["metadata"]["failed_subtrees"][0]["error_type"],
        "document_unreadable"
    );
}
