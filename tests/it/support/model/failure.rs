//! How a vendor refuses, in no wire's words.

use std::time::Duration;

use super::asked::{Asked, Wire};
use super::{anthropic, gemini, openai};

/// Stands in every error body; must never be seen outside.
pub const CANARY: &str = "SECRET-CANARY-51c7";

/// How a 429 says when to come again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hint {
    None,
    /// `retry-after`, whole seconds.
    Seconds(u64),
    /// `retry-after` as an HTTP date, so many seconds ahead.
    Date(u64),
    /// `retry-after-ms` beside `retry-after` rounded up.
    Millis(u64),
    /// In the body: Gemini's `RetryInfo`, OpenAI's sentence. Anthropic has none there.
    Body(Duration),
}

impl Hint {
    /// What the client must wait, as far as the hint can tell it.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Seconds(seconds) | Self::Date(seconds) => Some(Duration::from_secs(seconds)),
            Self::Millis(millis) => Some(Duration::from_millis(millis)),
            Self::Body(wait) => Some(wait),
        }
    }

    pub fn headers(self) -> Vec<(String, String)> {
        let header = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::None | Self::Body(_) => Vec::new(),
            Self::Seconds(seconds) => vec![header("retry-after", seconds.to_string())],
            Self::Date(seconds) => vec![header("retry-after", http_date(seconds))],
            Self::Millis(millis) => vec![
                header("retry-after-ms", millis.to_string()),
                header("retry-after", millis.div_ceil(1000).to_string()),
            ],
        }
    }
}

/// So many seconds ahead; dates have whole seconds, so the next one is taken.
fn http_date(seconds: u64) -> String {
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds as i64 + 1);
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&ahead)
        .unwrap()
}

#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// 400: the vendor cannot use the schema.
    BadSchema,
    /// 400: the vendor cannot read the document.
    BadDocument,
    /// 400: a request that breaks the wire's rules, with the vendor's sentence.
    Invalid(String),
    /// 400 at the vendors that say so by status.
    Blocked,
    /// The key is not one: 400 at Gemini, 401 elsewhere.
    BadKey,
    /// 401 at all of them.
    Unauthorized,
    Forbidden,
    /// 403: the call names a cached content that is not there.
    ContentGone,
    NotFound,
    RateLimit(Hint),
    /// 429 that waiting does not end.
    QuotaGone,
    Internal,
    /// 502 with a page of HTML from something in between.
    BadGateway,
    Unavailable,
    /// 529.
    Overloaded,
    /// llama.cpp while it reads its weights.
    Loading,
    /// llama.cpp with a prompt that does not fit.
    ContextExceeded,
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Failure {
    pub fn on(&self, asked: &Asked) -> Refusal {
        let (status, body) = match (self, asked.wire) {
            (Self::BadGateway, _) => (502, html("502 Bad Gateway")),
            (Self::Loading | Self::ContextExceeded, _) => openai::llama(self),
            (_, Wire::Gemini) => gemini::failure(self, asked),
            (_, Wire::OpenAi) => openai::failure(self, asked),
            (_, Wire::Anthropic) => anthropic::failure(self, asked),
        };
        let kind = if *self == Self::BadGateway {
            "text/html"
        } else {
            "application/json"
        };
        let mut headers = vec![("content-type".to_owned(), kind.to_owned())];
        if let Self::RateLimit(hint) = self {
            headers.extend(match (asked.wire, hint) {
                (Wire::Anthropic, Hint::Body(wait)) => {
                    Hint::Seconds(wait.as_secs_f64().ceil() as u64).headers()
                }
                _ => hint.headers(),
            });
        }
        Refusal {
            status,
            headers,
            body,
        }
    }
}

pub fn html(title: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<!-- {CANARY} -->\r\n</body>\r\n</html>\r\n"
    )
}
