//! Jobs: create, look at, cancel, retry, expire.

use std::sync::Arc;

use futures_util::future::join_all;
use reqwest::Method;
use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use super::{
    DAY, EXTRACT, INVOICE, JOBS, act, call, document, end, get, invoice_request, native, of, plain,
    post, refusal, scripted, scripted_request, started, with,
};
use crate::support::app::{TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Reply, Scripted, Server, fault, plain_value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_answers_200_with_the_queued_job_in_unix_seconds() {
    let gated = Scripted::gated();
    let app = scripted(&gated).await;
    let body = with(
        of(EXTRACT, &scripted_request()),
        "metadata",
        json!({"batch": "march"}),
    );
    let created = post(&app, JOBS, &body, "job").await;
    assert_eq!(created.status, 200);
    let job = created.body;
    let id = job["id"].as_str().unwrap();
    assert_eq!(
        [
            &job["object"],
            &job["status"],
            &job["endpoint"],
            &job["metadata"]["batch"]
        ],
        ["job", "queued", EXTRACT, "march"]
    );
    let now = rivulet::domain::time::Time::parse(&jiff_now()).unwrap().0 / 1_000;
    let at = job["created_at"].as_i64().unwrap();
    assert!((now - at).abs() < 60, "{at} is no Unix time of now, {now}");
    assert_eq!(job["expires_at"], at + 7 * DAY, "7 days from creation");
    for name in ["started_at", "completed_at", "response", "error"] {
        assert_eq!(job[name], Value::Null, "{name}");
    }
    gated.until_asked(1).await;
    let running = get(&app, &format!("{JOBS}/{id}"), "job").await.body;
    assert_eq!(running["status"], "in_progress");
    assert!(running["started_at"].as_i64().unwrap() >= at);
    assert_eq!(running["response"], Value::Null, "nothing before the end");
    gated.pass(9);
    let done = end(&app, id).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["expires_at"], at + 7 * DAY, "not counted from the end");
    assert_eq!(done["response"]["status_code"], 200);
    let choice = &done["response"]["body"]["choices"][0];
    let expected = json!({"a": "/a", "b": "/b", "c": null, "d": "/d"});
    assert_eq!(choice["message"]["parsed"], expected);
    let content: Value =
        serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, expected);
}

