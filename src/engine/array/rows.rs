//! The answer of one window: rows that follow their schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Array;
use crate::domain::error::Fault;
use crate::domain::event::ValidationError;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::rows::Stretch;
use crate::engine::call::{Progress, Run};
use crate::engine::ports::{Answer, CallError, Correction};

/// What a call for one window brings.
pub(in crate::engine) struct Reading {
    pub(in crate::engine) array: Arc<Array>,
    /// The lines that the window answers for.
    pub(in crate::engine) window: Stretch,
    pub(super) came: Option<Came>,
    /// Why nothing came.
    pub(in crate::engine) failed: Option<CallError>,
}

/// Rows in the order of the answer.
pub(super) struct Came {
    pub(super) rows: Vec<Value>,
    /// By pointer into the rows: `/3/amount`.
    pub(super) attributions: Attributions,
    pub(super) logprobs: Logprobs,
    /// The answer was not written to its end.
    pub(super) is_cut: bool,
    /// Rows were left out that do not follow their schema, also when asked for again.
    pub(super) lacks_rows: bool,
    /// The answer says that there is no such array, and not that it is empty.
    pub(super) is_absent: bool,
}

impl Reading {
    pub(super) fn of(array: &Arc<Array>, window: Stretch) -> Self {
        Self {
            array: Arc::clone(array),
            window,
            came: None,
            failed: None,
        }
    }
}

impl Array {
    /// The rows of a value of the subtree; none where it has no such array.
    pub(super) fn rows(&self, value: Value) -> Option<Vec<Value>> {
        let array = match (&self.member, value) {
            (None, value) => value,
            (Some(name), Value::Object(mut members)) => members.remove(name)?,
            (Some(_), _) => return None,
        };
        match array {
            Value::Array(rows) => Some(rows),
            _ => None,
        }
    }

    /// The value of the subtree that has these rows.
    pub(super) fn value(&self, rows: Vec<Value>, is_absent: bool) -> Value {
        let is_absent = is_absent && rows.is_empty();
        match &self.member {
            None if is_absent => Value::Null,
            None => Value::Array(rows),
            Some(_) if is_absent => Value::Object(serde_json::Map::new()),
            Some(name) => {
                let array = [(name.clone(), Value::Array(rows))];
                Value::Object(array.into_iter().collect())
            }
        }
    }

    /// What pointers to rows begin with, in a value of the subtree.
    pub(super) fn above(&self) -> String {
        let Some(name) = &self.member else {
            return String::new();
        };
        format!("/{}", name.replace('~', "~0").replace('/', "~1"))
    }

    /// The row that a fault is in, by its pointer; none where it is about the array.
    pub(super) fn row_of(&self, error: &ValidationError) -> Option<usize> {
        let at = error.path.as_str().strip_prefix(&self.above())?;
        at.strip_prefix('/')?.split('/').next()?.parse().ok()
    }
}

impl Run {
    /// Takes the answer of a window, unless it is to be asked for once more. Of an answer that was
    /// cut off the rows that were whole are taken as they are.
    pub(in crate::engine) fn take_rows(&self, progress: &mut Progress, answer: Answer) {
        let (index, value, said, is_cut) = match answer {
            Answer::Subtree {
                index,
                value,
                attributions,
                logprobs,
            } => (index, value, (attributions, logprobs), false),
            Answer::Cut {
                index,
                value,
                attributions,
                logprobs,
            } => (index, value, (attributions, logprobs), true),
            _ => return,
        };
        let Some((came, errors)) = self.sound(progress, index, value, said, is_cut) else {
            return;
        };
        let may_ask = self.takes_corrections && !is_cut && !progress.corrected.contains(&index);
        if may_ask && !errors.is_empty() {
            progress.wrong.push(Correction { index, errors });
            return;
        }
        progress.missing.clear();
        if let Some(reading) = &mut progress.reading {
            reading.came = Some(came);
        }
    }

    /// The rows that follow their schema, and what is wrong with the others.
    fn sound(
        &self,
        progress: &Progress,
        index: usize,
        value: Value,
        (attributions, logprobs): (Attributions, Logprobs),
        is_cut: bool,
    ) -> Option<(Came, Vec<ValidationError>)> {
        let reading = progress.reading.as_ref()?;
        if !progress.missing.contains(&index) || index != reading.array.index {
            return None;
        }
        let array = &reading.array;
        let checked = self.checked(index, value)?;
        let mut breaches = checked.breaches();
        breaches.retain(|error| array.row_of(error).is_some());
        let wrong: Vec<usize> = breaches
            .iter()
            .filter_map(|error| array.row_of(error))
            .collect();
        let found = array.rows(checked.into_value());
        let is_absent = found.is_none() && !is_cut;
        let rows = found.unwrap_or_default().into_iter().enumerate();
        let (good, bad): (Vec<_>, Vec<_>) = if self.takes_corrections {
            rows.partition(|(at, _)| !wrong.contains(at))
        } else {
            (rows.collect(), Vec::new())
        };
        let from: Vec<usize> = good.iter().map(|(at, _)| *at).collect();
        let came = Came {
            attributions: renumbered(attributions, &array.above(), &from),
            logprobs: renumbered(logprobs, &array.above(), &from),
            rows: good.into_iter().map(|(_, row)| row).collect(),
            is_cut,
            lacks_rows: !bad.is_empty(),
            is_absent,
        };
        Some((came, breaches))
    }
}

/// What is known of rows, by pointer into those of them that are kept.
fn renumbered<T>(known: BTreeMap<String, T>, above: &str, kept: &[usize]) -> BTreeMap<String, T> {
    let known = known.into_iter().filter_map(|(at, one)| {
        let (row, rest) = split(at.strip_prefix(above)?)?;
        let row = kept.binary_search(&row).ok()?;
        Some((format!("/{row}{rest}"), one))
    });
    known.collect()
}

/// The number of a row, and the rest of a pointer into it.
pub(super) fn split(pointer: &str) -> Option<(usize, &str)> {
    let pointer = pointer.strip_prefix('/')?;
    let end = pointer.find('/').unwrap_or(pointer.len());
    let (row, rest) = pointer.split_at(end);
    Some((row.parse().ok()?, rest))
}

/// That no row of the array could be read.
pub(super) fn unread() -> CallError {
    CallError {
        fault: Fault::Internal,
        message: "No window of the document was read for this array.".into(),
        retry_after_ms: None,
    }
}
