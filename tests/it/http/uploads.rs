//! Uploads that are refused: bodies of the wrong form, files of the wrong kind or size.

use serde_json::{Value, json};

use crate::support::app::{TestApp, file, wide_schema};
use crate::support::pdf;
use crate::support::raw::{ask, exchange, request};

pub const UPLOAD: &str = "/v1/extract/documents/upload";
pub const FORM: &str = "multipart/form-data; boundary=edge";

/// One part of a body with the boundary `edge`.
pub fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

pub fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--edge--\r\n".to_vec()].concat()
}

fn one_file(content: &[u8]) -> Vec<u8> {
    form(&[part("name=\"file\"; filename=\"a.txt\"", content)])
}

async fn count(app: &TestApp) -> Value {
    let list = app.get("/v1/extract/documents", "document_list").await;
    list.body["total_count"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_read_are_refused_by_what_they_are() {
    let app = TestApp::start().run().await;
    let mut cut = file("schemas/examples/invoice.pdf");
    cut.truncate(300);
    let blank = pdf::with_text("");
    for (what, bytes, status, code, says) in [
        ("an empty file", vec![], 422, "document_empty", "no bytes"),
        (
            "only spaces",
            b" \n\n\t ".to_vec(),
            422,
            "document_empty",
            "",
        ),
        ("a blank page", blank, 422, "document_empty", "blank"),
        (
            "a PNG",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            415,
            "unsupported_media_type",
            "PNG",
        ),
        (
            "a ZIP",
            b"PK\x03\x04\x14\0\0\0a.csv".to_vec(),
            415,
            "unsupported_media_type",
            "ZIP",
        ),
        (
            "binary",
            b"\0\x01\x02\x03".repeat(9),
            415,
            "unsupported_media_type",
            "PDF, plain text",
        ),
        (
            "a locked PDF",
            pdf::encrypted(),
            422,
            "password_required",
            "password",
        ),
        (
            "a PDF cut off",
            cut,
            422,
            "document_corrupt",
            "begins as a PDF",
        ),
        (
            "a PDF of nothing",
            b"%PDF-1.7\n%%EOF".to_vec(),
            422,
            "document_corrupt",
            "",
        ),
        (
            "a picture",
            pdf::picture_only(),
            422,
            "document_without_text",
            "page 1",
        ),
    ] {
        let refused = app.upload("file", bytes).await;
        let got = refused.refusal();
        assert_eq!(got, (status, code), "{what}: {}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{what}: {detail}");
    }
    assert_eq!(count(&app).await, 0);
    let good = app.upload("page.pdf", pdf::with_text("Total: 5")).await;
    assert_eq!(good.status, 201, "{}", good.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_upload_are_refused_by_what_is_wrong() {
    let app = TestApp::start().run().await;
    let good = one_file(b"Total: 5");
    let other = part("name=\"note\"", b"x");
    let file_part = part("name=\"file\"; filename=\"a.txt\"", b"Total: 5");
    let many = form(&[vec![other.clone(); 20].concat(), file_part.clone()]);
    let twice = form(&[file_part.clone(), file_part.clone()]);
    let nameless = form(&[part("filename=\"a.txt\"", b"x")]);
    let head = format!("name=\"file\"\r\nX-Long: {}", "x".repeat(200_000));
    let huge_head = form(&[part(&head, b"x")]);
    let heads: String = (0..100).map(|n| format!("\r\nX-{n}: x")).collect();
    let many_heads = form(&[part(&format!("name=\"file\"{heads}"), b"x")]);
    let cut_in_file = good[..good.len() - 12].to_vec();
    let cut_after_file = [file_part.clone(), b"--edge\r\nContent-Dispo".to_vec()].concat();
    let unclosed = file_part.clone();
    for (what, content_type, body, status, code, says) in [
        (
            "JSON",
            "application/json",
            b"{}".to_vec(),
            415,
            "unsupported_media_type",
            "json",
        ),
        (
            "a bare file",
            "application/pdf",
            good.clone(),
            415,
            "unsupported_media_type",
            "part `file`",
        ),
        (
            "no boundary",
            "multipart/form-data",
            good.clone(),
            400,
            "invalid_request",
            "oundary",
        ),
        (
            "another boundary",
            "multipart/form-data; boundary=x",
            good.clone(),
            400,
            "invalid_request",
            "",
        ),
        (
            "no parts",
            FORM,
            b"--edge--\r\n".to_vec(),
            400,
            "invalid_request",
            "no part `file`",
        ),
        ("nothing", FORM, vec![], 400, "invalid_request", ""),
        (
            "no file",
            FORM,
            form(std::slice::from_ref(&other)),
            400,
            "invalid_request",
            "no part `file`",
        ),
        (
            "two files",
            FORM,
            twice,
            400,
            "invalid_request",
            "several parts `file`",
        ),
        (
            "21 parts",
            FORM,
            many,
            400,
            "invalid_request",
            "more than 20 parts",
        ),
        (
            "a part without name",
            FORM,
            nameless,
            400,
            "invalid_request",
            "",
        ),
        (
            "a huge part head",
            FORM,
            huge_head,
            400,
            "invalid_request",
            "",
        ),
        (
            "many part heads",
            FORM,
            many_heads,
            400,
            "invalid_request",
            "",
        ),
        (
            "cut in the file",
            FORM,
            cut_in_file,
            400,
            "invalid_request",
            "to its end",
        ),
        (
            "cut after the file",
            FORM,
            cut_after_file,
            400,
            "invalid_request",
            "to its end",
        ),
        (
            "not closed",
            FORM,
            unclosed,
            400,
            "invalid_request",
            "to its end",
        ),
    ] {
        let answer = ask(
            app.app.address,
            &request("POST", UPLOAD, content_type, &body),
        )
        .await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (status, code),
            "{what}: {:#}",
            answer.json()
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{what}: {detail}");
    }
    // Fewer bytes than were promised: whether it is answered or not, nothing is stored.
    let mut short = request("POST", UPLOAD, FORM, &good);
    short.truncate(short.len() - 4);
    exchange(app.app.address, &short).await;
    assert_eq!(count(&app).await, 0);
    let answer = ask(app.app.address, &request("POST", UPLOAD, FORM, &good)).await;
    assert_eq!(answer.status, 201);
    let beside = form(&[other.clone(), file_part, other]);
    let answer = ask(app.app.address, &request("POST", UPLOAD, FORM, &beside)).await;
    assert_eq!(answer.status, 201, "other parts do no harm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_may_be_as_large_as_the_limit_and_not_a_byte_larger() {
    let limit = 64 << 10;
    let app = TestApp::start()
        .set("max_document_bytes", limit)
        .run()
        .await;
    let text = "Total: 5 EUR\n".repeat(limit / 13 + 1);
    let fits = app.upload("fits.txt", &text[..limit]).await;
    assert_eq!(fits.status, 201, "{}", fits.body);
    let inline = json!({"document": &text[..=limit], "schema": wide_schema(1)});
    let inline = app.post("/v1/extract/jobs", &inline, "job_created").await;
    // Much more than fits into any buffer on the way: the answer must come all the same.
    let huge = app.upload("huge.txt", text.repeat(300)).await;
    let over = app.upload("over.txt", &text[..=limit]).await;
    for refused in [over, inline, huge] {
        assert_eq!(refused.refusal(), (413, "too_large"));
        assert!(refused.body["detail"].as_str().unwrap().contains("65536"));
    }
    let beside = part("name=\"note\"", text.repeat(2).as_bytes());
    let beside = form(&[beside, part("name=\"file\"", b"Total: 5")]);
    let answer = ask(app.app.address, &request("POST", UPLOAD, FORM, &beside)).await;
    assert_eq!((answer.status, &*answer.code()), (413, "too_large"));
    assert_eq!(count(&app).await, 1);
}
