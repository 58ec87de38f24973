//! One list of what all windows gave.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::place::find;
use super::survey::Survey;
use super::{List, Place, Stretch, Window};

/// What was read in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub window: Window,
    /// As the model gave them, in its order.
    pub rows: Vec<Value>,
    /// For each row, what [`super::place()`] says of it.
    pub places: Vec<Option<Stretch>>,
}

/// The rows of an array in the order of the document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    pub items: Vec<Value>,
    /// For each item the lines it stands on.
    pub places: Vec<Option<Stretch>>,
    /// Rows that two windows gave and that are there once.
    pub doubled: u32,
}

/// Puts the rows of all windows in the order of the document.
///
/// A row is kept from the window that answers for the line it begins on, from another one only
/// where that window did not give it. Rows without a place follow the row that they were given
/// behind. Inner rows of all copies of a row are put together, and a row of nothing but inner
/// rows, given first in its window, goes on with the row before it.
pub fn merge(survey: &Survey, list: &List, mut parts: Vec<Part>) -> Merged {
    parts.sort_by_key(|part| part.window.own);
    let mut merger = Merger {
        survey,
        inner: list.inner().map(str::to_owned).collect(),
        owners: owners(&parts),
        rows: Vec::new(),
        at: HashMap::new(),
        copies: Vec::new(),
        doubled: 0,
    };
    for (index, part) in parts.into_iter().enumerate() {
        merger.add(index, part);
    }
    merger.finish()
}

/// For each line on which a row begins the part that it is kept from: the one that answers for
/// the line, else the first that has it.
fn owners(parts: &[Part]) -> HashMap<Place, usize> {
    let mut owners = HashMap::new();
    for (index, part) in parts.iter().enumerate() {
        for place in part.places.iter().flatten() {
            if part.window.own.contains(place.first) {
                owners.insert(place.first, index);
            } else {
                owners.entry(place.first).or_insert(index);
            }
        }
    }
    owners
}

/// A row on its way into the list.
struct Row {
    value: Value,
    place: Option<Stretch>,
    /// The line of its own or of the row it follows, and its number in which part.
    key: (Place, usize, usize),
    /// What its window shows.
    shown: Stretch,
}

/// A row that another part gave too.
struct Copy {
    of: Place,
    value: Value,
    shown: Stretch,
}

struct Merger<'s> {
    survey: &'s Survey,
    /// Names of the arrays inside a row.
    inner: Vec<String>,
    owners: HashMap<Place, usize>,
    rows: Vec<Row>,
    /// Index of the row that begins on a line.
    at: HashMap<Place, usize>,
    copies: Vec<Copy>,
    doubled: u32,
}

