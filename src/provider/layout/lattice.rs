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
/// Horizontal rulings of a table, at least.
const LEAST_RULINGS: usize = 4;
/// Words of a cell that is a row's of its own between two rulings.
const FEW_WORDS: usize = 2;
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
        .flat_map(|stack| stack.parted(drawn))
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

impl Stack {
    /// Its parts that have vertical rulings all the way down: what stands between two tables of
    /// the same width is in neither.
    fn parted(self, page: &Page) -> Vec<Self> {
        let walls: Vec<(f32, f32)> = page
            .rules
            .iter()
            .take(MOST_RULINGS)
            .filter(|rule| !rule.is_horizontal(page))
            .filter(|rule| {
                let x = rule.bbox[0] * page.width;
                x > self.x0 - SAME_END && x < self.x1 + SAME_END
            })
            .map(|rule| (rule.bbox[1] * page.height, rule.bbox[3] * page.height))
            .collect();
        let is_walled = |a: f32, b: f32| {
            let middle = f32::midpoint(a, b);
            walls.iter().any(|(y0, y1)| *y0 <= middle && middle <= *y1)
        };
        let parts = self.heights.chunk_by(|a, b| is_walled(*a, *b));
        parts
            .filter(|heights| heights.len() >= LEAST_RULINGS)
            .map(|heights| Self {
                heights: heights.to_vec(),
                ..self
            })
            .collect()
    }
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
    stacks.retain(|stack| stack.heights.len() >= LEAST_RULINGS);
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

    /// The words of each cell, row by row. Rows and columns without words are left out.
    pub(super) fn cells(&self, source: &Source<'_>) -> Vec<Vec<Vec<Span>>> {
        let mut out = Vec::new();
        for band in self.bands(source) {
            let empty = || vec![Vec::new(); self.columns.len()];
            let mut rows: Vec<Vec<Vec<Span>>> = vec![empty()];
            let is_parted = self.has_rows(source, &band);
            for line in band {
                let cells = source.analysis.sheet.row(line);
                if is_parted
                    && self.is_row(cells)
                    && rows.iter().flatten().flatten().next().is_some()
                {
                    rows.push(empty());
                }
                for cell in cells {
                    if let (Some(column), Some(row)) = (self.column(cell), rows.last_mut()) {
                        row[column].push(cell.span);
                    }
                }
            }
            out.append(&mut rows);
        }
        out.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        let filled: Vec<bool> = (0..self.columns.len())
            .map(|column| out.iter().any(|row| !row[column].is_empty()))
            .collect();
        for row in &mut out {
            let mut filled = filled.iter();
            row.retain(|_| filled.next() == Some(&true));
        }
        out
    }

    /// The rows of the sheet between each two rulings.
    fn bands(&self, source: &Source<'_>) -> Vec<Vec<usize>> {
        let sheet = &source.analysis.sheet;
        let mut bands: Vec<Vec<usize>> = vec![Vec::new(); self.edges.len().saturating_sub(1)];
        for row in self.rows.clone() {
            let middle = f32::midpoint(sheet.rows[row].y0, sheet.rows[row].y1);
            let above = self.edges.partition_point(|edge| *edge <= middle);
            if let Some(band) = bands.get_mut(above.saturating_sub(1)) {
                band.push(row);
            }
        }
        bands
    }

    /// Whether the lines between two rulings are rows themselves, of short cells below one
    /// another in several columns, and no wrapped text.
    fn has_rows(&self, source: &Source<'_>, band: &[usize]) -> bool {
        let sheet = &source.analysis.sheet;
        let rows = band.iter().filter(|line| self.is_row(sheet.row(**line)));
        rows.count() >= 2
    }

    fn is_row(&self, cells: &[Cell]) -> bool {
        let short = cells
            .iter()
            .filter(|cell| cell.span.last - cell.span.first < FEW_WORDS)
            .filter(|cell| self.column(cell).is_some_and(|column| column > 0));
        let figures = short.filter(|cell| {
            let mut tokens = cell.tokens.iter();
            tokens.any(|(token, _)| token.contains(|char: char| char.is_ascii_digit()))
        });
        figures.count() >= 2
    }

    /// The column of a cell; what spans several begins in its first.
    fn column(&self, cell: &Cell) -> Option<usize> {
        let middle = f32::midpoint(cell.x0, cell.x1);
        let starts = self
            .columns
            .iter()
            .position(|(_, end)| cell.x0 + SAME_END < *end);
        let holds = self
            .columns
            .iter()
            .position(|(x0, x1)| middle >= *x0 && middle < *x1);
        let fits = holds.filter(|at| cell.x0 + SAME_END >= self.columns[*at].0);
        fits.or(starts)
    }
}
