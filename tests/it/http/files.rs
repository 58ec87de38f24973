//! Files, whole and in chunks.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, multipart};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::clock::Shifted;

const FILES: &str = "/v1/extract/files";
const UPLOADS: &str = "/v1/extract/uploads";
const DAY: i64 = 86_400_000;

async fn store(app: &TestApp, name: &str, media_type: &str, bytes: &[u8]) -> Answer {
    let part = multipart::Part::bytes(bytes.to_vec()).file_name(name.to_owned());
    let part = part.mime_str(media_type).unwrap();
    let form = multipart::Form::new().part("file", part);
    app.call(app.request(Method::POST, FILES).multipart(form), "file")
        .await
}

fn id(answer: &Answer) -> String {
    answer.body["file_id"].as_str().unwrap().to_owned()
}

async fn begin(app: &TestApp, body: Value) -> Answer {
    app.post(UPLOADS, &body, "file").await
}

async fn append(app: &TestApp, id: &str, offset: Option<usize>, bytes: &[u8]) -> Answer {
    let body = json!({"data": STANDARD.encode(bytes), "offset": offset});
    let request = app.request(Method::PUT, &format!("{UPLOADS}/{id}"));
    app.call(request.json(&body), "file").await
}

async fn complete(app: &TestApp, id: &str) -> Answer {
    let path = format!("{UPLOADS}/{id}/complete");
    app.call(app.request(Method::POST, &path), "file").await
}

