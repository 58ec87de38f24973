//! Where a quote stands: token for token, over line ends and over the end of a page.
//!
//! A search begins at the rarest of the quote's words, so it costs as many steps as that word
//! has places, at most [`MAX_PLACES`].

use super::Match;
use super::fuzzy;
use super::index::{Index, Term};

/// Places of the rarest word that are looked at. A quote with more is as good as anywhere.
pub(super) const MAX_PLACES: usize = 8_192;
/// Tokens by which hyphenated words and skipped signs may move the beginning of a quote.
const SHIFT: u32 = 6;
/// Lines at the foot and at the head of a page that a quote may step over.
const FOOT: usize = 3;
const HEAD: usize = 6;
/// Tokens of a quote that may do so, and of either part: fewer stand at the end of one page and
/// the head of the next by chance.
const MIN_BROKEN: usize = 5;
const MIN_PART: usize = 2;
/// Tokens of such a foot.
const FOOT_TOKENS: usize = 60;

/// Tokens, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub first: u32,
    pub last: u32,
}

/// One place where a quote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub span: Span,
    /// What stands on the next page.
    pub rest: Option<Span>,
    pub matched: Match,
}

impl Place {
    pub(super) fn of(span: Span, matched: Match) -> Self {
        Self {
            span,
            rest: None,
            matched,
        }
    }

    /// Every token of the place, in order.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> + use<> {
        let rest = self.rest.map(|rest| rest.first..=rest.last);
        (self.span.first..=self.span.last).chain(rest.into_iter().flatten())
    }
}

/// Every place of a quote.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub list: Vec<Place>,
    /// Whether there are more than were looked at.
    pub more: bool,
}

impl Index {
    /// Where the terms stand: as they are, else over a page break, else with small faults.
    pub(super) fn locate(&self, terms: &[Term]) -> Places {
        let mut found = self.locate_plain(terms);
        if found.list.is_empty() && !found.more && terms.len() > 1 {
            found.list = self.over_break(terms);
            if found.list.is_empty() {
                found.list = fuzzy::locate(self, terms);
            }
        }
        found
    }

    /// Where the terms stand one after the other.
    pub(super) fn locate_plain(&self, terms: &[Term]) -> Places {
        let Some((offset, places)) = self.rarest(terms) else {
            return Places::default();
        };
        let mut found = Places {
            list: Vec::new(),
            more: places.len() > MAX_PLACES,
        };
        let mut after = 0;
        for place in places.iter().take(MAX_PLACES) {
            let Some(latest) = place.checked_sub(offset) else {
                continue;
            };
            let slack = if offset == 0 { 0 } else { SHIFT };
            for start in latest.saturating_sub(slack).max(after)..=latest {
                if let Some(last) = self.run(terms, start) {
                    let span = Span { first: start, last };
                    found.list.extend(self.parted(span));
                }
            }
            after = after.max(latest + 1);
        }
        found
    }

    /// The term with the fewest places; `None` when one has none at all.
    fn rarest(&self, terms: &[Term]) -> Option<(u32, &[u32])> {
        let mut best: Option<(u32, &[u32])> = None;
        for (at, term) in terms.iter().enumerate() {
            let places = self.places(term.id?);
            if best.is_none_or(|(_, least)| places.len() < least.len()) {
                best = Some((at as u32, places));
            }
        }
        best
    }

    /// A span over the end of a page, as the part on each; none over more than one.
    fn parted(&self, span: Span) -> Option<Place> {
        let page = |token: u32| self.tokens.get(token as usize).map(|token| token.page);
        let (from, to) = (page(span.first)?, page(span.last)?);
        if from == to {
            return Some(Place::of(span, Match::Normalized));
        }
        let second = self.pages.get(to as usize)?.first;
        (to == from + 1).then_some(Place {
            span: Span {
                first: span.first,
                last: second - 1,
            },
            rest: Some(Span {
                first: second,
                last: span.last,
            }),
            matched: Match::Normalized,
        })
    }

