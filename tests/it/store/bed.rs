//! A store to test, and values to put into it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rivulet::domain::config::Config;
use rivulet::domain::document::Kind;
use rivulet::domain::error::Fault;
use rivulet::domain::event::{PlannedSubtree, Reason};
use rivulet::domain::filter::JobFilter;
use rivulet::domain::id::{DocumentId, JobId, SchemaId, Scope};
use rivulet::domain::job::{Draft, Ending, ErrorDraft, JobSpec, JobView, Ordinal, ResultDraft};
use rivulet::domain::metadata::Metadata;
use rivulet::domain::operation::Operation;
use rivulet::domain::page::ListQuery;
use rivulet::domain::plan::{self, Plan, Subtree, Take};
use rivulet::domain::pointer::Pointer;
use rivulet::domain::review::Predicate;
use rivulet::domain::status::Status;
use rivulet::domain::time::Time;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{
    Catalog, Claimed, Clock, Commit, Committed, Created, Files, Guard, JobQuery, Jobs, Keys,
    LogPage, NewJob, Order, Outbox, StoredDocument, StoredEvent, StoredSchema,
};
use rivulet::store::{Postgres, PostgresOptions, Sqlite, SqliteOptions};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::simulation::{Memory, Shelf};
use crate::support::postgres::{Database, database};

/// Small, so that a result becomes oversize early.
pub const MAX_EVENT_BYTES: usize = 4_000;
pub const RETENTION_MS: u64 = 1_000_000;
pub const START: Time = Time(1_763_762_400_000);
pub const MINUTE: u64 = 60_000;
pub const LEASE: Duration = Duration::from_millis(MINUTE);

pub trait Store: Jobs + Catalog + Files + Keys + Outbox {}
impl<T: Jobs + Catalog + Files + Keys + Outbox> Store for T {}

