//! From claims to verdicts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use serde_json::Value;

use super::super::document::Document;
use super::super::pointer::Pointer;
use super::confidence::{Signals, Way, confidence, evidence};
use super::derive::{Bearing, Passage};
use super::index::Index;
use super::leaf::{Leaf, leaves};
use super::locate::{Place, Places, Span};
use super::search::Hits;
use super::settle::{Sought, settle};
use super::token::pieces;
use super::{Attribution, Attributions, Match, Quote, Verdict, place as boxed};

/// Quotes of a leaf that are looked at.
const MAX_QUOTES: usize = 16;
/// Characters of a quote that are looked for.
const MAX_QUOTE_CHARS: usize = 20_000;

/// What is to be proved: the value of a subtree.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Self-contained JSON Schema of the value.
    pub schema: &'a Value,
    pub value: &'a Value,
    /// What the provider said, by JSON Pointer relative to `value`. A quote may have no more than
    /// its text, or its text and a page. The quotes of an object or array stand for those of its
    /// leaves that have none.
    pub attributions: Attributions,
    /// Leaves that break the schema, relative to `value`.
    pub invalid: &'a [Pointer],
    /// What else is known of leaves, by JSON Pointer relative to `value`.
    pub signals: &'a BTreeMap<String, Signals>,
}

/// An attribution for every leaf of the value: quotes at the places where code found them, a
/// verdict, and a confidence.
///
/// Time grows with the leaves and with the places of the rarest word of each quote, at most a few
/// thousand; never with the length of the document.
pub fn prove(document: &Document, index: &Index, claim: Claim<'_>) -> Attributions {
    let Claim {
        schema,
        value,
        attributions,
        invalid,
        signals,
    } = claim;
    let leaves = leaves(schema, value);
    let mut proof = Proof {
        document,
        index,
        sought: Vec::new(),
        claims: HashMap::new(),
        located: HashMap::new(),
    };
    for (at, attribution) in attributions {
        proof.claim(at, attribution);
    }
    settle(document, index, &mut proof.sought);
    let broken: HashSet<&str> = invalid.iter().map(Pointer::as_str).collect();
    let found: Vec<Finding> = proof.findings(&leaves);
    let mut out = Attributions::new();
    for (leaf, finding) in leaves.iter().zip(found) {
        let at = leaf.at.as_str();
        let claimed = proof.claims.remove(at);
        let valid = !broken.contains(at);
        let signals = signals.get(at).copied().unwrap_or_default();
        out.insert(
            at.to_owned(),
            attribution(leaf, finding, claimed, valid, signals),
        );
    }
    out
}

fn attribution(
    leaf: &Leaf<'_>,
    finding: Finding,
    claimed: Option<Claimed>,
    valid: bool,
    signals: Signals,
) -> Attribution {
    let (reasoning, source) = claimed.map_or((None, None), |c| (c.reasoning, c.source));
    let evidence = evidence(finding.verdict, finding.way, finding.rivals);
    let (confidence, parts) = confidence(finding.verdict, evidence, valid, signals, source);
    // Nothing printed speaks for or against what is left out.
    let rated = !leaf.value.is_null();
    Attribution {
        reasoning,
        confidence: rated.then_some(confidence),
        quotes: finding.quotes,
        verdict: Some(finding.verdict),
        confidence_parts: rated.then_some(parts),
    }
}

/// What a provider said of a leaf or an object.
struct Claimed {
    reasoning: Option<String>,
    source: Option<f64>,
    /// Each quote, and its number among what is sought.
    quotes: Vec<(Quote, usize)>,
    /// Quotes of nothing but signs, such as a dash in a table, at the place they named.
    signs: Vec<Quote>,
}

/// What became of a leaf.
struct Finding {
    verdict: Verdict,
    way: Way,
    rivals: usize,
    quotes: Vec<Quote>,
}

impl Finding {
    fn nothing() -> Self {
        Self {
            verdict: Verdict::None,
            way: Way::Searched,
            rivals: 0,
            quotes: Vec::new(),
        }
    }
}

struct Proof<'d> {
    document: &'d Document,
    index: &'d Index,
    sought: Vec<Sought>,
    claims: HashMap<String, Claimed>,
    /// Rows repeat their words: each text is looked for once.
    located: HashMap<String, Rc<Places>>,
}

