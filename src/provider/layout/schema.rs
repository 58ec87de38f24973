//! A subtree's JSON Schema compiled to what is looked for: fields, their forms and their words.

use regex::Regex;
use serde_json::{Map, Value};

use super::kind::{Kind, kind};

/// References followed inside one another; deeper parts of a recursive schema stay empty.
const MAX_REFERENCES: usize = 6;
/// Objects and arrays inside one another.
const MAX_DEPTH: usize = 24;
/// Fields of all subtrees; what a schema bomb has beyond stays empty.
const MAX_FIELDS: usize = 20_000;

/// A property, an array item or the root of a subtree.
#[derive(Debug)]
pub(super) struct Field {
    /// The property name; empty for items and the root.
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub nullable: bool,
    pub required: bool,
    pub form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    Object(Vec<Field>),
    Array {
        item: Box<Field>,
        most: usize,
    },
    Leaf(Box<Leaf>),
    /// Beyond a limit, or nothing the schema allows: stays empty.
    Closed,
}

/// A scalar and what it must obey.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    pub kind: Kind,
    pub choices: Vec<Value>,
    pub pattern: Option<Regex>,
    pub least: Option<f64>,
    pub most: Option<f64>,
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub multiple: Option<f64>,
    pub shortest: usize,
    pub longest: Option<usize>,
    /// Whether the schema takes a text, a whole number, any number, a boolean.
    pub text: bool,
    pub number: bool,
    pub integer: bool,
    pub boolean: bool,
}

struct Compiler<'s> {
    root: &'s Value,
    fields: usize,
}

/// Compiles the schema of a subtree.
pub(super) fn compile(schema: &Value) -> Field {
    compile_part(schema, &mut 0)
}

/// Compiles the schema of one subtree of several; `taken` counts the fields of all.
pub(super) fn compile_part(schema: &Value, taken: &mut usize) -> Field {
    let mut compiler = Compiler {
        root: schema,
        fields: *taken,
    };
    let field = compiler.field(String::new(), schema, true, 0, 0);
    *taken = compiler.fields;
    field
}

impl<'s> Compiler<'s> {
    fn field(
        &mut self,
        name: String,
        schema: &'s Value,
        required: bool,
        depth: usize,
        references: usize,
    ) -> Field {
        self.fields += 1;
        let mut parts = Parts::default();
        let within = self.collect(schema, references, &mut parts);
        let text = |key: &str| {
            parts
                .keyword(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut field = Field {
            title: text("title"),
            description: text("description"),
            nullable: parts.nullable,
            required,
            name,
            form: Form::Closed,
        };
        if let (Some(references), true) = (within, self.fields <= MAX_FIELDS && depth <= MAX_DEPTH)
        {
            field.form = self.form(&field, &parts, depth, references);
        }
        field
    }

    /// Gathers the schema's own keywords and those it refers to, takes in or offers first.
    /// Returns the count of references followed, `None` when there are too many.
    fn collect(
        &self,
        schema: &'s Value,
        references: usize,
        parts: &mut Parts<'s>,
    ) -> Option<usize> {
        let Some(map) = schema.as_object() else {
            return Some(references);
        };
        if parts.maps.len() > 32 {
            return None;
        }
        parts.maps.push(map);
        parts.nullable |= takes_null(map);
        let mut most = references;
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            if references >= MAX_REFERENCES {
                return None;
            }
            if let Some(target) = reference
                .strip_prefix('#')
                .and_then(|pointer| self.root.pointer(pointer))
            {
                most = most.max(self.collect(target, references + 1, parts)?);
            }
        }
        for part in map
            .get("allOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            most = most.max(self.collect(part, references, parts)?);
        }
        for key in ["anyOf", "oneOf"] {
            let options = map.get(key).and_then(Value::as_array);
            let mut taken = false;
            for option in options.into_iter().flatten() {
                if is_null(option) {
                    parts.nullable = true;
                } else if !taken {
                    taken = true;
                    most = most.max(self.collect(option, references, parts)?);
                } else if let Some(kind) = option.get("type") {
                    parts.more_types.push(kind);
                }
            }
        }
        Some(most)
    }

    fn form(&mut self, field: &Field, parts: &Parts<'s>, depth: usize, references: usize) -> Form {
        let types = parts.types();
        let says = |name: &str| types.contains(&name);
        let properties: Vec<&'s Map<String, Value>> = parts
            .all("properties")
            .filter_map(Value::as_object)
            .collect();
        if says("object") || (types.is_empty() && !properties.is_empty()) {
            let required: Vec<&str> = parts
                .all("required")
                .filter_map(Value::as_array)
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let mut fields: Vec<Field> = Vec::new();
            for (name, schema) in properties.into_iter().flatten() {
                if self.fields > MAX_FIELDS {
                    break;
                }
                if fields.iter().all(|known| known.name != *name) {
                    let needed = required.contains(&name.as_str());
                    fields.push(self.field(name.clone(), schema, needed, depth + 1, references));
                }
            }
            return Form::Object(fields);
        }
        if says("array") || (types.is_empty() && parts.keyword("items").is_some()) {
            let item = parts.keyword("items").unwrap_or(&Value::Null);
            let item = self.field(String::new(), item, false, depth + 1, references);
            let most = parts
                .keyword("maxItems")
                .and_then(Value::as_u64)
                .unwrap_or(u64::MAX);
            return Form::Array {
                item: Box::new(item),
                most: usize::try_from(most).unwrap_or(usize::MAX),
            };
        }
        Form::Leaf(Box::new(leaf(field, parts, &types)))
    }
}

/// The maps of keywords that hold for one field, the nearest first.
#[derive(Default)]
pub(super) struct Parts<'s> {
    maps: Vec<&'s Map<String, Value>>,
    more_types: Vec<&'s Value>,
    nullable: bool,
}

