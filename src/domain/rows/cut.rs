//! Windows: which lines are read together.

use std::collections::HashMap;
use std::ops::Range;

use super::survey::{Edge, Survey};
use super::{List, Place, Stretch, Window};
use crate::domain::cost::size::LETTERS_A_TOKEN;

/// Lines and rows around a window's own that are shown too, at least.
const OVERLAP: (usize, usize) = (3, 2);
/// Lines on either side of a cut that are rows of one line each, of as many cells, where the row
/// above is enough: nobody can take the end of one row for the beginning of the next.
const SHARP: usize = 2;
/// The most lines that are shown around a window's own, on either side.
const MOST_OVERLAP: usize = 16;
/// How far back from the end of a full window a better place to cut is looked for, as a part of it.
const SEARCHED: f64 = 0.25;
/// The most windows.
const MOST_WINDOWS: usize = 4_000;
/// Lines in which a table's header is looked for, upwards.
const HEADER_LINES: usize = 4_000;

/// How large a window may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    pub pages: u32,
    /// About as many; lines around the window's own come on top.
    pub tokens: u32,
    /// Rows, where they can be told.
    pub rows: Option<u32>,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            pages: 5,
            tokens: 8_000,
            rows: None,
        }
    }
}

/// Where the rows are to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Disjoint and in order. What is in none of them surely holds no row.
    pub regions: Vec<Stretch>,
    pub windows: Vec<Window>,
    /// About how many rows there are.
    pub estimate: Option<u32>,
}

/// Cuts a document into windows, before rows and never inside one where rows can be told.
pub fn windows(survey: &Survey, list: &List, limits: WindowLimits) -> Located {
    let regions = super::region::regions(survey, list);
    let outline = Outline::of(survey);
    let mut windows = Vec::new();
    for region in &regions {
        for own in outline.cut(region.clone(), limits) {
            if windows.len() < MOST_WINDOWS {
                windows.extend(outline.window(&own, region));
            } else if let Some(last) = windows.last_mut() {
                extend(last, survey, own.end - 1);
            }
        }
    }
    let rows = regions.iter().flat_map(Clone::clone);
    let estimate = rows.filter(|line| outline.starts[*line]).count();
    let mut located = Located {
        regions: regions
            .iter()
            .filter_map(|region| survey.stretch(region.start, region.end - 1))
            .collect(),
        windows,
        estimate: u32::try_from(estimate).ok().filter(|rows| *rows > 1),
    };
    take_edges(survey, &mut located);
    located
}

fn extend(window: &mut Window, survey: &Survey, last: usize) {
    if let Some(line) = survey.lines.get(last) {
        window.own.last = line.place;
        window.shown.last = line.place;
    }
}

/// Pages without words at either end belong to the first and the last window, where these reach
/// the first and the last words; a document without any has one window.
fn take_edges(survey: &Survey, located: &mut Located) {
    let pages = &survey.document().pages;
    let (Some(first), Some(last)) = (pages.first(), pages.last()) else {
        return;
    };
    let first = Place {
        page: first.number,
        line: 0,
    };
    let last = Place {
        page: last.number,
        line: last.lines.len().saturating_sub(1) as u32,
    };
    if survey.lines.is_empty() {
        let whole = Stretch { first, last };
        located.regions = vec![whole];
        located.windows = vec![Window {
            shown: whole,
            own: whole,
            context: Vec::new(),
        }];
        return;
    }
    let ends = (
        survey.lines[0].place,
        survey.lines[survey.lines.len() - 1].place,
    );
    if let Some(window) = located
        .windows
        .first_mut()
        .filter(|w| w.own.first == ends.0)
    {
        (window.own.first, window.shown.first) = (first, first);
    }
    if let Some(window) = located.windows.last_mut().filter(|w| w.own.last == ends.1) {
        (window.own.last, window.shown.last) = (last, last);
    }
    if let Some(region) = located.regions.first_mut().filter(|r| r.first == ends.0) {
        region.first = first;
    }
    if let Some(region) = located.regions.last_mut().filter(|r| r.last == ends.1) {
        region.last = last;
    }
}

/// Where rows seem to begin, told by the shapes of lines alone.
pub(super) struct Outline<'s> {
    survey: &'s Survey,
    /// For each line, whether a row seems to begin there.
    pub starts: Vec<bool>,
}

