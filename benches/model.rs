//! What the way to a model costs, against the provider server of the tests; and that server by
//! itself.
//!
//! `cargo bench --bench model -- calls [ROUNDS]`: a job whose subtrees share one call, evidence and
//! validation on: the first result and the end of the job over what the model's pace allows.
//!
//! `cargo bench --bench model -- burst [JOBS]`: jobs of 20 calls on a key that takes 4 at once and 5
//! a second, over what such a bucket allows; refusals after the first job; calls that came too early.
//!
//! `cargo bench --bench model -- memory [SCENARIO ...]`: the most memory that the server takes while
//! an answer goes wrong, in each wire format, streamed and not (Linux).
//!
//! `cargo bench --bench model -- arrays [ROWS ...]`: recall, precision and verdict of long arrays, what
//! they cost beside what their windows need, and ten windows beside one call.
//!
//! `cargo bench --bench model -- layout [ROWS ...]`: the same of the embedded extractor and PDF: rows,
//! cells, verdict, seconds and memory above idle.
//!
//! All of these run the server as a process of its own. With `--profile dev` counts and memory are of
//! use, times are not.
//!
//! `cargo bench --bench model -- ADDRESS [NAME=VALUE ...]`, where `ADDRESS` is such as
//! `127.0.0.1:9100`, serves until its standard input ends, and prints what it has counted:
//!
//! | name | value |
//! |---|---|
//! | `delay` `read` `cached` `write` | a model's pace: milliseconds, and tokens a second |
//! | `limit` | calls at once and calls a second, as `4,5`; `hint` says how a 429 tells of it: `seconds`, `date`, `millis`, `body`, `none` |
//! | `scenario` | plays it for every call; `every` says that only each so-manieth call gets it |
//! | `answers` | a file of JSON, an object of values by property name |
//!
//! The key is `tests-key-0f6a`. Without arguments it prints the scenarios and ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::pedantic,
    reason = "a tool of the tests"
)]

#[path = "model/arrays.rs"]
mod arrays;
#[path = "model/burst.rs"]
mod burst;
#[path = "model/calls.rs"]
mod calls;
#[path = "model/layout.rs"]
mod layout;
#[allow(dead_code, reason = "shared with tests that ask for more")]
#[path = "../tests/kit/long/mod.rs"]
mod long;
#[path = "model/memory.rs"]
mod memory;
#[path = "../tests/it/support/model/mod.rs"]
mod model;
#[path = "model/process.rs"]
mod process;

use std::collections::HashMap;
use std::time::Duration;

use model::limit::Style;
use model::{Honest, KEY, Limit, Pace, Reply, Scenario, Server};
use serde_json::{Map, Value};

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let count = || arguments.get(1).and_then(|text| text.parse().ok());
    let rows = || -> Vec<usize> {
        let rows = arguments[1..].iter();
        rows.map(|rows| rows.parse().expect("rows")).collect()
    };
    match arguments.first().map(String::as_str) {
        Some("calls") => return block_on(calls::measure(count().unwrap_or(5))),
        Some("burst") => return block_on(burst::measure(count().unwrap_or(4))),
        Some("arrays") => return block_on(arrays::run(&rows())),
        Some("layout") => return block_on(layout::run(&rows())),
        Some("memory") => return block_on(memory::measure(&arguments[1..])),
        _ => {}
    }
    let Some(address) = arguments.first().and_then(|first| first.parse().ok()) else {
        let names: Vec<_> = Scenario::ALL
            .iter()
            .map(|scenario| scenario.name())
            .collect();
        println!(
            "give calls, burst, memory, arrays or an address to serve at; scenarios: {}",
            names.join(" ")
        );
        return;
    };
    let options: HashMap<&str, &str> = arguments[1..]
        .iter()
        .map(|argument| argument.split_once('=').expect("NAME=VALUE"))
        .collect();
    let server = Server::bind(address);
    server.forgetful();
    configure(&server, &options);
    println!("http://{} with the key {KEY}", server.address);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    println!("{:?}", server.counts());
}

fn block_on(work: impl Future<Output = ()>) {
    rivulet::tls::install();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

fn configure(server: &Server, options: &HashMap<&str, &str>) {
    let number = |name: &str| {
        options
            .get(name)
            .map(|text| text.parse::<f64>().expect("a number"))
    };
    if ["delay", "read", "cached", "write"]
        .iter()
        .any(|name| options.contains_key(name))
    {
        let usual = Pace::usual();
        server.pace(Pace {
            delay: number("delay")
                .map_or(usual.delay, |delay| Duration::from_secs_f64(delay / 1000.0)),
            read: number("read").unwrap_or(usual.read),
            read_cached: number("cached").unwrap_or(usual.read_cached),
            write: number("write").unwrap_or(usual.write),
            ..usual
        });
    }
    if let Some((size, rate)) = options.get("limit").and_then(|text| text.split_once(',')) {
        let style = match options.get("hint").copied().unwrap_or("seconds") {
            "seconds" => Style::Seconds,
            "date" => Style::Date,
            "millis" => Style::Millis,
            "body" => Style::Body,
            "none" => Style::None,
            other => panic!("no hint is called {other}"),
        };
        server.limit(Limit::new(
            size.parse().unwrap(),
            rate.parse().unwrap(),
            style,
        ));
    }
    if let Some(name) = options.get("scenario") {
        let scenario = Scenario::named(name).expect("a scenario");
        let every = number("every").map_or(1, |every| every as usize);
        server.script(move |asked| (asked.number % every == 0).then(|| Reply::from(scenario)));
    }
    if let Some(file) = options.get("answers") {
        let table: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let honest = Honest::table(
            table
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone())),
        );
        server.answers(move |asked| honest.answer(asked));
    }
}
