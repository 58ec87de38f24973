//! What a job knows of its arrays: whether rows are missing, and what their windows did cost.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{JobView, Ordinal, ResultDraft, WindowDraft};
use crate::domain::event::ArrayVerdict;
use crate::domain::usage::Usage;

/// An array whose outcome was taken back after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    pub subtree_id: String,
    pub run: u32,
}

/// What the windows of an array did cost so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paid {
    pub ordinal: Ordinal,
    pub usage: Usage,
}

impl JobView {
    /// What the job did cost so far: its outcomes, and windows of arrays that have none yet.
    pub fn spent(&self) -> Usage {
        let mut spent = self.usage.clone();
        self.paid.iter().for_each(|paid| spent.add(&paid.usage));
        spent
    }

    /// Counts a window that is kept beside the log. To count it again changes nothing.
    pub fn pay(&mut self, window: &WindowDraft) {
        let mut known = self.paid.iter_mut();
        let known = known.find(|paid| paid.ordinal == window.ordinal);
        match known {
            Some(paid) if paid.usage.request_count >= window.paid.request_count => {}
            Some(paid) => paid.usage = window.paid.clone(),
            None => self.paid.push(Paid {
                ordinal: window.ordinal,
                usage: window.paid.clone(),
            }),
        }
    }

    /// An array has an outcome, which tells of its windows; one that was found elsewhere does not.
    pub(super) fn settle_windows(&mut self, ordinal: Ordinal, told: &Usage) {
        let Some(at) = self.paid.iter().position(|paid| paid.ordinal == ordinal) else {
            return;
        };
        let paid = self.paid.swap_remove(at);
        if told.request_count < paid.usage.request_count {
            self.usage.add(&paid.usage);
        }
    }

    /// Takes the verdicts of a result over. Not of a batch, where they count in its record's end.
    pub(super) fn add_arrays(&mut self, draft: &ResultDraft) {
        if self.records.is_some() {
            return;
        }
        let own_path = draft.array_path.as_ref().unwrap_or(&draft.path);
        let own = draft.completeness.iter();
        let own = own.map(|known| (own_path, known.verdict));
        let inside = draft.arrays.iter();
        let inside = inside.map(|array| (&array.path, array.completeness.verdict));
        let all = own.chain(inside).map(|(path, verdict)| ArrayVerdict {
            subtree_id: draft.subtree_id.clone(),
            path: path.clone(),
            verdict,
        });
        self.arrays.extend(all);
    }

    pub(super) fn take_arrays_back(&mut self) {
        let incomplete = self.arrays.iter().filter(|array| array.is_incomplete());
        let gone: BTreeSet<String> = incomplete.map(|array| array.subtree_id.clone()).collect();
        // With an array goes its outcome, and so all arrays of the same.
        self.arrays
            .retain(|array| !gone.contains(&array.subtree_id));
        let run = self.run - 1;
        self.taken_back
            .retain(|old| !gone.contains(&old.subtree_id));
        let gone = gone.into_iter();
        self.taken_back
            .extend(gone.map(|subtree_id| TakenBack { subtree_id, run }));
    }

    pub(super) fn lacks_rows_it_requires(&self) -> bool {
        let mut arrays = self.arrays.iter();
        self.spec.config.require_complete_arrays && arrays.any(ArrayVerdict::is_incomplete)
    }

    pub(super) fn lacking(&self) -> String {
        let lacking = self.arrays.iter().filter(|array| array.is_incomplete());
        let paths: Vec<_> = lacking.map(|array| format!("`{}`", array.path)).collect();
        format!(
            "Rows are missing from {}, and `require_complete_arrays` is set. What was read is in the results, with the evidence; a retry reads what failed.",
            paths.join(", ")
        ).chars().take(2_000).collect()
    }
}
