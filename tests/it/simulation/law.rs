//! What must hold of a job on the disk, worked out from its log alone.

use std::collections::{BTreeMap, BTreeSet};

use rivulet::domain::completeness::Verdict;
use rivulet::domain::event::{Aside, Envelope, Event, Kind, Reason, SubtreeResult};
use rivulet::domain::rows::Stretch;
use rivulet::domain::status::Status;
use serde_json::Value;

use super::client::client_of;
use super::memory::Row;
use super::model::{BINDING, BOUND, FIELDS, LIST, are_rows, rows, said};

/// Fails with the values when they differ.
macro_rules! same {
    ($what:expr, $left:expr, $right:expr) => {
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("{}: {left:?} is not {right:?}", $what));
        }
    };
}

/// What is cheap to see after every write.
pub fn is_closed(row: &Row) -> Result<(), String> {
    let last = row.events.last().unwrap();
    same!("events", row.events.len() as u64, row.view.sequence);
    same!("the last event", last.sequence, row.view.sequence);
    let has_ended = row.view.status.is_terminal();
    same!("the end is last", last.kind == Kind::End, has_ended);
    let settled = row.view.subtrees_succeeded + row.view.subtrees_failed;
    same!("outcomes", row.outcomes.len() as u64, settled);
    Ok(())
}

/// The fold of a log.
#[derive(Debug, Default)]
struct Told {
    status: Option<Status>,
    run: u32,
    ends: u32,
    total: u64,
    /// By subtree: whether it succeeded.
    outcomes: BTreeMap<String, bool>,
    /// Those of them that are arrays known to lack rows.
    lacking: BTreeSet<String>,
    /// How often retries were told of, by subtree, window and attempt.
    attempts: BTreeMap<(String, Option<Stretch>, u32), u32>,
    requests: u64,
    has_ended: bool,
}

impl Told {
    fn count(&self, succeeded: bool) -> u64 {
        let outcomes = self.outcomes.values();
        outcomes.filter(|outcome| **outcome == succeeded).count() as u64
    }

    fn settle(&mut self, id: String, succeeded: bool, fields: u64) -> Result<(), String> {
        same!(
            "status of an outcome",
            self.status,
            Some(Status::Processing)
        );
        if self.outcomes.contains_key(&id) {
            return Err(format!("`{id}` has two outcomes"));
        }
        self.outcomes.insert(id, succeeded);
        same!("fields", fields, self.outcomes.len() as u64 * FIELDS);
        Ok(())
    }

    fn add(&mut self, event: Event) -> Result<(), String> {
        let is_reopening =
            matches!(&event, Event::JobStatus(event) if event.reason == Reason::Retried);
        same!("whether the log may go on", self.has_ended, is_reopening);
        same!(
            "whether it is the start",
            self.run == 0,
            matches!(event, Event::Start(_))
        );
        match event {
            Event::Start(event) => {
                self.run = 1;
                self.total = event.total_subtrees;
                self.status = Some(event.status);
            }
            Event::JobStatus(event) => {
                same!("status before", Some(event.previous_status), self.status);
                self.status = Some(event.status);
                // A new owner counts from the beginning.
                self.attempts.clear();
                if is_reopening {
                    self.run += 1;
                    self.has_ended = false;
                    let lacking = std::mem::take(&mut self.lacking);
                    self.outcomes
                        .retain(|id, succeeded| *succeeded && !lacking.contains(id));
                }
            }
            Event::SubtreeResult(event) => {
                self.requests += event.usage_metadata.request_count;
                let fields = event.progress.fields_processed;
                let known = event.completeness.as_ref();
                if known.is_some_and(|known| known.verdict == Verdict::Incomplete) {
                    self.lacking.insert(event.subtree_id.clone());
                }
                self.settle(event.subtree_id, true, fields)?;
            }
            Event::SubtreeError(event) => {
                self.requests += event.usage_metadata.request_count;
                let fields = event.progress.fields_processed;
                self.settle(event.subtree_id, false, fields)?;
            }
            Event::SubtreeRetry(event) => {
                let id = event.subtree_id;
                if self.outcomes.contains_key(&id) {
                    return Err(format!("`{id}` is tried again after its outcome"));
                }
                // What is bound to others may be asked for once more, with attempts of its own.
                let most = if event.path.is_root() { 2 } else { 1 };
                let told = self
                    .attempts
                    .entry((id, event.window, event.attempt))
                    .or_default();
                *told += 1;
                if *told > most {
                    return Err(format!("attempt {} is told {told} times", event.attempt));
                }
            }
            Event::ArrayProgress(event) => {
                let id = event.subtree_id;
                if self.outcomes.contains_key(&id) {
                    return Err(format!("`{id}` is read on after its outcome"));
                }
            }
            Event::End(event) => {
                let counts = (event.subtrees_succeeded, event.subtrees_failed);
                same!(
                    "counts at the end",
                    counts,
                    (self.count(true), self.count(false))
                );
                if event.status == Status::Completed {
                    same!("settled", self.outcomes.len() as u64, self.total);
                }
                self.has_ended = true;
                self.ends += 1;
                self.status = Some(event.status);
            }
        }
        Ok(())
    }
}

