//! Tells the kind of a file by its bytes.

use super::{picture, text};
use crate::domain::document::Kind;
use crate::domain::error::{Code, Error};

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Sniffed {
    Pdf,
    Picture(Kind),
    /// Plain text or Markdown, decoded; line ends are line feeds.
    Text(String),
}

/// Other producers' headers may stand before a PDF's own; it is looked for this far.
const PDF_HEADER_WITHIN: usize = 1024;

/// Kinds written in text that is not meant to be read as such, by how they begin.
const WRITTEN: &[(&str, &str)] = &[
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("{\\rtf", "an RTF file"),
    ("%!ps", "a PostScript file"),
];

/// Binary kinds that are not read here, by what stands at an offset, named as people call them.
const BINARY: &[(usize, &[u8], &str)] = &[
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "a video or audio file"),
    (0, b"BM", "a BMP image"),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office file (.doc, .xls, .ppt or .msg)",
    ),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"ID3", "an audio file"),
    (0, b"RIFF", "an audio or video file"),
    (0, b"OggS", "an audio or video file"),
];

/// The kind of `bytes`, or a refusal that names what was seen and what is read here.
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, Error> {
    if bytes.is_empty() {
        return Err(Error::new(
            Code::DocumentEmpty,
            "The file has no bytes. Upload a PDF, plain text, Markdown, PNG or JPEG file with content.",
        ));
    }
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if body.trim_ascii_start().starts_with(b"%PDF-") {
        return Ok(Sniffed::Pdf);
    }
    let text = text::decode(bytes);
    if bytes.starts_with(picture::PNG) {
        return Ok(Sniffed::Picture(Kind::Png));
    }
    if text.is_none() && bytes.starts_with(picture::JPEG) {
        return Ok(Sniffed::Picture(Kind::Jpeg));
    }
    let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
    // A text may speak of PDF headers; a PDF with something before its header is no text.
    if text.is_none() && holds(head, b"%PDF-") {
        return Ok(Sniffed::Pdf);
    }
    if let Some(seen) = other(bytes, text.as_deref()) {
        return Err(unsupported(seen));
    }
    text.map(Sniffed::Text)
        .ok_or_else(|| unsupported("a binary file of an unknown kind"))
}

fn other(bytes: &[u8], text: Option<&str>) -> Option<&'static str> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(zip(bytes));
    }
    if let Some(text) = text {
        let begin: String = text.trim_start().chars().take(64).collect();
        let begin = begin.to_ascii_lowercase();
        let found = WRITTEN.iter().find(|(prefix, _)| begin.starts_with(prefix));
        return found.map(|(_, seen)| *seen);
    }
    let stands = |at: usize, magic| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let found = BINARY.iter().find(|(at, magic, _)| stands(*at, magic));
    found.map(|(_, _, seen)| *seen)
}

/// Office files are ZIP files; their first entries tell them apart.
fn zip(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(8192)];
    let tail = &bytes[bytes.len().saturating_sub(8192)..];
    let names: [(&[u8], &str); 5] = [
        (b"word/", "a Word file (.docx, which is a ZIP file)"),
        (b"xl/", "an Excel file (.xlsx, which is a ZIP file)"),
        (b"ppt/", "a PowerPoint file (.pptx, which is a ZIP file)"),
        (
            b"opendocument",
            "an OpenDocument file (which is a ZIP file)",
        ),
        (b"epub+zip", "an EPUB book (which is a ZIP file)"),
    ];
    names
        .iter()
        .find(|(name, _)| holds(head, name) || holds(tail, name))
        .map_or("a ZIP archive", |(_, seen)| seen)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn unsupported(seen: &str) -> Error {
    Error::new(
        Code::UnsupportedMediaType,
        format!(
            "The file is {seen}. What is read here: PDF, plain text, Markdown, PNG and JPEG. \
             Convert the file to one of these and upload it again."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let error = sniff(bytes).unwrap_err();
        assert_eq!(error.code, Code::UnsupportedMediaType);
        error.detail
    }

    #[test]
    fn other_kinds_are_refused_by_their_name() {
        assert!(refused(b"GIF89a\0\xff").contains("a GIF image"));
        assert!(refused(b"II*\0\xff").contains("a TIFF image"));
        assert!(refused(b"PK\x03\x04..[Content_Types].xml..word/document.xml").contains("a Word"));
        assert!(refused(b"PK\x03\x04\0\0a.csv").contains("a ZIP archive"));
        assert!(refused(b"{\\rtf1\\ansi Total}").contains("an RTF file"));
        assert!(refused(b"\n<!DOCTYPE HTML><title>x</title>").contains("an HTML page"));
        assert!(refused(b"\0\x01\x02\x03").contains("binary file of an unknown kind"));
        assert!(refused(b"GIF89a\0").contains("PDF, plain text, Markdown, PNG and JPEG"));
    }

    #[test]
    fn pictures_are_told_by_their_first_bytes() {
        let png = sniff(b"\x89PNG\r\n\x1a\n\0\0").unwrap();
        assert_eq!(png, Sniffed::Picture(Kind::Png));
        let jpeg = sniff(b"\xff\xd8\xff\xe0\0\x10JFIF").unwrap();
        assert_eq!(jpeg, Sniffed::Picture(Kind::Jpeg));
    }

    #[test]
    fn a_pdf_may_have_bytes_before_its_header_but_a_text_about_pdf_stays_text() {
        assert_eq!(sniff(b"%PDF-1.4\n").unwrap(), Sniffed::Pdf);
        assert_eq!(sniff(b"\xef\xbb\xbf\r\n%PDF-1.4\n").unwrap(), Sniffed::Pdf);
        assert_eq!(sniff(b"\0\0\x01HTTP %PDF-1.7 \0").unwrap(), Sniffed::Pdf);
        let text = "A PDF begins with %PDF-1.7.";
        assert_eq!(sniff(text.as_bytes()).unwrap(), Sniffed::Text(text.into()));
    }

    #[test]
    fn a_text_that_begins_like_a_program_or_an_image_is_a_text() {
        for text in ["MZ Holding, invoice 7", "BM Trading Ltd", "ID3 tags"] {
            assert_eq!(sniff(text.as_bytes()).unwrap(), Sniffed::Text(text.into()));
        }
    }

    #[test]
    fn no_bytes_are_an_empty_document() {
        assert_eq!(sniff(b"").unwrap_err().code, Code::DocumentEmpty);
    }
}
