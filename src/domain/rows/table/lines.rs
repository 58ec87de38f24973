//! What the lines of a document are to its tables: rows, what goes on with them, what is none.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::super::sum::says_sum;
use super::super::survey::{Cell, Survey};
use super::cell::kind;
use super::column::{Columns, Places};
use super::{LEAST_ROWS, Part, Row};
use crate::domain::value::fold;

/// Lines above the first row of a table, and behind its last, that are shown with them.
const AROUND: usize = 24;
/// Lines of a header.
const HEADER_LINES: usize = 3;
/// Lines above a row that are its table's, where that is too short to be learned from.
const HEAD: usize = 4;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// The first of a row.
    Row,
    /// Goes on with the row above: a text that had no room.
    More,
    /// The edge of a page, a sum, or a header that stands there again.
    Noise,
    /// Ends a table, or heads one.
    Break,
    /// May be a row or a part of one.
    Other,
}

/// The lines one by one, and the rows that they make.
pub(super) fn read(survey: &Survey, columns: &Columns) -> (Vec<Line>, Vec<Row>) {
    let count = survey.lines.len();
    let places: Vec<Option<Places>> = (0..count)
        .map(|line| columns.places(survey, line))
        .collect();
    let mut reader = Reader {
        survey,
        columns,
        is_row: (0..count)
            .map(|line| is_row(survey, columns, line, places[line].as_ref()))
            .collect(),
        places,
        own: HashSet::new(),
        above: Vec::new(),
        lines: Vec::with_capacity(count),
        rows: Vec::new(),
    };
    for line in 0..count {
        let what = reader.what(line);
        reader.lines.push(what);
    }
    reader.finish()
}

/// Whether a line has most of the columns, a figure, and nothing else.
fn is_row(survey: &Survey, columns: &Columns, line: usize, places: Option<&Places>) -> bool {
    let is_full = places.is_some_and(|places| places.len() >= least(columns));
    is_full
        && has_digit(survey, line)
        && !survey.lines[line].is_furniture
        && !says_sum(survey, line)
}

/// Cells that a row has at least.
fn least(columns: &Columns) -> usize {
    (columns.most * 3).div_ceil(5).max(2)
}

fn has_digit(survey: &Survey, line: usize) -> bool {
    survey.cells(line).iter().any(|cell| cell.has_digit)
}

/// Several cells without a figure.
fn is_header(survey: &Survey, line: usize) -> bool {
    survey.cells(line).len() >= 2 && !has_digit(survey, line)
}

struct Reader<'s> {
    survey: &'s Survey,
    columns: &'s Columns,
    places: Vec<Option<Places>>,
    is_row: Vec<bool>,
    /// The lines of the header of the table under way, and of one that begins.
    own: HashSet<String>,
    above: Vec<String>,
    lines: Vec<Line>,
    rows: Vec<Row>,
}

