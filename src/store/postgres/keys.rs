//! `Keys` in PostgreSQL.

use futures_util::FutureExt as _;
use tokio_postgres::Row;

use super::Postgres;
use super::connection::Param;
use super::rows::storable;
use crate::domain::id::Scope;
use crate::domain::time::Time;
use crate::engine::ports::{Answered, Keys, SECRET_BYTES, StoreError, StoredKey};

const KEY: &str = "id, hash, owner, name, created_ms, revoked_ms, max_active_jobs";
/// One statement, so that of two that come first one wins and both read the same.
const SECRET: &str = "INSERT INTO secrets (name, secret) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET secret = secrets.secret RETURNING secret";
/// Whether some key is there that was not revoked.
pub const USABLE: &str = "SELECT EXISTS (SELECT 1 FROM keys WHERE revoked_ms IS NULL)";

impl Keys for Postgres {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>> {
        let id = id.to_owned();
        async move {
            let sql = format!("SELECT {KEY} FROM keys WHERE id = $1");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&id]).await?;
            rows.first().map(key).transpose()
        }
        .boxed()
    }

    fn keys(&self) -> Answered<'_, Vec<StoredKey>> {
        async move {
            let sql = format!("SELECT {KEY} FROM keys ORDER BY created_ms, id");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[]).await?;
            rows.iter().map(key).collect()
        }
        .boxed()
    }

    fn has_keys(&self) -> Answered<'_, bool> {
        async move {
            let connection = self.pool.connection().await?;
            let rows = connection.query("SELECT 1 FROM keys LIMIT 1", &[]).await?;
            Ok(!rows.is_empty())
        }
        .boxed()
    }

    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool> {
        async move {
            let sql = format!(
                "INSERT INTO keys ({KEY}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
            );
            let params: [Param; 7] = [
                &key.id,
                &key.hash.as_slice(),
                &key.user.as_str(),
                &storable(&key.name),
                &key.created_at.0,
                &key.revoked_at.map(|at| at.0),
                &key.max_active_jobs.map(i64::from),
            ];
            let inserted = self.pool.connection().await?.execute(&sql, &params).await?;
            Ok(inserted == 1)
        }
        .boxed()
    }

    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>> {
        let id = id.to_owned();
        async move {
            let sql = format!(
                "UPDATE keys SET revoked_ms = coalesce(revoked_ms, $2) WHERE id = $1 \
                 RETURNING {KEY}"
            );
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&id, &at.0]).await?;
            rows.first().map(key).transpose()
        }
        .boxed()
    }

    fn limit_key(&self, id: &str, max_active_jobs: Option<u32>) -> Answered<'_, Option<StoredKey>> {
        let (id, limit) = (id.to_owned(), max_active_jobs.map(i64::from));
        async move {
            let sql = format!("UPDATE keys SET max_active_jobs = $2 WHERE id = $1 RETURNING {KEY}");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&id, &limit]).await?;
            rows.first().map(key).transpose()
        }
        .boxed()
    }

    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]> {
        let name = name.to_owned();
        async move {
            let connection = self.pool.connection().await?;
            let rows = connection
                .query(SECRET, &[&name, &fresh.as_slice()])
                .await?;
            let none = || StoreError::Failed("a secret has no row".into());
            bytes(rows.first().ok_or_else(none)?, 0)
        }
        .boxed()
    }
}

fn key(row: &Row) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        id: row.try_get(0)?,
        hash: bytes(row, 1)?,
        user: Scope::new(row.try_get::<_, String>(2)?),
        name: row.try_get(3)?,
        created_at: Time(row.try_get(4)?),
        revoked_at: row.try_get::<_, Option<i64>>(5)?.map(Time),
        // At least 1, and it came from such a number.
        max_active_jobs: row.try_get::<_, Option<i64>>(6)?.map(|limit| limit as u32),
    })
}

fn bytes(row: &Row, at: usize) -> Result<[u8; SECRET_BYTES], StoreError> {
    let bytes: &[u8] = row.try_get(at)?;
    let odd = |_| StoreError::Failed("a secret has another length than it should".into());
    bytes.try_into().map_err(odd)
}
