//! Schemas of subtrees taken out of a schema that is no longer needed: nothing is copied but what
//! several subtrees share.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// What a subtree takes.
pub(super) enum Crop {
    /// Built already.
    Copied(Value),
    /// The node at this address.
    Whole(*const Value),
    /// The object at this address, without these properties and keywords.
    Rest(*const Value, HashSet<String>, HashSet<String>),
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
        match crop {
            Crop::Copied(value) => built.push((index, value)),
            Crop::Whole(at) => {
                field.standing.insert(at, (index, None));
            }
            Crop::Rest(at, own, dropped) => {
                field.standing.insert(at, (index, Some((own, dropped))));
            }
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

/// Properties that are asked for apart, and keywords that bind those to the rest.
type Apart = (HashSet<String>, HashSet<String>);

struct Field {
    /// By address: whose it is, and what of it is not.
    standing: HashMap<*const Value, (usize, Option<Apart>)>,
    taken: Vec<Value>,
}

impl Field {
    fn node(&mut self, node: &mut Value) {
        let address = std::ptr::from_ref(&*node);
        let apart = match self.standing.remove(&address) {
            Some((index, None)) => {
                self.take(index, node);
                return;
            }
            Some((index, Some(apart))) => Some((index, apart)),
            None => None,
        };
        for (key, value) in node.as_object_mut().into_iter().flatten() {
            match value {
                Value::Object(properties) if key == "properties" => {
                    for (name, property) in properties {
                        let is_own = |(_, (own, _)): &(usize, Apart)| own.contains(name);
                        if apart.as_ref().is_none_or(is_own) {
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
        if let Some((index, (own, dropped))) = apart {
            leave_out(node, &own, &dropped);
            self.take(index, node);
        }
    }

    fn take(&mut self, index: usize, node: &mut Value) {
        let mut node = node.take();
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
