//! Anthropic's messages.

use serde_json::{Value, json};

use super::asked::Asked;
use super::failure::{CANARY, Failure};
use super::speech::{Ending, Frame, Part, Speech, steps, tokens};

/// Stands for the input of a tool until it is spliced in as text: it need not be JSON.
const INPUT: &str = "@@INPUT@@";

/// The body of a plain call.
pub fn body(texts: &[&str], schema: Option<&Value>, stream: bool) -> Value {
    let parts: Vec<Value> = texts
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    let mut body = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": parts}],
    });
    if stream {
        body["stream"] = json!(true);
    }
    if let Some(schema) = schema {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    body
}

pub fn schema(json: &Value) -> Option<&Value> {
    json.pointer("/output_config/format/schema")
        .or_else(|| json.pointer("/output_format/schema"))
        .or_else(|| {
            json.pointer("/tool_choice/name")?;
            json.pointer("/tools/0/input_schema")
        })
}

/// Texts of the prompt, and how many of them are the system's.
pub fn texts(json: &Value) -> (Vec<String>, usize) {
    let mut texts = blocks(&json["system"]);
    let count = texts.len();
    let messages = json["messages"].as_array().into_iter().flatten();
    texts.extend(messages.flat_map(|message| blocks(&message["content"])));
    (texts, count)
}

fn blocks(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        Value::Array(blocks) => blocks.iter().map(block_text).collect(),
        _ => Vec::new(),
    }
}

fn block_text(block: &Value) -> String {
    if let Some(text) = block["text"].as_str() {
        return text.to_owned();
    }
    let data = block
        .pointer("/source/data")
        .and_then(Value::as_str)
        .unwrap_or("");
    let kind = block.pointer("/source/media_type").and_then(Value::as_str);
    match kind {
        Some("text/plain") => data.to_owned(),
        kind => format!("media:{}:{}", kind.unwrap_or("none"), data.len()),
    }
}

/// What the vendor would refuse about a request.
pub fn objection(asked: &Asked) -> Option<String> {
    const TOP: &[&str] = &[
        "model",
        "messages",
        "max_tokens",
        "system",
        "metadata",
        "stop_sequences",
        "stream",
        "temperature",
        "top_k",
        "top_p",
        "tools",
        "tool_choice",
        "thinking",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "cache_control",
        "inference_geo",
        "speed",
    ];
    let json = &asked.json;
    if asked.header("anthropic-version").is_none() {
        return Some("anthropic-version: header is required".into());
    }
    let Some(most) = json["max_tokens"].as_u64() else {
        return Some("max_tokens: Field required".into());
    };
    let mut names = json.as_object()?.keys();
    if let Some(name) = names.find(|name| !TOP.contains(&name.as_str())) {
        return Some(format!("{name}: Extra inputs are not permitted"));
    }
    if json.pointer("/thinking/type") == Some(&json!("enabled")) {
        let budget = json
            .pointer("/thinking/budget_tokens")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if budget < 1024 {
            return Some(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
                    .into(),
            );
        }
        if budget >= most {
            return Some("`max_tokens` must be greater than `thinking.budget_tokens`.".into());
        }
        if json["temperature"].as_f64().is_some_and(|heat| heat != 1.0) {
            return Some("`temperature` may only be set to 1 when thinking is enabled.".into());
        }
        if json.pointer("/tool_choice/name").is_some() {
            return Some("Thinking may not be enabled when tool_choice forces tool use.".into());
        }
    }
    let bound = json.pointer("/output_config/format/schema")?;
    open_object(bound).then(|| {
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false".into()
    })
}

/// Whether an object in the schema may have members that are not named.
fn open_object(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let open = members.get("properties").is_some_and(Value::is_object)
                && members.get("type").is_some_and(|kind| kind == "object")
                && members.get("additionalProperties") != Some(&json!(false));
            open || members
                .iter()
                .filter(|(name, _)| {
                    !matches!(name.as_str(), "enum" | "const" | "default" | "examples")
                })
                .any(|(_, value)| open_object(value))
        }
        Value::Array(values) => values.iter().any(open_object),
        _ => false,
    }
}

