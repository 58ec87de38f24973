//! One answer, from pieces of bytes to deltas.

use bytes::BytesMut;

use super::frames::Frames;
use crate::provider::wire::{Ask, Delta, Failure, FailureKind, Reader, Vendor};

/// A stream has this many times more bytes than the text that it carries, at most.
const OVERHEAD: usize = 64;

/// Reads an answer. Deltas that were pushed before a failure count.
pub struct Answer {
    reader: Box<dyn Reader>,
    bytes: Bytes,
    /// Bytes that the text of the answer, or one event, may have.
    cap: usize,
    received: usize,
    text: usize,
}

enum Bytes {
    Streamed(Frames),
    Whole(BytesMut),
}

impl Answer {
    pub fn new(vendor: Vendor, ask: &Ask, cap: usize) -> Self {
        let bytes = if ask.stream {
            Bytes::Streamed(Frames::new(cap))
        } else {
            Bytes::Whole(BytesMut::new())
        };
        Self {
            reader: vendor.wire().reader(ask),
            bytes,
            cap,
            received: 0,
            text: 0,
        }
    }

    pub fn push(&mut self, piece: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure> {
        self.received = self.received.saturating_add(piece.len());
        let start = out.len();
        let pushed = self.read(piece, out);
        self.text += out[start..].iter().map(text_bytes).sum::<usize>();
        pushed?;
        let is_small = self.text <= self.cap && self.received / OVERHEAD <= self.cap;
        is_small.then_some(()).ok_or_else(too_large)
    }

    fn read(&mut self, piece: &[u8], out: &mut Vec<Delta>) -> Result<(), Failure> {
        match &mut self.bytes {
            Bytes::Whole(body) => {
                body.extend_from_slice(piece);
                let is_small = body.len() <= self.cap;
                is_small.then_some(()).ok_or_else(too_large)
            }
            Bytes::Streamed(frames) => {
                frames.push(piece);
                while let Some(event) = frames.event()? {
                    if !self.reader.is_ended() {
                        self.reader.event(&event.data, out)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// To be called at the end of the body: the closing deltas, or why the answer is not whole.
    pub fn end(&mut self, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let whole = match &mut self.bytes {
            Bytes::Whole(body) => Some(body.split().freeze()),
            Bytes::Streamed(frames) if self.reader.is_settled() => {
                frames.bare();
                None
            }
            Bytes::Streamed(frames) => frames.bare(),
        };
        if let Some(body) = whole {
            let mut read = Vec::new();
            self.reader.whole(&body, &mut read)?;
            if self.text > 0 {
                // Behind a part of a stream only an error can stand alone.
                return Err(FailureKind::Malformed.into());
            }
            out.append(&mut read);
        }
        self.reader.end(out)
    }

    /// Whether there is text or a thought.
    pub fn has_begun(&self) -> bool {
        self.text > 0
    }

    /// Whether the end signal has come.
    pub fn is_ended(&self) -> bool {
        self.reader.is_ended()
    }

    /// Whether a break of the connection does no harm any more.
    pub fn is_settled(&self) -> bool {
        self.reader.is_settled()
    }
}

fn text_bytes(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Thought(text) => text.len(),
        _ => 0,
    }
}

/// More than any answer should have.
pub fn too_large() -> Failure {
    Failure::from(FailureKind::Malformed).noting("larger than any answer")
}
