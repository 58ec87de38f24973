//! Every way an answer can go, in every wire format, streamed and not: what the engine is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use rivulet::document::Readers;
use rivulet::domain::document::{Document, Kind};
use rivulet::domain::error::Fault;
use rivulet::domain::plan::Plan;
use rivulet::domain::plan::SplitterConfigs;
use rivulet::engine::ports::{Answer, Call, CallError, Provider, Reader as _};
use serde_json::{Value, json};

use super::{WIRES, model_of, provider};
use crate::support::model::{CANARY, Reply, Scenario, Server, Wire};

const TEXT: &str =
    "Invoice number: R-1017\nSeller: Müller & Söhne\nCity: Köln\nTotal: 1204.5\nPaid: yes\n";

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "head": {"type": "object", "properties": {
            "invoice_number": {"type": ["string", "null"]}, "total": {"type": ["number", "null"]},
            "paid": {"type": ["boolean", "null"]}, "due": {"type": ["string", "null"]}}},
        "seller": {"type": "object", "properties": {
            "seller": {"type": ["string", "null"]}, "city": {"type": ["string", "null"]},
            "phone": {"type": ["string", "null"]}, "fax": {"type": ["string", "null"]}}},
    }})
}

fn document() -> Arc<Document> {
    let document = Readers.read(TEXT.as_bytes()).unwrap();
    assert_eq!(document.kind, Kind::Text);
    Arc::new(document)
}

pub(super) fn call(wire: Wire) -> Call {
    let plan = Plan::of(&schema(), SplitterConfigs::default());
    Call {
        model: model_of(wire).into(),
        document: document(),
        subtrees: (0..plan.subtrees.len()).collect(),
        attachments: Arc::default(),
        plan: Arc::new(plan),
        plan_key: "a".into(),
        additional_instructions: None,
        temperature: None,
        seed: None,
        enable_thinking: false,
        per_key_attribution: false,
        use_explicit_context_cache: false,
        corrections: Vec::new(),
        keeps_rows: false,
    }
}

/// What one call came to.
#[derive(Debug)]
struct Came {
    subtrees: BTreeSet<usize>,
    values: Vec<Value>,
    error: Option<CallError>,
    requests: usize,
}

async fn ask(scenario: Scenario, wire: Wire, stream: bool) -> Came {
    let server = Server::start();
    server.always(Reply::from(scenario));
    let provider = provider(&server, wire, stream);
    let mut answers = provider.ask(call(wire));
    let mut came = Came {
        subtrees: BTreeSet::new(),
        values: Vec::new(),
        error: None,
        requests: 0,
    };
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Answer::Subtree { index, value, .. }) => {
                assert!(
                    came.subtrees.insert(index),
                    "{scenario:?} {wire:?}: {index} twice"
                );
                came.values.push(value);
            }
            Ok(_) => assert!(came.error.is_none(), "the error comes last"),
            Err(error) => came.error = Some(error),
        }
    }
    came.requests = server.count();
    came
}

/// What a scenario has to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// Both subtrees, and no error.
    Whole,
    /// This fault, whatever had closed before.
    Fault(Fault),
    /// Less than all, and no fault of the call: the engine asks for the rest.
    Less,
}

fn expected(scenario: Scenario, wire: Wire, stream: bool) -> Expected {
    use Expected::{Fault as F, Less, Whole};
    use Scenario as S;
    match scenario {
        S::Ok
        | S::Slow
        | S::Bytewise
        | S::Thoughts
        | S::ManyParts
        | S::ExtraFields
        | S::NoUsage
        | S::Fenced
        | S::Prose
        | S::DuplicateKeys => Whole,
        // All had closed before the reason came that nobody knows.
        S::UnknownReason => Whole,
        // Its form is wrong and its JSON is not: that is the engine's to say.
        S::WrongSchema => Whole,
        S::HalfSaid | S::Empty | S::DeepText => Less,
        S::Truncated | S::TruncatedEmpty => F(Fault::OutputTruncated),
        S::Refusal | S::Filtered | S::Blocked => F(Fault::ContentFiltered),
        S::Malformed => F(Fault::InvalidJson),
        // Many small frames are text that is too long, one large one is no frame.
        S::Huge if stream => F(Fault::InvalidJson),
        S::BadUtf8 | S::DeepBody | S::Huge | S::HugeLine | S::HtmlOk | S::NoBody => {
            F(Fault::ProviderError)
        }
        S::RateSeconds
        | S::RateDate
        | S::RateMillis
        | S::RateBody
        | S::RateAbsurd
        | S::RateBare
        | S::RateTold => F(Fault::ProviderRateLimit),
        S::QuotaGone => F(Fault::BudgetExceeded),
        S::BadSchema => F(Fault::SchemaTooComplex),
        S::BadDocument => F(Fault::DocumentUnreadable),
        // The words are those of a server that speaks as OpenAI does.
        S::ContextExceeded if wire == Wire::OpenAi => F(Fault::DocumentUnreadable),
        S::ContextExceeded => F(Fault::Internal),
        S::BadKey | S::Unauthorized | S::Forbidden | S::NotFound => {
            F(Fault::ProviderAuthentication)
        }
        S::Unavailable if wire == Wire::Anthropic => F(Fault::ProviderError),
        S::BrokenInside if stream && wire != Wire::OpenAi => F(Fault::ProviderOverloaded),
        S::Unavailable | S::Overloaded | S::Loading => F(Fault::ProviderOverloaded),
        S::Internal | S::BadGateway | S::BrokenInside | S::Cut | S::Reset => {
            F(Fault::ProviderError)
        }
        S::HangBefore | S::HangInside => F(Fault::Timeout),
    }
}

async fn hold(wire: Wire, stream: bool) {
    let mut wrong = Vec::new();
    for scenario in Scenario::ALL {
        let came = ask(*scenario, wire, stream).await;
        let is_right = match (expected(*scenario, wire, stream), &came.error) {
            (Expected::Whole, None) => came.subtrees.len() == 2,
            (Expected::Less, None) => came.subtrees.len() < 2,
            (Expected::Fault(fault), Some(error)) => error.fault == fault,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{}: {came:?}", scenario.name()));
        }
        let shown = format!("{came:?}");
        assert!(!shown.contains(CANARY), "{}: {shown}", scenario.name());
    }
    assert!(
        wrong.is_empty(),
        "{wire:?}, stream {stream}:\n{}",
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemini_streamed() {
    hold(WIRES[0], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemini_as_a_whole() {
    hold(WIRES[0], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_streamed() {
    hold(WIRES[1], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_as_a_whole() {
    hold(WIRES[1], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anthropic_streamed() {
    hold(WIRES[2], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anthropic_as_a_whole() {
    hold(WIRES[2], false).await;
}
