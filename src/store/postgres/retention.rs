//! Lets go of what was kept for a time only, a bounded step at a time.

use futures_util::FutureExt as _;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::connection::Connection;
use super::windows;
use crate::domain::id::{DocumentId, Scope};
use crate::domain::time::Time;
use crate::engine::ports::StoreError;

/// Nodes sweep at the same time: each takes another job.
const NEXT: &str = "SELECT id FROM jobs WHERE status <> 'expired' AND expires_ms <= $1 \
     ORDER BY expires_ms LIMIT 1 FOR UPDATE SKIP LOCKED";
const EVENTS: &str = "DELETE FROM events WHERE job_id = $1 AND sequence IN \
     (SELECT sequence FROM events WHERE job_id = $1 ORDER BY sequence LIMIT $2)";
const OUTCOMES: &str = "DELETE FROM outcomes WHERE job_id = $1";
const MARK: &str = "UPDATE jobs SET status = 'expired' WHERE id = $1";
const DOCUMENTS: &str = "SELECT scope, id FROM documents WHERE uploaded_ms < $1 \
     AND NOT EXISTS (SELECT 1 FROM jobs \
     WHERE jobs.scope = documents.scope AND jobs.document_id = documents.id \
     AND ended_ms IS NULL) ORDER BY uploaded_ms LIMIT $2";
const SCHEMAS: &str = "DELETE FROM schemas WHERE (scope, id) IN \
     (SELECT scope, id FROM schemas WHERE updated_ms < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";

impl Postgres {
    pub(super) async fn sweep_logs(&self, now: Time, limit: u32) -> Result<u32, StoreError> {
        let connection = self.pool.connection().await?;
        let begun = connection.begin("BEGIN").map(|begun| Ok(begun?));
        connection.within(begun).await?;
        let (mut swept, limit) = (0, u64::from(limit));
        while swept < limit
            && let Some(row) = connection.query(NEXT, &[&now.0]).await?.first()
        {
            swept += sweep_job(&connection, row.try_get(0)?, limit - swept).await?;
        }
        let committed = connection.commit().map(|committed| Ok(committed?));
        connection.within(committed).await?;
        connection.settle();
        Ok(swept as u32)
    }

    pub(super) async fn old_documents(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Result<Vec<(Scope, DocumentId)>, StoreError> {
        let connection = self.pool.connection().await?;
        let limit = i64::from(limit);
        let rows = connection.query(DOCUMENTS, &[&uploaded.0, &limit]).await?;
        let document = |row: &Row| {
            let scope = Scope::new(row.try_get::<_, String>(0)?);
            Ok((scope, DocumentId(row.try_get(1)?)))
        };
        rows.iter().map(document).collect()
    }

    pub(super) async fn delete_old_schemas(
        &self,
        updated: Time,
        limit: u32,
    ) -> Result<u32, StoreError> {
        let connection = self.pool.connection().await?;
        let limit = i64::from(limit);
        let deleted = connection.execute(SCHEMAS, &[&updated.0, &limit]).await?;
        Ok(deleted as u32)
    }
}

/// Rows that were changed, at most `limit`.
async fn sweep_job(connection: &Connection, job: Uuid, limit: u64) -> Result<u64, StoreError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let events = connection.execute(EVENTS, &[&job, &most]).await?;
    if events == limit {
        return Ok(events);
    }
    connection.execute(OUTCOMES, &[&job]).await?;
    connection.execute(windows::SWEEP, &[&job]).await?;
    Ok(events + connection.execute(MARK, &[&job]).await?)
}
