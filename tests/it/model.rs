//! The provider server of the tests does as its wires and its script say.

mod rules;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::model::{CANARY, Honest, KEY, Reply, Scenario, Server, Wire};

const DOCUMENT: &str = "<document>\nInvoice number: R-1017\nSeller: Müller & Söhne\nTotal: 1,204.50\nPaid: yes\nState: open\n</document>";
/// Long enough for a loaded machine, short beside a hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["invoice_number", "seller", "total", "paid", "state", "due", "lines"],
        "properties": {
            "invoice_number": {"type": "string"},
            "seller": {"anyOf": [{"$ref": "#/$defs/name"}, {"type": "null"}]},
            "total": {"type": "number"},
            "paid": {"type": "boolean"},
            "state": {"enum": ["closed", "open"]},
            "due": {"type": ["string", "null"], "format": "date"},
            "lines": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["amount"],
                "properties": {"amount": {"type": "integer", "minimum": 5, "maximum": 9}}
            }}
        },
        "$defs": {"name": {"type": "string"}}
    })
}

fn client() -> Client {
    rivulet::tls::install();
    Client::builder().no_proxy().build().unwrap()
}

async fn send(
    client: &Client,
    server: &Server,
    wire: Wire,
    stream: bool,
) -> reqwest::Result<Response> {
    let body = wire.body(&[DOCUMENT, "Fill the schema."], Some(&schema()), stream);
    post(client, server, wire, stream, &body).await
}

async fn post(
    client: &Client,
    server: &Server,
    wire: Wire,
    stream: bool,
    body: &Value,
) -> reqwest::Result<Response> {
    let model = if wire == Wire::Gemini {
        "gemini-2.5-flash"
    } else {
        ""
    };
    let url = format!("http://{}{}", server.address, wire.path(model, stream));
    let request = client.post(url).json(body);
    let request = match wire {
        Wire::Gemini => request.header("x-goog-api-key", KEY),
        Wire::OpenAi => request.bearer_auth(KEY),
        Wire::Anthropic => request
            .header("x-api-key", KEY)
            .header("anthropic-version", "2023-06-01"),
    };
    request.send().await
}

