//! Templates and filters: what is written of them takes no part in a job, so no point is there.

use rivulet::domain::id::Scope;
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::engine::ports::{
    Answered, Catalog, Defined, DefinitionKind, Definitions, Deleted, StoredDefinition,
};
use uuid::Uuid;

use super::Pointed;

impl Definitions for Pointed<dyn Catalog> {
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined> {
        self.0.insert_definition(scope, definition, limit)
    }

    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.0.definition(scope, kind, id)
    }

    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.0.definition_named(scope, kind, name)
    }

    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>> {
        self.0.definitions(scope, kind, query)
    }

    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined> {
        self.0.replace_definition(scope, definition)
    }

    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted> {
        self.0.delete_definition(scope, kind, id)
    }
}
