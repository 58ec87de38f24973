//! Tables for their own sake: where rows of cells line up in columns, whatever they are about.

use super::find::Source;
use super::lattice::lattices;
use super::page::{Cell, Span};

/// A table as rows of cells, left to right; a cell holds the runs of words in it.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Index of its page.
    pub page: usize,
    pub rows: Vec<Vec<Vec<Span>>>,
}

/// Tables given for one document.
const MOST: usize = 500;
/// Rows of one table.
const LONGEST: usize = 5_000;
/// White space between rows, in lines of text, that parts two tables.
const PARTED: f32 = 1.9;

/// Every table of the document in reading order.
pub(super) fn grids(source: &Source<'_>) -> Vec<Grid> {
    let sheet = &source.analysis.sheet;
    let mut all = Vec::new();
    for (page, rows) in sheet.pages.iter().enumerate() {
        for (row, grid) in page_grids(source, page, rows.clone()) {
            add(source, &mut all, grid, row);
            if all.len() >= MOST {
                return all;
            }
        }
    }
    all
}

/// The tables of a page, each with its first row: those drawn with rulings, and those set without
/// between them.
fn page_grids(
    source: &Source<'_>,
    page: usize,
    rows: std::ops::Range<usize>,
) -> Vec<(usize, Grid)> {
    let mut all = Vec::new();
    let mut from = rows.start;
    let plain = |from: usize, to: usize, all: &mut Vec<(usize, Grid)>| {
        let runs = runs(source, from..to).into_iter();
        all.extend(runs.filter_map(|run| Some((run.start, grid(source, page, run)?))));
    };
    for lattice in lattices(source, page, rows.clone()) {
        let rows = lattice.cells(source);
        if rows.len() < 2 {
            continue;
        }
        plain(from, lattice.rows.start, &mut all);
        from = lattice.rows.end;
        all.push((lattice.rows.start, Grid { page, rows }));
    }
    plain(from, rows.end, &mut all);
    all
}

/// Rows above a table that goes on from the page before, which stand there on every page.
const MOST_ABOVE: usize = 5;

/// Whether something stands above a row of a page that the pages around do not have there.
fn has_title(source: &Source<'_>, row: usize) -> bool {
    let sheet = &source.analysis.sheet;
    let page = sheet.rows[row].page;
    let top = sheet.pages[page].start;
    let text = |row: usize| -> Vec<&str> {
        let cells = sheet.row(row).iter();
        cells.flat_map(|cell| source.words(cell.span)).collect()
    };
    let is_common = |at: usize| {
        let around = [page.checked_sub(1), Some(page + 1)].into_iter().flatten();
        let mut there = around.filter_map(|page| sheet.pages.get(page));
        there.any(|rows| rows.start + at < rows.end && text(rows.start + at) == text(top + at))
    };
    let is_number = |at: usize| {
        let words = text(top + at);
        words.len() <= 3 && words.iter().any(|word| word.parse::<u32>().is_ok())
    };
    row > top + MOST_ABOVE || (0..row - top).any(|at| !is_common(at) && !is_number(at))
}

/// Adds a table, or the rest of one that goes on over a page break with its heading repeated.
fn add(source: &Source<'_>, all: &mut Vec<Grid>, grid: Grid, row: usize) {
    let heading = |grid: &Grid| -> Vec<String> {
        let first = grid.rows.first().map_or(&[][..], Vec::as_slice);
        first
            .iter()
            .map(|cell| super::page::text_of(source.document, cell))
            .collect()
    };
    match all.last_mut() {
        Some(last)
            if last.page < grid.page
                && heading(last) == heading(&grid)
                && !has_title(source, row)
                && last.rows.len() < LONGEST =>
        {
            last.rows.extend(grid.rows.into_iter().skip(1));
        }
        _ => all.push(grid),
    }
}

