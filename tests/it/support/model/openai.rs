//! OpenAI's chat completions, as OpenAI and llama.cpp speak them.

use serde_json::{Value, json};

use super::asked::Asked;
use super::failure::{CANARY, Failure, Hint};
use super::speech::{Ending, Frame, Part, Speech, TOKEN, probability, steps, tokens};

/// The body of a plain call.
pub fn body(texts: &[&str], schema: Option<&Value>, stream: bool) -> Value {
    let parts: Vec<Value> = texts
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    let mut body = json!({
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": parts}],
    });
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    if let Some(schema) = schema {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": "extraction", "strict": false, "schema": schema}
        });
    }
    body
}

pub fn schema(json: &Value) -> Option<&Value> {
    json.pointer("/response_format/json_schema/schema")
        .or_else(|| json.pointer("/response_format/schema"))
        .or_else(|| {
            json.get("tool_choice")?;
            json.pointer("/tools/0/function/parameters")
        })
}

/// Texts of the prompt, and how many of them are the system's.
pub fn texts(json: &Value) -> (Vec<String>, usize) {
    let (mut system, mut users) = (Vec::new(), Vec::new());
    for message in json["messages"].as_array().into_iter().flatten() {
        let is_system = matches!(message["role"].as_str(), Some("system" | "developer"));
        let side = if is_system { &mut system } else { &mut users };
        match &message["content"] {
            Value::String(text) => side.push(text.clone()),
            Value::Array(parts) => side.extend(parts.iter().map(part_text)),
            _ => {}
        }
    }
    let count = system.len();
    system.append(&mut users);
    (system, count)
}

fn part_text(part: &Value) -> String {
    if let Some(text) = part["text"].as_str() {
        return text.to_owned();
    }
    let kind = part["type"].as_str().unwrap_or("none");
    let url = part
        .pointer("/image_url/url")
        .or_else(|| part.pointer("/file/file_data"));
    format!(
        "media:{kind}:{}",
        url.and_then(Value::as_str).map_or(0, str::len)
    )
}

/// What the vendor would refuse about a request's members.
pub fn objection(json: &Value) -> Option<String> {
    const TOP: &[&str] = &[
        "model",
        "messages",
        "response_format",
        "stream",
        "stream_options",
        "temperature",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "top_p",
        "n",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "service_tier",
        "store",
        "metadata",
        "modalities",
        "prediction",
        "verbosity",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    ];
    let mut names = json.as_object()?.keys();
    if let Some(name) = names.find(|name| !TOP.contains(&name.as_str())) {
        return Some(format!("Unrecognized request argument supplied: {name}"));
    }
    if json
        .get("stream_options")
        .is_some_and(|options| !options.is_null())
        && json["stream"] != true
    {
        return Some(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.".into(),
        );
    }
    let format = json.pointer("/response_format/json_schema")?;
    let name = format["name"].as_str().unwrap_or("");
    let named = (1..=64).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !named {
        return Some(format!(
            "Invalid 'response_format.json_schema.name': '{name}' does not match '^[a-zA-Z0-9_-]+$'."
        ));
    }
    if format["strict"] == true {
        let root = &format["schema"];
        let place = loose(root, &mut Vec::new())?;
        return Some(format!(
            "Invalid schema for response_format '{name}': {place}"
        ));
    }
    None
}

/// The first object of a strict schema that leaves something open.
fn loose(schema: &Value, at: &mut Vec<String>) -> Option<String> {
    let context = |at: &[String]| {
        let quoted: Vec<String> = at.iter().map(|step| format!("'{step}'")).collect();
        format!("In context=({})", quoted.join(", "))
    };
    if let Some(properties) = schema["properties"].as_object() {
        if schema["additionalProperties"] != false {
            return Some(format!(
                "{}, 'additionalProperties' is required to be supplied and to be false.",
                context(at)
            ));
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in properties {
            if !required.contains(&json!(name)) {
                return Some(format!(
                    "{}, 'required' is required to be supplied and to be an array including every key in properties. Missing '{name}'.",
                    context(at)
                ));
            }
            at.extend(["properties".to_owned(), name.clone()]);
            if let Some(found) = loose(property, at) {
                return Some(found);
            }
            at.truncate(at.len() - 2);
        }
    }
    for keyword in ["oneOf", "allOf", "not", "patternProperties", "if"] {
        if schema.get(keyword).is_some() {
            return Some(format!("{}, '{keyword}' is not permitted.", context(at)));
        }
    }
    let named = ["$defs", "definitions"]
        .iter()
        .filter_map(|name| schema[*name].as_object());
    let mut below: Vec<(String, &Value)> = named
        .flat_map(|defs| defs.iter().map(|(name, value)| (name.clone(), value)))
        .collect();
    below.extend(schema.get("items").map(|items| ("items".to_owned(), items)));
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    below.extend(
        choices
            .enumerate()
            .map(|(index, value)| (format!("anyOf.{index}"), value)),
    );
    below.into_iter().find_map(|(name, value)| {
        at.push(name);
        let found = loose(value, at);
        at.pop();
        found
    })
}

fn finish(ending: &Ending) -> &'static str {
    match ending {
        Ending::Length => "length",
        Ending::Filtered => "content_filter",
        Ending::Unknown => "cause_of_tomorrow",
        // A refusal ends with `stop`: only its member tells it.
        _ => "stop",
    }
}

