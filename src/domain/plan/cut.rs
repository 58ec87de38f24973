//! The way through a schema that says where it is cut.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::bound::{Bound, Tie, groups};
use super::harvest::Crop;
use super::{Kind, Plan, Subtree, Take};
use crate::domain::plan::SplitterConfigs;
use crate::domain::pointer::Pointer;
use crate::domain::shape::{Bonds, Shape, Shapes};

/// Objects inside each other that are divided; what is further in stays in one piece.
const MAX_LEVELS: usize = 32;

/// The cuts of a schema; `None` where it is to stay in one piece.
pub(super) fn cut<'a>(
    shapes: &Shapes<'a>,
    schema: &'a Value,
    splitter: SplitterConfigs,
) -> Option<Cuts<'a>> {
    let mut join = splitter.max_fields_to_join;
    // Too many: let larger objects stay with their owners. Past every object's size only arrays
    // are left, and then the schema stays whole.
    while join <= 1 << 20 {
        let cutter = Cutter::new(shapes, join, splitter.max_subtrees as usize);
        if let Some(cuts) = cutter.cut(schema) {
            return Some(cuts);
        }
        join = join.max(1) * 2;
    }
    None
}

/// A cut, before its schema is taken out and its id given.
struct Cut<'a> {
    path: Pointer,
    kind: Kind,
    take: Take,
    source: Source<'a>,
    total_fields: u32,
    context: Vec<String>,
    /// What the id is made of.
    name: Pointer,
}

/// Where a cut's schema comes from.
enum Source<'a> {
    Node(&'a Value),
    /// A node, less what is asked for apart and what binds that to the rest.
    Rest(&'a Value, Bonds<'a>),
    /// An object with one property.
    Only(&'a Value, &'a str),
}

/// One way through the schema, with objects of up to `join` fields left where they are.
struct Cutter<'c, 'a> {
    shapes: &'c Shapes<'a>,
    join: u32,
    /// Subtrees past which the way is given up.
    most: usize,
    cuts: Vec<Cut<'a>>,
    shells: Vec<Pointer>,
    ties: Vec<Tie>,
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

impl<'c, 'a> Cutter<'c, 'a> {
    fn new(shapes: &'c Shapes<'a>, join: u32, most: usize) -> Self {
        Self {
            shapes,
            join,
            most,
            cuts: Vec::new(),
            shells: Vec::new(),
            ties: Vec::new(),
        }
    }

