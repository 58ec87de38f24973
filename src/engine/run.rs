//! One job from claim to end: read the document, cut, pack, call, settle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, error, info, info_span};

use super::answers::{self, Asking};
use super::array::{Arrays, Look};
use super::bonds::Bonds;
use super::budget::Purse;
use super::call::Run;
use super::journal::{Halt, Journal};
use super::lease::Lease;
use super::metrics::label;
use super::plans::Planned;
use super::ports::{Claimed, Manner, Model, Outcome, Provider, Release};
use super::rates::Asked;
use super::waits::Waits;
use super::{Inner, operation, stored};
use crate::domain::cost::Start;
use crate::domain::document::Document;
use crate::domain::error::{Error, Fault};
use crate::domain::event::Reason;
use crate::domain::job::{AnswerKey, Draft, Ending, JobSpec};
use crate::domain::pack::{Packed, Work};
use crate::domain::status::Status;
use crate::domain::usage::Usage;

/// A job that killed its worker this often is not tried again.
const MAX_CRASHES: u32 = 3;
/// The pause before a job that was given back is claimed again.
const RELEASED_FOR: Duration = Duration::from_secs(2);

/// Runs a claimed job to its end, or until it is no longer ours.
pub(super) async fn run(engine: Arc<Inner>, claimed: Claimed, lease: Arc<Lease>) {
    let job = claimed.view.id;
    let span = info_span!("job", %job);
    async {
        let _counted = Counted::new(&engine.metrics.jobs_running);
        let journal = Journal::start(Arc::clone(&engine), Arc::clone(&lease), claimed.view.sequence);
        let release = match drive(&engine, &claimed, &lease, &journal).await {
            Ok(()) => {
                info!("job.ended");
                return;
            }
            // What was paid for is written before another may ask again.
            Err(Halt::Drained) if journal.flush().await.is_ok() => Release::HandedOver,
            Err(_) => Release::Broken,
        };
        info!(?release, "job.left: the engine stops, the job was cancelled or taken over, or its log cannot be written");
        // Were the lease kept, our own heartbeat would hold the job for ever.
        let pause = match release {
            Release::HandedOver => Duration::ZERO,
            Release::Broken => RELEASED_FOR,
        };
        let released = engine.jobs.release(job, claimed.epoch, pause, release);
        if let Err(cause) = released.await {
            error!(%cause, "job.release: the lease could not be given back");
        }
    }
    .instrument(span)
    .await;
}

/// Counts a run for as long as it lives; a run that is cancelled is dropped where it is.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn drive(
    engine: &Arc<Inner>,
    claimed: &Claimed,
    lease: &Arc<Lease>,
    journal: &Journal,
) -> Result<(), Halt> {
    let failed = |fault, message| Ending::Failed { fault, message };
    if claimed.crashes >= MAX_CRASHES {
        let message = format!(
            "The server stopped {} times while it worked on this job.",
            claimed.crashes
        );
        return end(engine, journal, failed(Fault::Internal, message)).await;
    }
    announce(claimed, journal).await?;
    let spec = &claimed.view.spec;
    let (planned, document) = match prepare(engine, spec).await? {
        Ok(prepared) => prepared,
        Err((fault, message)) => return end(engine, journal, failed(fault, message)).await,
    };
    let (pending, settled) = pending(engine, claimed, &planned).await?;
    if let Some(ending) = operation::settle_here(engine, spec, &pending, journal).await? {
        return end(engine, journal, ending).await;
    }
    let Some((model, provider)) = engine.served(&spec.config.model) else {
        let message = format!(
            "The model `{}` is no longer configured here.",
            spec.config.model
        );
        return end(engine, journal, failed(Fault::ProviderError, message)).await;
    };
    let prepared = (planned, document);
    let todo = (pending.as_slice(), settled.as_slice());
    let run = set_up(engine, claimed, prepared, (model, provider), todo).await;
    let run = Arc::new(run(lease, journal));
    let pending = run.reuse(&claimed.scope, pending).await?;
    if !pending.is_empty()
        && let Err((fault, message)) = run.attach().await?
    {
        return end(engine, journal, failed(fault, message)).await;
    }
    if spec.config.per_key_attribution && !pending.is_empty() {
        // While the first answer is awaited.
        let run = Arc::clone(&run);
        tokio::spawn(async move { run.index().await.is_ok() });
    }
    // Nothing is paid for before the log has taken what we announced: the job may have been
    // cancelled, or be another's, since the store gave it to us.
    journal.flush().await?;
    let started = Instant::now();
    call_all(&run, &pending).await?;
    if !pending.is_empty() {
        engine.learn_pace(started.elapsed(), pending.len());
    }
    end(engine, journal, Ending::Settled).await
}

