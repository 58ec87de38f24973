//! Gemini: `models/M:generateContent`, `:streamGenerateContent?alt=sse`, `models`, `cachedContents`.

use serde_json::{Value, json};

use super::asked::Asked;
use super::failure::{CANARY, Failure, Hint};
use super::speech::{Ending, Frame, Part, Speech, TOKEN, probability, steps, tokens};

/// The body of a plain call.
pub fn body(texts: &[&str], schema: Option<&Value>) -> Value {
    let parts: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
    let mut body = json!({"contents": [{"role": "user", "parts": parts}]});
    if let Some(schema) = schema {
        body["generationConfig"] =
            json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
    }
    body
}

/// Either spelling: the wire takes both.
fn member<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake))
}

pub fn schema(json: &Value) -> Option<&Value> {
    let config = member(json, "generationConfig", "generation_config")?;
    member(config, "responseJsonSchema", "response_json_schema")
        .or_else(|| member(config, "responseSchema", "response_schema"))
}

/// Texts of the prompt, and how many of them are the system's.
pub fn texts(json: &Value) -> (Vec<String>, usize) {
    let mut texts = Vec::new();
    let system = member(json, "systemInstruction", "system_instruction");
    texts.extend(system.into_iter().flat_map(parts));
    let count = texts.len();
    let contents = json["contents"].as_array().into_iter().flatten();
    texts.extend(contents.flat_map(parts));
    (texts, count)
}

fn parts(content: &Value) -> Vec<String> {
    let parts = content["parts"].as_array().into_iter().flatten();
    let texts = parts.map(|part| match part["text"].as_str() {
        Some(text) => text.to_owned(),
        None => {
            let media = member(part, "inlineData", "inline_data").unwrap_or(&Value::Null);
            let kind = member(media, "mimeType", "mime_type").and_then(Value::as_str);
            let length = media["data"].as_str().map_or(0, str::len);
            format!("media:{}:{length}", kind.unwrap_or("none"))
        }
    });
    texts.collect()
}

/// What the vendor would refuse about a request's members.
pub fn objection(json: &Value) -> Option<String> {
    const TOP: &[&str] = &[
        "contents",
        "tools",
        "toolConfig",
        "safetySettings",
        "systemInstruction",
        "generationConfig",
        "cachedContent",
        "model",
        "labels",
        "serviceTier",
        "store",
    ];
    const CONFIG: &[&str] = &[
        "stopSequences",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "responseModalities",
        "candidateCount",
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "enableEnhancedCivicAnswers",
        "speechConfig",
        "thinkingConfig",
        "imageConfig",
        "mediaResolution",
    ];
    let unknown = |value: &Value, known: &[&str], at: &str| {
        let names = value.as_object()?.keys();
        let name = names
            .into_iter()
            .find(|name| !known.contains(&camel(name).as_str()))?;
        Some(format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
        ))
    };
    let config = member(json, "generationConfig", "generation_config").unwrap_or(&Value::Null);
    let media = member(config, "responseMimeType", "response_mime_type");
    if schema(json).is_some() && media.is_none_or(|media| media != "application/json") {
        return Some(
            "Response schema is only allowed with response mime type application/json.".into(),
        );
    }
    if json["contents"].as_array().is_none_or(Vec::is_empty) {
        return Some("* GenerateContentRequest.contents: contents is not specified".into());
    }
    unknown(json, TOP, "").or_else(|| unknown(config, CONFIG, " at 'generation_config'"))
}

fn camel(name: &str) -> String {
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let lead = if name.starts_with('_') { "_" } else { "" };
    let first = words.next().unwrap_or("").to_owned();
    words.fold(format!("{lead}{first}"), |name, word| {
        format!("{name}{}{}", word[..1].to_uppercase(), &word[1..])
    })
}

