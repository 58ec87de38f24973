//! The official test suite of JSON Schema, all drafts: what it calls valid comes apart and
//! together again, whatever keywords the schema has.

use std::collections::BTreeMap;
use std::path::Path;

use rivulet::domain::error::{Code, Error};
use rivulet::domain::plan::Plan;
use rivulet::domain::schema;
use rivulet::domain::shape::{Style, divisible};
use serde_json::{Map, Value, json};

use super::{check, splitters};

/// Drafts and the `$schema` that names each; the tests of the older ones leave it out.
const DRAFTS: [(&str, &str); 5] = [
    ("draft4", "http://json-schema.org/draft-04/schema#"),
    ("draft6", "http://json-schema.org/draft-06/schema#"),
    ("draft7", "http://json-schema.org/draft-07/schema#"),
    (
        "draft2019-09",
        "https://json-schema.org/draft/2019-09/schema",
    ),
    (
        "draft2020-12",
        "https://json-schema.org/draft/2020-12/schema",
    ),
];

struct Case {
    name: String,
    schema: Value,
    valid: Vec<Value>,
    invalid: Vec<Value>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/suite");
    let mut cases = Vec::new();
    for (draft, dialect) in DRAFTS {
        let text = std::fs::read_to_string(folder.join(format!("{draft}.json"))).unwrap();
        let files: Map<String, Value> = serde_json::from_str(&text).unwrap();
        for (file, groups) in &files {
            for group in groups.as_array().unwrap() {
                cases.push(Case {
                    name: format!("{draft}/{file}: {}", group["description"]),
                    schema: with_dialect(&group["schema"], dialect),
                    valid: instances(group, true),
                    invalid: instances(group, false),
                });
            }
        }
    }
    cases
}

fn instances(group: &Value, valid: bool) -> Vec<Value> {
    let tests = group["tests"].as_array().unwrap().iter();
    let of_kind = tests.filter(|test| test["valid"] == valid);
    of_kind.map(|test| test["data"].clone()).collect()
}

fn with_dialect(schema: &Value, dialect: &str) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.entry("$schema").or_insert_with(|| json!(dialect));
    }
    schema
}

/// What a refusal says was wrong.
fn cause(error: &Error) -> &'static str {
    let message = &error.errors[0].message;
    let causes = [
        ("lies outside the schema", "remote"),
        ("is not a dialect", "dialect"),
        ("leads back to itself", "loop"),
        ("leads nowhere", "nowhere"),
    ];
    let found = causes.iter().find(|(words, _)| message.contains(words));
    found.map_or("other", |(_, cause)| cause)
}

#[derive(Default)]
struct Tally {
    instances: usize,
    divided: usize,
    refused: BTreeMap<&'static str, Vec<String>>,
    /// Instances that the suite calls valid and the validator does not.
    disputed: Vec<String>,
}

impl Tally {
    fn take(&mut self, case: Case) {
        let validator = match schema::accept(&case.schema) {
            Ok(validator) => validator,
            Err(error) => {
                assert_eq!(error.code, Code::InvalidSchema, "{}: {error}", case.name);
                let names = self.refused.entry(cause(&error)).or_default();
                names.push(format!("{}: {}", case.name, error.errors[0].message));
                return;
            }
        };
        let (valid, disputed): (Vec<_>, Vec<_>) = case
            .valid
            .into_iter()
            .partition(|instance| validator.is_valid(instance));
        self.disputed.extend(
            disputed
                .iter()
                .map(|instance| format!("{}: {instance}", case.name)),
        );
        for splitter in splitters() {
            let plan = Plan::of(&case.schema, splitter);
            assert_eq!(
                plan,
                Plan::from_schema(case.schema.clone(), splitter),
                "{}",
                case.name
            );
            self.divided += usize::from(plan.subtrees.len() > 1);
            for instance in &valid {
                self.instances += 1;
                check(&case.name, &plan, instance);
            }
        }
    }
}

