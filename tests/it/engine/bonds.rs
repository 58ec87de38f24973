//! What the schema says of several subtrees together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rivulet::domain::error::Fault;
use rivulet::domain::plan::Subtree;
use rivulet::engine::ports::Manner;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::provider::{Reply, Scripted, Server, fault};
use crate::support::sse::Frame;

/// An order of the subtrees `buyer`, `seller` and `lines`: with a buyer there is a seller.
fn order() -> Value {
    let text = json!({"type": "string"});
    let party = json!({"type": "object", "required": ["name"],
        "properties": {"name": text, "city": text, "phone": text, "fax": text}});
    json!({
        "type": "object",
        "properties": {"buyer": party, "seller": party, "lines": party},
        "dependentRequired": {"buyer": ["seller"]},
    })
}

/// The value of a subtree that is the order with one property.
fn only(subtree: &Subtree) -> Value {
    json!({&subtree.id: {"name": subtree.id}})
}

/// A model that sees a seller only when it is asked for one the `from`th time.
fn forgetful(from: u32) -> Arc<Scripted> {
    Scripted::new(move |subtree, count| {
        if subtree.id == "seller" && count < from {
            return Reply::Value(json!({}));
        }
        Reply::Value(only(subtree))
    })
}

/// Each subtree in a call of its own.
fn apart(takes_corrections: bool) -> Manner {
    Manner {
        takes_corrections,
        ..Manner::default()
    }
}

async fn app(model: &Arc<Scripted>) -> TestApp {
    TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await
}

async fn run(app: &TestApp, config: Value) -> (String, Vec<Frame>) {
    let body = app.job_body(order(), config).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    (job, frames)
}

fn result(frames: &[Frame], id: &str) -> Value {
    let all = frames.iter().map(Frame::payload);
    let mut of_it = all.filter(|event| event["subtree_id"] == id);
    let event = of_it.next().unwrap();
    assert!(of_it.next().is_none(), "{id} has two outcomes");
    event
}

fn place(frames: &[Frame], id: &str) -> usize {
    let is_of = |frame: &Frame| frame.payload()["subtree_id"] == id;
    frames.iter().position(is_of).unwrap()
}

fn messages(validation: &Value) -> Vec<&str> {
    let errors = validation["errors"].as_array().unwrap().iter();
    errors
        .map(|error| error["message"].as_str().unwrap())
        .collect()
}

