//! Who follows which job: their places, their wake-ups, and the newest pages of the logs they
//! follow.
//!
//! A wake-up says "look again" and carries nothing. What there is to see is asked for by number,
//! so a slow reader holds nobody up and none can be overtaken.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use tracing::warn;

use super::Inner;
use super::ports::StoredEvent;
use crate::domain::error::{Code, Error};
use crate::domain::id::{JobId, Scope};

/// Events and bytes of a page: what one reader holds of a log at a time. One event may be larger.
pub(super) const PAGE_EVENTS: usize = 512;
pub(super) const PAGE_BYTES: usize = 32 << 10;
/// Pages, and bytes of payload, that are kept of a watched log. The newest page stays even when
/// it is larger: else every reader would fetch a copy of its own.
const TAIL_PAGES: usize = 64;
const TAIL_BYTES: usize = 256 << 10;
/// How often the store is asked for news that nobody announced: events of other processes, and
/// of commits whose caller went away before it could tell.
const POLL: Duration = Duration::from_secs(1);
/// Jobs that are asked for in one statement.
const POLLED_AT_ONCE: usize = 500;

/// A run of events without gaps, and the bytes it is sent as.
pub struct Page {
    events: Vec<StoredEvent>,
    frames: OnceLock<Bytes>,
}

impl Page {
    pub(super) fn new(events: Vec<StoredEvent>) -> Self {
        Self {
            events,
            frames: OnceLock::new(),
        }
    }

    /// At least one event.
    pub fn events(&self) -> &[StoredEvent] {
        &self.events
    }

    /// What `encode` makes of the events. It is called once; all readers of the page share what
    /// it made.
    pub fn frames(&self, encode: impl FnOnce(&[StoredEvent]) -> Bytes) -> Bytes {
        self.frames.get_or_init(|| encode(&self.events)).clone()
    }

    fn first(&self) -> u64 {
        self.events.first().map_or(0, |event| event.sequence)
    }

    fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.sequence)
    }

    fn size(&self) -> usize {
        self.events.iter().map(|event| event.payload.len()).sum()
    }

    /// Cuts what was committed together into pages.
    fn cut(events: Vec<StoredEvent>) -> impl Iterator<Item = Self> {
        let mut events = events.into_iter().peekable();
        std::iter::from_fn(move || {
            let first = events.next()?;
            let (mut size, mut page) = (first.payload.len(), vec![first]);
            while let Some(next) = events
                .next_if(|next| page.len() < PAGE_EVENTS && size + next.payload.len() <= PAGE_BYTES)
            {
                size += next.payload.len();
                page.push(next);
            }
            Some(Self::new(page))
        })
    }
}

/// The newest pages of a log, in their order. Where a commit was never told of there is a gap; a
/// page is asked for by its first number, so who comes to the gap goes to the log.
#[derive(Default)]
struct Tail {
    pages: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    page: Arc<Page>,
    /// Was there at the last sweep.
    is_old: bool,
}

impl Tail {
    /// The page that begins with event `first`.
    fn beginning(&self, first: u64) -> Option<Arc<Page>> {
        let at = self
            .pages
            .binary_search_by_key(&first, |kept| kept.page.first());
        at.ok().map(|at| Arc::clone(&self.pages[at].page))
    }

    fn keep(&mut self, page: Page) {
        let newest = self.pages.back();
        if newest.is_some_and(|newest| page.first() <= newest.page.last()) {
            // A writer that was slow to tell: what came after its events is here already.
            return;
        }
        self.bytes += page.size();
        self.pages.push_back(Kept {
            page: Arc::new(page),
            is_old: false,
        });
        while self.pages.len() > TAIL_PAGES || (self.bytes > TAIL_BYTES && self.pages.len() > 1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.pages.pop_front() {
            self.bytes -= kept.page.size();
        }
    }

    /// Forgets what the last sweep has seen: who has not taken it by now reads the log.
    fn sweep(&mut self) {
        while self.pages.front().is_some_and(|kept| kept.is_old) {
            self.forget_oldest();
        }
        for kept in &mut self.pages {
            kept.is_old = true;
        }
    }
}

/// A job that somebody follows. Looking and waiting are one step under its lock, so that nothing
/// can be announced between the two.
#[derive(Default)]
struct Watched(Mutex<State>);

#[derive(Default)]
struct State {
    /// Number of the last event that is known here; the log may be longer.
    last: u64,
    tail: Tail,
    /// One for each follower, with its waker while it waits.
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Followers that count against the limit of the job.
    streams: usize,
}

impl State {
    fn take_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    /// Those to wake when the log is known to reach `last`.
    fn reach(&mut self, last: u64) -> Vec<Waker> {
        if last <= self.last {
            return Vec::new();
        }
        self.last = last;
        self.waiting()
    }

