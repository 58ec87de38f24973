//! The Extraction jobs dialect: what its page promises, by name.

mod refusals;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, multipart};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, file};
use crate::support::clock::Shifted;
use crate::support::openapi;
use crate::support::provider::{Scripted, Server};
use crate::support::receiver::{Receiver, Reply};
use crate::support::schemas;

const JOBS: &str = "/api/v1/extraction-jobs";
const FIELDS: &str = "/api/v1/extractFields";
const TEXT: &str = "Invoice 4711\nTotal: 5";

/// A server with the template `invoice`.
async fn with_template(provider: Arc<Scripted>) -> TestApp {
    let app = TestApp::start()
        .provider(Arc::new(Server(provider)))
        .run()
        .await;
    save(&app, "invoice", json!({})).await;
    app
}

async fn save(app: &TestApp, name: &str, config: Value) {
    let mut config = config;
    config["model"] = json!("scripted");
    let text = json!({"type": ["string", "null"]});
    let schema = json!({
        "type": "object", "properties": {"a": text, "b": text, "c": text, "d": text},
    });
    let body = json!({"name": name, "schema": schema, "config": config});
    let saved = app.post("/v1/extract/templates", &body, "template").await;
    assert_eq!(saved.status, 201, "{}", saved.body);
}

fn body() -> Value {
    json!({"file": STANDARD.encode(TEXT), "filename": "invoice.txt", "templateName": "invoice"})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// Sends a request and holds the answer against the schema of that name in this dialect, errors
/// against the schema of its errors, and both against the OpenAPI document.
async fn call(app: &TestApp, request: RequestBuilder, schema: &str) -> Answer {
    let request = request.build().unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = app.client.execute(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body: Value = response.json().await.unwrap();
    assert_eq!(headers["content-type"], "application/json", "{body}");
    openapi::check(method.as_str(), &path, status.as_u16(), &headers, &body);
    let schema = if status.is_success() { schema } else { "error" };
    schemas::check(&format!("extraction_jobs_{schema}"), &body);
    Answer {
        status,
        headers,
        body,
    }
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    let code = answer.body["error"]["code"].as_str();
    (answer.status.as_u16(), code.unwrap_or("none"))
}

async fn create(app: &TestApp, body: &Value) -> Answer {
    call(
        app,
        app.request(Method::POST, JOBS).json(body),
        "job_created",
    )
    .await
}

async fn started(app: &TestApp, body: &Value) -> String {
    let answer = create(app, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["job"]["id"].as_str().unwrap().to_owned()
}

async fn show(app: &TestApp, job: &str) -> Value {
    let request = app.request(Method::GET, &format!("{JOBS}/{job}"));
    let answer = call(app, request, "job").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["job"].clone()
}

async fn result(app: &TestApp, job: &str) -> Answer {
    let request = app.request(Method::GET, &format!("{JOBS}/{job}/result"));
    call(app, request, "result").await
}

async fn extracted(app: &TestApp, body: &Value) -> Answer {
    call(
        app,
        app.request(Method::POST, FIELDS).json(body),
        "extracted",
    )
    .await
}

/// The one document of an answer.
fn document(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let documents = answer.body["data"]["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 1);
    &documents[0]
}

fn content() -> Value {
    json!({"a": "/a", "b": "/b", "c": null, "d": "/d"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_answers_202_with_status_url_and_every_status_has_its_own_body() {
    let scripted = Scripted::gated();
    let app = with_template(Arc::clone(&scripted)).await;
    let created = create(&app, &body()).await;
    assert_eq!(created.status, 202);
    let job = &created.body["job"];
    let id = job["id"].as_str().unwrap();
    assert_eq!(
        *job,
        json!({
            "id": id, "status": "queued", "statusUrl": format!("{JOBS}/{id}"),
            "retryAfterMs": 5000,
        })
    );
    scripted.until_asked(1).await;
    let running = show(&app, id).await;
    assert_eq!(
        (&running["status"], &running["progress"]),
        (&json!("processing"), &json!(0))
    );
    assert!(running["createdAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(refusal(&result(&app, id).await), (409, "RESULT_NOT_READY"));
    scripted.pass(1);
    app.end_of(id).await;
    let done = show(&app, id).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["resultAvailable"], true);
    assert_eq!(done["resultUrl"], format!("{JOBS}/{id}/result"));
    let result = result(&app, id).await;
    assert_eq!(result.body["job"]["completedAt"], done["completedAt"]);
    let data = &result.body["data"];
    assert_eq!(
        (&data["originalName"], &data["processedPages"]),
        (&json!("invoice.txt"), &json!(1))
    );
    assert!(data["completionTime"].is_number());
    let document = document(&result);
    assert_eq!(document["content"], content());
    assert_eq!(
        (
            &document["extracted"],
            &document["documentName"],
            &document["usedTemplateName"],
            &document["sourcePages"]
        ),
        (
            &json!(true),
            &json!("invoice.txt"),
            &json!("invoice"),
            &json!([1])
        )
    );
    for name in ["message", "returnedDocumentBase64", "returnedText"] {
        assert!(document.get(name).is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_says_the_same_as_json_and_what_is_wanted_back_is_given_back() {
    let app = with_template(Scripted::plain()).await;
    let part = multipart::Part::bytes(TEXT.as_bytes()).file_name("invoice.txt");
    let form = multipart::Form::new()
        .part("file", part)
        .text("templateName", "invoice")
        .text("returnDocuments", "true")
        .text("returnText", "true")
        .text("documentSplitting", "false")
        .text("schemaChunking", "combined")
        .text("delivery.mode", "poll")
        .text("returnBoundingBoxes", "true");
    let request = app
        .request(Method::POST, JOBS)
        .header("Idempotency-Key", "k");
    let created = call(&app, request.multipart(form), "job_created").await;
    assert_eq!(created.status, 202, "{}", created.body);
    let job = created.body["job"]["id"].as_str().unwrap();
    app.end_of(job).await;
    let result = result(&app, job).await;
    let document = document(&result);
    assert_eq!(document["returnedText"], TEXT);
    assert_eq!(document["returnedDocumentBase64"], STANDARD.encode(TEXT));
    let native = app.get(&format!("/v1/extract/jobs/{job}"), "job").await;
    let config = &native.body["config"];
    assert_eq!(config["splitter_configs"]["max_subtrees"], 1);
    // The same in JSON is the same request, with the file as a data URL.
    let mut same = with(body(), "returnDocuments", json!(true));
    same["file"] = json!(format!("data:text/plain;base64,{}", STANDARD.encode(TEXT)));
    same = with(
        with(same, "returnText", json!(true)),
        "schemaChunking",
        json!("combined"),
    );
    same = with(same, "delivery", json!({"mode": "poll"}));
    let request = app
        .request(Method::POST, JOBS)
        .header("Idempotency-Key", "k");
    let again = call(&app, request.json(&same), "job_created").await;
    assert_eq!(
        (again.status.as_u16(), &again.body["job"]["id"]),
        (200, &json!(job))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_answers_200_with_its_header_and_100_creates_at_once_start_one_job() {
    let app = with_template(Scripted::plain()).await;
    let one = |body: Value| {
        let request = app
            .request(Method::POST, JOBS)
            .header("Idempotency-Key", "k");
        call(&app, request.json(&body), "job_created")
    };
    let answers = join_all((0..100).map(|_| one(body()))).await;
    let mut jobs: Vec<_> = Vec::new();
    for answer in &answers {
        match answer.status.as_u16() {
            202 | 200 => jobs.push(answer.body["job"]["id"].as_str().unwrap()),
            409 => assert_eq!(refusal(answer).1, "IDEMPOTENCY_KEY_IN_USE"),
            other => panic!("{other}: {}", answer.body),
        }
    }
    let first = answers.iter().filter(|answer| answer.status == 202);
    assert_eq!(first.count(), 1);
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    let again = one(body()).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    assert_eq!(again.body["job"]["id"], jobs[0]);
    let other = one(with(body(), "returnText", json!(true))).await;
    assert_eq!(refusal(&other), (422, "IDEMPOTENCY_KEY_REUSED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_review_withholds_the_result_until_it_is_approved() {
    let app = with_template(Scripted::plain()).await;
    let job = started(&app, &with(body(), "documentReview", json!("92"))).await;
    let mut stream = app.follow(&job, None).await;
    while stream.until("job_status").await.last().unwrap().payload()["reason"] != "review_required"
    {
    }
    let status = show(&app, &job).await;
    assert_eq!(
        (&status["status"], &status["reviewThreshold"]),
        (&json!("review_required"), &json!(92))
    );
    assert_eq!(status["resultAvailable"], false);
    assert!(status["reviewFlaggedFieldCount"].as_u64().unwrap() > 0);
    assert!(status["reviewRequiredAt"].is_string());
    let held = result(&app, &job).await;
    for shown in [&status, &held.body] {
        assert!(!shown.to_string().contains("\"/a\""), "{shown}");
    }
    assert_eq!(refusal(&result(&app, &job).await), (409, "REVIEW_REQUIRED"));
    let review = format!("/v1/extract/jobs/{job}/review");
    let decided = json!({"version": 1, "decision": "approve"});
    let decided = app.post(&review, &decided, "job_summary").await;
    assert_eq!(decided.status, 200, "{}", decided.body);
    assert_eq!(show(&app, &job).await["status"], "completed");
    assert_eq!(document(&result(&app, &job).await)["content"], content());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_review_does_not_loosen_that_of_the_template() {
    let app = with_template(Scripted::plain()).await;
    let gate = json!({"review": {"confidence_below": 0.99}});
    save(&app, "strict", gate).await;
    let loose = with(body(), "templateName", json!("strict"));
    let job = started(&app, &with(loose, "documentReview", json!(1))).await;
    let mut stream = app.follow(&job, None).await;
    while stream.until("job_status").await.last().unwrap().payload()["reason"] != "review_required"
    {
    }
    assert_eq!(show(&app, &job).await["reviewThreshold"], 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_and_a_cancelled_job_say_so_and_have_no_result() {
    let scripted = Scripted::gated();
    let app = with_template(Arc::clone(&scripted)).await;
    let job = started(&app, &body()).await;
    scripted.until_asked(1).await;
    let path = format!("/v1/extract/jobs/{job}/cancel");
    app.post(&path, &json!({}), "job").await;
    let failed = show(&app, &job).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("CANCELLED"))
    );
    assert!(failed["failedAt"].is_string());
    assert_eq!(refusal(&result(&app, &job).await), (409, "JOB_FAILED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_time_is_over_is_gone_and_the_job_says_that_it_is() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    save(&app, "invoice", json!({})).await;
    let job = started(&app, &body()).await;
    app.end_of(&job).await;
    clock.forward(8 * 86_400_000);
    for _ in 0..2 {
        assert_eq!(refusal(&result(&app, &job).await), (410, "RESULT_EXPIRED"));
        let job = show(&app, &job).await;
        assert_eq!(
            (&job["status"], &job["resultAvailable"]),
            (&json!("completed"), &json!(false))
        );
        app.app.engine.sweep().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_delivery_needs_a_webhook_and_is_told_to_it() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .set("webhooks_loopback", "on")
        .run()
        .await;
    save(&app, "invoice", json!({})).await;
    let told = with(body(), "deliveryMode", json!("webhook"));
    let refused = create(&app, &told).await;
    assert_eq!(refusal(&refused), (400, "UNRESOLVED_WEBHOOK_COVERAGE"));
    let hook = json!({"url": receiver.url("/end")});
    let hook = app.post("/v1/extract/webhooks", &hook, "webhook").await;
    assert_eq!(hook.status, 201, "{}", hook.body);
    let job = started(&app, &told).await;
    let calls = receiver.calls(1).await;
    assert!(calls[0].body.contains(&job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_are_extracted_in_one_request() {
    let app = with_template(Scripted::plain()).await;
    let answer = extracted(&app, &body()).await;
    assert_eq!(document(&answer)["content"], content());
    let request = app
        .request(Method::POST, FIELDS)
        .header("Idempotency-Key", "k");
    let first = call(&app, request.json(&body()), "extracted").await;
    let request = app
        .request(Method::POST, FIELDS)
        .header("Idempotency-Key", "k");
    let again = call(&app, request.json(&body()), "extracted").await;
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    assert_eq!(again.body, first.body);
    for name in ["documentReview", "deliveryMode"] {
        let refused = extracted(&app, &with(body(), name, json!(50))).await;
        assert_eq!(refusal(&refused), (400, "INVALID_REQUEST"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_confidence_of_a_document_is_that_of_its_values() {
    let app = TestApp::start().run().await;
    let schema = json!({
        "type": "object",
        "properties": {"invoice_number": {"type": "string"}, "total": {"type": "number"}},
    });
    let template = json!({"name": "invoice", "schema": schema, "config": {"model": "layout"}});
    app.post("/v1/extract/templates", &template, "template")
        .await;
    let text = "Invoice Number: 4711\nTotal: 119.00\n";
    let file = with(body(), "file", json!(STANDARD.encode(text)));
    let answer = extracted(&app, &file).await;
    let document = document(&answer);
    assert_eq!(document["content"]["invoice_number"], "4711");
    let confidence = document["averageDocumentConfidence"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&confidence), "{document}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_chooses_the_template_and_what_it_skips_is_not_extracted() {
    let app = with_template(Scripted::plain()).await;
    let filter = |route: Value| {
        let mut rule = route;
        rule["kind"] = json!("invoice");
        json!({"name": "inbox", "rules": [rule, {"kind": "resume", "template": "invoice"}]})
    };
    let saved = app
        .post(
            "/v1/extract/filters",
            &filter(json!({"template": "invoice"})),
            "filter",
        )
        .await;
    let place = saved.headers["location"].to_str().unwrap().to_owned();
    let bytes = file("tests/fixtures/documents/fieldbench-invoice.md");
    let asked = json!({"file": STANDARD.encode(bytes), "filterName": "inbox"});
    let answer = extracted(&app, &asked).await;
    assert_eq!(document(&answer)["usedTemplateName"], "invoice");
    assert_eq!(document(&answer)["content"], content());
    let put = app.request(Method::PUT, &place);
    app.call(put.json(&filter(json!({"skip": true}))), "filter")
        .await;
    let answer = extracted(&app, &asked).await;
    let skipped = document(&answer);
    assert_eq!(
        (
            &skipped["extracted"],
            &skipped["reason"],
            &skipped["content"]
        ),
        (&json!(false), &json!("skipped_by_filter"), &json!({}))
    );
    assert!(skipped["message"].as_str().unwrap().contains("`invoice`"));
}
