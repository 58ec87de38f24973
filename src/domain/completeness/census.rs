//! Lines that have the shape of rows, and those of them that nobody read.

use std::collections::HashSet;
use std::ops::Range;

use super::ordinal::ordinal;
use super::trace::{Row, Trace};
use crate::domain::rows::{Edge, Survey, says_sum};

/// Rows of one kind from which their shape is learnt.
const LEAST_ROWS: usize = 3;
/// Lines behind the last row that may still be of its table.
const TAIL: usize = 8;
/// Lines at the top of a page among which a repeated header stands.
const TOP: usize = 5;

/// The lines of a document as the rows that were read show them.
pub(super) struct Census {
    /// Lines with the shape of a row, and whether a row was read there, in order. Lines of rows
    /// that have another shape are among them.
    pub likes: Vec<(usize, bool)>,
    /// Parts of `likes` that are tables of their own.
    pub tables: Vec<Range<usize>>,
    /// Whether the shape of rows can be told, and nearly all rows have it.
    pub is_telling: bool,
}

/// The shape of the lines on which rows of one class begin.
struct Shape {
    usual: HashSet<Edge>,
    /// Of the usual edges as many as most rows have.
    most: usize,
    has_digit: bool,
}

impl Shape {
    fn of(survey: &Survey, rows: &[&Row<'_>]) -> Option<Self> {
        if rows.len() < LEAST_ROWS {
            return None;
        }
        let mut counts = std::collections::HashMap::new();
        for row in rows {
            let edges: HashSet<Edge> = edges(survey, row.lines.start).collect();
            for edge in edges {
                *counts.entry(edge).or_insert(0_usize) += 1;
            }
        }
        let least = (rows.len() / 20).max(2);
        let usual: HashSet<Edge> = counts
            .into_iter()
            .filter(|(_, count)| *count >= least)
            .map(|(edge, _)| edge)
            .collect();
        let shared = |line: usize| edges(survey, line).filter(|e| usual.contains(e)).count();
        let mut sizes: Vec<usize> = rows.iter().map(|row| shared(row.lines.start)).collect();
        sizes.sort_unstable();
        let digits = rows
            .iter()
            .filter(|row| has_digit(survey, row.lines.start))
            .count();
        Some(Self {
            most: sizes[sizes.len() / 2],
            has_digit: digits * 10 >= rows.len() * 9,
            usual,
        })
    }

    fn shared(&self, survey: &Survey, line: usize) -> usize {
        let shared = edges(survey, line).filter(|edge| self.usual.contains(edge));
        shared.count()
    }

    /// Whether a line has the shape of a row.
    fn fits(&self, survey: &Survey, line: usize) -> bool {
        self.most >= 2
            && self.shared(survey, line) * 4 >= self.most * 3
            && (!self.has_digit || has_digit(survey, line))
    }
}

fn edges(survey: &Survey, line: usize) -> impl Iterator<Item = Edge> {
    survey.cells(line).iter().map(|cell| cell.edge)
}

fn has_digit(survey: &Survey, line: usize) -> bool {
    survey.cells(line).iter().any(|cell| cell.has_digit)
}

/// Several cells without a figure.
fn is_header(survey: &Survey, line: usize) -> bool {
    survey.cells(line).len() >= 2 && !has_digit(survey, line)
}

/// Which lines what was read explains, and which not.
pub(super) struct Counter<'c> {
    survey: &'c Survey,
    shapes: Vec<Shape>,
    /// For each line whether it is of a row that was read, and whether it is the first of it.
    claimed: Vec<bool>,
    first: Vec<bool>,
}

