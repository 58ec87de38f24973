//! A reply as timed pieces of bytes.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::asked::{Asked, Wire};
use super::reply::{End, Manner, Reply, What};
use super::speech::{BAD_BYTE, Frame, HUGE, Speech};
use super::{anthropic, gemini, openai};

/// Bytes of what [`HUGE`] stands for: `FILL` of them, so many times.
const FILL: usize = 64 << 10;
const FILLS: u32 = 1024;

pub struct Piece {
    pub bytes: Bytes,
    pub times: u32,
    /// Tokens written by its end.
    pub due: f64,
    /// What must be let through before it goes.
    pub gates: Vec<Arc<Semaphore>>,
}

/// Everything that goes over the wire.
pub struct Plan {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub pieces: Vec<Piece>,
    /// What `content-length` says, the cut half included; `None` for a stream.
    pub length: Option<u64>,
    pub end: End,
}

impl Plan {
    /// Tokens written by the end.
    pub fn due(&self) -> f64 {
        self.pieces.last().map_or(0.0, |piece| piece.due)
    }
}

/// `speech` is what the reply says, counted; `None` for one that says nothing.
pub fn plan(asked: &Asked, reply: &Reply, speech: Option<&Speech>) -> Plan {
    let mut headers = reply.headers.clone();
    let (status, frames) = match (&reply.what, speech) {
        (What::Failure(failure), _) => {
            let refusal = failure.on(asked);
            headers.extend(refusal.headers);
            (refusal.status, vec![Frame::new(refusal.body, 0.0, 0)])
        }
        (What::Raw { status, kind, body }, _) => {
            headers.push(("content-type".into(), (*kind).into()));
            let bytes = body.to_vec();
            (
                *status,
                vec![Frame {
                    bytes,
                    due: 0.0,
                    said: 0,
                }],
            )
        }
        (_, Some(speech)) => {
            let kind = if asked.stream {
                "text/event-stream"
            } else {
                "application/json"
            };
            headers.push(("content-type".into(), kind.into()));
            (200, spoken(asked, speech, reply.manner.step))
        }
        (_, None) => (200, Vec::new()),
    };
    let said = speech.map(Speech::said).unwrap_or_default();
    let mut pieces = pieces(frames, &said, &reply.manner);
    let is_stream = headers
        .iter()
        .any(|(_, value)| value == "text/event-stream");
    let length = pieces
        .iter()
        .map(|piece| piece.bytes.len() as u64 * u64::from(piece.times))
        .sum();
    if matches!(reply.manner.end, End::Cut | End::HangInside) {
        halve(&mut pieces);
    }
    Plan {
        status,
        headers,
        pieces,
        length: (!is_stream).then_some(length),
        end: reply.manner.end,
    }
}

fn spoken(asked: &Asked, speech: &Speech, step: usize) -> Vec<Frame> {
    if asked.stream {
        return match asked.wire {
            Wire::Gemini => gemini::frames(asked, speech, step),
            Wire::OpenAi => openai::frames(asked, speech, step),
            Wire::Anthropic => anthropic::frames(asked, speech, step),
        };
    }
    let body = match asked.wire {
        Wire::Gemini => gemini::whole(asked, speech),
        Wire::OpenAi => openai::whole(asked, speech),
        Wire::Anthropic => anthropic::whole(asked, speech),
    };
    let due = (speech.tokens.thought + speech.tokens.written) as f64;
    vec![Frame::new(body, due, usize::MAX)]
}

fn pieces(frames: Vec<Frame>, said: &str, manner: &Manner) -> Vec<Piece> {
    let mut holds: Vec<(usize, Arc<Semaphore>)> = Vec::new();
    for hold in &manner.holds {
        let end = said.find(&hold.after).map(|at| at + hold.after.len());
        let characters = end.map_or(0, |end| said[..end].chars().count());
        holds.push((characters, Arc::clone(&hold.gate)));
    }
    let mut pieces = Vec::new();
    let mut before = 0;
    for frame in frames {
        let said = frame.said;
        // The first frame after the one that says the words waits.
        let due_gates = |(at, _): &(usize, Arc<Semaphore>)| *at <= before || said == usize::MAX;
        let gates = holds
            .extract_if(.., |hold| due_gates(hold))
            .map(|(_, gate)| gate)
            .collect();
        before = said;
        let first = pieces.len();
        split(frame, manner, &mut pieces);
        if let Some(piece) = pieces.get_mut(first) {
            piece.gates = gates;
        }
    }
    pieces
}

fn split(frame: Frame, manner: &Manner, pieces: &mut Vec<Piece>) {
    let due = frame.due;
    let mut push = |bytes: Bytes, times: u32| {
        pieces.push(Piece {
            bytes,
            times,
            due,
            gates: Vec::new(),
        });
    };
    let bytes = spoil(frame.bytes);
    if let Some(at) = find(&bytes, HUGE.as_bytes()) {
        let filler = "x".repeat(FILL);
        if manner.many_frames && bytes.starts_with(b"data:") | bytes.starts_with(b"event:") {
            let text = String::from_utf8(bytes).unwrap().replace(HUGE, &filler);
            push(text.into(), FILLS);
            return;
        }
        push(Bytes::copy_from_slice(&bytes[..at]), 1);
        push(filler.into(), FILLS);
        push(Bytes::copy_from_slice(&bytes[at + HUGE.len()..]), 1);
        return;
    }
    if manner.bytewise {
        bytes
            .into_iter()
            .for_each(|byte| push(Bytes::copy_from_slice(&[byte]), 1));
        return;
    }
    push(bytes.into(), 1);
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Puts a byte that is no UTF-8 where the text asks for one.
fn spoil(bytes: Vec<u8>) -> Vec<u8> {
    let mut sign = [0; 4];
    let sign = BAD_BYTE.encode_utf8(&mut sign).as_bytes();
    match find(&bytes, sign) {
        Some(at) => [&bytes[..at], &[0xFF], &bytes[at + sign.len()..]].concat(),
        None => bytes,
    }
}

/// The first half of the bytes; a frame may be cut inside.
fn halve(pieces: &mut Vec<Piece>) {
    let all: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    let mut left = all / 2;
    pieces.retain_mut(|piece| {
        let take = piece.bytes.len().min(left);
        left -= take;
        piece.bytes.truncate(take);
        take > 0
    });
}

/// The bytes in their time. `start` is when writing begins.
pub fn stream(
    plan: Plan,
    manner: Manner,
    start: Instant,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    async_stream::stream! {
        for piece in plan.pieces {
            if let Some(pace) = manner.pace {
                sleep_until(start + pace.writing(piece.due)).await;
            }
            for gate in &piece.gates {
                gate.acquire().await.unwrap().forget();
            }
            for _ in 0..piece.times {
                yield Ok(piece.bytes.clone());
            }
        }
        match plan.end {
            End::Cut => {
                // What was sent must leave before the connection does.
                tokio::task::yield_now().await;
                yield Err(std::io::Error::other("cut"));
            }
            End::HangInside => std::future::pending().await,
            End::Done | End::HangBefore | End::Reset => {}
        }
    }
}
