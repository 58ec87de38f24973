//! How a value of the user's schema is written for a model, and read back.

use serde_json::{Map, Value};

/// One for each place of a lowered schema.
#[derive(Debug, Clone)]
pub(super) enum Code {
    /// As it is.
    Same,
    /// Objects and arrays as JSON text, the rest as it is.
    Free,
    /// Everything as JSON text.
    Text,
    /// One of these, each under its label.
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
            Code::Labels(_) => label(value),
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

    /// The user's value of what a model wrote. What does not have the lowered shape is left as it
    /// is: validation names it.
    pub(super) fn raise(
        &self,
        code: &Code,
        laid: Value,
        at: &str,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        match (self.follow(code), laid) {
            (Code::Free, Value::String(text)) => raise_free(text),
            (Code::Text, Value::String(text)) => {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            (Code::Labels(values), laid) => {
                let found = values.iter().find(|value| label(value) == laid);
                found.cloned().unwrap_or(laid)
            }
            (Code::Perhaps(inner), Value::Array(mut items)) if items.len() < 2 => {
                match items.pop() {
                    Some(item) => self.raise(inner, item, &format!("{at}/0"), dropped),
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
        at: &str,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let mut value = Map::new();
        let omitted = code
            .omitted
            .as_ref()
            .and_then(|name| laid.shift_remove(name));
        let is_omitted = |name: &str| {
            let names = omitted.as_ref().and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|known| known == name))
        };
        for field in &code.fields {
            let Some(part) = laid.shift_remove(&field.name) else {
                continue;
            };
            let place = format!("{at}/{}", token(&field.name));
            let part = self.raise(&field.code, part, &place, dropped);
            let is_out = part.is_null()
                && !field.is_required
                && (!field.takes_null || is_omitted(&field.name));
            if !is_out {
                value.insert(field.key.clone(), part);
            }
        }
        if let OthersCode::Under(name, inner) = &code.others
            && let Some(pairs) = laid.shift_remove(name)
        {
            let place = format!("{at}/{}", token(name));
            match pairs {
                Value::Array(pairs) => {
                    if let Value::Object(more) = self.raise_pairs(inner, pairs, &place, dropped) {
                        for (key, part) in more {
                            value.entry(key).or_insert(part);
                        }
                    }
                }
                Value::Object(more) => self.beside(inner, more, &place, &mut value, dropped),
                _ => {}
            }
        }
        match &code.others {
            OthersCode::Beside(inner) | OthersCode::Alone(inner) => {
                self.beside(inner, laid, at, &mut value, dropped);
            }
            OthersCode::Dropped | OthersCode::Under(..) => {
                dropped.extend(laid.keys().map(|name| Dropped {
                    pointer: format!("{at}/{}", token(name)),
                    why: "was not asked for",
                }));
            }
        }
        Value::Object(value)
    }

    fn beside(
        &self,
        code: &Code,
        members: Map<String, Value>,
        at: &str,
        value: &mut Map<String, Value>,
        dropped: &mut Vec<Dropped>,
    ) {
        for (key, part) in members {
            let place = format!("{at}/{}", token(&key));
            let part = self.raise(code, part, &place, dropped);
            value.entry(key).or_insert(part);
        }
    }

    fn raise_pairs(
        &self,
        code: &Code,
        pairs: Vec<Value>,
        at: &str,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let mut value = Map::new();
        for (index, mut pair) in pairs.into_iter().enumerate() {
            let key = pair.get("key").and_then(Value::as_str).map(str::to_owned);
            let part = pair.get_mut("value").map(Value::take);
            let place = format!("{at}/{index}");
            let why = match (key, part) {
                (Some(key), Some(part)) if !value.contains_key(&key) => {
                    let inside = format!("{place}/value");
                    value.insert(key, self.raise(code, part, &inside, dropped));
                    continue;
                }
                (Some(_), Some(_)) => "has a key that stood before",
                _ => "is not a pair of key and value",
            };
            dropped.push(Dropped {
                pointer: place,
                why,
            });
        }
        Value::Object(value)
    }

    fn raise_items(
        &self,
        code: &ArrayCode,
        items: Vec<Value>,
        at: &str,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let items = items.into_iter().enumerate();
        let raised = items.map(|(index, item)| match code.at(index) {
            Some(inner) => self.raise(inner, item, &format!("{at}/{index}"), dropped),
            None => item,
        });
        raised.collect()
    }

    fn raise_numbered(
        &self,
        code: &ArrayCode,
        mut laid: Map<String, Value>,
        at: &str,
        dropped: &mut Vec<Dropped>,
    ) -> Value {
        let ArrayCode::Numbered { first, more, count } = code else {
            return Value::Object(laid);
        };
        let mut items = Vec::new();
        for (name, inner) in first {
            let item = laid.shift_remove(name).unwrap_or(Value::Null);
            items.push(self.raise(inner, item, &format!("{at}/{}", token(name)), dropped));
        }
        if let Some((name, inner)) = more
            && let Some(Value::Array(rest)) = laid.shift_remove(name)
        {
            let rest = rest.into_iter().enumerate();
            items.extend(rest.map(|(index, item)| {
                let place = format!("{at}/{}/{index}", token(name));
                self.raise(inner, item, &place, dropped)
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

    /// The place in the user's value of a place in what the model wrote, token by token. Keys of
    /// the user's are understood too.
    pub(super) fn place(
        &self,
        code: &Code,
        laid: &Value,
        tokens: &[String],
    ) -> Option<Vec<String>> {
        let [first, rest @ ..] = tokens else {
            return Some(Vec::new());
        };
        let code = self.follow(code);
        let deeper = |own: String, code: &Code, laid: &Value, rest: &[String]| {
            let mut place = vec![own];
            place.extend(self.place(code, laid, rest)?);
            Some(place)
        };
        match (code, laid) {
            (Code::Perhaps(inner), Value::Array(items)) => {
                let rest = if first == "0" { rest } else { tokens };
                self.place(inner, items.first()?, rest)
            }
            (
                Code::Parts {
                    array: Some(array), ..
                },
                Value::Array(items),
            ) => {
                let index = first.parse::<usize>().ok()?;
                let inner = array.at(index).unwrap_or(&Code::Same);
                let item = items.get(index)?;
                deeper(first.clone(), inner, item, rest)
            }
            (
                Code::Parts {
                    object: Some(object),
                    array: None,
                },
                Value::Array(pairs),
            ) => match &object.others {
                OthersCode::Alone(inner) => self.pair_place(inner, pairs, tokens),
                _ => None,
            },
            (
                Code::Parts {
                    object: Some(object),
                    ..
                },
                Value::Object(members),
            ) => {
                let field = object.fields.iter();
                let mut field = field.filter(|field| field.name == *first || field.key == *first);
                if let Some(field) = field.next() {
                    return deeper(
                        field.key.clone(),
                        &field.code,
                        members.get(&field.name)?,
                        rest,
                    );
                }
                match &object.others {
                    OthersCode::Beside(inner) | OthersCode::Alone(inner) => {
                        deeper(first.clone(), inner, members.get(first)?, rest)
                    }
                    OthersCode::Under(name, inner) if name == first => {
                        self.pair_place(inner, members.get(name)?.as_array()?, rest)
                    }
                    OthersCode::Under(name, inner) => {
                        self.pair_place(inner, members.get(name)?.as_array()?, tokens)
                    }
                    OthersCode::Dropped => None,
                }
            }
            (
                Code::Parts {
                    array: Some(array), ..
                },
                Value::Object(members),
            ) => {
                let ArrayCode::Numbered {
                    first: names, more, ..
                } = &**array
                else {
                    return None;
                };
                if let Some(index) = names.iter().position(|(name, _)| name == first) {
                    let inner = &names[index].1;
                    return deeper(index.to_string(), inner, members.get(first)?, rest);
                }
                let (name, inner) = more.as_ref().filter(|(name, _)| name == first)?;
                let [index, rest @ ..] = rest else {
                    return None;
                };
                let index: usize = index.parse().ok()?;
                let item = members.get(name)?.get(index)?;
                deeper((index + names.len()).to_string(), inner, item, rest)
            }
            _ => Some(tokens.to_vec()),
        }
    }

    /// Pairs are named by their index, and their key and value within; or by the key itself.
    fn pair_place(&self, code: &Code, pairs: &[Value], tokens: &[String]) -> Option<Vec<String>> {
        let [first, rest @ ..] = tokens else {
            return None;
        };
        let key_of = |pair: &Value| pair.get("key").and_then(Value::as_str).map(str::to_owned);
        let by_key = pairs
            .iter()
            .find(|pair| key_of(pair).as_deref() == Some(first));
        let (pair, rest) = if let Some(pair) = by_key {
            (pair, rest)
        } else {
            let pair = pairs.get(first.parse::<usize>().ok()?)?;
            match rest {
                [part, rest @ ..] if part == "value" => (pair, rest),
                [part] if part == "key" => (pair, &[][..]),
                [] => (pair, rest),
                _ => return None,
            }
        };
        let mut place = vec![key_of(pair)?];
        place.extend(self.place(code, pair.get("value")?, rest)?);
        Some(place)
    }
}

/// Escapes a member's name for a JSON Pointer.
fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a fixed value is called: itself, or its JSON text.
pub(super) fn label(value: &Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => Value::String(value.to_string()),
        other => other.clone(),
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

fn raise_free(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        Ok(Value::String(inner)) if reads_as_more(&inner) => Value::String(inner),
        _ => Value::String(text),
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
