//! Who works on which job.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, JobRow, Specs};
use crate::domain::id::{JobId, Scope};
use crate::domain::time::Time;
use crate::engine::ports::{Claimed, Release, StoreError};

/// Gives up to `limit` waiting jobs to `owner`, also those whose lease ran out before `now`.
pub fn claim(
    connection: &Connection,
    specs: &Specs,
    owner: &str,
    until: (Time, Duration),
    limit: u32,
) -> Result<Vec<Claimed>, StoreError> {
    let (now, lease) = until;
    expire(connection, now)?;
    let lease_until = now.plus(lease);
    let mut claimed = Vec::new();
    while claimed.len() < limit as usize
        && let Some(job) = next_waiting(connection)?
    {
        claimed.push(take(connection, specs, job, owner, lease_until)?);
    }
    Ok(claimed)
}

/// Takes jobs away from owners whose lease ran out. They may go on writing until another has them.
fn expire(connection: &Connection, now: Time) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE jobs INDEXED BY jobs_leased SET owner = NULL, lease_ms = NULL \
             WHERE owner IS NOT NULL AND lease_ms < ?1",
        )?
        .execute([now.0])?;
    Ok(())
}

/// The oldest waiting job of the scope that was served longest ago.
fn next_waiting(connection: &Connection) -> Result<Option<JobId>, StoreError> {
    let job = connection
        .prepare_cached(
            "SELECT (SELECT id FROM jobs INDEXED BY jobs_waiting \
             WHERE jobs.scope = tenants.scope AND ended_ms IS NULL AND owner IS NULL \
             ORDER BY created_ms, id LIMIT 1) AS job \
             FROM tenants INDEXED BY tenants_in_line \
             WHERE active_jobs > 0 AND job IS NOT NULL ORDER BY served LIMIT 1",
        )?
        .query_row((), |row| rows::uuid(row, 0))
        .optional()?;
    Ok(job.map(JobId))
}

fn take(
    connection: &Connection,
    specs: &Specs,
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
            "UPDATE tenants SET served = 1 + (SELECT max(0, max(served)) FROM tenants) \
             WHERE scope = (SELECT scope FROM jobs WHERE id = ?1)",
        )?
        .execute([job.0.as_bytes()])?;
    let row = JobRow::load(connection, specs, job)?
        .ok_or_else(|| StoreError::Failed(format!("job {job} is gone")))?;
    Ok(Claimed {
        scope: row.scope,
        view: row.view,
        epoch: row.epoch,
        crashes: row.crashes,
    })
}

/// Extends the leases that `owner` has of these jobs.
pub fn renew(
    connection: &Connection,
    owner: &str,
    jobs: &[JobId],
    lease_until: Time,
) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("UPDATE jobs SET lease_ms = ?3 WHERE id = ?1 AND owner = ?2")?;
    for job in jobs {
        statement.execute(params![job.0.as_bytes(), owner, lease_until.0])?;
    }
    Ok(())
}

/// Which of these jobs are still those of the claims with these epochs.
pub fn held(connection: &Connection, claims: &[(JobId, u64)]) -> Result<Vec<JobId>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND epoch = ?2 AND ended_ms IS NULL")?;
    let mut held = Vec::new();
    for (job, epoch) in claims {
        if statement.exists(params![job.0.as_bytes(), *epoch as i64])? {
            held.push(*job);
        }
    }
    Ok(held)
}

/// Gives a lease back: nobody has the job, and nobody may claim it until then.
pub fn give_back(
    connection: &Connection,
    job: JobId,
    epoch: u64,
    held_until: Time,
    release: Release,
) -> Result<(), StoreError> {
    // The next claim of a job that had begun adds a crash; one that was handed over had none.
    // A lease that nobody holds, or that was given back, is not given back again.
    connection
        .prepare_cached(
            "UPDATE jobs SET owner = '', lease_ms = ?3, \
             crashes = crashes - (?4 AND status <> 'pending') \
             WHERE id = ?1 AND epoch = ?2 AND ended_ms IS NULL AND owner <> ''",
        )?
        .execute(params![
            job.0.as_bytes(),
            epoch as i64,
            held_until.0,
            release == Release::HandedOver
        ])?;
    Ok(())
}

/// Takes every lease away.
pub fn clear(connection: &Connection) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE jobs INDEXED BY jobs_leased SET owner = NULL, lease_ms = NULL \
         WHERE owner IS NOT NULL AND status <> 'review_required'",
        (),
    )?;
    Ok(())
}

/// Shuts the owner of the lease out.
pub fn fence(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE jobs SET owner = NULL, lease_ms = NULL, epoch = epoch + 1 WHERE id = ?1",
        )?
        .execute([job.0.as_bytes()])?;
    Ok(())
}

/// Keeps a job from being claimed: it waits for a person. Given back for ever, as it were.
pub fn hold(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE jobs SET owner = '', lease_ms = ?2 WHERE id = ?1")?
        .execute(params![job.0.as_bytes(), i64::MAX])?;
    Ok(())
}

/// Gives back the slot of a job that nobody works on any more.
pub fn free_slot(connection: &Connection, scope: &Scope) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE tenants SET active_jobs = active_jobs - 1 WHERE scope = ?1")?
        .execute([scope.as_str()])?;
    Ok(())
}

/// Begins anew for a job that goes on after its end: nobody has it, and nobody crashed.
pub fn forget(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE jobs SET owner = NULL, lease_ms = NULL, epoch = epoch + 1, crashes = 0 \
             WHERE id = ?1",
        )?
        .execute([job.0.as_bytes()])?;
    Ok(())
}
