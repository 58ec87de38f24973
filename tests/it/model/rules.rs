//! Hints, limits, keys, tools, caches, paces: what a vendor's server holds its callers to.

use tokio::time::Instant;

use super::*;
use crate::support::model::limit::Style;
use crate::support::model::reply::End;
use crate::support::model::{Failure, Hint, Limit, Pace};

#[tokio::test]
async fn hints_to_wait_are_spelled_as_each_vendor_spells_them() {
    let server = Server::start();
    let client = client();
    let ask = async |wire, failure: Failure| {
        server.next([failure]);
        let answer = send(&client, &server, wire, false).await.unwrap();
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let told = (header("retry-after"), header("retry-after-ms"));
        (told.0, told.1, answer.text().await.unwrap())
    };
    for wire in Wire::ALL {
        let (after, ms, _) = ask(wire, Failure::RateLimit(Hint::Millis(1150))).await;
        assert_eq!((after.as_deref(), ms.as_deref()), (Some("2"), Some("1150")));
        let (after, ..) = ask(wire, Failure::RateLimit(Hint::Date(7))).await;
        assert!(after.unwrap().ends_with(" GMT"));
        let (after, ms, _) = ask(wire, Failure::QuotaGone).await;
        assert_eq!((after, ms), (None, None));
    }
    let hint = Failure::RateLimit(Hint::Body(Duration::from_secs(31)));
    assert!(
        ask(Wire::Gemini, hint.clone())
            .await
            .2
            .contains("\"retryDelay\": \"31s\"")
    );
    assert!(
        ask(Wire::OpenAi, hint.clone())
            .await
            .2
            .contains("try again in 31s.")
    );
    assert_eq!(ask(Wire::Anthropic, hint).await.0.as_deref(), Some("31"));
}

#[tokio::test]
async fn wrong_keys_and_members_that_no_vendor_knows_are_refused() {
    let server = Server::start();
    let client = client();
    for wire in Wire::ALL {
        let url = format!("http://{}{}", server.address, wire.path("m", false));
        let body = wire.body(&["text"], None, false);
        let bare = client
            .post(&url)
            .json(&body)
            .header("anthropic-version", "x");
        let bare = bare.send().await.unwrap().status().as_u16();
        assert_eq!(bare, if wire == Wire::Gemini { 403 } else { 401 });
        for (name, value) in [
            ("unheard_of", json!(1)),
            ("stream_options", json!({"include_usage": true})),
        ] {
            let mut odd = body.clone();
            odd[name] = value;
            let answer = post(&client, &server, wire, false, &odd).await.unwrap();
            assert_eq!(answer.status(), 400, "{wire:?} {name}");
        }
    }
    let mut open = schema();
    open["additionalProperties"] = json!(true);
    let body = Wire::Anthropic.body(&["text"], Some(&open), false);
    let answer = post(&client, &server, Wire::Anthropic, false, &body)
        .await
        .unwrap();
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("'additionalProperties' must be explicitly set to false")
    );
    let mut body = Wire::OpenAi.body(&["text"], Some(&open), false);
    body["response_format"]["json_schema"]["strict"] = json!(true);
    let answer = post(&client, &server, Wire::OpenAi, false, &body)
        .await
        .unwrap();
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("In context=(), 'additionalProperties' is required")
    );
}

#[tokio::test]
async fn a_tool_that_is_asked_for_gets_the_answer_as_its_input() {
    let server = Server::start();
    let client = client();
    let mut body = Wire::Anthropic.body(&[DOCUMENT], None, false);
    body["tools"] = json!([{"name": "record", "input_schema": schema()}]);
    body["tool_choice"] = json!({"type": "tool", "name": "record"});
    let answer: Value = post(&client, &server, Wire::Anthropic, false, &body)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["input"], honest());
    body["stream"] = json!(true);
    server.next([Scenario::Ok, Scenario::Truncated]);
    let text = post(&client, &server, Wire::Anthropic, true, &body)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&said(&text, true)).unwrap(),
        honest()
    );
    let cut = post(&client, &server, Wire::Anthropic, true, &body)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!cut.contains("content_block_stop") && cut.contains("\"max_tokens\""));
}

#[tokio::test]
async fn models_and_cached_contents_are_kept_beside_the_calls() {
    let server = Server::start();
    let client = client();
    let get = async |path: &str, wire: Wire| {
        let request = client.get(format!("http://{}{path}", server.address));
        let request = match wire {
            Wire::Gemini => request.header("x-goog-api-key", KEY),
            Wire::OpenAi => request.bearer_auth(KEY),
            Wire::Anthropic => request
                .header("x-api-key", KEY)
                .header("anthropic-version", "2023-06-01"),
        };
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(
        get("/v1beta/models", Wire::Gemini).await["models"][0]["name"],
        "models/gemini-2.5-flash"
    );
    assert_eq!(
        get("/v1/models", Wire::OpenAi).await["data"][0]["id"],
        "gpt-4.1-mini"
    );
    assert_eq!(
        get("/v1/models", Wire::Anthropic).await["data"][0]["type"],
        "model"
    );

    let content = json!({"model": "models/gemini-2.5-flash", "contents": [{"role": "user", "parts": [{"text": DOCUMENT}]}]});
    let url = format!("http://{}/v1beta/cachedContents", server.address);
    let made = client
        .post(&url)
        .header("x-goog-api-key", KEY)
        .json(&content)
        .send()
        .await
        .unwrap();
    let name = made.json::<Value>().await.unwrap()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(server.cached(), std::slice::from_ref(&name));
    let mut body = Wire::Gemini.body(&["Fill it."], Some(&schema()), false);
    body["cachedContent"] = json!(name);
    let answer = post(&client, &server, Wire::Gemini, false, &body)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&said(&answer, false)).unwrap(),
        honest()
    );
    let gone = client
        .delete(format!("http://{}/v1beta/{name}", server.address))
        .header("x-goog-api-key", KEY);
    assert_eq!(gone.send().await.unwrap().status(), 200);
    let answer = post(&client, &server, Wire::Gemini, false, &body)
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), server.cached().len()), (403, 0));
    assert_eq!((server.asked().len(), server.aside().len()), (2, 5));
}

