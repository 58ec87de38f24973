//! Reads answers and errors of Gemini.
//!
//! A stream is `data:` lines without a closing signal: the reason of the end is the signal, and
//! an error may stand among them as bare JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::provider::wire::headers::{span, span_after};
use crate::provider::wire::{
    Delta, Failure, FailureKind, Finish, Reader, Sorted, TokenLogprobs, Tokens, close, count,
    failure, mentions, word,
};

#[derive(Default)]
pub struct Answer {
    finish: Option<Finish>,
    tokens: Option<Tokens>,
}

impl Answer {
    fn chunk(&mut self, chunk: Chunk, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(error) = chunk.error {
            return Err(sort(200, &json!({ "error": error })).into());
        }
        if let Some(usage) = chunk.usage_metadata {
            self.tokens = Some(usage.over(self.tokens.unwrap_or_default()));
        }
        let candidates = chunk.candidates.unwrap_or_default();
        if let Some(candidate) = candidates.into_iter().find(|c| c.index.unwrap_or(0) == 0) {
            let parts = candidate.content.and_then(|content| content.parts);
            let parts = parts.unwrap_or_default();
            // Which tokens are of thoughts is not told.
            if !parts.iter().any(|part| part.thought == Some(true)) {
                let logprobs = candidate.logprobs_result.as_deref();
                out.extend(logprobs.and_then(TokenLogprobs::read).map(Delta::Logprobs));
            }
            for Piece { text, thought } in parts {
                match text.filter(|text| !text.is_empty()) {
                    Some(text) if thought == Some(true) => out.push(Delta::Thought(text)),
                    Some(text) => out.push(Delta::Text(text)),
                    None => {}
                }
            }
            if let Some(reason) = candidate.finish_reason.as_deref() {
                self.finish = finish(reason).or(self.finish);
            }
        } else if chunk
            .prompt_feedback
            .is_some_and(|f| f.block_reason.is_some())
        {
            self.finish = Some(refused("prompt_blocked"));
        }
        Ok(())
    }
}

impl Reader for Answer {
    fn event(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let chunk = serde_json::from_str(data).map_err(|_| FailureKind::Malformed)?;
        self.chunk(chunk, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure> {
        // Without `alt=sse` a stream is an array of chunks.
        let chunks: Vec<Chunk> = if body.trim_ascii_start().starts_with(b"[") {
            serde_json::from_slice(body).map_err(|_| FailureKind::Malformed)?
        } else {
            vec![serde_json::from_slice(body).map_err(|_| FailureKind::Malformed)?]
        };
        chunks
            .into_iter()
            .try_for_each(|chunk| self.chunk(chunk, out))
    }

    /// There is no signal but the end of the body: the counts may come after the reason.
    fn is_ended(&self) -> bool {
        false
    }

    fn is_settled(&self) -> bool {
        self.finish.is_some()
    }

    fn end(&mut self, out: &mut Vec<Delta>) -> Result<(), Failure> {
        out.extend(close(self.tokens, self.finish)?.into_iter().flatten());
        Ok(())
    }
}

fn refused(category: &'static str) -> Finish {
    Finish::Refused { category }
}

fn finish(reason: &str) -> Option<Finish> {
    Some(match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        "SAFETY" | "IMAGE_SAFETY" => refused("safety"),
        "RECITATION" | "IMAGE_RECITATION" => refused("recitation"),
        "BLOCKLIST" => refused("blocklist"),
        "PROHIBITED_CONTENT" | "IMAGE_PROHIBITED_CONTENT" => refused("prohibited_content"),
        "SPII" => refused("personal_data"),
        "LANGUAGE" => refused("language"),
        _ => Finish::Unknown,
    })
}

/// What an error object means. Its own code counts where the status says nothing.
pub fn sort(status: u16, body: &Value) -> Sorted {
    let error = &body["error"];
    let code = error["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let status = if status < 300 {
        code.unwrap_or(500)
    } else {
        status
    };
    let message = error["message"].as_str().unwrap_or_default();
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    let delay = details.iter().find_map(|d| span(d["retryDelay"].as_str()?));
    let kind = match error["status"].as_str().unwrap_or_default() {
        _ if status < 500 && mentions(message, &["cachedcontent", "cached content"]) => {
            FailureKind::Cache
        }
        _ if details.iter().any(|d| d["reason"] == "API_KEY_INVALID") => {
            FailureKind::Authentication
        }
        "INVALID_ARGUMENT" => invalid(message),
        // The region or the billing of the key.
        "UNAUTHENTICATED" | "PERMISSION_DENIED" | "FAILED_PRECONDITION" => {
            FailureKind::Authentication
        }
        "RESOURCE_EXHAUSTED" if is_used_up(details) => FailureKind::Budget,
        "RESOURCE_EXHAUSTED" => FailureKind::Rate,
        "DEADLINE_EXCEEDED" => FailureKind::Timeout,
        "UNAVAILABLE" => FailureKind::Overload,
        _ => failure::by_status(status),
    };
    Sorted {
        kind,
        retry_after: delay.or_else(|| span_after(message, &["retry in "])),
    }
}

fn invalid(message: &str) -> FailureKind {
    let has = |words: &[&str]| mentions(message, words);
    match () {
        () if has(&["api key"]) => FailureKind::Authentication,
        () if has(&["schema", "too many states", "generation_config.response"]) => {
            FailureKind::Schema
        }
        () if has(&["token count", "number of tokens", "payload size"]) => FailureKind::TooLong,
        () if has(&["image", "pdf", "document", "mime type", "inline_data"]) => {
            FailureKind::Document
        }
        // All that it says of a schema that it finds too complex, more often than not.
        () if has(&["request contains an invalid argument"]) => FailureKind::Schema,
        () => FailureKind::Request,
    }
}

/// Whether a quota of a day, or one of nothing, is what was exceeded.
fn is_used_up(details: &[Value]) -> bool {
    let violations = details.iter().filter_map(|d| d["violations"].as_array());
    violations.flatten().any(|violation| {
        let quota = violation["quotaId"].as_str().unwrap_or_default();
        quota.contains("PerDay") || violation["quotaValue"] == "0"
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    content: Option<Content>,
    logprobs_result: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "word")]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    parts: Option<Vec<Piece>>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default, deserialize_with = "word")]
    text: Option<String>,
    thought: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default, deserialize_with = "word")]
    block_reason: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, rename = "promptTokenCount", deserialize_with = "count")]
    prompt: Option<u64>,
    #[serde(
        default,
        rename = "cachedContentTokenCount",
        deserialize_with = "count"
    )]
    cached: Option<u64>,
    #[serde(default, rename = "candidatesTokenCount", deserialize_with = "count")]
    candidates: Option<u64>,
    #[serde(default, rename = "thoughtsTokenCount", deserialize_with = "count")]
    thoughts: Option<u64>,
}

impl Usage {
    /// The counts grow with the stream, and a chunk need not have all.
    fn over(self, before: Tokens) -> Tokens {
        let thoughts = self.thoughts.or(before.thoughts);
        let answer = self.candidates.or(before.answer);
        Tokens {
            prompt: self.prompt.or(before.prompt),
            cached: self.cached.or(before.cached),
            cache_written: None,
            // Left out, not zero, where all tokens went into thoughts.
            answer: answer.or(thoughts.map(|_| 0)),
            thoughts,
        }
    }
}
