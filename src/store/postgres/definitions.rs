//! `Definitions` in PostgreSQL.

use futures_util::FutureExt as _;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::connection::Param;
use super::page::Listing;
use super::rows::{json, storable};
use crate::domain::id::Scope;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::engine::ports::{
    Answered, Defined, DefinitionKind, Definitions, Deleted, StoreError, StoredDefinition,
};
use crate::store::{Search, definition_kind};

const DEFINITION: &str = "kind, id, name, body, created_ms, updated_ms";
const NAMED: &str = "SELECT id FROM definitions WHERE scope = $1 AND kind = $2 AND name = $3";
/// Two inserts at once may together go one beyond the limit, which is there to bound the table.
const INSERT: &str = "INSERT INTO definitions (scope, kind, id, name, body, created_ms, updated_ms) \
     SELECT $1, $2, $3, $4, $5, $6, $7 WHERE \
     (SELECT count(*) FROM definitions WHERE scope = $1 AND kind = $2) < $8 ON CONFLICT DO NOTHING";
/// Where two take one name at once, the index fails the later one.
const REPLACE: &str = "UPDATE definitions SET name = $4, body = $5, updated_ms = $6 \
     WHERE scope = $1 AND kind = $2 AND id = $3 AND NOT EXISTS (SELECT 1 FROM definitions AS other \
     WHERE other.scope = $1 AND other.kind = $2 AND other.name = $4 AND other.id <> $3)";

impl Definitions for Postgres {
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined> {
        let scope = scope.clone();
        async move {
            let (scope, kind) = (scope.as_str(), definition.kind.name());
            let (name, limit) = (storable(&definition.name), i64::from(limit));
            let body = serde_json::to_string(&definition.body)?;
            let params: [Param; 8] = [
                &scope,
                &kind,
                &definition.id,
                &name,
                &body,
                &definition.created_at.0,
                &definition.updated_at.0,
                &limit,
            ];
            let connection = self.pool.connection().await?;
            if connection.execute(INSERT, &params).await? == 1 {
                return Ok(Defined::Stored);
            }
            let named = connection.query(NAMED, &[&scope, &kind, &name]).await?;
            Ok(if named.is_empty() {
                Defined::TooMany
            } else {
                Defined::NameTaken
            })
        }
        .boxed()
    }

    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>> {
        let scope = scope.clone();
        async move {
            let sql = format!(
                "SELECT {DEFINITION} FROM definitions WHERE scope = $1 AND kind = $2 AND id = $3"
            );
            let connection = self.pool.connection().await?;
            let params: [Param; 3] = [&scope.as_str(), &kind.name(), &id];
            let rows = connection.query(&sql, &params).await?;
            rows.first().map(definition).transpose()
        }
        .boxed()
    }

    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>> {
        let (scope, name) = (scope.clone(), name.to_owned());
        async move {
            let sql = format!(
                "SELECT {DEFINITION} FROM definitions WHERE scope = $1 AND kind = $2 AND name = $3"
            );
            let connection = self.pool.connection().await?;
            let params: [Param; 3] = [&scope.as_str(), &kind.name(), &storable(&name)];
            let rows = connection.query(&sql, &params).await?;
            rows.first().map(definition).transpose()
        }
        .boxed()
    }

    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>> {
        let scope = scope.clone();
        async move {
            Listing {
                columns: DEFINITION,
                from: "definitions",
                matching: "scope = $1 AND kind = $2 AND ($3::text IS NULL \
                     OR strpos(lower(name COLLATE \"C\"), $3) > 0)",
                params: &[
                    &scope.as_str(),
                    &kind.name(),
                    &Search::of(query.search.as_deref()).text,
                ],
                id: "id",
                id_of: |definition: &StoredDefinition| definition.id,
                read: definition,
            }
            .page(&self.pool, &query)
            .await
        }
        .boxed()
    }

    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined> {
        let scope = scope.clone();
        async move {
            let (scope, kind) = (scope.as_str(), definition.kind.name());
            let name = storable(&definition.name);
            let body = serde_json::to_string(&definition.body)?;
            let params: [Param; 6] = [
                &scope,
                &kind,
                &definition.id,
                &name,
                &body,
                &definition.updated_at.0,
            ];
            let connection = self.pool.connection().await?;
            if connection.execute(REPLACE, &params).await? == 1 {
                return Ok(Defined::Stored);
            }
            let named = connection.query(NAMED, &[&scope, &kind, &name]).await?;
            let others = named.iter().map(|row| row.try_get::<_, Uuid>(0));
            let others = others.collect::<Result<Vec<_>, _>>()?;
            Ok(if others.iter().any(|id| *id != definition.id) {
                Defined::NameTaken
            } else {
                Defined::Missing
            })
        }
        .boxed()
    }

    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted> {
        let scope = scope.clone();
        async move {
            let sql = "DELETE FROM definitions WHERE scope = $1 AND kind = $2 AND id = $3";
            let connection = self.pool.connection().await?;
            let params: [Param; 3] = [&scope.as_str(), &kind.name(), &id];
            Ok(match connection.execute(sql, &params).await? {
                0 => Deleted::Missing,
                _ => Deleted::Gone,
            })
        }
        .boxed()
    }
}

fn definition(row: &Row) -> Result<StoredDefinition, StoreError> {
    Ok(StoredDefinition {
        kind: definition_kind(row.try_get(0)?)?,
        id: row.try_get(1)?,
        name: row.try_get(2)?,
        body: json(row, 3)?,
        created_at: Time(row.try_get(4)?),
        updated_at: Time(row.try_get(5)?),
    })
}
