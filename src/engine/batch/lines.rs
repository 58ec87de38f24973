//! The lines of a stored file, read a piece at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::domain::error::{Code, Error};
use crate::engine::{Inner, document_key, stored};

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is a record.
pub(super) struct Line {
    /// Among those that are not blank, from 0.
    pub(super) index: u64,
    /// Without its end; or, of one that is too long, how many bytes it has.
    pub(super) bytes: Result<Bytes, u64>,
}

/// Reads lines, and keeps no more of the file than one of them and a piece.
pub(super) struct Lines {
    inner: Arc<Inner>,
    key: String,
    size: u64,
    /// Bytes of one line.
    limit: u64,
    /// How far it was read.
    at: u64,
    next: u64,
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no line end.
    looked: usize,
    /// Bytes of the line under way that were let go, since it is too long.
    dropped: u64,
}

impl Lines {
    pub(super) fn of(inner: &Arc<Inner>, sha256: &str, size: u64) -> Self {
        Self {
            inner: Arc::clone(inner),
            key: document_key(sha256),
            size,
            limit: inner.settings.max_document_bytes,
            at: 0,
            next: 0,
            buffer: BytesMut::new(),
            looked: 0,
            dropped: 0,
        }
    }

    /// Records that were read so far.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    /// The next line that is not blank. After an error it can be asked for again.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            let end = self.buffer[self.looked..]
                .iter()
                .position(|byte| *byte == b'\n');
            let line = match end {
                Some(end) => self.buffer.split_to(self.looked + end + 1),
                None if self.at < self.size => {
                    self.read().await?;
                    continue;
                }
                None if self.buffer.is_empty() && self.dropped == 0 => return Ok(None),
                None => self.buffer.split(),
            };
            self.looked = 0;
            let dropped = std::mem::take(&mut self.dropped);
            let bytes = trimmed(line.freeze(), self.next == 0);
            let length = dropped + bytes.len() as u64;
            if length > 0 {
                let index = self.next;
                self.next += 1;
                let bytes = if length > self.limit {
                    Err(length)
                } else {
                    Ok(bytes)
                };
                return Ok(Some(Line { index, bytes }));
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let to = self.size.min(self.at + PIECE);
        let piece = self.inner.blobs.get_range(&self.key, self.at..to).await;
        let piece = stored(piece)?.ok_or_else(|| {
            Error::new(Code::DocumentNotFound, "The records of the job are gone.")
        })?;
        if piece.is_empty() {
            // Shorter than it was said to be: what is there is all.
            self.size = self.at;
            return Ok(());
        }
        self.at += piece.len() as u64;
        self.looked = self.buffer.len();
        if self.looked as u64 > self.limit {
            self.dropped += self.looked as u64;
            self.buffer.clear();
            self.looked = 0;
        }
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }
}

fn trimmed(line: Bytes, is_first: bool) -> Bytes {
    let marked = line.strip_prefix(MARK).filter(|_| is_first);
    let text = marked.unwrap_or(&line).trim_ascii();
    line.slice_ref(text)
}
