//! Tables read by code, by what a model has read of some of their rows.

use std::collections::HashSet;
use std::sync::Arc;

use rivulet::document::Readers;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::rows::{
    Division, Lesson, List, Place, Sample, Survey, Tables, Window, WindowLimits,
};
use rivulet::engine::ports::Reader as _;
use serde_json::{Value, json};

use crate::long::{Document as Long, Spec};

/// A document, a list of it, and what is true of each of its rows by the line it begins on.
struct Case {
    survey: Survey,
    list: List,
    rows: Vec<(Place, Value)>,
}

/// What became of it.
struct Outcome {
    coded: usize,
    asked: usize,
    shown: usize,
}

fn case(bytes: &[u8], schema: &Value, name: &str, rows: Vec<(Place, Value)>) -> Case {
    let survey = Survey::of(Arc::new(Readers.read(bytes).unwrap()));
    let plan = Plan::of(schema, SplitterConfigs::default());
    let mut paths = plan.subtrees.iter();
    let index = paths.position(|subtree| subtree.path.last().as_deref() == Some(name));
    Case {
        survey,
        list: List::of(&plan, index.unwrap()).unwrap(),
        rows,
    }
}

/// The lists of a made document.
fn cases(spec: Spec, as_pdf: bool) -> Vec<Case> {
    let long = Long::make(spec);
    let bytes = if as_pdf {
        long.pdf()
    } else {
        long.text().into_bytes()
    };
    let truth = long.truth();
    let lists = ["items", "returned_items"].into_iter().zip(long.printed());
    let cases = lists.map(|(name, printed)| {
        let places = printed.iter().map(|lines| Place {
            page: lines[0].0 as u32 + 1,
            line: lines[0].1 as u32,
        });
        let rows = truth[name].as_array().unwrap().iter().cloned();
        case(&bytes, &long.schema(), name, places.zip(rows).collect())
    });
    cases.collect()
}

fn shows(window: &Window, place: Place) -> bool {
    let mut all = window.context.iter().chain([&window.shown]);
    all.any(|stretch| stretch.contains(place))
}

impl Case {
    /// What an honest model reads of what it is shown.
    fn lesson(&self, sample: &Sample) -> Lesson {
        let rows = self.rows.iter();
        let rows = rows.filter(|(place, _)| shows(&sample.window, *place));
        Lesson {
            sample: sample.clone(),
            rows: rows.map(|(_, row)| row.clone()).collect(),
        }
    }

    fn divided(&self) -> (Option<Division>, usize) {
        let Some(tables) = Tables::of(&self.survey, &self.list) else {
            return (None, 0);
        };
        let samples = tables.samples(&self.survey);
        let mut lessons: Vec<Lesson> = samples.iter().map(|sample| self.lesson(sample)).collect();
        let mut learned = tables.learn(&self.survey, &lessons);
        lessons.extend(learned.doubts.iter().map(|sample| self.lesson(sample)));
        learned = tables.learn(&self.survey, &lessons);
        let shown = lessons.iter().map(|lesson| lesson.rows.len()).sum();
        let limits = WindowLimits::default();
        let division = tables.divide(&self.survey, &learned, &HashSet::new(), limits);
        (division, shown)
    }

    /// Reads the document, and sees that code says nothing that is not true, and that every row is
    /// read by code or asked for.
    fn outcome(&self) -> Outcome {
        let (division, shown) = self.divided();
        let Some(division) = division else {
            return Outcome {
                coded: 0,
                asked: self.rows.len(),
                shown,
            };
        };
        let mut coded: Vec<(Place, &Value)> = Vec::new();
        for part in &division.coded {
            assert_eq!(part.rows.len(), part.places.len());
            let places = part.places.iter().map(|place| place.unwrap().first);
            coded.extend(places.zip(&part.rows));
        }
        for (place, row) in &coded {
            let truth = self.rows.iter().find(|(known, _)| known == place);
            let truth = truth.map(|(_, truth)| truth);
            assert_eq!(Some(*row), truth, "{place:?}");
        }
        let owns = |window: &&Window, place: Place| window.own.contains(place);
        let mut asked = 0;
        for (place, row) in &self.rows {
            let is_coded = coded.iter().any(|(known, _)| known == place);
            let by_model = division
                .asked
                .iter()
                .filter(|window| owns(window, *place))
                .count();
            assert_eq!(by_model + usize::from(is_coded), 1, "{place:?} {row}");
            asked += by_model;
        }
        Outcome {
            coded: coded.len(),
            asked,
            shown,
        }
    }
}

