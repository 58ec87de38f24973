//! Labels: where a document says what the value beside or below means.

use std::collections::HashMap;

use crate::domain::document::{Document, Word};

use super::lexicon::lexicon;
use super::page::{Sheet, bare};
use super::text::{key, tokens};

/// How a label is told from other text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A colon ends it.
    Colon,
    /// It is all its cell says.
    Whole,
    /// It begins its cell; what follows may be its value.
    Prefix,
}

/// A piece of a cell that may be a label.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub cell: usize,
    /// Words of the page, both included.
    pub first: usize,
    pub last: usize,
    /// Last word of the cell that can belong to its value; `last` when nothing follows.
    pub value_end: usize,
    pub mark: Mark,
    /// Distinct tokens, sorted.
    tokens: Vec<String>,
    /// How sure the reading as a label is; alternatives (`A / B`) and cut forms are less so.
    weight: f32,
}

/// All labels of a document, found by their words.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub list: Vec<Label>,
    exact: HashMap<String, Vec<u32>>,
    by_token: HashMap<String, Vec<u32>>,
}

/// A label asked for, and how well it names the field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Phrase {
    pub tokens: Vec<String>,
    pub weight: f32,
}

/// A label found, and how well it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub label: usize,
    pub score: f32,
}

/// The most words of a label, and the longest label that stands without a colon.
const LONGEST: usize = 14;
const LONGEST_PREFIX: usize = 6;
/// Labels looked through for one phrase that is not found word for word.
const SCAN: usize = 600;

impl Labels {
    pub(super) fn of(document: &Document, sheet: &Sheet) -> Self {
        let mut labels = Self::default();
        for (index, cell) in sheet.cells.iter().enumerate() {
            if let Some(page) = document.pages.get(cell.span.page) {
                labels.add_cell(&page.words, index, cell.span.first, cell.span.last);
            }
        }
        labels
    }

    fn add_cell(&mut self, words: &[Word], cell: usize, first: usize, last: usize) {
        let word = |at: usize| words.get(at).map_or("", |word| bare(&word.text));
        let colons: Vec<usize> = (first..=last)
            .filter(|at| ends_label(word(*at)))
            .take(12)
            .collect();
        for (nth, at) in colons.iter().copied().enumerate() {
            let end = colons.get(nth + 1).map_or(last, |next| next - 1);
            let from = if nth == 0 { first } else { colons[nth - 1] + 1 };
            let separator = (from..at).rev().find(|at| is_separator(word(*at)));
            let far = at.saturating_sub(LONGEST);
            let mut starts = Vec::new();
            match separator {
                Some(separator) => starts.push((separator + 1).max(far)),
                None if nth > 0 => starts.extend(from.max(at.saturating_sub(3))..=at),
                None => {}
            }
            if nth == 0 && !starts.contains(&first.max(far)) {
                starts.push(first.max(far));
            }
            // The words before the next colon are its label; where they begin only a separator tells.
            let value_end = (at + 1..=end)
                .rev()
                .find(|w| nth + 1 < colons.len() && is_separator(word(*w)))
                .map_or(end, |separator| separator - 1)
                .max(at);
            for start in starts {
                self.add(words, cell, (start, at), value_end, Mark::Colon);
            }
        }
        if colons.is_empty() && last - first < 2 * LONGEST {
            self.add(words, cell, (first, last), last, Mark::Whole);
        }
        let (open, end) = match colons.first() {
            Some(colon) => (colon.saturating_sub(1), colon.saturating_sub(1)),
            None => (last, last),
        };
        for at in first..open.min(first + LONGEST_PREFIX) {
            let mark = if is_set_off(words, first, at, end) {
                Mark::Colon
            } else {
                Mark::Prefix
            };
            self.add(words, cell, (first, at), end, mark);
        }
    }

    fn add(
        &mut self,
        words: &[Word],
        cell: usize,
        (first, last): (usize, usize),
        value_end: usize,
        mark: Mark,
    ) {
        let Some(range) = words.get(first..=last) else {
            return;
        };
        let text: Vec<&str> = range.iter().map(|word| bare(&word.text)).collect();
        for (tokens, weight) in readings(&text) {
            let index = self.list.len() as u32;
            self.exact.entry(key(&tokens)).or_default().push(index);
            if mark != Mark::Prefix {
                for token in &tokens {
                    self.by_token.entry(token.clone()).or_default().push(index);
                }
            }
            self.list.push(Label {
                cell,
                first,
                last,
                value_end,
                mark,
                tokens,
                weight,
            });
        }
    }

    /// The labels that answer any of the phrases, the best first; each place once.
    pub(super) fn find(&self, phrases: &[Phrase]) -> Vec<Hit> {
        let mut best: HashMap<(usize, usize, usize), Hit> = HashMap::new();
        let mut offer = |index: usize, score: f32| {
            let label = &self.list[index];
            let score = score * label.weight;
            let hit = best
                .entry((label.cell, label.first, label.last))
                .or_insert(Hit {
                    label: index,
                    score,
                });
            if score > hit.score {
                *hit = Hit {
                    label: index,
                    score,
                };
            }
        };
        for phrase in phrases {
            for index in self
                .exact
                .get(&key(&phrase.tokens))
                .into_iter()
                .flatten()
                .take(SCAN)
            {
                offer(*index as usize, phrase.weight);
            }
            for (index, likeness) in self.alike(&phrase.tokens) {
                offer(index, phrase.weight * likeness);
            }
        }
        let mut hits: Vec<Hit> = best.into_values().collect();
        hits.sort_by(|a, b| {
            let place = |hit: &Hit| {
                (
                    self.list[hit.label].cell,
                    self.list[hit.label].first,
                    hit.label,
                )
            };
            b.score.total_cmp(&a.score).then(place(a).cmp(&place(b)))
        });
        hits
    }

