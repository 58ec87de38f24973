//! Quotes with small faults: a letter misread, a short word left out.
//!
//! Only windows that share words with the quote are compared: the words with the fewest places
//! vote for where it may begin, and the [`MAX_WINDOWS`] with the most votes are aligned. No digit
//! may ever differ, nor be left out or added.

use std::collections::HashMap;

use super::Match;
use super::index::{Index, Term};
use super::locate::{Place, Span};

/// Shorter quotes have too little left when something is wrong with them.
const MIN_CHARS: usize = 10;
/// Longer quotes are not compared.
const MAX_TERMS: usize = 300;
/// Words that vote, and places of each.
const MAX_VOTERS: usize = 24;
const MAX_POSTINGS: usize = 200;
/// Windows that are aligned.
const MAX_WINDOWS: usize = 8;
/// Tokens by which a window may be off.
const SLACK: usize = 4;
/// One fault for so many characters.
const CHARS_PER_FAULT: usize = 8;
const NEVER: u32 = u32::MAX / 4;

/// The places where the terms stand with the fewest faults, within the bound.
pub(super) fn locate(index: &Index, terms: &[Term]) -> Vec<Place> {
    let chars: usize = terms.iter().map(|term| term.key.chars().count()).sum();
    if chars < MIN_CHARS || terms.len() < 2 || terms.len() > MAX_TERMS {
        return Vec::new();
    }
    // A figure that the document has nowhere cannot be in it.
    if terms.iter().any(|term| term.digit && term.id.is_none()) {
        return Vec::new();
    }
    let bound = (chars / CHARS_PER_FAULT) as u32;
    let mut found: Vec<(u32, Span)> = Vec::new();
    for start in windows(index, terms) {
        if let Some((cost, span)) = align(index, terms, start, bound)
            && !found.iter().any(|(_, known)| overlap(*known, span))
        {
            found.push((cost, span));
        }
    }
    let least = found.iter().map(|(cost, _)| *cost).min();
    let best = found.into_iter().filter(|(cost, _)| Some(*cost) == least);
    best.map(|(_, span)| Place::of(span, Match::Fuzzy))
        .collect()
}

fn overlap(a: Span, b: Span) -> bool {
    a.first <= b.last && b.first <= a.last
}

/// Where the quote may begin, most votes first.
fn windows(index: &Index, terms: &[Term]) -> Vec<u32> {
    let mut voters: Vec<(usize, &[u32])> = terms
        .iter()
        .enumerate()
        .filter_map(|(at, term)| Some((at, index.places(term.id?))))
        .filter(|(_, places)| !places.is_empty() && places.len() <= MAX_POSTINGS)
        .collect();
    voters.sort_by_key(|(_, places)| places.len());
    let mut votes: HashMap<u32, u32> = HashMap::new();
    for (at, places) in voters.into_iter().take(MAX_VOTERS) {
        for place in places {
            let bucket = place.saturating_sub(at as u32) / SLACK as u32;
            *votes.entry(bucket).or_default() += 1;
        }
    }
    let mut ranked: Vec<(u32, u32)> = votes.into_iter().collect();
    ranked.sort_by_key(|(bucket, votes)| (std::cmp::Reverse(*votes), *bucket));
    let starts = ranked.into_iter().take(MAX_WINDOWS);
    starts.map(|(bucket, _)| bucket * SLACK as u32).collect()
}

/// A way through the table: its cost and the token it began at.
#[derive(Clone, Copy)]
struct Way {
    cost: u32,
    first: u32,
}

/// The cheapest alignment of the terms with the tokens around `start`.
fn align(index: &Index, terms: &[Term], start: u32, bound: u32) -> Option<(u32, Span)> {
    let from = start.saturating_sub(SLACK as u32);
    let width = terms.len() + 3 * SLACK;
    let page = index.tokens.get(from as usize)?.page;
    let tokens: Vec<u32> = (from..)
        .take(width)
        .take_while(|at| {
            index
                .tokens
                .get(*at as usize)
                .is_some_and(|t| t.page == page)
        })
        .collect();
    let begin = |at: usize| Way {
        cost: 0,
        first: from + at as u32,
    };
    let mut row: Vec<Way> = (0..=tokens.len()).map(begin).collect();
    for (done, term) in terms.iter().enumerate() {
        let dropped = drop_cost(term.digit || term.symbol, &term.key);
        let mut next = Vec::with_capacity(row.len());
        next.push(add(row[0], dropped));
        for (at, token) in tokens.iter().enumerate() {
            let far = (at + 1).abs_diff(done + 1) > 3 * SLACK;
            if far {
                next.push(add(row[at], NEVER));
                continue;
            }
            let mut best = add(row[at], swap_cost(index, term, *token, bound));
            let left = *next.last()?;
            let there = &index.tokens[*token as usize];
            let passed = drop_cost(there.digit, index.key(*token));
            for way in [add(row[at + 1], dropped), add(left, passed)] {
                if way.cost < best.cost {
                    best = way;
                }
            }
            next.push(best);
        }
        row = next;
    }
    let (end, best) = row
        .iter()
        .enumerate()
        .min_by_key(|(end, way)| (way.cost, *end))?;
    let last = (from + end as u32).checked_sub(1)?;
    let span = Span {
        first: best.first,
        last,
    };
    let whole = span.first <= span.last && index.is_whole(span.first, span.last);
    (best.cost <= bound && whole).then_some((best.cost, span))
}

fn add(way: Way, cost: u32) -> Way {
    Way {
        cost: way.cost.saturating_add(cost).min(NEVER),
        ..way
    }
}

/// What it costs to leave a token out; a figure cannot be left out.
fn drop_cost(never: bool, key: &str) -> u32 {
    if never {
        NEVER
    } else {
        key.chars().count() as u32
    }
}

fn swap_cost(index: &Index, term: &Term, token: u32, bound: u32) -> u32 {
    let there = &index.tokens[token as usize];
    if term.id == Some(there.id) {
        return 0;
    }
    if term.digit || there.digit || term.symbol || there.symbol {
        return NEVER;
    }
    let key = index.key(token);
    // A short word with another letter is another word.
    let most = (term.key.len().min(key.len()) as u32 / 4).min(bound);
    distance(&term.key, key, most).unwrap_or(NEVER)
}

/// Letters to change, add or drop to make `b` of `a`; `None` for more than `most`.
fn distance(a: &str, b: &str, most: u32) -> Option<u32> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) as u32 > most {
        return None;
    }
    let mut row: Vec<u32> = (0..=b.len() as u32).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i as u32 + 1;
        let mut least = row[0];
        for (j, y) in b.iter().enumerate() {
            let swap = diagonal + u32::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = swap.min(diagonal + 1).min(row[j] + 1);
            least = least.min(row[j + 1]);
        }
        if least > most {
            return None;
        }
    }
    row.last().copied().filter(|cost| *cost <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_counted_up_to_its_bound() {
        assert_eq!(distance("total", "total", 0), Some(0));
        assert_eq!(distance("invoice", "lnvoice", 1), Some(1));
        assert_eq!(distance("invoice", "invoices", 1), Some(1));
        assert_eq!(distance("invoice", "receipt", 3), None);
    }
}
