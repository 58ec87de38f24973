//! `Definitions` in SQLite.

use futures_util::FutureExt as _;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::page::Listing;
use super::rows::{has, json, uuid};
use super::{Change, Sqlite};
use crate::domain::id::Scope;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Defined, DefinitionKind, Definitions, Deleted, StoreError, StoredDefinition,
};
use crate::store::{Search, definition_kind};

const DEFINITION: &str = "kind, id, name, body, created_ms, updated_ms";

impl Definitions for Sqlite {
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined> {
        let scope = scope.clone();
        self.write(move |connection, _| insert(connection, &scope, &definition, limit))
            .boxed()
    }

    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {DEFINITION} FROM definitions WHERE scope = ?1 AND kind = ?2 AND id = ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), kind.name(), id.as_bytes()])?;
            rows.next()?.map(definition).transpose()
        })
        .boxed()
    }

    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>> {
        let (scope, name) = (scope.clone(), name.to_owned());
        self.read(move |connection| {
            let sql = format!(
                "SELECT {DEFINITION} FROM definitions WHERE scope = ?1 AND kind = ?2 AND name = ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), kind.name(), name])?;
            rows.next()?.map(definition).transpose()
        })
        .boxed()
    }

    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>> {
        let scope = scope.clone();
        self.read(move |connection| {
            Listing {
                columns: DEFINITION,
                matching: "FROM definitions WHERE scope = ?1 AND kind = ?2 \
                     AND (?3 IS NULL OR instr(lower(name), ?3) > 0)",
                params: &[
                    &scope.as_str(),
                    &kind.name(),
                    &Search::of(query.search.as_deref()).text,
                ],
                id: "id",
                id_of: |definition: &StoredDefinition| definition.id,
                read: definition,
            }
            .page(connection, &query)
        })
        .boxed()
    }

    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined> {
        let scope = scope.clone();
        self.write(move |connection, _| replace(connection, &scope, &definition))
            .boxed()
    }

    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            let gone = connection
                .prepare_cached(
                    "DELETE FROM definitions WHERE scope = ?1 AND kind = ?2 AND id = ?3",
                )?
                .execute(params![scope.as_str(), kind.name(), id.as_bytes()])?;
            Ok(match gone {
                0 => Change::Undo(Deleted::Missing),
                _ => Change::Keep(Deleted::Gone),
            })
        })
        .boxed()
    }
}

fn insert(
    connection: &Connection,
    scope: &Scope,
    definition: &StoredDefinition,
    limit: u32,
) -> Result<Change<Defined>, StoreError> {
    if is_taken(connection, scope, definition)? {
        return Ok(Change::Undo(Defined::NameTaken));
    }
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT INTO definitions (scope, {DEFINITION}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
             WHERE (SELECT count(*) FROM definitions WHERE scope = ?1 AND kind = ?2) < ?8"
        ))?
        .execute(params![
            scope.as_str(),
            definition.kind.name(),
            definition.id.as_bytes(),
            definition.name,
            serde_json::to_string(&definition.body)?,
            definition.created_at.0,
            definition.updated_at.0,
            limit,
        ])?;
    Ok(match inserted {
        0 => Change::Undo(Defined::TooMany),
        _ => Change::Keep(Defined::Stored),
    })
}

fn replace(
    connection: &Connection,
    scope: &Scope,
    definition: &StoredDefinition,
) -> Result<Change<Defined>, StoreError> {
    if is_taken(connection, scope, definition)? {
        return Ok(Change::Undo(Defined::NameTaken));
    }
    let replaced = connection
        .prepare_cached(
            "UPDATE definitions SET name = ?4, body = ?5, updated_ms = ?6 \
             WHERE scope = ?1 AND kind = ?2 AND id = ?3",
        )?
        .execute(params![
            scope.as_str(),
            definition.kind.name(),
            definition.id.as_bytes(),
            definition.name,
            serde_json::to_string(&definition.body)?,
            definition.updated_at.0,
        ])?;
    Ok(match replaced {
        0 => Change::Undo(Defined::Missing),
        _ => Change::Keep(Defined::Stored),
    })
}

/// Whether another one has the name.
fn is_taken(
    connection: &Connection,
    scope: &Scope,
    definition: &StoredDefinition,
) -> Result<bool, StoreError> {
    has(
        connection,
        "SELECT 1 FROM definitions WHERE scope = ?1 AND kind = ?2 AND name = ?3 AND id <> ?4",
        params![
            scope.as_str(),
            definition.kind.name(),
            definition.name,
            definition.id.as_bytes(),
        ],
    )
}

fn definition(row: &Row) -> Result<StoredDefinition, StoreError> {
    Ok(StoredDefinition {
        kind: definition_kind(&row.get::<_, String>(0)?)?,
        id: uuid(row, 1)?,
        name: row.get(2)?,
        body: json(row, 3)?,
        created_at: Time(row.get(4)?),
        updated_at: Time(row.get(5)?),
    })
}
