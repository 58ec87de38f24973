//! `Jobs` in SQLite.

use std::time::Duration;

use futures_util::FutureExt as _;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::filter::Matching;
use super::page::Listing;
use super::rows::{self, JobRow, VIEW, has};
use super::{Change, Sqlite, Terms, leases, log, outbox, windows};
use crate::domain::id::{IdempotencyKey, JobId, Scope};
use crate::domain::job::{AnswerKey, Draft, JobSpec, JobView, Ordinal};
use crate::domain::page::ListPage;
use crate::domain::plan::Plan;
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, Guard, JobQuery, Jobs, Kept,
    KeptWindow, Keyed, LogPage, NewJob, Outcome, Release, Reopen, Reopened, Snapshot, StoreError,
};
use crate::store::Search;

impl Jobs for Sqlite {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.write(move |connection, terms| create(connection, terms, &new))
            .boxed()
    }

    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>> {
        let owner = owner.to_owned();
        self.write(move |connection, terms| {
            let from_now = (terms.clock.now(), lease);
            leases::claim(connection, &terms.specs, &owner, from_now, limit).map(Change::Keep)
        })
        .boxed()
    }

    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()> {
        let (owner, jobs) = (owner.to_owned(), jobs.to_vec());
        self.write(move |connection, terms| {
            let lease_until = terms.clock.now().plus(lease);
            leases::renew(connection, &owner, &jobs, lease_until).map(Change::Keep)
        })
        .boxed()
    }

    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()> {
        self.write(move |connection, terms| {
            // A lease is over once its last millisecond has passed.
            let held_until = Time(terms.clock.now().plus(pause).0 - 1);
            leases::give_back(connection, job, epoch, held_until, release).map(Change::Keep)
        })
        .boxed()
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        self.write(move |connection, terms| append(connection, terms, commit))
            .boxed()
    }

    fn reopen(&self, reopened: Reopen) -> Answered<'_, Reopened> {
        self.write(move |connection, terms| reopen(connection, terms, &reopened))
            .boxed()
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        let scope = scope.clone();
        self.read(move |connection| view(connection, &scope, job))
            .boxed()
    }

    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>> {
        let (scope, key) = (scope.clone(), key.clone());
        self.read(move |connection| by_key(connection, &scope, &key))
            .boxed()
    }

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>> {
        let scope = scope.clone();
        self.read(move |connection| list(connection, &scope, &query))
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
        self.read(move |connection| {
            let Some((last_sequence, terminal)) = log::end(connection, &scope, job)? else {
                return Ok(None);
            };
            // Also keeps numbers that SQLite cannot hold out of the statement.
            let events = if after < last_sequence {
                log::read(connection, job, after, limit, max_bytes)?
            } else {
                Vec::new()
            };
            Ok(Some(LogPage {
                events,
                last_sequence,
                terminal,
            }))
        })
        .boxed()
    }

    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>> {
        let jobs: Vec<u8> = jobs.iter().flat_map(|job| *job.0.as_bytes()).collect();
        self.read(move |connection| log::positions(connection, &jobs))
            .boxed()
    }

    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>> {
        let claims = claims.to_vec();
        self.read(move |connection| leases::held(connection, &claims))
            .boxed()
    }

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let Some(view) = view(connection, &scope, job)? else {
                return Ok(None);
            };
            let outcomes = log::outcomes(connection, job)?;
            Ok(Some(Snapshot { view, outcomes }))
        })
        .boxed()
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
        self.read(move |connection| {
            if log::end(connection, &scope, job)?.is_none() {
                return Ok(None);
            }
            log::outcomes_from(connection, job, from, (limit, max_bytes)).map(Some)
        })
        .boxed()
    }

    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        self.read(move |connection| log::answers(connection, &scope, &keys))
            .boxed()
    }

    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>> {
        let (scope, keys) = (scope.clone(), keys.to_vec());
        self.read(move |connection| windows::read(connection, &scope, job, &keys))
            .boxed()
    }

    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>> {
        let key = key.to_owned();
        self.read(move |connection| {
            let plan: Option<String> = connection
                .prepare_cached("SELECT plan FROM plans WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            Ok(plan.as_deref().map(serde_json::from_str).transpose()?)
        })
        .boxed()
    }

    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        self.write(move |connection, _| delete(connection, &scope, job))
            .boxed()
    }

    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32> {
        self.write(move |connection, _| log::sweep(connection, now, limit).map(Change::Keep))
            .boxed()
    }
}

