use std::time::Duration;

use serde_json::json;

use super::*;
use crate::provider::wire::tests::{Told, ask, page, read, sorted};
use crate::provider::wire::{FailureKind, Finish, Tokens, Vendor};

fn claude() -> Ask {
    ask(Vendor::Anthropic, "claude-sonnet-4-6")
}

fn told(body: &str) -> Told {
    read(Vendor::Anthropic, &claude(), body)
}

fn event(kind: &str, rest: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n")
}

fn start() -> String {
    event(
        "message_start",
        ",\"message\":{\"id\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":20,\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":70,\"output_tokens\":1}}",
    )
}

fn end(reason: &str) -> String {
    let delta = format!(
        ",\"delta\":{{\"stop_reason\":\"{reason}\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":19,\"output_tokens_details\":{{\"thinking_tokens\":12}}}}"
    );
    event("message_delta", &delta) + &event("message_stop", "")
}

fn delta(index: u32, delta: &str) -> String {
    event(
        "content_block_delta",
        &format!(",\"index\":{index},\"delta\":{delta}"),
    )
}

fn block(index: u32, kind: &str) -> String {
    event(
        "content_block_start",
        &format!(",\"index\":{index},\"content_block\":{{\"type\":\"{kind}\",\"text\":\"\"}}"),
    )
}

fn stop(index: u32) -> String {
    event("content_block_stop", &format!(",\"index\":{index}"))
}

fn stream() -> String {
    [
        start(),
        block(0, "thinking"),
        event("ping", ""),
        delta(
            0,
            "{\"type\":\"thinking_delta\",\"thinking\":\"Let me see\"}",
        ),
        delta(0, "{\"type\":\"signature_delta\",\"signature\":\"EqQB\"}"),
        stop(0),
        block(1, "text"),
        delta(1, "{\"type\":\"text_delta\",\"text\":\"{\\\"total\\\":\"}"),
        delta(1, "{\"type\":\"text_delta\",\"text\":\" 5}\"}"),
        delta(1, "{\"type\":\"a_new_delta\",\"what\":7}"),
        stop(1),
        event("a_new_event", ",\"x\":[]"),
        end("end_turn"),
    ]
    .concat()
}

#[test]
fn a_stream_is_read_with_its_thoughts_apart_and_its_counts() {
    let told = told(&stream());
    assert_eq!(told.text, "{\"total\": 5}");
    assert_eq!(told.thoughts, "Let me see");
    assert_eq!((told.finish, told.failure), (Some(Finish::Stop), None));
    let tokens = Tokens {
        prompt: Some(120),
        cached: Some(70),
        cache_written: Some(30),
        answer: Some(7),
        thoughts: Some(12),
    };
    assert_eq!(told.tokens, Some(tokens));
}

#[test]
fn a_whole_body_is_read_like_a_stream_also_where_a_stream_was_asked_for() {
    let body = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"x"},{"type":"text","text":"{}"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}"#;
    let mut whole = claude();
    whole.stream = false;
    for told in [read(Vendor::Anthropic, &whole, body), told(body)] {
        assert_eq!((told.text.as_str(), told.thoughts.as_str()), ("{}", "Hm"));
        assert_eq!(told.finish, Some(Finish::Stop));
        assert_eq!(told.tokens.unwrap().prompt, Some(3));
    }
}

#[test]
fn a_stream_without_its_end_signal_is_broken_though_the_reason_is_known() {
    let all = stream();
    let cut = all.split_once("event: message_stop").unwrap().0;
    let cut = told(cut);
    assert_eq!(cut.text, "{\"total\": 5}");
    assert_eq!((cut.finish, cut.failure), (None, Some(FailureKind::Broken)));
}

#[test]
fn reasons_of_the_end_are_told_apart_and_unknown_ones_are_no_success() {
    let finish = |reason: &str| told(&(start() + &end(reason))).finish.unwrap();
    assert_eq!(finish("max_tokens"), Finish::Length);
    assert_eq!(finish("model_context_window_exceeded"), Finish::Length);
    assert_eq!(finish("refusal"), Finish::Refused { category: "policy" });
    for reason in ["pause_turn", "a_new_one"] {
        assert!(finish(reason).check().is_err());
    }
}

#[test]
fn an_error_event_under_200_is_an_error() {
    for (kind, expected) in [
        ("overloaded_error", FailureKind::Overload),
        ("api_error", FailureKind::Server),
        ("rate_limit_error", FailureKind::Rate),
        ("timeout_error", FailureKind::Timeout),
        ("a_new_one", FailureKind::Server),
    ] {
        let error = format!(",\"error\":{{\"type\":\"{kind}\",\"message\":\"SECRET-CANARY\"}}");
        let body = [
            start(),
            block(0, "text"),
            delta(0, "{\"text\":\"{\"}"),
            event("error", &error),
        ]
        .concat();
        let told = told(&body);
        assert_eq!((told.text.as_str(), told.failure), ("{", Some(expected)));
    }
}

