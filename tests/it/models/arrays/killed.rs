//! The real binary, killed in the middle of long arrays.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::{INSTRUCTIONS, WIRE, reader, windows};
use crate::long::{Document, Spec};
use crate::models::model_of;
use crate::support::model::{Asked, KEY, Pace, Reader, Server};
use crate::support::sse::Stream;

/// Longer than any round takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// The binary at work on a data folder, with a model. It is killed when this is dropped.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(data: &Path, model: &Server) -> Self {
        Self::start_with(data, model, &[])
    }

    fn start_with(data: &Path, model: &Server, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RIVULET_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--bind", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .env("GEMINI_API_KEY", KEY)
            .env("GEMINI_BASE_URL", model.base(WIRE))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").unwrap();
        Self {
            base: format!("{url}/v1/extract"),
            child,
        }
    }

    async fn submit(&self, client: &Client, body: &Value) -> String {
        let request = client.post(format!("{}/jobs", self.base)).json(body);
        let accepted: Value = request.send().await.unwrap().json().await.unwrap();
        let job = accepted["job_id"].as_str();
        job.unwrap_or_else(|| panic!("{accepted}")).to_owned()
    }

    async fn results(&self, client: &Client, job: &str) -> Value {
        let url = format!("{}/jobs/{job}/results", self.base);
        client.get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn follow(&self, client: &Client, job: &str) -> Stream {
        let url = format!("{}/jobs/{job}/events", self.base);
        Stream::of(client.get(url).send().await.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Windows that are on disk.
fn kept(data: &Path) -> usize {
    let database = rusqlite::Connection::open(data.join("rivulet.db")).unwrap();
    let count = database.query_row("SELECT count(*) FROM windows", (), |row| {
        row.get::<_, i64>(0)
    });
    count.unwrap() as usize
}

/// Kills the server once `done` windows are told of, and lets it go on.
async fn round(seed: u64, done: u64) {
    let document = Document::make(Spec::plain(seed, 500));
    let (model, folder, client) = (Server::start(), tempfile::tempdir().unwrap(), Client::new());
    let reader = reader(&document);
    let pace = Pace {
        write: 20_000.0,
        ..Pace::usual()
    };
    model.script(move |asked| Some(reader.reply(asked).paced(pace)));
    let server = Process::start(folder.path(), &model);
    let body = json!({"document": document.text(), "schema": document.schema(),
        "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 1,
            "additional_instructions": INSTRUCTIONS}});
    let job = server.submit(&client, &body).await;
    let mut stream = server.follow(&client, &job).await;
    loop {
        let frame = stream.next().await.unwrap();
        let is_array = frame.event == "agentic_array_progress";
        if is_array && frame.payload()["windows_done"].as_u64().unwrap() >= done {
            break;
        }
    }
    drop(server);
    model.until_idle().await;
    let kept = kept(folder.path());
    let before = windows(&model);
    assert!(kept as u64 >= done, "{kept} of {done}");

    let server = Process::start(folder.path(), &model);
    let frames = server.follow(&client, &job).await.rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false)),
        "{end}"
    );
    let results = server.results(&client, &job).await;
    assert_eq!(results["results"]["items"], document.truth()["items"]);
    let after = windows(&model);
    let asked: usize = after.values().sum::<usize>() - before.values().sum::<usize>();
    assert_eq!(
        asked,
        after.len() - kept,
        "seed {seed}, {done} done, {kept} kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_that_was_kept_is_read_again_after_a_kill() {
    rivulet::tls::install();
    for (seed, done) in [(21, 1), (22, 2), (23, 3)] {
        tokio::time::timeout(PATIENCE, round(seed, done))
            .await
            .unwrap();
    }
}

/// How often each list was asked for in each part of the document.
fn parts(model: &Server) -> BTreeMap<(String, String), usize> {
    let mut parts = BTreeMap::new();
    for asked in model.asked() {
        let schema = asked.schema().unwrap().to_string();
        if schema.contains("Goods that were") {
            let part = (schema, asked.document().to_owned());
            *parts.entry(part).or_insert(0) += 1;
        }
    }
    parts
}

