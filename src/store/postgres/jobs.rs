//! `Jobs` in PostgreSQL.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use futures_util::try_join;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::Postgres;
use super::connection::{Param, late};
use super::filter::Matching;
use super::page::Listing;
use super::rows::{self, JOBS, VIEW};
use crate::domain::id::{IdempotencyKey, JobId, Scope};
use crate::domain::job::{AnswerKey, JobView, Ordinal};
use crate::domain::page::ListPage;
use crate::domain::plan::Plan;
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, Guard, JobQuery, Jobs, Kept,
    KeptWindow, Keyed, LogPage, NewJob, News, Outcome, Release, Reopen, Reopened, Snapshot,
    StoreError,
};
use crate::store::Search;

/// Sent in one go: whoever deletes waits for whoever writes to the log, and the other way round.
const LOCK: &str = "SELECT ended_ms IS NULL FROM jobs WHERE id = $1 AND scope = $2 FOR UPDATE";
const DELETE: &str = "WITH gone AS ( \
     DELETE FROM jobs WHERE id = $1 AND scope = $2 AND ended_ms IS NOT NULL RETURNING id), \
     logged AS (DELETE FROM events USING gone WHERE events.job_id = gone.id), \
     settled AS (DELETE FROM outcomes USING gone WHERE outcomes.job_id = gone.id), \
     read AS (DELETE FROM windows USING gone WHERE windows.job_id = gone.id), \
     told AS (DELETE FROM outbox USING gone WHERE outbox.job_id = gone.id) \
     DELETE FROM specs USING gone WHERE specs.job_id = gone.id RETURNING specs.plan";
/// Jobs that are being made with the plan are waited for, and then seen.
const LOCK_PLAN: &str = "SELECT 1 FROM plans WHERE key = $1 FOR UPDATE";
const DELETE_PLAN: &str = "DELETE FROM plans WHERE key = $1 \
     AND NOT EXISTS (SELECT 1 FROM specs WHERE specs.plan = $1)";

impl Jobs for Postgres {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.soon(self.creates.put(new)).boxed()
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let owner = owner.to_owned();
        async move { self.claim_waiting(&owner, lease, limit).await }.boxed()
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        let (owner, jobs) = (owner.to_owned(), jobs.to_vec());
        async move { self.keep_leases(&owner, &jobs, lease).await }.boxed()
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        self.give_back(job, epoch, pause, release).boxed()
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        // An owner has nothing better to do than to wait; a caller has.
        let is_caller = matches!(commit.guard, Guard::Caller { .. });
        let put = self.commits.put(commit);
        if is_caller {
            self.soon(put).boxed()
        } else {
            put.boxed()
        }
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {VIEW} FROM {JOBS} WHERE jobs.id = $1 AND jobs.scope = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&job.0, &scope.as_str()]).await?;
            rows.first().map(rows::view).transpose()
        }
        .boxed()
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        let (scope, key) = (scope.clone(), key.clone());
        async move {
            let sql = format!(
                "SELECT {VIEW}, idempotency.request_hash FROM {JOBS} \
                 JOIN idempotency ON idempotency.job_id = jobs.id \
                 WHERE idempotency.scope = $1 AND idempotency.key = $2"
            );
            let connection = self.pool.connection().await?;
            let key: [Param; 2] = [&scope.as_str(), &key.as_str()];
            let rows = connection.query(&sql, &key).await?;
            let keyed = |row: &Row| {
                Ok(Keyed {
                    request_hash: row.try_get(9)?,
                    view: rows::view(row)?,
                })
            };
            rows.first().map(keyed).transpose()
        }
        .boxed()
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        let scope = scope.clone();
        async move {
            let search = Search::of(query.page.search.as_deref());
            let matching = Matching::of(&scope, search, &query.filter)?;
            let params: Vec<Param> = matching
                .params
                .iter()
                .map(|param| &**param as Param)
                .collect();
            Listing {
                columns: VIEW,
                from: JOBS,
                matching: &matching.sql,
                params: &params,
                id: "jobs.id",
                id_of: |view: &JobView| view.id.0,
                read: rows::view,
            }
            .page(&self.pool, &query.page)
            .await
        }
        .boxed()
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
        async move { self.log_page(&scope, job, after, limit, max_bytes).await }.boxed()
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        let jobs: Vec<_> = jobs.iter().map(|job| job.0).collect();
        async move {
            let sql = "SELECT id, sequence FROM jobs WHERE id = ANY($1)";
            let connection = self.pool.connection().await?;
            let rows = connection.query(sql, &[&jobs]).await?;
            let position = |row: &Row| {
                let sequence: i64 = row.try_get(1)?;
                Ok((JobId(row.try_get(0)?), sequence as u64))
            };
            rows.iter().map(position).collect()
        }
        .boxed()
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        let scope = scope.clone();
        async move { self.read_snapshot(&scope, job).await }.boxed()
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
        async move { self.outcomes_from(&scope, job, from, most).await }.boxed()
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        async move { self.read_answers(&scope, &keys).await }.boxed()
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        async move { self.read_windows(&scope, job, &keys).await }.boxed()
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        let key = key.to_owned();
        async move {
            let connection = self.pool.connection().await?;
            let sql = "SELECT plan FROM plans WHERE key = $1";
            let rows = connection.query(sql, &[&key]).await?;
            rows.first().map(|row| rows::json(row, 0)).transpose()
        }
        .boxed()
    }

    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened> {
        async move { self.reopen_job(&reopen).await }.boxed()
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.sweep_logs(now, limit).boxed()
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        async move { self.delete_job(&scope, job).await }.boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        self.still_held(claims.to_vec()).boxed()
    }

    fn news(&self) -> BoxStream<'static, News> {
        self.hints.heard()
    }
}

impl Postgres {
    /// For those that somebody waits for: an answer, or word that there is none.
    async fn soon<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = timeout(self.pool.patience, answer).await;
        answer.unwrap_or_else(|_| Err(late()))
    }

    async fn delete_job(&self, scope: &Scope, job: JobId) -> Result<Deleted, StoreError> {
        let connection = self.pool.connection().await?;
        let lock = connection.statement(LOCK).await?;
        let delete = connection.statement(DELETE).await?;
        let scope = scope.as_str();
        let key: [Param; 2] = [&job.0, &scope];
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN"),
                connection.send(&lock, &key),
                connection.send(&delete, &key),
            )?)
        };
        let ((), found, gone) = connection.within(answers).await?;
        let Some(gone) = gone.first() else {
            return Ok(match found.first() {
                Some(_) => Deleted::InUse,
                None => Deleted::Missing,
            });
        };
        let plan: String = gone.try_get(0)?;
        let lock = connection.statement(LOCK_PLAN).await?;
        let delete = connection.statement(DELETE_PLAN).await?;
        let key: [Param; 1] = [&plan];
        let answers = async {
            try_join!(
                connection.send(&lock, &key),
                connection.send(&delete, &key),
                connection.commit(),
            )?;
            Ok(())
        };
        connection.within(answers).await?;
        connection.settle();
        Ok(Deleted::Gone)
    }
}
