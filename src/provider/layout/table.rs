//! Tables: the rows below a header, over page breaks and up to the sums.

use std::collections::HashMap;

use super::find::{Found, Source};
use super::header::{Column, Header, Wanted, shape_of};
use super::kind::Kind;
use super::lexicon::lexicon;
use super::page::{Cell, Span};
use super::query::{Phrases, is_known};
use super::text::{key, tokens};
use super::value::{Side, read};

/// One row: for each leaf asked for, what was found.
pub(super) type Record = Vec<Option<Found>>;

const MAX_RECORDS: usize = 20_000;
/// Rows that fit no column, one after the other, before a table is over.
const PATIENCE: usize = 14;
/// Rows at the top or the end of a page that are none of a table which goes on there.
const MOST_TITLES: usize = 5;
/// Rows by which the width of columns is told.
const MEASURED_ROWS: usize = 400;

/// An array of several that ask for the same.
pub(super) struct Among {
    /// What is said right above or in the header of its table.
    pub owner: Phrases,
    /// Its number among them in the schema, from 0.
    pub number: usize,
    /// How many there are.
    pub alike: usize,
}

impl Among {
    /// The headers that the array's own label stands at.
    fn own<'h>(&self, source: &Source<'_>, headers: &[&'h Header]) -> Vec<&'h Header> {
        let labels = &source.analysis.labels;
        let rows: Vec<usize> = labels
            .find(&self.owner.list())
            .into_iter()
            .filter(|hit| hit.score >= 0.85)
            .map(|hit| source.analysis.sheet.cells[labels.list[hit.label].cell].row)
            .collect();
        let is_near = |header: &&Header| {
            rows.iter()
                .any(|row| *row <= header.last_row && row + 4 >= header.first_row)
        };
        headers.iter().copied().filter(is_near).collect()
    }
}

/// Every record of the tables whose headers answer the item best.
///
/// `among`: which array of several it is, where the item alone does not tell whose table it is.
/// Then it has the tables under its label; where no label tells, and there are as many tables as
/// arrays, each has one, in their order.
pub(super) fn records(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    headers: &[Header],
    among: Option<&Among>,
) -> Vec<Record> {
    let headers: Vec<&Header> = headers.iter().collect();
    let Some(among) = among else {
        let tables = tables(source, wanted, &headers, false);
        return tables.into_iter().flatten().collect();
    };
    let own = among.own(source, &headers);
    if !own.is_empty() && own.len() < headers.len() {
        let tables = tables(source, wanted, &own, true);
        return tables.into_iter().flatten().collect();
    }
    let mut tables = tables(source, wanted, &headers, true);
    if tables.len() == among.alike && among.number < tables.len() {
        tables.swap_remove(among.number)
    } else if own.is_empty() {
        Vec::new()
    } else {
        tables.into_iter().flatten().collect()
    }
}

/// The records of each table. `parted`: a header that stands below its table or under a title of
/// its own begins another one.
fn tables(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    headers: &[&Header],
    parted: bool,
) -> Vec<Vec<Record>> {
    let Some(best) = headers.iter().map(|header| header.score).reduce(f32::max) else {
        return Vec::new();
    };
    let mut all: Vec<Vec<Record>> = Vec::new();
    let mut done = 0;
    let mut shape: Option<String> = None;
    for header in headers.iter().filter(|header| header.score >= best - 0.01) {
        // Tables with the same header are one list; others of equal score are another's.
        let text = shape_of(header);
        if header.first_row < done || shape.as_ref().is_some_and(|shape| *shape != text) {
            continue;
        }
        let mut walk = Walk::new(source, wanted, header);
        walk.parted = parted;
        walk.run();
        done = walk.row;
        if !walk.records.is_empty() {
            shape = Some(text);
            all.push(walk.records);
        }
        if all.iter().map(Vec::len).sum::<usize>() >= MAX_RECORDS {
            break;
        }
    }
    all
}

/// For columns of a record the last of its lines.
type Lines = HashMap<usize, (Cell, f32)>;

/// Goes down from a header and gathers records.
struct Walk<'w, 'd, 'f> {
    source: &'w Source<'d>,
    wanted: &'w Wanted<'f>,
    header: &'w Header,
    row: usize,
    records: Vec<Record>,
    /// For each column, the last line of the record under way.
    open: Lines,
    /// The last row of the record under way with its lines, for the case that a page ends there.
    last: Option<(usize, Lines)>,
    /// For each column how far to the right its texts go.
    reach: Vec<f32>,
    /// How many figures a first record has; others must not have far fewer.
    figures: usize,
    misses: usize,
    /// Whether another table with the same header is another list.
    parted: bool,
}

