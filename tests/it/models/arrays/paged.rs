//! Long arrays of documents with pages and words at places: PDF.

use serde_json::{Value, json};

use super::{INSTRUCTIONS, Ran, app, ended, read_by, reader, usual, windows};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::Server;

/// Read by the model alone: with instructions, which code could not follow.
async fn ran(app: &TestApp, document: &Document, mut config: Value) -> Ran {
    config["additional_instructions"] = json!(INSTRUCTIONS);
    let uploaded = app.upload("delivery.pdf", document.pdf()).await;
    let body = json!({"document_id": uploaded.body["document_id"], "schema": document.schema(),
        "config": config});
    let job = app.submit(&body).await;
    ended(app, job, None).await
}

/// Rows of which not all lines are on one page.
fn broken(document: &Document) -> usize {
    let rows = document.printed().iter().flatten();
    rows.filter(|lines| lines.first().map(|line| line.0) != lines.last().map(|line| line.0))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_paged_tables_are_all_there_in_order_also_those_over_the_end_of_a_page() {
    let mut over_the_end = 0;
    for spec in [
        Spec::plain(31, 240),
        Spec::hard(32, 240),
        Spec::hard(33, 400),
        Spec::hard(34, 240),
    ] {
        let document = Document::make(spec);
        over_the_end += broken(&document);
        let server = Server::start();
        read_by(&server, usual(&document));
        let app = app(&server).await;
        let ran = ran(&app, &document, json!({})).await;
        assert_eq!(ran.end["status"], "completed", "{spec:?}: {}", ran.end);
        assert!(windows(&server).len() > 1, "{spec:?}");
        let truth = document.truth();
        for list in ["items", "returned_items"] {
            let Some(expected) = truth.get(list) else {
                continue;
            };
            println!("{spec:?} {list}: {}", ran.array(list));
            assert_eq!(ran.rows(list), expected, "{spec:?} {list}");
            assert_ne!(ran.verdict(list), "incomplete", "{spec:?} {list}");
        }
        // What is stated of the first table is counted.
        assert_eq!(
            ran.verdict("items"),
            if spec.states_totals || spec.has_ordinals {
                "complete"
            } else {
                "unknown"
            },
            "{spec:?} {}",
            ran.array("items")
        );
    }
    assert!(over_the_end > 0, "no row has a line on another page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_pages_that_are_cut_off_go_on_from_their_last_whole_row() {
    let document = Document::make(Spec::hard(36, 240));
    let server = Server::start();
    read_by(&server, reader(&document).cut(1_500));
    let app = app(&server).await;
    let ran = ran(&app, &document, json!({})).await;
    let truth = document.truth();
    assert_eq!(ran.rows("items"), &truth["items"]);
    assert_eq!(ran.rows("returned_items"), &truth["returned_items"]);
}