impl<'c> Counter<'c> {
    pub(super) fn new(survey: &'c Survey, trace: &Trace<'_>) -> Self {
        let classes = trace.rows.iter().map(|row| row.class).max();
        let of = |class| -> Vec<&Row<'_>> {
            trace.rows.iter().filter(|row| row.class == class).collect()
        };
        let classes = 0..classes.map_or(0, |most| most + 1);
        let mut counter = Self {
            survey,
            shapes: classes
                .filter_map(|class| Shape::of(survey, &of(class)))
                .collect(),
            claimed: vec![false; survey.lines.len()],
            first: vec![false; survey.lines.len()],
        };
        for row in &trace.rows {
            counter.first[row.lines.start] = true;
            for line in row.lines.clone() {
                counter.claimed[line] = true;
            }
        }
        counter
    }

    fn fits(&self, line: usize) -> bool {
        self.shapes
            .iter()
            .any(|shape| shape.fits(self.survey, line))
    }

    pub(super) fn census(&self) -> Census {
        let lines = 0..self.survey.lines.len();
        let likes: Vec<(usize, bool)> = lines
            .filter(|line| self.first[*line] || (!self.claimed[*line] && self.fits(*line)))
            .filter(|line| self.first[*line] || !says_sum(self.survey, *line))
            .map(|line| (line, self.first[line]))
            .collect();
        let read = likes.iter().filter(|(_, read)| *read);
        let (count, fitting) = read.fold((0, 0), |(count, fitting), (line, _)| {
            (count + 1, fitting + usize::from(self.fits(*line)))
        });
        let mut tables: Vec<Range<usize>> = Vec::new();
        for at in 0..likes.len() {
            match tables.last_mut() {
                Some(table) if !self.is_break(likes[at - 1].0, likes[at].0) => table.end = at + 1,
                _ => tables.push(at..at + 1),
            }
        }
        Census {
            is_telling: count >= LEAST_ROWS && fitting * 10 >= count * 9,
            likes,
            tables,
        }
    }

    /// Whether another table begins between two lines of rows: it has a title or stands below
    /// another on the page, with a header of its own, or it is counted anew.
    fn is_break(&self, above: usize, below: usize) -> bool {
        let survey = self.survey;
        if ordinal(survey, below) == Some(1) && ordinal(survey, above).is_some_and(|n| n > 0) {
            return true;
        }
        let between = above + 1..below;
        let free = |line: usize| !self.claimed[line] && !survey.lines[line].is_furniture;
        let header = between.clone().rev().find(|line| {
            is_header(survey, *line) && free_of_rows(self, *line) && !says_sum(survey, *line)
        });
        let Some(header) = header else { return false };
        if survey.lines[header].page == survey.lines[above].page {
            return true;
        }
        let mut titles = (above + 1..header).filter(|line| free(*line));
        titles.any(|line| {
            let is_title = !says_sum(survey, line) && !is_header(survey, line);
            let is_above = line + 1 == header
                && survey.lines[line].page == survey.lines[header].page
                && self.top(header) <= TOP;
            is_title
                && (is_above
                    || self
                        .shapes
                        .iter()
                        .all(|shape| shape.shared(survey, line) == 0))
        })
    }

    /// Lines from the top of its page.
    fn top(&self, line: usize) -> usize {
        (0..=line)
            .rev()
            .take_while(|at| self.survey.lines[*at].page == self.survey.lines[line].page)
            .take(TOP + 1)
            .count()
    }

    /// Lines in a table and behind its last row that no row claims and that are no heading, sum
    /// or edge of a page: more than the shape of rows must tell whether they are rows.
    pub(super) fn unexplained(&self, first: usize, last: usize) -> Vec<usize> {
        let survey = self.survey;
        let end = survey.lines.len().min(last + 1 + TAIL);
        let is_plain = |line: usize| {
            !self.claimed[line]
                && !survey.lines[line].is_furniture
                && !says_sum(survey, line)
                && !is_header(survey, line)
                && !self.fits(line)
        };
        let inside = (first..=last).filter(|line| is_plain(*line));
        let behind = (last + 1..end)
            .take_while(|line| !self.first[*line])
            .filter(|line| {
                let shares = |shape: &Shape| shape.shared(survey, *line) * 5 >= shape.most * 2;
                is_plain(*line) && has_digit(survey, *line) && self.shapes.iter().any(shares)
            });
        // A sum with all cells of a row may be a row whose name begins so.
        let sums = (first..=last)
            .filter(|line| !self.claimed[*line] && says_sum(survey, *line) && self.fits(*line));
        inside.chain(behind).chain(sums).collect()
    }
}

fn free_of_rows(counter: &Counter<'_>, line: usize) -> bool {
    !counter.claimed[line]
}
