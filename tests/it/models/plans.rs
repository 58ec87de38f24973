//! Jobs as they were planned: shared calls, a leader, forecasts, budgets.

use std::sync::Arc;

use rivulet::provider::client::Bounds;
use rivulet::provider::models::Models;
use rivulet::provider::server::{Options, Server as Provider};
use rivulet::provider::wire::{Key, Vendor};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::{only, provider};
use crate::support::app::{TestApp, file};
use crate::support::model::{Failure, Honest, KEY, Reply, Server, Wire};

async fn app(server: &Server) -> TestApp {
    over(provider(server, Wire::Gemini, true)).await
}

async fn over(provider: Arc<Provider>) -> TestApp {
    TestApp::start()
        .set("default_model", "gemini-2.5-flash")
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

/// Objects of `fields` texts each, so that each is a subtree.
fn schema(parts: usize, fields: usize) -> Value {
    let texts: Map<String, Value> = (0..fields)
        .map(|at| (format!("field_{at}"), json!({"type": ["string", "null"]})))
        .collect();
    let part = json!({"type": "object", "properties": texts});
    let parts: Map<String, Value> = (0..parts)
        .map(|at| (format!("part_{at}"), part.clone()))
        .collect();
    json!({"type": "object", "properties": parts})
}

async fn body(app: &TestApp, schema: Value, config: Value) -> Value {
    let text = "An agreement between two parties.\n".repeat(200);
    let document = app.upload("note.txt", text).await;
    json!({"document_id": document.body["document_id"], "schema": schema, "config": config})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_chosen_is_asked_for_and_the_forecast_is_kept_with_the_job() {
    for (packing, calls) in [("fast", 5), ("cheap", 1)] {
        let server = Server::start();
        let app = app(&server).await;
        let config = json!({"splitter_configs": {"packing": packing}, "cache": "off"});
        let body = body(&app, schema(5, 30), config).await;
        let job = app.submit(&body).await;
        app.end_of(&job).await;
        assert_eq!(server.count(), calls, "{packing}");
        let metadata = &app.results(&job).await.body["metadata"];
        let plan = &metadata["plan"];
        assert_eq!(plan["estimate"]["calls"], calls, "{plan}");
        assert_eq!(
            (&plan["packing"], &plan["sizes_learned"]),
            (&json!(packing), &json!(false))
        );
        assert_eq!(plan["calls_learned_from"], 0);

        // The same again: now its answers were measured, and prompts are foretold.
        let again = app.submit(&body).await;
        app.end_of(&again).await;
        let metadata = &app.results(&again).await.body["metadata"];
        let (plan, usage) = (&metadata["plan"], &metadata["usage_metadata"]);
        assert_eq!(plan["sizes_learned"], true, "{plan}");
        let near = |told: &Value, was: &Value| {
            let (told, was) = (told["likely"].as_f64().unwrap(), was.as_f64().unwrap());
            assert!(
                (told / was - 1.0).abs() < 0.1,
                "{told} told, {was} taken: {packing}"
            );
        };
        near(
            &plan["estimate"]["answer_tokens"],
            &usage["candidates_token_count"],
        );
        near(
            &plan["estimate"]["prompt_tokens"],
            &usage["prompt_token_count"],
        );
        let told = &plan["estimate"]["prompt_tokens"];
        let figures = ["low", "likely", "high"].map(|name| told[name].as_f64().unwrap());
        let was = usage["prompt_token_count"].as_f64().unwrap();
        assert!(
            figures[0] < was && was < figures[2] && figures[2] - figures[0] < figures[1] * 0.7,
            "{was} is not well within {told}: {packing}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_are_asked_when_the_leader_has_begun_to_answer() {
    let server = Server::start();
    let gate = Arc::new(Semaphore::new(0));
    let held = Reply::honest().held("{", &gate);
    server.next([held]);
    let app = app(&server).await;
    let config = json!({"splitter_configs": {"packing": "fast", "leader_first": true}});
    let body = body(&app, schema(4, 30), config).await;
    let job = app.submit(&body).await;
    // The first word frees the others, although the leader's answer is held after it.
    server.until_asked(4).await;
    let asked = server.asked();
    let prefix = |at: usize| asked[at].texts[..asked[at].texts.len() - 1].concat();
    assert!(
        (1..4).all(|at| prefix(at) == prefix(0)),
        "byte by byte the same prefix"
    );
    gate.add_permits(1);
    assert_eq!(app.end_of(&job).await["partial"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_fails_holds_nobody_up() {
    let server = Server::start();
    server.next([Reply::from(Failure::BadKey)]);
    let app = app(&server).await;
    let config = json!({
        "splitter_configs": {"packing": "fast", "leader_first": true}, "n_max_retries": 0,
    });
    let body = body(&app, schema(4, 30), config).await;
    let end = app.end_of(&app.submit(&body).await).await;
    assert_eq!(
        (&end["subtrees_succeeded"], &end["subtrees_failed"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_used_up_ends_the_job_with_what_there_is() {
    let server = Server::start();
    let app = app(&server).await;
    // One call at a time, each of about 2,500 tokens.
    let config = json!({
        "max_tokens": 9_000, "max_num_concurrent_requests": 1, "cache": "off",
        "splitter_configs": {"max_tokens_per_call": 480},
    });
    let body = body(&app, schema(8, 30), config).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(true)),
        "{end}"
    );
    let spent = end["usage_metadata"]["total_token_count"].as_u64().unwrap();
    assert!(spent <= 9_000, "{spent}");
    let failed: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "subtree_error")
        .map(|frame| frame.payload())
        .collect();
    assert_eq!(
        failed.len(),
        8 - server.count(),
        "what was not asked for has failed"
    );
    assert!(!failed.is_empty() && server.count() >= 2);
    for error in failed {
        assert_eq!(error["error_type"], "budget_exceeded");
        assert!(
            error["error_message"]
                .as_str()
                .unwrap()
                .contains("9000 tokens"),
            "{error}"
        );
    }
    // A retry goes on with what is left, which is too little.
    let asked = server.count();
    let path = format!("/v1/extract/jobs/{job}/retry");
    app.post(&path, &json!({}), "job_summary").await;
    let end = app.end_of(&job).await;
    assert_eq!((server.count(), &end["partial"]), (asked, &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cut_smaller_keeps_to_the_budget_with_every_piece() {
    let server = Server::start();
    // Takes no more than four leaves at once.
    server.script(|asked| {
        let schema = asked.bound_schema().unwrap_or_default();
        let is_large = schema.to_string().matches("field_").count() > 8;
        is_large.then(|| Reply::from(Failure::BadSchema))
    });
    let app = app(&server).await;
    // Pieces of about 1,800 tokens: all of them come to twice the budget.
    let config = json!({"max_tokens": 9_000, "cache": "off"});
    let body = body(&app, schema(1, 30), config).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap().payload();
    let spent = end["usage_metadata"]["total_token_count"].as_u64().unwrap();
    assert!((1..=9_000).contains(&spent), "{spent} {end}");
    let failed = frames.iter().find(|frame| frame.event == "subtree_error");
    let failed = failed.expect("a part of it is missing").payload();
    assert_eq!(failed["error_type"], "budget_exceeded", "{failed}");
    let asked = server.count();
    let paid = end["usage_metadata"]["request_count"].as_u64().unwrap();
    assert_eq!(asked as u64, paid, "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_its_time_a_call_is_dropped_and_its_parts_say_so() {
    let server = Server::start();
    let gate = Arc::new(Semaphore::new(0));
    server.always(Reply::honest().held("\"s1\"", &gate));
    // Nobody but the job's own time ends the call.
    let options = Options {
        name: "gemini".into(),
        vendor: Vendor::Gemini,
        base_url: Some(server.base(Wire::Gemini)),
        key: Some(Key::new(KEY).unwrap()),
        models: Vec::new(),
        stream: true,
        logprobs: None,
        hedging: false,
        bounds: Bounds::default(),
    };
    rivulet::tls::install();
    let provider = Provider::new(options, Arc::new(Models::known().unwrap())).unwrap();
    let app = over(Arc::new(provider)).await;
    let config = json!({"max_seconds": 3, "splitter_configs": {"packing": "cheap"}});
    let body = body(&app, schema(2, 4), config).await;
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(true)),
        "{end}"
    );
    assert_eq!(
        end["usage_metadata"]["cost_usd"],
        Value::Null,
        "it is not known"
    );
    let failed = &app.results(&job).await.body["metadata"]["failed_subtrees"];
    assert_eq!(failed[0]["error_type"], "budget_exceeded", "{failed}");
    server.until_abandoned(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_is_asked_for_otherwise() {
    let server = Server::start();
    let app = app(&server).await;
    let schema = json!({"type": "object", "properties": {
        "by_country": {"type": "object", "additionalProperties": {"type": "number"}},
        "total": {"type": "number", "multipleOf": 0.01}}});
    let body = json!({"schema": schema, "document": "Total: 12.50"});
    let plan = app
        .post("/v1/extract/plans", &body, "explained_plan")
        .await
        .body;
    assert!(!plan["lowered"].as_array().unwrap().is_empty(), "{plan:#}");
    assert_eq!(server.count(), 0, "no model is asked");
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let kept = &app.results(&job).await.body["metadata"]["plan"];
    assert_eq!(kept["lowered"], plan["lowered"], "the job keeps it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_measured_as_they_were_written_with_what_was_dropped_for_saying_nothing() {
    let server = Server::start();
    let app = app(&server).await;
    // No field may be null, so that those that nothing is found of are left out of the result.
    let object = |fields: usize| {
        let texts = (0..fields).map(|at| (format!("field_{at}"), json!({"type": "string"})));
        json!({"type": "object", "properties": texts.collect::<Map<_, _>>()})
    };
    let schema = json!({"type": "object", "properties": {
        "large": object(90), "small": object(30)}});
    let config = json!({"splitter_configs": {"packing": "cheap"}, "cache": "off"});
    let body = body(&app, schema, config).await;
    app.end_of(&app.submit(&body).await).await;
    assert_eq!(server.count(), 1);
    let plan = app.post("/v1/extract/plans", &body, "explained_plan").await;
    let plan = plan.body;
    assert_eq!(plan["forecast"]["sizes_learned"], true);
    let likely = |at: usize| plan["subtrees"][at]["answer_tokens"]["likely"].as_f64();
    let (large, small) = (likely(0).unwrap(), likely(1).unwrap());
    assert!((2.5..3.5).contains(&(large / small)), "{large} {small}");
}

/// Leaves that an answer is asked for, a row of a list once.
fn leaves(schema: &Value) -> usize {
    if let Some(items) = schema.get("items") {
        return leaves(items);
    }
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => properties
            .iter()
            .filter(|(name, _)| *name != "omitted")
            .map(|(_, inner)| leaves(inner))
            .sum(),
        None => 1,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_takes_ten_leaves_a_call_answers_a_filing_whole() {
    let server = Server::start();
    let honest = Honest::table([("unit", json!("USD")), ("data_period", json!("FY2025 Q2"))]);
    server.answers(move |asked| honest.answer(asked));
    server.script(|asked| {
        let asked = asked.bound_schema().map_or(0, leaves);
        (asked > 10).then(|| Reply::from(Failure::BadSchema))
    });
    let app = app(&server).await;
    let schema: Value =
        serde_json::from_slice(&file("tests/fixtures/filings/10kq.schema.json")).unwrap();
    let body = body(
        &app,
        schema,
        json!({"splitter_configs": {"packing": "cheap"}}),
    )
    .await;
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false)),
        "{end}"
    );
    let results = app.results(&job).await.body;
    let validation = &results["metadata"]["validation"];
    assert_eq!(validation["valid"], true, "{validation}");
    assert_eq!(end["progress"]["fields_processed"], 369);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_document_that_is_too_long_calls_get_the_pages_that_say_what_they_ask_for() {
    let server = Server::start();
    // A short context, as models on a machine of one's own have it.
    let models = Models::known().unwrap();
    let models = models.with(r#"{"gemini-2.5-flash": {"context_tokens": 6000}}"#);
    let options = Options {
        name: "gemini".into(),
        vendor: Vendor::Gemini,
        base_url: Some(server.base(Wire::Gemini)),
        key: Some(Key::new(KEY).unwrap()),
        models: Vec::new(),
        stream: true,
        logprobs: None,
        hedging: false,
        bounds: Bounds::default(),
    };
    rivulet::tls::install();
    let provider = Provider::new(options, Arc::new(models.unwrap())).unwrap();
    let app = over(Arc::new(provider)).await;
    let filling = "Nothing of note is said in this part of the agreement.\n".repeat(50);
    let pages = (0..30).map(|at| match at {
        21 => format!("Lender name: Hansa Bank\n{filling}"),
        _ => format!("Clause {at}.\n{filling}"),
    });
    let document = pages.collect::<Vec<_>>().join("\u{c}");
    let schema = json!({"type": "object", "properties": {
        "lender_name": {"type": ["string", "null"]}, "fee": {"type": ["number", "null"]}}});
    let document = app.upload("note.txt", document).await.body;
    let body = json!({"document_id": document["document_id"], "schema": schema});
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let results = app.results(&job).await.body;
    assert_eq!(results["results"]["lender_name"], "Hansa Bank", "{results}");
    assert_eq!(results["metadata"]["plan"]["is_excerpted"], true);
    let shown = server.asked()[0].document().len();
    assert!(
        (4_000..16_000).contains(&shown),
        "{shown} letters of 80,000 are shown"
    );
}
