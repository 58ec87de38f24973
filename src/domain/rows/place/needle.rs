//! What is looked for of a row, and the lines it is looked for on.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use super::super::printed::bare;
use super::super::survey::{Edge, Survey};
use crate::domain::value::date::{self, Date, Order};
use crate::domain::value::decimal::Decimal;

/// Values of one row that are looked for.
const MOST_NEEDLES: usize = 60;
/// Words of a text that are looked for.
const MOST_WORDS: usize = 60;
/// Objects inside each other.
const MOST_DEPTH: usize = 6;
/// Lines above a row's own on which its texts may begin.
const LINES_ABOVE: usize = 2;
/// Lines in a row that say nothing of a text, after which it is over.
const BARREN: usize = 5;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Needle {
    /// JSON Pointer relative to the row.
    pub at: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// Bare words in their order.
    Words(Vec<String>),
    /// Without its sign.
    Number(Decimal),
    Day(i32, u32, u32),
}

/// What is looked for of a row: its numbers, dates and texts, those of objects inside it, and
/// where it has none those of the first row of an array inside it.
pub(crate) fn needles(row: &Value, inner: &[&str], order: Order) -> Vec<Needle> {
    let mut found = Vec::new();
    gather(row, "", inner, order, 0, &mut found);
    if found.is_empty() {
        for key in inner {
            if let Some(first) = row.get(key).and_then(|rows| rows.get(0)) {
                gather(first, &format!("/{key}/0"), &[], order, 0, &mut found);
            }
        }
    }
    found
}

fn gather(
    value: &Value,
    at: &str,
    without: &[&str],
    order: Order,
    depth: usize,
    found: &mut Vec<Needle>,
) {
    if depth > MOST_DEPTH || found.len() >= MOST_NEEDLES {
        return;
    }
    let what = match value {
        Value::Null | Value::Bool(_) => None,
        Value::Number(number) => Decimal::parse(&number.to_string()).map(|n| What::Number(size(n))),
        Value::String(text) => text_of(text, order),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                gather(item, &format!("{at}/{index}"), &[], order, depth + 1, found);
            }
            None
        }
        Value::Object(members) => {
            for (key, value) in members {
                if !without.contains(&key.as_str()) {
                    gather(value, &format!("{at}/{key}"), &[], order, depth + 1, found);
                }
            }
            None
        }
    };
    if let Some(what) = what {
        found.push(Needle {
            at: at.to_owned(),
            what,
        });
    }
}

/// The number without its sign: columns of debits are printed without one.
pub(crate) fn size(number: Decimal) -> Decimal {
    if number.is_negative() {
        number.negated()
    } else {
        number
    }
}

fn text_of(text: &str, order: Order) -> Option<What> {
    let words: Vec<String> = text
        .split_whitespace()
        .map(bare)
        .filter(|word| !word.is_empty())
        .take(MOST_WORDS)
        .collect();
    let is_day = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-');
    if is_day && let Some((date, ..)) = date::find(&[text], order).first() {
        return Some(day(*date));
    }
    (!words.is_empty()).then_some(What::Words(words))
}

fn day(date: Date) -> What {
    What::Day(date.year, date.month, date.day)
}

/// Lines with what stands on them.
pub(crate) struct Haystack<'s> {
    survey: &'s Survey,
    /// Indices into the survey's lines, in order.
    lines: &'s [usize],
    by_word: HashMap<&'s str, Vec<u32>>,
    by_value: HashMap<&'s What, Vec<u32>>,
}

/// What stands on a line.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Bare words, each with its cell.
    words: Vec<(String, usize)>,
    /// Numbers and days, each with its cell.
    values: Vec<(What, usize)>,
}

impl Content {
    pub(crate) fn of(survey: &Survey, line: usize) -> Self {
        let cells = survey.cells(line);
        let start = cells.first().map_or(0, |cell| cell.first);
        let of = |at: usize| cells.partition_point(|cell| cell.last < at + start);
        let words = survey.words(line).iter().enumerate();
        let words = words
            .map(|(at, word)| (bare(&word.text), of(at)))
            .filter(|(word, _)| !word.is_empty());
        let figures = survey.figures(line).into_iter();
        let mut values: Vec<(What, usize)> = figures
            .map(|figure| (What::Number(size(figure.value)), figure.cell))
            .collect();
        for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.has_digit) {
            let text = survey.cell_text(line, cell);
            let words: Vec<&str> = text.split(' ').collect();
            let days = date::find(&words, survey.order).into_iter();
            values.extend(days.map(|(date, ..)| (day(date), index)));
        }
        Self {
            words: words.collect(),
            values,
        }
    }
}

impl<'s> Haystack<'s> {
    pub(crate) fn of(survey: &'s Survey, lines: &'s [usize]) -> Self {
        let mut hay = Self {
            survey,
            lines,
            by_word: HashMap::new(),
            by_value: HashMap::new(),
        };
        for (at, line) in lines.iter().enumerate() {
            let content = survey.content(*line);
            for (word, _) in &content.words {
                push(hay.by_word.entry(word).or_default(), at as u32);
            }
            for (value, _) in &content.values {
                push(hay.by_value.entry(value).or_default(), at as u32);
            }
        }
        hay
    }

