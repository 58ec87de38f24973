//! What is known of an array before anything is read.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::plan::{Kind, Plan, Subtree, Take};
use crate::domain::pointer::Pointer;
use crate::domain::shape::{Shape, Shapes, Style};
use crate::domain::value::fold;

/// Properties of a row that are looked at.
const MOST_PROPERTIES: usize = 400;
/// Arrays of one subtree that are told apart, nodes of its schema that are looked at for them, and
/// how far in.
const MOST_INSIDE: usize = 50;
const MOST_NODES: usize = 50_000;
const DEEPEST: usize = 16;

/// An array of objects, as its schema tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// The last name of its path; empty where the array is the whole result.
    pub name: String,
    /// Schema of the array, self-contained.
    pub array: Value,
    /// Names of the row's properties.
    pub(crate) properties: Vec<Property>,
    /// Arrays of the same plan whose rows have the same properties, this one among them, and how
    /// many of them come before it.
    pub(crate) twins: usize,
    pub(crate) before: usize,
}

/// A property of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub key: String,
    /// Folded words of its name, title and description.
    pub words: Vec<String>,
    /// An array of objects inside the row.
    pub is_list: bool,
}

/// An array of objects, and where a subtree has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Into the plan's subtrees.
    pub subtree: usize,
    /// Relative to the subtree's value.
    pub at: Pointer,
    /// Whether the subtree is that array and nothing else.
    pub is_own: bool,
    pub list: List,
}

