//! Reads answers and errors of OpenAI and of servers that are compatible with it.
//!
//! A stream ends with `[DONE]`, before which the counts come in a chunk of their own; some
//! servers leave it out, so that the reason of the end is enough. A refusal has text of its own
//! and the reason of a success.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::provider::wire::headers::span_after;
use crate::provider::wire::{
    Delta, Failure, FailureKind, Finish, Reader, Sorted, TokenLogprobs, Tokens, close, count,
    failure, mentions, word,
};

#[derive(Default)]
pub struct Answer {
    finish: Option<Finish>,
    tokens: Option<Tokens>,
    has_refused: bool,
    is_done: bool,
}

impl Answer {
    fn chunk(&mut self, chunk: Chunk, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(sort(200, &serde_json::json!({ "error": error })).into());
        }
        if let Some(usage) = chunk.usage {
            self.tokens = Some(usage.into());
        }
        let choices = chunk.choices.unwrap_or_default();
        let Some(choice) = choices.into_iter().find(|c| c.index.unwrap_or(0) == 0) else {
            return Ok(());
        };
        if let Some(said) = choice.delta.or(choice.message) {
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            self.has_refused |= some(said.refusal).is_some();
            let thought = some(said.reasoning_content.or(said.reasoning));
            // Where both come at once, the tokens of thoughts are among those of the answer.
            if thought.is_none() {
                let logprobs = choice.logprobs.as_deref().and_then(TokenLogprobs::read);
                out.extend(logprobs.map(Delta::Logprobs));
            }
            out.extend(thought.map(Delta::Thought));
            out.extend(some(said.content).map(Delta::Text));
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(finish(&reason));
        }
        Ok(())
    }
}

impl Reader for Answer {
    fn event(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if data.trim() == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let chunk = serde_json::from_str(data).map_err(|_| FailureKind::Malformed)?;
        self.chunk(chunk, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure> {
        let chunk = serde_json::from_slice(body).map_err(|_| FailureKind::Malformed)?;
        self.chunk(chunk, out)
    }

    fn is_ended(&self) -> bool {
        self.is_done
    }

    fn is_settled(&self) -> bool {
        self.is_done || self.finish.is_some()
    }

    fn end(&mut self, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let refused = Finish::Refused { category: "model" };
        let finish = match self.finish {
            _ if self.has_refused && self.is_settled() => Some(refused),
            None if self.is_done => Some(Finish::Unknown),
            finish => finish,
        };
        out.extend(close(self.tokens, finish)?.into_iter().flatten());
        Ok(())
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "content_filter" => Finish::Refused {
            category: "content_filter",
        },
        _ => Finish::Unknown,
    }
}

/// What an error means: an object with type, code and parameter, or a text alone. Its own code
/// counts where the status says nothing.
pub fn sort(status: u16, body: &Value) -> Sorted {
    let error = &body["error"];
    // Some servers have the members outside, or nothing but a text.
    let error = if error.is_null() { body } else { error };
    let message = error
        .as_str()
        .or(error["message"].as_str())
        .unwrap_or_default();
    let code = error["code"].as_str().unwrap_or_default();
    let class = error["type"].as_str().unwrap_or_default();
    let parameter = error["param"].as_str().unwrap_or_default();
    let number = error["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let is_telling = status >= 300;
    let status = if is_telling {
        status
    } else {
        number.unwrap_or(500)
    };
    let named = || by_name(code).or_else(|| by_name(class));
    let said = || by_message(status, message);
    let kind = match status {
        400..=499 if parameter.starts_with("response_format") => FailureKind::Schema,
        _ => named()
            .or_else(said)
            .or_else(|| by_parameter(status, parameter))
            .unwrap_or_else(|| failure::by_status(status)),
    };
    Sorted {
        kind,
        retry_after: span_after(message, &["try again in "]),
    }
}

/// Codes and types that mean the same everywhere.
fn by_name(name: &str) -> Option<FailureKind> {
    Some(match name {
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
            FailureKind::Budget
        }
        "invalid_api_key" | "authentication_error" | "account_deactivated" => {
            FailureKind::Authentication
        }
        "model_not_found" | "not_found_error" => FailureKind::NotFound,
        "context_length_exceeded" | "string_above_max_length" | "exceed_context_size_error" => {
            FailureKind::TooLong
        }
        "content_filter" | "content_policy_violation" | "invalid_prompt" => FailureKind::Refusal,
        "invalid_json_schema" => FailureKind::Schema,
        "image_parse_error"
        | "invalid_image_format"
        | "invalid_image_url"
        | "unsupported_file"
        | "invalid_base64_image"
        | "image_too_large" => FailureKind::Document,
        // A server that still loads its model.
        "unavailable_error" | "overloaded" | "overloaded_error" | "engine_overloaded" => {
            FailureKind::Overload
        }
        "timeout" | "timeout_error" => FailureKind::Timeout,
        _ => return None,
    })
}

/// What servers say in words only.
fn by_message(status: u16, message: &str) -> Option<FailureKind> {
    let has = |words: &[&str]| mentions(message, words);
    match status {
        429 if has(&["request too large"]) => Some(FailureKind::TooLong),
        400..=422 | 500
            if has(&[
                "maximum context length",
                "available context size",
                "context size has been exceeded",
                "context window",
            ]) =>
        {
            Some(FailureKind::TooLong)
        }
        400 | 422 | 500 if has(&["schema", "grammar", "response_format"]) => {
            Some(FailureKind::Schema)
        }
        400 | 415 | 422 if has(&["image", "pdf", "file_data"]) => Some(FailureKind::Document),
        _ => None,
    }
}

fn by_parameter(status: u16, parameter: &str) -> Option<FailureKind> {
    let is_file = mentions(parameter, &["image_url", "file"]);
    (status == 400 && is_file).then_some(FailureKind::Document)
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    delta: Option<Said>,
    message: Option<Said>,
    logprobs: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "word")]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default, deserialize_with = "word")]
    content: Option<String>,
    #[serde(default, deserialize_with = "word")]
    refusal: Option<String>,
    #[serde(default, deserialize_with = "word")]
    reasoning_content: Option<String>,
    #[serde(default, deserialize_with = "word")]
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default, deserialize_with = "count")]
    cached_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_write_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    #[serde(default, deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let prompt = usage.prompt_tokens_details.unwrap_or_default();
        let thoughts = usage
            .completion_tokens_details
            .unwrap_or_default()
            .reasoning_tokens;
        // Thoughts are counted into the completion.
        let answer = |all: u64| all.saturating_sub(thoughts.unwrap_or(0));
        Self {
            prompt: usage.prompt_tokens,
            cached: prompt.cached_tokens,
            cache_written: prompt.cache_write_tokens,
            answer: usage.completion_tokens.map(answer),
            thoughts,
        }
    }
}