impl Reader<'_> {
    fn what(&mut self, line: usize) -> Line {
        let survey = self.survey;
        if self.is_row[line] {
            if !self.above.is_empty() {
                self.own = self.above.drain(..).collect();
            }
            self.rows.push(Row {
                lines: line..line + 1,
                kind: 0,
                is_parted: false,
            });
            return Line::Row;
        }
        let goes_on = self.goes_on(line);
        if goes_on && self.is_inside(line) {
            if let Some(row) = self.rows.last_mut() {
                row.is_parted |= row.lines.end < line;
                row.lines.end = line + 1;
            }
            return Line::More;
        }
        let shared = self.columns.shared(survey, line);
        if survey.lines[line].is_furniture {
            // Rows that are alike, or ends of them, may stand at the edges of two pages.
            let may_be_row = shared >= least(self.columns) && has_digit(survey, line);
            return if may_be_row || goes_on || self.is_part_of_row(line) {
                Line::Other
            } else {
                Line::Noise
            };
        }
        if says_sum(survey, line) && self.has_sum(line) {
            let is_short = shared * 4 < self.columns.most * 3;
            return if is_short { Line::Noise } else { Line::Other };
        }
        if is_header(survey, line) && !self.is_part_of_row(line) {
            return self.header(line);
        }
        let may_be_row = shared >= 2 && has_digit(survey, line);
        if may_be_row || self.is_part_of_row(line) {
            return Line::Other;
        }
        self.above.clear();
        Line::Break
    }

    /// Whether a number stands by itself behind what a line is called.
    fn has_sum(&self, line: usize) -> bool {
        let survey = self.survey;
        let mut behind = survey.cells(line).iter().skip(1);
        behind.any(|cell| kind(survey, &survey.cell_text(line, cell)).starts_with('N'))
    }

    /// A header at the top of a page goes on with its table.
    fn header(&mut self, line: usize) -> Line {
        let survey = self.survey;
        let text = fold(&survey.text(line));
        let page = survey.lines[line].page;
        let last = self.rows.last().map(|row| row.lines.end - 1);
        let is_below = last.is_some_and(|last| survey.lines[last].page == page);
        let is_parted = last.is_some_and(|last| self.lines[last..].contains(&Line::Break));
        if self.own.contains(&text) && !is_below && !is_parted {
            return Line::Noise;
        }
        self.above.push(text);
        Line::Break
    }

    /// Whether a line can be what was left of a row: few cells, none in the first column.
    fn is_part_of_row(&self, line: usize) -> bool {
        let places = self.places[line].as_ref();
        let is_within = |places: &Places| places.len() < least(self.columns) && places[0] > 0;
        !self.rows.is_empty() && places.is_some_and(is_within)
    }

    /// Whether the cells of a line had no room in those above.
    fn goes_on(&self, line: usize) -> bool {
        let survey = self.survey;
        let (Some(places), Some(row)) = (&self.places[line], self.rows.last()) else {
            return false;
        };
        if !self.is_next(row, line) || places.len() * 2 > self.columns.most {
            return false;
        }
        let cells = survey.cells(line).iter().zip(places);
        cells.into_iter().all(|(cell, column)| {
            let text = survey.cell_text(line, cell);
            let above = row.lines.clone().rev().find_map(|above| {
                let places = self.places[above].as_ref()?;
                let at = places.binary_search(column).ok()?;
                Some((above, survey.cells(above).get(at)?))
            });
            above.is_some_and(|(at, above)| {
                let is_hyphened = survey.cell_text(at, above).ends_with(['-', '\u{ad}']);
                let (width, space) = first_word(survey, line, cell);
                let wraps = self.columns.wraps(*column, above, width, space);
                wraps && !is_hyphened && kind(survey, &text) == "T"
            })
        })
    }

    /// Whether a line stands right below a row, or is the first of the next page that says anything.
    fn is_next(&self, row: &Row, line: usize) -> bool {
        let lines = &self.survey.lines;
        if row.lines.end < line {
            let mut between = self.lines[row.lines.end..line].iter();
            return lines[row.lines.end - 1].page + 1 == lines[line].page
                && between.all(|line| *line == Line::Noise);
        }
        lines[line - 1].page == lines[line].page && !lines[line].is_parted
    }

    /// Whether a line is no edge of its page, as what stands below all rows of many pages is.
    fn is_inside(&self, line: usize) -> bool {
        let lines = &self.survey.lines;
        let page = lines[line].page;
        let mut below = (line + 1..lines.len()).take_while(|at| lines[*at].page == page);
        !lines[line].is_furniture || below.any(|at| self.is_row[at])
    }

    fn finish(mut self) -> (Vec<Line>, Vec<Row>) {
        let mut known: HashMap<String, u32> = HashMap::new();
        for row in &mut self.rows {
            let texts = texts(self.survey, self.columns, &self.lines, row);
            let kinds = texts.iter().map(|text| match text {
                Some(text) => kind(self.survey, text),
                None => String::new(),
            });
            let mut name = kinds.collect::<Vec<_>>().join("\t");
            if row.lines.len() > 1 {
                name.push('+');
            }
            if row.is_parted {
                name.push('/');
            }
            let next = known.len() as u32;
            row.kind = *known.entry(name).or_insert(next);
        }
        (self.lines, self.rows)
    }
}