#[test]
fn what_the_suite_calls_valid_comes_apart_and_together_again() {
    let mut tally = Tally::default();
    for case in cases() {
        tally.take(case);
    }
    for (cause, names) in &tally.refused {
        println!("{cause}: {}", names.len());
        for name in names {
            println!("    {name}");
        }
    }
    println!("{} instances, {} divided", tally.instances, tally.divided);
    assert_eq!(tally.disputed, Vec::<String>::new());
    // The suite serves these from an address of its own.
    let remote = &tally.refused["remote"];
    assert!(
        remote
            .iter()
            .all(|name| name.contains("http://localhost:1234/")),
        "{remote:#?}"
    );
    assert_eq!((remote.len(), tally.refused["dialect"].len()), (69, 6));
    assert_eq!(tally.refused.len(), 2);
    assert_eq!(tally.instances, 13_437);
}

/// A schema of the suite as one property among others, under a name of its own so that its
/// references stay inside it.
fn wrapped(schema: &Value, dialect: &str) -> Value {
    let (id, drop) = if dialect.contains("draft-04") {
        ("id", "id")
    } else {
        ("$id", "$id")
    };
    let mut part = schema.clone();
    if let Value::Object(members) = &mut part {
        members.shift_remove("$schema");
        if !members.contains_key("$ref") || dialect.contains("draft/20") {
            members
                .entry(drop)
                .or_insert_with(|| json!("https://example.com/part"));
        }
    }
    json!({
        "$schema": dialect,
        id: "https://example.com/whole",
        "type": "object",
        "properties": {
            "number": {"type": "string"},
            "part": part,
            "rows": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "seller": {"type": "object", "properties": {"name": {"type": "string"}, "part": {"$ref": "#/properties/part"}}},
        },
    })
}

#[test]
fn what_the_suite_calls_valid_may_stand_anywhere_in_a_divided_object() {
    let (mut tally, mut whole) = (Tally::default(), Vec::new());
    for case in cases() {
        let dialect = case.schema.get("$schema").and_then(Value::as_str);
        let Some(dialect) =
            dialect.filter(|dialect| DRAFTS.iter().any(|(_, known)| known == dialect))
        else {
            continue;
        };
        let schema = wrapped(&case.schema, dialect);
        if schema::accept(&schema).is_err() {
            continue;
        }
        if Plan::of(&schema, splitters()[0]).subtrees.len() < 2 {
            whole.push(case.name.clone());
        }
        let valid = case.valid.iter().map(|part| {
            json!({"number": "4", "part": part, "rows": [{"x": "a"}, {}], "seller": {"part": part, "name": ""}, "more": 1.0})
        });
        tally.take(Case {
            valid: valid.collect(),
            invalid: Vec::new(),
            name: case.name,
            schema,
        });
    }
    println!(
        "{} instances, {} divided, whole: {whole:#?}",
        tally.instances, tally.divided
    );
    // References whose target depends on the way that led to them.
    let dynamic = |name: &String| {
        [
            "recursiveRef",
            "dynamicRef",
            "$recursiveRef",
            "$dynamicRef",
            "$id and $ref",
        ]
        .iter()
        .any(|words| name.contains(words))
    };
    assert!(whole.iter().all(dynamic) && whole.len() == 20, "{whole:#?}");
    assert_eq!(tally.instances, 13_323);
}

#[test]
fn a_schema_made_divisible_takes_what_it_took_before() {
    let (mut schemas, mut verdicts) = (0, 0);
    for case in cases() {
        let Ok(before) = schema::accept(&case.schema) else {
            continue;
        };
        let Some(divisible) = divisible(&case.schema, &Style::of(&case.schema)) else {
            continue;
        };
        let after = schema::compile(&divisible)
            .unwrap_or_else(|error| panic!("{}: {error}: {divisible}", case.name));
        schemas += 1;
        for instance in case.valid.iter().chain(&case.invalid) {
            verdicts += 1;
            assert_eq!(
                before.is_valid(instance),
                after.is_valid(instance),
                "{}: {instance} under {divisible}",
                case.name
            );
        }
    }
    assert!(schemas > 1_500 && verdicts > 6_000, "{schemas} {verdicts}");
}
