//! A document looked through once: its lines as cells, and the edges that cells line up at.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::place::Content;
use super::printed::{Figure, figures};
use super::{Place, Stretch};
use crate::domain::document::{Document, Page, Word};
use crate::domain::value::date::{self, Order};
use crate::domain::value::fold;
use crate::domain::value::number::{self, Habit};

/// White space that parts two cells: in font sizes where there are any, else in columns of the
/// grid.
const GAP: (f32, f32) = (0.95, 1.5);
/// Edges as close as this are one, in points; those of a grid must be the same.
const SAME_EDGE: (f32, f32) = (1.6, 0.1);
/// Lines at the top and at the bottom of a page that may say the same on every page.
const EDGE_LINES: (usize, usize) = (6, 4);

/// What a document's lines look like.
#[derive(Debug)]
pub struct Survey {
    document: Arc<Document>,
    /// In the order of the document.
    pub(crate) lines: Vec<Line>,
    pub(crate) cells: Vec<Cell>,
    /// The lines of each page.
    pages: Vec<Range<usize>>,
    pub(crate) order: Order,
    pub(crate) habit: Option<Habit>,
    /// What stands on each line, once it was asked for.
    contents: OnceLock<Vec<Content>>,
}

/// One printed line.
#[derive(Debug)]
pub(crate) struct Line {
    pub place: Place,
    /// Index of the page.
    pub page: usize,
    pub cells: Range<usize>,
    /// Characters, with what parts the cells.
    pub letters: u32,
    /// Says the same, or its page's number, at the edge of several pages.
    pub is_furniture: bool,
    /// White space above is wider than a line.
    pub is_parted: bool,
}

/// Words of a line without a wide gap between them.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Indices into the page's words, both included.
    pub first: usize,
    pub last: usize,
    pub x0: f32,
    pub x1: f32,
    /// The edge that it lines up at with most others.
    pub edge: Edge,
    pub has_digit: bool,
}

/// An edge, or a middle, that several cells have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Edge {
    side: u8,
    number: u32,
}

impl Edge {
    /// 0 the left, 1 the right, 2 the middle.
    pub(super) fn side(self) -> u8 {
        self.side
    }
}

impl Survey {
    /// Looks through a document. Linear in its words.
    pub fn of(document: Arc<Document>) -> Self {
        let words = || document.pages.iter().flat_map(|page| &page.words);
        let texts = || words().map(|word| word.text.as_str());
        let mut survey = Self {
            order: date::order(texts()).unwrap_or(Order::DayFirst),
            habit: number::habit(texts()),
            lines: Vec::new(),
            cells: Vec::new(),
            pages: Vec::new(),
            contents: OnceLock::new(),
            document: Arc::clone(&document),
        };
        for (index, page) in document.pages.iter().enumerate() {
            let first = survey.lines.len();
            survey.add_page(index, page);
            survey.pages.push(first..survey.lines.len());
        }
        survey.align();
        survey.mark_furniture();
        survey
    }

    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    fn add_page(&mut self, index: usize, page: &Page) {
        let mut bottom: Option<f32> = None;
        for number in 0..page.lines.len() {
            let words = page.line(number);
            let Some(range) = page.lines.get(number) else {
                continue;
            };
            let first = self.cells.len();
            self.add_cells(page, words, range.start as usize);
            let letters: usize = words.iter().map(|word| word.text.chars().count() + 1).sum();
            let (top, end) = extent(words);
            let height = (end - top).max(f32::EPSILON);
            self.lines.push(Line {
                place: Place {
                    page: page.number,
                    line: number as u32,
                },
                page: index,
                letters: (letters + 6 * (self.cells.len() - first)) as u32,
                cells: first..self.cells.len(),
                is_furniture: false,
                is_parted: bottom.is_some_and(|bottom| top - bottom > 0.9 * height),
            });
            bottom = Some(end);
        }
    }

    fn add_cells(&mut self, page: &Page, words: &[Word], offset: usize) {
        let mut end: Option<f32> = None;
        for (at, word) in words.iter().enumerate() {
            let (x0, x1) = (word.bbox[0] * page.width, word.bbox[2] * page.width);
            let gap = if word.size > 0.0 {
                GAP.0 * word.size
            } else {
                GAP.1
            };
            let joined = end.is_some_and(|end| x0 - end < gap);
            let has_digit = word.text.contains(|char: char| char.is_ascii_digit());
            match self.cells.last_mut() {
                Some(cell) if joined => {
                    cell.last = offset + at;
                    cell.x1 = cell.x1.max(x1);
                    cell.has_digit |= has_digit;
                }
                _ => self.cells.push(Cell {
                    first: offset + at,
                    last: offset + at,
                    x0,
                    x1,
                    edge: Edge { side: 0, number: 0 },
                    has_digit,
                }),
            }
            end = Some(end.map_or(x1, |end| end.max(x1)));
        }
    }

