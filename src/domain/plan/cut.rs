//! The way through a schema that says where it is cut.

use std::collections::HashSet;

use serde_json::Value;

use super::bound::Tie;
use super::cuts::{Cut, Cuts, Source};
use super::room;
use super::{Kind, SplitterConfigs, Take};
use crate::domain::pointer::Pointer;
use crate::domain::shape::{Bonds, Shape, Shapes};

/// Objects inside each other that are divided; what is further in stays in one piece.
const MAX_LEVELS: usize = 32;
/// Times that an object inside itself is divided; what is further in is asked for as one value.
pub const UNROLLED: usize = 3;
/// Leaf fields that may be asked for again inside themselves. An object that has more of them is
/// divided fewer times.
pub const MAX_UNROLLED_FIELDS: u32 = 100;

/// The cuts of a schema, at most as many as the splitter allows.
pub(super) fn cut<'a>(
    shapes: &Shapes<'a>,
    schema: &'a Value,
    splitter: SplitterConfigs,
) -> Cuts<'a> {
    let most = (splitter.max_subtrees as usize).max(1);
    let cutter = |unrolled: usize| Cutter {
        shapes,
        join: splitter.max_fields_to_join,
        most,
        unrolled,
        again: 0,
        cuts: Vec::new(),
        shells: Vec::new(),
        ties: Vec::new(),
    };
    for unrolled in (1..=UNROLLED).rev() {
        let mut every = cutter(unrolled);
        every.cut(schema, None);
        if every.is_within() {
            return every.into_cuts();
        }
        if every.again == 0 {
            break;
        }
    }
    let mut few = cutter(1);
    few.cut(schema, Some(most));
    few.into_cuts()
}

/// One way through the schema, with objects of up to `join` fields left where they are.
struct Cutter<'c, 'a> {
    shapes: &'c Shapes<'a>,
    join: u32,
    /// Subtrees past which a way without a `room` is given up.
    most: usize,
    /// Times that an object is divided inside itself, the first time included.
    unrolled: usize,
    /// Leaf fields of objects inside themselves.
    again: u32,
    cuts: Vec<Cut<'a>>,
    shells: Vec<Pointer>,
    ties: Vec<Tie>,
}

/// Where in the schema the cutter is.
#[derive(Clone)]
struct Level<'a> {
    path: Pointer,
    context: Vec<String>,
    /// Objects around this one, so that recursion comes to an end.
    around: Vec<&'a Value>,
}

impl Level<'_> {
    /// How often the object is around this level.
    fn times_inside(&self, object: &Value) -> usize {
        let around = self.around.iter();
        around.filter(|outer| std::ptr::eq(**outer, object)).count()
    }
}

/// A property that is asked for apart.
type Own<'a> = (&'a str, &'a Value);

