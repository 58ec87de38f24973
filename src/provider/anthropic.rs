//! Anthropic: `messages`, streamed or not.

mod answer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::models::{Output, Thinks};
use super::wire::{
    Ask, Cache, Limits, ModelPage, Part, Quota, Reader, Sorted, Thinking, Wire, fixed,
};
use answer::{Answer, sort};

/// The tool whose input is the answer, where no other form can be had.
const TOOL: &str = "extraction";

/// The least budget for thinking, tokens; a limit of the answer has to leave room behind it.
const LEAST_ROOM: u32 = 1_024;

/// The budget for thinking that is neither given nor left to the model.
const USUAL_BUDGET: u32 = 8_192;

pub struct Anthropic;

impl Wire for Anthropic {
    fn version(&self) -> &'static str {
        "v1"
    }

    fn path_holds_version(&self) -> bool {
        false
    }

    fn headers(&self) -> HeaderMap {
        fixed(&[("anthropic-version", "2023-06-01")])
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn path(&self, _ask: &Ask) -> (Vec<String>, Option<&'static str>) {
        (vec!["messages".into()], None)
    }

    fn body(&self, ask: &Ask) -> Value {
        let most = ask.max_output_tokens.unwrap_or(ask.profile.output_tokens);
        let form = form(ask);
        let mut body = Map::new();
        body.insert("model".into(), ask.model.as_str().into());
        body.insert("max_tokens".into(), most.into());
        body.extend(form.tools);
        if !ask.system.is_empty() {
            let system = json!([{ "type": "text", "text": ask.system }]);
            body.insert("system".into(), system);
        }
        let content = json!([{ "role": "user", "content": content(ask) }]);
        body.insert("messages".into(), content);
        let thinking = thinking(ask, most, form.is_forced);
        let mut output = form.output;
        output.extend(
            thinking
                .effort
                .map(|effort| ("effort".into(), effort.into())),
        );
        if !output.is_empty() {
            body.insert("output_config".into(), Value::Object(output));
        }
        if let Some(temperature) = ask.temperature(thinking.is_on) {
            // Others allow up to 2.
            body.insert("temperature".into(), temperature.clamp(0.0, 1.0).into());
        }
        body.extend(thinking.mode.map(|mode| ("thinking".into(), mode)));
        body.insert("stream".into(), ask.stream.into());
        Value::Object(body)
    }

    fn reader(&self, ask: &Ask) -> Box<dyn Reader> {
        Box::new(Answer::new(is_tool(ask)))
    }

    fn sort(&self, status: u16, body: &[u8]) -> Sorted {
        let body = serde_json::from_slice(body).unwrap_or_default();
        sort(status, &body)
    }

    fn limits(&self, headers: &HeaderMap, now: Timestamp) -> Option<Limits> {
        let quota = |names: [&str; 3]| Quota::read(headers, names, now);
        let limits = Limits {
            requests: quota([
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ]),
            // Of input and output, whichever is nearer to its end.
            tokens: quota([
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ]),
        };
        limits.known()
    }

    fn models_query(&self) -> Option<&'static str> {
        Some("limit=1000")
    }

    fn models(&self, body: &[u8]) -> Option<ModelPage> {
        let list: ModelList = serde_json::from_slice(body).ok()?;
        let last = list.last_id.filter(|_| list.has_more);
        Some(ModelPage {
            names: list.data.into_iter().map(|model| model.id).collect(),
            next: last.map(|id| ("after_id", id)),
        })
    }
}

/// Document first, its end marked where it is to be kept, the task last.
fn content(ask: &Ask) -> Vec<Value> {
    let mut blocks: Vec<Value> = ask.document.iter().map(block).collect();
    if ask.cache != Cache::Off
        && let Some(last) = blocks.last_mut()
    {
        last["cache_control"] = json!({ "type": "ephemeral" });
    }
    blocks.push(json!({ "type": "text", "text": ask.task }));
    blocks
}

