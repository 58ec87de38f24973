use serde_json::json;

use super::*;
use crate::domain::plan::SplitterConfigs;

fn told(confidence: f64, verdict: Verdict) -> Attribution {
    Attribution {
        confidence: Some(confidence),
        verdict: Some(verdict),
        ..Attribution::default()
    }
}

fn at(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

/// Paths that a gate flags in one invoice.
fn flagged(gate: &Value) -> Vec<(String, Vec<Cause>)> {
    let schema = json!({
        "type": "object",
        "required": ["number", "due"],
        "properties": {
            "number": {"type": "string"},
            "due": {"type": ["string", "null"]},
            "note": {"type": "string"},
            "seller": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "vat": {"type": "string"}, "iban": {"type": "string"}, "city": {"type": "string"}}
            },
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}}
        },
        "$defs": {"row": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": ["number", "null"]}, "text": {"type": "string"}}}}
    });
    let plan = Plan::of(&schema, SplitterConfigs::default());
    let results = json!({
        "number": "A-17",
        "due": null,
        "seller": {"vat": "DE1", "name": null, "iban": "X", "city": "Y"},
        "rows": [{"amount": 5, "text": "a"}, {"amount": null, "text": "b"}]
    });
    let attributions: Attributions = [
        ("/number", told(0.95, Verdict::Verified)),
        ("/seller/vat", told(0.5, Verdict::NotFound)),
        ("/seller/iban", told(0.95, Verdict::Ambiguous)),
        ("/seller/city", told(0.95, Verdict::Verified)),
        ("/rows/0/amount", told(0.85, Verdict::Verified)),
        ("/rows/0/text", told(0.99, Verdict::Verified)),
    ]
    .map(|(at, told)| (at.to_owned(), told))
    .into();
    let (rows, seal) = (at("/rows"), at("/seal"));
    let seen = Seen {
        plan: &plan,
        results: &results,
        attributions: Some(&attributions),
        incomplete: vec![&rows],
        failed: vec![&seal],
    };
    let gate = Predicate::parse(gate, "/config/review").unwrap();
    let flags = flags(&gate, &seen).into_iter();
    flags
        .map(|flag| (flag.path.as_str().to_owned(), flag.reasons))
        .collect()
}

fn paths(gate: &Value) -> Vec<String> {
    flagged(gate).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn each_predicate_flags_what_it_names() {
    assert_eq!(
        paths(&json!({"confidence_below": 0.9})),
        // The last has no attribution: nothing is known of it.
        ["/rows/0/amount", "/rows/1/text", "/seller/vat"]
    );
    assert_eq!(
        paths(&json!({"evidence_not_verified": true})),
        ["/rows/1/text", "/seller/iban", "/seller/vat"]
    );
    assert_eq!(
        paths(&json!({"required_null": true})),
        ["/due", "/rows/1/amount", "/seller/name"]
    );
    assert_eq!(paths(&json!({"array_incomplete": true})), ["/rows"]);
    assert_eq!(paths(&json!({"subtree_failed": true})), ["/seal"]);
    assert_eq!(paths(&json!({"always": true})), [""]);
}

#[test]
fn lists_join_predicates_of_one_field() {
    let both = json!({"all_of": [{"confidence_below": 0.9}, {"evidence_not_verified": true}]});
    let causes = vec![Cause::LowConfidence, Cause::EvidenceNotVerified];
    assert_eq!(
        flagged(&both),
        [
            ("/rows/1/text".to_owned(), causes.clone()),
            ("/seller/vat".to_owned(), causes)
        ]
    );
    let either = json!({"any_of": [{"array_incomplete": true}, {"subtree_failed": true}]});
    assert_eq!(paths(&either), ["/rows", "/seal"]);
    let never = json!({"all_of": [{"array_incomplete": true}, {"subtree_failed": true}]});
    assert!(paths(&never).is_empty());
}

#[test]
fn a_gate_that_cannot_be_read_is_refused_by_its_place() {
    let deep = (0..7).fold(
        json!({"always": true}),
        |inner, _| json!({"any_of": [inner]}),
    );
    let many = json!({"any_of": vec![json!({"always": true}); 60]});
    for (gate, place) in [
        (json!(0.9), ""),
        (json!({}), ""),
        (json!({"always": true, "required_null": true}), ""),
        (json!({"confidence_under": 0.9}), ""),
        (json!({"confidence_below": 92}), "/confidence_below"),
        (json!({"always": false}), "/always"),
        (json!({"any_of": []}), "/any_of"),
        (
            json!({"any_of": [{"all_of": [{"always": 1}]}]}),
            "/any_of/0/all_of/0/always",
        ),
        (many, "/any_of/49"),
    ] {
        let fault = Predicate::parse(&gate, "/config/review").unwrap_err();
        assert_eq!(fault.pointer, format!("/config/review{place}"), "{gate}");
    }
    assert!(Predicate::parse(&deep, "").is_err());
}

#[test]
fn corrections_take_the_place_of_values_and_of_their_evidence() {
    let mut review = Review::open(2, Time(0));
    let correct = |path: &str, value: Value| Correction {
        path: at(path),
        value,
    };
    review.correct(vec![
        correct("/rows/0/amount", json!(6)),
        correct("/rows", json!([{"amount": 7}])),
        correct("/seller/name", json!("ACME")),
    ]);
    assert_eq!(review.corrections.len(), 2);
    let mut results = json!({"rows": [{"amount": 5}, {}], "seller": {}});
    let mut attributions: Attributions = ["/rows/0/amount", "/rowsum", "/seller/name"]
        .map(|at| (at.to_owned(), told(0.5, Verdict::NotFound)))
        .into();
    review.apply(&mut results, Some(&mut attributions));
    assert_eq!(
        results,
        json!({"rows": [{"amount": 7}], "seller": {"name": "ACME"}})
    );
    let left: Vec<_> = attributions.keys().map(String::as_str).collect();
    assert_eq!(left, ["/rows", "/rowsum", "/seller/name"]);
    assert_eq!(attributions["/seller/name"].confidence, None);
    assert!(attributions["/rowsum"].confidence.is_some());
}

#[test]
fn a_correction_has_a_place_in_what_is_there() {
    let results = json!({"rows": [1], "seller": {"name": "x"}});
    for path in ["", "/rows", "/rows/0", "/rows/1", "/new", "/seller/vat"] {
        assert!(has_place(&results, &at(path)), "{path}");
    }
    for path in [
        "/rows/2",
        "/rows/01",
        "/rows/-",
        "/none/a",
        "/seller/name/a",
    ] {
        assert!(!has_place(&results, &at(path)), "{path}");
    }
}