/// Runs of rows that may be one table: close together, mostly of several cells.
fn runs(source: &Source<'_>, rows: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    let sheet = &source.analysis.sheet;
    let several = |row: usize| sheet.row(row).len() >= 2;
    let mut all = Vec::new();
    let mut row = rows.start;
    while row < rows.end {
        if !several(row) {
            row += 1;
            continue;
        }
        let start = row;
        let mut end = row + 1;
        let mut next = end;
        while next < rows.end && next - start < LONGEST {
            let close = sheet.gap_above(next) <= PARTED;
            // A heading inside a table stands alone in its row; two such rows are text.
            if !close || next - end >= 2 {
                break;
            }
            next += 1;
            if several(next - 1) {
                end = next;
            }
        }
        all.push(start..end);
        row = end;
    }
    all
}

/// The columns of cells: what is left of the width once it is cut where hardly a row has text.
fn columns(cells: &[&Cell], rows: usize) -> Vec<(f32, f32)> {
    let mut edges: Vec<(f32, i32)> = cells
        .iter()
        .flat_map(|cell| [(cell.x0, 1), (cell.x1, -1)])
        .collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    // Where a heading spans columns, its one row must not join them.
    let noise = (rows / 8) as i32;
    let mut columns: Vec<(f32, f32)> = Vec::new();
    let (mut depth, mut open) = (0, None);
    for (x, step) in edges {
        depth += step;
        match open {
            None if depth > noise => open = Some(x),
            Some(from) if depth <= noise => {
                columns.push((from, x));
                open = None;
            }
            _ => {}
        }
    }
    columns.retain(|(x0, x1)| x1 - x0 > 0.01);
    columns
}

fn grid(source: &Source<'_>, page: usize, run: std::ops::Range<usize>) -> Option<Grid> {
    let sheet = &source.analysis.sheet;
    let cells: Vec<&Cell> = run
        .clone()
        .filter(|row| sheet.row(*row).len() >= 2)
        .flat_map(|row| sheet.row(row))
        .collect();
    let columns = columns(&cells, run.len());
    let large = (run.len() >= 3 && columns.len() >= 2) || (run.len() == 2 && columns.len() >= 4);
    if !large || columns.len() > 60 || !is_terse(source, &cells) {
        return None;
    }
    let mut rows = Vec::new();
    for row in run {
        let mut out: Vec<Vec<Span>> = vec![Vec::new(); columns.len()];
        for cell in sheet.row(row) {
            if let Some(at) = column_of(&columns, cell) {
                out[at].push(cell.span);
            }
        }
        rows.push(out);
    }
    let several = |row: &Vec<Vec<Span>>| row.iter().filter(|cell| !cell.is_empty()).count() >= 2;
    let table = rows.iter().filter(|row| several(row)).count() >= 2;
    table.then_some(Grid { page, rows })
}

/// The column a cell shares most with, or the nearest.
fn column_of(columns: &[(f32, f32)], cell: &Cell) -> Option<usize> {
    let shared = |column: &(f32, f32)| column.1.min(cell.x1) - column.0.max(cell.x0);
    // What spans several columns begins in its first.
    let first = columns
        .iter()
        .position(|column| shared(column) > 0.3 * (column.1 - column.0));
    first.or_else(|| {
        (0..columns.len()).max_by(|a, b| shared(&columns[*a]).total_cmp(&shared(&columns[*b])))
    })
}

/// Cells of a table are short, or figures; columns of running text are no table.
fn is_terse(source: &Source<'_>, cells: &[&Cell]) -> bool {
    let count = cells.len().max(1);
    let length = |cell: &Cell| cell.span.last - cell.span.first + 1;
    let words: usize = cells.iter().map(|cell| length(cell)).sum();
    let figures = cells
        .iter()
        .filter(|cell| {
            let words = source.words(cell.span);
            words
                .iter()
                .any(|word| word.contains(|c: char| c.is_ascii_digit()))
        })
        .count();
    let short = cells.iter().filter(|cell| length(cell) <= 2).count();
    words <= count * 5 && (figures * 4 >= count || short * 10 >= count * 6)
}
