//! The primitives of a value, each with what the schema says of it.

use serde_json::Value;

use super::super::pointer::Pointer;
use super::super::schema::follow;

/// Schema nodes that speak of one place of the value.
const MAX_NODES: usize = 64;

/// A primitive and what it may be.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    pub at: Pointer,
    pub value: &'a Value,
    pub facts: Facts<'a>,
}

/// What a schema says of a primitive, as far as it matters to how it is printed.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub integer: bool,
    /// The strings it may be; empty when any.
    pub choices: Vec<&'a str>,
}

/// Every primitive of `value`, in order; empty objects and arrays have none.
pub(super) fn leaves<'a>(schema: &'a Value, value: &'a Value) -> Vec<Leaf<'a>> {
    let mut walk = Walk {
        root: schema,
        leaves: Vec::new(),
    };
    let nodes = walk.nodes(&[schema]);
    walk.value(Pointer::root(), value, &nodes);
    walk.leaves
}

struct Walk<'a> {
    root: &'a Value,
    leaves: Vec<Leaf<'a>>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, at: Pointer, value: &'a Value, nodes: &[&'a Value]) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let inner = self.members(nodes, name);
                    self.value(at.join(name), member, &inner);
                }
            }
            Value::Array(items) => {
                let mut rest = None;
                for (index, item) in items.iter().enumerate() {
                    let heads: Vec<_> = nodes
                        .iter()
                        .filter_map(|node| node.get("prefixItems")?.get(index))
                        .collect();
                    if heads.is_empty() {
                        let inner = rest.get_or_insert_with(|| self.items(nodes));
                        self.value(at.index(index), item, inner);
                    } else {
                        let inner = self.nodes(&heads);
                        self.value(at.index(index), item, &inner);
                    }
                }
            }
            primitive => self.leaves.push(Leaf {
                at,
                value: primitive,
                facts: facts(nodes),
            }),
        }
    }

    fn members(&self, nodes: &[&'a Value], name: &str) -> Vec<&'a Value> {
        let declared: Vec<_> = nodes
            .iter()
            .filter_map(|node| node.get("properties")?.get(name))
            .collect();
        if !declared.is_empty() {
            return self.nodes(&declared);
        }
        let others: Vec<_> = nodes
            .iter()
            .filter_map(|node| node.get("additionalProperties"))
            .collect();
        self.nodes(&others)
    }

    fn items(&self, nodes: &[&'a Value]) -> Vec<&'a Value> {
        let items: Vec<_> = nodes.iter().filter_map(|node| node.get("items")).collect();
        self.nodes(&items)
    }

    /// The nodes and all that they take in: references and combined schemas.
    fn nodes(&self, given: &[&'a Value]) -> Vec<&'a Value> {
        let mut all: Vec<&'a Value> = Vec::new();
        let mut open: Vec<&'a Value> = given.to_vec();
        while let Some(node) = open.pop() {
            let known = all.iter().any(|other| std::ptr::eq(*other, node));
            if known || !node.is_object() || all.len() >= MAX_NODES {
                continue;
            }
            all.push(node);
            let reference = node.get("$ref").and_then(Value::as_str);
            open.extend(reference.and_then(|reference| follow(self.root, reference)));
            for keyword in ["allOf", "anyOf", "oneOf"] {
                open.extend(
                    node.get(keyword)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten(),
                );
            }
            open.extend(
                ["if", "then", "else"]
                    .iter()
                    .filter_map(|word| node.get(*word)),
            );
        }
        all
    }
}

fn facts<'a>(nodes: &[&'a Value]) -> Facts<'a> {
    let mut facts = Facts::default();
    for node in nodes {
        let names = |name: &str| match node.get("type") {
            Some(Value::String(one)) => one == name,
            Some(Value::Array(some)) => some.iter().any(|one| one == name),
            _ => false,
        };
        facts.integer |= names("integer") && !names("number");
        let listed = node.get("enum").and_then(Value::as_array);
        let members = listed.into_iter().flatten().chain(node.get("const"));
        facts.choices.extend(members.filter_map(Value::as_str));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_primitive_is_listed_with_what_its_schema_says() {
        let schema = json!({
            "properties": {
                "rows": {"items": {"$ref": "#/$defs/row"}},
                "kind": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}
            },
            "$defs": {"row": {"properties": {"n": {"type": ["integer", "null"]}, "sub": {"$ref": "#"}}}}
        });
        let value =
            json!({"rows": [{"n": 1, "sub": {"kind": "a"}}, {"n": null}], "kind": null, "x": {}});
        let all = leaves(&schema, &value);
        let seen: Vec<_> = all
            .iter()
            .map(|leaf| {
                (
                    leaf.at.as_str(),
                    leaf.facts.integer,
                    leaf.facts.choices.len(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("/rows/0/n", true, 0),
                ("/rows/0/sub/kind", false, 2),
                ("/rows/1/n", true, 0),
                ("/kind", false, 2)
            ]
        );
    }
}
