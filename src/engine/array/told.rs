//! What is told of a long array while it is read: seldom enough, and rows only once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Array;
use super::kept::{Piece, Whole};
use crate::domain::event::{ItemsPreview, Phase};
use crate::domain::job::{ArrayDraft, Draft};
use crate::domain::rows::Window;

/// The least time between two events of one array.
const PAUSE: Duration = Duration::from_millis(500);
/// Events of one array.
const MOST_EVENTS: u32 = 200;
/// Bytes of rows in one event.
const PREVIEW: usize = 8 << 10;

/// The reading of one array, as those who watch are told.
pub(super) struct Told {
    windows: Vec<Window>,
    /// Names of the row's properties.
    names: Vec<String>,
    /// Rows of each window that was read, as far as they are its own; taken out once shown.
    read: Vec<Option<Vec<Box<RawValue>>>>,
    /// Windows whose rows were shown, all from the first; and how many rows that were.
    shown: (usize, u64),
    found: u64,
    /// Of them those with a value for every property.
    completed: u64,
    /// Readings, this one included.
    iteration: u64,
    done: u64,
    pages: BTreeSet<u32>,
    phase: Phase,
    is_news: bool,
    events: u32,
    /// When there may be another.
    next: Instant,
    /// As the last event said.
    found_then: u64,
    pages_then: BTreeSet<u32>,
}

impl Told {
    pub(super) fn of(array: &Array) -> Self {
        let windows = array.located.windows.clone();
        let properties = array.list.properties.iter();
        Self {
            read: windows.iter().map(|_| None).collect(),
            windows,
            names: properties.map(|property| property.key.clone()).collect(),
            shown: (0, 0),
            found: 0,
            completed: 0,
            iteration: 1,
            done: 0,
            pages: BTreeSet::new(),
            phase: Phase::Locating,
            is_news: true,
            events: 0,
            next: Instant::now(),
            found_then: 0,
            pages_then: BTreeSet::new(),
        }
    }

    /// Sets other windows, before any was read.
    pub(super) fn divide(&mut self, windows: Vec<Window>) {
        self.read = windows.iter().map(|_| None).collect();
        self.windows = windows;
        self.is_news = true;
    }

    pub(super) fn turn(&mut self, phase: Phase) {
        self.is_news |= self.phase != phase;
        self.phase = phase;
    }

    /// What seems to be missing is read once more.
    pub(super) fn again(&mut self) {
        self.iteration += 1;
        self.is_news = true;
    }

    /// A window has ended; with none of its rows where it failed.
    pub(super) fn end(&mut self, number: usize, whole: &Whole) {
        self.come(number, whole.pieces.iter().flat_map(Piece::own));
    }

    /// The rows of a window, all of them its own.
    pub(super) fn come<'v>(&mut self, number: usize, rows: impl Iterator<Item = &'v Value>) {
        let (names, completed) = (&self.names, &mut self.completed);
        let rows = rows.inspect(|row| {
            let has = |name: &String| row.get(name).is_some_and(|value| !value.is_null());
            *completed += u64::from(names.iter().all(has));
        });
        let rows = rows.filter_map(|row| serde_json::value::to_raw_value(row).ok());
        let rows: Vec<_> = rows.collect();
        self.done += 1;
        self.found += rows.len() as u64;
        if let Some(window) = self.windows.get(number) {
            self.pages
                .extend(window.own.first.page..=window.own.last.page);
        }
        if let Some(read) = self.read.get_mut(number) {
            *read = Some(rows);
        }
        self.is_news = true;
    }

    /// When there will be something to tell; none where all is told.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_left = self.is_news && self.events < MOST_EVENTS;
        is_left.then_some(self.next)
    }

    /// What is to be told now, if anything.
    pub(super) fn tell(&mut self, array: &Array) -> Option<Draft> {
        let now = Instant::now();
        if self.due()? > now {
            return None;
        }
        (self.next, self.is_news) = (now + PAUSE, false);
        self.events += 1;
        let pages = self.pages.difference(&self.pages_then).copied().collect();
        let draft = ArrayDraft {
            subtree_id: array.subtree.id.clone(),
            path: array.path(),
            phase: self.phase,
            items_found: self.found,
            items_new: self.found - self.found_then,
            items_completed: self.completed,
            iteration: self.iteration,
            windows_done: self.done,
            windows_total: self.windows.len() as u64,
            pages,
            pages_processed: self.pages.len() as u64,
            total_pages: array.survey.document().pages.len() as u64,
            total_items_estimate: array.located.estimate.map(u64::from),
            items_preview: self.preview(),
            record: None,
        };
        self.found_then = self.found;
        self.pages_then.clone_from(&self.pages);
        Some(Draft::Array(draft))
    }

    /// The next rows, as long as all before them are read: later ones have no index yet.
    fn preview(&mut self) -> Option<ItemsPreview> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        let offset = self.shown.1;
        while let Some(Some(rows)) = self.read.get_mut(self.shown.0) {
            let fits = rows.iter().take_while(|row| {
                bytes += row.get().len();
                bytes <= PREVIEW
            });
            let fits = fits.count();
            items.extend(rows.drain(..fits));
            if !rows.is_empty() {
                // More than an event holds; a row that is larger alone is not shown at all.
                if items.is_empty() {
                    rows.remove(0);
                    self.shown.1 += 1;
                }
                self.is_news = true;
                break;
            }
            self.shown.0 += 1;
        }
        self.shown.1 += items.len() as u64;
        (!items.is_empty()).then_some(ItemsPreview { offset, items })
    }
}
