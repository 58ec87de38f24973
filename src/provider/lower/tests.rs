use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::plan::SplitterConfigs;
use crate::domain::plan::Subtree;
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

/// Schemas of which an instance has members that are declared only elsewhere in the schema.
const UNDECLARED_HERE: [&str; 5] = [
    "boyka-config",
    "jsonld",
    "starlake",
    "stylelintrc",
    "vim-addon-info",
];

#[test]
fn every_real_instance_comes_back_through_every_profile() {
    let (mut trips, mut exact, mut asked_places) = (0, 0, 0);
    for case in cases() {
        let plan = Plan::of(&case.schema, SplitterConfigs::default());
        let all: Vec<usize> = (0..plan.subtrees.len()).collect();
        for (profile, quotes) in PROFILES.into_iter().zip([true, false].into_iter().cycle()) {
            let lowered = lower(&plan, &all, profile, quotes);
            asked_places += lowered.figures().places;
            let sent = jsonschema::options().offline().build(lowered.answers());
            let sent =
                sent.unwrap_or_else(|error| panic!("{} {}: {error}", profile.name, case.name));
            for instance in &case.valid {
                let mut answer = Map::new();
                for (index, part) in merge::split(&plan, instance).into_iter().enumerate() {
                    let Some(part) = part else { continue };
                    trips += 1;
                    let laid = lowered.lay(index, &part).unwrap();
                    let raised = lowered.raise(index, laid.clone()).unwrap();
                    answer.insert(member(index), laid);
                    let mut found = Vec::new();
                    differences(&part, &raised.value, "", &mut found);
                    exact += usize::from(found.is_empty());
                    for (at, lacks) in found {
                        let last = at.rsplit('/').next().unwrap();
                        let is_undeclared = lacks
                            && (UNDECLARED_HERE.contains(&case.name.as_str())
                                || !declares(&plan.subtrees[index].schema, last));
                        assert!(is_undeclared, "{} {}: {at}", profile.name, case.name);
                    }
                }
                // Subtrees that the instance has nothing for are missing at the root.
                let answer = Value::Object(answer);
                let mut errors = sent.iter_errors(&answer);
                let inside = errors.find(|error| !error.instance_path().to_string().is_empty());
                if let Some(error) = inside {
                    panic!(
                        "{} {} {}: {error}",
                        profile.name,
                        case.name,
                        error.instance_path()
                    );
                }
            }
        }
    }
    assert!(asked_places > 100_000, "{asked_places}");
    assert_eq!(
        (trips, exact > trips * 9 / 10),
        (7_416, true),
        "{exact} exact"
    );
}

fn plan_of(schema: Value) -> Plan {
    domain_schema::accept(&schema).unwrap();
    let whole = Plan::of(&schema, SplitterConfigs::default());
    let mut subtree = Subtree::clone(&whole.subtrees[0]);
    subtree.schema = schema;
    Plan {
        subtrees: vec![std::sync::Arc::new(subtree)],
        shells: Vec::new(),
        bound: None,
    }
}

/// The lowered value of the one subtree, and what became of it there and back.
fn trip(schema: &Value, profile: &Profile, value: &Value) -> (Value, Value, Value) {
    let lowered = lower(&plan_of(schema.clone()), &[0], profile, false);
    let laid = lowered.lay(0, value).unwrap();
    let raised = lowered.raise(0, laid.clone()).unwrap().value;
    let schema = lowered.answers()["properties"]["s0"].clone();
    (schema, laid, raised)
}

