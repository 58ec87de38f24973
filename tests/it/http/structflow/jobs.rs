//! Jobs: create, poll, list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use rivulet::domain::webhook::{Secret, signatures};
use serde_json::{Value, json};

use super::{
    JOBS, body, call, content, create, end, file_id, get, plain, started, two, upload, with,
};
use crate::support::app::{TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Scripted, Server};
use crate::support::receiver::{Receiver, Reply};

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_answers_202_at_once_with_the_job_before_anything_was_asked() {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(Arc::clone(&scripted)));
    let app = TestApp::start().provider(provider).run().await;
    let created = create(&app, &body(&two())).await;
    assert_eq!(created.status, 202);
    let job = created.body["job_id"].as_str().unwrap();
    assert_eq!(created.headers["location"], format!("{JOBS}/{job}"));
    assert_eq!(created.body["model"], "scripted");
    assert_eq!(created.body["status"], "queued");
    assert_eq!(created.body["progress"], 0);
    for name in ["created_at", "updated_at"] {
        assert!(
            created.body[name].as_str().unwrap().ends_with('Z'),
            "{name}"
        );
    }
    assert_eq!(
        created.body["expires_at"],
        Value::Null,
        "kept from the end on"
    );
    scripted.until_asked(1).await;
    let path = format!("{JOBS}/{job}");
    let running = get(&app, &path, "structflow_job").await.body;
    assert_eq!(running["status"], "processing");
    for name in ["summary", "results", "error", "output_file_id"] {
        assert!(
            !members(&running).contains(&name),
            "{name} is there before the end"
        );
    }
    scripted.pass(9);
    let done = end(&app, job).await;
    assert_eq!(
        (&done["status"], &done["progress"]),
        (&json!("completed"), &json!(100))
    );
    assert!(done["completed_at"].is_string() && done["expires_at"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn summary_and_results_are_there_when_the_job_is_completed_and_its_records_came_inline() {
    let app = plain().await;
    let job = started(&app, &body(&two())).await;
    let done = end(&app, &job).await;
    assert_eq!(
        done["summary"],
        json!({"total_count": 2, "success_count": 2, "failed_count": 0})
    );
    let output = json!({"a": "/a", "b": "/b", "c": null, "d": "/d"});
    assert_eq!(
        done["results"],
        json!([
            {"id": "one", "index": 0, "status": "completed", "output": output},
            {"id": "two", "index": 1, "status": "completed", "output": output},
        ])
    );
    assert!(!members(&done).contains(&"output_file_id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_job_can_hold_records_that_failed_each_with_its_own_status() {
    let app = plain().await;
    let records = json!([{"id": "good", "data": "x"}, {"id": "bad", "document_id": NOBODY}]);
    let job = started(&app, &body(&records)).await;
    let done = end(&app, &job).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(
        done["summary"],
        json!({"total_count": 2, "success_count": 1, "failed_count": 1})
    );
    assert_eq!(done["results"][0]["status"], "completed");
    let bad = &done["results"][1];
    assert_eq!(
        (&bad["id"], &bad["status"], &bad["output"]),
        (&json!("bad"), &json!("failed"), &Value::Null)
    );
    assert!(bad["error"]["code"].is_string() && bad["error"]["message"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_records_becomes_an_output_file_with_a_line_for_each_in_order() {
    let app = plain().await;
    let lines = b"{\"id\":\"1\",\"data\":{\"total\":1}}\nthis is no JSON\n\n{\"total\":3}\n";
    let file = file_id(&upload(&app, "records.jsonl", lines).await);
    let mut of_file = with(body(&json!(null)), "file_id", json!(file));
    of_file.as_object_mut().unwrap().remove("inputs");
    let job = started(&app, &of_file).await;
    let done = end(&app, &job).await;
    assert_eq!(done["status"], "completed");
    for name in ["summary", "results"] {
        assert!(!members(&done).contains(&name), "{name}");
    }
    let output = done["output_file_id"].as_str().unwrap();
    let answer = content(&app, output).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("content-disposition"));
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let whole = json!({"a": "/a", "b": "/b", "c": null, "d": "/d"});
    assert_eq!((lines.len(), &lines[0], &lines[2]), (3, &whole, &whole));
    assert_eq!(members(&lines[1]), ["$error"]);
    assert!(lines[1]["$error"]["code"].is_string() && lines[1]["$error"]["message"].is_string());
    let shown = get(&app, &format!("/files/{output}"), "file").await;
    assert_eq!(shown.body["size"], text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_newest_first_and_without_what_was_extracted() {
    let app = plain().await;
    let first = started(&app, &body(&two())).await;
    end(&app, &first).await;
    let second = started(&app, &body(&two())).await;
    end(&app, &second).await;
    let list = get(&app, JOBS, "structflow_job_list").await.body;
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["job_id"])
        .collect();
    assert_eq!(ids, [&json!(second), &json!(first)]);
    for job in list["data"].as_array().unwrap() {
        assert!(!members(job).contains(&"results") && !members(job).contains(&"summary"));
    }
    let page = get(&app, &format!("{JOBS}?limit=1"), "structflow_job_list")
        .await
        .body;
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = format!("{JOBS}?limit=1&cursor={cursor}");
    let page = get(&app, &next, "structflow_job_list").await.body;
    assert_eq!(
        (&page["data"][0]["job_id"], &page["next_cursor"]),
        (&json!(first), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_of_the_list_are_those_that_jobs_take() {
    let app = plain().await;
    let models = get(&app, "/structflow/models", "structflow_models")
        .await
        .body;
    assert_eq!(models["data"][0]["id"], "scripted");
    assert_eq!(models["data"][0]["provider"], "tests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_with_the_job_or_with_the_time() {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(Arc::clone(&scripted)));
    let app = TestApp::start().provider(provider).run().await;
    let job = started(&app, &body(&json!([{"id": "1", "data": 1}]))).await;
    let begun = Instant::now();
    let early = get(&app, &format!("{JOBS}/{job}?wait=1"), "structflow_job").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(early.body["status"], "processing");
    let (done, ()) = tokio::join!(end(&app, &job), async {
        scripted.until_asked(1).await;
        scripted.pass(1);
    });
    assert_eq!(done["status"], "completed");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_is_failed_and_says_that_it_was_cancelled() {
    let provider = Arc::new(Server(Scripted::gated()));
    let app = TestApp::start().provider(provider).run().await;
    let job = started(&app, &body(&two())).await;
    let path = format!("/v1/extract/jobs/{job}/cancel");
    app.post(&path, &json!({}), "job").await;
    let done = end(&app, &job).await;
    assert_eq!(
        (&done["status"], &done["error"]["code"]),
        (&json!("failed"), &json!("cancelled"))
    );
    assert!(done["error"]["message"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_kept_until_expires_at_and_a_job_after_that_says_so() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let job = started(&app, &body(&two())).await;
    end(&app, &job).await;
    clock.forward(6 * 86_400_000);
    assert_eq!(
        end(&app, &job).await["results"].as_array().unwrap().len(),
        2
    );
    clock.forward(2 * 86_400_000);
    for _ in 0..2 {
        let gone = end(&app, &job).await;
        assert_eq!(
            (&gone["status"], &gone["error"]["code"]),
            (&json!("failed"), &json!("expired"))
        );
        assert!(!members(&gone).contains(&"results"));
        app.app.engine.sweep().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_prompt_and_the_example_reach_the_model_and_no_example_value_does() {
    let scripted = Scripted::plain();
    let provider = Arc::new(Server(Arc::clone(&scripted)));
    let app = TestApp::start().provider(provider).run().await;
    let example = json!({"a": "SECRET VALUE", "b": "x", "c": "x", "d": "x"});
    let job = started(&app, &with(body(&two()), "example_output", example)).await;
    end(&app, &job).await;
    let asked = scripted.calls();
    let call = asked.first().unwrap();
    assert_eq!(
        call.additional_instructions.as_deref(),
        Some("Extract what is there.")
    );
    let schemas = serde_json::to_string(&*call.plan).unwrap();
    assert!(!schemas.contains("SECRET VALUE") && schemas.contains("\"c\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_creates_at_once_under_one_key_start_one_job_and_a_key_is_its_dialects() {
    let app = plain().await;
    let one = |body: Value| {
        let request = app
            .request(Method::POST, JOBS)
            .header("Idempotency-Key", "k");
        call(&app, request.json(&body), "structflow_job_summary")
    };
    let answers = join_all((0..100).map(|_| one(body(&two())))).await;
    let mut jobs: Vec<_> = Vec::new();
    for answer in &answers {
        match answer.status.as_u16() {
            202 => jobs.push(answer.body["job_id"].as_str().unwrap()),
            409 => assert_eq!(super::refusal(answer).1, "idempotency_key_in_use"),
            other => panic!("{other}: {}", answer.body),
        }
    }
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    let again = one(body(&two())).await;
    assert_eq!(again.headers["x-idempotent-replay"], "true");
    assert_eq!(
        (
            again.status.as_u16(),
            again.body["job_id"].as_str().unwrap()
        ),
        (202, jobs[0])
    );
    let other = one(with(body(&two()), "model", json!("other"))).await;
    assert_eq!(super::refusal(&other), (422, "idempotency_key_reused"));
    let native = app
        .request(Method::POST, "/v1/extract/jobs")
        .header("Idempotency-Key", "k");
    let native = native.json(&json!({"document": "x", "schema": wide_schema(1)}));
    let native = app.call(native, "job_created").await;
    assert_eq!(native.status, 202, "the key is free in another dialect");
    let list = get(&app, JOBS, "structflow_job_list").await.body;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_to_the_webhook_signed_with_the_secret_of_the_job_that_is_never_shown() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .set("webhooks_loopback", "on")
        .run()
        .await;
    let mut told = with(body(&two()), "webhook_url", json!(receiver.url("/end")));
    told = with(told, "webhook_secret", json!("a secret of the client"));
    told = with(told, "metadata", json!({"team": "billing"}));
    let job = started(&app, &told).await;
    let calls = receiver.calls(1).await;
    let call = &calls[0];
    assert_eq!(call.path, "/end");
    let secret = [Secret::chosen("a secret of the client").unwrap()];
    let seconds = call.header("webhook-timestamp").parse().unwrap();
    let own = signatures(&secret, call.id(), seconds, call.body.as_bytes());
    assert_eq!(call.header("webhook-signature"), own);
    assert!(call.body.contains(&job));
    let done = end(&app, &job).await;
    assert_eq!(done["metadata"], json!({"team": "billing"}));
    let native = app
        .get(&format!("/v1/extract/jobs/{job}"), "job")
        .await
        .body;
    let deliveries = format!("/v1/extract/jobs/{job}/deliveries");
    let deliveries = app.get(&deliveries, "delivery_list").await.body;
    for shown in [done, native, deliveries] {
        let shown = shown.to_string();
        assert!(
            !shown.contains("a secret of") && !shown.contains("YSBzZWNyZXQg"),
            "{shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_the_native_dialect_tells_the_same_here_as_its_only_record() {
    let app = plain().await;
    let native = app
        .submit(&json!({"document": "Total: 5", "schema": wide_schema(2)}))
        .await;
    app.end_of(&native).await;
    let results = app.results(&native).await.body;
    let done = end(&app, &native).await;
    assert_eq!(done["results"][0]["output"], results["results"]);
    assert_eq!(done["summary"]["total_count"], 1);
}
