//! A schema cut into subtrees.
//!
//! One subtree per object, one per array of objects, one for the loose fields of a level; objects
//! of a few fields travel with the fields around them. Every declared leaf is in exactly one
//! subtree. What cannot be divided soundly stays in one piece: a schema is never refused here.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::SplitterConfigs;
use super::pointer::Pointer;
use super::shape::{Shape, Shapes};

/// What a subtree is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole object.
    Object,
    /// Some or all of the loose fields of an object.
    Fields,
    /// An array of objects.
    AgenticArray,
    /// Anything else: a root that is not an object, or a schema that is kept in one piece.
    Value,
}

/// Which part of the value at its path a subtree carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// All of it.
    Whole,
    /// These properties of the object.
    Keys(Vec<String>),
    /// The object itself and all its properties but these, which other subtrees carry.
    Rest(Vec<String>),
}

/// A part of the schema with its own place in the result: the unit of result, event and
/// checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subtree {
    /// 1 to 64 characters of `A-Za-z0-9_.-`; stable for a schema.
    pub id: String,
    /// Where the value goes in the result.
    pub path: Pointer,
    pub kind: Kind,
    pub take: Take,
    /// Self-contained JSON Schema of the value; inner `$ref`s lead into its own `$defs`.
    pub schema: Value,
    /// Leaf fields, at least 1; a row of an array counts once.
    pub total_fields: u32,
    /// Title and description of each object around it, outermost first; empty where it has none.
    pub context: Vec<String>,
}

/// All subtrees of a schema. Their leaves are disjoint and complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub subtrees: Vec<Arc<Subtree>>,
    /// Divided objects without loose fields of their own. No subtree carries the object itself,
    /// so of an instance their undeclared members, or a null in their place, are not asked for.
    pub shells: Vec<Pointer>,
}

impl Plan {
    /// Cuts an accepted schema.
    pub fn of(schema: &Value, splitter: SplitterConfigs) -> Self {
        let Some(shapes) = Shapes::of(schema) else {
            return Self::in_one_piece(schema);
        };
        let mut join = splitter.max_fields_to_join;
        loop {
            let mut cutter = Cutter {
                shapes: &shapes,
                join,
                cuts: Vec::new(),
                shells: Vec::new(),
            };
            cutter.root(schema);
            if cutter.cuts.len() <= splitter.max_subtrees as usize {
                return cutter.finish();
            }
            // Too many: let larger objects stay with their owners. Past every object's size only
            // arrays are left, and then the schema stays whole.
            if join > 1 << 20 {
                return Self::in_one_piece(schema);
            }
            join = join.max(1) * 2;
        }
    }

    fn in_one_piece(schema: &Value) -> Self {
        let kind = match schema.get("type").and_then(Value::as_str) {
            Some("object") => Kind::Object,
            _ if schema.get("properties").is_some() => Kind::Object,
            _ => Kind::Value,
        };
        let subtree = Subtree {
            id: "root".into(),
            path: Pointer::root(),
            kind,
            take: Take::Whole,
            schema: schema.clone(),
            total_fields: Shapes::leaves_as_written(schema).max(1),
            context: Vec::new(),
        };
        Self {
            subtrees: vec![Arc::new(subtree)],
            shells: Vec::new(),
        }
    }

    pub fn total_fields(&self) -> u32 {
        self.subtrees
            .iter()
            .map(|subtree| subtree.total_fields)
            .sum()
    }
}

/// A cut, before ids are given.
struct Cut {
    path: Pointer,
    kind: Kind,
    take: Take,
    schema: Value,
    total_fields: u32,
    context: Vec<String>,
    /// What the id is made of.
    name: Pointer,
}

struct Cutter<'a> {
    shapes: &'a Shapes<'a>,
    join: u32,
    cuts: Vec<Cut>,
    shells: Vec<Pointer>,
}

/// Where in the schema the cutter is.
struct Level<'a> {
    path: Pointer,
    context: Vec<String>,
    /// Objects around this one, so that recursion stays in one piece.
    around: Vec<&'a Value>,
}

impl Level<'_> {
    fn is_inside(&self, node: &Value) -> bool {
        self.around.iter().any(|outer| std::ptr::eq(*outer, node))
    }
}

impl<'a> Cutter<'a> {
    fn root(&mut self, schema: &'a Value) {
        let level = Level {
            path: Pointer::root(),
            context: Vec::new(),
            around: Vec::new(),
        };
        match self.shapes.shape(schema) {
            Shape::Object(object) if self.is_worth_dividing(object, &level) => {
                self.divide(schema, object, level);
            }
            shape => self.keep_whole(schema, &shape, &level),
        }
    }

    fn keep_whole(&mut self, schema: &'a Value, shape: &Shape<'a>, level: &Level<'a>) {
        self.cuts.push(Cut {
            kind: kind_of(shape),
            take: Take::Whole,
            schema: self.shapes.lift(schema, &[]),
            total_fields: self.shapes.leaves(schema),
            context: level.context.clone(),
            name: level.path.clone(),
            path: level.path.clone(),
        });
    }

