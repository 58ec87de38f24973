//! Where in the user's value a place of the answer ends up.

use serde_json::Value;

use super::{ArrayCode, Book, Code, OthersCode};

impl Book<'_> {
    /// The place in the user's value of a place in what the model wrote, token by token. Keys of
    /// the user's are understood too.
    pub(in super::super) fn place(
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
