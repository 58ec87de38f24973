//! An extraction while it lands.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use reqwest::Method;
use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use super::{EXTRACT, JOBS, get, post, refusal, scripted, scripted_request, with};
use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, fault, plain_value};
use crate::support::schemas;

/// Lines of a stream as they come, and whether it broke off.
struct Lines {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    rest: Vec<u8>,
    broke: bool,
}

async fn open(app: &TestApp, path: &str, request: &Value) -> Lines {
    let response = app
        .request(Method::POST, path)
        .json(request)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/stream+json"
    );
    Lines {
        body: response.bytes_stream().boxed(),
        rest: Vec::new(),
        broke: false,
    }
}

impl Lines {
    /// The next line that is not empty.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.rest.drain(..=at).collect();
                if line.len() > 1 {
                    let chunk = serde_json::from_slice(&line).unwrap();
                    schemas::check("retab_extract_chunk", &chunk);
                    return Some(chunk);
                }
                continue;
            }
            match self.body.next().await? {
                Ok(bytes) => self.rest.extend_from_slice(&bytes),
                Err(_) => {
                    self.broke = true;
                    return None;
                }
            }
        }
    }
}

fn delta(chunk: &Value) -> &Value {
    &chunk["choices"][0]["delta"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_streamed_while_they_land_and_the_last_line_has_them_all() {
    let gated = Scripted::gated();
    let app = scripted(&gated).await;
    let mut request = with(scripted_request(), "json_schema", wide_schema(3));
    request["stream"] = json!(true);
    let mut lines = open(&app, "/v1/documents/extractions", &request).await;
    gated.pass(1);
    let first = lines.next().await.unwrap();
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(first["choices"][0]["finish_reason"], Value::Null);
    let mut flat: BTreeMap<String, Value> = BTreeMap::new();
    let take = |flat: &mut BTreeMap<String, Value>, chunk: &Value| {
        for gone in delta(chunk)["flat_deleted_keys"].as_array().unwrap() {
            flat.remove(gone.as_str().unwrap());
        }
        let new = delta(chunk)["flat_parsed"].as_object().unwrap().clone();
        flat.extend(new);
    };
    take(&mut flat, &first);
    assert!(flat.len() < 12, "not all at once: {flat:?}");
    assert!(flat.values().any(Value::is_null), "nulls are sent");
    assert!(!delta(&first)["is_valid_json"].as_bool().unwrap());
    gated.pass(9);
    let mut last = first;
    while let Some(chunk) = lines.next().await {
        take(&mut flat, &chunk);
        last = chunk;
    }
    assert!(!lines.broke);
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(delta(&last)["is_valid_json"], true);
    let whole = &delta(&last)["full_parsed"];
    let content: Value = serde_json::from_str(delta(&last)["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, *whole);
    assert_eq!(flat.len(), 12);
    for (path, value) in &flat {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert_eq!(whole.pointer(&pointer), Some(value), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_job_that_fails_says_why_and_breaks_off() {
    let failing = Scripted::new(|_, _| fault(Fault::ContentFiltered, None));
    let app = scripted(&failing).await;
    let request = with(scripted_request(), "stream", json!(true));
    let mut lines = open(&app, EXTRACT, &request).await;
    let mut last = Value::Null;
    while let Some(chunk) = lines.next().await {
        last = chunk;
    }
    assert_eq!(last["streaming_error"]["code"], "process_failed");
    assert!(
        lines.broke,
        "a client that looks at no error must not take it for the end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_line_of_a_stream_says_when_something_is_missing() {
    let lacking = Scripted::new(|subtree, _| {
        if subtree.path.as_str().ends_with('1') {
            return fault(Fault::ContentFiltered, None);
        }
        Reply::Value(plain_value(subtree))
    });
    let app = scripted(&lacking).await;
    let mut request = with(scripted_request(), "json_schema", wide_schema(2));
    request["stream"] = json!(true);
    let mut lines = open(&app, EXTRACT, &request).await;
    let mut last = Value::Null;
    while let Some(chunk) = lines.next().await {
        last = chunk;
    }
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert_eq!(last["streaming_error"]["code"], "partial");
    assert!(!lines.broke);
    let list = get(&app, JOBS, "job_list").await.body;
    assert_eq!(list["data"][0]["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_takes_no_stream() {
    let app = scripted(&Scripted::plain()).await;
    let request = with(scripted_request(), "stream", json!(true));
    let refused = post(&app, JOBS, &super::of(EXTRACT, &request), "job").await;
    assert_eq!(
        refusal(&refused),
        (400, "invalid_request", "/request/stream")
    );
}
