//! The exchange with a model, whoever serves it: what is asked, what comes back, what it costs.
//!
//! A [`Wire`] is the dialect of one vendor: it writes requests and reads answers, and touches no
//! socket. [`client`](super::client) carries the bytes.

pub mod failure;
pub mod headers;
pub mod key;
pub mod logprobs;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::models::{Output, Profile, Temperature};
use super::{anthropic, gemini, openai};
pub use failure::{Failure, FailureKind};
pub use headers::{Limits, Quota};
pub use key::Key;
pub use logprobs::TokenLogprobs;

/// Whose wire format is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Gemini,
    /// Also every server that is compatible with it.
    OpenAi,
    Anthropic,
}

impl Vendor {
    pub const ALL: [Self; 3] = [Self::Gemini, Self::OpenAi, Self::Anthropic];

    /// Where the vendor itself serves.
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Gemini => "https://generativelanguage.googleapis.com",
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
        }
    }

    pub fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Gemini => &gemini::Gemini,
            Self::OpenAi => &openai::OpenAi,
            Self::Anthropic => &anthropic::Anthropic,
        }
    }
}

/// One request to a model.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The vendor's own name of it, without a prefix of ours.
    pub model: String,
    /// What the model takes: what it does not is left out of the request.
    pub profile: Arc<Profile>,
    pub system: String,
    /// Comes before all that differs between the calls of a job, and is written the same way in
    /// each of them, so that a provider's prompt cache holds.
    pub document: Vec<Part>,
    pub task: String,
    /// What the answer has to fit, in the words that this vendor takes.
    pub schema: Option<Value>,
    /// How the form of the answer is asked for: as the profile has it, or less where the provider
    /// has refused the schema.
    pub output: Output,
    pub temperature: Option<f64>,
    pub seed: Option<i64>,
    pub thinking: Thinking,
    pub max_output_tokens: Option<u32>,
    pub stream: bool,
    /// Whether the answer is to tell how likely its tokens were.
    pub logprobs: bool,
    pub cache: Cache,
}

impl Ask {
    /// The temperature, where the model takes one; `is_thinking` as it is asked to.
    pub fn temperature(&self, is_thinking: bool) -> Option<f64> {
        let is_taken = match self.profile.temperature {
            Temperature::Always => true,
            Temperature::WithoutThinking => !is_thinking,
            Temperature::Never => false,
        };
        self.temperature.filter(|_| is_taken)
    }
}

/// A piece of the document.
#[derive(Clone)]
pub enum Part {
    Text(Arc<str>),
    /// A picture of a page (`image/png`, `image/jpeg`) or the file itself (`application/pdf`).
    File {
        media_type: &'static str,
        bytes: Bytes,
        name: String,
        /// Pages that are in it.
        pages: u32,
    },
}

/// Sizes only: what a document says does not belong into a log.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::File {
                media_type, bytes, ..
            } => write!(f, "File({media_type}, {} bytes)", bytes.len()),
        }
    }
}

/// Whether the model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// Or as little as the model can.
    Off,
    On {
        /// Tokens; as many as the model likes when not given.
        budget: Option<u32>,
    },
}

/// How the provider is to keep the document between calls. Caches that work unasked do so anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cache {
    Off,
    /// The end of the document is marked as the end of what is worth keeping (Anthropic).
    Marked,
    /// The entry of this name holds system text and document, so that neither is sent (Gemini).
    Entry(Arc<str>),
}

/// A piece of an answer. [`Delta::Limits`] comes first if at all, [`Delta::Tokens`] after all
/// text, and [`Delta::Finish`] last, always, once: a stream without it has failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    Limits(Limits),
    /// Of text that follows, with this piece or a later one.
    Logprobs(TokenLogprobs),
    Text(String),
    Thought(String),
    Tokens(Tokens),
    Finish(Finish),
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It had said all.
    Stop,
    /// It had no more tokens: what it said is cut off.
    Length,
    Refused {
        /// A word of ours.
        category: &'static str,
    },
    /// For a reason that is not known here; the provider's word for it stays outside.
    Unknown,
}

impl Finish {
    /// Nothing but [`Finish::Stop`] is a success.
    pub fn check(self) -> Result<(), Failure> {
        match self {
            Self::Stop => Ok(()),
            Self::Length => Err(FailureKind::Truncation.into()),
            Self::Refused { category } => {
                let failure = Failure::from(FailureKind::Refusal);
                Err(failure.noting(&format!("category {category}")))
            }
            Self::Unknown => Err(Failure::from(FailureKind::Malformed)
                .noting("it ended for a reason that is not known")),
        }
    }
}