/// A clock that stands still until it is set.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn set(&self, time: Time) {
        self.0.store(time.0, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

type Open = Box<dyn Fn(Arc<SetClock>) -> Arc<dyn Store> + Send + Sync>;

pub struct Bed {
    pub store: Arc<dyn Store>,
    pub clock: Arc<SetClock>,
    pub folder: TempDir,
    open: Open,
    next: AtomicU64,
}

pub fn sqlite(path: &Path, clock: Arc<SetClock>) -> Sqlite {
    Sqlite::open(SqliteOptions {
        path: path.to_owned(),
        max_event_bytes: MAX_EVENT_BYTES,
        retention_ms: RETENTION_MS,
        readers: 2,
        clock,
    })
    .unwrap()
}

pub fn postgres(url: &str, clock: Arc<SetClock>) -> Postgres {
    Postgres::open(PostgresOptions {
        url: url.to_owned(),
        connections: 8,
        // Nothing here is about a database that does not answer.
        patience: Duration::from_mins(1),
        max_event_bytes: MAX_EVENT_BYTES,
        retention_ms: RETENTION_MS,
        clock: Some(clock),
    })
    .unwrap()
}

impl Bed {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rivulet.db");
        Self::new(
            folder,
            Box::new(move |clock| Arc::new(sqlite(&path, clock))),
        )
    }

    pub fn memory() -> Self {
        let memory = Memory::new(MAX_EVENT_BYTES, RETENTION_MS);
        let disk = Arc::new(Mutex::new(memory));
        let open = move |clock: Arc<SetClock>| -> Arc<dyn Store> {
            Arc::new(Shelf::open(Arc::clone(&disk), clock))
        };
        Self::new(tempfile::tempdir().unwrap(), Box::new(open))
    }

    /// None where PostgreSQL is not installed.
    pub async fn postgres() -> Option<Self> {
        Some(Self::on(&database().await?))
    }

    pub fn on(database: &Database) -> Self {
        let url = database.url();
        let open = move |clock| Arc::new(postgres(&url, clock)) as Arc<dyn Store>;
        Self::new(tempfile::tempdir().unwrap(), Box::new(open))
    }

    fn new(folder: TempDir, open: Open) -> Self {
        let clock = Arc::new(SetClock(AtomicI64::new(START.0)));
        Self {
            store: open(Arc::clone(&clock)),
            clock,
            folder,
            open,
            next: AtomicU64::new(1),
        }
    }

    /// Closes the store and opens what it left.
    pub fn restart(self) -> Self {
        let Self {
            store,
            clock,
            folder,
            open,
            next,
        } = self;
        assert_eq!(Arc::strong_count(&store), 1, "the store is still in use");
        drop(store);
        Self {
            store: open(Arc::clone(&clock)),
            clock,
            folder,
            open,
            next,
        }
    }

    /// Ids in the order in which they are asked for.
    pub fn id(&self) -> Uuid {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        Uuid::from_u128(0x0193_4f00_0000_7000_8000_0000_0000_0000 + u128::from(number))
    }

    pub async fn document(&self, scope: &Scope, name: &str) -> StoredDocument {
        let id = DocumentId(self.id());
        let document = StoredDocument {
            id,
            name: name.into(),
            kind: Kind::Pdf,
            size: 12_345,
            sha256: format!("{:064x}", id.0.as_u128()),
            page_count: 3,
            uploaded_at: START,
        };
        let stored = self.store.insert_document(scope, document.clone());
        stored.await.unwrap();
        document
    }

    pub async fn schema(&self, scope: &Scope, name: &str) -> StoredSchema {
        let schema = StoredSchema {
            id: SchemaId(self.id()),
            name: name.into(),
            description: Some("What an invoice holds".into()),
            definition: json!({"type": "object", "properties": {"z": {}, "a": {}}}),
            metadata: json!({"team": "billing"}),
            created_at: START,
            updated_at: START,
        };
        let stored = self.store.insert_schema(scope, schema.clone());
        stored.await.unwrap();
        schema
    }

    /// A job of `subtrees` subtrees with two fields each, not stored yet.
    pub fn job(&self, scope: &Scope, document: &StoredDocument, subtrees: u32) -> NewJob {
        let config = Config::parse(None, "layout").unwrap();
        self.job_of(config, scope, document, subtrees)
    }

    fn job_of(
        &self,
        config: Config,
        scope: &Scope,
        document: &StoredDocument,
        subtrees: u32,
    ) -> NewJob {
        let spec = JobSpec {
            document_id: document.id,
            document_name: document.name.clone(),
            document_sha256: document.sha256.clone(),
            schema_id: None,
            schema_name: Some("Invoice".into()),
            plan: format!("plan-of-{subtrees}"),
            config,
            warnings: Vec::new(),
            prompt_version: None,
            forecast: None,
            request_hash: None,
            callback_url: None,
            callback_secret: None,
            metadata: Metadata::default(),
            dialect: None,
            endpoint: None,
            asked: None,
            batch: None,
            operation: Operation::Extract,
            chunks: None,
            has_own_key: false,
            has_own_callback: false,
            template: None,
        };
        let plan = plan(subtrees);
        let planned: Vec<_> = plan
            .subtrees
            .iter()
            .map(|one| PlannedSubtree::from(&**one))
            .collect();
        let (view, start) = JobView::open(JobId(self.id()), spec, &planned, self.clock.now());
        NewJob {
            scope: scope.clone(),
            view,
            start,
            active_limit: 1_000,
            queue_limit: 1_000,
            plan: Arc::new(plan),
            key: None,
        }
    }

    /// A stored job with a document of its own.
    pub async fn stored(&self, scope: &Scope, subtrees: u32) -> JobId {
        let document = self.document(scope, "invoice.pdf").await;
        self.store_job(self.job(scope, &document, subtrees)).await
    }

    pub async fn store_job(&self, job: NewJob) -> JobId {
        let id = job.view.id;
        assert_eq!(self.store.create(job).await.unwrap(), Created::Stored);
        id
    }

    /// A stored job of one subtree that a worker has begun, and whose results are held back.
    pub async fn gated(&self, scope: &Scope) -> (JobId, Guard) {
        let document = self.document(scope, "invoice.pdf").await;
        let config = Config {
            review: Some(Predicate::Always(true)),
            ..Config::parse(None, "layout").unwrap()
        };
        let job = self.job_of(config, scope, &document, 1);
        let job = self.store_job(job).await;
        let claimed = self.claim("worker", 1_000).await;
        let claim = claimed.iter().find(|claim| claim.view.id == job).unwrap();
        let guard = Guard::Lease { epoch: claim.epoch };
        self.commit(job, &guard, vec![begin(), result(0)]).await;
        (job, guard)
    }

    /// A stored job that a worker has begun.
    pub async fn begun(&self, scope: &Scope, subtrees: u32) -> (JobId, Guard) {
        let job = self.stored(scope, subtrees).await;
        let claimed = self.claim("worker", 1_000).await;
        let claim = claimed.iter().find(|claim| claim.view.id == job).unwrap();
        let guard = Guard::Lease { epoch: claim.epoch };
        self.commit(job, &guard, vec![begin()]).await;
        (job, guard)
    }

    /// Leases of one minute.
    pub async fn claim(&self, owner: &str, limit: u32) -> Vec<Claimed> {
        self.store.claim(owner, LEASE, limit).await.unwrap()
    }

    pub async fn try_commit(&self, job: JobId, guard: &Guard, drafts: Vec<Draft>) -> Committed {
        let guard = guard.clone();
        let committed = self.store.commit(Commit {
            job,
            guard,
            at_sequence: None,
            drafts,
        });
        committed.await.unwrap()
    }

    pub async fn commit(&self, job: JobId, guard: &Guard, drafts: Vec<Draft>) -> JobView {
        match self.try_commit(job, guard, drafts).await {
            Committed::Stored { view, .. } => *view,
            other => panic!("{other:?}"),
        }
    }

    pub async fn view(&self, scope: &Scope, job: JobId) -> JobView {
        self.store.view(scope, job).await.unwrap().unwrap()
    }

    pub async fn page(&self, scope: &Scope, job: JobId, after: u64, limit: u32) -> LogPage {
        let page = self.store.events(scope, job, after, limit, usize::MAX);
        page.await.unwrap().unwrap()
    }

    pub async fn log(&self, scope: &Scope, job: JobId) -> Vec<StoredEvent> {
        self.page(scope, job, 0, u32::MAX).await.events
    }
}

