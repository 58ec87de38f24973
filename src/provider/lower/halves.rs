//! A schema that a provider refuses, cut in two.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::plan::{Plan, Subtree};
use crate::domain::schema::follow;
use crate::domain::shape::{BINDING, Shapes};

/// Half of a schema: of the same kind of value, with some of its properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub schema: Value,
}

impl Part {
    /// The plan with this half in the place of a subtree, so that a call can ask for it under the
    /// same index.
    pub fn of_plan(&self, plan: &Plan, index: usize) -> Plan {
        let mut plan = plan.clone();
        if let Some(subtree) = plan.subtrees.get_mut(index) {
            let half = Subtree {
                schema: self.schema.clone(),
                total_fields: Shapes::leaves_as_written(&self.schema).max(1),
                ..Subtree::clone(subtree)
            };
            *subtree = Arc::new(half);
        }
        plan
    }
}

/// Two schemas whose values [`join`] to one of this schema; none when nothing in it can be asked
/// for apart. Rows of an array are not cut: the halves of two answers need not be of one row.
pub fn halves(schema: &Value) -> Option<(Part, Part)> {
    let (first, second) = cut(schema, schema, 0)?;
    Some((Part { schema: first }, Part { schema: second }))
}

/// The value whose halves these are.
pub fn join(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut first), Value::Object(second)) => {
            for (key, value) in second {
                let joined = match first.shift_remove(&key) {
                    Some(there) => join(there, value),
                    None => value,
                };
                first.insert(key, joined);
            }
            Value::Object(first)
        }
        (Value::Null, second) => second,
        (first, _) => first,
    }
}

fn cut(node: &Value, root: &Value, depth: usize) -> Option<(Value, Value)> {
    if depth > 32 {
        return None;
    }
    let members = node.as_object()?;
    if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
        // The definitions stay with both halves, at the root.
        let target = follow(root, reference)?;
        let only_describes = |key: &String| {
            [
                "$ref",
                "$defs",
                "definitions",
                "$schema",
                "title",
                "description",
            ]
            .contains(&key.as_str())
        };
        if !members.keys().all(only_describes) {
            return None;
        }
        let (mut first, mut second) = cut(target, root, depth + 1)?;
        for half in [&mut first, &mut second] {
            for (key, value) in members.iter().filter(|(key, _)| *key != "$ref") {
                half[key] = value.clone();
            }
        }
        return Some((first, second));
    }
    if BINDING.iter().any(|keyword| members.contains_key(*keyword)) {
        return None;
    }
    let properties = members.get("properties")?.as_object()?;
    if properties.len() < 2 {
        let (key, only) = properties.iter().next()?;
        let (first, second) = cut(only, root, depth + 1)?;
        let with = |inner: Value| {
            let mut whole = node.clone();
            whole["properties"][key] = inner;
            whole
        };
        let mut second = with(second);
        leave_others(&mut second);
        return Some((with(first), second));
    }
    let weights: Vec<usize> = properties
        .values()
        .map(|property| property.to_string().len())
        .collect();
    let all: usize = weights.iter().sum();
    let mut sum = 0;
    let before = weights.iter().take_while(|weight| {
        sum += **weight;
        sum * 2 <= all
    });
    let count = before.count().clamp(1, properties.len() - 1);
    let (first, second): (Vec<_>, Vec<_>) = properties
        .keys()
        .enumerate()
        .partition(|(index, _)| *index < count);
    let keys = |half: Vec<(usize, &String)>| -> Vec<String> {
        half.into_iter().map(|(_, key)| key.clone()).collect()
    };
    let first = only(members, &keys(first));
    let mut second = only(members, &keys(second));
    leave_others(&mut second);
    Some((first, second))
}

/// Members without a declaration are asked for once, with the first half.
fn leave_others(half: &mut Value) {
    let Value::Object(members) = half else { return };
    if members
        .get("additionalProperties")
        .is_some_and(Value::is_object)
    {
        members.shift_remove("additionalProperties");
    }
    let declared = names(members);
    keep_required(members, |name| declared.contains(name));
}

fn names(members: &Map<String, Value>) -> HashSet<String> {
    let properties = members.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect()
}

fn keep_required(members: &mut Map<String, Value>, keep: impl Fn(&str) -> bool) {
    if let Some(Value::Array(required)) = members.get_mut("required") {
        required.retain(|name| name.as_str().is_some_and(&keep));
        if required.is_empty() {
            members.shift_remove("required");
        }
    }
}

fn only(members: &Map<String, Value>, keys: &[String]) -> Value {
    let mut half = members.clone();
    if let Some(Value::Object(properties)) = half.get_mut("properties") {
        properties.retain(|key, _| keys.contains(key));
    }
    let declared = names(members);
    keep_required(&mut half, |name| {
        keys.iter().any(|key| key == name) || !declared.contains(name)
    });
    Value::Object(half)
}
