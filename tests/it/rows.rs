//! Rows of long documents: windows, places, one list, and the verdict on it.

use std::sync::Arc;
use std::time::Instant;

use rivulet::document::Readers;
use rivulet::domain::completeness::{Completeness, Outcome, Reading, Verdict, judge};
use rivulet::domain::document::Document;
use rivulet::domain::plan::{Plan, SplitterConfigs};
use rivulet::domain::rows::{
    List, Merged, Part, Place, Survey, Window, WindowLimits, merge, place, show, windows,
};
use rivulet::engine::ports::Reader as _;
use serde_json::{Value, json};

use crate::long::{Document as Long, Spec};

/// A document with what stands in it.
struct Case {
    long: Long,
    survey: Survey,
    lists: Vec<Table>,
}

/// A table of a case.
struct Table {
    list: List,
    rows: Vec<Value>,
    /// First and last line of each row.
    lines: Vec<(Place, Place)>,
}

fn read(long: &Long, as_pdf: bool) -> Arc<Document> {
    let bytes = if as_pdf {
        long.pdf()
    } else {
        long.text().into_bytes()
    };
    Arc::new(Readers.read(&bytes).unwrap())
}

fn case(spec: Spec, as_pdf: bool) -> Case {
    let long = Long::make(spec);
    let survey = Survey::of(read(&long, as_pdf));
    let plan = Plan::of(&long.schema(), SplitterConfigs::default());
    let truth = long.truth();
    let lists = ["items", "returned_items"].into_iter().zip(long.printed());
    let lists = lists.map(|(name, printed)| {
        let subtree = plan
            .subtrees
            .iter()
            .position(|subtree| subtree.path.last().as_deref() == Some(name));
        let place = |(page, line): (usize, usize)| Place {
            page: page as u32 + 1,
            line: line as u32,
        };
        Table {
            list: List::of(&plan, subtree.unwrap()).unwrap(),
            rows: truth[name].as_array().unwrap().clone(),
            lines: printed
                .iter()
                .map(|lines| (place(lines[0]), place(*lines.last().unwrap())))
                .collect(),
        }
    });
    let lists = lists.collect();
    Case {
        long,
        survey,
        lists,
    }
}

/// The rows of a table of which a window shows all lines.
fn seen(table: &Table, window: &Window) -> Vec<usize> {
    let is_shown = |row: &usize| {
        let (first, last) = table.lines[*row];
        window.shown.contains(first) && window.shown.contains(last)
    };
    (0..table.rows.len()).filter(is_shown).collect()
}

fn all_read(windows: &[Window]) -> Reading {
    Reading {
        windows: windows
            .iter()
            .map(|window| (window.clone(), Outcome::Read))
            .collect(),
        fault: None,
        tables: Vec::new(),
    }
}

/// Reads every window as `answer` says, from the rows that it shows.
fn read_all(
    case: &Case,
    table: &Table,
    windows: &[Window],
    answer: impl Fn(usize, Vec<Value>) -> Vec<Value>,
) -> Merged {
    let parts = windows.iter().enumerate().map(|(index, window)| {
        let rows = seen(table, window)
            .into_iter()
            .map(|row| table.rows[row].clone());
        let rows = answer(index, rows.collect());
        Part {
            places: place(&case.survey, &table.list, window, &rows),
            window: window.clone(),
            rows,
        }
    });
    merge(&case.survey, &table.list, parts.collect())
}

const SIZES: [usize; 7] = [27, 100, 400, 800, 1_200, 1_600, 3_200];

