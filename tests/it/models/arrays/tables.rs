//! Long tables of which the model reads some rows and code the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::broken::retry;
use super::{
    Ran, app, body, ended, ran, read_by, reader, recall_and_precision, request, usual, windows,
};
use crate::long::{Document, Spec};
use crate::support::model::{Reader, Reply, Scenario, Server};

fn tokens(ran: &Ran) -> f64 {
    ran.end["usage_metadata"]["total_token_count"]
        .as_f64()
        .unwrap()
}

/// Runs a job for a document, with tables read by code or not.
async fn run(document: &Document, reader: Reader, by_code: bool, config: Value) -> (Ran, Server) {
    let server = Server::start();
    read_by(&server, reader);
    let app = app(&server).await;
    let mut body = if by_code {
        request(&app, document, config).await
    } else {
        body(&app, document, config).await
    };
    // Nothing but the lists.
    let properties = body["schema"]["properties"].as_object_mut().unwrap();
    properties.retain(|_, property| property["type"] == "array");
    (ran(&app, &body).await, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_table_is_whole_at_a_small_part_of_the_tokens() {
    for (rows, most) in [(100, 0.3), (400, 0.1), (800, 0.05)] {
        let document = Document::make(Spec::plain(1, rows));
        let (lane, _) = run(&document, usual(&document), false, json!({})).await;
        let (ran, server) = run(&document, usual(&document), true, json!({})).await;
        let part = tokens(&ran) / tokens(&lane);
        println!(
            "{rows} rows: {} calls, {} tokens, {part:.3}",
            server.count(),
            tokens(&ran)
        );
        assert_eq!(ran.rows("items"), &document.truth()["items"]);
        assert_eq!(ran.verdict("items"), "complete", "{}", ran.array("items"));
        let evidence = &ran.array("items")["evidence"];
        assert_eq!(evidence["rows_from_tables"], rows, "{evidence}");
        assert!(part <= most, "{rows}: {part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_table_is_whole_and_what_does_not_fit_is_asked_for() {
    for seed in [2, 3, 4] {
        let document = Document::make(Spec::hard(seed, 400));
        let (lane, _) = run(&document, usual(&document), false, json!({})).await;
        let (ran, server) = run(&document, usual(&document), true, json!({})).await;
        let truth = document.truth();
        let part = tokens(&ran) / tokens(&lane);
        println!(
            "seed {seed}: {} calls, {} tokens, {part:.3}",
            server.count(),
            tokens(&ran)
        );
        for name in ["items", "returned_items"] {
            let (recall, precision) = recall_and_precision(ran.rows(name), &truth[name]);
            println!("{name}: {recall} {precision} {}", ran.array(name));
            assert!(
                recall >= 0.99 && precision >= 0.99,
                "{seed} {name} {recall} {precision}"
            );
            let is_exact = ran.rows(name) == &truth[name];
            assert!(is_exact || ran.verdict(name) != "complete", "{seed} {name}");
        }
        assert!(ran.array("items")["evidence"]["rows_from_tables"].as_u64() > Some(250));
        assert!(part <= 0.75, "{seed}: {part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_code_has_read_are_proved_like_others() {
    let document = Document::make(Spec::hard(5, 200));
    let config = json!({"per_key_attribution": true});
    let (ran, _) = run(&document, reader(&document), true, config).await;
    let rows = ran.rows("items").as_array().unwrap();
    assert_eq!(&json!(rows), &document.truth()["items"]);
    let mut verified = 0;
    for (at, row) in rows.iter().enumerate() {
        for name in row.as_object().unwrap().keys() {
            let leaf = &ran.results["attributions"][format!("/items/{at}/{name}")];
            verified += u32::from(leaf["verdict"] == "verified");
        }
    }
    // Of the rows that the model has read, only one value each is quoted.
    assert!(verified >= 750, "{verified} of {}", rows.len() * 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_the_model_reads_otherwise_than_it_is_printed_is_read_in_windows() {
    let document = Document::make(Spec::plain(3, 300));
    let mut truth = document.truth();
    for row in truth["items"].as_array_mut().unwrap() {
        row["total"] = json!(row["total"].as_f64().unwrap() / 1_000.0);
    }
    let (ran, server) = run(&document, Reader::of(&truth, "article"), true, json!({})).await;
    assert_eq!(ran.rows("items"), &truth["items"]);
    assert!(ran.array("items")["evidence"]["rows_from_tables"].is_null());
    assert!(windows(&server).len() >= 3, "{}", windows(&server).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_job_about_the_same_table_asks_for_nothing() {
    let document = Document::make(Spec::plain(4, 200));
    let server = Server::start();
    read_by(&server, usual(&document));
    let app = app(&server).await;
    let config = json!({"additional_instructions": null});
    let body = request(&app, &document, config).await;
    let first = ran(&app, &body).await;
    let asked = server.count();
    let second = ran(&app, &body).await;
    assert_eq!(second.rows("items"), first.rows("items"));
    assert_eq!(server.count(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_fails_is_named_and_a_retry_asks_for_nothing_but_it() {
    let document = Document::make(Spec::hard(2, 400));
    let server = Server::start();
    let (reader, healed) = (usual(&document), Arc::new(AtomicBool::new(false)));
    let is_healed = Arc::clone(&healed);
    // What does not fit is asked for after the samples, which alone show where the tables begin.
    let truth = document.truth();
    let first = |name: &str| truth[name][0]["article"].as_str().unwrap().to_owned();
    let begins = [first("items"), first("returned_items")];
    server.script(move |asked| {
        let is_sample = begins
            .iter()
            .any(|article| asked.document().contains(article));
        let fails = !is_sample && !is_healed.load(Ordering::SeqCst);
        Some(if fails {
            Reply::from(Scenario::Filtered)
        } else {
            reader.reply(asked)
        })
    });
    let app = app(&server).await;
    let mut body = request(&app, &document, json!({})).await;
    let properties = body["schema"]["properties"].as_object_mut().unwrap();
    properties.retain(|name, _| name == "items");
    let first = ran(&app, &body).await;
    assert_eq!(first.verdict("items"), "incomplete");
    let failed = first.array("items")["evidence"]["windows_failed"]
        .as_array()
        .unwrap()
        .len();
    assert!(failed >= 1);
    assert!(first.rows("items").as_array().unwrap().len() > 350);

    healed.store(true, Ordering::SeqCst);
    let (asked, last) = (server.count(), first.end["sequence_number"].to_string());
    retry(&app, &first.job).await;
    let second = ended(&app, first.job.clone(), Some(&last)).await;
    assert_eq!(second.rows("items"), &document.truth()["items"]);
    assert_eq!(server.count() - asked, failed, "only what failed");
    let usage = &second.end["usage_metadata"];
    assert_eq!(usage["request_count"], server.count() as u64, "{usage}");
}
