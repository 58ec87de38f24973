//! Where in the user's value a place of the answer ends up.

use serde_json::{Map, Value};

use super::{ArrayCode, Book, Code, ObjectCode, OthersCode};

/// A place by its tokens, from the value down.
type Path = Option<Vec<String>>;

impl Book<'_> {
    /// The place in the user's value of a place in what the model wrote. Keys of the user's are
    /// understood too.
    pub(in super::super) fn place(&self, code: &Code, laid: &Value, tokens: &[String]) -> Path {
        let [first, rest @ ..] = tokens else {
            return Some(Vec::new());
        };
        match (self.follow(code), laid) {
            (Code::Perhaps(inner), Value::Array(items)) => {
                let rest = if first == "0" { rest } else { tokens };
                self.place(inner, items.first()?, rest)
            }
            (Code::Parts { object, array }, laid) => match (laid, object, array) {
                (Value::Array(items), _, Some(array)) => {
                    let index = first.parse::<usize>().ok()?;
                    let inner = array.at(index).unwrap_or(&Code::Same);
                    self.below(first.clone(), inner, items.get(index)?, rest)
                }
                (Value::Array(pairs), Some(object), None) => match &object.others {
                    OthersCode::Alone(inner) => self.pair(inner, pairs, tokens),
                    _ => None,
                },
                (Value::Object(members), Some(object), _) => {
                    self.member(object, members, first, rest)
                }
                (Value::Object(members), None, Some(array)) => {
                    self.numbered(array, members, first, rest)
                }
                _ => None,
            },
            _ => Some(tokens.to_vec()),
        }
    }

    /// The place below a token of the user's value.
    fn below(&self, own: String, code: &Code, laid: &Value, rest: &[String]) -> Path {
        let mut place = vec![own];
        place.extend(self.place(code, laid, rest)?);
        Some(place)
    }

    fn member(
        &self,
        code: &ObjectCode,
        members: &Map<String, Value>,
        first: &String,
        rest: &[String],
    ) -> Path {
        let by_name = code.fields.iter().find(|field| field.name == *first);
        let by_key = || code.fields.iter().find(|field| field.key == *first);
        if let Some(field) = by_name.or_else(by_key) {
            let part = members.get(&field.name)?;
            return self.below(field.key.clone(), &field.code, part, rest);
        }
        match &code.others {
            OthersCode::Beside(inner) | OthersCode::Alone(inner) => {
                self.below(first.clone(), inner, members.get(first)?, rest)
            }
            OthersCode::Under(name, inner) => {
                let pairs = members.get(name)?.as_array()?;
                if name == first {
                    return self.pair(inner, pairs, rest);
                }
                let tokens: Vec<String> = [first].into_iter().chain(rest).cloned().collect();
                self.pair(inner, pairs, &tokens)
            }
            OthersCode::Dropped => None,
        }
    }

    fn numbered(
        &self,
        code: &ArrayCode,
        members: &Map<String, Value>,
        token: &String,
        rest: &[String],
    ) -> Path {
        let ArrayCode::Numbered { first, more, .. } = code else {
            return None;
        };
        if let Some(index) = first.iter().position(|(name, _)| name == token) {
            let part = members.get(token)?;
            return self.below(index.to_string(), &first[index].1, part, rest);
        }
        let (name, inner) = more.as_ref().filter(|(name, _)| name == token)?;
        let [index, rest @ ..] = rest else {
            return None;
        };
        let index: usize = index.parse().ok()?;
        let item = members.get(name)?.get(index)?;
        self.below((index + first.len()).to_string(), inner, item, rest)
    }

    /// Pairs are named by their index, and their key and value within; or by the key itself.
    fn pair(&self, code: &Code, pairs: &[Value], tokens: &[String]) -> Path {
        let [first, rest @ ..] = tokens else {
            return None;
        };
        fn key_of(pair: &Value) -> Option<&str> {
            pair.get("key").and_then(Value::as_str)
        }
        let mut keyed = pairs.iter();
        let by_key = keyed.find(|pair| key_of(pair) == Some(first));
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
        self.below(key_of(pair)?.to_owned(), code, pair.get("value")?, rest)
    }
}
