//! `Files` in SQLite.

use futures_util::FutureExt as _;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::page::Listing;
use super::rows::{has, uuid};
use super::{Change, Sqlite};
use crate::domain::id::{FileId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Appended, Files, Finished, StoreError, StoredChunk, StoredFile, StoredUpload,
};
use crate::store::Search;

const FILE: &str = "id, name, media_type, size, sha256, created_ms, expires_ms";
const UPLOAD: &str =
    "id, name, media_type, size, sha256, received, created_ms, updated_ms, expires_ms";

impl Files for Sqlite {
    fn insert_file(&self, scope: &Scope, file: StoredFile) -> Answered<'_, ()> {
        let scope = scope.clone();
        self.write(move |connection, _| insert_file(connection, &scope, &file).map(Change::Keep))
            .boxed()
    }

    fn file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        let scope = scope.clone();
        self.read(move |connection| one_file(connection, &scope, id))
            .boxed()
    }

    fn files(
        &self,
        scope: &Scope,
        now: Time,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredFile>> {
        let scope = scope.clone();
        self.read(move |connection| {
            Listing {
                columns: FILE,
                matching: "FROM files WHERE scope = ?1 \
                     AND (?2 IS NULL OR instr(lower(name), ?2) > 0) \
                     AND (expires_ms IS NULL OR expires_ms > ?3)",
                params: &[
                    &scope.as_str(),
                    &Search::of(query.search.as_deref()).text,
                    &now.0,
                ],
                id: "id",
                id_of: |file: &StoredFile| file.id.0,
                read: file,
            }
            .page(connection, &query)
        })
        .boxed()
    }

    fn delete_file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            let Some(file) = one_file(connection, &scope, id)? else {
                return Ok(Change::Undo(None));
            };
            connection
                .prepare_cached("DELETE FROM files WHERE scope = ?1 AND id = ?2")?
                .execute(params![scope.as_str(), id.0.as_bytes()])?;
            Ok(Change::Keep(Some(file)))
        })
        .boxed()
    }

    fn files_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        let sql = "SELECT scope, id FROM files WHERE expires_ms <= ?1 \
             ORDER BY expires_ms LIMIT ?2";
        self.read(move |connection| old(connection, sql, expired, limit))
            .boxed()
    }

    fn insert_upload(&self, scope: &Scope, upload: StoredUpload, limit: u32) -> Answered<'_, bool> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            insert_upload(connection, &scope, &upload, limit).map(Change::Keep)
        })
        .boxed()
    }

    fn upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredUpload>> {
        let scope = scope.clone();
        self.read(move |connection| one_upload(connection, &scope, id))
            .boxed()
    }

    fn chunks(&self, scope: &Scope, id: FileId) -> Answered<'_, Vec<StoredChunk>> {
        let scope = scope.clone();
        self.read(move |connection| chunks(connection, &scope, id))
            .boxed()
    }

    fn append_chunk(
        &self,
        scope: &Scope,
        id: FileId,
        chunk: StoredChunk,
        now: Time,
    ) -> Answered<'_, Appended> {
        let scope = scope.clone();
        self.write(move |connection, _| append(connection, &scope, id, &chunk, now))
            .boxed()
    }

    fn finish_upload(&self, scope: &Scope, file: StoredFile) -> Answered<'_, Finished> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            let Some(upload) = one_upload(connection, &scope, file.id)? else {
                return Ok(Change::Undo(Finished::Missing));
            };
            if upload.received != file.size {
                return Ok(Change::Undo(Finished::Changed));
            }
            forget(connection, file.id)?;
            insert_file(connection, &scope, &file)?;
            Ok(Change::Keep(Finished::Stored))
        })
        .boxed()
    }

    fn delete_upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<Vec<StoredChunk>>> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            if one_upload(connection, &scope, id)?.is_none() {
                return Ok(Change::Undo(None));
            }
            let gone = chunks(connection, &scope, id)?;
            forget(connection, id)?;
            Ok(Change::Keep(Some(gone)))
        })
        .boxed()
    }

    fn uploads_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        let sql = "SELECT scope, id FROM uploads WHERE expires_ms <= ?1 \
             ORDER BY expires_ms LIMIT ?2";
        self.read(move |connection| old(connection, sql, expired, limit))
            .boxed()
    }

    fn has_upload(&self, id: FileId) -> Answered<'_, bool> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM uploads WHERE id = ?1";
            has(connection, sql, [id.0.as_bytes()])
        })
        .boxed()
    }
}

fn insert_file(
    connection: &Connection,
    scope: &Scope,
    file: &StoredFile,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO files (scope, {FILE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            scope.as_str(),
            file.id.0.as_bytes(),
            file.name,
            file.media_type,
            file.size as i64,
            file.sha256,
            file.created_at.0,
            file.expires_at.map(|at| at.0),
        ])?;
    Ok(())
}

