//! How a schema is written, and how much there is of it: one walk over all of it.

use std::collections::HashMap;

use serde_json::Value;

use super::{is_null, is_object};
use crate::domain::schema::{DESCRIBING, follow, is_composed, is_data, is_schema_map, may_choose};

/// Keywords that give a node a name other than its place, or lead to such names.
const NAMING: [&str; 5] = [
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// What one walk over a schema tells.
pub struct Style {
    /// Nodes refer to each other by places in the document alone.
    pub is_plain: bool,
    /// Something is said in several parts.
    pub is_composed: bool,
    /// No node refers to another.
    pub is_closed: bool,
    /// Something may be a choice between objects.
    pub may_choose: bool,
    /// Leaf fields of objects and arrays; right where the schema is closed.
    pub(super) leaves: HashMap<*const Value, u32>,
}

impl Style {
    pub fn of(schema: &Value) -> Self {
        let mut style = Self {
            is_plain: true,
            is_composed: false,
            is_closed: true,
            may_choose: false,
            leaves: HashMap::new(),
        };
        style.node(schema, schema);
        style
    }

    /// Leaf fields of a node, as far as they can be told without following references.
    fn node(&mut self, node: &Value, root: &Value) -> u32 {
        match node {
            Value::Object(_) => self.schema(node, root),
            Value::Array(items) => {
                for item in items {
                    self.node(item, root);
                }
                1
            }
            _ => 1,
        }
    }

    fn schema(&mut self, node: &Value, root: &Value) -> u32 {
        let (mut properties, mut items, mut choice) = (None, None, None);
        for (key, value) in node.as_object().into_iter().flatten() {
            match value {
                Value::Null | Value::Number(_) => {}
                Value::String(_) | Value::Bool(_) => {
                    self.name(key, value, root, std::ptr::eq(node, root));
                }
                Value::Object(nodes) if is_schema_map(key) => {
                    let counts = nodes.values().map(|node| self.node(node, root));
                    let sum = counts.fold(0, u32::saturating_add);
                    if key == "properties" {
                        properties = Some(sum);
                    }
                }
                _ if key == "type" || key == "required" || is_data(key) => {}
                Value::Array(options) if key == "anyOf" || key == "oneOf" => {
                    self.may_choose |= may_choose(key, options);
                    let counts: Vec<_> = options.iter().map(|o| self.node(o, root)).collect();
                    choice = choice.or(or_null(node, options, &counts));
                }
                _ => {
                    let count = self.node(value, root);
                    if key == "items" && value.is_object() {
                        items = Some(count);
                    }
                }
            }
        }
        self.is_composed |= node.as_object().is_some_and(is_composed);
        if let Some(count) = choice {
            return count;
        }
        let properties = properties.filter(|_| is_object(node));
        let Some(count) = properties.or(items) else {
            return 1;
        };
        self.leaves.insert(std::ptr::from_ref(node), count);
        count
    }

    fn name(&mut self, key: &str, value: &Value, root: &Value, is_top: bool) {
        if !(key.starts_with('$') || key == "id") {
            return;
        }
        match (key, value) {
            ("$ref", Value::String(reference)) => {
                self.is_closed = false;
                let is_place = reference == "#" || reference.starts_with("#/");
                self.is_plain &= is_place && follow(root, reference).is_some();
            }
            ("$id" | "id", Value::String(_)) => self.is_plain &= is_top,
            (key, _) if NAMING.contains(&key) => self.is_plain = false,
            _ => {}
        }
    }
}

/// Leaf fields of what may also be null, where the node says nothing more.
fn or_null(node: &Value, options: &[Value], counts: &[u32]) -> Option<u32> {
    let [one, other] = options else { return None };
    let members = node.as_object()?;
    let says_more =
        |key: &String| !(key == "anyOf" || key == "oneOf" || DESCRIBING.contains(&key.as_str()));
    if members.keys().any(says_more) {
        return None;
    }
    match (is_null(one), is_null(other)) {
        (true, false) => counts.get(1).copied(),
        (false, true) => counts.first().copied(),
        _ => None,
    }
}
