//! Sets right what a model spelled otherwise than its schema has it, where the reading is certain.
//!
//! Never a guess: what can be read in two ways stays as it is and fails validation. Only places
//! that validation objects to are touched, and dates, whose format validation may not look at.

mod date;
mod number;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::pointer::Pointer;
use super::schema;

pub use date::iso;
pub use number::plain_number;

/// Something that was set right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// JSON Pointer of the value.
    pub pointer: String,
    /// What it was and what it became.
    pub what: String,
}

/// Levels that are gone down, and references that are followed.
const MAX_LEVELS: usize = 128;
/// Errors that are looked at, and so places that are set right at once.
const MAX_ERRORS: usize = 10_000;

/// Keywords whose errors are told of the whole value, whatever inside it is at fault.
const SWEEPING: [&str; 6] = ["anyOf", "oneOf", "not", "if", "contains", "enum"];

/// Rounds: a value that became a list is looked into only when it is judged again.
const MAX_ROUNDS: usize = 4;

/// Repairs a value towards its schema; gives what was changed.
pub fn repair(schema: &Value, value: &mut Value) -> Vec<Repair> {
    let Ok(validator) = schema::compile(schema) else {
        return Vec::new();
    };
    let mut repairs = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let mut walk = Walk {
            root: schema,
            faults: Faults::of(&validator, value),
            repairs: Vec::new(),
        };
        walk.value(&[schema], value, &Pointer::root(), 0);
        if walk.repairs.is_empty() {
            break;
        }
        repairs.append(&mut walk.repairs);
    }
    repairs
}

/// Places that validation objects to.
#[derive(Default)]
struct Faults {
    at: std::collections::HashSet<String>,
    /// Everything under these.
    below: Vec<String>,
}

impl Faults {
    fn of(validator: &jsonschema::Validator, value: &Value) -> Self {
        let mut faults = Self::default();
        for error in validator.iter_errors(value).take(MAX_ERRORS) {
            let at = error.instance_path().to_string();
            if SWEEPING.contains(&error.kind().keyword()) {
                faults.below.push(format!("{at}/"));
            }
            faults.at.insert(at);
        }
        faults
    }

    fn touch(&self, at: &Pointer) -> bool {
        let at = at.as_str();
        self.at.contains(at) || self.below.iter().any(|above| at.starts_with(above))
    }
}

struct Walk<'a> {
    root: &'a Value,
    faults: Faults,
    repairs: Vec<Repair>,
}

/// Types as bits.
type Types = u8;
const NULL: Types = 1;
const BOOLEAN: Types = 2;
const INTEGER: Types = 4;
/// Numbers that are not whole.
const FRACTION: Types = 8;
const STRING: Types = 16;
const ARRAY: Types = 32;
const OBJECT: Types = 64;
const ALL: Types = 127;

