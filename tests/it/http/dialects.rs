//! One job as all five dialects tell of it: the same truth, each in its words, and nothing of what
//! is held back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::multipart::Form;
use reqwest::{Method, StatusCode};
use rivulet::domain::error::Fault;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, Server, fault, plain_value};

/// Stand in the document and nowhere else.
const SECRETS: [&str; 2] = ["48151.62", "Quantz"];
const DOCUMENT: &str = "INVOICE\n\nSeller: Gustav Quantz\nTotal: 48151.62\n";

async fn ended(app: &TestApp, body: &Value) -> String {
    let job = app.submit(body).await;
    app.end_of(&job).await;
    job
}

fn invoice(config: &Value) -> Value {
    json!({
        "document": DOCUMENT,
        "schema": {
            "type": "object",
            "properties": {"seller": {"type": "string"}, "total": {"type": "number"}},
        },
        "config": config,
    })
}

/// What a dialect says of one job.
#[derive(Debug, PartialEq)]
struct Told {
    status: Value,
    /// What was extracted; null where nothing is shown.
    values: Value,
    /// Whether it says that something is missing.
    is_partial: bool,
}

impl Told {
    fn new(status: &Value, values: &Value, is_partial: bool) -> Self {
        Self {
            status: status.clone(),
            values: values.clone(),
            is_partial,
        }
    }
}

