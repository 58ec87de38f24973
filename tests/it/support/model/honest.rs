//! A model that fills any schema from the document, the same way each time.
//!
//! A leaf takes, in this order: what the table has under the property's name; the value that the
//! document has after `Name:`, where the words of the property's name stand for the label;
//! `null` where it may; a value made from the path.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::asked::Asked;

const ROWS: u64 = 2;
const DEEPEST: usize = 24;

#[derive(Debug, Clone, Default)]
pub struct Honest {
    table: HashMap<String, Value>,
}

/// A schema on the way down.
struct Walk<'a> {
    honest: &'a Honest,
    root: &'a Value,
    document: &'a str,
}

impl Honest {
    /// By property name; a name with a pointer, as `lines/0/amount`, goes before it.
    pub fn table<'a>(rows: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let table = rows
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Self {
            table: table.collect(),
        }
    }

    pub fn answer(&self, asked: &Asked) -> Value {
        match asked.schema() {
            Some(schema) => self.fill(&schema, asked.document()),
            None => json!({}),
        }
    }

    pub fn fill(&self, schema: &Value, document: &str) -> Value {
        let walk = Walk {
            honest: self,
            root: schema,
            document,
        };
        walk.value(schema, &mut Vec::new())
    }
}

impl Walk<'_> {
    fn value(&self, schema: &Value, path: &mut Vec<String>) -> Value {
        let schema = self.resolved(schema);
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        let (kind, nullable) = kind(&schema);
        if let Some(known) = self.known(path)
            && fits(&known, &kind, nullable)
        {
            return known;
        }
        if path.len() > DEEPEST {
            return if nullable { Value::Null } else { blank(&kind) };
        }
        match kind.as_str() {
            "object" => self.object(&schema, path),
            "array" => self.array(&schema, path),
            "null" => Value::Null,
            _ => self.leaf(&schema, &kind, nullable, path),
        }
    }

    /// Follows references, takes the first real choice and joins what must hold together.
    fn resolved(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        for _ in 0..DEEPEST {
            if let Some(target) = schema["$ref"].as_str().and_then(|name| self.target(name)) {
                schema = target;
            } else if let Some(choices) = ["anyOf", "oneOf"]
                .iter()
                .find_map(|name| schema[*name].as_array())
            {
                let nullable = choices.iter().any(|choice| choice["type"] == "null");
                let real = choices.iter().find(|choice| choice["type"] != "null");
                let mut chosen = self.resolved(real.unwrap_or(&Value::Null));
                if nullable && chosen.is_object() {
                    chosen["nullable"] = json!(true);
                }
                return chosen;
            } else if let Some(all) = schema["allOf"].as_array().cloned() {
                let mut joined = schema.clone();
                joined.as_object_mut().unwrap().remove("allOf");
                all.iter()
                    .for_each(|each| join(&mut joined, &self.resolved(each)));
                schema = joined;
            } else {
                break;
            }
        }
        schema
    }

    fn target(&self, name: &str) -> Option<Value> {
        self.root.pointer(name.strip_prefix('#')?).cloned()
    }

    fn known(&self, path: &[String]) -> Option<Value> {
        let whole = self.honest.table.get(&path.join("/"));
        whole
            .or_else(|| self.honest.table.get(path.last()?))
            .cloned()
    }

    fn object(&self, schema: &Value, path: &mut Vec<String>) -> Value {
        let mut members = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            path.push(name.clone());
            members.insert(name.clone(), self.value(property, path));
            path.pop();
        }
        if members.is_empty() && schema["additionalProperties"].is_object() {
            for name in ["first", "second"] {
                path.push(name.to_owned());
                members.insert(
                    name.to_owned(),
                    self.value(&schema["additionalProperties"], path),
                );
                path.pop();
            }
        }
        Value::Object(members)
    }

    fn array(&self, schema: &Value, path: &mut Vec<String>) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
        let count = ROWS.max(least).min(most);
        let items = (0..count).map(|index| {
            path.push(index.to_string());
            let item = self.value(&schema["items"], path);
            path.pop();
            item
        });
        Value::Array(items.collect())
    }

    fn leaf(&self, schema: &Value, kind: &str, nullable: bool, path: &[String]) -> Value {
        let found = name(path).and_then(|name| self.labelled(name));
        if let Some(options) = schema["enum"].as_array() {
            let said = |option: &&Value| {
                let text = option.as_str().unwrap_or("");
                match &found {
                    Some((_, value)) => value.eq_ignore_ascii_case(text),
                    None => !text.is_empty() && self.document.contains(text),
                }
            };
            let first = options.iter().find(|option| !option.is_null());
            return options
                .iter()
                .find(said)
                .or(first)
                .cloned()
                .unwrap_or(Value::Null);
        }
        // A quote is the line that the value stands on.
        let is_quote = path
            .last()
            .is_some_and(|last| matches!(last.as_str(), "quote" | "quotes"));
        let spelled = found
            .as_ref()
            .map(|(line, value)| if is_quote { line } else { value });
        if let Some(value) = spelled.and_then(|text| read(text, kind, schema)) {
            return value;
        }
        if nullable {
            return Value::Null;
        }
        made(schema, kind, path)
    }

    /// The line with the label that the name spells, and what comes after the label.
    fn labelled(&self, name: &str) -> Option<(String, String)> {
        let wanted = words(name);
        self.document.lines().find_map(|line| {
            let (label, value) = line.split_once(':')?;
            let value = value.trim();
            (words(label) == wanted && !value.is_empty())
                .then(|| (line.trim().to_owned(), value.to_owned()))
        })
    }
}

