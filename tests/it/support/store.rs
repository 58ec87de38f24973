//! Wrappers around the store of jobs: slow, failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::JobView;
use rivulet::domain::page::ListPage;
use rivulet::domain::plan::Plan;
use rivulet::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, JobQuery, Jobs, LogPage, NewJob, News,
    Release, Snapshot, StoreError,
};

/// A store that answers late, or not at all while it is `away`.
pub struct Wrapped {
    pub inner: Arc<dyn Jobs>,
    pub delay: Duration,
    pub away: Arc<AtomicBool>,
}

impl Wrapped {
    pub fn slow(inner: Arc<dyn Jobs>, delay: Duration) -> Arc<dyn Jobs> {
        Arc::new(Self {
            inner,
            delay,
            away: Arc::default(),
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
        self.write(self.inner.create(new))
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        self.write(self.inner.claim(owner, lease, limit))
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
        self.write(self.inner.commit(commit))
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        self.read(self.inner.view(scope, job))
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

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        self.read(self.inner.snapshot(scope, job))
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        self.read(self.inner.plan(key))
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        self.write(self.inner.delete(scope, job))
    }

    fn news(&self) -> BoxStream<'static, News> {
        self.inner.news()
    }
}