    /// `None` when it takes too many subtrees.
    fn cut(mut self, schema: &'a Value) -> Option<Cuts<'a>> {
        let level = Level {
            path: Pointer::root(),
            context: Vec::new(),
            around: Vec::new(),
        };
        let shape = self.shapes.shape(schema);
        match self.division(&shape, &level) {
            Some((object, bonds)) => self.divide(schema, object, bonds, level),
            None => self.keep_whole(schema, &shape, &level),
        }
        (self.cuts.len() <= self.most).then_some(Cuts {
            all: self.cuts,
            shells: self.shells,
            ties: self.ties,
        })
    }

    fn keep_whole(&mut self, schema: &'a Value, shape: &Shape<'a>, level: &Level<'a>) {
        self.cuts.push(Cut {
            kind: kind_of(shape),
            take: Take::Whole,
            source: Source::Node(schema),
            total_fields: self.shapes.leaves(schema),
            context: level.context.clone(),
            name: level.path.clone(),
            path: level.path.clone(),
        });
    }

    /// How an object comes apart, if some property of it becomes a subtree of its own.
    fn division(&self, shape: &Shape<'a>, level: &Level<'a>) -> Option<(&'a Value, Bonds<'a>)> {
        let Shape::Object(object) = *shape else {
            return None;
        };
        if level.is_inside(object) || level.around.len() >= MAX_LEVELS {
            return None;
        }
        let own: Vec<_> = self
            .shapes
            .properties(object)
            .filter(|(_, property)| self.is_own(property))
            .map(|(key, _)| key)
            .collect();
        if own.is_empty() {
            return None;
        }
        let bonds = self.shapes.bonds(object, own)?;
        (!bonds.own.is_empty()).then_some((object, bonds))
    }

    /// Whether a property becomes a subtree: an array of objects, or an object that is not tiny.
    fn is_own(&self, property: &'a Value) -> bool {
        if self.shapes.is_leaf(property) {
            return false;
        }
        match self.shapes.shape(property) {
            Shape::ArrayOfObjects => true,
            Shape::Object(_) => self.shapes.leaves(property) > self.join,
            Shape::Other => false,
        }
    }

    /// `node` is the property as written, `object` the object schema it comes to.
    fn divide(
        &mut self,
        node: &'a Value,
        object: &'a Value,
        bonds: Bonds<'a>,
        mut level: Level<'a>,
    ) {
        level.around.push(object);
        level.context.push(caption(node, object));
        let tied = self.shapes.ties(object, &bonds.dropped).into_iter();
        self.ties.extend(tied.map(|names| Tie {
            at: level.path.clone(),
            names,
        }));
        let own: HashSet<&str> = bonds.own.iter().copied().collect();
        let others = self.shapes.properties(object).count() > own.len()
            || bonds.binds_more
            || object
                .get("additionalProperties")
                .is_some_and(Value::is_object);
        if others {
            self.owner(node, object, bonds, &own, &level);
        } else {
            self.shells.push(level.path.clone());
        }
        for (key, property) in self.shapes.properties(object) {
            if self.cuts.len() > self.most {
                return;
            }
            if own.contains(key) {
                self.property(key, property, object, &level);
            }
        }
    }

    /// The subtree of an object's loose fields; it also carries the object itself.
    fn owner(
        &mut self,
        node: &'a Value,
        object: &'a Value,
        bonds: Bonds<'a>,
        own: &HashSet<&str>,
        level: &Level<'a>,
    ) {
        let loose = self.shapes.properties(object);
        let fields: u32 = loose
            .filter(|(key, _)| !own.contains(key))
            .map(|(_, property)| self.shapes.leaves(property))
            .fold(0, u32::saturating_add);
        self.cuts.push(Cut {
            path: level.path.clone(),
            kind: Kind::Fields,
            take: Take::Rest(bonds.own.iter().map(|key| (*key).to_owned()).collect()),
            source: Source::Rest(node, bonds),
            total_fields: fields.max(1),
            context: level.context[..level.context.len().saturating_sub(1)].to_vec(),
            name: level.path.clone(),
        });
    }

    fn property(&mut self, key: &'a str, property: &'a Value, owner: &'a Value, level: &Level<'a>) {
        let shape = self.shapes.shape(property);
        let inner = Level {
            path: level.path.join(key),
            context: level.context.clone(),
            around: level.around.clone(),
        };
        if let Some((object, bonds)) = self.division(&shape, &inner) {
            self.divide(property, object, bonds, inner);
        } else if !is_required(owner, key) && !self.shapes.can_say_nothing(property) {
            // Where "not there" can only be said by leaving the property out, the subtree is the
            // owner with this one property.
            self.cuts.push(Cut {
                path: level.path.clone(),
                kind: kind_of(&shape),
                take: Take::Keys(vec![key.to_owned()]),
                source: Source::Only(owner, key),
                total_fields: self.shapes.leaves(property),
                context: level.context[..level.context.len().saturating_sub(1)].to_vec(),
                name: inner.path,
            });
        } else {
            self.keep_whole(property, &shape, &inner);
        }
    }
}

/// All cuts of a schema.
pub(super) struct Cuts<'a> {
    all: Vec<Cut<'a>>,
    shells: Vec<Pointer>,
    ties: Vec<Tie>,
}

impl<'a> Cuts<'a> {
    /// The plan, each subtree with a copy of its schema. `whole` is the schema as it was accepted.
    pub(super) fn copied(self, shapes: &Shapes<'a>, whole: &Value) -> Plan {
        let schemas = self.all.iter().map(|cut| cut.source.lift(shapes)).collect();
        self.draft(whole).finish(schemas)
    }

    /// The plan without its schemas, and where those are to be taken from.
    pub(super) fn marked(self, shapes: &Shapes<'a>, whole: &Value) -> (Draft, Vec<Crop>) {
        let crops = self.all.iter().map(|cut| cut.source.crop(shapes)).collect();
        (self.draft(whole), crops)
    }

    fn draft(self, whole: &Value) -> Draft {
        let mut taken = HashSet::new();
        let subtrees = self.all.into_iter().map(|cut| Subtree {
            id: subtree_id(&cut.name, &mut taken),
            path: cut.path,
            kind: cut.kind,
            take: cut.take,
            schema: Value::Null,
            total_fields: cut.total_fields,
            context: cut.context,
        });
        let subtrees: Vec<_> = subtrees.collect();
        let groups = groups(&subtrees, &self.ties);
        Draft {
            subtrees,
            shells: self.shells,
            bound: (!groups.is_empty()).then(|| Bound {
                schema: whole.clone(),
                groups,
            }),
        }
    }
}

impl<'a> Source<'a> {
    fn lift(&self, shapes: &Shapes<'a>) -> Value {
        match self {
            Self::Node(node) => shapes.lift(node),
            Self::Rest(node, bonds) => shapes.lift_rest(node, &bonds.own, &bonds.dropped),
            Self::Only(owner, key) => shapes.lift_only(owner, key),
        }
    }

    /// Where nothing needs to be written otherwise, the node itself.
    fn crop(&self, shapes: &Shapes<'a>) -> Crop {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Node(node) => Crop::Whole(*node),
            Self::Rest(node, bonds) if shapes.is_bare(node) => {
                Crop::Rest(*node, owned(&bonds.own), owned(&bonds.dropped))
            }
            _ => Crop::Copied(self.lift(shapes)),
        }
    }
}

/// A plan whose subtrees have no schemas yet.
pub(super) struct Draft {
    subtrees: Vec<Subtree>,
    shells: Vec<Pointer>,
    bound: Option<Bound>,
}

impl Draft {
    pub(super) fn finish(self, schemas: Vec<Value>) -> Plan {
        let subtrees = self.subtrees.into_iter().zip(schemas);
        Plan {
            subtrees: subtrees
                .map(|(subtree, schema)| Arc::new(Subtree { schema, ..subtree }))
                .collect(),
            shells: self.shells,
            bound: self.bound,
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
