//! Claims jobs, keeps their leases, lets them go.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tracing::{info, warn};

use super::lease::Lease;
use super::ports::{Claimed, News};
use super::run::run;
use super::{Inner, Running};

/// How long a job is ours without a sign of life, and how often we give one.
const LEASE: Duration = Duration::from_secs(15);
const BEAT: Duration = Duration::from_secs(5);
/// How soon a sign of life that the store did not take is given again.
const RETRY: Duration = Duration::from_secs(1);
/// After so long without an answer of the store, leases may have run out of owners who live.
const SILENCE: Duration = Duration::from_secs(10);
/// How long all owners then get to keep theirs before anybody takes over.
const GRACE: Duration = Duration::from_secs(2);
/// How often the queue is looked at without a hint. Covers jobs of other processes and dead leases.
const POLL: Duration = Duration::from_secs(1);
/// Jobs claimed at once.
const BATCH: usize = 20;

/// Claims and runs jobs for as long as the engine lives.
pub(super) async fn work(engine: Arc<Inner>) {
    while !engine.is_draining() {
        // Registered before looking: a job stored in between then wakes us.
        let hint = engine.work.notified();
        let free = engine
            .settings
            .max_running_jobs
            .saturating_sub(engine.running.len());
        let claimed = if free == 0 {
            0
        } else {
            // A stop waits for what we are given meanwhile, to give it back.
            let _claiming = engine.claiming.lock().await;
            claim(&engine, free.min(BATCH)).await
        };
        if claimed == 0 {
            tokio::select! {
                biased;
                () = hint => {}
                () = tokio::time::sleep(POLL) => {}
                () = engine.drained() => {}
            }
        }
    }
}

async fn claim(engine: &Arc<Inner>, limit: usize) -> usize {
    if engine.heard.lock().elapsed() > SILENCE && !regain(engine).await {
        return 0;
    }
    let asked = Instant::now();
    let claimed = engine.jobs.claim(&engine.node, LEASE, limit as u32);
    match claimed.await {
        Ok(claimed) => {
            engine.hear();
            let count = claimed.len();
            for job in claimed {
                let (id, epoch) = (job.view.id, job.epoch);
                start(engine, job, asked);
                // Looked at after the job is listed: a stop either sees it there, or is seen here.
                if engine.is_draining() {
                    engine.hand_over(id, epoch).await;
                }
            }
            count
        }
        Err(cause) => {
            warn!(%cause, "worker.claim: the queue cannot be read");
            0
        }
    }
}

/// After a silence of the store: keeps our own leases before anybody's are taken over, and gives
/// the owners to whom it was silent as well the time to do the same.
async fn regain(engine: &Inner) -> bool {
    if !keep(engine).await {
        return false;
    }
    tokio::select! {
        biased;
        () = engine.drained() => false,
        () = tokio::time::sleep(GRACE) => true,
    }
}

/// Runs a job that was claimed by a request of that moment.
fn start(engine: &Arc<Inner>, claimed: Claimed, asked: Instant) {
    let (job, epoch) = (claimed.view.id, claimed.epoch);
    let lease = Arc::new(Lease::new(job, epoch, asked, claimed.view.sequence));
    let (inner, of_run) = (Arc::clone(engine), Arc::clone(&lease));
    // The task waits for its own entry in `running`, so that it cannot leave before it is there.
    let (listed, is_listed) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let _ = is_listed.await;
        run(Arc::clone(&inner), claimed, of_run).await;
        inner.end_run(job, |of| of.epoch == epoch);
    });
    let task = task.abort_handle();
    if let Some(before) = engine.running.insert(job, Running { lease, task }) {
        // Our own lease ran out and we claimed the job again: the old run is fenced already.
        before.end();
    }
    let _ = listed.send(());
}

/// Keeps our leases for as long as the engine lives.
pub(super) async fn beat(engine: Arc<Inner>) {
    let mut wait = BEAT;
    loop {
        tokio::select! {
            biased;
            () = engine.stopped() => break,
            () = tokio::time::sleep(wait) => {}
        }
        let is_kept = engine.running.is_empty() || keep(&engine).await;
        wait = if is_kept { BEAT } else { RETRY };
    }
    info!("worker.stopped");
}

/// Whether the leases of the jobs that run here were kept.
async fn keep(engine: &Inner) -> bool {
    let mut jobs: Vec<_> = engine.running.iter().map(|run| *run.key()).collect();
    jobs.sort_unstable();
    match engine.jobs.renew(&engine.node, &jobs, LEASE).await {
        Ok(()) => {
            engine.hear();
            true
        }
        Err(cause) => {
            warn!(%cause, "worker.renew: leases could not be kept");
            false
        }
    }
}

/// Passes on what other processes do, for as long as the engine lives.
pub(super) async fn listen(engine: Arc<Inner>) {
    let mut news = engine.jobs.news();
    loop {
        let next = tokio::select! {
            biased;
            () = engine.stopped() => None,
            next = news.next() => next,
        };
        match next {
            Some(News::Event { job, sequence }) => {
                engine.live.announce(job, sequence);
                let run = engine.running.get(&job);
                if run.is_some_and(|run| run.lease.hear(sequence)) {
                    engine.doubt.notify_one();
                }
            }
            Some(News::Work) => engine.work.notify_one(),
            None => break,
        }
    }
}
