//! `Catalog` in PostgreSQL.

use futures_util::FutureExt as _;
use futures_util::try_join;
use serde_json::Value;
use tokio_postgres::{Row, Statement};

use super::Postgres;
use super::connection::{Connection, Param};
use super::page::Listing;
use super::rows::{json, storable};
use crate::domain::id::{DocumentId, SchemaId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::schema::address;
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Catalog, Deleted, Hold, StoreError, StoredDocument, StoredSchema,
};
use crate::store::Search;

const DOCUMENT: &str = "id, name, kind, size, sha256, page_count, uploaded_ms";
const SCHEMA: &str = "id, name, description, definition, metadata, created_ms, updated_ms";
const MATCHING: &str =
    "scope = $1 AND ($2::text IS NULL OR strpos(lower(name COLLATE \"C\"), $2) > 0)";

/// Jobs that are being made of the document are waited for, and then seen.
const LOCK_DOCUMENT: &str = "SELECT 1 FROM documents WHERE scope = $1 AND id = $2 FOR UPDATE";
const DELETE_DOCUMENT: &str = "DELETE FROM documents WHERE scope = $1 AND id = $2 \
     AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.scope = $1 AND document_id = $2 \
     AND ended_ms IS NULL) RETURNING id";

/// Locks of bytes by their hash. Two hashes that share a lock wait for each other, and no more.
const ALONE: (&str, &str) = (
    "SELECT pg_advisory_lock(hashtextextended($1, 0))",
    "SELECT pg_advisory_unlock(hashtextextended($1, 0))",
);
const TOGETHER: (&str, &str) = (
    "SELECT pg_advisory_lock_shared(hashtextextended($1, 0))",
    "SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))",
);

