//! Files and uploads in chunks, as far as they differ here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{body, call, content, end, file_id, get, plain, refusal, started, upload, with};
use crate::support::app::{Answer, TestApp};
use crate::support::clock::Shifted;

async fn begin(app: &TestApp, name: &str) -> Answer {
    let request = app.request(Method::POST, "/uploads");
    call(app, request.json(&json!({"filename": name})), "file").await
}

async fn append(app: &TestApp, file: &str, bytes: &[u8]) -> Answer {
    let request = app.request(Method::PUT, &format!("/uploads/{file}"));
    let request = request.json(&json!({"data": STANDARD.encode(bytes)}));
    call(app, request, "file").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_file_is_listed_shown_and_fetched_and_is_404_after_it_expires() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .set("file_retention", "1d")
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let stored = upload(&app, "records.jsonl", b"{}\n").await;
    assert_eq!(stored.status, 201);
    let file = file_id(&stored);
    for name in ["filename", "size", "created_at", "updated_at", "expires_at"] {
        assert!(!stored.body[name].is_null(), "{name}");
    }
    let list = get(&app, "/files", "structflow_file_list").await.body;
    assert_eq!(list["data"], json!([stored.body]));
    let fetched = content(&app, &file).await;
    assert_eq!(fetched.headers()["content-type"], "application/x-ndjson");
    let disposition = fetched.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.contains("records.jsonl"));
    assert_eq!(fetched.bytes().await.unwrap(), &b"{}\n"[..]);
    clock.forward(86_400_000);
    for path in [format!("/files/{file}"), format!("/files/{file}/content")] {
        assert_eq!(
            refusal(&get(&app, &path, "").await),
            (404, "file_not_found")
        );
    }
    let list = get(&app, "/files", "structflow_file_list").await.body;
    assert_eq!(list["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_a_file_whose_size_grows_until_its_first_use() {
    let app = plain().await;
    let begun = begin(&app, "records.jsonl").await;
    assert_eq!(
        (begun.status.as_u16(), &begun.body["size"]),
        (201, &json!(0))
    );
    let file = file_id(&begun);
    for (chunk, size) in [(&b"{\"id\":\"1\","[..], 10), (b"\"data\":1}\n", 20)] {
        assert_eq!(append(&app, &file, chunk).await.body["size"], size);
        let shown = get(&app, &format!("/files/{file}"), "file").await;
        assert_eq!(shown.body["size"], size, "to be asked after a lost answer");
    }
    let mut of_file = with(body(&Value::Null), "file_id", json!(file));
    of_file.as_object_mut().unwrap().remove("inputs");
    let job = started(&app, &of_file).await;
    let late = append(&app, &file, b"2\n").await;
    assert_eq!(refusal(&late), (409, "upload_conflict"));
    assert!(end(&app, &job).await["output_file_id"].is_string());
    let fetched = content(&app, &file).await.bytes().await.unwrap();
    assert_eq!(fetched, &b"{\"id\":\"1\",\"data\":1}\n"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_still_uploaded_is_whole_once_it_is_fetched_and_goes_when_it_is_deleted() {
    let app = plain().await;
    let file = file_id(&begin(&app, "a.txt").await);
    append(&app, &file, b"abc").await;
    assert_eq!(
        content(&app, &file).await.bytes().await.unwrap(),
        &b"abc"[..]
    );
    let shown = get(&app, &format!("/files/{file}"), "file").await.body;
    assert_eq!(
        (&shown["status"], &shown["size"]),
        (&json!("uploaded"), &json!(3))
    );
    let open = file_id(&begin(&app, "b.txt").await);
    for id in [file, open] {
        let path = format!("/files/{id}");
        let gone = call(&app, app.request(Method::DELETE, &path), "deleted").await;
        assert_eq!(gone.status, 200);
        assert_eq!(
            refusal(&get(&app, &path, "").await),
            (404, "file_not_found")
        );
    }
}
