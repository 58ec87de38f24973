//! What the tests of the vendors share, and what holds for all of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::provider::client::answer::Answer;
use crate::provider::models::Models;

/// Bytes of an answer that the tests allow.
pub const CAP: usize = 64 * 1024;

/// What an upstream text holds that must not come out.
pub const CANARY: &str = "SECRET-CANARY";

pub fn ask(vendor: Vendor, model: &str) -> Ask {
    let profile = Models::known().unwrap().of_vendor(vendor, model).unwrap();
    Ask {
        model: model.to_owned(),
        output: profile.output,
        profile,
        system: "You read documents.".into(),
        document: vec![Part::Text("Invoice 7\nTotal 5.00".into())],
        task: "Give the total.".into(),
        schema: Some(json!({"type": "object", "properties": {"total": {"type": "number"}}})),
        temperature: None,
        seed: None,
        thinking: Thinking::Off,
        max_output_tokens: None,
        stream: true,
        logprobs: false,
        cache: Cache::Off,
    }
}

pub fn page(media_type: &'static str) -> Part {
    Part::File {
        media_type,
        bytes: Bytes::from_static(b"%PDF"),
        name: "in.pdf".into(),
        pages: 1,
    }
}

/// What came of an answer, its text put together.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    pub text: String,
    pub thoughts: String,
    pub logprobs: TokenLogprobs,
    pub tokens: Option<Tokens>,
    pub finish: Option<Finish>,
    pub failure: Option<FailureKind>,
}

impl Told {
    fn add(&mut self, deltas: Vec<Delta>) {
        for delta in deltas {
            assert!(self.finish.is_none(), "something follows the end");
            match delta {
                Delta::Text(text) => self.text += &text,
                Delta::Thought(text) => self.thoughts += &text,
                Delta::Logprobs(more) => {
                    self.logprobs.text.extend(more.text);
                    self.logprobs.tokens.extend(more.tokens);
                    let spelled = &self.logprobs.text[..];
                    assert!(
                        spelled.starts_with(self.text.as_bytes()),
                        "text before its tokens"
                    );
                }
                Delta::Tokens(tokens) => assert!(self.tokens.replace(tokens).is_none()),
                Delta::Finish(finish) => self.finish = Some(finish),
                Delta::Limits(_) => panic!("an answer has no limits in its body"),
            }
        }
    }
}

fn told(vendor: Vendor, ask: &Ask, pieces: &[&[u8]]) -> Told {
    let mut answer = Answer::new(vendor, ask, CAP);
    let mut told = Told::default();
    let mut read = Ok(());
    for piece in pieces {
        let mut out = Vec::new();
        read = answer.push(piece, &mut out);
        told.add(out);
        if read.is_err() || answer.is_ended() {
            break;
        }
    }
    let mut out = Vec::new();
    let read = read.and_then(|()| answer.end(&mut out));
    told.add(out);
    if let Err(failure) = read {
        assert!(!format!("{failure:?}").contains(CANARY), "{failure:?}");
        told.failure = Some(failure.kind);
    }
    told
}

/// What comes of an answer; the same wherever the network cuts it.
pub fn read(vendor: Vendor, ask: &Ask, body: impl AsRef<[u8]>) -> Told {
    let body = body.as_ref();
    let whole = told(vendor, ask, &[body]);
    let single: Vec<_> = body.chunks(1).collect();
    assert_eq!(told(vendor, ask, &single), whole, "byte for byte");
    for cut in 0..body.len() {
        let (head, tail) = body.split_at(cut);
        assert_eq!(told(vendor, ask, &[head, tail]), whole, "cut at {cut}");
    }
    whole
}

/// What a provider's refusal means.
pub fn sorted(vendor: Vendor, status: u16, body: &Value) -> FailureKind {
    let body = body.to_string();
    let sorted = vendor.wire().sort(status, body.as_bytes());
    sorted.kind
}

/// The order in which the paths of a body come.
fn order(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| order(value, &format!("{path}/{name}"), into)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| order(value, &format!("{path}/{index}"), into)),
        _ => into.push(path.to_owned()),
    }
}

#[test]
fn calls_of_one_job_have_the_same_bytes_up_to_the_task() {
    let models = BTreeMap::from([
        ("gemini-2.5-flash", Vendor::Gemini),
        ("gpt-5", Vendor::OpenAi),
        ("claude-opus-5", Vendor::Anthropic),
    ]);
    for (model, vendor) in models {
        let body = |task: &str, files: bool| {
            let mut ask = ask(vendor, model);
            ask.task = task.into();
            ask.cache = Cache::Marked;
            if files {
                ask.document.push(page("image/png"));
            }
            vendor.wire().body(&ask).to_string()
        };
        for files in [false, true] {
            let (a, b) = (body("ALPHA", files), body("BETA", files));
            let (before, _) = a.split_once("ALPHA").unwrap();
            assert!(b.starts_with(before), "{vendor:?}");
            assert!(before.contains("Invoice 7"), "{vendor:?}: {before}");
            assert_eq!(a, body("ALPHA", files));
        }
    }
}

