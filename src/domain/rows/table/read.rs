//! Tables read by what was learned, and windows for all that was not.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use super::learn::{Lessons, Way};
use super::lines::{Line, texts};
use super::{Part, Row, Tables, stretch, window};
use crate::domain::rows::cut::Outline;
use crate::domain::rows::{Place, Stretch, Survey, Window, WindowLimits};

/// Rows between two that are left to the model, up to which it reads these too.
const BETWEEN: usize = 8;
/// The part of all rows, in hundredths, that must be read by code for it to pay.
const WORTH: usize = 40;

/// Rows that were read by code, one after the other.
#[derive(Debug, Clone)]
pub struct Coded {
    /// The lines that it answers for.
    pub window: Window,
    pub rows: Vec<Value>,
    /// The lines of each row.
    pub places: Vec<Option<Stretch>>,
    /// Where the values stand.
    pub cells: Vec<Stood>,
}

/// Where a value stands.
#[derive(Debug, Clone)]
pub struct Stood {
    /// By pointer into the rows: `/3/amount`.
    pub at: String,
    /// Index of the page, and the first and last of its words.
    pub page: usize,
    pub words: (usize, usize),
}

/// The regions of an array: what code has read, and windows for a model.
#[derive(Debug, Clone, Default)]
pub struct Division {
    pub coded: Vec<Coded>,
    pub asked: Vec<Window>,
}

impl Coded {
    fn none(window: Window) -> Self {
        Self {
            window,
            rows: Vec::new(),
            places: Vec::new(),
            cells: Vec::new(),
        }
    }
}

impl Tables {
    /// Reads all rows that can be read as was learned, but for those that begin at the places
    /// `refused`; none where the model has to read most of them after all. `limits`: how large
    /// windows for the rest may be.
    pub fn divide(
        &self,
        survey: &Survey,
        lessons: &Lessons,
        refused: &HashSet<Place>,
        limits: WindowLimits,
    ) -> Option<Division> {
        let mut coded: Vec<(Range<usize>, Coded)> = Vec::new();
        let mut others = 0;
        for (at, (part, way)) in self.parts.iter().zip(&lessons.ways).enumerate() {
            let way = way.and_then(|way| lessons.known.get(way));
            if let Some(way) = way {
                let coded = &mut coded;
                self.read_part(survey, part, (way, lessons), refused, coded);
            } else if lessons.others.contains(&at) {
                others += part.rows.len();
                let none = Coded::none(window(survey, &part.lines)?);
                coded.push((part.lines.clone(), none));
            }
        }
        let rows: usize = coded.iter().map(|(_, coded)| coded.rows.len()).sum();
        if rows == 0 || rows * 100 < (self.rows.len() - others) * WORTH {
            return None;
        }
        let mut asked = Vec::new();
        let outline = Outline::of(survey);
        for region in &self.regions {
            let mut from = region.start;
            let inside = coded
                .iter()
                .filter(|(lines, _)| region.contains(&lines.start));
            let ends = inside.map(|(lines, _)| lines.clone());
            for lines in ends.chain(std::iter::once(region.end..region.end)) {
                if from < lines.start {
                    let parts = outline.cut(from..lines.start, limits);
                    asked.extend(parts.iter().filter_map(|own| outline.window(own, region)));
                }
                from = lines.end;
            }
        }
        Some(Division {
            coded: coded.into_iter().map(|(_, coded)| coded).collect(),
            asked,
        })
    }