#[tokio::test]
async fn a_prefix_is_read_again_at_the_cached_speed_once_someone_has_read_it() {
    let server = Server::start();
    let client = client();
    let pace = Pace {
        delay: Duration::from_millis(5),
        read: 10_000.0,
        read_cached: 1_000_000.0,
        write: 4_000.0,
        least_cached: 0,
    };
    server.pace(pace);
    let long = format!("<document>{}</document>", "word ".repeat(3_200));
    let body = Wire::Gemini.body(&[&long, "Fill it."], Some(&schema()), false);
    let call = async || {
        let start = Instant::now();
        let answer = post(&client, &server, Wire::Gemini, false, &body)
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let usage = answer["usageMetadata"].clone();
        (start.elapsed(), usage)
    };
    let ((_, first), (_, second)) = tokio::join!(call(), call());
    assert_eq!(
        (
            &first["cachedContentTokenCount"],
            &second["cachedContentTokenCount"]
        ),
        (&Value::Null, &Value::Null)
    );
    let prompt = first["promptTokenCount"].as_u64().unwrap();
    assert!(prompt > 4_000, "{prompt}");
    let (took, third) = call().await;
    let cached = third["cachedContentTokenCount"].as_u64().unwrap();
    assert!(cached > prompt * 9 / 10, "{cached} of {prompt}");
    let written = third["candidatesTokenCount"].as_u64().unwrap();
    // Never sooner than a model could; how much later is the machine's affair.
    assert!(took >= pace.ideal(prompt, cached, written), "{took:?}");
    assert!(pace.ideal(prompt, 0, written) > pace.ideal(prompt, cached, written) * 4);
}

#[tokio::test]
async fn a_limited_key_is_refused_when_its_bucket_is_empty_and_early_calls_are_counted() {
    let server = Server::start();
    server.limit(Limit::new(3.0, 0.2, Style::Millis).telling());
    let client = client();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = send(&client, &server, Wire::OpenAi, false).await.unwrap();
        statuses.push(answer.status().as_u16());
        assert_eq!(answer.headers()["x-ratelimit-limit-requests"], "3");
        assert!(answer.headers().contains_key("x-ratelimit-reset-requests"));
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!((server.counts().refused, server.counts().early), (1, 0));
    tokio::time::sleep(Duration::from_millis(60)).await;
    send(&client, &server, Wire::OpenAi, false).await.unwrap();
    assert_eq!((server.counts().refused, server.counts().early), (2, 1));
}

#[tokio::test]
async fn a_script_and_a_queue_decide_call_by_call() {
    let server = Server::start();
    let client = client();
    server.script(|asked| (asked.number == 2).then(|| Reply::value(json!({"second": true}))));
    server.next([Failure::Internal, Failure::BadGateway, Failure::Unavailable]);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(
            send(&client, &server, Wire::OpenAi, false)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [500, 200, 502, 503, 200]);
    server.answers(|asked| json!({"task": asked.task(), "head": asked.document()[..9]}));
    let body = send(&client, &server, Wire::Anthropic, true)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        said(&body, true),
        json!({"task": "Fill the schema.", "head": "<document"}).to_string()
    );
    server.always(Reply::honest().ending(End::Cut));
    assert!(
        send(&client, &server, Wire::OpenAi, false)
            .await
            .unwrap()
            .bytes()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn callers_behind_one_gate_learn_a_limit_once_and_none_comes_earlier_than_told() {
    use rivulet::provider::gate::{Gate, Rates, Wait};
    let server = Server::start();
    server.limit(Limit::new(4.0, 5.0, Style::Millis));
    let client = client();
    let gate = Arc::new(Gate::default());
    let call = async || {
        loop {
            let mut pass = gate.acquire(100, PATIENCE).await.unwrap();
            let answer = send(&client, &server, Wire::OpenAi, false).await.unwrap();
            if answer.status() == 200 {
                pass.answered(&Rates::default());
                return pass.succeeded();
            }
            let hint = answer.headers()["retry-after-ms"].to_str().unwrap();
            let hint = Duration::from_millis(hint.parse().unwrap());
            pass.refused(Some(Wait::Exact(hint)), &Rates::default());
        }
    };
    let job = async || futures_util::future::join_all((0..12).map(|_| call())).await;
    job().await;
    let first = server.counts();
    assert!(first.refused >= 1 && first.refused <= 8, "{first:?}");
    job().await;
    let both = server.counts();
    assert!(both.refused <= first.refused + 2, "{first:?} {both:?}");
    assert_eq!((both.early, both.calls - both.refused), (0, 24));
}