    fn waiting(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(Option::take).collect()
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// How many streams may be open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub per_job: usize,
    pub per_user: usize,
}

/// Everybody who follows a job of this process.
pub(super) struct Live {
    limits: Limits,
    /// Only jobs that someone follows have an entry.
    watched: DashMap<JobId, Arc<Watched>>,
    /// Slots that are taken; only users with one have an entry.
    taken: DashMap<Scope, usize>,
}

impl Live {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            watched: DashMap::new(),
            taken: DashMap::new(),
        }
    }

    /// Tells followers of events that were just committed. Call after the commit.
    pub(super) fn publish(&self, job: JobId, events: Vec<StoredEvent>) {
        let Some(last) = events.last().map(|event| event.sequence) else {
            return;
        };
        let Some(watched) = self.of(job) else { return };
        let pages: Vec<_> = Page::cut(events).collect();
        let wakers = {
            let mut state = watched.0.lock();
            for page in pages {
                state.tail.keep(page);
            }
            state.reach(last)
        };
        wake(wakers);
    }

    /// Tells followers that the log reaches `last`.
    pub(super) fn announce(&self, job: JobId, last: u64) {
        if let Some(watched) = self.of(job) {
            let wakers = watched.0.lock().reach(last);
            wake(wakers);
        }
    }

    fn of(&self, job: JobId) -> Option<Arc<Watched>> {
        self.watched.get(&job).map(|watched| Arc::clone(&watched))
    }

    /// A place among the followers of `job`. It counts against no limit yet: who may not see the
    /// job must not learn from a limit that it is there.
    pub(super) fn watch(self: &Arc<Self>, job: JobId) -> Watch {
        // Taken while the entry is held, so that the last one to leave does not remove it.
        let entry = self.watched.entry(job).or_default();
        let place = entry.0.lock().take_place();
        Watch {
            live: Arc::clone(self),
            job,
            watched: Arc::clone(&entry),
            place,
            is_counted: false,
        }
    }

    /// One of the streams that `scope` may have open, or 429.
    pub(super) fn slot(self: &Arc<Self>, scope: &Scope) -> Result<Slot, Error> {
        let most = self.limits.per_user;
        let mut taken = self.taken.entry(scope.clone()).or_insert(0);
        if *taken >= most {
            return Err(too_many(&format!(
                "You have {most} event streams open, as many as a user may."
            )));
        }
        *taken += 1;
        Ok(Slot {
            live: Arc::clone(self),
            scope: scope.clone(),
        })
    }

    /// Streams that are open now.
    pub(super) fn followers(&self) -> usize {
        self.taken.iter().map(|taken| *taken).sum()
    }

    /// Those that wait look again.
    fn wake_all(&self) {
        let watched = self.watched.iter();
        let mut watched: Vec<_> = watched
            .map(|watched| (*watched.key(), Arc::clone(&watched)))
            .collect();
        watched.sort_unstable_by_key(|(job, _)| *job);
        for (_, watched) in watched {
            let wakers = watched.0.lock().waiting();
            wake(wakers);
        }
    }

    /// The jobs that are followed; forgets on the way what their tails held at the last call.
    fn sweep(&self) -> Vec<JobId> {
        let swept = self.watched.iter().map(|watched| {
            watched.0.lock().tail.sweep();
            *watched.key()
        });
        let mut swept: Vec<_> = swept.collect();
        swept.sort_unstable();
        swept
    }
}

fn too_many(what: &str) -> Error {
    let detail = format!("{what} Close one, or try again when one has ended.");
    Error::new(Code::TooManyStreams, detail)
}

/// A stream that a user has open or is about to open; given back when dropped.
pub struct Slot {
    live: Arc<Live>,
    pub(super) scope: Scope,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(mut taken) = self.live.taken.get_mut(&self.scope) {
            *taken -= 1;
        }
        let is_last = |_: &Scope, taken: &usize| *taken == 0;
        self.live.taken.remove_if(&self.scope, is_last);
    }
}

/// What a follower finds when it looks.
pub(super) enum Look {
    Page(Arc<Page>),
    /// There is more, but the tail does not have it.
    Log,
    /// There is nothing yet; the follower is woken when there is.
    Wait,
}

