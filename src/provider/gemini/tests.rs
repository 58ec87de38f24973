use std::time::Duration;

use serde_json::json;

use super::*;
use crate::provider::wire::tests::{Told, ask, page, read, sorted};
use crate::provider::wire::{FailureKind, Finish, Tokens, Vendor};

fn flash() -> Ask {
    ask(Vendor::Gemini, "gemini-2.5-flash")
}

fn told(body: &str) -> Told {
    read(Vendor::Gemini, &flash(), body)
}

fn kind(status: u16, error: &Value) -> FailureKind {
    sorted(Vendor::Gemini, status, &json!({ "error": error }))
}

const STREAM: &str = concat!(
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Let me see\",\"thought\": true}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 120,\"thoughtsTokenCount\": 9},\"modelVersion\": \"gemini-2.5-flash\"}\r\n\r\n",
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"{\\\"total\\\":\"}],\"role\": \"model\"},\"index\": 0}]}\r\n\r\n",
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" 5}\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0,\"futureField\": {}}],\"usageMetadata\": {\"promptTokenCount\": 120,\"cachedContentTokenCount\": 100,\"candidatesTokenCount\": 7,\"thoughtsTokenCount\": 12,\"totalTokenCount\": 139}}\r\n\r\n",
);

#[test]
fn a_stream_is_read_with_its_thoughts_apart_and_its_counts() {
    let told = told(STREAM);
    assert_eq!(told.text, "{\"total\": 5}");
    assert_eq!(told.thoughts, "Let me see");
    assert_eq!(told.finish, Some(Finish::Stop));
    let tokens = Tokens {
        prompt: Some(120),
        cached: Some(100),
        cache_written: None,
        answer: Some(7),
        thoughts: Some(12),
    };
    assert_eq!((told.tokens, told.failure), (Some(tokens), None));
}

#[test]
fn a_whole_body_is_read_like_a_stream_also_where_a_stream_was_asked_for() {
    let body =
        r#"{"candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}]}"#;
    let mut whole = flash();
    whole.stream = false;
    for told in [
        read(Vendor::Gemini, &whole, body),
        told(body),
        told(&format!("[{body}\n]")),
    ] {
        assert_eq!(
            (told.text.as_str(), told.finish),
            ("{}", Some(Finish::Stop))
        );
        assert_eq!((told.tokens, told.failure), (None, None));
    }
}

#[test]
fn a_stream_that_ends_without_a_reason_is_broken_and_keeps_its_text() {
    let told = told(
        STREAM
            .split_once("data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" 5}")
            .unwrap()
            .0,
    );
    assert_eq!(told.text, "{\"total\":");
    assert_eq!(
        (told.finish, told.failure),
        (None, Some(FailureKind::Broken))
    );
}

#[test]
fn empty_parts_and_the_token_limit_are_a_cut_answer() {
    for content in [
        r#"{"role": "model"}"#,
        r#"{"parts": []}"#,
        r#"{"parts": [{"text": ""}]}"#,
        "null",
    ] {
        let body = format!(
            "data: {{\"candidates\": [{{\"content\": {content}, \"finishReason\": \"MAX_TOKENS\"}}], \"usageMetadata\": {{\"promptTokenCount\": 3, \"thoughtsTokenCount\": 50}}}}\n\n"
        );
        let told = told(&body);
        assert_eq!(
            (told.text.as_str(), told.finish),
            ("", Some(Finish::Length))
        );
        assert_eq!(told.tokens.unwrap().answer, Some(0));
    }
}

#[test]
fn a_blocked_prompt_is_a_refusal() {
    let told = told(
        "data: {\"promptFeedback\": {\"blockReason\": \"PROHIBITED_CONTENT\"}, \"usageMetadata\": {\"promptTokenCount\": 3}}\n\n",
    );
    let finish = Finish::Refused {
        category: "prompt_blocked",
    };
    assert_eq!((told.finish, told.failure), (Some(finish), None));
}

#[test]
fn reasons_of_the_end_are_told_apart_and_unknown_ones_are_no_success() {
    let finish = |reason: &str| {
        let body = format!("data: {{\"candidates\": [{{\"finishReason\": \"{reason}\"}}]}}\n\n");
        told(&body).finish.unwrap()
    };
    assert_eq!(finish("SAFETY"), Finish::Refused { category: "safety" });
    for reason in ["OTHER", "MALFORMED_FUNCTION_CALL", "A_NEW_ONE"] {
        assert_eq!(finish(reason), Finish::Unknown);
        assert!(finish(reason).check().is_err());
    }
    let unspecified =
        "data: {\"candidates\": [{\"finishReason\": \"FINISH_REASON_UNSPECIFIED\"}]}\n\n";
    assert_eq!(told(unspecified).failure, Some(FailureKind::Broken));
}

