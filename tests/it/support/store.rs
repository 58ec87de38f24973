//! Wrappers around the store of jobs: slow, failing, held up, hard of hearing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use rivulet::domain::id::{IdempotencyKey, JobId, Scope};
use rivulet::domain::job::{AnswerKey, JobView, Ordinal};
use rivulet::domain::page::ListPage;
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, JobQuery, Jobs, Kept, KeptWindow,
    Keyed, LogPage, NewJob, News, Outcome, Release, Reopen, Reopened, Snapshot, StoreError,
};
use tokio::sync::watch;

/// A store that answers late, or not at all while it is `away`.
pub struct Wrapped {
    pub inner: Arc<dyn Jobs>,
    pub delay: Duration,
    pub away: Arc<AtomicBool>,
    pub creates: Arc<Hold>,
    /// Before jobs are given to an owner.
    pub claims: Arc<Hold>,
    /// After jobs were given to an owner, and before it knows.
    pub given: Arc<Hold>,
    /// Hears nothing of other processes.
    pub is_deaf: bool,
    /// How many of the next keys that are looked for are not found, as by a read that was overtaken.
    pub blind: Arc<AtomicUsize>,
    /// The answer to the next commit is lost; the commit is made.
    pub forgetful: Arc<AtomicBool>,
}

/// A door in front of an operation. It is open until it is closed.
#[derive(Default)]
pub struct Hold {
    closed: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Hold {
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    pub fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Waits until `count` operations have come to the door.
    pub async fn arrivals(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let mut closed = self.closed.subscribe();
        closed.wait_for(|closed| !closed).await.unwrap();
    }
}

impl Wrapped {
    /// Changes nothing.
    pub fn around(inner: Arc<dyn Jobs>) -> Self {
        Self {
            inner,
            delay: Duration::ZERO,
            away: Arc::default(),
            creates: Arc::default(),
            claims: Arc::default(),
            given: Arc::default(),
            is_deaf: false,
            blind: Arc::default(),
            forgetful: Arc::default(),
        }
    }

    pub fn slow(inner: Arc<dyn Jobs>, delay: Duration) -> Arc<dyn Jobs> {
        Arc::new(Self {
            delay,
            ..Self::around(inner)
        })
    }

    /// A store in which a job is stored when `hold` lets it.
    pub fn held(inner: Arc<dyn Jobs>, hold: Arc<Hold>) -> Arc<dyn Jobs> {
        Arc::new(Self {
            creates: hold,
            ..Self::around(inner)
        })
    }

    /// Done late, but sooner than a read is answered, so that reads are overtaken.
    fn write<'a, T: Send + 'a>(&'a self, answer: Answered<'a, T>) -> Answered<'a, T> {
        async move {
            tokio::time::sleep(self.delay / 3).await;
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("planned".into()));
            }
            answer.await
        }
        .boxed()
    }

    /// Done at once and answered late: what arrives may be out of date.
    fn read<'a, T: Send + 'a>(&'a self, answer: Answered<'a, T>) -> Answered<'a, T> {
        async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("planned".into()));
            }
            let answer = answer.await;
            tokio::time::sleep(self.delay).await;
            answer
        }
        .boxed()
    }
}

impl Jobs for Wrapped {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        async move {
            self.creates.pass().await;
            self.write(self.inner.create(new)).await
        }
        .boxed()
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let owner = owner.to_owned();
        async move {
            self.claims.pass().await;
            let claimed = self.write(self.inner.claim(&owner, lease, limit)).await;
            if claimed.as_ref().is_ok_and(|claimed| !claimed.is_empty()) {
                self.given.pass().await;
            }
            claimed
        }
        .boxed()
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        self.write(self.inner.renew(owner, jobs, lease))
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        self.write(self.inner.release(job, epoch, pause, release))
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        let done = self.write(self.inner.commit(commit));
        async move {
            let done = done.await?;
            if self.forgetful.swap(false, Ordering::SeqCst) {
                return Err(StoreError::Unavailable("planned".into()));
            }
            Ok(done)
        }
        .boxed()
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        self.read(self.inner.view(scope, job))
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        let blind = self
            .blind
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if blind.is_ok() {
            return async { Ok(None) }.boxed();
        }
        self.read(self.inner.by_key(scope, key))
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        self.read(self.inner.list(scope, query))
    }

    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>> {
        self.read(self.inner.events(scope, job, after, limit, max_bytes))
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        self.read(self.inner.positions(jobs))
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        self.read(self.inner.snapshot(scope, job))
    }

    fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<Vec<Outcome>>> {
        self.read(self.inner.outcomes(scope, job, from, limit, max_bytes))
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        self.read(self.inner.answers(scope, keys))
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        self.read(self.inner.windows(scope, job, keys))
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        self.read(self.inner.plan(key))
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        self.write(self.inner.delete(scope, job))
    }

    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened> {
        self.write(self.inner.reopen(reopen))
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.write(self.inner.sweep(now, limit))
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        self.read(self.inner.held(claims))
    }

    fn news(&self) -> BoxStream<'static, News> {
        if self.is_deaf {
            return futures_util::stream::pending().boxed();
        }
        self.inner.news()
    }
}
