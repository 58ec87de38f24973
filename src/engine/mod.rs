//! Runs jobs. [`Engine`] is the cheap-to-clone handle that every dialect asks.
//!
//! | module | what |
//! |---|---|
//! | [`ports`] | what the engine needs from outside |
//! | `submit` | a checked request becomes a job |
//! | `repeat` | a request that was made before leads to its job |
//! | `catalog` | documents and schemas |
//! | `files`, `uploads` | files; those that come in chunks |
//! | `templates` | what jobs have in common, saved; filters that choose among them |
//! | `plans` | plans and compiled validators by schema |
//! | `worker` | claims jobs and keeps their leases |
//! | `run`, `call`, `settle` | one job; one call to a model; one answer of it |
//! | `batch` | jobs over many records |
//! | `array` | long arrays, window by window |
//! | `proof` | values against the pages |
//! | `operation` | what is done beside extraction: parse, classify, split, generate a schema |
//! | `answers` | what was paid for before is used again |
//! | `budget` | what a job may spend |
//! | `rates` | what calls have taken so far |
//! | `explain` | what a request would come to |
//! | `waits` | says when all calls of a job wait |
//! | `lease` | what a run may still begin, and how it learns that its job is gone |
//! | `journal` | the one writer of events: store first, announce second |
//! | `live` | who follows which job: limits, wake-ups, the newest pages |
//! | `follow` | a reader of a log: register, read, go on by number |
//! | `page` | a log in pages, for clients that poll |
//! | `wait` | the end of a job, waited for |
//! | `listing` | jobs in every order and by every filter |
//! | `result` | the combined result |
//! | `cancel` | ends a job, and the calls that are made for it |
//! | `again` | an ended job goes on with what failed |
//! | `review` | results that are held back, and what is decided of them |
//! | `webhooks`, `delivery` | endpoints of users; the outbox is sent |
//! | `deliver` | callbacks on demand, and in the words of a dialect |
//! | `retention` | lets go of what was kept for a time only |
//! | `own_keys` | keys to providers that callers bring for a job |
//! | `orphans` | deletes files that a crash left without a row |
//! | [`keys`], `tickets` | who asks; what opens one stream without a key |
//! | `metrics` | counters |

mod again;
mod answers;
mod array;
mod attach;
mod batch;
mod bonds;
mod budget;
mod call;
mod cancel;
mod catalog;
mod deliver;
mod delivery;
mod explain;
mod files;
mod follow;
mod journal;
pub mod keys;
mod lease;
mod listing;
mod live;
mod metrics;
mod operation;
mod orphans;
mod own_keys;
mod page;
mod plans;
pub mod ports;
mod proof;
mod rates;
mod repeat;
mod result;
mod retention;
mod review;
mod run;
mod settle;
mod submit;
mod templates;
mod tickets;
mod uploads;
mod wait;
mod waits;
mod webhooks;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, info};
use uuid::Uuid;

pub use batch::{RecordResult, Records};
pub use catalog::{SchemaDraft, Uploaded, document_key, sha256_hex};
pub use deliver::CallbackWords;
pub use explain::PlanRequest;
pub use files::FilePieces;
pub use follow::{Follow, Follower, News};
pub use live::{Page, Slot};
pub use page::EventsPage;
pub use repeat::{Repeat, Submitted};
pub use result::{FailedSubtree, FoundArray, JobResult, Wanted};
pub use retention::Lifetimes;
pub use review::{ReviewRequest, ReviewState};
pub use submit::{DocumentSource, Extras, JobRequest, SchemaSource};
pub use templates::{MAX_DEFINITIONS, Saved};
pub use tickets::{Admission, Ticket};
pub use uploads::{MAX_CHUNK, MAX_UPLOADS, UploadDraft};
pub use webhooks::{MAX_WEBHOOKS, WebhookDraft};