async fn fetch(app: &TestApp, path: &str) -> (StatusCode, Value) {
    let answer = app.request(Method::GET, path).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn retab_id(job: &str) -> String {
    format!("job_{}", job.replace('-', ""))
}

async fn native(app: &TestApp, job: &str) -> Told {
    let (_, state) = fetch(app, &format!("/v1/extract/jobs/{job}")).await;
    let (status, results) = fetch(app, &format!("/v1/extract/jobs/{job}/results")).await;
    if status != 200 {
        return Told::new(&state["status"], &Value::Null, false);
    }
    let is_partial = results["metadata"]["partial"] == true;
    Told::new(&state["status"], &results["results"], is_partial)
}

async fn structflow(app: &TestApp, job: &str) -> Told {
    let (_, told) = fetch(app, &format!("/structflow/jobs/{job}")).await;
    let result = &told["results"][0];
    if result["status"] == "failed" {
        return Told::new(&told["status"], &result["partial_output"], true);
    }
    Told::new(&told["status"], &result["output"], false)
}

async fn retab(app: &TestApp, job: &str) -> Told {
    let path = format!("/v1/jobs/{}?include_response=true", retab_id(job));
    let (_, told) = fetch(app, &path).await;
    let response = &told["response"];
    let parsed = &response["body"]["choices"][0]["message"]["parsed"];
    Told::new(&told["status"], parsed, response["status_code"] == 207)
}

async fn extraction_jobs(app: &TestApp, job: &str) -> Told {
    let (_, state) = fetch(app, &format!("/api/v1/extraction-jobs/{job}")).await;
    let (_, result) = fetch(app, &format!("/api/v1/extraction-jobs/{job}/result")).await;
    let document = &result["data"]["documents"][0];
    let is_partial = document["reason"] == "incomplete";
    Told::new(&state["job"]["status"], &document["content"], is_partial)
}

async fn parseflow(app: &TestApp, job: &str) -> Told {
    let (_, told) = fetch(app, &format!("/v2/jobs/{job}")).await;
    let result = &told["result"];
    let is_partial = result["missing"].is_array();
    Told::new(&told["status"], &result["extraction"], is_partial)
}

async fn all(app: &TestApp, job: &str) -> [Told; 5] {
    [
        native(app, job).await,
        structflow(app, job).await,
        retab(app, job).await,
        extraction_jobs(app, job).await,
        parseflow(app, job).await,
    ]
}

fn words(told: &[Told; 5]) -> [&str; 5] {
    told.each_ref().map(|told| told.status.as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_result_has_the_same_values_in_every_dialect() {
    let app = TestApp::start().run().await;
    let job = ended(&app, &invoice(&json!({}))).await;
    let told = all(&app, &job).await;
    assert_eq!(
        words(&told),
        [
            "completed",
            "completed",
            "completed",
            "completed",
            "succeeded"
        ]
    );
    let truth = json!({"seller": "Gustav Quantz", "total": 48151.62});
    for told in &told {
        assert_eq!((&told.values, told.is_partial), (&truth, false), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_result_is_said_to_be_one_in_every_dialect() {
    let lacking = Scripted::new(|subtree, _| {
        if subtree.path.as_str().ends_with('1') {
            return fault(Fault::ContentFiltered, None);
        }
        Reply::Value(plain_value(subtree))
    });
    let provider = Arc::new(Server(lacking));
    let app = TestApp::start().provider(provider).run().await;
    let body = json!({"document": "A text.", "schema": wide_schema(3)});
    let job = ended(&app, &body).await;
    let told = all(&app, &job).await;
    let values = &told[0].values;
    assert_eq!(values["part_000"]["a"], "/part_000/a");
    for told in &told {
        assert_eq!((&told.values, told.is_partial), (values, true), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_is_told_in_every_dialect_by_its_own_word() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(Arc::clone(&scripted))))
        .run()
        .await;
    let body = invoice(&json!({"model": "scripted"}));
    let job = app.submit(&body).await;
    scripted.until_asked(1).await;
    let told = all(&app, &job).await;
    assert_eq!(
        words(&told),
        [
            "processing",
            "processing",
            "in_progress",
            "processing",
            "running"
        ]
    );
    let cancel = format!("/v1/jobs/{}/cancel", retab_id(&job));
    let answer = app.request(Method::POST, &cancel).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    app.end_of(&job).await;
    let told = all(&app, &job).await;
    assert_eq!(
        words(&told),
        ["cancelled", "failed", "cancelled", "failed", "failed"]
    );
    // The native dialect gives what there is of a cancelled job, and says that it is not whole.
    assert_eq!((&told[0].values, told[0].is_partial), (&json!({}), true));
    for told in &told[1..] {
        assert_eq!(told.values, Value::Null, "{told:?}");
    }
}

/// Everything that shows a job in any dialect.
fn looks(job: &str) -> Vec<String> {
    let retab = retab_id(job);
    vec![
        format!("/v1/extract/jobs/{job}"),
        format!("/v1/extract/jobs/{job}/results"),
        format!("/v1/extract/jobs/{job}/results?partial=true"),
        format!("/v1/extract/jobs/{job}/events?limit=1000"),
        format!("/v1/extract/jobs/{job}/deliveries"),
        "/v1/extract/jobs".into(),
        format!("/structflow/jobs/{job}"),
        "/structflow/jobs".into(),
        format!("/v1/jobs/{retab}?include_response=true"),
        "/v1/jobs?include_response=true".into(),
        format!("/api/v1/extraction-jobs/{job}"),
        format!("/api/v1/extraction-jobs/{job}/result"),
        format!("/v2/jobs/{job}"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_result_leaks_through_no_dialect_until_it_is_approved() {
    let app = TestApp::start().run().await;
    let body = invoice(&json!({"review": {"always": true}}));
    let mut stream = app.stream(&body).await;
    let job = loop {
        let frames = stream.until("job_status").await;
        let last = frames.last().unwrap().payload();
        if last["reason"] == "review_required" {
            break last["job_id"].as_str().unwrap().to_owned();
        }
    };
    for path in looks(&job) {
        let request = app.request(Method::GET, &path);
        let request = request.header("Accept", "application/json");
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.len() > 2, "{path}");
        for secret in SECRETS {
            assert!(
                !text.contains(secret),
                "`{secret}` leaks from {path}: {text}"
            );
        }
    }
    let told = all(&app, &job).await;
    assert_eq!(
        words(&told),
        [
            "review_required",
            "processing",
            "in_progress",
            "review_required",
            "running"
        ]
    );
    let deliver = app.request(Method::POST, &format!("/v2/jobs/{job}/deliver"));
    let refused = deliver.send().await.unwrap();
    assert!(refused.status().is_client_error(), "{refused:?}");
    let approve = json!({"version": 1, "decision": "approve"});
    app.post(
        &format!("/v1/extract/jobs/{job}/review"),
        &approve,
        "job_summary",
    )
    .await;
    let truth = json!({"seller": "Gustav Quantz", "total": 48151.62});
    for told in all(&app, &job).await {
        assert_eq!(told.values, truth, "{told:?}");
    }
}

/// Keys of each dialect, and posts with each key.
const KEYS: usize = 10;
const POSTS: usize = 100;

/// The create of each dialect: its path, its body, and where the job's id stands in the answer.
fn creates() -> [(&'static str, Value, &'static str); 5] {
    let url = "data:text/plain;base64,VG90YWw6IDU=";
    let schema = json!({"type": "object", "properties": {"total": {"type": "number"}}});
    [
        (
            "/v1/extract/jobs",
            json!({"document": "Total: 5", "schema": schema}),
            "/job_id",
        ),
        (
            "/structflow/jobs",
            json!({"model": "layout", "system_prompt": "Read it.", "example_output": {"total": 1},
                "inputs": [{"id": "one", "data": {"total": 5}}]}),
            "/job_id",
        ),
        (
            "/v1/jobs",
            json!({"endpoint": "/v1/documents/extract", "request": {
                "document": {"filename": "a.txt", "url": url}, "model": "layout",
                "json_schema": schema}}),
            "/id",
        ),
        (
            "/api/v1/extraction-jobs",
            json!({"file": url, "filename": "a.txt", "templateName": "totals"}),
            "/job/id",
        ),
        (
            "/v2/jobs",
            json!({"text": "Total: 5", "mode": "deterministic"}),
            "/job_id",
        ),
    ]
}

async fn post(app: &TestApp, at: usize, key: &str) -> (u16, Option<String>) {
    let (path, body, id) = &creates()[at];
    loop {
        let request = app.request(Method::POST, path);
        let request = request.header("Idempotency-Key", key);
        let request = if *path == "/v2/jobs" {
            let members = body.as_object().unwrap().iter();
            let form = members.fold(Form::new(), |form, (name, value)| {
                form.text(name.clone(), value.as_str().unwrap().to_owned())
            });
            request.multipart(form)
        } else {
            request.json(body)
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        // Somebody else is making the job.
        if status != 409 {
            let body: Value = answer.json().await.unwrap();
            let id = body.pointer(id).and_then(Value::as_str).map(str::to_owned);
            return (status, id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parallel_creates_on_each_of_fifty_keys_start_one_job_a_key() {
    let start = TestApp::start().set("max_active_jobs", 100);
    let app = Arc::new(start.run().await);
    let template = json!({
        "name": "totals",
        "schema": {"type": "object", "properties": {"total": {"type": "number"}}},
    });
    app.post("/v1/extract/templates", &template, "template")
        .await;
    let mut posts = JoinSet::new();
    for number in 0..POSTS * KEYS * 5 {
        let (dialect, key) = (number % 5, number / 5 % KEYS);
        let app = Arc::clone(&app);
        posts.spawn(async move {
            let key = format!("key-{key}");
            (dialect, key.clone(), post(&app, dialect, &key).await)
        });
    }
    let mut jobs: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
    while let Some(done) = posts.join_next().await {
        let (dialect, key, (status, id)) = done.unwrap();
        assert!(
            (200..300).contains(&status),
            "{dialect} {key}: {status} {id:?}"
        );
        jobs.entry((dialect, key)).or_default().insert(id.unwrap());
    }
    assert_eq!(jobs.len(), KEYS * 5);
    for (key, ids) in &jobs {
        assert_eq!(ids.len(), 1, "{key:?}: {ids:?}");
    }
    let ids: BTreeSet<_> = jobs.values().flatten().collect();
    assert_eq!(ids.len(), KEYS * 5, "dialects share no keys");
    let (_, list) = fetch(&app, "/v1/extract/jobs?limit=1").await;
    assert_eq!(list["total_count"], KEYS * 5);
}
