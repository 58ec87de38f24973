//! A job is ended by its caller, and with it the calls that are made for it.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::lease::WORD;
use super::metrics::label;
use super::ports::{Commit, Committed, Guard};
use super::{Engine, Inner, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{Draft, Ending, JobView, Refusal};
use crate::domain::status::Status;

impl Engine {
    /// Ends a job. When this returns, no call of it begins any more, on no node. Cancelling a
    /// cancelled job changes nothing.
    ///
    /// Refused with `job_already_ended`.
    pub async fn cancel(
        &self,
        scope: &Scope,
        job: JobId,
        reason: Option<String>,
    ) -> Result<JobView, Error> {
        // A task of its own: a caller who does not wait must not leave a run that nobody ends.
        let cancel = Arc::clone(&self.inner).cancel(scope.clone(), job, reason);
        tokio::spawn(cancel).await.unwrap_or_else(|panic| {
            error!(%job, %panic, "cancel.panicked");
            Err(Error::internal())
        })
    }
}

impl Inner {
    async fn cancel(
        self: Arc<Self>,
        scope: Scope,
        job: JobId,
        reason: Option<String>,
    ) -> Result<JobView, Error> {
        let commit = Commit {
            job,
            guard: Guard::Caller {
                scope: scope.clone(),
            },
            at_sequence: None,
            drafts: vec![Draft::End(Ending::Cancelled { reason })],
        };
        match stored(self.jobs.commit(commit).await)? {
            Committed::Stored {
                view,
                events,
                epoch,
            } => {
                self.live.publish(job, events);
                self.posted.notify_one();
                self.own_keys.drop_of(&view);
                let cancelled = label("outcome", "cancelled");
                self.metrics.jobs_ended.get_or_create(&cancelled).inc();
                self.end_owner(job, epoch).await;
                Ok(*view)
            }
            Committed::Refused {
                refusal: Refusal::Ended,
                status: Status::Cancelled,
            } => self.cancelled(&scope, job).await,
            Committed::Refused {
                refusal: Refusal::Ended,
                status,
            } => Err(Error::new(
                Code::JobAlreadyEnded,
                format!(
                    "Job {job} is {} already and cannot be cancelled.",
                    status.name()
                ),
            )),
            Committed::Missing => Err(no_job(job)),
            Committed::Refused { .. } | Committed::Moved { .. } | Committed::Fenced => {
                Err(Error::internal())
            }
        }
    }

    /// A job that was cancelled before, maybe a moment ago.
    async fn cancelled(&self, scope: &Scope, job: JobId) -> Result<JobView, Error> {
        // Whoever cancelled it may not have come so far as to end the run.
        self.await_claims().await;
        let run = self.running.get(&job).map(|run| Arc::clone(&run.lease));
        if let Some(lease) = run {
            stored(self.look_after(&[lease]).await)?;
        }
        let view = stored(self.jobs.view(scope, job).await)?.ok_or_else(|| no_job(job))?;
        let ended = view.ended_at.unwrap_or(view.updated_at).0;
        let ago = self.clock.now().0.saturating_sub(ended).max(0);
        let ago = Duration::from_millis(ago as u64);
        self.await_others(WORD.saturating_sub(ago)).await;
        Ok(view)
    }

    /// Ends whatever ran the job before the caller's write moved its epoch to this one.
    async fn end_owner(&self, job: JobId, epoch: u64) {
        // Not one of a retry that was faster than we are.
        let end = || self.end_run(job, |of| of.epoch < epoch);
        let was_claimed = epoch > 1;
        let mut ended = end();
        if was_claimed && ended.is_none() {
            self.await_claims().await;
            ended = end();
        }
        if was_claimed && ended != Some(epoch - 1) {
            self.await_others(WORD).await;
        }
    }

    /// Waits until the jobs that were claimed before now by this process are known as running.
    /// Where the store is shared, their runs ask before they begin anything late.
    async fn await_claims(&self) {
        if !self.jobs.is_shared() {
            drop(self.claiming.lock().await);
        }
    }

    /// Waits until no run of another process begins calls on word of before.
    async fn await_others(&self, time: Duration) {
        if self.jobs.is_shared() {
            tokio::time::sleep(time).await;
        }
    }
}
