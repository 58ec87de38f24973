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
    let written = Written::of(&subtree.schema);
    let (once, empty) = (written.tokens(false), written.tokens(true));
    let quoted = if quotes { QUOTED } else { 1.0 };
    let (likely, high) = match subtree.kind {
        Kind::AgenticArray => {
            let rows = once * ROWS as f64;
            let likely = document.map_or(rows, |room| rows.min(room.max(once)));
            (likely, likely * 4.0)
        }
        Kind::Object | Kind::Fields | Kind::Value => (once, once * 2.5),
    };
    Span {
        low: if subtree.kind == Kind::AgenticArray {
            1.0
        } else {
            empty.min(likely)
        },
        likely: likely * quoted,
        high: high * quoted,
    }
}

/// Characters of a value that a schema takes, as such values mostly are.
struct Written<'a> {
    root: &'a Value,
    /// Schemas that are still looked at: a schema may name itself.
    left: std::cell::Cell<u32>,
}

/// Schemas inside a schema that are looked at, and how deep.
const MOST_SCHEMAS: u32 = 20_000;
const DEEPEST: u32 = 16;
/// Items of a list inside a subtree.
const INNER_ROWS: f64 = 3.0;

impl<'a> Written<'a> {
    fn of(root: &'a Value) -> Self {
        Self {
            root,
            left: std::cell::Cell::new(MOST_SCHEMAS),
        }
    }

    /// At least 1. Of a list, one row.
    fn tokens(&self, is_empty: bool) -> f64 {
        self.left.set(MOST_SCHEMAS);
        let row = self.resolved(self.root).get("items");
        let letters = self.letters(row.unwrap_or(self.root), is_empty, 0);
        (letters / LETTERS_A_TOKEN).max(1.0)
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        let place = name.and_then(|name| self.root.pointer(name.strip_prefix('#')?));
        place.unwrap_or(schema)
    }

    /// With `is_empty` every leaf is null, and every list has nothing in it.
    fn letters(&self, schema: &'a Value, is_empty: bool, depth: u32) -> f64 {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 || depth > DEEPEST {
            return NULL;
        }
        let schema = self.resolved(schema);
        let inner = |schema| self.letters(schema, is_empty, depth + 1);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let member =
                |(name, value): (&String, &'a Value)| name.len() as f64 + 4.0 + inner(value);
            return 2.0 + properties.iter().map(member).sum::<f64>();
        }
        if let Some(items) = schema.get("items") {
            let rows = if is_empty { 0.0 } else { INNER_ROWS };
            return 2.0 + rows * (inner(items) + 1.0);
        }
        for name in ["anyOf", "oneOf", "allOf"] {
            if let Some(parts) = schema.get(name).and_then(Value::as_array) {
                return parts.iter().map(inner).fold(NULL, f64::max);
            }
        }
        if is_empty { NULL } else { leaf(schema) }
    }
}

/// Characters of `null`.
const NULL: f64 = 4.0;

/// Characters of a leaf's value, quotation marks included.
fn leaf(schema: &Value) -> f64 {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let sum: usize = values.iter().map(letters).sum();
        return sum as f64 / values.len().max(1) as f64;
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let named = kinds.iter().filter_map(Value::as_str);
            named
                .into_iter()
                .find(|kind| *kind != "null")
                .unwrap_or("null")
        }
        _ => "string",
    };
    match (kind, text("format")) {
        ("null", _) => NULL,
        ("boolean" | "integer", _) => 5.0,
        ("number", _) => 7.0,
        (_, Some("date")) => 12.0,
        (_, Some("date-time")) => 22.0,
        _ => {
            let most = schema.get("maxLength").and_then(Value::as_u64);
            most.map_or(TEXT, |most| TEXT.min(most as f64 + 2.0))
        }
    }
}

/// Characters of a text.
const TEXT: f64 = 26.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subtree(kind: Kind, schema: Value) -> Subtree {
        Subtree {
            id: "a".into(),
            path: crate::domain::pointer::Pointer::root(),
            kind,
            take: crate::domain::plan::Take::Whole,
            schema,
            total_fields: 1,
            context: Vec::new(),
        }
    }

    #[test]
    fn an_answer_is_as_long_as_its_names_and_what_its_types_mostly_say() {
        let schema = json!({"type": "object", "properties": {
            "paid": {"type": "boolean"}, "day": {"type": ["string", "null"], "format": "date"},
            "state": {"enum": ["open", "done"]}, "more": {"$ref": "#/$defs/more"}},
            "$defs": {"more": {"type": "object", "properties": {"total": {"type": "number"}}}}});
        let likely = json!({"paid": false, "day": "2024-03-01", "state": "done", "more": {"total": 1234.56}});
        let empty = json!({"paid": null, "day": null, "state": null, "more": {"total": null}});
        let span = answer(&subtree(Kind::Object, schema), None, false);
        let near = |tokens: f64, value: &Value| {
            let letters = value.to_string().len() as f64;
            assert!(
                (tokens * LETTERS_A_TOKEN - letters).abs() <= 6.0,
                "{tokens} {value}"
            );
        };
        near(span.likely, &likely);
        near(span.low, &empty);
    }

    #[test]
    fn a_list_has_no_more_rows_than_the_document_has_room_for() {
        let row = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}});
        let list = subtree(Kind::AgenticArray, json!({"type": "array", "items": row}));
        let free = answer(&list, None, false);
        assert!(free.likely > 200.0);
        assert!((answer(&list, Some(60.0), false).likely - 60.0).abs() < 1e-9);
        assert!(
            answer(&list, None, true).likely > free.likely,
            "quotes take room"
        );
    }

    #[test]
    fn a_schema_that_names_itself_has_an_end() {
        let schema = json!({"type": "object", "properties": {
            "a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}}});
        assert!(answer(&subtree(Kind::Object, schema), None, false).likely > 1.0);
    }

    #[test]
    fn letters_are_those_of_the_compact_text() {
        let value = json!({"a": [1, null, true], "name": "x", "b": {"c": false, "d": -2.5}});
        let text = value.to_string();
        let found = letters(&value);
        assert!(found.abs_diff(text.len()) <= 4, "{found} {}", text.len());
    }
}
