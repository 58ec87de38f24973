//! What a model wrote, read back into the user's value.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::{ArrayCode, Book, Code, Dropped, ObjectCode, OthersCode, labelled, reads_as_more};

/// A place in an answer, written out only when it is told.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Place<'p> {
    above: Option<&'p Place<'p>>,
    name: Option<&'p str>,
    index: usize,
}

impl<'p> Place<'p> {
    fn name(&'p self, name: &'p str) -> Self {
        Self {
            above: Some(self),
            name: Some(name),
            index: 0,
        }
    }

    fn index(&'p self, index: usize) -> Self {
        Self {
            above: Some(self),
            name: None,
            index,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(above) = self.above else {
            return Ok(());
        };
        above.fmt(f)?;
        match self.name {
            Some(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            None => write!(f, "/{}", self.index),
        }
    }
}

impl Book<'_> {
    /// The user's value of what a model wrote. What does not have the lowered shape is left as it
    /// is: validation names it.
    pub(in super::super) fn raise(
        &self,
        code: &Code,
        laid: Value,
        at: &Place<'_>,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        match (self.follow(code), laid) {
            (Code::Free, Value::String(text)) => raise_free(text),
            (Code::Text, Value::String(text)) => {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            (Code::Labels(values), laid) => match (labelled(values, &laid), laid) {
                (Some(known), _) => known.clone(),
                (None, Value::String(text)) => raise_free(text),
                (None, laid) => laid,
            },
            (Code::Perhaps(inner), Value::Array(mut items)) if items.len() < 2 => {
                match items.pop() {
                    Some(item) => self.raise(inner, item, &at.index(0), dropped),
                    None => Value::Null,
                }
            }
            (Code::Perhaps(inner), laid) => self.raise(inner, laid, at, dropped),
            (Code::Parts { object, array }, laid) => match (laid, object, array) {
                (Value::Object(members), Some(object), _) => {
                    self.raise_object(object, members, at, dropped)
                }
                (Value::Object(members), None, Some(array)) => {
                    self.raise_numbered(array, members, at, dropped)
                }
                (Value::Array(items), _, Some(array)) => {
                    self.raise_items(array, items, at, dropped)
                }
                (Value::Array(pairs), Some(object), None) => match &object.others {
                    OthersCode::Alone(inner) => self.raise_pairs(inner, pairs, at, dropped),
                    _ => Value::Array(pairs),
                },
                (laid, _, _) => laid,
            },
            (_, laid) => laid,
        }
    }

    fn raise_object(
        &self,
        code: &ObjectCode,
        mut laid: Map<String, Value>,
        at: &Place<'_>,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let mut value = Map::new();
        let mut taken = 0;
        let mut take = |name: &str| {
            let part = laid.get_mut(name).map(Value::take);
            taken += usize::from(part.is_some());
            part
        };
        let omitted = code.omitted.as_deref().and_then(&mut take);
        let is_omitted = |name: &str| {
            let names = omitted.as_ref().and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|known| known == name))
        };
        for field in &code.fields {
            let Some(part) = take(&field.name) else {
                continue;
            };
            let part = self.raise(&field.code, part, &at.name(&field.name), dropped);
            let is_out = part.is_null()
                && !field.is_required
                && (!field.takes_null || is_omitted(&field.name));
            if !is_out {
                value.insert(field.key.clone(), part);
            }
        }
        if let OthersCode::Under(name, inner) = &code.others
            && let Some(pairs) = take(name)
        {
            self.under(inner, pairs, &at.name(name), &mut value, dropped);
        }
        if taken < laid.len() {
            let known: HashSet<&str> = code.names().collect();
            laid.retain(|name, _| !known.contains(name.as_str()));
            self.left(code, laid, at, &mut value, dropped);
        }
        Value::Object(value)
    }

    /// Members of any name that were written as pairs.
    fn under(
        &self,
        code: &Code,
        pairs: Value,
        at: &Place<'_>,
        value: &mut Map<String, Value>,
        dropped: &mut Vec<Dropped>,
    ) {
        let more = match pairs {
            Value::Array(pairs) => self.raise_pairs(code, pairs, at, dropped),
            Value::Object(more) => return self.beside(code, more, at, value, dropped),
            _ => return,
        };
        if let Value::Object(more) = more {
            for (key, part) in more {
                value.entry(key).or_insert(part);
            }
        }
    }

    /// Members that are no fields.
    fn left(
        &self,
        code: &ObjectCode,
        laid: Map<String, Value>,
        at: &Place<'_>,
        value: &mut Map<String, Value>,
        dropped: &mut Vec<Dropped>,
    ) {
        match &code.others {
            OthersCode::Beside(inner) | OthersCode::Alone(inner) => {
                self.beside(inner, laid, at, value, dropped);
            }
            OthersCode::Dropped | OthersCode::Under(..) => {
                dropped.extend(laid.keys().map(|name| Dropped {
                    pointer: at.name(name).to_string(),
                    why: "was not asked for",
                }));
            }
        }
    }

    fn beside(
        &self,
        code: &Code,
        members: Map<String, Value>,
        at: &Place<'_>,
        value: &mut Map<String, Value>,
        dropped: &mut Vec<Dropped>,
    ) {
        for (key, part) in members {
            let part = self.raise(code, part, &at.name(&key), dropped);
            value.entry(key).or_insert(part);
        }
    }

    fn raise_pairs(
        &self,
        code: &Code,
        pairs: Vec<Value>,
        at: &Place<'_>,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let mut value = Map::new();
        for (index, mut pair) in pairs.into_iter().enumerate() {
            let key = pair.get("key").and_then(Value::as_str).map(str::to_owned);
            let part = pair.get_mut("value").map(Value::take);
            let place = at.index(index);
            let why = match (key, part) {
                (Some(key), Some(part)) if !value.contains_key(&key) => {
                    let part = self.raise(code, part, &place.name("value"), dropped);
                    value.insert(key, part);
                    continue;
                }
                (Some(_), Some(_)) => "has a key that stood before",
                _ => "is not a pair of key and value",
            };
            dropped.push(Dropped {
                pointer: place.to_string(),
                why,
            });
        }
        Value::Object(value)
    }

    fn raise_items(
        &self,
        code: &ArrayCode,
        items: Vec<Value>,
        at: &Place<'_>,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let items = items.into_iter().enumerate();
        let raised = items.map(|(index, item)| match code.at(index) {
            Some(inner) => self.raise(inner, item, &at.index(index), dropped),
            None => item,
        });
        raised.collect()
    }

    fn raise_numbered(
        &self,
        code: &ArrayCode,
        mut laid: Map<String, Value>,
        at: &Place<'_>,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let ArrayCode::Numbered { first, more, count } = code else {
            return Value::Object(laid);
        };
        let mut items = Vec::new();
        for (name, inner) in first {
            let item = laid.shift_remove(name).unwrap_or(Value::Null);
            items.push(self.raise(inner, item, &at.name(name), dropped));
        }
        if let Some((name, inner)) = more
            && let Some(Value::Array(rest)) = laid.shift_remove(name)
        {
            let rest = rest.into_iter().enumerate();
            items.extend(rest.map(|(index, item)| {
                self.raise(inner, item, &at.name(name).index(index), dropped)
            }));
        }
        // Only items that are null may be cut away.
        let told = laid.get(count).and_then(Value::as_u64);
        let told = told.map_or(0, |told| told as usize);
        while items.len() > told && items.last().is_some_and(Value::is_null) {
            items.pop();
        }
        Value::Array(items)
    }
}

fn raise_free(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        Ok(Value::String(inner)) if reads_as_more(&inner) => Value::String(inner),
        _ => Value::String(text),
    }
}
