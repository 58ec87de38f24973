use serde_json::json;

use super::*;

fn repaired(schema: Value, mut value: Value) -> (Value, usize) {
    let count = repair(&schema, &mut value).len();
    (value, count)
}

#[test]
fn numbers_with_one_reading_are_read() {
    let cases = [
        ("12", json!(12)),
        ("-3", json!(-3)),
        ("\u{2212}3", json!(-3)),
        ("0", json!(0)),
        ("12.50", json!(12.5)),
        ("12,5", json!(12.5)),
        ("0.125", json!(0.125)),
        ("1234.567", json!(1234.567)),
        ("1.234,56", json!(1234.56)),
        ("1,234.56", json!(1234.56)),
        ("1.234.567", json!(1_234_567)),
        ("1,234,567", json!(1_234_567)),
        ("1'234.50", json!(1234.5)),
        ("1’234", json!(1234)),
        ("1 234,56", json!(1234.56)),
        ("1\u{202f}234", json!(1234)),
        ("€ 12.00", json!(12)),
        ("1'234.50 CHF", json!(1234.5)),
    ];
    for (text, number) in cases {
        let schema = json!({"type": ["number", "null"]});
        assert_eq!(repaired(schema, json!(text)), (number, 1), "{text}");
    }
}

#[test]
fn numbers_with_two_readings_stay_as_they_are() {
    let texts = [
        "1.234",
        "1,234",
        "12.345",
        "1 234",
        "7 %",
        "007",
        "0.",
        ".5",
        "1.2.3",
        "12,34,56",
        "1,23.45,6",
        "1.234,567.8",
        "12 or 13",
        "(12.50)",
        "12-",
        "1e3",
        "0x10",
        "12.345678901234567",
        "",
        "n/a",
        "1,2345.6",
        "1'23",
        "1234567890123456789012",
    ];
    for text in texts {
        let schema = json!({"type": "number"});
        assert_eq!(repaired(schema, json!(text)), (json!(text), 0), "{text}");
    }
    let whole = json!({"type": "integer"});
    assert_eq!(repaired(whole.clone(), json!("12.5")), (json!("12.5"), 0));
    assert_eq!(repaired(whole.clone(), json!(12.5)), (json!(12.5), 0));
    assert_eq!(repaired(whole, json!("12.00")), (json!(12), 1));
}

#[test]
fn a_whole_number_with_decimals_becomes_whole_where_only_those_are_wanted() {
    let (value, count) = repaired(json!({"type": "integer"}), json!(12.0));
    assert_eq!((value.to_string().as_str(), count), ("12", 1));
    let (value, count) = repaired(json!({"type": "number"}), json!(12.0));
    assert_eq!((value.to_string().as_str(), count), ("12.0", 0));
}

#[test]
fn scalars_become_text_and_words_become_booleans_where_nothing_else_is_wanted() {
    assert_eq!(
        repaired(json!({"type": "string"}), json!(12)),
        (json!("12"), 1)
    );
    assert_eq!(
        repaired(json!({"type": "string"}), json!(true)),
        (json!("true"), 1)
    );
    assert_eq!(
        repaired(json!({"type": ["string", "number"]}), json!(12)),
        (json!(12), 0)
    );
    for (text, value) in [
        ("Yes", true),
        ("false", false),
        ("ja", true),
        ("non", false),
    ] {
        assert_eq!(
            repaired(json!({"type": "boolean"}), json!(text)),
            (json!(value), 1)
        );
    }
    for text in ["1", "0", "x", "y", "maybe"] {
        assert_eq!(
            repaired(json!({"type": "boolean"}), json!(text)).1,
            0,
            "{text}"
        );
    }
    assert_eq!(repaired(json!({"type": "string"}), json!({"a": 1})).1, 0);
}

