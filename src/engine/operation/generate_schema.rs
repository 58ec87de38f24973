//! A JSON Schema from documents. What is generated is what this server accepts.

use serde_json::{Value, json};

use super::failed;
use crate::domain::error::Fault;
use crate::domain::outline::Outline;
use crate::domain::schema::accept;
use crate::domain::schema::propose::{Form, Property, name_of, properties, schema};
use crate::engine::ports::CallError;

/// Objects inside one another that a model may name. With more of them a provider is asked in
/// another form, since it takes only so many places that may be null.
const DEPTH: usize = 2;
const SCALARS: [&str; 5] = ["text", "date", "integer", "number", "boolean"];
const NESTING: [&str; 3] = ["list_of_texts", "object", "list_of_objects"];

pub(super) fn question() -> Value {
    json!({
        "type": "object",
        "title": "What could be extracted from documents like this",
        "description": "Name each field that documents of this kind have, not the values of this one: no value of the document may stand in a name or a description.",
        "properties": {
            "title": {"type": ["string", "null"], "description": "What documents of this kind are called, such as `Invoice`"},
            "fields": {"type": "array", "items": field(DEPTH), "description": "All fields, in the order of the document"}
        },
        "required": ["title", "fields"]
    })
}

fn field(depth: usize) -> Value {
    let types: Vec<&str> = SCALARS
        .into_iter()
        .chain(NESTING.into_iter().filter(|_| depth > 0))
        .collect();
    let mut field = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Lower case with underscores, in English"},
            "description": {"type": ["string", "null"], "description": "What the field means, and where it stands"},
            "type": {"type": "string", "enum": types},
            "required": {"type": "boolean", "description": "Whether every document of this kind has it"}
        },
        "required": ["name", "description", "type", "required"]
    });
    if depth > 0 {
        field["properties"]["children"] = json!({
            "type": "array",
            "items": self::field(depth - 1),
            "description": "The fields of an `object`, or of each row of a `list_of_objects`; else empty"
        });
    }
    field
}

/// From labels and tables.
pub(super) fn shown(outlines: &[Outline]) -> Result<Value, CallError> {
    let found = properties(outlines);
    if found.is_empty() {
        return Err(failed(
            Fault::DocumentUnreadable,
            "No labelled values and no tables were found to make a schema of. Name a model that reads the document, or write the schema by hand.",
        ));
    }
    accepted(None, &found)
}

/// From a model's list of fields.
pub(super) fn answered(value: &Value) -> Result<Value, CallError> {
    let fields = listed(&value["fields"]);
    if fields.is_empty() {
        return Err(failed(
            Fault::ValidationFailed,
            "The model's answer names no field.",
        ));
    }
    let title = value["title"].as_str().map(str::trim);
    accepted(title.filter(|title| !title.is_empty()), &fields)
}

fn accepted(title: Option<&str>, properties: &[Property]) -> Result<Value, CallError> {
    let schema = schema(title, properties);
    if let Err(refused) = accept(&schema) {
        let message = format!("The schema would not be accepted here: {}", refused.detail);
        return Err(failed(Fault::ValidationFailed, &message));
    }
    Ok(json!({ "json_schema": schema }))
}

fn listed(fields: &Value) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    for field in fields.as_array().into_iter().flatten() {
        let name = name_of(field["name"].as_str().unwrap_or_default());
        if name.is_empty() || all.iter().any(|known| known.name == name) {
            continue;
        }
        let description = field["description"].as_str().map(str::trim);
        all.push(Property {
            name,
            description: description
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            form: form(field),
            required: field["required"] == json!(true),
        });
    }
    all
}

fn form(field: &Value) -> Form {
    let children = listed(&field["children"]);
    match field["type"].as_str() {
        Some("date") => Form::Date,
        Some("integer") => Form::Integer,
        Some("number") => Form::Number,
        Some("boolean") => Form::Boolean,
        Some("list_of_texts") => Form::Texts,
        // Without fields of its own a row is a text.
        Some("list_of_objects") if children.is_empty() => Form::Texts,
        Some("list_of_objects") => Form::Rows(children),
        Some("object") if !children.is_empty() => Form::Object(children),
        _ => Form::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_fields_becomes_a_schema_that_is_accepted() {
        let field = |name: &str, kind: &str, children: Value| json!({"name": name, "description": "d", "type": kind, "required": true, "children": children});
        let answer = json!({"title": "Invoice", "fields": [
            field("Invoice Number", "text", json!([])),
            field("issued", "date", json!([])),
            field("issued", "text", json!([])),
            field("lines", "list_of_objects", json!([field("net", "number", json!([]))])),
            field("empty", "list_of_objects", json!([])),
            field("--", "text", json!([])),
        ]});
        let schema = &answered(&answer).unwrap()["json_schema"];
        let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["invoice_number", "issued", "lines", "empty"]);
        assert_eq!(schema["properties"]["issued"]["format"], "date");
        let line = &schema["properties"]["lines"]["items"];
        assert_eq!(line["properties"]["net"]["type"], "number");
        assert_eq!(schema["title"], "Invoice");
        assert!(answered(&json!({"fields": []})).is_err());
        assert!(shown(&[]).is_err());
    }
}
