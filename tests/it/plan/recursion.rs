//! Objects inside themselves.

use rivulet::domain::plan::{MAX_UNROLLED_FIELDS, Plan, SplitterConfigs, UNROLLED};
use rivulet::domain::schema;
use serde_json::{Map, Value, json};

use super::check;

/// A company of so many fields that may be part of another.
fn company(fields: usize, owners: &[&str]) -> Value {
    let own = (0..fields).map(|at| (format!("f{at}"), json!({"type": ["string", "null"]})));
    let mut properties: Map<String, Value> = own.collect();
    for owner in owners {
        properties.insert((*owner).into(), json!({"$ref": "#/$defs/company"}));
    }
    json!({
        "$ref": "#/$defs/company",
        "$defs": {"company": {"type": "object", "properties": properties}},
    })
}

fn paths(schema: &Value) -> Vec<String> {
    schema::accept(schema).unwrap();
    let plan = Plan::of(schema, SplitterConfigs::default());
    for instance in [json!({}), nested(1), nested(UNROLLED + 4)] {
        check(&schema.to_string(), &plan, &instance);
    }
    plan.subtrees
        .iter()
        .map(|subtree| subtree.path.to_string())
        .collect()
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(
        json!({"f0": "inmost"}),
        |inner, level| json!({"f0": format!("{level}"), "parent": inner, "other": {"f1": "x"}}),
    )
}

#[test]
fn an_object_inside_itself_is_divided_a_few_times() {
    assert_eq!(UNROLLED, 3);
    assert_eq!(
        paths(&company(5, &["parent"])),
        ["", "/parent", "/parent/parent", "/parent/parent/parent"]
    );
    assert_eq!(paths(&company(5, &["parent", "other"])).len(), 15);
}

#[test]
fn an_object_of_many_fields_inside_itself_is_divided_fewer_times() {
    let fields = MAX_UNROLLED_FIELDS as usize;
    assert_eq!(paths(&company(fields / 2, &["parent"])).len(), 4);
    assert_eq!(paths(&company(fields, &["parent"])).len(), 3);
    assert_eq!(paths(&company(fields + 1, &["parent"])).len(), 2);
}

#[test]
fn an_object_inside_itself_in_many_ways_stays_within_the_subtrees() {
    let names: Vec<String> = (0..20).map(|at| format!("part_{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Of three levels there would be 8,421.
    assert_eq!(paths(&company(4, &names)).len(), 21);
}

#[test]
fn a_reference_that_leads_back_to_a_document_without_a_name_keeps_its_meaning() {
    let named = json!({"$id": "inner.json", "$recursiveAnchor": true, "anyOf": [
        {"type": "string"}, {"type": "object", "additionalProperties": {"$recursiveRef": "#"}}]});
    let schema = json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true,
        "$defs": {"inner": named}, "anyOf": [{"type": "integer"}, {"$ref": "#/$defs/inner"}]});
    let instance = json!({"foo": 1});
    assert!(schema::accept(&schema).unwrap().is_valid(&instance));
    let plan = Plan::of(&schema, SplitterConfigs::default());
    check("back", &plan, &instance);
}
