//! Jobs over many records, each of which settles alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::error::Fault;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::id::{FileId, Scope};
use rivulet::domain::page::ListQuery;
use rivulet::engine::Outside;
use rivulet::engine::ports::{Answer, Answered, Blobs, Call, CallError, Model, Pieces, Provider};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::support::app::{Answer as Told, TestApp, wide_schema};
use crate::support::sse::Frame;
use crate::support::store::Wrapped;

/// A model that reads what it is shown: it fails where that tells it to, and answers with the words.
struct Clerk {
    /// What it was asked: the first line of the document, and the subtree.
    asked: Mutex<Vec<(String, String)>>,
    more_asked: Notify,
    gate: Semaphore,
    is_healed: AtomicBool,
}

impl Clerk {
    fn open() -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            more_asked: Notify::new(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            is_healed: AtomicBool::new(false),
        })
    }

    /// Lets only so many answers through.
    fn gated(passes: usize) -> Arc<Self> {
        let clerk = Self::open();
        clerk.gate.forget_permits(Semaphore::MAX_PERMITS);
        clerk.gate.add_permits(passes);
        clerk
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().clone()
    }

    async fn until_asked(&self, count: usize) {
        loop {
            let more = self.more_asked.notified();
            if self.asked.lock().len() >= count {
                return;
            }
            more.await;
        }
    }
}

struct Desk(Arc<Clerk>);

impl Provider for Desk {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "clerk".into(),
            display_name: "Clerk".into(),
            description: "Answers with what it reads.".into(),
            provider: "tests".into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let clerk = Arc::clone(&self.0);
        async_stream::stream! {
            let line = call.document.pages[0].text.lines().next().unwrap_or_default().to_owned();
            for index in call.subtrees.clone() {
                let id = call.plan.subtrees[index].id.clone();
                clerk.asked.lock().push((line.clone(), id.clone()));
                clerk.more_asked.notify_waiters();
                clerk.gate.acquire().await.unwrap().forget();
                if line.contains(&format!("fail {id}")) && !clerk.is_healed.load(Ordering::SeqCst) {
                    yield Err(CallError {
                        fault: Fault::ContentFiltered,
                        message: "planned".into(),
                        retry_after_ms: None,
                    });
                    return;
                }
                yield Ok(Answer::Subtree {
                    index,
                    value: json!({"a": line}),
                    attributions: Attributions::new(),
                    logprobs: Logprobs::new(),
                });
            }
        }
        .boxed()
    }
}

async fn serve(clerk: &Arc<Clerk>) -> TestApp {
    TestApp::start()
        .provider(Arc::new(Desk(clerk.clone())))
        .run()
        .await
}

fn body(inputs: Value, config: Value) -> Value {
    json!({"inputs": inputs, "schema": wide_schema(2), "config": config})
}

/// The ids of the two subtrees of every record.
async fn parts(app: &TestApp) -> [String; 2] {
    let body = json!({"schema": wide_schema(2)});
    let plan = app
        .post("/v1/extract/plans", &body, "explained_plan")
        .await
        .body;
    [0, 1].map(|index| {
        plan["subtrees"][index]["subtree_id"]
            .as_str()
            .unwrap()
            .to_owned()
    })
}

async fn records(app: &TestApp, job: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/extract/jobs/{job}/records?limit=2{after}");
        let page = app.get(&path, "record_list").await;
        assert_eq!(page.status, 200, "{}", page.body);
        let records = page.body["records"].as_array().unwrap().clone();
        if records.is_empty() {
            return all;
        }
        after = format!("&after={}", page.body["next_after"]);
        all.extend(records);
    }
}

async fn summary(app: &TestApp, job: &str) -> Told {
    app.get(&format!("/v1/extract/jobs/{job}/results"), "batch_results")
        .await
}