fn finish(ending: &Ending) -> Option<&'static str> {
    Some(match ending {
        Ending::Stop => "STOP",
        Ending::Length => "MAX_TOKENS",
        Ending::Refusal(_) => "SAFETY",
        Ending::Filtered => "RECITATION",
        Ending::Unknown => "CAUSE_OF_TOMORROW",
        Ending::Blocked | Ending::Broken => return None,
    })
}

fn usage(speech: &Speech, written: u64) -> Value {
    let told = &speech.tokens;
    let mut usage = json!({
        "promptTokenCount": told.prompt,
        "totalTokenCount": told.prompt + told.thought + written,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": told.prompt}],
    });
    for (name, count) in [
        ("candidatesTokenCount", written),
        ("thoughtsTokenCount", told.thought),
        ("cachedContentTokenCount", told.cached),
    ] {
        if count > 0 {
            usage[name] = json!(count);
        }
    }
    usage
}

/// The tokens of the parts that are no thoughts, where they were asked for.
fn logprobs(asked: &Asked, parts: &[Value]) -> Option<Value> {
    let wanted = asked.json.pointer("/generationConfig/responseLogprobs")?;
    let said = parts.iter().filter(|part| part["thought"] != true);
    let text: String = said.filter_map(|part| part["text"].as_str()).collect();
    let token = |text: String| json!({"token": text, "tokenId": 1, "logProbability": probability(&text).ln()});
    let chosen: Vec<Value> = steps(&text, TOKEN).into_iter().map(token).collect();
    (*wanted == true && !chosen.is_empty())
        .then(|| json!({"topCandidates": [], "chosenCandidates": chosen}))
}

