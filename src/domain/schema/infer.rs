//! A schema from examples of what is wanted.
//!
//! Every example is valid under it. Nothing of the examples' own values is kept: a model that sees
//! a value in its schema may give it back as if it had read it.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

/// Objects with at least so many members, all named like numbers or days, are maps.
const MAP_MEMBERS: usize = 2;

/// The schema, draft 2020-12, of values like these. Without examples anything is like them.
///
/// Members that all examples have are required. Text is given a `format` where all examples are
/// days, moments, addresses of mail or of the web.
pub fn infer(examples: &[Value]) -> Value {
    let mut seen = Seen::default();
    for example in examples {
        seen.add(example);
    }
    let mut schema = Map::new();
    schema.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    if let Value::Object(members) = seen.schema() {
        schema.extend(members);
    }
    Value::Object(schema)
}

/// All values that were seen at one place.
#[derive(Default)]
struct Seen {
    null: bool,
    boolean: bool,
    integer: bool,
    fraction: bool,
    text: Option<Text>,
    array: Option<Box<Seen>>,
    object: Option<Object>,
}

#[derive(Default)]
struct Object {
    count: usize,
    /// In the order of their first appearance, and how many objects have them.
    members: Vec<(String, usize, Seen)>,
    /// Positions in `members`, for the many of a wide object.
    positions: std::collections::HashMap<String, usize>,
}

/// Which formats all texts of a place have.
#[derive(Clone, Copy)]
struct Text {
    date: bool,
    date_time: bool,
    email: bool,
    uri: bool,
}

impl Text {
    fn of(text: &str) -> Self {
        Self {
            date: is_date(text),
            date_time: is_date_time(text),
            email: is_email(text),
            uri: is_uri(text),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            date: self.date && other.date,
            date_time: self.date_time && other.date_time,
            email: self.email && other.email,
            uri: self.uri && other.uri,
        }
    }

    fn format(self) -> Option<&'static str> {
        let formats = [
            (self.date, "date"),
            (self.date_time, "date-time"),
            (self.email, "email"),
            (self.uri, "uri"),
        ];
        formats
            .into_iter()
            .find_map(|(holds, format)| holds.then_some(format))
    }
}

impl Seen {
    fn add(&mut self, value: &Value) {
        match value {
            Value::Null => self.null = true,
            Value::Bool(_) => self.boolean = true,
            Value::Number(number) if number.is_f64() => self.fraction = true,
            Value::Number(_) => self.integer = true,
            Value::String(text) => {
                let text = Text::of(text);
                self.text = Some(self.text.map_or(text, |before| before.and(text)));
            }
            Value::Array(items) => {
                let seen = self.array.get_or_insert_default();
                for item in items {
                    seen.add(item);
                }
            }
            Value::Object(members) => self.object.get_or_insert_default().add(members),
        }
    }

    /// `true` when nothing was seen here.
    fn schema(&self) -> Value {
        let mut kinds = Vec::new();
        let mut schema = Map::new();
        if let Some(object) = &self.object {
            kinds.push("object");
            schema.extend(object.keywords());
        }
        if let Some(items) = &self.array {
            kinds.push("array");
            schema.insert("items".into(), items.schema());
        }
        if let Some(text) = self.text {
            kinds.push("string");
            if let Some(format) = text.format() {
                schema.insert("format".into(), format.into());
            }
        }
        match (self.fraction, self.integer) {
            (true, _) => kinds.push("number"),
            (false, true) => kinds.push("integer"),
            (false, false) => {}
        }
        if self.boolean {
            kinds.push("boolean");
        }
        if self.null && !kinds.is_empty() {
            kinds.push("null");
        }
        let kind = match kinds.as_slice() {
            [] => return Value::Bool(true),
            [one] => json!(one),
            many => json!(many),
        };
        schema.shift_insert(0, "type".into(), kind);
        Value::Object(schema)
    }
}

impl Object {
    fn add(&mut self, members: &Map<String, Value>) {
        self.count += 1;
        for (name, value) in members {
            let at = *self.positions.entry(name.clone()).or_insert_with(|| {
                self.members.push((name.clone(), 0, Seen::default()));
                self.members.len() - 1
            });
            let (_, count, seen) = &mut self.members[at];
            *count += 1;
            seen.add(value);
        }
    }

