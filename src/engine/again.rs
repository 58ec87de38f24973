//! An ended job goes on: what failed or is missing is asked for once more.

use tracing::error;

use super::keys::Principal;
use super::ports::{Outcome, Reopen, Reopened, Snapshot};
use super::{Engine, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::event::{ArrayVerdict, Envelope, Event, Kind};
use crate::domain::id::JobId;
use crate::domain::job::{JobView, Ordinal};

impl Engine {
    /// Puts a job that failed, was cancelled or ended without some subtrees in line again. Its
    /// results so far stay; its log goes on after the `end`.
    ///
    /// Refused with `job_active`, `nothing_to_retry`, `result_expired`, `document_not_found`,
    /// `too_many_jobs` and `queue_full`.
    pub async fn retry(&self, caller: &Principal, job: JobId) -> Result<JobView, Error> {
        let (inner, scope) = (&self.inner, &caller.scope);
        inner.refuse_new_work()?;
        let snapshot = stored(inner.jobs.snapshot(scope, job).await)?;
        let snapshot = snapshot.ok_or_else(|| no_job(job))?;
        let view = &snapshot.view;
        if !view.status.is_terminal() {
            return Err(active(job));
        }
        inner.refuse_expired(view, Code::ResultExpired)?;
        if !view.is_partial() {
            return Err(Error::new(
                Code::NothingToRetry,
                format!(
                    "Every subtree of job {job} succeeded. Start a new job to extract it anew."
                ),
            ));
        }
        let incomplete = incomplete(&snapshot);
        let reopen = Reopen {
            scope: scope.clone(),
            job,
            at_sequence: view.sequence,
            failed_fields: self.failed_fields(&snapshot, &incomplete).await?,
            incomplete,
            active_limit: inner.active_limit(caller),
            queue_limit: inner.settings.max_queued_jobs,
        };
        match stored(inner.jobs.reopen(reopen).await)? {
            Reopened::Stored { view, event } => {
                inner.live.publish(job, vec![event]);
                inner.work.notify_one();
                Ok(*view)
            }
            Reopened::TooManyActive => Err(inner.too_many_active(caller)),
            Reopened::QueueFull => Err(inner.queue_full()),
            Reopened::Missing => Err(no_job(job)),
            Reopened::DocumentGone => Err(Error::new(
                Code::DocumentNotFound,
                format!("Document {} was deleted.", snapshot.view.spec.document_id),
            )),
            // Somebody else was faster.
            Reopened::Changed => Err(active(job)),
        }
    }

    /// Leaf fields of the subtrees that count as processed and are asked for again.
    async fn failed_fields(
        &self,
        snapshot: &Snapshot,
        incomplete: &[Ordinal],
    ) -> Result<u64, Error> {
        let planned = self.inner.stored_plan(&snapshot.view.spec.plan).await?;
        let mut fields = 0;
        for outcome in &snapshot.outcomes {
            let is_error = outcome.event.kind == Kind::SubtreeError;
            if !is_error && !incomplete.contains(&outcome.ordinal) {
                continue;
            }
            let Some(subtree) = planned.plan.subtrees.get(outcome.ordinal as usize) else {
                error!(job = %snapshot.view.id, ordinal = outcome.ordinal, "retry.unplanned: an outcome is of no subtree of the plan");
                return Err(Error::internal());
            };
            fields += u64::from(subtree.total_fields);
        }
        Ok(fields)
    }
}

/// Arrays of which rows are known to be missing: what of them was read is kept beside the log.
fn incomplete(snapshot: &Snapshot) -> Vec<Ordinal> {
    let arrays = &snapshot.view.arrays;
    let lacks = |outcome: &&Outcome| {
        outcome.event.kind == Kind::SubtreeResult
            && std::str::from_utf8(&outcome.event.payload)
                .ok()
                .and_then(|payload| Envelope::decode(payload).ok())
                .is_some_and(|envelope| match envelope.event {
                    Event::SubtreeResult(result) => arrays.iter().any(|array| {
                        array.is_incomplete() && array.subtree_id == result.subtree_id
                    }),
                    _ => false,
                })
    };
    if !arrays.iter().any(ArrayVerdict::is_incomplete) {
        return Vec::new();
    }
    let outcomes = snapshot.outcomes.iter().filter(lacks);
    outcomes.map(|outcome| outcome.ordinal).collect()
}

fn active(job: JobId) -> Error {
    Error::new(
        Code::JobActive,
        format!("Job {job} has not ended, so there is nothing to retry yet."),
    )
}
