//! How a value of the user's schema is written for a model, and read back.

mod place;
mod raise;

use serde_json::{Map, Value};

pub(super) use raise::Place;

/// One for each place of a lowered schema.
#[derive(Debug, Clone)]
pub(super) enum Code {
    /// As it is.
    Same,
    /// Objects and arrays as JSON text, the rest as it is.
    Free,
    /// Everything as JSON text.
    Text,
    /// One of these, each under its label; else as `Free`.
    Labels(Vec<Value>),
    /// Scalars as they are.
    Parts {
        object: Option<Box<ObjectCode>>,
        array: Option<Box<ArrayCode>>,
    },
    /// A definition.
    Named(usize),
    /// A list of none or one.
    Perhaps(Box<Code>),
}

#[derive(Debug, Clone)]
pub(super) struct ObjectCode {
    pub fields: Vec<FieldCode>,
    pub others: OthersCode,
    /// The member that lists the fields that are not there although they could be null.
    pub omitted: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FieldCode {
    pub key: String,
    /// What the key is called in the lowered schema.
    pub name: String,
    pub code: Code,
    pub is_required: bool,
    /// Whether null is a value of the user's schema.
    pub takes_null: bool,
    /// Whether the model has to write it.
    pub is_asked: bool,
}

#[derive(Debug, Clone)]
pub(super) enum OthersCode {
    /// Left out.
    Dropped,
    /// Beside the fields, under their own names.
    Beside(Code),
    /// As pairs, in a member of that name.
    Under(String, Code),
    /// As pairs, and nothing else: the object is an array.
    Alone(Code),
}

#[derive(Debug, Clone)]
pub(super) enum ArrayCode {
    List(Code),
    /// An array with these items, and after them of this.
    ByPosition(Vec<Code>, Option<Code>),
    /// An object with a member for each position.
    Numbered {
        first: Vec<(String, Code)>,
        /// The items after the first.
        more: Option<(String, Code)>,
        /// How many items there are, where that is not told by the members.
        count: String,
    },
}

impl ObjectCode {
    /// Every name that the lowered object may have.
    fn names(&self) -> impl Iterator<Item = &str> {
        let under = match &self.others {
            OthersCode::Under(name, _) => Some(name.as_str()),
            _ => None,
        };
        let fields = self.fields.iter().map(|field| field.name.as_str());
        fields.chain(self.omitted.as_deref()).chain(under)
    }
}

impl ArrayCode {
    /// The code of the item at that position.
    fn at(&self, index: usize) -> Option<&Code> {
        match self {
            Self::List(inner) => Some(inner),
            Self::ByPosition(first, more) => first.get(index).or(more.as_ref()),
            Self::Numbered { first, more, .. } => {
                let first = first.get(index).map(|(_, inner)| inner);
                first.or(more.as_ref().map(|(_, inner)| inner))
            }
        }
    }
}

/// What reading left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// JSON Pointer in the answer, relative to the value.
    pub pointer: String,
    pub why: &'static str,
}

/// Codes of a lowered schema, with their definitions.
pub(super) struct Book<'a> {
    pub definitions: &'a [Code],
}

