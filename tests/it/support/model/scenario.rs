//! Every way an answer can go, as data.

use std::time::Duration;

use serde_json::{Value, json};

use super::asked::{Asked, Wire};
use super::failure::{CANARY, Failure, Hint, html};
use super::limit::rate_headers;
use super::pace::Pace;
use super::reply::{End, Reply, What};
use super::speech::{BAD_BYTE, Ending, HUGE, Part, Speech};

/// Levels of nesting that no reader may follow.
pub const DEEP: usize = 100_000;

macro_rules! scenarios {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Scenario { $($(#[$doc])* $variant,)* }

        impl Scenario {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|scenario| scenario.name() == name)
            }
        }
    };
}

scenarios! {
    Ok "ok";
    /// At the pace of [`Pace::usual`].
    Slow "slow";
    Bytewise "bytewise";
    Thoughts "thoughts";
    /// The answer in two parts.
    ManyParts "many_parts";
    ExtraFields "extra_fields";
    NoUsage "no_usage";
    Fenced "fenced";
    Prose "prose";
    /// Half the answer, and the reason says so.
    Truncated "truncated";
    /// The limit was reached before a word was said.
    TruncatedEmpty "truncated_empty";
    /// Half the answer, and the reason says that it is whole.
    HalfSaid "half_said";
    Refusal "refusal";
    Filtered "filtered";
    Blocked "blocked";
    Empty "empty";
    UnknownReason "unknown_reason";
    Malformed "malformed";
    WrongSchema "wrong_schema";
    DuplicateKeys "duplicate_keys";
    BadUtf8 "bad_utf8";
    /// In the model's text.
    DeepText "deep_text";
    /// In place of the wire's own JSON.
    DeepBody "deep_body";
    /// 64 MiB of answer, in many frames when it is streamed.
    Huge "huge";
    /// 64 MiB on one line.
    HugeLine "huge_line";
    /// A page of HTML under 200.
    HtmlOk "html_ok";
    NoBody "no_body";
    RateSeconds "rate_seconds";
    RateDate "rate_date";
    RateMillis "rate_millis";
    RateBody "rate_body";
    RateAbsurd "rate_absurd";
    RateBare "rate_bare";
    /// With the vendor's rate headers beside the hint.
    RateTold "rate_told";
    QuotaGone "quota_gone";
    BadSchema "bad_schema";
    BadDocument "bad_document";
    BadKey "bad_key";
    Unauthorized "unauthorized";
    Forbidden "forbidden";
    NotFound "not_found";
    Internal "internal";
    BadGateway "bad_gateway";
    Unavailable "unavailable";
    Overloaded "overloaded";
    Loading "loading";
    ContextExceeded "context_exceeded";
    /// An error after half of the answer; without a stream a 200 with the error in its body.
    BrokenInside "broken_inside";
    Cut "cut";
    HangBefore "hang_before";
    HangInside "hang_inside";
    Reset "reset";
}