/// A follower's place; leaves nothing behind when dropped.
pub(super) struct Watch {
    live: Arc<Live>,
    pub(super) job: JobId,
    watched: Arc<Watched>,
    place: usize,
    is_counted: bool,
}

impl Watch {
    /// Counts against the limit of the job, or 429. Counting and comparing are one step.
    pub(super) fn count(&mut self) -> Result<(), Error> {
        let most = self.live.limits.per_job;
        let mut state = self.watched.0.lock();
        if state.streams >= most {
            return Err(too_many(&format!(
                "Job {} has {most} event streams open, as many as a job may.",
                self.job
            )));
        }
        state.streams += 1;
        self.is_counted = true;
        Ok(())
    }

    /// The log was seen to reach `last`.
    pub(super) fn reach(&self, last: u64) {
        let wakers = self.watched.0.lock().reach(last);
        wake(wakers);
    }

    /// Whether nothing is known here to come after event `cursor`.
    pub(super) fn is_last(&self, cursor: u64) -> bool {
        self.watched.0.lock().last <= cursor
    }

    /// Waits until the log is known to go on after event `cursor`.
    pub(super) async fn news(&self, cursor: u64) {
        poll_fn(|context| match self.look(cursor, context) {
            Look::Wait => Poll::Pending,
            Look::Page(_) | Look::Log => Poll::Ready(()),
        })
        .await;
    }

    /// What follows event `cursor`.
    pub(super) fn look(&self, cursor: u64, context: &Context) -> Look {
        let mut state = self.watched.0.lock();
        if state.last <= cursor {
            let place = &mut state.places[self.place];
            match place {
                Some(waker) => waker.clone_from(context.waker()),
                None => *place = Some(context.waker().clone()),
            }
            return Look::Wait;
        }
        let page = state.tail.beginning(cursor + 1);
        page.map_or(Look::Log, Look::Page)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        {
            let mut state = self.watched.0.lock();
            state.places[self.place] = None;
            state.free.push(self.place);
            state.streams -= usize::from(self.is_counted);
        }
        self.live.watched.remove_if(&self.job, |_, watched| {
            let state = watched.0.lock();
            state.free.len() == state.places.len()
        });
    }
}

/// Asks the store once a second, for all followers together, whether there is news. Wakes them a
/// last time when the engine drains.
pub(super) async fn poll(engine: Arc<Inner>) {
    tokio::select! {
        biased;
        () = engine.drained() => {}
        () = keep_asking(&engine) => {}
    }
    engine.live.wake_all();
}