/// The lines of the output of a job.
async fn output(app: &TestApp, job: &str) -> Vec<Value> {
    let told = summary(app, job).await.body;
    let file = FileId::parse(told["output_file_id"].as_str().unwrap()).unwrap();
    let content = app.app.engine.file_content(&Scope::local(), file).await;
    let text = String::from_utf8(content.unwrap().1.to_vec()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn file(app: &TestApp, lines: &str) -> String {
    let bytes = lines.to_owned().into();
    let (engine, scope) = (&app.app.engine, Scope::local());
    let file = engine.store_file(&scope, "orders.jsonl", "application/jsonl", bytes);
    file.await.unwrap().id.to_string()
}

/// Record and subtree of every outcome, which is one each, and no number is left out.
fn outcomes(frames: &[Frame]) -> BTreeSet<(u64, String)> {
    let mut outcomes = BTreeSet::new();
    for (frame, number) in frames.iter().zip(1..) {
        assert_eq!(frame.sequence(), number);
        if matches!(frame.event.as_str(), "subtree_result" | "subtree_error") {
            let payload = frame.payload();
            let record = payload["record_index"].as_u64().unwrap();
            let subtree = payload["subtree_id"].as_str().unwrap().to_owned();
            assert!(outcomes.insert((record, subtree)), "{payload} came twice");
        }
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_settles_alone_and_all_are_seen_in_their_order() {
    let clerk = Clerk::open();
    let app = serve(&clerk).await;
    let [one, two] = parts(&app).await;
    let document = app.document().await;
    let nobody = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";
    let inputs = json!([
        {"id": "first", "data": {"note": "plain"}},
        {"text": format!("fail {one}")},
        {"data": format!("fail {one} fail {two}")},
        {"id": "there", "document_id": document},
        {"id": "gone", "document_id": nobody},
    ]);
    let mut stream = app
        .stream(&body(inputs, json!({"max_num_concurrent_requests": 2})))
        .await;
    let start = stream.next().await.unwrap().payload();
    assert_eq!(
        (&start["record_count"], &start["total_subtrees"]),
        (&json!(5), &json!(10))
    );
    assert_eq!(start["subtrees"].as_array().unwrap().len(), 2);
    let job = start["job_id"].as_str().unwrap().to_owned();
    stream.rest().await;
    let frames = app.follow(&job, None).await.rest().await;
    assert_eq!(outcomes(&frames).len(), 10);
    let end = frames.last().unwrap().payload();
    let tally = json!({"total": 5, "succeeded": 2, "partial": 1, "failed": 2});
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(end["progress"]["records"], tally);
    assert_eq!(end["progress"]["completion_percentage"], 100.0);

    let told = summary(&app, &job).await;
    assert_eq!((told.status.as_u16(), &told.body["summary"]), (200, &tally));
    assert_eq!(told.body["output_file_id"], end["output_file_id"]);
    let records = records(&app, &job).await;
    let of = |name: &str| {
        records
            .iter()
            .map(|record| record[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("record_index"), [0, 1, 2, 3, 4]);
    assert_eq!(
        json!(of("record_id")),
        json!(["first", null, null, "there", "gone"])
    );
    assert_eq!(
        json!(of("status")),
        json!(["succeeded", "partial", "failed", "succeeded", "failed"])
    );
    assert_eq!(
        json!(of("error_type")),
        json!([
            null,
            "content_filtered",
            "content_filtered",
            null,
            "document_unreadable"
        ])
    );
    let said = records[0]["results"].to_string();
    assert!(said.contains("note: plain"), "{said}");
    assert!(
        records[3]["results"]
            .to_string()
            .contains("Invoice number: 7")
    );
    assert_eq!(records[1]["failed_subtrees"].as_array().unwrap().len(), 1);
    assert!(
        records[4]["error_message"]
            .as_str()
            .unwrap()
            .contains(nobody)
    );
    let lines = output(&app, &job).await;
    assert_eq!(lines.len(), 5);
    assert_eq!(
        (&lines[0], &lines[3]),
        (&records[0]["results"], &records[3]["results"])
    );
    assert_eq!(lines[1]["$error"]["code"], "content_filtered");
    assert_eq!(lines[1]["$error"]["partial"], records[1]["results"]);
    assert_eq!(lines[4]["$error"]["code"], "document_unreadable");
    assert_eq!(lines[4]["$error"]["partial"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_record_fails_alone() {
    let app = serve(&Clerk::open()).await;
    let lines = "\u{feff}{\"id\": \"a\", \"data\": 1}\r\n\n{\"data\": \n{\"id\": 7, \"text\": \"x\"}\n\
                 {\"plain\": \"data\"}\n\"   \"\n[1]";
    let body = json!({"file_id": file(&app, lines).await, "schema": wide_schema(2)});
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let records = records(&app, &job).await;
    let status: Vec<_> = records
        .iter()
        .map(|record| record["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        status,
        [
            "succeeded",
            "failed",
            "failed",
            "succeeded",
            "failed",
            "succeeded"
        ]
    );
    let wrong = |index: usize| records[index]["error_message"].as_str().unwrap();
    assert!(wrong(1).contains("not JSON"), "{}", wrong(1));
    assert!(wrong(2).contains("`id`"), "{}", wrong(2));
    assert_eq!(output(&app, &job).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_longer_than_a_document_may_be_fails_alone() {
    let app = serve(&Clerk::open()).await;
    let long = "x".repeat(600_000);
    let lines = format!("\"first\"\n{{\"text\": \"{long}\"}}\n\"last\"\n");
    let file = file(&app, &lines).await;
    let clerk = Clerk::open();
    let start = app.reopen().await.set("max_document_bytes", 100_000);
    let app = start.provider(Arc::new(Desk(clerk.clone()))).run().await;
    let job = app
        .submit(&json!({"file_id": file, "schema": wide_schema(2)}))
        .await;
    app.end_of(&job).await;
    let records = records(&app, &job).await;
    let status: Vec<_> = records
        .iter()
        .map(|record| record["status"].clone())
        .collect();
    assert_eq!(json!(status), json!(["succeeded", "failed", "succeeded"]));
    let said = records[1]["error_message"].as_str().unwrap();
    assert!(
        said.contains("600012 bytes") && said.contains("100000"),
        "{said}"
    );
    assert_eq!(records[2]["results"]["part_000"]["a"], "last");
}

/// A place for files; once one was written in pieces the store of jobs is away.
struct Cutting {
    inner: Arc<dyn Blobs>,
    away: Arc<AtomicBool>,
}

impl Blobs for Cutting {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()> {
        self.inner.put(key, bytes)
    }

    fn put_pieces<'a>(&'a self, key: &str, pieces: Pieces<'a>) -> Answered<'a, ()> {
        let put = self.inner.put_pieces(key, pieces);
        Box::pin(async move {
            put.await?;
            self.away.store(true, Ordering::SeqCst);
            Ok(())
        })
    }

    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>> {
        self.inner.get(key)
    }

    fn delete(&self, key: &str) -> Answered<'_, ()> {
        self.inner.delete(key)
    }
}

async fn files(app: &TestApp) -> Vec<FileId> {
    let query = ListQuery {
        limit: 100,
        cursor: None,
        search: None,
    };
    let page = app.app.engine.files(&Scope::local(), query).await.unwrap();
    page.items.iter().map(|file| file.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_whose_end_was_not_written_is_there_once_after_a_restart() {
    let cut = |outside: Outside| {
        let jobs = Wrapped::around(outside.jobs);
        let blobs = Cutting {
            inner: outside.blobs,
            away: jobs.away.clone(),
        };
        Outside {
            jobs: Arc::new(jobs),
            blobs: Arc::new(blobs),
            ..outside
        }
    };
    let app = TestApp::start()
        .provider(Arc::new(Desk(Clerk::open())))
        .build(move |builder| builder.rewire(cut))
        .run()
        .await;
    let inputs = json!([{"text": "one"}, {"text": "two"}]);
    let job = app.submit(&body(inputs, json!({}))).await;
    let written = loop {
        let files = files(&app).await;
        if !files.is_empty() {
            break files;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let clerk = Clerk::open();
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Desk(clerk.clone())))
        .run()
        .await;
    let end = app.end_of(&job).await;
    assert_eq!(end["output_file_id"], written[0].to_string());
    assert_eq!(files(&app).await, written);
    assert_eq!(output(&app, &job).await.len(), 2);
    assert!(clerk.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asks_for_no_subtree_that_has_an_outcome() {
    let first = Clerk::gated(25);
    let app = serve(&first).await;
    let inputs: Vec<_> = (0..30)
        .map(|n| json!({"text": format!("record {n}")}))
        .collect();
    let body = body(json!(inputs), json!({"max_num_concurrent_requests": 3}));
    let mut stream = app.stream(&body).await;
    let mut seen = Vec::new();
    while seen.len() < 25 {
        let frame = stream.next().await.unwrap();
        if frame.event == "subtree_result" {
            let payload = frame.payload();
            seen.push((
                format!("record {}", payload["record_index"]),
                payload["subtree_id"].as_str().unwrap().to_owned(),
            ));
        }
    }
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    drop(stream);
    let second = Clerk::open();
    let app = app
        .reopen()
        .await
        .provider(Arc::new(Desk(second.clone())))
        .run()
        .await;
    let frames = app.follow(&job, None).await.rest().await;
    assert_eq!(outcomes(&frames).len(), 60);
    let asked = second.asked();
    assert_eq!(asked.len(), 35);
    assert!(seen.iter().all(|one| !asked.contains(one)));
    let end = frames.last().unwrap().payload();
    let tally = json!({"total": 30, "succeeded": 30, "partial": 0, "failed": 0});
    assert_eq!(end["progress"]["records"], tally);
    assert_eq!(output(&app, &job).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_asks_only_for_what_failed() {
    let clerk = Clerk::open();
    let app = serve(&clerk).await;
    let [one, two] = parts(&app).await;
    let inputs = json!([
        {"text": "good"},
        {"text": format!("fail {one}")},
        {"text": format!("fail {one} fail {two}")},
    ]);
    let job = app.submit(&body(inputs, json!({}))).await;
    app.end_of(&job).await;
    let before = output(&app, &job).await;
    let count = clerk.asked().len();
    clerk.is_healed.store(true, Ordering::SeqCst);
    let retried = app
        .post(
            &format!("/v1/extract/jobs/{job}/retry"),
            &json!({}),
            "job_summary",
        )
        .await;
    assert_eq!(retried.status, 202, "{}", retried.body);
    let tally = json!({"total": 3, "succeeded": 1, "partial": 0, "failed": 0});
    assert_eq!(retried.body["progress"]["records"], tally);
    let last = retried.body["last_event_id"].as_str().unwrap();
    let rest = app.follow(&job, Some(last)).await.rest().await;
    let end = rest.last().unwrap().payload();
    let tally = json!({"total": 3, "succeeded": 3, "partial": 0, "failed": 0});
    assert_eq!(
        (&end["progress"]["records"], &end["partial"]),
        (&tally, &json!(false))
    );
    assert_eq!(end["progress"]["completion_percentage"], 100.0);
    assert_eq!(clerk.asked().len() - count, 3);
    let after = output(&app, &job).await;
    assert_eq!(before[0], after[0]);
    assert!(
        after.iter().all(|line| line["$error"].is_null()),
        "{after:?}"
    );
    let refused = app
        .post(
            &format!("/v1/extract/jobs/{job}/retry"),
            &json!({}),
            "job_summary",
        )
        .await;
    assert_eq!(refused.refusal(), (409, "nothing_to_retry"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_batch_keeps_what_has_ended_and_goes_on_when_it_is_retried() {
    let clerk = Clerk::gated(7);
    let app = serve(&clerk).await;
    let inputs: Vec<_> = (0..20)
        .map(|n| json!({"text": format!("record {n}")}))
        .collect();
    let body = body(json!(inputs), json!({"max_num_concurrent_requests": 1}));
    let mut stream = app.stream(&body).await;
    for _ in 0..7 {
        stream.until("subtree_result").await;
    }
    clerk.until_asked(8).await;
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    let path = format!("/v1/extract/jobs/{job}");
    let active = app.get(&path, "job").await.body;
    assert_eq!(active["progress"]["records"]["succeeded"], 3);
    assert_eq!(
        summary(&app, &job).await.refusal(),
        (409, "result_not_ready")
    );
    let cancelled = app.post(&format!("{path}/cancel"), &json!({}), "job").await;
    assert_eq!(cancelled.status, 202);
    stream.rest().await;
    clerk.gate.add_permits(1_000);
    assert_eq!(records(&app, &job).await.len(), 3);
    assert_eq!(
        summary(&app, &job).await.body["output_file_id"],
        Value::Null
    );
    assert_eq!(clerk.asked().len(), 8);

    app.post(&format!("{path}/retry"), &json!({}), "job_summary")
        .await;
    let cursor = cancelled.body["last_event_id"].as_str().unwrap();
    app.follow(&job, Some(cursor)).await.rest().await;
    assert_eq!(clerk.asked().len(), 8 + 33);
    assert_eq!(records(&app, &job).await.len(), 20);
    assert_eq!(output(&app, &job).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_records_are_begun_than_calls_may_be_made() {
    let clerk = Clerk::gated(0);
    let app = serve(&clerk).await;
    let inputs: Vec<_> = (0..20)
        .map(|n| json!({"text": format!("record {n}")}))
        .collect();
    let body = body(json!(inputs), json!({"max_num_concurrent_requests": 4}));
    let job = app.submit(&body).await;
    clerk.until_asked(4).await;
    for passed in 1..=30 {
        clerk.gate.add_permits(1);
        clerk.until_asked(4 + passed).await;
        assert_eq!(clerk.asked().len(), 4 + passed);
    }
    clerk.gate.add_permits(100);
    app.end_of(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_batch_is_refused_before_there_is_a_job() {
    let app = serve(&Clerk::open()).await;
    let refused = async |members: Value| {
        let mut body = json!({"schema": wide_schema(2)});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        let told = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(told.status, 400, "{}", told.body);
        told.body["detail"].as_str().unwrap().to_owned()
    };
    let many: Vec<_> = (0..1_001).map(|n| json!({"data": n})).collect();
    assert!(refused(json!({"inputs": many})).await.contains("1 to 1000"));
    assert!(refused(json!({"inputs": []})).await.contains("1 to 1000"));
    let both = json!({"inputs": [{"data": 1}], "document": "x"});
    assert!(refused(both).await.contains("exactly one of"));
    for (input, wrong) in [
        (json!(7), "/inputs/1"),
        (json!({"data": 1, "text": "x"}), "exactly one of `data`"),
        (json!({"data": 1, "name": "x"}), "`name` is no member"),
        (json!({"id": "x"}), "exactly one of `data`"),
    ] {
        let said = refused(json!({"inputs": [{"data": 1}, input]})).await;
        assert!(said.contains(wrong), "{said}");
    }
    let empty = file(&app, "\n  \n").await;
    assert!(refused(json!({"file_id": empty})).await.contains("no line"));
    let long = file(&app, &"1\n".repeat(100_001)).await;
    assert!(refused(json!({"file_id": long})).await.contains("100000"));
    let missing = json!({"schema": true, "file_id": "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11"});
    let told = app.post("/v1/extract/jobs", &missing, "job_created").await;
    assert_eq!(told.refusal(), (404, "file_not_found"));
    let jobs = app.get("/v1/extract/jobs", "job_list").await.body;
    assert_eq!(jobs["total_count"], 0);
    let documents = app.get("/v1/extract/documents", "document_list").await.body;
    assert_eq!(documents["total_count"], 0);

    let single = json!({"document": "x 1", "schema": wide_schema(2)});
    let job = app.submit(&single).await;
    app.end_of(&job).await;
    let told = app
        .get(&format!("/v1/extract/jobs/{job}/records"), "record_list")
        .await;
    assert_eq!(told.refusal(), (400, "invalid_request"));
}
