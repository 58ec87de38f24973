//! What kind of value a schema node describes, and how to take a node out of its document.

mod bond;
mod lift;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Value, json};

use super::schema::{flatten, follow, is_composed, is_data, is_schema_map, localize};

pub use bond::{Bonds, names};

/// What a node describes, as far as the splitter cares.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// An object, possibly nullable; the node that holds its properties.
    Object(&'a Value),
    ArrayOfObjects,
    Other,
}

/// Keywords that give a node a name other than its place, or lead to such names.
const NAMING: [&str; 5] = [
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// Keywords that only describe: a node of these and a `$ref` is what the `$ref` leads to.
pub const DESCRIBING: [&str; 9] = [
    "$comment",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "readOnly",
    "writeOnly",
    "$ref",
];

/// Nodes looked at when leaves are counted; past it everything counts as one leaf.
const LEAF_BUDGET: u32 = 200_000;

/// A schema document whose nodes can be looked at and taken out on their own.
pub struct Shapes<'a> {
    root: &'a Value,
    counted: RefCell<HashMap<*const Value, u32>>,
    budget: Cell<u32>,
}

/// A schema as it can be looked at part by part: its references are places in the document, and
/// what it says in several parts is said in one. Takes exactly what `schema` takes.
///
/// `None` when it means something only in one piece.
pub fn divisible(schema: &Value) -> Option<Cow<'_, Value>> {
    let style = Style::of(schema, schema, true);
    if style.is_plain && !style.is_composed {
        return Some(Cow::Borrowed(schema));
    }
    let local = localize(schema)?;
    Some(Cow::Owned(if style.is_composed {
        flatten(&local)
    } else {
        local
    }))
}

impl<'a> Shapes<'a> {
    /// References in `root` must be places in it.
    pub fn of(root: &'a Value) -> Self {
        Self {
            root,
            counted: RefCell::default(),
            budget: Cell::new(LEAF_BUDGET),
        }
    }

    /// Follows references that say nothing more themselves. Accepted schemas have no empty loops.
    pub fn resolve(&self, node: &'a Value) -> &'a Value {
        let mut at = node;
        for _ in 0..64 {
            let Some(members) = at.as_object() else { break };
            let Some(reference) = members.get("$ref").and_then(Value::as_str) else {
                break;
            };
            if !members.keys().all(|key| DESCRIBING.contains(&key.as_str())) {
                break;
            }
            let Some(target) = follow(self.root, reference) else {
                break;
            };
            at = target;
        }
        at
    }

    pub fn shape(&self, node: &'a Value) -> Shape<'a> {
        let (node, _) = self.without_null(node);
        if is_object(node) {
            Shape::Object(node)
        } else if self.is_array_of_objects(node) {
            Shape::ArrayOfObjects
        } else {
            Shape::Other
        }
    }

    /// The node without its null alternative, and whether it had one.
    fn without_null(&self, node: &'a Value) -> (&'a Value, bool) {
        let node = self.resolve(node);
        let Some(members) = node.as_object() else {
            return (node, false);
        };
        for keyword in ["anyOf", "oneOf"] {
            let Some(Value::Array(options)) = members.get(keyword) else {
                continue;
            };
            let others = members
                .keys()
                .all(|key| key == keyword || DESCRIBING.contains(&key.as_str()));
            let (nulls, rest): (Vec<_>, Vec<_>) = options
                .iter()
                .partition(|option| option.get("type") == Some(&json!("null")));
            if let ([_], [only], true) = (nulls.as_slice(), rest.as_slice(), others) {
                return (self.resolve(only), true);
            }
        }
        let nullable = types(node).any(|name| name == "null");
        (node, nullable)
    }

    fn is_array_of_objects(&self, node: &'a Value) -> bool {
        let is_array = types(node).all(|name| name == "array" || name == "null")
            && types(node).any(|name| name == "array");
        is_array
            && node.get("prefixItems").is_none()
            && node.get("items").is_some_and(|items| {
                let (item, _) = self.without_null(items);
                is_object(item) && item.get("properties").is_some()
            })
    }

    pub fn properties(
        &self,
        object: &'a Value,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        object
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, property)| (key.as_str(), property))
    }

