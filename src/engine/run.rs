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
use super::batch::{self, Track};
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
use super::{Inner, operation, review, stored};
use crate::domain::cost::Start;
use crate::domain::document::Document;
use crate::domain::error::{Error, Fault};
use crate::domain::event::Reason;
use crate::domain::id::Scope;
use crate::domain::job::{AnswerKey, Draft, Ending, JobSpec, TakenBack};
use crate::domain::pack::{Packed, Work};
use crate::domain::record::Batch;
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
        if engine.leaves_to_owner(&claimed) {
            info!("job.left: the process that has its caller's key is to run it");
            let release = Release::HandedOver;
            let released = engine.jobs.release(job, claimed.epoch, RELEASED_FOR, release);
            if let Err(cause) = released.await {
                error!(%cause, "job.release: the lease could not be given back");
            }
            return;
        }
        let journal = Journal::start(Arc::clone(&engine), Arc::clone(&lease), claimed.view.sequence);
        let release = match drive(&engine, &claimed, &lease, &journal).await {
            Ok(()) => {
                engine.own_keys.drop_of(&claimed.view);
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
    let planned = match plan_of(engine, spec).await? {
        Ok(planned) => planned,
        Err((fault, message)) => return end(engine, journal, failed(fault, message)).await,
    };
    if let Some(ending) = without_calls(engine, claimed, &planned, journal).await? {
        return close(engine, claimed, &planned, journal, ending).await;
    }
    let served = match engine.served_for(&claimed.view) {
        Ok(served) => served,
        Err((fault, message)) => return end(engine, journal, failed(fault, message)).await,
    };
    let shared = Shared::of(engine, claimed, planned, served, (lease, journal));
    if let Some(batch) = spec.batch {
        return drive_batch(shared, claimed, batch).await;
    }
    let document = match document_of(engine, spec).await? {
        Ok(document) => document,
        Err((fault, message)) => return end(engine, journal, failed(fault, message)).await,
    };
    let (pending, settled) = pending(engine, claimed, &shared.planned).await?;
    let run = Arc::new(shared.run(document, &pending, &settled, None).await);
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
    close(engine, claimed, &run.planned, journal, Ending::Settled).await
}

/// Does what needs no model; how the job ends then.
async fn without_calls(
    engine: &Arc<Inner>,
    claimed: &Claimed,
    planned: &Planned,
    journal: &Journal,
) -> Result<Option<Ending>, Halt> {
    let spec = &claimed.view.spec;
    if spec.batch.is_some() || spec.operation.is_extract() {
        return Ok(None);
    }
    let (pending, _) = pending(engine, claimed, planned).await?;
    operation::settle_here(engine, spec, &pending, journal).await
}

/// Ends the job, unless it has settled and its gate holds it back.
async fn close(
    engine: &Inner,
    claimed: &Claimed,
    planned: &Planned,
    journal: &Journal,
    ending: Ending,
) -> Result<(), Halt> {
    let has_settled = matches!(ending, Ending::Settled);
    if has_settled && review::holds(engine, claimed, planned, journal).await? {
        return Ok(());
    }
    end(engine, journal, ending).await
}

/// A job over many records: all of them, their output, the end.
async fn drive_batch(shared: Shared, claimed: &Claimed, batch: Batch) -> Result<(), Halt> {
    let shared = Arc::new(shared);
    let (engine, journal) = (&shared.engine, &shared.journal);
    // As above: nothing is paid for before that.
    journal.flush().await?;
    let started = Instant::now();
    let ending = match batch::walk(&shared, &claimed.view, batch).await? {
        Ok(asked) => {
            if asked > 0 {
                engine.learn_pace(started.elapsed(), asked);
            }
            let output = batch::write_output(&shared, &claimed.view, batch).await?;
            Ending::Written { output }
        }
        Err((fault, message)) => Ending::Failed { fault, message },
    };
    end(engine, journal, ending).await
}

/// What all runs of a job share: a job over one document has one run, a batch one for each record.
pub(super) struct Shared {
    pub(super) engine: Arc<Inner>,
    pub(super) spec: Arc<JobSpec>,
    pub(super) scope: Scope,
    pub(super) planned: Arc<Planned>,
    pub(super) journal: Journal,
    lease: Arc<Lease>,
    number: u32,
    taken_back: Vec<TakenBack>,
    model: Model,
    provider: Arc<dyn Provider>,
    manner: Manner,
    purse: Arc<Purse>,
    waits: Arc<Waits>,
    slots: Arc<Semaphore>,
}

impl Shared {
    fn of(
        engine: &Arc<Inner>,
        claimed: &Claimed,
        planned: Arc<Planned>,
        (model, provider): (Model, Arc<dyn Provider>),
        (lease, journal): (&Arc<Lease>, &Journal),
    ) -> Self {
        let view = &claimed.view;
        let spec = Arc::clone(&view.spec);
        let age = engine.clock.now().since(view.created_at);
        let age = Duration::from_millis(age);
        let permits = spec.config.max_num_concurrent_requests as usize;
        Self {
            engine: Arc::clone(engine),
            scope: claimed.scope.clone(),
            planned,
            journal: journal.clone(),
            lease: Arc::clone(lease),
            number: view.run,
            taken_back: view.taken_back.clone(),
            manner: provider.manner(&spec.config.model),
            model,
            provider,
            purse: Purse::new(spec.config.budget, &view.usage, age),
            waits: Arc::default(),
            slots: Arc::new(Semaphore::new(permits)),
            spec,
        }
    }

    /// What every bill starts from.
    pub(super) fn blank(&self) -> Usage {
        Usage {
            provider: self.model.provider.clone(),
            model: self.spec.config.model.clone(),
            cost_usd: Some(0.0),
            ..Usage::default()
        }
    }

    /// What the calls about one document share. `settled` are its outcomes from before, numbered
    /// by subtree.
    pub(super) async fn run(
        &self,
        document: Arc<Document>,
        pending: &[usize],
        settled: &[Outcome],
        record: Option<Track>,
    ) -> Run {
        let (engine, spec, manner) = (&self.engine, &self.spec, &self.manner);
        let asked = Asked {
            config: &spec.config,
            model: &self.model,
            manner,
            planned: &self.planned,
        };
        let (mut work, _) = engine.work(&asked, Some(&document), pending).await;
        let shared_tokens = match manner.output_tokens {
            Some(_) => engine.shared_tokens(Some(&document)).await,
            None => 0.0,
        };
        let look = Look {
            config: &spec.config,
            output_tokens: manner.output_tokens,
            work: &work,
        };
        let arrays = Arrays::of(&look, &document, &self.planned, pending).await;
        let rows = |index| engine.rates.rows(&spec.config, &self.planned, index);
        arrays.size(work.items.iter_mut(), rows);
        Run {
            blank: self.blank(),
            keys: self.keys(&document),
            takes_corrections: manner.takes_corrections,
            bonds: bonds(
                spec,
                &self.planned,
                pending,
                settled,
                manner.takes_corrections,
            ),
            purse: Arc::clone(&self.purse),
            shared_tokens,
            work,
            engine: Arc::clone(engine),
            spec: Arc::clone(spec),
            document,
            planned: Arc::clone(&self.planned),
            provider: Arc::clone(&self.provider),
            lease: Arc::clone(&self.lease),
            journal: self.journal.clone(),
            waits: Arc::clone(&self.waits),
            slots: Arc::clone(&self.slots),
            attachments: OnceCell::new(),
            index: OnceCell::new(),
            scope: self.scope.clone(),
            number: self.number,
            taken_back: self.taken_back.clone(),
            arrays,
            record,
        }
    }

    /// What each subtree's answer is kept under; nothing where answers are not kept.
    fn keys(&self, document: &Document) -> Vec<AnswerKey> {
        // Nor are those that were asked for under a caller's own key.
        let version = self.manner.version.as_ref();
        let Some(version) = version.filter(|_| !self.spec.has_own_key) else {
            return Vec::new();
        };
        let asking = Asking {
            scope: &self.scope,
            version,
            config: &self.spec.config,
            document,
        };
        answers::keys(&asking, &self.planned.plan)
    }
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
        Status::ReviewRequired
        | Status::Completed
        | Status::Failed
        | Status::Cancelled
        | Status::Expired => Err(Halt::Lost),
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

async fn plan_of(
    engine: &Inner,
    spec: &JobSpec,
) -> Result<Result<Arc<Planned>, (Fault, String)>, Halt> {
    let planned = patiently(engine, || engine.stored_plan(&spec.plan)).await?;
    Ok(planned.map_err(|cause| {
        error!(%cause, "job.prepare: what the job needs cannot be read");
        let message = "The plan of this job cannot be read.";
        (Fault::Internal, message.to_owned())
    }))
}

async fn document_of(
    engine: &Inner,
    spec: &JobSpec,
) -> Result<Result<Arc<Document>, (Fault, String)>, Halt> {
    let document = patiently(engine, || engine.document_of(spec)).await?;
    Ok(document.map_err(|error| (Fault::DocumentUnreadable, error.detail)))
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
pub(super) async fn call_all(run: &Arc<Run>, pending: &[usize]) -> Result<(), Halt> {
    let slots = Arc::clone(&run.slots);
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
        Ending::Settled | Ending::Written { .. } => "settled",
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
