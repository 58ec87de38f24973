//! Ended jobs that go on. Rare, so it takes its round trips one after the other.

use futures_util::FutureExt as _;

use super::Postgres;
use super::connection::Connection;
use super::create::{ACTIVE, LOCK, TOTAL};
use super::news;
use super::rows::{self, JOBS, VIEW};
use crate::domain::event::Kind;
use crate::domain::job::Draft;
use crate::engine::ports::{Reopen, Reopened, StoreError, StoredEvent};
use crate::store::state;

const DOCUMENT: &str = "SELECT 1 FROM documents JOIN jobs ON jobs.document_id = documents.id \
     AND jobs.scope = documents.scope WHERE jobs.id = $1 AND jobs.scope = $2 \
     FOR KEY SHARE OF documents";
const UNSETTLE: &str = "DELETE FROM outcomes USING events WHERE outcomes.job_id = $1 \
     AND events.job_id = $1 AND events.sequence = outcomes.sequence AND events.kind = $2";
const UNSETTLE_ARRAYS: &str =
    "DELETE FROM outcomes WHERE job_id = $1 AND ordinal = ANY($2::bigint[])";
const LOG: &str = "INSERT INTO events (job_id, sequence, kind, payload) VALUES ($1, $2, $3, $4)";
const WRITE: &str = "UPDATE jobs SET status = $2, sequence = $3, updated_ms = $4, \
     ended_ms = NULL, expires_ms = NULL, state = $5, owner = NULL, lease_ms = NULL, \
     epoch = epoch + 1, crashes = 0 WHERE id = $1";

impl Postgres {
    pub(super) async fn reopen_job(&self, reopen: &Reopen) -> Result<Reopened, StoreError> {
        let connection = self.pool.connection().await?;
        let begun = connection.begin("BEGIN").map(|begun| Ok(begun?));
        connection.within(begun).await?;
        // What is refused from here on is taken back with the connection.
        let answer = self.reopen_in(&connection, reopen).await?;
        if matches!(answer, Reopened::Stored { .. }) {
            let committed = connection.commit().map(|committed| Ok(committed?));
            connection.within(committed).await?;
            connection.settle();
            connection.query(news::NOTIFY, &[&news::WORK, &""]).await?;
        }
        Ok(answer)
    }

    async fn reopen_in(
        &self,
        connection: &Connection,
        reopen: &Reopen,
    ) -> Result<Reopened, StoreError> {
        let (job, scope) = (reopen.job.0, reopen.scope.as_str());
        // In the order in which all lock: document, job, tenant.
        let document = connection.query(DOCUMENT, &[&job, &scope]).await?;
        let row = format!(
            "SELECT {VIEW}, clock_ms() FROM {JOBS} WHERE jobs.id = $1 AND jobs.scope = $2 \
             FOR NO KEY UPDATE OF jobs"
        );
        let row = connection.query(&row, &[&job, &scope]).await?;
        let Some(row) = row.first() else {
            return Ok(Reopened::Missing);
        };
        let mut view = rows::view(row)?;
        if view.sequence != reopen.at_sequence {
            return Ok(Reopened::Changed);
        }
        if document.is_empty() {
            return Ok(Reopened::DocumentGone);
        }
        let draft = Draft::Reopen {
            failed_fields: reopen.failed_fields,
            incomplete: reopen.incomplete.len() as u64,
        };
        let now = self.terms.moment(row.try_get(9)?);
        let Ok(envelope) = view.admit(draft, now, self.terms.retention_ms) else {
            return Ok(Reopened::Changed);
        };
        if let Some(refused) = refused(connection, reopen).await? {
            return Ok(refused);
        }
        let failed = Kind::SubtreeError.name();
        connection.execute(UNSETTLE, &[&job, &failed]).await?;
        let arrays = reopen.incomplete.iter().map(|ordinal| i64::from(*ordinal));
        let arrays: Vec<i64> = arrays.collect();
        connection
            .execute(UNSETTLE_ARRAYS, &[&job, &arrays])
            .await?;
        let encoded = envelope.encode(self.terms.max_event_bytes)?;
        let (sequence, kind) = (view.sequence as i64, envelope.event.kind());
        connection
            .execute(LOG, &[&job, &sequence, &kind.name(), &encoded.payload])
            .await?;
        let (status, updated) = (view.status.name(), view.updated_at.0);
        let state = state::write(&view)?;
        connection
            .execute(WRITE, &[&job, &status, &sequence, &updated, &state])
            .await?;
        Ok(Reopened::Stored {
            view: Box::new(view),
            event: StoredEvent {
                sequence: envelope.sequence,
                kind,
                payload: encoded.payload.into(),
            },
        })
    }
}

/// Why one more job of the scope may not be active; if it may, nobody else adds one meanwhile.
async fn refused(connection: &Connection, reopen: &Reopen) -> Result<Option<Reopened>, StoreError> {
    let scopes = [reopen.scope.as_str()];
    connection.query(LOCK, &[&&scopes[..]]).await?;
    let active = match connection.query(ACTIVE, &[&&scopes[..]]).await?.first() {
        Some(row) => row.try_get(1)?,
        None => 0,
    };
    if active >= i64::from(reopen.active_limit) {
        return Ok(Some(Reopened::TooManyActive));
    }
    let limit = i64::from(reopen.queue_limit);
    let total: i64 = match connection.query(TOTAL, &[&limit]).await?.first() {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    Ok((total >= limit).then_some(Reopened::QueueFull))
}
