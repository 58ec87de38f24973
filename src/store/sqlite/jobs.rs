//! `Jobs` in SQLite.

use futures_util::FutureExt as _;
use rusqlite::{Connection, OptionalExtension, params};

use super::page::Listing;
use super::rows::{self, JobRow, VIEW, has};
use super::{Change, Sqlite, Terms};
use crate::domain::event::Envelope;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{JobView, Ordinal, Status};
use crate::domain::page::ListPage;
use crate::domain::plan::Plan;
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Claimed, Commit, Committed, Created, Deleted, Guard, JobQuery, Jobs, LogPage, NewJob,
    Outcome, Snapshot, StoreError, StoredEvent,
};
use crate::store::Search;

impl Jobs for Sqlite {
    fn create(&self, new: NewJob) -> Answered<'_, Created> {
        self.write(move |connection, terms| create(connection, terms, &new))
            .boxed()
    }

    fn claim(
        &self,
        owner: &str,
        now: Time,
        lease_until: Time,
        limit: u32,
    ) -> Answered<'_, Vec<Claimed>> {
        let owner = owner.to_owned();
        self.write(move |connection, _| {
            let mut claimed = Vec::new();
            while claimed.len() < limit as usize
                && let Some(job) = next_claimable(connection, now)?
            {
                claimed.push(take(connection, job, &owner, lease_until.max(now))?);
            }
            Ok(Change::Keep(claimed))
        })
        .boxed()
    }

    fn renew(&self, owner: &str, lease_until: Time) -> Answered<'_, ()> {
        let owner = owner.to_owned();
        self.write(move |connection, _| {
            connection
                .prepare_cached(
                    "UPDATE jobs INDEXED BY jobs_active SET lease_ms = ?2 \
                     WHERE ended_ms IS NULL AND owner = ?1",
                )?
                .execute(params![owner, lease_until.0])?;
            Ok(Change::Keep(()))
        })
        .boxed()
    }

    fn release(&self, job: JobId, epoch: u64, claimable_at: Time) -> Answered<'_, ()> {
        self.write(move |connection, _| {
            connection
                .prepare_cached(
                    "UPDATE jobs SET owner = '', lease_ms = ?3 \
                     WHERE id = ?1 AND epoch = ?2 AND ended_ms IS NULL",
                )?
                .execute(params![job.0.as_bytes(), epoch as i64, claimable_at.0])?;
            Ok(Change::Keep(()))
        })
        .boxed()
    }

    fn commit(&self, commit: Commit) -> Answered<'_, Committed> {
        self.write(move |connection, terms| append(connection, terms, commit))
            .boxed()
    }

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>> {
        let scope = scope.clone();
        self.read(move |connection| view(connection, &scope, job))
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
            let Some((last_sequence, terminal)) = end_of_log(connection, &scope, job)? else {
                return Ok(None);
            };
            // Also keeps numbers that SQLite cannot hold out of the statement.
            let events = if after < last_sequence {
                read_log(connection, job, after, limit, max_bytes)?
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

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let Some(view) = view(connection, &scope, job)? else {
                return Ok(None);
            };
            let outcomes = outcomes(connection, job)?;
            Ok(Some(Snapshot { view, outcomes }))
        })
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
}

fn create(
    connection: &Connection,
    terms: &Terms,
    new: &NewJob,
) -> Result<Change<Created>, StoreError> {
    let (scope, spec) = (new.scope.as_str(), &new.view.spec);
    let has_document = has(
        connection,
        "SELECT 1 FROM documents WHERE scope = ?1 AND id = ?2",
        params![scope, spec.document_id.0.as_bytes()],
    )?;
    if !has_document {
        return Ok(Change::Undo(Created::DocumentGone));
    }
    connection
        .prepare_cached("INSERT OR IGNORE INTO tenants (scope) VALUES (?1)")?
        .execute([scope])?;
    let counted = connection
        .prepare_cached(
            "UPDATE tenants SET active_jobs = active_jobs + 1 WHERE scope = ?1 AND active_jobs < ?2",
        )?
        .execute(params![scope, new.active_limit])?;
    if counted == 0 {
        return Ok(Change::Undo(Created::TooManyActive));
    }
    connection
        .prepare_cached("INSERT OR IGNORE INTO plans (key, plan) VALUES (?1, ?2)")?
        .execute(params![spec.plan, serde_json::to_string(&*new.plan)?])?;
    rows::insert(connection, &new.scope, &new.view)?;
    write_event(connection, terms, &new.start, None)?;
    Ok(Change::Keep(Created::Stored))
}

