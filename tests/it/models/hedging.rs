//! Calls whose answer is late to begin.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rivulet::domain::error::Fault;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, CallError, Provider as _};
use rivulet::provider::server::{Options, Server};
use serde_json::json;

use super::scenarios::call;
use super::{WIRES, model_of, only, opened, options};
use crate::support::app::{TestApp, wide_schema};
use crate::support::model::reply::End;
use crate::support::model::{self, Failure, Hint, Reply, Wire};

/// Answers that are known before one can be late.
const KNOWN: usize = 20;
const SLOW: Duration = Duration::from_millis(400);

fn hedged(server: &model::Server, wire: Wire, hedging: bool) -> Arc<Server> {
    opened(Options {
        hedging,
        ..options(server, wire)
    })
}

/// What a call came to: subtrees, bill, error.
async fn asked(provider: &Server, wire: Wire) -> (Vec<usize>, Usage, Option<CallError>) {
    let (mut subtrees, mut bill, mut error) = (Vec::new(), Usage::default(), None);
    let mut answers = provider.ask(call(wire));
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Answer::Subtree { index, .. }) => subtrees.push(index),
            Ok(Answer::Usage(usage)) => bill = usage,
            Ok(
                Answer::Held { .. }
                | Answer::Begun { .. }
                | Answer::Written { .. }
                | Answer::Again(_)
                | Answer::Cut { .. },
            ) => {}
            Err(failed) => error = Some(failed),
        }
    }
    subtrees.sort_unstable();
    (subtrees, bill, error)
}

/// So many calls that one in [`KNOWN`] of them took [`SLOW`], the others next to nothing.
async fn warm(server: &model::Server, provider: &Server, wire: Wire) {
    server.next([Reply::honest().delayed(SLOW)]);
    for _ in 0..KNOWN {
        assert_eq!(asked(provider, wire).await.0, [0, 1]);
    }
    assert_eq!(server.count(), KNOWN);
}

fn silence() -> Reply {
    Reply::honest().ending(End::HangBefore)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_call_is_sent_again_and_the_answer_that_begins_first_is_the_only_one() {
    for wire in WIRES {
        let server = model::Server::start();
        let provider = hedged(&server, wire, true);
        warm(&server, &provider, wire).await;
        let served = Arc::clone(&provider);
        let app = TestApp::start()
            .set("default_model", model_of(wire))
            .build(move |builder| builder.providers(only(&served)))
            .run()
            .await;
        server.next([silence()]);
        let body = app.job_body(wide_schema(3), json!({})).await;
        let job = app.submit(&body).await;
        let frames = app.follow(&job, None).await.rest().await;
        let count = |event: &str| frames.iter().filter(|frame| frame.event == event).count();
        assert_eq!(
            (
                count("subtree_result"),
                count("subtree_error"),
                count("subtree_retry")
            ),
            (3, 0, 0),
            "{wire:?}"
        );
        let usage = &frames.last().unwrap().payload()["usage_metadata"];
        assert_eq!(usage["request_count"], json!(2), "{wire:?} {usage}");
        // What the one cost that was dropped nobody tells.
        assert_eq!(usage["cost_usd"], json!(null), "{wire:?} {usage}");
        assert_eq!(server.count(), KNOWN + 2, "{wire:?}");
        server.until_abandoned(1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_call_that_answers_after_all_is_read_when_its_second_fails() {
    let server = model::Server::start();
    let provider = hedged(&server, Wire::Gemini, true);
    warm(&server, &provider, Wire::Gemini).await;
    server.next([
        Reply::honest().delayed(SLOW * 3),
        Reply::from(Failure::Internal),
    ]);
    let (subtrees, bill, error) = asked(&provider, Wire::Gemini).await;
    assert_eq!((subtrees, error.is_none()), (vec![0, 1], true));
    assert_eq!((bill.request_count, bill.cost_usd), (2, None));
    assert_eq!(server.count(), KNOWN + 2);

    // And the other way round: the first fails when the second is on its way.
    let failure = Reply::from(Failure::Internal).delayed(SLOW * 2);
    server.next([failure, Reply::honest().delayed(SLOW * 2)]);
    let (subtrees, _, error) = asked(&provider, Wire::Gemini).await;
    assert_eq!((subtrees, error.is_none()), (vec![0, 1], true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_sent_again_where_it_is_off_or_times_do_not_spread() {
    let off = async {
        let server = model::Server::start();
        let provider = hedged(&server, Wire::OpenAi, false);
        warm(&server, &provider, Wire::OpenAi).await;
        (server, provider)
    };
    let even = async {
        let server = model::Server::start();
        let provider = hedged(&server, Wire::OpenAi, true);
        server.always(Reply::honest().delayed(SLOW));
        let calls = (0..KNOWN).map(|_| asked(&provider, Wire::OpenAi));
        futures_util::future::join_all(calls).await;
        server.relent();
        (server, provider)
    };
    let (off, even) = tokio::join!(off, even);
    for (server, provider) in [off, even] {
        server.next([silence()]);
        let (subtrees, bill, error) = asked(&provider, Wire::OpenAi).await;
        assert_eq!(error.unwrap().fault, Fault::Timeout);
        assert_eq!((subtrees.len(), bill.request_count), (0, 1));
        assert_eq!(server.count(), KNOWN + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_sent_again_while_the_provider_asks_for_fewer() {
    let server = model::Server::start();
    let provider = hedged(&server, Wire::OpenAi, true);
    warm(&server, &provider, Wire::OpenAi).await;
    server.next([silence(), Failure::RateLimit(Hint::Seconds(30)).into()]);
    let other = async {
        server.until_asked(KNOWN + 1).await;
        asked(&provider, Wire::OpenAi).await
    };
    let (late, refused) = tokio::join!(asked(&provider, Wire::OpenAi), other);
    assert_eq!(refused.2.unwrap().fault, Fault::ProviderRateLimit);
    assert_eq!(late.2.unwrap().fault, Fault::Timeout);
    assert_eq!(server.count(), KNOWN + 2);
}