    fn keywords(&self) -> Map<String, Value> {
        let mut keywords = Map::new();
        if self.is_map() {
            let mut all = Seen::default();
            for (_, _, seen) in &self.members {
                all.join(seen);
            }
            keywords.insert("additionalProperties".into(), all.schema());
            return keywords;
        }
        let properties = self.members.iter();
        let properties: Map<_, _> = properties
            .map(|(name, _, seen)| (name.clone(), seen.schema()))
            .collect();
        let required: Vec<_> = self
            .members
            .iter()
            .filter(|(_, count, _)| *count == self.count)
            .map(|(name, ..)| Value::from(name.as_str()))
            .collect();
        keywords.insert("properties".into(), properties.into());
        if !required.is_empty() {
            keywords.insert("required".into(), required.into());
        }
        keywords
    }

    /// Whether the names are data: numbers or days.
    fn is_map(&self) -> bool {
        let is_data = |name: &str| {
            is_date(name) || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.members.len() >= MAP_MEMBERS && self.members.iter().all(|(name, ..)| is_data(name))
    }
}

impl Seen {
    /// Adds what was seen at another place.
    fn join(&mut self, other: &Self) {
        self.null |= other.null;
        self.boolean |= other.boolean;
        self.integer |= other.integer;
        self.fraction |= other.fraction;
        if let Some(text) = other.text {
            self.text = Some(self.text.map_or(text, |before| before.and(text)));
        }
        if let Some(items) = &other.array {
            self.array.get_or_insert_default().join(items);
        }
        if let Some(object) = &other.object {
            self.object.get_or_insert_default().join(object);
        }
    }
}

impl Object {
    fn join(&mut self, other: &Self) {
        self.count += other.count;
        for (name, more, seen) in &other.members {
            let at = *self.positions.entry(name.clone()).or_insert_with(|| {
                self.members.push((name.clone(), 0, Seen::default()));
                self.members.len() - 1
            });
            let (_, count, before) = &mut self.members[at];
            *count += more;
            before.join(seen);
        }
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    text.len() > 10 && text.as_bytes()[10] == b'T' && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else {
        return false;
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    };
    is_plain(user) && is_plain(host) && host.contains('.')
}

fn is_uri(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(examples: &[Value]) -> Value {
        let mut schema = infer(examples);
        schema.as_object_mut().unwrap().shift_remove("$schema");
        schema
    }

    #[test]
    fn one_example_gives_its_shape_and_none_of_its_values() {
        let example = json!({
            "number": "R-17",
            "issued": "2026-03-01",
            "total": 12.5,
            "pages": 3,
            "paid": false,
            "note": null,
            "lines": [{"text": "Bolts", "count": 2}, {"text": "Nuts"}],
        });
        let schema = of(std::slice::from_ref(&example));
        let expected = json!({
            "type": "object",
            "properties": {
                "number": {"type": "string"},
                "issued": {"type": "string", "format": "date"},
                "total": {"type": "number"},
                "pages": {"type": "integer"},
                "paid": {"type": "boolean"},
                "note": true,
                "lines": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"text": {"type": "string"}, "count": {"type": "integer"}},
                    "required": ["text"],
                }},
            },
            "required": ["number", "issued", "total", "pages", "paid", "note", "lines"],
        });
        assert_eq!(schema, expected);
        assert_eq!(schema.to_string(), expected.to_string(), "in their order");
    }

    #[test]
    fn several_examples_are_joined() {
        let schema = of(&[
            json!({"a": 1, "b": "2026-03-01"}),
            json!({"a": 1.5, "b": "soon", "c": null}),
            json!({"a": "1", "c": [1]}),
        ]);
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {"type": ["string", "number"]},
                "b": {"type": "string"},
                "c": {"type": ["array", "null"], "items": {"type": "integer"}},
            },
            "required": ["a"],
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn members_that_are_named_by_data_are_a_map() {
        let schema = of(&[json!({"2024": {"net": 1}, "2025": {"net": 2.5, "tax": 1}})]);
        let expected = json!({
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"net": {"type": "number"}, "tax": {"type": "integer"}},
                "required": ["net"],
            },
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn formats_are_given_only_where_all_examples_have_them() {
        let format = |texts: &[&str]| {
            let examples: Vec<_> = texts.iter().map(|text| json!(text)).collect();
            of(&examples)["format"].as_str().map(str::to_owned)
        };
        assert_eq!(format(&["2026-02-28"]).as_deref(), Some("date"));
        assert_eq!(format(&["2026-02-30"]), None);
        assert_eq!(
            format(&["2026-02-28T10:00:00Z"]).as_deref(),
            Some("date-time")
        );
        assert_eq!(format(&["a.b@example.org"]).as_deref(), Some("email"));
        assert_eq!(format(&["https://example.org/x"]).as_deref(), Some("uri"));
        assert_eq!(format(&["2026-02-28", "a.b@example.org"]), None);
        assert_eq!(format(&["a@b", "http://", ""]), None);
    }
}