impl<'s> Parts<'s> {
    pub(super) fn keyword(&self, key: &str) -> Option<&'s Value> {
        self.maps.iter().find_map(|map| map.get(key))
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'s Value> + 'a {
        self.maps.iter().filter_map(move |map| map.get(key))
    }

    fn types(&self) -> Vec<&'s str> {
        let mut types: Vec<&str> = Vec::new();
        let stated = self.all("type").chain(self.more_types.iter().copied());
        for kind in stated {
            match kind {
                Value::String(name) => types.push(name),
                Value::Array(names) => types.extend(names.iter().filter_map(Value::as_str)),
                _ => {}
            }
        }
        types.retain(|name| *name != "null");
        types
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
        || schema.get("const") == Some(&Value::Null)
}

fn takes_null(map: &Map<String, Value>) -> bool {
    let in_types = match map.get("type") {
        Some(Value::String(name)) => name == "null",
        Some(Value::Array(names)) => names.iter().any(|name| name == "null"),
        _ => false,
    };
    in_types || map.get("nullable") == Some(&Value::Bool(true))
}

fn leaf(field: &Field, parts: &Parts<'_>, types: &[&str]) -> Leaf {
    let says = |name: &str| types.contains(&name);
    let float = |key: &str| parts.keyword(key).and_then(Value::as_f64);
    let size = |key: &str| {
        parts
            .keyword(key)
            .and_then(Value::as_u64)
            .map(|n| n as usize)
    };
    let mut choices: Vec<Value> = parts
        .keyword("enum")
        .and_then(Value::as_array)
        .map(|all| {
            all.iter()
                .filter(|value| !value.is_null())
                .cloned()
                .collect()
        })
        .unwrap_or_default();
    if let Some(only) = parts.keyword("const").filter(|value| !value.is_null()) {
        choices = vec![only.clone()];
    }
    let number = says("number") || says("integer");
    let mut leaf = Leaf {
        text: says("string") || types.is_empty(),
        integer: says("integer") && !says("number"),
        number,
        boolean: says("boolean"),
        pattern: parts
            .keyword("pattern")
            .and_then(Value::as_str)
            .and_then(|source| {
                regex::RegexBuilder::new(source)
                    .size_limit(1 << 18)
                    .build()
                    .ok()
            }),
        least: float("minimum"),
        most: float("maximum"),
        above: float("exclusiveMinimum"),
        below: float("exclusiveMaximum"),
        multiple: float("multipleOf"),
        shortest: size("minLength").unwrap_or(0),
        longest: size("maxLength"),
        choices,
        kind: Kind::Text,
    };
    leaf.kind = kind(field, parts, &leaf);
    leaf
}

impl Field {
    /// Whether the value of this field may be left out when nothing is found, or must be null.
    pub(super) fn empty(&self) -> Option<Value> {
        match &self.form {
            Form::Array { .. } => Some(Value::Array(Vec::new())),
            Form::Object(_) if !self.nullable => Some(Value::Object(Map::new())),
            _ if self.nullable || self.required => Some(Value::Null),
            _ => None,
        }
    }
}

impl Leaf {
    /// Whether the schema takes this value.
    pub(super) fn takes(&self, value: &Value) -> bool {
        if !self.choices.is_empty() {
            return self.choices.contains(value);
        }
        match value {
            Value::String(text) => {
                let length = text.chars().count();
                self.text
                    && length >= self.shortest
                    && self.longest.is_none_or(|most| length <= most)
                    && self
                        .pattern
                        .as_ref()
                        .is_none_or(|pattern| pattern.is_match(text))
            }
            Value::Number(number) => number
                .as_f64()
                .is_some_and(|number| self.takes_number(number)),
            Value::Bool(_) => self.boolean,
            _ => false,
        }
    }

    fn takes_number(&self, number: f64) -> bool {
        self.number
            && number.is_finite()
            && (!self.integer || number.fract() == 0.0)
            && self.least.is_none_or(|least| number >= least)
            && self.most.is_none_or(|most| number <= most)
            && self.above.is_none_or(|above| number > above)
            && self.below.is_none_or(|below| number < below)
            && self
                .multiple
                .is_none_or(|step| step <= 0.0 || is_multiple(number, step))
    }
}

fn is_multiple(number: f64, step: f64) -> bool {
    let times = number / step;
    (times - times.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}}
        });
        let mut depth = 0;
        let mut field = &compile(&schema);
        while let Form::Object(fields) = &field.form {
            field = &fields[0];
            depth += 1;
        }
        assert_eq!(depth, MAX_REFERENCES);
        let endless = json!({"$ref": "#"});
        assert!(matches!(compile(&endless).form, Form::Closed));
    }

    #[test]
    fn a_leaf_takes_only_what_the_schema_allows() {
        let leaf = |schema: Value| match compile(&schema).form {
            Form::Leaf(leaf) => leaf,
            other => panic!("{other:?}"),
        };
        assert!(!leaf(json!({"type": "integer"})).takes(&json!(1.5)));
        assert!(leaf(json!({"type": "number", "minimum": 1})).takes(&json!(1.5)));
        assert!(!leaf(json!({"type": "number", "exclusiveMaximum": 1})).takes(&json!(1)));
        assert!(!leaf(json!({"type": "string", "pattern": "^[A-Z]+$"})).takes(&json!("a")));
        assert!(!leaf(json!({"type": "string"})).takes(&json!(1)));
        assert!(leaf(json!({"enum": ["a"]})).takes(&json!("a")));
    }
}
