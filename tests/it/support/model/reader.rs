//! A model that reads the rows it is shown, and writes no longer answers than it can.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::reply::{Reply, What};
use super::speech::{Ending, Speech, TOKEN};

/// Knows the rows of a document by a word that stands in each of them, and says those of which
/// all words are in the text that it is shown.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// By word: the list it belongs to, the row.
    rows: HashMap<String, (String, Value)>,
    /// Values outside of lists.
    values: Map<String, Value>,
    /// Tokens after which an answer is cut off.
    cut: Option<u64>,
    /// Rows above which the middle of a list is left out.
    drops_above: Option<usize>,
}

impl Reader {
    /// Of what is true of a document: lists of objects with this member, and other values.
    pub fn of(truth: &Value, word: &str) -> Self {
        let mut reader = Self::default();
        for (name, value) in truth.as_object().unwrap() {
            let Some(rows) = value.as_array() else {
                reader.values.insert(name.clone(), value.clone());
                continue;
            };
            for row in rows {
                let word = row[word].as_str().unwrap().to_owned();
                reader.rows.insert(word, (name.clone(), row.clone()));
            }
        }
        reader
    }

    pub fn cut(mut self, tokens: u64) -> Self {
        self.cut = Some(tokens);
        self
    }

    pub fn dropping_above(mut self, rows: usize) -> Self {
        self.drops_above = Some(rows);
        self
    }

    pub fn reply(&self, asked: &Asked) -> Reply {
        let text = self.answer(asked).to_string();
        let most = self.cut.map_or(usize::MAX, |cut| cut as usize * TOKEN);
        if text.chars().count() <= most {
            return Reply::new(What::Speech(Speech::text(text)));
        }
        let text: String = text.chars().take(most).collect();
        Reply::new(What::Speech(Speech::text(text).ending(Ending::Length)))
    }

    /// The value of each member that is asked for.
    pub fn answer(&self, asked: &Asked) -> Value {
        let schema = asked.schema().unwrap();
        let members = schema["properties"].as_object().unwrap();
        let answer = members.iter().map(|(name, asked_for)| {
            let quoted = asked_for["properties"]["quotes"].is_object();
            let inner = if quoted {
                &asked_for["properties"]["value"]
            } else {
                asked_for
            };
            let value = self.member(inner, asked.document());
            let value = if quoted {
                json!({"quotes": self.quotes(&value, asked.document()), "value": value})
            } else {
                value
            };
            (name.clone(), value)
        });
        Value::Object(answer.collect())
    }

    fn member(&self, schema: &Value, document: &str) -> Value {
        let choices = schema["anyOf"].as_array().into_iter().flatten();
        let mut all = choices.chain([schema]);
        if all.any(|one| one["items"].is_object()) {
            let said = schema["description"].as_str().unwrap_or_default();
            return Value::Array(self.list(said, document));
        }
        let members = schema["properties"].as_object().into_iter().flatten();
        let value = members.map(|(name, asked_for)| {
            let known = match self.values.get(name) {
                Some(value) => Some(value.clone()),
                None => Some(self.member(asked_for, document)).filter(Value::is_array),
            };
            (name.clone(), known.unwrap_or(Value::Null))
        });
        Value::Object(value.collect())
    }

    /// The rows of the list that is described so, one for each time that one stands there.
    fn list(&self, described: &str, document: &str) -> Vec<Value> {
        let is_second = described.contains("sent back");
        let lines: Vec<&str> = document.lines().collect();
        let mut rows = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let found = line.split_whitespace().find_map(|word| self.rows.get(word));
            let Some((list, row)) = found else { continue };
            // A row may go on below; beyond its next row it does not.
            let below = lines
                .iter()
                .skip(at)
                .take(12)
                .copied()
                .collect::<Vec<_>>()
                .join(" ");
            let words = row["description"].as_str().unwrap_or_default();
            let is_whole = words.split_whitespace().all(|word| below.contains(word));
            if is_whole && (list == "returned_items") == is_second {
                rows.push(row.clone());
            }
        }
        if self.drops_above.is_some_and(|most| rows.len() > most) {
            let third = rows.len() / 3;
            rows.drain(third..2 * third);
        }
        rows
    }

    /// The line that each row begins on, for its first member.
    fn quotes(&self, value: &Value, document: &str) -> Value {
        let rows = value.as_array().into_iter().flatten().enumerate();
        let quotes = rows.filter_map(|(at, row)| {
            let word = row["article"].as_str()?;
            let line = document.lines().find(|line| line.contains(word))?;
            Some(json!({"at": format!("/{at}/article"), "text": line.trim(), "page": null}))
        });
        quotes.collect()
    }
}
