//! Tokens of a document, of a question and of its answer.

use serde_json::Value;

use super::Span;
use crate::domain::plan::{Kind, Subtree};
use crate::domain::prompt;

/// Characters that a token has, as long as nothing is known of the model's own count.
pub const LETTERS_A_TOKEN: f64 = 4.0;
/// Tokens that a leaf field takes in an answer, on average: its name, its value and the marks
/// around them.
pub const TOKENS_A_FIELD: u64 = 16;
/// Rows that an array is thought to have as long as nothing is known of it.
pub const ROWS: u64 = 25;
/// How many times as long an answer is with the quotes that prove it.
const QUOTED: f64 = 3.0;
/// Words around a subtree in the task: its name, its place, what is said of lists.
const AROUND: usize = 120;

/// Tokens of what all calls begin with: the rules, and the document's text of so many characters.
pub fn shared(document_letters: u64) -> f64 {
    (prompt::SYSTEM.len() as f64 + document_letters as f64) / LETTERS_A_TOKEN
}

/// Tokens that asking for a subtree takes, its schema included.
pub fn question(subtree: &Subtree) -> f64 {
    let context: usize = subtree.context.iter().map(String::len).sum();
    let letters = letters(&subtree.schema) + context + subtree.path.as_str().len() + AROUND;
    letters as f64 / LETTERS_A_TOKEN
}

/// Characters of a value as compact JSON, nearly: escapes are not counted.
pub fn letters(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 1 + items.iter().map(|item| letters(item) + 1).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| name.len() + 4 + letters(value);
            1 + members.iter().map(member).sum::<usize>()
        }
    }
}

/// Tokens of a subtree's answer, by its schema alone.
///
/// At least it says that nothing is there. A list is thought to have [`ROWS`] rows and no more
/// than the document, of so many tokens where it is known, has room for.
pub fn answer(subtree: &Subtree, document: Option<f64>, quotes: bool) -> Span {
    let once = subtree.total_fields as f64 * TOKENS_A_FIELD as f64;
    let (likely, low, high) = match subtree.kind {
        Kind::AgenticArray => {
            let rows = once * ROWS as f64;
            let likely = document.map_or(rows, |room| rows.min(room.max(once)));
            (likely, 4.0, likely * 4.0)
        }
        Kind::Object | Kind::Fields | Kind::Value => (once, once / 3.0, once * 2.5),
    };
    let quoted = if quotes { QUOTED } else { 1.0 };
    Span {
        low,
        likely: likely * quoted,
        high: high * quoted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn letters_are_those_of_the_compact_text() {
        let value = json!({"a": [1, null, true], "name": "x", "b": {"c": false, "d": -2.5}});
        let text = value.to_string();
        let found = letters(&value);
        assert!(found.abs_diff(text.len()) <= 4, "{found} {}", text.len());
    }
}
