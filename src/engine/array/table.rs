//! Tables: a model reads some of their rows, code the others by what it has shown, and the model
//! again what does not fit.
//!
//! The rows that the model was shown are windows like any other, on disk when they are read. What
//! is learned from them follows from them, so that a job that goes on after a crash asks nothing
//! again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::kept::{Piece, Whole};
use super::read::Lane;
use super::window::Read;
use super::{Array, offload};
use crate::domain::completeness::Outcome;
use crate::domain::document::Document;
use crate::domain::evidence::{Attributions, Logprobs, quote_words};
use crate::domain::job::AnswerKey;
use crate::domain::rows::{
    Coded, Division, Lesson, Lessons, Place, Sample, Stretch, Tables, Window,
};
use crate::engine::journal::Halt;

/// Times that rows which break their schema are given to the model instead.
const ROUNDS: usize = 3;

/// The windows of an array, and those of them that code has read.
pub(super) struct Windows {
    pub(super) all: Vec<Window>,
    pub(super) coded: BTreeMap<usize, Piece>,
}

impl Windows {
    pub(super) fn of(array: &Array) -> Self {
        Self {
            all: array.located.windows.clone(),
            coded: BTreeMap::new(),
        }
    }

    /// The lines that code has read.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        self.coded.values().map(|piece| piece.window.own).collect()
    }
}