use crate::domain::error::{Code, Error};
use crate::domain::id::{Cursor, JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::time::Time;
use keys::{Keyring, Principal};
use lease::Lease;
use live::{Limits, Live};
use metrics::Metrics;
use plans::{Planned, Plans};
use ports::{
    Blobs, Catalog, Clock, Deleted, Files, Jobs, Keys, LogPage, Model, Outbox, Provider, Reader,
    Release, Sender, StoreError,
};
use repeat::Creating;

/// The pause before a store that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a stop waits for a claim that is under way.
const CLAIM: Duration = Duration::from_secs(2);

/// How much the engine takes on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Jobs of one user that may be active at once.
    pub max_active_jobs: u32,
    /// Jobs of all users that may be active at once.
    pub max_queued_jobs: u32,
    /// Jobs that this process runs at once.
    pub max_running_jobs: usize,
    /// Bytes of one document.
    pub max_document_bytes: u64,
    /// The model when a request names none.
    pub default_model: String,
    /// Files that are read at once.
    pub max_reads: usize,
    pub lifetimes: Lifetimes,
    /// Streams of one job that may be open at once.
    pub max_streams_per_job: usize,
    /// Streams of one user that may be open at once.
    pub max_streams_per_user: usize,
}

/// Everything outside that the engine works with.
pub struct Outside {
    pub jobs: Arc<dyn Jobs>,
    pub catalog: Arc<dyn Catalog>,
    pub files: Arc<dyn Files>,
    pub keys: Arc<dyn Keys>,
    pub outbox: Arc<dyn Outbox>,
    pub sender: Arc<dyn Sender>,
    pub blobs: Arc<dyn Blobs>,
    pub reader: Arc<dyn Reader>,
    pub providers: Vec<Arc<dyn Provider>>,
    pub clock: Arc<dyn Clock>,
}

struct Inner {
    settings: Settings,
    jobs: Arc<dyn Jobs>,
    catalog: Arc<dyn Catalog>,
    files: Arc<dyn Files>,
    keyring: Keyring,
    outbox: Arc<dyn Outbox>,
    sender: Arc<dyn Sender>,
    blobs: Arc<dyn Blobs>,
    reader: Arc<dyn Reader>,
    clock: Arc<dyn Clock>,
    /// Whoever knows a model first answers for it.
    providers: Vec<Arc<dyn Provider>>,
    live: Arc<Live>,
    plans: Plans,
    rates: rates::Rates,
    parsed: catalog::Parsed,
    metrics: Metrics,
    /// Names this process as an owner of leases; new at every start, so that a process never
    /// takes a lease of its own dead forerunner for its own.
    node: String,
    /// Jobs that run here.
    running: DashMap<JobId, Running>,
    /// Held while jobs are claimed, until they are in `running`.
    claiming: tokio::sync::Mutex<()>,
    /// A hint that a job that runs here may be somebody else's, or nobody's.
    doubt: Notify,
    /// A hint that the queue may have grown.
    work: Notify,
    /// A hint that something may have been put into the outbox.
    posted: Notify,
    /// A try at a delivery was recorded here.
    tried: Notify,
    callback_words: deliver::Words,
    own_keys: own_keys::OwnKeys,
    reading: Arc<Semaphore>,
    /// Apart from `reading`: what takes minutes to draw must not hold up uploads.
    drawing: Arc<Semaphore>,
    blob_gate: RwLock<()>,
    /// Keys whose jobs are being made.
    creating: Arc<Creating>,
    /// A run has left `running`.
    left: Notify,
    /// Only goes forward.
    phase: Mutex<Phase>,
    /// The phase has changed. Wakes those who wait for that in the order in which they came.
    turned: Notify,
    /// Running mean of how long a subtree takes within its job, microseconds; 0 before the first.
    pace: AtomicU64,
    /// When the store last took a claim or a renewal of leases.
    heard: Mutex<Instant>,
}

/// A run of this process.
struct Running {
    lease: Arc<Lease>,
    task: AbortHandle,
}

impl Running {
    /// When this returns, the run begins nothing any more; its calls are dropped at once.
    fn end(&self) {
        self.lease.end();
        self.task.abort();
    }
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Nothing new is begun.
    Draining,
    /// No job runs here any more.
    Stopped,
}