fn block(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::File {
            media_type, bytes, ..
        } => {
            let kind = if media_type.starts_with("image/") {
                "image"
            } else {
                "document"
            };
            let data = STANDARD.encode(bytes);
            json!({ "type": kind, "source": { "type": "base64", "media_type": media_type, "data": data } })
        }
    }
}

/// How the form of the answer is asked for.
#[derive(Default)]
struct Form {
    tools: Map<String, Value>,
    output: Map<String, Value>,
    /// Whether the model has no choice but to use the tool. It may not think then.
    is_forced: bool,
}

fn is_tool(ask: &Ask) -> bool {
    ask.output == Output::Tool && ask.schema.is_some()
}

fn form(ask: &Ask) -> Form {
    let mut form = Form::default();
    match (ask.output, &ask.schema) {
        (Output::Schema, Some(schema)) => {
            let format = json!({ "type": "json_schema", "schema": schema });
            form.output.insert("format".into(), format);
        }
        (Output::Tool, Some(schema)) => {
            form.is_forced = can_be_without_thinking(&ask.profile.thinking);
            let tool = json!({
                "name": TOOL,
                "description": "Takes what was found in the document.",
                "input_schema": schema,
            });
            let choice = if form.is_forced {
                json!({ "type": "tool", "name": TOOL, "disable_parallel_tool_use": true })
            } else {
                json!({ "type": "auto", "disable_parallel_tool_use": true })
            };
            form.tools.insert("tools".into(), json!([tool]));
            form.tools.insert("tool_choice".into(), choice);
        }
        _ => {}
    }
    form
}

fn can_be_without_thinking(thinks: &Thinks) -> bool {
    match thinks {
        Thinks::Effort { off, .. } => off == "disabled",
        Thinks::Unasked | Thinks::Budget { .. } => true,
    }
}

#[derive(Default)]
struct Thoughts {
    mode: Option<Value>,
    effort: Option<String>,
    is_on: bool,
}

fn thinking(ask: &Ask, most: u32, is_forced: bool) -> Thoughts {
    let wanted = if is_forced {
        Thinking::Off
    } else {
        ask.thinking
    };
    match (&ask.profile.thinking, wanted) {
        (Thinks::Unasked, _) | (Thinks::Budget { .. }, Thinking::Off) => Thoughts::default(),
        (
            Thinks::Budget {
                least, most: top, ..
            },
            Thinking::On { budget },
        ) => {
            // Thoughts count into the limit of the answer, which has to be the larger.
            let room = most.saturating_sub(LEAST_ROOM);
            let tokens = budget.unwrap_or(USUAL_BUDGET).clamp(*least, *top).min(room);
            if tokens < *least {
                return Thoughts::default();
            }
            Thoughts {
                mode: Some(json!({ "type": "enabled", "budget_tokens": tokens })),
                effort: None,
                is_on: true,
            }
        }
        // Words that are modes; others are efforts of a model that always thinks.
        (Thinks::Effort { off, .. }, Thinking::Off)
            if matches!(off.as_str(), "disabled" | "between_tools") =>
        {
            Thoughts {
                mode: Some(json!({ "type": off })),
                ..Thoughts::default()
            }
        }
        (Thinks::Effort { off, .. }, Thinking::Off) => Thoughts {
            mode: None,
            effort: Some(off.clone()),
            is_on: true,
        },
        (Thinks::Effort { on, .. }, Thinking::On { budget }) => Thoughts {
            // Newer models leave the thoughts out unless asked for them.
            mode: Some(json!({ "type": "adaptive", "display": "summarized" })),
            effort: budget
                .map(|tokens| Thinks::effort(tokens).to_owned())
                .or_else(|| on.clone()),
            is_on: true,
        },
    }
}

#[derive(Deserialize)]
struct ModelList {
    #[serde(default)]
    data: Vec<Model>,
    #[serde(default)]
    has_more: bool,
    last_id: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[cfg(test)]
mod tests;