#[test]
fn code_reads_nearly_all_rows_of_a_plain_table_and_most_of_a_hard_one() {
    for (seed, rows) in [(1, 100), (2, 400), (3, 400), (4, 800), (5, 200)] {
        for as_pdf in [false, true] {
            for (spec, least) in [(Spec::plain(seed, rows), 98), (Spec::hard(seed, rows), 75)] {
                let case = &cases(spec, as_pdf)[0];
                let Outcome {
                    coded,
                    asked,
                    shown,
                } = case.outcome();
                println!("{spec:?} pdf {as_pdf}: {coded} by code, {asked} asked, {shown} shown");
                assert!(
                    coded * 100 >= rows * least,
                    "{spec:?} {as_pdf} {coded} {asked} {shown}"
                );
                assert!(shown <= 64, "{spec:?} {shown}");
            }
        }
    }
}

#[test]
fn the_other_of_two_tables_with_one_header_is_not_taken_for_the_list_s_own() {
    for seed in [2, 3, 6] {
        for case in cases(Spec::hard(seed, 400), false) {
            // Every row that code gives is one of the list.
            let outcome = case.outcome();
            println!("{} {}", outcome.coded, outcome.asked);
        }
    }
}

/// Columns of one width each, the first to the left and the others to the right.
fn line(cells: &[&str]) -> String {
    let (first, others) = cells.split_first().unwrap();
    let others = others.iter().map(|cell| format!("{cell:>16}"));
    format!("{first:<20}{}", others.collect::<String>())
}

/// A list of these properties, and a text of these lines, of which some are rows.
fn made(properties: &Value, lines: Vec<(String, Option<Value>)>) -> Case {
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": {
        "type": "object", "properties": properties}}}});
    let (mut text, mut rows, mut number) = (String::new(), Vec::new(), 0);
    for (line, row) in lines {
        text.push_str(&line);
        text.push('\n');
        if let Some(row) = row {
            rows.push((
                Place {
                    page: 1,
                    line: number,
                },
                row,
            ));
        }
        number += u32::from(!line.trim().is_empty());
    }
    case(text.as_bytes(), &schema, "rows", rows)
}