/// Tokens of one call, counted the same way for every vendor; what a vendor leaves out is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt.
    pub prompt: Option<u64>,
    /// The part of `prompt` that was read from a cache.
    pub cached: Option<u64>,
    /// The part of `prompt` that was written to a cache, at a price of its own.
    pub cache_written: Option<u64>,
    /// Of the answer alone, thoughts not included.
    pub answer: Option<u64>,
    pub thoughts: Option<u64>,
}

impl Tokens {
    /// Of a call that was refused.
    pub const NONE: Self = Self {
        prompt: Some(0),
        cached: None,
        cache_written: None,
        answer: Some(0),
        thoughts: None,
    };
}

/// What a provider says of a refusal or an error, in our words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sorted {
    pub kind: FailureKind,
    /// The wait that the body asks for.
    pub retry_after: Option<std::time::Duration>,
}

impl From<FailureKind> for Sorted {
    fn from(kind: FailureKind) -> Self {
        Self {
            kind,
            retry_after: None,
        }
    }
}

/// A page of the list of models.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModelPage {
    pub names: Vec<String>,
    /// Name and value of the query parameter that asks for the next page.
    pub next: Option<(&'static str, String)>,
}

/// The dialect of one vendor.
pub trait Wire: Send + Sync {
    /// The last segment of a base URL that holds the version, put in where it is missing.
    fn version(&self) -> &'static str;
    /// Whether a base URL with a path of its own is taken to hold the version.
    fn path_holds_version(&self) -> bool;
    /// Headers that every request has.
    fn headers(&self) -> HeaderMap;
    /// The header that holds the key.
    fn key_header(&self) -> (HeaderName, &'static str);
    /// Segments of the path behind the version, and the query.
    fn path(&self, ask: &Ask) -> (Vec<String>, Option<&'static str>);
    /// The body of a request; its members always come in the same order.
    fn body(&self, ask: &Ask) -> Value;
    /// Reads one answer.
    fn reader(&self, ask: &Ask) -> Box<dyn Reader>;
    /// What a status other than 2xx, or an error under 200, means.
    fn sort(&self, status: u16, body: &[u8]) -> Sorted;
    /// What the rate headers say, on success too.
    fn limits(&self, headers: &HeaderMap, now: Timestamp) -> Option<Limits>;
    /// The query that asks for a long page of models.
    fn models_query(&self) -> Option<&'static str>;
    fn models(&self, body: &[u8]) -> Option<ModelPage>;
}

/// Reads one answer. What it returns as an error ends the answer; what it pushed before counts.
pub trait Reader: Send {
    /// One event of a stream.
    fn event(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<(), Failure>;
    /// A whole body, of an answer that was not streamed.
    fn whole(&mut self, body: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure>;
    /// Whether the end signal has come: nothing that matters follows.
    fn is_ended(&self) -> bool;
    /// Whether the answer is whole though the end signal may be missing: the reason of the end
    /// is known.
    fn is_settled(&self) -> bool;
    /// The closing deltas, [`Delta::Finish`] last. Fails when the answer is not whole.
    fn end(&mut self, out: &mut Vec<Delta>) -> Result<(), Failure>;
}

/// The closing deltas of a whole answer.
pub fn close(
    tokens: Option<Tokens>,
    finish: Option<Finish>,
) -> Result<[Option<Delta>; 2], Failure> {
    let finish = finish.ok_or(FailureKind::Broken)?;
    Ok([tokens.map(Delta::Tokens), Some(Delta::Finish(finish))])
}

/// Header values of the source.
pub fn fixed(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    pairs.iter().map(pair).collect()
}

/// A count that may be missing, null, a float or of another type: it is never worth an answer.
pub fn count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(from)?;
    let float = || value.as_f64().filter(|n| (0.0..1e15).contains(n));
    Ok(value.as_u64().or_else(|| float().map(|n| n as u64)))
}

/// A text that may be missing, null or of another type.
pub fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Whether `text` has one of these words, whatever their case. For sorting errors only: what a
/// provider writes is read here and goes nowhere else.
pub fn mentions(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
pub mod tests;
