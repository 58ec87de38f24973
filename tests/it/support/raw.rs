//! Requests byte by byte, for what no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any answer takes: a server that keeps silent fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer as it came.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `code` of a problem body.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }

    /// The `detail` of a problem body.
    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes, then says that no more will come, and reads until the server closes.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = socket.into_split();
    // Both at once: an answer may come before the request is through, and the rest of it may be
    // refused by then.
    let send = async {
        if writing.write_all(request).await.is_ok() {
            let _ = writing.shutdown().await;
        }
    };
    let receive = async {
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(count @ 1..) = reading.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
        answer
    };
    let both = async { tokio::join!(send, receive).1 };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the server answers and closes")
}

/// All answers in `bytes`, to requests that are not HEAD.
pub fn parse(bytes: &[u8]) -> Vec<Raw> {
    let (mut rest, mut answers) = (bytes, Vec::new());
    while !rest.is_empty() {
        let end = find(rest, b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let mut answer = Raw {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: Vec::new(),
        };
        rest = &rest[end + 4..];
        let length = answer.header("content-length").unwrap_or("0");
        let (body, after) = rest.split_at(length.parse().unwrap());
        answer.body = body.to_vec();
        rest = after;
        answers.push(answer);
    }
    answers
}

/// The one answer to one request.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Raw {
    let bytes = exchange(address, request).await;
    let mut answers = parse(&bytes);
    assert_eq!(answers.len(), 1, "{:?}", String::from_utf8_lossy(&bytes));
    answers.remove(0)
}

/// A request with a body, after which the connection is closed.
pub fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