    /// Labels that say the phrase and one or two words more that do not turn its meaning.
    fn alike(&self, phrase: &[String]) -> Vec<(usize, f32)> {
        if phrase.len() < 2 {
            return Vec::new();
        }
        let lists: Option<Vec<&Vec<u32>>> = phrase
            .iter()
            .map(|token| self.by_token.get(token))
            .collect();
        let Some(shortest) =
            lists.and_then(|lists| lists.into_iter().min_by_key(|list| list.len()))
        else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for index in shortest.iter().take(SCAN).map(|index| *index as usize) {
            let label = &self.list[index].tokens;
            let extra = label.len().saturating_sub(phrase.len());
            let all = phrase
                .iter()
                .all(|token| label.binary_search(token).is_ok());
            let turned = || {
                label.iter().any(|token| {
                    lexicon().turns.contains(&token.as_str()) && !phrase.contains(token)
                })
            };
            if all && (1..=2).contains(&extra) && extra < phrase.len() && !turned() {
                found.push((index, if extra == 1 { 0.85 } else { 0.75 }));
            }
        }
        found
    }
}

/// Whether a word ends a label: a colon that is no part of a time or an address.
fn ends_label(word: &str) -> bool {
    word.ends_with(':') && !word.starts_with("http")
}

/// Whether a label is bold and the few words behind it are not. A bold heading that runs into
/// its sentence ends in a point.
fn is_set_off(words: &[Word], first: usize, last: usize, end: usize) -> bool {
    let run = |range: std::ops::RangeInclusive<usize>, bold: bool| {
        words
            .get(range)
            .is_some_and(|words| !words.is_empty() && words.iter().all(|word| word.bold == bold))
    };
    end > last
        && end - last <= LONGEST
        && run(first..=last, true)
        && run(last + 1..=end, false)
        && !words[last].text.ends_with(['.', ',', ';'])
}

fn is_separator(word: &str) -> bool {
    matches!(word, "-" | "–" | "—" | "|" | "•" | "·" | "/" | ";" | "●")
        || word.ends_with([';', '|'])
}

/// The ways to read words as a label: as they stand, without what is in brackets, without a
/// leading number, and either side of a slash.
fn readings(words: &[&str]) -> Vec<(Vec<String>, f32)> {
    let mut all: Vec<(Vec<String>, f32)> = Vec::new();
    let mut add = |text: &str, weight: f32| {
        let mut tokens = tokens(text);
        tokens.sort_unstable();
        tokens.dedup();
        if !tokens.is_empty()
            && tokens.len() <= LONGEST
            && all.iter().all(|(known, _)| *known != tokens)
        {
            all.push((tokens, weight));
        }
    };
    let text = words.join(" ");
    add(&text, 1.0);
    if let (Some(open), Some(close)) = (text.find('('), text.rfind(')'))
        && open < close
    {
        add(&format!("{} {}", &text[..open], &text[close + 1..]), 0.97);
    }
    if let Some((head, _)) = text.split_once(',')
        && tokens(head).len() >= 2
    {
        add(head, 0.93);
    }
    let rate = |word: &&str| {
        let number = word.trim_matches(|c: char| !c.is_ascii_digit() && c != '%');
        !number.is_empty()
            && number
                .chars()
                .all(|c| matches!(c, '0'..='9' | '.' | ',' | '%'))
    };
    if words.iter().any(|word| word.contains('%')) && words.len() > 1 {
        // `VAT 19%` labels the amount, whatever the rate.
        let plain: Vec<&str> = words.iter().copied().filter(|word| !rate(word)).collect();
        add(&plain.join(" "), 0.97);
    }
    let skip = enumerators(words);
    if skip > 0 && skip < words.len() {
        add(&words[skip..].join(" "), 0.97);
    }
    let parts: Vec<&str> = text.split('/').collect();
    if (2..=3).contains(&parts.len()) {
        for part in parts {
            add(part, 0.93);
        }
    }
    all
}

/// How many leading words only count: `1.`, `(a)`, `Box 4 -`, `e —`.
fn enumerators(words: &[&str]) -> usize {
    let mut count = 0;
    for word in words.iter().take(3) {
        let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
        let counts = inner.is_empty()
            || inner.eq_ignore_ascii_case("box")
            || inner.eq_ignore_ascii_case("item")
            || (inner.len() <= 2 && inner.chars().any(|c| c.is_ascii_digit()))
            || (inner.len() == 1
                && (word.len() > 1 || words.get(count + 1).is_some_and(|next| is_separator(next))));
        if !counts {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let words: Vec<&str> = text.split(' ').collect();
        readings(&words)
            .into_iter()
            .map(|(tokens, _)| tokens.join(" "))
            .collect()
    }

    #[test]
    fn a_label_is_read_without_brackets_numbers_and_by_its_alternatives() {
        assert!(read("Date (MM/DD/YYYY):").contains(&"date".to_owned()));
        assert!(
            read("Box 4 — Federal income tax withheld:")
                .contains(&"federal income tax withheld".to_owned())
        );
        assert!(read("Binder/Policy No.:").contains(&"number policy".to_owned()));
        assert!(read("7. EMPLOYEE Name").contains(&"employee name".to_owned()));
    }

    #[test]
    fn a_time_or_an_address_is_no_label() {
        assert!(!ends_label("http:"));
        assert!(!ends_label("10:30"));
        assert!(ends_label("Datum:"));
    }
}
