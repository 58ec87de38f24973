//! The one writer of events: store first, announce second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use super::Inner;
use super::lease::Lease;
use super::ports::{Commit, Committed, Guard};
use crate::domain::job::Draft;

/// Drafts that may wait for the disk. A full queue holds the calls back.
const QUEUE: usize = 64;
/// Waits between tries while the store does not answer.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Why a run stops before the end of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// The job is no longer this worker's, or its log cannot be written.
    Lost,
    /// The engine stops; what is left to do is the next owner's.
    Drained,
}

struct Entry {
    /// `None` only asks for word of what stands before it.
    draft: Option<Draft>,
    written: Option<oneshot::Sender<()>>,
}

/// The log of one running job, for its owner. Clones share one queue, whose order is the order
/// of the log.
#[derive(Clone)]
pub(super) struct Journal {
    queue: mpsc::Sender<Entry>,
}

impl Journal {
    /// Starts the writer task of a claimed job. It ends when every clone is gone, or when a write
    /// is refused; then every call answers [`Halt::Lost`].
    ///
    /// `sequence`: where the log ended when the job was claimed.
    pub(super) fn start(engine: Arc<Inner>, lease: Arc<Lease>, sequence: u64) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        tokio::spawn(write(engine, lease, sequence, entries));
        Self { queue }
    }

    /// Whether a write was refused: nothing more will come into the log.
    pub(super) fn is_lost(&self) -> bool {
        self.queue.is_closed()
    }

    /// Queues a draft. It is in the log, in this order, unless the run halts.
    pub(super) async fn push(&self, draft: Draft) -> Result<(), Halt> {
        self.queue
            .send(Entry {
                draft: Some(draft),
                written: None,
            })
            .await
            .map_err(|_| Halt::Lost)
    }

    /// Queues a draft and waits until it is on disk.
    pub(super) async fn record(&self, draft: Draft) -> Result<(), Halt> {
        self.written(Some(draft)).await
    }

    /// Waits until everything queued so far is on disk.
    pub(super) async fn flush(&self) -> Result<(), Halt> {
        self.written(None).await
    }

    async fn written(&self, draft: Option<Draft>) -> Result<(), Halt> {
        let (written, done) = oneshot::channel();
        self.queue
            .send(Entry {
                draft,
                written: Some(written),
            })
            .await
            .map_err(|_| Halt::Lost)?;
        done.await.map_err(|_| Halt::Lost)
    }
}

async fn write(
    engine: Arc<Inner>,
    lease: Arc<Lease>,
    mut sequence: u64,
    mut entries: mpsc::Receiver<Entry>,
) {
    let mut batch = Vec::new();
    while entries.recv_many(&mut batch, QUEUE).await > 0 {
        let (drafts, waiting): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|entry| (entry.draft, entry.written))
            .unzip();
        let drafts: Vec<_> = drafts.into_iter().flatten().collect();
        if !drafts.is_empty() {
            match commit(&engine, &lease, sequence, drafts).await {
                Some(end) => sequence = end,
                None => return,
            }
        }
        for written in waiting.into_iter().flatten() {
            // Nobody waits any more when the run was dropped; the event stands all the same.
            let _ = written.send(());
        }
    }
}

/// Where the log ends once the drafts are on disk, or `None` when they cannot be. Tries for as long
/// as the store does not answer: the outcomes it holds were paid for.
async fn commit(engine: &Inner, lease: &Lease, sequence: u64, drafts: Vec<Draft>) -> Option<u64> {
    let (job, epoch) = (lease.job, lease.epoch);
    let mut wait = FIRST_WAIT;
    let mut is_unsure = false;
    loop {
        let commit = Commit {
            job,
            guard: Guard::Lease { epoch },
            at_sequence: Some(sequence),
            drafts: drafts.clone(),
        };
        let asked = Instant::now();
        match engine.jobs.commit(commit).await {
            Ok(Committed::Stored { view, events, .. }) => {
                lease.confirm(asked, view.sequence);
                engine.metrics.events.inc_by(events.len() as u64);
                engine.live.publish(job, events);
                if view.status.is_terminal() {
                    engine.posted.notify_one();
                }
                return Some(view.sequence);
            }
            // The answer to an earlier try was lost, the drafts were not.
            Ok(Committed::Moved { sequence: end }) if is_unsure && end > sequence => {
                lease.confirm(asked, end);
                engine.metrics.events.inc_by(end - sequence);
                engine.live.announce(job, end);
                return Some(end);
            }
            Ok(Committed::Moved { sequence: end }) => {
                error!(%job, sequence, end, "journal.moved: somebody else wrote to the log");
                return None;
            }
            Ok(Committed::Fenced | Committed::Missing) => {
                lease.end();
                return None;
            }
            Ok(Committed::Refused { refusal, status }) => {
                error!(%job, %refusal, ?status, "journal.refused: the log does not take this event");
                return None;
            }
            Err(cause) if cause.is_passing() => {
                warn!(%job, %cause, wait_ms = wait.as_millis() as u64, "journal.wait: the store takes nothing");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                is_unsure = true;
            }
            Err(cause) => {
                error!(%job, %cause, "journal.failed: the log cannot be written");
                return None;
            }
        }
    }
}