impl Proof<'_> {
    fn claim(&mut self, at: String, attribution: Attribution) {
        let Some(pointer) = Pointer::parse(&at) else {
            return;
        };
        let (mut quotes, mut signs) = (Vec::new(), Vec::new());
        for quote in attribution.quotes.into_iter().take(MAX_QUOTES) {
            if let Some(sign) = self.named_sign(&quote) {
                signs.push(sign);
                continue;
            }
            let places = self.named_place(&quote).map_or_else(
                || self.located(&quote.text),
                |place| {
                    Rc::new(Places {
                        list: vec![place],
                        more: false,
                    })
                },
            );
            quotes.push((quote.clone(), self.sought.len()));
            let sought = Sought::new(pointer.clone(), places, quote.page, true);
            self.sought.push(sought);
        }
        let claimed = Claimed {
            reasoning: attribution.reasoning,
            source: attribution.confidence,
            quotes,
            signs,
        };
        self.claims.insert(at, claimed);
    }

    fn located(&mut self, text: &str) -> Rc<Places> {
        if let Some(known) = self.located.get(text) {
            return Rc::clone(known);
        }
        let places = if text.len() > MAX_QUOTE_CHARS {
            Places::default()
        } else {
            self.index.locate(&self.index.terms(text))
        };
        let places = Rc::new(places);
        self.located.insert(text.to_owned(), Rc::clone(&places));
        places
    }

    /// A quote without a word in it, if it stands at the offsets it names.
    fn named_sign(&self, quote: &Quote) -> Option<Quote> {
        let (number, start, end) = (quote.page?, quote.start?, quote.end?);
        let pages = &self.document.pages;
        let at = pages.iter().position(|page| page.number == number)?;
        let there = self
            .index
            .slice(self.document, at as u32, start, end.max(start))?;
        let sign = there == quote.text && !there.trim().is_empty() && pieces(there).is_empty();
        sign.then(|| Quote {
            bbox: boxed(self.document, &pages[at], start, end),
            verified: true,
            matched: Match::Exact,
            ..quote.clone()
        })
    }

    /// The place that a quote names by its offsets, if its text stands there and cuts no token.
    fn named_place(&self, quote: &Quote) -> Option<Place> {
        let (number, start, end) = (quote.page?, quote.start?, quote.end?);
        let pages = &self.document.pages;
        let page = pages.iter().position(|page| page.number == number)? as u32;
        let there = self
            .index
            .slice(self.document, page, start, end.max(start))?;
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_lowercase)
                .collect::<Vec<_>>()
        };
        if there != quote.text && words(there) != words(&quote.text) {
            return None;
        }
        let tokens = self.index.pages.get(page as usize)?;
        let range = self
            .index
            .tokens
            .get(tokens.first as usize..tokens.end as usize)?;
        let first = range.partition_point(|token| token.end <= start);
        let last = range
            .partition_point(|token| token.start < end)
            .checked_sub(1)?;
        let (head, tail) = (range.get(first)?, range.get(last)?);
        if first > last || head.start < start || tail.end > end {
            return None;
        }
        let span = Span {
            first: tokens.first + first as u32,
            last: tokens.first + last as u32,
        };
        Some(Place::of(span, Match::Exact))
    }

    /// Leaves with quotes are judged by them; the others are looked for, in the quote of their
    /// object first.
    fn findings(&mut self, leaves: &[Leaf<'_>]) -> Vec<Finding> {
        let mut found: Vec<Option<Finding>> =
            leaves.iter().map(|leaf| self.claimed(leaf)).collect();
        let mut searched: Vec<(usize, Hits, usize)> = Vec::new();
        let mut known: HashMap<String, Hits> = HashMap::new();
        for (number, leaf) in leaves.iter().enumerate() {
            if found[number].is_none() {
                found[number] = self.around(leaf);
            }
            if found[number].is_none() {
                let hits = known
                    .entry(format!("{}{}", leaf.facts.choices.len().min(1), leaf.value))
                    .or_insert_with(|| self.index.search(leaf))
                    .clone();
                searched.push((number, hits, self.sought.len()));
                let (_, hits, _) = &searched[searched.len() - 1];
                let sought =
                    Sought::new(leaf.at.clone(), Rc::clone(&hits.places), None, hits.strong);
                self.sought.push(sought);
            }
        }
        settle(self.document, self.index, &mut self.sought);
        for (number, hits, sought) in searched {
            found[number] = Some(self.searched(&leaves[number], &hits, sought));
        }
        let all = found.into_iter();
        all.map(|finding| finding.unwrap_or_else(Finding::nothing))
            .collect()
    }

    /// What the leaf's own quotes say; `None` without any.
    fn claimed(&self, leaf: &Leaf<'_>) -> Option<Finding> {
        let claimed = self.claims.get(leaf.at.as_str())?;
        if claimed.quotes.is_empty() {
            return signs(leaf, &claimed.signs);
        }
        let mut best = Bearing::Differs;
        let (mut settled, mut there) = (Vec::new(), false);
        let (mut matched, mut rivals) = (Match::Fuzzy, 0);
        for (_, number) in &claimed.quotes {
            let sought = &self.sought[*number];
            there |= !sought.places.list.is_empty() || sought.places.more;
            let Some(place) = sought.place() else {
                best = best.max(self.unsettled(leaf, sought));
                continue;
            };
            let passage = Passage::of(self.document, self.index, place);
            let bearing = passage.bears(leaf);
            if bearing > best || (bearing == best && settled.is_empty()) {
                matched = place.matched;
                rivals = passage.rivals(leaf.value);
            }
            best = best.max(bearing);
            settled.push(passage);
        }
        if best == Bearing::Differs && settled.len() > 1 {
            best = together(&settled, leaf);
        }
        let quotes = self.quotes(claimed);
        let exact = quotes.iter().any(|quote| quote.matched == Match::Exact);
        if exact && matched == Match::Normalized {
            matched = Match::Exact;
        }
        let verdict = match best {
            _ if leaf.value.is_null() => Verdict::None,
            Bearing::Follows => Verdict::Verified,
            Bearing::Open => Verdict::Ambiguous,
            Bearing::Differs if there => Verdict::Mismatch,
            Bearing::Differs => Verdict::NotFound,
        };
        Some(Finding {
            verdict,
            way: Way::Quoted(matched),
            rivals,
            quotes,
        })
    }

    /// A value whose quote stands at several places follows from it at best perhaps.
    fn unsettled(&self, leaf: &Leaf<'_>, sought: &Sought) -> Bearing {
        if sought.places.more {
            return Bearing::Open;
        }
        let bears = |place: &Place| {
            let passage = Passage::of(self.document, self.index, place);
            passage.bears(leaf).min(Bearing::Open)
        };
        let some = sought.places.list.iter().take(16).map(bears);
        some.max().unwrap_or(Bearing::Differs)
    }

    /// The quotes of a claim at their places. One over the end of a page becomes two.
    fn quotes(&self, claimed: &Claimed) -> Vec<Quote> {
        let mut out = claimed.signs.clone();
        for (quote, number) in &claimed.quotes {
            let sought = &self.sought[*number];
            match sought.place() {
                Some(place) => out.extend(self.placed(place, &quote.text)),
                None => out.push(Quote {
                    text: quote.text.clone(),
                    matched: sought
                        .places
                        .list
                        .first()
                        .map_or(Match::None, |p| p.matched),
                    ..nowhere()
                }),
            }
        }
        out
    }

    /// The quote at a place, in the page's own words.
    fn placed(&self, place: &Place, text: &str) -> Vec<Quote> {
        let Some(rest) = place.rest else {
            return self
                .quote(place.span, place.matched, text)
                .into_iter()
                .collect();
        };
        let parts = [place.span, rest].into_iter();
        parts
            .filter_map(|span| self.quote(span, place.matched, ""))
            .collect()
    }

    fn quote(&self, span: Span, matched: Match, text: &str) -> Option<Quote> {
        let (first, last) = (
            self.index.tokens.get(span.first as usize)?,
            self.index.tokens.get(span.last as usize)?,
        );
        let page = self.document.pages.get(first.page as usize)?;
        let slice = |start, end| self.index.slice(self.document, first.page, start, end);
        let (mut start, mut end) = (first.start, last.end);
        let mut matched = matched;
        if let Some((before, after)) = signs_around(text) {
            // Signs at the ends of a quote are no tokens; with them it may be exact.
            let wide = start.checked_sub(before).and_then(|from| {
                let there = slice(from, end + after)?;
                (there == text.trim()).then_some((from, end + after))
            });
            if let Some(wide) = wide {
                (start, end) = wide;
                matched = Match::Exact;
            }
        }
        Some(Quote {
            text: slice(start, end)?.to_owned(),
            page: Some(page.number),
            bbox: boxed(self.document, page, start, end),
            start: Some(start),
            end: Some(end),
            verified: true,
            matched,
        })
    }

    /// The leaf inside the quote of the nearest object around it.
    fn around(&self, leaf: &Leaf<'_>) -> Option<Finding> {
        if leaf.value.is_null() {
            return None;
        }
        let mut at = leaf.at.parent();
        while let Some(object) = at {
            if let Some(claimed) = self.claims.get(object.as_str()) {
                let places = claimed
                    .quotes
                    .iter()
                    .filter_map(|(_, number)| self.sought[*number].place());
                for place in places {
                    if let Some(finding) = self.within(leaf, place) {
                        return Some(finding);
                    }
                }
            }
            at = object.parent();
        }
        None
    }

    fn within(&self, leaf: &Leaf<'_>, place: &Place) -> Option<Finding> {
        let passage = Passage::of(self.document, self.index, place);
        if passage.bears(leaf) == Bearing::Differs {
            return None;
        }
        let hits = self.index.search(leaf);
        let inside = |hit: &&Place| {
            place.tokens().any(|token| token == hit.span.first)
                && place.tokens().any(|token| token == hit.span.last)
        };
        let list: Vec<&Place> = hits.places.list.iter().filter(inside).collect();
        let only = match list.as_slice() {
            [only] => Some(Passage::of(self.document, self.index, only).bears(leaf)),
            _ => None,
        };
        let (verdict, span) = match only {
            Some(Bearing::Follows) => (Verdict::Verified, list[0].span),
            Some(_) => (Verdict::Ambiguous, list[0].span),
            None => (Verdict::Ambiguous, place.span),
        };
        Some(Finding {
            verdict,
            way: Way::Around,
            rivals: 0,
            quotes: self.quote(span, Match::Exact, "").into_iter().collect(),
        })
    }

    fn searched(&self, leaf: &Leaf<'_>, hits: &Hits, number: usize) -> Finding {
        let sought = &self.sought[number];
        if leaf.value.is_null() || (sought.places.list.is_empty() && !sought.places.more) {
            return Finding::nothing();
        }
        let Some(place) = sought.place() else {
            return Finding {
                verdict: Verdict::Ambiguous,
                ..Finding::nothing()
            };
        };
        let passage = Passage::of(self.document, self.index, place);
        let verdict = match passage.bears(leaf) {
            Bearing::Follows if hits.strong => Verdict::Verified,
            Bearing::Differs => return Finding::nothing(),
            _ => Verdict::Ambiguous,
        };
        Finding {
            verdict,
            way: Way::Searched,
            rivals: 0,
            quotes: self.placed(
                &Place {
                    matched: Match::Exact,
                    ..*place
                },
                "",
            ),
        }
    }
}

