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
            "a GIF",
            b"GIF89a\0\xff".to_vec(),
            415,
            "unsupported_media_type",
            "GIF",
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
            "a PNG cut off",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            422,
            "document_corrupt",
            "begins as a picture",
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
    let file = part("name=\"file\"; filename=\"a.txt\"", b"Total: 5");
    let other = part("name=\"note\"", b"x");
    let nameless = part("filename=\"a.txt\"", b"x");
    let long = format!("name=\"file\"\r\nX-Long: {}", "x".repeat(200_000));
    let many = format!("name=\"file\"{}", "\r\nX-A: x".repeat(100));
    let whole = form(std::slice::from_ref(&file));
    let cut_in_file = whole[..whole.len() - 12].to_vec();
    let cut_after_file = [file.clone(), b"--edge\r\nContent-Dispo".to_vec()];
    for (what, body, says) in [
        ("nothing", vec![], ""),
        ("no parts", b"--edge--\r\n".to_vec(), "no part `file`"),
        (
            "no file",
            form(std::slice::from_ref(&other)),
            "no part `file`",
        ),
        ("two files", form(&[file.clone(), file.clone()]), "several"),
        (
            "21 parts",
            form(&[other.repeat(20), file.clone()]),
            "20 parts",
        ),
        ("a part without name", form(&[nameless]), ""),
        ("a huge part head", form(&[part(&long, b"x")]), ""),
        ("many part heads", form(&[part(&many, b"x")]), ""),
        ("cut in the file", cut_in_file, "to its end"),
        ("cut after the file", cut_after_file.concat(), "to its end"),
        ("not closed", file.clone(), "to its end"),
    ] {
        let answer = ask(app.app.address, &request("POST", UPLOAD, FORM, &body)).await;
        let got = (answer.status, answer.code());
        assert_eq!(got, (400, "invalid_request".to_owned()), "{what}");
        assert!(
            answer.detail().contains(says),
            "{what}: {}",
            answer.detail()
        );
    }
    // Fewer bytes than were promised: whether it is answered or not, nothing is stored.
    let mut short = request("POST", UPLOAD, FORM, &whole);
    short.truncate(short.len() - 4);
    exchange(app.app.address, &short).await;
    assert_eq!(count(&app).await, 0);
    let beside = form(&[other.clone(), file, other]);
    for good in [whole, beside] {
        let answer = ask(app.app.address, &request("POST", UPLOAD, FORM, &good)).await;
        assert_eq!(answer.status, 201, "other parts do no harm");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_must_say_that_it_is_one() {
    let app = TestApp::start().run().await;
    let body = one_file(b"Total: 5");
    let bare = "multipart/form-data";
    for (content_type, status, says) in [
        ("application/json", 415, "json"),
        ("application/pdf", 415, "part `file`"),
        ("", 415, "multipart/form-data"),
        (bare, 400, "oundary"),
        ("multipart/form-data; boundary=", 400, ""),
        ("multipart/form-data; boundary=other", 400, ""),
        ("multipart/mixed; boundary=edge", 415, "multipart/mixed"),
    ] {
        let request = request("POST", UPLOAD, content_type, &body);
        let answer = ask(app.app.address, &request).await;
        let codes = [(415, "unsupported_media_type"), (400, "invalid_request")];
        assert!(
            codes.contains(&(answer.status, &*answer.code())),
            "{content_type}"
        );
        assert_eq!(answer.status, status, "{content_type}");
        assert!(answer.detail().contains(says), "{}", answer.detail());
    }
    let shouted = "Multipart/Form-Data; Boundary=\"edge\"";
    let request = request("POST", UPLOAD, shouted, &body);
    assert_eq!(ask(app.app.address, &request).await.status, 201);
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