impl<'w, 'd, 'f> Walk<'w, 'd, 'f> {
    fn new(source: &'w Source<'d>, wanted: &'w Wanted<'f>, header: &'w Header) -> Self {
        Self {
            source,
            wanted,
            header,
            row: header.last_row + 1,
            records: Vec::new(),
            open: HashMap::new(),
            last: None,
            reach: vec![0.0; header.columns.len()],
            figures: 0,
            misses: 0,
            parted: false,
        }
    }

    fn run(&mut self) {
        let sheet = &self.source.analysis.sheet;
        self.measure();
        while self.row < sheet.rows.len()
            && self.misses < PATIENCE
            && self.records.len() < MAX_RECORDS
        {
            let row = self.row;
            if self.repeats_header(row) {
                if self.parted && self.begins_anew(row) {
                    break;
                }
                self.row += self.header.last_row - self.header.first_row + 1;
                self.misses = 0;
                self.open.clear();
                continue;
            }
            let new_page = sheet.rows[row].page != sheet.rows[row - 1].page;
            let far = !new_page && sheet.gap_above(row) > 2.6;
            if far && !self.records.is_empty() && !self.fits(row) {
                break;
            }
            if self.is_sum(row) {
                self.open.clear();
                self.misses += 4;
            } else if let Some(record) = self.record(row) {
                self.records.push(record);
                self.misses = 0;
            } else {
                if self.ends_here(row) {
                    break;
                }
                self.continue_record(row);
                self.misses += 1;
            }
            self.row += 1;
        }
    }

    fn repeats_header(&self, row: usize) -> bool {
        let sheet = &self.source.analysis.sheet;
        let tokens = |row: usize| {
            let mut all: Vec<String> = sheet
                .row(row)
                .iter()
                .flat_map(|cell| cell.tokens.iter().map(|(token, _)| token.clone()))
                .collect();
            all.sort();
            all
        };
        row > self.header.last_row && tokens(row) == tokens(self.header.first_row)
    }

    /// Whether a header is that of another table: it stands below this one on its page, or under
    /// a title that pages before and after do not have there.
    fn begins_anew(&self, row: usize) -> bool {
        let sheet = &self.source.analysis.sheet;
        let page = sheet.rows[row].page;
        let top = sheet.pages[page].start;
        if self.header.first_row >= top || row > top + MOST_TITLES {
            return true;
        }
        (top..row).any(|title| {
            let [cell] = sheet.row(title) else {
                return false;
            };
            let text = self.source.text(cell);
            let there = |page: Option<usize>| {
                let first = page.and_then(|page| sheet.pages.get(page))?.start;
                let cells = sheet.row(first + title - top);
                Some(
                    cells
                        .first()
                        .is_some_and(|cell| self.source.text(cell) == text),
                )
            };
            let is_common =
                there(page.checked_sub(1)) == Some(true) || there(Some(page + 1)) == Some(true);
            let has_digit = text.contains(|char: char| char.is_ascii_digit());
            !is_common && !has_digit && !self.is_sum(title)
        })
    }

    /// Looks how far the texts of each column go.
    fn measure(&mut self) {
        let rows = self.source.analysis.sheet.rows.len();
        for row in (self.row..rows).take(MEASURED_ROWS) {
            let columns = self.columns_of(row);
            if columns.iter().flatten().count() < 3 {
                continue;
            }
            for (at, (_, cell)) in columns
                .iter()
                .enumerate()
                .filter_map(|(at, c)| Some((at, c.as_ref()?)))
            {
                let right = self
                    .header
                    .columns
                    .get(at + 1)
                    .map_or(f32::MAX, |next| next.x0);
                if cell.x1 <= right {
                    self.reach[at] = self.reach[at].max(cell.x1);
                }
            }
        }
    }