#[test]
fn dates_with_one_reading_are_written_as_the_schema_wants() {
    let cases = [
        ("2024/3/5", "2024-03-05"),
        ("05.03.2024", "2024-03-05"),
        ("13/05/2024", "2024-05-13"),
        ("05/13/2024", "2024-05-13"),
        ("05/05/2024", "2024-05-05"),
        ("March 5, 2024", "2024-03-05"),
        ("5. März 2024", "2024-03-05"),
        ("1er août 2024", "2024-08-01"),
        ("5th of May 2024", "2024-05-05"),
        ("05-Mar-2024", "2024-03-05"),
        ("2024-03-05T00:00:00Z", "2024-03-05"),
    ];
    for (text, date) in cases {
        let schema = json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]});
        assert_eq!(repaired(schema, json!(text)), (json!(date), 1), "{text}");
    }
}

#[test]
fn dates_with_two_readings_or_none_stay_as_they_are() {
    let texts = [
        "05/06/2024",
        "5-6-2024",
        "05.03.24",
        "31.02.2024",
        "29 February 2023",
        "2024-13-01",
        "March 2024",
        "5 March",
        "2024-03-05T10:00:00Z",
        "next Monday",
        "2024-03-05",
        "5 Mars 24",
        "5 March 2024 or later",
    ];
    for text in texts {
        let schema = json!({"type": "string", "format": "date"});
        assert_eq!(repaired(schema, json!(text)), (json!(text), 0), "{text}");
    }
    let free = json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]});
    assert_eq!(
        repaired(free, json!("05.03.2024")).1,
        0,
        "where any text is good, it stays"
    );
}

#[test]
fn a_listed_value_is_found_without_regard_to_case_and_space_if_it_is_one() {
    let schema = json!({"enum": ["Net 30", "net60", "NET60", 5, null]});
    assert_eq!(
        repaired(schema.clone(), json!("NET  30")),
        (json!("Net 30"), 1)
    );
    for text in ["Net60", "net-30", "net 3"] {
        assert_eq!(
            repaired(schema.clone(), json!(text)),
            (json!(text), 0),
            "{text}"
        );
    }
    assert_eq!(repaired(schema, json!(" ")), (json!(null), 1));
}

#[test]
fn one_object_becomes_a_list_of_it_and_is_then_looked_into() {
    let schema = json!({"type": "array", "items": {"$ref": "#/$defs/row"},
        "$defs": {"row": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
    assert_eq!(
        repaired(schema.clone(), json!({"n": "5"})),
        (json!([{"n": 5}]), 2)
    );
    assert_eq!(
        repaired(schema, json!([{"n": "5"}, {"n": "1.234"}])),
        (json!([{"n": 5}, {"n": "1.234"}]), 1)
    );
    let texts = json!({"type": "array", "items": {"type": "string"}});
    assert_eq!(repaired(texts.clone(), json!("a, b")), (json!("a, b"), 0));
    assert_eq!(repaired(texts, json!({"n": 5})).1, 0);
}

#[test]
fn an_empty_text_becomes_null_only_where_it_breaks_the_schema() {
    let schema = |least: u32| json!({"type": ["string", "null"], "minLength": least});
    assert_eq!(repaired(schema(1), json!("")), (json!(null), 1));
    assert_eq!(repaired(schema(0), json!("")), (json!(""), 0));
    assert_eq!(
        repaired(json!({"type": "string", "minLength": 1}), json!("")),
        (json!(""), 0)
    );
}

#[test]
fn a_valid_value_is_left_alone() {
    let schema = json!({"type": "object", "properties": {
        "id": {"type": "string"}, "n": {"type": ["number", "string"]}, "x": {"enum": ["a", "A"]}}});
    let value = json!({"id": "12", "n": "12", "x": "a", "more": ["1"]});
    assert_eq!(repaired(schema, value.clone()), (value, 0));
}

#[test]
fn alternatives_are_set_right_inside_and_each_repair_is_told() {
    let schema = json!({"type": "object", "properties": {"pay": {"oneOf": [
        {"type": "object", "required": ["iban"], "properties": {"iban": {"type": "string"}, "days": {"type": "integer"}}},
        {"type": "null"}]}}});
    let mut value = json!({"pay": {"iban": 12, "days": "30"}});
    let repairs = repair(&schema, &mut value);
    assert_eq!(value, json!({"pay": {"iban": "12", "days": 30}}));
    assert_eq!(repairs[0].pointer, "/pay/iban");
    assert_eq!(repairs[1].what, "`\"30\"` was read as `30`");
}
