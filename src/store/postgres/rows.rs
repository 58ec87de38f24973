//! Rows to values.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use crate::domain::event;
use crate::domain::job::JobView;
use crate::engine::ports::{StoreError, StoredEvent};
use crate::store::state::{self, Columns};

/// What [`view`] reads, from [`JOBS`].
pub const VIEW: &str = "jobs.id, jobs.status, jobs.sequence, jobs.created_ms, jobs.updated_ms, \
     jobs.ended_ms, jobs.expires_ms, jobs.state, specs.spec";
pub const JOBS: &str = "jobs JOIN specs ON specs.job_id = jobs.id";

pub fn view(row: &Row) -> Result<JobView, StoreError> {
    state::read(Columns {
        id: row.try_get(0)?,
        status: row.try_get(1)?,
        sequence: row.try_get(2)?,
        created_ms: row.try_get(3)?,
        updated_ms: row.try_get(4)?,
        ended_ms: row.try_get(5)?,
        expires_ms: row.try_get(6)?,
        state: row.try_get(7)?,
        spec: Arc::new(json(row, 8)?),
    })
}

/// From three columns, the first at `at`: sequence, kind, payload.
pub fn event(row: &Row, at: usize) -> Result<StoredEvent, StoreError> {
    let kind = row.try_get(at + 1)?;
    Ok(StoredEvent {
        sequence: row.try_get::<_, i64>(at)? as u64,
        kind: event::Kind::parse(kind).ok_or_else(|| state::unknown("kind of event", kind))?,
        payload: row.try_get::<_, String>(at + 2)?.into(),
    })
}

pub fn json<T: DeserializeOwned>(row: &Row, at: usize) -> Result<T, StoreError> {
    Ok(serde_json::from_str(row.try_get(at)?)?)
}

/// Text as this database can hold it: it knows no NUL.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}
