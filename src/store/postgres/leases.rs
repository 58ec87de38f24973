//! Who works on which job.

use std::time::{Duration, Instant};

use futures_util::try_join;
use tokio_postgres::Row;

use super::connection::Param;
use super::rows::{self, VIEW};
use super::{Postgres, news};
use crate::domain::id::{JobId, Scope};
use crate::engine::ports::{Claimed, Release, StoreError};

/// Of the jobs that may be claimed so many times more are looked at than are wanted, since other
/// nodes are taking the first of them.
const LOOK: i64 = 4;

/// Takes jobs away from owners whose lease ran out. They may go on writing until another has them.
/// Asked for as a value of its own, so that the index serves.
const EXPIRE: &str = "UPDATE jobs SET owner = NULL, lease_ms = NULL WHERE id IN ( \
     SELECT id FROM jobs WHERE owner IS NOT NULL \
     AND lease_ms < (SELECT coalesce($1::bigint, clock_ms())) FOR NO KEY UPDATE SKIP LOCKED)";

/// The scopes that wait are found one after the other in the index, as many steps as there are
/// scopes; the first jobs of each take turns, in the order in which their scopes stand in line. A
/// scope that another claim is giving its new place in line keeps that one: it is as good.
const CLAIM: &str = "WITH RECURSIVE waiting AS ( \
     (SELECT scope FROM jobs WHERE ended_ms IS NULL AND owner IS NULL ORDER BY scope LIMIT 1) \
     UNION ALL \
     SELECT (SELECT jobs.scope FROM jobs WHERE ended_ms IS NULL AND owner IS NULL \
     AND jobs.scope > waiting.scope ORDER BY jobs.scope LIMIT 1) \
     FROM waiting WHERE waiting.scope IS NOT NULL), \
     line AS ( \
     SELECT tenants.scope, tenants.served FROM waiting JOIN tenants USING (scope) \
     ORDER BY tenants.served LIMIT $5), \
     next AS ( \
     SELECT first.id, line.served, \
     row_number() OVER (PARTITION BY line.scope ORDER BY first.created_ms, first.id) AS turn \
     FROM line CROSS JOIN LATERAL ( \
     SELECT id, created_ms FROM jobs WHERE jobs.scope = line.scope \
     AND ended_ms IS NULL AND owner IS NULL ORDER BY created_ms, id LIMIT $5) AS first \
     ORDER BY turn, line.served LIMIT $5), \
     taken AS ( \
     SELECT jobs.id, next.turn, next.served FROM next JOIN jobs USING (id) \
     WHERE jobs.ended_ms IS NULL AND jobs.owner IS NULL \
     ORDER BY next.turn, next.served LIMIT $4 FOR NO KEY UPDATE OF jobs SKIP LOCKED), \
     claimed AS ( \
     UPDATE jobs SET owner = $1, lease_ms = coalesce($2::bigint, clock_ms()) + $3, \
     epoch = epoch + 1, crashes = crashes + (status <> 'pending')::int \
     FROM taken WHERE jobs.id = taken.id RETURNING jobs.*, taken.turn, taken.served), \
     held AS ( \
     SELECT scope FROM tenants WHERE scope IN (SELECT scope FROM claimed) \
     ORDER BY scope FOR NO KEY UPDATE SKIP LOCKED), \
     places AS ( \
     SELECT scope, nextval('turns') AS place FROM ( \
     SELECT scope, max(turn) AS turn, max(served) AS served FROM claimed JOIN held USING (scope) \
     GROUP BY scope ORDER BY turn, served) AS last), \
     served AS ( \
     UPDATE tenants SET served = places.place FROM places WHERE tenants.scope = places.scope)";

const RENEW: &str = "WITH mine AS ( \
     SELECT id FROM jobs WHERE id = ANY($2) AND owner = $1 ORDER BY id FOR NO KEY UPDATE) \
     UPDATE jobs SET lease_ms = coalesce($3::bigint, clock_ms()) + $4 FROM mine \
     WHERE jobs.id = mine.id";