const BREACH: &str = "\"seller\" is a required property (of `buyer`, `seller` together)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_asks_once_more_for_the_bound_subtrees_alone_and_after_the_others_are_told() {
    let model = forgetful(2).paid();
    let app = app(&model).await;
    let (job, frames) = run(&app, json!({})).await;

    let calls = model.calls();
    assert_eq!(calls.len(), 2, "once for all, once more for two");
    let mut again = model.asked().split_off(3);
    again.sort();
    assert_eq!(again, ["buyer", "seller"]);
    let [one, two] = &calls[1].corrections[..] else {
        panic!("{:?}", calls[1].corrections);
    };
    assert_ne!(one.index, two.index);
    assert!(one.errors[0].message.contains(BREACH), "{one:?}");

    let lines = place(&frames, "lines");
    assert!(lines < place(&frames, "buyer") && lines < place(&frames, "seller"));
    for id in ["buyer", "seller", "lines"] {
        assert_eq!(result(&frames, id)["validation"]["valid"], true, "{id}");
    }
    let results = app.results(&job).await.body;
    assert_eq!(results["results"]["seller"]["name"], "seller");
    assert_eq!(
        results["metadata"]["validation"],
        json!({"valid": true, "errors": []})
    );
    let end = frames.last().unwrap().payload();
    assert_eq!(
        end["usage_metadata"]["request_count"], 2,
        "both calls are on the bill"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_insists_is_delivered_with_the_breach_named() {
    let model = forgetful(u32::MAX).paid();
    let app = app(&model).await;
    let (job, frames) = run(&app, json!({})).await;
    assert_eq!(model.calls().len(), 2, "asked once more, not twice");
    for id in ["buyer", "seller"] {
        let validation = &result(&frames, id)["validation"];
        assert_eq!(validation["valid"], false);
        assert_eq!(messages(validation), [BREACH]);
    }
    assert_eq!(result(&frames, "lines")["validation"]["valid"], true);
    let results = app.results(&job).await.body;
    assert_eq!(
        results["results"]["buyer"]["name"], "buyer",
        "the values stay"
    );
    assert_eq!(
        messages(&results["metadata"]["validation"]),
        [BREACH],
        "told once"
    );
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false))
    );

    // What does not fit is not used again; what fits is.
    let (_, frames) = run(&app, json!({})).await;
    let usage = &frames.last().unwrap().payload()["usage_metadata"];
    assert_eq!(usage["reused_subtree_count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_fails_lets_the_others_go() {
    let model = Scripted::new(|subtree, _| match subtree.id.as_str() {
        "seller" => fault(Fault::ContentFiltered, None),
        _ => Reply::Value(only(subtree)),
    })
    .in_manner(apart(true));
    let app = app(&model).await;
    let (_, frames) = run(&app, json!({})).await;
    assert_eq!(result(&frames, "seller")["error_type"], "content_filtered");
    let buyer = result(&frames, "buyer");
    assert_eq!(
        buyer["validation"]["valid"], true,
        "what failed is told by itself"
    );
    assert_eq!(model.calls().len(), 3);
    assert_eq!(frames.last().unwrap().payload()["subtrees_succeeded"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_asking_that_fails_leaves_the_first_answers() {
    let model = Scripted::new(|subtree, count| match (subtree.id.as_str(), count) {
        ("seller", 1) => Reply::Value(json!({})),
        ("seller", _) => Reply::Panic,
        _ => Reply::Value(only(subtree)),
    })
    .paid();
    let app = app(&model).await;
    let (_, frames) = run(&app, json!({})).await;
    for id in ["buyer", "seller"] {
        assert_eq!(messages(&result(&frames, id)["validation"]), [BREACH]);
    }
    assert_eq!(frames.last().unwrap().payload()["subtrees_succeeded"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_checks_what_failed_against_what_was_told_before() {
    let heals = Arc::new(AtomicBool::new(false));
    let is_healed = heals.clone();
    let model = Scripted::new(move |subtree, _| match subtree.id.as_str() {
        "seller" if !is_healed.load(Ordering::SeqCst) => fault(Fault::ContentFiltered, None),
        "seller" => Reply::Value(json!({})),
        _ => Reply::Value(only(subtree)),
    })
    .in_manner(apart(true));
    let app = app(&model).await;
    let (job, first) = run(&app, json!({"cache": "off"})).await;
    assert_eq!(result(&first, "seller")["error_type"], "content_filtered");
    assert_eq!(result(&first, "buyer")["validation"]["valid"], true);
    heals.store(true, Ordering::SeqCst);
    let asked = model.calls().len();
    let last = first.last().unwrap().payload()["sequence_number"].to_string();
    app.post(
        &format!("/v1/extract/jobs/{job}/retry"),
        &json!({}),
        "job_summary",
    )
    .await;
    let rest = app.follow(&job, Some(&last)).await.rest().await;
    assert_eq!(messages(&result(&rest, "seller")["validation"]), [BREACH]);
    assert_eq!(model.calls().len(), asked + 2, "asked, and once more");
    let results = app.results(&job).await.body;
    assert_eq!(messages(&results["metadata"]["validation"]), [BREACH]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_where_no_answer_is_asked_for_twice_or_nobody_asked_for_validation() {
    for (takes_corrections, validates) in [(false, true), (true, false)] {
        let model = forgetful(u32::MAX).in_manner(apart(takes_corrections));
        model.close();
        let app = app(&model).await;
        let config = json!({"validate_response_schema": validates,
            "max_num_concurrent_requests": 1});
        let body = app.job_body(order(), config).await;
        let job = app.submit(&body).await;
        let mut stream = app.follow(&job, None).await;
        // Each is told before the next is asked for.
        for _ in 0..3 {
            model.pass(1);
            while stream.next().await.unwrap().event != "subtree_result" {}
        }
        assert_eq!(stream.rest().await.last().unwrap().event, "end");
        assert_eq!(model.calls().len(), 3);
        let results = app.results(&job).await.body;
        if validates {
            assert_eq!(messages(&results["metadata"]["validation"]), [BREACH]);
        } else {
            assert_eq!(results["metadata"]["validation"], Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_tells_what_waits_and_the_rest_is_checked_against_it() {
    let model = forgetful(u32::MAX).in_manner(apart(true));
    model.close();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .set("drain", "1m")
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 1});
    let job = app.submit(&app.job_body(order(), config).await).await;
    model.until_asked(1).await;
    let first = model.asked();
    let (client, ready) = (app.client.clone(), app.url("/readyz"));
    let meanwhile = async {
        while client.get(&ready).send().await.unwrap().status() != 503 {}
        model.pass(1);
    };
    let (next, ()) = tokio::join!(app.reopen(), meanwhile);
    assert_eq!(
        (first.as_slice(), model.asked().len()),
        (&["buyer".to_owned()][..], 1)
    );

    let model = forgetful(u32::MAX).in_manner(apart(true));
    let app = next.provider(Arc::new(Server(model.clone()))).run().await;
    let frames = app.follow(&job, None).await.rest().await;
    assert!(
        !model.asked().contains(&"buyer".to_owned()),
        "{:?}",
        model.asked()
    );
    assert_eq!(result(&frames, "buyer")["validation"]["valid"], true);
    assert_eq!(messages(&result(&frames, "seller")["validation"]), [BREACH]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_job_whose_answers_wait_and_tells_each_at_most_once() {
    let model = forgetful(u32::MAX).in_manner(apart(true));
    model.close();
    let app = app(&model).await;
    let config = json!({"max_num_concurrent_requests": 1});
    let job = app.submit(&app.job_body(order(), config).await).await;
    model.pass(1);
    model.until_asked(2).await;
    assert_eq!(model.asked()[0], "buyer", "its answer waits for the seller");
    let cancelled = app
        .post(
            &format!("/v1/extract/jobs/{job}/cancel"),
            &Value::Null,
            "job",
        )
        .await;
    assert_eq!(cancelled.status, 202);
    model.pass(9);
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap();
    assert_eq!(
        (end.event.as_str(), &end.payload()["status"]),
        ("end", &json!("cancelled"))
    );
    let told = frames
        .iter()
        .filter(|frame| frame.event == "subtree_result");
    let told: Vec<Value> = told.map(Frame::payload).collect();
    assert!(told.len() <= 1, "{told:?}");
    assert!(told.iter().all(|event| event["subtree_id"] == "buyer"));
    let results = app.results(&job).await.body;
    let buyer = &results["results"]["buyer"];
    assert_eq!(buyer.is_object(), told.len() == 1, "{results}");
    assert_eq!(model.calls().len(), 2, "nothing is asked for after it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_wait_for_a_least_number_of_members_no_longer_than_until_it_is_there() {
    let mut schema = order();
    schema
        .as_object_mut()
        .unwrap()
        .shift_remove("dependentRequired");
    schema["minProperties"] = json!(2);
    let model = Scripted::new(|subtree, _| Reply::Value(only(subtree)));
    let model = model.in_manner(apart(true));
    model.close();
    let app = app(&model).await;
    let config = json!({"max_num_concurrent_requests": 1});
    let job = app.submit(&app.job_body(schema, config).await).await;
    let mut stream = app.follow(&job, None).await;
    model.pass(2);
    // Two of three are told before the third is there.
    let first = stream.until("subtree_result").await;
    let second = stream.until("subtree_result").await;
    model.until_asked(3).await;
    let ids =
        [&first, &second].map(|frames| frames.last().unwrap().payload()["subtree_id"].clone());
    assert_ne!(ids[0], ids[1]);
    model.pass(1);
    let rest = stream.rest().await;
    assert_eq!(rest.last().unwrap().payload()["subtrees_succeeded"], 3);
    assert_eq!(
        app.results(&job).await.body["metadata"]["validation"]["valid"],
        true
    );
}