    /// Whether some property of the object would become a subtree of its own.
    fn is_worth_dividing(&self, object: &'a Value, level: &Level<'a>) -> bool {
        !level.is_inside(object)
            && level.around.len() < 32
            && self.shapes.is_divisible(object)
            && self
                .shapes
                .properties(object)
                .any(|(_, property)| self.is_own(property))
    }

    /// Whether a property becomes a subtree: an array of objects, or an object that is not tiny.
    fn is_own(&self, property: &'a Value) -> bool {
        match self.shapes.shape(property) {
            Shape::ArrayOfObjects => true,
            Shape::Object(_) => self.shapes.leaves(property) > self.join,
            Shape::Other => false,
        }
    }

    /// `node` is the property as written, `object` the object schema it comes to.
    fn divide(&mut self, node: &'a Value, object: &'a Value, mut level: Level<'a>) {
        level.around.push(object);
        level.context.push(caption(node, object));
        let own: Vec<&str> = self
            .shapes
            .properties(object)
            .filter(|(_, property)| self.is_own(property))
            .map(|(key, _)| key)
            .collect();
        let loose = self.shapes.properties(object).count() - own.len();
        if loose > 0
            || object
                .get("additionalProperties")
                .is_some_and(Value::is_object)
        {
            self.owner(node, object, &own, &level);
        } else {
            self.shells.push(level.path.clone());
        }
        for key in own {
            if let Some(property) = object["properties"].get(key) {
                self.property(key, property, object, &level);
            }
        }
    }

    /// The subtree of an object's loose fields; it also carries the object itself.
    fn owner(&mut self, node: &'a Value, object: &'a Value, own: &[&str], level: &Level<'a>) {
        let schema = self.shapes.lift(node, own);
        let loose = self
            .shapes
            .properties(object)
            .filter(|(key, _)| !own.contains(key));
        let fields: u32 = loose
            .map(|(_, property)| self.shapes.leaves(property))
            .sum();
        self.cuts.push(Cut {
            path: level.path.clone(),
            kind: Kind::Fields,
            take: Take::Rest(own.iter().map(|key| (*key).to_owned()).collect()),
            schema,
            total_fields: fields.max(1),
            context: level.context[..level.context.len().saturating_sub(1)].to_vec(),
            name: level.path.clone(),
        });
    }

    fn property(&mut self, key: &str, property: &'a Value, owner: &'a Value, level: &Level<'a>) {
        let shape = self.shapes.shape(property);
        let inner = Level {
            path: level.path.join(key),
            context: level.context.clone(),
            around: level.around.clone(),
        };
        match shape {
            Shape::Object(object) if self.is_worth_dividing(object, &inner) => {
                self.divide(property, object, inner);
            }
            // Where "not there" can only be said by leaving the property out, the subtree is the
            // owner with this one property.
            _ if !is_required(owner, key) && !self.shapes.can_say_nothing(property) => {
                self.cuts.push(Cut {
                    path: level.path.clone(),
                    kind: kind_of(&shape),
                    take: Take::Keys(vec![key.to_owned()]),
                    schema: self.shapes.lift_only(owner, key),
                    total_fields: self.shapes.leaves(property),
                    context: level.context[..level.context.len().saturating_sub(1)].to_vec(),
                    name: inner.path,
                });
            }
            _ => self.keep_whole(property, &shape, &inner),
        }
    }

    fn finish(self) -> Plan {
        let mut taken = HashSet::new();
        let subtrees = self.cuts.into_iter().map(|cut| {
            let id = subtree_id(&cut.name, &mut taken);
            Arc::new(Subtree {
                id,
                path: cut.path,
                kind: cut.kind,
                take: cut.take,
                schema: cut.schema,
                total_fields: cut.total_fields,
                context: cut.context,
            })
        });
        Plan {
            subtrees: subtrees.collect(),
            shells: self.shells,
        }
    }
}

fn kind_of(shape: &Shape) -> Kind {
    match shape {
        Shape::Object(_) => Kind::Object,
        Shape::ArrayOfObjects => Kind::AgenticArray,
        Shape::Other => Kind::Value,
    }
}

fn is_required(owner: &Value, key: &str) -> bool {
    owner
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|required| required.iter().any(|name| name == key))
}

/// Title and description of an object, as one line for the subtrees inside it.
fn caption(node: &Value, object: &Value) -> String {
    let say = |name: &str| {
        node.get(name)
            .or_else(|| object.get(name))
            .and_then(Value::as_str)
    };
    match (say("title"), say("description")) {
        (Some(title), Some(description)) => format!("{title}: {description}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => String::new(),
    }
}

/// Readable, unique, and within what the protocol allows for an id.
fn subtree_id(path: &Pointer, taken: &mut HashSet<String>) -> String {
    let mut name: String = path
        .tokens()
        .collect::<Vec<_>>()
        .join(".")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(56)
        .collect();
    if name.is_empty() {
        name.push_str("root");
    }
    let mut id = name.clone();
    let mut count = 1;
    while !taken.insert(id.clone()) {
        count += 1;
        id = format!("{name}-{count}");
    }
    id
}
