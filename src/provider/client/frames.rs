//! Cuts the bytes of an event stream into events.

use bytes::{Bytes, BytesMut};
use russe::{Decoder, Event, Message};
use tokio_util::codec::Decoder as _;

use super::answer::too_large;
use crate::provider::wire::{Failure, FailureKind};

/// The events of a stream, from pieces of any size.
pub struct Frames {
    decoder: Decoder,
    buffer: BytesMut,
    /// Whether the buffer may hold a whole event. The decoder looks at all of the buffer each
    /// time, so it is asked only when the new bytes end one: a large event in small pieces
    /// would cost the square of its size otherwise.
    ready: bool,
    /// Bytes that one event may have.
    cap: usize,
}

impl Frames {
    pub fn new(cap: usize) -> Self {
        Self {
            decoder: Decoder::default(),
            buffer: BytesMut::new(),
            ready: false,
            cap,
        }
    }

    /// Takes bytes in. Events are to be taken out before more come.
    pub fn push(&mut self, bytes: &[u8]) {
        let seam = self.buffer.len().saturating_sub(1);
        self.buffer.extend_from_slice(bytes);
        let ends_event = |pair: &[u8]| matches!(pair, b"\n\n" | b"\n\r" | b"\r\r");
        self.ready |= self.buffer[seam..].windows(2).any(ends_event);
    }

    /// The next event, when it is whole.
    pub fn event(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            self.skip_blank_lines();
            if !self.ready || self.is_bare() {
                let is_small = self.buffer.len() <= self.cap;
                return is_small.then_some(None).ok_or_else(too_large);
            }
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(Event::Message(message))) => return Ok(Some(message)),
                Ok(Some(_)) => {}
                Ok(None) => self.ready = false,
                Err(_) => return Err(FailureKind::Broken.into()),
            }
        }
    }

    /// Between events a blank line says nothing, and would hide what stands behind it.
    fn skip_blank_lines(&mut self) {
        let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let blank = self.buffer.iter().take_while(is_end).count();
        let _ = self.buffer.split_to(blank);
    }

    /// Whether JSON stands where an event should: an answer that was not streamed, or an error.
    pub fn is_bare(&self) -> bool {
        matches!(self.buffer.first(), Some(b'{' | b'['))
    }

    /// What is left when the stream has ended, if it is no part of an event.
    pub fn bare(&mut self) -> Option<Bytes> {
        self.is_bare().then(|| self.buffer.split().freeze())
    }
}
