//! What it takes to cut a schema into subtrees, beside what it takes to parse it.
//!
//! `cargo bench --bench schema` prints, for schemas of 2,000 to 100,000 fields, the median of
//! eleven rounds of parsing the text with `serde_json`, of cutting it with its parts taken out of
//! it, of cutting it with its parts copied, and the first of these by the parsing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::pedantic,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rivulet::domain::plan::Plan;
use rivulet::domain::plan::SplitterConfigs;
use serde_json::{Map, Value, json};

const ROUNDS: usize = 11;

fn main() {
    println!("   fields      bytes     parse   cut taken  cut copied  taken/parse  subtrees");
    for fields in [2_000, 20_000, 100_000] {
        let text = schema(fields).to_string();
        let (mut parse, mut taken, mut copied) = (Vec::new(), Vec::new(), Vec::new());
        let mut subtrees = 0;
        for _ in 0..ROUNDS {
            let (took, parsed) = timed(|| serde_json::from_str::<Value>(&text).unwrap());
            parse.push(took);
            let (took, plan) = timed(|| Plan::of(&parsed, SplitterConfigs::default()));
            copied.push(took);
            drop(plan);
            let (took, plan) = timed(|| Plan::from_schema(parsed, SplitterConfigs::default()));
            taken.push(took);
            subtrees = plan.subtrees.len();
        }
        let (parse, taken, copied) = (median(parse), median(taken), median(copied));
        let ratio = taken.as_secs_f64() / parse.as_secs_f64();
        println!(
            "{fields:>9} {:>10} {:>7.2}ms {:>9.2}ms {:>9.2}ms {ratio:>12.2} {subtrees:>9}",
            text.len(),
            millis(parse),
            millis(taken),
            millis(copied),
        );
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let done = black_box(work());
    (started.elapsed(), done)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Sections of 20 parts of 10 described fields each.
fn schema(fields: usize) -> Value {
    let part = |at: usize| {
        let properties: Map<String, Value> = (0..10)
            .map(|field| {
                let description = format!("Value {field} of part {at}, as it is printed.");
                let field_schema = json!({"type": ["string", "null"], "description": description});
                (format!("field_{field}"), field_schema)
            })
            .collect();
        json!({"type": "object", "properties": properties, "required": ["field_0"]})
    };
    let section = |at: usize| {
        let parts: Map<String, Value> = (0..20)
            .map(|index| (format!("part_{index}"), part(at * 20 + index)))
            .collect();
        json!({"type": "object", "title": format!("Section {at}"), "properties": parts})
    };
    let sections: Map<String, Value> = (0..fields / 200)
        .map(|at| (format!("section_{at}"), section(at)))
        .collect();
    json!({"type": "object", "properties": sections})
}