fn type_of(value: &Value) -> Types {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(number) if is_whole(number) => INTEGER,
        Value::Number(_) => FRACTION,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn named(name: &str) -> Types {
    match name {
        "null" => NULL,
        "boolean" => BOOLEAN,
        "integer" => INTEGER,
        "number" => INTEGER | FRACTION,
        "string" => STRING,
        "array" => ARRAY,
        "object" => OBJECT,
        _ => 0,
    }
}

impl<'a> Walk<'a> {
    /// `nodes` are the schemas that the value may be of.
    fn value(&mut self, nodes: &[&'a Value], value: &mut Value, at: &Pointer, level: usize) {
        if level > MAX_LEVELS || nodes.is_empty() {
            return;
        }
        let types = nodes.iter().fold(0, |all, node| all | self.types(node, 0));
        if let Some(what) = self.leaf(nodes, types, value, at) {
            self.repairs.push(Repair {
                pointer: at.to_string(),
                what,
            });
        }
        let mut all = Vec::new();
        for node in nodes {
            self.spread(node, &mut all, 0);
        }
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let nodes: Vec<&Value> =
                        all.iter().filter_map(|node| of_key(node, key)).collect();
                    self.value(&nodes, member, &at.join(key), level + 1);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let nodes: Vec<&Value> = all
                        .iter()
                        .filter_map(|node| of_index(node, index))
                        .collect();
                    self.value(&nodes, item, &at.index(index), level + 1);
                }
            }
            _ => {}
        }
    }

    /// Types that a node takes.
    fn types(&self, node: &'a Value, level: usize) -> Types {
        let Value::Object(members) = node else {
            return if node == &Value::Bool(false) { 0 } else { ALL };
        };
        if level > 32 {
            return ALL;
        }
        let mut types = match members.get("type") {
            Some(Value::String(name)) => named(name),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .fold(0, |all, name| all | named(name)),
            _ => ALL,
        };
        let values = members.get("enum").and_then(Value::as_array);
        let values = values.into_iter().flatten().chain(members.get("const"));
        let listed = values.fold(0, |all, value| all | type_of(value));
        if listed != 0 {
            types &= listed;
        }
        if let Some(target) = self.target(node) {
            types &= self.types(target, level + 1);
        }
        for part in list(node, "allOf") {
            types &= self.types(part, level + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            let options = list(node, keyword);
            if !options.is_empty() {
                types &= options
                    .iter()
                    .fold(0, |all, option| all | self.types(option, level + 1));
            }
        }
        types
    }

    fn target(&self, node: &'a Value) -> Option<&'a Value> {
        schema::follow(self.root, node.get("$ref")?.as_str()?)
    }

    /// The node and all that say something of the same value.
    fn spread(&self, node: &'a Value, all: &mut Vec<&'a Value>, level: usize) {
        if level > 32 || all.len() > 1_000 || all.iter().any(|known| std::ptr::eq(*known, node)) {
            return;
        }
        all.push(node);
        if let Some(target) = self.target(node) {
            self.spread(target, all, level + 1);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for part in list(node, keyword) {
                self.spread(part, all, level + 1);
            }
        }
        for keyword in ["then", "else"] {
            if let Some(part) = node.get(keyword) {
                self.spread(part, all, level + 1);
            }
        }
    }

    /// Sets one value right; says how.
    fn leaf(
        &self,
        nodes: &[&'a Value],
        types: Types,
        value: &mut Value,
        at: &Pointer,
    ) -> Option<String> {
        let was = excerpt(value);
        let now = if self.faults.touch(at) {
            self.spelled(nodes, types, value)
        } else {
            None
        };
        let now = now
            .or_else(|| self.dated(nodes, types, value))
            .or_else(|| whole(types, value))?;
        if now == *value && now.is_i64() == value.is_i64() {
            return None;
        }
        *value = now;
        Some(format!("{was} was read as {}", excerpt(value)))
    }

    fn spelled(&self, nodes: &[&'a Value], types: Types, value: &Value) -> Option<Value> {
        let wants = |kind: Types| types & kind != 0;
        if let Some(listed) = self.listed(nodes, value) {
            return Some(listed);
        }
        match value {
            Value::String(text) if text.trim().is_empty() => wants(NULL).then_some(Value::Null),
            Value::String(text) if !wants(STRING) => {
                let yes = wants(BOOLEAN).then(|| yes_or_no(text)).flatten();
                let number = || {
                    let number = plain_number(text)?;
                    (wants(INTEGER | FRACTION) && (wants(FRACTION) || is_whole(&number)))
                        .then_some(Value::Number(number))
                };
                yes.map(Value::Bool).or_else(number)
            }
            Value::Number(_) | Value::Bool(_) if wants(STRING) && types & type_of(value) == 0 => {
                Some(Value::String(value.to_string()))
            }
            Value::Object(_) if wants(ARRAY) && !wants(OBJECT) => {
                let mut all = Vec::new();
                for node in nodes {
                    self.spread(node, &mut all, 0);
                }
                let mut items = all.iter().filter_map(|node| of_index(node, 0));
                let takes = items.any(|item| self.types(item, 0) & OBJECT != 0);
                takes.then(|| Value::Array(vec![value.clone()]))
            }
            _ => None,
        }
    }

    /// The one listed value that the text is, but for case and white space.
    fn listed(&self, nodes: &[&'a Value], value: &Value) -> Option<Value> {
        let text = value.as_str()?;
        let fold = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
        let mut all = Vec::new();
        for node in nodes {
            self.spread(node, &mut all, 0);
        }
        let values = all.iter().flat_map(|node| {
            let listed = list(node, "enum").iter();
            listed.chain(node.get("const"))
        });
        let mut alike: Vec<&str> = values
            .filter_map(Value::as_str)
            .filter(|known| fold(known) == fold(text))
            .collect();
        alike.sort_unstable();
        alike.dedup();
        match alike.as_slice() {
            [only] if *only != text => Some(Value::String((*only).to_owned())),
            _ => None,
        }
    }

    /// A date as the schema wants it, where nothing but a date is wanted.
    fn dated(&self, nodes: &[&'a Value], types: Types, value: &Value) -> Option<Value> {
        let text = value.as_str()?;
        let is_date = types & STRING != 0 && nodes.iter().all(|node| self.is_date(node, 0));
        let date = is_date.then(|| iso(text)).flatten()?;
        (date != text).then_some(Value::String(date))
    }

    /// Whether every text that the node takes is a date.
    fn is_date(&self, node: &'a Value, level: usize) -> bool {
        if level > 32 {
            return false;
        }
        let is_dated = |part: &'a Value| self.is_date(part, level + 1);
        node.get("format").and_then(Value::as_str) == Some("date")
            || self.target(node).is_some_and(is_dated)
            || list(node, "allOf").iter().any(is_dated)
            || ["anyOf", "oneOf"].iter().any(|keyword| {
                let mut texts = list(node, keyword)
                    .iter()
                    .filter(|option| self.types(option, level + 1) & STRING != 0)
                    .peekable();
                texts.peek().is_some() && texts.all(is_dated)
            })
    }
}

/// A whole number written with decimals, where only whole ones are wanted.
fn whole(types: Types, value: &Value) -> Option<Value> {
    let number = value.as_f64().filter(|_| value.is_f64())?;
    let is_exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    let is_wanted = types & INTEGER != 0 && types & FRACTION == 0;
    (is_wanted && is_exact).then(|| Value::from(number as i64))
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "ja" | "oui" | "wahr" | "vrai" => Some(true),
        "false" | "no" | "nein" | "non" | "falsch" | "faux" => Some(false),
        _ => None,
    }
}

fn list<'a>(node: &'a Value, keyword: &str) -> &'a [Value] {
    node.get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn of_key<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    let declared = node.get("properties").and_then(|all| all.get(key));
    declared.or_else(|| {
        // A pattern would have to be tried; without one, the rest is of one kind.
        let others = node.get("additionalProperties");
        others.filter(|_| node.get("patternProperties").is_none())
    })
}

fn of_index(node: &Value, index: usize) -> Option<&Value> {
    let first = node
        .get("prefixItems")
        .or_else(|| node.get("items").filter(|items| items.is_array()));
    match first.and_then(|first| first.get(index)) {
        Some(item) => Some(item),
        None if first.is_some() && node.get("prefixItems").is_none() => node.get("additionalItems"),
        None => node.get("items"),
    }
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}
