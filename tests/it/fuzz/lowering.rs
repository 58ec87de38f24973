use rivulet::domain::merge;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::schema;
use rivulet::provider::lower::{PROFILES, lower};
use serde_json::{Map, Value};

use super::{once_in, pick, run, subject};
use crate::support::dice::Dice;

/// Whether any node of a schema has a property of that name.
fn declares(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            let is_here = key == "properties" && value.get(name).is_some();
            is_here || declares(value, name)
        }),
        Value::Array(items) => items.iter().any(|item| declares(item, name)),
        _ => false,
    }
}

/// The value that came back, with what it lacks: members that no schema names.
fn same(schema: &Value, there: &Value, back: &Value) -> bool {
    match (there, back) {
        (Value::Object(there), Value::Object(back)) => {
            back.keys().all(|key| there.contains_key(key))
                && there.iter().all(|(key, value)| match back.get(key) {
                    Some(other) => same(schema, value, other),
                    None => !declares(schema, key),
                })
        }
        (Value::Array(there), Value::Array(back)) => {
            let mut pairs = there.iter().zip(back);
            there.len() == back.len() && pairs.all(|(there, back)| same(schema, there, back))
        }
        (there, back) => there == back,
    }
}

fn case(dice: &mut Dice) {
    let (schema, instances, named) = subject(dice, 2);
    let Ok(validator) = schema::accept(&schema) else {
        return;
    };
    let plan = Plan::of(&schema, SplitterConfigs::default());
    let all: Vec<usize> = (0..plan.subtrees.len()).collect();
    let profile = *pick(dice, &PROFILES);
    let lowered = lower(&plan, &all, profile, once_in(dice, 2));
    let sent = jsonschema::options().offline().build(lowered.answers());
    let sent = sent.unwrap_or_else(|error| panic!("{} {schema}: {error}", profile.name));
    let numbered = instances.iter().enumerate();
    for (at, instance) in numbered.filter(|(_, value)| validator.is_valid(value)) {
        let mut answer = Map::new();
        for (index, part) in merge::split(&plan, instance).into_iter().enumerate() {
            let Some(part) = part else { continue };
            let laid = lowered.lay(index, &part).unwrap();
            let raised = lowered.raise(index, laid.clone()).unwrap();
            // What is made up beside the schema may be named elsewhere in it.
            let of = match at < named {
                true => &plan.subtrees[index].schema,
                false => &Value::Null,
            };
            assert!(
                same(of, &part, &raised.value),
                "{}: {of}\n{part}\nwas laid out as {laid}\nand came back as {}",
                profile.name,
                raised.value
            );
            answer.insert(lowered.member_of(index), laid);
        }
        // What the schema does not name is not asked for, and is laid out all the same.
        if at >= named {
            continue;
        }
        let answer = Value::Object(answer);
        let mut errors = sent.iter_errors(&answer);
        // Subtrees that the instance has nothing for are missing at the root.
        let inside = errors.find(|error| !error.instance_path().as_str().is_empty());
        if let Some(error) = inside {
            panic!(
                "{}: {error} at {}\n{schema}\n{instance}\n{answer}\nunder {}",
                profile.name,
                error.instance_path(),
                lowered.answers()
            );
        }
    }
}

#[test]
fn lowering() {
    run("lowering", 120, case);
}