    fn read_part(
        &self,
        survey: &Survey,
        part: &Part,
        (way, lessons): (&Way, &Lessons),
        refused: &HashSet<Place>,
        coded: &mut Vec<(Range<usize>, Coded)>,
    ) {
        let read: Vec<Option<Value>> = part
            .rows
            .clone()
            .map(|at| {
                let row = &self.rows[at];
                let place = survey.lines[row.lines.start].place;
                let is_told = !self.is_doubtful(row) || lessons.shown.contains(&at);
                let is_open = !way.knows(row.kind) || refused.contains(&place) || !is_told;
                if is_open || !self.is_clear(part, at) {
                    return None;
                }
                let texts = texts(survey, &self.columns, &self.lines, row);
                way.row(survey, row.kind, &texts)
            })
            .collect();
        let holes = self.holes(part, &read);
        let mut from = part.lines.start;
        for hole in holes
            .into_iter()
            .chain(std::iter::once(part.lines.end..part.lines.end))
        {
            let lines = from..hole.start;
            from = hole.end;
            if !lines.is_empty() {
                coded.extend(self.coded(survey, part, way, (&lines, &read)));
            }
        }
    }

    /// Whether a row may have more lines than its own: on the next page, or where a table ends.
    fn is_doubtful(&self, row: &Row) -> bool {
        let ends =
            |line: Option<usize>| line.and_then(|at| self.lines.get(at)) == Some(&Line::Break);
        row.is_parted || ends(Some(row.lines.end)) || ends(row.lines.start.checked_sub(1))
    }

    /// Lines that are left to the model: rows that were not read, and all that may be one.
    fn holes(&self, part: &Part, read: &[Option<Value>]) -> Vec<Range<usize>> {
        let mut holes: Vec<Range<usize>> = Vec::new();
        let mut add = |lines: Range<usize>| match holes.last_mut() {
            Some(last) if lines.start <= last.end => last.end = last.end.max(lines.end),
            _ => holes.push(lines),
        };
        let mut last: Option<usize> = None;
        for (at, value) in part.rows.clone().zip(read) {
            if value.is_some() {
                continue;
            }
            // What stands between rows may be of either.
            let above = at.checked_sub(1).filter(|above| part.rows.contains(above));
            let begin = self.rows[at].lines.start;
            let from = match (above, last) {
                (Some(above), Some(last)) if above - last <= BETWEEN => self.rows[last].lines.end,
                (Some(above), _) => self.after(self.rows[above].lines.end, begin),
                (None, _) => self.after(part.lines.start, begin),
            };
            let end = self.rows[at].lines.end;
            let below = Some(at + 1).filter(|below| part.rows.contains(below));
            let next = below.map_or(part.lines.end, |below| self.rows[below].lines.start);
            let others = (end..next)
                .rev()
                .find(|line| self.lines[*line] == Line::Other);
            add(from..others.map_or(end, |line| line + 1));
            last = Some(at);
        }
        holes
    }

    /// The first line from `from` on, before `to`, that may be of a row; else `to`.
    fn after(&self, from: usize, to: usize) -> usize {
        (from..to)
            .find(|line| self.lines[*line] == Line::Other)
            .unwrap_or(to)
    }

    fn coded(
        &self,
        survey: &Survey,
        part: &Part,
        way: &Way,
        (lines, read): (&Range<usize>, &[Option<Value>]),
    ) -> Option<(Range<usize>, Coded)> {
        let mut coded = Coded::none(window(survey, lines)?);
        for (at, value) in part.rows.clone().zip(read) {
            let row = &self.rows[at];
            let (true, Some(value)) = (lines.contains(&row.lines.start), value) else {
                continue;
            };
            for line in row.own(&self.lines) {
                let places = self.columns.places(survey, line).unwrap_or_default();
                for (name, column) in way.columns() {
                    let cell = places.binary_search(&column).ok();
                    let cell = cell.and_then(|cell| survey.cells(line).get(cell));
                    let is_said = value.pointer(name).is_some_and(|value| !value.is_null());
                    coded
                        .cells
                        .extend(cell.filter(|_| is_said).map(|cell| Stood {
                            at: format!("/{}{name}", coded.rows.len()),
                            page: survey.lines[line].page,
                            words: (cell.first, cell.last),
                        }));
                }
            }
            coded.rows.push(value.clone());
            coded.places.push(stretch(survey, &row.lines));
        }
        Some((lines.clone(), coded))
    }
}
