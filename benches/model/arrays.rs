//! Long arrays, read by a model that cuts its answers off and leaves out the middle of long ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::layout::{MANY_ROWS, PAGES};
use crate::long::{Document, Spec};
use crate::model::{Pace, Reader, Server, Wire};
use crate::process::{Process, Seen, model_of};

const WIRE: Wire = Wire::Gemini;
/// Tokens after which answers are cut off, and rows of which all are written.
const CUT: u64 = 6_000;
const DROPS: usize = 250;
/// Who reads the rows. With instructions, which code cannot follow, the model reads all of them.
const MODEL: &str = "model";
const CODE: &str = "code";
const INSTRUCTIONS: &str = "Take your time.";
/// Rows that take ten windows of a plain document.
const TEN_WINDOWS: usize = 1_260;

/// Rows that were read in their order: of all in the truth, and of all that were read.
fn recall_and_precision(read: &Value, truth: &Value) -> (f64, f64) {
    let empty = Vec::new();
    let read = read.as_array().unwrap_or(&empty);
    let truth = truth.as_array().unwrap();
    let mut best = vec![0_u32; truth.len() + 1];
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
    (
        same / truth.len().max(1) as f64,
        same / read.len().max(1) as f64,
    )
}

/// Tokens that each part of the document takes to be read once and in full.
fn needed(server: &Server, reader: &Reader) -> u64 {
    let mut windows: BTreeMap<(String, String), u64> = BTreeMap::new();
    for asked in server.asked() {
        let length = |text: &str| (text.chars().count() / 4) as u64;
        let schema = asked.schema().unwrap().to_string();
        let whole = length(&asked.prompt()) + length(&reader.answer(&asked).to_string());
        // What a window goes on with is a part of it.
        let mut lines = asked.document().lines().rev();
        let is_text = |line: &&str| !line.trim().is_empty() && !line.starts_with('<');
        let last = lines.find(is_text).unwrap_or_default();
        let known = windows.entry((schema, last.to_owned())).or_insert(0);
        *known = (*known).max(whole);
    }
    windows.values().sum()
}

