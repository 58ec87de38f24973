//! Subtree results to one document, and back: the inverse of the plan.

mod breaches;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::plan::{Plan, Subtree, Take};
use super::pointer::Pointer;

pub use breaches::{Breach, breaches};

/// Puts a subtree's value where it belongs, as a client of the stream does: objects merge, all
/// else replaces, missing objects on the way are made.
pub fn place(document: &mut Value, path: &Pointer, value: Value) {
    let mut at = document;
    for token in path.tokens() {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(members) = at else { return };
        at = members.entry(token).or_insert(Value::Null);
    }
    combine(at, value);
}

fn combine(into: &mut Value, value: Value) {
    match (into, value) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(there) => combine(there, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, value) => *into = value,
    }
}

/// The document that subtree values add up to.
pub fn merge<'a>(values: impl IntoIterator<Item = (&'a Pointer, Value)>) -> Value {
    let mut document = Value::Object(Map::new());
    for (path, value) in values {
        place(&mut document, path, value);
    }
    document
}

/// The part of an instance that each subtree of the plan carries; `None` where the instance has
/// nothing for it.
pub fn split(plan: &Plan, instance: &Value) -> Vec<Option<Value>> {
    plan.subtrees
        .iter()
        .map(|subtree| project(subtree, instance))
        .collect()
}

/// What no subtree carries, by its place: of an object that is divided whole, the members that its
/// schema does not name, or what stands in its place. It is not asked for.
pub fn unasked(plan: &Plan, instance: &Value) -> Vec<(Pointer, Value)> {
    let of_shell = |shell: &Pointer| {
        let mut value = member(instance, shell)?.clone();
        if let Value::Object(members) = &mut value {
            let own = own_members(plan, shell);
            members.retain(|key, _| !own.contains(key));
        }
        Some((shell.clone(), value))
    };
    plan.shells.iter().filter_map(of_shell).collect()
}

/// Members of a divided object without loose fields that subtrees carry.
fn own_members(plan: &Plan, shell: &Pointer) -> HashSet<String> {
    let mut own = HashSet::new();
    let subtrees = plan.subtrees.iter().map(|subtree| &subtree.path);
    for below in subtrees.chain(&plan.shells) {
        if below.parent().as_ref() == Some(shell) {
            own.extend(below.last());
        }
    }
    for subtree in &plan.subtrees {
        if let (Take::Keys(keys), true) = (&subtree.take, subtree.path == *shell) {
            own.extend(keys.iter().cloned());
        }
    }
    own
}

/// The value at a path that leads through objects alone, as all paths of a plan do.
fn member<'a>(root: &'a Value, path: &Pointer) -> Option<&'a Value> {
    path.tokens()
        .try_fold(root, |at, token| at.as_object()?.get(&token))
}

/// The part of an instance that one subtree carries.
pub fn project(subtree: &Subtree, instance: &Value) -> Option<Value> {
    let value = member(instance, &subtree.path)?;
    match &subtree.take {
        Take::Whole => Some(value.clone()),
        Take::Keys(keys) => {
            let members = value.as_object()?;
            let taken: Map<_, _> = members
                .iter()
                .filter(|(key, _)| keys.contains(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            (!taken.is_empty()).then_some(Value::Object(taken))
        }
        Take::Rest(others) => {
            let mut rest = value.clone();
            if let Value::Object(members) = &mut rest {
                members.retain(|key, _| !others.contains(key));
            }
            Some(rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_land_in_any_order_and_twice_with_the_same_document() {
        let parts = [
            (Pointer::root(), json!({"a": 1, "s": {}})),
            (Pointer::parse("/s/list").unwrap(), json!([1, null])),
            (Pointer::parse("/s").unwrap(), json!({"x": null})),
        ];
        let expected = json!({"a": 1, "s": {"list": [1, null], "x": null}});
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let picked = order
                .iter()
                .chain(&order)
                .map(|at| (&parts[*at].0, parts[*at].1.clone()));
            assert_eq!(merge(picked), expected);
        }
    }

    #[test]
    fn a_root_that_is_not_an_object_replaces_the_document() {
        assert_eq!(merge([(&Pointer::root(), json!([1]))]), json!([1]));
    }
}
