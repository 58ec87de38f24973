//! The console and the reference: what they are made of, and what a real browser makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use rivulet::domain::error::Fault;
use serde_json::{Value, json};

use crate::support::app::{TestApp, file};
use crate::support::browser::{Drawn, acted_on, draw, find};
use crate::support::openapi::DOCUMENT;
use crate::support::provider::{Reply, Scripted, Server, fault};

const PAGES: [&str; 3] = [
    "/docs",
    "/console/",
    "/console/jobs/018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11",
];

/// The embedded files: name and text.
fn embedded() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    entries.map(read).collect()
}

/// What stands between two marks, every time.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(from)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(to)?.0))
}

#[test]
fn no_embedded_file_names_another_host_or_makes_markup_from_text() {
    for (name, text) in embedded() {
        let own = text.replace("http://www.w3.org/2000/svg", "");
        let foreign = [
            "http://", "https://", "\"//", "'//", "ws://", "wss://", "@import", "url(",
        ];
        for word in foreign {
            assert!(!own.contains(word), "{name}: {word}");
        }
        let markup = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "DOMParser",
            "createContextualFragment",
            "<style",
            " style=",
            " onclick",
        ];
        for word in markup {
            assert!(!text.contains(word), "{name}: {word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_their_files_are_served_locked_down() {
    let app = TestApp::start().run().await;
    let policy = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(policy)
        .build()
        .unwrap();
    let root = client.get(app.url("/")).send().await.unwrap();
    assert_eq!(
        (root.status().as_u16(), &root.headers()["location"]),
        (303, &"/console/".parse().unwrap())
    );
    let mut wanted: BTreeSet<String> = PAGES.map(str::to_owned).into();
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop_first() {
        let answer = client.get(app.url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        seen.insert(path.clone());
        if path == "/openapi.json" {
            continue;
        }
        let headers = answer.headers().clone();
        let kind = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(headers["content-type"], kind, "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let policy = headers["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut rules = policy.split("; ").map(|rule| rule.split_once(' ').unwrap());
        assert_eq!(rules.next(), Some(("default-src", "'none'")), "{path}");
        for (name, sources) in rules {
            assert!(
                ["'self'", "'none'"].contains(&sources),
                "{path}: {name} {sources}"
            );
        }
        for name in ["form-action", "base-uri", "frame-ancestors"] {
            assert!(policy.contains(&format!("{name} 'none'")), "{path}: {name}");
        }
        let text = answer.text().await.unwrap();
        let pages = between(&text, "href=\"/", "\"").chain(between(&text, "src=\"/", "\""));
        let scripts = between(&text, "from \"./", "\"").map(|name| format!("console/{name}"));
        let linked = pages
            .map(str::to_owned)
            .chain(scripts)
            .map(|path| format!("/{path}"));
        wanted.extend(linked.filter(|path| !seen.contains(path)));
    }
    let files: BTreeSet<_> = embedded().into_iter().map(|(name, _)| name).collect();
    let files = files.into_iter().filter(|name| !name.contains(".html"));
    let files: BTreeSet<_> = files.map(|name| format!("/console/{name}")).collect();
    assert!(
        files.is_subset(&seen),
        "{files:?} are not all reached: {seen:?}"
    );
    let published = &DOCUMENT["components"]["parameters"]["console_file"]["schema"]["enum"];
    let published = published.as_array().unwrap().iter();
    let published = published.map(|name| format!("/console/{}", name.as_str().unwrap()));
    assert_eq!(published.collect::<BTreeSet<_>>(), files);
    let missing = app.get("/console/other.js", "problem").await;
    assert_eq!(missing.refusal(), (404, "not_found"));
}

/// The texts and numbers in a value, as a page shows them.
fn shown(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|part| shown(part, found)),
        Value::Array(items) => items.iter().for_each(|part| shown(part, found)),
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => found.push(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        Value::Null => {}
        other => found.push(other.to_string()),
    }
}

/// Nothing but the console's own elements, and nothing that the browser complained of.
fn assert_own(page: &Drawn) {
    assert_eq!((page.count("script"), page.count("img")), (1, 1));
    for element in &page.elements {
        let foreign = [
            "iframe",
            "object",
            "embed",
            "style",
            "base",
            "marquee",
            "foreign-element",
        ];
        assert!(!foreign.contains(&element.name.as_str()), "{element:?}");
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on") && name != "style", "{element:?}");
            let leads = ["href", "src", "action"].contains(&name.as_str());
            assert!(
                !leads || value.starts_with('/') || value.starts_with('#'),
                "{element:?}"
            );
        }
    }
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_every_subtree_and_value_of_a_job() {
    let Some(browser) = find("a_browser_shows_every_subtree_and_value_of_a_job") else {
        return;
    };
    let app = TestApp::start().run().await;
    let bytes = file("schemas/examples/invoice.pdf");
    let schema: Value =
        serde_json::from_slice(&file("schemas/examples/invoice.schema.json")).unwrap();
    let id = app.upload("invoice.pdf", bytes).await.body["document_id"].clone();
    let body =
        json!({"document_id": id, "schema": schema, "config": {"per_key_attribution": true}});
    let frames = app.stream(&body).await.rest().await;
    let start = frames[0].payload();
    let job = start["job_id"].as_str().unwrap();
    let page = draw(browser, app.url(&format!("/console/jobs/{job}"))).await;
    assert_own(&page);
    for subtree in start["subtrees"].as_array().unwrap() {
        let path = subtree["path"].as_str().unwrap();
        let path = if path.is_empty() { "top level" } else { path };
        assert!(page.text.contains(path), "{path} in {}", page.text);
    }
    let mut values = Vec::new();
    shown(&app.results(job).await.body["results"], &mut values);
    assert!(values.len() > 20, "{values:?}");
    for value in values {
        assert!(page.text.contains(&value), "{value} in {}", page.text);
    }
    for words in [
        "invoice.pdf",
        "completed",
        "Every subtree was extracted.",
        "page 1",
    ] {
        assert!(page.text.contains(words), "{words} in {}", page.text);
    }
    let none = draw(browser, app.url("/console/jobs/%E0%A4%A")).await;
    assert_own(&none);
    assert!(
        none.text.contains("is not the id of a job"),
        "{}",
        none.text
    );
    let home = draw(browser, app.url("/console/")).await;
    assert_own(&home);
    assert!(
        home.text.contains("invoice.pdf") && home.text.contains("completed"),
        "{}",
        home.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_takes_nothing_from_a_document_or_a_schema_for_markup() {
    let Some(browser) = find("a_browser_takes_nothing_from_a_document_or_a_schema_for_markup")
    else {
        return;
    };
    let payloads = [
        "<script>document.body.append(document.createElement('foreign-element'))</script>",
        "<img src=x onerror=\"document.body.append(document.createElement('foreign-element'))\">",
        "\"><iframe src=\"https://foreign.example/\"></iframe><foreign-element x=\"",
        "</code></h2></section><foreign-element>",
        "<svg onload=alert(1)><style>*{display:none}</style>",
        "javascript:alert(1)//'\"`${alert(1)}{{7*7}}",
    ];
    let values = payloads;
    let scripted = Scripted::new(move |subtree, _| match subtree.id.as_str() {
        "broken" => {
            let Reply::Fail(mut error) = fault(Fault::ContentFiltered, None) else {
                unreachable!()
            };
            error.message = values.join(" ");
            Reply::Fail(error)
        }
        _ => Reply::Value(
            json!({"texts": values, "nested": {values[1]: {values[2]: values[0]}}, "rows": [{values[3]: values[4]}]}),
        ),
    });
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted)))
        .run()
        .await;
    let part = json!({"type": "object", "title": payloads[0], "description": payloads[1], "properties": {
        "a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"}, "texts": {"type": "integer"},
    }});
    let schema = json!({"type": "object", "title": payloads[2], "properties": {payloads[1]: part, "broken": part, payloads[3]: part}});
    let name = payloads[0].replace('/', "");
    let id = app.upload(&name, "Total: 5").await.body["document_id"].clone();
    let named = json!({"name": payloads[1], "schema_definition": schema});
    let schema_id =
        app.post("/v1/extract/schemas", &named, "schema").await.body["schema_id"].clone();
    let job = app
        .submit(&json!({"document_id": id, "schema_id": schema_id}))
        .await;
    assert_eq!(app.end_of(&job).await["subtrees_failed"], 1);
    let page = draw(browser, app.url(&format!("/console/jobs/{job}"))).await;
    assert_own(&page);
    assert!(!page.elements.iter().any(|element| element.name == "svg"));
    for payload in payloads.into_iter().chain([name.as_str()]) {
        assert!(page.text.contains(payload), "{payload} in {}", page.text);
    }
    let home = draw(browser, app.url("/console/")).await;
    assert_own(&home);
    assert!(
        home.text.contains(&name) && home.text.contains(payloads[1]),
        "{}",
        home.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_every_operation_in_the_reference() {
    let Some(browser) = find("a_browser_shows_every_operation_in_the_reference") else {
        return;
    };
    let app = TestApp::start().run().await;
    let page = draw(browser, app.url("/docs")).await;
    assert_own(&page);
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        assert!(page.text.contains(path), "{path}");
        for operation in item.as_object().unwrap().values().filter(|o| o.is_object()) {
            let id = operation["operationId"].as_str().unwrap();
            let has = |(name, value): &(String, String)| name == "id" && value == id;
            assert!(
                page.elements
                    .iter()
                    .any(|element| element.attributes.iter().any(has)),
                "{id}"
            );
        }
    }
    assert!(page.text.contains("subtree_result") && page.text.contains("wrapped_results"));
}

/// Types into the dialog: a wrong key first, then the good one.
const TYPIST: &str = r#"
const keys = ["rvl_000000000000_wrong", "KEY"];
let last = null;
new MutationObserver(() => {
  const dialog = document.querySelector("dialog[open]");
  if (!dialog || dialog === last) return;
  last = dialog;
  dialog.querySelector("input").value = keys.shift() ?? "none left";
  dialog.querySelector("form").requestSubmit();
}).observe(document, { childList: true, subtree: true, attributes: true });
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_asked_for_a_key_and_then_follows_a_job_with_a_ticket() {
    let Some(browser) = find("a_browser_is_asked_for_a_key_and_then_follows_a_job_with_a_ticket")
    else {
        return;
    };
    let app = TestApp::start().run().await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let bytes = file("schemas/examples/invoice.pdf");
    let schema: Value =
        serde_json::from_slice(&file("schemas/examples/invoice.schema.json")).unwrap();
    let id = app.upload("invoice.pdf", bytes).await.body["document_id"].clone();
    let job = app
        .submit(&json!({"document_id": id, "schema": schema}))
        .await;
    app.end_of(&job).await;

    let asked = draw(browser, app.url(&format!("/console/jobs/{job}"))).await;
    assert!(
        asked.text.contains("This server asks for a key"),
        "{}",
        asked.text
    );
    assert!(!asked.text.contains("invoice.pdf"));

    let html = String::from_utf8(file("src/http/console/index.html")).unwrap();
    let script = TYPIST.replace("KEY", &key);
    let door = acted_on(app.app.address, "/console/jobs/", html, &script).await;
    let page = draw(browser, format!("http://{door}/console/jobs/{job}")).await;
    for words in [
        "invoice.pdf",
        "completed",
        "Every subtree was extracted.",
        "FA-2017-0009",
    ] {
        assert!(
            page.text.contains(words),
            "{words} in {} {:?}",
            page.text,
            page.complaints
        );
    }
    assert!(!page.text.contains("asks for a key"), "{}", page.text);
    let secret = &key[17..];
    let everywhere = format!("{:?}", page.elements);
    assert!(!everywhere.contains(secret) && !page.text.contains(secret));
}
