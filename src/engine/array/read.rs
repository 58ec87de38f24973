//! A long array from its windows to its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::kept::Piece;
use super::rebase::rebased;
use super::rows::unread;
use super::table::Windows;
use super::told::Told;
use super::window::{Read, around, heading};
use super::{Array, Judged, offload};
use crate::domain::completeness::{Completeness, Outcome, Reading, judge};
use crate::domain::event::Phase;
use crate::domain::job::AnswerKey;
use crate::domain::rows::{Merged, Stretch, Window, merge};
use crate::domain::usage::Usage;
use crate::engine::call::Run;
use crate::engine::journal::Halt;
use crate::engine::ports::CallError;

/// Times that what seems to be missing is asked for once more.
const ROUNDS: usize = 3;

/// An array that is being read.
pub(super) struct Lane<'a> {
    pub(super) run: &'a Run,
    pub(super) array: Arc<Array>,
    pub(super) slots: &'a Semaphore,
    pub(super) told: Told,
    pub(super) windows: Windows,
    /// What became of each window, by its number.
    read: BTreeMap<usize, Read>,
    /// What was asked for once more.
    more: Vec<Piece>,
    pub(super) spent: Usage,
    pub(super) attempts: u32,
    /// Rows that the model has read.
    pub(super) asked: usize,
}

impl Run {
    /// Brings an array to an outcome, window by window. `spent` is what it has cost so far.
    ///
    /// Windows take slots as calls do, and what was read before is not asked for again. What could
    /// not be read makes the array incomplete; it fails only when nothing was read.
    pub(in crate::engine) async fn read_array(
        &self,
        index: usize,
        spent: Usage,
        slots: &Semaphore,
    ) -> Result<(), Halt> {
        let Some(array) = self.arrays.get(index) else {
            return self
                .give_up(&mut self.progress(vec![index]), unread())
                .await;
        };
        let started = Instant::now();
        let before = spent.candidates_token_count;
        let mut lane = Lane {
            run: self,
            told: Told::of(&array),
            windows: Windows::of(&array),
            array,
            slots,
            read: BTreeMap::new(),
            more: Vec::new(),
            spent,
            attempts: 0,
            asked: 0,
        };
        lane.tell().await?;
        lane.read_tables().await?;
        lane.read_windows().await?;
        let mut progress = self.progress(vec![index]);
        progress.started = started;
        if lane.read.values().all(|read| read.whole.pieces.is_empty()) {
            (progress.spent, progress.attempt) = (lane.spent.clone(), lane.attempts.max(1));
            let error = lane.error().unwrap_or_else(unread);
            self.waits.begin(&self.journal).await?;
            self.give_up(&mut progress, error).await?;
            return self.waits.end(&self.journal).await;
        }
        lane.turn(Phase::Verifying).await?;
        let (merged, completeness) = lane.verified().await?;
        lane.turn(Phase::Merging).await?;
        progress.spent = lane.spent.clone();
        progress.attempt = lane.attempts;
        lane.learn_rows(before, merged.items.len());
        let said = rebased(&lane.pieces(), &merged, &lane.array.above());
        let is_absent = lane.pieces().iter().all(|piece| piece.is_absent);
        let value = lane.array.value(merged.items, is_absent);
        let Some(checked) = self.checked(index, value) else {
            return Ok(());
        };
        let judged = Judged::own(completeness);
        // Whatever other calls wait for, a job that has something to say does not.
        self.waits.begin(&self.journal).await?;
        self.conclude(&mut progress, index, checked, said, judged)
            .await?;
        self.mend().await?;
        self.waits.end(&self.journal).await
    }
}

