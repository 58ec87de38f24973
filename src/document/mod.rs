//! Reads files into pages of words. The kind is told by the bytes, never by the name.

mod bold;
mod content;
pub mod drawing;
mod grid;
mod inline;
mod letters;
mod lines;
mod markdown;
mod pdf;
mod picture;
mod rulings;
pub mod sandbox;
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
        let mut unread = Vec::new();
        let (kind, pages) = match sniff::sniff(bytes)? {
            Sniffed::Pdf => {
                let (pages, blind) = pdf::read(bytes)?;
                unread = blind;
                let has_words = pages.iter().any(|page| !page.words.is_empty());
                let kind = match (has_words, unread.is_empty()) {
                    (true, true) => Kind::Pdf,
                    (true, false) => Kind::Mixed,
                    (false, _) => Kind::Scan,
                };
                (kind, pages)
            }
            Sniffed::Picture(kind) => (kind, picture::read(kind, bytes)?),
            Sniffed::Text(text) => text::read(&text)?,
        };
        Ok(Document {
            kind,
            sha256: sha256(bytes),
            pages,
            unread,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::document::Page;

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fixtures/documents/", $name))
        };
    }

    fn read(bytes: &[u8]) -> Document {
        let document = Readers.read(bytes).unwrap();
        document.pages.iter().for_each(check);
        document
    }

    fn check(page: &Page) {
        for word in &page.words {
            assert_eq!(page.slice(word.start, word.end()), Some(word.text.as_str()));
        }
    }

    fn has_line(document: &Document, line: &str) -> bool {
        let mut pages = document.pages.iter();
        pages.any(|page| page.text.lines().any(|other| other == line))
    }

    #[test]
    fn a_german_invoice_is_read_without_its_attachment() {
        let document = read(fixture!("zugferd-kraftfahrversicherung.pdf"));
        assert_eq!(document.kind, Kind::Pdf);
        assert!(has_line(&document, "zu zahlender Beitrag 440,00 €"));
        assert!(has_line(
            &document,
            "Vollkasko SF25 (30 %) Typkl. 21 Regio R4 140,00 €"
        ));
        let text: String = document
            .pages
            .iter()
            .map(|page| page.text.as_str())
            .collect();
        assert!(!text.contains("CrossIndustryDocument"));
    }

    #[test]
    fn rows_of_printed_tables_are_lines_and_no_word_crosses_a_ruling() {
        let votes = read(fixture!("tabula-voting-record.pdf"));
        let row = "ALONSO, María Luz Frente para la Victoria - PJ La Pampa AFIRMATIVO";
        assert!(has_line(&votes, row));
        assert!(!votes.pages[0].rules.is_empty());
        let schools = read(fixture!("tabula-schools-rotated.pdf"));
        let first = &schools.pages[0];
        assert_eq!(
            (schools.pages.len(), first.width, first.height),
            (5, 792.0, 612.0)
        );
        let row =
            "Boyle Matthew C. & Elizab 2165 Princeton Ave Saint Paul MN 55105 10/6/2012 100.00";
        assert!(has_line(&schools, row));
    }

    #[test]
    fn markdown_keeps_its_text_and_the_grid_of_its_receipts() {
        let bytes = fixture!("fieldbench-receipt.md");
        let document = read(bytes);
        assert_eq!(document.kind, Kind::Markdown);
        let page = &document.pages[0];
        assert_eq!(page.text.as_bytes(), bytes);
        let amount = page
            .words
            .iter()
            .find(|word| word.text == "S$159.38")
            .unwrap();
        let total = page
            .words
            .iter()
            .find(|word| word.text == "S$527.98")
            .unwrap();
        assert!((amount.bbox[2] - total.bbox[2]).abs() < 1e-6);
    }

    #[test]
    fn plain_text_is_told_from_markdown() {
        let document = read(fixture!("fieldbench-invoice.md"));
        assert_eq!(document.kind, Kind::Text);
        assert_eq!(document.pages[0].rules.len(), 3);
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read(b"abc").sha256, digest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(document) = Readers.read(&bytes) {
                document.pages.iter().for_each(check);
            }
        }

        #[test]
        fn any_text_is_read_with_true_offsets(
            text in "([a-zé\u{1f600}]{0,3}|[ \t\n]|[-*_`~#|>\\[\\]()!<\\\\=:+]{1,4}){0,60}",
        ) {
            for text in [text.clone(), format!("# x\n{text}"), format!("a|b\n--|--\n{text}")] {
                if let Ok(document) = Readers.read(text.as_bytes()) {
                    document.pages.iter().for_each(check);
                    let texts = document.pages.iter().map(|page| page.text.as_str());
                    prop_assert_eq!(texts.collect::<String>(), text);
                }
            }
        }
    }
}
