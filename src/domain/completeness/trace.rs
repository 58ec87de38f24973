//! The rows that were read, tied to their lines and held against them.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use crate::domain::rows::{Edge, Haystack, List, Merged, Needle, Survey, find, needles};

/// Lines that one row may have.
const ROW_LINES: usize = 40;

/// A row at its place.
pub(super) struct Row<'a> {
    /// The line it begins on, and the line behind its last.
    pub lines: Range<usize>,
    /// Behind the lines that may be its own: where the next row begins.
    pub end: usize,
    /// 0 for rows of the list; others for those of each array inside them.
    pub class: usize,
    pub value: &'a Value,
    needles: Vec<Needle>,
}

/// What is known of the rows that were read.
pub(super) struct Trace<'a> {
    /// In the order of their lines.
    pub rows: Vec<Row<'a>>,
    pub without_place: u32,
    /// Rows of which a value does not stand where the rows around have it.
    pub unproved: u32,
    /// Where most rows of the list have a property: its pointer, and the edge of its cells.
    pub columns: HashMap<Edge, String>,
}

/// How a property of the rows of a class is found.
#[derive(Default, Clone)]
struct Finding {
    sought: usize,
    found: usize,
    edges: HashMap<Edge, usize>,
}

impl Finding {
    /// Whether it is printed as it was read, in nearly all rows.
    fn is_printed(&self) -> bool {
        self.found * 5 >= self.sought * 4
    }

    fn is_usual(&self, edge: Edge) -> bool {
        // The same figure may stand in another column by chance.
        let least = (self.found / 10).max(1 + usize::from(self.found > 3));
        self.edges.get(&edge).is_some_and(|count| *count >= least)
    }

    /// The edge at which most rows have it.
    fn column(&self) -> Option<(Edge, usize)> {
        let edges = self.edges.iter().map(|(edge, count)| (*edge, *count));
        edges.max_by_key(|(edge, count)| (*count, std::cmp::Reverse(*edge)))
    }
}

pub(super) fn trace<'a>(survey: &Survey, list: &List, merged: &'a Merged) -> Trace<'a> {
    let (mut rows, without_place) = rows(survey, list, merged);
    rows.sort_by_key(|row| row.lines.start);
    let starts: Vec<usize> = rows.iter().map(|row| row.lines.start).collect();
    let count = survey.lines.len();
    for (at, row) in rows.iter_mut().enumerate() {
        let next = starts.get(at + 1).copied().unwrap_or(count);
        row.end = next
            .min(row.lines.start + ROW_LINES)
            .max(row.lines.start + 1);
    }
    let all: Vec<usize> = (0..count).collect();
    let hay = Haystack::of(survey, &all);
    let found: Vec<Vec<Vec<Edge>>> = rows
        .iter()
        .map(|row| {
            let lines = row.lines.start..row.end;
            let needles = row.needles.iter();
            needles
                .map(|needle| hay.edges(needle, lines.clone()))
                .collect()
        })
        .collect();
    let findings = findings(&rows, &found);
    let is_proved = |(row, found): &(&Row, &Vec<Vec<Edge>>)| {
        row.needles.iter().zip(found.iter()).all(|(needle, edges)| {
            let finding = findings.get(&(row.class, needle.at.as_str()));
            finding.is_none_or(|finding| {
                !finding.is_printed() || edges.iter().any(|edge| finding.is_usual(*edge))
            })
        })
    };
    let unproved = rows
        .iter()
        .zip(&found)
        .filter(|pair| !is_proved(pair))
        .count();
    let columns = columns(&findings);
    Trace {
        without_place,
        unproved: unproved as u32,
        columns,
        rows,
    }
}

/// Rows with a place, those of inner arrays too, and how many have none.
fn rows<'a>(survey: &Survey, list: &List, merged: &'a Merged) -> (Vec<Row<'a>>, u32) {
    let inner: Vec<&str> = list.inner().collect();
    let mut without_place = 0;
    let mut rows = Vec::new();
    let starts: Vec<Option<usize>> = merged
        .places
        .iter()
        .map(|place| place.map(|stretch| survey.lines_of(stretch).start))
        .collect();
    for (at, (value, place)) in merged.items.iter().zip(&merged.places).enumerate() {
        let Some(stretch) = place else {
            without_place += 1;
            continue;
        };
        let lines = survey.lines_of(*stretch);
        if lines.is_empty() {
            without_place += 1;
            continue;
        }
        let next = starts[at + 1..].iter().flatten().next();
        let end = next.copied().unwrap_or(survey.lines.len());
        rows.push(Row {
            lines: lines.clone(),
            end: 0,
            class: 0,
            value,
            needles: needles(value, &inner, survey.order),
        });
        for (number, key) in inner.iter().enumerate() {
            let Some(Value::Array(items)) = value.get(key) else {
                continue;
            };
            let own: Vec<usize> = (lines.start..end.max(lines.end)).collect();
            for (item, found) in items.iter().zip(find(survey, &[], &own, items)) {
                match found {
                    Some(found) => rows.push(Row {
                        lines: found.lines,
                        end: 0,
                        class: number + 1,
                        value: item,
                        needles: needles(item, &[], survey.order),
                    }),
                    None => without_place += 1,
                }
            }
        }
    }
    (rows, without_place)
}

fn findings<'r>(
    rows: &'r [Row<'_>],
    found: &[Vec<Vec<Edge>>],
) -> HashMap<(usize, &'r str), Finding> {
    let mut findings: HashMap<(usize, &str), Finding> = HashMap::new();
    for (row, found) in rows.iter().zip(found) {
        for (needle, edges) in row.needles.iter().zip(found) {
            let finding = findings.entry((row.class, needle.at.as_str())).or_default();
            finding.sought += 1;
            finding.found += usize::from(!edges.is_empty());
            for edge in distinct(edges) {
                *finding.edges.entry(edge).or_default() += 1;
            }
        }
    }
    // A figure that stands in two columns of its row counts where most rows have it.
    let all = findings.clone();
    for (row, found) in rows.iter().zip(found) {
        for (needle, edges) in row.needles.iter().zip(found) {
            let key = (row.class, needle.at.as_str());
            let (Some(finding), Some(all)) = (findings.get_mut(&key), all.get(&key)) else {
                continue;
            };
            let mut edges = distinct(edges);
            edges.sort_by_key(|edge| std::cmp::Reverse(all.edges.get(edge).copied()));
            for edge in edges.iter().skip(1) {
                if let Some(count) = finding.edges.get_mut(edge) {
                    *count -= 1;
                }
            }
        }
    }
    findings
}

fn distinct(edges: &[Edge]) -> Vec<Edge> {
    let mut once = edges.to_vec();
    once.sort_unstable();
    once.dedup();
    once
}

/// The property that stands at an edge most often; each property at one edge.
fn columns(findings: &HashMap<(usize, &str), Finding>) -> HashMap<Edge, String> {
    let mut best: HashMap<Edge, (usize, String)> = HashMap::new();
    for ((_, at), finding) in findings.iter().filter(|((class, _), _)| *class == 0) {
        if let Some((edge, count)) = finding.column() {
            let offer = (count, (*at).to_owned());
            if best.get(&edge).is_none_or(|known| *known < offer) {
                best.insert(edge, offer);
            }
        }
    }
    let named = best.into_iter();
    named.map(|(edge, (_, at))| (edge, at)).collect()
}
