//! `Keys` in SQLite: for the server, and for a command beside it.

use std::future::ready;
use std::path::Path;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rusqlite::{Connection, Row, params};

use super::rows::has;
use super::{Change, Sqlite, open_file};
use crate::domain::id::Scope;
use crate::domain::time::Time;
use crate::engine::ports::{Answered, Keys, SECRET_BYTES, StoreError, StoredKey};

const KEY: &str = "id, hash, user, name, created_ms, revoked_ms, max_active_jobs";

impl Keys for Sqlite {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).boxed()
    }

    fn keys(&self) -> Answered<'_, Vec<StoredKey>> {
        self.read(list).boxed()
    }

    fn has_keys(&self) -> Answered<'_, bool> {
        self.read(has_any).boxed()
    }

    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool> {
        self.write(move |connection, _| insert(connection, &key).map(Change::Keep))
            .boxed()
    }

    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>> {
        let id = id.to_owned();
        self.write(move |connection, _| revoke(connection, &id, at).map(Change::Keep))
            .boxed()
    }

    fn limit_key(&self, id: &str, max_active_jobs: Option<u32>) -> Answered<'_, Option<StoredKey>> {
        let id = id.to_owned();
        self.write(move |connection, _| limit(connection, &id, max_active_jobs).map(Change::Keep))
            .boxed()
    }

    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]> {
        let name = name.to_owned();
        self.write(move |connection, _| secret(connection, &name, &fresh).map(Change::Keep))
            .boxed()
    }
}

/// The keys in a file that a server may have open: one connection, no threads, and no hand on
/// leases or on the write-ahead log. Blocks; for a command that does nothing else.
pub struct SqliteKeys {
    connection: Mutex<Connection>,
}

impl SqliteKeys {
    /// Opens or creates the file and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Mutex::new(open_file(path)?),
        })
    }

    /// Whether some key is there that was not revoked.
    pub fn has_usable_key(&self) -> Result<bool, StoreError> {
        let usable = "SELECT 1 FROM keys WHERE revoked_ms IS NULL";
        has(&self.connection.lock(), usable, ())
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Answered<'_, T> {
        ready(work(&self.connection.lock())).boxed()
    }
}

impl Keys for SqliteKeys {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>> {
        self.run(|connection| find(connection, id))
    }

    fn keys(&self) -> Answered<'_, Vec<StoredKey>> {
        self.run(list)
    }

    fn has_keys(&self) -> Answered<'_, bool> {
        self.run(has_any)
    }

    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool> {
        self.run(|connection| insert(connection, &key))
    }

    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>> {
        self.run(|connection| revoke(connection, id, at))
    }

    fn limit_key(&self, id: &str, max_active_jobs: Option<u32>) -> Answered<'_, Option<StoredKey>> {
        self.run(|connection| limit(connection, id, max_active_jobs))
    }

    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]> {
        self.run(|connection| secret(connection, name, &fresh))
    }
}

fn find(connection: &Connection, id: &str) -> Result<Option<StoredKey>, StoreError> {
    let sql = format!("SELECT {KEY} FROM keys WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(key).transpose()
}

fn list(connection: &Connection) -> Result<Vec<StoredKey>, StoreError> {
    let sql = format!("SELECT {KEY} FROM keys ORDER BY created_ms, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_and_then((), key)?;
    rows.collect()
}

fn has_any(connection: &Connection) -> Result<bool, StoreError> {
    has(connection, "SELECT 1 FROM keys", ())
}

fn insert(connection: &Connection, key: &StoredKey) -> Result<bool, StoreError> {
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT INTO keys ({KEY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
        ))?
        .execute(params![
            key.id,
            key.hash,
            key.user.as_str(),
            key.name,
            key.created_at.0,
            key.revoked_at.map(|at| at.0),
            key.max_active_jobs,
        ])?;
    Ok(inserted == 1)
}

fn revoke(connection: &Connection, id: &str, at: Time) -> Result<Option<StoredKey>, StoreError> {
    let sql = format!(
        "UPDATE keys SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1 RETURNING {KEY}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![id, at.0])?;
    rows.next()?.map(key).transpose()
}

fn limit(
    connection: &Connection,
    id: &str,
    max_active_jobs: Option<u32>,
) -> Result<Option<StoredKey>, StoreError> {
    let sql = format!("UPDATE keys SET max_active_jobs = ?2 WHERE id = ?1 RETURNING {KEY}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![id, max_active_jobs])?;
    rows.next()?.map(key).transpose()
}

/// One statement, so that of two that come first one wins and both read the same.
fn secret(
    connection: &Connection,
    name: &str,
    fresh: &[u8; SECRET_BYTES],
) -> Result<[u8; SECRET_BYTES], StoreError> {
    let secret = connection
        .prepare_cached(
            "INSERT INTO secrets (name, secret) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET secret = secret RETURNING secret",
        )?
        .query_row(params![name, fresh], |row| row.get(0))?;
    Ok(secret)
}

fn key(row: &Row) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        id: row.get(0)?,
        hash: row.get(1)?,
        user: Scope::new(row.get::<_, String>(2)?),
        name: row.get(3)?,
        created_at: Time(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Time),
        max_active_jobs: row.get(6)?,
    })
}