#[test]
fn strict_schemas_require_every_member_and_take_null_for_every_leaf() {
    let schema = json!({"type": "object", "required": ["total"], "properties": {
        "total": {"type": "number", "minimum": 0},
        "note": {"type": "string", "maxLength": 5},
        "kind": {"enum": ["a", "b"]}}});
    let (lowered, laid, raised) = trip(&schema, &OPENAI, &json!({"total": 3, "kind": "a"}));
    assert_eq!(
        lowered,
        json!({"type": "object", "additionalProperties": false,
            "required": ["total", "note", "kind"], "properties": {
            "total": {"type": ["number", "null"], "minimum": 0},
            "note": {"type": ["string", "null"], "description": "At most 5 characters."},
            "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}}})
    );
    assert_eq!(laid, json!({"total": 3, "note": null, "kind": "a"}));
    assert_eq!(raised, json!({"total": 3, "kind": "a"}));
}

#[test]
fn a_null_stays_where_the_member_is_required_and_goes_where_it_is_not() {
    let schema = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": ["integer", "null"]}}});
    let lowered = lower(&plan_of(schema), &[0], &GEMINI, false);
    let answer = json!({"a": null, "b": null, "c": null, "invented": 1});
    let raised = lowered.raise(0, answer).unwrap();
    assert_eq!(raised.value, json!({"a": null, "c": null}));
    assert_eq!(raised.dropped[0].pointer, "/invented");
}

#[test]
fn null_and_absent_are_told_apart_where_every_member_is_required() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
    for value in [json!({}), json!({"a": null}), json!({"a": "x"})] {
        let (_, laid, raised) = trip(&schema, &OPENAI, &value);
        assert_eq!(raised, value, "{laid}");
        assert!(laid.get("a").is_some() && laid["omitted"].is_array());
    }
}

#[test]
fn past_sixteen_unions_what_may_be_missing_is_a_list() {
    let fields = |count: usize| {
        let one = |at: usize| {
            (
                format!("f{at}"),
                json!({"type": "string", "description": "Words."}),
            )
        };
        json!({"type": "object", "properties": (0..count).map(one).collect::<Map<_, _>>()})
    };
    let (few, ..) = trip(&fields(16), &ANTHROPIC, &json!({}));
    assert_eq!(few["properties"]["f0"]["type"], json!(["string", "null"]));
    let value = json!({"f3": "x"});
    let (many, laid, raised) = trip(&fields(17), &ANTHROPIC, &value);
    assert_eq!(many["properties"]["f0"]["type"], "array");
    assert_eq!((&laid["f0"], &laid["f3"]), (&json!([]), &json!(["x"])));
    assert_eq!(raised, value);
    let lowered = lower(&plan_of(fields(200)), &[0], &ANTHROPIC, true);
    assert_eq!(lowered.figures().unions, 0);
    assert!(lowered.fits(), "{:?}", lowered.excess());
}

#[test]
fn maps_tuples_and_free_values_are_written_otherwise_and_read_back() {
    let schema = json!({"type": "object", "properties": {
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": ["integer", "null"]}]},
        "free": {},
        "$weird/ name": {"type": "string"}}});
    let value = json!({"rates": {"7 %": 1.5, "": 2}, "pair": ["x"], "free": {"deep": [1]}, "$weird/ name": "n"});
    for profile in [&OPENAI, &GEMINI, &ANTHROPIC, &GRAMMAR] {
        let (_, laid, raised) = trip(&schema, profile, &value);
        assert_eq!(raised, value, "{}: {laid}", profile.name);
        assert_eq!(laid["rates"][0], json!({"key": "7 %", "value": 1.5}));
        assert_eq!(laid["pair"]["count"], 1);
        assert_eq!(laid["free"], json!(r#"{"deep":[1]}"#));
    }
    let (schema, laid, _) = trip(&schema, &ANTHROPIC, &value);
    assert_eq!(laid["weird__name"], "n");
    let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert!(
        names
            .iter()
            .all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    );
}

#[test]
fn text_that_looks_like_json_stays_text_where_anything_may_stand() {
    let schema = json!({"type": "object", "properties": {"free": {}}});
    let texts = [
        "[1]",
        "{\"a\":1}",
        "\"[1]\"",
        "007",
        "12",
        "null",
        "\"x\"",
        "[",
        "",
    ];
    for text in texts {
        let value = json!({ "free": text });
        for profile in PROFILES {
            assert_eq!(
                trip(&schema, profile, &value).2,
                value,
                "{} {text}",
                profile.name
            );
        }
    }
}

#[test]
fn a_recursive_schema_is_named_where_it_may_be_and_written_out_to_a_depth_where_not() {
    let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
        "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}});
    let mut value = json!({"name": "0"});
    for level in 1..9 {
        value = json!({"name": level.to_string(), "children": [value]});
    }
    for profile in PROFILES {
        let lowered = lower(&plan_of(schema.clone()), &[0], profile, false);
        let laid = lowered.lay(0, &value).unwrap();
        assert_eq!(
            lowered.raise(0, laid.clone()).unwrap().value,
            value,
            "{}",
            profile.name
        );
        let text = lowered.answers().to_string();
        let may_refer = profile.references == References::Recursive;
        assert_eq!(text.contains("$ref"), may_refer, "{}", profile.name);
        assert_eq!(laid.to_string().contains("\\\""), !may_refer, "{laid}");
    }
}

#[test]
fn alternatives_become_one_object_that_holds_them_all() {
    let schema = json!({"oneOf": [
        {"type": "object", "required": ["by", "iban"], "properties": {"by": {"const": "bank"}, "iban": {"type": "string"}}},
        {"type": "object", "required": ["by", "last4"], "properties": {"by": {"const": "card"}, "last4": {"type": "string"}}},
        {"type": "string"}]});
    for value in [
        json!({"by": "bank", "iban": "X"}),
        json!({"by": "card", "last4": "1"}),
        json!("cash"),
    ] {
        let (lowered, _, raised) = trip(&schema, &OPENAI, &value);
        assert_eq!(raised, value);
        assert_eq!(
            lowered["anyOf"][1]["properties"]["by"]["anyOf"][0]["enum"],
            json!(["bank", "card"])
        );
    }
}

#[test]
fn a_member_that_another_alternative_bounds_among_all_others_may_be_either() {
    let schema = json!({"anyOf": [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"total": {"type": "integer"}}, "additionalProperties": false}]});
    for value in [json!({"total": "12,50"}), json!({"total": 12})] {
        let (sent, laid, raised) = trip(&schema, &GRAMMAR, &value);
        assert_eq!(raised, value);
        assert!(jsonschema::is_valid(&sent, &laid), "{laid} under {sent}");
    }
}

#[test]
fn a_member_that_only_one_open_alternative_names_keeps_its_type_and_a_note_says_so() {
    let schema = json!({"type": "object", "properties": {"by": {"type": "string"}}, "oneOf": [
        {"properties": {"by": {"const": "bank"}, "iban": {"type": "string"}}},
        {"properties": {"by": {"const": "card"}, "last4": {"type": "integer"}}}]});
    let plan = plan_of(schema);
    let lowered = lower(&plan, &[0], &GRAMMAR, false);
    let fields = &lowered.answers()["properties"]["s0"]["properties"];
    assert_eq!(fields["last4"]["type"], json!(["integer", "null"]));
    let says = |note: &Note| {
        note.what
            .starts_with("members that only some alternatives name")
    };
    assert_eq!(lowered.notes().iter().filter(|note| says(note)).count(), 1);
}

#[test]
fn a_listed_value_is_known_however_its_numbers_are_written() {
    let schema = json!({"type": "object", "required": ["size"], "properties": {
        "size": {"enum": [[0], {"of": 2}, 1, "a"]}}});
    for (value, is) in [
        (json!([0.0]), json!([0])),
        (json!({"of": 2.0}), json!({"of": 2})),
        (json!(1.0), json!(1)),
        (json!("a"), json!("a")),
    ] {
        let (sent, laid, raised) = trip(&schema, &JSON_MODE, &json!({"size": value}));
        assert!(jsonschema::is_valid(&sent, &laid), "{laid} under {sent}");
        assert_eq!(raised["size"], is);
    }
    let lowered = lower(&plan_of(schema.clone()), &[0], &JSON_MODE, false);
    let raised = |text: &str| lowered.raise(0, json!({"size": text})).unwrap().value;
    assert_eq!(raised("[ 0.0 ]"), json!({"size": [0]}));
    assert_eq!(raised("[1]"), json!({"size": [1]}));
    assert_eq!(raised("b"), json!({"size": "b"}));
    for unlisted in [json!([1]), json!("[0]"), json!("b")] {
        let value = json!({"size": unlisted});
        assert_eq!(trip(&schema, &JSON_MODE, &value).2, value);
    }
}

#[test]
fn an_enum_past_the_limit_is_said_in_words() {
    let all: Vec<String> = (0..200).map(|at| format!("code{at}")).collect();
    let schema = json!({"type": "object", "properties": {"code": {"enum": all}}});
    let lowered = lower(&plan_of(schema), &[0], &GEMINI, false);
    let code = &lowered.answers()["properties"]["s0"]["properties"]["code"];
    assert_eq!(code["type"], json!(["string", "null"]));
    assert!(
        code["description"]
            .as_str()
            .unwrap()
            .contains("\"code199\"")
    );
    assert!(
        lowered
            .notes()
            .iter()
            .any(|note| note.pointer == "/code" && note.what.contains("200"))
    );
    assert!(lowered.fits());
}

#[test]
fn a_schema_over_a_limit_says_which() {
    let wide: Map<String, Value> = (0..5_001)
        .map(|at| (format!("p{at}"), json!({"type": "string"})))
        .collect();
    let lowered = lower(
        &plan_of(json!({"type": "object", "properties": wide})),
        &[0],
        &OPENAI,
        false,
    );
    let excess = Excess {
        of: "properties",
        figure: 5_002,
        limit: 5_000,
    };
    assert_eq!((lowered.fits(), lowered.excess()[0]), (false, excess));
}

#[test]
fn levels_past_the_limit_are_asked_for_as_text() {
    let mut schema = json!({"type": "string"});
    let mut value = json!("x");
    for _ in 0..14 {
        schema = json!({"type": "object", "properties": {"in": schema}});
        value = json!({"in": value});
    }
    let lowered = lower(&plan_of(schema), &[0], &OPENAI, true);
    assert!(lowered.fits() && lowered.figures().depth <= 10);
    let laid = lowered.lay(0, &value).unwrap();
    assert_eq!(lowered.raise(0, laid).unwrap().value, value);
}

#[test]
fn quotes_are_placed_where_their_values_end_up() {
    let schema = json!({"type": "object", "properties": {
        "a/b": {"type": "string"},
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}}});
    let lowered = lower(&plan_of(schema), &[0], &ANTHROPIC, true);
    let answer = json!({
        "quotes": [
            {"at": "/a_b", "text": "A", "page": 1},
            {"at": "#/a~1b", "text": "A again", "page": null},
            {"at": "/rates/1/value", "text": "R", "page": 2},
            {"at": "value/rows/0/n", "text": "N", "page": 3},
            {"at": "/rows/7/n", "text": "nowhere", "page": 3},
            {"text": "no place"}],
        "value": {"a_b": "x", "rates": [{"key": "p", "value": 1}, {"key": "q", "value": 2}], "rows": [{"n": 4}]}});
    let raised = lowered.raise(0, answer).unwrap();
    let texts = |at: &str| -> Vec<(&str, Option<u32>)> {
        raised.attributions[at]
            .quotes
            .iter()
            .map(|quote| (quote.text.as_str(), quote.page))
            .collect()
    };
    assert_eq!(texts("/a~1b"), [("A", Some(1)), ("A again", None)]);
    assert_eq!(texts("/rates/q"), [("R", Some(2))]);
    assert_eq!(texts("/rows/0/n"), [("N", Some(3))]);
    assert_eq!(raised.attributions.len(), 3);
    let dropped: Vec<&str> = raised.dropped.iter().map(|d| d.pointer.as_str()).collect();
    assert_eq!(dropped, ["/quotes/5", "/rows/7/n"]);
    assert!(
        raised
            .attributions
            .values()
            .flat_map(|a| &a.quotes)
            .all(|quote| !quote.verified)
    );
}

#[test]
fn what_is_known_of_tokens_is_placed_where_their_values_end_up() {
    let schema = json!({"type": "object", "properties": {
        "a/b": {"type": "string"},
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}}});
    let laid = json!({"a_b": "x", "pair": {"item_1": "p", "item_2": 2, "count": 2},
        "rates": [{"key": "7", "value": 1}, {"key": "q", "value": 2}]});
    let scored = |under: &str, all: &[(&str, f64)]| -> Vec<Scored> {
        let leaf = |(at, logprob): &(&str, f64)| Scored {
            at: format!("{under}{at}")
                .split('/')
                .map(str::to_owned)
                .collect(),
            logprob: *logprob,
        };
        all.iter().map(leaf).collect()
    };
    let all = [
        ("a_b", -1.0),
        ("rates/0/key", -2.0),
        ("rates/0/value", -3.0),
        ("rates/1/key", -5.0),
        ("rates/1/value", -4.0),
        ("nobody/asked", -9.0),
    ];
    let plan = plan_of(schema);
    let expected = [("/a~1b", -1.0), ("/rates/7", -3.0), ("/rates/q", -5.0)];
    let expected: BTreeMap<String, f64> = expected.map(|(at, own)| (at.to_owned(), own)).into();
    let plain = lower(&plan, &[0], &ANTHROPIC, false);
    assert_eq!(plain.logprobs(0, &laid, &scored("", &all)), expected);
    let quoted = lower(&plan, &[0], &ANTHROPIC, true);
    let answer = json!({"quotes": [{"at": "/a_b", "text": "x", "page": 1}], "value": laid});
    let mut beside = scored("value/", &all);
    beside.extend(scored("quotes/0/", &[("at", -7.0), ("text", -7.0)]));
    assert_eq!(quoted.logprobs(0, &answer, &beside), expected);
    assert!(quoted.logprobs(3, &answer, &beside).is_empty());
    let many = vec![beside[0].clone(); MOST_SCORED + 1];
    assert_eq!(quoted.logprobs(0, &answer, &many[1..]).len(), 1);
    assert!(quoted.logprobs(0, &answer, &many).is_empty());
}

