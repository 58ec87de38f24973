//! The splitter's law over schemas and instances that are made up together.

use proptest::prelude::*;
use rivulet::domain::plan::Plan;
use rivulet::domain::schema;
use serde_json::{Map, Value, json};

use super::{check, splitters};

/// A schema with values that it takes.
#[derive(Debug, Clone)]
struct Pair {
    schema: Value,
    value: Value,
}

fn leaf() -> impl Strategy<Value = Pair> {
    prop_oneof![
        "[a-z ]{0,6}".prop_map(|text| Pair {
            schema: json!({"type": "string", "maxLength": 6}),
            value: json!(text),
        }),
        (-1e9..1e9f64).prop_map(|number| Pair {
            schema: json!({"type": ["number", "null"]}),
            value: json!(number),
        }),
        any::<i64>().prop_map(|number| Pair {
            schema: json!({"enum": [number, null]}),
            value: json!(number),
        }),
        Just(Pair {
            schema: json!({"type": "boolean"}),
            value: json!(true),
        }),
        Just(Pair {
            schema: json!(true),
            value: json!([{"a": null}]),
        }),
    ]
}

/// How an object's schema is written.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Plain,
    Closed,
    Required,
    Counted,
    Dependent,
    InParts,
    OrNull,
    Chosen,
    WithPatterns,
    WithMore,
    Conditional,
}

const MANNERS: [Manner; 11] = [
    Manner::Plain,
    Manner::Closed,
    Manner::Required,
    Manner::Counted,
    Manner::Dependent,
    Manner::InParts,
    Manner::OrNull,
    Manner::Chosen,
    Manner::WithPatterns,
    Manner::WithMore,
    Manner::Conditional,
];

type Members = Vec<(String, Pair, bool)>;

fn object(members: Members, manner: Manner) -> Pair {
    let mut properties = Map::new();
    let mut value = Map::new();
    // From the end, so that the value's order is not the schema's.
    for (name, pair, is_there) in &members {
        properties.insert(name.clone(), pair.schema.clone());
        if *is_there {
            value.shift_insert(0, name.clone(), pair.value.clone());
        }
    }
    let names: Vec<String> = value.keys().cloned().collect();
    let mut schema = json!({"type": "object", "properties": properties});
    match manner {
        Manner::Plain => {}
        Manner::Closed => schema["additionalProperties"] = json!(false),
        Manner::Required => schema["required"] = json!(names),
        Manner::Counted => {
            schema["minProperties"] = json!(names.len());
            schema["maxProperties"] = json!(names.len());
        }
        Manner::Dependent => {
            let all: Map<_, _> = names.iter().map(|n| (n.clone(), json!(names))).collect();
            schema["dependentRequired"] = Value::Object(all);
        }
        Manner::InParts => {
            let half = members.len() / 2;
            let (mut one, mut other) = (Map::new(), Map::new());
            for (index, (name, schema)) in properties.into_iter().enumerate() {
                let part = if index < half { &mut one } else { &mut other };
                part.insert(name, schema);
            }
            schema = json!({"allOf": [
                {"type": "object", "properties": one, "required": names},
                {"properties": other, "title": "More"},
            ]});
        }
        Manner::OrNull => schema = json!({"anyOf": [schema, {"type": "null"}], "title": "Maybe"}),
        Manner::Chosen => {
            schema["anyOf"] = json!([{"required": names}, {"required": ["never"]}]);
        }
        Manner::WithPatterns => {
            schema["patternProperties"] = json!({"^[a-c]": {}, "^x-": {"type": "string"}});
            value.insert("x-1".into(), json!("y"));
        }
        Manner::WithMore => {
            schema["additionalProperties"] = json!({"type": "integer"});
            value.insert("more".into(), json!(1));
        }
        Manner::Conditional => {
            if let Some((name, pair, _)) = members.first() {
                schema["if"] = json!({"required": [name]});
                schema["then"] = json!({"properties": {name: pair.schema}});
                schema["else"] = json!({"properties": {"extra": {"type": "null"}}});
            }
        }
    }
    let value = Value::Object(value);
    Pair { schema, value }
}

fn list(rows: Vec<Pair>) -> Pair {
    let mut distinct: Vec<Value> = Vec::new();
    for row in &rows {
        if !distinct.contains(&row.schema) {
            distinct.push(row.schema.clone());
        }
    }
    let items = match distinct.as_slice() {
        [] => json!({"type": "object", "properties": {"x": {}}}),
        [one] => one.clone(),
        several => json!({"anyOf": several}),
    };
    Pair {
        schema: json!({"type": "array", "items": items, "uniqueItems": false}),
        value: rows.into_iter().map(|row| row.value).collect(),
    }
}

fn pair() -> impl Strategy<Value = Pair> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        let name = "[a-f]{1,2}|/|~|0|\\$ref|type|";
        let members = prop::collection::vec((name, inner.clone(), any::<bool>()), 0..6);
        let distinct = members.prop_map(|mut members: Members| {
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.dedup_by(|a, b| a.0 == b.0);
            members
        });
        prop_oneof![
            4 => (distinct, prop::sample::select(MANNERS.to_vec()))
                .prop_map(|(members, manner)| object(members, manner)),
            1 => prop::collection::vec(inner, 0..3).prop_map(list),
        ]
    })
}

/// The same schema, said by a reference.
fn referred(schema: Value, manner: u8) -> Value {
    match manner {
        0 => schema,
        1 => json!({"$ref": "#/$defs/top", "$defs": {"top": schema}}),
        2 => {
            json!({"$ref": "#top", "title": "T", "$defs": {"x": {"$anchor": "top", "allOf": [schema]}}})
        }
        _ => json!({
            "$id": "https://example.com/a",
            "$ref": "b",
            "minProperties": 0,
            "$defs": {"x": {"$id": "b", "anyOf": [schema]}},
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_schema_takes_comes_apart_and_together_again(pair in pair(), manner in 0..4u8) {
        let schema = referred(pair.schema, manner);
        let validator = schema::accept(&schema).unwrap();
        prop_assert!(validator.is_valid(&pair.value), "{schema} {}", pair.value);
        for splitter in splitters() {
            let plan = Plan::of(&schema, splitter);
            prop_assert_eq!(&plan, &Plan::from_schema(schema.clone(), splitter));
            check(&schema.to_string(), &plan, &pair.value);
        }
    }
}
