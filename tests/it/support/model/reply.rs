//! One answer: what is said, and in which manner it is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::failure::Failure;
use super::pace::Pace;
use super::scenario::Scenario;
use super::speech::Speech;

#[derive(Debug, Clone)]
pub enum What {
    /// The answerer's value.
    Honest,
    /// The answerer's value, played so.
    Scenario(Scenario),
    Value(Value),
    Speech(Speech),
    Failure(Failure),
    Raw {
        status: u16,
        kind: &'static str,
        body: Bytes,
    },
}

/// How a body ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Done,
    /// Half of it comes, then the connection goes.
    Cut,
    /// Half of it comes, then nothing.
    HangInside,
    /// Nothing comes.
    HangBefore,
    /// The connection goes before a byte was sent.
    Reset,
}

/// Waits for one permit before the rest is sent.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Sent up to the end of the first place where the answer's text says this; an answer that is
    /// not streamed, and a text that is never said, waits before anything is sent.
    pub after: String,
    pub gate: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
pub struct Manner {
    pub delay: Duration,
    pub pace: Option<Pace>,
    /// Characters of text in a frame of a stream.
    pub step: usize,
    /// Every byte goes by itself.
    pub bytewise: bool,
    pub end: End,
    pub holds: Vec<Hold>,
    /// What stands for much is sent as many frames, not as one of many megabytes.
    pub many_frames: bool,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub what: What,
    pub headers: Vec<(String, String)>,
    pub manner: Manner,
}

impl Reply {
    pub fn new(what: What) -> Self {
        Self {
            what,
            headers: Vec::new(),
            manner: Manner {
                delay: Duration::ZERO,
                pace: None,
                step: 24,
                bytewise: false,
                end: End::Done,
                holds: Vec::new(),
                many_frames: false,
            },
        }
    }

    pub fn honest() -> Self {
        Self::new(What::Honest)
    }

    pub fn value(value: Value) -> Self {
        Self::new(What::Value(value))
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(What::Speech(Speech::text(text)))
    }

    pub fn raw(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::new(What::Raw { status, kind, body })
    }

    pub fn delayed(mut self, delay: Duration) -> Self {
        self.manner.delay = delay;
        self
    }

    /// One token a frame, at the model's speeds.
    pub fn paced(mut self, pace: Pace) -> Self {
        self.manner.pace = Some(pace);
        self.manner.step = super::speech::TOKEN;
        self
    }

    pub fn step(mut self, characters: usize) -> Self {
        self.manner.step = characters;
        self
    }

    pub fn bytewise(mut self) -> Self {
        self.manner.bytewise = true;
        self
    }

    pub fn ending(mut self, end: End) -> Self {
        self.manner.end = end;
        self
    }

    pub fn held(mut self, after: impl Into<String>, gate: &Arc<Semaphore>) -> Self {
        let gate = Arc::clone(gate);
        let after = after.into();
        self.manner.holds.push(Hold { after, gate });
        self
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

impl From<Scenario> for Reply {
    fn from(scenario: Scenario) -> Self {
        Self::new(What::Scenario(scenario))
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::new(What::Failure(failure))
    }
}

impl From<Speech> for Reply {
    fn from(speech: Speech) -> Self {
        Self::new(What::Speech(speech))
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self::value(value)
    }
}
