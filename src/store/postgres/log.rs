//! Reading logs.

use futures_util::try_join;
use tokio_postgres::Row;

use super::Postgres;
use super::connection::Param;
use super::rows::{self, JOBS, VIEW};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{AnswerKey, Ordinal};
use crate::engine::ports::{Kept, LogPage, Outcome, Snapshot, StoreError};

/// One statement, so that the end and the events are of one moment.
const PAGE: &str = "SELECT jobs.sequence, jobs.ended_ms IS NOT NULL, \
     page.sequence, page.kind, page.payload \
     FROM jobs LEFT JOIN LATERAL ( \
     SELECT sequence, kind, payload, row_number() OVER so_far AS number, \
     sum(octet_length(payload)) OVER so_far AS bytes \
     FROM (SELECT sequence, kind, payload FROM events \
     WHERE events.job_id = jobs.id AND events.sequence > $3 ORDER BY sequence LIMIT $4) AS next \
     WINDOW so_far AS (ORDER BY sequence)) AS page ON page.bytes <= $5 OR page.number = 1 \
     WHERE jobs.id = $1 AND jobs.scope = $2 ORDER BY page.sequence";
const OUTCOMES: &str = "SELECT outcomes.ordinal, outcomes.aside, \
     events.sequence, events.kind, events.payload \
     FROM jobs JOIN outcomes ON outcomes.job_id = jobs.id \
     JOIN events ON events.job_id = jobs.id AND events.sequence = outcomes.sequence \
     WHERE jobs.id = $1 AND jobs.scope = $2 ORDER BY outcomes.sequence";
/// One statement, so that the job and its outcomes are of one moment.
const OUTCOMES_FROM: &str = "SELECT page.ordinal, page.aside, page.sequence, page.kind, page.payload \
     FROM jobs LEFT JOIN LATERAL ( \
     SELECT *, row_number() OVER so_far AS number, \
     sum(octet_length(payload) + coalesce(octet_length(aside), 0)) OVER so_far AS bytes \
     FROM (SELECT outcomes.ordinal, outcomes.aside, events.sequence, events.kind, events.payload \
     FROM outcomes JOIN events ON events.job_id = outcomes.job_id \
     AND events.sequence = outcomes.sequence \
     WHERE outcomes.job_id = jobs.id AND outcomes.ordinal >= $3 \
     ORDER BY outcomes.ordinal LIMIT $4) AS next \
     WINDOW so_far AS (ORDER BY ordinal)) AS page ON page.bytes <= $5 OR page.number = 1 \
     WHERE jobs.id = $1 AND jobs.scope = $2 ORDER BY page.ordinal";

const ANSWERS: &str = "SELECT DISTINCT ON (outcomes.answer) outcomes.ordinal, outcomes.aside, \
     events.sequence, events.kind, events.payload, outcomes.answer \
     FROM outcomes JOIN jobs ON jobs.id = outcomes.job_id \
     JOIN events ON events.job_id = outcomes.job_id AND events.sequence = outcomes.sequence \
     WHERE outcomes.answer = ANY($1) AND jobs.scope = $2 \
     ORDER BY outcomes.answer, outcomes.job_id DESC";

impl Postgres {
    pub(super) async fn log_page(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Option<LogPage>, StoreError> {
        let most = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (after, limit, bytes) = (most(after), i64::from(limit), most(max_bytes as u64));
        let connection = self.pool.connection().await?;
        let params: [Param; 5] = [&job.0, &scope.as_str(), &after, &limit, &bytes];
        let rows = connection.query(PAGE, &params).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let is_event = |row: &&Row| {
            row.try_get::<_, Option<i64>>(2)
                .is_ok_and(|at| at.is_some())
        };
        let events = rows.iter().filter(is_event).map(|row| rows::event(row, 2));
        Ok(Some(LogPage {
            last_sequence: first.try_get::<_, i64>(0)? as u64,
            terminal: first.try_get(1)?,
            events: events.collect::<Result<_, _>>()?,
        }))
    }

    pub(super) async fn outcomes_from(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        (limit, max_bytes): (u32, usize),
    ) -> Result<Option<Vec<Outcome>>, StoreError> {
        let (from, limit) = (i64::from(from), i64::from(limit));
        let bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let connection = self.pool.connection().await?;
        let params: [Param; 5] = [&job.0, &scope.as_str(), &from, &limit, &bytes];
        let rows = connection.query(OUTCOMES_FROM, &params).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let is_outcome = |row: &&Row| {
            row.try_get::<_, Option<i64>>(0)
                .is_ok_and(|ordinal| ordinal.is_some())
        };
        let outcomes = rows.iter().filter(is_outcome).map(outcome);
        outcomes.collect::<Result<_, _>>().map(Some)
    }

    pub(super) async fn read_answers(
        &self,
        scope: &Scope,
        keys: &[AnswerKey],
    ) -> Result<Vec<Kept>, StoreError> {
        let keys: Vec<_> = keys.iter().map(<[u8; 32]>::as_slice).collect();
        let connection = self.pool.connection().await?;
        let rows = connection.query(ANSWERS, &[&keys, &scope.as_str()]).await?;
        rows.iter().map(kept).collect()
    }

    pub(super) async fn read_snapshot(
        &self,
        scope: &Scope,
        job: JobId,
    ) -> Result<Option<Snapshot>, StoreError> {
        let connection = self.pool.connection().await?;
        let view = format!("SELECT {VIEW} FROM {JOBS} WHERE jobs.id = $1 AND jobs.scope = $2");
        let view = connection.statement(&view).await?;
        let outcomes = connection.statement(OUTCOMES).await?;
        let scope = scope.as_str();
        let key: [Param; 2] = [&job.0, &scope];
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                connection.send(&view, &key),
                connection.send(&outcomes, &key),
                connection.commit(),
            )?)
        };
        let ((), view, outcomes, ()) = connection.within(answers).await?;
        connection.settle();
        let Some(view) = view.first() else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            view: rows::view(view)?,
            outcomes: outcomes.iter().map(outcome).collect::<Result<_, _>>()?,
        }))
    }
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let key: Vec<u8> = row.try_get(5)?;
    let key = AnswerKey::try_from(key);
    Ok(Kept {
        key: key.map_err(|_| StoreError::Failed("a key of an answer has the wrong size".into()))?,
        outcome: outcome(row)?,
    })
}

fn outcome(row: &Row) -> Result<Outcome, StoreError> {
    Ok(Outcome {
        ordinal: row.try_get::<_, i64>(0)? as Ordinal,
        aside: row.try_get::<_, Option<String>>(1)?.map(Into::into),
        event: rows::event(row, 2)?,
    })
}
