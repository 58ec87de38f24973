//! A part of a schema as a document of its own.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::bond::{BINDING, Bonds};
use super::{Shapes, types};
use crate::domain::schema::{FreeNames, follow, is_data, is_schema_map};

/// What of a node goes along.
struct Selection<'s> {
    property: &'s dyn Fn(&str) -> bool,
    keyword: &'s dyn Fn(&str) -> bool,
    /// A choice of whose branches the same goes along.
    loosened: Option<&'s str>,
}

const ALL: Selection = Selection {
    property: &|_| true,
    keyword: &|_| true,
    loosened: None,
};

impl<'a> Shapes<'a> {
    /// The node as a schema document of its own.
    pub fn lift(&self, node: &'a Value) -> Value {
        self.document(self.resolve(node), &ALL)
    }

    /// What `node`, an object, is without its own properties and what binds those to others, as a
    /// schema document of its own.
    pub fn lift_rest(&self, node: &'a Value, bonds: &Bonds<'a>) -> Value {
        let (object, nullable) = self.without_null(node);
        let selection = Selection {
            property: &|key| !bonds.own.contains(&key),
            keyword: &|key| !bonds.dropped.contains(&key),
            loosened: bonds.loosened,
        };
        let mut lifted = self.document(object, &selection);
        // The null alternative may have stood in an `anyOf` around the object. That the object's own
        // type has it too is not enough: what else it says may not hold of null.
        let is_bare = std::ptr::eq(object, self.resolve(node));
        if nullable && !(is_bare && types(object).any(|name| name == "null")) {
            lifted = or_null(lifted);
        }
        for name in ["title", "description"] {
            if let (Some(text), Value::Object(members)) = (node.get(name), &mut lifted) {
                members.insert(name.to_owned(), text.clone());
            }
        }
        lifted
    }

    /// Whether the rest of a node is the node itself with less in it.
    pub fn is_bare(&self, node: &'a Value) -> bool {
        std::ptr::eq(self.without_null(node).0, node)
    }

    /// The owner as a schema document of its own, with these properties alone and nothing said of
    /// several.
    pub fn lift_only(&self, owner: &'a Value, keys: &[&str]) -> Value {
        let keys: HashSet<&str> = keys.iter().copied().collect();
        let selection = Selection {
            property: &|name| keys.contains(name),
            keyword: &|keyword| !BINDING.contains(&keyword),
            loosened: None,
        };
        self.document(owner, &selection)
    }

    fn document(&self, node: &'a Value, selection: &Selection) -> Value {
        let mut lifter = Lifter {
            root: self.root,
            is_closed: self.is_closed,
            names: HashMap::new(),
            free: FreeNames::default(),
            queue: Vec::new(),
        };
        let mut lifted = lifter.top(node, selection);
        let mut definitions = Map::new();
        while let Some((name, target)) = lifter.queue.pop() {
            definitions.insert(name, lifter.top(target, &ALL));
        }
        if let Value::Object(members) = &mut lifted {
            if let Some(dialect) = self.root.get("$schema") {
                members.insert("$schema".into(), dialect.clone());
            }
            if !definitions.is_empty() {
                members.insert("$defs".into(), Value::Object(definitions));
            }
        }
        lifted
    }
}

/// The same schema, taking null too.
fn or_null(mut schema: Value) -> Value {
    let Value::Object(members) = &mut schema else {
        return schema;
    };
    let is_bound = members.keys().any(|key| BINDING.contains(&key.as_str()));
    match members.get("type") {
        None if !is_bound => return schema,
        Some(Value::String(name)) if !is_bound => {
            let both = json!([name, "null"]);
            members.insert("type".into(), both);
            return schema;
        }
        Some(Value::Array(names)) if !is_bound && names.iter().any(|name| name == "null") => {
            return schema;
        }
        _ => {}
    }
    let mut around = Map::new();
    for name in ["$schema", "$defs"] {
        if let Some(value) = members.shift_remove(name) {
            around.insert(name.into(), value);
        }
    }
    around.insert("anyOf".into(), json!([schema, {"type": "null"}]));
    Value::Object(around)
}

/// Copies nodes and points their references into the copy's own `$defs`.
struct Lifter<'a> {
    root: &'a Value,
    /// Whether no node refers to another.
    is_closed: bool,
    names: HashMap<String, String>,
    free: FreeNames,
    queue: Vec<(String, &'a Value)>,
}

impl<'a> Lifter<'a> {
    /// A node that becomes the top of a document or a definition: it leaves its own definitions
    /// and name behind, since every reference is pointed elsewhere.
    fn top(&mut self, node: &'a Value, selection: &Selection) -> Value {
        let Value::Object(members) = node else {
            return node.clone();
        };
        let mut copy = Map::new();
        for (key, value) in members {
            match (key.as_str(), value) {
                ("$defs" | "definitions" | "$schema", _) | ("$id" | "id", Value::String(_)) => {}
                (key, _) if !(selection.keyword)(key) => {}
                (key, Value::Array(options)) if selection.loosened == Some(key) => {
                    let options = options.iter().map(|option| self.top(option, selection));
                    // With less in them, several may hold.
                    copy.insert("anyOf".into(), options.collect());
                }
                ("properties", Value::Object(properties)) => {
                    let kept = properties
                        .iter()
                        .filter(|(name, _)| (selection.property)(name));
                    let kept: Map<_, _> = kept
                        .map(|(name, value)| (name.clone(), self.copy(value)))
                        .collect();
                    copy.insert(key.clone(), Value::Object(kept));
                }
                ("required", Value::Array(names)) => {
                    let keeps = |name: &&Value| name.as_str().is_none_or(selection.property);
                    copy.insert(key.clone(), names.iter().filter(keeps).cloned().collect());
                }
                _ => {
                    copy.insert(key.clone(), self.member(key, value));
                }
            }
        }
        if copy
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
        {
            copy.shift_remove("required");
        }
        Value::Object(copy)
    }

    fn member(&mut self, key: &str, value: &'a Value) -> Value {
        match value {
            Value::String(reference) if key == "$ref" => Value::String(self.name(reference)),
            Value::Object(members) if is_schema_map(key) && !self.is_closed => {
                let copied = members
                    .iter()
                    .map(|(name, node)| (name.clone(), self.copy(node)));
                Value::Object(copied.collect())
            }
            _ if is_data(key) => value.clone(),
            _ => self.copy(value),
        }
    }

    fn copy(&mut self, node: &'a Value) -> Value {
        match node {
            // A copy made at once is several times as fast.
            node if self.is_closed => node.clone(),
            Value::Object(members) => {
                let copied = members
                    .iter()
                    .map(|(key, value)| (key.clone(), self.member(key, value)));
                Value::Object(copied.collect())
            }
            Value::Array(items) => items.iter().map(|item| self.copy(item)).collect(),
            other => other.clone(),
        }
    }

    /// The reference inside the copy; queues the target when it is new.
    fn name(&mut self, reference: &str) -> String {
        if let Some(name) = self.names.get(reference) {
            return format!("#/$defs/{name}");
        }
        let Some(target) = follow(self.root, reference) else {
            // A meta-schema, which the validator knows.
            return reference.to_owned();
        };
        let name = self.free.after(reference);
        self.names.insert(reference.to_owned(), name.clone());
        self.queue.push((name.clone(), target));
        format!("#/$defs/{name}")
    }
}
