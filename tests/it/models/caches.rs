//! Documents that the provider is asked to keep between the calls of a job.

use std::time::Duration;

use serde_json::{Value, json};

use super::{model_of, narrow, only};
use crate::support::app::{TestApp, wide_schema};
use crate::support::model::{Asked, Failure, Hint, Server, Wire};

const MARK: &str = "Weather station on the northern pier";
const SUBTREES: usize = 6;

/// A server whose jobs of [`SUBTREES`] parts ask for each in a call.
async fn app(server: &Server, wire: Wire) -> TestApp {
    let provider = narrow(server, wire);
    TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

async fn body(app: &TestApp, is_kept: bool) -> Value {
    let document = app.upload("note.txt", format!("{MARK}\n").repeat(40)).await;
    json!({
        "document_id": document.body["document_id"],
        "schema": wide_schema(SUBTREES),
        // A call each.
        "config": {
            "use_explicit_context_cache": is_kept,
            "cache": "off",
            "splitter_configs": {"max_tokens_per_call": 16},
        },
    })
}

/// Runs the job; its end, after a look at its events: nothing was asked again.
async fn end(app: &TestApp, body: &Value) -> Value {
    let job = app.submit(body).await;
    let frames = app.follow(&job, None).await.rest().await;
    assert!(frames.iter().all(|frame| frame.event != "subtree_retry"));
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false)),
        "{end}"
    );
    end
}

/// Names of the copies that the calls named, and whether the document was in them.
fn named(asked: &[Asked]) -> Vec<(Option<&str>, bool)> {
    let one = |asked: &Asked| {
        asked
            .body
            .windows(MARK.len())
            .any(|at| at == MARK.as_bytes())
    };
    asked
        .iter()
        .map(|asked| (asked.json["cachedContent"].as_str(), one(asked)))
        .collect()
}

fn made(server: &Server) -> usize {
    let aside = server.aside();
    aside.iter().filter(|asked| asked.method == "POST").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_kept_once_and_named_by_all_calls_of_its_jobs() {
    let server = Server::start();
    let app = app(&server, Wire::Gemini).await;
    let body = body(&app, true).await;
    let first = end(&app, &body).await;
    let names = server.cached();
    assert_eq!((made(&server), names.len()), (1, 1));
    let asked = server.asked();
    assert_eq!(
        named(&asked),
        vec![(Some(names[0].as_str()), false); SUBTREES]
    );
    let kept: u64 = asked.iter().map(|asked| asked.kept).sum();
    assert!(kept > 40 * 8 * SUBTREES as u64, "{kept}");
    let usage = &first["usage_metadata"];
    assert_eq!(usage["cached_content_token_count"], json!(kept), "{usage}");
    assert!(
        usage["prompt_token_count"].as_u64().unwrap() > kept,
        "{usage}"
    );
    assert_eq!(usage["request_count"], json!(SUBTREES));

    // Another job over the same document finds the copy.
    end(&app, &body).await;
    assert_eq!((made(&server), server.count()), (1, 2 * SUBTREES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_the_provider_has_dropped_is_done_without() {
    let server = Server::start();
    let app = app(&server, Wire::Gemini).await;
    let mut body = body(&app, true).await;
    body["config"]["max_num_concurrent_requests"] = json!(1);
    end(&app, &body).await;
    server.expire_contents();
    let second = end(&app, &body).await;
    let asked = server.asked();
    // One call finds out; it and all others are sent with the document.
    assert_eq!(asked.len(), 2 * SUBTREES + 1);
    let named = named(&asked[SUBTREES..]);
    assert_eq!(named[0], (Some("cachedContents/1"), false));
    assert_eq!(named[1..], vec![(None, true); SUBTREES]);
    assert_eq!(made(&server), 1);
    let usage = &second["usage_metadata"];
    assert_eq!(usage["request_count"], json!(SUBTREES + 1));
    assert_eq!(usage["cached_content_token_count"], json!(0));
    // What was refused cost nothing.
    assert!(usage["cost_usd"].as_f64().unwrap() > 0.0, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_too_small_to_be_kept_is_offered_once_and_sent() {
    let server = Server::start();
    server.least_content(1_000_000);
    let app = app(&server, Wire::Gemini).await;
    let body = body(&app, true).await;
    end(&app, &body).await;
    assert_eq!(named(&server.asked()), vec![(None, true); SUBTREES]);
    assert_eq!((made(&server), server.cached().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_keeps_nothing_for_now_is_not_asked_for_an_answer_either() {
    let server = Server::start();
    let wait = Duration::from_millis(700);
    server.refuse_content(Failure::RateLimit(Hint::Body(wait)));
    let app = app(&server, Wire::Gemini).await;
    let body = body(&app, true).await;
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    assert_eq!(end["status"], "completed", "{end}");
    let aside = server.aside();
    let made: Vec<_> = aside
        .iter()
        .filter(|asked| asked.method == "POST")
        .collect();
    assert_eq!((made.len(), server.cached().len()), (2, 1));
    let early = |asked: &&Asked| asked.at < made[0].at + wait;
    assert_eq!(server.asked().iter().filter(early).count(), 0);
    assert!(made[1].at >= made[0].at + wait);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_or_marked_unless_the_job_asks_for_it() {
    for wire in [Wire::Gemini, Wire::Anthropic] {
        for is_kept in [false, true] {
            let server = Server::start();
            let app = app(&server, wire).await;
            let body = body(&app, is_kept).await;
            end(&app, &body).await;
            let asked = server.asked();
            let text = String::from_utf8_lossy(&asked[0].body).into_owned();
            let is_marked = text.contains("cachedContent") || text.contains("cache_control");
            assert_eq!(is_marked, is_kept, "{wire:?}: {text}");
            assert_eq!(made(&server) > 0, is_kept && wire == Wire::Gemini);
        }
    }
}
