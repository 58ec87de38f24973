//! Values that a schema probably takes.

use rivulet::domain::schema::follow;
use serde_json::{Map, Value, json};

use super::{once_in, pick};
use crate::support::dice::Dice;

/// Levels after which only what is small is made.
const DEEPEST: u64 = 12;

pub fn of(dice: &mut Dice, schema: &Value) -> Value {
    made(dice, schema, schema, 0)
}

fn made(dice: &mut Dice, root: &Value, node: &Value, depth: u64) -> Value {
    let Value::Object(members) = node else {
        return pick(dice, &[json!(null), json!(1.5), json!({"free": [1]})]).clone();
    };
    if depth > DEEPEST {
        return Value::Null;
    }
    if let Some(value) = members.get("const") {
        return value.clone();
    }
    if let Some(Value::Array(values)) = members.get("enum")
        && !values.is_empty()
    {
        return pick(dice, values).clone();
    }
    let target = members.get("$ref").and_then(Value::as_str);
    if let Some(target) = target.and_then(|reference| follow(root, reference)) {
        return made(dice, root, target, depth + 1);
    }
    let mut value = by_type(dice, root, members, depth);
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let Some(Value::Array(parts)) = members.get(keyword) else {
            continue;
        };
        if parts.is_empty() {
            continue;
        }
        let chosen = if keyword == "allOf" {
            parts.iter().collect()
        } else {
            vec![pick(dice, parts)]
        };
        for part in chosen {
            let part = made(dice, root, part, depth + 1);
            match (&mut value, part) {
                (Value::Object(here), Value::Object(more)) => here.extend(more),
                (here, part) => *here = part,
            }
        }
    }
    value
}

fn by_type(dice: &mut Dice, root: &Value, members: &Map<String, Value>, depth: u64) -> Value {
    let name = match members.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) if !names.is_empty() => {
            pick(dice, names).as_str().unwrap_or("null")
        }
        _ if members.contains_key("items") => "array",
        _ => "object",
    };
    let least = |keyword: &str| members.get(keyword).and_then(Value::as_u64).unwrap_or(0);
    match name {
        "string" => match members.get("format").and_then(Value::as_str) {
            Some("date") => json!("2024-02-29"),
            _ => json!(
                "abcdefgh".repeat(1 + least("minLength") as usize / 8)
                    [..least("minLength").min(800) as usize + dice.roll(1) as usize]
            ),
        },
        "integer" => json!(least("minimum") + dice.roll(3)),
        "number" => json!(least("minimum") as f64 + 0.5),
        "boolean" => json!(once_in(dice, 2)),
        "null" => Value::Null,
        "array" => array(dice, root, members, depth),
        _ => object(dice, root, members, depth),
    }
}

fn array(dice: &mut Dice, root: &Value, members: &Map<String, Value>, depth: u64) -> Value {
    let mut items = Vec::new();
    let first = members.get("prefixItems").or_else(|| members.get("items"));
    for item in first.and_then(Value::as_array).into_iter().flatten() {
        items.push(made(dice, root, item, depth + 1));
    }
    let least = members.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    if let Some(item @ Value::Object(_)) = members.get("items") {
        for _ in 0..least.min(20) + dice.roll(3) {
            items.push(made(dice, root, item, depth + 1));
        }
    }
    Value::Array(items)
}

fn object(dice: &mut Dice, root: &Value, members: &Map<String, Value>, depth: u64) -> Value {
    let required: Vec<&str> = members
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut value = Map::new();
    let properties = members.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let is_wanted = required.contains(&name.as_str()) || !once_in(dice, 3);
        if is_wanted && (depth < DEEPEST / 2 || required.contains(&name.as_str())) {
            value.insert(name.clone(), made(dice, root, property, depth + 1));
        }
    }
    for name in required {
        value.entry(name).or_insert_with(|| json!("there"));
    }
    Value::Object(value)
}
