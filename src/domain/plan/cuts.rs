//! Cuts of a schema, and the plan that they make.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::bound::{Bound, Tie, groups};
use super::harvest::Crop;
use super::{Kind, Plan, Subtree, Take};
use crate::domain::pointer::Pointer;
use crate::domain::shape::{Bonds, Shapes};

/// A cut, before its schema is taken out and its id given.
pub(super) struct Cut<'a> {
    pub(super) path: Pointer,
    pub(super) kind: Kind,
    pub(super) take: Take,
    pub(super) source: Source<'a>,
    pub(super) total_fields: u32,
    pub(super) context: Vec<String>,
    /// What the id is made of.
    pub(super) name: Pointer,
}

/// Where a cut's schema comes from.
pub(super) enum Source<'a> {
    Node(&'a Value),
    /// A node, less what is asked for apart and what binds that to the rest.
    Rest(&'a Value, Bonds<'a>),
    /// An object with these properties alone.
    Only(&'a Value, Vec<&'a str>),
}

/// All cuts of a schema.
pub(super) struct Cuts<'a> {
    pub(super) all: Vec<Cut<'a>>,
    pub(super) shells: Vec<Pointer>,
    pub(super) ties: Vec<Tie>,
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
        let (groups, of_least): (Vec<_>, Vec<_>) =
            groups(&subtrees, &self.ties).into_iter().unzip();
        let numbered = of_least.into_iter().enumerate();
        let least = numbered.filter_map(|(at, is_least)| is_least.then_some(at));
        let least = least.collect();
        Draft {
            subtrees,
            shells: self.shells,
            bound: (!groups.is_empty()).then(|| Bound {
                schema: whole.clone(),
                groups,
                least,
            }),
        }
    }
}

impl<'a> Source<'a> {
    fn lift(&self, shapes: &Shapes<'a>) -> Value {
        match self {
            Self::Node(node) => shapes.lift(node),
            Self::Rest(node, bonds) => shapes.lift_rest(node, bonds),
            Self::Only(owner, keys) => shapes.lift_only(owner, keys),
        }
    }

    /// Where nothing needs to be written otherwise, the node itself.
    fn crop(&self, shapes: &Shapes<'a>) -> Crop {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Node(node) => Crop::Whole(*node),
            Self::Rest(node, bonds) if shapes.is_bare(node) && bonds.loosened.is_none() => {
                Crop::Rest(*node, owned(&bonds.own), owned(&bonds.dropped))
            }
            Self::Only(owner, keys) => Crop::Only(*owner, owned(keys)),
            Self::Rest(..) => Crop::Copied(self.lift(shapes)),
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
