//! Long tables read by the embedded extractor: what of them, how sure, how fast and in how much
//! memory.

use serde_json::{Value, json};

use crate::long::{Document, Spec};
use crate::model::Server;
use crate::process::Process;

/// Rows that are also read from so many pages.
pub const MANY_ROWS: usize = 3_200;
pub const PAGES: usize = 200;

/// The part of the rows that were read, and of all cells those that are right.
fn recall_and_accuracy(read: &Value, truth: &Value) -> (f64, f64) {
    let empty = Vec::new();
    let read = read.as_array().unwrap_or(&empty);
    let truth = truth.as_array().unwrap();
    if read == truth {
        return (1.0, 1.0);
    }
    let cells = |a: &Value, b: &Value| {
        let cells = a.as_object().unwrap().iter();
        let right = cells.filter(|(name, cell)| b[name.as_str()] == **cell);
        right.count()
    };
    // The pairs in order that have most rows, and then most cells.
    let mut best = vec![(0, 0); truth.len() + 1];
    for row in read {
        let mut left = (0, 0);
        for (at, expected) in truth.iter().enumerate() {
            let above = best[at + 1];
            let right = cells(expected, row);
            let most = above.max(best[at]);
            best[at + 1] = if right >= 3 {
                most.max((left.0 + 1, left.1 + right))
            } else {
                most
            };
            left = above;
        }
    }
    let (rows, right) = best[truth.len()];
    let all = truth.iter().map(|row| row.as_object().unwrap().len());
    let all: usize = all.sum();
    (
        rows as f64 / truth.len().max(1) as f64,
        right as f64 / all.max(1) as f64,
    )
}

async fn row(rows: usize, spec: Spec, name: &str) {
    let document = Document::make(spec);
    let (server, truth) = (Server::start(), document.truth());
    let process = Process::start(&server, true, None);
    let id = process.upload_file("delivery.pdf", document.pdf()).await;
    let (idle, _) = process.memory();
    process.forget_peak();
    let body = json!({"document_id": id, "schema": document.schema(), "stream": true,
        "config": {"model": "layout"}});
    let seen = process.run(&body).await;
    let seconds = seen.ended.duration_since(seen.asked).as_secs_f64();
    let (_, peak) = process.memory();
    let job = seen.end["job_id"].as_str().unwrap().to_owned();
    let results = process.results(&job).await;
    for list in ["items", "returned_items"] {
        let Some(expected) = truth.get(list) else {
            continue;
        };
        let read = &results["results"][list];
        let (recall, accuracy) = recall_and_accuracy(read, expected);
        let path = format!("/{list}");
        let arrays = results["metadata"]["arrays"].as_array().unwrap();
        let found = arrays.iter().find(|array| array["path"] == path);
        let verdict = found.map_or("-", |array| array["verdict"].as_str().unwrap());
        let is_wrong = verdict == "complete" && read != expected;
        println!(
            "| {rows} | {name} | {} | {list} | {recall:.4} | {accuracy:.4} | {verdict}{} | {seconds:.2} | {:.0} |",
            document.page_count(),
            if is_wrong { " WRONG" } else { "" },
            peak.saturating_sub(idle) as f64 / 1_024.0,
        );
    }
}

pub async fn run(rows: &[usize]) {
    println!("| rows | table | pages | list | recall | cells | verdict | s | MiB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let rows = if rows.is_empty() {
        &[27, 100, 400, 800, 1_200, 1_600, 3_200]
    } else {
        rows
    };
    for rows in rows {
        row(*rows, Spec::plain(1, *rows), "plain").await;
        row(*rows, Spec::hard(2, *rows), "hard").await;
        row(*rows, Spec::hard(3, *rows), "hard").await;
        if *rows >= MANY_ROWS {
            row(*rows, Spec::plain(1, *rows).over_pages(PAGES), "plain").await;
            row(*rows, Spec::hard(2, *rows).over_pages(PAGES), "hard").await;
        }
    }
}