/// Kills the server while the model shows how tables are read, or once code has read them, and
/// lets it go on.
async fn round_of_tables(asked: usize) {
    let document = Document::make(Spec::hard(2, 400));
    let (model, folder, client) = (Server::start(), tempfile::tempdir().unwrap(), Client::new());
    let reader = reader(&document);
    let pace = Pace {
        write: 20_000.0,
        ..Pace::usual()
    };
    model.script(move |asked| Some(reader.reply(asked).paced(pace)));
    let server = Process::start(folder.path(), &model);
    let body = json!({"document": document.text(), "schema": document.schema(),
        "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 1}});
    let job = server.submit(&client, &body).await;
    model.until_asked(asked).await;
    drop(server);
    model.until_idle().await;
    let kept = kept(folder.path());
    let before = parts(&model);

    let server = Process::start(folder.path(), &model);
    let frames = server.follow(&client, &job).await.rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(end["status"], "completed", "{end}");
    let results = server.results(&client, &job).await;
    let arrays = results["metadata"]["arrays"].as_array().unwrap();
    for (name, array) in ["items", "returned_items"].iter().zip(arrays) {
        assert_eq!(results["results"][name], document.truth()[name]);
        let by_code = array["evidence"]["rows_from_tables"].as_u64();
        assert!(by_code > Some(30), "{array}");
    }
    let after = parts(&model);
    let again: usize = after.values().sum::<usize>() - before.values().sum::<usize>();
    println!("{asked} asked: {kept} kept of {}", after.len());
    assert!(kept > 0 && kept < after.len(), "{kept} of {}", after.len());
    assert_eq!(again, after.len() - kept, "{asked} asked, {kept} kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shows_how_a_table_is_read_is_not_asked_for_again_after_a_kill() {
    rivulet::tls::install();
    for asked in [3, 4, 8] {
        tokio::time::timeout(PATIENCE, round_of_tables(asked))
            .await
            .unwrap();
    }
}

/// Jobs, and calls of them that are made between two kills.
const JOBS: u64 = 20;
const KILLS: usize = 4;
const BETWEEN: usize = 22;
/// Few jobs at a time: one that stopped the server three times is not tried again.
const MANY: [&str; 4] = ["--max-active-jobs", "20", "--max-running-jobs", "3"];
const ROWS: usize = 110;

/// The documents of all jobs, with a reader of each.
struct Many {
    all: Vec<(Document, Reader)>,
}

impl Many {
    fn make() -> Self {
        let spec = |seed| {
            if seed % 5 == 0 {
                Spec::hard(seed, ROWS)
            } else {
                Spec::plain(seed, ROWS)
            }
        };
        let documents = (0..JOBS).map(|seed| Document::make(spec(40 + seed)));
        let with_reader = |document: Document| {
            let reader = reader(&document);
            (document, reader)
        };
        Self {
            all: documents.map(with_reader).collect(),
        }
    }

    /// Who has most to say is who the document is of: no other has its rows.
    fn reader(&self, asked: &Asked) -> &Reader {
        let readers = self.all.iter().map(|(_, reader)| reader);
        let said = |reader: &&Reader| reader.answer(asked).to_string().len();
        readers.max_by_key(said).unwrap()
    }

    /// What a call for rows was answered with; nothing where it was for none.
    fn rows(&self, asked: &Asked) -> Option<String> {
        let answer = self.reader(asked).answer(asked);
        let mut members = answer.as_object().unwrap().values();
        members.find(|value| value.is_array()).and_then(articles)
    }

    fn body(&self, job: usize) -> Value {
        let document = &self.all[job].0;
        json!({"document": document.text(), "schema": document.schema(),
            "config": {"model": model_of(WIRE), "max_num_concurrent_requests": 3,
                "additional_instructions": INSTRUCTIONS, "splitter_configs": {"packing": "fast"}}})
    }
}

/// The rows of a list by their article numbers: no two windows of all jobs have the same ones.
fn articles(rows: &Value) -> Option<String> {
    let rows = rows.as_array()?.iter();
    let articles: Option<Vec<&str>> = rows.map(|row| row["article"].as_str()).collect();
    Some(articles?.join(" ")).filter(|all| !all.is_empty())
}

/// The rows of each answer that is on disk.
fn rows_kept(data: &Path) -> HashSet<String> {
    let database = rusqlite::Connection::open(data.join("rivulet.db")).unwrap();
    let mut statement = database.prepare("SELECT body FROM windows").unwrap();
    let bodies = statement.query_map((), |row| row.get::<_, String>(0));
    let bodies = bodies.unwrap().map(|body| body.unwrap());
    bodies
        .flat_map(|body| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let pieces = body["pieces"].as_array().unwrap().iter();
            let rows = pieces.filter_map(|piece| articles(&piece["rows"]));
            rows.collect::<Vec<_>>()
        })
        .collect()
}

fn answered_by(model: &Server, many: &'static Many, pace: Pace) {
    model.script(move |asked| Some(many.reader(asked).reply(asked).paced(pace)));
}

/// What each job gave, and what is said of its arrays.
async fn all_results(server: &Process, client: &Client, jobs: &[String]) -> Vec<Value> {
    let mut results = Vec::new();
    for job in jobs {
        let frames = server.follow(client, job).await.rest().await;
        let end = frames.last().unwrap().payload();
        assert_eq!(end["status"], "completed", "{end}");
        let mut all = server.results(client, job).await;
        let arrays = all["metadata"]["arrays"].as_array().unwrap().clone();
        assert!(!arrays.is_empty());
        results.push(json!([all["results"].take(), arrays]));
    }
    results
}

async fn undisturbed(many: &'static Many, client: &Client, pace: Pace) -> Vec<Value> {
    let (model, folder) = (Server::start(), tempfile::tempdir().unwrap());
    answered_by(&model, many, pace);
    let server = Process::start_with(folder.path(), &model, &MANY);
    let mut jobs = Vec::new();
    for job in 0..many.all.len() {
        jobs.push(server.submit(client, &many.body(job)).await);
    }
    all_results(&server, client, &jobs).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_long_jobs_outlive_several_kills_and_read_nothing_twice_that_was_kept() {
    rivulet::tls::install();
    let many: &'static Many = Box::leak(Box::new(Many::make()));
    let client = Client::new();
    let pace = Pace {
        delay: Duration::from_millis(100),
        write: 40_000.0,
        ..Pace::usual()
    };
    let story = async {
        let expected = undisturbed(many, &client, pace).await;
        let (model, folder) = (Server::start(), tempfile::tempdir().unwrap());
        answered_by(&model, many, pace);
        let start = || Process::start_with(folder.path(), &model, &MANY);
        let mut server = start();
        let mut jobs = Vec::new();
        for job in 0..many.all.len() {
            jobs.push(server.submit(&client, &many.body(job)).await);
        }
        // What was on disk when each server began, and how often the model had been asked.
        let mut lives = vec![(HashSet::new(), 0)];
        for _ in 0..KILLS {
            model.until_asked(model.count() + BETWEEN).await;
            drop(server);
            model.until_idle().await;
            lives.push((rows_kept(folder.path()), model.count()));
            server = start();
        }
        let results = all_results(&server, &client, &jobs).await;
        assert_eq!(results, expected);
        let asked = model.asked();
        let ends = lives[1..].iter().map(|(_, count)| *count);
        let ends: Vec<usize> = ends.chain([asked.len()]).collect();
        let mut again = 0;
        let mut seen = HashSet::new();
        for ((kept, from), to) in lives.iter().zip(ends) {
            for asked in &asked[*from..to] {
                let Some(rows) = many.rows(asked) else {
                    continue;
                };
                assert!(!kept.contains(&rows), "read again: {rows}");
                again += usize::from(!seen.insert(rows));
            }
        }
        let kept: Vec<usize> = lives.iter().map(|(kept, _)| kept.len()).collect();
        println!(
            "{} calls, {again} of windows that were under way; kept at each start: {kept:?}",
            asked.len()
        );
        // Each kill came in the middle of things.
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{kept:?}");
        assert!(seen.len() > *kept.last().unwrap());
    };
    tokio::time::timeout(PATIENCE, story).await.unwrap();
}
