use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::json;

use super::*;
use crate::provider::models::Models;
use crate::provider::wire::tests::{Told, ask, page, read, sorted};
use crate::provider::wire::{FailureKind, Finish, Tokens, Vendor, fixed};

fn gpt() -> Ask {
    ask(Vendor::OpenAi, "gpt-5.1")
}

fn told(body: &str) -> Told {
    read(Vendor::OpenAi, &gpt(), body)
}

fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\"usage\":null}}\n\n"
    )
}

fn stream(finish: &str) -> String {
    [
        chunk("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null"),
        chunk("{\"content\":\"{\\\"total\\\":\"}", "null"),
        chunk("{\"content\":\" 5}\"}", "null"),
        chunk("{}", finish),
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":19,\"total_tokens\":139,\"prompt_tokens_details\":{\"cached_tokens\":100},\"completion_tokens_details\":{\"reasoning_tokens\":12}}}\n\n".into(),
        "data: [DONE]\n\n".into(),
    ]
    .concat()
}

#[test]
fn a_stream_is_read_with_the_counts_behind_its_end() {
    let told = told(&stream("\"stop\""));
    assert_eq!(told.text, "{\"total\": 5}");
    assert_eq!((told.finish, told.failure), (Some(Finish::Stop), None));
    let tokens = Tokens {
        prompt: Some(120),
        cached: Some(100),
        cache_written: None,
        answer: Some(7),
        thoughts: Some(12),
    };
    assert_eq!(told.tokens, Some(tokens));
}

#[test]
fn a_whole_body_is_read_like_a_stream_also_where_a_stream_was_asked_for() {
    let body = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"{}","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let mut whole = gpt();
    whole.stream = false;
    for told in [read(Vendor::OpenAi, &whole, body), told(body)] {
        assert_eq!(
            (told.text.as_str(), told.finish),
            ("{}", Some(Finish::Stop))
        );
        assert_eq!(told.tokens.unwrap().answer, Some(1));
        assert_eq!(told.tokens.unwrap().cached, None);
    }
}

#[test]
fn a_reason_of_the_end_is_needed_and_enough() {
    let all = stream("\"stop\"");
    let without_done = all.strip_suffix("data: [DONE]\n\n").unwrap();
    assert_eq!(told(without_done).finish, Some(Finish::Stop));
    let cut = all.split_inclusive("\n\n").take(3).collect::<String>();
    let cut = told(&cut);
    assert_eq!(
        (cut.text.as_str(), cut.failure),
        ("{\"total\": 5}", Some(FailureKind::Broken))
    );
    let without_reason = told(&stream("null"));
    assert_eq!(without_reason.finish, Some(Finish::Unknown));
    assert!(without_reason.finish.unwrap().check().is_err());
}

#[test]
fn the_token_limit_and_filters_are_told_apart() {
    assert_eq!(told(&stream("\"length\"")).finish, Some(Finish::Length));
    let filtered = Finish::Refused {
        category: "content_filter",
    };
    assert_eq!(told(&stream("\"content_filter\"")).finish, Some(filtered));
    assert_eq!(told(&stream("\"a_new_one\"")).finish, Some(Finish::Unknown));
}

#[test]
fn a_refusal_has_the_reason_of_a_success_and_is_none() {
    let refused = Some(Finish::Refused { category: "model" });
    let streamed = [
        chunk(
            "{\"content\":null,\"refusal\":\"I cannot SECRET-CANARY\"}",
            "null",
        ),
        chunk("{}", "\"stop\""),
        "data: [DONE]\n\n".into(),
    ]
    .concat();
    let streamed = told(&streamed);
    assert_eq!((streamed.text.as_str(), streamed.finish), ("", refused));
    let mut ask = gpt();
    ask.stream = false;
    let whole =
        r#"{"choices":[{"message":{"content":null,"refusal":"No"},"finish_reason":"stop"}]}"#;
    assert_eq!(read(Vendor::OpenAi, &ask, whole).finish, refused);
}

