use std::collections::HashSet;

use jsonschema::Validator;
use rivulet::domain::merge;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::pointer::Pointer;
use rivulet::domain::schema;
use rivulet::provider::lower::{Lowered, PROFILES, lower};
use serde_json::{Map, Value, json};

use super::{once_in, pick, run, subject};
use crate::support::dice::Dice;

/// A keyword that no draft knows: what has it is told of as an annotation.
const NAMED: &str = "x-named";

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
        // 1 and 1.0 are one to a schema.
        (Value::Number(there), Value::Number(back)) => {
            there == back || there.as_f64() == back.as_f64()
        }
        (there, back) => there == back,
    }
}

/// The schema with a mark on what each member is declared as.
fn marked(schema: &mut Value) {
    let mark = |node: &mut Value, is_free: bool| match node {
        Value::Object(members) if !(is_free && members.is_empty()) => {
            members.insert(NAMED.into(), true.into());
        }
        Value::Bool(true) if !is_free => *node = json!({NAMED: true}),
        _ => {}
    };
    match schema {
        Value::Object(members) => {
            for (keyword, inner) in members {
                match (keyword.as_str(), inner) {
                    ("const" | "enum" | "default" | "examples" | "required", _) => {}
                    ("properties" | "patternProperties", Value::Object(nodes)) => {
                        nodes.values_mut().for_each(|node| {
                            marked(node);
                            mark(node, keyword == "patternProperties");
                        });
                    }
                    ("$defs" | "definitions" | "dependentSchemas", Value::Object(nodes)) => {
                        nodes.values_mut().for_each(marked);
                    }
                    ("additionalProperties" | "unevaluatedProperties", node) => {
                        marked(node);
                        mark(node, true);
                    }
                    (_, inner) => marked(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(marked),
        _ => {}
    }
}

/// The places of an instance that the alternatives declare that it keeps to.
fn named_places(marks: &Validator, instance: &Value) -> HashSet<String> {
    let evaluation = marks.evaluate(instance);
    let annotations = evaluation.iter_annotations();
    let marks_it = |value: &Value| value.get(NAMED).is_some();
    let named = annotations.filter(|entry| marks_it(entry.annotations.value()));
    named
        .map(|entry| entry.instance_location.as_str().to_owned())
        .collect()
}

/// Members that are declared somewhere in the schema, and not in what the value keeps to: such a
/// member may be anything there, and nobody asks for it.
struct Stray<'s> {
    schema: &'s Value,
    named: HashSet<String>,
}

impl Stray<'_> {
    fn leave_out(&self, at: &Pointer, value: &mut Value) {
        match value {
            Value::Object(members) => members.retain(|key, value| {
                let at = at.join(key);
                self.leave_out(&at, value);
                self.named.contains(at.as_str()) || !declares(self.schema, key)
            }),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.leave_out(&at.index(index), item);
                }
            }
            _ => {}
        }
    }
}

/// What a model would answer, each part raised again to what it was.
fn answer(plan: &Plan, lowered: &Lowered, instance: &Value, of: &[&Value]) -> Value {
    let mut answer = Map::new();
    for (index, part) in merge::split(plan, instance).into_iter().enumerate() {
        let Some(part) = part else { continue };
        let laid = lowered.lay(index, &part).unwrap();
        let raised = lowered.raise(index, laid.clone()).unwrap();
        assert!(
            same(of[index], &part, &raised.value),
            "{}: {}\n{part}\nwas laid out as {laid}\nand came back as {}",
            lowered.profile(),
            plan.subtrees[index].schema,
            raised.value
        );
        answer.insert(lowered.member_of(index), laid);
    }
    Value::Object(answer)
}

/// The schema under the newest dialect, with marks. Keywords that a dialect does not know yet are
/// asked for all the same: they are what is wanted though nothing checks them. So a value has to be
/// one there as well, and nothing is claimed of a schema that is none there.
fn newest(schema: &Value) -> Option<Validator> {
    let mut newest = schema.clone();
    let is_dated = undated(&mut newest);
    marked(&mut newest);
    match schema::compile(&newest) {
        Err(error) if !is_dated => panic!("{newest}: {error}"),
        compiled => compiled.ok(),
    }
}

/// Takes the dialects away that a schema and the schemas in it name; whether there was one.
fn undated(node: &mut Value) -> bool {
    match node {
        Value::Object(members) => {
            let is_dated = members.get("$schema").is_some_and(Value::is_string);
            members.retain(|key, value| key != "$schema" || !value.is_string());
            members
                .values_mut()
                .fold(is_dated, |dated, inner| undated(inner) | dated)
        }
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |dated, item| undated(item) | dated),
        _ => false,
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
    let Some(marks) = newest(&schema) else {
        return;
    };
    let parts: Vec<_> = plan.subtrees.iter().map(|part| &part.schema).collect();
    // What is made up beside the schema may be named elsewhere in it.
    let nothing = vec![&Value::Null; parts.len()];
    let is_valid = |value: &Value| validator.is_valid(value) && marks.is_valid(value);
    let numbered = instances.iter().enumerate();
    for (at, instance) in numbered.filter(|(_, value)| is_valid(value)) {
        let of = if at < named { &parts } else { &nothing };
        // What is declared elsewhere is asked for as it is declared there, or not at all.
        let stray = Stray {
            schema: &schema,
            named: named_places(&marks, instance),
        };
        let mut part = instance.clone();
        stray.leave_out(&Pointer::root(), &mut part);
        if !is_valid(&part) {
            continue;
        }
        let answer = answer(&plan, &lowered, &part, of);
        // What the schema does not name is not asked for, and is laid out all the same.
        if at >= named {
            continue;
        }
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
