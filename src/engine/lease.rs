//! A run's right to its job: what it may still begin, and how long word of the store is good.
//!
//! Whoever ends a job ends the lease of a run in the same process, and from then on that run begins
//! nothing. A run in another process can only be told, which takes time. So it begins a call only
//! within [`WORD`] of asking the store whether the job is still its own, and a cancel that may be
//! about such a run waits for as long before it is answered. The run counts from before it asked
//! and the cancel from after it was written, each by its own steady clock: no call begins after
//! the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::journal::Halt;
use super::ports::StoreError;
use super::{Inner, stored};
use crate::domain::id::JobId;

/// How long a run may begin calls after it asked the store whether its job is its own.
pub(super) const WORD: Duration = Duration::from_millis(500);
/// How often that is asked for all runs: often enough for calls not to have to ask by themselves.
const ASK: Duration = Duration::from_millis(250);
/// How long a hint waits for the answer to a commit of our own, which most hints are about.
const OWN: Duration = Duration::from_millis(20);

pub(super) struct Lease {
    pub(super) job: JobId,
    pub(super) epoch: u64,
    state: RwLock<State>,
    /// Held while a call asks the store, so that calls that begin together ask once.
    asking: tokio::sync::Mutex<()>,
    /// The last event of the log that is known to be ours, and the last one that a hint told of.
    written: AtomicU64,
    heard: AtomicU64,
}

struct State {
    is_over: bool,
    /// When the store was asked that said last that the job is ours.
    asked: Instant,
}

/// What became of something that a run wanted to do.
pub(super) enum Right<T> {
    Done(T),
    /// Not done: the store must be asked first.
    Unsure,
    /// Not done: the job is no longer the run's.
    Over,
}

impl Lease {
    /// The lease of a job that was claimed with a request of that moment, and whose log ended there.
    pub(super) fn new(job: JobId, epoch: u64, asked: Instant, sequence: u64) -> Self {
        Self {
            job,
            epoch,
            state: RwLock::new(State {
                is_over: false,
                asked,
            }),
            asking: tokio::sync::Mutex::default(),
            written: AtomicU64::new(sequence),
            heard: AtomicU64::new(sequence),
        }
    }

    /// Ends it. When this returns, nothing is being done under it, nor will be.
    pub(super) fn end(&self) {
        self.state.write().is_over = true;
    }

    /// Does something that is over soon, unless the lease is. `on_word`: only while the last word of
    /// the store is good.
    pub(super) fn act<T>(&self, on_word: bool, act: impl FnOnce() -> T) -> Right<T> {
        let state = self.state.read();
        if state.is_over {
            Right::Over
        } else if on_word && !is_good(state.asked) {
            Right::Unsure
        } else {
            Right::Done(act())
        }
    }

    /// The store has said that the job is ours, and that its log reaches `sequence` by our doing.
    pub(super) fn confirm(&self, asked: Instant, sequence: u64) {
        self.written.fetch_max(sequence, Ordering::Relaxed);
        let mut state = self.state.write();
        state.asked = state.asked.max(asked);
    }

    /// The log is said to reach `sequence`. Whether that may be the doing of another.
    pub(super) fn hear(&self, sequence: u64) -> bool {
        self.heard.fetch_max(sequence, Ordering::Relaxed);
        self.is_doubted()
    }

    fn is_doubted(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > self.written.load(Ordering::Relaxed)
    }
}

fn is_good(asked: Instant) -> bool {
    asked.elapsed() < WORD
}

impl Inner {
    /// Makes the word of the store on a lease good, by asking where it is not.
    pub(super) async fn assure(&self, lease: &Lease) -> Result<(), Halt> {
        if !self.jobs.is_shared() {
            return Ok(());
        }
        let _alone = lease.asking.lock().await;
        if is_good(lease.state.read().asked) {
            return Ok(());
        }
        let claim = [(lease.job, lease.epoch)];
        let ask = || async {
            let asked = Instant::now();
            let held = stored(self.jobs.held(&claim).await)?;
            Ok((asked, !held.is_empty()))
        };
        match self.patiently(ask).await {
            Some(Ok((asked, true))) => {
                lease.confirm(asked, 0);
                Ok(())
            }
            Some(_) => Err(Halt::Lost),
            None => Err(Halt::Drained),
        }
    }

