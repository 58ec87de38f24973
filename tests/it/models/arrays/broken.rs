//! Windows that fail, jobs that are cancelled, and what is asked for when they go on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{app, body, ended, ran, read_by, reader, usual, windows};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::{Reply, Scenario, Server};

/// Windows with a row in the middle of the document fail until they are healed.
fn ailing(server: &Server, document: &Document) -> Arc<AtomicBool> {
    let truth = document.truth();
    let rows = truth["items"].as_array().unwrap();
    let article = rows[rows.len() / 2]["article"].as_str().unwrap().to_owned();
    let (reader, healed) = (usual(document), Arc::new(AtomicBool::new(false)));
    let is_healed = Arc::clone(&healed);
    server.script(move |asked| {
        let is_array = asked.document().contains(&article)
            && asked
                .schema()
                .unwrap()
                .to_string()
                .contains("Goods that were delivered");
        if is_array && !is_healed.load(Ordering::SeqCst) {
            return Some(Reply::from(Scenario::Filtered));
        }
        Some(reader.reply(asked))
    });
    healed
}

fn requests(end: &Value) -> u64 {
    end["usage_metadata"]["request_count"].as_u64().unwrap()
}

pub(super) async fn retry(app: &TestApp, job: &str) {
    let path = format!("/v1/extract/jobs/{job}/retry");
    let retried = app.post(&path, &json!({}), "job_summary").await;
    assert_eq!(retried.status, 202, "{}", retried.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_fails_is_named_and_a_retry_reads_nothing_but_it() {
    let document = Document::make(Spec::plain(8, 400));
    let server = Server::start();
    let healed = ailing(&server, &document);
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let first = ran(&app, &body).await;
    assert_eq!(
        (&first.end["status"], &first.end["partial"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(first.verdict("items"), "incomplete");
    let evidence = &first.array("items")["evidence"];
    let failed = evidence["windows_failed"].as_array().unwrap();
    assert!((1..=2).contains(&failed.len()), "{evidence}");
    let truth = document.truth();
    let all = truth["items"].as_array().unwrap();
    let some = first.rows("items").as_array().unwrap();
    assert!(some.len() > 200 && some.len() < 400);
    assert!(some.iter().all(|row| all.contains(row)));
    assert_eq!(first.results["metadata"]["partial"], true);

    healed.store(true, Ordering::SeqCst);
    let asked = server.count();
    let last = first.end["sequence_number"].to_string();
    retry(&app, &first.job).await;
    let second = ended(&app, first.job.clone(), Some(&last)).await;
    assert_eq!(
        (&second.end["status"], &second.end["partial"]),
        (&json!("completed"), &json!(false))
    );
    assert_eq!(second.rows("items"), &truth["items"]);
    assert_eq!(server.count() - asked, failed.len(), "only what failed");
    // Nothing is counted twice.
    let usage = &second.end["usage_metadata"];
    assert_eq!(usage["request_count"], server.count() as u64, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_job_about_the_same_asks_only_for_the_windows_that_failed() {
    let document = Document::make(Spec::plain(9, 400));
    let server = Server::start();
    let healed = ailing(&server, &document);
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let first = ran(&app, &body).await;
    let failed = first.array("items")["evidence"]["windows_failed"]
        .as_array()
        .unwrap()
        .len();
    healed.store(true, Ordering::SeqCst);
    let asked = server.count();
    let second = ran(&app, &body).await;
    assert_eq!(second.rows("items"), &document.truth()["items"]);
    assert_eq!(server.count() - asked, failed);
    let usage = &second.end["usage_metadata"];
    assert_eq!(
        usage["request_count"], failed as u64,
        "others have paid for the rest"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_requires_complete_arrays_fails_with_what_it_has() {
    let document = Document::make(Spec::plain(10, 400));
    let server = Server::start();
    ailing(&server, &document);
    let app = app(&server).await;
    let body = body(&app, &document, json!({"require_complete_arrays": true})).await;
    let ran = ran(&app, &body).await;
    assert_eq!(
        (&ran.end["status"], &ran.end["error_type"]),
        (&json!("failed"), &json!("incomplete_array"))
    );
    let message = ran.end["error_message"].as_str().unwrap();
    assert!(message.contains("`/items`"), "{message}");
    assert_eq!(ran.end["results_available"], true);
    assert!(ran.rows("items").as_array().unwrap().len() > 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_cancel_is_not_read_again() {
    let document = Document::make(Spec::plain(19, 500));
    let server = Server::start();
    let (reader, gate) = (usual(&document), Arc::new(Semaphore::new(0)));
    let (count, held) = (AtomicUsize::new(0), Arc::clone(&gate));
    // The fields and two windows are answered, the other windows wait.
    server.script(move |asked| {
        let reply = reader.reply(asked);
        Some(match count.fetch_add(1, Ordering::SeqCst) {
            0..3 => reply,
            _ => reply.held("never said", &held),
        })
    });
    let app = app(&server).await;
    let config = json!({"max_num_concurrent_requests": 2});
    let body = body(&app, &document, config).await;
    let job = app.submit(&body).await;
    let mut stream = app.follow(&job, None).await;
    loop {
        let frame = stream.next().await.unwrap();
        if frame.event == "agentic_array_progress" && frame.payload()["windows_done"] == 2 {
            break;
        }
    }
    let path = format!("/v1/extract/jobs/{job}/cancel");
    let cancelled = app.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(cancelled.status(), 202);
    let rest = stream.rest().await;
    let end = rest.last().unwrap().payload();
    assert_eq!(end["status"], "cancelled");
    // The fields, and two windows of an array that has no outcome.
    assert_eq!(requests(&end), 3, "{end}");
    let tokens = |end: &Value| end["usage_metadata"]["total_token_count"].as_u64().unwrap();
    assert!(tokens(&end) > 2 * 2_000, "{end}");
    let results = app.results(&job).await.body;
    assert_eq!(results["metadata"]["usage_metadata"], end["usage_metadata"]);
    server.until_idle().await;

    gate.add_permits(100);
    let before = windows(&server);
    retry(&app, &job).await;
    let last = end["sequence_number"].to_string();
    let second = ended(&app, job, Some(&last)).await;
    assert_eq!(second.rows("items"), &document.truth()["items"]);
    // What the end told of is not told of again.
    assert_eq!(requests(&second.end), 6, "{}", second.end);
    let after = windows(&server);
    let once = after.values().filter(|times| **times == 1).count();
    assert_eq!((before.len(), after.len()), (4, 5), "two were under way");
    assert_eq!(once, 3, "{:?}", after.values());
}

/// One row of the array breaks its schema, however often it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_breaks_its_schema_is_left_out_and_the_others_stay() {
    let document = Document::make(Spec::plain(12, 400));
    let mut truth = document.truth();
    let wrong = truth["items"][123].clone();
    truth["items"][123]["quantity"] = json!("many, or few");
    let server = Server::start();
    read_by(
        &server,
        crate::support::model::Reader::of(&truth, "article"),
    );
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let ran = ran(&app, &body).await;
    let rows = ran.rows("items").as_array().unwrap();
    assert_eq!(rows.len(), 399);
    assert!(!rows.contains(&wrong));
    assert_eq!(ran.verdict("items"), "incomplete");
    let evidence = &ran.array("items")["evidence"];
    assert_eq!(
        evidence["windows_cut_short"].as_array().unwrap().len(),
        1,
        "{evidence}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_array_must_be_as_a_whole_is_checked_and_cuts_nothing() {
    let document = Document::make(Spec::plain(13, 400));
    let server = Server::start();
    read_by(&server, reader(&document));
    let app = app(&server).await;
    let mut body = body(&app, &document, json!({})).await;
    body["schema"]["properties"]["items"]["maxItems"] = json!(300);
    body["schema"]["properties"]["items"]["minItems"] = json!(200);
    let ran = ran(&app, &body).await;
    assert_eq!(ran.rows("items"), &document.truth()["items"]);
    let validation = &ran.results["metadata"]["validation"];
    assert_eq!(validation["valid"], false);
    assert_eq!(validation["errors"][0]["path"], "/items", "{validation}");
    let bound: Vec<Value> = server
        .asked()
        .iter()
        .filter_map(|asked| asked.schema())
        .collect();
    assert!(
        bound
            .iter()
            .all(|schema| !schema.to_string().contains("axItems"))
    );
}

/// The first answer of each window is cut off, and what it leaves fails until it is healed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_of_a_window_that_was_cut_off_is_kept_and_a_retry_reads_the_rest() {
    let document = Document::make(Spec::plain(14, 400));
    let server = Server::start();
    let (reader, healed) = (
        reader(&document).cut(2_500),
        Arc::new(AtomicBool::new(false)),
    );
    let is_healed = Arc::clone(&healed);
    server.script(move |asked| {
        // A window that goes on shows the heading of its table and, before the rest, the last row
        // that was read: fewer rows than a whole window.
        let rows = asked
            .document()
            .lines()
            .filter(|line| line.matches('.').count() >= 2);
        let goes_on = !asked.document().contains("Delivery") && rows.count() < 80;
        if goes_on && !is_healed.load(Ordering::SeqCst) {
            return Some(Reply::from(Scenario::Filtered));
        }
        Some(reader.reply(asked))
    });
    let app = app(&server).await;
    let body = body(&app, &document, json!({"cache": "off"})).await;
    let first = ran(&app, &body).await;
    assert_eq!(first.verdict("items"), "incomplete");
    let evidence = &first.array("items")["evidence"];
    let cut = evidence["windows_cut_short"].as_array().unwrap().len();
    assert!(cut > 0, "{evidence}");
    let before = windows(&server);

    healed.store(true, Ordering::SeqCst);
    retry(&app, &first.job).await;
    let last = first.end["sequence_number"].to_string();
    let second = ended(&app, first.job.clone(), Some(&last)).await;
    assert_eq!(second.rows("items"), &document.truth()["items"]);
    let after = windows(&server);
    let again = before.iter().filter(|(text, times)| after[*text] > **times);
    assert_eq!(
        again.count(),
        cut,
        "only what had failed is asked for again"
    );
    let usage = &second.end["usage_metadata"];
    assert_eq!(usage["request_count"], server.count() as u64, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_are_tried_again_are_told_apart() {
    let document = Document::make(Spec::plain(15, 400));
    let server = Server::start();
    let (reader, seen) = (usual(&document), Mutex::new(HashSet::new()));
    // Each call fails the first time.
    server.script(move |asked| {
        let is_new = seen.lock().unwrap().insert(asked.document().to_owned());
        let is_array = asked
            .schema()
            .unwrap()
            .to_string()
            .contains("Goods that were");
        Some(if is_new && is_array {
            Reply::from(Scenario::Internal)
        } else {
            reader.reply(asked)
        })
    });
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let ran = ran(&app, &body).await;
    assert_eq!(ran.rows("items"), &document.truth()["items"]);
    let told = ran
        .frames
        .iter()
        .filter(|frame| frame.event == "subtree_retry");
    let told: Vec<Value> = told.map(|frame| frame.payload()).collect();
    assert!(told.len() > 2, "{}", told.len());
    let mut apart = HashSet::new();
    for retry in &told {
        assert_eq!(
            (&retry["path"], &retry["attempt"]),
            (&json!("/items"), &json!(1))
        );
        assert!(apart.insert(retry["window"].to_string()), "{retry}");
    }
}
