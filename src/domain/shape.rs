//! What kind of value a schema node describes, and how to take a node out of its document.

mod bond;
mod lift;
mod style;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::Value;

use super::schema::{DESCRIBING, draw_out, flatten, follow, localize};

pub use bond::{BINDING, Bonds, names};
pub use style::Style;

/// What a node describes, as far as the splitter cares.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// An object, possibly nullable; the node that holds its properties.
    Object(&'a Value),
    ArrayOfObjects,
    Other,
}

/// What a document has around its schema.
const AROUND: [&str; 5] = ["$schema", "$id", "id", "$defs", "definitions"];

/// Nodes looked at when leaves are counted; past it everything counts as one leaf.
const LEAF_BUDGET: u32 = 200_000;

/// A schema document whose nodes can be looked at and taken out on their own.
pub struct Shapes<'a> {
    root: &'a Value,
    counted: RefCell<HashMap<*const Value, u32>>,
    budget: Cell<u32>,
    /// Whether no node refers to another.
    is_closed: bool,
    /// What tells the members that `patternProperties` match, by its place.
    patterns: RefCell<HashMap<*const Value, Option<Validator>>>,
}

/// A schema as it can be looked at part by part: its references are places in the document, and
/// what it says in several parts is said in one. Takes exactly what `schema` takes.
///
/// `None` when it means something only in one piece.
pub fn divisible<'s>(schema: &'s Value, style: &Style) -> Option<Cow<'s, Value>> {
    if style.is_plain && !style.is_composed && !style.may_choose {
        return Some(Cow::Borrowed(schema));
    }
    let mut local = localize(schema)?;
    if style.is_composed {
        local = flatten(&local);
    }
    if style.may_choose {
        local = draw_out(&local);
    }
    Some(Cow::Owned(local))
}

impl<'a> Shapes<'a> {
    /// References in `root` must be places in it; `style` is its own.
    pub fn of(root: &'a Value, style: Style) -> Self {
        Self {
            root,
            is_closed: style.is_closed,
            counted: RefCell::new(if style.is_closed {
                style.leaves
            } else {
                HashMap::new()
            }),
            budget: Cell::new(LEAF_BUDGET),
            patterns: RefCell::default(),
        }
    }

    /// Follows references that say nothing more themselves. Accepted schemas have no empty loops.
    pub fn resolve(&self, node: &'a Value) -> &'a Value {
        let mut at = node;
        for _ in 0..64 {
            let Some(reference) = member(at, "$ref").and_then(Value::as_str) else {
                break;
            };
            let Some(members) = at.as_object() else { break };
            let says_nothing = |key: &str| DESCRIBING.contains(&key) || AROUND.contains(&key);
            if !members.keys().all(|key| says_nothing(key)) {
                break;
            }
            let Some(target) = follow(self.root, reference) else {
                break;
            };
            at = target;
        }
        at
    }

    /// Whether a node is certainly no object and no array: told at a glance, for most are not.
    pub fn is_leaf(&self, node: &Value) -> bool {
        let is_scalar = |name: &Value| name != "object" && name != "array";
        node.as_object().is_some_and(|members| {
            members.iter().all(|(key, value)| match key.as_str() {
                "type" => match value {
                    Value::Array(names) => names.iter().all(is_scalar),
                    name => is_scalar(name),
                },
                "$ref" | "anyOf" | "oneOf" | "properties" => false,
                _ => true,
            })
        })
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
            let Some(Value::Array(options)) = member(node, keyword) else {
                continue;
            };
            let others = members
                .keys()
                .all(|key| key == keyword || DESCRIBING.contains(&key.as_str()));
            let (nulls, rest): (Vec<_>, Vec<_>) =
                options.iter().partition(|option| is_null(option));
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
            && member(node, "prefixItems").is_none()
            && member(node, "items").is_some_and(|items| {
                let (item, _) = self.without_null(items);
                is_object(item) && member(item, "properties").is_some()
            })
    }

    pub fn properties(
        &self,
        object: &'a Value,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        member(object, "properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, property)| (key.as_str(), property))
    }

    /// Whether an object has to have a member that `properties` does not name.
    pub fn requires_more(&self, object: &'a Value) -> bool {
        let properties = member(object, "properties").and_then(Value::as_object);
        let is_named = |name| properties.is_some_and(|named| named.contains_key(name));
        let required = member(object, "required").and_then(Value::as_array);
        let mut required = required.into_iter().flatten().filter_map(Value::as_str);
        member(object, "additionalProperties") != Some(&Value::Bool(false))
            && required.any(|name| !is_named(name))
    }

    /// Whether null, `{}` or `[]` is a legal way to say that nothing is there.
    pub fn can_say_nothing(&self, node: &'a Value) -> bool {
        let (inner, nullable) = self.without_null(node);
        let demands = |keyword: &str| {
            member(inner, keyword).is_some_and(|value| match value {
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
        let style = Style {
            is_closed: true,
            ..Style::of(schema)
        };
        Self::of(schema, style).leaves(schema)
    }

    fn count(&self, node: &'a Value, open: &mut Vec<*const Value>) -> u32 {
        let (node, _) = self.without_null(node);
        let properties = member(node, "properties").filter(|_| is_object(node));
        let items = member(node, "items").filter(|items| items.is_object());
        if properties.is_none() && items.is_none() {
            return 1;
        }
        let key = std::ptr::from_ref(node);
        if let Some(count) = self.counted.borrow().get(&key) {
            return *count;
        }
        if self.budget.get() == 0 || open.contains(&key) || open.len() > 64 {
            return 1;
        }
        self.budget.set(self.budget.get() - 1);
        open.push(key);
        let count = match (properties, items) {
            (Some(_), _) => {
                let all = self.properties(node);
                let sum = all.map(|(_, property)| self.count(property, open));
                sum.fold(0_u32, u32::saturating_add)
            }
            (None, Some(items)) => self.count(items, open),
            (None, None) => 1,
        };
        open.pop();
        self.counted.borrow_mut().insert(key, count);
        count
    }
}

fn types(node: &Value) -> impl Iterator<Item = &str> {
    let named = member(node, "type");
    let one = named.and_then(Value::as_str);
    let many = named.and_then(Value::as_array).into_iter().flatten();
    one.into_iter().chain(many.filter_map(Value::as_str))
}

/// A member of an object. Schemas have few: to compare their names is faster than to hash one.
fn member<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    let members = node.as_object()?;
    if members.len() > 8 {
        return members.get(key);
    }
    let found = members.iter().find(|(name, _)| *name == key);
    found.map(|(_, value)| value)
}

/// Nothing but null.
fn is_null(node: &Value) -> bool {
    member(node, "type").is_some_and(|name| name == "null")
}

/// An object by its `type`, or by its `properties` where it has no type.
fn is_object(node: &Value) -> bool {
    let mut named = types(node).peekable();
    if named.peek().is_none() {
        return member(node, "properties").is_some_and(Value::is_object);
    }
    let mut saw_object = false;
    named.all(|name| {
        saw_object |= name == "object";
        name == "object" || name == "null"
    }) && saw_object
}