    /// Ends a run of this process, if there is one of that job and of that kind; gives its epoch.
    pub(super) fn end_run(&self, job: JobId, is_meant: impl FnOnce(&Lease) -> bool) -> Option<u64> {
        let meant = self.running.remove_if(&job, |_, run| is_meant(&run.lease));
        let (_, run) = meant?;
        run.end();
        self.work.notify_one();
        self.left.notify_one();
        Some(run.lease.epoch)
    }

    /// Asks for runs whether their jobs are theirs, and ends those whose are not.
    pub(super) async fn look_after(&self, leases: &[Arc<Lease>]) -> Result<(), StoreError> {
        let claims: Vec<_> = leases.iter().map(|one| (one.job, one.epoch)).collect();
        let heard: Vec<_> = leases
            .iter()
            .map(|one| one.heard.load(Ordering::Relaxed))
            .collect();
        let asked = Instant::now();
        let held = self.jobs.held(&claims).await?;
        for (lease, heard) in leases.iter().zip(heard) {
            if held.contains(&lease.job) {
                lease.confirm(asked, heard);
            } else if self
                .end_run(lease.job, |of| of.epoch == lease.epoch)
                .is_some()
            {
                info!(job = %lease.job, "job.left: it was ended or taken over elsewhere");
            }
        }
        Ok(())
    }
}

/// Ends the runs whose jobs others end or take over, for as long as the engine lives: at a hint,
/// and without one by asking again and again.
pub(super) async fn watch(engine: Arc<Inner>) {
    if !engine.jobs.is_shared() {
        return;
    }
    let mut ticks = interval(ASK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_hint = tokio::select! {
            biased;
            () = engine.stopped() => return,
            () = engine.doubt.notified() => true,
            _ = ticks.tick() => false,
        };
        if is_hint {
            sleep(OWN).await;
        }
        let leases = engine.running.iter().map(|run| Arc::clone(&run.lease));
        let mut leases: Vec<_> = leases
            .filter(|lease| !is_hint || lease.is_doubted())
            .collect();
        // The map has no order, and what is done here should.
        leases.sort_unstable_by_key(|lease| lease.job);
        if !leases.is_empty()
            && let Err(cause) = engine.look_after(&leases).await
        {
            warn!(%cause, "worker.watch: the store cannot be asked whose jobs are");
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn asked(ago: Duration) -> Lease {
        let asked = Instant::now().checked_sub(ago).unwrap();
        Lease::new(JobId(Uuid::from_u128(7)), 1, asked, 3)
    }

    fn acts(lease: &Lease, on_word: bool) -> &'static str {
        match lease.act(on_word, || ()) {
            Right::Done(()) => "done",
            Right::Unsure => "unsure",
            Right::Over => "over",
        }
    }

    #[test]
    fn word_of_the_store_is_good_for_a_while_after_it_was_asked() {
        assert_eq!(acts(&asked(Duration::ZERO), true), "done");
        let lease = asked(WORD);
        assert_eq!(
            (acts(&lease, true), acts(&lease, false)),
            ("unsure", "done")
        );
        lease.confirm(Instant::now(), 0);
        assert_eq!(acts(&lease, true), "done");
        // An answer that comes late takes nothing back.
        lease.confirm(Instant::now().checked_sub(WORD).unwrap(), 0);
        assert_eq!(acts(&lease, true), "done");
        lease.end();
        lease.confirm(Instant::now(), 0);
        assert_eq!((acts(&lease, true), acts(&lease, false)), ("over", "over"));
    }

    #[test]
    fn a_hint_is_doubtful_until_the_event_is_known_to_be_ours() {
        let lease = asked(Duration::ZERO);
        assert!(!lease.hear(3));
        assert!(lease.hear(5));
        lease.confirm(Instant::now(), 4);
        assert!(lease.is_doubted());
        lease.confirm(Instant::now(), 5);
        assert!(!lease.is_doubted() && !lease.hear(2));
    }
}
