//! Reads files into pages of words. The kind is told by the bytes, never by the name.

mod bold;
mod content;
mod letters;
mod lines;
mod pdf;
mod rulings;
mod text;
mod words;

use sha2::{Digest, Sha256};

use crate::domain::document::{Document, Kind};
use crate::domain::error::{Code, Error};
use crate::engine::ports::Reader;

/// The readers of all kinds of files that are read here.
#[derive(Debug, Default, Clone, Copy)]
pub struct Readers;

impl Reader for Readers {
    fn read(&self, bytes: &[u8]) -> Result<Document, Error> {
        let (kind, pages) = match sniff(bytes)? {
            Sniffed::Pdf => (Kind::Pdf, pdf::read(bytes)?),
            Sniffed::Text(text) => text::read(text)?,
        };
        Ok(Document {
            kind,
            sha256: sha256(bytes),
            pages,
        })
    }
}

enum Sniffed {
    Pdf,
    Text(String),
}

/// Other producers' headers may stand before the PDF's own; readers of the format search this far.
const PDF_HEADER_WITHIN: usize = 1024;

fn sniff(bytes: &[u8]) -> Result<Sniffed, Error> {
    if bytes.is_empty() {
        return Err(Error::new(
            Code::DocumentEmpty,
            "The file has no bytes. Upload a PDF, plain text or Markdown file with content.",
        ));
    }
    let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
    if head.windows(5).any(|window| window == b"%PDF-") {
        return Ok(Sniffed::Pdf);
    }
    text::decode(bytes)
        .map(Sniffed::Text)
        .ok_or_else(|| unsupported("a binary file of an unknown kind"))
}

fn unsupported(seen: &str) -> Error {
    Error::new(
        Code::UnsupportedMediaType,
        format!(
            "The file is {seen}. What is read here: PDF, plain text and Markdown. \
             Convert the file to one of these and upload it again."
        ),
    )
}

fn sha256(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]])
        .map(char::from)
        .collect()
}