fn create(
    connection: &Connection,
    terms: &Terms,
    new: &NewJob,
) -> Result<Change<Created>, StoreError> {
    let (scope, spec) = (new.scope.as_str(), &new.view.spec);
    // Asked before all else: a request that was made before is not refused for what has changed.
    if let Some(key) = &new.key
        && has(
            connection,
            "SELECT 1 FROM idempotency WHERE scope = ?1 AND key = ?2",
            params![scope, key.as_str()],
        )?
    {
        return Ok(Change::Undo(Created::KeyTaken));
    }
    if !has_document(connection, &new.scope, spec)? {
        return Ok(Change::Undo(Created::DocumentGone));
    }
    connection
        .prepare_cached(
            "INSERT INTO tenants (scope, served) SELECT ?1, 1 + coalesce(max(served), ?2) \
             FROM tenants WHERE served < 0 ON CONFLICT (scope) DO NOTHING",
        )?
        .execute(params![scope, i64::MIN])?;
    if !take_slot(connection, &new.scope, new.active_limit)? {
        return Ok(Change::Undo(Created::TooManyActive));
    }
    if is_over(connection, new.queue_limit)? {
        return Ok(Change::Undo(Created::QueueFull));
    }
    if !has(
        connection,
        "SELECT 1 FROM plans WHERE key = ?1",
        [&spec.plan],
    )? {
        connection
            .prepare_cached("INSERT INTO plans (key, plan) VALUES (?1, ?2)")?
            .execute(params![spec.plan, serde_json::to_string(&*new.plan)?])?;
    }
    rows::insert(connection, &terms.specs, &new.scope, &new.view)?;
    if let Some(key) = &new.key {
        connection
            .prepare_cached(
                "INSERT INTO idempotency (scope, key, request_hash, job_id) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                scope,
                key.as_str(),
                spec.request_hash,
                new.view.id.0.as_bytes()
            ])?;
    }
    log::write(connection, terms, &new.start, None)?;
    Ok(Change::Keep(Created::Stored))
}

fn has_document(
    connection: &Connection,
    scope: &Scope,
    spec: &JobSpec,
) -> Result<bool, StoreError> {
    has(
        connection,
        "SELECT 1 FROM documents WHERE scope = ?1 AND id = ?2",
        params![scope.as_str(), spec.document_id.0.as_bytes()],
    )
}

/// Counts one more active job of the scope, unless it has as many as it may.
fn take_slot(connection: &Connection, scope: &Scope, limit: u32) -> Result<bool, StoreError> {
    let counted = connection
        .prepare_cached(
            "UPDATE tenants SET active_jobs = active_jobs + 1 WHERE scope = ?1 AND active_jobs < ?2",
        )?
        .execute(params![scope.as_str(), limit])?;
    Ok(counted == 1)
}

/// Whether more jobs are active than may be, over all scopes.
fn is_over(connection: &Connection, limit: u32) -> Result<bool, StoreError> {
    let active: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(active_jobs), 0) FROM tenants INDEXED BY tenants_in_line \
             WHERE active_jobs > 0",
        )?
        .query_row((), |row| row.get(0))?;
    Ok(active > i64::from(limit))
}

fn reopen(
    connection: &Connection,
    terms: &Terms,
    reopen: &Reopen,
) -> Result<Change<Reopened>, StoreError> {
    let row =
        JobRow::load(connection, &terms.specs, reopen.job)?.filter(|row| row.scope == reopen.scope);
    let Some(JobRow { mut view, .. }) = row else {
        return Ok(Change::Undo(Reopened::Missing));
    };
    let before = view.status;
    if view.sequence != reopen.at_sequence {
        return Ok(Change::Undo(Reopened::Changed));
    }
    if !has_document(connection, &reopen.scope, &view.spec)? {
        return Ok(Change::Undo(Reopened::DocumentGone));
    }
    let draft = Draft::Reopen {
        failed_fields: reopen.failed_fields,
        incomplete: reopen.incomplete.len() as u64,
    };
    let Ok(envelope) = view.admit(draft, terms.clock.now(), terms.retention_ms) else {
        return Ok(Change::Undo(Reopened::Changed));
    };
    if !take_slot(connection, &reopen.scope, reopen.active_limit)? {
        return Ok(Change::Undo(Reopened::TooManyActive));
    }
    if is_over(connection, reopen.queue_limit)? {
        return Ok(Change::Undo(Reopened::QueueFull));
    }
    log::unsettle(connection, reopen.job, &reopen.incomplete)?;
    let event = log::write(connection, terms, &envelope, None)?;
    rows::update(connection, &view, before)?;
    leases::forget(connection, reopen.job)?;
    Ok(Change::Keep(Reopened::Stored {
        view: Box::new(view),
        event,
    }))
}

