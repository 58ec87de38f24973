//! The examples, run as they stand against the real server and a real document.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::app::{TestApp, file};
use crate::support::browser::{self, Window};
use crate::support::clients::{self, Ran, Runtime};
use crate::support::proxy::{Fate, Place, Proxy, streams};
use crate::support::sse::{Frame, as_floats, assert_lawful};

const DOCUMENT: &str = "schemas/examples/invoice.pdf";
const SCHEMA: &str = "schemas/examples/invoice.schema.json";

/// Behind the frame of that number, or behind its id, with the blank line still to come.
fn behind(number: usize, is_whole: bool) -> Place {
    let end = if is_whole { "\n\n" } else { "\n" };
    // `.14` does not end in `.4`, and only an id ends in a number and a line feed.
    Place::Behind(format!(".{number}{end}"))
}

/// The one job there is: its log and its results.
async fn job(app: &TestApp) -> (Vec<Frame>, Value) {
    let list = app.get("/v1/extract/jobs", "job_list").await;
    let jobs = list.body["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{}", list.body);
    let id = jobs[0]["job_id"].as_str().unwrap();
    let log = app.follow(id, None).await.rest().await;
    assert_lawful(&log);
    let results = app.results(id).await.body["results"].take();
    assert_eq!(results["number"], "FA-2017-0009", "{results}");
    (log, as_floats(results))
}

/// Path and value of each part, in the order of the log.
fn parts(log: &[Frame]) -> Vec<(String, Value)> {
    let parts = log.iter().filter(|frame| frame.event == "subtree_result");
    let parts = parts.map(|frame| {
        let payload = frame.payload();
        let path = payload["path"].as_str().unwrap();
        let path = if path.is_empty() { "/" } else { path };
        (
            path.to_owned(),
            as_floats(payload["extracted_result"].clone()),
        )
    });
    parts.collect()
}

/// Runs a script of `examples/` on the invoice.
async fn script(server: &str, interpreter: &Path, name: &str, key: Option<&str>) -> Ran {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arguments = [&format!("examples/{name}"), server, DOCUMENT, SCHEMA];
    clients::run(interpreter, &arguments.map(OsString::from), root, key).await
}

