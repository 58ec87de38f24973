//! Waiting for the end of a job, for clients that poll.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::domain::error::Error;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;

impl Engine {
    /// The job once it has ended, or as it is after `how_long`, or when the engine stops.
    ///
    /// It is woken by the events of the job. One that waits counts as a stream, and is refused
    /// like one with `too_many_streams`. May be dropped while it waits.
    pub async fn wait(
        &self,
        scope: &Scope,
        job: JobId,
        how_long: Duration,
    ) -> Result<JobView, Error> {
        let inner = &self.inner;
        let view = self.job(scope, job).await?;
        if how_long.is_zero() || view.status.is_terminal() {
            return Ok(view);
        }
        let due = Instant::now() + how_long;
        let _slot = inner.live.slot(scope)?;
        // Before the next look: what is committed after that wakes us.
        let mut watch = inner.live.watch(job);
        watch.count()?;
        loop {
            let view = self.job(scope, job).await?;
            if view.status.is_terminal() || Instant::now() >= due || inner.is_draining() {
                return Ok(view);
            }
            watch.reach(view.sequence);
            tokio::select! {
                biased;
                () = watch.news(view.sequence) => {}
                () = tokio::time::sleep_until(due) => {}
                () = inner.drained() => {}
            }
        }
    }
}
