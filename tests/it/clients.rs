//! Clients that others wrote, unmodified, on a running job whose connection is cut again and
//! again: one job, every event once, one end, and quiet after it.

use std::ffi::OsString;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::browser::{self, Window};
use crate::support::clients::{self, Ran, Runtime};
use crate::support::dice::Dice;
use crate::support::provider::{Scripted, Server};
use crate::support::proxy::{Fate, Place, Proxy, Seen, streams};
use crate::support::sse::{as_floats, assert_lawful};

const SUBTREES: usize = 40;
/// Outcomes that become known between two cuts; half of them while nobody is connected.
const STEP: usize = 8;
/// Cuts at places drawn by chance.
const CUTS: usize = 3;
/// Less than one frame of an outcome takes.
const SMALLEST_FRAME: u64 = 500;

/// What a client was given, or said of itself.
struct Account {
    /// Payloads as text, where the client hands out text.
    delivered: Vec<Value>,
    summary: Value,
}

/// A job under way, seen through a proxy that cuts.
struct Course {
    app: TestApp,
    scripted: Arc<Scripted>,
    proxy: Proxy,
    /// What starts the job.
    body: Value,
    /// The address of its events, or of jobs when the client starts it.
    path: String,
}

/// How a client comes to its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Get,
    /// It gets the job's events and does not close at the end.
    Careless,
    /// It starts the job and repeats the POST, with a key.
    Post,
}

/// Requests that open a stream, in whichever way.
fn followed(seen: &Seen) -> bool {
    streams(seen) || (seen.method == "POST" && seen.path.ends_with("/jobs"))
}

impl Course {
    async fn start(seed: u64, way: Way) -> Self {
        let given = std::env::var("RIVULET_SEED").ok();
        let seed = given.map_or(seed, |seed| seed.parse().unwrap());
        println!("RIVULET_SEED={seed}");
        let scripted = Scripted::gated();
        let app = TestApp::start()
            .provider(Arc::new(Server(scripted.clone())))
            .run()
            .await;
        let proxy = Proxy::before(app.app.address, followed).await;
        let body = app.job_body(wide_schema(SUBTREES), json!({})).await;
        let path = match way {
            Way::Post => "/v1/extract/jobs".to_owned(),
            _ => format!("/v1/extract/jobs/{}/events", app.submit(&body).await),
        };
        let mut dice = Dice(seed);
        let mut fates: Vec<_> = (0..CUTS)
            .map(|_| {
                // Every answer has that many bytes, its head and what was missed left aside.
                let place = Place::Bytes(dice.roll(STEP as u64 * SMALLEST_FRAME) as usize);
                if dice.roll(2) == 0 {
                    Fate::Close(place)
                } else {
                    Fate::Reset(place)
                }
            })
            .collect();
        // And one where an event is there but for the blank line that delivers it.
        let number = 2 + STEP * (CUTS + 1) - STEP / 2;
        fates.push(Fate::Close(Place::Behind(format!(".{number}\n"))));
        println!("{fates:?}");
        proxy.plan(fates);
        Self {
            app,
            scripted,
            proxy,
            body,
            path,
        }
    }

    fn url(&self) -> String {
        format!("{}{}", self.proxy.base(), self.path)
    }

    /// Lets the job go on as the client comes and is cut off.
    async fn release(&self) {
        for cut in 1..=CUTS + 1 {
            self.scripted.pass(STEP / 2);
            self.proxy.requests(cut).await;
            self.scripted.pass(STEP / 2);
            self.proxy.cuts(cut).await;
        }
        self.proxy.requests(CUTS + 2).await;
        self.scripted.pass(SUBTREES);
    }

