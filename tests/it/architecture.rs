//! The walls of the house: who may know whom, and how large a file or function may be.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms of this crate it may name, and the words that must not stand in it.
struct Room {
    name: &'static str,
    may_name: &'static [&'static str],
    never: &'static [&'static str],
}

const WEB: &[&str] = &["actix"];

const ROOMS: &[Room] = &[
    Room {
        name: "domain",
        may_name: &["domain"],
        never: &[
            "actix",
            "tokio",
            "rusqlite",
            "reqwest",
            "object_store",
            "hayro",
            "std::fs",
            "std::net",
            "std::env",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "Zoned::now",
            "now_v7",
            "new_v4",
        ],
    },
    Room {
        name: "engine",
        may_name: &["domain", "engine"],
        never: &[
            "actix",
            "rusqlite",
            "reqwest",
            "object_store",
            "hayro",
            "std::fs",
            "std::net",
            "SystemTime",
        ],
    },
    Room {
        name: "http",
        may_name: &["domain", "engine", "http"],
        never: &["rusqlite", "reqwest", "object_store", "hayro", "std::fs"],
    },
    Room {
        name: "provider",
        may_name: &["domain", "engine::ports", "provider"],
        never: WEB,
    },
    Room {
        name: "store",
        may_name: &["domain", "engine::ports", "store"],
        never: WEB,
    },
    Room {
        name: "blob",
        may_name: &["domain", "engine::ports", "blob"],
        never: WEB,
    },
    Room {
        name: "document",
        may_name: &["domain", "engine::ports", "document"],
        never: &["actix", "tokio", "reqwest"],
    },
    Room {
        name: "webhook",
        may_name: &["domain", "engine::ports", "webhook"],
        never: WEB,
    },
];

const MAX_FILE_LINES: usize = 700;
const MAX_MEDIAN_FILE_LINES: usize = 200;
const MAX_FUNCTION_LINES: usize = 80;
const MAX_MEDIAN_FUNCTION_LINES: usize = 15;
/// Names of modules that gather what has no place.
const DRAWERS: &[&str] = &[
    "utils", "util", "helpers", "helper", "common", "misc", "manager", "types",
];

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path of this crate that the code names, such as `engine::ports::Call`.
fn named(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let head: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
            .collect();
        match rest[head.len()..].strip_prefix('{') {
            Some(group) if head.is_empty() || head.ends_with("::") => {
                let inner = group.split("};").next().unwrap_or(group);
                paths.extend(
                    inner
                        .split(',')
                        .map(|name| format!("{head}{}", name.trim())),
                );
            }
            _ => paths.push(head),
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let mut breaches = Vec::new();
    for room in ROOMS {
        for (path, text) in sources(&format!("src/{}", room.name)) {
            let code = code(&text);
            for name in named(&code) {
                let allowed = room
                    .may_name
                    .iter()
                    .any(|may| name == *may || name.starts_with(&format!("{may}::")));
                if !allowed {
                    breaches.push(format!("{}: names crate::{name}", path.display()));
                }
            }
            for word in room.never.iter().filter(|word| code.contains(*word)) {
                breaches.push(format!("{}: names {word}", path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn concrete_adapters_are_named_in_the_composition_root_only() {
    let adapters = [
        "Sqlite::",
        "Postgres::",
        "bucket::open",
        "Local::open",
        "Layout::",
        "document::Readers",
        "HttpSender::",
    ];
    let homes = [
        "src/app.rs",
        "src/app",
        "src/store",
        "src/blob",
        "src/provider",
        "src/document",
        "src/webhook",
    ];
    let mut breaches = Vec::new();
    for (path, text) in sources("src") {
        let is_home = homes.iter().any(|home| path.starts_with(home));
        let code = code(&text);
        for adapter in adapters
            .iter()
            .filter(|adapter| !is_home && code.contains(**adapter))
        {
            breaches.push(format!("{}: names {adapter}", path.display()));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn files_and_functions_stay_small() {
    let (mut files, mut functions, mut breaches) = (Vec::new(), Vec::new(), Vec::new());
    for (path, text) in sources("src") {
        let lines = code(&text).lines().count();
        files.push(lines);
        if lines > MAX_FILE_LINES {
            breaches.push(format!("{}: {lines} lines", path.display()));
        }
        for (name, length) in function_lengths(&code(&text)) {
            functions.push(length);
            if length > MAX_FUNCTION_LINES {
                breaches.push(format!("{}: fn {name} has {length} lines", path.display()));
            }
        }
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if DRAWERS.contains(&stem.as_str()) {
            breaches.push(format!("{}: a drawer, not a noun", path.display()));
        }
    }
    let (file, function) = (median(&mut files), median(&mut functions));
    if file > MAX_MEDIAN_FILE_LINES {
        breaches.push(format!("the median file has {file} lines"));
    }
    if function > MAX_MEDIAN_FUNCTION_LINES {
        breaches.push(format!("the median function has {function} lines"));
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

fn median(lengths: &mut [usize]) -> usize {
    lengths.sort_unstable();
    lengths[lengths.len() / 2]
}

/// Functions and their lines, by the brace at the same indent.
fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, String, usize)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        if let Some(at) = words.iter().position(|word| *word == "fn")
            && line.trim_start().starts_with(|c: char| c.is_alphabetic())
            && !line.trim_end().ends_with(';')
        {
            let name = words
                .get(at + 1)
                .unwrap_or(&"")
                .split(['(', '<'])
                .next()
                .unwrap_or("");
            open.push((indent, name.to_owned(), number));
        }
        if line.trim_end() == format!("{}}}", " ".repeat(indent))
            && open.last().is_some_and(|(start, _, _)| *start == indent)
            && let Some((_, name, start)) = open.pop()
        {
            found.push((name, number - start + 1));
        }
    }
    found
}

#[test]
fn source_has_no_crude_endings() {
    let crude = [
        ".unwrap()",
        ".expect(\"",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "TODO",
        "FIXME",
    ];
    let mut breaches = Vec::new();
    for (path, text) in sources("src") {
        let code = code(&text);
        for word in crude.iter().filter(|word| code.contains(**word)) {
            breaches.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}
