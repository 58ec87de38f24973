//! A schema cut into subtrees.
//!
//! One subtree per object, one per array of objects, one for the loose fields of a level; objects
//! of a few fields travel with the fields around them. Every declared leaf is in exactly one
//! subtree. What cannot be divided soundly stays in one piece: a schema is never refused here. An
//! object inside itself is divided [`UNROLLED`] times, and what is further in is one value. Where
//! there would be too many subtrees, neighbours of one object share one.
//!
//! For every instance that the schema takes, each subtree's schema takes the part that the subtree
//! carries. What a schema says of several subtrees together is in none of them; it is checked when
//! all are there.

mod bound;
mod cut;
mod cuts;
mod harvest;
mod room;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pointer::Pointer;
use super::shape::{Shapes, Style, divisible};
use harvest::harvest;

pub use bound::Bound;
pub use cut::{MAX_UNROLLED_FIELDS, UNROLLED};

/// How the schema is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitterConfigs {
    /// An object with at most this many leaf fields stays with the fields around it, 0..=100.
    pub max_fields_to_join: u32,
    /// The most subtrees, 1..=200; of a schema that would give more, neighbours share one.
    pub max_subtrees: u32,
}

impl Default for SplitterConfigs {
    fn default() -> Self {
        Self {
            max_fields_to_join: 3,
            max_subtrees: 200,
        }
    }
}

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
    /// Title and description of each object around it, outermost first; empty where it has none.
    pub context: Vec<String>,
}

/// All subtrees of a schema. Their leaves are disjoint and complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub subtrees: Vec<Arc<Subtree>>,
    /// Divided objects without loose fields of their own. No subtree carries the object itself,
    /// so of an instance their undeclared members, or a null in their place, are not asked for.
    pub shells: Vec<Pointer>,
    /// What the schema says of several subtrees together; none where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

impl Plan {
    /// Cuts an accepted schema.
    pub fn of(schema: &Value, splitter: SplitterConfigs) -> Self {
        let style = Style::of(schema);
        let Some(divisible) = divisible(schema, &style) else {
            return Self::in_one_piece(schema.clone());
        };
        let style = match divisible {
            Cow::Borrowed(_) => style,
            Cow::Owned(_) => Style::of(&divisible),
        };
        let shapes = Shapes::of(&divisible, style);
        cut::cut(&shapes, &divisible, splitter).copied(&shapes, schema)
    }

    /// Cuts an accepted schema that nobody else needs: as [`Plan::of`], and several times as fast
    /// where the schema is large, since most of it is not copied.
    pub fn from_schema(mut schema: Value, splitter: SplitterConfigs) -> Self {
        let style = Style::of(&schema);
        let is_simple = style.is_plain && style.is_closed && !style.is_composed;
        if !is_simple || style.may_choose {
            return Self::of(&schema, splitter);
        }
        let shapes = Shapes::of(&schema, style);
        let (draft, crops) = cut::cut(&shapes, &schema, splitter).marked(&shapes, &schema);
        draft.finish(harvest(&mut schema, crops))
    }

    fn in_one_piece(schema: Value) -> Self {
        let kind = match schema.get("type").and_then(Value::as_str) {
            Some("object") => Kind::Object,
            _ if schema.get("properties").is_some() => Kind::Object,
            _ => Kind::Value,
        };
        let subtree = Subtree {
            id: "root".into(),
            path: Pointer::root(),
            kind,
            take: Take::Whole,
            total_fields: Shapes::leaves_as_written(&schema).max(1),
            schema,
            context: Vec::new(),
        };
        Self {
            subtrees: vec![Arc::new(subtree)],
            shells: Vec::new(),
            bound: None,
        }
    }

    pub fn total_fields(&self) -> u32 {
        self.subtrees
            .iter()
            .map(|subtree| subtree.total_fields)
            .sum()
    }
}
