//! What kind of value a schema node describes, and how to take a node out of its document.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::schema::{follow, is_data, is_schema_map};

/// What a node describes, as far as the splitter cares.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// An object, possibly nullable; the node that holds its properties.
    Object(&'a Value),
    ArrayOfObjects,
    Other,
}

/// Keywords that bind an object's properties together, so that it stays in one piece.
const BINDING: [&str; 18] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "const",
    "enum",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "patternProperties",
    "unevaluatedProperties",
    "$ref",
];

/// Keywords that give a node a name other than its place, or lead to such names.
const NAMING: [&str; 5] = [
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// Keywords that only describe: a node of these and a `$ref` is what the `$ref` leads to.
const DESCRIBING: [&str; 9] = [
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

impl<'a> Shapes<'a> {
    /// `None` when nodes refer to each other by more than places in this document; such a schema
    /// means something only in one piece.
    pub fn of(root: &'a Value) -> Option<Self> {
        is_plain(root, root, true).then(|| Self {
            root,
            counted: RefCell::default(),
            budget: Cell::new(LEAF_BUDGET),
        })
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

    /// Whether the object's properties can be asked for apart.
    pub fn is_divisible(&self, object: &Value) -> bool {
        object
            .as_object()
            .is_some_and(|members| !BINDING.iter().any(|keyword| members.contains_key(*keyword)))
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
        let shapes = Self {
            root: &Value::Null,
            counted: RefCell::default(),
            budget: Cell::new(LEAF_BUDGET),
        };
        shapes.count(schema, &mut Vec::new())
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

    /// The node as a schema document of its own, without the properties in `without`.
    pub fn lift(&self, node: &'a Value, without: &[&str]) -> Value {
        let (object, nullable) = self.without_null(node);
        if without.is_empty() {
            return self.with_definitions(self.resolve(node), |_| true);
        }
        let mut lifted = self.with_definitions(object, |key| !without.contains(&key));
        // The null alternative may have stood in an `anyOf` around the object.
        if nullable && object.get("type") == Some(&json!("object")) {
            lifted["type"] = json!(["object", "null"]);
        }
        for name in ["title", "description"] {
            if let (Some(text), Value::Object(members)) = (node.get(name), &mut lifted) {
                members.insert(name.to_owned(), text.clone());
            }
        }
        lifted
    }

    /// The owner as a schema document of its own, with this one property.
    pub fn lift_only(&self, owner: &'a Value, key: &str) -> Value {
        self.with_definitions(owner, |name| name == key)
    }

    fn with_definitions(&self, node: &'a Value, keeps: impl Fn(&str) -> bool) -> Value {
        let mut lifter = Lifter {
            root: self.root,
            names: HashMap::new(),
            queue: Vec::new(),
        };
        let mut lifted = lifter.top(node, keeps);
        let mut definitions = Map::new();
        while let Some((name, target)) = lifter.queue.pop() {
            let definition = lifter.top(target, |_| true);
            definitions.insert(name, definition);
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

/// Copies nodes and points their references into the copy's own `$defs`.
struct Lifter<'a> {
    root: &'a Value,
    names: HashMap<String, String>,
    queue: Vec<(String, &'a Value)>,
}

impl<'a> Lifter<'a> {
    /// A node that becomes the top of a document or a definition: it leaves its own definitions
    /// and name behind, since every reference is pointed elsewhere.
    fn top(&mut self, node: &'a Value, keeps: impl Fn(&str) -> bool) -> Value {
        let Value::Object(members) = node else {
            return node.clone();
        };
        let mut copy = Map::new();
        for (key, value) in members {
            match (key.as_str(), value) {
                ("$defs" | "definitions" | "$schema", _) | ("$id" | "id", Value::String(_)) => {}
                ("properties", Value::Object(properties)) => {
                    let kept = properties.iter().filter(|(name, _)| keeps(name));
                    let kept: Map<_, _> = kept
                        .map(|(name, value)| (name.clone(), self.copy(value)))
                        .collect();
                    copy.insert(key.clone(), Value::Object(kept));
                }
                ("required", Value::Array(names)) => {
                    let kept = names.iter().filter(|name| name.as_str().is_none_or(&keeps));
                    copy.insert(key.clone(), kept.cloned().collect());
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
            Value::Object(members) if is_schema_map(key) => {
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
            return reference.to_owned();
        };
        let last = reference.rsplit('/').next().unwrap_or_default();
        let base: String = last
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let base = if base.is_empty() {
            "root".to_owned()
        } else {
            base
        };
        let mut name = base.clone();
        let mut count = 1;
        while self.names.values().any(|taken| *taken == name) {
            count += 1;
            name = format!("{base}{count}");
        }
        self.names.insert(reference.to_owned(), name.clone());
        self.queue.push((name.clone(), target));
        format!("#/$defs/{name}")
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

fn is_plain(node: &Value, root: &Value, is_top: bool) -> bool {
    match node {
        Value::Object(members) => members
            .iter()
            .all(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    (reference == "#" || reference.starts_with("#/"))
                        && follow(root, reference).is_some()
                }
                ("$id" | "id", Value::String(_)) => is_top,
                (key, Value::String(_) | Value::Bool(_)) if NAMING.contains(&key) => false,
                (key, Value::Object(nodes)) if is_schema_map(key) => {
                    nodes.values().all(|node| is_plain(node, root, false))
                }
                (key, _) if is_data(key) => true,
                _ => is_plain(value, root, false),
            }),
        Value::Array(items) => items.iter().all(|item| is_plain(item, root, false)),
        _ => true,
    }
}
