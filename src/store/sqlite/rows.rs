//! Rows to values and back.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::error::Fault;
use crate::domain::event::{self, Step};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::domain::usage::Usage;
use crate::engine::ports::{StoreError, StoredEvent};

/// What [`view`] reads from `jobs`.
pub const VIEW: &str = "jobs.id, jobs.status, jobs.sequence, jobs.created_ms, jobs.updated_ms, \
     jobs.ended_ms, jobs.expires_ms, jobs.state, \
     (SELECT spec FROM specs WHERE specs.job_id = jobs.id)";

/// The part of a view without a column of its own.
#[derive(Serialize, Deserialize)]
struct State {
    #[serde(default = "first")]
    run: u32,
    step: Step,
    total_subtrees: u64,
    subtrees_succeeded: u64,
    subtrees_failed: u64,
    total_fields: u64,
    fields_processed: u64,
    usage: Usage,
    error: Option<(Fault, String)>,
}

/// Rows of before there were retries have no number.
fn first() -> u32 {
    1
}

/// A job with its lease.
pub struct JobRow {
    pub scope: Scope,
    pub view: JobView,
    pub epoch: u64,
    pub crashes: u32,
}

impl JobRow {
    pub fn load(connection: &Connection, job: JobId) -> Result<Option<Self>, StoreError> {
        let sql = format!(
            "SELECT {VIEW}, jobs.scope, jobs.epoch, jobs.crashes \
             FROM jobs WHERE jobs.id = ?1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![job.0.as_bytes()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            scope: Scope::new(row.get::<_, String>(9)?),
            view: view(row)?,
            epoch: row.get::<_, i64>(10)? as u64,
            crashes: row.get(11)?,
        }))
    }
}

pub fn view(row: &Row) -> Result<JobView, StoreError> {
    let status = text(row, 1)?;
    let state: State = json(row, 7)?;
    Ok(JobView {
        id: JobId(uuid(row, 0)?),
        status: Status::parse(status).ok_or_else(|| unknown("status", status))?,
        run: state.run,
        sequence: row.get::<_, i64>(2)? as u64,
        created_at: Time(row.get(3)?),
        updated_at: Time(row.get(4)?),
        ended_at: row.get::<_, Option<i64>>(5)?.map(Time),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Time),
        step: state.step,
        total_subtrees: state.total_subtrees,
        subtrees_succeeded: state.subtrees_succeeded,
        subtrees_failed: state.subtrees_failed,
        total_fields: state.total_fields,
        fields_processed: state.fields_processed,
        usage: state.usage,
        error: state.error,
        spec: json(row, 8)?,
    })
}

/// JSON of what [`insert`] and [`update`] have no column for.
fn state(view: &JobView) -> Result<String, serde_json::Error> {
    // Without `..`, so that a new field is not forgotten here.
    let JobView {
        id: _,
        status: _,
        sequence: _,
        created_at: _,
        updated_at: _,
        ended_at: _,
        expires_at: _,
        run,
        step,
        total_subtrees,
        subtrees_succeeded,
        subtrees_failed,
        total_fields,
        fields_processed,
        usage,
        error,
        spec: _,
    } = view;
    serde_json::to_string(&State {
        run: *run,
        step: *step,
        total_subtrees: *total_subtrees,
        subtrees_succeeded: *subtrees_succeeded,
        subtrees_failed: *subtrees_failed,
        total_fields: *total_fields,
        fields_processed: *fields_processed,
        usage: usage.clone(),
        error: error.clone(),
    })
}

pub fn insert(connection: &Connection, scope: &Scope, view: &JobView) -> Result<(), StoreError> {
    let spec = &view.spec;
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
            state(view)?,
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
            serde_json::to_string(spec)?,
        ])?;
    Ok(())
}

/// Writes what an event changes. The status only when it changed: it stands in indexes.
pub fn update(connection: &Connection, view: &JobView, before: Status) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE jobs SET sequence = ?2, updated_ms = ?3, state = ?4 WHERE id = ?1")?
        .execute(params![
            view.id.0.as_bytes(),
            view.sequence as i64,
            view.updated_at.0,
            state(view)?,
        ])?;
    if view.status != before {
        connection
            .prepare_cached(
                "UPDATE jobs SET status = ?2, ended_ms = ?3, expires_ms = ?4 WHERE id = ?1",
            )?
            .execute(params![
                view.id.0.as_bytes(),
                view.status.name(),
                view.ended_at.map(|at| at.0),
                view.expires_at.map(|at| at.0),
            ])?;
    }
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
    event::Kind::parse(name).ok_or_else(|| unknown("kind of event", name))
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

fn unknown(what: &str, name: &str) -> StoreError {
    StoreError::Failed(format!("the database holds an unknown {what}, `{name}`"))
}
