//! The rows that a model is shown so that the others can be read without it.

use std::collections::HashMap;
use std::ops::Range;

use super::lines::Line;
use super::{Part, Tables, stretch};
use crate::domain::rows::{Survey, Window};

/// Rows at the beginning and at the end of a table; and of one whose header is known already.
const EDGES: (usize, usize) = (5, 3);
const EDGES_AGAIN: (usize, usize) = (2, 2);
/// Rows from all over it: what is meant may change without a word.
const SPREAD: usize = 6;
/// Lines behind a table that are shown with its last row.
const BEHIND: usize = 4;
/// Rows of each kind.
const OF_A_KIND: usize = 2;
/// Of all rows those, in hundredths, that a usual kind has at least.
const USUAL: usize = 3;
/// Rows of one sample; and of those over the end of a page, which are all shown.
const MOST: usize = 32;
const MOST_PARTED: usize = 40;

/// Some rows of a table, with its heading and its end.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is shown.
    pub window: Window,
    /// Index into the parts.
    pub(super) part: usize,
    /// Into the rows; in order.
    pub(super) rows: Vec<usize>,
}

impl Sample {
    /// How many rows a model must find.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

impl Tables {
    /// Rows of each table, those at its edges and some of each kind.
    pub fn samples(&self, survey: &Survey) -> Vec<Sample> {
        let mut known: Vec<&str> = Vec::new();
        let mut samples = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            let is_known = match self.own {
                Some(own) => own != at,
                None => !self.has_twins && known.contains(&part.header.as_str()),
            };
            let rows = self.chosen(part, is_known);
            // Of fewer nothing could be learned.
            if rows.len() >= EDGES_AGAIN.0 + EDGES_AGAIN.1 {
                samples.extend(self.sample(survey, at, rows));
            }
            known.push(&part.header);
        }
        samples
    }

    fn chosen(&self, part: &Part, is_known: bool) -> Vec<usize> {
        let clear: Vec<usize> = part
            .rows
            .clone()
            .filter(|row| self.is_clear(part, *row))
            .collect();
        let (first, last) = if is_known { EDGES_AGAIN } else { EDGES };
        let mut chosen: Vec<usize> = clear.iter().copied().take(first).collect();
        chosen.extend(clear.iter().rev().take(last));
        if !is_known {
            let spread = (1..=SPREAD).map(|number| clear.len() * number / (SPREAD + 1));
            let spread = spread.filter_map(|at| clear.get(at));
            chosen.extend(spread);
            self.add_kinds(&clear, &mut chosen);
        }
        chosen.truncate(MOST);
        // Nothing but a reader can tell for certain what goes on over the end of a page.
        let parted = clear.iter().filter(|row| self.rows[**row].is_parted);
        chosen.extend(parted.take(MOST_PARTED));
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Adds rows of the kinds that are not among those chosen yet, from different places.
    fn add_kinds(&self, clear: &[usize], chosen: &mut Vec<usize>) {
        let mut kinds: HashMap<u32, Vec<usize>> = HashMap::new();
        for row in clear {
            kinds.entry(self.rows[*row].kind).or_default().push(*row);
        }
        let mut kinds: Vec<(u32, Vec<usize>)> = kinds.into_iter().collect();
        kinds.sort_by_key(|(kind, rows)| (std::cmp::Reverse(rows.len()), *kind));
        for (kind, rows) in kinds {
            let has = |row: &&usize| self.rows[**row].kind == kind;
            let has = chosen.iter().filter(has).count();
            for number in has..OF_A_KIND {
                let at = rows.len() * (number + 1) / (OF_A_KIND + 1);
                chosen.extend(rows.get(at).filter(|row| !chosen.contains(row)));
            }
        }
    }

    /// How many rows there are of each kind.
    pub(super) fn counts(&self) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        for row in &self.rows {
            *counts.entry(row.kind).or_insert(0) += 1;
        }
        counts
    }

    /// How many rows a usual kind has.
    pub(super) fn usual(&self) -> usize {
        (self.rows.len() * USUAL / 100).max(OF_A_KIND)
    }

    /// Whether nothing stands beside a row that may be a part of it.
    pub(super) fn is_clear(&self, part: &Part, row: usize) -> bool {
        let own = &self.rows[row].lines;
        let from = match row.checked_sub(1) {
            Some(above) if part.rows.contains(&above) => self.rows[above].lines.end,
            _ => part.lines.start,
        };
        let to = match self.rows.get(row + 1) {
            Some(below) if part.rows.contains(&(row + 1)) => below.lines.start,
            _ => part.lines.end,
        };
        let around = self.lines[from..own.start].iter();
        let mut around = around.chain(&self.lines[own.end..to.max(own.end)]);
        !around.any(|line| *line == Line::Other)
    }

    /// A sample of these rows, which are in order.
    pub(super) fn sample(&self, survey: &Survey, at: usize, rows: Vec<usize>) -> Option<Sample> {
        let part = self.parts.get(at)?;
        let mut runs: Vec<Range<usize>> = Vec::new();
        let begin = self.rows[part.rows.start].lines.start;
        runs.push(part.lines.start..begin);
        for row in &rows {
            let lines = self.rows[*row].lines.clone();
            let is_next = |run: &Range<usize>| self.is_next(run.end, lines.start);
            match runs.last_mut() {
                Some(run) if is_next(run) => run.end = lines.end,
                _ => runs.push(lines),
            }
        }
        let end = self.rows[part.rows.end - 1].lines.end;
        // Also what ends the table: it may go on with its last row.
        let next = self.rows.get(part.rows.end);
        let next = next.map_or(self.lines.len(), |row| row.lines.start);
        let until = part.lines.end.max(next.min(end + BEHIND));
        match runs.last_mut() {
            Some(run) if run.end == end => run.end = until,
            _ => runs.push(end..until),
        }
        let shown = runs.iter().filter(|run| !run.is_empty());
        let mut context: Vec<_> = shown.filter_map(|run| stretch(survey, run)).collect();
        let shown = context.pop()?;
        Some(Sample {
            window: Window {
                shown,
                own: shown,
                context,
            },
            part: at,
            rows,
        })
    }

    /// Whether nothing but the edge of a page or a sum stands between.
    fn is_next(&self, end: usize, start: usize) -> bool {
        let between = self.lines.get(end..start).unwrap_or_default();
        between.len() <= 8 && between.iter().all(|line| *line == Line::Noise)
    }
}