impl Scenario {
    /// The answer to `asked` when the honest one is `value`.
    pub fn reply(self, asked: &Asked, value: &Value) -> Reply {
        let text = value.to_string();
        let honest = || Reply::from(Speech::text(&text));
        let ended = |text: &str, ending| Reply::from(Speech::text(text).ending(ending));
        let silent = |ending| Reply::from(Speech::parts(Vec::new()).ending(ending));
        match self {
            Self::Ok => honest(),
            Self::Slow => honest().paced(Pace::usual()),
            Self::Bytewise => honest().bytewise(),
            Self::Thoughts => Speech::parts(vec![
                Part::Thought("The document names a total. {\"not\": \"the answer\"}".into()),
                Part::Text(text),
            ])
            .into(),
            Self::ManyParts => {
                let (head, tail) = halves(&text);
                Speech::parts(vec![Part::Text(head), Part::Text(tail)]).into()
            }
            Self::ExtraFields => Speech::text(text).with_extras().into(),
            Self::NoUsage => Speech::text(text).without_usage().into(),
            Self::Fenced => Reply::text(format!("```json\n{text}\n```")),
            Self::Prose => Reply::text(format!(
                "Here is what I found:\n\n{text}\n\nAsk me for more."
            )),
            Self::Truncated => ended(&halves(&text).0, Ending::Length),
            Self::TruncatedEmpty => silent(Ending::Length),
            Self::HalfSaid => Reply::text(halves(&text).0),
            Self::Refusal => silent(Ending::Refusal("I cannot help with this document.".into())),
            Self::Filtered => silent(Ending::Filtered),
            Self::Blocked if asked.wire == Wire::Gemini => silent(Ending::Blocked),
            Self::Blocked => Failure::Blocked.into(),
            Self::Empty => silent(Ending::Stop),
            Self::UnknownReason => ended(&text, Ending::Unknown),
            Self::Malformed => Reply::text(text.replacen(':', "=", 1)),
            Self::WrongSchema => Reply::value(wrong(value)),
            Self::DuplicateKeys => Reply::text(doubled(value)),
            Self::BadUtf8 => Reply::text(spoiled(&text)),
            Self::DeepText => Reply::text("[".repeat(DEEP) + &"]".repeat(DEEP)).step(4096),
            Self::DeepBody => deep_body(asked),
            Self::Huge => {
                let mut reply = Reply::text(format!("{{\"a\": \"{HUGE}\"}}")).step(usize::MAX);
                reply.manner.many_frames = true;
                reply
            }
            Self::HugeLine => Reply::text(format!("{{\"a\": \"{HUGE}\"}}")).step(usize::MAX),
            Self::HtmlOk => Reply::raw(200, "text/html", html("Sign in")),
            Self::NoBody => Reply::raw(200, body_kind(asked), ""),
            Self::BrokenInside => broken(asked, &text),
            Self::Cut => honest().ending(End::Cut),
            Self::HangInside => honest().ending(End::HangInside),
            Self::HangBefore => honest().ending(End::HangBefore),
            Self::Reset => honest().ending(End::Reset),
            Self::RateTold => told(asked),
            refused => refused.failure().into(),
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::RateSeconds => Failure::RateLimit(Hint::Seconds(1)),
            Self::RateDate => Failure::RateLimit(Hint::Date(1)),
            Self::RateMillis => Failure::RateLimit(Hint::Millis(150)),
            Self::RateBody => Failure::RateLimit(Hint::Body(Duration::from_millis(1150))),
            Self::RateAbsurd => Failure::RateLimit(Hint::Seconds(1_000_000_000)),
            Self::RateBare => Failure::RateLimit(Hint::None),
            Self::QuotaGone => Failure::QuotaGone,
            Self::BadSchema => Failure::BadSchema,
            Self::BadDocument => Failure::BadDocument,
            Self::BadKey => Failure::BadKey,
            Self::Unauthorized => Failure::Unauthorized,
            Self::Forbidden => Failure::Forbidden,
            Self::NotFound => Failure::NotFound,
            Self::BadGateway => Failure::BadGateway,
            Self::Unavailable => Failure::Unavailable,
            Self::Overloaded => Failure::Overloaded,
            Self::Loading => Failure::Loading,
            Self::ContextExceeded => Failure::ContextExceeded,
            _ => Failure::Internal,
        }
    }
}

fn halves(text: &str) -> (String, String) {
    let half = text.chars().count().div_ceil(2);
    (
        text.chars().take(half).collect(),
        text.chars().skip(half).collect(),
    )
}

/// The value with its first leaf of a kind that its schema cannot have meant.
fn wrong(value: &Value) -> Value {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let mut members = members.clone();
            let first = members.values_mut().next().unwrap();
            *first = wrong(first);
            Value::Object(members)
        }
        Value::Array(items) if !items.is_empty() => {
            let mut items = items.clone();
            items[0] = wrong(&items[0]);
            Value::Array(items)
        }
        _ => json!([{"unasked": [1, 2, 3]}]),
    }
}

/// The object's text with its first key a second time, and another value there.
fn doubled(value: &Value) -> String {
    let text = value.to_string();
    match value.as_object().and_then(|members| members.keys().next()) {
        Some(key) => format!(
            "{},{}:\"the second\"}}",
            &text[..text.len() - 1],
            json!(key)
        ),
        None => format!("{{\"a\":{text},\"a\":\"the second\"}}"),
    }
}

/// The text with a byte that is no UTF-8 in its first string value.
fn spoiled(text: &str) -> String {
    let at = text.find(":\"").map_or(text.len(), |at| at + 2);
    format!("{}{BAD_BYTE}{}", &text[..at], &text[at..])
}

fn body_kind(asked: &Asked) -> &'static str {
    if asked.stream {
        "text/event-stream"
    } else {
        "application/json"
    }
}

fn deep_body(asked: &Asked) -> Reply {
    let deep = "[".repeat(DEEP) + &"]".repeat(DEEP);
    let body = match (asked.stream, asked.wire) {
        (false, _) => deep,
        (true, Wire::Anthropic) => format!("event: content_block_delta\ndata: {deep}\n\n"),
        (true, _) => format!("data: {deep}\n\n"),
    };
    Reply::raw(200, body_kind(asked), body)
}

fn broken(asked: &Asked, text: &str) -> Reply {
    if asked.stream {
        return Speech::text(halves(text).0).ending(Ending::Broken).into();
    }
    let body = Failure::Internal.on(asked).body;
    Reply::raw(200, "application/json", body)
}

/// 429 with a second's hint and the vendor's own headers of both its limits.
fn told(asked: &Asked) -> Reply {
    let mut reply = Reply::new(What::Failure(Failure::RateLimit(Hint::Seconds(1))));
    reply.headers = rate_headers(asked.wire, "requests", 60.0, 0.0, 60.0);
    reply.headers.extend(rate_headers(
        asked.wire, "tokens", 150_000.0, 149_000.0, 0.4,
    ));
    reply.header("x-debug", CANARY)
}