#[test]
fn thoughts_of_compatible_servers_are_kept_apart() {
    let body = [
        chunk("{\"reasoning_content\":\"Let \"}", "null"),
        chunk("{\"reasoning\":\"me see\",\"content\":null}", "null"),
        chunk("{\"content\":\"{}\"}", "\"stop\""),
        "data: [DONE]\n\n".into(),
    ];
    let told = told(&body.concat());
    assert_eq!(
        (told.text.as_str(), told.thoughts.as_str()),
        ("{}", "Let me see")
    );
    assert_eq!(told.tokens, None);
}

#[test]
fn an_error_under_200_is_an_error() {
    let error = r#"{"error":{"message":"SECRET-CANARY","type":"server_error","code":null}}"#;
    let first = chunk("{\"content\":\"{\"}", "null");
    let streamed = told(&format!("{first}data: {error}\n\n"));
    assert_eq!(
        (streamed.text.as_str(), streamed.failure),
        ("{", Some(FailureKind::Server))
    );
    let slow = r#"{"error":{"message":"the request exceeds the available context size","code":400,"type":"exceed_context_size_error","n_ctx":4096}}"#;
    assert_eq!(told(slow).failure, Some(FailureKind::TooLong));
    assert_eq!(
        told(&format!("data: {slow}\n\n")).failure,
        Some(FailureKind::TooLong)
    );
}

