//! Values that need no label because the document has only one of their kind.

use std::collections::HashMap;

use serde_json::Value;

use super::find::{Found, Source};
use super::number;
use super::page::Span;
use super::schema::Leaf;
use super::value::{Side, read};

impl Source<'_> {
    /// The one date that stands without words before it: the date of the paper.
    pub(super) fn only_date(&self, leaf: &Leaf) -> Option<Found> {
        let mut only: Option<Found> = None;
        for cell in self.analysis.sheet.cells.iter().take(4000) {
            let words = self.words(cell.span);
            let dates = super::date::find(&words, self.habits().order);
            let Some((_, first, last)) = dates
                .first()
                .filter(|(_, first, _)| *first == 0 && dates.len() == 1)
            else {
                continue;
            };
            let sheet = &self.analysis.sheet;
            let leads = sheet
                .row(cell.row)
                .first()
                .is_some_and(|head| head.span == cell.span);
            if !leads || words.len() > 6 {
                continue;
            }
            let read = read(leaf, &words, self.habits(), Side::Any)?;
            let span = Span {
                page: cell.span.page,
                first: cell.span.first + first,
                last: cell.span.first + last,
            };
            match &only {
                Some(known) if known.value == read.value => {}
                Some(_) => return None,
                None => {
                    only = Some(Found {
                        value: read.value,
                        spans: vec![span],
                        confidence: 0.62,
                        how: "the only date that stands alone",
                    })
                }
            }
        }
        only
    }

    /// The one account number whose check digits are right.
    pub(super) fn only_iban(&self, leaf: &Leaf) -> Option<Found> {
        let mut only: Option<Found> = None;
        for cell in &self.analysis.sheet.cells {
            let words = self.words(cell.span);
            let long = words.iter().any(|word| {
                word.len() >= 4
                    && word.is_char_boundary(2)
                    && word[2..].starts_with(|c: char| c.is_ascii_digit())
            });
            let Some(read) = long.then(|| super::value::iban_of(&words, true)).flatten() else {
                continue;
            };
            match &only {
                Some(known) if known.value == read.value => {}
                Some(_) => return None,
                None if leaf.takes(&read.value) => {
                    let span = Span {
                        page: cell.span.page,
                        first: cell.span.first + read.first,
                        last: cell.span.first + read.last,
                    };
                    only = Some(Found {
                        value: read.value,
                        spans: vec![span],
                        confidence: 0.85,
                        how: "the only account number, proven by its check digits",
                    });
                }
                None => {}
            }
        }
        only
    }

    /// The currency of the document's amounts, when they have but one.
    pub(super) fn only_currency(&self, leaf: &Leaf) -> Option<Found> {
        let mut seen: HashMap<&'static str, (usize, Span)> = HashMap::new();
        let pages = self.document.pages.iter().enumerate();
        let words = pages.flat_map(|(page, p)| {
            p.words
                .iter()
                .enumerate()
                .map(move |(at, word)| (page, at, word))
        });
        for (page, at, word) in words.take(60_000) {
            let text = super::page::bare(&word.text);
            let code = number::currency(text).or_else(|| number::parse(text, None)?.currency);
            if let Some(code) = code {
                seen.entry(code)
                    .or_insert((
                        0,
                        Span {
                            page,
                            first: at,
                            last: at,
                        },
                    ))
                    .0 += 1;
            }
        }
        let all: usize = seen.values().map(|(count, _)| count).sum();
        let (code, (count, span)) = seen
            .into_iter()
            .max_by_key(|(code, (count, _))| (*count, *code))?;
        let value = Value::String(code.to_owned());
        let clear = count * 10 >= all * 9;
        (clear && leaf.takes(&value)).then_some(Found {
            value,
            spans: vec![span],
            confidence: 0.8,
            how: "the currency of its amounts",
        })
    }
}
