//! A process's way to the disk: slow, unreliable, and gone with the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use rivulet::domain::id::{DocumentId, IdempotencyKey, JobId, SchemaId, Scope};
use rivulet::domain::job::{AnswerKey, JobView, Ordinal};
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Answered, Blobs, Catalog, Claimed, Commit, Committed, Created, Deleted, Guard, JobQuery, Jobs,
    Kept, KeptWindow, Keyed, LogPage, NewJob, News, Outcome, Release, Reopen, Reopened, Snapshot,
    StoreError, StoredDocument, StoredSchema,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::client::client_of;
use super::memory::{Memory, Now};
use super::shelf::{Shelf, millis};
use super::world::{Life, World};

/// The longest that an operation lands after its caller was told that it failed.
const LATEST: u64 = 4_000;
/// The scope of what a process does before it serves. It reaches the disk at once, so that what
/// runs on threads beside the simulation stands in nobody's way.
pub const BEFORE: &str = "before";

/// How an operation goes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Refused,
    Ambiguous,
    Late(u64),
    Broken,
}

#[derive(Clone)]
pub struct Wire {
    pub world: Arc<World>,
    pub life: Arc<Life>,
    pub shelf: Arc<Shelf>,
}

impl Wire {
    fn fate(&self) -> (u64, u64, Fate) {
        let weather = &self.world.weather;
        let mut dice = self.life.dice.lock();
        let (there, back) = (1 + dice.roll(weather.way), 1 + dice.roll(weather.way));
        let mut luck = dice.roll(1_000);
        let late = dice.roll(LATEST);
        let mut is_less = |share| {
            let is_less = luck < share;
            luck = luck.saturating_sub(share);
            is_less
        };
        let fate = if self.world.is_calm() {
            Fate::Done
        } else if is_less(weather.refused) {
            Fate::Refused
        } else if is_less(weather.ambiguous) {
            Fate::Ambiguous
        } else if is_less(weather.late) {
            Fate::Late(late)
        } else if is_less(weather.broken) {
            Fate::Broken
        } else {
            Fate::Done
        };
        (there, back, fate)
    }

    /// Does `act` on the disk, unless it is lost on its way. A task of its own does it: what was
    /// sent lands whether or not anybody waits for the answer.
    fn send<T: Send + 'static>(
        &self,
        name: &'static str,
        act: impl FnOnce(&Self, &mut Memory, Now) -> Result<T, StoreError> + Send + 'static,
    ) -> Answered<'static, T> {
        let wire = self.clone();
        async move {
            let life = Arc::clone(&wire.life);
            life.awake().await;
            let (tell, told) = oneshot::channel();
            tokio::spawn(async move { wire.carry(name, act, tell).await });
            let answer = told.await;
            // A process that is frozen or dead does not hear it.
            life.awake().await;
            let answer = answer.unwrap_or_else(|_| Err(unavailable("the way is cut")));
            if answer.is_err() {
                life.trouble();
            }
            answer
        }
        .boxed()
    }

    /// Reads the disk. Who does not wait for the answer does not read.
    fn ask<T: Send + 'static>(
        &self,
        name: &'static str,
        look: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Answered<'_, T> {
        async move {
            self.life.awake().await;
            let (there, back, fate) = self.fate();
            wait(there).await;
            let answer = match fate {
                Fate::Done => self.land(name, |_, disk, _| Ok(look(disk))),
                Fate::Broken => Some(Err(StoreError::Failed("planned".into()))),
                _ => Some(Err(unavailable("refused"))),
            };
            wait(back).await;
            self.life.awake().await;
            let answer = answer.unwrap_or_else(|| Err(unavailable("the way is cut")));
            if answer.is_err() {
                self.life.trouble();
            }
            answer
        }
        .boxed()
    }

    async fn carry<T>(
        self,
        name: &'static str,
        act: impl FnOnce(&Self, &mut Memory, Now) -> Result<T, StoreError>,
        tell: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let (there, back, fate) = self.fate();
        if !matches!(fate, Fate::Done) {
            self.world
                .note(|| format!("{} {name} is {fate:?}", self.life));
        }
        wait(there).await;
        match fate {
            Fate::Refused => drop(tell.send(Err(unavailable("refused")))),
            Fate::Broken => drop(tell.send(Err(StoreError::Failed("planned".into())))),
            Fate::Late(late) => {
                let _ = tell.send(Err(unavailable("late")));
                wait(late).await;
                let _ = self.land(name, act);
            }
            Fate::Done | Fate::Ambiguous => {
                let landed = self.land(name, act);
                wait(back).await;
                let answer = match (landed, fate) {
                    (None, _) => return,
                    (Some(Ok(_)), Fate::Ambiguous) => Err(unavailable("ambiguous")),
                    (Some(answer), _) => answer,
                };
                let _ = tell.send(answer);
            }
        }
    }

    /// `None` when the process died with the operation in its hands, on a disk of its own.
    fn land<T>(
        &self,
        name: &str,
        act: impl FnOnce(&Self, &mut Memory, Now) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let (world, node) = (&self.world, self.life.node);
        if world.nodes.len() == 1 && self.life.is_dead() {
            return None;
        }
        if world.is_unreachable(node) {
            world.note(|| format!("{} {name} finds no store", self.life));
            return Some(Err(unavailable("away")));
        }
        let disk = Arc::clone(&world.disk);
        let mut disk = disk.lock();
        Some(act(self, &mut disk, world.now(node)))
    }

    fn tell_of(&self, job: JobId, sequence: u64) {
        self.world.spread(News::Event { job, sequence });
    }

    fn committed(&self, disk: &mut Memory, commit: Commit, now: Now) -> Committed {
        let (job, guard) = (commit.job, commit.guard.clone());
        let done = disk.commit(commit, now);
        let world = &self.world;
        world.note(|| {
            let (life, done) = (&self.life, brief(&done));
            format!("{life} commit {} {guard:?} {done}", short(job))
        });
        if let Committed::Stored { view, .. } = &done {
            let mut ledger = world.ledger.lock();
            let held = ledger.commit(self.life.number, job, &guard);
            drop(ledger);
            world.hold(held, || short(job));
            world.look_at(disk, job);
            self.tell_of(job, view.sequence);
        }
        done
    }
}

