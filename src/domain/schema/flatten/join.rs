//! Two schemas of the same value as one, keyword by keyword.

use serde_json::{Map, Number, Value, json};

use crate::domain::schema::DESCRIBING;

/// Keywords about the items of an array that mean something only together.
const ITEMS: [&str; 7] = [
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
];
const CONDITION: [&str; 3] = ["if", "then", "else"];
const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// Keywords whose meaning depends on the schema they stand in, or on what led to it.
const ROOTED: [&str; 6] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$schema",
];
/// Levels of properties that two schemas share.
const MAX_LEVELS: usize = 32;

type Members = Map<String, Value>;

/// The schema that takes exactly what both take, `None` where no such schema is certain. What
/// only describes is taken from `one` first.
pub(super) fn join(one: &Members, other: &Members, level: usize) -> Option<Members> {
    let has = |schema: &Members, keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    // What a property's schema leaves over is not what the other leaves over.
    let sees_other = level == 0;
    if level > MAX_LEVELS
        || (!sees_other && has(one, &ROOTED))
        || has(other, &ROOTED)
        || has(one, &["$ref"])
        || (has(one, &ITEMS) && has(other, &ITEMS))
        || (has(one, &CONDITION) && has(other, &CONDITION))
        || (is_bound_apart(one) && has(other, &BOUNDS))
        || (is_bound_apart(other) && has(one, &BOUNDS))
        || !stays_open(one, other)
        || !stays_open(other, one)
    {
        return None;
    }
    let mut whole = one.clone();
    for (key, value) in other {
        let joined = match whole.get(key) {
            None => value.clone(),
            Some(known) if known == value => continue,
            Some(_) if DESCRIBING.contains(&key.as_str()) => continue,
            Some(known) => keyword(key, known, value, level)?,
        };
        whole.insert(key.clone(), joined);
    }
    Some(whole)
}

/// Draft 4 says apart whether a bound is exclusive: of which bound, only its own schema tells.
fn is_bound_apart(schema: &Members) -> bool {
    ["exclusiveMinimum", "exclusiveMaximum"]
        .iter()
        .any(|key| schema.get(*key).is_some_and(Value::is_boolean))
}

/// Whether what `closed` says of all other members says the same beside the properties of `more`.
fn stays_open(closed: &Members, more: &Members) -> bool {
    match closed.get("additionalProperties") {
        None | Some(Value::Bool(true)) => true,
        Some(_) => {
            let names = |schema: &Members| -> Vec<String> {
                let properties = schema.get("properties").and_then(Value::as_object);
                properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .cloned()
                    .collect()
            };
            let known = names(closed);
            !more.contains_key("patternProperties")
                && !more.contains_key("additionalProperties")
                && names(more).iter().all(|name| known.contains(name))
        }
    }
}

/// A keyword that both schemas have, with different values.
fn keyword(key: &str, one: &Value, other: &Value, level: usize) -> Option<Value> {
    match (key, one, other) {
        ("type", one, other) => types(one, other),
        ("properties" | "patternProperties", Value::Object(one), Value::Object(other)) => {
            let mut all = one.clone();
            for (name, schema) in other {
                let joined = match all.get(name) {
                    None => schema.clone(),
                    Some(known) => both(known, schema, level),
                };
                all.insert(name.clone(), joined);
            }
            Some(Value::Object(all))
        }
        ("required", Value::Array(one), Value::Array(other)) => {
            let mut all = one.clone();
            all.extend(other.iter().filter(|name| !one.contains(name)).cloned());
            Some(Value::Array(all))
        }
        ("minimum" | "minLength" | "minItems" | "minProperties", one, other) => {
            greater(one, other).map(|is| if is { one.clone() } else { other.clone() })
        }
        ("maximum" | "maxLength" | "maxItems" | "maxProperties", one, other) => {
            greater(one, other).map(|is| if is { other.clone() } else { one.clone() })
        }
        ("uniqueItems", Value::Bool(one), Value::Bool(other)) => Some(json!(*one || *other)),
        _ => None,
    }
}

/// What a property named by both must be.
fn both(one: &Value, other: &Value, level: usize) -> Value {
    match (one, other) {
        (one, other) if one == other => one.clone(),
        (one, Value::Bool(true)) => one.clone(),
        (Value::Bool(true), other) => other.clone(),
        (Value::Object(members), Value::Object(more)) => join(members, more, level + 1)
            .map_or_else(|| json!({"allOf": [one, other]}), Value::Object),
        _ => json!({"allOf": [one, other]}),
    }
}

/// Types that both allow; `None` where there is none: that is better left as it was written.
fn types(one: &Value, other: &Value) -> Option<Value> {
    let names = |value: &Value| -> Option<Vec<String>> {
        match value {
            Value::String(name) => Some(vec![name.clone()]),
            Value::Array(names) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        }
    };
    let (one, other) = (names(one)?, names(other)?);
    let takes = |names: &[String], name: &str| {
        let is_named = |wanted: &str| names.iter().any(|known| known == wanted);
        is_named(name) || (name == "integer" && is_named("number"))
    };
    let mut common: Vec<&String> = one.iter().filter(|name| takes(&other, name)).collect();
    for name in other.iter().filter(|name| takes(&one, name)) {
        if !common.contains(&name) {
            common.push(name);
        }
    }
    match common.as_slice() {
        [] => None,
        [only] => Some(json!(only)),
        several => Some(json!(several)),
    }
}

/// Whether the first number is the greater, where both are numbers that compare exactly.
fn greater(one: &Value, other: &Value) -> Option<bool> {
    let (Value::Number(one), Value::Number(other)) = (one, other) else {
        return None;
    };
    if let (Some(one), Some(other)) = (one.as_i64(), other.as_i64()) {
        return Some(one > other);
    }
    let exact = |number: &Number| number.as_f64().filter(|number| number.abs() < 1e15);
    Some(exact(one)? > exact(other)?)
}
