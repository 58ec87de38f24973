use std::collections::BTreeMap;

use rivulet::domain::merge;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::pointer::Pointer;
use rivulet::domain::schema;
use serde_json::Value;

use super::{run, subject};
use crate::plan::check;
use crate::support::dice::Dice;

fn scalars(value: &Value, at: &Pointer, found: &mut BTreeMap<String, usize>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                scalars(value, &at.join(key), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                scalars(item, &at.index(index), found);
            }
        }
        _ => *found.entry(at.to_string()).or_default() += 1,
    }
}

fn case(dice: &mut Dice) {
    let (schema, instances, _) = subject(dice, 3);
    let Ok(validator) = schema::accept(&schema) else {
        return;
    };
    let splitter = SplitterConfigs {
        max_fields_to_join: dice.roll(5) as u32,
        max_subtrees: [1, 2, 3, 5, 8, 200][dice.roll(6) as usize],
    };
    let plan = Plan::of(&schema, splitter);
    for instance in instances.iter().filter(|value| validator.is_valid(value)) {
        check(&schema.to_string(), &plan, instance);
        let (mut once, mut found) = (BTreeMap::new(), BTreeMap::new());
        scalars(instance, &Pointer::root(), &mut once);
        for (subtree, part) in plan.subtrees.iter().zip(merge::split(&plan, instance)) {
            if let Some(part) = part {
                scalars(&part, &subtree.path, &mut found);
            }
        }
        for (at, value) in merge::unasked(&plan, instance) {
            scalars(&value, &at, &mut found);
        }
        assert_eq!(once, found, "{schema}\n{instance}");
    }
}

#[test]
fn division() {
    run("division", 150, case);
}
