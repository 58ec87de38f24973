//! What is known of an array before anything is read.

use serde_json::Value;

use crate::domain::plan::{Kind, Plan, Subtree, Take};
use crate::domain::shape::{Shape, Shapes, Style};
use crate::domain::value::fold;

/// Properties of a row that are looked at.
const MOST_PROPERTIES: usize = 400;

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

impl List {
    /// `None` where the subtree is no array of objects, or is not in the plan.
    pub fn of(plan: &Plan, subtree: usize) -> Option<Self> {
        let (name, array) = array(plan.subtrees.get(subtree)?)?;
        let properties = properties(&array);
        let keys = |of: &[Property]| of.iter().map(|p| p.key.clone()).collect::<Vec<_>>();
        let own = keys(&properties);
        let (mut twins, mut before) = (0, 0);
        for (at, other) in plan.subtrees.iter().enumerate() {
            let alike = at == subtree
                || array_of(other).is_some_and(|array| keys(&self::properties(&array)) == own);
            twins += usize::from(alike);
            before += usize::from(alike && at < subtree);
        }
        Some(Self {
            name,
            array,
            properties,
            twins,
            before,
        })
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

fn array_of(subtree: &Subtree) -> Option<Value> {
    array(subtree).map(|(_, array)| array)
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
            let mut array = subtree.schema.get("properties")?.get(key)?.clone();
            for around in ["$defs", "definitions", "$schema"] {
                if let (Some(said), Value::Object(members)) =
                    (subtree.schema.get(around), &mut array)
                {
                    members.entry(around).or_insert_with(|| said.clone());
                }
            }
            Some((key.clone(), array))
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