/// Runs a script while its stream is lost: before the answer, in an answer, behind a frame,
/// before the blank line of one, and by a 502 in between.
async fn script_through_cuts(interpreter: &Path, name: &str) {
    let app = TestApp::start().run().await;
    let proxy = Proxy::before(app.app.address, streams).await;
    proxy.plan([
        Fate::Close(Place::Bytes(0)),
        Fate::Close(Place::Bytes(700)),
        Fate::Close(behind(4, true)),
        Fate::BadGateway,
        Fate::Reset(behind(7, false)),
    ]);
    let ran = script(&proxy.base(), interpreter, name, None).await;
    let (log, results) = job(&app).await;
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(as_floats(printed), results);
    let mut lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.pop().map(str::trim), Some("completed"), "{}", ran.err);
    let shown = lines.iter().map(|line| {
        let (path, value) = line.split_once(' ').unwrap();
        (
            path.to_owned(),
            as_floats(serde_json::from_str(value).unwrap()),
        )
    });
    assert_eq!(shown.collect::<Vec<_>>(), parts(&log), "each part once");
    let seen = proxy.seen();
    let statuses: Vec<_> = seen.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses.len(), 6, "{seen:#?}");
    assert_eq!(statuses[2..], [200, 502, 200, 200].map(Some));
    assert_eq!(seen[3].last_event_id.as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_for_node_prints_the_result_through_cuts_and_a_502() {
    let test = "examples::the_script_for_node_prints_the_result_through_cuts_and_a_502";
    if let Some((node, _)) = clients::find(test, Runtime::Node) {
        script_through_cuts(&node, "follow.mjs").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_for_python_prints_the_result_through_cuts_and_a_502() {
    let test = "examples::the_script_for_python_prints_the_result_through_cuts_and_a_502";
    if let Some((python, _)) = clients::find(test, Runtime::Python) {
        script_through_cuts(&python, "follow.py").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_for_curl_shows_the_events_and_prints_the_result() {
    if !clients::is_there("curl") {
        let test = "examples::the_script_for_curl_shows_the_events_and_prints_the_result";
        return browser::skip(test, "no curl on the PATH");
    }
    let app = TestApp::start().run().await;
    let ran = script(&app.base, Path::new("sh"), "follow.sh", None).await;
    let (log, results) = job(&app).await;
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(as_floats(printed["results"].clone()), results);
    let bytes: String = log.iter().map(|frame| frame.bytes.as_str()).collect();
    let shown: Vec<_> = ran
        .err
        .lines()
        .filter(|line| !line.starts_with("retry: "))
        .collect();
    let expected: Vec<_> = bytes.lines().collect();
    assert_eq!(shown, [&[":ok"], &expected[..]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_for_curl_goes_on_behind_a_cut() {
    if !clients::is_there("curl") {
        return browser::skip(
            "examples::the_script_for_curl_goes_on_behind_a_cut",
            "no curl on the PATH",
        );
    }
    let app = TestApp::start().run().await;
    let proxy = Proxy::before(app.app.address, streams).await;
    proxy.plan([Fate::Close(behind(4, true))]);
    let ran = script(&proxy.base(), Path::new("sh"), "follow.sh", None).await;
    let (_, results) = job(&app).await;
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(as_floats(printed["results"].clone()), results);
    let cursors: Vec<_> = proxy
        .seen()
        .into_iter()
        .map(|seen| seen.last_event_id)
        .collect();
    assert_eq!(cursors, ["0", "4"].map(|cursor| Some(cursor.to_owned())));
}

/// Serves the page and its user, and gives the user's address.
fn serve_page(proxy: &Proxy) -> String {
    proxy.serve("/watch", "text/html", file("tests/clients/watch.html"));
    let page = file("examples/eventsource.html");
    proxy.serve("/examples/eventsource.html", "text/html", page);
    proxy.serve("/document", "application/pdf", file(DOCUMENT));
    proxy.serve("/schema", "application/json", file(SCHEMA));
    format!("{}/watch", proxy.base())
}

/// What happens to the streams of the page.
fn fates() -> [Fate; 4] {
    [
        // Two parts are there when the page is loaded again.
        Fate::Silence(behind(4, true)),
        Fate::Close(behind(6, false)),
        // To the browser's own attempt: it gives up, and the page goes on.
        Fate::BadGateway,
        Fate::Close(behind(8, true)),
    ]
}

/// Asserts that the page showed everything once, and asked for streams as it should.
async fn assert_page(app: &TestApp, said: &Value, proxy: &Proxy) {
    let (log, results) = job(app).await;
    assert_eq!(said["complaints"], json!([]));
    assert_eq!(said["loads"], 2);
    assert_eq!(as_floats(said["result"].clone()), results);
    let shown = |name: &str| {
        let rows = said[name].as_array().unwrap().iter().map(|row| {
            let [path, value] = [0, 1].map(|cell| row[cell].as_str().unwrap());
            (
                path.to_owned(),
                as_floats(serde_json::from_str(value).unwrap()),
            )
        });
        rows.collect::<Vec<_>>()
    };
    let parts = parts(&log);
    assert_eq!(shown("rows_before"), parts[..2]);
    assert_eq!(
        shown("rows_restored"),
        parts[..2],
        "at once, from what was kept"
    );
    assert_eq!(shown("rows_after"), parts, "each part once");
    let (id, last) = log.last().unwrap().id.split_once('.').unwrap();
    assert_eq!(last, "11");
    let search = said["search"].as_str().unwrap();
    assert!(search.ends_with(&format!("job={id}")), "{search}");
    let seen = proxy.seen();
    let asked = seen.iter().map(|seen| {
        let query = seen.path.split_once("after=").unwrap().1;
        let after = query.split('&').next().unwrap();
        let header = seen.last_event_id.as_ref();
        let header = header.map(|id| id.split_once('.').unwrap().1);
        (seen.status.unwrap(), after, header)
    });
    let asked: Vec<_> = asked.collect();
    let expected = [
        (200, "0", None),
        (200, "4", None),
        (502, "4", Some("5")),
        (200, "5", None),
        (200, "5", Some("8")),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_survives_a_reload_a_cut_and_a_502() {
    let test = "examples::the_page_survives_a_reload_a_cut_and_a_502";
    let Some(browser) = browser::find(test) else {
        return;
    };
    let app = TestApp::start().run().await;
    let proxy = Proxy::before(app.app.address, streams).await;
    proxy.plan(fates());
    let _window = Window::open(browser, &serve_page(&proxy));
    let said: Value = serde_json::from_str(&proxy.said().await).unwrap();
    assert_page(&app, &said, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_does_so_from_another_origin_with_a_key_that_a_reload_forgets() {
    let test = "examples::the_page_does_so_from_another_origin_with_a_key_that_a_reload_forgets";
    let Some(browser) = browser::find(test) else {
        return;
    };
    // Where the page comes from, with no server behind it.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let home = Proxy::before(nobody, streams).await;
    let watch = serve_page(&home);
    let app = TestApp::start()
        .set("cors_origins", home.base())
        .run()
        .await;
    let key = app.key("ada").await;
    let app = app.with_key(&key);
    let proxy = Proxy::before(app.app.address, streams).await;
    proxy.plan(fates());
    let url = format!("{watch}?server={}&key={key}", proxy.base());
    let _window = Window::open(browser, &url);
    let said: Value = serde_json::from_str(&home.said().await).unwrap();
    assert_page(&app, &said, &proxy).await;
    let seen = proxy.seen();
    assert!(seen.iter().all(|seen| seen.path.contains("&ticket=")));
    assert!(seen.iter().all(|seen| !seen.path.contains(&key)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scripts_send_the_key_in_their_environment() {
    let test = "examples::the_scripts_send_the_key_in_their_environment";
    let Some((node, _)) = clients::find(test, Runtime::Node) else {
        return;
    };
    let Some((python, _)) = clients::find(test, Runtime::Python) else {
        return;
    };
    if !clients::is_there("curl") {
        return browser::skip(test, "no curl on the PATH");
    }
    let scripts = [
        (node, "follow.mjs"),
        (python, "follow.py"),
        ("sh".into(), "follow.sh"),
    ];
    for (interpreter, name) in scripts {
        let app = TestApp::start().run().await;
        let key = app.key("ada").await;
        let app = app.with_key(&key);
        let ran = script(&app.base, &interpreter, name, Some(&key)).await;
        let (_, results) = job(&app).await;
        let mut printed: Value = serde_json::from_str(&ran.out).unwrap();
        if name == "follow.sh" {
            printed = printed["results"].take();
        }
        assert_eq!(as_floats(printed), results, "{name}");
    }
}

#[test]
fn the_page_makes_no_markup_of_values() {
    let page = String::from_utf8(file("examples/eventsource.html")).unwrap();
    assert!(page.contains("textContent"));
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "srcdoc",
        "DOMParser",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}
