//! `Files` in PostgreSQL.

use futures_util::FutureExt as _;
use futures_util::try_join;
use tokio_postgres::Row;

use super::Postgres;
use super::connection::Param;
use super::page::Listing;
use super::rows::storable;
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

/// Uploads of one scope are begun one after the other, so that none passes the limit unseen.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('uploads ' || $1, 0))";
const BEGIN: &str = "INSERT INTO uploads (scope, id, name, media_type, size, sha256, received, \
     created_ms, updated_ms, expires_ms) \
     SELECT $1, $2::uuid, $3::text, $4::text, $5::bigint, $6::text, $7::bigint, $8::bigint, \
     $9::bigint, $10::bigint WHERE (SELECT count(*) FROM uploads \
     WHERE scope = $1 AND expires_ms > $8::bigint) < $11 RETURNING id";
const CHUNKS: &str = "SELECT begins, chunks.size, chunks.sha256 FROM chunks \
     JOIN uploads ON uploads.id = upload_id WHERE scope = $1 AND upload_id = $2 ORDER BY begins";
const CHUNK: &str = "SELECT begins, size, sha256 FROM chunks WHERE upload_id = $1 AND begins = $2";
const FINISH: &str = "WITH gone AS ( \
     DELETE FROM uploads WHERE scope = $1 AND id = $2 AND received = $5::bigint RETURNING id) \
     INSERT INTO files (scope, id, name, media_type, size, sha256, created_ms, expires_ms) \
     SELECT $1, id, $3::text, $4::text, $5::bigint, $6::text, $7::bigint, $8::bigint FROM gone";
const ABANDON: &str = "WITH gone AS ( \
     DELETE FROM uploads WHERE scope = $1 AND id = $2 RETURNING id) \
     SELECT begins, size, sha256 FROM gone LEFT JOIN chunks ON upload_id = gone.id \
     ORDER BY begins";
const OLD_FILES: &str =
    "SELECT scope, id FROM files WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2";
const OLD_UPLOADS: &str =
    "SELECT scope, id FROM uploads WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2";

impl Files for Postgres {
    fn insert_file(&self, scope: &Scope, file: StoredFile) -> Answered<'_, ()> {
        let scope = scope.clone();
        async move {
            let sql = format!(
                "INSERT INTO files (scope, {FILE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            );
            let params: [Param; 8] = [
                &scope.as_str(),
                &file.id.0,
                &storable(&file.name),
                &file.media_type,
                &(file.size as i64),
                &file.sha256,
                &file.created_at.0,
                &file.expires_at.map(|at| at.0),
            ];
            self.pool.connection().await?.execute(&sql, &params).await?;
            Ok(())
        }
        .boxed()
    }

    fn file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {FILE} FROM files WHERE scope = $1 AND id = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(file).transpose()
        }
        .boxed()
    }

    fn files(
        &self,
        scope: &Scope,
        now: Time,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredFile>> {
        let scope = scope.clone();
        async move {
            Listing {
                columns: FILE,
                from: "files",
                matching: "scope = $1 \
                     AND ($2::text IS NULL OR strpos(lower(name COLLATE \"C\"), $2) > 0) \
                     AND (expires_ms IS NULL OR expires_ms > $3)",
                params: &[
                    &scope.as_str(),
                    &Search::of(query.search.as_deref()).text,
                    &now.0,
                ],
                id: "id",
                id_of: |file: &StoredFile| file.id.0,
                read: file,
            }
            .page(&self.pool, &query)
            .await
        }
        .boxed()
    }

    fn delete_file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        let scope = scope.clone();
        async move {
            let sql = format!("DELETE FROM files WHERE scope = $1 AND id = $2 RETURNING {FILE}");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(file).transpose()
        }
        .boxed()
    }

    fn files_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        self.old(OLD_FILES, expired, limit).boxed()
    }

    fn insert_upload(&self, scope: &Scope, upload: StoredUpload, limit: u32) -> Answered<'_, bool> {
        let scope = scope.clone();
        async move { self.begin_upload(&scope, &upload, limit).await }.boxed()
    }

    fn upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredUpload>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {UPLOAD} FROM uploads WHERE scope = $1 AND id = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(upload).transpose()
        }
        .boxed()
    }

    fn chunks(&self, scope: &Scope, id: FileId) -> Answered<'_, Vec<StoredChunk>> {
        let scope = scope.clone();
        async move {
            let connection = self.pool.connection().await?;
            let rows = connection.query(CHUNKS, &[&scope.as_str(), &id.0]).await?;
            rows.iter().map(chunk).collect()
        }
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
        async move { self.append(&scope, id, &chunk, now).await }.boxed()
    }

    fn finish_upload(&self, scope: &Scope, file: StoredFile) -> Answered<'_, Finished> {
        let scope = scope.clone();
        async move {
            let params: [Param; 8] = [
                &scope.as_str(),
                &file.id.0,
                &storable(&file.name),
                &file.media_type,
                &(file.size as i64),
                &file.sha256,
                &file.created_at.0,
                &file.expires_at.map(|at| at.0),
            ];
            let stored = self
                .pool
                .connection()
                .await?
                .execute(FINISH, &params)
                .await?;
            if stored == 1 {
                return Ok(Finished::Stored);
            }
            Ok(match self.upload(&scope, file.id).await? {
                Some(_) => Finished::Changed,
                None => Finished::Missing,
            })
        }
        .boxed()
    }

    fn delete_upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<Vec<StoredChunk>>> {
        let scope = scope.clone();
        async move {
            let connection = self.pool.connection().await?;
            let rows = connection.query(ABANDON, &[&scope.as_str(), &id.0]).await?;
            // An upload without chunks is a row of nulls.
            let mut chunks = Vec::new();
            for row in &rows {
                if row.try_get::<_, Option<i64>>(0)?.is_some() {
                    chunks.push(chunk(row)?);
                }
            }
            Ok((!rows.is_empty()).then_some(chunks))
        }
        .boxed()
    }

    fn uploads_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        self.old(OLD_UPLOADS, expired, limit).boxed()
    }

    fn has_upload(&self, id: FileId) -> Answered<'_, bool> {
        async move {
            let sql = "SELECT 1 FROM uploads WHERE id = $1";
            let connection = self.pool.connection().await?;
            Ok(!connection.query(sql, &[&id.0]).await?.is_empty())
        }
        .boxed()
    }
}