fn append(
    connection: &Connection,
    terms: &Terms,
    commit: Commit,
) -> Result<Change<Committed>, StoreError> {
    let Some(JobRow {
        scope,
        mut view,
        epoch,
        ..
    }) = JobRow::load(connection, &terms.specs, commit.job)?
    else {
        return Ok(Change::Undo(Committed::Missing));
    };
    let before = view.status;
    match commit.guard {
        Guard::Lease { epoch: held } if held != epoch => {
            return Ok(Change::Undo(Committed::Fenced));
        }
        Guard::Lease { .. } if commit.at_sequence.is_some_and(|at| at != view.sequence) => {
            let sequence = view.sequence;
            return Ok(Change::Undo(Committed::Moved { sequence }));
        }
        Guard::Lease { .. } if before.is_idle() => {
            return Ok(Change::Undo(Committed::Fenced));
        }
        Guard::Caller { scope: caller } if caller != scope => {
            return Ok(Change::Undo(Committed::Missing));
        }
        Guard::Lease { .. } => {}
        Guard::Caller { .. } => leases::fence(connection, commit.job)?,
    }
    let epoch = epoch + u64::from(matches!(commit.guard, Guard::Caller { .. }));
    let now = terms.clock.now();
    let mut events = Vec::with_capacity(commit.drafts.len());
    for draft in commit.drafts {
        if let Draft::Window(window) = &draft {
            windows::keep(connection, commit.job, window)?;
            view.pay(window);
            continue;
        }
        let ordinal = draft.ordinal();
        if let Some(ordinal) = ordinal
            && !log::settle(connection, &view, ordinal, draft.answer())?
        {
            continue;
        }
        match view.admit(draft, now, terms.retention_ms) {
            Ok(envelope) => events.push(log::write(connection, terms, &envelope, ordinal)?),
            Err(refusal) => {
                let status = before;
                return Ok(Change::Undo(Committed::Refused { refusal, status }));
            }
        }
    }
    rows::update(connection, &view, before)?;
    if view.status.is_idle() && !before.is_idle() {
        leases::free_slot(connection, &scope)?;
    }
    if view.status == Status::ReviewRequired {
        leases::hold(connection, commit.job)?;
    }
    if view.status.is_terminal() && !before.is_terminal() {
        outbox::post(connection, &scope, &view)?;
    }
    Ok(Change::Keep(Committed::Stored {
        view: Box::new(view),
        events,
        epoch,
    }))
}

fn view(connection: &Connection, scope: &Scope, job: JobId) -> Result<Option<JobView>, StoreError> {
    let sql = format!("SELECT {VIEW} FROM jobs WHERE id = ?1 AND scope = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![job.0.as_bytes(), scope.as_str()])?;
    rows.next()?.map(rows::view).transpose()
}

fn by_key(
    connection: &Connection,
    scope: &Scope,
    key: &IdempotencyKey,
) -> Result<Option<Keyed>, StoreError> {
    let sql = format!(
        "SELECT {VIEW}, idempotency.request_hash FROM idempotency \
         JOIN jobs ON jobs.id = idempotency.job_id \
         WHERE idempotency.scope = ?1 AND idempotency.key = ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![scope.as_str(), key.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Keyed {
        request_hash: row.get(9)?,
        view: rows::view(row)?,
    }))
}

fn list(
    connection: &Connection,
    scope: &Scope,
    query: &JobQuery,
) -> Result<ListPage<JobView>, StoreError> {
    let search = Search::of(query.page.search.as_deref());
    let matching = Matching::of(scope, search, &query.filter)?;
    let params: Vec<&dyn ToSql> = matching.params.iter().map(|param| &**param).collect();
    Listing {
        columns: VIEW,
        matching: &matching.sql,
        params: &params,
        id: "jobs.id",
        id_of: |view: &JobView| view.id.0,
        read: rows::view,
    }
    .page(connection, &query.page)
}

fn delete(
    connection: &Connection,
    scope: &Scope,
    job: JobId,
) -> Result<Change<Deleted>, StoreError> {
    let Some((_, has_ended)) = log::end(connection, scope, job)? else {
        return Ok(Change::Undo(Deleted::Missing));
    };
    if !has_ended {
        return Ok(Change::Undo(Deleted::InUse));
    }
    let plan: String = connection
        .prepare_cached("SELECT plan FROM specs WHERE job_id = ?1")?
        .query_row([job.0.as_bytes()], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
        .execute([job.0.as_bytes()])?;
    connection
        .prepare_cached(
            "DELETE FROM plans WHERE key = ?1 \
             AND NOT EXISTS (SELECT 1 FROM specs WHERE specs.plan = ?1)",
        )?
        .execute([plan])?;
    Ok(Change::Keep(Deleted::Gone))
}