pub fn scope() -> Scope {
    Scope::new("alice")
}

pub fn caller(scope: &Scope) -> Guard {
    Guard::Caller {
        scope: scope.clone(),
    }
}

fn plan(subtrees: u32) -> Plan {
    let subtree = |number: u32| {
        Arc::new(Subtree {
            id: format!("part-{number}"),
            path: Pointer::root().join(&format!("part{number}")),
            kind: plan::Kind::Object,
            take: Take::Whole,
            schema: json!({"type": "object"}),
            total_fields: 2,
            context: vec!["Invoice".into()],
        })
    };
    Plan {
        shells: Vec::new(),
        bound: None,
        subtrees: (0..subtrees).map(subtree).collect(),
    }
}

pub fn begin() -> Draft {
    Draft::Status {
        status: Status::Processing,
        reason: Reason::Scheduled,
        message: None,
    }
}

pub fn usage() -> Usage {
    Usage {
        provider: "layout".into(),
        model: "layout".into(),
        prompt_token_count: 10,
        total_token_count: 10,
        request_count: 1,
        ..Usage::default()
    }
}

/// A success whose value is a text of `length` characters.
pub fn result_of(ordinal: Ordinal, length: usize) -> Draft {
    let value = json!({"text": "x".repeat(length)});
    Draft::Result(ResultDraft {
        ordinal,
        subtree_id: format!("part-{ordinal}"),
        path: Pointer::root().join(&format!("part{ordinal}")),
        fields: 2,
        extracted_result: serde_json::value::to_raw_value(&value).unwrap(),
        attributions: None,
        usage: usage(),
        attempts: 1,
        duration_ms: 5,
        validation: None,
        completeness: None,
        arrays: Vec::new(),
        array_path: None,
        answer: None,
        record: None,
    })
}

pub fn result(ordinal: Ordinal) -> Draft {
    result_of(ordinal, 20)
}

pub fn error(ordinal: Ordinal) -> Draft {
    Draft::Error(ErrorDraft {
        ordinal,
        subtree_id: format!("part-{ordinal}"),
        path: Pointer::root().join(&format!("part{ordinal}")),
        fields: 2,
        fault: Fault::Timeout,
        message: "The model did not answer in time.".into(),
        usage: usage(),
        attempts: 3,
        duration_ms: 5,
        record: None,
    })
}

pub fn settled() -> Draft {
    Draft::End(Ending::Settled)
}

pub fn cancelled() -> Draft {
    Draft::End(Ending::Cancelled { reason: None })
}

pub fn whole_list() -> ListQuery {
    ListQuery {
        limit: 100,
        cursor: None,
        search: None,
    }
}

pub fn search(text: &str) -> ListQuery {
    ListQuery {
        search: Some(text.into()),
        ..whole_list()
    }
}

pub fn jobs(page: ListQuery) -> JobQuery {
    JobQuery {
        page,
        filter: JobFilter::default(),
        order: Order::default(),
    }
}