#[test]
fn windows_hold_every_row_whole_and_their_own_lines_are_all_lines_once() {
    for (rows, seed) in SIZES
        .into_iter()
        .flat_map(|rows| [1, 2, 3].map(|seed| (rows, seed)))
    {
        for spec in [Spec::plain(seed, rows), Spec::hard(seed, rows)] {
            for as_pdf in [false, true] {
                if as_pdf && rows > 800 {
                    continue;
                }
                let case = case(spec, as_pdf);
                let began = Instant::now();
                let table = &case.lists[0];
                let located = windows(&case.survey, &table.list, WindowLimits::default());
                let took = began.elapsed();
                let mut next = Place { page: 1, line: 0 };
                for window in &located.windows {
                    assert_eq!(window.own.first, next, "{spec:?}");
                    let page = &case.survey.document().pages[window.own.last.page as usize - 1];
                    next = if window.own.last.line as usize + 1 < page.lines.len() {
                        Place {
                            line: window.own.last.line + 1,
                            ..window.own.last
                        }
                    } else {
                        Place {
                            page: window.own.last.page + 1,
                            line: 0,
                        }
                    };
                    let pages = window.own.last.page - window.own.first.page + 1;
                    assert!(pages <= 6, "{pages} pages");
                    check_shown(&case, window);
                }
                assert_eq!(next.page as usize, case.long.page_count() + 1, "{spec:?}");
                for table in &case.lists {
                    for (first, last) in &table.lines {
                        let own = located
                            .windows
                            .iter()
                            .find(|w| w.own.contains(*first))
                            .unwrap();
                        assert!(own.own.contains(*last), "{first:?} {last:?} {spec:?}");
                    }
                }
                if seed == 1 && rows >= 400 {
                    println!(
                        "{rows} rows, {} windows, estimate {:?}, {took:?}",
                        located.windows.len(),
                        located.estimate
                    );
                }
            }
        }
    }
}

/// What is shown has its words at their offsets, and the lines of the window.
fn check_shown(case: &Case, window: &Window) {
    let shown = show(&case.survey, window);
    for page in &shown.pages {
        let letters: Vec<char> = page.text.chars().collect();
        for word in &page.words {
            let text: String = letters[word.start as usize..word.end() as usize]
                .iter()
                .collect();
            assert_eq!(text, word.text);
        }
        let first = window.shown.first;
        if page.number == first.page {
            let whole = &case.survey.document().pages[page.number as usize - 1];
            let words = page
                .lines
                .iter()
                .flat_map(|range| &page.words[range.start as usize..range.end as usize]);
            assert!(
                words
                    .map(|word| &word.text)
                    .any(|text| *text == whole.line(first.line as usize)[0].text)
            );
        }
    }
}

#[test]
fn rows_given_window_by_window_are_the_rows_of_the_document_in_order() {
    for (rows, seed) in SIZES
        .into_iter()
        .flat_map(|rows| [1, 2, 3].map(|seed| (rows, seed)))
    {
        for spec in [Spec::plain(seed, rows), Spec::hard(seed, rows)] {
            let case = case(spec, rows == 400);
            for table in &case.lists {
                let limits = WindowLimits {
                    pages: 5,
                    tokens: if rows < 800 { 2_000 } else { 8_000 },
                    rows: (rows < 400).then_some(9),
                };
                let located = windows(&case.survey, &table.list, limits);
                let began = Instant::now();
                let merged = read_all(&case, table, &located.windows, |_, rows| rows);
                let took = began.elapsed();
                assert_eq!(merged.items.len(), table.rows.len(), "{spec:?}");
                assert_eq!(merged.items, table.rows, "{spec:?}");
                for (place, (first, last)) in merged.places.iter().zip(&table.lines) {
                    let place = place.unwrap_or_else(|| panic!("no place for {first:?} {spec:?}"));
                    assert_eq!((place.first, place.last), (*first, *last), "{spec:?}");
                }
                if seed == 1 {
                    println!(
                        "{} rows placed and merged in {took:?}, {} doubled",
                        table.rows.len(),
                        merged.doubled
                    );
                }
            }
        }
    }
}

fn verdict(case: &Case, table: &Table, merged: &Merged, windows: &[Window]) -> Completeness {
    judge(&case.survey, &table.list, merged, &all_read(windows))
}

fn states_something(spec: &Spec) -> bool {
    spec.has_ordinals || spec.states_totals
}

/// Documents of every make.
fn specs() -> Vec<Spec> {
    let sizes = [27, 60, 100, 300];
    let each = sizes
        .into_iter()
        .flat_map(|rows| (1..=6).map(move |seed| (rows, seed)));
    each.flat_map(|(rows, seed)| {
        let (plain, hard) = (Spec::plain(seed, rows), Spec::hard(seed, rows));
        let bare = Spec {
            has_twin: false,
            states_totals: false,
            has_ordinals: false,
            ..hard
        };
        [
            plain,
            hard,
            Spec {
                has_twin: false,
                ..hard
            },
            bare,
        ]
    })
    .collect()
}