#[test]
fn an_error_among_the_events_is_seen_with_and_without_its_prefix() {
    let error = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"SECRET-CANARY\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n";
    let first = STREAM.split_inclusive("\r\n\r\n").nth(1).unwrap();
    let one_line = error.replace('\n', "");
    for body in [
        format!("{first}{error}"),
        format!("{first}{one_line}"),
        format!("{first}\r\n[{error}]"),
        format!("{first}data: {one_line}\r\n\r\n"),
    ] {
        let told = told(&body);
        assert_eq!(told.text, "{\"total\":");
        assert_eq!(told.failure, Some(FailureKind::Overload), "{body}");
    }
}

#[test]
fn errors_are_sorted_by_what_can_be_done_about_them() {
    use FailureKind::*;
    let error =
        |status: &str, message: &str| json!({"code": 400, "status": status, "message": message});
    let bad_key = json!({"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass a valid API key.", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]});
    assert_eq!(kind(400, &bad_key), Authentication);
    for (status, word, message, expected) in [
        (
            400,
            "INVALID_ARGUMENT",
            "The specified schema produces a constraint that has too many states for serving.",
            Schema,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Invalid value at 'generation_config.response_json_schema'",
            Schema,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
            TooLong,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Unable to process input image. Please retry",
            Document,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The document has no pages.",
            Document,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Request contains an invalid argument.",
            Schema,
        ),
        (400, "INVALID_ARGUMENT", "Invalid value at 'seed'", Request),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            Authentication,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "CachedContent not found (or permission denied)",
            Cache,
        ),
        (403, "PERMISSION_DENIED", "no", Authentication),
        (404, "NOT_FOUND", "models/x is not found", NotFound),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota",
            Rate,
        ),
        (500, "INTERNAL", "", Server),
        (503, "UNAVAILABLE", "The model is overloaded.", Overload),
        (504, "DEADLINE_EXCEEDED", "", Timeout),
        (499, "A_NEW_ONE", "", Request),
    ] {
        assert_eq!(
            kind(status, &error(word, message)),
            expected,
            "{word} {message}"
        );
    }
}

#[test]
fn a_rate_says_when_in_its_body_and_a_used_up_day_is_final() {
    let exhausted = |quota: &str, value: &str| {
        json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Please retry in 30.5s.", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota, "quotaValue": value}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"},
        ]}})
    };
    let sort = |body: &Value| Gemini.sort(429, body.to_string().as_bytes());
    let minute = sort(&exhausted(
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "5",
    ));
    assert_eq!(minute.kind, FailureKind::Rate);
    assert_eq!(minute.retry_after, Some(Duration::from_secs(31)));
    let in_list = sort(&json!([exhausted("x", "5")]));
    assert_eq!(in_list.retry_after, Some(Duration::from_secs(31)));
    let mut worded = exhausted("x", "5");
    worded["error"]["details"] = Value::Null;
    assert_eq!(
        sort(&worded).retry_after,
        Some(Duration::from_millis(30_500))
    );
    for (quota, value) in [
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20"),
        ("x", "0"),
    ] {
        assert_eq!(sort(&exhausted(quota, value)).kind, FailureKind::Budget);
    }
}

#[test]
fn a_request_has_the_form_that_the_vendor_documents() {
    let mut ask = flash();
    ask.document.push(page("application/pdf"));
    ask.temperature = Some(0.0);
    ask.seed = Some(7);
    ask.max_output_tokens = Some(900);
    let expected = json!({
        "systemInstruction": {"parts": [{"text": "You read documents."}]},
        "contents": [{"role": "user", "parts": [
            {"text": "Invoice 7\nTotal 5.00"},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
            {"text": "Give the total."},
        ]}],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": ask.schema,
            "temperature": 0.0,
            "seed": 7,
            "maxOutputTokens": 900,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    });
    assert_eq!(Gemini.body(&ask).to_string(), expected.to_string());
    let (path, query) = Gemini.path(&ask);
    assert_eq!(
        path.join("/"),
        "models/gemini-2.5-flash:streamGenerateContent"
    );
    assert_eq!(query, Some("alt=sse"));
}