fn usage(speech: &Speech) -> Value {
    let told = &speech.tokens;
    let completion = told.thought + told.written;
    json!({
        "prompt_tokens": told.prompt,
        "completion_tokens": completion,
        "total_tokens": told.prompt + completion,
        "prompt_tokens_details": {"cached_tokens": told.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": told.thought, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
        }
    })
}

fn envelope(asked: &Asked, speech: &Speech, object: &str, choices: Value) -> Value {
    let mut envelope = json!({
        "id": format!("chatcmpl-{}", asked.number),
        "object": object,
        "created": 1_760_000_000,
        "model": asked.model,
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": "fp_tests",
    });
    if speech.extras {
        envelope["server_mood"] = json!({"calm": true});
        if let Some(choice) = envelope["choices"].get_mut(0) {
            choice["tomorrow"] = json!([{"a": null}]);
        }
    }
    envelope
}

/// The tokens of a text, where they were asked for.
fn logprobs(asked: &Asked, text: &str) -> Value {
    if asked.json["logprobs"] != true || text.is_empty() {
        return Value::Null;
    }
    let token = |text: String| json!({"token": text, "bytes": text.as_bytes(), "logprob": probability(&text).ln(), "top_logprobs": []});
    let content: Vec<Value> = steps(text, TOKEN).into_iter().map(token).collect();
    json!({"content": content, "refusal": null})
}

pub fn whole(asked: &Asked, speech: &Speech) -> String {
    let said = speech.said();
    let content = if said.is_empty() {
        Value::Null
    } else {
        json!(said)
    };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if let Ending::Refusal(words) = &speech.ending {
        message["content"] = Value::Null;
        message["refusal"] = json!(words);
    }
    if !speech.thought().is_empty() {
        message["reasoning_content"] = json!(speech.thought());
    }
    let mut reason = finish(&speech.ending);
    if let Some(name) = asked.tool().filter(|_| !said.is_empty()) {
        message["content"] = Value::Null;
        message["tool_calls"] = json!([{
            "id": "call_1", "type": "function", "function": {"name": name, "arguments": said}
        }]);
        reason = if reason == "stop" {
            "tool_calls"
        } else {
            reason
        };
    }
    let logprobs = logprobs(asked, message["content"].as_str().unwrap_or_default());
    let choice =
        json!({"index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason});
    let mut body = envelope(asked, speech, "chat.completion", json!([choice]));
    if speech.tells_usage {
        body["usage"] = usage(speech);
    }
    body.to_string()
}

pub fn frames(asked: &Asked, speech: &Speech, characters: usize) -> Vec<Frame> {
    let line =
        |value: &Value, due: f64, said: usize| Frame::new(format!("data: {value}\n\n"), due, said);
    let includes = asked.json.pointer("/stream_options/include_usage") == Some(&json!(true));
    let chunk = |delta: Value, reason: Value| {
        let logprobs = logprobs(asked, delta["content"].as_str().unwrap_or_default());
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason});
        let mut chunk = envelope(asked, speech, "chat.completion.chunk", json!([choice]));
        if includes {
            chunk["usage"] = Value::Null;
        }
        chunk
    };
    let opening = json!({"role": "assistant", "content": "", "refusal": null});
    let mut frames = vec![line(&chunk(opening, Value::Null), 0.0, 0)];
    let (mut due, mut said) = (0.0, 0);
    let mut parts = speech.parts.clone();
    if let Ending::Refusal(words) = &speech.ending {
        parts = vec![Part::Text(words.clone())];
    }
    for part in &parts {
        let (thought, text) = match part {
            Part::Thought(text) => (true, text),
            Part::Text(text) => (false, text),
        };
        for step in steps(text, characters) {
            due += tokens(&step) as f64;
            said += if thought { 0 } else { step.chars().count() };
            let delta = match (&speech.ending, asked.tool()) {
                _ if thought => json!({"reasoning_content": step}),
                (Ending::Refusal(_), _) => json!({"refusal": step}),
                (_, Some(name)) => json!({"tool_calls": [{
                    "index": 0, "id": "call_1", "type": "function",
                    "function": {"name": name, "arguments": step}
                }]}),
                _ => json!({"content": step}),
            };
            frames.push(line(&chunk(delta, Value::Null), due, said));
        }
    }
    if speech.ending == Ending::Broken {
        let (_, body) = failure(&Failure::Internal, asked);
        frames.push(Frame::new(format!("data: {body}\n\n"), due, said));
        return frames;
    }
    let reason = match (finish(&speech.ending), asked.tool()) {
        ("stop", Some(_)) => "tool_calls",
        (reason, _) => reason,
    };
    frames.push(line(&chunk(json!({}), json!(reason)), due, said));
    if includes && speech.tells_usage {
        let mut last = envelope(asked, speech, "chat.completion.chunk", json!([]));
        last["usage"] = usage(speech);
        frames.push(line(&last, due, said));
    }
    frames.push(Frame::new("data: [DONE]\n\n".into(), due, said));
    frames
}