/// The objects of a body: one, or one each frame.
fn objects(body: &str, stream: bool) -> Vec<Value> {
    if !stream {
        return serde_json::from_str(body).into_iter().collect();
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

/// The text that was said, thoughts left out.
fn said(body: &str, stream: bool) -> String {
    let text = |value: &Value| {
        let parts = value
            .pointer("/candidates/0/content/parts")
            .and_then(Value::as_array);
        let answers = parts
            .into_iter()
            .flatten()
            .filter(|part| part["thought"] != true);
        let gemini: String = answers.filter_map(|part| part["text"].as_str()).collect();
        let others = [
            "/choices/0/message/content",
            "/choices/0/delta/content",
            "/delta/text",
            "/delta/partial_json",
        ];
        let other: String = others
            .iter()
            .filter_map(|path| value.pointer(path)?.as_str())
            .collect();
        let blocks = value["content"].as_array().into_iter().flatten();
        let blocks: String = blocks.filter_map(|block| block["text"].as_str()).collect();
        gemini + &other + &blocks
    };
    objects(body, stream).iter().map(text).collect()
}

/// Why it ended, in the wire's word.
fn reason(body: &str, stream: bool) -> Option<String> {
    let paths = [
        "/candidates/0/finishReason",
        "/choices/0/finish_reason",
        "/stop_reason",
        "/delta/stop_reason",
    ];
    let mut found = objects(body, stream).into_iter().filter_map(|value| {
        paths
            .iter()
            .find_map(|path| Some(value.pointer(path)?.as_str()?.to_owned()))
    });
    found.next_back()
}

fn honest() -> Value {
    Honest::default().fill(&schema(), DOCUMENT)
}

/// Status of a scenario whose body comes whole.
fn status(scenario: Scenario, wire: Wire) -> u16 {
    use Scenario::*;
    match scenario {
        RateSeconds | RateDate | RateMillis | RateBody | RateAbsurd | RateBare | RateTold
        | QuotaGone => 429,
        BadSchema | BadDocument | ContextExceeded => 400,
        Blocked if wire != Wire::Gemini => 400,
        BadKey if wire == Wire::Gemini => 400,
        BadKey | Unauthorized => 401,
        Forbidden => 403,
        NotFound => 404,
        Internal => 500,
        BadGateway => 502,
        Unavailable | Loading => 503,
        Overloaded => 529,
        _ => 200,
    }
}

fn both() -> impl Iterator<Item = (Wire, bool)> {
    Wire::ALL
        .into_iter()
        .flat_map(|wire| [(wire, false), (wire, true)])
}

#[tokio::test]
async fn every_scenario_has_the_status_of_its_vendor_in_every_wire() {
    use Scenario::*;
    let server = Server::start();
    let client = client();
    let mut seen = 0;
    for (wire, stream) in both() {
        for &scenario in Scenario::ALL {
            if matches!(
                scenario,
                Cut | HangBefore | HangInside | Reset | Huge | HugeLine | Slow
            ) {
                continue;
            }
            server.next([scenario]);
            let answer = timeout(PATIENCE, send(&client, &server, wire, stream))
                .await
                .unwrap()
                .unwrap();
            let at = format!("{wire:?} {stream} {}", scenario.name());
            assert_eq!(answer.status().as_u16(), status(scenario, wire), "{at}");
            let body = answer.bytes().await.unwrap();
            if status(scenario, wire) != 200 {
                assert!(String::from_utf8_lossy(&body).contains(CANARY), "{at}");
            }
            seen += 1;
        }
    }
    assert_eq!(server.asked().len(), seen);
}

#[tokio::test]
async fn an_honest_answer_says_what_the_document_says_in_every_wire() {
    let server = Server::start();
    let client = client();
    let expected = json!({
        "invoice_number": "R-1017", "seller": "Müller & Söhne", "total": 1204.5, "paid": true,
        "state": "open", "due": null, "lines": [{"amount": 9}, {"amount": 9}]
    });
    for (wire, stream) in both() {
        for scenario in [
            Scenario::Ok,
            Scenario::Bytewise,
            Scenario::Thoughts,
            Scenario::ManyParts,
            Scenario::ExtraFields,
            Scenario::NoUsage,
            Scenario::UnknownReason,
        ] {
            server.next([scenario]);
            let body = send(&client, &server, wire, stream)
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let value: Value = serde_json::from_str(&said(&body, stream)).unwrap();
            assert_eq!(value, expected, "{wire:?} {stream} {}", scenario.name());
            let tells = body.contains("okens\":") || body.contains("TokenCount");
            assert_eq!(
                tells,
                scenario != Scenario::NoUsage,
                "{wire:?} {stream} {}",
                scenario.name()
            );
        }
    }
}

#[tokio::test]
async fn a_spoiled_answer_is_spoiled_in_the_way_its_name_says() {
    let server = Server::start();
    let client = client();
    let whole = honest().to_string();
    for (wire, stream) in both() {
        let mut got = Vec::new();
        for scenario in [
            Scenario::Truncated,
            Scenario::TruncatedEmpty,
            Scenario::HalfSaid,
            Scenario::Malformed,
            Scenario::WrongSchema,
            Scenario::DuplicateKeys,
            Scenario::Fenced,
            Scenario::Empty,
        ] {
            server.next([scenario]);
            let body = send(&client, &server, wire, stream)
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            got.push((said(&body, stream), reason(&body, stream).unwrap()));
        }
        let at = format!("{wire:?} {stream}");
        let (cut, stop) = match wire {
            Wire::Gemini => ("MAX_TOKENS", "STOP"),
            Wire::OpenAi => ("length", "stop"),
            Wire::Anthropic => ("max_tokens", "end_turn"),
        };
        assert!(
            whole.starts_with(&got[0].0) && got[0].0.len() < whole.len(),
            "{at}"
        );
        assert_eq!((got[0].1.as_str(), got[1].1.as_str()), (cut, cut), "{at}");
        assert_eq!(got[1].0, "", "{at}");
        assert_eq!((&got[2].0, got[2].1.as_str()), (&got[0].0, stop), "{at}");
        assert!(serde_json::from_str::<Value>(&got[3].0).is_err(), "{at}");
        let wrong: Value = serde_json::from_str(&got[4].0).unwrap();
        assert!(
            wrong["invoice_number"].is_array() && wrong["total"] == 1204.5,
            "{at}"
        );
        assert_eq!(got[5].0.matches("\"invoice_number\":").count(), 2, "{at}");
        assert!(
            got[6].0.starts_with("```json\n{") && got[6].0.ends_with("}\n```"),
            "{at}"
        );
        assert_eq!(got[7].0, "", "{at}");
    }
}

#[tokio::test]
async fn a_split_answer_comes_byte_by_byte_through_letters_of_two_bytes() {
    let server = Server::start();
    let client = client();
    for (wire, stream) in both() {
        server.next([Scenario::Bytewise]);
        let mut answer = send(&client, &server, wire, stream).await.unwrap();
        let mut cut_letters = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            cut_letters += usize::from(std::str::from_utf8(&chunk).is_err());
        }
        // The client may join what came together, but not all of it.
        assert!(!stream || cut_letters > 0, "{wire:?} {stream}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_and_depths_that_no_reader_follows_go_over_the_wire() {
    let server = Server::start();
    let client = client();
    for (wire, stream) in both() {
        server.next([Scenario::BadUtf8, Scenario::DeepText, Scenario::DeepBody]);
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(
                send(&client, &server, wire, stream)
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap(),
            );
        }
        assert!(bodies[0].contains(&0xFF) && std::str::from_utf8(&bodies[0]).is_err());
        let deep = String::from_utf8_lossy(&bodies[1]);
        assert_eq!(
            said(&deep, stream).matches('[').count(),
            100_000,
            "{wire:?} {stream}"
        );
        assert!(bodies[2].iter().filter(|byte| **byte == b'[').count() == 100_000);
    }
}

#[tokio::test]
async fn a_huge_answer_is_64_mib_and_not_held_in_memory_here() {
    let server = Server::start();
    let client = client();
    for (scenario, stream) in [
        (Scenario::Huge, true),
        (Scenario::HugeLine, true),
        (Scenario::Huge, false),
    ] {
        server.next([scenario]);
        let mut answer = send(&client, &server, Wire::Gemini, stream).await.unwrap();
        let (mut length, mut lines) = (0, 0);
        while let Some(chunk) = answer.chunk().await.unwrap() {
            length += chunk.len();
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        }
        assert!(length >= 64 << 20, "{length}");
        assert_eq!(
            lines > 1000,
            stream && scenario == Scenario::Huge,
            "{lines}"
        );
    }
}

#[tokio::test]
async fn connections_are_cut_and_held_where_the_scenario_says() {
    let server = Server::start();
    let client = client();
    for (wire, stream) in both() {
        let at = format!("{wire:?} {stream}");
        server.next([Scenario::Cut]);
        let mut answer = timeout(PATIENCE, send(&client, &server, wire, stream))
            .await
            .unwrap()
            .unwrap();
        let mut got = 0;
        let broken = loop {
            match timeout(PATIENCE, answer.chunk()).await.unwrap() {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken && got > 50, "{at}: {got} bytes, broken: {broken}");

        server.next([Scenario::Reset]);
        assert!(
            timeout(PATIENCE, send(&client, &server, wire, stream))
                .await
                .unwrap()
                .is_err(),
            "{at}"
        );

        let dropped = server.abandoned();
        server.next([Scenario::HangInside, Scenario::HangBefore]);
        let mut answer = send(&client, &server, wire, stream).await.unwrap();
        assert!(answer.chunk().await.unwrap().is_some(), "{at}");
        let hanging = timeout(Duration::from_millis(50), async {
            while answer.chunk().await.unwrap().is_some() {}
        });
        assert!(hanging.await.is_err(), "{at}");
        drop(answer);
        timeout(PATIENCE, server.until_abandoned(dropped + 1))
            .await
            .unwrap();
        let hanging = timeout(
            Duration::from_millis(50),
            send(&client, &server, wire, stream),
        );
        assert!(hanging.await.is_err(), "{at}");
        timeout(PATIENCE, server.until_abandoned(dropped + 2))
            .await
            .unwrap();
    }
    timeout(PATIENCE, server.until_idle()).await.unwrap();
}

#[tokio::test]
async fn a_held_stream_stops_after_the_words_and_goes_on_when_it_is_let() {
    let server = Server::start();
    let client = client();
    for wire in Wire::ALL {
        let gate = Arc::new(Semaphore::new(0));
        server.next([Reply::honest().step(3).held("\"R-1017\",", &gate)]);
        let mut answer = send(&client, &server, wire, true).await.unwrap();
        let mut body = Vec::new();
        while !said(&String::from_utf8_lossy(&body), true).contains("R-1017\",") {
            body.extend(answer.chunk().await.unwrap().unwrap());
        }
        assert!(
            timeout(Duration::from_millis(30), answer.chunk())
                .await
                .is_err(),
            "{wire:?}"
        );
        assert!(!String::from_utf8_lossy(&body).contains("seller"));
        gate.add_permits(1);
        while let Some(chunk) = timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap() {
            body.extend(chunk);
        }
        let text = said(&String::from_utf8(body).unwrap(), true);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), honest());
    }
}

#[tokio::test]
async fn a_broken_stream_ends_with_the_error_of_its_vendor() {
    let server = Server::start();
    let client = client();
    for wire in Wire::ALL {
        server.next([Scenario::BrokenInside]);
        let answer = send(&client, &server, wire, true).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.text().await.unwrap();
        let tail = match wire {
            Wire::Gemini => "\r\n\r\n{\n  \"error\": {",
            Wire::OpenAi => "\n\ndata: {\"error\":{",
            Wire::Anthropic => {
                "\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\""
            }
        };
        assert!(
            body.contains(tail) && body.contains(CANARY),
            "{wire:?}: {body}"
        );
        assert!(!said(&body, true).is_empty() && reason(&body, true).is_none());
    }
}
