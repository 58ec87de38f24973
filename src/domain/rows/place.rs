//! The lines that rows stand on.

mod chain;
mod needle;

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use self::chain::{Candidate, chain};
pub(crate) use self::needle::{Content, Haystack, Needle, needles};
use super::survey::Survey;
use super::{List, Stretch, Window};

/// Lines of one row that are looked at.
const ROW_LINES: usize = 14;
/// Places that are weighed for one row.
const MOST_CANDIDATES: usize = 40;
/// A word or number that stands on more lines than this tells of no place.
const COMMON: usize = 400;
/// The part of a row's weight that must stand at its place.
const ENOUGH: f32 = 0.5;

/// For each row that was read in a window, in its order, the lines it stands on. Each line is the
/// first of one row at most, and later rows stand further down; a row that stands out of order is
/// placed only where all of it is found. `None` for a row that was not found.
pub fn place(
    survey: &Survey,
    list: &List,
    window: &Window,
    rows: &[Value],
) -> Vec<Option<Stretch>> {
    let mut lines: Vec<usize> = Vec::new();
    for stretch in window.context.iter().chain([&window.shown]) {
        lines.extend(survey.lines_of(*stretch));
    }
    lines.sort_unstable();
    lines.dedup();
    let inner: Vec<&str> = list.inner().collect();
    let found = find(survey, &inner, &lines, rows);
    let stretch = |found: Found| survey.stretch(found.lines.start, found.lines.end - 1);
    found
        .into_iter()
        .map(|found| found.and_then(stretch))
        .collect()
}

/// Where a row was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub lines: Range<usize>,
}

/// Places rows on some lines of a document, which are in order. `inner`: names of the arrays
/// inside a row, which tell nothing of its place.
pub(crate) fn find(
    survey: &Survey,
    inner: &[&str],
    lines: &[usize],
    rows: &[Value],
) -> Vec<Option<Found>> {
    let hay = Haystack::of(survey, lines);
    let sought: Vec<Vec<Needle>> = rows
        .iter()
        .map(|row| needles(row, inner, survey.order))
        .collect();
    let mut ranks: HashMap<&Vec<Needle>, usize> = HashMap::new();
    let mut candidates: Vec<Vec<Candidate>> = Vec::with_capacity(rows.len());
    for needles in &sought {
        let rank = ranks.entry(needles).or_insert(0);
        candidates.push(weigh(&hay, needles, *rank));
        *rank += 1;
    }
    let mut chosen = chain(&candidates, lines.len());
    let mut used = vec![false; lines.len()];
    for at in chosen.iter().flatten() {
        used[*at] = true;
    }
    for (row, choice) in chosen.iter_mut().enumerate() {
        if choice.is_none() {
            let whole = candidates[row].iter().find(|c| c.is_whole && !used[c.line]);
            *choice = whole.map(|candidate| candidate.line);
            used[choice.unwrap_or(0)] |= choice.is_some();
        }
    }
    let found = chosen.iter().zip(&sought);
    found
        .map(|(line, needles)| {
            let span = hay.span(needles, (*line)?, ROW_LINES);
            Some(Found {
                lines: lines[span.start]..lines[span.end - 1] + 1,
            })
        })
        .collect()
}

/// The likeliest lines for a row to begin on; of many that are alike those around its rank among
/// rows that say the same.
fn weigh(hay: &Haystack<'_>, needles: &[Needle], rank: usize) -> Vec<Candidate> {
    let weights: Vec<f32> = needles.iter().map(|needle| hay.weight(needle)).collect();
    let all: f32 = weights.iter().sum();
    if all <= 0.0 {
        return Vec::new();
    }
    let rarest = needles.iter().map(|needle| hay.count(needle)).min();
    let mut scores: HashMap<usize, f32> = HashMap::new();
    for (needle, weight) in needles.iter().zip(&weights) {
        let count = hay.count(needle);
        if count > COMMON && Some(count) != rarest {
            continue;
        }
        for line in hay.lines(needle) {
            *scores.entry(line).or_default() += weight;
        }
    }
    let mut likely: Vec<(usize, f32)> = scores.into_iter().collect();
    likely.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = likely.first().map_or(0.0, |first| first.1);
    let alike = likely.iter().take_while(|l| l.1 >= best - 1e-4).count();
    if alike > MOST_CANDIDATES {
        likely.truncate(alike);
        let from = rank.saturating_sub(MOST_CANDIDATES / 2);
        likely.drain(..from.min(alike - MOST_CANDIDATES));
    }
    likely.truncate(MOST_CANDIDATES);
    let mut found: Vec<Candidate> = Vec::new();
    for (line, _) in likely {
        let score = needles.iter().zip(&weights);
        let score: f32 = score
            .map(|(needle, weight)| weight * hay.likeness(needle, line, ROW_LINES))
            .sum();
        if score >= ENOUGH * all {
            found.push(Candidate {
                line,
                score: score / all,
                is_whole: score >= 0.98 * all,
            });
        }
    }
    found.sort_by_key(|candidate| candidate.line);
    found
}
