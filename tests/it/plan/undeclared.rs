//! Members that an object has to have and that its `properties` do not name.

use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::schema;
use rivulet::provider::lower::{GRAMMAR, OPENAI, Profile, halves, lower};
use serde_json::{Value, json};

use super::check;

fn plan(schema: &Value) -> Plan {
    schema::accept(schema).unwrap();
    Plan::of(schema, SplitterConfigs::default())
}

/// What is asked for at the root, and the value there and back.
fn trip(schema: &Value, profile: &Profile, value: &Value) -> (Value, Value) {
    let plan = plan(schema);
    assert_eq!(plan.subtrees.len(), 1);
    let lowered = lower(&plan, &[0], profile, false);
    let laid = lowered.lay(0, value).unwrap();
    let asked = lowered.answers()["properties"]["s0"].clone();
    assert!(jsonschema::is_valid(&asked, &laid), "{laid} under {asked}");
    (asked, lowered.raise(0, laid).unwrap().value)
}

#[test]
fn a_member_that_is_required_and_nowhere_declared_is_asked_for() {
    let schema = json!({"type": "object", "required": ["number", "total"], "properties": {"total": {"type": "number"}}});
    let value = json!({"total": 3, "number": "A-7"});
    for profile in [&OPENAI, &GRAMMAR] {
        let (asked, back) = trip(&schema, profile, &value);
        assert_eq!(back, value);
        let required = asked["required"].as_array().unwrap();
        assert!(required.contains(&json!("number")), "{asked}");
    }
    let untyped = json!({"required": ["number", "total"]});
    let (asked, back) = trip(&untyped, &OPENAI, &value);
    assert_eq!(back, value);
    assert!(asked.to_string().contains("\"number\":"), "{asked}");
}

#[test]
fn a_member_that_is_required_and_nowhere_declared_is_what_all_others_are() {
    let schema =
        json!({"type": "object", "required": ["fee"], "additionalProperties": {"type": "number"}});
    let (asked, back) = trip(&schema, &OPENAI, &json!({"fee": 2, "tax": 1}));
    assert_eq!(
        asked["properties"]["fee"]["type"],
        json!(["number", "null"])
    );
    assert_eq!(back, json!({"fee": 2, "tax": 1}));
    // An expression says nothing of a name that it does not match.
    let schema = json!({"type": "object", "required": ["id"], "patternProperties": {"^x-": {"type": "number"}}});
    let (_, back) = trip(&schema, &OPENAI, &json!({"id": "A-7", "x-1": 2}));
    assert_eq!(back, json!({"id": "A-7", "x-1": 2}));
}

#[test]
fn what_an_expression_lets_be_anything_is_not_read_as_the_others_are() {
    let others = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let schema =
        json!({"type": "object", "patternProperties": {"^x-": {}}, "additionalProperties": others});
    let value = json!({"x-1": [], "y": {"a": "b"}});
    let (_, back) = trip(&schema, &OPENAI, &value);
    assert_eq!(back, value);
}

#[test]
fn what_an_alternative_lets_be_anything_is_not_read_as_what_none_looks_at() {
    let schema = json!({"unevaluatedProperties": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
        "oneOf": [{"required": ["xx"], "patternProperties": {"x": true}}, {"required": ["b"], "properties": {"b": true}}]});
    let value = json!({"xx": "there"});
    for profile in [&OPENAI, &GRAMMAR] {
        assert_eq!(trip(&schema, profile, &value).1, value);
    }
}

#[test]
fn an_object_that_is_divided_whole_is_still_asked_for_what_it_requires_besides() {
    let rows = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let schema = json!({"type": "object", "required": ["lines", "number"], "properties": {"lines": rows, "fees": rows}});
    let divided = plan(&schema);
    let paths: Vec<_> = divided
        .subtrees
        .iter()
        .map(|part| part.path.as_str())
        .collect();
    assert_eq!(paths, ["", "/lines", "/fees"]);
    assert_eq!(divided.subtrees[0].schema["required"], json!(["number"]));
    check(
        "besides",
        &divided,
        &json!({"lines": [], "fees": [], "number": 4}),
    );
    let mut closed = schema.clone();
    closed["additionalProperties"] = json!(false);
    assert_eq!(plan(&closed).subtrees.len(), 2, "it can never be there");
}

#[test]
fn a_member_that_only_a_branch_names_is_asked_for_though_the_branch_says_nothing_of_it() {
    let rows = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let schema = json!({"type": "object", "properties": {"lines": rows, "number": {"type": "string"}},
        "anyOf": [{"required": ["lines"]}, {"properties": {"note": {}}, "required": ["note"]}]});
    let plan = plan(&schema);
    let asks = |name: &str| {
        let all: Vec<usize> = (0..plan.subtrees.len()).collect();
        let asked = lower(&plan, &all, &OPENAI, false).answers().to_string();
        asked.contains(&format!("\"{name}\":"))
    };
    assert!(asks("note") && asks("lines") && asks("number"));
    check("branch", &plan, &json!({"lines": [{"a": "x"}], "note": 1}));
}

#[test]
fn only_one_half_of_a_schema_asks_for_what_is_required_and_nowhere_declared() {
    let schema = json!({"type": "object", "required": ["a", "c", "number"], "properties": {
        "a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"}}});
    let (first, second) = halves(&schema).unwrap();
    assert_eq!(first.schema["required"], json!(["a", "number"]));
    assert_eq!(second.schema["required"], json!(["c"]));
}
