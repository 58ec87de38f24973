//! Quotes: where on the page a value was read, checked by code.
//!
//! Nothing a provider says of a place is believed. [`prove`] looks for each quote on the pages,
//! reads there again whether the value follows from it, and gives every leaf a [`Verdict`] and a
//! confidence made of what was checked.

mod answer;
mod confidence;
mod day;
mod derive;
mod figure;
mod fuzzy;
mod index;
mod leaf;
mod locate;
mod proof;
mod search;
mod settle;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::{Bbox, Document, Page, union};

pub use confidence::{ConfidenceParts, Signals};
pub use index::Index;
pub use proof::{Claim, prove};

/// How a quote was found on its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// Character for character.
    Exact,
    /// After folding white space, letter case, spelling forms of characters, and hyphens at the
    /// ends of lines.
    Normalized,
    /// With a few letters different, and no digit.
    Fuzzy,
    /// Not found.
    None,
}

/// A piece of the document given as the source of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    pub text: String,
    /// From 1; null when the place is not known. A quote over the end of a page is two quotes,
    /// one a page.
    pub page: Option<u32>,
    /// Fractions of the page; null for text files, which have no printed page.
    pub bbox: Option<Bbox>,
    /// Code-point offset in the page's text.
    pub start: Option<u32>,
    /// Exclusive.
    pub end: Option<u32>,
    /// True only when the text stands at that place, and it is told which of several places it
    /// is; whether the value follows from it is the [`Verdict`].
    pub verified: bool,
    #[serde(rename = "match")]
    pub matched: Match,
}

/// What the evidence says of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its quote stands at one settled place, and the value follows from what is printed there.
    Verified,
    /// It may follow, but there is more than one place or more than one reading.
    Ambiguous,
    /// Its quote is there, but says something else.
    Mismatch,
    /// Its quote stands on no page.
    NotFound,
    /// There is no quote, and the value was not found without one; or there is no value.
    None,
}

/// Why a leaf has its value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    pub reasoning: Option<String>,
    /// 0..=1. From a provider: only what it measured itself, never what a model says of its own
    /// answer. After [`prove`]: what `confidence_parts` come to, `None` for null.
    pub confidence: Option<f64>,
    pub quotes: Vec<Quote>,
    /// `None` until it is proved.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    #[serde(default)]
    pub confidence_parts: Option<ConfidenceParts>,
}

/// Attributions by JSON Pointer of the leaf: relative to a subtree's value while a provider
/// answers, absolute in events and results.
pub type Attributions = BTreeMap<String, Attribution>;

/// How surely a model wrote each leaf, by its JSON Pointer relative to a subtree's value: natural
/// logarithm of the probability of the leaf's least sure token, at most 0.
pub type Logprobs = BTreeMap<String, f64>;

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
