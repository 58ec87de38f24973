//! Reads answers and errors of Anthropic.
//!
//! A stream ends with `message_stop`; an error may come as an event under HTTP 200. The input of
//! a tool that was cut off by the token limit has no end of its block.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::provider::wire::{
    Delta, Failure, FailureKind, Finish, Reader, Sorted, Tokens, close, count, failure, mentions,
    word,
};

pub struct Answer {
    /// Whether the input of the tool is the answer, and text is talk around it.
    is_tool: bool,
    /// Blocks that have begun and not ended.
    open: BTreeSet<u64>,
    usage: Usage,
    has_usage: bool,
    finish: Option<Finish>,
    is_stopped: bool,
}

impl Answer {
    pub fn new(is_tool: bool) -> Self {
        Self {
            is_tool,
            open: BTreeSet::new(),
            usage: Usage::default(),
            has_usage: false,
            finish: None,
            is_stopped: false,
        }
    }

    fn count(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.has_usage = true;
            self.usage = usage.over(&self.usage);
        }
    }

    fn block(&self, block: Block, out: &mut Vec<Delta>) {
        let said = block.text.filter(|text| !text.is_empty());
        out.extend(said.map(|text| self.said(text)));
        out.extend(block.thinking.filter(|t| !t.is_empty()).map(Delta::Thought));
    }

    fn said(&self, text: String) -> Delta {
        if self.is_tool {
            Delta::Thought(text)
        } else {
            Delta::Text(text)
        }
    }

    fn step(&mut self, event: Event, out: &mut Vec<Delta>) {
        match event.kind.as_deref().unwrap_or_default() {
            "message_start" => self.count(event.message.and_then(|message| message.usage)),
            "content_block_start" => {
                self.open.insert(event.index.unwrap_or(0));
                if let Some(block) = event.content_block {
                    self.block(block, out);
                }
            }
            "content_block_delta" => {
                let Some(mut delta) = event.delta else { return };
                let json = delta.partial_json.take().filter(|json| !json.is_empty());
                out.extend(json.map(Delta::Text));
                self.block(delta, out);
            }
            "content_block_stop" => {
                self.open.remove(&event.index.unwrap_or(0));
            }
            "message_delta" => {
                self.count(event.usage);
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                self.finish = reason.as_deref().map(finish).or(self.finish);
            }
            "message_stop" => self.is_stopped = true,
            // `ping`, and what may be added.
            _ => {}
        }
    }
}

impl Reader for Answer {
    fn event(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let event: Event = serde_json::from_str(data).map_err(|_| FailureKind::Malformed)?;
        if let Some(error) = event.error {
            return Err(sort(200, &serde_json::json!({ "error": error })).into());
        }
        self.step(event, out);
        Ok(())
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure> {
        let message: Message = serde_json::from_slice(body).map_err(|_| FailureKind::Malformed)?;
        if let Some(error) = message.error {
            return Err(sort(200, &serde_json::json!({ "error": error })).into());
        }
        self.count(message.usage);
        for mut block in message.content.unwrap_or_default() {
            let input = block.input.take().filter(|_| self.is_tool);
            out.extend(input.map(|input| Delta::Text(input.to_string())));
            self.block(block, out);
        }
        self.finish = message.stop_reason.as_deref().map(finish);
        self.is_stopped = self.finish.is_some();
        Ok(())
    }

    fn is_ended(&self) -> bool {
        self.is_stopped
    }

    fn is_settled(&self) -> bool {
        self.is_stopped
    }

    fn end(&mut self, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let is_cut =
            !self.is_stopped || (self.finish == Some(Finish::Stop) && !self.open.is_empty());
        if is_cut {
            return Err(FailureKind::Broken.into());
        }
        let tokens = self.has_usage.then(|| self.usage.tokens());
        let finish = self.finish.or(Some(Finish::Unknown));
        out.extend(close(tokens, finish)?.into_iter().flatten());
        Ok(())
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "end_turn" | "stop_sequence" | "tool_use" => Finish::Stop,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "refusal" => Finish::Refused { category: "policy" },
        _ => Finish::Unknown,
    }
}

/// What an error object means.
pub fn sort(status: u16, body: &Value) -> Sorted {
    let error = &body["error"];
    let message = error["message"].as_str().unwrap_or_default();
    let is_spent = error["details"]["error_code"] == "enforced_spend_limit_reached"
        || mentions(message, &["usage limits", "spend", "credit balance"]);
    let kind = match error["type"].as_str().unwrap_or_default() {
        "authentication_error" | "permission_error" => FailureKind::Authentication,
        "billing_error" => FailureKind::Budget,
        "not_found_error" => FailureKind::NotFound,
        "request_too_large" => FailureKind::TooLong,
        // Without a time it is a rate as well: a limit of the month is told by what it says.
        "rate_limit_error" | "invalid_request_error" if is_spent => FailureKind::Budget,
        "rate_limit_error" => FailureKind::Rate,
        "overloaded_error" => FailureKind::Overload,
        "timeout_error" => FailureKind::Timeout,
        "api_error" | "conflict_error" => FailureKind::Server,
        "invalid_request_error" => invalid(message),
        _ if status < 300 => FailureKind::Server,
        _ => failure::by_status(status),
    };
    kind.into()
}

fn invalid(message: &str) -> FailureKind {
    let has = |words: &[&str]| mentions(message, words);
    match () {
        () if has(&["prompt is too long", "context limit", "context window"]) => {
            FailureKind::TooLong
        }
        () if has(&["content filtering policy"]) => FailureKind::Refusal,
        () if has(&["output_config.format", "schema", "grammar"]) => FailureKind::Schema,
        () if has(&["pdf", "image", "document"]) => FailureKind::Document,
        () => FailureKind::Request,
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "type", deserialize_with = "word")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    message: Option<Message>,
    content_block: Option<Block>,
    delta: Option<Block>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Vec<Block>>,
    #[serde(default, deserialize_with = "word")]
    stop_reason: Option<String>,
    usage: Option<Usage>,
    error: Option<Value>,
}

/// A block, the beginning of one, or what is added to one or to the message.
#[derive(Deserialize)]
struct Block {
    #[serde(default, deserialize_with = "word")]
    text: Option<String>,
    #[serde(default, deserialize_with = "word")]
    thinking: Option<String>,
    #[serde(default, deserialize_with = "word")]
    partial_json: Option<String>,
    input: Option<Value>,
    #[serde(default, deserialize_with = "word")]
    stop_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct OutputDetails {
    #[serde(default, deserialize_with = "count")]
    thinking_tokens: Option<u64>,
}

impl Usage {
    /// Counts are of the whole call so far; what is left out stays as it was.
    fn over(self, before: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.or(before.input_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .or(before.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .or(before.cache_creation_input_tokens),
            output_tokens: self.output_tokens.or(before.output_tokens),
            output_tokens_details: self.output_tokens_details.or(before.output_tokens_details),
        }
    }

    /// Here the prompt does not hold what a cache held, and the answer holds the thoughts.
    fn tokens(&self) -> Tokens {
        let read = self.cache_read_input_tokens;
        let written = self.cache_creation_input_tokens;
        let thoughts = self
            .output_tokens_details
            .unwrap_or_default()
            .thinking_tokens;
        let prompt = |fresh: u64| fresh + read.unwrap_or(0) + written.unwrap_or(0);
        Tokens {
            prompt: self.input_tokens.map(prompt),
            cached: read,
            cache_written: written,
            answer: self
                .output_tokens
                .map(|all| all.saturating_sub(thoughts.unwrap_or(0))),
            thoughts,
        }
    }
}
