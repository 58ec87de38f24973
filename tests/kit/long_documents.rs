//! Makes a long document of a table with what stands in it.
//!
//! `cargo run --example long_documents -- FOLDER ROWS [SEED] [plain|hard] [PAGES]` writes
//! `document.pdf`, `document.txt`, `schema.json` and `expected.json` there, and in `places.json` for each table and
//! each of its rows the lines it stands on: the page and the line that is not blank, from 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "long/mod.rs"]
mod long;

use std::fs;
use std::path::Path;

use long::{Document, Spec};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, rest @ ..] = arguments.as_slice() else {
        println!(
            "say where to, and how many rows: long_documents FOLDER ROWS [SEED] [plain|hard] [PAGES]"
        );
        return;
    };
    let seed = rest.first().map_or(1, |seed| seed.parse().expect("a seed"));
    let rows = rows.parse().expect("a number of rows");
    let spec = match rest.get(1).map_or("hard", String::as_str) {
        "plain" => Spec::plain(seed, rows),
        "hard" => Spec::hard(seed, rows),
        other => panic!("`{other}` is neither `plain` nor `hard`"),
    };
    let pages = rest.get(2).map(|pages| pages.parse().expect("a number"));
    let document = Document::make(pages.map_or(spec, |pages| spec.over_pages(pages)));
    let folder = Path::new(folder);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("document.pdf"), document.pdf()).unwrap();
    fs::write(folder.join("document.txt"), document.text()).unwrap();
    for (name, value) in [
        ("schema.json", document.schema()),
        ("expected.json", document.truth()),
        ("places.json", serde_json::json!(document.printed())),
    ] {
        fs::write(folder.join(name), format!("{value:#}\n")).unwrap();
    }
    println!(
        "{rows} rows on {} pages: {}",
        document.page_count(),
        folder.display()
    );
}