async fn wait(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.into())
}

/// The part of an id that differs.
pub fn short(job: JobId) -> String {
    format!("job-{:x}", job.0.as_u128() & 0xffff)
}

fn brief(done: &Committed) -> String {
    match done {
        Committed::Stored { view, events, .. } => {
            let kinds: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
            format!("to {}: {}", view.sequence, kinds.join(" "))
        }
        other => format!("{other:?}"),
    }
}

impl Jobs for Wire {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.send("create", move |wire, disk, _| {
            let (job, client) = (new.view.id, client_of(&new.view.spec.config));
            let created = disk.create(new)?;
            let world = &wire.world;
            world.note(|| {
                let job = short(job);
                format!("{} create {job} of client {client}: {created:?}", wire.life)
            });
            if created == Created::Stored {
                world
                    .ledger
                    .lock()
                    .stored
                    .entry(client)
                    .or_default()
                    .push(job);
                world.look_at(disk, job);
                world.spread(News::Work);
            }
            Ok(created)
        })
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let owner = owner.to_owned();
        let claim = self.send("claim", move |wire, disk, now| {
            let claimed = disk.claim(&owner, now, millis(lease), limit);
            for job in &claimed {
                wire.world.note(|| {
                    let id = short(job.view.id);
                    let (epoch, crashes) = (job.epoch, job.crashes);
                    format!(
                        "{} claims {id}, epoch {epoch}, crashes {crashes}",
                        wire.life
                    )
                });
            }
            for job in &claimed {
                wire.world.is_free(job.view.id);
            }
            let mut ledger = wire.world.ledger.lock();
            ledger.claim(wire.life.number, &claimed);
            Ok(claimed)
        });
        async move {
            let claimed = claim.await?;
            let mut ledger = self.world.ledger.lock();
            ledger.learn(self.life.number, &claimed);
            Ok(claimed)
        }
        .boxed()
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        let (owner, jobs) = (owner.to_owned(), jobs.to_vec());
        self.send("renew", move |_, disk, now| {
            disk.renew(&owner, &jobs, now, millis(lease));
            Ok(())
        })
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        self.send("release", move |wire, disk, now| {
            let is_free = disk.release(job, epoch, now, millis(pause), release);
            wire.world.note(|| {
                let job = short(job);
                format!("{} releases {job}, {release:?}: {is_free}", wire.life)
            });
            if is_free {
                wire.world.ledger.lock().release(job);
                wire.world.spread(News::Work);
            }
            Ok(())
        })
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        let (job, guard) = (commit.job, commit.guard.clone());
        let done = self.send("commit", move |wire, disk, now| {
            Ok(wire.committed(disk, commit, now))
        });
        async move {
            let done = done.await;
            if matches!(done, Err(StoreError::Failed(_))) {
                self.world.ledger.lock().give_up(self.life.number, job);
            }
            let done = done?;
            if let Guard::Lease { epoch } = guard {
                let mut ledger = self.world.ledger.lock();
                ledger.hear(self.life.number, job, epoch, &done);
            }
            Ok(done)
        }
        .boxed()
    }

    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened> {
        self.send("reopen", move |wire, disk, now| {
            let (job, world) = (reopen.job, &wire.world);
            let reopened = disk.reopen(reopen, now);
            let is_open = matches!(reopened, Reopened::Stored { .. });
            world.note(|| format!("{} reopens {}: {is_open}", wire.life, short(job)));
            if let Reopened::Stored { view, .. } = &reopened {
                world.ledger.lock().reopen(job);
                world.look_at(disk, job);
                wire.tell_of(job, view.sequence);
                world.spread(News::Work);
            }
            Ok(reopened)
        })
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        let scope = scope.clone();
        self.ask("view", move |disk| disk.view(&scope, job))
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        let (scope, key) = (scope.clone(), key.clone());
        self.ask("by_key", move |disk| disk.by_key(&scope, &key))
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        let scope = scope.clone();
        self.ask("list", move |disk| disk.list(&scope, &query))
    }

    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>> {
        let scope = scope.clone();
        self.ask("events", move |disk| {
            disk.events(&scope, job, after, limit, max_bytes)
        })
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        let jobs = jobs.to_vec();
        self.ask("positions", move |disk| disk.positions(&jobs))
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        let scope = scope.clone();
        self.ask("snapshot", move |disk| disk.snapshot(&scope, job))
    }

    fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<Vec<Outcome>>> {
        let scope = scope.clone();
        let most = (limit, max_bytes);
        self.ask("outcomes", move |disk| {
            disk.outcomes(&scope, job, from, most)
        })
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        self.send("answers", move |_, disk, _| Ok(disk.answers(&scope, &keys)))
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        self.send("windows", move |_, disk, _| {
            Ok(disk.windows(&scope, job, &keys))
        })
    }

    fn is_shared(&self) -> bool {
        self.world.nodes.len() > 1
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        let claims = claims.to_vec();
        self.send("held", move |_, disk, _| Ok(disk.held(&claims)))
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        let key = key.to_owned();
        self.ask("plan", move |disk| disk.plan(&key))
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        self.send("delete", move |wire, disk, _| {
            let row = disk.jobs.get(&job).cloned();
            let deleted = disk.delete(&scope, job);
            let world = &wire.world;
            world.note(|| format!("{} deletes {}: {deleted:?}", wire.life, short(job)));
            if let Some(row) = row.filter(|_| deleted == Deleted::Gone) {
                world.hold(super::law::is_lawful(&row), || format!("job {job}"));
            }
            Ok(deleted)
        })
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.send("sweep", move |_, disk, _| Ok(disk.sweep(now, limit)))
    }

    fn news(&self) -> BoxStream<'static, News> {
        if self.world.nodes.len() == 1 {
            return futures_util::stream::empty().boxed();
        }
        let mut told = self.life.listen();
        async_stream::stream! {
            while let Some(news) = told.recv().await {
                yield news;
            }
        }
        .boxed()
    }
}

