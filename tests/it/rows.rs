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