impl<'s> Outline<'s> {
    pub(super) fn of(survey: &'s Survey) -> Self {
        let shapes = shapes(survey);
        let mut outline = Self {
            survey,
            starts: vec![false; survey.lines.len()],
        };
        // The fullest of the common shapes of a page is the shape of its rows; a page that has
        // none of its own goes by the document's.
        let all = 0..survey.lines.len();
        let main = leading(survey, &shapes, all.clone());
        let mut at = 0;
        while at < all.end {
            let page = survey.lines[at].page;
            let mut end = at + 1;
            while end < all.end && survey.lines[end].page == page {
                end += 1;
            }
            let own = leading(survey, &shapes, at..end);
            for line in at..end {
                let edges = edges(survey, line);
                let fits = |shape: &Option<Vec<Edge>>| {
                    shape.as_ref().is_some_and(|shape| has_shape(&edges, shape))
                };
                let is_header = survey.cells(line).iter().all(|cell| !cell.has_digit);
                outline.starts[line] =
                    (fits(&own) || fits(&main)) && !is_header && !survey.lines[line].is_furniture;
            }
            at = end;
        }
        outline
    }

    /// A region's parts, each within the limits.
    pub(super) fn cut(&self, region: Range<usize>, limits: WindowLimits) -> Vec<Range<usize>> {
        // What a line takes of a window: as text, and as a row.
        let letters = f64::from(limits.tokens.max(1)) * LETTERS_A_TOKEN;
        let row = limits
            .rows
            .map_or(0.0, |rows| f64::from(rows.max(1)).recip());
        let cost = |line: usize| {
            let row = if self.starts[line] { row } else { 0.0 };
            [f64::from(self.survey.lines[line].letters) / letters, row]
        };
        let sum = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        let total = region.clone().map(cost).fold([0.0; 2], sum);
        // Even parts: a last window of a few lines would cost a call of its own.
        let [text, rows] = total.map(|total| total.ceil().max(1.0));
        let most = if rows > text {
            [1.0, total[1] / rows]
        } else {
            [total[0] / text, 1.0]
        };
        let is_full = |spent: [f64; 2]| (0..2).any(|at| spent[at] > most[at] * 1.02);
        let mut parts = Vec::new();
        let mut start = region.start;
        while start < region.end {
            let mut spent = [0.0; 2];
            let mut end = start;
            while end < region.end && self.pages(start, end) < limits.pages.max(1) as usize {
                spent = sum(spent, cost(end));
                if is_full(spent) && end > start {
                    break;
                }
                end += 1;
            }
            end = end.max(start + 1);
            if end < region.end {
                end = self.best_cut(start, end);
            }
            parts.push(start..end);
            start = end;
        }
        parts
    }

    /// Pages that end between two lines.
    fn pages(&self, first: usize, last: usize) -> usize {
        self.survey.lines[last].page - self.survey.lines[first].page
    }

    /// The last line at or before `end` at which a part that begins at `start` is best cut off.
    fn best_cut(&self, start: usize, end: usize) -> usize {
        let back = ((end - start) as f64 * SEARCHED).ceil() as usize;
        let least = end.saturating_sub(back.max(8)).max(start + 1);
        let candidates = || (least..=end).rev();
        let row = candidates().find(|line| self.starts[*line]);
        let lines = &self.survey.lines;
        row.or_else(|| candidates().find(|line| lines[*line].is_parted))
            .or_else(|| candidates().find(|line| self.survey.is_first_of_page(*line)))
            .unwrap_or(end)
    }

    /// A window that answers for `own`.
    pub(super) fn window(&self, own: &Range<usize>, region: &Range<usize>) -> Option<Window> {
        let least = if self.is_sharp(own.start) {
            (1, 1)
        } else {
            OVERLAP
        };
        let above = (own.start, region.start, least);
        let first = self.reach(above, |line| line.checked_sub(1));
        let least = if self.is_sharp(own.end) {
            (0, 0)
        } else {
            OVERLAP
        };
        let below = (own.end - 1, region.end - 1, least);
        let last = self.reach(below, |line| Some(line + 1));
        Some(Window {
            shown: self.survey.stretch(first, last)?,
            own: self.survey.stretch(own.start, own.end - 1)?,
            context: self.header(first, region.start),
        })
    }

