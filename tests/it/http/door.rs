//! The door: what no client should send, byte by byte, and a server that is there afterwards.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rivulet::engine::Outside;
use rivulet::engine::ports::{Answered, Blobs};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::app::{TestApp, wide_schema};
use crate::support::raw::{Raw, ask, exchange, parse, request};

const SCHEMAS: &str = "/v1/extract/schemas";

async fn assert_well(app: &TestApp) {
    assert_eq!(app.get("/healthz", "health").await.status, 200);
    assert_eq!(app.get("/readyz", "health").await.status, 200);
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The answers to a request, and that each is one for a client's fault or none at all.
async fn refused(address: SocketAddr, what: &str, request: &[u8]) -> Vec<Raw> {
    let answers = parse(&exchange(address, request).await);
    for answer in &answers {
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_none_are_refused_and_the_connection_closed() {
    let app = TestApp::start().run().await;
    let address = app.app.address;
    let long = "x".repeat(200_000);
    let headers = "X-A: x\r\n".repeat(500);
    for (what, head) in [
        (
            "a huge header",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: {long}\r\n\r\n"),
        ),
        (
            "many headers",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"),
        ),
        (
            "a huge path",
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        ("no version", "GET /healthz\r\n\r\n".to_owned()),
        (
            "another protocol",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
        (
            "a method with spaces",
            "GE T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a nul in a header",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n".to_owned(),
        ),
        (
            "a bare line feed in a value",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n".to_owned(),
        ),
        (
            "no path",
            "GET  HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a path without slash",
            "GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(),
        ),
        ("not HTTP", "hello\r\n\r\n".to_owned()),
    ] {
        let answers = refused(address, what, head.as_bytes()).await;
        assert!(answers.len() <= 1, "{what}: {answers:?}");
    }
    assert_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_unclear_length_are_refused_and_nothing_in_them_is_obeyed() {
    let app = TestApp::start().run().await;
    let address = app.app.address;
    let good = json!({"name": "x", "schema_definition": {}}).to_string();
    let hidden = get("/v1/extract/jobs");
    let head =
        format!("POST {SCHEMAS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let size = good.len();
    for (what, request) in [
        (
            "a chunk without size",
            format!("{chunked}zz\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of more than all",
            format!("{chunked}FFFFFFFFFFFFFFFFF\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a negative chunk",
            format!("{chunked}-5\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of another size",
            format!("{chunked}5\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "chunks that stop",
            format!("{chunked}{size:x}\r\n{good}\r\n"),
        ),
        (
            "a length and chunks",
            format!(
                "{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "two lengths",
            format!("{head}Content-Length: 3\r\nContent-Length: {size}\r\n\r\n{good}"),
        ),
        (
            "a length that is none",
            format!("{head}Content-Length: +{size}\r\n\r\n{good}"),
        ),
        (
            "a length below nothing",
            format!("{head}Content-Length: -1\r\n\r\n{good}"),
        ),
        (
            "a coding that is none",
            format!("{head}Transfer-Encoding: xchunked\r\n\r\n{size:x}\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a body of the wrong kind",
            format!(
                "POST {SCHEMAS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
        ),
    ] {
        let answers = refused(address, what, request.as_bytes()).await;
        let told = answers
            .iter()
            .all(|answer| !answer.body.windows(11).any(|w| w == b"total_count"));
        assert!(told && answers.len() <= 1, "{what}: {answers:?}");
    }
    assert_eq!(app.get(SCHEMAS, "schema_list").await.body["total_count"], 0);
    let half = good.len() / 2;
    let (first, second) = good.split_at(half);
    let whole = format!(
        "{chunked}{half:x};note=1\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        second.len()
    );
    assert_eq!(
        ask(address, whole.as_bytes()).await.status,
        201,
        "good chunks are taken"
    );
    assert_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_sent_at_once_are_answered_each_and_in_order() {
    let app = TestApp::start().run().await;
    let body = json!({"name": "x", "schema_definition": {}}).to_string();
    let post = format!(
        "POST {SCHEMAS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let requests = [
        get("/healthz"),
        get("/nowhere"),
        post,
        get(SCHEMAS),
        "PATCH /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        get("/v1/extract/models"),
    ];
    let answers = parse(&exchange(app.app.address, requests.concat().as_bytes()).await);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 201, 200, 405, 200]);
    assert_eq!(answers[3].json()["total_count"], 1, "one after the other");
    let mut ids: Vec<_> = answers
        .iter()
        .map(|answer| answer.header("x-request-id").unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each has a name of its own");
    // More of them than the server holds in hand, and then it is still there.
    let many = get("/healthz").repeat(500);
    let answers = parse(&exchange(app.app.address, many.as_bytes()).await);
    assert_eq!(answers.len(), 500);
    assert_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_lead_only_where_they_say() {
    let app = TestApp::start().run().await;
    let address = app.app.address;
    for path in [
        "/v1/extract/../../healthz",
        "/console/../../etc/passwd",
        "/console/..%2f..%2f..%2fetc%2fpasswd",
        "/console/%2e%2e/console.rs",
        "/console/console.css%00.html",
        "//healthz",
        "/healthz/",
        "/HEALTHZ",
        "/v1/extract",
        "/v1/extract/",
        "/v3/extract/jobs",
        "/%zz",
        "/%c0%af",
        "/console//",
        "*",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = ask(address, request.as_bytes()).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "not_found"),
            "{path}"
        );
    }
    let query = "?search=%ff&search=%zz&%00=1&limit";
    let request =
        format!("GET {SCHEMAS}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(ask(address, request.as_bytes()).await.status <= 400);
    let absolute = "GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(address, absolute.as_bytes()).await.status, 200);
    assert_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_not_taken_and_its_answer_has_no_body() {
    let app = TestApp::start().run().await;
    let job = app
        .submit(&json!({"document": "Total: 5", "schema": wide_schema(1)}))
        .await;
    app.end_of(&job).await;
    let path = format!("/v1/extract/jobs/{job}/events");
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let bytes = exchange(app.app.address, request.as_bytes()).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
    assert!(
        text.to_ascii_lowercase().contains("\r\nallow: get\r\n") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_keep_nobody_out() {
    let app = TestApp::start().run().await;
    let mut silent = Vec::new();
    for index in 0..200 {
        let mut socket = TcpStream::connect(app.app.address).await.unwrap();
        let begun = &get("/healthz").into_bytes()[..index % 20];
        socket.write_all(begun).await.unwrap();
        silent.push(socket);
    }
    assert_well(&app).await;
    drop(silent);
    assert_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_in_no_fault_is_the_servers() {
    let seed = std::env::var("RIVULET_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or(0x5EED_2026);
    println!("RIVULET_SEED={random}");
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let app = TestApp::start().run().await;
    let body = json!({"document": "Total: 5", "schema": {"type": "object", "properties": {"total": {"type": "number"}}}, "config": {"seed": 1}});
    let schema = json!({"name": "x", "schema_definition": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}});
    let form = b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nTotal: 5\r\n--edge--\r\n";
    let seeds = [
        request(
            "POST",
            "/v1/extract/jobs",
            "application/json",
            body.to_string().as_bytes(),
        ),
        request(
            "POST",
            SCHEMAS,
            "application/json",
            schema.to_string().as_bytes(),
        ),
        request(
            "POST",
            "/v1/extract/documents/upload",
            "multipart/form-data; boundary=edge",
            form,
        ),
        get("/v1/extract/jobs?limit=5&cursor=abc&job_status=failed&search=x").into_bytes(),
        get("/v1/extract/jobs/018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11/events?after=1").into_bytes(),
    ];
    let pieces: [&[u8]; 12] = [
        b"\0",
        b"\r\n",
        b"\xff\xfe",
        b"%00",
        b"{",
        b"[[[[",
        b"\"",
        b"-1",
        b"1e999",
        b"null",
        b"\\ud800",
        b": ",
    ];
    for _ in 0..400 {
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            let end = (at + next(12)).min(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                _ => drop(bytes.splice(at..at, pieces[next(pieces.len())].iter().copied())),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let answer = exchange(app.app.address, &bytes).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            !text.contains("HTTP/1.1 5"),
            "{:?}\n{text}",
            String::from_utf8_lossy(&bytes)
        );
    }
    assert_well(&app).await;
}

/// A place for files that breaks in the hand.
pub struct Brittle;

impl Blobs for Brittle {
    fn put(&self, _: &str, _: Bytes) -> Answered<'_, ()> {
        Box::pin(async { panic!("secret of the store") })
    }

    fn get(&self, _: &str) -> Answered<'_, Option<Bytes>> {
        Box::pin(async { panic!("secret of the store") })
    }

    fn delete(&self, _: &str) -> Answered<'_, ()> {
        Box::pin(async { panic!("secret of the store") })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_breaks_is_an_answer_and_not_the_end() {
    let app = TestApp::start()
        .build(|builder| {
            builder.rewire(|outside| Outside {
                blobs: Arc::new(Brittle),
                ..outside
            })
        })
        .run()
        .await;
    for _ in 0..20 {
        let broken = app.upload("a.txt", "Total: 5").await;
        assert_eq!(broken.refusal(), (500, "internal"));
        assert!(
            !broken.body.to_string().contains("secret"),
            "{}",
            broken.body
        );
    }
    assert_well(&app).await;
}
