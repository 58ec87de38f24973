//! Keys that callers bring for one job: whose they are, where they are not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use rivulet::engine::ports::Provider;
use rivulet::provider::layout::Layout;
use rivulet::provider::models::Models;
use rivulet::provider::server::{Options, Unkeyed};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{WIRES, model_of, only, options, provider};
use crate::support::app::{Answer, TestApp};
use crate::support::model::{Asked, Failure, KEY, Reply, Server, Wire};

const HEADER: &str = "X-BYOK-Key";
const ALICE: &str = "tests-key-0f6a-of-alice";
const BOB: &str = "tests-key-0f6a-of-bob";
const NOTE: &str = "Invoice number: R-1017\nSeller: Mueller and Sons\nTotal: 1204.50\n";

fn body(model: &str) -> Value {
    json!({
        "document": NOTE,
        "schema": {"type": "object", "properties": {
            "invoice_number": {"type": ["string", "null"]}, "total": {"type": ["number", "null"]},
        }},
        "config": {"model": model, "n_max_retries": 0},
    })
}

async fn post(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    let request = app.request(Method::POST, path).header(HEADER, key);
    app.call(request.json(body), "job_created").await
}

async fn started(app: &TestApp, key: &str, body: &Value) -> String {
    let answer = post(app, "/v1/extract/jobs", key, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["job_id"].as_str().unwrap().to_owned()
}

/// The key that a request came with.
fn key_of(asked: &Asked) -> String {
    let named = |name: &str| asked.header(name).map(str::to_owned);
    let bearer = named("authorization").map(|value| value.replace("Bearer ", ""));
    let key = named("x-goog-api-key").or_else(|| named("x-api-key"));
    key.or(bearer).unwrap()
}

fn keys(server: &Server) -> Vec<String> {
    server.asked().iter().map(key_of).collect()
}

async fn app(server: &Server, wire: Wire) -> TestApp {
    let provider = provider(server, wire, true);
    TestApp::start()
        .set("default_model", model_of(wire))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

/// A server that has no key of that vendor's, nor any model of it.
async fn without(server: &Server, wire: Wire) -> TestApp {
    let options = Options {
        key: None,
        ..options(server, wire)
    };
    rivulet::tls::install();
    let unkeyed = Unkeyed::new(options, Arc::new(Models::known().unwrap()));
    let layout: Arc<dyn Provider> = Arc::new(Layout::default());
    let all = vec![layout, Arc::new(unkeyed) as _];
    TestApp::start()
        .build(move |builder| builder.providers(all))
        .run()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_sees_the_callers_key_and_answers_are_not_shared_with_others() {
    for wire in WIRES {
        let server = Server::start();
        let app = app(&server, wire).await;
        let body = body(model_of(wire));
        for key in [ALICE, BOB, ALICE] {
            let job = started(&app, key, &body).await;
            let end = app.end_of(&job).await;
            assert_eq!(end["status"], "completed", "{wire:?} {end}");
        }
        app.end_of(&app.submit(&body).await).await;
        assert_eq!(keys(&server), [ALICE, BOB, ALICE, KEY], "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_with_two_keys_at_once_are_told_apart() {
    let (server, gate) = (Server::start(), Arc::new(Semaphore::new(0)));
    server.always(Reply::honest().held("{", &gate));
    let app = app(&server, Wire::OpenAi).await;
    let body = body(model_of(Wire::OpenAi));
    let first = started(&app, ALICE, &body).await;
    let second = started(&app, BOB, &body).await;
    server.until_asked(2).await;
    gate.add_permits(2);
    for job in [first, second] {
        assert_eq!(app.end_of(&job).await["status"], "completed");
    }
    let mut seen = keys(&server);
    seen.sort();
    assert_eq!(seen, [ALICE, BOB]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_for_its_rate_slows_no_other() {
    let server = Server::start();
    server.script(|asked| {
        let refused = Reply::from(Failure::QuotaGone).header("retry-after", 600);
        (key_of(asked) == ALICE).then_some(refused)
    });
    let app = app(&server, Wire::OpenAi).await;
    let body = body(model_of(Wire::OpenAi));
    let slowed = started(&app, ALICE, &body).await;
    assert_eq!(app.end_of(&slowed).await["status"], "failed");
    for key in [BOB, KEY] {
        let job = started(&app, key, &body).await;
        let end = tokio::time::timeout(Duration::from_secs(30), app.end_of(&job)).await;
        assert_eq!(end.unwrap()["status"], "completed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_the_server_has_no_key_of_works_with_the_callers() {
    for (wire, model) in [
        (Wire::OpenAi, "openai/gpt-4o-mini"),
        (Wire::Anthropic, "anthropic/claude-haiku-4-5"),
        (Wire::Gemini, "gemini-2.5-flash"),
    ] {
        let server = Server::start();
        let app = without(&server, wire).await;
        let refused = app
            .post("/v1/extract/jobs", &body(model), "job_created")
            .await;
        assert_eq!(refused.refusal(), (422, "model_not_found"));
        let models = app.get("/v1/extract/models", "model_list").await;
        assert_eq!(models.body["models"].as_array().unwrap().len(), 1);
        let end = app.end_of(&started(&app, ALICE, &body(model)).await).await;
        assert_eq!(end["status"], "completed", "{wire:?} {end}");
        assert_eq!(keys(&server), [ALICE]);
        let layout = post(&app, "/v1/extract/jobs", ALICE, &body("layout")).await;
        assert_eq!(layout.refusal(), (400, "invalid_request"));
        assert_eq!(layout.pointers(), ["/X-BYOK-Key"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_none_is_refused_and_not_repeated() {
    let server = Server::start();
    let app = app(&server, Wire::OpenAi).await;
    let body = body(model_of(Wire::OpenAi));
    let refused = post(&app, "/v1/extract/jobs", "two words", &body).await;
    assert_eq!(refused.refusal(), (400, "invalid_request"));
    assert!(!refused.body.to_string().contains("two words"));
    // A key that the provider refuses fails the job, and is not in its words.
    let job = started(&app, "sk-nobody-knows", &body).await;
    let end = app.end_of(&job).await;
    assert_eq!(end["status"], "failed");
    let job = app.get(&format!("/v1/extract/jobs/{job}"), "job").await;
    assert!(!format!("{end} {}", job.body).contains("nobody"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_under_another_key_leads_to_the_same_job() {
    let server = Server::start();
    let app = app(&server, Wire::OpenAi).await;
    let body = body(model_of(Wire::OpenAi));
    let send = async |key: &str| {
        let request = app.request(Method::POST, "/v1/extract/jobs");
        let request = request.header(HEADER, key).header("Idempotency-Key", "k");
        app.call(request.json(&body), "job_created").await.body["job_id"].clone()
    };
    assert_eq!(send(ALICE).await, send(BOB).await);
    assert!(keys(&server).iter().all(|key| key == ALICE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parseflow_asks_a_model_under_the_callers_key() {
    let server = Server::start();
    let app = without(&server, Wire::OpenAi).await;
    let send = async |fields: &[(&str, &str)], key: Option<&str>| {
        let form = fields
            .iter()
            .fold(reqwest::multipart::Form::new(), |form, (name, value)| {
                form.text((*name).to_owned(), (*value).to_owned())
            });
        let request = app.request(Method::POST, "/v2/process").multipart(form);
        let request = match key {
            Some(key) => request.header(HEADER, key),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let schema = body("")["schema"].to_string();
    let fields = [
        ("text", NOTE),
        ("mode", "byok_assisted"),
        ("byok_provider", "openai"),
        ("byok_model", "gpt-4o-mini"),
        ("schema_json", &*schema),
    ];
    let (status, result) = send(&fields, Some(ALICE)).await;
    assert_eq!(status, 200, "{result}");
    crate::support::schemas::check("parseflow_result", &result);
    assert_eq!(result["mode"], "byok_assisted");
    assert_eq!(result["extraction"]["invoice_number"], "R-1017");
    assert_eq!(result["chunks"][0]["text"], NOTE.trim());
    assert_eq!(keys(&server), [ALICE]);
    for (fields, key, place) in [
        (&fields[..], None, "X-BYOK-Key"),
        (&fields[..2], Some(ALICE), "schema_json"),
        (
            &[fields[0], fields[1], fields[4]],
            Some(ALICE),
            "byok_provider",
        ),
    ] {
        let (status, refused) = send(fields, key).await;
        assert_eq!(
            (status, &refused["detail"][0]["loc"][1]),
            (422, &json!(place))
        );
        crate::support::schemas::check("parseflow_error", &refused);
    }
}

/// Every file under a folder that holds this text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The real binary on this folder, its log in the folder `logs` beside the data.
fn binary(folder: &Path, server: &Server) -> (std::process::Child, String) {
    use std::io::{BufRead as _, BufReader};
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let count = std::fs::read_dir(&logs).unwrap().count();
    let log = std::fs::File::create(logs.join(count.to_string())).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rivulet"))
        .args(["serve", "--bind", "127.0.0.1:0", "--log", "trace", "--data"])
        .arg(folder.join("data"))
        .env("OPENAI_BASE_URL", server.base(Wire::OpenAi))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap();
    (child, url.to_owned())
}

async fn told(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// A job that has come to this status.
async fn at(client: &Client, base: &str, job: &str) -> Value {
    let path = format!("{base}/v1/extract/jobs/{job}?wait=60");
    told(client.get(path)).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_found_nowhere_and_a_killed_server_says_how_to_go_on() {
    let (server, gate) = (Server::start(), Arc::new(Semaphore::new(0)));
    server.always(Reply::honest().held("{", &gate));
    let folder = tempfile::tempdir().unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let (mut child, base) = binary(folder.path(), &server);
    let create = client.post(format!("{base}/v1/extract/jobs"));
    let create = create
        .header(HEADER, ALICE)
        .json(&body("openai/gpt-4o-mini"));
    let (status, created) = told(create).await;
    assert_eq!(status, 202, "{created}");
    let job = created["job_id"].as_str().unwrap();
    server.until_asked(1).await;
    assert_eq!(keys(&server), [ALICE]);
    for path in [
        format!("/v1/extract/jobs/{job}"),
        format!("/v1/extract/jobs/{job}/results?partial=true"),
        format!("/v1/extract/jobs/{job}/deliveries"),
        format!("/v2/jobs/{job}"),
        format!("/structflow/jobs/{job}"),
        "/v1/extract/jobs".into(),
        "/v1/extract/models".into(),
        "/v1/extract/documents".into(),
        "/metrics".into(),
    ] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.text().await.unwrap().contains(ALICE), "{path}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(holding(folder.path(), ALICE), Vec::<String>::new());
    assert!(
        !holding(folder.path(), "openai/gpt-4o-mini").is_empty(),
        "the search finds what is there"
    );

    server.relent();
    let (mut child, base) = binary(folder.path(), &server);
    let ended = at(&client, &base, job).await;
    assert_eq!(
        (&ended["status"], &ended["error_type"]),
        (&json!("failed"), &json!("own_key_lost"))
    );
    let says = ended["error_message"].as_str().unwrap();
    assert!(says.contains("/retry") && says.contains(HEADER), "{says}");
    let retry = format!("{base}/v1/extract/jobs/{job}/retry");
    let (status, refused) = told(client.post(&retry)).await;
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("own_key_required"))
    );
    let (status, again) = told(client.post(&retry).header(HEADER, BOB)).await;
    assert_eq!(status, 202, "{again}");
    let ended = at(&client, &base, job).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(keys(&server), [ALICE, BOB]);
    child.kill().unwrap();
    child.wait().unwrap();
    for key in [ALICE, BOB] {
        assert_eq!(holding(folder.path(), key), Vec::<String>::new());
    }
}
