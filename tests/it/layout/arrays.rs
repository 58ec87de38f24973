//! Long tables in jobs of the embedded extractor: their rows, and what is said of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::sse::Frame;

/// A job that has ended.
struct Ran {
    frames: Vec<Frame>,
    end: Value,
    results: Value,
}

async fn ran(app: &TestApp, name: &str, bytes: Vec<u8>, mut body: Value) -> Ran {
    let uploaded = app.upload(name, bytes).await;
    body["document_id"] = uploaded.body["document_id"].clone();
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap().payload();
    let results = app.results(&job).await.body;
    Ran {
        frames,
        end,
        results,
    }
}

impl Ran {
    fn array(&self, path: &str) -> &Value {
        let arrays = self.results["metadata"]["arrays"].as_array().unwrap();
        arrays
            .iter()
            .find(|array| array["path"] == path)
            .unwrap_or_else(|| panic!("{path}: {}", self.results["metadata"]))
    }

    fn verdict(&self, path: &str) -> &str {
        self.array(path)["verdict"].as_str().unwrap()
    }

    /// What the events say, which is what the results say.
    fn assert_told(&self, path: &str) {
        let found = self.array(path);
        let told = self.frames.iter().map(Frame::payload);
        let mut told = told.filter(|event| event["subtree_id"] == found["subtree_id"]);
        let result = told.find(|event| event["type"] == "subtree_result");
        let completeness = &result.unwrap()["completeness"];
        assert_eq!(completeness["verdict"], found["verdict"]);
        assert_eq!(completeness["evidence"], found["evidence"]);
        let end = self.end["arrays"].as_array().unwrap();
        let end = end.iter().find(|array| array["path"] == path).unwrap();
        assert_eq!(end["verdict"], found["verdict"]);
    }
}

