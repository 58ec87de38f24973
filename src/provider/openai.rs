//! OpenAI and servers that are compatible with it: `chat/completions`, streamed or not.

mod answer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::models::{Output, Thinks};
use super::wire::{Ask, Limits, ModelPage, Part, Quota, Reader, Sorted, Thinking, Wire};
use answer::{Answer, sort};

/// The name that the form of the answer must have; nothing depends on it.
const FORM: &str = "extraction";

pub struct OpenAi;

impl Wire for OpenAi {
    fn version(&self) -> &'static str {
        "v1"
    }

    fn path_holds_version(&self) -> bool {
        // Compatible servers put it in front of other things too (`/v1beta/openai`).
        true
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, "Bearer ")
    }

    fn path(&self, _ask: &Ask) -> (Vec<String>, Option<&'static str>) {
        (vec!["chat".into(), "completions".into()], None)
    }

    fn body(&self, ask: &Ask) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), ask.model.as_str().into());
        body.insert("messages".into(), messages(ask));
        if let Some(format) = format(ask) {
            body.insert("response_format".into(), format);
        }
        if let Some(temperature) = ask.temperature(ask.thinking != Thinking::Off) {
            body.insert("temperature".into(), temperature.into());
        }
        if let Some(seed) = ask.seed.filter(|_| ask.profile.seed) {
            body.insert("seed".into(), seed.into());
        }
        if let Some(most) = ask.max_output_tokens {
            // Servers that came before the newer name know only the older one, and models that
            // think take only the newer one.
            let field = if ask.profile.completion_limit {
                "max_completion_tokens"
            } else {
                "max_tokens"
            };
            body.insert(field.into(), most.into());
        }
        if let Some(effort) = effort(ask) {
            body.insert("reasoning_effort".into(), effort.into());
        }
        if ask.logprobs {
            body.insert("logprobs".into(), true.into());
        }
        body.insert("stream".into(), ask.stream.into());
        if ask.stream {
            body.insert("stream_options".into(), json!({ "include_usage": true }));
        }
        Value::Object(body)
    }

    fn reader(&self, _ask: &Ask) -> Box<dyn Reader> {
        Box::new(Answer::default())
    }

    fn sort(&self, status: u16, body: &[u8]) -> Sorted {
        sort(status, &serde_json::from_slice(body).unwrap_or_default())
    }

    fn limits(&self, headers: &HeaderMap, now: Timestamp) -> Option<Limits> {
        let quota =
            |[limit, left, reset]: [&str; 3]| Quota::read(headers, [limit, left, reset], now);
        let limits = Limits {
            requests: quota([
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ]),
            tokens: quota([
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ]),
        };
        limits.known()
    }

    fn models_query(&self) -> Option<&'static str> {
        None
    }

    fn models(&self, body: &[u8]) -> Option<ModelPage> {
        let list: ModelList = serde_json::from_slice(body).ok()?;
        Some(ModelPage {
            names: list.data.into_iter().map(|model| model.id).collect(),
            next: None,
        })
    }
}

fn messages(ask: &Ask) -> Value {
    let mut messages = Vec::new();
    if !ask.system.is_empty() {
        messages.push(json!({ "role": "system", "content": ask.system }));
    }
    messages.push(json!({ "role": "user", "content": content(ask) }));
    Value::Array(messages)
}

/// Parts only where there are pictures or files: templates of some servers know only text.
fn content(ask: &Ask) -> Value {
    let text = |part: &Part| match part {
        Part::Text(text) => Some(text.to_string()),
        Part::File { .. } => None,
    };
    let texts: Option<Vec<_>> = ask.document.iter().map(text).collect();
    if let Some(mut texts) = texts {
        texts.push(ask.task.clone());
        return texts.join("\n\n").into();
    }
    let task = json!({ "type": "text", "text": ask.task });
    ask.document.iter().map(part).chain([task]).collect()
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::File {
            media_type,
            bytes,
            name,
            ..
        } => {
            let data = format!("data:{media_type};base64,{}", STANDARD.encode(bytes));
            if media_type.starts_with("image/") {
                json!({ "type": "image_url", "image_url": { "url": data, "detail": "high" } })
            } else {
                json!({ "type": "file", "file": { "filename": name, "file_data": data } })
            }
        }
    }
}

fn format(ask: &Ask) -> Option<Value> {
    match (ask.output, &ask.schema) {
        (Output::Schema | Output::Tool, Some(schema)) => Some(json!({
            "type": "json_schema",
            "json_schema": { "name": FORM, "strict": true, "schema": schema },
        })),
        (Output::Text, _) => None,
        _ => Some(json!({ "type": "json_object" })),
    }
}

fn effort(ask: &Ask) -> Option<&str> {
    let Thinks::Effort { off, on } = &ask.profile.thinking else {
        return None;
    };
    match ask.thinking {
        Thinking::Off => Some(off),
        Thinking::On { budget } => budget.map(Thinks::effort).or(on.as_deref()),
    }
}

#[derive(Deserialize)]
struct ModelList {
    #[serde(default)]
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[cfg(test)]
mod tests;
