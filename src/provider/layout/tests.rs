//! Whole documents against whole schemas: cases as data, and what must hold for any pair.

use std::sync::Arc;

use futures_util::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::document::{Document, Kind, Page, Rule, Word};
use crate::domain::evidence::{Attributions, Claim, Index, prove};
use crate::domain::merge::merge;
use crate::domain::plan::SplitterConfigs;
use crate::domain::plan::{self, Plan, Subtree, Take};
use crate::domain::pointer::Pointer;
use crate::engine::ports::{Answer, Call, Provider};

use super::{Layout, extract};

/// What the proof leaves of the attributions that the extractor gave.
fn proved(document: &Document, schema: &Value, value: &Value, given: Attributions) -> Attributions {
    let keys: Vec<String> = given.keys().cloned().collect();
    let claim = Claim {
        schema,
        value,
        attributions: given,
        invalid: &[],
        signals: &std::collections::BTreeMap::new(),
    };
    let mut all = prove(document, &Index::new(document), claim);
    all.retain(|at, _| keys.contains(at));
    assert_eq!(all.len(), keys.len(), "an attribution is of no leaf");
    all
}

/// A text as a page: a word's column and line are its place.
fn document(text: &str, kind: Kind) -> Document {
    let width = text
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
        .max(1) as f32;
    let height = text.lines().count().max(1) as f32;
    let lines = text.lines().enumerate().map(|(row, line)| {
        let mut words = Vec::new();
        let mut column = 0;
        for part in line.split(' ') {
            let length = part.chars().count();
            if length > 0 {
                let (x0, x1) = (column as f32 / width, (column + length) as f32 / width);
                words.push(Word {
                    text: part.to_owned(),
                    bbox: [x0, row as f32 / height, x1, (row + 1) as f32 / height],
                    start: 0,
                    size: 0.0,
                    bold: false,
                });
            }
            column += length + 1;
        }
        words
    });
    let page = Page::from_lines(1, width, height, lines.collect(), vec![]);
    Document {
        kind,
        sha256: text.len().to_string(),
        pages: vec![page],
        unread: vec![],
    }
}

/// A printed page from a drawing: lines of `+` and `-` are rulings, and so are the `|` of others.
fn drawn(drawing: &[&str]) -> Document {
    let width = drawing.iter().map(|line| line.len()).max().unwrap_or(1) as f32;
    let height = drawing.len() as f32;
    let text: Vec<String> = drawing
        .iter()
        .map(|line| line.replace(['|', '+', '-'], " "))
        .collect();
    let mut document = document(&text.join("\n"), Kind::Pdf);
    let page = &mut document.pages[0];
    (page.width, page.height) = (width * 6.0, height * 12.0);
    for (row, line) in drawing.iter().enumerate() {
        let (top, middle) = (row as f32 / height, (row as f32 + 0.5) / height);
        if line.starts_with('+') {
            let end = line.len() as f32 / width;
            page.rules.push(Rule {
                bbox: [0.0, middle, end, middle],
            });
        }
        for (at, _) in line.match_indices(['|', '+']) {
            let x = (at as f32 + 0.5) / width;
            page.rules.push(Rule {
                bbox: [x, top, x, top + 1.0 / height],
            });
        }
    }
    document
}

fn tables(document: &Document) -> Value {
    let rows = json!({"type": "array", "items": {"type": "array", "items": {"type": "string"}}});
    let table =
        json!({"type": "object", "properties": {"page": {"type": "integer"}, "rows": rows}});
    let schema =
        json!({"type": "object", "properties": {"tables": {"type": "array", "items": table}}});
    let (value, _) = extract(document, &plan(schema), 0).unwrap();
    value["tables"].clone()
}

