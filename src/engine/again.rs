//! An ended job goes on: what failed or is missing is asked for once more.

use tracing::error;

use super::keys::Principal;
use super::ports::{Reopen, Reopened, Snapshot};
use super::{Engine, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::event::Kind;
use crate::domain::id::JobId;
use crate::domain::job::JobView;

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
        let reopen = Reopen {
            scope: scope.clone(),
            job,
            at_sequence: view.sequence,
            failed_fields: self.failed_fields(&snapshot).await?,
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
    async fn failed_fields(&self, snapshot: &Snapshot) -> Result<u64, Error> {
        let planned = self.inner.stored_plan(&snapshot.view.spec.plan).await?;
        let mut fields = 0;
        for outcome in &snapshot.outcomes {
            if outcome.event.kind != Kind::SubtreeError {
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

fn active(job: JobId) -> Error {
    Error::new(
        Code::JobActive,
        format!("Job {job} has not ended, so there is nothing to retry yet."),
    )
}
