//! One connection through the proxy.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Fate, Place, Seen, Shared};

const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\nbad gateway";

/// A request, whole.
struct Request {
    bytes: Vec<u8>,
    body: String,
    seen: Seen,
}

/// Takes the first request out of what came; `None` while it is not whole.
fn take(buffer: &mut Vec<u8>) -> Option<Request> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let field = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
    if buffer.len() < end + length {
        return None;
    }
    let mut words = head.split(' ').map(str::to_owned);
    let seen = Seen {
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        last_event_id: field("last-event-id"),
        ..Seen::default()
    };
    let bytes: Vec<u8> = buffer.drain(..end + length).collect();
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    Some(Request { bytes, body, seen })
}

/// How far the answer to the latest request has come.
#[derive(Default)]
struct Answer {
    fate: Option<Fate>,
    /// In the list of followed requests.
    index: Option<usize>,
    passed: Vec<u8>,
}

impl Answer {
    /// How many of the bytes that came may pass; `None`: all of them.
    fn limit(&self, came: &[u8]) -> Option<usize> {
        let (Fate::Close(place) | Fate::Reset(place) | Fate::Silence(place)) =
            self.fate.as_ref()?
        else {
            return None;
        };
        match place {
            Place::Bytes(count) => {
                let left = count - self.passed.len();
                (came.len() >= left).then_some(left)
            }
            Place::Behind(text) => {
                let whole = [&self.passed, came].concat();
                let mut places = whole.windows(text.len());
                let at = places.position(|window| window == text.as_bytes())?;
                Some(at + text.len() - self.passed.len())
            }
        }
    }
}

/// One connection of a client. Requests come one after the other, each when the answer before it
/// is there, so what the server sends belongs to the latest.
pub(super) async fn hold(shared: &Shared, mut client: TcpStream) {
    client.set_nodelay(true).unwrap();
    let (mut upstream, mut answer) = (None, Answer::default());
    let mut buffer = Vec::new();
    let (mut ours, mut theirs) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut ours) => {
                let Ok(count @ 1..) = read else { return };
                buffer.extend_from_slice(&ours[..count]);
                let Some(request) = take(&mut buffer) else { continue };
                if let Some(own) = own_answer(shared, &request, &mut answer) {
                    if client.write_all(&own).await.is_err() { return }
                    continue;
                }
                if upstream.is_none() {
                    let Ok(opened) = TcpStream::connect(shared.upstream).await else { return };
                    opened.set_nodelay(true).unwrap();
                    upstream = Some(opened);
                }
                if upstream.as_mut().unwrap().write_all(&request.bytes).await.is_err() { return }
            }
            read = some(&mut upstream, &mut theirs) => {
                let Ok(count @ 1..) = read else { return };
                if !forward(shared, &mut client, &theirs[..count], &mut answer).await { return }
            }
        }
    }
}

async fn some(upstream: &mut Option<TcpStream>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match upstream {
        Some(upstream) => upstream.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// The answer that the server is not needed for; notes the request.
fn own_answer(shared: &Shared, request: &Request, answer: &mut Answer) -> Option<Vec<u8>> {
    *answer = Answer::default();
    shared.change(|state| {
        let path = request.seen.path.split('?').next().unwrap();
        if path == "/said" {
            state.said.push_back(request.body.clone());
            return Some(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
        }
        if let Some((content_type, body)) = state.pages.get(path) {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\nContent-Length: {length}\r\n\r\n");
            return Some([head.as_bytes(), body].concat());
        }
        if !(shared.followed)(&request.seen) {
            return None;
        }
        answer.index = Some(state.seen.len());
        answer.fate = state.fates.pop_front();
        state.seen.push(request.seen.clone());
        if !matches!(answer.fate, Some(Fate::BadGateway)) {
            return None;
        }
        state.seen.last_mut().unwrap().status = Some(502);
        Some(BAD_GATEWAY.to_vec())
    })
}

/// Passes on what may pass; false when that was the end of the connection.
async fn forward(
    shared: &Shared,
    client: &mut TcpStream,
    came: &[u8],
    answer: &mut Answer,
) -> bool {
    let limit = answer.limit(came);
    let passing = &came[..limit.unwrap_or(came.len())];
    // Only where to cut asks for more of it than its status.
    if answer.fate.is_some() || answer.passed.is_empty() {
        answer.passed.extend_from_slice(passing);
    }
    let sent = pass(client, passing, answer.fate.as_ref()).await.is_ok();
    let Some(index) = answer.index else {
        return sent;
    };
    let status = answer.passed.get(9..12).map(String::from_utf8_lossy);
    shared.change(|state| {
        let seen = &mut state.seen[index];
        seen.status = status.and_then(|status| status.parse().ok());
        seen.was_cut = limit.is_some();
    });
    if limit.is_none() {
        return sent;
    }
    if matches!(answer.fate, Some(Fate::Reset(_))) {
        let socket = socket2::SockRef::from(&*client);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    } else if matches!(answer.fate, Some(Fate::Silence(_))) {
        // Until the client gives up.
        while let Ok(1..) = client.read(&mut [0; 64]).await {}
    }
    false
}

async fn pass(client: &mut TcpStream, bytes: &[u8], fate: Option<&Fate>) -> std::io::Result<()> {
    let Some(Fate::Slow(size, pause)) = fate else {
        return client.write_all(bytes).await;
    };
    for piece in bytes.chunks(*size) {
        client.write_all(piece).await?;
        tokio::time::sleep(*pause).await;
    }
    Ok(())
}