fn reason(ending: &Ending, tool: bool) -> &'static str {
    match ending {
        Ending::Length => "max_tokens",
        Ending::Refusal(_) | Ending::Filtered | Ending::Blocked => "refusal",
        Ending::Unknown => "cause_of_tomorrow",
        Ending::Stop | Ending::Broken if tool => "tool_use",
        Ending::Stop | Ending::Broken => "end_turn",
    }
}

/// What was read fresh is told apart from what was cached.
fn usage(speech: &Speech, written: u64) -> Value {
    let told = &speech.tokens;
    json!({
        "input_tokens": told.prompt - told.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": told.cached,
        "output_tokens": written,
        "service_tier": "standard"
    })
}

fn message(asked: &Asked, content: Vec<Value>) -> Value {
    json!({
        "id": format!("msg_{}", asked.number),
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null
    })
}

fn open_block(tool: Option<&str>, part: &Part) -> Value {
    match (part, tool) {
        (Part::Thought(_), _) => json!({"type": "thinking", "thinking": "", "signature": ""}),
        (Part::Text(_), Some(name)) => {
            json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {}})
        }
        (Part::Text(_), None) => json!({"type": "text", "text": ""}),
    }
}

pub fn whole(asked: &Asked, speech: &Speech) -> String {
    let tool = asked.tool();
    let mut input = None;
    let mut content = Vec::new();
    for part in spoken(speech) {
        let mut block = open_block(tool, &part);
        match part {
            Part::Thought(text) => {
                block["thinking"] = json!(text);
                block["signature"] = json!("c2lnbmVk");
            }
            Part::Text(text) if tool.is_some() => {
                block["input"] = json!(INPUT);
                input = Some(text);
            }
            Part::Text(text) => block["text"] = json!(text),
        }
        content.push(block);
    }
    let mut body = message(asked, content);
    body["stop_reason"] = json!(reason(&speech.ending, tool.is_some()));
    if speech.tells_usage {
        body["usage"] = usage(speech, speech.tokens.thought + speech.tokens.written);
    }
    if speech.extras {
        body["server_mood"] = json!({"calm": true});
        body["content"][0]["tomorrow"] = json!([{"a": null}]);
    }
    let text = body.to_string();
    match input {
        // A tool's input is JSON by the wire; what is cut is closed by the vendor as an empty one.
        Some(_) if speech.ending == Ending::Length => text.replace(&format!("\"{INPUT}\""), "{}"),
        Some(input) => text.replace(&format!("\"{INPUT}\""), &input),
        None => text,
    }
}

/// A refusal's own words are a text.
fn spoken(speech: &Speech) -> Vec<Part> {
    match &speech.ending {
        Ending::Refusal(words) => vec![Part::Text(words.clone())],
        _ => speech.parts.clone(),
    }
}