/// Everything.
pub fn is_lawful(row: &Row) -> Result<(), String> {
    is_closed(row)?;
    let (mut told, mut last) = (Told::default(), None);
    let mut bonds = Bonds::default();
    for (at, stored) in row.events.iter().enumerate() {
        let payload = std::str::from_utf8(&stored.payload).unwrap();
        let envelope = Envelope::decode(payload).map_err(|cause| cause.to_string())?;
        same!("number", envelope.sequence, at as u64 + 1);
        same!("number in the row", stored.sequence, envelope.sequence);
        same!("job", envelope.job, row.view.id);
        same!(
            "time goes on",
            last.max(Some(envelope.at)),
            Some(envelope.at)
        );
        last = Some(envelope.at);
        let number = envelope.sequence;
        if let Event::SubtreeResult(result) = &envelope.event {
            bonds.add(result, is_right(row, result, number)?);
        }
        told.add(envelope.event)
            .map_err(|cause| format!("event {number}: {cause}"))?;
    }
    bonds.hold()?;
    let view = &row.view;
    same!("status", told.status, Some(view.status));
    same!("runs", told.run, view.run);
    let due = view.run - u32::from(!view.status.is_terminal());
    same!("ends", told.ends, due);
    same!("succeeded", told.count(true), view.subtrees_succeeded);
    same!("failed", told.count(false), view.subtrees_failed);
    same!(
        "fields",
        told.outcomes.len() as u64 * FIELDS,
        view.fields_processed
    );
    same!("requests", told.requests, view.usage.request_count);
    same!("ended", view.ended_at.is_some(), view.status.is_terminal());
    Ok(())
}

/// What is told of the subtrees that the schema may bind together.
#[derive(Default)]
struct Bonds {
    has_binding: bool,
    lacks_bound: bool,
    complains: bool,
}

impl Bonds {
    fn add(&mut self, result: &SubtreeResult, is_there: bool) {
        let validation = result.validation.as_ref();
        let complains = validation.is_some_and(|validation| !validation.valid);
        match result.subtree_id.as_str() {
            BINDING => self.has_binding |= is_there,
            BOUND => self.lacks_bound |= !is_there,
            _ => return,
        }
        self.complains |= complains;
    }

    /// A breach is told with one of them, and nothing else is.
    fn hold(&self) -> Result<(), String> {
        let is_broken = self.has_binding && self.lacks_bound;
        same!("whether a breach is told", self.complains, is_broken);
        Ok(())
    }
}

/// Whether a value is what the model says of it, whoever asked for it and how often; gives whether
/// the part is there: the one that is bound may be overlooked.
fn is_right(row: &Row, result: &SubtreeResult, sequence: u64) -> Result<bool, String> {
    let client = client_of(&row.view.spec.config);
    let mut outcomes = row.outcomes.values();
    let outcome = outcomes.find(|(settled, _)| *settled == sequence);
    let known = result.completeness.as_ref();
    let is_lacking = known.is_some_and(|known| known.verdict == Verdict::Incomplete);
    if is_lacking && outcome.is_none() {
        // It was taken back by a retry.
        return Ok(true);
    }
    same!("the result is kept", outcome.is_some(), true);
    let aside = outcome.and_then(|(_, aside)| aside.as_ref());
    same!(
        "what is large is set aside",
        aside.is_some(),
        result.oversize
    );
    let aside = aside.map(|aside| serde_json::from_slice::<Aside>(aside).unwrap());
    let found = aside
        .as_ref()
        .map_or(&result.extracted_result, |aside| &aside.extracted_result);
    if result.subtree_id == BOUND && result.path.is_root() && found.get() == "{}" {
        return Ok(false);
    }
    if result.subtree_id == LIST {
        return is_list(found.get(), result);
    }
    let expected = said(client, &result.subtree_id, &result.path);
    same!("value", found.get(), expected.to_string());
    Ok(true)
}

/// Whether a list has rows of the table, and all of them where it is called complete.
fn is_list(found: &str, result: &SubtreeResult) -> Result<bool, String> {
    let mut found: Value = serde_json::from_str(found).unwrap();
    if result.path.is_root() {
        found = found[LIST].take();
    }
    same!("whether these are rows", are_rows(&found), true);
    let verdict = result.completeness.as_ref().map(|known| known.verdict);
    same!("whether there is a verdict", verdict.is_some(), true);
    let is_whole = found == Value::Array(rows());
    same!(
        "rows of a list",
        is_whole,
        verdict != Some(Verdict::Incomplete)
    );
    Ok(true)
}
