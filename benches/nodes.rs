//! Durable jobs a second over HTTP, of ten subtrees of 1 KiB, with a provider that answers at once.
//!
//! `cargo bench --bench nodes -- URL [CLIENTS] [SECONDS]` fills the PostgreSQL database at URL,
//! which should be one that nobody needs, and prints the rates of one node, of two, and of bare
//! clients that write the same rows, one transaction a job.
//!
//! `cargo bench --bench nodes -- sqlite [CLIENTS] [SECONDS]` prints the rate of one process on a
//! folder, and of two bare writers of the same rows for as many jobs at a time as there are
//! clients: one commits each event of them before the next, the other whole jobs.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use reqwest::Client;
use rivulet::app::App;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Model, Provider};
use rivulet::settings::{Settings, Sources};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

const SUBTREES: usize = 10;
const SUBTREE_BYTES: usize = 1_000;
const RESULT_BYTES: usize = 8 << 10;

/// Answers at once.
struct Instantly;

impl Provider for Instantly {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "instant".into(),
            display_name: "Instant".into(),
            description: "Answers at once.".into(),
            provider: "bench".into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let value = json!({"a": "x".repeat(SUBTREE_BYTES), "b": null, "c": null, "d": null});
        let answers = call.subtrees.into_iter().map(move |index| {
            Ok(Answer::Subtree {
                index,
                value: value.clone(),
                attributions: Attributions::new(),
                logprobs: Logprobs::new(),
            })
        });
        let usage = Usage {
            request_count: 1,
            cost_usd: Some(0.0),
            ..Usage::default()
        };
        let answers = answers.chain([Ok(Answer::Usage(usage))]);
        futures_util::stream::iter(answers.collect::<Vec<_>>()).boxed()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let number = |at: usize, usual| {
        arguments
            .get(at)
            .map_or(usual, |text| text.parse().unwrap())
    };
    match arguments.first().map(String::as_str) {
        Some(SQLITE) => {
            let time = Duration::from_secs(number(2, 5) as u64);
            runtime.block_on(measure_sqlite(number(1, 32), time));
        }
        Some("serve") => runtime.block_on(serve(&arguments[1], &arguments[2])),
        Some(url) => {
            let time = Duration::from_secs(number(2, 5) as u64);
            runtime.block_on(measure(url, number(1, 32), time));
        }
        None => println!("say `sqlite`, or name a database: cargo bench --bench nodes -- URL"),
    }
}

/// In the place of a database: everything is in a folder.
const SQLITE: &str = "sqlite";

/// `place`: a folder for everything, or the URL of one for the files.
async fn serve(store: &str, place: &str) {
    let kept = if store == SQLITE {
        [("data", place), ("log", "warn")]
    } else {
        [("store", store), ("blobs", place)]
    };
    let flags = [
        ("bind", "127.0.0.1:0"),
        kept[0],
        kept[1],
        ("default_model", "instant"),
        ("max_active_jobs", "10000"),
        ("max_streams_per_user", "10000"),
        ("log", "warn"),
    ];
    let flags = flags.map(|(name, value)| (name, value.to_owned()));
    let settings = Settings::load(Sources {
        flags: flags.into_iter().collect(),
        ..Sources::default()
    })
    .unwrap();
    let builder = App::builder(settings).providers(vec![Arc::new(Instantly)]);
    let app = builder.start().unwrap();
    println!("{}", app.address);
    // Until the other end of standard input is gone.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    app.stop().await;
}

struct Node {
    child: Child,
    base: String,
}

