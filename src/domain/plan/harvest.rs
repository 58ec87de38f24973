//! Schemas of subtrees taken out of a schema that is no longer needed: nothing is copied but what
//! several subtrees share.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::domain::shape::BINDING;

/// What a subtree takes.
pub(super) enum Crop {
    /// Built already.
    Copied(Value),
    /// The node at this address.
    Whole(*const Value),
    /// The object at this address, without these properties and keywords.
    Rest(*const Value, HashSet<String>, HashSet<String>),
    /// The object at this address with these properties alone, and nothing said of several.
    Only(*const Value, HashSet<String>),
}

/// The schemas of all crops, in their order, from the schema that their addresses lie in.
pub(super) fn harvest(schema: &mut Value, crops: Vec<Crop>) -> Vec<Value> {
    let dialect = schema.get("$schema").cloned();
    let mut field = Field {
        standing: HashMap::new(),
        taken: crops.iter().map(|_| Value::Bool(true)).collect(),
    };
    let mut built = Vec::new();
    for (index, crop) in crops.into_iter().enumerate() {
        let standing = &mut field.standing;
        match crop {
            Crop::Copied(value) => built.push((index, value)),
            Crop::Whole(at) => standing.entry(at).or_default().whole = Some(index),
            Crop::Rest(at, own, dropped) => {
                standing.entry(at).or_default().rest = Some((index, own, dropped));
            }
            Crop::Only(at, keys) => standing.entry(at).or_default().only.push((index, keys)),
        }
    }
    field.node(schema);
    for taken in &mut field.taken {
        if let (Value::Object(members), Some(dialect)) = (taken, &dialect) {
            members.insert("$schema".into(), dialect.clone());
        }
    }
    for (index, value) in built {
        field.taken[index] = value;
    }
    field.taken
}

/// What is taken of one node, and for which subtrees.
#[derive(Default)]
struct Stand {
    whole: Option<usize>,
    /// All of an object but these properties and keywords.
    rest: Option<(usize, HashSet<String>, HashSet<String>)>,
    only: Vec<(usize, HashSet<String>)>,
}

impl Stand {
    /// Whether something inside of this property may be taken too.
    fn leads_into(&self, name: &str) -> bool {
        let is_taken = self.only.iter().any(|(_, keys)| keys.contains(name));
        let is_own = |(_, own, _): &(_, HashSet<String>, _)| own.contains(name);
        !is_taken && self.rest.as_ref().is_none_or(is_own)
    }
}

struct Field {
    /// By address.
    standing: HashMap<*const Value, Stand>,
    taken: Vec<Value>,
}

impl Field {
    fn node(&mut self, node: &mut Value) {
        let address = std::ptr::from_ref(&*node);
        let stand = self.standing.remove(&address).unwrap_or_default();
        if let Some(index) = stand.whole {
            self.take(index, node.take());
            return;
        }
        for (key, value) in node.as_object_mut().into_iter().flatten() {
            match value {
                Value::Object(properties) if key == "properties" => {
                    for (name, property) in properties {
                        if stand.leads_into(name) {
                            self.node(property);
                        }
                    }
                }
                Value::Array(options) if key == "anyOf" || key == "oneOf" => {
                    for option in options {
                        self.node(option);
                    }
                }
                _ => {}
            }
        }
        for (index, keys) in &stand.only {
            self.take(*index, only(node, keys));
        }
        if let Some((index, own, dropped)) = stand.rest {
            leave_out(node, &own, &dropped);
            self.take(index, node.take());
        }
    }

    fn take(&mut self, index: usize, mut node: Value) {
        if let Value::Object(members) = &mut node {
            for key in ["$schema", "$defs", "definitions"] {
                members.shift_remove(key);
            }
            for key in ["$id", "id"] {
                if members.get(key).is_some_and(Value::is_string) {
                    members.shift_remove(key);
                }
            }
            if members.get("required") == Some(&Value::Array(Vec::new())) {
                members.shift_remove("required");
            }
        }
        self.taken[index] = node;
    }
}

/// The object with these properties, which it has no longer.
fn only(node: &mut Value, keys: &HashSet<String>) -> Value {
    let Value::Object(members) = node else {
        return Value::Null;
    };
    let mut taken = Map::new();
    for (keyword, value) in members {
        let part = match value {
            _ if BINDING.contains(&keyword.as_str()) => continue,
            Value::Object(properties) if keyword == "properties" => {
                let own = properties
                    .iter_mut()
                    .filter(|(name, _)| keys.contains(*name));
                own.map(|(name, property)| (name.clone(), property.take()))
                    .collect()
            }
            Value::Array(names) if keyword == "required" => {
                let stays = |name: &&Value| name.as_str().is_none_or(|name| keys.contains(name));
                names.iter().filter(stays).cloned().collect()
            }
            _ if matches!(keyword.as_str(), "$defs" | "definitions") => continue,
            _ => value.clone(),
        };
        taken.insert(keyword.clone(), part);
    }
    Value::Object(taken)
}

fn leave_out(node: &mut Value, own: &HashSet<String>, dropped: &HashSet<String>) {
    let Value::Object(members) = node else { return };
    members.retain(|key, _| !dropped.contains(key));
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.retain(|name, _| !own.contains(name));
    }
    if let Some(Value::Array(required)) = members.get_mut("required") {
        required.retain(|name| !name.as_str().is_some_and(|name| own.contains(name)));
    }
}
