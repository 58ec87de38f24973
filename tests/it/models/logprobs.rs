//! How likely a model's tokens were, as a part of the confidence in its values.

use rivulet::provider::server::Options;
use serde_json::{Value, json};

use super::{model_of, only, opened, options};
use crate::support::app::TestApp;
use crate::support::model::{Reply, Server, Speech, Wire, openai};

const NOTE: &str = "Invoice number: R-1017\nSeller: Mueller and Sons\nCity: Cologne\n";

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "invoice_number": {"type": ["string", "null"]},
        "seller": {"type": ["string", "null"]},
        "city": {"type": ["string", "null"]},
    }})
}

/// The attributions of a job over the note.
async fn attributions(server: &Server, wire: Wire, stream: bool, logprobs: Option<bool>) -> Value {
    let provider = opened(Options {
        stream,
        logprobs,
        ..options(server, wire)
    });
    let app = TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await;
    let document = app.upload("note.txt", NOTE).await;
    let body = json!({
        "document_id": document.body["document_id"],
        "schema": schema(),
        "config": {"per_key_attribution": true},
    });
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    assert_eq!(end["status"], "completed", "{wire:?} {end}");
    app.results(&job).await.body["attributions"].clone()
}

fn part(attributions: &Value, at: &str) -> Value {
    let found = &attributions[at];
    assert_eq!(found["verdict"], "verified", "{at} {attributions}");
    found["confidence_parts"]["logprob"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_model_wrote_unsurely_is_trusted_less_and_the_part_is_shown() {
    for (wire, stream) in [
        (Wire::OpenAi, true),
        (Wire::OpenAi, false),
        (Wire::Gemini, true),
        (Wire::Gemini, false),
    ] {
        let server = Server::start();
        let unsure = attributions(&server, wire, stream, Some(true)).await;
        // The scripted model doubts digits.
        assert_eq!(part(&unsure, "/invoice_number"), 0.5, "{wire:?} {stream}");
        assert_eq!(part(&unsure, "/seller"), 0.99, "{wire:?} {stream}");
        assert_eq!(part(&unsure, "/city"), 0.99, "{wire:?} {stream}");
        let silent = attributions(&server, wire, stream, Some(false)).await;
        assert_eq!(part(&silent, "/invoice_number"), Value::Null, "{wire:?}");
        for (at, less) in [("/invoice_number", 0.05), ("/seller", 0.0), ("/city", 0.0)] {
            let sure = |all: &Value| all[at]["confidence"].as_f64().unwrap();
            assert!(
                sure(&unsure) <= sure(&silent) - less,
                "{wire:?} {at} {unsure}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_asked_for_it_where_their_profile_says_that_they_tell() {
    for (wire, asked_for) in [
        (Wire::OpenAi, true),
        (Wire::Gemini, false),
        (Wire::Anthropic, false),
    ] {
        let server = Server::start();
        let all = attributions(&server, wire, true, None).await;
        assert_eq!(part(&all, "/seller").is_number(), asked_for, "{wire:?}");
        let asked = server.asked();
        let is_asked = |name: &str| asked[0].json.to_string().contains(name);
        assert_eq!(is_asked("\"logprobs\":true"), asked_for, "{wire:?}");
        assert!(!is_asked("responseLogprobs"), "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_add_up_to_the_answer_are_no_part_and_no_fault() {
    for wrong in [false, true] {
        let server = Server::start();
        server.script(move |asked| {
            let answer = json!({"s0": {"quotes": [], "value": {
                "invoice_number": "R-1017", "seller": "Mueller and Sons", "city": "Cologne"}}});
            let whole = openai::whole(asked, &Speech::text(answer.to_string()));
            // The first token is no longer that of a brace.
            let body = whole.replacen("\"bytes\":[123,", "\"bytes\":[124,", 1);
            assert_ne!(body, whole);
            let body = if wrong { body } else { whole };
            Some(Reply::raw(200, "application/json", body))
        });
        let all = attributions(&server, Wire::OpenAi, false, Some(true)).await;
        for at in ["/invoice_number", "/seller", "/city"] {
            assert_eq!(part(&all, at).is_null(), wrong, "{at} {all}");
        }
    }
}