/// The handle that every dialect asks. Clones share one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// Starts the engine's workers on the current tokio runtime. They stop after [`Engine::stop`].
    pub fn start(settings: Settings, outside: Outside) -> Self {
        let inner = Arc::new(Inner {
            reading: Arc::new(Semaphore::new(settings.max_reads.max(1))),
            drawing: Arc::new(Semaphore::new(settings.max_reads.max(1))),
            live: Arc::new(Live::new(Limits {
                per_job: settings.max_streams_per_job,
                per_user: settings.max_streams_per_user,
            })),
            settings,
            jobs: outside.jobs,
            catalog: outside.catalog,
            files: outside.files,
            keyring: Keyring::new(outside.keys, Arc::clone(&outside.clock)),
            outbox: outside.outbox,
            sender: outside.sender,
            blobs: outside.blobs,
            reader: outside.reader,
            clock: outside.clock,
            providers: outside.providers,
            plans: Plans::new(),
            rates: rates::Rates::new(),
            parsed: catalog::Parsed::default(),
            metrics: Metrics::new(),
            node: Uuid::new_v4().to_string(),
            running: DashMap::new(),
            claiming: tokio::sync::Mutex::default(),
            doubt: Notify::new(),
            work: Notify::new(),
            posted: Notify::new(),
            tried: Notify::new(),
            callback_words: deliver::Words::default(),
            own_keys: own_keys::OwnKeys::default(),
            blob_gate: RwLock::new(()),
            creating: Arc::default(),
            left: Notify::new(),
            phase: Mutex::new(Phase::Serving),
            turned: Notify::new(),
            pace: AtomicU64::new(0),
            heard: Mutex::new(Instant::now()),
        });
        tokio::spawn(worker::work(Arc::clone(&inner)));
        tokio::spawn(worker::beat(Arc::clone(&inner)));
        tokio::spawn(retention::keep_swept(Arc::clone(&inner)));
        tokio::spawn(own_keys::keep_swept(Arc::clone(&inner)));
        tokio::spawn(worker::listen(Arc::clone(&inner)));
        tokio::spawn(live::poll(Arc::clone(&inner)));
        tokio::spawn(lease::watch(Arc::clone(&inner)));
        tokio::spawn(delivery::deliver(Arc::clone(&inner)));
        Self { inner }
    }

    /// Stops claiming and begins no further call; streams end after their last whole frame. Calls
    /// under way get `grace` to settle; then the runs that are left are stopped where they are.
    /// Every lease is given back: the next owner goes on from what was committed.
    pub async fn stop(&self, grace: Duration) {
        let inner = &self.inner;
        inner.turn(Phase::Draining);
        if timeout(grace, inner.all_left()).await.is_err() {
            info!(
                jobs = inner.running.len(),
                "engine.stop: calls are still under way and are dropped"
            );
        }
        // What a claim under way brings is ours to give back. A store that does not answer does so
        // when the leases run out.
        if timeout(CLAIM, inner.claiming.lock()).await.is_err() {
            info!("engine.stop: a claim is still under way and is not waited for");
        }
        let runs = inner.running.iter();
        let mut runs: Vec<_> = runs.map(|run| (*run.key(), run.lease.epoch)).collect();
        runs.sort_unstable();
        for (job, epoch) in runs {
            inner.hand_over(job, epoch).await;
        }
        inner.turn(Phase::Stopped);
    }

    /// Whether new work is taken: the server is not stopping and the store takes writes.
    pub async fn check_ready(&self) -> Result<(), Error> {
        if self.inner.is_draining() {
            return Err(Error::new(Code::Draining, "The server is shutting down."));
        }
        // A write, though of nothing: a store that only reads takes no work.
        let none = self.inner.jobs.renew(&self.inner.node, &[], Duration::ZERO);
        stored(none.await)
    }

    /// Who may ask.
    pub fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    pub fn models(&self) -> Vec<Model> {
        self.inner.models()
    }

    pub fn default_model(&self) -> &str {
        &self.inner.settings.default_model
    }

    /// The model that is part of the server, where there is one.
    pub fn embedded_model(&self) -> Option<String> {
        self.inner.embedded_model()
    }

    pub fn now(&self) -> Time {
        self.inner.clock.now()
    }

    pub fn max_document_bytes(&self) -> u64 {
        self.inner.settings.max_document_bytes
    }

    /// When a job that has not ended may end, after the pace of the jobs before it; `None` before
    /// the first.
    pub fn estimated_completion(&self, job: &JobView) -> Option<Time> {
        let pace = self.inner.pace.load(Ordering::Relaxed);
        let settled = job.subtrees_succeeded + job.subtrees_failed;
        let left = job.total_subtrees.saturating_sub(settled);
        (pace > 0 && !job.status.is_idle()).then(|| {
            self.inner
                .clock
                .now()
                .plus_millis((pace * left).div_ceil(1_000))
        })
    }

    /// Metrics in the exposition format of Prometheus.
    pub fn metrics(&self) -> String {
        self.inner
            .metrics
            .streams
            .set(self.inner.live.followers() as i64);
        self.inner.metrics.encode()
    }

    pub async fn job(&self, scope: &Scope, id: JobId) -> Result<JobView, Error> {
        stored(self.inner.jobs.view(scope, id).await)?.ok_or_else(|| no_job(id))
    }

    /// Follows a job's log from a cursor, running or finished alike.
    ///
    /// Refused with `too_many_streams` when the user or the job has as many as it may.
    pub async fn follow(
        &self,
        scope: &Scope,
        job: JobId,
        cursor: Option<Cursor>,
    ) -> Result<Follow, Error> {
        self.follow_in(self.stream_slot(scope)?, job, cursor).await
    }

    /// A stream that is about to be opened, or `too_many_streams`. For a job that is yet to be
    /// made: a refusal after that would hide a job that was paid for.
    pub fn stream_slot(&self, scope: &Scope) -> Result<Slot, Error> {
        self.inner.live.slot(scope)
    }

    /// [`Engine::follow`] in a slot that was taken before.
    pub async fn follow_in(
        &self,
        slot: Slot,
        job: JobId,
        cursor: Option<Cursor>,
    ) -> Result<Follow, Error> {
        let after = cursor.map_or(0, |cursor| cursor.after(job));
        Follower::open(Arc::clone(&self.inner), slot, job, after).await
    }

    /// Deletes an ended job with its log and result.
    pub async fn delete_job(&self, scope: &Scope, job: JobId) -> Result<(), Error> {
        match stored(self.inner.jobs.delete(scope, job).await)? {
            Deleted::Gone => Ok(()),
            Deleted::Missing => Err(no_job(job)),
            Deleted::InUse => Err(Error::new(
                Code::JobActive,
                format!(
                    "Job {job} has not ended. Cancel it first with POST /v1/extract/jobs/{job}/cancel."
                ),
            )),
        }
    }
}

