//! What stands where: words joined to cells, cells to rows, over the whole document.

use crate::domain::document::{Document, Kind, Page};

use super::date::{self, Order};
use super::number::{self, Habit};
use super::text::{self, tokens};

/// A run of words of one page, by index, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    /// Index into the document's pages.
    pub page: usize,
    pub first: usize,
    pub last: usize,
}

/// Words of one row with no wide gap between them. Lengths are in the page's own unit: points,
/// or columns and lines of a text file.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub span: Span,
    pub row: usize,
    pub x0: f32,
    pub x1: f32,
    pub y0: f32,
    pub y1: f32,
    pub bold: bool,
    pub size: f32,
    /// Marked as a heading by the format.
    pub heading: bool,
    /// Stands in a table cell of its own, told by the format.
    pub boxed: bool,
    /// Normalised tokens, each with the word it comes from.
    pub tokens: Vec<(String, usize)>,
}

/// What stands at one height of a page, left to right.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub page: usize,
    /// Range of cells.
    pub first: usize,
    pub end: usize,
    pub y0: f32,
    pub y1: f32,
}

/// A document cut into rows and cells, with what it shows of its habits.
#[derive(Debug)]
pub(super) struct Sheet {
    pub cells: Vec<Cell>,
    pub rows: Vec<Row>,
    /// Rows of each page.
    pub pages: Vec<std::ops::Range<usize>>,
    pub order: Order,
    pub habit: Option<Habit>,
    /// Height of a line of text on each page.
    pub line: Vec<f32>,
}

struct Box4 {
    word: usize,
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
}

impl Sheet {
    pub(super) fn of(document: &Document) -> Self {
        let words = || {
            document
                .pages
                .iter()
                .flat_map(|page| page.words.iter().map(|word| word.text.as_str()))
        };
        let mut sheet = Self {
            cells: Vec::new(),
            rows: Vec::new(),
            pages: Vec::new(),
            order: date::order(words()).unwrap_or_else(|| order_of_language(words())),
            habit: number::habit(words()),
            line: Vec::new(),
        };
        for (index, page) in document.pages.iter().enumerate() {
            let first = sheet.rows.len();
            sheet.add_page(index, page, document.kind);
            sheet.pages.push(first..sheet.rows.len());
        }
        sheet
    }

    fn add_page(&mut self, index: usize, page: &Page, kind: Kind) {
        let lines = lines(page, kind);
        let line = median(lines.iter().flatten().map(|b| b.y1 - b.y0)).max(0.1);
        self.line.push(line);
        let walls = walls(page, line);
        let rows = rows(lines);
        let first_row = self.rows.len();
        let mut columns: Vec<Vec<usize>> = Vec::new();
        for mut row in rows {
            row.sort_by(|a, b| a.x0.total_cmp(&b.x0).then(a.word.cmp(&b.word)));
            if kind == Kind::Markdown && row.iter().any(|b| is_pipe(kind, &page.words[b.word].text))
            {
                columns.push(self.add_pipe_row(index, page, &row));
            } else {
                columns.push(Vec::new());
                self.add_row(index, page, kind, &row, &walls);
            }
        }
        self.align_pipes(first_row, &columns);
    }

    /// A row of a Markdown table: cells between the pipes. Returns each cell's column.
    fn add_pipe_row(&mut self, index: usize, page: &Page, row: &[Box4]) -> Vec<usize> {
        let (mut column, mut columns) = (0, Vec::new());
        let mut start = 0;
        let mut cells = Vec::new();
        for (at, b) in row.iter().enumerate() {
            let text = &page.words[b.word].text;
            let leading = text.starts_with('|') || bare(text).is_empty();
            if leading && start < at {
                cells.push(start..at);
                columns.push(column);
                start = at;
            }
            if leading {
                column += text.matches('|').count().max(1);
            }
            if bare(text).is_empty() {
                start = at + 1;
            } else if text.len() > 1 && text.ends_with('|') {
                cells.push(start..at + 1);
                columns.push(column);
                column += 1;
                start = at + 1;
            }
        }
        if start < row.len() {
            cells.push(start..row.len());
            columns.push(column);
        }
        let first = self.cells.len();
        for range in cells {
            let cell = cell(index, page, Kind::Markdown, &row[range], self.rows.len());
            self.cells.push(cell);
        }
        self.push_row(index, first, row);
        columns
    }