#[test]
fn what_stands_between_two_rulings_is_one_row_unless_rows_of_figures_stand_there() {
    let document = drawn(&[
        "+----------+---------------------------+",
        "| Type     | Description               |",
        "+----------+---------------------------+",
        "| Likert   | An ordered set of terms   |",
        "| scale    | or of whole statements    |",
        "+----------+---------------------------+",
        "| Rating   | Numbers from which one is |",
        "|          | chosen by the patient     |",
        "+----------+---------------------------+",
        "                                        ",
        "  Another table of the same width       ",
        "                                        ",
        "+----------+------------+--------------+",
        "| Savings  |  Low       | High         |",
        "+----------+------------+--------------+",
        "| Per      |  15        | 5            |",
        "| cycle    |  30        | 8            |",
        "+----------+------------+--------------+",
        "| In all   |  7         | 9            |",
        "+----------+------------+--------------+",
    ]);
    let read = tables(&document);
    assert_eq!(
        read[0]["rows"],
        json!([
            ["Type", "Description"],
            [
                "Likert scale",
                "An ordered set of terms or of whole statements"
            ],
            ["Rating", "Numbers from which one is chosen by the patient"],
        ]),
        "{read:#}"
    );
    assert_eq!(
        read[1]["rows"],
        json!([
            ["Savings", "Low", "High"],
            ["Per", "15", "5"],
            ["cycle", "30", "8"],
            ["In all", "7", "9"],
        ]),
        "{read:#}"
    );
}

fn plan(schema: Value) -> Plan {
    let subtree = Subtree {
        id: "root".into(),
        path: Pointer::root(),
        kind: plan::Kind::Object,
        take: Take::Whole,
        schema,
        total_fields: 1,
        context: vec![],
    };
    Plan {
        shells: Vec::new(),
        bound: None,
        subtrees: vec![Arc::new(subtree)],
    }
}

#[test]
fn each_case_gives_the_values_that_stand_in_it_and_no_others() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/cases/layout.json")).unwrap();
    for case in cases {
        let text: Vec<&str> = case["text"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let kind = if case["markdown"] == true {
            Kind::Markdown
        } else {
            Kind::Text
        };
        let document = document(&text.join("\n"), kind);
        let (value, attributions) = extract(&document, &plan(case["schema"].clone()), 0).unwrap();
        assert_eq!(value, case["expected"], "{}", case["name"]);
        let attributions = proved(&document, &case["schema"], &value, attributions);
        for (pointer, attribution) in &attributions {
            assert!(
                value.pointer(pointer).is_some_and(|leaf| !leaf.is_null()),
                "{} {pointer}",
                case["name"]
            );
            assert!(
                !attribution.quotes.is_empty()
                    && attribution.quotes.iter().all(|quote| quote.verified)
            );
        }
    }
}