impl Inner {
    /// Every model that can be named here, by name.
    fn models(&self) -> Vec<Model> {
        let models = self.providers.iter().flat_map(|provider| provider.models());
        let mut models: Vec<_> = models.collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models
    }

    /// The model of this name, and who answers for it.
    fn served(&self, name: &str) -> Option<(Model, Arc<dyn Provider>)> {
        let serving =
            |provider: &Arc<dyn Provider>| Some((provider.model(name)?, Arc::clone(provider)));
        self.providers.iter().find_map(serving)
    }

    fn refuse_new_work(&self) -> Result<(), Error> {
        if self.is_draining() {
            return Err(Error::new(
                Code::Draining,
                "The server is shutting down. Try again in a moment.",
            ));
        }
        Ok(())
    }

    /// How many jobs of its user may be active, one that the caller starts included.
    fn active_limit(&self, caller: &Principal) -> u32 {
        let setting = self.settings.max_active_jobs;
        caller.max_active_jobs.unwrap_or(setting)
    }

    fn too_many_active(&self, caller: &Principal) -> Error {
        let limit = self.active_limit(caller);
        let whose = match caller.max_active_jobs {
            Some(_) => "this key",
            None => "a user",
        };
        Error::new(
            Code::TooManyJobs,
            format!(
                "The limit of {whose} is {limit} active jobs, and you have no fewer. Wait for one to end, or cancel one."
            ),
        )
    }

