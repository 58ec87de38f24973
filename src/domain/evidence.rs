//! Quotes: where on the page a value was read, checked by code.
//!
//! Nothing a provider says of a place is believed: [`prove`] reads the page at that place again
//! and clears whatever does not stand there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::{Bbox, Document, Page, union};

/// How a quote was found on its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// Character for character.
    Exact,
    /// After folding white space and letter case.
    Normalized,
    /// Not found.
    None,
}

/// A piece of the document given as the source of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    pub text: String,
    /// From 1; null when the place is not known.
    pub page: Option<u32>,
    /// Fractions of the page; null for text files, which have no printed page.
    pub bbox: Option<Bbox>,
    /// Code-point offset in the page's text.
    pub start: Option<u32>,
    /// Exclusive.
    pub end: Option<u32>,
    /// True only when the text was found at that place.
    pub verified: bool,
    #[serde(rename = "match")]
    pub matched: Match,
}

/// Why a leaf has its value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    pub reasoning: Option<String>,
    /// 0..=1.
    pub confidence: Option<f64>,
    pub quotes: Vec<Quote>,
}

/// Attributions by JSON Pointer of the leaf: relative to a subtree's value while a provider
/// answers, absolute in events and results.
pub type Attributions = BTreeMap<String, Attribution>;

/// The quote of the words `first..=last` (indices into the page's words).
///
/// Returns `None` when the range does not lie in the page.
pub fn quote_words(document: &Document, page: &Page, first: usize, last: usize) -> Option<Quote> {
    let words = page.words.get(first..=last)?;
    let (start, end) = (words.first()?.start, words.last()?.end());
    Some(Quote {
        text: page.slice(start, end)?.to_owned(),
        page: Some(page.number),
        bbox: place(document, page, start, end),
        start: Some(start),
        end: Some(end),
        verified: true,
        matched: Match::Exact,
    })
}

/// Reads the page again at the place each quote names, and says whether its text stands there.
pub fn prove(document: &Document, attributions: &mut Attributions) {
    for quote in attributions.values_mut().flat_map(|a| a.quotes.iter_mut()) {
        let found = page_of(document, quote.page).and_then(|page| {
            let (start, end) = (quote.start?, quote.end?);
            let there = page.slice(start, end)?;
            let matched = compare(there, &quote.text);
            (matched != Match::None).then(|| (matched, place(document, page, start, end)))
        });
        if let Some((matched, bbox)) = found {
            quote.matched = matched;
            quote.verified = true;
            quote.bbox = bbox;
        } else {
            quote.matched = Match::None;
            quote.verified = false;
            quote.bbox = None;
            quote.start = None;
            quote.end = None;
        }
    }
}

fn page_of(document: &Document, number: Option<u32>) -> Option<&Page> {
    let number = number?;
    document.pages.iter().find(|page| page.number == number)
}

fn compare(there: &str, claimed: &str) -> Match {
    let fold = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    if claimed.trim().is_empty() {
        Match::None
    } else if there == claimed {
        Match::Exact
    } else if fold(there) == fold(claimed) {
        Match::Normalized
    } else {
        Match::None
    }
}

/// The box around every word that overlaps `start..end`; none for text files.
fn place(document: &Document, page: &Page, start: u32, end: u32) -> Option<Bbox> {
    if !document.kind.is_printed() {
        return None;
    }
    let first = page.words.partition_point(|word| word.end() <= start);
    page.words[first..]
        .iter()
        .take_while(|word| word.start < end)
        .map(|word| word.bbox.map(|side| side.clamp(0.0, 1.0)))
        .reduce(union)
}

#[cfg(test)]
mod tests {
    use super::super::document::{Kind, Word};
    use super::*;

    fn document() -> Document {
        let word = |text: &str, x: f32| Word {
            text: text.into(),
            bbox: [x, 0.1, x + 0.1, 0.2],
            start: 0,
            size: 9.0,
            bold: false,
        };
        let lines = vec![vec![word("Total", 0.1), word("1,234.50", 0.4)]];
        Document {
            kind: Kind::Pdf,
            sha256: String::new(),
            pages: vec![Page::from_lines(1, 100.0, 100.0, lines, vec![])],
        }
    }

    #[test]
    fn a_quote_that_stands_on_the_page_is_verified_and_boxed() {
        let document = document();
        let quote = quote_words(&document, &document.pages[0], 1, 1).unwrap();
        let mut all = Attributions::new();
        let claim = Quote {
            verified: false,
            bbox: None,
            ..quote.clone()
        };
        all.insert(
            "/total".into(),
            Attribution {
                quotes: vec![claim],
                ..Default::default()
            },
        );
        prove(&document, &mut all);
        assert_eq!(all["/total"].quotes[0], quote);
        assert_eq!(quote.bbox, Some([0.4, 0.1, 0.5, 0.2]));
    }

    #[test]
    fn a_quote_that_does_not_stand_there_loses_its_place() {
        let document = document();
        let quote = quote_words(&document, &document.pages[0], 1, 1).unwrap();
        let mut all = Attributions::new();
        let claim = Quote {
            text: "1,234.60".into(),
            ..quote
        };
        all.insert(
            "/total".into(),
            Attribution {
                quotes: vec![claim],
                ..Default::default()
            },
        );
        prove(&document, &mut all);
        let quote = &all["/total"].quotes[0];
        assert_eq!(
            (quote.verified, quote.matched, quote.bbox),
            (false, Match::None, None)
        );
    }
}