#[test]
fn whole_lists_are_called_complete_where_the_document_counts_them() {
    let (mut counted, mut complete, mut bare, mut bare_complete) = (0, 0, 0, 0);
    for (number, spec) in specs().into_iter().enumerate() {
        let case = case(spec, number % 4 == 0);
        for table in &case.lists {
            let located = windows(&case.survey, &table.list, WindowLimits::default());
            let merged = read_all(&case, table, &located.windows, |_, rows| rows);
            let verdict = verdict(&case, table, &merged, &located.windows);
            let is_complete = verdict.verdict == Verdict::Complete;
            assert_ne!(
                verdict.verdict,
                Verdict::Incomplete,
                "{spec:?} {verdict:#?}"
            );
            if states_something(&spec) {
                counted += 1;
                complete += usize::from(is_complete);
                if !is_complete {
                    println!("{spec:?}\n{:?}", verdict.evidence.reasons);
                }
            } else {
                bare += 1;
                bare_complete += usize::from(is_complete);
            }
        }
    }
    println!("complete: {complete} of {counted} that count, {bare_complete} of {bare} others");
    assert!(complete * 10 >= counted * 9);
}

/// Small numbers that look random.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound.max(1) as u64) as usize
    }
}

/// Does harm to rows that were read whole, and says what.
fn harm(rows: &mut Vec<Value>, kind: usize, chance: &mut Chance) -> &'static str {
    let at = chance.below(rows.len());
    match kind {
        0 => {
            rows.remove(at);
            "dropped"
        }
        1 => {
            let count = 1 + chance.below(rows.len() / 2);
            let from = chance.below(rows.len() - count);
            rows.drain(from..from + count);
            "a run dropped"
        }
        2 => {
            rows.pop();
            "the last dropped"
        }
        3 => {
            rows.remove(0);
            "the first dropped"
        }
        4 => {
            let again = rows[at].clone();
            rows.insert(at, again);
            "doubled"
        }
        5 => {
            let again = rows[at].clone();
            rows.push(again);
            "doubled at the end"
        }
        6 => {
            let quantity = rows[at]["quantity"].as_u64().unwrap();
            rows[at]["quantity"] = json!(quantity + 1 + chance.below(8) as u64);
            "a figure altered"
        }
        7 => {
            let other = rows[chance.below(rows.len())]["article"].clone();
            if other == rows[at]["article"] {
                rows.remove(at);
            } else {
                rows[at]["article"] = other;
            }
            "a code of another row"
        }
        8 => {
            let other = rows[(at + 1) % rows.len()].clone();
            if other == rows[at] {
                rows.remove(at);
            } else {
                rows[at] = other;
            }
            "overwritten by its neighbour"
        }
        9 => {
            let next = (at + 1) % rows.len();
            if rows[at]["total"] == rows[next]["total"] {
                rows.remove(at);
            } else {
                rows[at]["total"] = rows[next]["total"].clone();
            }
            "a figure of its neighbour"
        }
        _ => {
            let price = rows[at]["unit_price"].clone();
            if price == rows[at]["total"] {
                rows.remove(at);
            } else {
                rows[at]["unit_price"] = rows[at]["total"].clone();
                rows[at]["total"] = price;
            }
            "two figures swapped"
        }
    }
}

