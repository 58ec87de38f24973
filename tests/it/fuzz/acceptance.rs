use rivulet::domain::error::Code;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::schema;
use serde_json::Value;

use super::{run, subject};
use crate::support::dice::Dice;

/// Whether a place leads somewhere in the schema, or to where something is missing.
fn leads(schema: &Value, pointer: &str) -> bool {
    let (above, _) = pointer.rsplit_once('/').unwrap_or_default();
    pointer.is_empty() || schema.pointer(above).is_some()
}

fn case(dice: &mut Dice) {
    let (schema, ..) = subject(dice, 8);
    drop(schema::advice::advise(&schema));
    match schema::accept(&schema) {
        Ok(_) => {
            let splitter = SplitterConfigs {
                max_fields_to_join: dice.roll(6) as u32,
                max_subtrees: 1 + dice.roll(20) as u32,
            };
            let plan = Plan::of(&schema, splitter);
            assert_eq!(
                plan,
                Plan::from_schema(schema.clone(), splitter),
                "{schema}"
            );
            let most = splitter.max_subtrees as usize;
            assert!((1..=most).contains(&plan.subtrees.len()), "{schema}");
            for subtree in &plan.subtrees {
                let compiled = schema::compile(&subtree.schema);
                assert!(
                    compiled.is_ok(),
                    "{schema}\n{}: {:?}",
                    subtree.schema,
                    compiled.err()
                );
            }
        }
        Err(error) => {
            assert!(!error.errors.is_empty(), "{schema}: {error}");
            for told in &error.errors {
                assert!(!told.message.is_empty(), "{schema}: {error}");
                assert!(leads(&schema, &told.pointer), "{schema}: {}", told.pointer);
            }
            match error.code {
                Code::InvalidSchema => {}
                Code::SchemaTooComplex => {
                    assert!(error.detail.contains("limit"), "{schema}: {error}");
                }
                _ => panic!("{schema}: {error}"),
            }
        }
    }
}

#[test]
fn acceptance() {
    run("acceptance", 150, case);
}
