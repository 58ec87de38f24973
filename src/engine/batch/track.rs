//! What is told of one record: under its name, and with the last outcome what became of it.

use tokio::sync::Mutex;

use crate::domain::completeness::Verdict;
use crate::domain::event::JudgedArray;
use crate::domain::job::{Draft, Ordinal, ResultDraft};
use crate::domain::record::{RecordMark, RecordStatus};
use crate::engine::journal::{Halt, Journal};

/// One record of a batch that is being extracted from.
pub(in crate::engine) struct Track {
    index: u64,
    id: Option<String>,
    /// The number of its first outcome.
    first: Ordinal,
    ends: Mutex<Ends>,
}

/// The outcomes of a record so far.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// By subtree, whether it has one.
    settled: Vec<bool>,
    failed: usize,
    /// Whether an array is known to lack rows.
    lacks_rows: bool,
    /// Whether that fails the record.
    requires_rows: bool,
}

impl Ends {
    pub(super) fn new(subtrees: usize, requires_rows: bool) -> Self {
        Self {
            settled: vec![false; subtrees],
            failed: 0,
            lacks_rows: false,
            requires_rows,
        }
    }

    /// Takes the outcome of a subtree; false when there was one.
    pub(super) fn settle(&mut self, subtree: usize, end: End) -> bool {
        let Some(settled @ false) = self.settled.get_mut(subtree) else {
            return false;
        };
        *settled = true;
        self.failed += usize::from(end == End::Failed);
        self.lacks_rows |= end == End::Lacking;
        true
    }

    /// Subtrees without an outcome.
    pub(super) fn pending(&self) -> Vec<usize> {
        let subtrees = self.settled.iter().enumerate();
        let pending = subtrees.filter(|(_, settled)| !**settled);
        pending.map(|(index, _)| index).collect()
    }

    /// What became of the record; none before its last outcome.
    pub(super) fn status(&self) -> Option<RecordStatus> {
        if self.settled.contains(&false) {
            return None;
        }
        Some(match (self.failed, self.lacks_rows) {
            (0, false) => RecordStatus::Succeeded,
            (0, true) if self.requires_rows => RecordStatus::Failed,
            (failed, _) if failed == self.settled.len() => RecordStatus::Failed,
            _ => RecordStatus::Partial,
        })
    }
}

/// What became of one subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum End {
    Whole,
    /// An array that is known to lack rows.
    Lacking,
    Failed,
}

impl End {
    pub(super) fn of(is_lacking: bool) -> Self {
        if is_lacking {
            Self::Lacking
        } else {
            Self::Whole
        }
    }
}

impl Track {
    /// `ends` are the outcomes from before.
    pub(super) fn new(index: u64, id: Option<String>, first: Ordinal, ends: Ends) -> Self {
        Self {
            index,
            id,
            first,
            ends: Mutex::new(ends),
        }
    }

    pub(in crate::engine) fn first(&self) -> Ordinal {
        self.first
    }

    /// Queues a draft in the name of the record. An outcome of a subtree that has one is left out.
    pub(in crate::engine) async fn say(&self, journal: &Journal, draft: Draft) -> Result<(), Halt> {
        // Held until it is queued: the outcome that is last here is the last one in the log.
        let mut ends = self.ends.lock().await;
        let named = match draft {
            Draft::Result(mut result) => {
                if !ends.settle(result.ordinal as usize, End::of(lacks_rows(&result))) {
                    return Ok(());
                }
                result.ordinal += self.first;
                result.record = Some(self.mark(ends.status()));
                Draft::Result(result)
            }
            Draft::Error(mut error) => {
                if !ends.settle(error.ordinal as usize, End::Failed) {
                    return Ok(());
                }
                error.ordinal += self.first;
                error.record = Some(self.mark(ends.status()));
                Draft::Error(error)
            }
            Draft::Retry(mut retry) => {
                retry.record_index = Some(self.index);
                retry.record_id.clone_from(&self.id);
                Draft::Retry(retry)
            }
            Draft::Array(mut array) => {
                array.record = Some(self.mark(None));
                Draft::Array(array)
            }
            other => other,
        };
        journal.push(named).await
    }

    fn mark(&self, end: Option<RecordStatus>) -> RecordMark {
        RecordMark {
            index: self.index,
            id: self.id.clone(),
            end,
        }
    }
}

fn lacks_rows(result: &ResultDraft) -> bool {
    let completeness = result.completeness.as_ref();
    completeness.is_some_and(|known| known.verdict == Verdict::Incomplete)
        || result.arrays.iter().any(JudgedArray::is_incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ends: &[End], requires_rows: bool) -> Option<RecordStatus> {
        let mut all = Ends::new(2, requires_rows);
        for (subtree, end) in ends.iter().enumerate() {
            assert!(all.settle(subtree, *end));
        }
        all.status()
    }

    #[test]
    fn a_record_ends_with_its_last_subtree_and_by_what_became_of_all() {
        use RecordStatus::{Failed, Partial, Succeeded};
        assert_eq!(status(&[End::Whole], false), None);
        assert_eq!(status(&[End::Whole, End::Whole], true), Some(Succeeded));
        assert_eq!(status(&[End::Whole, End::Failed], false), Some(Partial));
        assert_eq!(status(&[End::Failed, End::Failed], false), Some(Failed));
        assert_eq!(status(&[End::Whole, End::Lacking], false), Some(Partial));
        assert_eq!(status(&[End::Whole, End::Lacking], true), Some(Failed));
    }

    #[test]
    fn a_subtree_counts_once() {
        let mut ends = Ends::new(2, false);
        assert!(ends.settle(1, End::Whole));
        assert!(!ends.settle(1, End::Failed));
        assert!(!ends.settle(2, End::Failed));
        assert_eq!(ends.pending(), [0]);
    }
}
