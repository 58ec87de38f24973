//! Plain text and Markdown: the grid of lines and columns stands for the printed page.

use super::{grid, markdown};
use crate::domain::document::{Kind, Page};
use crate::domain::error::{Code, Error};

const MAX_PAGES: usize = 2_000;
const MAX_CHARACTERS: usize = 20_000_000;
/// A page ends at the next blank line after so many lines or bytes, and at any line or word
/// after twice as many.
const PAGE_LINES: usize = 400;
const PAGE_BYTES: usize = 40_000;

/// The text in `bytes`, or `None` when they are no text. Line ends become line feeds.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok()?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ if bytes.contains(&0) => return None,
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
        },
    };
    let strange = text.chars().filter(|char| is_strange(*char)).count();
    (!text.contains('\0') && strange * 50 <= text.len())
        .then(|| text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let text = char::decode_utf16(units).collect::<Result<_, _>>().ok();
    text.filter(|_| rest.is_empty())
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

/// Kind and pages of a text whose lines end in line feeds.
pub fn read(text: &str) -> Result<(Kind, Vec<Page>), Error> {
    if text.trim().is_empty() {
        return Err(Error::new(
            Code::DocumentEmpty,
            "The text file has nothing but white space. Upload a file with content.",
        ));
    }
    let parts = split(text);
    if parts.len() > MAX_PAGES {
        return Err(Error::new(
            Code::DocumentTooComplex,
            format!(
                "The text has {} pages, the limit is {MAX_PAGES}. Split it into smaller files.",
                parts.len()
            ),
        ));
    }
    if text.chars().count() > MAX_CHARACTERS {
        return Err(Error::new(
            Code::DocumentTooComplex,
            format!(
                "The text has more than {MAX_CHARACTERS} characters. Split it into smaller files."
            ),
        ));
    }
    let kind = if markdown::is_markdown(text) {
        Kind::Markdown
    } else {
        Kind::Text
    };
    let pages = parts.into_iter().zip(1..).map(|(text, number)| {
        let grid = match kind {
            Kind::Markdown => markdown::grid(text),
            _ => grid::plain(text),
        };
        grid.into_page(number, text)
    });
    Ok((kind, pages.collect()))
}

/// The text in pages: at form feeds, and at a blank line where a page has grown long.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in text.split('\u{c}') {
        let (mut from, mut at, mut lines) = (0, 0, 0);
        for line in pieces(part) {
            at += line.len();
            lines += 1;
            let grown = |times| lines >= times * PAGE_LINES || at - from >= times * PAGE_BYTES;
            if grown(2) || (line.trim().is_empty() && grown(1)) {
                parts.push(&part[from..at]);
                (from, lines) = (at, 0);
            }
        }
        parts.push(&part[from..]);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Lines with their ends; a line longer than a page comes in pieces that end between words.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            let mut end = rest.len();
            if end > PAGE_BYTES {
                end = rest.floor_char_boundary(PAGE_BYTES);
                let space = rest[..end].rfind(char::is_whitespace);
                end = space.map_or(end, |at| rest.ceil_char_boundary(at + 1));
            }
            let (piece, after) = rest.split_at(end);
            rest = after;
            (!piece.is_empty()).then_some(piece)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        let (kind, mut pages) = read(text).unwrap();
        assert_eq!((kind, pages.len()), (Kind::Text, 1));
        pages.remove(0)
    }

    #[test]
    fn bytes_are_decoded_by_their_mark_or_as_windows_1252() {
        assert_eq!(decode(b"a\r\nb\rc").unwrap(), "a\nb\nc");
        assert_eq!(decode("\u{feff}Größe".as_bytes()).unwrap(), "Größe");
        assert_eq!(decode(b"\xff\xfeA\0\xac\x20").unwrap(), "A€");
        assert_eq!(decode(b"\xfe\xff\0A\x20\xac").unwrap(), "A€");
        assert_eq!(decode(b"Gr\xf6\xdfe 5 \x80").unwrap(), "Größe 5 €");
    }

    #[test]
    fn binary_bytes_are_no_text() {
        assert_eq!(decode(b"a\0b"), None);
        assert_eq!(decode(b"\x01\x02\x03\x04 text"), None);
        assert_eq!(decode(b"\xff\xfeA\0B"), None);
        let bytes: Vec<u8> = (1..=255).collect();
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn words_stand_where_they_are_on_the_grid_of_lines_and_columns() {
        let page = page("ab  cd\n\n\té 1");
        assert_eq!((page.width, page.height), (11.0, 3.0));
        assert_eq!(page.text, "ab  cd\n\n\té 1");
        let found: Vec<_> = page
            .words
            .iter()
            .map(|word| (word.text.as_str(), word.start))
            .collect();
        assert_eq!(found, [("ab", 0), ("cd", 4), ("é", 9), ("1", 11)]);
        let third = &page.words[2].bbox;
        assert_eq!((third[0] * 11.0).round() as u32, 8);
        assert_eq!((third[1] * 3.0).round() as u32, 2);
        assert_eq!(page.lines, [0..2, 2..4]);
    }

    #[test]
    fn drawn_rules_are_rules_and_not_words() {
        let page = page("Item | Price\n-----+------\n| a | b |\n  ====\nSign: ____");
        let words: Vec<_> = page.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(words, ["Item", "Price", "a", "b", "Sign:", "____"]);
        assert_eq!(page.rules.len(), 2);
        assert!(page.rules.iter().all(|rule| rule.is_horizontal(&page)));
        assert!((page.rules[1].bbox[0] - 2.0 / page.width).abs() < 1e-6);
    }

    #[test]
    fn pages_end_at_form_feeds_and_at_a_blank_line_once_they_are_long() {
        let pages = read("one\u{c}\n \u{c}two\n").unwrap().1;
        assert_eq!(
            pages
                .iter()
                .map(|page| page.text.as_str())
                .collect::<Vec<_>>(),
            ["one", "two\n"]
        );
        let text = "line\n".repeat(399) + "\n" + &"line\n".repeat(10);
        let pages = read(&text).unwrap().1;
        assert_eq!(pages.len(), 2);
        assert_eq!((pages[0].lines.len(), pages[1].lines.len()), (399, 10));
        assert_eq!(pages[1].number, 2);
    }

    #[test]
    fn no_page_is_enormous_even_without_blank_lines_or_line_ends() {
        let long = "word ".repeat(60_000);
        for text in [long.clone(), long.replace(' ', "\n"), "x".repeat(300_000)] {
            let pages = read(&text).unwrap().1;
            assert!(
                pages.iter().all(|page| page.text.len() <= 3 * PAGE_BYTES),
                "{}",
                pages.len()
            );
            assert_eq!(
                pages
                    .iter()
                    .map(|page| page.text.as_str())
                    .collect::<String>(),
                text
            );
        }
    }

    #[test]
    fn blank_and_oversized_texts_are_refused() {
        assert_eq!(read(" \n\u{c}\t").unwrap_err().code, Code::DocumentEmpty);
        let error = read(&"x\u{c}".repeat(2_001)).unwrap_err();
        assert_eq!(error.code, Code::DocumentTooComplex);
        assert!(error.detail.contains("2001 pages"), "{}", error.detail);
    }
}