#[test]
fn no_list_that_lacks_or_doubles_or_alters_a_row_is_called_complete() {
    const TRIALS_A_TABLE: usize = 33;
    let mut chance = Chance(7);
    let (mut trials, mut incomplete) = (0, 0);
    let specs = specs().into_iter().filter(|spec| spec.rows <= 60);
    for (number, spec) in specs.enumerate() {
        let case = case(spec, number % 5 == 0);
        for table in &case.lists {
            let limits = WindowLimits {
                pages: 5,
                tokens: 2_500,
                rows: None,
            };
            let located = windows(&case.survey, &table.list, limits);
            for trial in 0..TRIALS_A_TABLE {
                let mut rows = table.rows.clone();
                let kind = harm(&mut rows, trial % 11, &mut chance);
                if rows == table.rows {
                    continue;
                }
                let whole = located
                    .windows
                    .iter()
                    .fold(None, |whole: Option<Window>, window| match whole {
                        None => Some(window.clone()),
                        Some(mut whole) => {
                            whole.own.last = window.own.last;
                            whole.shown.last = window.shown.last;
                            Some(whole)
                        }
                    });
                let window = whole.unwrap();
                let places = place(&case.survey, &table.list, &window, &rows);
                let part = Part {
                    window: window.clone(),
                    rows,
                    places,
                };
                let merged = merge(&case.survey, &table.list, vec![part]);
                // A row out of its order may come back to its place, and a doubled one may fill
                // the place of one that says the same.
                if merged.items == table.rows {
                    continue;
                }
                let verdict = verdict(&case, table, &merged, &[window]);
                trials += 1;
                incomplete += usize::from(verdict.verdict == Verdict::Incomplete);
                assert_ne!(
                    verdict.verdict,
                    Verdict::Complete,
                    "{kind}: {spec:?} {:#?}",
                    verdict.evidence
                );
            }
        }
    }
    println!("{trials} trials, {incomplete} of them called incomplete");
    assert!(trials > 1_500);
}

#[test]
fn pages_of_prose_around_a_table_are_left_out_and_no_row_with_them() {
    let long = Long::make(Spec::plain(5, 120));
    let sentence =
        "The parties agree that the goods are delivered in good order and without delay.\n";
    let prose = || std::iter::repeat_n(sentence.repeat(30), 10);
    let pages: Vec<String> = prose().chain([long.text()]).chain(prose()).collect();
    let document = Readers.read(pages.join("\u{c}").as_bytes()).unwrap();
    let survey = Survey::of(Arc::new(document));
    let plan = Plan::of(&long.schema(), SplitterConfigs::default());
    let list = List::of(&plan, 1).unwrap();
    let located = windows(&survey, &list, WindowLimits::default());
    for (page, line) in long.printed()[0].iter().flatten() {
        let place = Place {
            page: *page as u32 + 11,
            line: *line as u32,
        };
        assert!(
            located
                .windows
                .iter()
                .any(|window| window.own.contains(place)),
            "{place:?}"
        );
    }
    let shown: usize = located
        .windows
        .iter()
        .map(|window| show(&survey, window).pages.len())
        .sum();
    assert!(
        shown <= long.page_count() + 4,
        "{shown} pages of {}",
        survey.document().pages.len()
    );
}

/// Orders with their lines, as text and as they are to be read.
fn orders() -> (String, Vec<Value>) {
    let (mut text, mut orders) = (String::from("Orders of the week\n\n"), Vec::new());
    for order in 0..12_u64 {
        let (number, customer) = (
            format!("O-{}", 7_000 + order * 13),
            format!(
                "Customer {}",
                ["Alder", "Birch", "Cedar"][order as usize % 3]
            ),
        );
        text += &format!("{number:<12}{customer}\n");
        let lines: Vec<Value> = (0..6 + order % 5)
            .map(|line| {
                let (name, count, price) = (
                    ["Bolt", "Nut", "Screw"][(order + line) as usize % 3],
                    1 + (order * 7 + line * 3) % 40,
                    100 + order * 31 + line * 17,
                );
                text += &format!(
                    "      {name:<14}{count:>6}{:>12}\n",
                    format!("{}.{:02}", price / 100, price % 100)
                );
                json!({"name": name, "count": count, "price": price as f64 / 100.0})
            })
            .collect();
        orders.push(json!({"number": number, "customer": customer, "lines": lines}));
    }
    (text, orders)
}

