//! Objects and arrays, with what stands in for those that a provider cannot say.

use serde_json::{Map, Value, json};

use super::super::code::{ArrayCode, Code, FieldCode, ObjectCode, OthersCode};
use super::super::form::{Array, Field, Object, Others, Term};
use super::{Ask, Emitter, schema_of};
use crate::domain::pointer::Pointer;

impl<'a> Emitter<'_, 'a> {
    pub(super) fn object(
        &mut self,
        object: &Object<'a>,
        beside_array: bool,
        depth: usize,
        at: &Pointer,
    ) -> (Value, ObjectCode) {
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth);
        let profile = self.sheet.profile;
        let mut taken: Vec<String> = Vec::new();
        let others = match &object.others {
            Others::Asked(term) => Some(term.clone()),
            Others::Open if object.is_free() => Some(Term::of(&Value::Bool(true))),
            Others::Open | Others::Closed => None,
        };
        let wanted = object.wanted();
        if wanted.is_empty()
            && !beside_array
            && !profile.is_free
            && let Some(term) = &others
        {
            let (schema, inner) = self.pairs(term, depth, at);
            let code = ObjectCode {
                fields: Vec::new(),
                others: OthersCode::Alone(inner),
                omitted: None,
            };
            return (schema, code);
        }
        self.note_members(object, wanted.len(), at);
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut fields = Vec::new();
        for Field { key, term, .. } in &wanted {
            let is_required = object.required.contains(key);
            let (schema, field) = self.field(key, term, is_required, &taken, depth, at);
            taken.push(field.name.clone());
            if field.is_asked {
                required.push(Value::String(field.name.clone()));
            }
            properties.insert(field.name.clone(), schema);
            fields.push(field);
        }
        let mut own = ObjectCode {
            omitted: None,
            others: OthersCode::Dropped,
            fields,
        };
        let mut additional = Value::Bool(false);
        if let Some(term) = &others {
            let is_renamed = own.fields.iter().any(|field| field.name != field.key);
            if profile.is_free && !is_renamed {
                let (schema, inner) = self.place(term, inside(depth), &at.join("*"));
                additional = schema;
                own.others = OthersCode::Beside(inner);
            } else {
                let name = profile.name_of("additional", &taken);
                taken.push(name.clone());
                let (schema, inner) = self.pairs(term, depth + 1, at);
                properties.insert(name.clone(), schema);
                required.push(Value::String(name.clone()));
                own.others = OthersCode::Under(name, inner);
            }
        }
        let may_omit = |field: &FieldCode| field.is_asked && field.takes_null && !field.is_required;
        if own.fields.iter().any(may_omit) {
            let name = profile.name_of("omitted", &taken);
            properties.insert(name.clone(), omitted());
            required.push(Value::String(name.clone()));
            own.omitted = Some(name);
        }
        (self.closed(properties, required, additional), own)
    }

    fn note_members(&mut self, object: &Object<'a>, wanted: usize, at: &Pointer) {
        if wanted > object.fields.len() {
            self.note(
                at,
                "members that are required and nowhere declared are asked for as whatever may stand there",
            );
        }
        if object.others == Others::Open && !object.fields.is_empty() {
            self.note(
                at,
                "members that the schema does not name are not asked for",
            );
        }
        if object.fields.iter().any(|field| field.is_hint) {
            self.note(
                at,
                "members that only some alternatives name, or a condition, are asked for as they are named there",
            );
        }
    }

    fn closed(
        &mut self,
        properties: Map<String, Value>,
        required: Vec<Value>,
        additional: Value,
    ) -> Value {
        let figures = &mut self.sheet.figures;
        figures.properties += properties.len();
        figures.optional += properties.len().saturating_sub(required.len());
        figures.text += properties.keys().map(String::len).sum::<usize>();
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        if self.sheet.profile.says_order {
            let order: Vec<&String> = properties.keys().collect();
            schema.insert("propertyOrdering".into(), json!(order));
        }
        schema.insert("properties".into(), Value::Object(properties));
        schema.insert("required".into(), Value::Array(required));
        schema.insert("additionalProperties".into(), additional);
        Value::Object(schema)
    }

    fn field(
        &mut self,
        key: &str,
        term: &Term<'a>,
        is_required: bool,
        taken: &[String],
        depth: usize,
        at: &Pointer,
    ) -> (Value, FieldCode) {
        let profile = self.sheet.profile;
        let place = at.join(key);
        let name = profile.name_of(key, taken);
        if name != key {
            self.note(&place, format!("is called `{name}`"));
        }
        let form = self.form_of(term);
        let is_leaf = !form.has_container() || form.has_scalar();
        let ask = Ask {
            may_miss: is_leaf || !is_required,
            depth: depth + 1,
        };
        let takes_null = match &form.values {
            Some(values) => form.null && values.contains(&Value::Null),
            None => form.null,
        };
        let (schema, code) = self.place(term, ask, &place);
        let field = FieldCode {
            key: key.to_owned(),
            name,
            code,
            is_required,
            takes_null,
            // Where a missing member can be said by leaving it out, it is.
            is_asked: is_required || !takes_null || profile.all_required,
        };
        (schema, field)
    }

    /// Members of any name as a list of pairs.
    fn pairs(&mut self, term: &Term<'a>, depth: usize, at: &Pointer) -> (Value, Code) {
        self.note(
            at,
            "members of any name are asked for as pairs of key and value",
        );
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth + 1);
        let (value, code) = self.place(term, inside(depth + 1), &at.join("*"));
        let properties = Map::from_iter([
            ("key".to_owned(), json!({"type": "string"})),
            ("value".to_owned(), value),
        ]);
        let required = vec!["key".into(), "value".into()];
        let pair = self.closed(properties, required, Value::Bool(false));
        (schema_of([("type", "array".into()), ("items", pair)]), code)
    }

    pub(super) fn array(
        &mut self,
        array: &Array<'a>,
        depth: usize,
        at: &Pointer,
    ) -> (Value, ArrayCode) {
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth);
        let anything = Term::of(&Value::Bool(true));
        if array.first.is_empty() {
            let term = array.items.clone().unwrap_or(anything);
            let (items, code) = self.place(&term, inside(depth), &at.join("*"));
            return (
                schema_of([("type", "array".into()), ("items", items)]),
                ArrayCode::List(code),
            );
        }
        if self.sheet.profile.is_free {
            return self.by_position(array, depth, at);
        }
        self.note(
            at,
            "items by position are asked for as an object with numbered members",
        );
        let mut properties = Map::new();
        let mut first = Vec::new();
        for (index, term) in array.first.iter().enumerate() {
            let name = format!("item_{}", index + 1);
            let ask = Ask {
                may_miss: true,
                depth: depth + 1,
            };
            let (schema, code) = self.place(term, ask, &at.index(index));
            properties.insert(name.clone(), schema);
            first.push((name, code));
        }
        let mut more = None;
        if !array.is_closed {
            let term = array.items.clone().unwrap_or(anything);
            let (items, code) = self.place(&term, inside(depth + 1), &at.join("*"));
            properties.insert(
                "more".into(),
                schema_of([("type", "array".into()), ("items", items)]),
            );
            more = Some(("more".to_owned(), code));
        }
        let says = "How many items there are in all.";
        properties.insert(
            "count".into(),
            json!({"type": "integer", "description": says}),
        );
        let required = properties.keys().map(|name| name.as_str().into()).collect();
        let schema = self.closed(properties, required, Value::Bool(false));
        let count = "count".to_owned();
        (schema, ArrayCode::Numbered { first, more, count })
    }

    /// The text alone may say what stands at which position.
    fn by_position(&mut self, array: &Array<'a>, depth: usize, at: &Pointer) -> (Value, ArrayCode) {
        let mut schemas = Vec::new();
        let mut first = Vec::new();
        for (index, term) in array.first.iter().enumerate() {
            let ask = Ask {
                may_miss: true,
                depth: depth + 1,
            };
            let (schema, code) = self.place(term, ask, &at.index(index));
            schemas.push(schema);
            first.push(code);
        }
        let mut schema = schema_of([
            ("type", "array".into()),
            ("prefixItems", Value::Array(schemas)),
        ]);
        let mut more = None;
        if array.is_closed {
            schema["items"] = Value::Bool(false);
        } else if let Some(term) = &array.items {
            let (items, code) = self.place(term, inside(depth), &at.join("*"));
            schema["items"] = items;
            more = Some(code);
        }
        (schema, ArrayCode::ByPosition(first, more))
    }
}

/// The list of the members that are not there.
fn omitted() -> Value {
    let says = "Names of the members above that do not stand in the document at all, as against those that it says are empty. Mostly empty.";
    json!({"type": "array", "items": {"type": "string"}, "description": says})
}

/// An item or a value of a pair: it is there, or it is not listed.
fn inside(depth: usize) -> Ask {
    Ask {
        may_miss: false,
        depth: depth + 1,
    }
}