impl Catalog for Postgres {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()> {
        let scope = scope.clone();
        async move {
            let sql = format!(
                "INSERT INTO documents (scope, {DOCUMENT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            );
            let kind = serde_json::to_value(document.kind)?;
            let params: [Param; 8] = [
                &scope.as_str(),
                &document.id.0,
                &storable(&document.name),
                &kind.as_str(),
                &(document.size as i64),
                &document.sha256,
                &i64::from(document.page_count),
                &document.uploaded_at.0,
            ];
            self.pool.connection().await?.execute(&sql, &params).await?;
            Ok(())
        }
        .boxed()
    }

    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {DOCUMENT} FROM documents WHERE scope = $1 AND id = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(document).transpose()
        }
        .boxed()
    }

    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>> {
        let scope = scope.clone();
        async move {
            Listing {
                columns: DOCUMENT,
                from: "documents",
                matching: MATCHING,
                params: &[&scope.as_str(), &Search::of(query.search.as_deref()).text],
                id: "id",
                id_of: |document: &StoredDocument| document.id.0,
                read: document,
            }
            .page(&self.pool, &query)
            .await
        }
        .boxed()
    }

    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        async move {
            let connection = self.pool.connection().await?;
            let lock = connection.statement(LOCK_DOCUMENT).await?;
            let delete = connection.statement(DELETE_DOCUMENT).await?;
            let scope = scope.as_str();
            let key: [Param; 2] = [&scope, &id.0];
            let answers = async {
                Ok(try_join!(
                    connection.begin("BEGIN"),
                    connection.send(&lock, &key),
                    connection.send(&delete, &key),
                    connection.commit(),
                )?)
            };
            let ((), found, gone, ()) = connection.within(answers).await?;
            connection.settle();
            Ok(match (found.is_empty(), gone.is_empty()) {
                (true, _) => Deleted::Missing,
                (false, true) => Deleted::InUse,
                (false, false) => Deleted::Gone,
            })
        }
        .boxed()
    }

    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>> {
        self.old_documents(uploaded, limit).boxed()
    }

    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32> {
        self.delete_old_schemas(updated, limit).boxed()
    }

    fn hold_bytes(&self, sha256: &str, alone: bool) -> Answered<'_, Hold> {
        let sha256 = sha256.to_owned();
        async move {
            let (lock, unlock) = if alone { ALONE } else { TOGETHER };
            let connection = self.pool.connection().await?;
            connection.query(lock, &[&sha256]).await?;
            let release = connection.statement(unlock).await?;
            Ok(Box::new(Held {
                connection,
                release,
                sha256,
            }) as Hold)
        }
        .boxed()
    }

    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool> {
        let sha256 = sha256.to_owned();
        async move {
            let sql = "SELECT 1 FROM documents WHERE sha256 = $1 UNION ALL \
                 SELECT 1 FROM files WHERE sha256 = $1 UNION ALL \
                 SELECT 1 FROM jobs WHERE document_sha256 = $1 AND ended_ms IS NULL LIMIT 1";
            let connection = self.pool.connection().await?;
            Ok(!connection.query(sql, &[&sha256]).await?.is_empty())
        }
        .boxed()
    }

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()> {
        let scope = scope.clone();
        async move {
            let sql = format!(
                "INSERT INTO schemas (scope, {SCHEMA}, address) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            );
            let params: [Param; 9] = [
                &scope.as_str(),
                &schema.id.0,
                &storable(&schema.name),
                &schema.description.as_deref().map(storable),
                &serde_json::to_string(&schema.definition)?,
                &serde_json::to_string(&schema.metadata)?,
                &schema.created_at.0,
                &schema.updated_at.0,
                &address(&schema.definition).map(storable),
            ];
            self.pool.connection().await?.execute(&sql, &params).await?;
            Ok(())
        }
        .boxed()
    }

    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {SCHEMA} FROM schemas WHERE scope = $1 AND id = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(schema).transpose()
        }
        .boxed()
    }

    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>> {
        let scope = scope.clone();
        async move {
            Listing {
                columns: SCHEMA,
                from: "schemas",
                matching: MATCHING,
                params: &[&scope.as_str(), &Search::of(query.search.as_deref()).text],
                id: "id",
                id_of: |schema: &StoredSchema| schema.id.0,
                read: schema,
            }
            .page(&self.pool, &query)
            .await
        }
        .boxed()
    }

    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>> {
        let (scope, address) = (scope.clone(), address.to_owned());
        async move {
            let sql = format!(
                "SELECT {SCHEMA} FROM schemas WHERE scope = $1 AND address = $2 \
                 AND left(address, 200) = left($2, 200) \
                 ORDER BY updated_ms DESC, id DESC LIMIT 1"
            );
            let connection = self.pool.connection().await?;
            let params: [Param; 2] = [&scope.as_str(), &storable(&address)];
            let rows = connection.query(&sql, &params).await?;
            rows.first().map(schema).transpose()
        }
        .boxed()
    }

    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool> {
        let scope = scope.clone();
        async move {
            let sql = "UPDATE schemas SET name = $3, description = $4, definition = $5, \
                 metadata = $6, updated_ms = $7, address = $8 WHERE scope = $1 AND id = $2";
            let params: [Param; 8] = [
                &scope.as_str(),
                &schema.id.0,
                &storable(&schema.name),
                &schema.description.as_deref().map(storable),
                &serde_json::to_string(&schema.definition)?,
                &serde_json::to_string(&schema.metadata)?,
                &schema.updated_at.0,
                &address(&schema.definition).map(storable),
            ];
            let updated = self.pool.connection().await?.execute(sql, &params).await?;
            Ok(updated == 1)
        }
        .boxed()
    }

    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        async move {
            // Jobs keep their plan, so none of them needs the schema any more.
            let sql = "DELETE FROM schemas WHERE scope = $1 AND id = $2";
            let connection = self.pool.connection().await?;
            let gone = connection.execute(sql, &[&scope.as_str(), &id.0]).await?;
            Ok(match gone {
                0 => Deleted::Missing,
                _ => Deleted::Gone,
            })
        }
        .boxed()
    }
}

/// A lock of the session; whatever happens to the connection, it goes with it.
struct Held {
    connection: Connection,
    release: Statement,
    sha256: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Sent, and not waited for: whatever is sent next is answered after it.
        let key: [Param; 1] = [&self.sha256];
        drop(self.connection.send(&self.release, &key).now_or_never());
    }
}

fn document(row: &Row) -> Result<StoredDocument, StoreError> {
    Ok(StoredDocument {
        id: DocumentId(row.try_get(0)?),
        name: row.try_get(1)?,
        kind: serde_json::from_value(Value::String(row.try_get(2)?))?,
        size: row.try_get::<_, i64>(3)? as u64,
        sha256: row.try_get(4)?,
        page_count: row.try_get::<_, i64>(5)? as u32,
        uploaded_at: Time(row.try_get(6)?),
    })
}

fn schema(row: &Row) -> Result<StoredSchema, StoreError> {
    Ok(StoredSchema {
        id: SchemaId(row.try_get(0)?),
        name: row.try_get(1)?,
        description: row.try_get(2)?,
        definition: json(row, 3)?,
        metadata: json(row, 4)?,
        created_at: Time(row.try_get(5)?),
        updated_at: Time(row.try_get(6)?),
    })
}
