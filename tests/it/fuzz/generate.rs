//! Schemas made up.

use serde_json::{Map, Value, json};

use super::{once_in, pick};
use crate::support::dice::Dice;

/// Names that people use, and those that look like something else.
pub const NAMES: [&str; 18] = [
    "name",
    "kind",
    "total",
    "lines",
    "items",
    "type",
    "$ref",
    "properties",
    "a/b",
    "m~n",
    "0",
    "",
    "é",
    "%41",
    "seller",
    "buyer",
    "rows",
    "id",
];
const DIALECTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];
/// Definitions of a made-up schema, which its references lead to.
const DEFINED: u64 = 4;

pub fn schema(dice: &mut Dice) -> Value {
    let mut root = if once_in(dice, 12) {
        node(dice, 3)
    } else {
        object(dice, 4)
    };
    if let Value::Object(members) = &mut root {
        let definitions: Map<String, Value> = (0..DEFINED)
            .map(|at| (format!("d{at}"), node(dice, 3)))
            .collect();
        members.insert("$defs".into(), Value::Object(definitions));
        if once_in(dice, 4) {
            members.insert("$schema".into(), json!(pick(dice, &DIALECTS)));
        }
        if once_in(dice, 8) {
            members.insert("$id".into(), json!("https://example.com/root"));
        }
    }
    root
}

/// A schema of anything.
pub fn node(dice: &mut Dice, depth: u64) -> Value {
    let mut made = match dice.roll(if depth == 0 { 6 } else { 16 }) {
        0 => json!({"type": "string", "maxLength": dice.roll(30)}),
        1 => json!({"type": ["number", "null"], "minimum": dice.roll(5)}),
        2 => json!({"enum": [1, "a", null, [2]]}),
        3 => json!({"const": pick(dice, &NAMES)}),
        4 => json!({"type": pick(dice, &["integer", "boolean", "string", "null"])}),
        5 => pick(
            dice,
            &[
                json!(true),
                json!({}),
                json!({"type": "string", "format": "date"}),
            ],
        )
        .clone(),
        6..=9 => object(dice, depth - 1),
        10 => json!({"type": "array", "items": object(dice, depth - 1)}),
        11 => {
            json!({"type": "array", "items": node(dice, depth - 1), "uniqueItems": once_in(dice, 2)})
        }
        12 => {
            json!({"type": "array", "prefixItems": [node(dice, depth - 1), node(dice, depth - 1)], "items": once_in(dice, 2)})
        }
        13 => reference(dice),
        14 => union(dice, depth - 1),
        _ => {
            let keyword = *pick(dice, &["anyOf", "oneOf", "allOf"]);
            json!({keyword: [node(dice, depth - 1), node(dice, depth - 1)]})
        }
    };
    if let Value::Object(members) = &mut made {
        if once_in(dice, 4) {
            members.insert("description".into(), json!("What it says."));
        }
        if once_in(dice, 12) {
            made = json!({"anyOf": [made, {"type": "null"}]});
        }
    }
    made
}

fn reference(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => json!({"$ref": "#"}),
        1 => json!({"$ref": format!("#/$defs/d{}", dice.roll(DEFINED)), "description": "More."}),
        _ => json!({"$ref": format!("#/$defs/d{}", dice.roll(DEFINED))}),
    }
}

fn object(dice: &mut Dice, depth: u64) -> Value {
    let mut properties = Map::new();
    for _ in 0..dice.roll(7) {
        properties.insert(
            (*pick(dice, &NAMES)).into(),
            node(dice, depth.saturating_sub(1)),
        );
    }
    let names: Vec<String> = properties.keys().cloned().collect();
    let some = |dice: &mut Dice| -> Vec<String> {
        names.iter().filter(|_| once_in(dice, 2)).cloned().collect()
    };
    let mut schema = json!({"type": "object", "properties": properties});
    if once_in(dice, 2) {
        schema["required"] = json!(some(dice));
    }
    for _ in 0..dice.roll(3) {
        let part = |dice: &mut Dice| json!({"required": some(dice)});
        match dice.roll(14) {
            0 => schema["additionalProperties"] = json!(false),
            1 => schema["additionalProperties"] = node(dice, 0),
            2 => schema["patternProperties"] = json!({"^[a-l]": node(dice, 0)}),
            3 => schema["minProperties"] = json!(dice.roll(3)),
            4 => schema["maxProperties"] = json!(3 + dice.roll(5)),
            5 => schema["dependentRequired"] = json!({*pick(dice, &NAMES): some(dice)}),
            6 => schema["dependentSchemas"] = json!({*pick(dice, &NAMES): object(dice, 0)}),
            7 => schema["not"] = part(dice),
            8 => schema["anyOf"] = json!([part(dice), object(dice, 0)]),
            9 => {
                schema["if"] = part(dice);
                schema["then"] = object(dice, 0);
                schema["else"] = part(dice);
            }
            10 => schema["allOf"] = json!([object(dice, depth.saturating_sub(1)), part(dice)]),
            11 => schema["propertyNames"] = json!({"maxLength": 10}),
            12 => schema["unevaluatedProperties"] = json!(once_in(dice, 2)),
            _ => schema["type"] = json!(["object", "null"]),
        }
    }
    schema
}

/// Objects told apart by one of their members.
fn union(dice: &mut Dice, depth: u64) -> Value {
    let is_closed = once_in(dice, 2);
    let mut branches = Vec::new();
    for at in 0..2 + dice.roll(3) {
        let mut branch = object(dice, depth);
        branch["properties"]["kind"] = if once_in(dice, 3) {
            json!({"enum": [format!("k{at}")]})
        } else {
            json!({"const": format!("k{at}")})
        };
        if once_in(dice, 2) {
            branch["properties"]["rows"] = json!({"type": "array", "items": {"type": "object", "properties": {"x": node(dice, 0)}}});
        }
        if is_closed {
            branch["additionalProperties"] = json!(false);
        }
        if !once_in(dice, 3) {
            branch["required"] = json!(["kind"]);
        }
        branches.push(branch);
    }
    if once_in(dice, 6) {
        branches.push(json!({"type": "null"}));
    }
    let keyword = *pick(dice, &["oneOf", "anyOf"]);
    json!({keyword: branches, "discriminator": {"propertyName": "kind"}})
}
