//! What makes extraction worse, in a schema that can be used.
//!
//! A model sees names, titles and descriptions, and a validator sees the rest: what neither can do
//! much with is named here, so that it is mended before it costs wrong values.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::pointer::Pointer;

/// Pieces of advice given at once; [`Advised::total`] counts all of them.
const MAX_SHOWN: usize = 50;
/// Values of an `enum` that a model still chooses among well.
const LARGE_ENUM: usize = 100;
/// Levels of properties below which a field is far from what names it.
const DEEP: usize = 6;

/// Kinds of advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A field is told by its name alone.
    MissingDescription,
    /// A required property cannot be there.
    ContradictoryRequired,
    /// An `enum` of more than a hundred values.
    LargeEnum,
    /// An array whose items are arrays: columns without names.
    ArrayOfArrays,
    /// A field that may be anything.
    Untyped,
    /// A field more than six levels down.
    DeepNesting,
}

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Into the schema.
    pub pointer: Pointer,
    pub topic: Topic,
    pub message: String,
}

/// All advice on a schema, in the order of the schema.
#[derive(Debug, Clone, Default)]
pub struct Advised {
    /// The first of them.
    pub shown: Vec<Advice>,
    pub total: usize,
}

/// Looks at a schema that [`accept`](super::accept) has accepted. Definitions are looked at where
/// they stand, once.
pub fn advise(schema: &Value) -> Advised {
    let mut adviser = Adviser::default();
    adviser.schema(schema, &Pointer::root(), 0);
    adviser.advised
}

#[derive(Default)]
struct Adviser {
    advised: Advised,
}

impl Adviser {
    fn say(&mut self, pointer: &Pointer, topic: Topic, message: impl FnOnce() -> String) {
        self.advised.total += 1;
        if self.advised.shown.len() < MAX_SHOWN {
            self.advised.shown.push(Advice {
                pointer: pointer.clone(),
                topic,
                message: message(),
            });
        }
    }

    fn schema(&mut self, schema: &Value, at: &Pointer, level: usize) {
        let Value::Object(schema) = schema else {
            return;
        };
        self.required(schema, at);
        self.choices(schema, at);
        self.rows(schema, at);
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                let at = at.join("properties").join(name);
                self.field(name, property, &at, level + 1);
                self.schema(property, &at, level + 1);
            }
        }
        for (keyword, child) in schema {
            let at = at.join(keyword);
            match (keyword.as_str(), child) {
                ("$defs" | "definitions" | "patternProperties", Value::Object(named)) => {
                    for (name, child) in named {
                        self.schema(child, &at.join(name), level);
                    }
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(children)) => {
                    for (index, child) in children.iter().enumerate() {
                        self.schema(child, &at.index(index), level);
                    }
                }
                ("items" | "additionalProperties" | "then" | "else", child) => {
                    self.schema(child, &at, level);
                }
                _ => {}
            }
        }
    }

    fn field(&mut self, name: &str, property: &Value, at: &Pointer, level: usize) {
        if level == DEEP + 1 {
            self.say(at, Topic::DeepNesting, || {
                format!("`{name}` is more than {DEEP} levels down. Bring it nearer to the root.")
            });
        }
        match property {
            Value::Object(node) if node.contains_key("$ref") => {}
            Value::Object(node) => {
                if !says_what(node) {
                    self.say(at, Topic::Untyped, || {
                        format!("`{name}` may be anything. Give it a `type`.")
                    });
                }
                if is_leaf(node) && !["description", "title"].iter().any(|key| tells(node, key)) {
                    self.say(at, Topic::MissingDescription, || {
                        format!(
                            "`{name}` has no `description`: a model sees no more than its name. \
                             Say what it is, where it stands and in which form it is wanted."
                        )
                    });
                }
            }
            Value::Bool(true) => self.say(at, Topic::Untyped, || {
                format!("`{name}` may be anything. Give it a `type`.")
            }),
            _ => {}
        }
    }

    fn required(&mut self, schema: &Map<String, Value>, at: &Pointer) {
        let Some(Value::Array(required)) = schema.get("required") else {
            return;
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false))
            && !schema.contains_key("patternProperties");
        let names: HashSet<_> = required.iter().filter_map(Value::as_str).collect();
        for (index, name) in required.iter().enumerate() {
            let Some(name) = name.as_str() else { continue };
            let declared = properties.and_then(|properties| properties.get(name));
            let why = match declared {
                Some(Value::Bool(false)) => "its schema is `false`",
                None if is_closed => "no other than the declared properties may be there",
                _ => continue,
            };
            let at = at.join("required").index(index);
            self.say(&at, Topic::ContradictoryRequired, || {
                format!("`{name}` is required, but {why}: nothing is valid under this.")
            });
        }
        let most = schema.get("maxProperties").and_then(Value::as_u64);
        if let Some(most) = most.filter(|most| *most < names.len() as u64) {
            self.say(&at.join("maxProperties"), Topic::ContradictoryRequired, || {
                format!(
                    "{} properties are required and {most} may be there: nothing is valid under \
                     this.",
                    names.len()
                )
            });
        }
    }

    fn choices(&mut self, schema: &Map<String, Value>, at: &Pointer) {
        let count = schema
            .get("enum")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        if count > LARGE_ENUM {
            self.say(&at.join("enum"), Topic::LargeEnum, || {
                format!(
                    "{count} values to choose from. Ask for text, and look the value up in your \
                     own list afterwards."
                )
            });
        }
    }

    fn rows(&mut self, schema: &Map<String, Value>, at: &Pointer) {
        let inner = schema.get("items").and_then(Value::as_object);
        let is_array = inner.is_some_and(|items| {
            let kind = items.get("type");
            kind.and_then(Value::as_str) == Some("array") || items.contains_key("prefixItems")
        });
        if is_array {
            self.say(&at.join("items"), Topic::ArrayOfArrays, || {
                "An array of arrays: its columns have no names. Make its items objects, with a \
                 property for each column."
                    .into()
            });
        }
    }
}