    /// Gives each cell the edge that it shares with most others.
    fn align(&mut self) {
        let same = if self.document.kind.is_printed() {
            SAME_EDGE.0
        } else {
            SAME_EDGE.1
        };
        let sides: [fn(&Cell) -> f32; 3] = [
            |cell| cell.x0,
            |cell| cell.x1,
            |cell| f32::midpoint(cell.x0, cell.x1),
        ];
        let mut best: Vec<(usize, Edge)> = vec![(0, Edge { side: 0, number: 0 }); self.cells.len()];
        for (side, of) in sides.into_iter().enumerate() {
            let mut order: Vec<usize> = (0..self.cells.len()).collect();
            order.sort_by(|a, b| of(&self.cells[*a]).total_cmp(&of(&self.cells[*b])));
            let close = |a: usize, b: usize| of(&self.cells[b]) - of(&self.cells[a]) <= same;
            let groups = order.chunk_by(|a, b| close(*a, *b));
            for (number, group) in groups.enumerate() {
                for cell in group {
                    if group.len() > best[*cell].0 {
                        let edge = Edge {
                            side: side as u8,
                            number: number as u32,
                        };
                        best[*cell] = (group.len(), edge);
                    }
                }
            }
        }
        for (cell, (_, edge)) in self.cells.iter_mut().zip(best) {
            cell.edge = edge;
        }
    }

    fn mark_furniture(&mut self) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut marked: Vec<(usize, String)> = Vec::new();
        for (index, lines) in self.pages.iter().enumerate() {
            let top = lines.clone().take(EDGE_LINES.0);
            let bottom = lines.clone().skip(EDGE_LINES.0).rev().take(EDGE_LINES.1);
            for line in top.chain(bottom) {
                let number = self.document.pages[index].number;
                if self.lines[line].cells.len() <= 3 {
                    marked.push((line, without_number(&self.text(line), number)));
                }
            }
        }
        for (_, text) in &marked {
            *seen.entry(text.clone()).or_default() += 1;
        }
        for (line, text) in marked {
            let repeated = seen.get(&text).is_some_and(|count| *count > 1);
            self.lines[line].is_furniture = repeated || is_page_number(&text);
        }
    }

    pub(crate) fn text(&self, line: usize) -> String {
        let words = self.words(line).iter().map(|word| word.text.as_str());
        words.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn words(&self, line: usize) -> &[Word] {
        self.lines.get(line).map_or(&[], |line| {
            let page = self.document.pages.get(line.page);
            page.map_or(&[], |page| page.line(line.place.line as usize))
        })
    }

    pub(crate) fn cells(&self, line: usize) -> &[Cell] {
        let range = self.lines.get(line).map(|line| line.cells.clone());
        range
            .and_then(|range| self.cells.get(range))
            .unwrap_or_default()
    }

    pub(crate) fn cell_text(&self, line: usize, cell: &Cell) -> String {
        let page = self.lines.get(line).map_or(0, |line| line.page);
        let words = self.document.pages.get(page);
        let words = words.and_then(|page| page.words.get(cell.first..=cell.last));
        let texts = words.unwrap_or_default().iter();
        texts
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The words and values of a line, which must be one of the document's.
    pub(crate) fn content(&self, line: usize) -> &Content {
        let read = || {
            (0..self.lines.len())
                .map(|line| Content::of(self, line))
                .collect()
        };
        &self.contents.get_or_init(read)[line]
    }

    /// The numbers printed on a line, each with its cell.
    pub(crate) fn figures(&self, line: usize) -> Vec<Figure> {
        figures(self, line)
    }

    /// Index of the first line at or behind a place.
    pub(crate) fn line_at(&self, place: Place) -> usize {
        self.lines.partition_point(|line| line.place < place)
    }

    /// The lines of a stretch.
    pub(crate) fn lines_of(&self, stretch: Stretch) -> Range<usize> {
        let end = self
            .lines
            .partition_point(|line| line.place <= stretch.last);
        self.line_at(stretch.first).min(end)..end
    }

    pub(crate) fn stretch(&self, first: usize, last: usize) -> Option<Stretch> {
        Some(Stretch {
            first: self.lines.get(first)?.place,
            last: self.lines.get(last)?.place,
        })
    }

    /// Whether a line is among the first of its page.
    pub(crate) fn is_first_of_page(&self, line: usize) -> bool {
        line == 0
            || self.lines.get(line).map(|l| l.page) != self.lines.get(line - 1).map(|l| l.page)
    }
}

/// Top and bottom of a line.
fn extent(words: &[Word]) -> (f32, f32) {
    words.iter().fold((f32::MAX, f32::MIN), |(top, end), word| {
        (top.min(word.bbox[1]), end.max(word.bbox[3]))
    })
}

/// The folded text with a mark in place of the page's own number.
fn without_number(text: &str, page: u32) -> String {
    let number = page.to_string();
    let words = text.split(' ').map(|word| {
        let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
        if bare == number {
            "#".to_owned()
        } else {
            fold(word)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line with its page's number marked says nothing else: `page #`, `# / 12`, `#`.
fn is_page_number(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "page", "seite", "p.", "s.", "von", "of", "sur", "de", "/", "-",
    ];
    text.contains('#')
        && text
            .split(' ')
            .all(|word| word == "#" || WORDS.contains(&word) || word.parse::<u32>().is_ok())
}
