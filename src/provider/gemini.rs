//! Gemini: `models/M:generateContent`, streamed or not, and `cachedContents`.

mod answer;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::models::{Output, Thinks};
use super::wire::{Ask, Cache, Limits, ModelPage, Part, Reader, Sorted, Thinking, Wire};
use answer::{Answer, sort};

pub struct Gemini;

impl Wire for Gemini {
    fn version(&self) -> &'static str {
        "v1beta"
    }

    fn path_holds_version(&self) -> bool {
        false
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        // Not the query: a URL finds its way into logs.
        (HeaderName::from_static("x-goog-api-key"), "")
    }

    fn path(&self, ask: &Ask) -> (Vec<String>, Option<&'static str>) {
        let (method, query) = if ask.stream {
            ("streamGenerateContent", Some("alt=sse"))
        } else {
            ("generateContent", None)
        };
        (
            vec!["models".into(), format!("{}:{method}", ask.model)],
            query,
        )
    }

    fn body(&self, ask: &Ask) -> Value {
        let task = json!({ "text": ask.task });
        let mut body = match &ask.cache {
            Cache::Entry(name) => {
                let mut body = Map::new();
                body.insert("cachedContent".into(), name.as_ref().into());
                body.insert("contents".into(), turn(vec![task]));
                body
            }
            _ => shared(ask, Some(task)),
        };
        body.insert("generationConfig".into(), config(ask));
        Value::Object(body)
    }

    fn reader(&self, _ask: &Ask) -> Box<dyn Reader> {
        Box::new(Answer::default())
    }

    fn sort(&self, status: u16, body: &[u8]) -> Sorted {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        sort(status, body.get(0).unwrap_or(&body))
    }

    fn limits(&self, _headers: &HeaderMap, _now: Timestamp) -> Option<Limits> {
        None
    }

    fn models_query(&self) -> Option<&'static str> {
        Some("pageSize=1000")
    }

    fn models(&self, body: &[u8]) -> Option<ModelPage> {
        let list: ModelList = serde_json::from_slice(body).ok()?;
        let generates = |model: &Model| {
            let methods = model.supported_generation_methods.as_ref();
            methods.is_none_or(|all| all.iter().any(|method| method == "generateContent"))
        };
        let models = list.models.into_iter().filter(generates);
        let own = |name: String| {
            name.strip_prefix("models/")
                .map(str::to_owned)
                .unwrap_or(name)
        };
        Some(ModelPage {
            names: models.map(|model| own(model.name)).collect(),
            next: list.next_page_token.map(|token| ("pageToken", token)),
        })
    }
}

/// The body that creates an explicit cache entry of the system text and the document of `ask`,
/// kept for `ttl`.
pub fn cache_body(ask: &Ask, ttl: Duration) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), format!("models/{}", ask.model).into());
    body.extend(shared(ask, None));
    body.insert("ttl".into(), format!("{}s", ttl.as_secs().max(1)).into());
    Value::Object(body)
}

/// The name in the answer to [`cache_body`], when it is of the form that such names have: it
/// becomes a part of paths.
pub fn cache_name(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let name = body.get("name")?.as_str()?;
    let id = name.strip_prefix("cachedContents/")?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (!id.is_empty() && id.len() <= 128 && id.bytes().all(is_plain)).then(|| name.to_owned())
}

/// What all calls of a job share, in front.
fn shared(ask: &Ask, task: Option<Value>) -> Map<String, Value> {
    let mut body = Map::new();
    if !ask.system.is_empty() {
        let system = json!({ "parts": [{ "text": ask.system }] });
        body.insert("systemInstruction".into(), system);
    }
    let document = ask.document.iter().map(part);
    body.insert("contents".into(), turn(document.chain(task).collect()));
    body
}

fn turn(parts: Vec<Value>) -> Value {
    json!([{ "role": "user", "parts": parts }])
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "text": text }),
        Part::File {
            media_type, bytes, ..
        } => json!({ "inlineData": { "mimeType": media_type, "data": STANDARD.encode(bytes) } }),
    }
}

fn config(ask: &Ask) -> Value {
    let mut config = Map::new();
    let is_json = matches!(ask.output, Output::Schema | Output::Tool | Output::Json);
    if is_json {
        config.insert("responseMimeType".into(), "application/json".into());
    }
    if let (Some(schema), Output::Schema | Output::Tool) = (&ask.schema, ask.output) {
        config.insert("responseJsonSchema".into(), schema.clone());
    }
    if let Some(temperature) = ask.temperature(ask.thinking != Thinking::Off) {
        config.insert("temperature".into(), temperature.into());
    }
    if let Some(seed) = ask.seed.filter(|_| ask.profile.seed) {
        // The field has 32 bits with a sign; the rest of a larger seed is let go.
        config.insert("seed".into(), (seed & 0x7fff_ffff).into());
    }
    if let Some(most) = ask.max_output_tokens {
        config.insert("maxOutputTokens".into(), most.into());
    }
    if ask.logprobs {
        config.insert("responseLogprobs".into(), true.into());
    }
    if let Some(thinking) = thinking(ask) {
        config.insert("thinkingConfig".into(), thinking);
    }
    Value::Object(config)
}

fn thinking(ask: &Ask) -> Option<Value> {
    let shown = ask.thinking != Thinking::Off;
    match (&ask.profile.thinking, ask.thinking) {
        (Thinks::Unasked, _) => None,
        (Thinks::Budget { off, .. }, Thinking::Off) => Some(json!({ "thinkingBudget": off })),
        (Thinks::Budget { least, most, .. }, Thinking::On { budget }) => {
            // -1: as many as the model likes.
            let budget = budget.map_or(-1, |tokens| i64::from(tokens.clamp(*least, *most)));
            Some(json!({ "includeThoughts": shown, "thinkingBudget": budget }))
        }
        (Thinks::Effort { off, .. }, Thinking::Off) => Some(json!({ "thinkingLevel": off })),
        (Thinks::Effort { on, .. }, Thinking::On { budget }) => {
            let mut config = json!({ "includeThoughts": shown });
            if let Some(level) = budget.map(Thinks::effort).or(on.as_deref()) {
                config["thinkingLevel"] = level.into();
            }
            Some(config)
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelList {
    #[serde(default)]
    models: Vec<Model>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Model {
    name: String,
    supported_generation_methods: Option<Vec<String>>,
}

#[cfg(test)]
mod tests;
