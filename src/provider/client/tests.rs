use std::pin::pin;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::provider::wire::tests::{CANARY, ask};
use crate::provider::wire::{Cache, Finish};

const KEY: &str = "sk-the-key";
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-ratelimit-remaining-requests: 9\r\n\r\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"{}\"}}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server on this machine that does what a test says.
struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        crate::tls::install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    fn client(&self, vendor: Vendor, bounds: Bounds) -> Client {
        Client::new(vendor, &self.url, Key::new(KEY).ok(), bounds).unwrap()
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Answers one request with these bytes and leaves; gives what was asked.
    fn answering(self, bytes: String) -> JoinHandle<String> {
        tokio::spawn(async move {
            let mut stream = self.accept().await;
            let asked = request(&mut stream).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            asked
        })
    }
}

/// One request, its body included.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the client has left");
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
    }
}

/// Waits for the client to close the connection.
async fn closed(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

fn short() -> Bounds {
    Bounds {
        first_byte: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        ..Bounds::default()
    }
}

fn gpt() -> Ask {
    ask(Vendor::OpenAi, "gpt-4o")
}

/// The text, and how it ended; a call without an end would hang the tests.
async fn told(client: &Client, ask: Ask) -> (String, Result<Finish, Failure>) {
    let told = tokio::time::timeout(Duration::from_secs(20), read(client, ask));
    told.await.expect("the call has an end")
}

async fn read(client: &Client, ask: Ask) -> (String, Result<Finish, Failure>) {
    let mut deltas = pin!(client.ask(ask));
    let mut text = String::new();
    let mut end = Err(FailureKind::Broken.into());
    while let Some(delta) = deltas.next().await {
        match delta {
            Ok(Delta::Text(more)) => text += &more,
            Ok(Delta::Finish(finish)) => end = Ok(finish),
            Ok(_) => {}
            Err(failure) => end = Err(failure),
        }
    }
    (text, end)
}

async fn failure(client: &Client, ask: Ask) -> Failure {
    told(client, ask).await.1.unwrap_err()
}

#[tokio::test]
async fn deltas_come_as_they_are_sent_and_rates_come_first() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let (saw, seen) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        let asked = request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        stream.write_all(chunk(TEXT).as_bytes()).await.unwrap();
        seen.await.unwrap();
        stream.write_all(chunk(STOP).as_bytes()).await.unwrap();
        asked
    });
    let mut deltas = pin!(client.ask(gpt()));
    let Some(Ok(Delta::Limits(limits))) = deltas.next().await else {
        panic!("no limits");
    };
    assert_eq!(limits.requests.remaining, Some(9));
    assert_eq!(deltas.next().await, Some(Ok(Delta::Text("{}".into()))));
    saw.send(()).unwrap();
    assert_eq!(deltas.next().await, Some(Ok(Delta::Finish(Finish::Stop))));
    assert_eq!(deltas.next().await, None);
    let asked = serving.await.unwrap();
    assert!(
        asked.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains(&format!("authorization: Bearer {KEY}\r\n")),
        "{asked}"
    );
    assert!(!format!("{client:?}").contains(KEY));
}

#[tokio::test]
async fn a_finished_answer_leaves_its_connection_to_the_next() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let (saw, seen) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        request(&mut stream).await;
        let body = format!("{HEAD}{}{}", chunk(TEXT), chunk(STOP));
        stream.write_all(body.as_bytes()).await.unwrap();
        seen.await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        request(&mut stream).await;
        let body = whole("200 OK", "", "data: [DONE]\n\n");
        stream.write_all(body.as_bytes()).await.unwrap();
    });
    {
        let mut deltas = pin!(client.ask(gpt()));
        while !matches!(deltas.next().await, Some(Ok(Delta::Finish(_)))) {}
        saw.send(()).unwrap();
        assert_eq!(deltas.next().await, None);
    }
    let (text, end) = told(&client, gpt()).await;
    assert_eq!((text.as_str(), end), ("", Ok(Finish::Unknown)));
    serving.await.unwrap();
}

