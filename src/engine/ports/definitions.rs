//! What users save under a name.

use serde_json::Value;
use uuid::Uuid;

use super::{Answered, Deleted};
use crate::domain::id::Scope;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;

/// What is saved. Each kind has its own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefinitionKind {
    Template,
    Filter,
}

impl DefinitionKind {
    /// The word that it is stored under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Filter => "filter",
        }
    }
}

/// A saved template or filter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDefinition {
    pub kind: DefinitionKind,
    pub id: Uuid,
    /// Unique within its kind and scope, letter for letter.
    pub name: String,
    /// What the engine makes of it. Only the engine reads it.
    pub body: Value,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    Stored,
    /// Nothing was written, nor by any of the following: another one has the name.
    NameTaken,
    /// The scope has as many as it may.
    TooMany,
    Missing,
}

/// Templates and filters. Every write is on disk when its future resolves.
pub trait Definitions: Send + Sync {
    /// Refused with more than `limit` of its kind in the scope.
    fn insert_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
        limit: u32,
    ) -> Answered<'_, Defined>;
    fn definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Option<StoredDefinition>>;
    fn definition_named(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        name: &str,
    ) -> Answered<'_, Option<StoredDefinition>>;
    fn definitions(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredDefinition>>;
    /// Replaces all but id and creation time.
    fn replace_definition(
        &self,
        scope: &Scope,
        definition: StoredDefinition,
    ) -> Answered<'_, Defined>;
    fn delete_definition(
        &self,
        scope: &Scope,
        kind: DefinitionKind,
        id: Uuid,
    ) -> Answered<'_, Deleted>;
}