/// Width of the first word of a cell, and of a space behind it.
fn first_word(survey: &Survey, line: usize, cell: &Cell) -> (f32, f32) {
    let page = survey.document().pages.get(survey.lines[line].page);
    let word = page.and_then(|page| Some((page, page.words.get(cell.first)?)));
    word.map_or((0.0, 0.0), |(page, word)| {
        let width = (word.bbox[2] - word.bbox[0]) * page.width;
        let space = if word.size > 0.0 {
            word.size * 0.2
        } else {
            1.0
        };
        (width, space)
    })
}

/// What a row says in each column; none where a cell is empty.
pub(super) fn texts(
    survey: &Survey,
    columns: &Columns,
    lines: &[Line],
    row: &Row,
) -> Vec<Option<String>> {
    let mut texts: Vec<Option<String>> = vec![None; columns.count()];
    for line in row.own(lines) {
        let places = columns.places(survey, line).unwrap_or_default();
        for (cell, column) in survey.cells(line).iter().zip(places) {
            let text = survey.cell_text(line, cell);
            match &mut texts[column] {
                Some(known) => {
                    known.push(' ');
                    known.push_str(&text);
                }
                empty => *empty = Some(text),
            }
        }
    }
    texts
}

impl Row {
    /// The lines that it stands on, without the edges of pages between.
    pub(super) fn own(&self, lines: &[Line]) -> impl Iterator<Item = usize> {
        let own = self.lines.clone();
        own.filter(|line| matches!(lines.get(*line), Some(Line::Row | Line::More)))
    }
}

/// The rows between two breaks, where they are enough.
pub(super) fn parts(
    survey: &Survey,
    lines: &[Line],
    rows: &[Row],
    regions: &[Range<usize>],
) -> Vec<Part> {
    let region = |row: &Row| {
        regions
            .iter()
            .find(|region| region.contains(&row.lines.start))
    };
    let is_one = |above: &Row, below: &Row| {
        let between = &lines[above.lines.end..below.lines.start];
        !between.contains(&Line::Break) && region(above) == region(below)
    };
    let mut groups: Vec<Range<usize>> = Vec::new();
    for at in 0..rows.len() {
        match groups.last_mut() {
            Some(group) if is_one(&rows[at - 1], &rows[at]) => group.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    let mut parts: Vec<Part> = Vec::new();
    for group in groups.iter().filter(|group| group.len() >= LEAST_ROWS) {
        let (first, last) = (&rows[group.start], &rows[group.end - 1]);
        let Some(region) = region(first) else {
            continue;
        };
        let before = group
            .start
            .checked_sub(1)
            .map_or(0, |row| rows[row].lines.end);
        let next = rows
            .get(group.end)
            .map_or(lines.len(), |row| row.lines.start);
        let start = first.lines.start.saturating_sub(AROUND);
        let start = start.max(before).max(region.start);
        // What stands before the next table is that one's.
        let behind = if next < lines.len() {
            next.saturating_sub(HEAD).max(last.lines.end)
        } else {
            next
        };
        let end = behind.min(last.lines.end + AROUND).min(region.end);
        if let Some(above) = parts.last_mut() {
            above.lines.end = above.lines.end.min(start);
        }
        parts.push(Part {
            header: header(survey, first.lines.start),
            rows: group.clone(),
            lines: start..end,
        });
    }
    parts
}

fn header(survey: &Survey, row: usize) -> String {
    let above = (0..row).rev().take(HEADER_LINES);
    let above = above.take_while(|line| is_header(survey, *line));
    let texts: Vec<String> = above.map(|line| fold(&survey.text(line))).collect();
    texts.join("\n")
}
