//! Templates and filters on the disk, and the way to them.

use rivulet::domain::id::Scope;
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::engine::ports::{
    Answered, Defined, DefinitionKind, Definitions, Deleted, StoredDefinition,
};
use uuid::Uuid;

use super::lists::{holds, owned, page};
use super::memory::Memory;
use super::shelf::Shelf;
use super::wire::Wire;

impl Memory {
    fn is_taken(&self, scope: &Scope, definition: &StoredDefinition) -> bool {
        self.definitions.iter().any(|((owner, id), other)| {
            owner == scope.as_str()
                && *id != (definition.kind, definition.id)
                && other.kind == definition.kind
                && other.name == definition.name
        })
    }

    fn insert_definition(
        &mut self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Defined {
        if self.is_taken(scope, &definition) {
            return Defined::NameTaken;
        }
        let all = self.definitions.iter();
        let own = all
            .filter(|((owner, (kind, _)), _)| owner == scope.as_str() && *kind == definition.kind);
        if own.count() >= limit as usize {
            return Defined::TooMany;
        }
        let key = owned(scope, (definition.kind, definition.id));
        self.definitions.insert(key, definition);
        Defined::Stored
    }

    fn replace_definition(&mut self, scope: &Scope, definition: StoredDefinition) -> Defined {
        if self.is_taken(scope, &definition) {
            return Defined::NameTaken;
        }
        let key = owned(scope, (definition.kind, definition.id));
        let Some(kept) = self.definitions.get_mut(&key) else {
            return Defined::Missing;
        };
        let created_at = kept.created_at;
        *kept = StoredDefinition {
            created_at,
            ..definition
        };
        Defined::Stored
    }

    fn list_definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: &ListQuery,
    ) -> ListPage<StoredDefinition> {
        let all = self.definitions.iter();
        let listed = all.filter(|((owner, _), one)| {
            owner == scope.as_str() && one.kind == kind && holds(&one.name, query.search.as_deref())
        });
        let listed = listed.map(|(_, one)| one.clone()).collect();
        page(listed, |one| one.id, query)
    }
}

impl Definitions for Shelf {
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined> {
        self.done(|disk| disk.insert_definition(scope, definition, limit))
    }

    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.done(|disk| disk.definitions.get(&owned(scope, (kind, id))).cloned())
    }

    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.done(|disk| {
            let mut all = disk.definitions.iter();
            let found = all.find(|((owner, _), one)| {
                owner == scope.as_str() && one.kind == kind && one.name == name
            });
            found.map(|(_, one)| one.clone())
        })
    }

    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>> {
        self.done(|disk| disk.list_definitions(scope, kind, &query))
    }

    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined> {
        self.done(|disk| disk.replace_definition(scope, definition))
    }

    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted> {
        self.done(
            |disk| match disk.definitions.remove(&owned(scope, (kind, id))) {
                Some(_) => Deleted::Gone,
                None => Deleted::Missing,
            },
        )
    }
}

/// Nobody's matter in the simulation.
impl Definitions for Wire {
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined> {
        self.shelf.insert_definition(scope, definition, limit)
    }

    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.shelf.definition(scope, kind, id)
    }

    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>> {
        self.shelf.definition_named(scope, kind, name)
    }

    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>> {
        self.shelf.definitions(scope, kind, query)
    }

    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined> {
        self.shelf.replace_definition(scope, definition)
    }

    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted> {
        self.shelf.delete_definition(scope, kind, id)
    }
}
