//! Long arrays: read in windows by a model that cuts its answers off and leaves out the middle of
//! long ones.

mod broken;
mod forecast;
#[cfg(unix)]
mod killed;
mod paged;
mod shared;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{model_of, only, provider};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::{Reader, Server, Wire};
use crate::support::sse::Frame;

const WIRE: Wire = Wire::Gemini;
/// Tokens after which the model's answers are cut off, and rows of which it writes all.
const CUT: u64 = 6_000;
const DROPS: usize = 250;
const INSTRUCTIONS: &str = "Take your time.";

async fn app(server: &Server) -> TestApp {
    let provider = provider(server, WIRE, true);
    TestApp::start()
        .set("default_model", model_of(WIRE))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

fn reader(document: &Document) -> Reader {
    Reader::of(&document.truth(), "article")
}

fn usual(document: &Document) -> Reader {
    reader(document).cut(CUT).dropping_above(DROPS)
}

fn read_by(server: &Server, reader: Reader) {
    server.script(move |asked| Some(reader.reply(asked)));
}

/// A request whose rows the model reads, all of them: code cannot follow instructions.
async fn body(app: &TestApp, document: &Document, mut config: Value) -> Value {
    config["additional_instructions"] = json!(INSTRUCTIONS);
    request(app, document, config).await
}

async fn request(app: &TestApp, document: &Document, config: Value) -> Value {
    let uploaded = app.upload("delivery.txt", document.text()).await;
    json!({"document_id": uploaded.body["document_id"], "schema": document.schema(), "config": config})
}

/// What became of a job.
struct Ran {
    job: String,
    frames: Vec<Frame>,
    end: Value,
    results: Value,
}

async fn ran(app: &TestApp, body: &Value) -> Ran {
    let job = app.submit(body).await;
    ended(app, job, None).await
}

async fn ended(app: &TestApp, job: String, cursor: Option<&str>) -> Ran {
    let frames = app.follow(&job, cursor).await.rest().await;
    let end = frames.last().unwrap().payload();
    let results = app.results(&job).await.body;
    Ran {
        job,
        frames,
        end,
        results,
    }
}

impl Ran {
    fn rows(&self, name: &str) -> &Value {
        &self.results["results"][name]
    }

    /// What is said of the array in the results, which is what its event says.
    fn array(&self, name: &str) -> &Value {
        let path = format!("/{name}");
        let arrays = self.results["metadata"]["arrays"].as_array().unwrap();
        arrays.iter().find(|array| array["path"] == path).unwrap()
    }

    fn verdict(&self, name: &str) -> &str {
        self.array(name)["verdict"].as_str().unwrap()
    }

    fn told(&self) -> Vec<Value> {
        let told = self.frames.iter();
        let told = told.filter(|frame| frame.event == "agentic_array_progress");
        told.map(Frame::payload).collect()
    }
}

/// Rows that were read in their order: of all in the truth, and of all that were read.
fn recall_and_precision(read: &Value, truth: &Value) -> (f64, f64) {
    let (read, truth) = (read.as_array().unwrap(), truth.as_array().unwrap());
    // The longest list that both have in order.
    let mut best = vec![0; truth.len() + 1];
    for row in read {
        let mut left = 0;
        for (at, expected) in truth.iter().enumerate() {
            let above = best[at + 1];
            best[at + 1] = if row == expected {
                left + 1
            } else {
                above.max(best[at])
            };
            left = above;
        }
    }
    let same = f64::from(best[truth.len()]);
    let of = |all: &[Value]| same / all.len().max(1) as f64;
    (of(truth), of(read))
}

/// Texts that the model was shown for a part of the document, each with how often.
fn windows(server: &Server) -> BTreeMap<String, usize> {
    let mut windows = BTreeMap::new();
    for asked in server.asked() {
        let schema = asked.schema().unwrap();
        if schema.to_string().contains("Goods that were") {
            *windows.entry(asked.document().to_owned()).or_insert(0) += 1;
        }
    }
    windows
}

async fn hold(spec: Spec, of: impl Fn(&Document) -> Reader) {
    let document = Document::make(spec);
    let server = Server::start();
    read_by(&server, of(&document));
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let ran = ran(&app, &body).await;
    assert_eq!(ran.end["status"], "completed", "{spec:?}: {}", ran.end);
    let truth = document.truth();
    for name in ["items", "returned_items"] {
        let Some(expected) = truth.get(name) else {
            continue;
        };
        let (recall, precision) = recall_and_precision(ran.rows(name), expected);
        let arrays = &ran.results["metadata"]["arrays"];
        println!("{spec:?} {name}: recall {recall:.4}, precision {precision:.4}, {arrays}");
        assert!(
            recall >= 0.99 && precision >= 0.99,
            "{spec:?} {name} {recall} {precision}"
        );
        let is_exact = ran.rows(name) == expected;
        let arrays = ran.end["arrays"].as_array();
        let said = arrays.into_iter().flatten();
        let mut said = said.filter(|array| array["path"] == format!("/{name}"));
        assert!(
            is_exact || said.all(|array| array["verdict"] != "complete"),
            "{spec:?} {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_tables_of_any_length_are_read_whole_and_in_order() {
    for rows in [27, 100, 400] {
        hold(Spec::plain(1, rows), usual).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_tables_of_any_length_are_read_whole_and_in_order() {
    for rows in [27, 100, 400] {
        for seed in [2, 3] {
            hold(Spec::hard(seed, rows), usual).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_cut_off_goes_on_from_its_last_whole_row() {
    hold(Spec::plain(4, 400), |document| reader(document).cut(1_500)).await;
    hold(Spec::hard(5, 200), |document| reader(document).cut(1_500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_array_whose_answer_is_cut_off_is_read_in_windows_after_all() {
    hold(Spec::plain(6, 40), |document| reader(document).cut(700)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_see_every_row_once_in_its_place_and_no_more_than_two_events_a_second() {
    let document = Document::make(Spec::plain(1, 400));
    let server = Server::start();
    read_by(&server, usual(&document));
    let app = app(&server).await;
    let body = body(&app, &document, json!({"max_num_concurrent_requests": 1})).await;
    let ran = ran(&app, &body).await;
    let (told, rows) = (ran.told(), ran.rows("items").as_array().unwrap());
    assert!(!told.is_empty());
    let mut next = 0;
    for event in &told {
        assert_eq!(
            (&event["path"], &event["windows_total"]),
            (&json!("/items"), &json!(3))
        );
        let preview = &event["items_preview"];
        for (at, item) in preview["items"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            assert_eq!(preview["offset"].as_u64().unwrap() as usize + at, next);
            assert_eq!(item, &rows[next], "row {next}");
            next += 1;
        }
    }
    let last = told.last().unwrap();
    assert_eq!(last["total_pages"], document.page_count());
    let is_whole = |row: &&Value| row.as_object().unwrap().values().all(|v| !v.is_null());
    let whole = rows.iter().take(next).filter(is_whole).count() as u64;
    let (found, completed) = (&last["items_found"], &last["items_completed"]);
    assert!(completed.as_u64() >= Some(whole) && completed.as_u64() <= found.as_u64());
    assert!(told.iter().all(|event| event["iteration"] == 1), "{told:?}");
    let seconds = ran.end["duration_ms"].as_f64().unwrap() / 1_000.0;
    assert!(
        told.len() as f64 <= 1.0 + 2.0 * seconds,
        "{} in {seconds} s",
        told.len()
    );
    // One call for the fields, and one for each window, as was thought.
    assert_eq!(server.count(), 4);
    let plan = &ran.results["metadata"]["plan"];
    assert_eq!(plan["estimate"]["calls"], 4, "{plan}");
    let pages: BTreeSet<u64> = told
        .iter()
        .flat_map(|event| event["pages"].as_array().unwrap())
        .map(|page| page.as_u64().unwrap())
        .collect();
    assert!(
        pages
            .iter()
            .all(|page| *page <= document.page_count() as u64)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_of_rows_go_with_them_to_their_place_in_the_whole_array() {
    let document = Document::make(Spec::plain(7, 240));
    let server = Server::start();
    read_by(&server, reader(&document));
    let app = app(&server).await;
    let body = body(&app, &document, json!({"per_key_attribution": true})).await;
    let ran = ran(&app, &body).await;
    assert_eq!(ran.rows("items"), &document.truth()["items"]);
    let mut quoted = 0;
    for at in 0..240 {
        let leaf = &ran.results["attributions"][format!("/items/{at}/article")];
        let article = ran.rows("items")[at]["article"].as_str().unwrap();
        let quotes = leaf["quotes"].as_array().unwrap();
        let said = quotes
            .iter()
            .any(|quote| quote["text"].as_str().unwrap().contains(article));
        quoted += u32::from(said && leaf["verdict"] == "verified");
    }
    assert_eq!(quoted, 240);
    assert!(windows(&server).len() > 1, "{}", windows(&server).len());
}