fn one_file(
    connection: &Connection,
    scope: &Scope,
    id: FileId,
) -> Result<Option<StoredFile>, StoreError> {
    let sql = format!("SELECT {FILE} FROM files WHERE scope = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![scope.as_str(), id.0.as_bytes()])?;
    rows.next()?.map(file).transpose()
}

fn insert_upload(
    connection: &Connection,
    scope: &Scope,
    upload: &StoredUpload,
    limit: u32,
) -> Result<bool, StoreError> {
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT INTO uploads (scope, {UPLOAD}) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 \
             WHERE (SELECT count(*) FROM uploads WHERE scope = ?1 AND expires_ms > ?8) < ?11"
        ))?
        .execute(params![
            scope.as_str(),
            upload.id.0.as_bytes(),
            upload.name,
            upload.media_type,
            upload.size.map(|size| size as i64),
            upload.sha256,
            upload.received as i64,
            upload.created_at.0,
            upload.updated_at.0,
            upload.expires_at.0,
            limit,
        ])?;
    Ok(inserted == 1)
}

fn one_upload(
    connection: &Connection,
    scope: &Scope,
    id: FileId,
) -> Result<Option<StoredUpload>, StoreError> {
    let sql = format!("SELECT {UPLOAD} FROM uploads WHERE scope = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![scope.as_str(), id.0.as_bytes()])?;
    rows.next()?.map(upload).transpose()
}

fn chunks(
    connection: &Connection,
    scope: &Scope,
    id: FileId,
) -> Result<Vec<StoredChunk>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT begins, chunks.size, chunks.sha256 FROM chunks \
         JOIN uploads ON uploads.id = upload_id \
         WHERE scope = ?1 AND upload_id = ?2 ORDER BY begins",
    )?;
    let rows = statement.query_map(params![scope.as_str(), id.0.as_bytes()], chunk)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn append(
    connection: &Connection,
    scope: &Scope,
    id: FileId,
    new: &StoredChunk,
    now: Time,
) -> Result<Change<Appended>, StoreError> {
    let Some(upload) = one_upload(connection, scope, id)? else {
        return Ok(Change::Undo(Appended::Missing));
    };
    if upload.received != new.offset {
        let there = connection
            .prepare_cached(
                "SELECT begins, size, sha256 FROM chunks WHERE upload_id = ?1 AND begins = ?2",
            )?
            .query_row(params![id.0.as_bytes(), new.offset as i64], chunk)
            .optional()?;
        return Ok(Change::Undo(Appended::Elsewhere(upload, there)));
    }
    connection
        .prepare_cached(
            "INSERT INTO chunks (upload_id, begins, size, sha256) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            id.0.as_bytes(),
            new.offset as i64,
            new.size as i64,
            new.sha256
        ])?;
    let after = StoredUpload {
        received: upload.received + new.size,
        updated_at: now,
        ..upload
    };
    connection
        .prepare_cached("UPDATE uploads SET received = ?2, updated_ms = ?3 WHERE id = ?1")?
        .execute(params![id.0.as_bytes(), after.received as i64, now.0])?;
    Ok(Change::Keep(Appended::Stored(after)))
}

/// Chunks go with their upload.
fn forget(connection: &Connection, id: FileId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM uploads WHERE id = ?1")?
        .execute([id.0.as_bytes()])?;
    Ok(())
}

fn old(
    connection: &Connection,
    sql: &str,
    expired: Time,
    limit: u32,
) -> Result<Vec<(Scope, FileId)>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![expired.0, limit], |row| {
        let scope = Scope::new(row.get::<_, String>(0)?);
        Ok((scope, FileId(uuid(row, 1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn file(row: &Row) -> Result<StoredFile, StoreError> {
    Ok(StoredFile {
        id: FileId(uuid(row, 0)?),
        name: row.get(1)?,
        media_type: row.get(2)?,
        size: row.get::<_, i64>(3)? as u64,
        sha256: row.get(4)?,
        created_at: Time(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Time),
    })
}

fn upload(row: &Row) -> Result<StoredUpload, StoreError> {
    Ok(StoredUpload {
        id: FileId(uuid(row, 0)?),
        name: row.get(1)?,
        media_type: row.get(2)?,
        size: row.get::<_, Option<i64>>(3)?.map(|size| size as u64),
        sha256: row.get(4)?,
        received: row.get::<_, i64>(5)? as u64,
        created_at: Time(row.get(6)?),
        updated_at: Time(row.get(7)?),
        expires_at: Time(row.get(8)?),
    })
}

fn chunk(row: &Row) -> rusqlite::Result<StoredChunk> {
    Ok(StoredChunk {
        offset: row.get::<_, i64>(0)? as u64,
        size: row.get::<_, i64>(1)? as u64,
        sha256: row.get(2)?,
    })
}