fn tool() -> Ask {
    let mut ask = claude();
    ask.output = Output::Tool;
    ask
}

#[test]
fn the_input_of_a_tool_is_the_answer_and_talk_around_it_is_not() {
    let body = [
        start(),
        block(0, "text"),
        delta(
            0,
            "{\"type\":\"text_delta\",\"text\":\"I will use the tool.\"}",
        ),
        stop(0),
        event(
            "content_block_start",
            ",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"extraction\",\"input\":{}}",
        ),
        delta(1, "{\"type\":\"input_json_delta\",\"partial_json\":\"\"}"),
        delta(
            1,
            "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"total\\\": 5}\"}",
        ),
        stop(1),
        end("tool_use"),
    ];
    let streamed = read(Vendor::Anthropic, &tool(), body.concat());
    assert_eq!(
        (streamed.text.as_str(), streamed.finish),
        ("{\"total\": 5}", Some(Finish::Stop))
    );
    let mut whole = tool();
    whole.stream = false;
    let body = r#"{"content":[{"type":"text","text":"So:"},{"type":"tool_use","name":"extraction","input":{"b":1,"a":2}}],"stop_reason":"tool_use"}"#;
    let whole = read(Vendor::Anthropic, &whole, body);
    assert_eq!(
        (whole.text.as_str(), whole.thoughts.as_str()),
        (r#"{"b":1,"a":2}"#, "So:")
    );
}

#[test]
fn a_tool_cut_by_the_token_limit_has_no_end_of_its_block_and_is_no_success() {
    let body = |reason| {
        [
            start(),
            event(
                "content_block_start",
                ",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"input\":{}}",
            ),
            delta(
                0,
                "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"total\\\": 1\"}",
            ),
            end(reason),
        ]
        .concat()
    };
    let cut = read(Vendor::Anthropic, &tool(), body("max_tokens"));
    assert_eq!(
        (cut.text.as_str(), cut.finish),
        ("{\"total\": 1", Some(Finish::Length))
    );
    let open = read(Vendor::Anthropic, &tool(), body("tool_use"));
    assert_eq!(
        (open.finish, open.failure),
        (None, Some(FailureKind::Broken))
    );
}

#[test]
fn errors_are_sorted_by_what_can_be_done_about_them() {
    use FailureKind::*;
    for (status, kind, message, expected) in [
        (
            400,
            "invalid_request_error",
            "output_config.format.schema: Invalid schema: The compiled grammar is too large",
            Schema,
        ),
        (
            400,
            "invalid_request_error",
            "tools.0.custom.input_schema: JSON schema is invalid",
            Schema,
        ),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 250000 tokens > 200000 maximum",
            TooLong,
        ),
        (
            400,
            "invalid_request_error",
            "messages.0.content.0.pdf: The PDF specified was not valid.",
            Document,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
            Budget,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            Budget,
        ),
        (
            400,
            "invalid_request_error",
            "temperature is deprecated for this model",
            Request,
        ),
        (
            401,
            "authentication_error",
            "invalid x-api-key SECRET-CANARY",
            Authentication,
        ),
        (402, "billing_error", "", Budget),
        (403, "permission_error", "", Authentication),
        (404, "not_found_error", "model: claude-x", NotFound),
        (413, "request_too_large", "", TooLong),
        (500, "api_error", "", Server),
        (504, "timeout_error", "", Timeout),
        (529, "overloaded_error", "Overloaded", Overload),
        (529, "a_new_one", "", Overload),
    ] {
        let body = json!({"type": "error", "error": {"type": kind, "message": message}});
        assert_eq!(
            sorted(Vendor::Anthropic, status, &body),
            expected,
            "{kind} {message}"
        );
    }
}

#[test]
fn a_limit_of_the_month_is_told_by_what_it_says_and_any_other_is_a_rate() {
    let kind = |message: &str, code: Value| {
        let body = json!({"error": {"type": "rate_limit_error", "message": message, "details": {"error_code": code}}});
        sorted(Vendor::Anthropic, 429, &body)
    };
    assert_eq!(kind("?", Value::Null), FailureKind::Rate);
    let spent = "You have reached your specified API usage limits.";
    assert_eq!(kind(spent, Value::Null), FailureKind::Budget);
    assert_eq!(
        kind("?", json!("enforced_spend_limit_reached")),
        FailureKind::Budget
    );
}

#[test]
fn rate_headers_are_moments() {
    let headers = fixed(&[
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-tokens-reset", "2026-05-01T12:00:04Z"),
    ]);
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    let limits = Anthropic.limits(&headers, now).unwrap();
    assert_eq!(
        (limits.requests.limit, limits.requests.remaining),
        (Some(50), Some(49))
    );
    assert_eq!(limits.wait(), Some(Duration::from_secs(4)));
}