impl Book<'_> {
    fn follow<'c>(&'c self, code: &'c Code) -> &'c Code {
        let mut at = code;
        for _ in 0..64 {
            match at {
                Code::Named(index) => match self.definitions.get(*index) {
                    Some(next) => at = next,
                    None => break,
                },
                _ => break,
            }
        }
        at
    }

    /// A value as the model would write it.
    pub(super) fn lay(&self, code: &Code, value: &Value) -> Value {
        match self.follow(code) {
            Code::Same | Code::Named(_) => value.clone(),
            Code::Free => lay_free(value),
            Code::Text => Value::String(value.to_string()),
            Code::Labels(values) => {
                let known = values.iter().find(|known| is_one(known, value));
                known.map_or_else(|| lay_free(value), label)
            }
            Code::Perhaps(_) if value.is_null() => Value::Array(Vec::new()),
            Code::Perhaps(inner) => Value::Array(vec![self.lay(inner, value)]),
            Code::Parts { object, array } => match (value, object, array) {
                (Value::Object(members), Some(object), _) => self.lay_object(object, members),
                (Value::Array(items), _, Some(array)) => self.lay_array(array, items),
                _ => value.clone(),
            },
        }
    }

    fn lay_object(&self, code: &ObjectCode, members: &Map<String, Value>) -> Value {
        let is_field = |key: &String| code.fields.iter().any(|field| field.key == *key);
        let others = members.iter().filter(|(key, _)| !is_field(key));
        if let OthersCode::Alone(inner) = &code.others {
            return Value::Array(self.pairs(inner, others));
        }
        let mut laid = Map::new();
        let mut omitted = Vec::new();
        for field in &code.fields {
            if let Some(value) = members.get(&field.key) {
                laid.insert(field.name.clone(), self.lay(&field.code, value));
            } else if field.is_asked {
                laid.insert(field.name.clone(), self.lay(&field.code, &Value::Null));
                if field.takes_null {
                    omitted.push(Value::String(field.name.clone()));
                }
            }
        }
        match &code.others {
            OthersCode::Beside(inner) => {
                laid.extend(others.map(|(key, value)| (key.clone(), self.lay(inner, value))));
            }
            OthersCode::Under(name, inner) => {
                laid.insert(name.clone(), Value::Array(self.pairs(inner, others)));
            }
            OthersCode::Dropped | OthersCode::Alone(_) => {}
        }
        if let Some(name) = &code.omitted {
            laid.insert(name.clone(), Value::Array(omitted));
        }
        Value::Object(laid)
    }

    fn pairs<'v>(
        &self,
        code: &Code,
        members: impl Iterator<Item = (&'v String, &'v Value)>,
    ) -> Vec<Value> {
        let pair = |(key, value): (&String, &Value)| {
            let mut pair = Map::new();
            pair.insert("key".into(), Value::String(key.clone()));
            pair.insert("value".into(), self.lay(code, value));
            Value::Object(pair)
        };
        members.map(pair).collect()
    }

    fn lay_array(&self, code: &ArrayCode, items: &[Value]) -> Value {
        match code {
            ArrayCode::List(inner) => items.iter().map(|item| self.lay(inner, item)).collect(),
            ArrayCode::ByPosition(..) => {
                let items = items.iter().enumerate();
                let laid = items.map(|(index, item)| match code.at(index) {
                    Some(inner) => self.lay(inner, item),
                    None => item.clone(),
                });
                laid.collect()
            }
            ArrayCode::Numbered { first, more, count } => {
                let mut laid = Map::new();
                for (index, (name, inner)) in first.iter().enumerate() {
                    let item = items.get(index).unwrap_or(&Value::Null);
                    laid.insert(name.clone(), self.lay(inner, item));
                }
                if let Some((name, inner)) = more {
                    let rest = items.iter().skip(first.len());
                    let rest = rest.map(|item| self.lay(inner, item)).collect();
                    laid.insert(name.clone(), rest);
                }
                laid.insert(count.clone(), Value::from(items.len()));
                Value::Object(laid)
            }
        }
    }
}

/// What a fixed value is called: itself, or its JSON text.
pub(super) fn label(value: &Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => Value::String(value.to_string()),
        other => other.clone(),
    }
}

/// The value that a label means, however its numbers and spaces are written.
fn labelled<'v>(values: &'v [Value], laid: &Value) -> Option<&'v Value> {
    let mut known = values.iter();
    if let Some(found) = known.find(|value| is_one(&label(value), laid)) {
        return Some(found);
    }
    let read: Value = serde_json::from_str(laid.as_str()?).ok()?;
    let mut containers = values.iter().filter(|value| is_container(value));
    containers.find(|value| is_one(value, &read))
}

fn is_container(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Whether two values are one to a schema: 1 and 1.0 are.
fn is_one(here: &Value, there: &Value) -> bool {
    match (here, there) {
        (Value::Number(here), Value::Number(there)) => {
            here == there || ((here.is_f64() || there.is_f64()) && here.as_f64() == there.as_f64())
        }
        (Value::Array(here), Value::Array(there)) => {
            let mut pairs = here.iter().zip(there);
            here.len() == there.len() && pairs.all(|(here, there)| is_one(here, there))
        }
        (Value::Object(here), Value::Object(there)) => {
            let is_in = |(key, value)| there.get(key).is_some_and(|other| is_one(value, other));
            here.len() == there.len() && here.iter().all(is_in)
        }
        (here, there) => here == there,
    }
}

fn lay_free(value: &Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => Value::String(value.to_string()),
        Value::String(text) if reads_as_more(text) => {
            Value::String(Value::String(text.clone()).to_string())
        }
        other => other.clone(),
    }
}

/// Whether a text, read back, would become something else than itself: JSON text of an object or
/// array, or of such a text. It is written as JSON text once more.
fn reads_as_more(text: &str) -> bool {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return false;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(_) | Value::Array(_)) => true,
        Ok(Value::String(inner)) => reads_as_more(&inner),
        _ => false,
    }
}
