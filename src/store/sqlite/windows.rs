//! Windows of long arrays that were read.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{AnswerKey, WindowDraft};
use crate::engine::ports::{KeptWindow, StoreError};

/// Keeps a window of a job. One that is there already stays as it is.
pub fn keep(connection: &Connection, job: JobId, window: &WindowDraft) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO windows (job_id, key, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![job.0.as_bytes(), window.key, window.body.get()])?;
    Ok(())
}

/// Under each key that there is a window for, the job's own or else the newest of the scope.
pub fn read(
    connection: &Connection,
    scope: &Scope,
    job: JobId,
    keys: &[AnswerKey],
) -> Result<Vec<KeptWindow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT job_id, body FROM windows JOIN jobs ON jobs.id = job_id \
         WHERE key = ?1 AND jobs.scope = ?2 ORDER BY job_id = ?3 DESC, job_id DESC LIMIT 1",
    )?;
    let mut kept = Vec::new();
    for key in keys {
        let found = statement
            .query_row(params![key, scope.as_str(), job.0.as_bytes()], |row| {
                Ok((rows::uuid(row, 0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        kept.extend(found.map(|(job, body)| KeptWindow {
            key: *key,
            job: JobId(job),
            body,
        }));
    }
    Ok(kept)
}

/// Lets go of the windows of a job.
pub fn sweep(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM windows WHERE job_id = ?1")?
        .execute([job.0.as_bytes()])?;
    Ok(())
}