#[tokio::test]
async fn silence_before_the_answer_ends_the_call() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, short());
    let serving = tokio::spawn(async move {
        let mut silent = server.accept().await;
        closed(&mut silent).await;
        let mut head_only = server.accept().await;
        request(&mut head_only).await;
        head_only.write_all(HEAD.as_bytes()).await.unwrap();
        closed(&mut head_only).await;
    });
    for _ in 0..2 {
        assert_eq!(failure(&client, gpt()).await.kind, FailureKind::Timeout);
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn silence_within_the_answer_ends_the_call_and_keeps_its_text() {
    let server = Server::start().await;
    let bounds = Bounds {
        first_byte: Duration::from_mins(1),
        ..short()
    };
    let client = server.client(Vendor::OpenAi, bounds);
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        stream.write_all(chunk(TEXT).as_bytes()).await.unwrap();
        closed(&mut stream).await;
    });
    let (text, end) = told(&client, gpt()).await;
    assert_eq!(
        (text.as_str(), end.unwrap_err().kind),
        ("{}", FailureKind::Timeout)
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn signs_of_life_do_not_make_a_call_longer_than_all_of_it_may_be() {
    let server = Server::start().await;
    let bounds = Bounds {
        total: Duration::from_millis(300),
        ..Bounds::default()
    };
    let client = server.client(Vendor::OpenAi, bounds);
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        let ping = chunk(": ping\n\n");
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        while stream.write_all(ping.as_bytes()).await.is_ok() {
            beat.tick().await;
        }
    });
    let start = Instant::now();
    assert_eq!(failure(&client, gpt()).await.kind, FailureKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(5));
    serving.await.unwrap();
}

#[tokio::test]
async fn dropping_the_stream_ends_the_request() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        stream.write_all(chunk(TEXT).as_bytes()).await.unwrap();
        closed(&mut stream).await;
    });
    {
        let mut deltas = pin!(client.ask(gpt()));
        while !matches!(deltas.next().await, Some(Ok(Delta::Text(_)))) {}
    }
    tokio::time::timeout(Duration::from_secs(10), serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_answer() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let cut = format!("{HEAD}{}", chunk(TEXT));
    let serving = server.answering(cut);
    let (text, end) = told(&client, gpt()).await;
    assert_eq!(
        (text.as_str(), end.unwrap_err().kind),
        ("{}", FailureKind::Broken)
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn an_answer_with_the_reason_of_its_end_does_not_wait_for_more() {
    let server = Server::start().await;
    let client = server.client(Vendor::Gemini, short());
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        let asked = request(&mut stream).await;
        let last = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"{}\"}]}, \"finishReason\": \"STOP\"}]}\r\n\r\n";
        stream
            .write_all(format!("{HEAD}{}", chunk(last)).as_bytes())
            .await
            .unwrap();
        closed(&mut stream).await;
        asked
    });
    let asked = ask(Vendor::Gemini, "gemini-2.5-flash");
    assert_eq!(told(&client, asked).await, ("{}".into(), Ok(Finish::Stop)));
    let asked = serving.await.unwrap();
    let line = "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1";
    assert!(asked.starts_with(line), "{asked}");
    assert!(
        asked.contains(&format!("x-goog-api-key: {KEY}\r\n")),
        "{asked}"
    );
}

#[tokio::test]
async fn a_body_larger_than_allowed_is_left_unread() {
    for stream in [true, false] {
        let server = Server::start().await;
        let bounds = Bounds {
            body: 100_000,
            ..Bounds::default()
        };
        let client = server.client(Vendor::OpenAi, bounds);
        let serving = tokio::spawn(async move {
            let mut stream = server.accept().await;
            request(&mut stream).await;
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            let mut sent = 0_usize;
            let piece = chunk(&format!("data: {}", "x".repeat(10_000)));
            while sent < 64 << 20 && stream.write_all(piece.as_bytes()).await.is_ok() {
                sent += piece.len();
            }
            sent
        });
        let mut ask = gpt();
        ask.stream = stream;
        assert_eq!(failure(&client, ask).await.kind, FailureKind::Malformed);
        drop(client);
        assert!(serving.await.unwrap() < 64 << 20, "all of it was read");
    }
}