pub fn frames(asked: &Asked, speech: &Speech, characters: usize) -> Vec<Frame> {
    let event = |mut value: Value, due: f64, said: usize| {
        if speech.extras {
            value["server_mood"] = json!({"calm": true});
        }
        let name = value["type"].as_str().unwrap_or("error").to_owned();
        Frame::new(format!("event: {name}\ndata: {value}\n\n"), due, said)
    };
    let tool = asked.tool();
    let mut start = message(asked, Vec::new());
    if speech.tells_usage {
        start["usage"] = usage(speech, 1);
    }
    let mut frames = vec![event(
        json!({"type": "message_start", "message": start}),
        0.0,
        0,
    )];
    let (mut due, mut said) = (0.0, 0);
    let parts = spoken(speech);
    for (index, part) in parts.iter().enumerate() {
        let block = open_block(tool, part);
        frames.push(event(
            json!({"type": "content_block_start", "index": index, "content_block": block}),
            due,
            said,
        ));
        if index == 0 {
            frames.push(event(json!({"type": "ping"}), due, said));
        }
        let (Part::Thought(text) | Part::Text(text)) = part;
        for step in steps(text, characters) {
            due += tokens(&step) as f64;
            if matches!(part, Part::Text(_)) {
                said += step.chars().count();
            }
            let delta = match (part, tool) {
                (Part::Thought(_), _) => json!({"type": "thinking_delta", "thinking": step}),
                (Part::Text(_), Some(_)) => {
                    json!({"type": "input_json_delta", "partial_json": step})
                }
                (Part::Text(_), None) => json!({"type": "text_delta", "text": step}),
            };
            frames.push(event(
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
                due,
                said,
            ));
        }
        if speech.ending == Ending::Broken {
            let (_, body) = failure(&Failure::Overloaded, asked);
            frames.push(Frame::new(
                format!("event: error\ndata: {body}\n\n"),
                due,
                said,
            ));
            return frames;
        }
        if matches!(part, Part::Thought(_)) {
            let delta = json!({"type": "signature_delta", "signature": "c2lnbmVk"});
            frames.push(event(
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
                due,
                said,
            ));
        }
        // A tool's input that the limit cut is left open.
        let open = tool.is_some() && speech.ending == Ending::Length && index + 1 == parts.len();
        if !open {
            frames.push(event(
                json!({"type": "content_block_stop", "index": index}),
                due,
                said,
            ));
        }
    }
    let delta =
        json!({"stop_reason": reason(&speech.ending, tool.is_some()), "stop_sequence": null});
    let mut last = json!({"type": "message_delta", "delta": delta});
    if speech.tells_usage {
        last["usage"] = json!({"output_tokens": speech.tokens.thought + speech.tokens.written});
    }
    frames.push(event(last, due, said));
    if speech.extras {
        frames.push(event(
            json!({"type": "event_of_tomorrow", "a": 1}),
            due,
            said,
        ));
    }
    frames.push(event(json!({"type": "message_stop"}), due, said));
    frames
}

fn error(status: u16, kind: &str, message: &str) -> (u16, String) {
    let error = json!({"type": kind, "message": format!("{message} [{CANARY}]")});
    let body = json!({"type": "error", "error": error, "request_id": "req_tests"});
    (status, body.to_string())
}

pub fn failure(failure: &Failure, asked: &Asked) -> (u16, String) {
    const INVALID: &str = "invalid_request_error";
    match failure {
        Failure::BadSchema => error(
            400,
            INVALID,
            "The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas or reduce the number of strict tools.",
        ),
        Failure::BadDocument => error(
            400,
            INVALID,
            "messages.0.content.0.pdf.source.base64.data: The PDF specified was not valid.",
        ),
        Failure::Invalid(message) => error(400, INVALID, message),
        Failure::Blocked => error(400, INVALID, "Output blocked by content filtering policy"),
        Failure::BadKey | Failure::Unauthorized => {
            error(401, "authentication_error", "invalid x-api-key")
        }
        Failure::Forbidden => error(
            403,
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        Failure::NotFound => error(404, "not_found_error", &format!("model: {}", asked.model)),
        Failure::RateLimit(_) => error(
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute.",
        ),
        Failure::QuotaGone => error(
            429,
            "rate_limit_error",
            "You have reached your specified API usage limits. You will regain access on the first of next month.",
        ),
        Failure::Overloaded => error(529, "overloaded_error", "Overloaded"),
        Failure::Unavailable => error(503, "api_error", "Service temporarily unavailable"),
        _ => error(500, "api_error", "Internal server error"),
    }
}

pub fn models() -> Value {
    let model = |id: &str, name: &str| json!({"type": "model", "id": id, "display_name": name, "created_at": "2025-09-29T00:00:00Z"});
    json!({
        "data": [model("claude-sonnet-4-5", "Claude Sonnet 4.5"), model("claude-haiku-4-5", "Claude Haiku 4.5")],
        "has_more": false, "first_id": "claude-sonnet-4-5", "last_id": "claude-haiku-4-5"
    })
}