/// What the calls share, but for the lease and the journal that they go by.
async fn set_up(
    engine: &Arc<Inner>,
    claimed: &Claimed,
    (planned, document): Prepared,
    (model, provider): (Model, Arc<dyn Provider>),
    (pending, settled): (&[usize], &[Outcome]),
) -> impl FnOnce(&Arc<Lease>, &Journal) -> Run {
    let spec = claimed.view.spec.clone();
    let manner = provider.manner(&spec.config.model);
    let asked = Asked {
        config: &spec.config,
        model: &model,
        manner: &manner,
        planned: &planned,
    };
    let (work, _) = engine.work(&asked, Some(&document), pending).await;
    let shared_tokens = match manner.output_tokens {
        Some(_) => engine.shared_tokens(Some(&document)).await,
        None => 0.0,
    };
    let age = engine.clock.now().since(claimed.view.created_at);
    let age = Duration::from_millis(age);
    let purse = Purse::new(spec.config.budget, &claimed.view.usage, age);
    let keys = keys(claimed, &manner, &document, &planned);
    let bonds = bonds(&spec, &planned, pending, settled, manner.takes_corrections);
    let look = Look {
        config: &spec.config,
        output_tokens: manner.output_tokens,
        work: &work,
    };
    let arrays = Arrays::of(&look, &document, &planned, pending).await;
    let (scope, number) = (claimed.scope.clone(), claimed.view.run);
    let taken_back = claimed.view.taken_back.clone();
    let engine = Arc::clone(engine);
    move |lease, journal| Run {
        engine,
        blank: Usage {
            provider: model.provider,
            model: spec.config.model.clone(),
            cost_usd: Some(0.0),
            ..Usage::default()
        },
        keys,
        takes_corrections: manner.takes_corrections,
        bonds,
        purse,
        shared_tokens,
        work,
        spec,
        document,
        planned,
        provider,
        lease: Arc::clone(lease),
        journal: journal.clone(),
        waits: Waits::default(),
        attachments: OnceCell::new(),
        index: OnceCell::new(),
        scope,
        number,
        taken_back,
        arrays,
    }
}

/// What each subtree's answer is kept under; nothing where answers are not kept.
fn keys(
    claimed: &Claimed,
    manner: &Manner,
    document: &Document,
    planned: &Planned,
) -> Vec<AnswerKey> {
    let Some(version) = &manner.version else {
        return Vec::new();
    };
    let asking = Asking {
        scope: &claimed.scope,
        version,
        config: &claimed.view.spec.config,
        document,
    };
    answers::keys(&asking, &planned.plan)
}

/// What binds the subtrees that are left to each other and to what is there; nothing where nobody
/// asked for validation.
fn bonds(
    spec: &JobSpec,
    planned: &Planned,
    pending: &[usize],
    settled: &[Outcome],
    holds: bool,
) -> Bonds {
    if !spec.config.validate_response_schema || planned.plan.bound.is_none() {
        return Bonds::default();
    }
    let values = settled.iter().filter_map(|outcome| {
        let value = answers::value(outcome)?;
        Some((outcome.ordinal as usize, value))
    });
    Bonds::new(&planned.plan, pending, values.collect(), holds)
}

