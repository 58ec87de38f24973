//! Documents: upload, list, look at, fetch, delete.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, file, wide_schema};
use crate::support::provider::{Scripted, Server};
use crate::support::raw::{ask, request};

use super::uploads::{FORM, UPLOAD, form, part};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_file_is_described_and_given_back_byte_for_byte() {
    let app = TestApp::start().run().await;
    let invoice = file("schemas/examples/invoice.pdf");
    let markdown = b"# Order 9\n\n| Item | Price |\n|---|---|\n| Oak | 5 |\n".to_vec();
    let latin = b"Rechnung\r\nBetrag: 5 \x80 f\xfcr M\xfcller\r\n".to_vec();
    for (name, bytes, media_type) in [
        ("invoice.pdf", invoice, "application/pdf"),
        // The kind is told by the bytes.
        ("order.pdf", markdown, "text/markdown; charset=utf-8"),
        ("brief.txt", latin, "text/plain; charset=utf-8"),
    ] {
        let created = app.upload(name, bytes.clone()).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let document = created.body;
        assert_eq!(document["file_name"], name);
        assert_eq!(document["media_type"], media_type);
        assert_eq!(document["file_size"], bytes.len());
        if name == "invoice.pdf" {
            // As SOURCES.md has it.
            let known = "7d15a068e8640a637445a82d0fafa7c183d530cc51b21da66e5cea8419c7d351";
            assert_eq!(document["sha256"], known);
        }
        let place = created.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(app.get(&place, "document").await.body, document);
        let content = app.request(Method::GET, &format!("{place}/content"));
        let content = content.send().await.unwrap();
        let headers = content.headers().clone();
        assert_eq!(headers["content-type"], media_type);
        assert_eq!(
            headers["content-security-policy"],
            "sandbox; default-src 'none'"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let disposition = headers["content-disposition"].to_str().unwrap();
        assert_eq!(
            disposition,
            format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}")
        );
        assert_eq!(content.bytes().await.unwrap(), bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_never_become_paths_or_headers() {
    let app = TestApp::start().run().await;
    let long = "n".repeat(1_000);
    for (disposition, name, header) in [
        ("filename=\"../../etc/passwd\"", "passwd", "passwd"),
        (
            "filename=\"C:\\\\fake\\\\Akte.txt\"",
            "Akte.txt",
            "Akte.txt",
        ),
        ("filename=\"/\"", "document", "document"),
        ("filename=\"\"", "document", "document"),
        ("", "document", "document"),
        ("filename=\"..\"", "document", "document"),
        (
            "filename*=UTF-8''..%2F..%2Fa%0D%0AX-Evil%3A%201.txt",
            "aX-Evil: 1.txt",
            "aX-Evil: 1.txt",
        ),
        (
            "filename*=UTF-8''B%C3%BCro%20%22%E2%82%AC%22.txt",
            "Büro \"€\".txt",
            "B_ro \\\"_\\\".txt",
        ),
        (&format!("filename=\"{long}\""), &long[..200], &long[..200]),
    ] {
        let body = form(&[part(&format!("name=\"file\"; {disposition}"), b"Total: 5")]);
        let request = request("POST", UPLOAD, FORM, &body);
        let answer = ask(app.app.address, &request).await;
        assert_eq!(answer.status, 201, "{disposition}");
        assert_eq!(answer.json()["file_name"], name, "{disposition}");
        let place = answer.header("location").unwrap();
        let content = app.client.get(app.url(&format!("{place}/content")));
        let headers = content.send().await.unwrap().headers().clone();
        assert!(!headers.contains_key("x-evil"), "{disposition}");
        let given = headers["content-disposition"].to_str().unwrap();
        let plain = format!("attachment; filename=\"{header}\"; filename*=UTF-8''");
        assert!(given.starts_with(&plain), "{given} for {disposition}");
    }
    // One blob and its words, under names of our own, and the database: nothing else was written.
    let mut folders = vec![app.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let known = ["lock", "blobs", "documents", "parsed"].contains(&&*name)
                || name.starts_with("rivulet.db")
                || name.len() >= 64 && name[..64].bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(known, "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_found_by_name_and_read_page_by_page() {
    let app = TestApp::start().run().await;
    for index in 0..5 {
        let name = if index == 3 { "Lease.txt" } else { "bill.txt" };
        app.upload(name, format!("Total: {index}")).await;
    }
    let mut sizes = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut query = "limit=2".to_owned();
    loop {
        let path = format!("/v1/extract/documents?{query}");
        let page = app.get(&path, "document_list").await.body;
        assert_eq!(page["total_count"], 5);
        let documents = page["documents"].as_array().unwrap();
        sizes.push(documents.len());
        seen.extend(documents.iter().map(|d| d["document_id"].to_string()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!((sizes, seen.len()), (vec![2, 2, 1], 5));
    let path = "/v1/extract/documents?search=lEAse&unknown=1";
    let found = app.get(path, "document_list").await.body;
    assert_eq!(found["total_count"], 1);
    assert_eq!(found["documents"][0]["file_name"], "Lease.txt");
    let long = format!("search={}", "x".repeat(201));
    for (query, code) in [
        ("limit=101", "invalid_request"),
        ("cursor=zzz", "invalid_cursor"),
        (&*long, "invalid_request"),
    ] {
        let path = format!("/v1/extract/documents?{query}");
        let refused = app.get(&path, "document_list").await;
        assert_eq!(refused.refusal(), (400, code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_document_is_gone_and_leaves_others_with_the_same_bytes() {
    let app = TestApp::start().run().await;
    let bytes = file("schemas/examples/invoice.pdf");
    let first = app.upload("first.pdf", bytes.clone()).await;
    let second = app.upload("second.pdf", bytes.clone()).await;
    let place = |answer: &crate::support::app::Answer| {
        answer.headers["location"].to_str().unwrap().to_owned()
    };
    let (first, second) = (place(&first), place(&second));
    assert_ne!(first, second);
    let deleted = app.delete(&first).await;
    assert_eq!(
        deleted.body,
        json!({"id": first.rsplit('/').next(), "deleted": true})
    );
    for path in [first.clone(), format!("{first}/content")] {
        let gone = app.get(&path, "document").await;
        assert_eq!(gone.refusal(), (404, "document_not_found"));
    }
    assert_eq!(app.delete(&first).await.status, 404);
    let content = app.client.get(app.url(&format!("{second}/content")));
    assert_eq!(content.send().await.unwrap().bytes().await.unwrap(), bytes);
    let schema = json!({"type": "object", "properties": {"number": {"type": "string"}}});
    let id = second.rsplit('/').next().unwrap();
    let job = app
        .submit(&json!({"document_id": id, "schema": schema}))
        .await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
    // With the last one its bytes go too.
    assert_eq!(app.delete(&second).await.status, 200);
    let blobs = std::fs::read_dir(app.data().join("blobs/documents")).unwrap();
    assert_eq!(blobs.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_cannot_be_deleted_while_a_job_needs_it() {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(scripted.clone()));
    let app = TestApp::start().provider(provider).run().await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let place = format!(
        "/v1/extract/documents/{}",
        body["document_id"].as_str().unwrap()
    );
    let refused = app.delete(&place).await;
    assert_eq!(refused.refusal(), (409, "document_in_use"));
    scripted.pass(9);
    app.end_of(&job).await;
    assert_eq!(app.delete(&place).await.status, 200);
    assert_eq!(app.results(&job).await.body["status"], "completed");
    // A job that names the deleted document is refused before it exists.
    let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
    assert_eq!(refused.body["code"], "document_not_found");
}