    /// The last token of the terms that stand from `start` on, if they are whole words.
    fn run(&self, terms: &[Term], start: u32) -> Option<u32> {
        let (at, count) = self.advance(terms, start);
        (count == terms.len() && self.is_whole(start, at - 1)).then(|| at - 1)
    }

    /// Whether no half of a hyphenated word hangs over either end.
    pub(super) fn is_whole(&self, first: u32, last: u32) -> bool {
        let bound = |token: u32| {
            self.tokens
                .get(token as usize)
                .is_some_and(|token| token.bound)
        };
        !bound(last) && !first.checked_sub(1).is_some_and(bound)
    }

    /// Goes over terms from `start` on: the token behind the last one that fits, and how many
    /// fit. A sign of the page that the quote left out is passed over.
    fn advance(&self, terms: &[Term], start: u32) -> (u32, usize) {
        let (mut at, mut count) = (start, 0);
        while let Some(term) = terms.get(count) {
            let Some(token) = self.tokens.get(at as usize) else {
                break;
            };
            let joined = self.joined(at);
            if term.id == Some(token.id) {
                at += 1;
            } else if joined.is_some_and(|ids| ids.iter().any(|id| term.id == Some(*id))) {
                at += 2;
            } else if count > 0 && token.symbol && !term.symbol {
                at += 1;
                continue;
            } else {
                break;
            }
            count += 1;
        }
        (at, count)
    }

    /// Places where the quote breaks off at the foot of a page and goes on at the head of the
    /// next, with the footer and header of the pages between.
    fn over_break(&self, terms: &[Term]) -> Vec<Place> {
        let first = terms.first().filter(|_| terms.len() >= MIN_BROKEN);
        let Some(id) = first.and_then(|term| term.id) else {
            return Vec::new();
        };
        let places = self.places(id);
        let mut found = Vec::new();
        for pair in self.pages.windows(2) {
            let (page, next) = (&pair[0], &pair[1]);
            let from = page.end.saturating_sub((terms.len() + FOOT_TOKENS) as u32);
            let low = places.partition_point(|place| *place < from.max(page.first));
            let near = places[low..].iter().take_while(|place| **place < page.end);
            for start in near {
                let (end, count) = self.advance(terms, *start);
                if count < MIN_PART || count + MIN_PART > terms.len() || end > page.end {
                    continue;
                }
                let below = page.lines.len() - page.lines.partition_point(|line| *line < end);
                let at_line_end = end == page.end || page.lines.contains(&end);
                if !at_line_end || below > FOOT || !self.is_whole(*start, end - 1) {
                    continue;
                }
                let rest = next.lines.iter().take(HEAD).find_map(|line| {
                    let last = self.run(&terms[count..], *line)?;
                    (last < next.end).then_some(Span { first: *line, last })
                });
                found.extend(rest.map(|rest| Place {
                    span: Span {
                        first: *start,
                        last: end - 1,
                    },
                    rest: Some(rest),
                    matched: Match::Normalized,
                }));
            }
        }
        found
    }

    /// Where `terms` stand inside a row of tokens, as positions in it.
    pub(super) fn inside(&self, tokens: &[u32], terms: &[Term]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for start in 0..tokens.len() {
            let (mut at, mut count) = (start, 0);
            while let (Some(term), Some(token)) = (terms.get(count), tokens.get(at)) {
                let Some(id) = term.id else { return found };
                let follows = tokens.get(at + 1) == Some(&(token + 1));
                if self.tokens.get(*token as usize).is_some_and(|t| t.id == id) {
                    at += 1;
                } else if follows && self.joined(*token).is_some_and(|ids| ids.contains(&id)) {
                    at += 2;
                } else {
                    break;
                }
                count += 1;
            }
            if count > 0 && count == terms.len() && self.is_whole(tokens[start], tokens[at - 1]) {
                found.push((start, at - 1));
            }
        }
        found
    }
}