fn amount(cents: usize) -> (String, Value) {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn numbers(names: &[&str]) -> Value {
    let mut properties = json!({"name": {"type": "string"}});
    for name in names {
        properties[*name] = json!({"type": "number"});
    }
    properties
}

#[test]
fn of_two_columns_of_like_kind_the_right_one_is_told_or_neither_is_taken() {
    // Ordered and delivered differ in few rows, none of them near an edge of the table.
    let mut lines = vec![(line(&["Article", "Ordered", "Delivered", "Price"]), None)];
    for at in 0..300 {
        let (ordered, price) = (10 + at % 37, amount(1_250 + at * 7));
        let delivered = if at % 41 == 20 { ordered - 3 } else { ordered };
        let name = format!("Part P{at:04}");
        let cells = [
            &name,
            &ordered.to_string(),
            &delivered.to_string(),
            &price.0,
        ];
        let row = json!({"name": name, "quantity": delivered, "price": price.1});
        lines.push((line(&cells.map(String::as_str)), Some(row)));
    }
    let outcome = made(&numbers(&["quantity", "price"]), lines).outcome();
    assert!(outcome.coded >= 290, "{}", outcome.coded);
}

#[test]
fn a_column_in_other_units_is_left_to_the_model() {
    let mut lines = vec![(line(&["Fund", "Value in thousands", "Share"]), None)];
    for at in 0..120 {
        let (share, name) = (amount(100 + at * 3), format!("Fund F{at:03}"));
        let row = json!({"name": name, "value": (500 + at) * 1_000, "share": share.1});
        lines.push((line(&[&name, &(500 + at).to_string(), &share.0]), Some(row)));
    }
    let outcome = made(&numbers(&["value", "share"]), lines).outcome();
    assert_eq!((outcome.coded, outcome.asked), (0, 120));
}

#[test]
fn units_that_change_within_a_table_are_seen() {
    // From a heading in the middle on, amounts are in cents.
    let mut lines = vec![(line(&["Name", "Count", "Amount"]), None)];
    for at in 0..240 {
        if at == 120 {
            lines.push(("Amounts from here on are in cents".to_owned(), None));
        }
        let (count, name) = ((3 + at % 9).to_string(), format!("Item I{at:03}"));
        let printed = amount(40_000 + at * 100);
        let value = if at < 120 {
            printed.1
        } else {
            amount(400 + at).1
        };
        let row = json!({"name": name, "count": 3 + at % 9, "amount": value});
        lines.push((line(&[&name, &count, &printed.0]), Some(row)));
    }
    let outcome = made(&numbers(&["count", "amount"]), lines).outcome();
    assert!(outcome.coded <= 120, "{}", outcome.coded);
}

#[test]
fn sums_that_look_like_rows_are_not_taken_for_rows() {
    for label in ["Subtotal", "Total A-K", "Sum of group"] {
        let mut lines = vec![(line(&["Name", "Count", "Price", "Amount"]), None)];
        for at in 0..200 {
            let (count, price) = ((2 + at % 5).to_string(), amount(1_000 + at * 13));
            let (name, total) = (
                format!("Item I{at:03}"),
                amount((2 + at % 5) * (1_000 + at * 13)),
            );
            let row =
                json!({"name": name, "count": 2 + at % 5, "price": price.1, "amount": total.1});
            lines.push((line(&[&name, &count, &price.0, &total.0]), Some(row)));
            if at % 25 == 24 {
                lines.push((line(&[label, "77", "12.00", "9800.00"]), None));
            }
        }
        let outcome = made(&numbers(&["count", "price", "amount"]), lines).outcome();
        println!("{label}: {} by code", outcome.coded);
    }
}

#[test]
fn a_row_of_another_kind_than_those_shown_is_left_to_the_model() {
    // Few rows are credits, in brackets, in another currency, or without a figure.
    let mut lines = vec![(line(&["Name", "Count", "Amount"]), None)];
    for at in 0..300 {
        let (name, printed) = (format!("Item I{at:03}"), amount(2_000 + at * 11));
        let (text, value) = match at % 100 {
            40 => (format!("({})", printed.0), json!(null)),
            60 => (format!("{} USD", printed.0), json!(null)),
            70 => ("n/a".to_owned(), json!(null)),
            80 => ("1.234".to_owned(), json!(null)),
            _ => printed,
        };
        let row = json!({"name": name, "count": 5 + at % 7, "amount": value});
        lines.push((line(&[&name, &(5 + at % 7).to_string(), &text]), Some(row)));
    }
    let outcome = made(&numbers(&["count", "amount"]), lines).outcome();
    assert!((280..=291).contains(&outcome.coded), "{}", outcome.coded);
}

#[test]
fn a_header_over_two_columns_and_a_table_in_markdown_are_read_by_their_cells() {
    let mut lines = vec![
        ("| Name | Price ||".to_owned(), None),
        ("|---|---|---|".to_owned(), None),
    ];
    lines.insert(0, ("# Prices".to_owned(), None));
    for at in 0..120 {
        let (name, old, new) = (
            format!("Item I{at:03}"),
            amount(900 + at),
            amount(950 + at * 2),
        );
        let row = json!({"name": format!("Item I{at:03}"), "price": new.1});
        lines.push((format!("| {name} | {} | {} |", old.0, new.0), Some(row)));
    }
    // The row under the header says nothing: it is no line.
    let mut case = made(&numbers(&["price"]), lines);
    for (place, _) in &mut case.rows {
        place.line -= 1;
    }
    let outcome = case.outcome();
    assert!(outcome.coded >= 118, "{} {}", outcome.coded, outcome.asked);
}

#[test]
fn a_change_without_a_word_is_seen_where_the_model_reads_it_otherwise() {
    // In the second half of the table, and in its last quarter, amounts are those of another column.
    for from in [100, 150] {
        let mut lines = vec![(line(&["Name", "Net", "Gross"]), None)];
        for at in 0..200 {
            let (name, net, gross) = (
                format!("Item I{at:03}"),
                amount(900 + at),
                amount(950 + at * 3),
            );
            let said = if at < from { &net } else { &gross };
            let row = json!({"name": name, "amount": said.1});
            lines.push((line(&[&name, &net.0, &gross.0]), Some(row)));
        }
        assert_eq!(made(&numbers(&["amount"]), lines).outcome().coded, 0);
    }
}

#[test]
fn cells_that_run_into_their_neighbours_are_left_to_the_model() {
    let mut lines = vec![(line(&["Name", "Count", "Amount"]), None)];
    for at in 0..200 {
        let (count, printed) = (5 + at % 7, amount(2_000 + at * 11));
        let is_wide = at % 50 == 33;
        let name = if is_wide {
            format!("Item I{at:03} with a name too long {count}")
        } else {
            format!("Item I{at:03}")
        };
        let text = if is_wide {
            format!("{name:<36}{:>16}", printed.0)
        } else {
            line(&[&name, &count.to_string(), &printed.0])
        };
        let name = name.strip_suffix(&format!(" {count}")).unwrap_or(&name);
        let row = json!({"name": name, "count": count, "amount": printed.1});
        lines.push((text, Some(row)));
    }
    let outcome = made(&numbers(&["count", "amount"]), lines).outcome();
    assert!((180..=196).contains(&outcome.coded), "{}", outcome.coded);
}

#[test]
fn a_value_that_stands_in_no_column_leaves_the_table_to_the_model() {
    // What group a row belongs to stands above it.
    let mut lines = vec![(line(&["Name", "Count", "Amount"]), None)];
    for at in 0..160 {
        let (name, printed) = (format!("Item I{at:03}"), amount(2_000 + at * 11));
        let group = if at < 80 { "North" } else { "South" };
        let row = json!({"name": name, "group": group, "amount": printed.1});
        lines.push((line(&[&name, "4", &printed.0]), Some(row)));
    }
    let mut properties = numbers(&["amount"]);
    properties["group"] = json!({"type": "string"});
    assert_eq!(made(&properties, lines).outcome().coded, 0);
}

#[test]
fn a_text_that_goes_on_below_its_row_is_read_whole_or_left_to_the_model() {
    // Notes stand below some rows as well, and are no part of them.
    let mut lines = vec![(line(&["Article", "Count", "Amount"]), None)];
    for at in 0..200 {
        let (count, printed) = ((1 + at % 6).to_string(), amount(3_000 + at * 17));
        let is_long = at % 4 == 1;
        let first = if is_long {
            "Bracket steel long"
        } else {
            "Bracket small"
        };
        let name = if is_long {
            format!("{first} B{at:03}x")
        } else {
            first.to_owned()
        };
        let row = json!({"name": name, "count": 1 + at % 6, "amount": printed.1});
        lines.push((line(&[first, &count, &printed.0]), Some(row)));
        if is_long {
            lines.push((format!("B{at:03}x"), None));
        }
        if at % 40 == 7 {
            lines.push(("    see note".to_owned(), None));
        }
    }
    let outcome = made(&numbers(&["count", "amount"]), lines).outcome();
    println!("{} by code, {} asked", outcome.coded, outcome.asked);
}

#[test]
fn a_text_that_was_broken_before_it_had_to_be_is_not_cut_off() {
    // In the first column or in the second, and with words that sums begin with.
    for (rest, indent) in [
        ("spare part", 0),
        ("net for carp", 0),
        ("spare", 21),
        ("net", 21),
    ] {
        let mut lines = vec![(
            format!("{:<21}{:<19}{:>8}", "Article", "Use", "Amount"),
            None,
        )];
        for at in 0..200 {
            let longer = if at == 12 { " longer" } else { "" };
            let name = format!("Article A{at:03}{longer}");
            let printed = amount(3_000 + at * 17);
            let is_broken = at % 40 == 33;
            let text = format!("{name:<21}{:<19}{:>8}", "for the workshop", printed.0);
            let more = |text: &str| format!("{text} {rest}");
            let (name, useful) = match (is_broken, indent) {
                (false, _) => (name, "for the workshop".to_owned()),
                (true, 0) => (more(&name), "for the workshop".to_owned()),
                (true, _) => (name, more("for the workshop")),
            };
            let row = json!({"name": name, "use": useful, "amount": printed.1});
            lines.push((text, Some(row)));
            if is_broken {
                lines.push((format!("{:indent$}{rest}", ""), None));
            }
        }
        let mut properties = numbers(&["amount"]);
        properties["use"] = json!({"type": "string"});
        let outcome = made(&properties, lines).outcome();
        println!(
            "{rest} {indent}: {} by code, {} asked",
            outcome.coded, outcome.asked
        );
    }
}

#[test]
fn tables_of_a_list_with_lists_inside_and_lists_of_some_rows_only_are_the_model_s() {
    let rows = |schema: Value| {
        let lines: Vec<(String, Option<Value>)> = (0..100)
            .map(|at| {
                let (name, printed) = (format!("Item I{at:03}"), amount(2_000 + at * 11));
                let row = json!({"name": name, "amount": printed.1});
                (line(&[&name, &printed.0]), Some(row))
            })
            .collect();
        let mut case = made(&numbers(&["amount"]), lines);
        let plan = Plan::of(&schema, SplitterConfigs::default());
        case.list = List::of(&plan, 0).unwrap();
        case.outcome().coded
    };
    let schema = |said: &str, more: Value| {
        json!({"type": "object", "properties": {"rows": {"type": "array", "description": said,
            "items": {"type": "object", "properties": {"name": {"type": "string"},
                "amount": {"type": "number"}, "more": more}}}}})
    };
    let plain = json!({"type": "string"});
    assert!(rows(schema("All items", plain.clone())) > 90);
    assert_eq!(
        rows(schema("Items, except those that were cancelled", plain)),
        0
    );
    let inner = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}});
    assert_eq!(rows(schema("All items", inner)), 0);
}
