//! A request as the model sees it.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::{anthropic, gemini, openai};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    Gemini,
    OpenAi,
    Anthropic,
}

impl Wire {
    pub const ALL: [Self; 3] = [Self::Gemini, Self::OpenAi, Self::Anthropic];

    /// The body of a plain call, for clients that have no adapter of their own.
    pub fn body(self, texts: &[&str], schema: Option<&Value>, stream: bool) -> Value {
        match self {
            Self::Gemini => gemini::body(texts, schema),
            Self::OpenAi => openai::body(texts, schema, stream),
            Self::Anthropic => anthropic::body(texts, schema, stream),
        }
    }

    /// Where such a call goes.
    pub fn path(self, model: &str, stream: bool) -> String {
        match self {
            Self::Gemini if stream => {
                format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
            }
            Self::Gemini => format!("/v1beta/models/{model}:generateContent"),
            Self::OpenAi => "/v1/chat/completions".into(),
            Self::Anthropic => "/v1/messages".into(),
        }
    }
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// From 1, among the calls of a model.
    pub number: usize,
    pub at: Instant,
    pub wire: Wire,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Bytes,
    /// `Null` when the body is not JSON.
    pub json: Value,
    pub model: String,
    pub stream: bool,
    /// Texts of the prompt in order: instructions of the system first. Media stand as
    /// `media:TYPE:LENGTH`.
    pub texts: Vec<String>,
    /// How many of them are the system's.
    pub system_texts: usize,
    /// Tokens of a cached content that the call named.
    pub kept: u64,
}

impl Asked {
    /// The schema that the answer is bound to; `None` when the wire was not told one.
    pub fn bound_schema(&self) -> Option<&Value> {
        match self.wire {
            Wire::Gemini => gemini::schema(&self.json),
            Wire::OpenAi => openai::schema(&self.json),
            Wire::Anthropic => anthropic::schema(&self.json),
        }
    }

    /// The same, or the last JSON object of the prompt that looks like a schema.
    pub fn schema(&self) -> Option<Value> {
        let spelled = || {
            self.texts
                .iter()
                .rev()
                .find_map(|text| spelled_schema(text))
        };
        self.bound_schema().cloned().or_else(spelled)
    }

    /// The tool that the answer must go into.
    pub fn tool(&self) -> Option<&str> {
        match self.wire {
            Wire::Gemini => None,
            Wire::OpenAi => self.json.pointer("/tool_choice/function/name")?.as_str(),
            Wire::Anthropic => self.json.pointer("/tool_choice/name")?.as_str(),
        }
    }

    /// What is between the first `<document` tag and its end; without tags the user's first text.
    pub fn document(&self) -> &str {
        let users = self.texts.get(self.system_texts..).unwrap_or_default();
        let tagged = self.texts.iter().find_map(|text| {
            let start = text.find("<document")?;
            let end = text.rfind("</document").unwrap_or(text.len());
            text.get(start..end)
        });
        tagged.or(users.first().map(String::as_str)).unwrap_or("")
    }

    /// The last text.
    pub fn task(&self) -> &str {
        self.texts.last().map_or("", String::as_str)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Everything that the model reads, in order; the schema is read last.
    pub fn prompt(&self) -> String {
        let mut prompt = self.texts.concat();
        if let Some(schema) = self.bound_schema() {
            prompt.push_str(&schema.to_string());
        }
        prompt
    }
}

/// The last object of a text with `properties` or `$defs`.
fn spelled_schema(text: &str) -> Option<Value> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    let objects = starts.filter_map(|at| {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        values.next()?.ok()
    });
    let mut schemas = objects.filter(|value| {
        value.get("type").is_some_and(|kind| kind == "object")
            && value.get("properties").is_some_and(Value::is_object)
    });
    // The outermost comes first; what is inside it follows.
    schemas.next()
}