/// The oldest free job of the scope that was served longest ago.
fn next_claimable(connection: &Connection, now: Time) -> Result<Option<JobId>, StoreError> {
    let job = connection
        .prepare_cached(
            "SELECT jobs.id FROM tenants INDEXED BY tenants_in_line CROSS JOIN jobs ON jobs.scope = tenants.scope \
             WHERE tenants.active_jobs > 0 AND jobs.ended_ms IS NULL \
             AND (jobs.owner IS NULL OR jobs.lease_ms < ?1) \
             ORDER BY tenants.served, jobs.created_ms, jobs.id LIMIT 1",
        )?
        .query_row([now.0], |row| rows::uuid(row, 0))
        .optional()?;
    Ok(job.map(JobId))
}

fn take(
    connection: &Connection,
    job: JobId,
    owner: &str,
    lease_until: Time,
) -> Result<Claimed, StoreError> {
    // A job that had begun was lost by its owner.
    connection
        .prepare_cached(
            "UPDATE jobs SET owner = ?2, lease_ms = ?3, epoch = epoch + 1, \
             crashes = crashes + (status <> 'pending') WHERE id = ?1",
        )?
        .execute(params![job.0.as_bytes(), owner, lease_until.0])?;
    connection
        .prepare_cached(
            "UPDATE tenants SET served = 1 + (SELECT max(served) FROM tenants) \
             WHERE scope = (SELECT scope FROM jobs WHERE id = ?1)",
        )?
        .execute([job.0.as_bytes()])?;
    let row = JobRow::load(connection, job)?
        .ok_or_else(|| StoreError::Failed(format!("job {job} has no specification")))?;
    Ok(Claimed {
        scope: row.scope,
        view: row.view,
        epoch: row.epoch,
        crashes: row.crashes,
    })
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
    }) = JobRow::load(connection, commit.job)?
    else {
        return Ok(Change::Undo(Committed::Missing));
    };
    let before = view.status;
    match commit.guard {
        Guard::Lease { epoch: held } if held != epoch || before.is_terminal() => {
            return Ok(Change::Undo(Committed::Fenced));
        }
        Guard::Caller { scope: caller } if caller != scope => {
            return Ok(Change::Undo(Committed::Missing));
        }
        Guard::Lease { .. } => {}
        Guard::Caller { .. } => fence(connection, commit.job)?,
    }
    let now = terms.clock.now();
    for draft in commit.drafts {
        let ordinal = draft.ordinal();
        if let Some(ordinal) = ordinal
            && !settle(connection, &view, ordinal)?
        {
            continue;
        }
        match view.admit(draft, now, terms.retention_ms) {
            Ok(envelope) => write_event(connection, terms, &envelope, ordinal)?,
            Err(refusal) => {
                let status = before;
                return Ok(Change::Undo(Committed::Refused { refusal, status }));
            }
        }
    }
    rows::update(connection, &view, before)?;
    if view.status.is_terminal() && !before.is_terminal() {
        release(connection, &scope, commit.job)?;
    }
    Ok(Change::Keep(Committed::Stored {
        view: Box::new(view),
    }))
}

/// Shuts the owner of the lease out.
fn fence(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE jobs SET owner = NULL, lease_ms = 0, epoch = epoch + 1 WHERE id = ?1",
        )?
        .execute([job.0.as_bytes()])?;
    Ok(())
}

/// Lets go of an ended job: of its lease and of its scope's slot.
fn release(connection: &Connection, scope: &Scope, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE jobs SET owner = NULL, lease_ms = 0 WHERE id = ?1")?
        .execute([job.0.as_bytes()])?;
    connection
        .prepare_cached("UPDATE tenants SET active_jobs = active_jobs - 1 WHERE scope = ?1")?
        .execute([scope.as_str()])?;
    Ok(())
}