impl Inner {
    /// Folds one job into the running mean; every new job counts for a fifth.
    fn learn_pace(&self, took: Duration, subtrees: usize) {
        let each = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / subtrees.max(1) as u64;
        let mean = self.pace.load(Ordering::Relaxed);
        let next = if mean == 0 {
            each
        } else {
            mean - mean / 5 + each / 5
        };
        self.pace.store(next.max(1), Ordering::Relaxed);
    }
}

/// Says that the job is being worked on; after a crash, also why it was not.
async fn announce(claimed: &Claimed, journal: &Journal) -> Result<(), Halt> {
    let to = |status, reason| Draft::Status {
        status,
        reason,
        message: None,
    };
    match claimed.view.status {
        Status::Pending => {
            journal
                .push(to(Status::Processing, Reason::Scheduled))
                .await
        }
        Status::Processing => {
            journal
                .push(to(Status::Retrying, Reason::ServerRestart))
                .await?;
            journal.push(to(Status::Processing, Reason::Resumed)).await
        }
        Status::Retrying => journal.push(to(Status::Processing, Reason::Resumed)).await,
        Status::Completed | Status::Failed | Status::Cancelled | Status::Expired => Err(Halt::Lost),
    }
}

/// As [`Inner::patiently`], for a run.
pub(super) async fn patiently<T, Asked>(
    engine: &Inner,
    ask: impl Fn() -> Asked,
) -> Result<Result<T, Error>, Halt>
where
    Asked: Future<Output = Result<T, Error>>,
{
    engine.patiently(ask).await.ok_or(Halt::Drained)
}

type Prepared = (Arc<Planned>, Arc<Document>);

async fn prepare(
    engine: &Inner,
    spec: &JobSpec,
) -> Result<Result<Prepared, (Fault, String)>, Halt> {
    let internal = |cause: Error| {
        error!(%cause, "job.prepare: what the job needs cannot be read");
        (
            Fault::Internal,
            "The plan of this job cannot be read.".to_owned(),
        )
    };
    let planned = patiently(engine, || engine.stored_plan(&spec.plan)).await?;
    let planned = match planned.map_err(internal) {
        Ok(planned) => planned,
        Err(fault) => return Ok(Err(fault)),
    };
    let document = patiently(engine, || engine.document_of(spec)).await?;
    Ok(match document {
        Ok(document) => Ok((planned, document)),
        Err(error) => Err((Fault::DocumentUnreadable, error.detail)),
    })
}

/// The subtrees without an outcome, what a crash or a restart left to do; and the outcomes of the
/// others.
async fn pending(
    engine: &Inner,
    claimed: &Claimed,
    planned: &Planned,
) -> Result<(Vec<usize>, Vec<Outcome>), Halt> {
    let all = 0..planned.plan.subtrees.len();
    let settled = claimed.view.subtrees_succeeded + claimed.view.subtrees_failed;
    if settled == 0 {
        return Ok((all.collect(), Vec::new()));
    }
    let snapshot = patiently(engine, || async {
        stored(engine.jobs.snapshot(&claimed.scope, claimed.view.id).await)
    });
    match snapshot.await? {
        Ok(Some(snapshot)) => {
            let done: Vec<_> = snapshot
                .outcomes
                .iter()
                .map(|o| o.ordinal as usize)
                .collect();
            let left = all.filter(|index| !done.contains(index)).collect();
            Ok((left, snapshot.outcomes))
        }
        Ok(None) => Err(Halt::Lost),
        Err(cause) => {
            // The lease runs out and the job is claimed again.
            error!(%cause, "job.outcomes: the outcomes so far cannot be read");
            Err(Halt::Lost)
        }
    }
}

