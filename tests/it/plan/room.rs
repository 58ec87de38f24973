//! Schemas of more parts than there may be subtrees.

use rivulet::domain::plan::{Plan, SplitterConfigs, Take};
use rivulet::domain::schema;
use serde_json::{Map, Value, json};

use super::check;

fn part(fields: usize, is_list: bool) -> Value {
    let fields = (0..fields).map(|at| (format!("f{at}"), json!({"type": ["string", "null"]})));
    let row = json!({"type": "object", "properties": fields.collect::<Map<_, _>>()});
    if is_list {
        json!({"type": "array", "items": row})
    } else {
        row
    }
}

fn object(names: &str, count: usize, part: impl Fn(usize) -> Value) -> Value {
    let parts = (0..count).map(|at| (format!("{names}{at}"), part(at)));
    json!({"type": "object", "properties": parts.collect::<Map<_, _>>()})
}

fn within(most: u32) -> SplitterConfigs {
    SplitterConfigs {
        max_subtrees: most,
        ..SplitterConfigs::default()
    }
}

/// The plan, which keeps the splitter's law for a value that has everything.
fn plan(name: &str, schema: &Value, most: u32) -> Plan {
    schema::accept(schema).unwrap();
    let plan = Plan::of(schema, within(most));
    assert_eq!(
        plan,
        Plan::from_schema(schema.clone(), within(most)),
        "{name}"
    );
    check(name, &plan, &full(schema));
    plan
}

fn full(schema: &Value) -> Value {
    if let Some(items) = schema.get("items") {
        return json!([full(items), full(items)]);
    }
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return json!("x");
    };
    properties
        .iter()
        .map(|(name, part)| (name.clone(), full(part)))
        .collect()
}

#[test]
fn more_parts_than_subtrees_share_them_evenly() {
    let mut mixed = object("part_", 150, |at| part(1 + at % 9, at % 10 == 0));
    mixed["properties"]["deep"] = object("inner_", 90, |_| part(6, false));
    mixed["properties"]["deep"]["properties"]["loose"] = json!({"type": ["string", "null"]});
    mixed["properties"]["number"] = json!({"type": ["string", "null"]});
    let schemas = [
        ("flat", object("part_", 1_000, |_| part(10, false))),
        ("one more", object("part_", 201, |_| part(4, true))),
        ("lists", object("list_", 900, |_| part(4, true))),
        (
            "two levels",
            object("section_", 50, |_| object("part_", 20, |_| part(10, false))),
        ),
        (
            "one inside",
            object("all_", 1, |_| object("part_", 500, |_| part(5, false))),
        ),
        ("mixed", mixed),
    ];
    for (name, schema) in schemas {
        let every = 1_000 * 10;
        let fields = plan(name, &schema, 200).total_fields();
        assert!(fields <= every, "{name}");
        for most in [200, 64, 7, 2, 1] {
            let plan = plan(name, &schema, most);
            let (count, most) = (plan.subtrees.len(), most as usize);
            assert!(
                (most.div_ceil(2)..=most).contains(&count),
                "{name}: {count} of {most}"
            );
            assert_eq!(plan.total_fields(), fields, "{name}");
            let mut sizes: Vec<u32> = plan.subtrees.iter().map(|part| part.total_fields).collect();
            sizes.sort_unstable();
            if matches!(name, "flat" | "two levels") {
                let (least, largest) = (sizes[0], sizes[sizes.len() - 1]);
                assert!(largest <= 3 * least, "{name}: {least} to {largest} fields");
            }
        }
    }
}

#[test]
fn a_list_is_asked_for_by_itself_as_long_as_there_is_room() {
    let schema = object("part_", 300, |at| part(6, at % 50 == 0));
    let plan = plan("lists", &schema, 40);
    let alone = plan
        .subtrees
        .iter()
        .filter(|s| matches!(s.take, Take::Whole));
    assert_eq!((plan.subtrees.len(), alone.count()), (40, 6));
    let shared = plan.subtrees.iter().filter_map(|s| match &s.take {
        Take::Keys(keys) => Some((s.id.as_str(), keys.len())),
        _ => None,
    });
    let (id, keys) = shared.clone().next().unwrap();
    assert_eq!((id, keys), ("part_1-part_8", 8));
    assert_eq!(shared.map(|(_, keys)| keys).sum::<usize>(), 294);
}
