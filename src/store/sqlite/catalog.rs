//! `Catalog` in SQLite.

use futures_util::FutureExt as _;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::page::Listing;
use super::rows::{has, json, uuid};
use super::{Change, Sqlite};
use crate::domain::id::{DocumentId, SchemaId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::schema::address;
use crate::domain::time::Time;
use crate::engine::ports::{Answered, Catalog, Deleted, StoreError, StoredDocument, StoredSchema};
use crate::store::Search;

const DOCUMENT: &str = "id, name, kind, size, sha256, page_count, uploaded_ms";
const SCHEMA: &str = "id, name, description, definition, metadata, created_ms, updated_ms";

impl Catalog for Sqlite {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            insert_document(connection, &scope, &document).map(Change::Keep)
        })
        .boxed()
    }

    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {DOCUMENT} FROM documents WHERE scope = ?1 AND id = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), id.0.as_bytes()])?;
            rows.next()?.map(document).transpose()
        })
        .boxed()
    }

    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>> {
        let scope = scope.clone();
        self.read(move |connection| {
            Listing {
                columns: DOCUMENT,
                matching: "FROM documents WHERE scope = ?1 \
                     AND (?2 IS NULL OR instr(lower(name), ?2) > 0)",
                params: &[&scope.as_str(), &Search::of(query.search.as_deref()).text],
                id: "id",
                id_of: |document: &StoredDocument| document.id.0,
                read: document,
            }
            .page(connection, &query)
        })
        .boxed()
    }

    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            let key = params![scope.as_str(), id.0.as_bytes()];
            let is_used = has(
                connection,
                "SELECT 1 FROM jobs WHERE scope = ?1 AND document_id = ?2 AND ended_ms IS NULL",
                key,
            )?;
            if is_used {
                return Ok(Change::Undo(Deleted::InUse));
            }
            delete(
                connection,
                "DELETE FROM documents WHERE scope = ?1 AND id = ?2",
                key,
            )
        })
        .boxed()
    }

    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT scope, id FROM documents INDEXED BY documents_by_age \
                 WHERE uploaded_ms < ?1 AND NOT EXISTS (SELECT 1 FROM jobs \
                 WHERE jobs.document_id = documents.id AND ended_ms IS NULL) \
                 ORDER BY uploaded_ms LIMIT ?2",
            )?;
            let mut rows = statement.query(params![uploaded.0, limit])?;
            let mut documents = Vec::new();
            while let Some(row) = rows.next()? {
                let scope = Scope::new(row.get::<_, String>(0)?);
                documents.push((scope, DocumentId(uuid(row, 1)?)));
            }
            Ok(documents)
        })
        .boxed()
    }

    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool> {
        let sha256 = sha256.to_owned();
        self.read(move |connection| {
            has(
                connection,
                "SELECT 1 FROM documents WHERE sha256 = ?1 UNION ALL \
                 SELECT 1 FROM files WHERE sha256 = ?1 UNION ALL \
                 SELECT 1 FROM jobs WHERE document_sha256 = ?1 AND ended_ms IS NULL",
                [sha256],
            )
        })
        .boxed()
    }

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            insert_schema(connection, &scope, &schema).map(Change::Keep)
        })
        .boxed()
    }

    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {SCHEMA} FROM schemas WHERE scope = ?1 AND id = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), id.0.as_bytes()])?;
            rows.next()?.map(schema).transpose()
        })
        .boxed()
    }

    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>> {
        let scope = scope.clone();
        self.read(move |connection| {
            Listing {
                columns: SCHEMA,
                matching: "FROM schemas WHERE scope = ?1 \
                     AND (?2 IS NULL OR instr(lower(name), ?2) > 0)",
                params: &[&scope.as_str(), &Search::of(query.search.as_deref()).text],
                id: "id",
                id_of: |schema: &StoredSchema| schema.id.0,
                read: schema,
            }
            .page(connection, &query)
        })
        .boxed()
    }

    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>> {
        let (scope, address) = (scope.clone(), address.to_owned());
        self.read(move |connection| {
            let sql = format!(
                "SELECT {SCHEMA} FROM schemas WHERE scope = ?1 AND address = ?2 \
                 ORDER BY updated_ms DESC, id DESC LIMIT 1"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), address])?;
            rows.next()?.map(schema).transpose()
        })
        .boxed()
    }

    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            update_schema(connection, &scope, &schema).map(Change::Keep)
        })
        .boxed()
    }

    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            // Jobs keep their plan, so none of them needs the schema any more.
            let key = params![scope.as_str(), id.0.as_bytes()];
            delete(
                connection,
                "DELETE FROM schemas WHERE scope = ?1 AND id = ?2",
                key,
            )
        })
        .boxed()
    }

    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32> {
        self.write(move |connection, _| {
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM schemas WHERE rowid IN (SELECT rowid FROM schemas \
                     INDEXED BY schemas_by_age WHERE updated_ms < ?1 LIMIT ?2)",
                )?
                .execute(params![updated.0, limit])?;
            Ok(Change::Keep(deleted as u32))
        })
        .boxed()
    }
}

