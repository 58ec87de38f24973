//! Following a job's log: wake-ups and the one reader loop behind every stream.

mod page;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::watch;

use super::Inner;
use super::ports::StoredEvent;
use crate::domain::error::Error;
use crate::domain::id::{JobId, Scope};

pub use page::EventsPage;

/// Events of one page, and about how many bytes of them: the memory of a reader.
const PAGE_EVENTS: u32 = 64;
const PAGE_BYTES: usize = 256 << 10;
/// How long a follower trusts silence. A wake-up can be missed only when another process wrote.
const POLL: Duration = Duration::from_secs(1);

/// Per-job wake-ups. They say "look again" and carry no event, so a slow reader costs nothing
/// and none can be overtaken.
#[derive(Default)]
pub(super) struct Live {
    /// Only jobs that someone follows have an entry.
    watched: DashMap<JobId, watch::Sender<u64>>,
}

impl Live {
    /// Tells followers that the log now reaches `sequence`. Call after the commit.
    pub(super) fn announce(&self, job: JobId, sequence: u64) {
        if let Some(sender) = self.watched.get(&job) {
            sender.send_if_modified(|last| {
                let is_news = sequence > *last;
                *last = sequence.max(*last);
                is_news
            });
        }
    }

    fn register(self: &Arc<Self>, job: JobId) -> Registration {
        let receiver = self
            .watched
            .entry(job)
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe();
        Registration {
            live: Arc::clone(self),
            job,
            receiver: Some(receiver),
        }
    }

    /// Streams that are open now.
    pub(super) fn followers(&self) -> usize {
        self.watched
            .iter()
            .map(|entry| entry.value().receiver_count())
            .sum()
    }
}

/// A follower's place in [`Live`]; leaves nothing behind when dropped.
struct Registration {
    live: Arc<Live>,
    job: JobId,
    receiver: Option<watch::Receiver<u64>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The receiver goes first, so that the last one to leave sees a count of zero.
        self.receiver = None;
        self.live
            .watched
            .remove_if(&self.job, |_, sender| sender.receiver_count() == 0);
    }
}

/// What following a job from a cursor gives.
pub enum Follow {
    /// The log has ended and the cursor is at its end: there is nothing to come.
    Ended,
    Stream(Box<Follower>),
}

/// A cursor into a log. Holds one page at most; dropping it changes nothing for the job.
pub struct Follower {
    engine: Arc<Inner>,
    scope: Scope,
    job: JobId,
    cursor: u64,
    registration: Registration,
    ended: bool,
}

impl Follower {
    /// Opens the log of `job` after `cursor`.
    pub(super) async fn open(
        engine: Arc<Inner>,
        scope: Scope,
        job: JobId,
        cursor: u64,
    ) -> Result<Follow, Error> {
        // Registered before the first read: an event committed in between is then announced to us.
        let registration = engine.live.register(job);
        let page = engine.log_page(&scope, job, cursor, 1, 1).await?;
        engine.refuse_unreadable(&scope, job, cursor, &page).await?;
        if page.terminal && cursor == page.last_sequence {
            return Ok(Follow::Ended);
        }
        let follower = Self {
            engine,
            scope,
            job,
            cursor,
            registration,
            ended: false,
        };
        Ok(Follow::Stream(Box::new(follower)))
    }

    pub fn job(&self) -> JobId {
        self.job
    }

    /// The next events, as soon as there are any; `None` after the end of the log, and when the
    /// engine stops. May be dropped while it waits without losing an event.
    pub async fn next(&mut self) -> Option<Result<Vec<StoredEvent>, Error>> {
        while !self.ended {
            if let Some(receiver) = &mut self.registration.receiver {
                receiver.borrow_and_update();
            }
            let page = self
                .engine
                .log_page(&self.scope, self.job, self.cursor, PAGE_EVENTS, PAGE_BYTES)
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            if let Some(last) = page.events.last() {
                self.cursor = last.sequence;
                self.ended = page.terminal && last.sequence == page.last_sequence;
                return Some(Ok(page.events));
            }
            if page.terminal {
                self.ended = true;
                return None;
            }
            self.wait().await;
        }
        None
    }

    async fn wait(&mut self) {
        let Some(receiver) = &mut self.registration.receiver else {
            return;
        };
        tokio::select! {
            // An error cannot be: the sender outlives us. Either way the log is read again.
            _ = receiver.changed() => {}
            () = tokio::time::sleep(POLL) => {}
            () = self.engine.drained() => self.ended = true,
        }
    }
}
