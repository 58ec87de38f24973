//! The disk behind the engine's ports, as a store that never fails: what the conformance suite
//! holds against the real ones.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rivulet::domain::id::{DocumentId, IdempotencyKey, JobId, SchemaId, Scope};
use rivulet::domain::job::{AnswerKey, JobView, Ordinal};
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Answered, Blobs, Catalog, Claimed, Clock, Commit, Committed, Created, Deleted, JobQuery, Jobs,
    Kept, KeptWindow, Keyed, Keys, LogPage, NewJob, Outcome, Release, Reopen, Reopened,
    SECRET_BYTES, Snapshot, StoredDocument, StoredKey, StoredSchema,
};

use super::memory::{Memory, Now};

pub type Disk = Arc<Mutex<Memory>>;

pub struct Shelf {
    pub disk: Disk,
    pub clock: Arc<dyn Clock>,
}

/// Milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

impl Shelf {
    /// A store of a process that has the disk for itself.
    pub fn open(disk: Disk, clock: Arc<dyn Clock>) -> Self {
        disk.lock().clear_leases();
        Self { disk, clock }
    }

    fn now(&self) -> Now {
        let (wall, lease) = (self.clock.now(), self.clock.now());
        Now { wall, lease }
    }

    pub(super) fn done<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Memory) -> T,
    ) -> Answered<'_, T> {
        ready(Ok(act(&mut self.disk.lock()))).boxed()
    }
}

impl Jobs for Shelf {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        ready(self.disk.lock().create(new)).boxed()
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let now = self.now();
        self.done(|disk| disk.claim(owner, now, millis(lease), limit))
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        let now = self.now();
        self.done(|disk| disk.renew(owner, jobs, now, millis(lease)))
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        let now = self.now();
        self.done(|disk| {
            disk.release(job, epoch, now, millis(pause), release);
        })
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        let now = self.now();
        self.done(|disk| disk.commit(commit, now))
    }

    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened> {
        let now = self.now();
        self.done(|disk| disk.reopen(reopen, now))
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        self.done(|disk| disk.view(scope, job))
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        self.done(|disk| disk.by_key(scope, key))
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        self.done(|disk| disk.list(scope, &query))
    }

    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>> {
        self.done(|disk| disk.events(scope, job, after, limit, max_bytes))
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        self.done(|disk| disk.positions(jobs))
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        self.done(|disk| disk.snapshot(scope, job))
    }

    fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<Vec<Outcome>>> {
        self.done(|disk| disk.outcomes(scope, job, from, (limit, max_bytes)))
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        self.done(|disk| disk.answers(scope, keys))
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        self.done(|disk| disk.held(claims))
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        self.done(|disk| disk.windows(scope, job, keys))
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        self.done(|disk| disk.plan(key))
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        self.done(|disk| disk.delete(scope, job))
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.done(|disk| disk.sweep(now, limit))
    }
}

impl Catalog for Shelf {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()> {
        ready(self.disk.lock().insert_document(scope, document)).boxed()
    }

    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>> {
        self.done(|disk| disk.document(scope, id))
    }

    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>> {
        self.done(|disk| disk.documents(scope, &query))
    }

    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>> {
        self.done(|disk| disk.documents_before(uploaded, limit))
    }

    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted> {
        self.done(|disk| disk.delete_document(scope, id))
    }

    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool> {
        self.done(|disk| disk.is_blob_needed(sha256))
    }

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()> {
        self.done(|disk| disk.insert_schema(scope, schema))
    }

    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>> {
        self.done(|disk| disk.schema(scope, id))
    }

    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>> {
        self.done(|disk| disk.schemas(scope, &query))
    }

    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>> {
        self.done(|disk| disk.schema_at(scope, address))
    }

    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool> {
        self.done(|disk| disk.update_schema(scope, schema))
    }

    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted> {
        self.done(|disk| disk.delete_schema(scope, id))
    }

    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32> {
        self.done(|disk| disk.delete_schemas_before(updated, limit))
    }
}

impl Keys for Shelf {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>> {
        self.done(|disk| disk.api_keys.get(id).cloned())
    }

    fn keys(&self) -> Answered<'_, Vec<StoredKey>> {
        self.done(|disk| {
            let mut keys: Vec<_> = disk.api_keys.values().cloned().collect();
            keys.sort_by_key(|key| (key.created_at, key.id.clone()));
            keys
        })
    }

    fn has_keys(&self) -> Answered<'_, bool> {
        self.done(|disk| !disk.api_keys.is_empty())
    }

    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool> {
        self.done(|disk| {
            let is_free = !disk.api_keys.contains_key(&key.id);
            disk.api_keys.entry(key.id.clone()).or_insert(key);
            is_free
        })
    }

    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>> {
        self.done(|disk| {
            let key = disk.api_keys.get_mut(id)?;
            key.revoked_at.get_or_insert(at);
            Some(key.clone())
        })
    }

    fn limit_key(&self, id: &str, limit: Option<u32>) -> Answered<'_, Option<StoredKey>> {
        self.done(|disk| {
            let key = disk.api_keys.get_mut(id)?;
            key.max_active_jobs = limit;
            Some(key.clone())
        })
    }

    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]> {
        self.done(|disk| *disk.secrets.entry(name.to_owned()).or_insert(fresh))
    }
}

impl Blobs for Shelf {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()> {
        self.done(|disk| drop(disk.blobs.insert(key.to_owned(), bytes)))
    }

    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>> {
        self.done(|disk| disk.blobs.get(key).cloned())
    }

    fn delete(&self, key: &str) -> Answered<'_, ()> {
        self.done(|disk| drop(disk.blobs.remove(key)))
    }
}
