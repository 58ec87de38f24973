//! Waiting for the end of a job, for callers who want its result in the same answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::error::Error;
use crate::domain::id::{Cursor, JobId, Scope};
use crate::domain::job::JobView;
use crate::engine::Engine;

/// Events read at a time.
const PAGE: u32 = 200;

impl Engine {
    /// The job once it has ended, or as it is after `wait`. May be dropped while it waits.
    ///
    /// Refused as [`Engine::events_page`] is; one that waits counts as a stream.
    pub async fn await_end(
        &self,
        scope: &Scope,
        job: JobId,
        wait: Duration,
    ) -> Result<JobView, Error> {
        let due = Instant::now() + wait;
        let mut sequence = 0;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.inner.is_draining() {
                break;
            }
            let cursor = (sequence > 0).then_some(Cursor {
                job: Some(job),
                sequence,
            });
            let page = self.events_page(scope, job, cursor, PAGE, left).await?;
            sequence = page.cursor;
            if page.terminal {
                break;
            }
        }
        self.job(scope, job).await
    }
}