fn delete(
    connection: &Connection,
    sql: &str,
    key: &[&dyn rusqlite::ToSql],
) -> Result<Change<Deleted>, StoreError> {
    Ok(match connection.prepare_cached(sql)?.execute(key)? {
        0 => Change::Undo(Deleted::Missing),
        _ => Change::Keep(Deleted::Gone),
    })
}

fn insert_document(
    connection: &Connection,
    scope: &Scope,
    document: &StoredDocument,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO documents (scope, {DOCUMENT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            scope.as_str(),
            document.id.0.as_bytes(),
            document.name,
            serde_json::to_value(document.kind)?.as_str(),
            document.size as i64,
            document.sha256,
            document.page_count,
            document.uploaded_at.0,
        ])?;
    Ok(())
}

fn document(row: &Row) -> Result<StoredDocument, StoreError> {
    Ok(StoredDocument {
        id: DocumentId(uuid(row, 0)?),
        name: row.get(1)?,
        kind: serde_json::from_value(Value::String(row.get(2)?))?,
        size: row.get::<_, i64>(3)? as u64,
        sha256: row.get(4)?,
        page_count: row.get(5)?,
        uploaded_at: Time(row.get(6)?),
    })
}

fn insert_schema(
    connection: &Connection,
    scope: &Scope,
    schema: &StoredSchema,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO schemas (scope, {SCHEMA}, address) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        ))?
        .execute(params![
            scope.as_str(),
            schema.id.0.as_bytes(),
            schema.name,
            schema.description,
            serde_json::to_string(&schema.definition)?,
            serde_json::to_string(&schema.metadata)?,
            schema.created_at.0,
            schema.updated_at.0,
            address(&schema.definition),
        ])?;
    Ok(())
}

fn update_schema(
    connection: &Connection,
    scope: &Scope,
    schema: &StoredSchema,
) -> Result<bool, StoreError> {
    let updated = connection
        .prepare_cached(
            "UPDATE schemas SET name = ?3, description = ?4, definition = ?5, metadata = ?6, \
             updated_ms = ?7, address = ?8 WHERE scope = ?1 AND id = ?2",
        )?
        .execute(params![
            scope.as_str(),
            schema.id.0.as_bytes(),
            schema.name,
            schema.description,
            serde_json::to_string(&schema.definition)?,
            serde_json::to_string(&schema.metadata)?,
            schema.updated_at.0,
            address(&schema.definition),
        ])?;
    Ok(updated == 1)
}

fn schema(row: &Row) -> Result<StoredSchema, StoreError> {
    Ok(StoredSchema {
        id: SchemaId(uuid(row, 0)?),
        name: row.get(1)?,
        description: row.get(2)?,
        definition: json(row, 3)?,
        metadata: json(row, 4)?,
        created_at: Time(row.get(5)?),
        updated_at: Time(row.get(6)?),
    })
}