    fn queue_full(&self) -> Error {
        let limit = self.settings.max_queued_jobs;
        Error::new(
            Code::QueueFull,
            format!(
                "{limit} jobs of all users are active, the limit of this server. Try again in a moment."
            ),
        )
    }

    fn is_draining(&self) -> bool {
        *self.phase.lock() >= Phase::Draining
    }

    /// Waits until the engine begins to stop.
    async fn drained(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until the engine has let go of its last job.
    async fn stopped(&self) {
        self.reached(Phase::Stopped).await;
    }

    fn turn(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.turned.notify_waiters();
    }

    async fn reached(&self, phase: Phase) {
        loop {
            // Registered before looking: a turn in between then wakes us.
            let turned = self.turned.notified();
            if *self.phase.lock() >= phase {
                return;
            }
            turned.await;
        }
    }

    /// Waits until no job runs here.
    async fn all_left(&self) {
        loop {
            // Registered before looking: a run that leaves in between then wakes us.
            let left = self.left.notified();
            if self.running.is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Asks the store for as long as it does not answer: neither job nor stream ends because of
    /// that. None when the engine drains meanwhile.
    async fn patiently<T, Asked>(&self, ask: impl Fn() -> Asked) -> Option<Result<T, Error>>
    where
        Asked: Future<Output = Result<T, Error>>,
    {
        loop {
            match ask().await {
                Err(error) if matches!(error.code, Code::StoreUnavailable | Code::StorageFull) => {}
                answer => return Some(answer),
            }
            tokio::select! {
                biased;
                () = self.drained() => return None,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// The store has answered.
    fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// Stops a run of this process and gives its lease back.
    async fn hand_over(&self, job: JobId, epoch: u64) {
        self.end_run(job, |of| of.epoch == epoch);
        let release = self
            .jobs
            .release(job, epoch, Duration::ZERO, Release::HandedOver);
        if let Err(cause) = release.await {
            error!(%job, %cause, "engine.stop: a lease could not be given back");
        }
    }

    async fn log_page(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Result<LogPage, Error> {
        let page = self.jobs.events(scope, job, after, limit, max_bytes).await;
        stored(page)?.ok_or_else(|| no_job(job))
    }

    /// The plan a job was made with.
    async fn stored_plan(&self, key: &str) -> Result<Arc<Planned>, Error> {
        if let Some(planned) = self.plans.get(key) {
            return Ok(planned);
        }
        let plan = stored(self.jobs.plan(key).await)?.ok_or_else(|| {
            error!(
                key,
                "engine.plan_missing: a job names a plan that is not stored"
            );
            Error::internal()
        })?;
        Ok(self.plans.keep(key.to_owned(), plan))
    }
}

/// The answer of a store, its failure told to the log and worded for a client.
fn stored<T>(answer: Result<T, StoreError>) -> Result<T, Error> {
    answer.map_err(|cause| match cause {
        StoreError::Unavailable(cause) => {
            error!(cause, "store.unavailable");
            Error::new(
                Code::StoreUnavailable,
                "The store does not answer. Try again in a moment.",
            )
        }
        StoreError::Full(cause) => {
            error!(cause, "store.full");
            Error::new(
                Code::StorageFull,
                "The server has no room to store anything. What it has it goes on serving. Try \
                 again once its operator has made room.",
            )
        }
        StoreError::Failed(cause) => {
            error!(cause, "store.failed");
            Error::internal()
        }
    })
}

fn no_job(id: JobId) -> Error {
    Error::new(Code::JobNotFound, format!("There is no job {id}."))
}