impl Merger<'_> {
    fn add(&mut self, index: usize, part: Part) {
        let (own, shown) = (part.window.own, part.window.shown);
        let mut places = part.places;
        places.resize(part.rows.len(), None);
        let following = following(&places);
        let mut behind: Option<Place> = None;
        for (number, value) in part.rows.into_iter().enumerate() {
            let Some(stretch) = places[number] else {
                // Between two rows of another window it is that window's.
                let near = behind.or(following[number]);
                if number == 0 && self.goes_on(&value) {
                    self.go_on(value, shown);
                } else if near.is_none_or(|near| own.contains(near)) {
                    let key = (behind.unwrap_or(own.first), index, number);
                    self.rows.push(Row {
                        value,
                        place: None,
                        key,
                        shown,
                    });
                } else {
                    self.doubled += 1;
                }
                continue;
            };
            let first = stretch.first;
            behind = Some(first);
            if number == 0 && self.goes_on(&value) {
                self.go_on(value, shown);
            } else if self.owners.get(&first) == Some(&index) && !self.at.contains_key(&first) {
                self.at.insert(first, self.rows.len());
                self.rows.push(Row {
                    value,
                    place: Some(stretch),
                    key: (first, index, number),
                    shown,
                });
            } else {
                self.doubled += 1;
                self.copies.push(Copy {
                    of: first,
                    value,
                    shown,
                });
            }
        }
    }

    /// Whether a row says nothing but inner rows, and there is a row that they can be of.
    fn goes_on(&self, value: &Value) -> bool {
        let Some(members) = value.as_object() else {
            return false;
        };
        let is_inner = |key: &str| self.inner.iter().any(|inner| inner == key);
        let (inner, own): (Vec<_>, Vec<_>) = members.iter().partition(|(key, _)| is_inner(key));
        !self.rows.is_empty()
            && own.iter().all(|(_, value)| says_nothing(value))
            && inner.iter().any(|(_, value)| !says_nothing(value))
    }

    /// Adds inner rows without an owner to the last row that begins above what their window shows.
    fn go_on(&mut self, value: Value, shown: Stretch) {
        let above = self.rows.iter().rposition(|row| row.key.0 < shown.first);
        self.join(above.unwrap_or(0), value, shown);
    }

    /// Adds the inner rows of another copy of a row.
    fn join(&mut self, row: usize, mut copy: Value, shown: Stretch) {
        let row = &mut self.rows[row];
        for key in &self.inner {
            let Some(Value::Array(more)) = copy.get_mut(key).map(Value::take) else {
                continue;
            };
            let Value::Object(members) = &mut row.value else {
                return;
            };
            let known = members.entry(key.as_str()).or_insert(Value::Null);
            let known_rows = match known.take() {
                Value::Array(rows) => rows,
                _ => Vec::new(),
            };
            let both = joined(self.survey, (known_rows, row.shown), (more, shown));
            *known = Value::Array(both);
        }
        row.shown.first = row.shown.first.min(shown.first);
        row.shown.last = row.shown.last.max(shown.last);
    }

    fn finish(mut self) -> Merged {
        if !self.inner.is_empty() {
            for copy in std::mem::take(&mut self.copies) {
                if let Some(row) = self.at.get(&copy.of).copied() {
                    self.join(row, copy.value, copy.shown);
                }
            }
        }
        self.rows.sort_by_key(|row| row.key);
        let mut merged = Merged {
            doubled: self.doubled,
            ..Merged::default()
        };
        for row in self.rows {
            merged.items.push(row.value);
            merged.places.push(row.place);
        }
        merged
    }
}

/// For each row the line of the next one that has a place.
fn following(places: &[Option<Stretch>]) -> Vec<Option<Place>> {
    let mut next = None;
    let mut all: Vec<Option<Place>> = Vec::with_capacity(places.len());
    for place in places.iter().rev() {
        next = place.map(|stretch| stretch.first).or(next);
        all.push(next);
    }
    all.reverse();
    all
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Inner rows of two copies of a row, each with what its window shows: in the order of the
/// document, those of one line once.
fn joined(
    survey: &Survey,
    known: (Vec<Value>, Stretch),
    more: (Vec<Value>, Stretch),
) -> Vec<Value> {
    let place = |(rows, shown): &(Vec<Value>, Stretch)| {
        let lines: Vec<usize> = survey.lines_of(*shown).collect();
        let found = find(survey, &[], &lines, rows).into_iter();
        let found = found.map(|found| found.map(|found| found.lines.start));
        found.collect::<Vec<Option<usize>>>()
    };
    let (places, more_places) = (place(&known), place(&more));
    let taken: HashSet<usize> = places.iter().flatten().copied().collect();
    let unplaced: Vec<Value> = known
        .0
        .iter()
        .zip(&places)
        .filter(|(_, place)| place.is_none())
        .map(|(row, _)| row.clone())
        .collect();
    let mut all: Vec<((usize, usize), Value)> = Vec::new();
    let mut behind = 0;
    for (row, place) in known.0.into_iter().zip(places) {
        behind = place.unwrap_or(behind);
        all.push(((behind, 0), row));
    }
    for (row, place) in more.0.into_iter().zip(more_places) {
        let is_known = match place {
            Some(line) => taken.contains(&line),
            None => unplaced.contains(&row),
        };
        behind = place.unwrap_or(behind);
        if !is_known {
            all.push(((behind, 1), row));
        }
    }
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, row)| row).collect()
}