impl Postgres {
    async fn begin_upload(
        &self,
        scope: &Scope,
        upload: &StoredUpload,
        limit: u32,
    ) -> Result<bool, StoreError> {
        let (scope, limit) = (scope.as_str(), i64::from(limit));
        let name = storable(&upload.name);
        let size = upload.size.map(|size| size as i64);
        let received = upload.received as i64;
        let params: [Param; 11] = [
            &scope,
            &upload.id.0,
            &name,
            &upload.media_type,
            &size,
            &upload.sha256,
            &received,
            &upload.created_at.0,
            &upload.updated_at.0,
            &upload.expires_at.0,
            &limit,
        ];
        let whose: [Param; 1] = [&scope];
        let connection = self.pool.connection().await?;
        let lock = connection.statement(LOCK).await?;
        let insert = connection.statement(BEGIN).await?;
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN"),
                connection.send(&lock, &whose),
                connection.send(&insert, &params),
                connection.commit(),
            )?)
        };
        let ((), _, inserted, ()) = connection.within(answers).await?;
        connection.settle();
        Ok(!inserted.is_empty())
    }

    /// One that appends to the same upload is waited for, and then seen.
    async fn append(
        &self,
        scope: &Scope,
        id: FileId,
        new: &StoredChunk,
        now: Time,
    ) -> Result<Appended, StoreError> {
        let sql = format!(
            "WITH moved AS ( \
             UPDATE uploads SET received = received + $5::bigint, updated_ms = $6 \
             WHERE scope = $1 AND id = $2 AND received = $3::bigint RETURNING {UPLOAD}), \
             written AS (INSERT INTO chunks (upload_id, begins, size, sha256) \
             SELECT id, $3::bigint, $5::bigint, $4::text FROM moved) \
             SELECT {UPLOAD} FROM moved"
        );
        let (offset, size) = (new.offset as i64, new.size as i64);
        let params: [Param; 6] = [&scope.as_str(), &id.0, &offset, &new.sha256, &size, &now.0];
        let connection = self.pool.connection().await?;
        let moved = connection.query(&sql, &params).await?;
        if let Some(row) = moved.first() {
            return Ok(Appended::Stored(upload(row)?));
        }
        let there = connection.query(CHUNK, &[&id.0, &offset]).await?;
        drop(connection);
        Ok(match self.upload(scope, id).await? {
            Some(upload) => Appended::Elsewhere(upload, there.first().map(chunk).transpose()?),
            None => Appended::Missing,
        })
    }

    async fn old(
        &self,
        sql: &'static str,
        expired: Time,
        limit: u32,
    ) -> Result<Vec<(Scope, FileId)>, StoreError> {
        let connection = self.pool.connection().await?;
        let limit = i64::from(limit);
        let rows = connection.query(sql, &[&expired.0, &limit]).await?;
        let file = |row: &Row| {
            let scope = Scope::new(row.try_get::<_, String>(0)?);
            Ok((scope, FileId(row.try_get(1)?)))
        };
        rows.iter().map(file).collect()
    }
}

fn file(row: &Row) -> Result<StoredFile, StoreError> {
    Ok(StoredFile {
        id: FileId(row.try_get(0)?),
        name: row.try_get(1)?,
        media_type: row.try_get(2)?,
        size: row.try_get::<_, i64>(3)? as u64,
        sha256: row.try_get(4)?,
        created_at: Time(row.try_get(5)?),
        expires_at: row.try_get::<_, Option<i64>>(6)?.map(Time),
    })
}

fn upload(row: &Row) -> Result<StoredUpload, StoreError> {
    Ok(StoredUpload {
        id: FileId(row.try_get(0)?),
        name: row.try_get(1)?,
        media_type: row.try_get(2)?,
        size: row.try_get::<_, Option<i64>>(3)?.map(|size| size as u64),
        sha256: row.try_get(4)?,
        received: row.try_get::<_, i64>(5)? as u64,
        created_at: Time(row.try_get(6)?),
        updated_at: Time(row.try_get(7)?),
        expires_at: Time(row.try_get(8)?),
    })
}

fn chunk(row: &Row) -> Result<StoredChunk, StoreError> {
    Ok(StoredChunk {
        offset: row.try_get::<_, i64>(0)? as u64,
        size: row.try_get::<_, i64>(1)? as u64,
        sha256: row.try_get(2)?,
    })
}
