//! Plain text and Markdown: the grid of lines and columns stands for the printed page.

use crate::domain::document::{Kind, Page, Word};
use crate::domain::error::{Code, Error};

const TAB: usize = 8;
const MAX_PAGES: usize = 2_000;
/// A page ends at the next blank line after so many lines or characters.
const PAGE_LINES: usize = 400;
const PAGE_CHARACTERS: usize = 40_000;

/// The text in `bytes`, or `None` when they are no text. Line ends become line feeds.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok()?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => String::from_utf8(bytes.to_vec())
            .unwrap_or_else(|_| bytes.iter().map(|byte| windows_1252(*byte)).collect()),
    };
    let strange = text.chars().filter(|char| is_strange(*char)).count();
    (!text.contains('\0') && strange * 100 <= text.len())
        .then(|| text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<_, _>>()
        .ok()
}

fn is_strange(char: char) -> bool {
    (char.is_control() && !matches!(char, '\n' | '\r' | '\t' | '\u{c}')) || char == '\u{fffd}'
}

fn windows_1252(byte: u8) -> char {
    const C1: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => C1[(byte - 0x80) as usize],
        other => other.into(),
    }
}

/// Kind and pages of a text.
pub fn read(text: String) -> Result<(Kind, Vec<Page>), Error> {
    if text.trim().is_empty() {
        return Err(Error::new(
            Code::DocumentEmpty,
            "The text file has nothing but white space. Upload a file with content.",
        ));
    }
    let kind = if is_markdown(&text) {
        Kind::Markdown
    } else {
        Kind::Text
    };
    let parts = split(&text);
    if parts.len() > MAX_PAGES {
        return Err(Error::new(
            Code::DocumentTooComplex,
            format!(
                "The text has {} pages, the limit is {MAX_PAGES}. Split it into smaller files.",
                parts.len()
            ),
        ));
    }
    let pages = parts.into_iter().enumerate();
    Ok((
        kind,
        pages
            .map(|(index, text)| page(index as u32 + 1, text))
            .collect(),
    ))
}

fn is_markdown(text: &str) -> bool {
    let mut marks = 0;
    for line in text.lines().take(2_000) {
        let line = line.trim();
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        if (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') {
            marks += 2;
        }
        if line.starts_with('|') && line.contains("---") {
            marks += 3;
        }
        if line.contains("**") || line.contains("](") {
            marks += 1;
        }
    }
    marks >= 3
}

/// The text in pages: at form feeds, and at a blank line where a page has grown long.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in text.split('\u{c}') {
        let (mut from, mut at, mut lines) = (0, 0, 0);
        for line in part.split_inclusive('\n') {
            at += line.len();
            lines += 1;
            if line.trim().is_empty() && (lines >= PAGE_LINES || at - from >= PAGE_CHARACTERS) {
                parts.push(&part[from..at]);
                (from, lines) = (at, 0);
            }
        }
        parts.push(&part[from..]);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn page(number: u32, text: &str) -> Page {
    let widest = text.lines().map(columns).max().unwrap_or(0).max(1) as f32;
    let height = text.lines().count().max(1) as f32;
    let mut page = Page {
        number,
        width: widest,
        height,
        text: text.to_owned(),
        words: Vec::new(),
        lines: Vec::new(),
        rules: Vec::new(),
    };
    let mut offset = 0;
    for (row, line) in text.split('\n').enumerate() {
        let first = page.words.len() as u32;
        let mut column = 0;
        let mut word: Option<(u32, usize, String)> = None;
        for char in line.chars().chain([' ']) {
            if char.is_whitespace() {
                if let Some((start, from, text)) = word.take() {
                    page.words.push(Word {
                        text,
                        bbox: [
                            from as f32 / widest,
                            row as f32 / height,
                            column as f32 / widest,
                            (row + 1) as f32 / height,
                        ],
                        start,
                        size: 0.0,
                        bold: false,
                    });
                }
            } else {
                word.get_or_insert_with(|| (offset, column, String::new()))
                    .2
                    .push(char);
            }
            column = advance(column, char);
            offset += 1;
        }
        if page.words.len() as u32 > first {
            page.lines.push(first..page.words.len() as u32);
        }
    }
    page
}

fn advance(column: usize, char: char) -> usize {
    if char == '\t' {
        (column / TAB + 1) * TAB
    } else {
        column + 1
    }
}

fn columns(line: &str) -> usize {
    line.chars().fold(0, advance)
}
