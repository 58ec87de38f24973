//! The review gate, as a client, a reviewer and a receiver of webhooks see it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::receiver::{Receiver, Reply};
use crate::support::sse::{Frame, assert_lawful};

const JOBS: &str = "/v1/extract/jobs";
/// Stand in the document and nowhere else.
const SECRETS: [&str; 2] = ["48151.62", "Quantz"];

fn body(gate: &Value) -> Value {
    json!({
        "document": "INVOICE\n\nSeller: Gustav Quantz\nTotal: 48151.62\n",
        "schema": {
            "type": "object",
            "required": ["seller", "total", "due_date"],
            "properties": {
                "seller": {"type": "string"},
                "total": {"type": "number"},
                "due_date": {"type": "string"}
            }
        },
        "config": {"review": gate}
    })
}

fn path(job: &str, tail: &str) -> String {
    format!("{JOBS}/{job}{tail}")
}

/// Starts a job whose result is held back; what its stream said until then.
async fn held(app: &TestApp, body: &Value) -> (String, Vec<Frame>) {
    let mut stream = app.stream(body).await;
    let mut frames = Vec::new();
    loop {
        frames.extend(stream.until("job_status").await);
        let last = frames.last().unwrap().payload();
        if last["reason"] == "review_required" {
            assert_eq!(last["status"], "review_required");
            return (last["job_id"].as_str().unwrap().to_owned(), frames);
        }
    }
}

async fn review(app: &TestApp, job: &str) -> Value {
    let answer = app.get(&path(job, "/review"), "review").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn decide(app: &TestApp, job: &str, body: Value) -> crate::support::app::Answer {
    app.post(&path(job, "/review"), &body, "job_summary").await
}

fn assert_silent(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "`{secret}` leaks in {text}");
    }
}