/// The part of the rows that were read, and of their cells, those of rows that were not among them.
fn recall_and_accuracy(read: &Value, truth: &Value) -> (f64, f64) {
    let empty = Vec::new();
    let (read, truth) = (read.as_array().unwrap_or(&empty), truth.as_array().unwrap());
    let cells = |a: &Value, b: &Value| {
        let cells = a.as_object().unwrap().iter();
        cells
            .filter(|(name, cell)| b[name.as_str()] == **cell)
            .count()
    };
    // The order that has most cells right: rows, and cells of them.
    let mut best = vec![(0, 0); truth.len() + 1];
    for row in read {
        let mut left = (0, 0);
        for (at, expected) in truth.iter().enumerate() {
            let above = best[at + 1];
            let right = cells(expected, row);
            let paired = (left.0 + usize::from(right >= 3), left.1 + right);
            let most = above.max(best[at]);
            best[at + 1] = if right >= 3 { paired.max(most) } else { most };
            left = above;
        }
    }
    let (rows, right) = best[truth.len()];
    let all: usize = truth.iter().map(|row| row.as_object().unwrap().len()).sum();
    (rows as f64 / truth.len() as f64, right as f64 / all as f64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_over_many_pages_are_read_whole_and_each_has_a_verdict() {
    let app = TestApp::start().run().await;
    for rows in [27, 100, 400] {
        for spec in [Spec::plain(1, rows), Spec::hard(2, rows)] {
            let document = Document::make(spec);
            let (truth, body) = (document.truth(), json!({"schema": document.schema()}));
            let ran = ran(&app, "delivery.pdf", document.pdf(), body).await;
            assert_eq!(
                (&ran.end["status"], &ran.end["partial"]),
                (&json!("completed"), &json!(false)),
                "{spec:?}: {}",
                ran.end
            );
            for list in ["items", "returned_items"] {
                let Some(expected) = truth.get(list) else {
                    continue;
                };
                let read = &ran.results["results"][list];
                let (recall, accuracy) = recall_and_accuracy(read, expected);
                let path = format!("/{list}");
                println!(
                    "{rows} {list}: recall {recall:.4}, cells {accuracy:.4}, {}",
                    ran.array(&path)
                );
                assert!(recall >= 0.98 && accuracy >= 0.97, "{spec:?} {list}");
                assert!(
                    read == expected || ran.verdict(&path) != "complete",
                    "{spec:?} {list}"
                );
                let evidence = &ran.array(&path)["evidence"];
                assert_eq!(evidence["windows"], 1);
                assert_eq!(evidence["rows_read"], expected.as_array().unwrap().len());
                ran.assert_told(&path);
            }
            assert_eq!(ran.verdict("/items"), "complete", "{spec:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_are_told_of_tables_longer_than_a_window_and_of_no_others() {
    let app = TestApp::start().run().await;
    for (rows, is_told) in [(40, false), (400, true)] {
        let document = Document::make(Spec::plain(3, rows));
        let body = json!({"schema": document.schema()});
        let ran = ran(&app, "delivery.pdf", document.pdf(), body).await;
        let told = ran.frames.iter();
        let told: Vec<Value> = told
            .filter(|frame| frame.event == "agentic_array_progress")
            .map(Frame::payload)
            .collect();
        assert_eq!(!told.is_empty(), is_told, "{rows} rows");
        let Some(first) = told.first() else { continue };
        assert_eq!(
            (&first["path"], &first["phase"], &first["windows_total"]),
            (&json!("/items"), &json!("extracting"), &json!(1))
        );
        assert_eq!(
            (&first["items_found"], &first["windows_done"]),
            (&json!(0), &json!(0))
        );
        for later in &told[1..] {
            assert_eq!(later["phase"], "verifying");
            assert_eq!(later["items_found"], rows);
            assert_eq!(later["items_completed"], rows, "each has all of its values");
            let shown = later["items_preview"]["items"].as_array().unwrap();
            let all = ran.results["results"]["items"].as_array().unwrap();
            assert!(!shown.is_empty() && all.starts_with(shown));
        }
    }
}

/// Documents of every make, small enough to be many.
fn makes() -> impl Iterator<Item = Spec> {
    let each = [27, 60].into_iter();
    let each = each.flat_map(|rows| (1..=6).map(move |seed| (rows, seed)));
    each.flat_map(|(rows, seed)| {
        let (plain, hard) = (Spec::plain(seed, rows), Spec::hard(seed, rows));
        let bare = Spec {
            has_twin: false,
            states_totals: false,
            has_ordinals: false,
            ..hard
        };
        [plain, hard, bare]
    })
}

/// The text with some of its rows made hard to read: figures that are none, words that are not
/// where they belong, lines in two.
fn damaged(document: &Document, how: usize) -> String {
    let truth = document.truth();
    let rows = truth["items"].as_array().unwrap();
    let articles: BTreeSet<&str> = rows
        .iter()
        .map(|row| row["article"].as_str().unwrap())
        .collect();
    let mut text = String::new();
    let mut count = 0;
    for line in document.text().lines() {
        let is_row = line.split_whitespace().any(|word| articles.contains(word));
        count += usize::from(is_row);
        if !is_row || count % 9 != 4 {
            text.push_str(line);
        } else {
            text.push_str(&match how {
                // No figure at all, two of three, the last one.
                0 => line
                    .chars()
                    .map(|char| if char.is_ascii_digit() { 'x' } else { char })
                    .collect(),
                1 => format!("{}  on request", line.chars().take(50).collect::<String>()),
                2 => line.trim_end().rsplit_once(' ').unwrap().0.to_owned(),
                3 => format!(
                    "{}\n{}",
                    &line.chars().take(46).collect::<String>(),
                    " ".repeat(46) + &line.chars().skip(46).collect::<String>()
                ),
                4 => format!("Total {line}"),
                _ => line.split_whitespace().collect::<Vec<_>>().join(" "),
            });
        }
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_that_the_extractor_has_read_otherwise_is_called_complete() {
    let app = TestApp::start().run().await;
    let (mut lists, mut wrong, mut complete, mut incomplete) = (0, 0, 0, 0);
    for (number, spec) in makes().enumerate() {
        let document = Document::make(spec);
        let truth = document.truth();
        for (name, bytes, is_damaged) in [
            ("delivery.pdf", document.pdf(), false),
            (
                "delivery.txt",
                damaged(&document, number % 6).into_bytes(),
                true,
            ),
        ] {
            let ran = ran(&app, name, bytes, json!({"schema": document.schema()})).await;
            for list in ["items", "returned_items"] {
                let Some(expected) = truth.get(list) else {
                    continue;
                };
                let (read, path) = (&ran.results["results"][list], format!("/{list}"));
                let verdict = ran.verdict(&path);
                lists += 1;
                let count = |rows: &Value| rows.as_array().map_or(0, Vec::len);
                // What is damaged may be read in another way; a row more or less may not.
                let is_wrong = if is_damaged {
                    count(read) != count(expected)
                } else {
                    read != expected
                };
                wrong += usize::from(is_wrong);
                complete += usize::from(verdict == "complete");
                incomplete += usize::from(verdict == "incomplete");
                assert!(
                    !(is_wrong && verdict == "complete"),
                    "{spec:?} {name} {list} damaged {}: {}",
                    number % 6,
                    ran.array(&path)
                );
                assert!(
                    is_wrong || is_damaged || verdict != "incomplete",
                    "{spec:?} {name} {list}: {}",
                    ran.array(&path)
                );
            }
        }
    }
    println!(
        "{lists} lists, {wrong} with rows missing or more; {complete} complete, {incomplete} incomplete"
    );
    assert!(wrong >= 10, "the damage is to be felt");
    assert!(
        complete * 2 >= lists - wrong,
        "{complete} of {}",
        lists - wrong
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_fewer_rows_than_its_document_states_makes_the_job_partial_or_failed() {
    let app = TestApp::start().run().await;
    let document = Document::make(Spec::plain(4, 60));
    let text = document.text();
    let stated = text.lines().find(|line| line.ends_with(": 60")).unwrap();
    let text = text.replace(stated, &stated.replace("60", "64"));
    for (config, status) in [
        (json!({}), "completed"),
        (json!({"require_complete_arrays": true}), "failed"),
        // Says nothing about an extractor that reads each table whole.
        (
            json!({"enable_agentic_array_extraction": false}),
            "completed",
        ),
    ] {
        let body = json!({"schema": document.schema(), "config": config});
        let ran = ran(&app, "delivery.txt", text.clone().into_bytes(), body).await;
        assert_eq!(ran.end["status"], status, "{}", ran.end);
        assert_eq!(ran.end["partial"], true);
        assert_eq!(ran.verdict("/items"), "incomplete");
        ran.assert_told("/items");
        let census = &ran.array("/items")["evidence"]["census"];
        assert_eq!(census["stated"][0]["count"], 64, "{census}");
        if status == "failed" {
            assert_eq!(ran.end["error_type"], "incomplete_array");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_asked_for_inside_its_object_is_named_by_its_own_path() {
    let app = TestApp::start().run().await;
    let document = Document::make(Spec::plain(5, 400));
    let mut schema = document.schema();
    // That it is not there can only be said by leaving it out.
    schema["properties"]["items"]["minItems"] = json!(1);
    let ran = ran(
        &app,
        "delivery.txt",
        document.text().into_bytes(),
        json!({"schema": schema}),
    )
    .await;
    assert_eq!(ran.results["results"]["items"], document.truth()["items"]);
    let found = ran.array("/items");
    let result = ran.frames.iter().map(Frame::payload).find(|event| {
        event["type"] == "subtree_result" && event["subtree_id"] == found["subtree_id"]
    });
    assert_eq!(
        result.unwrap()["path"],
        "",
        "its value is the object around it"
    );
    assert_eq!(ran.end["arrays"][0]["path"], "/items");
    let mut told = ran.frames.iter().map(Frame::payload);
    let told = told.find(|event| event["type"] == "agentic_array_progress");
    assert_eq!(told.unwrap()["path"], "/items");
}