#[test]
fn a_request_has_the_form_that_the_vendor_documents() {
    let mut ask = claude();
    ask.document.insert(0, page("image/jpeg"));
    ask.document.insert(0, page("application/pdf"));
    ask.cache = Cache::Marked;
    ask.temperature = Some(1.5);
    ask.seed = Some(7);
    let source = |media: &str| json!({"type": "base64", "media_type": media, "data": "JVBERg=="});
    let expected = json!({
        "model": "claude-sonnet-4-6",
        "max_tokens": 64_000,
        "system": [{"type": "text", "text": "You read documents."}],
        "messages": [{"role": "user", "content": [
            {"type": "document", "source": source("application/pdf")},
            {"type": "image", "source": source("image/jpeg")},
            {"type": "text", "text": "Invoice 7\nTotal 5.00", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Give the total."},
        ]}],
        "output_config": {"format": {"type": "json_schema", "schema": ask.schema}},
        "temperature": 1.0,
        "thinking": {"type": "disabled"},
        "stream": true,
    });
    assert_eq!(Anthropic.body(&ask).to_string(), expected.to_string());
}

#[test]
fn thinking_is_asked_for_in_the_way_of_the_model() {
    let body = |model: &str, thinking, most| {
        let mut ask = ask(Vendor::Anthropic, model);
        ask.thinking = thinking;
        ask.temperature = Some(0.5);
        ask.max_output_tokens = most;
        let body = Anthropic.body(&ask);
        [
            &body["thinking"],
            &body["output_config"]["effort"],
            &body["temperature"],
        ]
        .map(Value::clone)
    };
    let on = |budget| Thinking::On { budget };
    let null = Value::Null;
    let enabled = |tokens: u32| json!({"type": "enabled", "budget_tokens": tokens});
    let adaptive = json!({"type": "adaptive", "display": "summarized"});
    for (model, thinking, most, expected) in [
        (
            "claude-haiku-4-5",
            Thinking::Off,
            None,
            [null.clone(), null.clone(), json!(0.5)],
        ),
        (
            "claude-haiku-4-5",
            on(None),
            None,
            [enabled(8_192), null.clone(), null.clone()],
        ),
        (
            "claude-haiku-4-5",
            on(Some(9)),
            None,
            [enabled(1_024), null.clone(), null.clone()],
        ),
        (
            "claude-haiku-4-5",
            on(None),
            Some(4_000),
            [enabled(2_976), null.clone(), null.clone()],
        ),
        (
            "claude-haiku-4-5",
            on(None),
            Some(1_500),
            [null.clone(), null.clone(), json!(0.5)],
        ),
        (
            "claude-opus-5",
            on(None),
            None,
            [adaptive.clone(), null.clone(), null.clone()],
        ),
        (
            "claude-opus-5",
            on(Some(20_000)),
            None,
            [adaptive, json!("high"), null.clone()],
        ),
        (
            "claude-opus-5",
            Thinking::Off,
            None,
            [json!({"type": "disabled"}), null.clone(), null.clone()],
        ),
        (
            "claude-sonnet-5-5",
            Thinking::Off,
            None,
            [json!({"type": "between_tools"}), null.clone(), null.clone()],
        ),
        (
            "claude-opus-5-5",
            Thinking::Off,
            None,
            [null.clone(), json!("low"), null.clone()],
        ),
    ] {
        assert_eq!(
            body(model, thinking, most),
            expected,
            "{model} {thinking:?}"
        );
    }
}

#[test]
fn a_tool_is_forced_where_the_model_can_be_without_thoughts() {
    let mut ask = tool();
    ask.thinking = Thinking::On { budget: None };
    let body = Anthropic.body(&ask);
    assert_eq!(body["tool_choice"]["type"], "tool");
    assert_eq!(
        body["tools"][0]["input_schema"],
        ask.schema.clone().unwrap()
    );
    assert_eq!(body["thinking"], json!({"type": "disabled"}));
    assert_eq!(body["output_config"], Value::Null);
    ask.profile = crate::provider::wire::tests::ask(Vendor::Anthropic, "claude-opus-5-5").profile;
    assert_eq!(Anthropic.body(&ask)["tool_choice"]["type"], "auto");
}

#[test]
fn the_list_of_models_is_paged() {
    let page = Anthropic.models(br#"{"data": [{"id": "claude-opus-5", "type": "model"}], "has_more": true, "last_id": "claude-opus-5"}"#);
    assert_eq!(
        page.unwrap().next,
        Some(("after_id", "claude-opus-5".into()))
    );
    let last = Anthropic.models(br#"{"data": [], "has_more": false, "last_id": null}"#);
    assert_eq!(last.unwrap().next, None);
}
