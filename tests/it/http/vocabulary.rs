//! Words: the codes, events and fields of the source, the published schemas and the prose agree.

use std::collections::{BTreeMap, BTreeSet};

use rivulet::domain::error::{Code, Fault};
use rivulet::domain::event::Kind;
use serde_json::Value;

use crate::support::app::file;
use crate::support::openapi::{DOCUMENT, codes, responses};

/// Codes that nothing is refused with yet, and why their names are taken all the same.
const RESERVED_CODES: [(&str, &str); 0] = [];

fn text(path: &str) -> String {
    String::from_utf8(file(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&file(path)).unwrap()
}

fn is_reserved(code: Code) -> bool {
    RESERVED_CODES.iter().any(|(name, _)| *name == code.name())
}

/// The cells of every table row between two headings of the prose, backticks kept.
fn rows(prose: &str, from: &str, to: &str) -> Vec<Vec<String>> {
    let (_, rest) = prose
        .split_once(from)
        .unwrap_or_else(|| panic!("no heading {from}"));
    let part = rest.split(to).next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

/// Words between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_code_is_published_where_it_is_met_or_reserved() {
    let mut published = BTreeMap::new();
    let anywhere = DOCUMENT["x-codes-anywhere"].as_array().unwrap();
    for name in anywhere {
        let code = Code::ALL.iter().find(|code| *name == code.name());
        published.insert(
            name.as_str().unwrap(),
            code.expect("a code of the source").status(),
        );
    }
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values().filter(|o| o.is_object()) {
            for (status, response) in responses(operation) {
                let names = codes(response);
                assert_eq!(names.is_empty(), status < "400", "{path} {status}");
                let described = response["description"].as_str().unwrap();
                for name in names {
                    assert!(
                        described.contains(&format!("`{name}`")),
                        "{path} {status}: {name}"
                    );
                    published.insert(name, status.parse().unwrap());
                }
            }
        }
    }
    let known = Code::ALL.iter().filter(|code| !is_reserved(**code));
    let known: BTreeMap<_, _> = known.map(|code| (code.name(), code.status())).collect();
    assert_eq!(published, known);
}

#[test]
fn reserved_codes_are_used_nowhere_and_all_others_somewhere() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && !path.ends_with("domain/error.rs")
            {
                source.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let words: BTreeSet<_> = source.split(|c: char| !c.is_alphanumeric()).collect();
    for code in Code::ALL {
        let is_used = words.contains(format!("{code:?}").as_str());
        assert_eq!(is_used, !is_reserved(*code), "{}", code.name());
    }
}

#[test]
fn the_prose_lists_every_code_with_its_status() {
    let prose = text("STREAMING-DESIGN.md");
    let rows = rows(&prose, "### Before a stream begins", "### Within a stream");
    let listed: BTreeMap<_, _> = rows
        .iter()
        .filter_map(|row| Some((quoted(&row[1]).next()?, row[0].parse::<u16>().ok()?)))
        .collect();
    let known = Code::ALL.iter().filter(|code| !is_reserved(**code));
    let known: BTreeMap<_, _> = known.map(|code| (code.name(), code.status())).collect();
    assert_eq!(listed, known);
    let examples = json("schemas/api/problem.json")["properties"]["code"]["examples"].clone();
    let all: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(examples, serde_json::json!(all));
}

#[test]
fn the_prose_lists_every_fault_and_whether_it_is_tried_again() {
    let prose = text("STREAMING-DESIGN.md");
    let rows = rows(&prose, "### Within a stream", "## 9.");
    let listed: BTreeMap<_, _> = rows
        .iter()
        .skip(1)
        .filter_map(|row| Some((quoted(&row[0]).next()?, row[2] == "yes")))
        .collect();
    let known = Fault::ALL
        .iter()
        .map(|fault| (fault.name(), fault.is_retryable()));
    assert_eq!(listed, known.collect());
    let common = json("schemas/events/common.json");
    let mut published = BTreeSet::new();
    for word in common["$defs"]["error_type"]["examples"]
        .as_array()
        .unwrap()
    {
        published.insert(word.as_str().unwrap());
    }
    assert_eq!(
        published,
        Fault::ALL.iter().map(|fault| fault.name()).collect()
    );
}

#[test]
fn events_and_their_fields_are_the_same_in_source_schemas_and_prose() {
    let prose = text("STREAMING-DESIGN.md");
    let chapter = prose
        .split("## 4. Events")
        .nth(1)
        .unwrap()
        .split("## 5. Order")
        .next()
        .unwrap();
    let described: BTreeSet<_> = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let sent: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(described, sent);

    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/events");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<_> = files
        .map(|name| name.to_str().unwrap().replace(".json", ""))
        .collect();
    // A ping is sent, and is no event of the log.
    let others = ["common", "event", "ping"].map(str::to_owned);
    let expected = sent.iter().map(|name| (*name).to_owned());
    assert_eq!(files, expected.chain(others).collect());

    let envelope = ["type", "job_id", "sequence_number", "time"];
    for name in described {
        let schema = json(&format!("schemas/events/{name}.json"));
        let published: BTreeSet<_> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let from = format!("### {name}\n");
        let rows = rows(chapter, &from, "\n###");
        let mut told: BTreeSet<_> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
        told.extend(envelope);
        assert_eq!(told, published, "{name}");
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_str().unwrap())
            .collect();
        for row in &rows {
            let must = row.get(2).is_some_and(|cell| cell == "yes");
            for field in quoted(&row[0]) {
                assert_eq!(required.contains(field), must, "{name}: {field}");
            }
        }
    }
}

#[test]
fn every_schema_in_the_repository_is_served_in_the_document() {
    let source = text("src/http/ops.rs");
    for folder in [
        "api",
        "events",
        "dialects/extraction_jobs",
        "dialects/parseflow",
        "dialects/retab",
        "dialects/structflow",
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas")
            .join(folder);
        for entry in std::fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name();
            let Some(name) = name.to_str().unwrap().strip_suffix(".json") else {
                continue;
            };
            assert!(
                source.contains(&format!("\"{name}\"")),
                "schemas/{folder}/{name}.json"
            );
        }
    }
}