/// All arrays of objects of a plan, in its order: those that have a subtree, and those that share
/// one with other fields. Not those inside a row, which belong to it, nor those of a member that
/// the schema does not name.
pub fn lists(plan: &Plan) -> Vec<Listed> {
    let subtrees = plan.subtrees.iter().enumerate();
    let mut all: Vec<Listed> = subtrees
        .flat_map(|(index, subtree)| match array(subtree) {
            Some(own) => vec![Listed::own(index, subtree, own)],
            None => inside(index, subtree),
        })
        .collect();
    let mut alike: HashMap<Vec<&str>, usize> = HashMap::new();
    let before: Vec<usize> = all
        .iter()
        .map(|listed| {
            let count = alike.entry(listed.list.keys()).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    let twins = all.iter().map(|listed| alike[&listed.list.keys()]);
    let twins: Vec<usize> = twins.collect();
    for ((listed, before), twins) in all.iter_mut().zip(before).zip(twins) {
        (listed.list.before, listed.list.twins) = (before, twins);
    }
    all
}

impl Listed {
    fn own(index: usize, subtree: &Subtree, (name, array): (String, Value)) -> Self {
        let at = match &subtree.take {
            Take::Keys(_) => Pointer::root().join(&name),
            Take::Whole | Take::Rest(_) => Pointer::root(),
        };
        Self {
            subtree: index,
            at,
            is_own: true,
            list: List::new(name, array),
        }
    }
}

impl List {
    fn new(name: String, array: Value) -> Self {
        Self {
            properties: properties(&array),
            name,
            array,
            twins: 1,
            before: 0,
        }
    }

    /// `None` where the subtree is no array of objects, or is not in the plan.
    pub fn of(plan: &Plan, subtree: usize) -> Option<Self> {
        let mut all = lists(plan).into_iter();
        all.find(|listed| listed.is_own && listed.subtree == subtree)
            .map(|listed| listed.list)
    }

    fn keys(&self) -> Vec<&str> {
        let properties = self.properties.iter();
        properties.map(|property| property.key.as_str()).collect()
    }

    /// Names of the arrays of objects inside a row.
    pub(crate) fn inner(&self) -> impl Iterator<Item = &str> {
        let lists = self.properties.iter().filter(|property| property.is_list);
        lists.map(|property| property.key.as_str())
    }

    /// A limit that the schema sets: `minItems` or `maxItems`.
    pub(crate) fn limit(&self, keyword: &str) -> Option<u64> {
        self.array.get(keyword)?.as_u64()
    }

    pub(crate) fn is_unique(&self) -> bool {
        self.array.get("uniqueItems") == Some(&Value::Bool(true))
    }
}

/// Those that a subtree has beside other fields.
fn inside(index: usize, subtree: &Subtree) -> Vec<Listed> {
    let schema = &subtree.schema;
    let shapes = Shapes::of(schema, Style::of(schema));
    let mut found: Vec<(Pointer, String, &Value)> = Vec::new();
    let mut left = vec![(schema, Pointer::root(), String::new(), 0)];
    let mut looked_at = 0;
    while let Some((node, at, name, depth)) = left.pop() {
        looked_at += 1;
        if looked_at > MOST_NODES || found.len() == MOST_INSIDE {
            break;
        }
        if depth > DEEPEST {
            continue;
        }
        match shapes.shape(node) {
            Shape::ArrayOfObjects => {
                if found.iter().all(|(known, ..)| *known != at) {
                    found.push((at, name, node));
                }
                continue;
            }
            // The last that is put here is looked at first.
            Shape::Object(object) => {
                let members: Vec<_> = shapes.properties(object).collect();
                let members = members.into_iter().rev();
                left.extend(
                    members.map(|(key, node)| (node, at.join(key), key.to_owned(), depth + 1)),
                );
            }
            Shape::Other => {}
        }
        let node = shapes.resolve(node);
        let choices = ["anyOf", "oneOf", "allOf"].into_iter();
        let choices = choices.filter_map(|keyword| node.get(keyword)?.as_array());
        left.extend(
            choices
                .flatten()
                .map(|choice| (choice, at.clone(), name.clone(), depth + 1)),
        );
    }
    let found = found.into_iter().map(|(at, name, node)| Listed {
        subtree: index,
        at,
        is_own: false,
        list: List::new(name, self_contained(node, schema)),
    });
    found.collect()
}

/// A part of a schema with what its references lead to.
fn self_contained(node: &Value, schema: &Value) -> Value {
    let mut array = node.clone();
    for around in ["$defs", "definitions", "$schema"] {
        if let (Some(said), Value::Object(members)) = (schema.get(around), &mut array) {
            members.entry(around).or_insert_with(|| said.clone());
        }
    }
    array
}

/// Name and schema of the array that a subtree carries.
fn array(subtree: &Subtree) -> Option<(String, Value)> {
    if subtree.kind != Kind::AgenticArray {
        return None;
    }
    match &subtree.take {
        Take::Whole => {
            let name = subtree.path.last().unwrap_or_default();
            Some((name, subtree.schema.clone()))
        }
        Take::Keys(keys) => {
            let [key] = keys.as_slice() else { return None };
            let array = subtree.schema.get("properties")?.get(key)?;
            Some((key.clone(), self_contained(array, &subtree.schema)))
        }
        Take::Rest(_) => None,
    }
}

/// The properties of an array's rows, in their order.
fn properties(array: &Value) -> Vec<Property> {
    let shapes = Shapes::of(array, Style::of(array));
    let resolved = shapes.resolve(array);
    let options = ["anyOf", "oneOf"].into_iter();
    let options = options.filter_map(|keyword| resolved.get(keyword)?.as_array());
    let mut nodes = vec![resolved];
    nodes.extend(options.flatten().map(|node| shapes.resolve(node)));
    let items = nodes.into_iter().find_map(|node| node.get("items"));
    let Some(Shape::Object(row)) = items.map(|items| shapes.shape(items)) else {
        return Vec::new();
    };
    let all = shapes.properties(row).take(MOST_PROPERTIES);
    all.map(|(key, node)| Property {
        key: key.to_owned(),
        words: words(key, shapes.resolve(node)),
        is_list: matches!(shapes.shape(node), Shape::ArrayOfObjects),
    })
    .collect()
}

/// Folded words of a property's name and of what its schema says of it.
fn words(key: &str, node: &Value) -> Vec<String> {
    let mut text = String::new();
    for (at, char) in key.char_indices() {
        if at > 0 && char.is_uppercase() {
            text.push(' ');
        }
        text.push(if char.is_alphanumeric() { char } else { ' ' });
    }
    for name in ["title", "description"] {
        if let Some(said) = node.get(name).and_then(Value::as_str) {
            text.push(' ');
            text.push_str(said);
        }
    }
    let folded = fold(&text);
    let split = folded.split(|char: char| !char.is_alphanumeric());
    let mut words: Vec<String> = Vec::new();
    for word in split.filter(|word| word.chars().count() > 2).take(40) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}