/// One response object. `last` carries why it ended.
fn response(asked: &Asked, speech: &Speech, parts: Vec<Value>, written: u64, last: bool) -> Value {
    let logprobs = logprobs(asked, &parts);
    let mut content = json!({"role": "model"});
    if !parts.is_empty() {
        content["parts"] = json!(parts);
    }
    let mut candidate = json!({"content": content, "index": 0});
    if last && let Some(reason) = finish(&speech.ending) {
        candidate["finishReason"] = json!(reason);
    }
    if let Some(logprobs) = logprobs {
        candidate["logprobsResult"] = logprobs;
    }
    let mut response = json!({
        "candidates": [candidate],
        "modelVersion": asked.model,
        "responseId": format!("response-{}", asked.number),
    });
    if speech.ending == Ending::Blocked {
        response.as_object_mut().unwrap().remove("candidates");
        response["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
    }
    if speech.tells_usage {
        response["usageMetadata"] = usage(speech, written);
    }
    if speech.extras {
        response["candidates"][0]["tomorrow"] = json!({"a": [1, null]});
        response["candidates"][0]["content"]["weather"] = json!("fair");
        response["serverMood"] = json!({"calm": true});
    }
    response
}

fn part(thought: bool, text: &str) -> Value {
    if thought {
        json!({"text": text, "thought": true})
    } else {
        json!({"text": text})
    }
}

pub fn whole(asked: &Asked, speech: &Speech) -> String {
    let parts = speech.parts.iter().map(|each| match each {
        Part::Thought(text) => part(true, text),
        Part::Text(text) => part(false, text),
    });
    let parts = if speech.ending == Ending::Blocked {
        Vec::new()
    } else {
        parts.collect()
    };
    response(asked, speech, parts, speech.tokens.written, true).to_string()
}

pub fn frames(asked: &Asked, speech: &Speech, characters: usize) -> Vec<Frame> {
    let frame = |value: &Value, due: f64, said: usize| {
        Frame::new(format!("data: {value}\r\n\r\n"), due, said)
    };
    let mut frames = Vec::new();
    let (mut due, mut written, mut said) = (0.0, 0, 0);
    for each in &speech.parts {
        let (thought, text) = match each {
            Part::Thought(text) => (true, text),
            Part::Text(text) => (false, text),
        };
        for step in steps(text, characters) {
            due += tokens(&step) as f64;
            if !thought {
                written += tokens(&step);
                said += step.chars().count();
            }
            let value = response(asked, speech, vec![part(thought, &step)], written, false);
            frames.push(frame(&value, due, said));
        }
    }
    if speech.ending == Ending::Broken {
        // As it was seen: the bare object, pretty, without `data:`.
        let (_, body) = failure(&Failure::Unavailable, asked);
        frames.push(Frame::new(body, due, said));
        return frames;
    }
    // The reason comes with a last, empty part, as the vendor sends it.
    let parts = match speech.ending {
        Ending::Stop if !speech.parts.is_empty() => vec![part(false, "")],
        _ => Vec::new(),
    };
    frames.push(frame(
        &response(asked, speech, parts, written, true),
        due,
        said,
    ));
    frames
}

fn error(code: u16, status: &str, message: &str, details: Value) -> (u16, String) {
    let mut error =
        json!({"code": code, "message": format!("{message} [{CANARY}]"), "status": status});
    if details
        .as_array()
        .is_some_and(|details| !details.is_empty())
    {
        error["details"] = details;
    }
    let body = serde_json::to_string_pretty(&json!({"error": error})).unwrap();
    (code, body)
}

pub fn failure(failure: &Failure, asked: &Asked) -> (u16, String) {
    let none = json!([]);
    match failure {
        Failure::BadSchema => error(
            400,
            "INVALID_ARGUMENT",
            "The specified schema produces a constraint that has too many states for serving. Typical causes of this error are schemas with lots of text (for example, very long property or enum names), schemas with long array length limits (especially when nested), or schemas using complex value matchers (for example, integers or numbers with minimum/maximum bounds or strings with complex formats like date-time)",
            none,
        ),
        Failure::BadDocument => error(400, "INVALID_ARGUMENT", "The document has no pages.", none),
        Failure::Blocked => error(400, "INVALID_ARGUMENT", "The prompt was blocked.", none),
        Failure::Invalid(message) => error(400, "INVALID_ARGUMENT", message, none),
        Failure::BadKey => error(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"}
            }]),
        ),
        Failure::Unauthorized => error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
            none,
        ),
        Failure::Forbidden => error(
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers (callers without established identity).",
            none,
        ),
        Failure::ContentGone => error(
            403,
            "PERMISSION_DENIED",
            "CachedContent not found (or permission denied)",
            none,
        ),
        Failure::NotFound => error(
            404,
            "NOT_FOUND",
            &format!("models/{} is not found for API version v1beta", asked.model),
            none,
        ),
        Failure::RateLimit(hint) => exhausted("PerMinute", *hint),
        Failure::QuotaGone => exhausted("PerDay", Hint::None),
        Failure::Internal => error(500, "INTERNAL", "An internal error has occurred.", none),
        Failure::Overloaded => error(529, "UNAVAILABLE", "The model is overloaded.", none),
        _ => error(
            503,
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
            none,
        ),
    }
}

fn exhausted(window: &str, hint: Hint) -> (u16, String) {
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": format!("GenerateRequests{window}PerProjectPerModel-FreeTier"),
            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
            "quotaValue": "10"
        }]
    })];
    if let Hint::Body(wait) = hint {
        let seconds = wait.as_secs_f64();
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s")
        }));
    }
    error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
        json!(details),
    )
}

pub fn models() -> Value {
    let model = |id: &str, name: &str, input: u32, methods: &[&str]| {
        json!({
            "name": format!("models/{id}"),
            "version": "001",
            "displayName": name,
            "description": format!("{name} of the tests"),
            "inputTokenLimit": input,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": methods,
            "temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": true
        })
    };
    let methods = ["generateContent", "countTokens", "createCachedContent"];
    json!({"models": [
        model("gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576, &methods),
        model("gemini-2.5-pro", "Gemini 2.5 Pro", 1_048_576, &methods),
        model("gemini-embedding-001", "Gemini Embedding", 2_048, &["embedContent"]),
    ]})
}