    fn content(&self, at: usize) -> &'s Content {
        self.survey.content(self.lines[at])
    }

    /// The lines on which a needle stands or begins.
    pub(super) fn lines(&self, needle: &Needle) -> impl Iterator<Item = usize> + '_ {
        self.postings(needle).iter().map(|line| *line as usize)
    }

    fn postings(&self, needle: &Needle) -> &[u32] {
        let found = match &needle.what {
            What::Words(words) => words
                .first()
                .and_then(|word| self.by_word.get(word.as_str())),
            value => self.by_value.get(value),
        };
        found.map_or(&[], Vec::as_slice)
    }

    pub(super) fn count(&self, needle: &Needle) -> usize {
        self.postings(needle).len()
    }

    /// How much a needle tells of its row's place: rare ones most.
    pub(super) fn weight(&self, needle: &Needle) -> f32 {
        match self.count(needle) {
            // What is printed in another form than the value.
            0 => 0.25,
            count => 1.0 / (1.0 + (count as f32).log2()),
        }
    }

    /// 0..=1: how much of a needle stands in a row that begins on `line`.
    pub(super) fn likeness(&self, needle: &Needle, line: usize, limit: usize) -> f32 {
        match &needle.what {
            What::Words(words) => {
                let (matched, _) = self.best_run(words, line, limit);
                let part = matched as f32 / words.len().max(1) as f32;
                if matched == words.len() {
                    1.0
                } else {
                    0.5 * part
                }
            }
            value if self.has(line, value).is_some() => 1.0,
            value => {
                let end = self.lines.len().min(line + limit.min(3));
                let near = (line.saturating_sub(1)..end).any(|at| self.has(at, value).is_some());
                if near { 0.5 } else { 0.0 }
            }
        }
    }

    fn has(&self, line: usize, value: &What) -> Option<usize> {
        let mut found = self
            .content(line)
            .values
            .iter()
            .filter(|(known, _)| known == value);
        found.next().map(|(_, cell)| *cell)
    }

    /// The most of the words that stand in their order from `line`, or a little above it, on.
    fn best_run(&self, words: &[String], line: usize, limit: usize) -> (usize, Range<usize>) {
        let mut best = (0, line..line + 1);
        for start in (line.saturating_sub(LINES_ABOVE)..=line).rev() {
            let run = self.run(words, start, limit);
            if run.0 > best.0 {
                best = run;
            }
            if best.0 == words.len() {
                break;
            }
        }
        best
    }

    /// How many of the words stand in their order from `line` on, the first of them on it.
    fn run(&self, words: &[String], line: usize, limit: usize) -> (usize, Range<usize>) {
        let (mut matched, mut last) = (0, line);
        let end = self.lines.len().min(line + limit.max(1));
        for at in line..end {
            let before = matched;
            for (word, _) in &self.content(at).words {
                matched += usize::from(words.get(matched) == Some(word));
            }
            if matched > before {
                last = at;
            }
            if matched == words.len() || matched == 0 || at - last > BARREN {
                break;
            }
        }
        (matched, line..last + 1)
    }

    /// The lines, of those that are looked at, on which a row stands that begins on `line`.
    pub(super) fn span(&self, needles: &[Needle], line: usize, limit: usize) -> Range<usize> {
        let mut span = line..line + 1;
        for needle in needles {
            if let What::Words(words) = &needle.what {
                let (matched, lines) = self.best_run(words, line, limit);
                if matched == words.len() {
                    span.end = span.end.max(lines.end);
                }
            }
        }
        span
    }

    /// The edges of the cells in which a needle stands or begins, in a row of the lines `row` of
    /// those looked at. None where it does not stand there.
    pub(crate) fn edges(&self, needle: &Needle, row: Range<usize>) -> Vec<Edge> {
        let edge = |at: usize, cell: usize| {
            let cells = self.survey.cells(self.lines[at]);
            cells.get(cell).map(|cell| cell.edge)
        };
        match &needle.what {
            What::Words(words) => {
                let (matched, _) = self.run(words, row.start, row.len());
                if matched * 5 < words.len() * 3 {
                    return Vec::new();
                }
                let first = self.content(row.start).words.iter();
                let first = first.filter(|(word, _)| words.first() == Some(word));
                first
                    .filter_map(|(_, cell)| edge(row.start, *cell))
                    .collect()
            }
            value => {
                let mut found = Vec::new();
                for at in row {
                    let known = self.content(at).values.iter();
                    let known = known.filter(|(known, _)| known == value);
                    found.extend(known.filter_map(|(_, cell)| edge(at, *cell)));
                }
                found
            }
        }
    }
}

fn push(list: &mut Vec<u32>, line: u32) {
    if list.last() != Some(&line) {
        list.push(line);
    }
}
