//! Reads files into pages of words. The kind is told by the bytes, never by the name.

mod bold;
mod content;
mod grid;
mod inline;
mod letters;
mod lines;
mod markdown;
mod pdf;
mod rulings;
mod sniff;
mod text;
mod words;

use sha2::{Digest, Sha256};

use crate::domain::document::{Document, Kind};
use crate::domain::error::Error;
use crate::engine::ports::Reader;
use sniff::Sniffed;

/// The readers of all kinds of files that are read here.
#[derive(Debug, Default, Clone, Copy)]
pub struct Readers;

impl Reader for Readers {
    fn read(&self, bytes: &[u8]) -> Result<Document, Error> {
        let (kind, pages) = match sniff::sniff(bytes)? {
            Sniffed::Pdf => (Kind::Pdf, pdf::read(bytes)?),
            Sniffed::Text(text) => text::read(&text)?,
        };
        Ok(Document {
            kind,
            sha256: sha256(bytes),
            pages,
        })
    }
}

/// Lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha256::digest(bytes);
    let digits = digest
        .iter()
        .flat_map(|byte| [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
    digits.map(char::from).collect()
}
