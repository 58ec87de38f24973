//! Callbacks on demand, and in the words of a dialect.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::ports::{About, Due};
use super::{Engine, Inner, Wanted, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::page::ListQuery;
use crate::domain::webhook::notice_to;

/// Deliveries about one job after which no more are put into the outbox by hand.
const MAX_BY_HAND: u64 = 50;
/// How long the first try is waited for.
const FIRST_TRY: Duration = Duration::from_secs(10);
/// How often it is looked for where another process may make it.
const LOOK: Duration = Duration::from_secs(1);

/// What the callback of an ended job is told, JSON. The same job must give the same text.
pub type CallbackWords = fn(Engine, Scope, JobView) -> BoxFuture<'static, Result<String, Error>>;

/// How dialects word callbacks, by name.
#[derive(Default)]
pub(super) struct Words(Mutex<Vec<(&'static str, CallbackWords)>>);

impl Engine {
    /// Has callbacks of a dialect's jobs told in its own words, for jobs that ask for it.
    pub fn word_callbacks(&self, dialect: &'static str, words: CallbackWords) {
        self.inner.callback_words.0.lock().push((dialect, words));
    }

    /// Tells the end of a job to `url` now, or where there is none to its callback URL; where there
    /// is none either, a try is recorded and nothing is sent. Returns once the first try was made,
    /// or after ten seconds: the delivery goes on.
    ///
    /// Refused with `result_not_ready`, `review_required`, `review_rejected`, `result_expired`,
    /// `callback_url_forbidden` and `invalid_request`.
    pub async fn deliver(&self, scope: &Scope, job: JobId, url: Option<&str>) -> Result<(), Error> {
        let inner = &self.inner;
        inner.refuse_new_work()?;
        let view = self.job(scope, job).await?;
        inner.refuse_unready(&view, Wanted::Final)?;
        let url = match url {
            Some(url) => self.checked_callback(url)?,
            None => view.spec.callback_url.clone().unwrap_or_default(),
        };
        let about = self.job_deliveries(scope, job, one()).await?;
        if about.total_count >= MAX_BY_HAND {
            let message = format!(
                "Job {job} has {MAX_BY_HAND} deliveries, the limit. GET its result instead."
            );
            return Err(Error::new(Code::InvalidRequest, message));
        }
        let id = inner.clock.mint();
        let notice = notice_to(scope, &view, &url, id).ok_or_else(Error::internal)?;
        if !stored(inner.outbox.post(scope, notice, &view).await)? {
            return Err(no_job(job));
        }
        inner.posted.notify_one();
        self.first_try(scope, job, id).await
    }

    async fn first_try(&self, scope: &Scope, job: JobId, id: Uuid) -> Result<(), Error> {
        let inner = &self.inner;
        let due = Instant::now() + FIRST_TRY;
        loop {
            // Registered before looking: a try in between then wakes us.
            let tried = inner.tried.notified();
            let all = ListQuery {
                limit: MAX_BY_HAND as u32,
                ..one()
            };
            let about = inner.outbox.deliveries(scope, About::Job(job), all);
            let about = stored(about.await)?.items;
            let was_tried = about.iter().any(|one| one.id == id && one.attempts > 0);
            if was_tried || Instant::now() >= due || inner.is_draining() {
                return Ok(());
            }
            let _ = timeout_at(due.min(Instant::now() + LOOK), tried).await;
        }
    }
}

fn one() -> ListQuery {
    ListQuery {
        limit: 1,
        cursor: None,
        search: None,
    }
}

impl Inner {
    /// What is sent: none of a job that is gone.
    pub(super) async fn worded(self: &Arc<Self>, due: &Due) -> Result<Option<String>, Error> {
        if due.webhook_id.is_some() {
            return Ok(Some(due.body.clone()));
        }
        let Some(view) = stored(self.jobs.view(&due.scope, due.job).await)? else {
            return Ok(None);
        };
        if !view.spec.has_own_callback {
            return Ok(Some(due.body.clone()));
        }
        let known = self.callback_words.0.lock().clone();
        let dialect = view.spec.dialect.as_deref();
        let known = known.into_iter().find(|(name, _)| Some(*name) == dialect);
        // Not there yet where the server has only begun: it is sent a little later.
        let (_, words) = known.ok_or_else(Error::internal)?;
        let engine = Engine {
            inner: Arc::clone(self),
        };
        words(engine, due.scope.clone(), view).await.map(Some)
    }
}