fn orders_list() -> List {
    let line = json!({"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}, "price": {"type": "number"}}});
    let order = json!({"type": "object", "properties": {
        "number": {"type": ["string", "null"]}, "customer": {"type": ["string", "null"]}, "lines": {"type": "array", "items": line}}});
    let schema = json!({"type": "object", "required": ["orders"], "properties": {"orders": {"type": "array", "items": order}}});
    let plan = Plan::of(&schema, SplitterConfigs::default());
    (0..plan.subtrees.len())
        .find_map(|subtree| List::of(&plan, subtree))
        .unwrap()
}

/// What a window shows of the orders; what goes on from before it has no number.
fn orders_seen(orders: &[Value], window: &Window) -> Vec<Value> {
    let mut numbers = 1_u32..;
    let mut seen = Vec::new();
    let shown = |line: u32| window.shown.contains(Place { page: 1, line });
    for order in orders {
        let mut next = || shown(numbers.next().unwrap());
        let owner = next();
        let inner = order["lines"].as_array().unwrap().iter();
        let lines: Vec<Value> = inner.filter(|_| next()).cloned().collect();
        if owner {
            seen.push(
                json!({"number": order["number"], "customer": order["customer"], "lines": lines}),
            );
        } else if !lines.is_empty() {
            seen.push(json!({"number": null, "customer": null, "lines": lines}));
        }
    }
    seen
}

#[test]
fn inner_rows_that_go_on_in_the_next_window_stay_with_their_owner() {
    let (text, orders) = orders();
    let survey = Survey::of(Arc::new(Readers.read(text.as_bytes()).unwrap()));
    let list = orders_list();
    let located = windows(
        &survey,
        &list,
        WindowLimits {
            pages: 5,
            tokens: 220,
            rows: None,
        },
    );
    assert!(located.windows.len() > 3, "{}", located.windows.len());
    let read = |without: Option<usize>| {
        let parts = located.windows.iter().map(|window| {
            let mut rows = orders_seen(&orders, window);
            if let Some(without) = without {
                for row in rows
                    .iter_mut()
                    .filter(|row| row["number"] == orders[without]["number"])
                {
                    row["lines"].as_array_mut().unwrap().truncate(2);
                }
            }
            Part {
                places: place(&survey, &list, window, &rows),
                window: window.clone(),
                rows,
            }
        });
        merge(&survey, &list, parts.collect())
    };
    let whole = read(None);
    assert_eq!(whole.items, orders);
    assert_ne!(
        judge(&survey, &list, &whole, &all_read(&located.windows)).verdict,
        Verdict::Incomplete
    );
    let short = read(Some(1));
    assert_ne!(short.items, orders);
    assert_ne!(
        judge(&survey, &list, &short, &all_read(&located.windows)).verdict,
        Verdict::Complete
    );
}

#[test]
fn a_window_that_failed_or_was_cut_short_leaves_no_list_complete() {
    let case = case(Spec::plain(2, 100), false);
    let table = &case.lists[0];
    let located = windows(
        &case.survey,
        &table.list,
        WindowLimits {
            pages: 5,
            tokens: 1_500,
            rows: None,
        },
    );
    let merged = read_all(&case, table, &located.windows, |_, rows| rows);
    for outcome in [Outcome::Failed, Outcome::CutShort] {
        let mut reading = all_read(&located.windows);
        reading.windows[1].1 = outcome;
        let judged = judge(&case.survey, &table.list, &merged, &reading);
        assert_eq!(judged.verdict, Verdict::Incomplete);
    }
}

#[test]
fn a_row_more_than_the_document_has_is_not_called_complete_and_lists_of_the_schema_bind() {
    let case = case(Spec::plain(2, 27), false);
    let mut table = case.lists[0].list.clone();
    let located = windows(&case.survey, &table, WindowLimits::default());
    let read = |list: &List| {
        let rows = case.lists[0].rows.clone();
        let window = located.windows[0].clone();
        let places = place(&case.survey, list, &window, &rows);
        let merged = merge(
            &case.survey,
            list,
            vec![Part {
                window,
                rows,
                places,
            }],
        );
        judge(&case.survey, list, &merged, &all_read(&located.windows)).verdict
    };
    assert_eq!(read(&table), Verdict::Complete);
    table.array["minItems"] = json!(28);
    assert_eq!(read(&table), Verdict::Incomplete);
    table.array["minItems"] = json!(2);
    table.array["maxItems"] = json!(26);
    assert_eq!(read(&table), Verdict::Unknown);
}