/// A leaf whose quotes have no words.
fn signs(leaf: &Leaf<'_>, quotes: &[Quote]) -> Option<Finding> {
    let first = quotes.first()?;
    let same = leaf.value.as_str().map(str::trim) == Some(first.text.trim());
    Some(Finding {
        verdict: if same {
            Verdict::Verified
        } else {
            Verdict::Ambiguous
        },
        way: Way::Quoted(Match::Exact),
        rivals: 0,
        quotes: quotes.to_vec(),
    })
}

/// A text that is put together from several quotes.
fn together(passages: &[Passage<'_>], leaf: &Leaf<'_>) -> Bearing {
    let (Some(first), Some(text)) = (passages.first(), leaf.value.as_str()) else {
        return Bearing::Differs;
    };
    let mut tokens: Vec<u32> = passages.iter().flat_map(|p| p.tokens.clone()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let whole = Passage { tokens, ..*first };
    if whole.bears(leaf) == Bearing::Follows {
        return Bearing::Follows;
    }
    let mut rest = first.index.terms(text);
    let parts = passages.len();
    for passage in passages {
        // The longest beginning of what is left that stands in this quote.
        let taken = (1..=rest.len()).rev().find(|count| {
            !first
                .index
                .inside(&passage.tokens, &rest[..*count])
                .is_empty()
        });
        rest.drain(..taken.unwrap_or(0));
    }
    if rest.is_empty() && parts > 1 {
        Bearing::Follows
    } else {
        Bearing::Differs
    }
}

/// Characters of a quote before its first and behind its last token; `None` without tokens.
fn signs_around(text: &str) -> Option<(u32, u32)> {
    let text = text.trim();
    let all = pieces(text);
    let (first, last) = (all.first()?, all.last()?);
    let count = text.chars().count();
    Some((first.start as u32, (count - last.end) as u32))
}

fn nowhere() -> Quote {
    Quote {
        text: String::new(),
        page: None,
        bbox: None,
        start: None,
        end: None,
        verified: false,
        matched: Match::None,
    }
}