#[tokio::test]
async fn many_small_events_have_an_end_too() {
    let server = Server::start().await;
    let bounds = Bounds {
        body: 10_000,
        ..Bounds::default()
    };
    let client = server.client(Vendor::OpenAi, bounds);
    let body = chunk(&TEXT.repeat(6_000));
    let serving = server.answering(format!("{HEAD}{body}"));
    let (text, end) = told(&client, gpt()).await;
    assert_eq!(end.unwrap_err().kind, FailureKind::Malformed);
    assert!(text.len() > 10_000, "text before the end counts");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_refusal_tells_when_to_come_back_and_nothing_that_the_provider_wrote() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let body = format!(
        "{{\"error\":{{\"message\":\"{CANARY}\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}}}"
    );
    let headers = format!(
        "retry-after-ms: 1500\r\nretry-after: 1\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 9s\r\nx-hint: {CANARY}\r\n"
    );
    let serving = server.answering(whole(&format!("429 {CANARY}"), &headers, &body));
    let failure = failure(&client, gpt()).await;
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::Rate, Some(429))
    );
    assert_eq!(failure.retry_after, Some(Duration::from_millis(1_500)));
    assert_eq!(failure.limits.as_ref().unwrap().requests.remaining, Some(0));
    assert!(!format!("{failure:?}").contains(CANARY), "{failure:?}");
    serving.await.unwrap();
}

#[tokio::test]
async fn without_a_hint_the_reset_of_what_is_used_up_is_waited_for() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let headers = "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 6m0s\r\n";
    let serving = server.answering(whole("429 Too Many Requests", headers, "{}"));
    let failure = failure(&client, gpt()).await;
    assert_eq!(failure.retry_after, Some(Duration::from_mins(6)));
    serving.await.unwrap();
}