/// Documents are there from the beginning; the rest of the catalog is nobody's matter here.
impl Catalog for Wire {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()> {
        assert_eq!(scope.as_str(), BEFORE);
        self.shelf.insert_document(scope, document)
    }

    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>> {
        let scope = scope.clone();
        self.ask("document", move |disk| disk.document(&scope, id))
    }

    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>> {
        self.shelf.documents(scope, query)
    }

    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>> {
        self.shelf.documents_before(uploaded, limit)
    }

    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted> {
        self.shelf.delete_document(scope, id)
    }

    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool> {
        self.shelf.is_blob_needed(sha256)
    }

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()> {
        self.shelf.insert_schema(scope, schema)
    }

    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>> {
        self.shelf.schema(scope, id)
    }

    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>> {
        self.shelf.schemas(scope, query)
    }

    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>> {
        self.shelf.schema_at(scope, address)
    }

    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool> {
        self.shelf.update_schema(scope, schema)
    }

    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted> {
        self.shelf.delete_schema(scope, id)
    }

    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32> {
        self.shelf.delete_schemas_before(updated, limit)
    }
}

/// Written before a process serves, and read by nobody after.
impl Blobs for Wire {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()> {
        self.shelf.put(key, bytes)
    }

    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>> {
        let key = key.to_owned();
        self.ask("get", move |disk| disk.blobs.get(&key).cloned())
    }

    fn delete(&self, key: &str) -> Answered<'_, ()> {
        Blobs::delete(&*self.shelf, key)
    }
}