impl Run {
    /// The calls for some of what was pending when the run began.
    pub(super) fn packed(&self, pending: &[usize]) -> Packed {
        let items = &self.work.items;
        let items = items.iter().filter(|item| pending.contains(&item.index));
        let mut work = Work {
            items: items.copied().collect(),
            ..self.work.clone()
        };
        work.terms.slots = self.arrays.slots_left(work.terms.slots);
        work.pack()
    }
}

/// Makes every call, as many at a time as the job may. Dropped with the run, calls are dropped;
/// while the engine drains, those under way go on and no further one begins.
async fn call_all(run: &Arc<Run>, pending: &[usize]) -> Result<(), Halt> {
    let permits = run.spec.config.max_num_concurrent_requests as usize;
    let slots = Arc::new(Semaphore::new(permits));
    let mut calls = JoinSet::new();
    let mut outcome = Ok(());
    let (long, pending): (Vec<usize>, Vec<usize>) = pending
        .iter()
        .partition(|index| run.arrays.is_long(**index));
    // Beside the others, which are packed to leave them room: a window takes a slot as a call does.
    for index in long {
        let (run, slots) = (Arc::clone(run), Arc::clone(&slots));
        calls.spawn(async move { read_array(&run, index, run.blank.clone(), &slots).await });
    }
    let Packed { loads, start, .. } = run.packed(&pending);
    // Whom the others wait for, until it has read the document or cannot.
    let mut leader = (start == Start::LeaderFirst).then(|| Arc::new(Notify::new()));
    for load in loads {
        let slot = tokio::select! {
            biased;
            () = run.engine.drained() => {
                outcome = Err(Halt::Drained);
                break;
            }
            slot = Arc::clone(&slots).acquire_owned() => slot.map_err(|_| Halt::Lost)?,
        };
        let run = Arc::clone(run);
        let (word, heard) = (leader.clone(), leader.take());
        let (engine, slots) = (Arc::clone(&run.engine), Arc::clone(&slots));
        calls.spawn(async move {
            // A panic fails the subtrees of its call and nothing else.
            let call = AssertUnwindSafe(run.call(load.clone(), word.clone()))
                .catch_unwind()
                .await;
            drop(slot);
            if let Some(word) = word {
                word.notify_one();
            }
            let (cut, mut spent) = match call {
                Ok(outcome) => outcome?,
                Err(_) => return run.fail_broken(load).await,
            };
            for index in cut {
                let so_far = std::mem::replace(&mut spent, run.blank.clone());
                read_array(&run, index, so_far, &slots).await?;
            }
            Ok(())
        });
        if let Some(heard) = heard {
            tokio::select! {
                biased;
                () = engine.drained() => {}
                () = heard.notified() => {}
            }
        }
    }
    while let Some(ended) = calls.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            // The others are paid for: they may settle.
            Ok(Err(Halt::Drained)) => outcome = Err(Halt::Drained),
            Ok(Err(Halt::Lost)) => return Err(Halt::Lost),
            Err(panic) => {
                error!(%panic, "job.call_panicked: a call broke");
                return Err(Halt::Lost);
            }
        }
    }
    run.release_all(outcome.is_err()).await?;
    outcome
}

/// Reads an array in windows. A panic fails the array and nothing else.
async fn read_array(run: &Run, index: usize, spent: Usage, slots: &Semaphore) -> Result<(), Halt> {
    let read = AssertUnwindSafe(run.read_array(index, spent, slots)).catch_unwind();
    match read.await {
        Ok(outcome) => outcome,
        Err(_) => run.fail_broken(vec![index]).await,
    }
}

async fn end(engine: &Inner, journal: &Journal, ending: Ending) -> Result<(), Halt> {
    let outcome = match &ending {
        Ending::Settled => "settled",
        Ending::Failed { .. } => "failed",
        Ending::Cancelled { .. } => "cancelled",
    };
    journal.record(Draft::End(ending)).await?;
    engine
        .metrics
        .jobs_ended
        .get_or_create(&label("outcome", outcome))
        .inc();
    Ok(())
}