#[tokio::test]
async fn an_error_whose_body_does_not_come_is_sorted_by_its_status() {
    let server = Server::start().await;
    let bounds = Bounds {
        total: Duration::from_millis(300),
        ..Bounds::default()
    };
    let client = server.client(Vendor::OpenAi, bounds);
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        request(&mut stream).await;
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        closed(&mut stream).await;
    });
    assert_eq!(failure(&client, gpt()).await.kind, FailureKind::Overload);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start().await;
    let elsewhere = Server::start().await;
    let client = server.client(Vendor::Anthropic, Bounds::default());
    let headers = format!("location: {}/v1/messages\r\n", elsewhere.url);
    let serving = server.answering(whole("307 Temporary Redirect", &headers, ""));
    let asked = ask(Vendor::Anthropic, "claude-opus-5");
    let failure = failure(&client, asked).await;
    assert_eq!(
        (failure.kind, failure.is_retryable()),
        (FailureKind::NotFound, false)
    );
    let asked = serving.await.unwrap();
    assert!(
        asked.contains("anthropic-version: 2023-06-01\r\n"),
        "{asked}"
    );
    assert!(asked.contains(&format!("x-api-key: {KEY}\r\n")), "{asked}");
    let visit = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept());
    assert!(visit.await.is_err(), "the redirect was followed");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_apart() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    drop(server);
    let failure = failure(&client, gpt()).await;
    assert_eq!(failure.kind, FailureKind::Broken);
    assert!(
        failure.message.contains("check the base URL"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn another_key_can_be_used_for_one_call() {
    let server = Server::start().await;
    let client = server.client(Vendor::OpenAi, Bounds::default());
    let client = client.with_key(Key::new("sk-own").unwrap());
    let serving = server.answering(whole("401 Unauthorized", "", "{}"));
    let failure = failure(&client, gpt()).await;
    assert_eq!(failure.kind, FailureKind::Authentication);
    let asked = serving.await.unwrap();
    assert!(asked.contains("authorization: Bearer sk-own\r\n") && !asked.contains(KEY));
}

#[tokio::test]
async fn models_are_listed_over_all_pages() {
    let server = Server::start().await;
    let client = server.client(Vendor::Gemini, Bounds::default());
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        let mut asked = Vec::new();
        for body in [
            r#"{"models": [{"name": "models/a"}], "nextPageToken": "b c"}"#,
            r#"{"models": [{"name": "models/d"}]}"#,
        ] {
            asked.push(
                request(&mut stream)
                    .await
                    .lines()
                    .next()
                    .unwrap()
                    .to_owned(),
            );
            let answer = whole("200 OK", "", body);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    assert_eq!(client.models().await.unwrap(), ["a", "d"]);
    let asked = serving.await.unwrap();
    assert_eq!(asked[0], "GET /v1beta/models?pageSize=1000 HTTP/1.1");
    assert_eq!(
        asked[1],
        "GET /v1beta/models?pageSize=1000&pageToken=b+c HTTP/1.1"
    );
}

#[tokio::test]
async fn an_entry_of_the_cache_is_created_and_deleted() {
    let server = Server::start().await;
    let client = server.client(Vendor::Gemini, Bounds::default());
    let serving = tokio::spawn(async move {
        let mut stream = server.accept().await;
        let created = request(&mut stream).await;
        let answer = whole(
            "200 OK",
            "",
            r#"{"name": "cachedContents/abc", "model": "models/gemini-2.5-flash"}"#,
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let deleted = request(&mut stream).await;
        stream
            .write_all(whole("200 OK", "", "{}").as_bytes())
            .await
            .unwrap();
        [created, deleted]
    });
    let mut asked = ask(Vendor::Gemini, "gemini-2.5-flash");
    asked.cache = Cache::Marked;
    let name = client.create_cache(&asked, Duration::from_mins(10)).await;
    assert_eq!(name.as_deref(), Ok("cachedContents/abc"));
    client.delete_cache("cachedContents/abc").await.unwrap();
    let [created, deleted] = serving.await.unwrap();
    assert!(
        created.starts_with("POST /v1beta/cachedContents HTTP/1.1"),
        "{created}"
    );
    assert!(created.contains("\"ttl\":\"600s\""), "{created}");
    assert!(
        deleted.starts_with("DELETE /v1beta/cachedContents/abc HTTP/1.1"),
        "{deleted}"
    );
    let other = Server::start()
        .await
        .client(Vendor::OpenAi, Bounds::default());
    let refused = other.create_cache(&asked, Duration::from_mins(10)).await;
    assert_eq!(refused.unwrap_err().kind, FailureKind::Request);
}

#[test]
fn the_version_is_put_into_a_base_url_that_has_none() {
    let base = |vendor, text| base(vendor, text).unwrap().to_string();
    for (vendor, text, expected) in [
        (
            Vendor::OpenAi,
            "https://api.openai.com",
            "https://api.openai.com/v1",
        ),
        (
            Vendor::OpenAi,
            "http://localhost:8080/",
            "http://localhost:8080/v1",
        ),
        (
            Vendor::OpenAi,
            "https://openrouter.ai/api/v1/",
            "https://openrouter.ai/api/v1/",
        ),
        (
            Vendor::OpenAi,
            "https://host/v1beta/openai",
            "https://host/v1beta/openai",
        ),
        (
            Vendor::Anthropic,
            "https://gateway/anthropic/",
            "https://gateway/anthropic/v1",
        ),
        (
            Vendor::Anthropic,
            "https://api.anthropic.com/v1",
            "https://api.anthropic.com/v1",
        ),
        (Vendor::Gemini, "https://host", "https://host/v1beta"),
        (Vendor::Gemini, "https://host/v1", "https://host/v1"),
    ] {
        assert_eq!(base(vendor, text), expected);
    }
    for vendor in Vendor::ALL {
        assert!(base(vendor, vendor.base_url()).contains("/v1"));
    }
}

#[test]
fn a_base_url_of_another_form_is_refused_without_its_password() {
    for text in [
        "",
        "host",
        "ftp://host",
        "http://",
        "https://host?key=1",
        "https://host/#a",
    ] {
        let message = base(Vendor::OpenAi, text).unwrap_err().to_string();
        assert!(message.contains(&format!("`{text}`")), "{message}");
    }
    let message = base(Vendor::OpenAi, "https://me:hunter2@host")
        .unwrap_err()
        .to_string();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn this_machine_is_known_by_all_its_names() {
    let is_this = |text: &str| is_this_machine(&Url::parse(text).unwrap());
    for text in [
        "http://localhost:1",
        "http://127.0.0.2",
        "http://[::1]:8080/v1",
    ] {
        assert!(is_this(text), "{text}");
    }
    assert!(!is_this("https://localhost.example.com"));
}