impl Node {
    fn start(store: &str, blobs: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", store, blobs])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.as_mut().unwrap());
        said.read_line(&mut line).unwrap();
        Self {
            child,
            base: format!("http://{}/v1/extract", line.trim()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn measure_sqlite(clients: usize, time: Duration) {
    rivulet::tls::install();
    let folder = tempfile::tempdir().unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let node = Node::start(SQLITE, folder.path().join("data").to_str().unwrap());
    let body = job_body(&client, &node.base).await;
    println!("{clients} clients, {time:?} each");
    let rate = rate(&client, &[&node], &body, clients, time).await;
    println!("one process         {rate:8.0} jobs/s");
    drop(node);
    for (what, name, bare_rate) in [
        (
            "a bare writer of events",
            "rounds.db",
            round_rate as BareRate,
        ),
        ("a bare writer of jobs", "jobs.db", whole_rate),
    ] {
        let bare = bare_rate(bare_file(&folder.path().join(name)), clients, time);
        println!(
            "{what:24}{bare:8.0} jobs/s; one process is {:.2} of it",
            rate / bare
        );
    }
}

/// Jobs a second of a writer that does nothing else, of so many jobs at a time.
type BareRate = fn(Connection, usize, Duration) -> f64;

const BARE_JOB: &str = "INSERT INTO jobs VALUES (?1, ?2)";
const BARE_EVENT: &str = "INSERT INTO events VALUES (?1, ?2, ?3)";

fn bare_file(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE jobs (id BLOB PRIMARY KEY, result TEXT);
             CREATE TABLE events (job BLOB, sequence INTEGER, payload TEXT, PRIMARY KEY (job, sequence))",
        )
        .unwrap();
    connection
}

/// Each event of a job is on disk before the next is written, as a stream needs it: so many jobs
/// live at once, and one commit a round.
fn round_rate(mut connection: Connection, group: usize, time: Duration) -> f64 {
    let (payload, result) = ("x".repeat(SUBTREE_BYTES), "x".repeat(RESULT_BYTES));
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        let ids: Vec<_> = (0..group).map(|_| uuid::Uuid::now_v7()).collect();
        for sequence in 0..=SUBTREES as i64 {
            let is_last = sequence == SUBTREES as i64;
            let transaction = connection.transaction().unwrap();
            for id in &ids {
                let statement = if is_last { BARE_JOB } else { BARE_EVENT };
                let mut statement = transaction.prepare_cached(statement).unwrap();
                if is_last {
                    statement.execute(params![id.as_bytes(), result]).unwrap();
                } else {
                    let row = params![id.as_bytes(), sequence, payload];
                    statement.execute(row).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        done += group as u32;
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

/// Whole jobs, and one commit for so many of them: the least that their bytes can cost.
fn whole_rate(mut connection: Connection, group: usize, time: Duration) -> f64 {
    let (payload, result) = ("x".repeat(SUBTREE_BYTES), "x".repeat(RESULT_BYTES));
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        let transaction = connection.transaction().unwrap();
        for _ in 0..group {
            let id = uuid::Uuid::now_v7();
            transaction
                .prepare_cached(BARE_JOB)
                .unwrap()
                .execute(params![id.as_bytes(), result])
                .unwrap();
            for sequence in 0..SUBTREES as i64 {
                transaction
                    .prepare_cached(BARE_EVENT)
                    .unwrap()
                    .execute(params![id.as_bytes(), sequence, payload])
                    .unwrap();
            }
            done += 1;
        }
        transaction.commit().unwrap();
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

async fn measure(url: &str, clients: usize, time: Duration) {
    rivulet::tls::install();
    let folder = tempfile::tempdir().unwrap();
    let blobs = format!("file://{}", folder.path().display());
    let client = Client::builder().no_proxy().build().unwrap();
    let first = Node::start(url, &blobs);
    let body = job_body(&client, &first.base).await;
    println!("{clients} clients, {time:?} each");
    let one = rate(&client, &[&first], &body, clients, time).await;
    println!("one node            {one:8.0} jobs/s");
    let second = Node::start(url, &blobs);
    let two = rate(&client, &[&first, &second], &body, clients, time).await;
    println!(
        "two nodes           {two:8.0} jobs/s, {:.2} of one",
        two / one
    );
    drop((first, second));
    let bare = bare_rate(url, clients, time).await;
    println!(
        "a transaction a job {bare:8.0} jobs/s; one node is {:.2} of it",
        one / bare
    );
}

async fn job_body(client: &Client, base: &str) -> Value {
    let part = reqwest::multipart::Part::bytes(&b"Invoice 17 of 2026, total 12.50 EUR.\n"[..]);
    let form = reqwest::multipart::Form::new().part("file", part.file_name("note.txt"));
    let upload = client
        .post(format!("{base}/documents/upload"))
        .multipart(form);
    let answer: Value = upload.send().await.unwrap().json().await.unwrap();
    let field = json!({"type": ["string", "null"]});
    let part =
        json!({"type": "object", "properties": {"a": field, "b": field, "c": field, "d": field}});
    let parts: serde_json::Map<_, _> = (0..SUBTREES)
        .map(|index| (format!("part_{index}"), part.clone()))
        .collect();
    json!({
        "document_id": answer["document_id"],
        "schema": {"type": "object", "properties": parts},
        "config": {"max_num_concurrent_requests": 10},
        "stream": true,
    })
}

/// Whole jobs a second, from request to the end of the stream.
async fn rate(
    client: &Client,
    nodes: &[&Node],
    body: &Value,
    clients: usize,
    time: Duration,
) -> f64 {
    let until = Instant::now() + time;
    let started = Instant::now();
    let done = (0..clients).map(|number| {
        let url = format!("{}/jobs", nodes[number % nodes.len()].base);
        let (client, body) = (client.clone(), body.clone());
        tokio::spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                let answer = client.post(&url).json(&body).send().await.unwrap();
                let bytes = answer.bytes().await.unwrap();
                let frames = bytes.windows(2).filter(|pair| pair == b"\n\n").count();
                assert_eq!(frames, SUBTREES + 3, "{}", String::from_utf8_lossy(&bytes));
                done += 1;
            }
            done
        })
    });
    let done: u32 = join_all(done).await.into_iter().map(Result::unwrap).sum();
    f64::from(done) / started.elapsed().as_secs_f64()
}

/// The same bytes by clients that do nothing else.
async fn bare_rate(url: &str, clients: usize, time: Duration) -> f64 {
    let (setup, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let tables = "DROP TABLE IF EXISTS bare_events, bare_jobs;
        CREATE TABLE bare_jobs (id UUID PRIMARY KEY, result TEXT);
        CREATE TABLE bare_events (job UUID, sequence BIGINT, payload TEXT, PRIMARY KEY (job, sequence))";
    setup.batch_execute(tables).await.unwrap();
    let until = Instant::now() + time;
    let started = Instant::now();
    let done = (0..clients).map(|_| bare_client(url.to_owned(), until));
    let done: u32 = join_all(done.map(tokio::spawn))
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    let rate = f64::from(done) / started.elapsed().as_secs_f64();
    setup
        .batch_execute("DROP TABLE bare_events, bare_jobs")
        .await
        .unwrap();
    rate
}

async fn bare_client(url: String, until: Instant) -> u32 {
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let job = client.prepare("INSERT INTO bare_jobs VALUES ($1, $2)");
    let job = job.await.unwrap();
    let event = client.prepare("INSERT INTO bare_events VALUES ($1, $2, $3)");
    let event = event.await.unwrap();
    let (payload, result) = ("x".repeat(SUBTREE_BYTES), "x".repeat(RESULT_BYTES));
    let mut done = 0;
    while Instant::now() < until {
        let id = uuid::Uuid::now_v7();
        client.batch_execute("BEGIN").await.unwrap();
        client.execute(&job, &[&id, &result]).await.unwrap();
        for sequence in 0..SUBTREES as i64 {
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&id, &sequence, &payload];
            client.execute(&event, &row).await.unwrap();
        }
        client.batch_execute("COMMIT").await.unwrap();
        done += 1;
    }
    done
}