async fn row(rows: usize, spec: Spec, name: &str, by: &str) {
    let document = Document::make(spec);
    let (server, truth) = (Server::start(), document.truth());
    let process = Process::start(&server, true, None);
    let honest = Reader::of(&truth, "article");
    let reader = honest.clone().cut(CUT).dropping_above(DROPS);
    server.script(move |asked| Some(reader.reply(asked)));
    let id = process.upload(document.text()).await;
    let (idle, _) = process.memory();
    process.forget_peak();
    let mut body = json!({"document_id": id, "schema": document.schema(), "stream": true,
        "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 10}});
    if by == MODEL {
        body["config"]["additional_instructions"] = json!(INSTRUCTIONS);
    }
    let began = Instant::now();
    let seen = process.run(&body).await;
    let seconds = began.elapsed().as_secs_f64();
    let (_, peak) = process.memory();
    let job = seen.end["job_id"].as_str().unwrap().to_owned();
    let results = process.results(&job).await;
    for list in ["items", "returned_items"] {
        let Some(expected) = truth.get(list) else {
            continue;
        };
        let read = &results["results"][list];
        let (recall, precision) = recall_and_precision(read, expected);
        let path = format!("/{list}");
        let arrays = results["metadata"]["arrays"].as_array().unwrap();
        let found = arrays.iter().find(|array| array["path"] == path);
        let verdict = found.map_or("-", |array| array["verdict"].as_str().unwrap());
        let tokens = seen.end["usage_metadata"]["total_token_count"]
            .as_f64()
            .unwrap();
        let is_wrong = verdict == "complete" && read != expected;
        println!(
            "| {rows} | {name} | {by} | {list} | {recall:.4} | {precision:.4} | {verdict}{} | {} | {tokens:.0} | {:.2} | {seconds:.1} | {:.0} |",
            if is_wrong { " WRONG" } else { "" },
            server.count(),
            tokens / needed(&server, &honest) as f64,
            peak.saturating_sub(idle) as f64 / 1_024.0,
        );
    }
}

/// A job for the rows of a plain document, read in windows or in one call; the model as it was
/// asked.
async fn read(document: &Document, by: &str, is_one_call: bool) -> (Seen, Server) {
    let (server, truth) = (Server::start(), document.truth());
    let process = Process::start(&server, true, None);
    let reader = Reader::of(&truth, "article");
    // Minutes of one call are worked out: nobody has to wait for them.
    let pace = (!is_one_call).then(Pace::usual);
    server.script(move |asked| {
        let reply = reader.reply(asked);
        Some(match pace {
            Some(pace) => reply.paced(pace),
            None => reply,
        })
    });
    let id = process.upload(document.text()).await;
    let items = &document.schema()["properties"]["items"];
    let schema = json!({"type": "object", "properties": {"items": items}});
    let mut body = json!({"document_id": id, "schema": schema, "stream": true,
        "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 20,
            "enable_agentic_array_extraction": !is_one_call}});
    if by == MODEL {
        body["config"]["additional_instructions"] = json!(INSTRUCTIONS);
    }
    (process.run(&body).await, server)
}

/// Ten windows at an ideal pace, or a table read by code, beside one call for all rows. Both pay
/// for all that they send and write: rules, document, task, schema, answer.
async fn race(by: &str) {
    let document = Document::make(Spec::plain(1, TEN_WINDOWS));
    let (one, server) = read(&document, by, true).await;
    assert_eq!(server.count(), 1, "{}", one.end);
    let usage = |seen: &Seen, name: &str| seen.end["usage_metadata"][name].as_u64().unwrap();
    let written = usage(&one, "candidates_token_count");
    let ideal = Pace::usual().ideal(usage(&one, "prompt_token_count"), 0, written);
    let single = ideal.as_secs_f64();
    let (seen, server) = read(&document, by, false).await;
    let took = seen.ended.duration_since(seen.asked).as_secs_f64();
    let tokens = |seen: &Seen| usage(seen, "total_token_count") as f64;
    println!(
        "{by}, {} calls: {took:.2} s, one call {single:.2} s: {:.3}; {} tokens, one call {}: {:.3}",
        server.count(),
        took / single,
        tokens(&seen),
        tokens(&one),
        tokens(&seen) / tokens(&one)
    );
    if by == CODE {
        return;
    }
    let asked = server.asked();
    let letters = |text: &str| text.chars().count() as f64 / 4.0;
    let calls = asked.len() as f64;
    let shown: f64 = asked.iter().map(|asked| letters(asked.document())).sum();
    let sent: f64 = asked.iter().map(|asked| letters(&asked.prompt())).sum();
    println!(
        "  of each call: {:.0} tokens of rules, task and schema, {:.0} of the document, of which {:.0} other calls have too; {:.0} written, {:.0} of them twice",
        (sent - shown) / calls,
        shown / calls,
        (shown - letters(&document.text())) / calls,
        usage(&seen, "candidates_token_count") as f64 / calls,
        (usage(&seen, "candidates_token_count") as f64 - written as f64) / calls
    );
}

pub async fn run(rows: &[usize]) {
    println!(
        "| rows | table | read by | list | recall | precision | verdict | calls | tokens | tokens / needed | s | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let rows = if rows.is_empty() {
        &[27, 100, 400, 800, 1_200, 1_600, 3_200]
    } else {
        rows
    };
    for rows in rows {
        for by in [MODEL, CODE] {
            row(*rows, Spec::plain(1, *rows), "plain", by).await;
            row(*rows, Spec::hard(2, *rows), "hard", by).await;
            if *rows >= MANY_ROWS {
                let spec = Spec::hard(2, *rows).over_pages(PAGES);
                row(*rows, spec, "hard, 200 pages", by).await;
            }
        }
    }
    for by in [MODEL, CODE] {
        race(by).await;
    }
}
