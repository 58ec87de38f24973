//! Following a job's log: the one reader behind every stream.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{self, Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Inner;
use super::live::{Look, PAGE_BYTES, PAGE_EVENTS, Page, Slot, Watch};
use super::ports::LogPage;
use crate::domain::error::{Code, Error};
use crate::domain::event::Kind;
use crate::domain::id::JobId;
use crate::domain::time::Time;

/// What following a job from a cursor gives.
pub enum Follow {
    /// The log has ended and the cursor is at its end: there is nothing to come.
    Ended,
    Stream(Box<Follower>),
}

/// What comes next of a log.
pub enum News {
    Page(Arc<Page>),
    /// The log has ended, and all of it was given.
    Ended,
    /// The engine drains. The log may go on; the job is not ended by this.
    Draining,
}

/// A cursor into a log. Holds no page while it waits; dropping it changes nothing for the job.
pub struct Follower {
    engine: Arc<Inner>,
    slot: Slot,
    watch: Watch,
    cursor: u64,
    /// Only while the log is read: most followers wait most of the time.
    reading: Option<BoxFuture<'static, Result<LogPage, Error>>>,
    has_ended: bool,
}

impl Follower {
    /// Opens the log of `job` after `cursor`.
    pub(super) async fn open(
        engine: Arc<Inner>,
        slot: Slot,
        job: JobId,
        cursor: u64,
    ) -> Result<Follow, Error> {
        // Before the first read: an event committed in between is then announced to us.
        let mut watch = engine.live.watch(job);
        let first = engine.log_page(&slot.scope, job, cursor, PAGE_EVENTS as u32, PAGE_BYTES);
        let page = first.await?;
        engine
            .refuse_unreadable(&slot.scope, job, cursor, &page)
            .await?;
        if page.terminal && cursor == page.last_sequence {
            return Ok(Follow::Ended);
        }
        watch.count()?;
        watch.reach(page.last_sequence);
        let is_page = !page.events.is_empty();
        if is_page {
            engine.metrics.log_reads.inc();
        }
        let follower = Self {
            engine,
            slot,
            watch,
            cursor,
            reading: is_page.then(|| ready(Ok(page)).boxed()),
            has_ended: false,
        };
        Ok(Follow::Stream(Box::new(follower)))
    }

    pub fn job(&self) -> JobId {
        self.watch.job
    }

    /// The moment now, by the clock that times events.
    pub fn now(&self) -> Time {
        self.engine.clock.now()
    }

    /// Whether the engine is about to stop: nothing but [`News::Draining`] will come.
    pub fn is_draining(&self) -> bool {
        self.engine.is_draining()
    }

    /// Whether nothing but news of the log, or a drain, will wake the task that asked last.
    pub fn is_waiting(&self) -> bool {
        self.reading.is_none()
    }

    /// The next events, as soon as there are any. May be dropped while it waits without losing
    /// one. After an error, and after the end, there is nothing more to ask for.
    pub async fn next(&mut self) -> Result<News, Error> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Follower::next`] for those who keep no future. The task of the last call is woken.
    pub fn poll_next(&mut self, context: &mut Context) -> Poll<Result<News, Error>> {
        loop {
            if self.has_ended {
                return Poll::Ready(Ok(News::Ended));
            }
            if self.is_draining() {
                return Poll::Ready(Ok(News::Draining));
            }
            if let Some(read) = &mut self.reading {
                let read = task::ready!(read.poll_unpin(context));
                self.reading = None;
                let log = read?;
                if !log.events.is_empty() {
                    return self.give(Arc::new(Page::new(log.events)));
                }
                self.has_ended = log.terminal;
                continue;
            }
            match self.watch.look(self.cursor, context) {
                Look::Page(page) => return self.give(page),
                Look::Log => self.reading = Some(self.read()),
                // A drain that began before we had our place wakes nobody; one that begins now
                // finds us.
                Look::Wait if self.is_draining() => {}
                Look::Wait => return Poll::Pending,
            }
        }
    }

    fn give(&mut self, page: Arc<Page>) -> Poll<Result<News, Error>> {
        if let Some(last) = page.events().last() {
            self.cursor = last.sequence;
            // A log that was ended and taken up again has an end in its middle.
            self.has_ended = last.kind == Kind::End && self.watch.is_last(last.sequence);
        }
        Poll::Ready(Ok(News::Page(page)))
    }

    fn read(&self) -> BoxFuture<'static, Result<LogPage, Error>> {
        self.engine.metrics.log_reads.inc();
        let engine = Arc::clone(&self.engine);
        let (scope, job, after) = (self.slot.scope.clone(), self.watch.job, self.cursor);
        async move {
            let read = || engine.log_page(&scope, job, after, PAGE_EVENTS as u32, PAGE_BYTES);
            let drained = || Err(Error::new(Code::Draining, "The server is shutting down."));
            engine.patiently(read).await.unwrap_or_else(drained)
        }
        .boxed()
    }
}