    /// Asserts that the client has the log, each event once, and that there is one job; gives
    /// the requests of streams.
    async fn assert_whole(&self, client: &str, account: &Account) -> Vec<Seen> {
        let jobs = self.app.get("/v1/extract/jobs", "job_list").await;
        let jobs = jobs.body["jobs"].as_array().unwrap();
        assert_eq!(jobs.len(), 1, "{client}: {jobs:?}");
        let job = jobs[0]["job_id"].as_str().unwrap();
        let log = self.app.follow(job, None).await.rest().await;
        assert_lawful(&log);
        let end = log.last().unwrap().payload();
        assert_eq!(end["subtrees_succeeded"], SUBTREES);
        let mut results = log.iter().filter(|frame| frame.event == "subtree_result");
        assert!(results.all(|frame| frame.bytes.len() as u64 > SMALLEST_FRAME));
        assert_eq!(account.delivered.len(), log.len(), "{client}");
        for (event, frame) in account.delivered.iter().zip(&log) {
            match event {
                // As text it is the text that was sent, byte for byte.
                Value::String(text) => assert_eq!(*text, frame.data, "{client}"),
                payload => assert_eq!(
                    as_floats(payload.clone()),
                    as_floats(frame.payload()),
                    "{client}"
                ),
            }
        }
        assert_eq!(self.scripted.asked().len(), SUBTREES, "paid for once");
        let seen = self.proxy.seen();
        assert_eq!(seen.iter().filter(|seen| seen.was_cut).count(), CUTS + 1);
        let summary = &account.summary;
        let last = format!("{job}.{}", log.len());
        let after = seen
            .iter()
            .filter(|seen| seen.last_event_id.as_ref() == Some(&last));
        let after: Vec<_> = after.map(|seen| seen.status).collect();
        let [delivered, repeated, gaps] =
            ["delivered", "repeated", "gaps"].map(|name| summary[name].as_u64().unwrap());
        // Only what came behind a gap, and was left for later, came twice.
        assert_eq!(
            (delivered, repeated),
            (log.len() as u64 + gaps, 0),
            "{client}"
        );
        println!(
            "{client}: {} requests, {} events, {delivered} delivered, {repeated} repeated, {gaps} gaps, after the end {after:?}",
            seen.len(),
            log.len(),
        );
        seen
    }
}

impl Account {
    /// Of a program that printed its lines and then ended by itself.
    fn of(ran: &Ran) -> Self {
        assert_eq!(ran.err, "", "nothing to complain of");
        let mut account = Self {
            delivered: Vec::new(),
            summary: Value::Null,
        };
        for line in ran.out.lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            assert!(
                account.summary.is_null(),
                "nothing comes after the summary: {line}"
            );
            match ["data", "payload", "summary"].map(|key| line[key].take()) {
                [Value::Null, Value::Null, summary] => account.summary = summary,
                [Value::Null, payload, _] => account.delivered.push(payload),
                [data, ..] => account.delivered.push(data),
            }
        }
        account
    }
}

