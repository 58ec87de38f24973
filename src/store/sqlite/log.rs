//! The events of a job.

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Terms, outbox, rows, windows};
use crate::domain::event::{self, Envelope};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{AnswerKey, JobView, Ordinal};
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::engine::ports::{Kept, Outcome, StoreError, StoredEvent};

/// Whether the next event of `view` is the first outcome of its ordinal.
pub fn settle(
    connection: &Connection,
    view: &JobView,
    ordinal: Ordinal,
    answer: Option<AnswerKey>,
) -> Result<bool, StoreError> {
    let settled = connection
        .prepare_cached(
            "INSERT INTO outcomes (job_id, ordinal, sequence, answer) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            view.id.0.as_bytes(),
            ordinal,
            view.sequence as i64 + 1,
            answer,
        ])?;
    Ok(settled == 1)
}

pub fn write(
    connection: &Connection,
    terms: &Terms,
    envelope: &Envelope,
    ordinal: Option<Ordinal>,
) -> Result<StoredEvent, StoreError> {
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
    Ok(StoredEvent {
        sequence: envelope.sequence,
        kind: envelope.event.kind(),
        payload: encoded.payload.into(),
    })
}

/// Numbers of the last events of jobs whose ids, 16 bytes each, are `jobs`.
pub fn positions(connection: &Connection, jobs: &[u8]) -> Result<Vec<(JobId, u64)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE asked (at) AS \
         (SELECT 1 UNION ALL SELECT at + 16 FROM asked WHERE at + 16 <= length(?1)) \
         SELECT jobs.id, jobs.sequence FROM asked JOIN jobs ON jobs.id = substr(?1, at, 16)",
    )?;
    let mut rows = statement.query([jobs])?;
    let mut positions = Vec::with_capacity(jobs.len() / 16);
    while let Some(row) = rows.next()? {
        positions.push((JobId(rows::uuid(row, 0)?), row.get::<_, i64>(1)? as u64));
    }
    Ok(positions)
}

/// Number of the last event, and whether it is the end.
pub fn end(
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
pub fn read(
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
    // One allocation holds all payloads: an allocation each costs more than the reading.
    let (mut heads, mut bytes) = (Vec::new(), BytesMut::new());
    while let Some(row) = rows.next()? {
        let payload = rows::text(row, 2)?;
        if bytes.len() + payload.len() > max_bytes && !heads.is_empty() {
            break;
        }
        bytes.extend_from_slice(payload.as_bytes());
        heads.push((
            row.get::<_, i64>(0)? as u64,
            rows::kind(row, 1)?,
            payload.len(),
        ));
    }
    let mut bytes = bytes.freeze();
    let events = heads
        .into_iter()
        .map(|(sequence, kind, length)| StoredEvent {
            sequence,
            kind,
            payload: bytes.split_to(length),
        });
    Ok(events.collect())
}

pub fn outcomes(connection: &Connection, job: JobId) -> Result<Vec<Outcome>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ordinal, aside, sequence, kind, payload FROM outcomes \
         JOIN events USING (job_id, sequence) WHERE job_id = ?1 ORDER BY sequence",
    )?;
    let mut rows = statement.query([job.0.as_bytes()])?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        outcomes.push(outcome(row)?);
    }
    Ok(outcomes)
}

/// Outcomes numbered `from` and above: at most `limit`, and no more than `max_bytes` unless the
/// first is larger.
pub fn outcomes_from(
    connection: &Connection,
    job: JobId,
    from: Ordinal,
    (limit, max_bytes): (u32, usize),
) -> Result<Vec<Outcome>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ordinal, aside, sequence, kind, payload FROM outcomes \
         JOIN events USING (job_id, sequence) WHERE job_id = ?1 AND ordinal >= ?2 \
         ORDER BY ordinal LIMIT ?3",
    )?;
    let mut rows = statement.query(params![job.0.as_bytes(), from, limit])?;
    let (mut outcomes, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let outcome = outcome(row)?;
        bytes += outcome.event.payload.len() + outcome.aside.as_ref().map_or(0, Bytes::len);
        if bytes > max_bytes && !outcomes.is_empty() {
            break;
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The newest outcome under each of the keys that there is one for.
pub fn answers(
    connection: &Connection,
    scope: &Scope,
    keys: &[AnswerKey],
) -> Result<Vec<Kept>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ordinal, aside, events.sequence, kind, payload \
         FROM outcomes JOIN events USING (job_id, sequence) JOIN jobs ON jobs.id = job_id \
         WHERE answer = ?1 AND jobs.scope = ?2 ORDER BY job_id DESC LIMIT 1",
    )?;
    let mut kept = Vec::new();
    for key in keys {
        let mut rows = statement.query(params![key, scope.as_str()])?;
        if let Some(row) = rows.next()? {
            kept.push(Kept {
                key: *key,
                outcome: outcome(row)?,
            });
        }
    }
    Ok(kept)
}

fn outcome(row: &Row) -> Result<Outcome, StoreError> {
    Ok(Outcome {
        ordinal: row.get(0)?,
        aside: row.get::<_, Option<String>>(1)?.map(Into::into),
        event: rows::event(row, 2)?,
    })
}

/// Takes back the outcomes that are errors, and those of `incomplete` arrays. Their events stay in
/// the log.
pub fn unsettle(
    connection: &Connection,
    job: JobId,
    incomplete: &[Ordinal],
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM outcomes WHERE job_id = ?1 AND sequence IN \
             (SELECT sequence FROM events WHERE job_id = ?1 AND kind = ?2)",
        )?
        .execute(params![job.0.as_bytes(), event::Kind::SubtreeError.name()])?;
    for ordinal in incomplete {
        connection
            .prepare_cached("DELETE FROM outcomes WHERE job_id = ?1 AND ordinal = ?2")?
            .execute(params![job.0.as_bytes(), ordinal])?;
    }
    Ok(())
}

/// Deletes at most `limit` events that were kept until before `now`, with their outcomes; a job
/// that has none left becomes expired. Gives how many rows were changed.
pub fn sweep(connection: &Connection, now: Time, limit: u32) -> Result<u32, StoreError> {
    let (mut swept, limit) = (0, limit as usize);
    while swept < limit
        && let Some(job) = kept_too_long(connection, now)?
    {
        let events = connection
            .prepare_cached(
                "DELETE FROM events WHERE rowid IN \
                 (SELECT rowid FROM events WHERE job_id = ?1 LIMIT ?2)",
            )?
            .execute(params![job.0.as_bytes(), (limit - swept) as i64])?;
        swept += events;
        if swept < limit {
            connection
                .prepare_cached("DELETE FROM outcomes WHERE job_id = ?1")?
                .execute([job.0.as_bytes()])?;
            windows::sweep(connection, job)?;
            outbox::sweep(connection, job)?;
            swept += connection
                .prepare_cached("UPDATE jobs SET status = ?2 WHERE id = ?1")?
                .execute(params![job.0.as_bytes(), Status::Expired.name()])?;
        }
    }
    Ok(swept as u32)
}

fn kept_too_long(connection: &Connection, now: Time) -> Result<Option<JobId>, StoreError> {
    let job = connection
        .prepare_cached(
            "SELECT id FROM jobs INDEXED BY jobs_expiring \
             WHERE status <> 'expired' AND expires_ms <= ?1 ORDER BY expires_ms LIMIT 1",
        )?
        .query_row([now.0], |row| rows::uuid(row, 0))
        .optional()?;
    Ok(job.map(JobId))
}
