//! A key with a limit, and jobs that ask for more than it allows. Calls are counted, not timed:
//! the times that are compared are the provider's own.

use std::time::Duration;

use serde_json::json;

use super::{model_of, narrow, only};
use crate::support::app::{TestApp, wide_schema};
use crate::support::model::limit::Style;
use crate::support::model::reply::Reply;
use crate::support::model::{Failure, Hint, Limit, Server, Wire};

const CALLS: usize = 20;
/// What is sent within this after a refusal may have been on its way; the waits are longer.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

async fn app(server: &Server, wire: Wire) -> TestApp {
    let provider = narrow(server, wire);
    TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

/// Runs a job of [`CALLS`] calls to its end, all at once if they may.
async fn run(app: &TestApp) {
    // A call each.
    let config = json!({
        "max_num_concurrent_requests": 20,
        "cache": "off",
        "splitter_configs": {"max_tokens_per_call": 16},
    });
    let body = app.job_body(wide_schema(CALLS), config).await;
    let end = app.end_of(&app.submit(&body).await).await;
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false)),
        "{end}"
    );
}

/// Calls that came although a refusal had told to wait longer.
fn early(server: &Server) -> usize {
    let refusals = server.refusals();
    let is_early = |at| {
        let too_soon = |(sent, until): &(_, _)| at > *sent + ON_ITS_WAY && at < *until;
        refusals.iter().any(too_soon)
    };
    server
        .asked()
        .iter()
        .filter(|asked| is_early(asked.at))
        .count()
}

async fn hold(wire: Wire, style: Style) {
    let server = Server::start();
    server.limit(Limit::new(4.0, 5.0, style));
    let app = app(&server, wire).await;
    run(&app).await;
    let first = server.counts();
    // The limit is learned once, not by each subtree.
    assert!((1..=5).contains(&first.refused), "{wire:?} {first:?}");
    tokio::join!(run(&app), run(&app));
    let all = server.counts();
    assert!(
        all.refused <= first.refused + 2,
        "{wire:?} {first:?} {all:?}"
    );
    assert_eq!(all.calls - all.refused, 3 * CALLS as u64, "{wire:?}");
    assert_eq!(early(&server), 0, "{wire:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_what_one_has_learned_when_waits_are_told_in_the_body() {
    hold(Wire::Gemini, Style::Body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_what_one_has_learned_when_waits_are_told_in_milliseconds() {
    hold(Wire::OpenAi, Style::Millis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_what_one_has_learned_when_waits_are_told_in_seconds() {
    hold(Wire::Anthropic, Style::Seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_without_a_wait_is_asked_again_on_every_wire() {
    for wire in super::WIRES {
        let server = Server::start();
        server.next([Failure::RateLimit(Hint::None)]);
        let app = app(&server, wire).await;
        let body = app.job_body(wide_schema(1), json!({})).await;
        let job = app.submit(&body).await;
        let end = app.end_of(&job).await;
        assert_eq!(end["status"], "completed", "{wire:?} {end}");
        assert_eq!(server.count(), 2, "{wire:?}");
        // The refused call cost nothing, so that the price of all is known.
        let usage = &end["usage_metadata"];
        assert!(
            usage["cost_usd"].as_f64().unwrap() > 0.0,
            "{wire:?} {usage}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_argument_that_is_not_named_is_looked_for_in_the_schema() {
    let bare = || Failure::Invalid("Request contains an invalid argument.".into());
    let server = Server::start();
    // Takes no more than two parts at once.
    server.script(move |asked| {
        let schema = asked.bound_schema()?;
        let parts = schema["properties"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        (parts > 2).then(|| Reply::from(bare()))
    });
    let provider = super::provider(&server, Wire::Gemini, true);
    let app = TestApp::start()
        .set("default_model", model_of(Wire::Gemini))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await;
    run(&app).await;

    // And one for which the schema is not to blame is not asked for ever.
    let before = server.count();
    server.always(Reply::from(bare()));
    let body = app.job_body(wide_schema(2), json!({"cache": "off"})).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(end["status"], "failed", "{end}");
    assert!(server.count() - before <= 8, "{}", server.count() - before);
    let errors: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event == "subtree_error")
        .collect();
    assert_eq!(errors.len(), 2);
}
