use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;
use crate::domain::config::SplitterConfigs;
use crate::domain::{merge, schema as domain_schema};

struct Case {
    name: String,
    schema: Value,
    valid: Vec<Value>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schemas");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let mut case: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            schema: case["schema"].take(),
            valid: case["valid"].as_array().unwrap().clone(),
        }
    };
    let accepted = |case: &Case| domain_schema::accept(&case.schema).is_ok();
    files.into_iter().map(read).filter(accepted).collect()
}

/// Places where the value that came back differs, and whether it only lacks members there.
fn differences(there: &Value, back: &Value, at: &str, found: &mut Vec<(String, bool)>) {
    match (there, back) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => differences(value, other, &format!("{at}/{key}"), found),
                    None => found.push((format!("{at}/{key}"), true)),
                }
            }
            for key in b.keys().filter(|key| !a.contains_key(*key)) {
                found.push((format!("{at}/{key}"), false));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{at}/{index}"), found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push((at.to_owned(), false)),
    }
}

#[test]
fn every_real_instance_comes_back_through_every_profile() {
    let (mut trips, mut exact, mut wrong, mut lacking, mut invalid) =
        (0, 0, vec![], vec![], vec![]);
    for case in cases() {
        let plan = Plan::of(&case.schema, SplitterConfigs::default());
        let all: Vec<usize> = (0..plan.subtrees.len()).collect();
        for (profile, quotes) in PROFILES.into_iter().zip([true, false].into_iter().cycle()) {
            let lowered = lower(&plan, &all, profile, quotes);
            let validator = jsonschema::options()
                .offline()
                .build(lowered.answers())
                .unwrap();
            for instance in &case.valid {
                let parts = merge::split(&plan, instance);
                let mut answer = Map::new();
                for (index, part) in parts.iter().enumerate() {
                    let Some(part) = part else { continue };
                    trips += 1;
                    let laid = lowered.lay(index, part).unwrap();
                    let raised = lowered.raise(index, laid.clone()).unwrap();
                    answer.insert(member(index), laid);
                    let mut found = Vec::new();
                    differences(part, &raised.value, "", &mut found);
                    exact += usize::from(found.is_empty());
                    for (at, lacks) in found {
                        let line = format!(
                            "{} {} {}: {at}",
                            profile.name, case.name, plan.subtrees[index].id
                        );
                        if lacks {
                            lacking.push(line)
                        } else {
                            wrong.push(line)
                        }
                    }
                }
                let missing = |error: &jsonschema::ValidationError<'_>| {
                    error.instance_path().to_string().is_empty()
                };
                let answer = Value::Object(answer);
                if let Some(error) = validator.iter_errors(&answer).find(|error| !missing(error)) {
                    invalid.push(format!(
                        "{} {} {}: {}",
                        profile.name,
                        case.name,
                        error.instance_path(),
                        error.to_string().chars().take(200).collect::<String>()
                    ));
                }
            }
        }
    }
    eprintln!(
        "trips {trips} exact {exact} wrong {} lacking {} invalid {}",
        wrong.len(),
        lacking.len(),
        invalid.len()
    );
    for line in wrong.iter().take(15).chain(invalid.iter().take(25)) {
        eprintln!("{line}");
    }
    lacking.sort();
    lacking.dedup();
    for line in lacking.iter().filter(|l| l.starts_with("openai")).take(60) {
        eprintln!("lacks {line}");
    }
    assert!(wrong.is_empty() && invalid.is_empty());
}