    /// Gives the cells of Markdown tables the places they have when the table is printed: text
    /// in a pipe table need not line up.
    fn align_pipes(&mut self, first_row: usize, columns: &[Vec<usize>]) {
        let mut at = 0;
        while at < columns.len() {
            let end = (at..columns.len())
                .find(|row| columns[*row].is_empty())
                .unwrap_or(columns.len());
            let mut widths: Vec<f32> = Vec::new();
            for row in at..end {
                let cells = self.row(first_row + row);
                for (cell, column) in cells.iter().zip(&columns[row]) {
                    if widths.len() <= *column {
                        widths.resize(*column + 1, 1.0);
                    }
                    widths[*column] = widths[*column].max(cell.x1 - cell.x0);
                }
            }
            for row in at..end {
                let Some(range) = self.rows.get(first_row + row).map(|row| row.first..row.end)
                else {
                    continue;
                };
                for (cell, column) in self.cells[range].iter_mut().zip(&columns[row]) {
                    let left: f32 = widths[..*column].iter().map(|width| width + 3.0).sum();
                    cell.x1 = left + (cell.x1 - cell.x0);
                    cell.x0 = left;
                    cell.boxed = true;
                }
            }
            at = end.max(at + 1);
        }
    }

    fn add_row(&mut self, index: usize, page: &Page, kind: Kind, row: &[Box4], walls: &[Wall]) {
        // A bullet or the mark of a heading is no part of the text behind it.
        let bullet = row
            .first()
            .map(|first| page.words[first.word].text.as_str())
            .is_some_and(|text| BULLETS.contains(&text) || (kind == Kind::Markdown && text == "#"));
        let row = if bullet && row.len() > 1 {
            &row[1..]
        } else {
            row
        };
        let first = self.cells.len();
        let mut start = 0;
        for at in 1..=row.len() {
            let joined =
                at < row.len() && belongs(page, &row[at - 1], &row[at], kind.is_printed(), walls);
            if !joined {
                let cell = cell(index, page, kind, &row[start..at], self.rows.len());
                self.cells.push(cell);
                start = at;
            }
        }
        self.push_row(index, first, row);
    }

    fn push_row(&mut self, index: usize, first: usize, row: &[Box4]) {
        let edges = |side: fn(&Box4) -> f32| row.iter().map(side);
        self.rows.push(Row {
            page: index,
            first,
            end: self.cells.len(),
            y0: edges(|b| b.y0).fold(f32::MAX, f32::min),
            y1: edges(|b| b.y1).fold(f32::MIN, f32::max),
        });
    }

    /// The cells of a row.
    pub(super) fn row(&self, row: usize) -> &[Cell] {
        self.rows
            .get(row)
            .map_or(&[], |row| &self.cells[row.first..row.end])
    }

    /// The next row down on the same page.
    pub(super) fn below(&self, row: usize) -> Option<usize> {
        let page = self.rows.get(row)?.page;
        (self.rows.get(row + 1)?.page == page).then_some(row + 1)
    }

    /// White space between a row and the one above it, in lines of text.
    pub(super) fn gap_above(&self, row: usize) -> f32 {
        match (
            row.checked_sub(1).and_then(|above| self.rows.get(above)),
            self.rows.get(row),
        ) {
            (Some(above), Some(here)) if above.page == here.page => {
                (here.y0 - above.y1) / self.line.get(here.page).copied().unwrap_or(1.0)
            }
            _ => 0.0,
        }
    }
}

const BULLETS: &[&str] = &["-", "*", "•", ">", "–", "·", "+", "▪", "●"];