/// Whether the next event of `view` is the first outcome of its ordinal.
fn settle(connection: &Connection, view: &JobView, ordinal: Ordinal) -> Result<bool, StoreError> {
    let settled = connection
        .prepare_cached(
            "INSERT INTO outcomes (job_id, ordinal, sequence) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            view.id.0.as_bytes(),
            ordinal,
            view.sequence as i64 + 1
        ])?;
    Ok(settled == 1)
}

fn write_event(
    connection: &Connection,
    terms: &Terms,
    envelope: &Envelope,
    ordinal: Option<Ordinal>,
) -> Result<(), StoreError> {
    let encoded = envelope.encode(terms.max_event_bytes)?;
    let job = envelope.job.0.as_bytes();
    connection
        .prepare_cached(
            "INSERT INTO events (job_id, sequence, kind, payload) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            job,
            envelope.sequence as i64,
            envelope.event.kind().name(),
            encoded.payload,
        ])?;
    if let Some(aside) = encoded.aside {
        connection
            .prepare_cached("UPDATE outcomes SET aside = ?3 WHERE job_id = ?1 AND ordinal = ?2")?
            .execute(params![job, ordinal, serde_json::to_string(&aside)?])?;
    }
    Ok(())
}

fn view(connection: &Connection, scope: &Scope, job: JobId) -> Result<Option<JobView>, StoreError> {
    let sql = format!("SELECT {VIEW} FROM jobs WHERE id = ?1 AND scope = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![job.0.as_bytes(), scope.as_str()])?;
    rows.next()?.map(rows::view).transpose()
}

fn list(
    connection: &Connection,
    scope: &Scope,
    query: &JobQuery,
) -> Result<ListPage<JobView>, StoreError> {
    let search = Search::of(query.page.search.as_deref());
    Listing {
        columns: VIEW,
        matching: "FROM jobs WHERE jobs.scope = ?1 AND (?2 IS NULL OR jobs.status = ?2) \
             AND (?3 IS NULL OR instr(lower(hex(jobs.id)), ?4) > 0 \
             OR EXISTS (SELECT 1 FROM specs WHERE specs.job_id = jobs.id \
             AND (instr(lower(document_name), ?3) > 0 OR instr(lower(schema_name), ?3) > 0)))",
        params: &[
            &scope.as_str(),
            &query.status.map(Status::name),
            &search.text,
            &search.digits,
        ],
        id: "jobs.id",
        id_of: |view: &JobView| view.id.0,
        read: rows::view,
    }
    .page(connection, &query.page)
}

/// Number of the last event, and whether it is the end.
fn end_of_log(
    connection: &Connection,
    scope: &Scope,
    job: JobId,
) -> Result<Option<(u64, bool)>, StoreError> {
    let end = connection
        .prepare_cached(
            "SELECT sequence, ended_ms IS NOT NULL FROM jobs WHERE id = ?1 AND scope = ?2",
        )?
        .query_row(params![job.0.as_bytes(), scope.as_str()], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
        })
        .optional()?;
    Ok(end)
}

/// Events after `after`: at most `limit`, and no more than `max_bytes` unless the first is larger.
fn read_log(
    connection: &Connection,
    job: JobId,
    after: u64,
    limit: u32,
    max_bytes: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, kind, payload FROM events WHERE job_id = ?1 AND sequence > ?2 \
         ORDER BY sequence LIMIT ?3",
    )?;
    let mut rows = statement.query(params![job.0.as_bytes(), after as i64, limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = rows::event(row, 0)?;
        bytes += event.payload.len();
        if bytes > max_bytes && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    Ok(events)
}

fn outcomes(connection: &Connection, job: JobId) -> Result<Vec<Outcome>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ordinal, aside, sequence, kind, payload FROM outcomes \
         JOIN events USING (job_id, sequence) WHERE job_id = ?1 ORDER BY sequence",
    )?;
    let mut rows = statement.query([job.0.as_bytes()])?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        outcomes.push(Outcome {
            ordinal: row.get(0)?,
            aside: row.get::<_, Option<String>>(1)?.map(Into::into),
            event: rows::event(row, 2)?,
        });
    }
    Ok(outcomes)
}

fn delete(
    connection: &Connection,
    scope: &Scope,
    job: JobId,
) -> Result<Change<Deleted>, StoreError> {
    let Some((_, has_ended)) = end_of_log(connection, scope, job)? else {
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
