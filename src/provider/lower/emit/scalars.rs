//! Texts, numbers, booleans, listed values and values of any type.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::code::{Code, label};
use super::super::form::{Form, Numeric};
use super::super::words;
use super::{Emitter, describe, schema_of};
use crate::domain::pointer::Pointer;

const STRING: [&str; 4] = ["format", "pattern", "minLength", "maxLength"];
const NUMBER: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
impl<'a> Emitter<'_, 'a> {
    pub(super) fn scalars(
        &mut self,
        form: &Form<'a>,
        words: &mut Vec<String>,
        at: &Pointer,
    ) -> Vec<Value> {
        let mut options = Vec::new();
        if form.string {
            let mut schema = json!({"type": "string"});
            self.bounds(form, &STRING, &mut schema, words, at, true);
            options.push(schema);
        }
        if let Some(number) = form.number {
            let name = match number {
                Numeric::Integer => "integer",
                Numeric::Number => "number",
            };
            let mut schema = json!({ "type": name });
            self.bounds(form, &NUMBER, &mut schema, words, at, true);
            options.push(schema);
        }
        if form.boolean {
            options.push(json!({"type": "boolean"}));
        }
        options
    }

    /// Keywords that the provider takes go into the schema, the others into words.
    pub(super) fn bounds(
        &mut self,
        form: &Form<'a>,
        keywords: &[&str],
        schema: &mut Value,
        words: &mut Vec<String>,
        at: &Pointer,
        may_bind: bool,
    ) {
        for keyword in keywords {
            let Some(value) = form.bounds.get(*keyword) else {
                continue;
            };
            let binds = may_bind || *keyword != "minItems";
            if binds && self.sheet.profile.takes(keyword, value) {
                schema[*keyword] = value.clone();
            } else {
                words.push(words::bound(keyword, value));
                self.note(at, format!("`{keyword}` is said in words"));
            }
        }
    }

    pub(super) fn anything(&mut self, form: &Form<'a>, at: &Pointer) -> (Value, Code) {
        let says = |more: &str| describe(form, vec![more.to_owned()]);
        if self.sheet.profile.is_free {
            let mut schema = json!({});
            let says = describe(form, Vec::new());
            if !says.is_empty() {
                schema["description"] = Value::String(says);
            }
            return (schema, Code::Same);
        }
        self.note(
            at,
            "may be of any type: objects and arrays are asked for as JSON text",
        );
        if self.sheet.as_lists {
            let mut schema = json!({"type": "string"});
            schema["description"] = Value::String(says("Of any type, written as JSON text."));
            return (schema, Code::Text);
        }
        self.sheet.figures.unions += 1;
        let options = ["string", "number", "boolean"];
        let options = options.iter().map(|name| json!({ "type": name })).collect();
        let mut schema = schema_of([("anyOf", Value::Array(options))]);
        schema["description"] = Value::String(says("An object or array is written as JSON text."));
        (schema, Code::Free)
    }

    pub(super) fn values(
        &mut self,
        form: &Form<'a>,
        values: &[Value],
        at: &Pointer,
    ) -> (Value, Code) {
        let labels: Vec<Value> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(label)
            .collect();
        let mut shown = labels.clone();
        let mut seen = HashSet::new();
        shown.retain(|value| seen.insert(value.to_string()));
        let has_containers = values
            .iter()
            .any(|value| value.is_object() || value.is_array());
        let code = if has_containers {
            Code::Labels(values.to_vec())
        } else {
            Code::Same
        };
        let kinds = ["string", "number", "boolean"].map(|name| {
            let of_kind = shown.iter().filter(|value| kind(value) == name);
            (name, of_kind.cloned().collect::<Vec<_>>())
        });
        let chars = text_of(&shown);
        let limits = self.sheet.profile.limits;
        let fits = shown.len() <= limits.enum_values
            && self.sheet.figures.enum_values + shown.len() <= limits.all_enum_values
            && (shown.len() <= 250 || chars <= limits.long_enum_text)
            && self.sheet.figures.text + chars <= limits.text;
        let mut says = Vec::new();
        if fits {
            self.sheet.figures.enum_values += shown.len();
            self.sheet.figures.text += chars;
        } else {
            says.push(words::one_of(&labels));
            self.note(
                at,
                format!("`enum` of {} values is said in words", shown.len()),
            );
        }
        let mut options = Vec::new();
        for (name, all) in kinds.into_iter().filter(|(_, all)| !all.is_empty()) {
            let is_whole = all.iter().all(|value| value.is_i64() || value.is_u64());
            let name = if name == "number" && is_whole {
                "integer"
            } else {
                name
            };
            let mut schema = json!({ "type": name });
            // Not every vendor takes an enum of booleans.
            if name == "boolean" {
                if all.len() == 1 {
                    says.push(format!("Always {}.", all[0]));
                }
            } else if fits {
                schema["enum"] = Value::Array(all);
            }
            options.push(schema);
        }
        let mut schema = match (options.pop(), options.is_empty()) {
            (None, _) => json!({"type": "null"}),
            (Some(only), true) => only,
            (Some(last), false) => {
                options.push(last);
                self.sheet.figures.unions += 1;
                schema_of([("anyOf", Value::Array(options))])
            }
        };
        let says = describe(form, says);
        if !says.is_empty() {
            schema["description"] = Value::String(says);
        }
        (schema, code)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        _ => "",
    }
}

fn text_of(values: &[Value]) -> usize {
    let length = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string().len(), |text| text.chars().count())
    };
    values.iter().map(length).sum()
}