impl<'a> Cutter<'_, 'a> {
    /// Cuts into at most `room` subtrees, or wherever it is possible.
    fn cut(&mut self, schema: &'a Value, room: Option<usize>) {
        let level = Level {
            path: Pointer::root(),
            context: Vec::new(),
            around: Vec::new(),
        };
        let shape = self.shapes.shape(schema);
        match self.division(&shape, &level, room) {
            Some((object, bonds)) => self.divide(schema, object, bonds, level, room),
            None => self.keep_whole(schema, &shape, &level),
        }
    }

    fn is_within(&self) -> bool {
        self.cuts.len() <= self.most && self.again <= MAX_UNROLLED_FIELDS
    }

    fn into_cuts(self) -> Cuts<'a> {
        Cuts {
            all: self.cuts,
            shells: self.shells,
            ties: self.ties,
        }
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

    /// How an object comes apart, if some property of it becomes a subtree of its own and there is
    /// room for that.
    fn division(
        &self,
        shape: &Shape<'a>,
        level: &Level<'a>,
        room: Option<usize>,
    ) -> Option<(&'a Value, Bonds<'a>)> {
        let Shape::Object(object) = *shape else {
            return None;
        };
        let is_too_deep =
            level.around.len() >= MAX_LEVELS || level.times_inside(object) >= self.unrolled;
        if is_too_deep || room.is_some_and(|room| room < 2) {
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

    /// `node` is the property as written, `object` the object schema it comes to; `room` the most
    /// subtrees, at least two.
    fn divide(
        &mut self,
        node: &'a Value,
        object: &'a Value,
        bonds: Bonds<'a>,
        mut level: Level<'a>,
        room: Option<usize>,
    ) {
        let is_again = level.times_inside(object) > 0;
        level.around.push(object);
        level.context.push(caption(node, object));
        for keyword in bonds.dropped.iter().copied().chain(bonds.loosened) {
            let tied = self.shapes.ties(object, &[keyword]).into_iter();
            self.ties.extend(tied.map(|names| Tie {
                at: level.path.clone(),
                names,
                is_least: keyword == "minProperties",
            }));
        }
        let names: HashSet<&str> = bonds.own.iter().copied().collect();
        let properties = self.shapes.properties(object);
        let (own, loose): (Vec<Own>, Vec<Own>) =
            properties.partition(|(key, _)| names.contains(key));
        let others = !loose.is_empty()
            || bonds.binds_more
            || object
                .get("additionalProperties")
                .is_some_and(Value::is_object)
            || self.shapes.requires_more(object);
        if others {
            let chosen = bonds.loosened.map_or(0, |keyword| {
                self.shapes.named_in(object, keyword, &bonds.own)
            });
            let fields = self.fields(&loose).saturating_add(chosen);
            if is_again {
                self.again = self.again.saturating_add(fields);
            }
            self.owner(node, bonds, fields, &level);
        } else {
            self.shells.push(level.path.clone());
        }
        match room {
            None => {
                for own in own {
                    if !self.is_within() {
                        return;
                    }
                    self.property(own, object, &level, None);
                }
            }
            Some(room) => self.share(&own, object, &level, room - usize::from(others)),
        }
    }

    fn fields(&self, properties: &[Own<'a>]) -> u32 {
        let leaves = properties
            .iter()
            .map(|(_, property)| self.shapes.leaves(property));
        leaves.fold(0, u32::saturating_add)
    }

    /// Properties of one object as at most `room` subtrees: each divided as far as its part of the
    /// room goes or, where there are more of them than there is room, several in one.
    fn share(&mut self, own: &[Own<'a>], object: &'a Value, level: &Level<'a>, room: usize) {
        if own.len() <= room {
            let needs = own.iter().map(|own| self.need(*own, object, level, room));
            let rooms = room::shares(&needs.collect::<Vec<_>>(), room);
            for (own, room) in own.iter().zip(rooms) {
                self.property(*own, object, level, Some(room));
            }
            return;
        }
        // Of a list nobody knows the length, so it is better asked for by itself.
        let is_list = |own: &&Own<'a>| matches!(self.shapes.shape(own.1), Shape::ArrayOfObjects);
        let (lists, others): (Vec<Own>, Vec<Own>) = own.iter().partition(is_list);
        if lists.len() < room && !others.is_empty() {
            for own in &lists {
                self.property(*own, object, level, Some(1));
            }
            self.join(&others, object, level, room - lists.len());
        } else {
            self.join(own, object, level, room);
        }
    }

    /// The subtrees that a property would come to, of which no more than `most` are counted.
    fn need(&self, own: Own<'a>, object: &'a Value, level: &Level<'a>, most: usize) -> usize {
        let mut probe = Cutter {
            most,
            cuts: Vec::new(),
            shells: Vec::new(),
            ties: Vec::new(),
            ..*self
        };
        probe.property(own, object, level, None);
        probe.cuts.len().min(most)
    }

    /// Neighbours in one subtree, so that there are `count` of about the same number of fields.
    fn join(&mut self, own: &[Own<'a>], object: &'a Value, level: &Level<'a>, count: usize) {
        let leaves = own.iter().map(|(_, property)| self.shapes.leaves(property));
        let mut left = own;
        for length in room::lengths(&leaves.collect::<Vec<_>>(), count) {
            let (group, rest) = left.split_at(length);
            left = rest;
            match group {
                [] => {}
                [only] => self.property(*only, object, level, Some(1)),
                [(first, _), .., (last, _)] => {
                    let name = level.path.join(&format!("{first}-{last}"));
                    self.only(group, Kind::Fields, object, level, name);
                }
            }
        }
    }

    /// The subtree of an object's loose fields; it also carries the object itself.
    fn owner(&mut self, node: &'a Value, bonds: Bonds<'a>, fields: u32, level: &Level<'a>) {
        self.cuts.push(Cut {
            path: level.path.clone(),
            kind: Kind::Fields,
            take: Take::Rest(bonds.own.iter().map(|key| (*key).to_owned()).collect()),
            source: Source::Rest(node, bonds),
            total_fields: fields.max(1),
            context: level.outer_context(),
            name: level.path.clone(),
        });
    }

    fn property(
        &mut self,
        (key, property): Own<'a>,
        owner: &'a Value,
        level: &Level<'a>,
        room: Option<usize>,
    ) {
        let shape = self.shapes.shape(property);
        let inner = Level {
            path: level.path.join(key),
            ..level.clone()
        };
        // Beside another branch of a choice it must not be there at all, not even empty.
        let is_chosen = self.shapes.is_chosen(owner, key);
        if let Some((object, bonds)) = self.division(&shape, &inner, room).filter(|_| !is_chosen) {
            self.divide(property, object, bonds, inner, room);
        } else if is_chosen || (!is_required(owner, key) && !self.shapes.can_say_nothing(property))
        {
            // Where "not there" can only be said by leaving the property out, the subtree is the
            // owner with this one property.
            self.only(
                &[(key, property)],
                kind_of(&shape),
                owner,
                level,
                inner.path,
            );
        } else {
            self.keep_whole(property, &shape, &inner);
        }
    }

    /// The subtree of an object with these of its properties alone.
    fn only(
        &mut self,
        own: &[Own<'a>],
        kind: Kind,
        owner: &'a Value,
        level: &Level<'a>,
        name: Pointer,
    ) {
        let keys: Vec<&str> = own.iter().map(|(key, _)| *key).collect();
        self.cuts.push(Cut {
            path: level.path.clone(),
            kind,
            take: Take::Keys(keys.iter().map(|key| (*key).to_owned()).collect()),
            source: Source::Only(owner, keys),
            total_fields: self.fields(own),
            context: level.outer_context(),
            name,
        });
    }
}

impl Level<'_> {
    /// What the schema of the object at this level does not say itself.
    fn outer_context(&self) -> Vec<String> {
        self.context[..self.context.len().saturating_sub(1)].to_vec()
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