impl Lane<'_> {
    /// Has some rows of each table read, and reads the others by them where they show how.
    pub(super) async fn read_tables(&mut self) -> Result<(), Halt> {
        let Some(tables) = self.array.tables.clone() else {
            return Ok(());
        };
        let samples = tables.samples(&self.array.survey);
        let mut lessons = self.lessons(samples).await?;
        let mut learned = self.learn(&tables, &lessons).await?;
        if !learned.doubts.is_empty() {
            let more = self.lessons(std::mem::take(&mut learned.doubts)).await?;
            lessons.extend(more);
            learned = self.learn(&tables, &lessons).await?;
        }
        if learned.is_any() {
            self.divide(tables, learned).await?;
        }
        Ok(())
    }

    async fn learn(&self, tables: &Arc<Tables>, lessons: &[Lesson]) -> Result<Lessons, Halt> {
        let (array, tables) = (Arc::clone(&self.array), Arc::clone(tables));
        let lessons = lessons.to_vec();
        offload(&self.run.document, move || {
            tables.learn(&array.survey, &lessons)
        })
        .await
    }

    /// What the model reads of the samples; those that it does not read to their end teach nothing.
    async fn lessons(&mut self, samples: Vec<Sample>) -> Result<Vec<Lesson>, Halt> {
        let (run, slots, array) = (self.run, self.slots, Arc::clone(&self.array));
        let key = |sample: &Sample| run.window_key(&array, &sample.window);
        let keys: Vec<AnswerKey> = samples.iter().map(key).collect();
        let before = run.windows_before(&array, &keys).await?;
        let (array, before) = (&array, &before);
        let calls = samples.iter().zip(&keys).map(|(sample, key)| async move {
            match before.get(key).cloned() {
                Some(whole) if whole.left.is_empty() => Ok(Read::before(whole)),
                // Of one whose answer was cut off the rest may still be to be read.
                before => run.read_window(array, &sample.window, before, slots).await,
            }
        });
        let read: Vec<Result<Read, Halt>> = join_all(calls).await;
        let mut lessons = Vec::new();
        for (sample, read) in samples.into_iter().zip(read) {
            let mut read = read?;
            self.spent.add(&read.whole.usage);
            self.attempts += read.whole.attempts;
            let is_read = matches!(read.outcome, Outcome::Read) && read.whole.pieces.len() == 1;
            let pieces = read.whole.pieces.iter();
            self.asked += pieces.map(|piece| piece.rows.len()).sum::<usize>();
            if let Some(piece) = read.whole.pieces.pop().filter(|_| is_read) {
                lessons.push(Lesson {
                    sample,
                    rows: piece.rows,
                });
            }
        }
        Ok(lessons)
    }

    /// Takes what code can read, and leaves rows that break their schema to the model.
    async fn divide(&mut self, tables: Arc<Tables>, learned: Lessons) -> Result<(), Halt> {
        let learned = Arc::new(learned);
        let mut refused: HashSet<Place> = HashSet::new();
        for _ in 0..ROUNDS {
            let (array, tables) = (Arc::clone(&self.array), Arc::clone(&tables));
            let (learned, without) = (Arc::clone(&learned), refused.clone());
            let divided = offload(&self.run.document, move || {
                tables.divide(&array.survey, &learned, &without, array.limits)
            });
            let Some(division) = divided.await? else {
                return Ok(());
            };
            let wrong = self.wrong(&division);
            if wrong.is_empty() {
                self.lay_out(division);
                return Ok(());
            }
            refused.extend(wrong);
        }
        Ok(())
    }

    /// Where rows begin that break their schema.
    fn wrong(&self, division: &Division) -> Vec<Place> {
        let coded = division.coded.iter();
        let rows = coded.clone().flat_map(|coded| coded.rows.iter().cloned());
        let places: Vec<_> = coded.flat_map(|coded| &coded.places).collect();
        let value = self.array.value(rows.collect(), false);
        let Some(checked) = self.run.checked(self.array.index, value) else {
            return Vec::new();
        };
        let breaches = checked.breaches();
        let rows = breaches.iter().filter_map(|error| self.array.row_of(error));
        rows.filter_map(|row| Some(places.get(row)?.as_ref()?.first))
            .collect()
    }

    fn lay_out(&mut self, division: Division) {
        let quotes = self.run.spec.config.per_key_attribution;
        let document = quotes.then_some(self.run.document.as_ref());
        let coded = division.coded.into_iter();
        let coded = coded.map(|coded| (coded.window.clone(), Some(piece(document, coded))));
        let asked = division.asked.into_iter().map(|window| (window, None));
        let mut all: Vec<(Window, Option<Piece>)> = coded.chain(asked).collect();
        all.sort_by_key(|(window, _)| window.own.first);
        // Pages without words at either end are those of the first and the last window.
        let located = &self.array.located.windows;
        if let (Some((first, _)), Some(known)) = (all.first_mut(), located.first()) {
            first.own.first = first.own.first.min(known.own.first);
            first.shown.first = first.shown.first.min(known.shown.first);
        }
        if let (Some((last, _)), Some(known)) = (all.last_mut(), located.last()) {
            last.own.last = last.own.last.max(known.own.last);
            last.shown.last = last.shown.last.max(known.shown.last);
        }
        let (windows, pieces): (Vec<Window>, Vec<Option<Piece>>) = all.into_iter().unzip();
        let coded = pieces.into_iter().enumerate();
        let coded = coded.filter_map(|(number, piece)| Some((number, piece?)));
        self.told.divide(windows.clone());
        self.windows = Windows {
            coded: coded.collect(),
            all: windows,
        };
    }

    /// Ends the windows that code has read.
    pub(super) fn end_coded(&mut self) {
        for (number, piece) in self.windows.coded.clone() {
            let whole = Whole {
                pieces: vec![piece],
                usage: self.run.blank.clone(),
                attempts: 0,
                run: self.run.number,
                left: Vec::new(),
            };
            self.end(number, Read::before(whole));
        }
    }
}

/// Rows that code has read, with a quote for each value where a document is given.
fn piece(document: Option<&Document>, coded: Coded) -> Piece {
    let mut attributions = Attributions::new();
    for stood in document.iter().flat_map(|_| &coded.cells) {
        let page = document.and_then(|document| Some((document, document.pages.get(stood.page)?)));
        let (first, last) = stood.words;
        let quote = page.and_then(|(document, page)| quote_words(document, page, first, last));
        let known = attributions.entry(stood.at.clone()).or_default();
        known.quotes.extend(quote);
    }
    Piece {
        window: coded.window,
        rows: coded.rows,
        places: coded.places,
        attributions,
        logprobs: Logprobs::new(),
        is_absent: false,
    }
}
