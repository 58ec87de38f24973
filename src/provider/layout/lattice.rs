//! Tables drawn with rulings: a row is what stands between two of them, however many lines its
//! cells have.

use std::ops::Range;

use crate::domain::document::Page;

use super::find::Source;
use super::page::{Cell, Span};

/// Rulings of one page that are looked at.
const MOST_RULINGS: usize = 4_000;
/// How far apart in points two rulings may end that belong to one table.
const SAME_END: f32 = 3.0;
/// Rulings closer than this, in points, are one.
const SAME_RULING: f32 = 2.5;
/// The least width of a table, as a part of its page's.
const LEAST_WIDTH: f32 = 0.15;

/// A table of rulings: the heights of its horizontal ones, top down, and where its columns are.
pub(super) struct Lattice {
    edges: Vec<f32>,
    columns: Vec<(f32, f32)>,
    /// The rows of the sheet inside it.
    pub rows: Range<usize>,
}

/// The tables of a page whose rows and columns are drawn, top down.
pub(super) fn lattices(source: &Source<'_>, page: usize, rows: Range<usize>) -> Vec<Lattice> {
    let Some(drawn) = source.document.pages.get(page) else {
        return Vec::new();
    };
    if !source.document.kind.is_printed() {
        return Vec::new();
    }
    let mut found: Vec<Lattice> = stacks(drawn)
        .into_iter()
        .filter_map(|stack| lattice(source, drawn, rows.clone(), stack))
        .collect();
    found.sort_by_key(|lattice| lattice.rows.start);
    // One inside another, or beside it, is a part of a form.
    let mut apart: Vec<Lattice> = Vec::new();
    for lattice in found {
        if apart
            .last()
            .is_none_or(|last| last.rows.end <= lattice.rows.start)
        {
            apart.push(lattice);
        }
    }
    apart
}

/// Horizontal rulings with the same ends, below one another.
struct Stack {
    x0: f32,
    x1: f32,
    heights: Vec<f32>,
}

fn stacks(page: &Page) -> Vec<Stack> {
    let mut stacks: Vec<Stack> = Vec::new();
    let rules = page.rules.iter().take(MOST_RULINGS);
    for rule in rules.filter(|rule| rule.is_horizontal(page)) {
        let (x0, x1) = (rule.bbox[0] * page.width, rule.bbox[2] * page.width);
        if x1 - x0 < LEAST_WIDTH * page.width {
            continue;
        }
        let y = f32::midpoint(rule.bbox[1], rule.bbox[3]) * page.height;
        let same = |stack: &&mut Stack| {
            (stack.x0 - x0).abs() < SAME_END && (stack.x1 - x1).abs() < SAME_END
        };
        match stacks.iter_mut().find(same) {
            Some(stack) => stack.heights.push(y),
            None => stacks.push(Stack {
                x0,
                x1,
                heights: vec![y],
            }),
        }
    }
    for stack in &mut stacks {
        stack.heights.sort_by(f32::total_cmp);
        stack.heights.dedup_by(|a, b| *a - *b < SAME_RULING);
    }
    stacks.retain(|stack| stack.heights.len() >= 4);
    stacks
}

fn lattice(source: &Source<'_>, page: &Page, rows: Range<usize>, stack: Stack) -> Option<Lattice> {
    let (top, end) = (*stack.heights.first()?, *stack.heights.last()?);
    let mut walls: Vec<f32> = page
        .rules
        .iter()
        .take(MOST_RULINGS)
        .filter(|rule| !rule.is_horizontal(page))
        .filter(|rule| {
            let (y0, y1) = (rule.bbox[1] * page.height, rule.bbox[3] * page.height);
            y0 < end && y1 > top
        })
        .map(|rule| f32::midpoint(rule.bbox[0], rule.bbox[2]) * page.width)
        .filter(|x| *x > stack.x0 - SAME_END && *x < stack.x1 + SAME_END)
        .collect();
    walls.extend([stack.x0, stack.x1]);
    walls.sort_by(f32::total_cmp);
    walls.dedup_by(|a, b| *a - *b < SAME_RULING);
    let columns: Vec<(f32, f32)> = walls.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let sheet = &source.analysis.sheet;
    let middle = |row: &usize| f32::midpoint(sheet.rows[*row].y0, sheet.rows[*row].y1);
    let inside = |row: &usize| middle(row) > top && middle(row) < end;
    let first = rows.clone().find(inside)?;
    let last = rows.rev().find(inside)?;
    let lattice = Lattice {
        edges: stack.heights,
        columns,
        rows: first..last + 1,
    };
    ((2..=40).contains(&lattice.columns.len()) && lattice.is_kept(source)).then_some(lattice)
}

impl Lattice {
    /// Whether its cells keep to its columns, as those of a grid that was drawn for them do.
    fn is_kept(&self, source: &Source<'_>) -> bool {
        let sheet = &source.analysis.sheet;
        let cells = || self.rows.clone().flat_map(|row| sheet.row(row));
        let kept = |cell: &&Cell| {
            self.columns
                .iter()
                .any(|(x0, x1)| cell.x0 >= x0 - SAME_END && cell.x1 <= x1 + SAME_END)
        };
        let count = cells().count();
        count > 0 && cells().filter(kept).count() * 10 >= count * 8
    }

    /// The words of each cell, row by row. Rows without words are left out.
    pub(super) fn cells(&self, source: &Source<'_>) -> Vec<Vec<Vec<Span>>> {
        let sheet = &source.analysis.sheet;
        let mut out: Vec<Vec<Vec<Span>>> =
            vec![vec![Vec::new(); self.columns.len()]; self.edges.len().saturating_sub(1)];
        for cell in self.rows.clone().flat_map(|row| sheet.row(row)) {
            let (x, y) = (
                f32::midpoint(cell.x0, cell.x1),
                f32::midpoint(cell.y0, cell.y1),
            );
            let above = self.edges.partition_point(|edge| *edge <= y);
            let row = above.saturating_sub(1).min(out.len() - 1);
            // What spans several columns begins in its first.
            let starts = self
                .columns
                .iter()
                .position(|(_, end)| cell.x0 + SAME_END < *end);
            let holds = self.columns.iter().position(|(x0, x1)| x >= *x0 && x < *x1);
            let fits = holds.filter(|at| cell.x0 + SAME_END >= self.columns[*at].0);
            if let Some(column) = fits.or(starts) {
                out[row][column].push(cell.span);
            }
        }
        out.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        out
    }
}