/// A vertical ruling.
struct Wall {
    x: f32,
    y0: f32,
    y1: f32,
}

fn walls(page: &Page, line: f32) -> Vec<Wall> {
    page.rules
        .iter()
        .filter(|rule| !rule.is_horizontal(page))
        .map(|rule| Wall {
            x: f32::midpoint(rule.bbox[0], rule.bbox[2]) * page.width,
            y0: rule.bbox[1] * page.height,
            y1: rule.bbox[3] * page.height,
        })
        .filter(|wall| wall.y1 - wall.y0 > line * 0.5)
        .take(4000)
        .collect()
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

/// The words of each line of the reader, with their places in the page's unit.
fn lines(page: &Page, kind: Kind) -> Vec<Vec<Box4>> {
    let place = |word: usize| {
        let w = page.words.get(word)?;
        let b = Box4 {
            word,
            x0: w.bbox[0] * page.width,
            y0: w.bbox[1] * page.height,
            x1: w.bbox[2] * page.width,
            y1: w.bbox[3] * page.height,
        };
        let told = is_pipe(kind, &w.text) || !bare(&w.text).is_empty();
        (told && [b.x0, b.y0, b.x1, b.y1].iter().all(|side| side.is_finite())).then_some(b)
    };
    page.lines
        .iter()
        .map(|range| {
            (range.start as usize..range.end as usize)
                .filter_map(place)
                .collect()
        })
        .filter(|line: &Vec<Box4>| !line.is_empty())
        .collect()
}

/// Lines at the same height side by side are one row.
fn rows(lines: Vec<Vec<Box4>>) -> Vec<Vec<Box4>> {
    let side = |line: &[Box4], pick: fn(&Box4) -> f32, fold: fn(f32, f32) -> f32| {
        line.iter().map(pick).reduce(fold).unwrap_or(0.0)
    };
    let band = |line: &[Box4]| {
        (
            side(line, |b| b.y0, f32::min),
            side(line, |b| b.y1, f32::max),
        )
    };
    let mut lines: Vec<((f32, f32), Vec<Box4>)> =
        lines.into_iter().map(|line| (band(&line), line)).collect();
    lines.sort_by(|a, b| (a.0.0 + a.0.1).total_cmp(&(b.0.0 + b.0.1)));
    let mut rows: Vec<(Vec<(f32, f32)>, Vec<Box4>)> = Vec::new();
    for ((y0, y1), line) in lines {
        let joined = rows.last_mut().filter(|(bands, row)| {
            let level = bands.iter().any(|(top, bottom)| {
                bottom.min(y1) - top.max(y0) > 0.5 * (bottom - top).min(y1 - y0)
            });
            // Side by side: what stands above or below is another row, however close.
            level
                && row
                    .iter()
                    .all(|a| line.iter().all(|b| a.x1.min(b.x1) - a.x0.max(b.x0) <= 0.1))
        });
        match joined {
            Some((bands, row)) => {
                bands.push((y0, y1));
                row.extend(line);
            }
            None => rows.push((vec![(y0, y1)], line)),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Whether two neighbours of a row are words of one phrase.
fn belongs(page: &Page, left: &Box4, right: &Box4, printed: bool, walls: &[Wall]) -> bool {
    if right.word != left.word + 1 {
        return false;
    }
    let gap = right.x0 - left.x1;
    let wide = if printed {
        let size = page.words[left.word].size.min(page.words[right.word].size);
        let size = if size > 1.0 {
            size
        } else {
            (left.y1 - left.y0).min(right.y1 - right.y0)
        };
        size * 0.75
    } else {
        1.5
    };
    if gap > wide {
        return false;
    }
    let (lo, hi) = (left.x1 - 0.5, right.x0 + 0.5);
    let middle = f32::midpoint(left.y0, left.y1);
    gap <= 0.0
        || !walls
            .iter()
            .any(|wall| wall.x >= lo && wall.x <= hi && wall.y0 <= middle && middle <= wall.y1)
}

fn cell(index: usize, page: &Page, kind: Kind, boxes: &[Box4], row: usize) -> Cell {
    let side = |pick: fn(&Box4) -> f32| boxes.iter().map(pick);
    let words = &page.words[boxes[0].word..=boxes[boxes.len() - 1].word];
    let mark = boxes[0]
        .word
        .checked_sub(1)
        .and_then(|before| page.words.get(before));
    let heading = kind == Kind::Markdown
        && mark.is_some_and(|mark| {
            mark.text.chars().all(|c| c == '#') && mark.bbox[1] == words[0].bbox[1]
        });
    let tokens = boxes
        .iter()
        .flat_map(|b| {
            tokens(&page.words[b.word].text)
                .into_iter()
                .map(move |token| (token, b.word))
        })
        .collect();
    Cell {
        span: Span {
            page: index,
            first: boxes[0].word,
            last: boxes[boxes.len() - 1].word,
        },
        row,
        x0: side(|b| b.x0).fold(f32::MAX, f32::min),
        x1: side(|b| b.x1).fold(f32::MIN, f32::max),
        y0: side(|b| b.y0).fold(f32::MAX, f32::min),
        y1: side(|b| b.y1).fold(f32::MIN, f32::max),
        bold: words.iter().all(|word| word.bold)
            || (words[0].text.starts_with("**") && words[words.len() - 1].text.ends_with("**"))
            || heading,
        heading,
        boxed: false,
        size: words.iter().map(|word| word.size).fold(0.0, f32::max),
        tokens,
    }
}

/// Where nothing in the dates decides, the language and the money do.
fn order_of_language<'t>(words: impl Iterator<Item = &'t str>) -> Order {
    let (mut american, mut other) = (0usize, 0usize);
    for word in words.take(20_000) {
        if word.starts_with('$') {
            american += 1;
        } else if word.contains('€') || word.contains('£') {
            other += 1;
        } else {
            match text::fold(word).as_str() {
                "the" | "of" => american += 1,
                "der" | "und" | "die" | "le" | "des" | "facture" | "rechnung" | "vat" | "gst"
                | "mwst" => other += 1,
                _ => {}
            }
        }
    }
    if american >= other {
        Order::MonthFirst
    } else {
        Order::DayFirst
    }
}

/// A word without the marks of Markdown and of rules drawn with signs; empty when it is nothing
/// else.
pub(super) fn bare(word: &str) -> &str {
    let trimmed = word.trim_matches(['|', '*', '`']);
    let trimmed = if trimmed.len() < word.len() || word.starts_with('_') {
        trimmed.trim_matches(['_', '*'])
    } else {
        trimmed
    };
    let rule = trimmed.chars().all(|c| {
        matches!(
            c,
            '-' | '='
                | '_'
                | '#'
                | '>'
                | '•'
                | '●'
                | '~'
                | '·'
                | '.'
                | '—'
                | '–'
                | '+'
                | ':'
                | '\\'
                | '▪'
        )
    });
    // A lone `#` or `:` can be a label, and `-` a value; only runs and bullets are drawing.
    if rule && trimmed.chars().count() != 1 {
        ""
    } else {
        trimmed
    }
}

fn is_pipe(kind: Kind, word: &str) -> bool {
    kind == Kind::Markdown && (word.starts_with('|') || word.ends_with('|'))
}

/// The words of a span, as printed.
pub(super) fn words(document: &Document, span: Span) -> Vec<&str> {
    document
        .pages
        .get(span.page)
        .and_then(|page| page.words.get(span.first..=span.last))
        .map_or_else(Vec::new, |words| {
            words.iter().map(|word| bare(&word.text)).collect()
        })
}

/// The text of spans, joined by single spaces.
pub(super) fn text_of(document: &Document, spans: &[Span]) -> String {
    spans
        .iter()
        .flat_map(|span| words(document, *span))
        .collect::<Vec<_>>()
        .join(" ")
}
