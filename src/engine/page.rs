//! A job's log in pages, for clients that poll.

use std::time::Duration;

use tokio::time::Instant;

use super::ports::{LogPage, StoredEvent};
use super::{Engine, Inner, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{Cursor, JobId, Scope};

/// Bytes of one page; its first event may be larger.
const PAGE_BYTES: usize = 1 << 20;

/// A part of a job's log, and where it leads.
#[derive(Debug, Clone)]
pub struct EventsPage {
    pub events: Vec<StoredEvent>,
    /// What the next page begins after.
    pub cursor: u64,
    /// Number of the log's last event so far.
    pub last_sequence: u64,
    /// Whether the log has ended and nothing comes after `cursor`.
    pub terminal: bool,
}

impl Engine {
    /// Up to `limit` events of a job's log after a cursor. When there are none yet, waits up to
    /// `wait` for the first of them, for the end of the log, or for the engine to stop.
    ///
    /// Refused like [`Engine::follow`]; one that waits counts as a stream. May be dropped while it
    /// waits.
    pub async fn events_page(
        &self,
        scope: &Scope,
        job: JobId,
        cursor: Option<Cursor>,
        limit: u32,
        wait: Duration,
    ) -> Result<EventsPage, Error> {
        let inner = &self.inner;
        let after = cursor.map_or(0, |cursor| cursor.after(job));
        let due = Instant::now() + wait;
        let waits = !wait.is_zero();
        let _slot = waits.then(|| inner.live.slot(scope)).transpose()?;
        // Before the first read, as a follower has it.
        let mut watch = waits.then(|| inner.live.watch(job));
        let mut is_counted = false;
        loop {
            let page = inner.log_page(scope, job, after, limit, PAGE_BYTES).await?;
            inner.refuse_unreadable(scope, job, after, &page).await?;
            let is_due = Instant::now() >= due || inner.is_draining();
            let is_over = is_due || page.terminal || !page.events.is_empty();
            let Some(watch) = watch.as_mut().filter(|_| !is_over) else {
                return Ok(EventsPage::of(page, after));
            };
            if !is_counted {
                watch.count()?;
                is_counted = true;
            }
            watch.reach(page.last_sequence);
            tokio::select! {
                biased;
                () = watch.news(after) => {}
                () = tokio::time::sleep_until(due) => {}
                () = inner.drained() => {}
            }
        }
    }
}

impl EventsPage {
    fn of(page: LogPage, after: u64) -> Self {
        let cursor = page.events.last().map_or(after, |last| last.sequence);
        Self {
            cursor,
            terminal: page.terminal && cursor == page.last_sequence,
            last_sequence: page.last_sequence,
            events: page.events,
        }
    }
}

impl Inner {
    /// Refuses a cursor beyond the log, and a log that was promised only until now.
    pub(super) async fn refuse_unreadable(
        &self,
        scope: &Scope,
        job: JobId,
        cursor: u64,
        page: &LogPage,
    ) -> Result<(), Error> {
        if cursor > page.last_sequence {
            return Err(Error::new(
                Code::LastEventIdOutOfRange,
                format!(
                    "The cursor names event {cursor}, but the log of job {job} ends at {}. Leave the cursor out to read it from the start.",
                    page.last_sequence
                ),
            ));
        }
        if page.terminal {
            let view = stored(self.jobs.view(scope, job).await)?.ok_or_else(|| no_job(job))?;
            self.refuse_expired(&view, Code::EventsExpired)?;
        }
        Ok(())
    }
}