async fn keep_asking(engine: &Inner) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for jobs in engine.live.sweep().chunks(POLLED_AT_ONCE) {
            match engine.jobs.positions(jobs).await {
                Ok(positions) => {
                    for (job, last) in positions {
                        engine.live.announce(job, last);
                    }
                }
                Err(cause) => warn!(%cause, "live.poll: the store cannot be asked for news"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use uuid::Uuid;

    use super::*;
    use crate::domain::event::Kind;

    const JOB: JobId = JobId(Uuid::from_u128(7));

    fn live(per_job: usize, per_user: usize) -> Arc<Live> {
        Arc::new(Live::new(Limits { per_job, per_user }))
    }

    fn events(numbers: impl IntoIterator<Item = u64>, size: usize) -> Vec<StoredEvent> {
        let event = |sequence| StoredEvent {
            sequence,
            kind: Kind::SubtreeRetry,
            payload: vec![b'x'; size].into(),
        };
        numbers.into_iter().map(event).collect()
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Page(Vec<u64>),
        Log,
        Nothing,
    }

    impl Woken {
        fn look(self: &Arc<Self>, watch: &Watch, cursor: u64) -> Seen {
            let waker = Arc::clone(self).into();
            match watch.look(cursor, &Context::from_waker(&waker)) {
                Look::Page(page) => {
                    let numbers = page.events().iter().map(|event| event.sequence);
                    Seen::Page(numbers.collect())
                }
                Look::Log => Seen::Log,
                Look::Wait => Seen::Nothing,
            }
        }

        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn who_waits_is_woken_once_and_finds_the_page_after_its_cursor() {
        let (live, woken) = (live(9, 9), Arc::<Woken>::default());
        let watch = live.watch(JOB);
        assert_eq!(woken.look(&watch, 0), Seen::Nothing);
        live.publish(JOB, events(1..=2, 10));
        live.publish(JOB, events(3..=3, 10));
        assert_eq!(woken.count(), 1);
        assert_eq!(woken.look(&watch, 0), Seen::Page(vec![1, 2]));
        assert_eq!(woken.look(&watch, 2), Seen::Page(vec![3]));
        assert_eq!(woken.look(&watch, 1), Seen::Log, "inside a page");
        assert_eq!(woken.look(&watch, 3), Seen::Nothing);
    }

    #[test]
    fn a_commit_that_was_never_told_of_leaves_a_gap_that_sends_readers_to_the_log() {
        let (live, woken) = (live(9, 9), Arc::<Woken>::default());
        let watch = live.watch(JOB);
        live.publish(JOB, events(1..=2, 10));
        live.publish(JOB, events(5..=6, 10));
        assert_eq!(woken.look(&watch, 0), Seen::Page(vec![1, 2]));
        assert_eq!(woken.look(&watch, 2), Seen::Log, "the gap");
        assert_eq!(woken.look(&watch, 4), Seen::Page(vec![5, 6]));
        live.publish(JOB, events(3..=4, 10));
        assert_eq!(
            woken.look(&watch, 4),
            Seen::Page(vec![5, 6]),
            "told too late"
        );
        assert_eq!(woken.look(&watch, 2), Seen::Log);
        live.announce(JOB, 9);
        assert_eq!(woken.look(&watch, 6), Seen::Log);
    }

    #[test]
    fn a_tail_is_bounded_in_pages_in_bytes_and_in_time() {
        let (live, woken) = (live(9, 9), Arc::<Woken>::default());
        let watch = live.watch(JOB);
        let size = || {
            let state = watch.watched.0.lock();
            (state.tail.pages.len(), state.tail.bytes)
        };
        for number in 1..=100 {
            live.publish(JOB, events([number], 10));
        }
        assert_eq!(size(), (TAIL_PAGES, TAIL_PAGES * 10));
        assert_eq!(woken.look(&watch, 0), Seen::Log, "behind the tail");
        for number in 101..=120 {
            live.publish(JOB, events([number], 60_000));
        }
        assert_eq!(size(), (4, 240_000));
        live.publish(JOB, events([121], 4 * TAIL_BYTES));
        assert_eq!(size(), (1, 4 * TAIL_BYTES), "the newest stays");
        live.publish(JOB, events(122..=2_121, 100));
        let (pages, bytes) = size();
        assert!(pages > 4 && bytes == 200_000, "{pages} pages");
        assert_eq!(live.sweep(), [JOB]);
        live.publish(JOB, events([2_122], 1));
        live.sweep();
        assert_eq!(size(), (1, 1));
        live.sweep();
        assert_eq!(size(), (0, 0));
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let live = live(9, 9);
        let watches: Vec<_> = (0..3).map(|_| live.watch(JOB)).collect();
        drop(watches);
        assert!(live.watched.is_empty());
        let slot = live.slot(&Scope::local()).unwrap();
        assert_eq!(live.followers(), 1);
        drop(slot);
        assert!(live.taken.is_empty());
        let woken = Arc::<Woken>::default();
        let stays = live.watch(JOB);
        assert_eq!(woken.look(&stays, 0), Seen::Nothing);
        for _ in 0..100 {
            let passing = live.watch(JOB);
            assert_eq!(woken.look(&passing, 0), Seen::Nothing);
        }
        assert_eq!(stays.watched.0.lock().places.len(), 2);
        live.announce(JOB, 1);
        assert_eq!(woken.count(), 1);
    }

    #[test]
    fn limits_hold_when_everybody_comes_at_once_and_those_who_leave_make_room() {
        let live = live(5, 7);
        let scope = Scope::local();
        let count = |enter: &(dyn Fn() -> bool + Sync)| {
            std::thread::scope(|threads| {
                let all: Vec<_> = (0..64).map(|_| threads.spawn(enter)).collect();
                let entered = all.into_iter().map(|one| one.join().unwrap());
                entered.filter(|entered| *entered).count()
            })
        };
        for _ in 0..20 {
            let (slots, watches) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
            let slot = || {
                live.slot(&scope)
                    .map(|slot| slots.lock().push(slot))
                    .is_ok()
            };
            assert_eq!(count(&slot), 7);
            let watch = || {
                let mut watch = live.watch(JOB);
                let is_in = watch.count().is_ok();
                watches.lock().push(watch);
                is_in
            };
            assert_eq!(count(&watch), 5);
            let other = live.slot(&Scope::new("other"));
            assert!(other.is_ok(), "others have their own");
        }
        assert!(live.watched.is_empty() && live.taken.is_empty());
    }
}