#[test]
fn an_answer_without_its_wrapping_is_told_and_not_guessed_at() {
    let plan = plan_of(json!({"type": "object", "properties": {"a": {"type": "string"}}}));
    let lowered = lower(&plan, &[0], &OPENAI, true);
    let missing = RaiseError::NoValue {
        member: "s0".into(),
    };
    assert_eq!(lowered.raise(0, json!({"a": "x"})), Err(missing));
    assert_eq!(lowered.raise(3, json!({})), Err(RaiseError::NotAsked(3)));
    assert_eq!(
        (lowered.index_of("s0"), lowered.index_of("s1")),
        (Some(0), None)
    );
}

#[test]
fn halves_of_a_schema_add_up_to_its_value() {
    let schema = json!({"type": "object", "required": ["a", "c"], "additionalProperties": false, "properties": {
        "a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "object", "properties": {"d": {}, "e": {}}}}});
    let value = json!({"a": "1", "b": "2", "c": {"d": 3}});
    let (first, second) = halves(&schema).unwrap();
    let keep = |part: &Part| {
        let keys = part.schema["properties"].as_object().unwrap();
        let members = value.as_object().unwrap().iter();
        members
            .filter(|(key, _)| keys.contains_key(*key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<Map<_, _>>()
    };
    let (one, two) = (keep(&first), keep(&second));
    assert!(!one.is_empty() && !two.is_empty() && one.len() + two.len() == 3);
    assert_eq!(join(Value::Object(one), Value::Object(two)), value);
    assert!(first.schema["required"] == json!(["a"]) && second.schema["required"] == json!(["c"]));
    let inner = json!({"type": "object", "properties": {"c": schema["properties"]["c"]}});
    let (first, second) = halves(&inner).unwrap();
    assert_eq!(
        first.schema["properties"]["c"]["properties"],
        json!({"d": {}})
    );
    assert_eq!(
        second.schema["properties"]["c"]["properties"],
        json!({"e": {}})
    );
    assert_eq!(halves(&json!({"type": "array", "items": schema})), None);
    assert_eq!(halves(&json!({"anyOf": [schema]})), None);
}

/// A schema of limited size, with values of it.
fn node(depth: u32) -> BoxedStrategy<(Value, BoxedStrategy<Value>)> {
    let text = prop_oneof![
        Just("x".to_owned()),
        Just("[1]".to_owned()),
        Just("\"{}\"".to_owned()),
        Just("12".to_owned()),
        "[a-z\\[{\"]{0,4}"
    ];
    let text = text.boxed();
    let leaf = prop_oneof![
        Just((
            json!({"type": "string"}),
            text.clone().prop_map(Value::String).boxed()
        )),
        Just((
            json!({"type": "integer"}),
            any::<i32>().prop_map(|n| json!(n)).boxed()
        )),
        Just((
            json!({"type": ["boolean", "null"]}),
            prop_oneof![Just(json!(true)), Just(json!(null))].boxed()
        )),
        Just((
            json!({"enum": ["a", 1, null, {"k": [1]}]}),
            prop_oneof![
                Just(json!("a")),
                Just(json!(1)),
                Just(json!(null)),
                Just(json!({"k": [1]}))
            ]
            .boxed()
        )),
        Just((
            json!(true),
            prop_oneof![
                text.clone().prop_map(Value::String),
                Just(json!([1, {"a": null}])),
                Just(json!(null)),
                Just(json!({"z": "[1]"}))
            ]
            .boxed()
        )),
        Just((
            json!({"type": "object"}),
            prop_oneof![Just(json!({})), Just(json!({"key": {"value": []}}))].boxed()
        )),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = node(depth - 1);
    let list = inner.clone().prop_map(|(schema, value)| {
        let values = proptest::collection::vec(value, 0..3).prop_map(Value::Array);
        (json!({"type": "array", "items": schema}), values.boxed())
    });
    let map = inner.clone().prop_map(move |(schema, value)| {
        let members = proptest::collection::btree_map(text.clone(), value, 0..3);
        let values = members.prop_map(|members| Value::Object(members.into_iter().collect()));
        (
            json!({"type": "object", "additionalProperties": schema}),
            values.boxed(),
        )
    });
    let tuple = proptest::collection::vec(inner.clone(), 1..3).prop_map(|parts| {
        let (schemas, values): (Vec<Value>, Vec<_>) = parts.into_iter().unzip();
        let most = values.len();
        let values = (values, 0..=most).prop_map(|(mut items, count)| {
            items.truncate(count);
            Value::Array(items)
        });
        (
            json!({"type": "array", "prefixItems": schemas, "items": false}),
            values.boxed(),
        )
    });
    let keys = ["a", "", "$ref", "b c", "additional", "omitted"];
    let object = proptest::collection::vec((inner, any::<bool>()), 1..6).prop_map(move |parts| {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut members = Vec::new();
        for (((schema, value), is_required), key) in parts.into_iter().zip(keys) {
            properties.insert(key.to_owned(), schema);
            if is_required {
                required.push(key);
            }
            let there = if is_required {
                Just(true).boxed()
            } else {
                any::<bool>().boxed()
            };
            members.push((Just(key.to_owned()), value, there));
        }
        let values = members.prop_map(|members| {
            let there = members.into_iter().filter(|(_, _, is_there)| *is_there);
            Value::Object(there.map(|(key, value, _)| (key, value)).collect())
        });
        let schema = json!({"type": "object", "properties": properties, "required": required});
        (schema, values.boxed())
    });
    prop_oneof![leaf, list, map, tuple, object].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_a_schema_comes_back_and_is_legal_on_the_way(
        (schema, values) in node(3).prop_flat_map(|(schema, value)| {
            (Just(schema), proptest::collection::vec(value, 1..4))
        }),
        quotes in any::<bool>(),
    ) {
        let plan = plan_of(schema);
        for profile in PROFILES {
            let lowered = lower(&plan, &[0], profile, quotes);
            let sent = jsonschema::validator_for(lowered.answers()).unwrap();
            for value in &values {
                let laid = lowered.lay(0, value).unwrap();
                let answer = json!({"s0": laid});
                let error = sent.iter_errors(&answer).next();
                prop_assert!(error.is_none(), "{}: {} is not {}: {:?}", profile.name, answer, lowered.answers(), error);
                let raised = lowered.raise(0, laid).unwrap().value;
                prop_assert_eq!(&raised, value, "{} {}", profile.name, answer);
            }
        }
    }
}
