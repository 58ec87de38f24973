//! Named points around every write of the stores, at one of which the process can be made to die.
//!
//! A point is `PORT.WRITE.before`, where nothing was done, or `PORT.WRITE.after`, where it is on
//! disk and nobody was told.

mod definitions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use rivulet::domain::id::{DocumentId, IdempotencyKey, JobId, SchemaId, Scope, WebhookId};
use rivulet::domain::job::{AnswerKey, Draft, JobView, Ordinal};
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::domain::webhook::{Notice, Secret};
use rivulet::engine::Outside;
use rivulet::engine::ports::{
    About, Answered, Attempt, Blobs, Catalog, Claimed, Commit, Committed, Created, Deleted,
    Delivery, Due, Guard, Hold, JobQuery, Jobs, Kept, KeptWindow, Keyed, Keys, LogPage, NewJob,
    News, Outbox, Outcome, Release, Reopen, Reopened, SECRET_BYTES, Snapshot, StoreError,
    StoredDocument, StoredKey, StoredSchema, StoredWebhook,
};

/// Every write, a commit by what it is about.
pub const WRITES: [&str; 25] = [
    "blobs.delete",
    "blobs.put",
    "catalog.delete_document",
    "catalog.delete_schema",
    "catalog.delete_schemas_before",
    "catalog.insert_document",
    "catalog.insert_schema",
    "catalog.update_schema",
    "jobs.cancel",
    "jobs.claim",
    "jobs.create",
    "jobs.delete",
    "jobs.end",
    "jobs.outcome",
    "jobs.release",
    "jobs.renew",
    "jobs.reopen",
    "jobs.status",
    "jobs.sweep",
    "jobs.window",
    "keys.insert_key",
    "keys.revoke_key",
    "keys.secret",
    "outbox.record",
    "outbox.take_due",
];

/// How often each point was reached, and where to die.
pub struct Points {
    /// A point, and the how manieth time it is reached.
    fatal: Option<(String, u32)>,
    hits: Mutex<BTreeMap<String, u32>>,
    counts: AtomicBool,
}

impl Points {
    /// `POINT:N`, or nothing.
    pub fn new(fatal: &str) -> Arc<Self> {
        let fatal = fatal.split_once(':');
        Arc::new(Self {
            fatal: fatal.map(|(point, hit)| (point.to_owned(), hit.parse().unwrap())),
            hits: Mutex::default(),
            counts: AtomicBool::new(false),
        })
    }

    /// What happened until now does not count.
    pub fn begin(&self) {
        self.counts.store(true, Ordering::SeqCst);
    }

    pub fn hits(&self) -> BTreeMap<String, u32> {
        self.hits.lock().clone()
    }

    fn reach(&self, write: &str, side: &str) {
        assert!(WRITES.contains(&write), "{write} is not in the list");
        if !self.counts.load(Ordering::SeqCst) {
            return;
        }
        let point = format!("{write}.{side}");
        let mut hits = self.hits.lock();
        let hit = hits.entry(point.clone()).or_insert(0);
        *hit += 1;
        if self.fatal.as_ref() == Some(&(point, *hit)) {
            // While the lock is held: nobody gets past another point meanwhile.
            std::process::abort();
        }
    }

    async fn around<T>(&self, write: &str, answer: Answered<'_, T>) -> Result<T, StoreError> {
        self.reach(write, "before");
        let answer = answer.await;
        if answer.is_ok() {
            self.reach(write, "after");
        }
        answer
    }
}

/// Puts points around all that is stored.
pub fn wrapped(points: &Arc<Points>, outside: Outside) -> Outside {
    let points = || Arc::clone(points);
    Outside {
        jobs: Arc::new(Pointed(outside.jobs, points())),
        catalog: Arc::new(Pointed(outside.catalog, points())),
        keys: Arc::new(Pointed(outside.keys, points())),
        outbox: Arc::new(Pointed(outside.outbox, points())),
        blobs: Arc::new(Pointed(outside.blobs, points())),
        ..outside
    }
}

struct Pointed<T: ?Sized>(Arc<T>, Arc<Points>);

impl<P: ?Sized + Send + Sync> Pointed<P> {
    fn write<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        answer: Answered<'a, T>,
    ) -> Answered<'a, T> {
        self.1.around(name, answer).boxed()
    }
}

fn about(commit: &Commit) -> &'static str {
    let has = |is: fn(&Draft) -> bool| commit.drafts.iter().any(is);
    if matches!(commit.guard, Guard::Caller { .. }) {
        "jobs.cancel"
    } else if has(|draft| matches!(draft, Draft::End(_))) {
        "jobs.end"
    } else if has(|draft| matches!(draft, Draft::Result(_) | Draft::Error(_))) {
        "jobs.outcome"
    } else if has(|draft| matches!(draft, Draft::Window(_))) {
        "jobs.window"
    } else {
        "jobs.status"
    }
}