#[test]
fn members_of_a_request_keep_their_order_whatever_is_set() {
    for (vendor, model) in [
        (Vendor::Gemini, "gemini-2.5-flash"),
        (Vendor::OpenAi, "gpt-5.1"),
        (Vendor::Anthropic, "claude-sonnet-4-6"),
    ] {
        let mut few = Vec::new();
        let mut ask = ask(vendor, model);
        order(&vendor.wire().body(&ask), "", &mut few);
        ask.temperature = Some(0.5);
        ask.seed = Some(7);
        ask.max_output_tokens = Some(9_000);
        let mut all = Vec::new();
        order(&vendor.wire().body(&ask), "", &mut all);
        all.retain(|path| few.contains(path));
        assert_eq!(all, few, "{vendor:?}");
    }
}

#[test]
fn what_is_no_answer_is_told_apart_from_what_is_cut() {
    for (vendor, model) in [
        (Vendor::Gemini, "gemini-2.5-flash"),
        (Vendor::OpenAi, "gpt-5"),
        (Vendor::Anthropic, "claude-opus-5"),
    ] {
        let mut ask = ask(vendor, model);
        let kind = |ask: &Ask, body: &[u8]| {
            let told = read(vendor, ask, body);
            assert_eq!((told.finish, told.text.as_str()), (None, ""), "{vendor:?}");
            told.failure.unwrap()
        };
        assert_eq!(kind(&ask, b""), FailureKind::Broken);
        assert_eq!(
            kind(&ask, b"<html>SECRET-CANARY</html>\n\n"),
            FailureKind::Broken
        );
        assert_eq!(kind(&ask, b"data: {\"choi"), FailureKind::Broken);
        assert_eq!(kind(&ask, b"data: \xff\xfe\n\n"), FailureKind::Broken);
        assert_eq!(
            kind(&ask, b"data: SECRET-CANARY\n\n"),
            FailureKind::Malformed
        );
        ask.stream = false;
        assert_eq!(kind(&ask, b"<html>"), FailureKind::Malformed);
        assert_eq!(kind(&ask, b""), FailureKind::Malformed);
        assert_eq!(kind(&ask, b"{}"), FailureKind::Broken);
    }
}

#[test]
fn only_an_answer_that_stopped_by_itself_is_a_success() {
    let kind = |finish: Finish| finish.check().map_err(|failure| failure.kind);
    assert_eq!(kind(Finish::Stop), Ok(()));
    assert_eq!(kind(Finish::Length), Err(FailureKind::Truncation));
    assert_eq!(kind(Finish::Unknown), Err(FailureKind::Malformed));
    let refused = Finish::Refused { category: "safety" }.check().unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refusal);
    assert_eq!(
        refused.message,
        "The provider refused to answer (category safety)."
    );
}

#[test]
fn deep_nesting_and_large_bodies_are_refused_and_harm_nothing() {
    for (vendor, model) in [
        (Vendor::Gemini, "gemini-2.5-flash"),
        (Vendor::OpenAi, "gpt-5"),
        (Vendor::Anthropic, "claude-opus-5"),
    ] {
        let mut ask = ask(vendor, model);
        for stream in [true, false] {
            ask.stream = stream;
            let prefix = if stream { "data: " } else { "" };
            let deep = format!("{prefix}{}\n\n", "[".repeat(CAP - 100));
            let large = format!("{prefix}\"{}\"\n\n", "x".repeat(2 * CAP));
            for body in [deep, large] {
                for size in [1_024, usize::MAX] {
                    let pieces: Vec<_> = body.as_bytes().chunks(size).collect();
                    let told = told(vendor, &ask, &pieces);
                    assert_eq!(told.failure, Some(FailureKind::Malformed), "{vendor:?}");
                }
            }
        }
    }
}

#[test]
fn every_error_text_stays_outside() {
    let canary = json!({"error": {
        "message": CANARY, "type": CANARY, "code": CANARY, "param": CANARY, "status": CANARY,
        "details": [{"@type": CANARY, "reason": CANARY, "retryDelay": CANARY}],
    }});
    for vendor in Vendor::ALL {
        for status in [
            200, 302, 400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529, 599,
        ] {
            let sorted = vendor.wire().sort(status, canary.to_string().as_bytes());
            let failure = Failure::from(sorted).with_status(status);
            assert!(!format!("{failure:?}").contains(CANARY));
            assert!(failure.message.ends_with(&format!("(HTTP {status}).")));
        }
        for body in ["", "null", "[]", "\"SECRET-CANARY\"", "<html>", "\u{0}"] {
            let sorted = vendor.wire().sort(503, body.as_bytes());
            assert_eq!(sorted.kind, FailureKind::Overload);
        }
    }
}

#[test]
fn a_document_is_not_printed_with_its_request() {
    let mut ask = ask(Vendor::Gemini, "gemini-2.5-flash");
    ask.document.push(page("application/pdf"));
    let printed = format!("{:?}", ask.document);
    assert_eq!(printed, "[Text(20 bytes), File(application/pdf, 4 bytes)]");
}