    /// Whether a cut before this line is between two rows for certain.
    fn is_sharp(&self, cut: usize) -> bool {
        let around = cut.saturating_sub(SHARP)..cut + SHARP;
        let cells = |line: usize| self.survey.cells(line).len();
        let is_alike = |line: usize| cells(line) == cells(cut);
        let mut around = around.map(|line| self.starts.get(line) == Some(&true) && is_alike(line));
        cut >= SHARP && cut < self.starts.len() && around.all(|is_row| is_row)
    }

    /// The farthest line that is shown too, from `line` on towards `limit`: so many lines and rows.
    fn reach(
        &self,
        (line, limit, least): (usize, usize, (usize, usize)),
        step: impl Fn(usize) -> Option<usize>,
    ) -> usize {
        let (mut at, mut lines, mut rows) = (line, 0, 0);
        while at != limit && lines < MOST_OVERLAP && (lines < least.0 || rows < least.1) {
            let Some(next) = step(at) else { break };
            at = next;
            lines += 1;
            rows += usize::from(self.starts[at]);
        }
        at
    }

    /// The header of the table that goes on at `first`, with its heading, if no header stands
    /// before the first rows from there on.
    fn header(&self, first: usize, least: usize) -> Vec<Stretch> {
        let starts = &self.starts;
        let below = (first..starts.len()).take(MOST_OVERLAP + OVERLAP.0);
        let has_own = below
            .clone()
            .any(|line| self.is_header(line) && starts.get(line + 1) == Some(&true));
        if has_own || !below.clone().any(|line| starts[line]) {
            return Vec::new();
        }
        let from = least.max(first.saturating_sub(HEADER_LINES));
        let header = (from..first)
            .rev()
            .find(|line| self.is_header(*line) && starts.get(line + 1) == Some(&true));
        let Some(last) = header else {
            return Vec::new();
        };
        let mut top = last;
        while top > from && last - top < 3 && self.is_head(top - 1) {
            top -= 1;
        }
        self.survey.stretch(top, last).into_iter().collect()
    }

    /// Several cells, none with a figure.
    fn is_header(&self, line: usize) -> bool {
        let cells = self.survey.cells(line);
        cells.len() >= 2 && cells.iter().all(|cell| !cell.has_digit)
    }

    /// A heading above a header, or one more of its lines.
    fn is_head(&self, line: usize) -> bool {
        let cells = self.survey.cells(line);
        !self.starts[line]
            && !self.survey.lines[line].is_furniture
            && cells.iter().all(|cell| !cell.has_digit)
    }
}

/// The edges of a line's cells, from left to right.
pub(super) fn edges(survey: &Survey, line: usize) -> Vec<Edge> {
    let cells = survey.cells(line).iter();
    cells.map(|cell| cell.edge).collect()
}

/// How often each shape of at least two cells occurs, of lines with a figure.
fn shapes(survey: &Survey) -> HashMap<Vec<Edge>, usize> {
    let mut counts = HashMap::new();
    for line in 0..survey.lines.len() {
        let cells = survey.cells(line);
        if cells.len() >= 2 && cells.iter().any(|cell| cell.has_digit) {
            *counts.entry(edges(survey, line)).or_insert(0) += 1;
        }
    }
    counts
}

/// The shape of which most cells of these lines are.
fn leading(
    survey: &Survey,
    known: &HashMap<Vec<Edge>, usize>,
    lines: Range<usize>,
) -> Option<Vec<Edge>> {
    let mut counts: HashMap<Vec<Edge>, usize> = HashMap::new();
    for line in lines {
        let shape = edges(survey, line);
        if known.get(&shape).is_some_and(|count| *count > 2) {
            *counts.entry(shape).or_insert(0) += 1;
        }
    }
    let of = |(shape, count): &(Vec<Edge>, usize)| (shape.len() * count, shape.clone());
    let best = counts.into_iter().max_by_key(of);
    best.map(|(shape, _)| shape)
}

/// Whether a line has most of the cells of a shape.
pub(super) fn has_shape(line: &[Edge], shape: &[Edge]) -> bool {
    let shared = shape.iter().filter(|edge| line.contains(edge)).count();
    line.len() >= 2 && shared * 5 >= shape.len() * 3 && shared >= 2
}
