use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn all(pieces: &[&str]) -> (Vec<(String, Value)>, Rest) {
    let mut members = Members::default();
    let mut closed = Vec::new();
    for piece in pieces {
        if let Ok(more) = members.feed(piece) {
            closed.extend(more.into_iter().map(|member| (member.name, member.value)));
        }
    }
    (closed, members.finish())
}

fn broken(text: &str) -> Broken {
    all(&[text]).1.broken.unwrap()
}

#[test]
fn a_member_is_given_the_moment_its_value_closes() {
    let mut members = Members::default();
    assert_eq!(members.feed("{\"s0\": {\"a\": [1, 2").unwrap(), []);
    assert_eq!(members.feed("]").unwrap(), []);
    let closed = members.feed("}").unwrap();
    assert_eq!(
        (closed[0].name.as_str(), &closed[0].value),
        ("s0", &json!({"a": [1, 2]}))
    );
    assert_eq!(members.feed(", \"s1\": 12").unwrap(), []);
    assert_eq!(members.feed("3").unwrap(), []);
    assert_eq!(members.feed("}").unwrap()[0].value, json!(123));
    let rest = members.finish();
    assert!(rest.is_closed && rest.open.is_none());
}

#[test]
fn what_stands_around_the_object_is_passed_over() {
    let texts = [
        "\u{feff}{\"a\": 1}",
        "```json\n{\"a\": 1}\n```\nThat is all. {\"b\": 2}",
        "The set {x, y} and {} give: {\"a\": 1}",
        "[{\"a\": 1}]",
        "{ {\"a\": 1}",
    ];
    for text in texts {
        let (closed, rest) = all(&[text]);
        assert_eq!(closed, [("a".to_owned(), json!(1))], "{text}");
        assert!(rest.is_closed && rest.broken.is_none());
    }
}

#[test]
fn an_answer_without_an_object_has_no_members() {
    for text in ["", "12", "\"s0\"", "[1, 2]", "I cannot do that.", "null"] {
        let (closed, rest) = all(&[text]);
        assert_eq!(
            (closed.len(), rest.is_opened, rest.is_closed),
            (0, false, false),
            "{text}"
        );
    }
    let (closed, rest) = all(&["{}"]);
    assert_eq!(
        (closed.len(), rest.is_opened, rest.is_closed),
        (0, true, true)
    );
}

#[test]
fn a_cut_answer_keeps_what_had_closed_and_names_what_was_open() {
    let (closed, rest) = all(&["{\"s0\": [1], \"s1\": {\"x\": \"\\u12"]);
    assert_eq!(closed, [("s0".to_owned(), json!([1]))]);
    assert_eq!((rest.open.as_deref(), rest.is_closed), (Some("s1"), false));
}

#[test]
fn the_first_of_two_members_of_one_name_holds_and_the_second_is_told() {
    let mut members = Members::default();
    let closed = members.feed("{\"a\": 1, \"a\": 2}").unwrap();
    let told: Vec<_> = closed
        .iter()
        .map(|member| (&member.value, member.duplicate))
        .collect();
    assert_eq!(told, [(&json!(1), false), (&json!(2), true)]);
}

#[test]
fn trailing_commas_and_bare_line_feeds_are_set_right_and_counted() {
    let (closed, rest) = all(&["{\"a\": [1, {\"b\": 2 , }, ], \"c\": \"x\ny,]\", }"]);
    assert_eq!(closed[0].1, json!([1, {"b": 2}]));
    assert_eq!(closed[1].1, json!("x\ny,]"));
    assert_eq!((rest.repairs, rest.is_closed), (4, true));
}

#[test]
fn what_is_not_certain_is_not_set_right() {
    for text in [
        "[,]",
        "[1,,2]",
        "NaN",
        "-Infinity",
        "[Infinity]",
        "{\"a\":,}",
        "'x'",
        "01",
        "tru",
        "\"\\ud800\"",
    ] {
        let text = format!("{{\"first\": 1, \"s0\": {text}}}");
        let (closed, rest) = all(&[&text]);
        assert_eq!(closed.len(), 1, "{text}");
        assert!(rest.broken.is_some(), "{text}");
    }
    assert!(matches!(
        broken("{\"a\" 1}"),
        Broken::Unexpected {
            expected: "a colon",
            at: 5,
            ..
        }
    ));
    assert!(matches!(
        broken("{\"a\": 1 \"b\": 2}"),
        Broken::Unexpected { found: '"', .. }
    ));
    assert!(matches!(
        broken("{\"a\": }"),
        Broken::Unexpected {
            expected: "a value",
            ..
        }
    ));
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = |levels: usize| format!("{{\"a\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(all(&[&deep(127)]).0.len(), 1);
    assert_eq!(broken(&deep(128)), Broken::TooDeep { limit: 128 });
    assert_eq!(broken(&deep(100_000)), Broken::TooDeep { limit: 128 });
    let mut members = Members::new(Limits {
        bytes: 100,
        ..Limits::default()
    });
    let closed = members
        .feed(&format!("{{\"a\": 1, \"b\": \"{}", "x".repeat(200)))
        .unwrap();
    assert_eq!(closed.len(), 1);
    assert_eq!(members.feed("more"), Err(Broken::TooLong { limit: 100 }));
}

#[test]
fn every_byte_is_looked_at_once() {
    let rows: Vec<Value> = (0..2_000)
        .map(|n| json!({"n": n, "text": "Größe \"x\" \\ \n"}))
        .collect();
    let text = json!({"rows": rows, "more": rows}).to_string();
    let mut members = Members::default();
    for character in text.chars() {
        members.feed(character.encode_utf8(&mut [0; 4])).unwrap();
    }
    assert_eq!(members.finish().scanned, text.len() as u64);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(|n: f64| Value::from(n)),
        "[ -~äß€😀\\n\\t\\u{0}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec(("[a-c,{}\"\\\\]{0,3}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn pieces<'t>(text: &'t str, cuts: &[prop::sample::Index]) -> Vec<&'t str> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.retain(|place| text.is_char_boundary(*place));
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_cut_the_members_are_those_of_the_whole(
        members in proptest::collection::vec(("[a-d\"\\\\ü]{0,3}", value()), 0..5),
        is_pretty in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole: Map<String, Value> = members.into_iter().collect();
        let value = Value::Object(whole.clone());
        let text = if is_pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let (closed, rest) = all(&pieces(&text, &cuts));
        prop_assert_eq!(closed, whole.into_iter().collect::<Vec<_>>());
        prop_assert!(rest.is_closed && rest.repairs == 0);
        prop_assert_eq!(rest.scanned, text.len() as u64);
    }

    #[test]
    fn any_text_cut_anywhere_reads_as_it_does_whole(
        text in "[\\[\\]{}\",:a0\\\\ \\nNu-]{0,40}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (closed, rest) = all(&pieces(&text, &cuts));
        let (whole, whole_rest) = all(&[&text]);
        prop_assert_eq!(&closed, &whole);
        prop_assert_eq!(rest.broken.is_some(), whole_rest.broken.is_some());
        if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(&text) {
            prop_assert!(rest.is_closed);
            prop_assert!(members.keys().all(|key| closed.iter().any(|(name, _)| name == key)));
        }
    }
}