#[test]
fn thinking_is_asked_for_in_the_way_of_the_model() {
    let config = |model: &str, thinking| {
        let mut ask = ask(Vendor::Gemini, model);
        ask.thinking = thinking;
        Gemini.body(&ask)["generationConfig"]["thinkingConfig"].clone()
    };
    let on = |budget| Thinking::On { budget };
    let flash = |thinking| config("gemini-2.5-flash", thinking);
    assert_eq!(
        flash(on(None)),
        json!({"includeThoughts": true, "thinkingBudget": -1})
    );
    assert_eq!(flash(on(Some(99_999)))["thinkingBudget"], 24_576);
    assert_eq!(
        config("gemini-2.5-pro", Thinking::Off),
        json!({"thinkingBudget": 128})
    );
    let newer = |thinking| config("gemini-3.8-flash", thinking);
    assert_eq!(newer(Thinking::Off), json!({"thinkingLevel": "low"}));
    assert_eq!(
        newer(on(Some(5_000))),
        json!({"includeThoughts": true, "thinkingLevel": "medium"})
    );
}

#[test]
fn a_seed_of_more_than_32_bits_is_cut_to_what_the_field_holds() {
    let mut ask = flash();
    ask.seed = Some(-1);
    assert_eq!(Gemini.body(&ask)["generationConfig"]["seed"], 2_147_483_647);
}

#[test]
fn an_entry_of_the_cache_takes_the_place_of_system_and_document() {
    let mut ask = flash();
    let entry = cache_body(&ask, Duration::from_mins(5));
    let expected = json!({
        "model": "models/gemini-2.5-flash",
        "systemInstruction": {"parts": [{"text": "You read documents."}]},
        "contents": [{"role": "user", "parts": [{"text": "Invoice 7\nTotal 5.00"}]}],
        "ttl": "300s",
    });
    assert_eq!(entry.to_string(), expected.to_string());
    ask.cache = Cache::Entry("cachedContents/abc".into());
    let body = Gemini.body(&ask);
    assert_eq!(body["cachedContent"], "cachedContents/abc");
    assert_eq!(
        body["contents"][0]["parts"],
        json!([{"text": "Give the total."}])
    );
    assert_eq!(body["systemInstruction"], Value::Null);
    let name = |name: &str| cache_name(json!({ "name": name }).to_string().as_bytes());
    assert_eq!(
        name("cachedContents/a-B_9").unwrap(),
        "cachedContents/a-B_9"
    );
    for bad in [
        "cachedContents/",
        "cachedContents/../x",
        "cachedContents/a/b",
        "x",
        "",
    ] {
        assert_eq!(name(bad), None, "{bad}");
    }
}

#[test]
fn only_models_that_generate_text_are_listed() {
    let page = Gemini.models(br#"{"models": [
        {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/text-embedding-004", "supportedGenerationMethods": ["embedContent"]}
    ], "nextPageToken": "abc"}"#);
    let page = page.unwrap();
    assert_eq!(page.names, ["gemini-2.5-flash"]);
    assert_eq!(page.next, Some(("pageToken", "abc".into())));
}

#[test]
fn how_likely_tokens_were_is_read_before_their_text_unless_there_are_thoughts() {
    let chunk = |parts: &str, said: &str| {
        format!(
            "data: {{\"candidates\": [{{\"content\": {{\"parts\": {parts}}}, \"logprobsResult\": {said}, \"avgLogprobs\": -0.5, \"finishReason\": \"STOP\"}}]}}\n\n"
        )
    };
    let said = r#"{"topCandidates": [], "chosenCandidates": [{"token": "{", "tokenId": 7, "logProbability": -0.5}, {"token": "}", "logProbability": -1}]}"#;
    let text = r#"[{"text": "{}"}]"#;
    let sure = told(&chunk(text, said));
    assert_eq!(
        (&sure.text[..], &sure.logprobs.text[..]),
        ("{}", &b"{}"[..])
    );
    assert_eq!(sure.logprobs.tokens, [(1, -0.5), (1, -1.0)]);
    for (parts, said) in [
        (text, "{\"chosenCandidates\": 7}"),
        (text, "{\"chosenCandidates\": [{\"token\": \"{}\"}]}"),
        (
            r#"[{"text": "Well", "thought": true}, {"text": "{}"}]"#,
            said,
        ),
    ] {
        let told = told(&chunk(parts, said));
        assert_eq!((&told.text[..], told.failure), ("{}", None), "{said}");
        assert_eq!(told.logprobs.tokens, [], "{said}");
    }
    let mut ask = flash();
    let asked = |ask: &Ask| Gemini.body(ask)["generationConfig"]["responseLogprobs"].clone();
    assert_eq!(asked(&ask), Value::Null);
    ask.logprobs = true;
    assert_eq!(asked(&ask), true);
}
