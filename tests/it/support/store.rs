//! Wrappers around the store of jobs: slow, failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::JobView;
use rivulet::domain::page::ListPage;
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, JobQuery, Jobs, LogPage, NewJob,
    Snapshot, StoreError,
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

    fn wrap<'a, T: Send + 'a>(&'a self, answer: Answered<'a, T>) -> Answered<'a, T> {
        async move {
            // Before and after, so that what is answered may be out of date already.
            tokio::time::sleep(self.delay / 2).await;
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("planned".into()));
            }
            let answer = answer.await;
            tokio::time::sleep(self.delay / 2).await;
            answer
        }
        .boxed()
    }
}

impl Jobs for Wrapped {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.wrap(self.inner.create(new))
    }

    fn claim(
        &self,
        owner: &str,
        now: Time,
        lease_until: Time,
        limit: u32,
    ) -> Answered<'_, Vec<Claimed>> {
        self.wrap(self.inner.claim(owner, now, lease_until, limit))
    }

    fn renew(&self, owner: &str, lease_until: Time) -> Answered<'_, ()> {
        self.wrap(self.inner.renew(owner, lease_until))
    }

    fn release(&self, job: JobId, epoch: u64, claimable_at: Time) -> Answered<'_, ()> {
        self.wrap(self.inner.release(job, epoch, claimable_at))
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        self.wrap(self.inner.commit(commit))
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        self.wrap(self.inner.view(scope, job))
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        self.wrap(self.inner.list(scope, query))
    }

    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>> {
        self.wrap(self.inner.events(scope, job, after, limit, max_bytes))
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        self.wrap(self.inner.snapshot(scope, job))
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        self.wrap(self.inner.plan(key))
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        self.wrap(self.inner.delete(scope, job))
    }
}