async fn bytes(app: &TestApp, id: &str) -> Vec<u8> {
    let path = format!("{FILES}/{id}/content");
    let answer = app.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// The blobs that are there, without the folder's name.
fn blobs(app: &TestApp, folder: &str) -> usize {
    let mut folders = vec![app.data().join("blobs").join(folder)];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                count += 1;
            }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_back_as_it_was_with_its_name_and_media_type() {
    let app = TestApp::start().run().await;
    let content = b"{\"id\":\"1\"}\n\0\xff";
    let stored = store(
        &app,
        "../Datens\u{e4}tze.jsonl",
        "application/x-ndjson",
        content,
    )
    .await;
    assert_eq!(stored.status, 201);
    let id = id(&stored);
    assert_eq!(stored.headers["location"], format!("{FILES}/{id}"));
    assert_eq!(stored.body["filename"], "Datens\u{e4}tze.jsonl");
    assert_eq!(stored.body["size"], content.len());
    assert_eq!(stored.body["status"], "uploaded");
    let shown = app.get(&format!("{FILES}/{id}"), "file").await;
    assert_eq!(shown.body, stored.body);
    let answer = app
        .request(Method::GET, &format!("{FILES}/{id}/content"))
        .send()
        .await
        .unwrap();
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.contains("filename*=UTF-8''Datens%C3%A4tze.jsonl"),
        "{disposition}"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.bytes().await.unwrap(), &content[..]);
    let listed = app
        .get(&format!("{FILES}?search=DATENS"), "file_list")
        .await;
    assert_eq!(listed.body["files"], json!([stored.body]));
    assert_eq!(app.delete(&format!("{FILES}/{id}")).await.status, 200);
    let gone = app.get(&format!("{FILES}/{id}"), "file").await;
    assert_eq!(gone.refusal(), (404, "file_not_found"));
    assert_eq!(blobs(&app, "documents"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_many_pieces_and_one_of_no_bytes_come_back_whole() {
    let app = TestApp::start().run().await;
    let large: Vec<u8> = (0..3_000_001_u32).map(|at| (at / 7) as u8).collect();
    for content in [large, vec![0; 256 << 10], Vec::new()] {
        let id = id(&store(&app, "a", "text/plain", &content).await);
        let path = format!("{FILES}/{id}/content");
        let answer = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(
            answer.headers()["content-length"],
            content.len().to_string()
        );
        assert!(answer.bytes().await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_stay_while_a_file_or_a_document_of_them_is_there() {
    let app = TestApp::start().run().await;
    let text = "Invoice number: 7\nTotal: 12.50 EUR\n";
    let document = app.document().await;
    let (one, two) = (
        store(&app, "a", "text/plain", text.as_bytes()).await,
        store(&app, "b", "text/plain", text.as_bytes()).await,
    );
    assert_eq!(blobs(&app, "documents"), 1);
    app.delete(&format!("{FILES}/{}", id(&one))).await;
    app.delete(&format!("/v1/extract/documents/{document}"))
        .await;
    assert_eq!(bytes(&app, &id(&two)).await, text.as_bytes());
    app.delete(&format!("{FILES}/{}", id(&two))).await;
    assert_eq!(blobs(&app, "documents"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_become_a_file_and_one_that_is_sent_again_does_no_harm() {
    let app = TestApp::start().run().await;
    let (first, second) = (vec![7; 70_000], b"the end".to_vec());
    let begun = begin(&app, json!({"filename": "r.bin", "size": 70_007})).await;
    assert_eq!(
        (begun.status.as_u16(), &begun.body["status"]),
        (201, &json!("uploading"))
    );
    let id = id(&begun);
    assert_eq!(begun.headers["location"], format!("{UPLOADS}/{id}"));
    for _ in 0..2 {
        let answer = append(&app, &id, Some(0), &first).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["size"]),
            (200, &json!(70_000))
        );
    }
    let early = complete(&app, &id).await;
    assert_eq!(early.refusal(), (409, "upload_conflict"));
    for (offset, chunk) in [
        (0, b"others".to_vec()),
        (5, first.clone()),
        (70_001, second.clone()),
    ] {
        let refused = append(&app, &id, Some(offset), &chunk).await;
        assert_eq!(refused.refusal(), (409, "upload_conflict"), "{offset}");
        assert!(
            refused.body["detail"]
                .as_str()
                .unwrap()
                .contains("offset 70000")
        );
    }
    let open = app.get(&format!("{FILES}/{id}/content"), "file").await;
    assert_eq!(open.refusal(), (409, "upload_incomplete"));
    assert_eq!(append(&app, &id, None, &second).await.body["size"], 70_007);
    let more = append(&app, &id, None, b"!").await;
    assert_eq!(more.refusal(), (409, "upload_conflict"));
    let shown = app.get(&format!("{UPLOADS}/{id}"), "file").await;
    assert_eq!(
        (&shown.body["size"], &shown.body["sha256"]),
        (&json!(70_007), &Value::Null)
    );
    let whole = complete(&app, &id).await;
    assert_eq!(whole.status, 200);
    assert_eq!(
        complete(&app, &id).await.body,
        whole.body,
        "asked again, the same"
    );
    assert_eq!(bytes(&app, &id).await, [first, second].concat());
    assert_eq!(blobs(&app, "uploads"), 0, "its chunks are gone");
    let late = append(&app, &id, None, b"!").await;
    assert_eq!(late.refusal(), (409, "upload_conflict"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_chunk_or_not_what_was_announced_is_refused() {
    let app = TestApp::start().run().await;
    for body in [
        json!({}),
        json!([]),
        json!({"filename": ""}),
        json!({"filename": "a", "x": 1}),
    ] {
        assert_eq!(begin(&app, body).await.refusal(), (400, "invalid_request"));
    }
    let bad_type = json!({"filename": "a", "media_type": "text"});
    assert_eq!(begin(&app, bad_type).await.pointers(), ["/media_type"]);
    let large = json!({"filename": "a", "size": u64::MAX});
    assert_eq!(begin(&app, large).await.refusal(), (413, "too_large"));
    let id = id(&begin(&app, json!({"filename": "a", "sha256": "0".repeat(64)})).await);
    let put = async |body: Value| {
        let request = app.request(Method::PUT, &format!("{UPLOADS}/{id}"));
        app.call(request.json(&body), "file").await
    };
    for body in [
        json!({}),
        json!({"data": "%"}),
        json!({"data": ""}),
        json!({"data": "QQ", "offset": -1}),
    ] {
        assert_eq!(
            put(body.clone()).await.refusal(),
            (400, "invalid_request"),
            "{body}"
        );
    }
    let over = STANDARD.encode(vec![0; (5 << 20) + 1]);
    assert_eq!(
        put(json!({"data": over})).await.refusal(),
        (413, "too_large")
    );
    assert_eq!(put(json!({"data": "QQ"})).await.body["size"], 1);
    assert_eq!(
        complete(&app, &id).await.refusal(),
        (409, "upload_conflict")
    );
    assert_eq!(app.delete(&format!("{UPLOADS}/{id}")).await.status, 200);
    assert_eq!(blobs(&app, "uploads"), 0);
    assert_eq!(
        put(json!({"data": "QQ"})).await.refusal(),
        (404, "file_not_found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_uploads_are_gone_when_their_time_is_over_and_are_swept() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .set("file_retention", "2d")
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let kept = id(&store(&app, "a", "text/plain", b"kept").await);
    let open = id(&begin(&app, json!({"filename": "b"})).await);
    append(&app, &open, None, b"part").await;
    clock.forward(DAY);
    let late = append(&app, &open, None, b"part").await;
    assert_eq!(late.refusal(), (404, "file_not_found"));
    assert_eq!(
        app.get(&format!("{FILES}/{kept}"), "file").await.status,
        200
    );
    clock.forward(DAY);
    let path = format!("{FILES}/{kept}");
    assert_eq!(
        app.get(&path, "file").await.refusal(),
        (404, "file_not_found")
    );
    let content = app.get(&format!("{path}/content"), "file").await;
    assert_eq!(content.refusal(), (404, "file_not_found"));
    assert_eq!(app.get(FILES, "file_list").await.body["total_count"], 0);
    assert_eq!((blobs(&app, "documents"), blobs(&app, "uploads")), (1, 1));
    app.app.engine.sweep().await;
    assert_eq!((blobs(&app, "documents"), blobs(&app, "uploads")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_another_user_are_not_there() {
    let app = TestApp::start().run().await;
    let (alice, bob) = (app.key("alice").await, app.key("bob").await);
    let app = app.with_key(&alice);
    let kept = id(&store(&app, "a", "text/plain", b"secret").await);
    let open = id(&begin(&app, json!({"filename": "b"})).await);
    let app = app.with_key(&bob);
    for path in [
        format!("{FILES}/{kept}"),
        format!("{FILES}/{kept}/content"),
        format!("{UPLOADS}/{open}"),
        format!("/files/{open}"),
    ] {
        let answer = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert_eq!(append(&app, &open, None, b"x").await.status, 404);
    assert_eq!(complete(&app, &open).await.status, 404);
    assert_eq!(app.delete(&format!("{FILES}/{kept}")).await.status, 404);
    assert_eq!(app.delete(&format!("{UPLOADS}/{open}")).await.status, 404);
    assert_eq!(app.get(FILES, "file_list").await.body["total_count"], 0);
}