impl Lane<'_> {
    async fn tell(&mut self) -> Result<(), Halt> {
        match self.told.tell(&self.array) {
            Some(draft) => self.run.say(draft).await,
            None => Ok(()),
        }
    }

    async fn turn(&mut self, phase: Phase) -> Result<(), Halt> {
        self.told.turn(phase);
        self.tell().await
    }

    /// `before`: tokens of answers that the array had cost when it was begun.
    fn learn_rows(&self, before: u64, found: usize) {
        let tokens = self.spent.candidates_token_count.saturating_sub(before);
        let coded = self.windows.coded.values().map(|piece| piece.rows.len());
        let read = (self.asked, coded.sum());
        let run = self.run;
        let taken = self.array.taken(tokens, read, found);
        let rates = &run.engine.rates;
        rates.learn_rows(&run.spec.config, &run.planned, &taken);
    }

    pub(super) fn end(&mut self, number: usize, read: Read) {
        if !self.windows.coded.contains_key(&number) {
            let pieces = read.whole.pieces.iter();
            self.asked += pieces.map(|piece| piece.rows.len()).sum::<usize>();
        }
        self.spent.add(&read.whole.usage);
        self.attempts += read.whole.attempts;
        self.told.end(number, &read.whole);
        self.read.insert(number, read);
    }

    async fn read_windows(&mut self) -> Result<(), Halt> {
        let (run, slots) = (self.run, self.slots);
        let array = Arc::clone(&self.array);
        self.end_coded();
        let windows = &self.windows.all.clone();
        let keys: Vec<AnswerKey> = windows
            .iter()
            .map(|window| run.window_key(&array, window))
            .collect();
        let before = run.windows_before(&array, &keys).await?;
        for (number, key) in keys.iter().enumerate() {
            if self.read.contains_key(&number) {
                continue;
            }
            // Of one whose answer was cut off the rest may still be to be read.
            if let Some(whole) = before.get(key).filter(|whole| whole.left.is_empty()) {
                self.end(number, Read::before(whole.clone()));
            }
        }
        self.told.turn(Phase::Extracting);
        let left = keys.iter().enumerate();
        let left = left.filter(|(number, _)| !self.read.contains_key(number));
        let (array, before) = (&array, &before);
        let mut calls: FuturesUnordered<_> = left
            .map(|(number, key)| async move {
                let before = before.get(key).cloned();
                let read = run.read_window(array, &windows[number], before, slots);
                (number, read.await)
            })
            .collect();
        let mut outcome = Ok(());
        loop {
            let due = self.told.due();
            let ended = tokio::select! {
                biased;
                () = until(due) => {
                    self.tell().await?;
                    continue;
                }
                ended = calls.next() => ended,
            };
            match ended {
                None => return outcome,
                Some((number, Ok(read))) => self.end(number, read),
                // The others are paid for: they may be kept.
                Some((_, Err(Halt::Drained))) => outcome = Err(Halt::Drained),
                Some((_, Err(Halt::Lost))) => return Err(Halt::Lost),
            }
        }
    }

    /// All rows, and whether any are missing; those that seem to be are asked for once more.
    async fn verified(&mut self) -> Result<(Merged, Completeness), Halt> {
        let mut judged = self.judged().await?;
        for _ in 0..ROUNDS {
            let windows = self.suspicious(&judged.1);
            if windows.is_empty() {
                break;
            }
            let known = self.more.len();
            self.told.again();
            self.tell().await?;
            self.read_again(&windows).await?;
            if self.more.len() == known {
                break;
            }
            let missing = judged.1.evidence.missing;
            judged = self.judged().await?;
            if judged.1.evidence.missing >= missing {
                break;
            }
        }
        Ok(judged)
    }

    /// Windows for the places where rows seem to be missing, though they were read.
    fn suspicious(&self, completeness: &Completeness) -> Vec<Window> {
        let missing = completeness.evidence.missing_at.iter();
        missing
            .filter_map(|place| self.window_for(*place))
            .collect()
    }

    fn window_for(&self, place: Stretch) -> Option<Window> {
        let windows = self.windows.all.iter().enumerate();
        let mut around_it = windows.filter(|(_, window)| window.own.contains(place.first));
        let (number, window) = around_it.next()?;
        let read = self.read.get(&number)?;
        if !matches!(read.outcome, Outcome::Read) {
            return None;
        }
        let document = &self.run.document;
        let pieces = read.whole.pieces.iter();
        let places = pieces.flat_map(|piece| piece.places.iter().flatten());
        let first = places.map(|place| place.first).min();
        let mut asked = around(document, window, place);
        let heading = first
            .and_then(|row| heading(document, window, row))
            .filter(|heading| heading.last < asked.shown.first);
        asked.context.extend(heading);
        Some(asked)
    }

    async fn read_again(&mut self, windows: &[Window]) -> Result<(), Halt> {
        let (run, slots, array) = (self.run, self.slots, Arc::clone(&self.array));
        let keys: Vec<AnswerKey> = windows
            .iter()
            .map(|window| run.window_key(&array, window))
            .collect();
        let before = run.windows_before(&array, &keys).await?;
        let array = &array;
        let before = &before;
        let calls: FuturesUnordered<_> = windows
            .iter()
            .zip(&keys)
            .map(|(window, key)| async move {
                match before.get(key) {
                    Some(whole) if whole.left.is_empty() => Ok(Read::before(whole.clone())),
                    known => run.read_window(array, window, known.cloned(), slots).await,
                }
            })
            .collect();
        let read: Vec<Result<Read, Halt>> = calls.collect().await;
        for read in read {
            let read = read?;
            self.spent.add(&read.whole.usage);
            self.attempts += read.whole.attempts;
            self.more.extend(read.whole.pieces);
        }
        Ok(())
    }

    /// In the order of the document.
    fn pieces(&self) -> Vec<Piece> {
        let read = self.read.values().flat_map(|read| &read.whole.pieces);
        read.chain(&self.more).cloned().collect()
    }

    async fn judged(&self) -> Result<(Merged, Completeness), Halt> {
        let (array, pieces) = (Arc::clone(&self.array), self.pieces());
        let windows = self.windows.all.iter().enumerate();
        let reading = Reading {
            tables: self.windows.stretches(),
            windows: windows
                .map(|(number, window)| {
                    let read = self.read.get(&number);
                    let outcome = read.map_or(Outcome::Failed, |read| read.outcome);
                    (window.clone(), outcome)
                })
                .collect(),
            fault: self.error().map(|error| error.fault),
        };
        offload(&self.run.document, move || {
            let parts = pieces.iter().map(Piece::part).collect();
            let merged = merge(&array.survey, &array.list, parts);
            let completeness = judge(&array.survey, &array.list, &merged, &reading);
            (merged, completeness)
        })
        .await
    }

    /// Why a window was not read.
    fn error(&self) -> Option<CallError> {
        let mut errors = self.read.values().filter_map(|read| read.error.as_ref());
        errors.next().cloned()
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