    /// The lines of the record above: of this page, or of the end of the page before.
    fn above(&self, row: usize) -> Lines {
        let sheet = &self.source.analysis.sheet;
        let Some((last, lines)) = self.last.as_ref().filter(|_| self.open.is_empty()) else {
            return self.open.clone();
        };
        let page = sheet.rows[row].page;
        let is_end =
            sheet.rows[*last].page + 1 == page && last + 1 + MOST_TITLES >= sheet.pages[page].start;
        if is_end && row <= sheet.pages[page].start + MOST_TITLES {
            lines.clone()
        } else {
            HashMap::new()
        }
    }

    fn fits(&self, row: usize) -> bool {
        self.columns_of(row)
            .iter()
            .filter(|column| column.is_some())
            .count()
            >= 2
    }

    /// A row of other headings: another table begins.
    fn ends_here(&self, row: usize) -> bool {
        let cells = self.source.analysis.sheet.row(row);
        let headings = cells
            .iter()
            .filter(|cell| {
                let tokens: Vec<String> =
                    cell.tokens.iter().map(|(token, _)| token.clone()).collect();
                is_known(&tokens)
            })
            .count();
        !self.records.is_empty() && headings >= 3 && headings * 2 >= cells.len()
    }

    /// Whether a row sums up the rows above. Words said of rows too, such as `VAT`, count only
    /// for a row with hardly a figure.
    fn is_sum(&self, row: usize) -> bool {
        let cells = self.source.analysis.sheet.row(row);
        let Some(first) = cells.iter().find(|cell| !cell.tokens.is_empty()) else {
            return false;
        };
        let texts = self.source.words(first.span);
        let lead: Vec<String> = texts.iter().take(4).flat_map(|word| tokens(word)).collect();
        let says = |sums: &[&str]| {
            (1..=lead.len().min(3)).any(|count| {
                let said = key(&lead[..count]);
                sums.iter().any(|sum| key(&tokens(sum)) == said)
            })
        };
        let short = texts.len() <= 5 || texts.iter().any(|word| word.ends_with(':'));
        let few = cells.len() <= 4.max(self.header.columns.len() / 2);
        short
            && ((few && says(&lexicon().sums)) || (cells.len() <= 2 && says(&lexicon().weak_sums)))
    }

    /// The words of a row by column.
    fn columns_of(&self, row: usize) -> Vec<Option<(Span, Cell)>> {
        let mut columns: Vec<Option<(Span, Cell)>> = vec![None; self.header.columns.len()];
        for cell in self.source.analysis.sheet.row(row) {
            for (column, span, x0, x1) in self.split(cell) {
                match &mut columns[column] {
                    Some((known, place)) if self.is_unheaded_number(*known, place) => {
                        (*known, place.x0, place.x1) = (span, x0, x1);
                    }
                    Some((known, place)) if known.page == span.page && known.last < span.first => {
                        known.last = span.last;
                        place.x1 = x1;
                    }
                    Some(_) => {}
                    empty => {
                        let place = Cell {
                            span,
                            x0,
                            x1,
                            ..cell.clone()
                        };
                        *empty = Some((span, place));
                    }
                }
            }
        }
        columns
    }

    /// Whether a cell is the number of its row, in a column without a heading: nothing of what
    /// stands beside it.
    fn is_unheaded_number(&self, span: Span, place: &Cell) -> bool {
        let words = self.source.words(span);
        let [word] = words.as_slice() else {
            return false;
        };
        let digits = word.trim_end_matches(['.', ')', ':']);
        (1..=6).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && self.over(place.x0, place.x1).is_empty()
    }