fn error(
    status: u16,
    message: &str,
    kind: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> (u16, String) {
    let message = format!("{message} [{CANARY}]");
    let error = json!({"message": message, "type": kind, "param": param, "code": code});
    (status, json!({"error": error}).to_string())
}

pub fn failure(failure: &Failure, asked: &Asked) -> (u16, String) {
    const INVALID: &str = "invalid_request_error";
    match failure {
        Failure::BadSchema => error(
            400,
            "Invalid schema for response_format 'extraction': In context=('properties', 'a'), 'additionalProperties' is required to be supplied and to be false.",
            INVALID,
            Some("response_format"),
            None,
        ),
        Failure::BadDocument => error(
            400,
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', 'jpeg', 'gif', 'webp'].",
            INVALID,
            None,
            Some("invalid_image_format"),
        ),
        Failure::Invalid(message) => {
            let param = message
                .starts_with("Invalid schema")
                .then_some("response_format");
            error(400, message, INVALID, param, None)
        }
        Failure::Blocked => error(
            400,
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            INVALID,
            None,
            Some("invalid_prompt"),
        ),
        Failure::BadKey | Failure::Unauthorized => error(
            401,
            "Incorrect API key provided: tests****key. You can find your API key at https://platform.openai.com/account/api-keys.",
            INVALID,
            None,
            Some("invalid_api_key"),
        ),
        Failure::Forbidden => error(
            403,
            "Project does not have access to the model.",
            INVALID,
            None,
            Some("model_not_found"),
        ),
        Failure::NotFound => error(
            404,
            &format!(
                "The model `{}` does not exist or you do not have access to it.",
                asked.model
            ),
            INVALID,
            None,
            Some("model_not_found"),
        ),
        Failure::RateLimit(hint) => {
            let again = match hint {
                Hint::Body(wait) => format!(" Please try again in {}.", spell(wait.as_secs_f64())),
                _ => String::new(),
            };
            let message = format!(
                "Rate limit reached for {} in organization org-tests on requests per min (RPM): Limit 300, Used 300, Requested 1.{again}",
                asked.model
            );
            error(429, &message, "requests", None, Some("rate_limit_exceeded"))
        }
        Failure::QuotaGone => error(
            429,
            "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
            "insufficient_quota",
            None,
            Some("insufficient_quota"),
        ),
        Failure::Overloaded => error(
            529,
            "The engine is currently overloaded.",
            "server_error",
            None,
            None,
        ),
        Failure::Unavailable => error(
            503,
            "The engine is currently overloaded, please try again later.",
            "server_error",
            None,
            None,
        ),
        _ => error(
            500,
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            None,
            None,
        ),
    }
}

/// llama.cpp's own bodies, with a number for a code.
pub fn llama(failure: &Failure) -> (u16, String) {
    let error = match failure {
        Failure::Loading => json!({
            "code": 503, "message": format!("Loading model [{CANARY}]"), "type": "unavailable_error"
        }),
        _ => json!({
            "code": 400,
            "message": format!("the request exceeds the available context size. try increasing the context size or enable context shift [{CANARY}]"),
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 14_429,
            "n_ctx": 8_192
        }),
    };
    let status = error["code"].as_u64().unwrap() as u16;
    (status, json!({"error": error}).to_string())
}

/// A duration as the vendor spells it: `120ms`, `1.5s`, `6m0s`.
pub fn spell(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{}ms", (seconds * 1000.0).ceil());
    }
    if seconds < 60.0 {
        return format!("{}s", (seconds * 1000.0).round() / 1000.0);
    }
    let whole = seconds.ceil() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, rest) => format!("{minutes}m{rest}s"),
        (hours, minutes, rest) => format!("{hours}h{minutes}m{rest}s"),
    }
}

pub fn models() -> Value {
    let model = |id: &str| json!({"id": id, "object": "model", "created": 1_760_000_000, "owned_by": "tests"});
    json!({"object": "list", "data": [model("gpt-4.1-mini"), model("smollm2"), model("text-embedding-3-small")]})
}