    /// Whether null, `{}` or `[]` is a legal way to say that nothing is there.
    pub fn can_say_nothing(&self, node: &'a Value) -> bool {
        let (inner, nullable) = self.without_null(node);
        let demands = |keyword: &str| {
            inner.get(keyword).is_some_and(|value| match value {
                Value::Array(items) => !items.is_empty(),
                Value::Number(number) => number.as_f64().is_some_and(|count| count > 0.0),
                _ => true,
            })
        };
        nullable
            || !["required", "minProperties", "minItems", "contains"]
                .into_iter()
                .any(demands)
    }

    /// Leaf fields of a node, at least 1; a recursive part counts once.
    pub fn leaves(&self, node: &'a Value) -> u32 {
        self.count(node, &mut Vec::new()).max(1)
    }

    /// Leaf fields of a schema that is kept in one piece, references not followed.
    pub fn leaves_as_written(schema: &'a Value) -> u32 {
        Self::of(&Value::Null).count(schema, &mut Vec::new())
    }

    fn count(&self, node: &'a Value, open: &mut Vec<*const Value>) -> u32 {
        let (node, _) = self.without_null(node);
        let key = std::ptr::from_ref(node);
        if let Some(count) = self.counted.borrow().get(&key) {
            return *count;
        }
        if self.budget.get() == 0 || open.contains(&key) || open.len() > 64 {
            return 1;
        }
        self.budget.set(self.budget.get() - 1);
        open.push(key);
        let count = if is_object(node) && node.get("properties").is_some() {
            let sum = self
                .properties(node)
                .map(|(_, property)| self.count(property, open));
            sum.fold(0_u32, u32::saturating_add)
        } else if let Some(items) = node.get("items").filter(|items| items.is_object()) {
            self.count(items, open)
        } else {
            1
        };
        open.pop();
        self.counted.borrow_mut().insert(key, count);
        count
    }
}

fn types(node: &Value) -> impl Iterator<Item = &str> {
    let one = node.get("type").and_then(Value::as_str);
    let many = node
        .get("type")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    one.into_iter().chain(many.filter_map(Value::as_str))
}

/// An object by its `type`, or by its `properties` where it has no type.
fn is_object(node: &Value) -> bool {
    let mut named = types(node).peekable();
    if named.peek().is_none() {
        return node.get("properties").is_some_and(Value::is_object);
    }
    let mut saw_object = false;
    named.all(|name| {
        saw_object |= name == "object";
        name == "object" || name == "null"
    }) && saw_object
}

/// How a schema is written.
#[derive(Clone, Copy)]
struct Style {
    /// Nodes refer to each other by places in the document alone.
    is_plain: bool,
    /// Something is said in several parts.
    is_composed: bool,
}

impl Style {
    const SIMPLE: Self = Self {
        is_plain: true,
        is_composed: false,
    };

    fn of(node: &Value, root: &Value, is_top: bool) -> Self {
        match node {
            Value::Object(members) => {
                let mut style = Self::SIMPLE;
                for (key, value) in members {
                    style = style.and(match (key.as_str(), value) {
                        ("$ref", Value::String(reference)) => Self {
                            is_plain: (reference == "#" || reference.starts_with("#/"))
                                && follow(root, reference).is_some(),
                            is_composed: false,
                        },
                        ("$id" | "id", Value::String(_)) => Self {
                            is_plain: is_top,
                            is_composed: false,
                        },
                        (key, Value::String(_) | Value::Bool(_)) if NAMING.contains(&key) => Self {
                            is_plain: false,
                            is_composed: false,
                        },
                        (_, Value::String(_) | Value::Bool(_) | Value::Number(_)) => continue,
                        (key, Value::Object(nodes)) if is_schema_map(key) => nodes
                            .values()
                            .fold(Self::SIMPLE, |all, node| all.and(Self::of(node, root, false))),
                        (key, _) if is_data(key) => continue,
                        _ => Self::of(value, root, false),
                    });
                }
                style.is_composed |= is_composed(members);
                style
            }
            Value::Array(items) => items
                .iter()
                .fold(Self::SIMPLE, |all, item| all.and(Self::of(item, root, false))),
            _ => Self::SIMPLE,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            is_plain: self.is_plain && other.is_plain,
            is_composed: self.is_composed || other.is_composed,
        }
    }
}