    /// A cell's words by the columns they stand under.
    fn split(&self, cell: &Cell) -> Vec<(usize, Span, f32, f32)> {
        let over: Vec<usize> = self.over(cell.x0, cell.x1);
        let Some(page) = self.source.document.pages.get(cell.span.page) else {
            return Vec::new();
        };
        if over.len() <= 1 || cell.boxed {
            let column = over
                .first()
                .copied()
                .or_else(|| self.nearest(cell.x0, cell.x1));
            return column
                .map(|column| (column, cell.span, cell.x0, cell.x1))
                .into_iter()
                .collect();
        }
        let mut parts: Vec<(usize, Span, f32, f32)> = Vec::new();
        for at in cell.span.first..=cell.span.last {
            let Some(word) = page.words.get(at) else {
                continue;
            };
            let (x0, x1) = (word.bbox[0] * page.width, word.bbox[2] * page.width);
            let column = self.over(x0, x1).first().copied();
            match (column, parts.last_mut()) {
                (Some(column), Some(part)) if part.0 == column => (part.1.last, part.3) = (at, x1),
                (None, Some(part)) => (part.1.last, part.3) = (at, x1),
                (column, _) => {
                    let column = column.or_else(|| self.nearest(x0, x1));
                    let span = Span {
                        page: cell.span.page,
                        first: at,
                        last: at,
                    };
                    parts.extend(column.map(|column| (column, span, x0, x1)));
                }
            }
        }
        parts
    }

