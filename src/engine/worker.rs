//! Claims jobs, keeps their leases, lets them go.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Inner;
use super::run::run;

/// How long a job is ours without a sign of life, and how often we give one.
pub(super) const LEASE_MS: u64 = 15_000;
const BEAT: Duration = Duration::from_secs(5);
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
            claim(&engine, free.min(BATCH)).await
        };
        if claimed == 0 {
            tokio::select! {
                () = hint => {}
                () = tokio::time::sleep(POLL) => {}
                () = engine.drained() => {}
            }
        }
    }
}

async fn claim(engine: &Arc<Inner>, limit: usize) -> usize {
    let now = engine.clock.now();
    let lease = now.plus_millis(LEASE_MS);
    match engine
        .jobs
        .claim(&engine.node, now, lease, limit as u32)
        .await
    {
        Ok(claimed) => {
            let count = claimed.len();
            for job in claimed {
                let (id, epoch) = (job.view.id, job.epoch);
                start(engine, job);
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

fn start(engine: &Arc<Inner>, claimed: super::ports::Claimed) {
    let job = claimed.view.id;
    let (inner, epoch) = (Arc::clone(engine), claimed.epoch);
    // The task waits for its own entry in `running`, so that it cannot leave before it is there.
    let (listed, is_listed) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let _ = is_listed.await;
        run(Arc::clone(&inner), claimed).await;
        inner.running.remove_if(&job, |_, (of, _)| *of == epoch);
        inner.work.notify_one();
        inner.left.notify_one();
    });
    if let Some((_, before)) = engine.running.insert(job, (epoch, task.abort_handle())) {
        // Our own lease ran out and we claimed the job again: the old run is fenced already.
        before.abort();
    }
    let _ = listed.send(());
}

/// Keeps our leases for as long as the engine lives.
pub(super) async fn beat(engine: Arc<Inner>) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = engine.stopped() => break,
        }
        if engine.running.is_empty() {
            continue;
        }
        let lease = engine.clock.now().plus_millis(LEASE_MS);
        if let Err(cause) = engine.jobs.renew(&engine.node, lease).await {
            warn!(%cause, "worker.renew: leases could not be kept");
        }
    }
    info!("worker.stopped");
}