impl Jobs for Pointed<dyn Jobs> {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.write("jobs.create", self.0.create(new))
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let claim = self.0.claim(owner, lease, limit);
        async move {
            self.1.reach("jobs.claim", "before");
            let claimed = claim.await;
            // With nothing claimed it was no write.
            if claimed.as_ref().is_ok_and(|claimed| !claimed.is_empty()) {
                self.1.reach("jobs.claim", "after");
            }
            claimed
        }
        .boxed()
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        let renewed = self.0.renew(owner, jobs, lease);
        if jobs.is_empty() {
            return renewed;
        }
        self.write("jobs.renew", renewed)
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        self.write("jobs.release", self.0.release(job, epoch, pause, release))
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        self.write(about(&commit), self.0.commit(commit))
    }

    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened> {
        self.write("jobs.reopen", self.0.reopen(reopen))
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        self.0.answers(scope, keys)
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        self.0.held(claims)
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        self.0.view(scope, job)
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        self.0.by_key(scope, key)
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        self.0.list(scope, query)
    }

    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>> {
        self.0.events(scope, job, after, limit, max_bytes)
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        self.0.positions(jobs)
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        self.0.snapshot(scope, job)
    }

    fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<Vec<Outcome>>> {
        self.0.outcomes(scope, job, from, limit, max_bytes)
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        self.0.windows(scope, job, keys)
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        self.0.plan(key)
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        self.write("jobs.delete", self.0.delete(scope, job))
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.write("jobs.sweep", self.0.sweep(now, limit))
    }

    fn news(&self) -> BoxStream<'static, News> {
        self.0.news()
    }
}

impl Catalog for Pointed<dyn Catalog> {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()> {
        let inserted = self.0.insert_document(scope, document);
        self.write("catalog.insert_document", inserted)
    }

    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>> {
        self.0.document(scope, id)
    }

    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>> {
        self.0.documents(scope, query)
    }

    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>> {
        self.0.documents_before(uploaded, limit)
    }

    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted> {
        let deleted = self.0.delete_document(scope, id);
        self.write("catalog.delete_document", deleted)
    }

    fn hold_bytes(&self, sha256: &str, alone: bool) -> Answered<'_, Hold> {
        self.0.hold_bytes(sha256, alone)
    }

    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool> {
        self.0.is_blob_needed(sha256)
    }

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()> {
        let inserted = self.0.insert_schema(scope, schema);
        self.write("catalog.insert_schema", inserted)
    }

    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>> {
        self.0.schema(scope, id)
    }

    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>> {
        self.0.schemas(scope, query)
    }

    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>> {
        self.0.schema_at(scope, address)
    }

    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool> {
        let updated = self.0.update_schema(scope, schema);
        self.write("catalog.update_schema", updated)
    }

    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted> {
        let deleted = self.0.delete_schema(scope, id);
        self.write("catalog.delete_schema", deleted)
    }

    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32> {
        let deleted = self.0.delete_schemas_before(updated, limit);
        self.write("catalog.delete_schemas_before", deleted)
    }
}

impl Keys for Pointed<dyn Keys> {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>> {
        self.0.key(id)
    }

    fn keys(&self) -> Answered<'_, Vec<StoredKey>> {
        self.0.keys()
    }

    fn has_keys(&self) -> Answered<'_, bool> {
        self.0.has_keys()
    }

    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool> {
        self.write("keys.insert_key", self.0.insert_key(key))
    }

    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>> {
        self.write("keys.revoke_key", self.0.revoke_key(id, at))
    }

    fn limit_key(&self, id: &str, limit: Option<u32>) -> Answered<'_, Option<StoredKey>> {
        self.write("keys.limit_key", self.0.limit_key(id, limit))
    }

    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]> {
        self.write("keys.secret", self.0.secret(name, fresh))
    }
}

impl Outbox for Pointed<dyn Outbox> {
    fn insert_webhook(
        &self,
        scope: &Scope,
        webhook: StoredWebhook,
        limit: u32,
    ) -> Answered<'_, bool> {
        self.0.insert_webhook(scope, webhook, limit)
    }

    fn webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, Option<StoredWebhook>> {
        self.0.webhook(scope, id)
    }

    fn webhooks(&self, scope: &Scope) -> Answered<'_, Vec<StoredWebhook>> {
        self.0.webhooks(scope)
    }

    fn update_webhook(&self, scope: &Scope, webhook: StoredWebhook) -> Answered<'_, bool> {
        self.0.update_webhook(scope, webhook)
    }

    fn rotate_secret(
        &self,
        scope: &Scope,
        id: WebhookId,
        fresh: Secret,
        old_until: Time,
    ) -> Answered<'_, Option<StoredWebhook>> {
        self.0.rotate_secret(scope, id, fresh, old_until)
    }

    fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, bool> {
        self.0.delete_webhook(scope, id)
    }

    fn post(&self, scope: &Scope, notice: Notice, job: &JobView) -> Answered<'_, bool> {
        self.0.post(scope, notice, job)
    }

    fn deliveries(
        &self,
        scope: &Scope,
        about: About,
        page: ListQuery,
    ) -> Answered<'_, ListPage<Delivery>> {
        self.0.deliveries(scope, about, page)
    }

    fn take_due(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: Vec<(String, u32)>,
    ) -> Answered<'_, Vec<Due>> {
        let taken = self.0.take_due(lease, limit, each, busy);
        async move {
            self.1.reach("outbox.take_due", "before");
            let taken = taken.await;
            // With nothing taken it was no write.
            if taken.as_ref().is_ok_and(|taken| !taken.is_empty()) {
                self.1.reach("outbox.take_due", "after");
            }
            taken
        }
        .boxed()
    }

    fn record(&self, attempt: Attempt) -> Answered<'_, ()> {
        self.write("outbox.record", self.0.record(attempt))
    }
}

impl Blobs for Pointed<dyn Blobs> {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()> {
        self.write("blobs.put", self.0.put(key, bytes))
    }

    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>> {
        self.0.get(key)
    }

    fn delete(&self, key: &str) -> Answered<'_, ()> {
        self.write("blobs.delete", self.0.delete(key))
    }

    fn own_keys(&self) -> BoxStream<'_, Result<String, StoreError>> {
        self.0.own_keys()
    }
}