    /// The columns whose heading stands above `x0..x1`, the one that shares most first.
    fn over(&self, x0: f32, x1: f32) -> Vec<usize> {
        let mut all: Vec<(usize, f32)> = self
            .header
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| (at, column.x1.min(x1) - column.x0.max(x0)))
            .filter(|(_, shared)| *shared > 0.05)
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.into_iter().map(|(at, _)| at).collect()
    }

    fn nearest(&self, x0: f32, x1: f32) -> Option<usize> {
        let away = |column: &Column| {
            (column.x0 - x0)
                .abs()
                .min((column.x1 - x1).abs())
                .min((column.x0 - x1).max(x0 - column.x1))
        };
        self.header
            .columns
            .iter()
            .enumerate()
            .min_by(|a, b| away(a.1).total_cmp(&away(b.1)))
            .map(|(at, _)| at)
    }

    /// Reads a row as a record: its figures must be there.
    fn record(&mut self, row: usize) -> Option<Record> {
        let columns = self.columns_of(row);
        let mut record: Record = vec![None; self.wanted.leaves.len()];
        let (mut figures, mut values) = (0, 0);
        for (column, place) in self.header.columns.iter().zip(&columns) {
            let (Some(leaf), Some((span, _))) = (column.leaf, place) else {
                continue;
            };
            let found = self.read(leaf, *span, column.weight);
            values += usize::from(found.is_some());
            figures += usize::from(found.is_some() && is_figure(self.wanted.leaves[leaf].1.kind));
            record[leaf] = found;
        }
        let some = self.header.columns.iter().any(|column| {
            column
                .leaf
                .is_some_and(|leaf| is_figure(self.wanted.leaves[leaf].1.kind))
        });
        let enough = if some {
            figures >= 1 && figures * 2 >= self.figures && values >= 2.min(self.matched())
        } else {
            values >= 2.min(self.matched()) && values * 2 >= self.matched()
        };
        let labelled = self
            .source
            .words(self.source.analysis.sheet.row(row).first()?.span)
            .iter()
            .any(|word| word.ends_with(':'));
        if !enough || labelled {
            return None;
        }
        self.figures = self.figures.max(figures);
        self.open = columns
            .into_iter()
            .enumerate()
            .filter_map(|(at, place)| place.map(|(_, cell)| (at, (cell, 0.0))))
            .collect();
        self.last = Some((row, self.open.clone()));
        Some(record)
    }

    fn matched(&self) -> usize {
        self.header
            .columns
            .iter()
            .filter(|column| column.leaf.is_some())
            .count()
    }

    fn read(&self, leaf: usize, span: Span, weight: f32) -> Option<Found> {
        let words = self.source.words(span);
        let read = read(
            self.wanted.leaves[leaf].1,
            &words,
            self.source.habits(),
            Side::Any,
        )?;
        Some(Found {
            value: read.value,
            spans: vec![Span {
                page: span.page,
                first: span.first + read.first,
                last: span.first + read.last,
            }],
            confidence: read.fit * weight.min(1.0) * 0.95,
            how: "in its column of the table",
        })
    }

    /// Figures set a little lower than the rest of their row belong to it.
    fn add_late_figures(&mut self, row: usize, columns: &[Option<(Span, Cell)>]) {
        if self.open.is_empty() || self.source.analysis.sheet.gap_above(row) > 0.3 {
            return;
        }
        for (at, place) in columns.iter().enumerate() {
            let (Some((span, _)), Some(leaf)) = (place, self.header.columns[at].leaf) else {
                continue;
            };
            let late = is_figure(self.wanted.leaves[leaf].1.kind) && !self.open.contains_key(&at);
            let found = late
                .then(|| self.read(leaf, *span, self.header.columns[at].weight))
                .flatten();
            if let (Some(found), Some(record)) = (found, self.records.last_mut()) {
                record[leaf].get_or_insert(found);
            }
        }
    }

    /// Adds a wrapped line to the texts of the record above.
    fn continue_record(&mut self, row: usize) {
        let sheet = &self.source.analysis.sheet;
        let columns = self.columns_of(row);
        let filled = columns.iter().filter(|column| column.is_some()).count();
        if filled == 0 || filled > 2 || sheet.gap_above(row) > 0.8 {
            self.open.clear();
            return;
        }
        let lines = self.above(row);
        self.add_late_figures(row, &columns);
        // A line with figures of its own carries a sum over, or says something of the table.
        let is_text = |at: &usize| {
            self.header.columns[*at]
                .leaf
                .is_none_or(|leaf| !is_figure(self.wanted.leaves[leaf].1.kind))
        };
        let filled = columns
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_some());
        if self.open.is_empty() && !filled.map(|(at, _)| at).all(|at| is_text(&at)) {
            return;
        }
        let Some(record) = self.records.last_mut() else {
            return;
        };
        let mut open = HashMap::new();
        for (at, place) in columns.into_iter().enumerate() {
            let (Some((span, cell)), Some(leaf)) = (place, self.header.columns[at].leaf) else {
                continue;
            };
            let Some((above, _)) = lines.get(&at) else {
                continue;
            };
            let kind = self.wanted.leaves[leaf].1.kind;
            let texts = matches!(
                kind,
                Kind::Text | Kind::Name | Kind::Narrative | Kind::Address
            );
            if !texts || !wraps(self.source, self.reach[at], above, &cell) {
                continue;
            }
            if let Some(found) = &mut record[leaf] {
                found.spans.push(span);
                let text = super::page::text_of(self.source.document, &found.spans);
                let value = serde_json::Value::String(text);
                if self.wanted.leaves[leaf].1.takes(&value) {
                    found.value = value;
                } else {
                    found.spans.pop();
                }
                open.insert(at, (cell, 0.0));
            }
        }
        if !open.is_empty() {
            self.last = Some((row, open.clone()));
        }
        self.open = open;
    }
}

/// Whether the line above had no room for the first word of this one, in a column whose texts go
/// as far as `reach`.
fn wraps(source: &Source<'_>, reach: f32, above: &Cell, cell: &Cell) -> bool {
    let Some(page) = source.document.pages.get(cell.span.page) else {
        return false;
    };
    let Some(word) = page.words.get(cell.span.first) else {
        return false;
    };
    let width = (word.bbox[2] - word.bbox[0]) * page.width;
    let aligned = (above.x0 - cell.x0).abs() < source.line(cell) * 0.6;
    aligned && above.x1 + width + source.line(cell) * 0.5 > reach
}

fn is_figure(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Number
            | Kind::Money
            | Kind::Percent
            | Kind::Date { .. }
            | Kind::Year
            | Kind::Amount { .. }
    )
}