/// Status, type, code, parameter and message of an error, and what it means.
type Row = (u16, [&'static str; 4], FailureKind);

fn hold(rows: &[Row]) {
    for (status, [kind, code, parameter, message], expected) in rows {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let code = code.parse::<u16>().map_or(json!(text(code)), |n| json!(n));
        let body = json!({"error": {
            "type": kind, "code": code, "param": text(parameter), "message": message,
        }});
        assert_eq!(sorted(Vendor::OpenAi, *status, &body), *expected, "{body}");
    }
}

const INVALID: &str = "invalid_request_error";

#[test]
fn errors_of_the_vendor_are_sorted_by_what_can_be_done_about_them() {
    use FailureKind::*;
    hold(&[
        (
            429,
            [
                "insufficient_quota",
                "insufficient_quota",
                "",
                "You exceeded your current quota",
            ],
            Budget,
        ),
        (
            429,
            ["requests", "rate_limit_exceeded", "", "Rate limit reached"],
            Rate,
        ),
        (
            429,
            [
                "tokens",
                "rate_limit_exceeded",
                "",
                "Request too large for gpt-4o on tokens per min",
            ],
            TooLong,
        ),
        (
            401,
            [
                INVALID,
                "invalid_api_key",
                "",
                "Incorrect API key provided: SECRET-CANARY",
            ],
            Authentication,
        ),
        (
            403,
            [
                "request_forbidden",
                "unsupported_country_region_territory",
                "",
                "",
            ],
            Authentication,
        ),
        (404, [INVALID, "model_not_found", "", ""], NotFound),
        (
            400,
            [
                INVALID,
                "context_length_exceeded",
                "messages",
                "maximum context length",
            ],
            TooLong,
        ),
        (
            400,
            [
                INVALID,
                "",
                "response_format",
                "Invalid schema for response_format",
            ],
            Schema,
        ),
        (400, [INVALID, "image_parse_error", "", ""], Document),
        (
            400,
            [INVALID, "", "messages[1].content[0].image_url", "?"],
            Document,
        ),
        (
            400,
            [
                INVALID,
                "unsupported_value",
                "temperature",
                "Unsupported value",
            ],
            Request,
        ),
        (400, [INVALID, "content_filter", "", ""], Refusal),
        (
            500,
            ["server_error", "", "", "The server had an error"],
            Server,
        ),
        (502, ["", "", "", ""], Server),
    ]);
}

#[test]
fn errors_of_compatible_servers_are_sorted_too() {
    use FailureKind::*;
    hold(&[
        (400, [INVALID, "", "", "Failed to parse grammar"], Schema),
        (
            400,
            [
                "BadRequestError",
                "400",
                "",
                "The provided JSON schema is not supported by xgrammar",
            ],
            Schema,
        ),
        (
            400,
            [
                "exceed_context_size_error",
                "400",
                "",
                "exceeds the available context size",
            ],
            TooLong,
        ),
        (
            500,
            ["server_error", "500", "", "Context size has been exceeded."],
            TooLong,
        ),
        (
            503,
            ["unavailable_error", "503", "", "Loading model"],
            Overload,
        ),
    ]);
    for (status, body, expected) in [
        (502, json!("Bad Gateway"), Server),
        (400, json!({"error": "json: cannot unmarshal"}), Request),
        (
            404,
            json!({"error": "model \"x\" not found, try pulling it first"}),
            NotFound,
        ),
        (
            400,
            json!({"message": "maximum context length is 4096 tokens", "code": 400}),
            TooLong,
        ),
    ] {
        assert_eq!(sorted(Vendor::OpenAi, status, &body), expected, "{body}");
    }
}

#[test]
fn a_wait_that_only_the_message_names_is_found() {
    let body =
        json!({"error": {"message": "Rate limit reached. Please try again in 1m2.5s. Visit ..."}});
    let sorted = OpenAi.sort(429, body.to_string().as_bytes());
    assert_eq!(sorted.retry_after, Some(Duration::from_millis(62_500)));
}

#[test]
fn rate_headers_are_read_on_success_and_what_makes_no_sense_is_left_out() {
    let now = Timestamp::UNIX_EPOCH;
    let headers = fixed(&[
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-remaining-tokens", "-1"),
        ("x-ratelimit-reset-tokens", "20ms"),
    ]);
    let limits = OpenAi.limits(&headers, now).unwrap();
    assert_eq!(
        (limits.requests.limit, limits.requests.remaining),
        (Some(60), Some(0))
    );
    assert_eq!(limits.wait(), Some(Duration::from_mins(6)));
    assert_eq!(limits.tokens.remaining, None);
    assert_eq!(OpenAi.limits(&HeaderMap::new(), now), None);
}

#[test]
fn a_request_has_the_form_that_the_vendor_documents() {
    let mut ask = gpt();
    ask.document.push(page("image/png"));
    ask.document.push(page("application/pdf"));
    ask.temperature = Some(0.0);
    ask.seed = Some(7);
    ask.max_output_tokens = Some(900);
    let expected = json!({
        "model": "gpt-5.1",
        "messages": [
            {"role": "system", "content": "You read documents."},
            {"role": "user", "content": [
                {"type": "text", "text": "Invoice 7\nTotal 5.00"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,JVBERg==", "detail": "high"}},
                {"type": "file", "file": {"filename": "in.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
                {"type": "text", "text": "Give the total."},
            ]},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "extraction", "strict": true, "schema": ask.schema}},
        "temperature": 0.0,
        "seed": 7,
        "max_completion_tokens": 900,
        "reasoning_effort": "none",
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(OpenAi.body(&ask).to_string(), expected.to_string());
}

#[test]
fn a_compatible_server_gets_text_and_the_older_names() {
    let mut ask = gpt();
    ask.profile = Models::known()
        .unwrap()
        .of_server("local", "smollm2")
        .unwrap();
    ask.max_output_tokens = Some(900);
    ask.stream = false;
    let body = OpenAi.body(&ask);
    assert_eq!(body["max_tokens"], 900);
    assert_eq!(
        body["messages"][1]["content"],
        "Invoice 7\nTotal 5.00\n\nGive the total."
    );
    assert_eq!(body["reasoning_effort"], Value::Null);
    assert_eq!(body["stream_options"], Value::Null);
}

#[test]
fn a_model_that_thinks_takes_no_temperature() {
    let mut ask = gpt();
    ask.temperature = Some(0.5);
    ask.thinking = Thinking::On { budget: None };
    let body = OpenAi.body(&ask);
    assert_eq!(
        (&body["temperature"], &body["reasoning_effort"]),
        (&Value::Null, &json!("medium"))
    );
    ask.thinking = Thinking::On {
        budget: Some(20_000),
    };
    assert_eq!(OpenAi.body(&ask)["reasoning_effort"], "high");
}

#[test]
fn the_form_of_the_answer_is_asked_for_as_far_as_it_can_be() {
    let format = |output, schema| {
        let mut ask = gpt();
        ask.output = output;
        ask.schema = schema;
        OpenAi.body(&ask)["response_format"].clone()
    };
    let object = json!({"type": "json_object"});
    assert_eq!(format(Output::Json, Some(json!({}))), object);
    assert_eq!(format(Output::Schema, None), object);
    assert_eq!(format(Output::Text, Some(json!({}))), Value::Null);
}

/// Two pieces of an answer with their tokens, of which the second of the first ends inside a
/// character.
const SURE: [(&str, &str); 2] = [
    (
        "{\"t\": \"",
        r#"{"content":[{"token":"{\"t\": \"","logprob":-0.5,"bytes":null,"top_logprobs":[]},{"token":"\\xc3","logprob":-1,"bytes":[195]}],"refusal":null}"#,
    ),
    (
        "\u{f6}\"}",
        r#"{"content":[{"token":"\\xb6\"}","logprob":0.001,"bytes":[182,34,125]},{"token":"","logprob":-2,"bytes":[]}]}"#,
    ),
];

fn sure(text: &str, logprobs: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}},\"logprobs\":{logprobs},\"finish_reason\":null}}]}}\n\n"
    )
}

#[test]
fn how_likely_tokens_were_is_read_before_their_text_asked_for_or_not() {
    let pieces: String = SURE.iter().map(|(text, said)| sure(text, said)).collect();
    let told = told(&(pieces + &chunk("{}", "\"stop\"")));
    assert_eq!(told.text, "{\"t\": \"\u{f6}\"}");
    assert_eq!(told.logprobs.text, told.text.as_bytes());
    assert_eq!(
        told.logprobs.tokens,
        [(7, -0.5), (1, -1.0), (3, 0.0), (0, -2.0)]
    );
    let mut ask = gpt();
    assert_eq!(OpenAi.body(&ask).get("logprobs"), None);
    ask.logprobs = true;
    assert_eq!(OpenAi.body(&ask)["logprobs"], true);
    ask.stream = false;
    let body = format!(
        r#"{{"choices":[{{"message":{{"content":"{{}}"}},"logprobs":{},"finish_reason":"stop"}}]}}"#,
        r#"{"content":[{"token":"{}","logprob":-0.25}]}"#
    );
    let told = read(Vendor::OpenAi, &ask, &body);
    assert_eq!(
        (&told.text[..], &told.logprobs.tokens[..]),
        ("{}", &[(2, -0.25)][..])
    );
}

#[test]
fn logprobs_of_another_form_and_those_of_thoughts_are_passed_over() {
    let wrong = [
        "null",
        "7",
        "[]",
        "{}",
        "{\"content\":null}",
        "{\"content\":[]}",
        "{\"content\":[{\"token\":\"a\"}]}",
        "{\"content\":[{\"logprob\":-1}]}",
        "{\"content\":[{\"token\":\"a\",\"logprob\":null}]}",
        "{\"content\":[{\"token\":\"a\",\"logprob\":-1,\"bytes\":[300]}]}",
        "{\"content\":{\"tokens\":[]}}",
    ];
    for wrong in wrong {
        let told = told(&(sure("{}", wrong) + &chunk("{}", "\"stop\"")));
        assert_eq!((&told.text[..], told.failure), ("{}", None), "{wrong}");
        assert_eq!(told.logprobs.tokens, [], "{wrong}");
    }
    let thought = sure("", SURE[0].1).replace("\"content\":\"\"", "\"reasoning\":\"Well\"");
    let told = told(&(thought + &chunk("{}", "\"stop\"")));
    assert_eq!(
        (&told.thoughts[..], &told.logprobs.tokens[..]),
        ("Well", &[][..])
    );
}
