//! Rows to values and back.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::event;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{JobSpec, JobView};
use crate::domain::status::Status;
use crate::engine::ports::{StoreError, StoredEvent};
use crate::store::state::{self, Columns};

/// What [`view`] reads from `jobs`.
pub const VIEW: &str = "jobs.id, jobs.status, jobs.sequence, jobs.created_ms, jobs.updated_ms, \
     jobs.ended_ms, jobs.expires_ms, jobs.state, \
     (SELECT spec FROM specs WHERE specs.job_id = jobs.id)";

/// A job with its lease.
pub struct JobRow {
    pub scope: Scope,
    pub view: JobView,
    pub epoch: u64,
    pub crashes: u32,
}

/// Specifications of the jobs that were written to last. They never change, and a job is written
/// to several times: reading its own again each time was a tenth of all writing.
pub struct Specs(Mutex<LruCache<JobId, Arc<JobSpec>>>);

/// Specifications that are kept.
const SPECS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

impl Default for Specs {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(SPECS)))
    }
}

impl Specs {
    fn keep(&self, job: JobId, spec: &Arc<JobSpec>) {
        self.0.lock().put(job, Arc::clone(spec));
    }

    fn of(&self, connection: &Connection, job: JobId) -> Result<Arc<JobSpec>, StoreError> {
        if let Some(spec) = self.0.lock().get(&job) {
            return Ok(Arc::clone(spec));
        }
        let mut statement =
            connection.prepare_cached("SELECT spec FROM specs WHERE job_id = ?1")?;
        let mut rows = statement.query([job.0.as_bytes()])?;
        let row = rows.next()?;
        let row =
            row.ok_or_else(|| StoreError::Failed(format!("job {job} has no specification")))?;
        let spec = Arc::new(json(row, 0)?);
        self.keep(job, &spec);
        Ok(spec)
    }
}

impl JobRow {
    pub fn load(
        connection: &Connection,
        specs: &Specs,
        job: JobId,
    ) -> Result<Option<Self>, StoreError> {
        let mut statement = connection.prepare_cached(
            "SELECT id, status, sequence, created_ms, updated_ms, ended_ms, expires_ms, state, \
             scope, epoch, crashes FROM jobs WHERE id = ?1",
        )?;
        let mut rows = statement.query([job.0.as_bytes()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            scope: Scope::new(row.get::<_, String>(8)?),
            view: view_of(row, specs.of(connection, job)?)?,
            epoch: row.get::<_, i64>(9)? as u64,
            crashes: row.get(10)?,
        }))
    }
}

pub fn view(row: &Row) -> Result<JobView, StoreError> {
    view_of(row, Arc::new(json(row, 8)?))
}

fn view_of(row: &Row, spec: Arc<JobSpec>) -> Result<JobView, StoreError> {
    state::read(Columns {
        id: uuid(row, 0)?,
        status: text(row, 1)?,
        sequence: row.get(2)?,
        created_ms: row.get(3)?,
        updated_ms: row.get(4)?,
        ended_ms: row.get(5)?,
        expires_ms: row.get(6)?,
        state: text(row, 7)?,
        spec,
    })
}

pub fn insert(
    connection: &Connection,
    specs: &Specs,
    scope: &Scope,
    view: &JobView,
) -> Result<(), StoreError> {
    let spec = &view.spec;
    specs.keep(view.id, spec);
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, scope, status, sequence, created_ms, updated_ms, ended_ms, \
             expires_ms, state, document_id, document_sha256) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            view.id.0.as_bytes(),
            scope.as_str(),
            view.status.name(),
            view.sequence as i64,
            view.created_at.0,
            view.updated_at.0,
            view.ended_at.map(|at| at.0),
            view.expires_at.map(|at| at.0),
            state::write(view)?,
            spec.document_id.0.as_bytes(),
            spec.document_sha256,
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO specs (job_id, document_name, schema_name, plan, spec) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            view.id.0.as_bytes(),
            spec.document_name,
            spec.schema_name,
            spec.plan,
            serde_json::to_string(&**spec)?,
        ])?;
    Ok(())
}

/// Writes what an event changes; at the end of a job also that nobody holds it. The status only
/// when it changed: it stands in indexes.
pub fn update(connection: &Connection, view: &JobView, before: Status) -> Result<(), StoreError> {
    let (job, state) = (view.id.0.as_bytes(), state::write(view)?);
    let (sequence, updated) = (view.sequence as i64, view.updated_at.0);
    if view.status == before {
        connection
            .prepare_cached(
                "UPDATE jobs SET sequence = ?2, updated_ms = ?3, state = ?4 WHERE id = ?1",
            )?
            .execute(params![job, sequence, updated, state])?;
        return Ok(());
    }
    let sql = if view.status.is_terminal() {
        "UPDATE jobs SET sequence = ?2, updated_ms = ?3, state = ?4, status = ?5, ended_ms = ?6, \
         expires_ms = ?7, owner = NULL, lease_ms = NULL WHERE id = ?1"
    } else {
        "UPDATE jobs SET sequence = ?2, updated_ms = ?3, state = ?4, status = ?5, ended_ms = ?6, \
         expires_ms = ?7 WHERE id = ?1"
    };
    connection.prepare_cached(sql)?.execute(params![
        job,
        sequence,
        updated,
        state,
        view.status.name(),
        view.ended_at.map(|at| at.0),
        view.expires_at.map(|at| at.0),
    ])?;
    Ok(())
}

/// From three columns, the first at `at`: sequence, kind, payload.
pub fn event(row: &Row, at: usize) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        sequence: row.get::<_, i64>(at)? as u64,
        kind: kind(row, at + 1)?,
        payload: row.get::<_, String>(at + 2)?.into(),
    })
}

pub fn kind(row: &Row, at: usize) -> Result<event::Kind, StoreError> {
    let name = text(row, at)?;
    event::Kind::parse(name).ok_or_else(|| state::unknown("kind of event", name))
}

/// The column's own bytes, not a copy.
pub fn text<'row>(row: &'row Row, at: usize) -> rusqlite::Result<&'row str> {
    Ok(row.get_ref(at)?.as_str()?)
}

pub fn json<T: DeserializeOwned>(row: &Row, at: usize) -> Result<T, StoreError> {
    Ok(serde_json::from_str(text(row, at)?)?)
}

pub fn uuid(row: &Row, at: usize) -> rusqlite::Result<Uuid> {
    row.get(at).map(Uuid::from_bytes)
}

/// Whether `sql`, a `SELECT` of anything, has a row.
pub fn has(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<bool, StoreError> {
    let found = connection
        .prepare_cached(sql)?
        .query_row(params, |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}
