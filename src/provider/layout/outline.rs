//! The form of a document for its own sake: its tables, and values beside their labels.

use crate::domain::document::Document;
use crate::domain::outline::{Labelled, Outline, Run, Table};

use super::find::{Analysis, Source};
use super::grid::{Grid, grids};
use super::page::{Cell, text_of};

/// Words of a label.
const LONGEST: usize = 8;
/// Fields given for one document.
const MOST: usize = 2_000;
/// How far the edges of a label and of its value below may be apart, in the page's own unit.
const SAME_EDGE: f32 = 3.0;

pub(super) fn outline(document: &Document) -> Outline {
    let analysis = Analysis::of(document);
    let source = Source {
        document,
        analysis: &analysis,
    };
    let tables = grids(&source).into_iter();
    Outline {
        tables: tables.map(|grid| table(document, grid)).collect(),
        fields: fields(&source),
    }
}

fn table(document: &Document, grid: Grid) -> Table {
    let spans = grid.rows.iter().flatten().flatten();
    let runs = spans.map(|span| Run {
        page: span.page,
        first: span.first,
        last: span.last,
    });
    let runs = runs.collect();
    let row = |row: Vec<Vec<_>>| row.iter().map(|cell| text_of(document, cell)).collect();
    Table {
        rows: grid.rows.into_iter().map(row).collect(),
        runs,
    }
}

fn fields(source: &Source<'_>) -> Vec<Labelled> {
    let sheet = &source.analysis.sheet;
    let mut all = Vec::new();
    for row in 0..sheet.rows.len() {
        let cells = sheet.row(row);
        for (at, cell) in cells.iter().enumerate() {
            if all.len() >= MOST {
                return all;
            }
            let Some((label, behind)) = label(source, cell) else {
                continue;
            };
            let value = behind
                .or_else(|| value(source, cells.get(at + 1)?))
                .or_else(|| value(source, below(source, row, cell)?));
            all.extend(value.map(|value| Labelled { label, value }));
        }
    }
    all
}

/// A cell's label, and what stands behind it in the cell. None where there are several: where the
/// value of the first ends is not told.
fn label(source: &Source<'_>, cell: &Cell) -> Option<(String, Option<String>)> {
    let words = source.words(cell.span);
    let ends = |word: &&str| word.ends_with(':') && !word.starts_with("http");
    let end = words.iter().position(ends)?;
    let rest = &words[end + 1..];
    if end >= LONGEST || rest.iter().any(ends) {
        return None;
    }
    let label = words[..=end].join(" ");
    let label = label.trim_end_matches(':').trim();
    if !label.contains(char::is_alphabetic) {
        return None;
    }
    let rest = rest.join(" ");
    let rest = rest.trim();
    Some((
        label.to_owned(),
        (!rest.is_empty()).then(|| rest.to_owned()),
    ))
}

/// What a cell says, unless that is a label.
fn value(source: &Source<'_>, cell: &Cell) -> Option<String> {
    let text = source.text(cell);
    let text = text.trim();
    let is_label = text.split(' ').any(|word| word.ends_with(':'));
    (!text.is_empty() && !is_label).then(|| text.to_owned())
}

fn below<'s>(source: &Source<'s>, row: usize, cell: &Cell) -> Option<&'s Cell> {
    let sheet = &source.analysis.sheet;
    let mut cells = sheet.row(sheet.below(row)?).iter();
    cells.find(|other| (other.x0 - cell.x0).abs() <= SAME_EDGE)
}
