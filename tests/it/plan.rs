//! The splitter's law over real schemas: what is cut apart comes together again.

mod choice;
mod generated;
mod recursion;
mod room;
mod suite;
mod undeclared;

use std::collections::BTreeSet;
use std::path::Path;

use rivulet::domain::error::Code;
use rivulet::domain::plan::SplitterConfigs;
use rivulet::domain::plan::{Plan, Take};
use rivulet::domain::pointer::Pointer;
use rivulet::domain::{merge, schema};
use serde_json::Value;

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
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let mut case: Value =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            Case {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                schema: case["schema"].take(),
                valid: case["valid"].as_array().unwrap().clone(),
            }
        })
        .collect()
}

fn splitters() -> [SplitterConfigs; 3] {
    [
        SplitterConfigs::default(),
        SplitterConfigs {
            max_fields_to_join: 0,
            max_subtrees: 200,
        },
        SplitterConfigs {
            max_fields_to_join: 3,
            max_subtrees: 5,
        },
    ]
}

/// Schemas that refer to documents elsewhere, named by their addresses, and one whose expression is
/// over a limit.
fn is_refused_for_cause(case: &Case, error: &rivulet::domain::error::Error) -> bool {
    let message = &error.errors[0].message;
    let is_remote = message.contains("https://") && message.contains("lies outside the schema");
    let is_large =
        case.name == "winget-pkgs-installer-1.0.0" && message.contains("more than 262144 bytes");
    match error.code {
        Code::InvalidSchema => is_remote,
        Code::SchemaTooComplex => is_large && !error.errors[0].pointer.is_empty(),
        _ => false,
    }
}

#[test]
fn every_valid_instance_is_cut_apart_and_put_together_again() {
    let (mut instances, mut divided, mut refused) = (0, 0, Vec::new());
    for case in cases() {
        if let Err(error) = schema::accept(&case.schema) {
            assert!(
                is_refused_for_cause(&case, &error),
                "{}: {error}",
                case.name
            );
            refused.push(case.name);
            continue;
        }
        for splitter in splitters() {
            let plan = Plan::of(&case.schema, splitter);
            let taken = Plan::from_schema(case.schema.clone(), splitter);
            assert_eq!(plan, taken, "{}", case.name);
            assert!(
                plan.subtrees.len() <= splitter.max_subtrees as usize,
                "{}",
                case.name
            );
            divided += usize::from(plan.subtrees.len() > 1);
            for instance in &case.valid {
                instances += 1;
                check(&case.name, &plan, instance);
            }
        }
    }
    assert_eq!(instances, 392 * 3, "instances of schemas that are accepted");
    assert!(divided > 200, "only {divided} plans divide anything");
    assert_eq!(refused.len(), 17, "{refused:?}");
}

pub(crate) fn check(name: &str, plan: &Plan, instance: &Value) {
    let parts = merge::split(plan, instance);
    for (subtree, part) in plan.subtrees.iter().zip(&parts) {
        let validator = schema::compile(&subtree.schema)
            .unwrap_or_else(|error| panic!("{name}, subtree {}: {error}", subtree.id));
        if let Some(error) = part
            .as_ref()
            .and_then(|part| validator.iter_errors(part).next())
        {
            panic!(
                "{name}, subtree {}: a valid instance's part is invalid: {error}",
                subtree.id
            );
        }
    }
    let pairs = plan.subtrees.iter().zip(parts);
    let carried = pairs.filter_map(|(subtree, part)| Some((subtree.path.clone(), part?)));
    let all: Vec<_> = carried.chain(merge::unasked(plan, instance)).collect();
    let merged = merge::merge(all.iter().map(|(path, value)| (path, value.clone())));
    let mut lost = Vec::new();
    differences(instance, &merged, &Pointer::root(), &mut lost);
    // Members of a divided object come in the order of its subtrees.
    let divided = |place: &Pointer| {
        let parts = plan.subtrees.iter().filter(|s| s.take != Take::Whole);
        parts
            .map(|s| &s.path)
            .chain(&plan.shells)
            .any(|p| p == place)
    };
    lost.retain(|(place, what)| *what == Difference::Value || !divided(place));
    assert!(lost.is_empty(), "{name}: lost or changed: {lost:?}");
}

#[derive(Debug, PartialEq)]
enum Difference {
    Value,
    Order,
}

/// As it is sent, with its order and its numbers as they are written.
fn written(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Places where the second value is not the first.
fn differences(
    whole: &Value,
    merged: &Value,
    at: &Pointer,
    found: &mut Vec<(Pointer, Difference)>,
) {
    match (whole, merged) {
        (Value::Object(whole), Value::Object(merged)) => {
            if !whole.keys().eq(merged.keys()) {
                found.push((at.clone(), Difference::Order));
            }
            for key in whole.keys().chain(merged.keys()).collect::<BTreeSet<_>>() {
                match (whole.get(key), merged.get(key)) {
                    (Some(a), Some(b)) => differences(a, b, &at.join(key), found),
                    _ => found.push((at.join(key), Difference::Value)),
                }
            }
        }
        (a, b) if written(a) == written(b) => {}
        _ => found.push((at.clone(), Difference::Value)),
    }
}

#[test]
fn ids_are_unique_and_leaves_are_disjoint() {
    for case in cases()
        .iter()
        .filter(|case| schema::accept(&case.schema).is_ok())
    {
        let plan = Plan::of(&case.schema, SplitterConfigs::default());
        let ids: BTreeSet<_> = plan.subtrees.iter().map(|subtree| &subtree.id).collect();
        assert_eq!(ids.len(), plan.subtrees.len(), "{}", case.name);
        let mut places = BTreeSet::new();
        for subtree in &plan.subtrees {
            let fits = subtree
                .id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
            assert!(
                fits && (1..=64).contains(&subtree.id.len()),
                "{}",
                subtree.id
            );
            assert!(subtree.total_fields >= 1);
            let own = match &subtree.take {
                Take::Keys(keys) => keys.iter().map(|key| subtree.path.join(key)).collect(),
                Take::Whole | Take::Rest(_) => vec![subtree.path.clone()],
            };
            for place in own {
                assert!(
                    places.insert(place.clone()),
                    "{}: `{place}` twice",
                    case.name
                );
            }
        }
    }
}
