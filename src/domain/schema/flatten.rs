//! Schemas that say one thing in several parts, said in one: `allOf`, a reference with keywords
//! beside it, a choice of one.
//!
//! Parts are joined only where the whole takes exactly the same values as before; where that is
//! not certain, a part stays in `allOf` as it is.

mod join;

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::local::is_old;
use super::{DESCRIBING, draft_of, follow, is_data, is_schema_map};

/// Nodes written at most; past it, parts stay apart.
const MAX_NODES: usize = 300_000;

/// Whether there is something to join.
pub fn is_composed(members: &Map<String, Value>) -> bool {
    members.iter().any(|(key, value)| match value {
        Value::Array(parts) => match key.as_str() {
            "allOf" => true,
            "anyOf" | "oneOf" => parts.len() == 1,
            _ => false,
        },
        Value::String(_) => key == "$ref" && has_more_than_reference(members),
        _ => false,
    })
}

fn has_more_than_reference(members: &Map<String, Value>) -> bool {
    let says_more =
        |key: &String| !DESCRIBING.contains(&key.as_str()) && !is_place_of_definitions(key);
    members.get("$ref").is_some_and(Value::is_string) && members.keys().any(says_more)
}

fn is_place_of_definitions(key: &str) -> bool {
    matches!(key, "$defs" | "definitions" | "$schema")
}

/// The same schema with its parts joined. References must be places in the document.
pub fn flatten(schema: &Value) -> Value {
    let mut flattener = Flattener {
        root: schema,
        is_old: draft_of(schema).is_ok_and(is_old),
        joined: HashMap::new(),
        open: Vec::new(),
        left: MAX_NODES,
    };
    flattener.node(schema)
}

struct Flattener<'a> {
    root: &'a Value,
    is_old: bool,
    /// Targets of references, by the reference.
    joined: HashMap<&'a str, Rc<Value>>,
    open: Vec<&'a str>,
    left: usize,
}

impl<'a> Flattener<'a> {
    fn node(&mut self, node: &'a Value) -> Value {
        self.left = self.left.saturating_sub(1);
        match node {
            Value::Object(members) => self.schema(members),
            Value::Array(items) => items.iter().map(|item| self.node(item)).collect(),
            other => other.clone(),
        }
    }

    fn schema(&mut self, members: &'a Map<String, Value>) -> Value {
        let joins = is_composed(members) && self.left > 0 && !self.is_lone_reference(members);
        let mut whole = Map::new();
        let mut parts: Vec<&'a Value> = Vec::new();
        let mut reference = None;
        for (key, value) in members {
            match (key.as_str(), value) {
                ("allOf", Value::Array(all)) if joins => parts.extend(all),
                ("anyOf" | "oneOf", Value::Array(one)) if joins && one.len() == 1 => {
                    parts.extend(one);
                }
                ("$ref", Value::String(to)) if joins => reference = Some(to.as_str()),
                (key, Value::Object(nodes)) if is_schema_map(key) => {
                    let written = nodes
                        .iter()
                        .map(|(name, node)| (name.clone(), self.node(node)));
                    whole.insert(key.to_owned(), Value::Object(written.collect()));
                }
                (key, _) if is_data(key) => {
                    whole.insert(key.to_owned(), value.clone());
                }
                (key, _) => {
                    whole.insert(key.to_owned(), self.node(value));
                }
            }
        }
        let mut apart = Vec::new();
        if let Some(to) = reference {
            let target = self.target(to);
            if !target.is_some_and(|target| self.join(&mut whole, &target)) {
                whole.insert("$ref".to_owned(), to.into());
            }
        }
        for part in parts {
            let meant = self.part(part);
            if !self.join(&mut whole, &meant) {
                apart.push(self.node(part));
            }
        }
        if !apart.is_empty() {
            // A part that was joined may have brought some that were not.
            let all = whole
                .entry("allOf")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.append(&mut apart);
            }
        }
        Value::Object(whole)
    }

    /// Up to draft 7 what stands beside a reference says nothing.
    fn is_lone_reference(&self, members: &Map<String, Value>) -> bool {
        self.is_old && members.contains_key("$ref")
    }

    /// A part of a schema, with the reference it may be followed.
    fn part(&mut self, part: &'a Value) -> Rc<Value> {
        let reference = part.as_object().and_then(|members| {
            let is_alone = self.is_old || !has_more_than_reference(members);
            members.get("$ref").filter(|_| is_alone)?.as_str()
        });
        reference
            .and_then(|to| self.target(to))
            .unwrap_or_else(|| Rc::new(self.node(part)))
    }

    /// `None` inside the target itself, and where there is none.
    fn target(&mut self, reference: &'a str) -> Option<Rc<Value>> {
        if let Some(known) = self.joined.get(reference) {
            return Some(Rc::clone(known));
        }
        if self.open.contains(&reference) {
            return None;
        }
        let target = follow(self.root, reference)?;
        self.open.push(reference);
        let mut written = self.part(target);
        self.open.pop();
        if std::ptr::eq(target, self.root)
            && let Value::Object(members) = Rc::make_mut(&mut written)
        {
            members.retain(|key, _| !is_place_of_definitions(key));
        }
        self.joined.insert(reference, Rc::clone(&written));
        Some(written)
    }

    /// Joins a part into the whole; false, and nothing done, where that would change its meaning.
    fn join(&mut self, whole: &mut Map<String, Value>, part: &Value) -> bool {
        match part {
            Value::Bool(true) => true,
            Value::Object(part) if self.left > part.len() => {
                let joined = join::join(whole, part, 0);
                if let Some(joined) = joined {
                    self.left = self.left.saturating_sub(joined.len());
                    *whole = joined;
                    return true;
                }
                false
            }
            _ => false,
        }
    }
}