fn jiff_now() -> String {
    use rivulet::engine::ports::Clock;
    rivulet::app::SystemClock.now().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_and_response_are_there_when_they_are_wanted_and_the_request_is_the_one_that_came()
{
    let app = plain().await;
    let request = with(scripted_request(), "image_resolution_dpi", json!(300));
    let job = started(&app, &of(EXTRACT, &request)).await;
    let whole = end(&app, &job).await;
    assert_eq!(whole["request"], request, "as it came, document included");
    let look = async |parameters: &str| {
        get(&app, &format!("{JOBS}/{job}?{parameters}"), "job")
            .await
            .body
    };
    let poll = look("include_request=false&include_response=false").await;
    assert_eq!(
        (&poll["request"], &poll["response"]),
        (&Value::Null, &Value::Null)
    );
    let both = look("include_request=true&include_response=true").await;
    assert_eq!(both["request"], request);
    assert!(both["response"]["body"].is_object());
    let response = look("include_request=false&include_response=true").await;
    assert_eq!(response["request"], Value::Null);
    assert_eq!(response["response"], both["response"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_job_and_a_retry_puts_it_in_line_again_under_its_id() {
    let gated = Scripted::gated();
    let app = scripted(&gated).await;
    let job = started(&app, &of(EXTRACT, &scripted_request())).await;
    gated.until_asked(1).await;
    let cancelled = act(&app, &job, "cancel").await;
    assert_eq!(
        (cancelled.status.as_u16(), &cancelled.body["status"]),
        (200, &json!("cancelled"))
    );
    assert!(cancelled.body["completed_at"].is_i64());
    assert_eq!(act(&app, &job, "cancel").await.body["status"], "cancelled");
    let again = act(&app, &job, "retry").await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(
        (&again.body["id"], &again.body["status"]),
        (&json!(job), &json!("queued"))
    );
    for name in ["error", "response", "started_at", "completed_at"] {
        assert_eq!(again.body[name], Value::Null, "{name} is cleared");
    }
    gated.pass(9);
    assert_eq!(end(&app, &job).await["status"], "completed");
    let refused = act(&app, &job, "retry").await;
    assert_eq!(refusal(&refused).1, "nothing_to_retry");
    let refused = act(&app, &job, "cancel").await;
    assert_eq!(refusal(&refused).1, "job_already_ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_has_an_error_and_a_retry_clears_it_and_counts_its_time_anew() {
    let clock = Arc::new(Shifted::default());
    let failing = Scripted::new(|subtree, asked| match asked {
        1 => fault(Fault::ContentFiltered, None),
        _ => Reply::Value(plain_value(subtree)),
    });
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(failing)))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let job = started(&app, &of(EXTRACT, &scripted_request())).await;
    let failed = end(&app, &job).await;
    assert_eq!(
        (&failed["status"], &failed["response"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(failed["error"]["code"], "content_filtered");
    clock.forward(3 * DAY * 1_000);
    let again = act(&app, &job, "retry").await.body;
    assert_eq!(again["error"], Value::Null);
    let fresh = |job: &Value| {
        job["expires_at"].as_i64() >= failed["expires_at"].as_i64().map(|at| at + 3 * DAY - 1)
    };
    assert!(fresh(&again), "{again}");
    let done = end(&app, &job).await;
    assert_eq!(done["status"], "completed");
    assert!(fresh(&done), "expires_at is refreshed: {done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_with_something_missing_is_a_completed_job_with_status_code_207() {
    let lacking = Scripted::new(|subtree, _| {
        if subtree.path.as_str().ends_with('1') {
            return fault(Fault::ContentFiltered, None);
        }
        Reply::Value(plain_value(subtree))
    });
    let app = scripted(&lacking).await;
    let request = with(scripted_request(), "json_schema", wide_schema(3));
    let done = end(&app, &started(&app, &of(EXTRACT, &request)).await).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["response"]["status_code"], 207);
    let body = &done["response"]["body"];
    assert_eq!(body["requires_human_review"], true);
    let parsed = &body["choices"][0]["message"]["parsed"];
    assert!(parsed["part_000"].is_object() && parsed.get("part_001").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_seven_days_from_creation_the_record_stays_and_request_and_response_are_empty() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let job = started(&app, &of(EXTRACT, &scripted_request())).await;
    end(&app, &job).await;
    clock.forward((7 * DAY - 60) * 1_000);
    let path = format!("{JOBS}/{job}?include_request=true&include_response=true");
    assert_eq!(get(&app, &path, "job").await.body["status"], "completed");
    clock.forward(120_000);
    let expired = get(&app, &path, "job").await.body;
    assert_eq!(
        [
            &expired["status"],
            &expired["request"],
            &expired["response"]
        ],
        [&json!("expired"), &Value::Null, &Value::Null]
    );
    let swept = get(&app, &format!("{JOBS}/{job}"), "job").await.body;
    assert_eq!(swept["status"], "expired");
    assert_eq!(refusal(&act(&app, &job, "retry").await).1, "result_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_for_a_reviewer_is_in_progress_and_shows_no_value() {
    let app = TestApp::start().run().await;
    let body = json!({
        "document": INVOICE,
        "schema": {"type": "object", "properties": {"total": {"type": "number"}}},
        "config": {"review": {"confidence_below": 1.0}},
    });
    let mut frames = app.stream(&body).await;
    let held = loop {
        let frame = frames.until("job_status").await.pop().unwrap().payload();
        if frame["status"] == "review_required" {
            break frame["job_id"].as_str().unwrap().to_owned();
        }
    };
    for path in [
        format!("{JOBS}/job_{}", held.replace('-', "")),
        format!("{JOBS}?include_request=true&include_response=true"),
    ] {
        let answer = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("48151.62"), "{text}");
        assert!(text.contains("\"in_progress\""), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_tells_the_same_values_in_this_dialect_and_in_the_native_one() {
    let app = TestApp::start().run().await;
    let job = started(&app, &of(EXTRACT, &invoice_request())).await;
    let ours = end(&app, &job).await;
    let theirs = app.results(&native(&job)).await.body;
    let body = &ours["response"]["body"];
    assert_eq!(body["choices"][0]["message"]["parsed"], theirs["results"]);
    assert_eq!(theirs["results"]["total"], 48151.62);
    let sure = body["likelihoods"]["total"].as_f64().unwrap();
    assert_eq!(theirs["attributions"]["/total"]["confidence"], sure);
    let native = app.submit(&json!({"document": INVOICE, "schema": {"type": "object", "properties": {"total": {"type": "number"}}}})).await;
    let job = format!("job_{}", native.replace('-', ""));
    let shown = end(&app, &job).await;
    assert_eq!(shown["endpoint"], EXTRACT);
    let parsed = &shown["response"]["body"]["choices"][0]["message"]["parsed"];
    assert_eq!(parsed["total"], 48151.62);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_that_is_served_works_as_a_job() {
    let app = TestApp::start().run().await;
    let kinds = json!([{"name": "invoice", "description": "A bill with a total"}, {"name": "letter", "description": ""}]);
    let document = document("invoice.txt", INVOICE);
    let schema = json!({"name": "i", "schema_definition": {"type": "object", "properties": {"total": {"type": "number"}}}});
    let stored = app
        .post("/v1/extract/schemas", &schema, "schema")
        .await
        .body;
    let one = |more: Value| {
        let mut body = json!({"document": document, "model": "retab-small"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (endpoint, request, schema, place) in [
        (
            "/v1/documents/parse",
            one(json!({})),
            "parse_response",
            "/text",
        ),
        (
            "/v1/documents/split",
            one(json!({"categories": kinds})),
            "split_response",
            "/splits/0/pages",
        ),
        (
            "/v1/documents/classify",
            one(json!({"categories": kinds})),
            "classify_response",
            "/result/classification",
        ),
        (
            "/v1/schemas/generate",
            json!({"documents": [document, document]}),
            "schema",
            "/properties",
        ),
        (
            "/v1/projects/extract",
            one(json!({"project_id": stored["schema_id"]})),
            "extract_response",
            "/choices/0/message/parsed/total",
        ),
        (
            "/v1/extractions",
            invoice_request(),
            "extraction",
            "/output/total",
        ),
        ("/v1/parses", one(json!({})), "parse", "/output/text"),
        (
            "/v1/splits",
            one(json!({"subdocuments": kinds})),
            "split",
            "/output/0/pages",
        ),
        (
            "/v1/classifications",
            one(json!({"categories": kinds})),
            "classification",
            "/output/category",
        ),
        // As an example in a client has it.
        (
            "/documents/parse",
            one(json!({})),
            "parse_response",
            "/pages/0",
        ),
    ] {
        let done = end(&app, &started(&app, &of(endpoint, &request)).await).await;
        assert_eq!(done["status"], "completed", "{endpoint}: {done}");
        let body = &done["response"]["body"];
        crate::support::schemas::check(&format!("retab_{schema}"), body);
        assert!(body.pointer(place).is_some(), "{endpoint}: {body}");
        assert_eq!(done["request"], request, "{endpoint}");
        let direct = if endpoint.starts_with("/v1") {
            endpoint
        } else {
            "/v1/documents/parse"
        };
        let answer = post(&app, direct, &request, schema).await;
        assert_eq!(answer.status, 200, "{endpoint}: {}", answer.body);
        assert_eq!(
            answer.body.pointer(place),
            body.pointer(place),
            "{endpoint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_under_one_key_start_one_job_and_keys_of_other_dialects_are_others() {
    let app = plain().await;
    let body = of(EXTRACT, &scripted_request());
    let send = || async {
        let request = app.request(Method::POST, JOBS).json(&body);
        call(&app, request.header("Idempotency-Key", "k"), "job").await
    };
    let answers = join_all((0..8).map(|_| send())).await;
    let good: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert!(!good.is_empty());
    assert!(
        good.iter()
            .all(|answer| answer.body["id"] == good[0].body["id"])
    );
    let busy = answers.iter().filter(|answer| answer.status != 200);
    for answer in busy {
        assert_eq!(refusal(answer).1, "idempotency_key_in_use");
    }
    let repeated = send().await;
    assert_eq!(repeated.headers["x-idempotent-replay"], "true");
    let other =
        app.request(Method::POST, JOBS)
            .json(&with(body.clone(), "metadata", json!({"a": "b"})));
    let refused = call(&app, other.header("Idempotency-Key", "k"), "job").await;
    assert_eq!(refusal(&refused).1, "idempotency_key_reused");
    let structflow = json!({"model": "scripted", "system_prompt": "x", "example_output": {"a": "x"}, "inputs": [{"id": "1", "data": 1}]});
    let theirs = app
        .request(Method::POST, "/structflow/jobs")
        .json(&structflow);
    let theirs = theirs.header("Idempotency-Key", "k").send().await.unwrap();
    assert_eq!(theirs.status(), 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_results_for_less_says_so_at_the_end_of_the_job() {
    let provider = Arc::new(Server(Scripted::plain()));
    let app = TestApp::start().provider(provider).set("retention", "1h");
    let app = app.run().await;
    let done = end(
        &app,
        &started(&app, &of(EXTRACT, &scripted_request())).await,
    )
    .await;
    let left = done["expires_at"].as_i64().unwrap() - done["completed_at"].as_i64().unwrap();
    assert_eq!(left, 3_600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_another_dialect_over_many_records_shows_each_of_them() {
    let app = plain().await;
    let records = json!([{"id": "one", "data": 1}, {"id": "two", "data": 2}]);
    let body = json!({"schema": scripted_request()["json_schema"], "inputs": records});
    let native = app.submit(&body).await;
    let done = end(&app, &format!("job_{}", native.replace('-', ""))).await;
    assert_eq!(
        (&done["status"], &done["response"]["status_code"]),
        (&json!("completed"), &json!(200))
    );
    let records = done["response"]["body"]["records"].as_array().unwrap();
    let output = json!({"a": "/a", "b": "/b", "c": null, "d": "/d"});
    for (record, id) in records.iter().zip(["one", "two"]) {
        assert_eq!(
            (&record["id"], &record["output"], &record["is_whole"]),
            (&json!(id), &output, &json!(true))
        );
    }
    assert_eq!(records.len(), 2);
}
