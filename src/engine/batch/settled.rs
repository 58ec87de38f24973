//! The outcomes of a batch in the order of its records, a page at a time.

use std::collections::VecDeque;

use serde::Deserialize;

use super::track::End;
use crate::domain::completeness::Verdict;
use crate::domain::error::Error;
use crate::domain::event::Kind;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::Ordinal;
use crate::engine::ports::Outcome;
use crate::engine::{Inner, no_job, stored};

/// Outcomes of one page, and their bytes.
const PAGE: u32 = 500;
const PAGE_BYTES: usize = 1 << 20;

/// Goes through the outcomes once, from the first record that is asked for.
pub(in crate::engine) struct Settled {
    scope: Scope,
    job: JobId,
    page: VecDeque<Outcome>,
    /// Where the next page begins; none after the last one.
    next: Option<Ordinal>,
}

impl Settled {
    pub(in crate::engine) fn of(scope: &Scope, job: JobId, from: Ordinal) -> Self {
        Self {
            scope: scope.clone(),
            job,
            page: VecDeque::new(),
            next: Some(from),
        }
    }

    /// Of a job that has no outcomes.
    pub(super) fn none(scope: &Scope, job: JobId) -> Self {
        Self {
            next: None,
            ..Self::of(scope, job, 0)
        }
    }

    /// Whether all outcomes were taken.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.page.is_empty() && self.next.is_none()
    }

    /// The outcomes numbered `first` to below `first + count`, in that order, renumbered from 0.
    /// They are never asked for in falling order. After an error they can be asked for again.
    pub(in crate::engine) async fn take(
        &mut self,
        inner: &Inner,
        first: Ordinal,
        count: u32,
    ) -> Result<Vec<Outcome>, Error> {
        let end = first + count;
        while let Some(from) = self.next
            && self.page.back().is_none_or(|last| last.ordinal + 1 < end)
        {
            let page = inner
                .jobs
                .outcomes(&self.scope, self.job, from, PAGE, PAGE_BYTES);
            let page = stored(page.await)?.ok_or_else(|| no_job(self.job))?;
            self.next = page.last().map(|last| last.ordinal + 1);
            self.page.extend(page);
        }
        let mut taken = Vec::new();
        while let Some(mut outcome) = self.page.pop_front_if(|outcome| outcome.ordinal < end) {
            if outcome.ordinal >= first {
                outcome.ordinal -= first;
                taken.push(outcome);
            }
        }
        Ok(taken)
    }
}

/// What a stored outcome says of its subtree.
pub(in crate::engine) fn end(outcome: &Outcome) -> End {
    #[derive(Deserialize)]
    struct Judged {
        #[serde(default)]
        completeness: Option<Known>,
        #[serde(default)]
        arrays: Vec<Known>,
    }
    #[derive(Deserialize)]
    struct Known {
        verdict: Verdict,
    }
    if outcome.event.kind != Kind::SubtreeResult {
        return End::Failed;
    }
    let payloads = [Some(&outcome.event.payload), outcome.aside.as_ref()];
    let judged = payloads.into_iter().flatten();
    let judged = judged.filter_map(|json| serde_json::from_slice::<Judged>(json).ok());
    let mut known = judged.flat_map(|judged| judged.completeness.into_iter().chain(judged.arrays));
    End::of(known.any(|known| known.verdict == Verdict::Incomplete))
}