fn tells(node: &Map<String, Value>, keyword: &str) -> bool {
    let text = node.get(keyword).and_then(Value::as_str);
    text.is_some_and(|text| !text.trim().is_empty())
}

/// Whether anything narrows what the value may be.
fn says_what(node: &Map<String, Value>) -> bool {
    const NARROWS: [&str; 12] = [
        "type",
        "enum",
        "const",
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "properties",
        "items",
        "prefixItems",
        "anyOf",
        "oneOf",
        "allOf",
    ];
    NARROWS.iter().any(|keyword| node.contains_key(*keyword))
}

/// Whether the model writes a value here, and not in parts of it that have names of their own.
fn is_leaf(node: &Map<String, Value>) -> bool {
    ![
        "properties",
        "items",
        "prefixItems",
        "anyOf",
        "oneOf",
        "allOf",
    ]
    .iter()
    .any(|keyword| node.contains_key(*keyword))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topics(schema: &Value) -> Vec<(String, Topic)> {
        let advised = advise(schema);
        assert_eq!(advised.total, advised.shown.len());
        let shown = advised.shown.into_iter();
        shown
            .map(|one| (one.pointer.to_string(), one.topic))
            .collect()
    }

    #[test]
    fn a_schema_that_tells_what_it_wants_gets_no_advice() {
        let schema = json!({
            "type": "object",
            "required": ["number"],
            "properties": {
                "number": {"type": "string", "description": "Invoice number"},
                "currency": {"enum": ["EUR", "USD"], "title": "Currency"},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            },
            "additionalProperties": false,
            "$defs": {"line": {"properties": {"total": {"type": "number", "description": "Net"}}}},
        });
        assert_eq!(topics(&schema), []);
    }

    #[test]
    fn each_fault_is_named_where_it_stands() {
        let many: Vec<_> = (0..101).collect();
        let schema = json!({
            "required": ["gone", "never", "code"],
            "maxProperties": 2,
            "properties": {
                "never": false,
                "code": {"enum": many, "description": "Code"},
                "bare": {"type": "string", "description": " "},
                "free": {"description": "Anything"},
                "grid": {"type": "array", "description": "Cells", "items": {"type": "array"}},
            },
            "additionalProperties": false,
        });
        assert_eq!(
            topics(&schema),
            [
                ("/required/0".into(), Topic::ContradictoryRequired),
                ("/required/1".into(), Topic::ContradictoryRequired),
                ("/maxProperties".into(), Topic::ContradictoryRequired),
                ("/properties/code/enum".into(), Topic::LargeEnum),
                ("/properties/bare".into(), Topic::MissingDescription),
                ("/properties/free".into(), Topic::Untyped),
                ("/properties/grid/items".into(), Topic::ArrayOfArrays),
            ]
        );
    }

    #[test]
    fn definitions_are_looked_at_once_and_depth_is_counted_in_properties() {
        let mut deep = json!({"type": "string", "description": "Down here"});
        for _ in 0..DEEP {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        let schema = json!({
            "properties": {"one": {"$ref": "#/$defs/it"}, "two": {"$ref": "#/$defs/it"}, "deep": deep},
            "$defs": {"it": {"properties": {"bare": {"type": "integer"}}}},
        });
        let down = "/properties/a".repeat(DEEP);
        assert_eq!(
            topics(&schema),
            [
                (format!("/properties/deep{down}"), Topic::DeepNesting),
                (
                    "/$defs/it/properties/bare".into(),
                    Topic::MissingDescription
                ),
            ]
        );
    }

    #[test]
    fn what_is_shown_is_bounded_and_the_rest_is_counted() {
        let properties: Map<_, _> = (0..200)
            .map(|number| (format!("f{number}"), json!({"type": "string"})))
            .collect();
        let advised = advise(&json!({"properties": properties}));
        assert_eq!((advised.shown.len(), advised.total), (MAX_SHOWN, 200));
    }
}
