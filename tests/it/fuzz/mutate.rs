//! Schemas and values changed at one place.

use serde_json::{Map, Value, json};

use super::{generate, once_in, pick};
use crate::support::dice::Dice;

const KEYWORDS: [&str; 34] = [
    "type",
    "properties",
    "required",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "enum",
    "const",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "definitions",
    "$id",
    "id",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$schema",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "minProperties",
    "dependentSchemas",
    "dependencies",
    "pattern",
    "minItems",
];

/// A place in a value, chosen on the way down.
fn somewhere<'v>(dice: &mut Dice, value: &'v mut Value) -> &'v mut Value {
    let count = match &*value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if count == 0 || once_in(dice, 5) {
        return value;
    }
    let at = dice.roll(count as u64) as usize;
    let inner = match value {
        Value::Object(members) => members.values_mut().nth(at),
        Value::Array(items) => items.get_mut(at),
        _ => None,
    };
    somewhere(dice, inner.unwrap())
}

pub fn schema(dice: &mut Dice, root: &mut Value) {
    let copy = somewhere(dice, &mut root.clone()).clone();
    let at = somewhere(dice, root);
    match dice.roll(12) {
        0 => *at = copy,
        1 => *at = generate::node(dice, 2),
        2 => *at = json!({"allOf": [at.take(), copy]}),
        3 => *at = json!({"anyOf": [at.take(), copy]}),
        4 => *at = json!([at.take()]),
        5 => {
            *at = json!({"$ref": pick(dice, &["#", "#/$defs/d0", "#/properties", "#top", "other.json", "#/definitions/x"])})
        }
        6 => {
            *at = pick(
                dice,
                &[
                    json!(null),
                    json!(-1),
                    json!(1e300),
                    json!(""),
                    json!({}),
                    json!([]),
                    json!("object"),
                    json!("(a+)+$"),
                ],
            )
            .clone()
        }
        7 => nest(dice, at),
        _ => member(dice, at, copy),
    }
}

/// The same, many times around itself.
fn nest(dice: &mut Dice, at: &mut Value) {
    let keyword = *pick(dice, &["items", "not", "additionalProperties", "contains"]);
    for _ in 0..dice.roll(150) {
        *at = json!({keyword: at.take()});
    }
}

fn member(dice: &mut Dice, at: &mut Value, copy: Value) {
    match at {
        Value::Object(members) if members.is_empty() || once_in(dice, 2) => {
            members.insert((*pick(dice, &KEYWORDS)).into(), copy);
        }
        Value::Object(members) => {
            let index = dice.roll(members.len() as u64) as usize;
            let key = members.keys().nth(index).unwrap().clone();
            let taken = members.shift_remove(&key).unwrap();
            if once_in(dice, 2) {
                members.insert((*pick(dice, &KEYWORDS)).into(), taken);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = dice.roll(items.len() as u64) as usize;
            let taken = items.remove(index);
            if once_in(dice, 2) {
                items.extend([taken, copy]);
            }
        }
        _ => *at = copy,
    }
}

/// A little less, more, or something else.
pub fn value(dice: &mut Dice, root: &mut Value) {
    let at = somewhere(dice, root);
    match (dice.roll(4), &mut *at) {
        (0, Value::Object(members)) => {
            let names: Vec<String> = members.keys().cloned().collect();
            if !names.is_empty() {
                members.shift_remove(pick(dice, &names));
            }
        }
        (1, Value::Object(members)) => {
            members.insert((*pick(dice, &generate::NAMES)).into(), json!("more"));
        }
        (0 | 1, Value::Array(items)) => {
            let copies: Vec<Value> = items.iter().take(2).cloned().collect();
            items.extend(copies);
        }
        (2, _) => *at = Value::Null,
        _ => {
            *at = pick(
                dice,
                &[
                    json!({}),
                    json!([]),
                    json!(""),
                    json!(-0.0),
                    json!(u64::MAX),
                    json!(Map::new()),
                ],
            )
            .clone()
        }
    }
}
