//! Choices between objects that one member tells apart.

use rivulet::domain::merge::breaches;
use rivulet::domain::plan::{Kind, Plan, SplitterConfigs, Take};
use rivulet::domain::schema;
use rivulet::provider::lower::{PROFILES, lower};
use serde_json::{Value, json};

use super::check;

fn text() -> Value {
    json!({"type": "string"})
}

fn rows() -> Value {
    let columns = json!({"text": text(), "amount": {"type": "number"}});
    json!({"type": "array", "description": "The rows.", "items": {"type": "object", "properties": columns}})
}

/// An invoice, which has lines and a payer, or a letter, which has none; `more` is whether each may
/// have members that it does not name.
fn letter_or_invoice(keyword: &str, more: bool) -> Value {
    let payer = json!({"type": "object", "properties": {"a": text(), "b": text(), "c": text(), "d": text()}});
    let invoice = json!({
        "type": "object",
        "properties": {"total": {"type": "number"}, "lines": rows(), "payer": payer, "kind": {"const": "invoice"}},
        "required": ["kind", "lines", "payer"],
        "additionalProperties": more,
    });
    let letter = json!({
        "type": "object",
        "properties": {"subject": text(), "kind": {"enum": ["letter"]}},
        "required": ["kind"],
        "additionalProperties": more,
    });
    json!({
        "type": "object",
        "properties": {
            "number": text(),
            "content": {keyword: [{"$ref": "#/$defs/invoice"}, {"$ref": "#/$defs/letter"}], "discriminator": {"propertyName": "kind"}},
        },
        "$defs": {"invoice": invoice, "letter": letter},
    })
}

fn invoice() -> Value {
    let lines = json!([{"text": "x", "amount": 1}]);
    json!({"number": "4", "content": {"kind": "invoice", "total": 3, "lines": lines, "payer": {"a": "x"}}})
}

fn letter() -> Value {
    json!({"content": {"kind": "letter", "subject": "hello"}})
}

fn plan(schema: &Value) -> Plan {
    let whole = schema::accept(schema).unwrap();
    let plan = Plan::of(schema, SplitterConfigs::default());
    assert_eq!(
        plan,
        Plan::from_schema(schema.clone(), SplitterConfigs::default())
    );
    for instance in [invoice(), letter(), json!({"number": "1"})] {
        assert!(whole.is_valid(&instance), "{instance}");
        check(&schema.to_string(), &plan, &instance);
    }
    plan
}

#[test]
fn what_is_large_in_a_branch_is_asked_for_by_itself() {
    for keyword in ["oneOf", "anyOf"] {
        let schema = letter_or_invoice(keyword, false);
        let plan = plan(&schema);
        let cut: Vec<_> = plan
            .subtrees
            .iter()
            .map(|s| (s.path.as_str(), s.kind, &s.take))
            .collect();
        let keys = |name: &str| Take::Keys(vec![name.to_owned()]);
        let expected = [
            ("", Kind::Fields, &Take::Rest(vec!["content".into()])),
            (
                "/content",
                Kind::Fields,
                &Take::Rest(vec!["lines".into(), "payer".into()]),
            ),
            ("/content", Kind::AgenticArray, &keys("lines")),
            ("/content", Kind::Object, &keys("payer")),
        ];
        assert_eq!(cut, expected);
        let lines = &plan.subtrees[2].schema["properties"]["lines"];
        assert_eq!(
            lines["description"],
            "The rows. Only where `kind` is \"invoice\"."
        );
        // Not to be there is an answer, and the branches hold without what is asked for apart.
        let compiled: Vec<_> = plan
            .subtrees
            .iter()
            .map(|s| schema::compile(&s.schema).unwrap())
            .collect();
        assert!(compiled[2].is_valid(&json!({})) && compiled[3].is_valid(&json!({})));
        assert!(compiled[1].is_valid(&json!({"kind": "invoice", "total": 1})));
        assert!(!compiled[1].is_valid(&json!({"kind": "letter", "total": 1})));
        assert_eq!(plan.bound.as_ref().unwrap().groups, [[1, 2, 3]]);
    }
}

#[test]
fn a_list_beside_the_wrong_branch_is_a_breach_of_both() {
    let schema = letter_or_invoice("oneOf", false);
    let (whole, plan) = (schema::accept(&schema).unwrap(), plan(&schema));
    let mut wrong = invoice();
    wrong["content"]["kind"] = json!("letter");
    let found = breaches(&plan, &schema, &whole, &wrong);
    assert_eq!(found[0].subtrees, [1, 2, 3], "{found:?}");
    assert!(breaches(&plan, &schema, &whole, &invoice()).is_empty());
}

#[test]
fn a_choice_that_may_be_null_is_cut_too() {
    let mut schema = letter_or_invoice("oneOf", false);
    schema["properties"]["content"]["oneOf"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "null"}));
    let plan = plan(&schema);
    assert_eq!(plan.subtrees.len(), 4);
    check("null", &plan, &json!({"content": null}));
    let mut schema = letter_or_invoice("oneOf", false);
    let choice = schema["properties"]["content"].take();
    schema["properties"]["content"] = json!({"anyOf": [choice, {"type": "null"}]});
    assert_eq!(
        Plan::of(&schema, SplitterConfigs::default()).subtrees.len(),
        4
    );
}

#[test]
fn branches_that_may_have_anything_stay_together() {
    let plan = plan(&letter_or_invoice("oneOf", true));
    let paths: Vec<_> = plan.subtrees.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(paths, [""], "one subtree has it all");
}

/// Names of the properties of every object that has this one among others.
fn orders(schema: &Value, name: &str, found: &mut Vec<Vec<String>>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties")
                && properties.contains_key(name)
            {
                found.push(properties.keys().cloned().collect());
            }
            members
                .values()
                .for_each(|inner| orders(inner, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| orders(item, name, found)),
        _ => {}
    }
}

#[test]
fn every_provider_is_asked_for_the_member_that_tells_first() {
    let mut in_a_list = letter_or_invoice("anyOf", true);
    let choice = in_a_list["properties"]["content"].take();
    in_a_list["properties"]["content"] = json!({"type": "array", "items": choice});
    for schema in [
        letter_or_invoice("oneOf", false),
        letter_or_invoice("oneOf", true),
        in_a_list,
    ] {
        let plan = Plan::of(&schema, SplitterConfigs::default());
        let all: Vec<usize> = (0..plan.subtrees.len()).collect();
        for profile in PROFILES {
            let lowered = lower(&plan, &all, profile, false);
            let mut found = Vec::new();
            orders(lowered.answers(), "kind", &mut found);
            assert!(!found.is_empty(), "{}", profile.name);
            for names in found {
                assert_eq!(names[0], "kind", "{}: {names:?}", profile.name);
            }
            let text = lowered.answers().to_string();
            assert!(text.contains("First `kind`"), "{}: {text}", profile.name);
        }
    }
}