/// The property that a leaf belongs to: what wraps a value and its quotes has no name of its own.
fn name(path: &[String]) -> Option<&str> {
    let wraps = |step: &str| matches!(step, "value" | "quote" | "quotes" | "page");
    let is_index = |step: &str| step.chars().all(|c| c.is_ascii_digit());
    let named = path.iter().rev().map(String::as_str);
    named
        .clone()
        .find(|step| !wraps(step) && !is_index(step))
        .or_else(|| named.clone().next())
}

/// `invoice_number`, `invoiceNumber` and `Invoice number` are one.
fn words(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The type that a value is made for, and whether it may be missing.
fn kind(schema: &Value) -> (String, bool) {
    let mut nullable = schema["nullable"] == true;
    let named = match &schema["type"] {
        Value::String(name) => Some(name.to_lowercase()),
        Value::Array(names) => {
            nullable |= names.iter().any(|name| name == "null");
            let real = names
                .iter()
                .filter_map(Value::as_str)
                .find(|name| *name != "null");
            Some(real.unwrap_or("null").to_owned())
        }
        _ => None,
    };
    let guessed = || match () {
        () if schema["properties"].is_object() => "object",
        () if !schema["items"].is_null() => "array",
        () => "string",
    };
    (named.unwrap_or_else(|| guessed().to_owned()), nullable)
}

fn fits(value: &Value, kind: &str, nullable: bool) -> bool {
    match value {
        Value::Null => nullable || kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => kind == "number" || kind == "integer" && number.is_i64(),
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    }
}

fn join(into: &mut Value, other: &Value) {
    for (name, value) in other.as_object().into_iter().flatten() {
        match into.get_mut(name) {
            Some(known) if known.is_object() && value.is_object() => join(known, value),
            Some(_) => {}
            None => into[name] = value.clone(),
        }
    }
}

fn blank(kind: &str) -> Value {
    match kind {
        "object" => json!({}),
        "array" => json!([]),
        "integer" | "number" => json!(0),
        "boolean" => json!(false),
        _ => json!(""),
    }
}

/// A text of the document as a value of the type.
fn read(text: &str, kind: &str, schema: &Value) -> Option<Value> {
    let number = || {
        let digits: String = text
            .chars()
            .filter(|c| c.is_ascii_digit() || ".-".contains(*c))
            .collect();
        digits.parse::<f64>().ok()
    };
    match kind {
        "integer" => number().map(|number| json!(number as i64)),
        "number" => number().map(|number| json!(number)),
        "boolean" => match text.to_lowercase().as_str() {
            "yes" | "true" | "paid" => Some(json!(true)),
            "no" | "false" | "unpaid" => Some(json!(false)),
            _ => None,
        },
        "string" if schema["format"] == "date" => text
            .parse::<jiff::civil::Date>()
            .ok()
            .map(|date| json!(date.to_string())),
        "string" => Some(json!(text)),
        _ => None,
    }
}

/// A value that only its path decides.
fn made(schema: &Value, kind: &str, path: &[String]) -> Value {
    let number = path
        .iter()
        .flat_map(|step| step.bytes())
        .fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 997);
    let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
    let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
    let number = (number as f64).clamp(least, most.max(least));
    match (kind, schema["format"].as_str()) {
        ("integer", _) => json!(number as i64),
        ("number", _) => json!(number),
        ("boolean", _) => json!(number % 2.0 == 0.0),
        (_, Some("date")) => json!("2024-03-01"),
        (_, Some("date-time")) => json!("2024-03-01T12:00:00Z"),
        (_, Some("time")) => json!("12:00:00Z"),
        (_, Some("email")) => json!("someone@example.com"),
        (_, Some("uri")) => json!("https://example.com/"),
        (_, Some("uuid")) => json!("00000000-0000-4000-8000-000000000001"),
        _ => {
            let text = format!("{} of the document", path.join(" "));
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX) as usize;
            json!(text.chars().take(most).collect::<String>())
        }
    }
}