/// Lets a program of `tests/clients` follow a job. It ends by itself: a client that was about to
/// come back would keep it alive.
async fn program(
    test: &str,
    seed: u64,
    runtime: Runtime,
    name: &str,
    way: Way,
) -> Option<Vec<Seen>> {
    let (interpreter, folder) = clients::find(test, runtime)?;
    let course = Course::start(seed, way).await;
    let mut arguments = vec![OsString::from(name), OsString::from(course.url())];
    let careless = way == Way::Careless;
    let mut given = json!({ "careless": careless });
    if way == Way::Post {
        given["body"] = course.body.clone();
        given["body"]["stream"] = json!(true);
        given["key"] = json!("once");
    }
    arguments.push(given.to_string().into());
    let running = clients::run(&interpreter, &arguments, &folder, None);
    // A program that fails is heard at once.
    let (ran, ()) = tokio::join!(running, course.release());
    let account = Account::of(&ran);
    let seen = course.assert_whole(name, &account).await;
    let gaps = account.summary["gaps"].as_u64().unwrap() as usize;
    // One for the start, one for each loss, and none after the end; a client that forgot to
    // close is told once that there is nothing more.
    assert_eq!(
        seen.len(),
        1 + CUTS + 1 + gaps + usize::from(careless),
        "{seen:#?}"
    );
    Some(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_sees_every_event_once_through_cuts() {
    let test = "clients::npm_eventsource_sees_every_event_once_through_cuts";
    program(test, 11, Runtime::Node, "eventsource.mjs", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_client_sees_every_event_once_through_cuts() {
    let test = "clients::npm_eventsource_client_sees_every_event_once_through_cuts";
    program(test, 12, Runtime::Node, "eventsource-client.mjs", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_fetch_event_source_sees_every_event_once_through_cuts() {
    let test = "clients::npm_fetch_event_source_sees_every_event_once_through_cuts";
    program(test, 13, Runtime::Node, "fetch-event-source.mjs", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_event_source_plus_sees_every_event_once_through_cuts() {
    let test = "clients::npm_event_source_plus_sees_every_event_once_through_cuts";
    program(test, 14, Runtime::Node, "event-source-plus.mjs", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_openai_iterates_over_every_event_once_through_cuts() {
    let test = "clients::npm_openai_iterates_over_every_event_once_through_cuts";
    program(test, 15, Runtime::Node, "openai.mjs", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_httpx_sse_sees_every_event_once_through_cuts() {
    let test = "clients::python_httpx_sse_sees_every_event_once_through_cuts";
    program(test, 16, Runtime::Python, "httpx_sse_client.py", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sseclient_py_sees_every_event_once_through_cuts() {
    let test = "clients::python_sseclient_py_sees_every_event_once_through_cuts";
    program(
        test,
        17,
        Runtime::Python,
        "sseclient_py_client.py",
        Way::Get,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_openai_iterates_over_every_event_once_through_cuts() {
    let test = "clients::python_openai_iterates_over_every_event_once_through_cuts";
    program(test, 18, Runtime::Python, "openai_client.py", Way::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_that_nobody_closes_is_stopped_by_one_204() {
    let test = "clients::npm_eventsource_that_nobody_closes_is_stopped_by_one_204";
    let seen = program(test, 21, Runtime::Node, "eventsource.mjs", Way::Careless).await;
    assert!(seen.is_none_or(|seen| seen.last().unwrap().status == Some(204)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_client_that_nobody_closes_is_stopped_by_one_204() {
    let test = "clients::npm_eventsource_client_that_nobody_closes_is_stopped_by_one_204";
    let seen = program(
        test,
        22,
        Runtime::Node,
        "eventsource-client.mjs",
        Way::Careless,
    )
    .await;
    assert!(seen.is_none_or(|seen| seen.last().unwrap().status == Some(204)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reqwest_eventsource_sees_every_event_once_through_cuts() {
    use reqwest_eventsource::{Event, EventSource};
    let course = Course::start(19, Way::Get).await;
    let read = async {
        let (mut source, mut events) = (EventSource::get(course.url()), Vec::new());
        let mut failures = 0;
        while let Some(event) = source.next().await {
            match event {
                Ok(Event::Open) => {}
                Ok(Event::Message(message)) => {
                    let is_end = message.event == "end";
                    events.push(Value::from(message.data));
                    if is_end {
                        source.close();
                    }
                }
                // It comes back by itself.
                Err(_) => failures += 1,
            }
        }
        assert_eq!(failures, CUTS + 1);
        events
    };
    let (delivered, ()) = tokio::join!(read, course.release());
    let summary = json!({"delivered": delivered.len(), "repeated": 0, "gaps": 0});
    let seen = course
        .assert_whole("reqwest-eventsource", &Account { delivered, summary })
        .await;
    assert_eq!(seen.len(), 1 + CUTS + 1, "{seen:#?}");
}

// Their seeds make the first cut come before the first event: nothing but the key leads back.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_over_post_pays_once_through_cuts() {
    let test = "clients::npm_eventsource_over_post_pays_once_through_cuts";
    program(test, 7, Runtime::Node, "eventsource.mjs", Way::Post).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_eventsource_client_over_post_pays_once_through_cuts() {
    let test = "clients::npm_eventsource_client_over_post_pays_once_through_cuts";
    program(test, 16, Runtime::Node, "eventsource-client.mjs", Way::Post).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_fetch_event_source_over_post_pays_once_through_cuts() {
    let test = "clients::npm_fetch_event_source_over_post_pays_once_through_cuts";
    program(test, 41, Runtime::Node, "fetch-event-source.mjs", Way::Post).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_event_source_plus_over_post_pays_once_through_cuts() {
    let test = "clients::npm_event_source_plus_over_post_pays_once_through_cuts";
    program(test, 49, Runtime::Node, "event-source-plus.mjs", Way::Post).await;
}

/// Lets the browser's own EventSource follow a job.
async fn page(test: &str, seed: u64, careless: bool) -> Option<Vec<Seen>> {
    let browser = browser::find(test)?;
    let way = if careless { Way::Careless } else { Way::Get };
    let course = Course::start(seed, way).await;
    let page = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/eventsource.html"
    ));
    course.proxy.serve("/page", "text/html", page.unwrap());
    let query = if careless { "&careless" } else { "" };
    let url = format!("{}/page?url={}{query}", course.proxy.base(), course.path);
    let window = Window::open(browser, &url);
    let (said, ()) = tokio::join!(course.proxy.said(), course.release());
    let mut said: Value = serde_json::from_str(&said).unwrap();
    let Value::Array(delivered) = said["lines"].take() else {
        panic!("{said}")
    };
    let account = Account {
        delivered,
        summary: said["summary"].take(),
    };
    assert_eq!(account.summary["gaps"], 0);
    let seen = course.assert_whole("Chromium", &account).await;
    assert_eq!(
        seen.len(),
        1 + CUTS + 1 + usize::from(careless),
        "{seen:#?}"
    );
    drop(window);
    Some(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_eventsource_sees_every_event_once_through_cuts() {
    page(
        "clients::chromium_eventsource_sees_every_event_once_through_cuts",
        // Its first two answers are cut off inside their heads, after which Chromium gives up.
        396,
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_eventsource_that_nobody_closes_is_stopped_by_one_204() {
    let test = "clients::chromium_eventsource_that_nobody_closes_is_stopped_by_one_204";
    let seen = page(test, 23, true).await;
    assert!(seen.is_none_or(|seen| seen.last().unwrap().status == Some(204)));
}