/// Every way to ask for a job that shows no more than its state.
async fn assert_withheld(app: &TestApp, job: &str, code: &str) {
    for tail in ["/results", "/results?partial=true"] {
        let refused = app.get(&path(job, tail), "results").await;
        assert_eq!(refused.refusal(), (409, code), "{tail}");
        assert_silent(&refused.body.to_string());
    }
    for path in [
        path(job, ""),
        format!("{JOBS}?search=inline"),
        path(job, "/deliveries"),
    ] {
        let answer = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_silent(&answer.text().await.unwrap());
    }
    let pages = app.request(Method::GET, &path(job, "/events?limit=1000"));
    let pages = pages.header("Accept", "application/json").send().await;
    assert_silent(&pages.unwrap().text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_result_is_nowhere_until_it_is_approved() {
    let receiver = Receiver::start(|_, _| Reply::Status(204)).await;
    let app = TestApp::start().set("webhooks_loopback", "on").run().await;
    let mut body = body(&json!({"always": true}));
    body["callback_url"] = json!(receiver.url("/end"));
    let (job, frames) = held(&app, &body).await;
    assert_eq!(frames[0].payload()["results_withheld"], true);
    let outcomes = frames
        .iter()
        .filter(|frame| frame.event == "subtree_result");
    for outcome in outcomes {
        let told = outcome.payload();
        assert_eq!(
            (&told["withheld"], &told["extracted_result"]),
            (&json!(true), &Value::Null)
        );
    }
    frames.iter().for_each(|frame| assert_silent(&frame.data));
    assert_withheld(&app, &job, "review_required").await;
    assert!(receiver.seen().is_empty(), "nothing has ended");
    let seen = review(&app, &job).await;
    assert_eq!(
        (&seen["version"], &seen["status"]),
        (&json!(1), &json!("review_required"))
    );
    assert_eq!(seen["results"]["total"], 48151.62);
    let approved = decide(&app, &job, json!({"version": 1, "decision": "approve"})).await;
    assert_eq!(
        (approved.status.as_u16(), &approved.body["status"]),
        (200, &json!("completed"))
    );
    let results = app.results(&job).await;
    assert_eq!(results.body["results"], seen["results"]);
    let all = app.follow(&job, None).await.rest().await;
    assert_lawful(&all);
    all.iter().for_each(|frame| assert_silent(&frame.data));
    assert_eq!(all.last().unwrap().payload()["results_available"], true);
    let call = receiver.calls(1).await.remove(0);
    assert_eq!(call.payload()["type"], "job.completed");
    assert_silent(&call.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_running_shows_no_value_either() {
    let provider = crate::support::provider::Scripted::gated();
    let app = TestApp::start()
        .provider(std::sync::Arc::new(crate::support::provider::Server(
            std::sync::Arc::clone(&provider),
        )))
        .run()
        .await;
    let body = json!({
        "document": "Total: 5",
        "schema": crate::support::app::wide_schema(2),
        "config": {"review": {"always": true}, "max_num_concurrent_requests": 1, "splitter_configs": {"packing": "fast"}},
    });
    let mut stream = app.stream(&body).await;
    provider.pass(1);
    let frames = stream.until("subtree_result").await;
    let job = frames[0].payload()["job_id"].as_str().unwrap().to_owned();
    let running = app.get(&path(&job, ""), "job").await;
    assert_eq!(running.body["status"], "processing");
    assert!(running.body.get("results").is_none());
    let early = app.get(&path(&job, "/review"), "review").await;
    assert_eq!(early.refusal(), (409, "result_not_ready"));
    let partial = app
        .get(&path(&job, "/results?partial=true"), "results")
        .await;
    assert_eq!(partial.refusal(), (409, "review_required"));
    let cancelled = app
        .post(&path(&job, "/cancel"), &json!({}), "job_summary")
        .await;
    assert_eq!(cancelled.status, 202);
    let refused = app.results(&job).await;
    assert_eq!(refused.refusal(), (409, "review_required"));
    let gone = app.get(&path(&job, "/review"), "review").await;
    assert_eq!(gone.refusal(), (409, "not_in_review"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_no_predicate_flags_is_given_out_at_once() {
    let app = TestApp::start().run().await;
    let job = app.submit(&body(&json!({"subtree_failed": true}))).await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
    assert_eq!(app.results(&job).await.body["results"]["total"], 48151.62);
    let review = app.get(&path(&job, "/review"), "review").await;
    assert_eq!(review.refusal(), (409, "not_in_review"));
    let ungated = json!({"document": "Total: 5", "schema": {"properties": {"total": {}}}});
    let ungated = app.submit(&ungated).await;
    app.end_of(&ungated).await;
    let refused = decide(&app, &ungated, json!({"version": 1, "decision": "approve"})).await;
    assert_eq!(refused.refusal(), (409, "not_in_review"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reviewer_corrects_flagged_fields_and_approves() {
    let app = TestApp::start().run().await;
    let gate = json!({"any_of": [{"required_null": true}, {"confidence_below": 0.3}]});
    let (job, _) = held(&app, &body(&gate)).await;
    let seen = review(&app, &job).await;
    assert_eq!(seen["flagged"][0]["path"], "/due_date");
    assert_eq!(seen["flagged"][0]["reasons"], json!(["required_null"]));
    let summary = app.get(&path(&job, ""), "job").await.body;
    assert_eq!(summary["review"]["flagged_fields"], seen["flagged_fields"]);

    let correct = |version: u32, value: Value| json!({"version": version, "corrections": [{"path": "/due_date", "value": value}]});
    let wrong = decide(&app, &job, correct(1, json!(5))).await;
    assert_eq!(wrong.refusal(), (422, "invalid_correction"));
    assert_eq!(wrong.pointers(), ["/corrections/0/value"]);
    let corrected = decide(&app, &job, correct(1, json!("2026-11-30"))).await;
    assert_eq!(corrected.body["status"], "review_required");
    assert_eq!(corrected.body["review"]["version"], 2);
    assert_withheld(&app, &job, "review_required").await;
    let again = review(&app, &job).await;
    assert_eq!(again["open_fields"], 0);
    assert_eq!(again["results"]["due_date"], "2026-11-30");

    let stale = decide(&app, &job, json!({"version": 1, "decision": "approve"})).await;
    assert_eq!(stale.refusal(), (409, "stale_review"));
    let total = json!({"version": 2, "decision": "approve", "comment": "By phone",
        "corrections": [{"path": "/total", "value": 48151.0}]});
    assert_eq!(decide(&app, &job, total).await.body["status"], "completed");
    let results = app.results(&job).await.body;
    assert_eq!(
        results["results"],
        json!({"seller": "Gustav Quantz", "total": 48151.0, "due_date": "2026-11-30"})
    );
    assert_eq!(
        results["metadata"]["validation"],
        json!({"valid": true, "errors": []})
    );
    assert_eq!(
        results["attributions"]["/total"]["reasoning"],
        "Entered by a reviewer."
    );
    assert_eq!(results["attributions"]["/total"]["confidence"], Value::Null);
    assert_eq!(
        results["wrapped_results"]["total"]["extracted_value"],
        48151.0
    );
    let decided = review(&app, &job).await;
    assert_eq!(
        (&decided["decision"], &decided["comment"]),
        (&json!("approve"), &json!("By phone"))
    );
    let late = decide(&app, &job, json!({"version": 3, "decision": "reject"})).await;
    assert_eq!(late.refusal(), (409, "not_in_review"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_result_stays_withheld() {
    let app = TestApp::start().run().await;
    let (job, _) = held(&app, &body(&json!({"always": true}))).await;
    let rejected = decide(&app, &job, json!({"version": 1, "decision": "reject"})).await;
    assert_eq!(rejected.body["status"], "failed");
    assert_eq!(rejected.body["error_type"], "review_rejected");
    assert_withheld(&app, &job, "review_rejected").await;
    let end = app.end_of(&job).await;
    assert_eq!(end["results_available"], false);
    assert_eq!(review(&app, &job).await["decision"], "reject");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_job_outlives_a_restart_and_takes_no_slot_of_its_user() {
    let app = TestApp::start().set("max_active_jobs", 1).run().await;
    let (job, _) = held(&app, &body(&json!({"always": true}))).await;
    let (second, _) = held(&app, &body(&json!({"always": true}))).await;
    let app = app.reopen().await.set("max_active_jobs", 1).run().await;
    assert_withheld(&app, &job, "review_required").await;
    let free = json!({"document": "Total: 5", "schema": {"properties": {"total": {}}}});
    let free = app.submit(&free).await;
    app.end_of(&free).await;
    let approved = decide(&app, &job, json!({"version": 1, "decision": "approve"})).await;
    assert_eq!(approved.body["status"], "completed");
    let cancelled = app
        .post(&path(&second, "/cancel"), &json!({}), "job_summary")
        .await;
    assert_eq!(cancelled.body["status"], "cancelled");
    assert_withheld(&app, &second, "review_required").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_parallel_decisions_one_counts() {
    let app = TestApp::start().run().await;
    let (job, _) = held(&app, &body(&json!({"always": true}))).await;
    let decisions = (0..100).map(|number| {
        let decision = if number % 2 == 0 { "approve" } else { "reject" };
        decide(&app, &job, json!({"version": 1, "decision": decision}))
    });
    let answers = futures_util::future::join_all(decisions).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1);
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!(refused, 99);
    let all = app.follow(&job, None).await.rest().await;
    assert_lawful(&all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_decide_nothing_are_refused_by_their_place() {
    let app = TestApp::start().run().await;
    let gate = json!({"config": {"review": {"confidence_below": 92}}});
    let mut bad = body(&json!(null));
    bad["config"] = gate["config"].clone();
    let refused = app.post(JOBS, &bad, "job_created").await;
    assert_eq!(refused.refusal(), (422, "invalid_config"));
    assert_eq!(refused.pointers(), ["/config/review/confidence_below"]);
    let (job, _) = held(&app, &body(&json!({"always": true}))).await;
    for (body, pointer) in [
        (json!({"decision": "approve"}), "/version"),
        (json!({"version": 1}), ""),
        (json!({"version": 1, "decision": "approved"}), "/decision"),
        (json!({"version": 1, "verdict": "approve"}), "/verdict"),
        (json!({"version": 1, "corrections": {}}), "/corrections"),
        (
            json!({"version": 1, "corrections": [{"path": "total", "value": 1}]}),
            "/corrections/0/path",
        ),
        (
            json!({"version": 1, "corrections": [{"path": "/total"}]}),
            "/corrections/0",
        ),
        (
            json!({"version": 1, "decision": "reject", "comment": 5}),
            "/comment",
        ),
    ] {
        let refused = decide(&app, &job, body).await;
        assert_eq!(refused.refusal(), (400, "invalid_request"));
        assert_eq!(refused.pointers(), [pointer]);
    }
    let nowhere = json!({"version": 1, "corrections": [{"path": "/none/a", "value": 1}]});
    let refused = decide(&app, &job, nowhere).await;
    assert_eq!(refused.refusal(), (422, "invalid_correction"));
    assert_eq!(refused.pointers(), ["/corrections/0/path"]);
    assert_eq!(review(&app, &job).await["version"], 1);
}
