//! A schema cut into subtrees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pointer::Pointer;

/// What a subtree is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole object.
    Object,
    /// Some or all of the loose fields of an object.
    Fields,
    /// An array of objects.
    AgenticArray,
    /// Anything else: a root that is not an object, or a schema that is kept in one piece.
    Value,
}

/// Which part of the value at its path a subtree carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// All of it.
    Whole,
    /// These properties of the object.
    Keys(Vec<String>),
    /// The object itself and all its properties but these, which other subtrees carry.
    Rest(Vec<String>),
}

/// A part of the schema with its own place in the result: the unit of result, event and
/// checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subtree {
    /// 1 to 64 characters of `A-Za-z0-9_.-`; stable for a schema.
    pub id: String,
    /// Where the value goes in the result.
    pub path: Pointer,
    pub kind: Kind,
    pub take: Take,
    /// Self-contained JSON Schema of the value; inner `$ref`s lead into its own `$defs`.
    pub schema: Value,
    /// Leaf fields, at least 1; a row of an array counts once.
    pub total_fields: u32,
    /// Titles and descriptions of the objects around it, outermost first.
    pub context: Vec<String>,
}

/// All subtrees of a schema. Their leaves are disjoint and complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub subtrees: Vec<Arc<Subtree>>,
}

impl Plan {
    pub fn total_fields(&self) -> u32 {
        self.subtrees
            .iter()
            .map(|subtree| subtree.total_fields)
            .sum()
    }
}