#[tokio::test]
async fn a_call_answers_each_of_its_subtrees_and_then_says_what_it_cost() {
    let schema = json!({"type": "object", "properties": {"total": {"type": "number"}}});
    let mut plan = plan(schema);
    plan.subtrees.push(Arc::clone(&plan.subtrees[0]));
    let call = Call {
        model: super::NAME.into(),
        document: Arc::new(document("Total: 5.00", Kind::Text)),
        attachments: Arc::default(),
        plan: Arc::new(plan),
        plan_key: "a".into(),
        subtrees: vec![1, 0, 7],
        additional_instructions: None,
        temperature: None,
        seed: None,
        enable_thinking: false,
        per_key_attribution: true,
        use_explicit_context_cache: false,
        corrections: Vec::new(),
        keeps_rows: false,
    };
    let answers: Vec<_> = Layout::default().ask(call).collect().await;
    let [
        Ok(Answer::Subtree {
            index: 1, value, ..
        }),
        Ok(Answer::Subtree { index: 0, .. }),
        Err(error),
        Ok(Answer::Usage(usage)),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(value, &json!({"total": 5.0}));
    assert!(error.message.contains('7'));
    assert_eq!(
        (usage.request_count, usage.total_token_count, usage.cost_usd),
        (1, 0, Some(0.0))
    );
}

#[test]
fn a_schema_bomb_and_a_wide_table_end_soon() {
    let mut schema = json!({"type": "string"});
    for _ in 0..40 {
        schema = json!({"type": "object", "properties": {"a": schema.clone(), "b": {"type": "array", "items": schema}}});
        if schema.to_string().len() > 200_000 {
            break;
        }
    }
    let row: Vec<String> = (0..40).map(|column| format!("c{column}")).collect();
    let row = row.join("  ");
    let text = vec![row; 400].join("\n");
    let began = std::time::Instant::now();
    assert!(extract(&document(&text, Kind::Text), &plan(schema), 0).is_some());
    assert!(began.elapsed().as_secs() < 60);
}

const WORDS: &[&str] = &[
    "Invoice",
    "No.:",
    "Total",
    "Total:",
    "Date:",
    "Datum",
    "Käufer",
    "Seller:",
    "IBAN",
    "12.05.2024",
    "$1,234.50",
    "5",
    "(",
    ")",
    "%",
    ":",
    "-",
    "|",
    "||",
    "**",
    "#",
    "===",
    "Qty",
    "Price",
    "Amount",
    "Description",
    "GmbH",
    "12345",
    "Berlin",
    "☒",
    "Yes",
    "No",
    "=",
    "×",
    "3x",
    "—",
    "DE88200800000970375700",
    "ﬁ",
    "İ",
    "ß",
    "½",
    "\u{301}",
    "\u{200b}",
    "a@b.de",
    "laws",
    "of",
    "Delaware",
    "between",
    "and",
    "Inc.,",
    "1.",
    "€",
];

fn text() -> impl Strategy<Value = String> {
    let word = (prop::sample::select(WORDS), 1usize..6);
    let line = prop::collection::vec(word, 0..8).prop_map(|words| {
        words.into_iter().fold(String::new(), |line, (word, gap)| {
            line + word + &" ".repeat(gap)
        })
    });
    prop::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n"))
}

const NAMES: &[&str] = &[
    "invoice_number",
    "issueDate",
    "due_date",
    "total",
    "currency",
    "seller",
    "buyer",
    "name",
    "street",
    "vat_id",
    "iban",
    "items",
    "quantity",
    "price",
    "amount",
    "description",
    "paid",
    "parties",
    "governing_law",
    "term",
    "flight_from",
    "flight_to",
    "page",
    "rows",
    "",
];

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!({"type": "string"}),
        json!({"type": ["string", "null"], "format": "date"}),
        json!({"type": "number", "minimum": 0}),
        json!({"type": ["integer", "null"]}),
        json!({"type": "boolean"}),
        json!({"enum": ["Yes", "No", 5, null]}),
        json!({"type": "string", "pattern": "^[A-Z]", "maxLength": 12}),
        json!({}),
        json!(true),
        json!({"$ref": "#/$defs/x"}),
    ]);
    leaf.prop_recursive(3, 24, 6, |inner| {
        let fields = prop::collection::vec((prop::sample::select(NAMES), inner.clone()), 0..6);
        let object = fields.prop_map(|fields| {
            let required: Vec<&str> = fields.iter().map(|(name, _)| *name).take(2).collect();
            let fields: serde_json::Map<String, Value> = fields
                .into_iter()
                .map(|(name, schema)| (name.to_owned(), schema))
                .collect();
            json!({"type": "object", "properties": fields, "required": required})
        });
        prop_oneof![
            object,
            inner.prop_map(|items| json!({"type": ["array", "null"], "items": items}))
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_quote_proves_and_every_attributed_leaf_is_there(text in text(), schema in schema(), markdown in any::<bool>()) {
        let document = document(&text, if markdown { Kind::Markdown } else { Kind::Text });
        let (value, attributions) = extract(&document, &plan(schema.clone()), 0).unwrap();
        let attributions = proved(&document, &schema, &value, attributions);
        for (pointer, attribution) in &attributions {
            let leaf = value.pointer(pointer);
            prop_assert!(leaf.is_some_and(|leaf| !leaf.is_null() && !leaf.is_object()), "{pointer} in {value}");
            prop_assert!(!attribution.quotes.is_empty());
            prop_assert!(attribution.quotes.iter().all(|quote| quote.verified), "{attribution:?}");
            prop_assert!(attribution.confidence.is_some_and(|sure| (0.0..=1.0).contains(&sure)));
        }
    }

    #[test]
    fn subtrees_add_up_to_the_whole(text in text(), schema in schema(), join in 0u32..4) {
        let document = document(&text, Kind::Text);
        let parts = Plan::of(&schema, SplitterConfigs { max_fields_to_join: join, max_subtrees: 200 });
        let values: Vec<_> = (0..parts.subtrees.len())
            .map(|index| (&parts.subtrees[index].path, extract(&document, &parts, index).unwrap().0))
            .collect();
        let (whole, _) = extract(&document, &plan(schema), 0).unwrap();
        prop_assert_eq!(merge(values), whole);
    }

    #[test]
    fn what_is_found_is_the_same_each_time(text in text(), schema in schema()) {
        let document = document(&text, Kind::Text);
        let first = extract(&document, &plan(schema.clone()), 0);
        prop_assert_eq!(extract(&document, &plan(schema), 0), first);
    }
}
