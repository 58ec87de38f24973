//! Windows of long arrays that were read.

use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::connection::Param;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{AnswerKey, WindowDraft};
use crate::engine::ports::{KeptWindow, StoreError};

/// One that is there already stays as it is.
pub(super) const KEEP: &str = "INSERT INTO windows (job_id, key, body) \
     SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[]) ON CONFLICT DO NOTHING";
pub(super) const SWEEP: &str = "DELETE FROM windows WHERE job_id = $1";
/// Under each key the job's own, or else the newest of the scope.
const READ: &str = "SELECT DISTINCT ON (windows.key) windows.key, windows.job_id, windows.body \
     FROM windows JOIN jobs ON jobs.id = windows.job_id \
     WHERE windows.key = ANY($1) AND jobs.scope = $2 \
     ORDER BY windows.key, windows.job_id = $3 DESC, windows.job_id DESC";

/// The windows that a group of commits keeps, by column.
#[derive(Default)]
pub(super) struct New {
    pub(super) jobs: Vec<Uuid>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) bodies: Vec<String>,
}

impl New {
    pub(super) fn add(&mut self, job: JobId, window: &WindowDraft) {
        self.jobs.push(job.0);
        self.keys.push(window.key.to_vec());
        self.bodies.push(window.body.get().to_owned());
    }

    pub(super) fn take(&mut self, more: Self) {
        self.jobs.extend(more.jobs);
        self.keys.extend(more.keys);
        self.bodies.extend(more.bodies);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

impl Postgres {
    pub(super) async fn read_windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Result<Vec<KeptWindow>, StoreError> {
        let keys: Vec<_> = keys.iter().map(<[u8; 32]>::as_slice).collect();
        let connection = self.pool.connection().await?;
        let params: [Param; 3] = [&keys, &scope.as_str(), &job.0];
        let rows = connection.query(READ, &params).await?;
        rows.iter().map(kept).collect()
    }
}

fn kept(row: &Row) -> Result<KeptWindow, StoreError> {
    let key: Vec<u8> = row.try_get(0)?;
    let key = AnswerKey::try_from(key);
    Ok(KeptWindow {
        key: key.map_err(|_| StoreError::Failed("a key of a window has the wrong size".into()))?,
        job: JobId(row.try_get(1)?),
        body: row.try_get(2)?,
    })
}
