//! Values looked for on the pages themselves, where nobody quoted them.
//!
//! That a value stands somewhere says little when it is short, or when the document also has one
//! that differs in a single digit: read wrongly, that one would be found here too.

use std::rc::Rc;

use serde_json::Value;

use super::super::value::decimal::Decimal;
use super::Match;
use super::derive::{iso, spaced, squeezed};
use super::index::{Index, Term};
use super::leaf::Leaf;
use super::locate::{Place, Places, Span};

/// Digits from which a number is rarely printed by chance, and those of them that are not zeros
/// at its end.
const MIN_DIGITS: u32 = 4;
const MIN_SIGNIFICANT: u32 = 3;
/// Characters from which a word is rarely there by chance; with a digit in it one fewer.
const MIN_CHARS: usize = 5;
/// Characters of the first part of an identifier that is printed in parts.
const MAX_HEAD: usize = 12;

/// Where a value stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Hits {
    pub places: Rc<Places>,
    /// Whether a single hit can be no chance.
    pub strong: bool,
}

impl Index {
    /// Every place where the leaf's value is printed in one of its spellings.
    pub(super) fn search(&self, leaf: &Leaf<'_>) -> Hits {
        match leaf.value {
            Value::Number(number) => {
                let value = Decimal::parse(&number.to_string());
                value
                    .map(|value| self.search_number(value))
                    .unwrap_or_default()
            }
            Value::String(text) if !text.trim().is_empty() => self.search_text(text, leaf),
            _ => Hits::default(),
        }
    }

    fn search_number(&self, value: Decimal) -> Hits {
        let figures = self.numbers.get(&value).map_or(&[][..], Vec::as_slice);
        let all = figures
            .iter()
            .filter_map(|at| self.figures.get(*at as usize));
        let strong = all
            .clone()
            .all(|figure| figure.digits >= MIN_DIGITS && !figure.is_year)
            && value.significant() >= MIN_SIGNIFICANT
            && !value
                .misread()
                .iter()
                .any(|other| self.numbers.contains_key(other));
        hits(all.map(|figure| (figure.first, figure.last)), strong)
    }

    fn search_text(&self, text: &str, leaf: &Leaf<'_>) -> Hits {
        let terms = self.terms(text);
        let mut places = if terms.is_empty() {
            Places::default()
        } else {
            self.locate_plain(&terms)
        };
        let chars: usize = terms.iter().map(|term| term.key.chars().count()).sum();
        let digit = terms.iter().any(|term| term.digit);
        let choice = !leaf.facts.choices.is_empty();
        if choice && places.list.is_empty() && !places.more {
            places = self.locate_plain(&self.terms(&spaced(text)));
        }
        let year = terms.len() == 1 && chars == 4;
        let words = terms.iter().any(|term| !term.digit && !term.symbol);
        let long = chars + usize::from(digit && words) >= MIN_CHARS;
        let strong = !choice && !year && long && !self.is_near_another(&terms);
        if !places.list.is_empty() || places.more || choice {
            return Hits {
                places: Rc::new(places),
                strong,
            };
        }
        if let Some((date, _)) = iso(text) {
            let days = self.dates.get(&date).map_or(&[][..], Vec::as_slice);
            let all = days.iter().filter_map(|at| self.days.get(*at as usize));
            let other = date
                .misread()
                .iter()
                .any(|other| self.dates.contains_key(other));
            return hits(all.map(|day| (day.first, day.last)), !other);
        }
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if plain
            && !text.starts_with('0')
            && let Some(value) = Decimal::parse(text)
        {
            return self.search_number(value);
        }
        self.search_parts(text)
    }

    /// Whether the document has the same words with one digit different.
    fn is_near_another(&self, terms: &[Term]) -> bool {
        let mut changed = terms.to_vec();
        for (at, term) in terms.iter().enumerate().filter(|(_, term)| term.digit) {
            for (place, old) in term.key.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
                for new in ('0'..='9').filter(|new| *new != old) {
                    let key = format!("{}{new}{}", &term.key[..place], &term.key[place + 1..]);
                    let Some(id) = self.id(&key) else {
                        continue;
                    };
                    changed[at].id = Some(id);
                    if terms.len() == 1 || !self.locate_plain(&changed).list.is_empty() {
                        return true;
                    }
                }
            }
            changed[at].id = term.id;
        }
        false
    }

    /// An identifier that is printed with spaces: found by its first part.
    fn search_parts(&self, text: &str) -> Hits {
        let wanted = squeezed(text);
        if wanted.len() < 8 || !super::token::has_digit(&wanted) {
            return Hits::default();
        }
        let heads = wanted
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take(MAX_HEAD);
        let mut found = Vec::new();
        for end in heads {
            let places = self
                .id(&wanted[..end])
                .map_or(&[][..], |id| self.places(id));
            for first in places.iter().take(super::locate::MAX_PLACES) {
                let last = self.spelt_from(*first, &wanted);
                found.extend(last.map(|last| (*first, last)));
            }
        }
        hits(found.into_iter(), true)
    }

    /// The last token of an identifier whose parts stand from `first` on.
    fn spelt_from(&self, first: u32, wanted: &str) -> Option<u32> {
        let mut rest = wanted;
        let mut at = first;
        loop {
            rest = rest.strip_prefix(squeezed(self.key(at)).as_str())?;
            if rest.is_empty() {
                return Some(at);
            }
            at += 1;
            let (here, there) = (
                self.tokens.get(first as usize)?,
                self.tokens.get(at as usize)?,
            );
            if here.page != there.page {
                return None;
            }
        }
    }
}

fn hits(spans: impl Iterator<Item = (u32, u32)>, strong: bool) -> Hits {
    let place = |(first, last)| Place::of(Span { first, last }, Match::Exact);
    let list: Vec<Place> = spans.map(place).collect();
    Hits {
        strong: strong && !list.is_empty(),
        places: Rc::new(Places { list, more: false }),
    }
}
