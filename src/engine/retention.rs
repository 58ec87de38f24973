//! Lets go of what was promised for a time only: logs and results, documents, schemas, files.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::{Engine, Inner};
use crate::domain::time::Time;

/// How often it is looked for what may go.
const PERIOD: Duration = Duration::from_mins(1);
/// And how often for files without a row, which takes a look at every file: each so many periods.
const FILES_EVERY: u32 = 60;
/// Rows of one step. Between two steps others get to write.
const STEP: u32 = 500;

/// How long what is not a job is kept; `None` keeps it until it is deleted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lifetimes {
    /// Of documents, after their upload.
    pub documents: Option<Duration>,
    /// Of schemas, after they were last changed.
    pub schemas: Option<Duration>,
    /// Of files, after they were made; one that is there keeps the time it was given.
    pub files: Option<Duration>,
}

/// Sweeps for as long as the engine lives, at its start for the first time.
pub(super) async fn keep_swept(engine: Arc<Inner>) {
    let mut periods = tokio::time::interval(PERIOD);
    periods.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in (0..FILES_EVERY).cycle() {
        tokio::select! {
            biased;
            () = engine.drained() => return,
            _ = periods.tick() => {}
        }
        let engine = Engine {
            inner: Arc::clone(&engine),
        };
        engine.sweep().await;
        // Not at the start, when there is enough to do.
        if turn == 1 {
            engine.sweep_files().await;
        }
    }
}

impl Engine {
    /// Lets go of everything whose time is over, step by step. What fails is left for the next
    /// time.
    pub async fn sweep(&self) {
        let now = self.inner.clock.now();
        let events = self.sweep_logs(now).await;
        let documents = self.sweep_documents(now).await;
        let schemas = self.sweep_schemas(now).await;
        let files = self.sweep_kept_files(now).await;
        if events + documents + schemas + files > 0 {
            info!(events, documents, schemas, files, "retention.swept");
        }
    }

    async fn sweep_logs(&self, now: Time) -> u64 {
        let mut all = 0;
        while !self.inner.is_draining() {
            match self.inner.jobs.sweep(now, STEP).await {
                Ok(0) => break,
                Ok(rows) => all += u64::from(rows),
                Err(cause) => {
                    warn!(%cause, "retention.logs: expired logs could not be deleted");
                    break;
                }
            }
        }
        all
    }

    async fn sweep_documents(&self, now: Time) -> u64 {
        let Some(before) = older(now, self.inner.settings.lifetimes.documents) else {
            return 0;
        };
        let mut all = 0;
        while !self.inner.is_draining() {
            let old = match self.inner.catalog.documents_before(before, STEP).await {
                Ok(old) => old,
                Err(cause) => {
                    warn!(%cause, "retention.documents: old documents cannot be listed");
                    break;
                }
            };
            let found = old.len();
            let mut gone = 0;
            for (scope, id) in old {
                // One that a job has come to need since then is left; so is one that somebody
                // deleted before us.
                match self.delete_document(&scope, id).await {
                    Ok(()) => gone += 1,
                    Err(cause) => info!(document = %id, %cause, "retention.document_left"),
                }
            }
            all += gone;
            if found < STEP as usize || gone == 0 {
                break;
            }
        }
        all
    }

    async fn sweep_schemas(&self, now: Time) -> u64 {
        let Some(before) = older(now, self.inner.settings.lifetimes.schemas) else {
            return 0;
        };
        let mut all = 0;
        while !self.inner.is_draining() {
            match self.inner.catalog.delete_schemas_before(before, STEP).await {
                Ok(0) => break,
                Ok(rows) => all += u64::from(rows),
                Err(cause) => {
                    warn!(%cause, "retention.schemas: old schemas could not be deleted");
                    break;
                }
            }
        }
        all
    }
}

/// What is older than this may go.
fn older(now: Time, lifetime: Option<Duration>) -> Option<Time> {
    let lifetime = i64::try_from(lifetime?.as_millis()).unwrap_or(i64::MAX);
    Some(Time(now.0.saturating_sub(lifetime)))
}