const HELD: &str = "SELECT jobs.id FROM jobs \
     JOIN unnest($1::uuid[], $2::bigint[]) AS claims (id, epoch) USING (id, epoch) \
     WHERE jobs.ended_ms IS NULL";

/// The next claim of a job that had begun adds a crash; one that was handed over had none. A
/// lease that nobody holds, or that was given back, is not given back again. It is over once its
/// last millisecond has passed.
const GIVE_BACK: &str = "UPDATE jobs SET owner = '', \
     lease_ms = coalesce($3::bigint, clock_ms()) + $4 - 1, \
     crashes = crashes - ($5 AND status <> 'pending')::int \
     WHERE id = $1 AND epoch = $2 AND ended_ms IS NULL AND owner <> ''";

impl Postgres {
    pub(super) async fn claim_waiting(
        &self,
        owner: &str,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let connection = self.pool.connection().await?;
        let claim = format!(
            "{CLAIM} SELECT {VIEW}, jobs.scope, jobs.epoch, jobs.crashes FROM claimed AS jobs \
             JOIN specs ON specs.job_id = jobs.id ORDER BY jobs.turn, jobs.served"
        );
        let expire = connection.statement(EXPIRE).await?;
        let claim = connection.statement(&claim).await?;
        let time = connection.statement("SELECT clock_ms()").await?;
        let (now, lease) = (self.terms.now(), lease.as_millis() as i64);
        let (limit, look) = (i64::from(limit), i64::from(limit) * LOOK);
        let (at, whose): ([Param; 1], [Param; 5]) = ([&now], [&owner, &now, &lease, &limit, &look]);
        let asked = Instant::now();
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN"),
                connection.send(&time, &[]),
                connection.send(&expire, &at),
                connection.send(&claim, &whose),
                connection.commit(),
            )?)
        };
        let ((), time, _, claimed, ()) = connection.within(answers).await?;
        connection.settle();
        if let Some(row) = time.first() {
            self.clock.learn(row.try_get(0)?, asked);
        }
        claimed.iter().map(read).collect()
    }

    pub(super) async fn keep_leases(
        &self,
        owner: &str,
        jobs: &[JobId],
        lease: Duration,
    ) -> Result<(), StoreError> {
        let jobs: Vec<_> = jobs.iter().map(|job| job.0).collect();
        let (now, lease) = (self.terms.now(), lease.as_millis() as i64);
        let connection = self.pool.connection().await?;
        connection
            .execute(RENEW, &[&owner, &jobs, &now, &lease])
            .await?;
        Ok(())
    }

    pub(super) async fn still_held(
        &self,
        claims: Vec<(JobId, u64)>,
    ) -> Result<Vec<JobId>, StoreError> {
        let claims = claims.iter().map(|(job, epoch)| (job.0, *epoch as i64));
        let (jobs, epochs): (Vec<_>, Vec<_>) = claims.unzip();
        let connection = self.pool.connection().await?;
        let rows = connection.query(HELD, &[&jobs, &epochs]).await?;
        let job = |row: &Row| Ok(JobId(row.try_get(0)?));
        rows.iter().map(job).collect()
    }

    pub(super) async fn give_back(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Result<(), StoreError> {
        let (epoch, now, pause) = (epoch as i64, self.terms.now(), pause.as_millis() as i64);
        let is_no_crash = release == Release::HandedOver;
        let connection = self.pool.connection().await?;
        connection
            .execute(GIVE_BACK, &[&job.0, &epoch, &now, &pause, &is_no_crash])
            .await?;
        connection.query(news::NOTIFY, &[&news::WORK, &""]).await?;
        Ok(())
    }
}

fn read(row: &Row) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        view: rows::view(row)?,
        scope: Scope::new(row.try_get::<_, String>(9)?),
        epoch: row.try_get::<_, i64>(10)? as u64,
        crashes: row.try_get::<_, i64>(11)? as u32,
    })
}
