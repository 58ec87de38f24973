//! A real model behind a real server, small enough for a test machine. It proves the wire and the
//! evidence, and says nothing about quality.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::browser::skip;
use crate::support::clients::venv;
use crate::support::sse::Stream;

const NOTE: &str =
    "Invoice number: R-1017\nSeller: Mueller and Sons\nCity: Cologne\nTotal: 1204.50 EUR\n";
const TEST: &str = "models::llama::what_a_small_model_invents_is_not_taken_for_proved";

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that says its address on its first line.
fn start(mut command: Command) -> (Process, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    (
        Process(child),
        line.trim().trim_start_matches("listening on ").to_owned(),
    )
}

fn llama() -> Option<(Process, String)> {
    let python = match venv("llama", "llama.txt") {
        Ok((python, _)) => python,
        Err(reason) => {
            skip(TEST, &reason);
            return None;
        }
    };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/llama.py"));
    let (process, address) = start(command);
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    Some((process, address))
}

/// Our own binary, told of the other server by its settings file.
fn rivulet(folder: &Path, model: &str) -> (Process, String) {
    let config = folder.join("rivulet.toml");
    std::fs::write(
        &config,
        format!("[servers.house]\nbase_url = \"{model}/v1\"\nmodels = [\"smollm2\"]\n"),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
    for (name, _) in std::env::vars() {
        if name.starts_with("RIVULET_") || name.ends_with("_API_KEY") {
            command.env_remove(name);
        }
    }
    command
        .args(["serve", "--bind", "127.0.0.1:0", "--config"])
        .arg(config)
        .arg("--data")
        .arg(folder.join("data"));
    start(command)
}

fn schema() -> Value {
    let text = || json!({"type": ["string", "null"], "maxLength": 30});
    let part = |names: [&str; 2]| {
        let members = names.map(|name| (name.to_owned(), text()));
        json!({"type": "object", "properties": serde_json::Map::from_iter(members)})
    };
    json!({"type": "object", "properties": {
        "head": part(["invoice_number", "total"]),
        "seller": part(["seller", "city"]),
        "buyer": part(["buyer", "buyer_phone"]),
        // Nothing of it stands there.
        "ship": part(["captain", "home_port"]),
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_small_model_invents_is_not_taken_for_proved() {
    rivulet::tls::install();
    let Some((_llama, model)) = tokio::task::spawn_blocking(llama).await.unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (_server, url) = rivulet(folder.path(), &model);
    let client = Client::builder().no_proxy().build().unwrap();
    let base = format!("{url}/v1/extract");
    let form = Form::new().part("file", Part::text(NOTE).file_name("note.txt"));
    let upload = client
        .post(format!("{base}/documents/upload"))
        .multipart(form);
    let document: Value = upload.send().await.unwrap().json().await.unwrap();

    let body = json!({
        "document_id": document["document_id"], "schema": schema(), "stream": true,
        "config": {
            "model": "house/smollm2", "per_key_attribution": true, "temperature": 0, "seed": 1,
            "n_max_retries": 0, "splitter_configs": {"max_fields_to_join": 1}
        },
    });
    let stream = client.post(format!("{base}/jobs")).json(&body);
    let frames = Stream::of(stream.send().await.unwrap()).rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(end["total_subtrees"], 4, "{end}");
    let usage = &end["usage_metadata"];
    assert!(usage["prompt_token_count"].as_u64().unwrap() > 100, "{end}");

    let (mut leaves, mut unproved) = (0, 0);
    for frame in frames
        .iter()
        .filter(|frame| frame.event == "subtree_result")
    {
        let result = frame.payload();
        let path = result["path"].as_str().unwrap();
        for (pointer, leaf) in result["attributions"].as_object().unwrap() {
            let value = result["extracted_result"]
                .pointer(&pointer[path.len()..])
                .unwrap();
            leaves += usize::from(!value.is_null());
            let is_there = value
                .as_str()
                .is_some_and(|text| NOTE.contains(text.trim()));
            match leaf["verdict"].as_str().unwrap() {
                "verified" => assert!(is_there, "{pointer}: {value} {leaf}"),
                _ => unproved += usize::from(!value.is_null() && !is_there),
            }
        }
    }
    assert!(leaves > 0, "{end}");
    assert!(
        unproved > 0,
        "the model invented nothing this time: {leaves} leaves"
    );
}
