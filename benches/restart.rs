//! How soon a server is back that was killed: with 100,000 jobs in its folder, of ten subtrees
//! each, one in a hundred of them open and in its middle.
//!
//! `cargo bench --bench restart [-- JOBS [RUNS]]` fills a folder, then starts a server on it and
//! kills it again and again. It prints the time from the start of the process to its first healthy
//! answer and to the first call to a model, and beside them what the file alone takes: to open it,
//! to find the open jobs, to read their events.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
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

const SUBTREES: usize = 10;
/// Of an open job, subtrees that have their outcome.
const DONE: usize = 5;
const OPEN_IN: u64 = 100;
const ASKED: &str = "asked";

/// Gives the first subtrees at once and says when it is asked. `patient`: it gives no others.
struct Part {
    patient: bool,
}

impl Provider for Part {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "part".into(),
            display_name: "Part".into(),
            description: "Gives a part.".into(),
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
        let patient = self.patient;
        async_stream::stream! {
            let index = call.subtrees[0];
            if patient && index >= DONE {
                println!("{ASKED}");
                std::future::pending::<()>().await;
            }
            let value = json!({"a": "x".repeat(200), "b": "beta", "c": null, "d": null});
            yield Ok(Answer::Subtree { index, value, attributions: Attributions::new(), logprobs: Logprobs::new() });
            let usage = Usage { request_count: 1, cost_usd: Some(0.0), ..Usage::default() };
            yield Ok(Answer::Usage(usage));
        }
        .boxed()
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
    if let [word, data, kind] = &arguments[..]
        && word == "serve"
    {
        return runtime.block_on(serve(data, kind == "patient"));
    }
    let number = |at: usize, usual| {
        let given = arguments.get(at).map(|text| text.parse().unwrap());
        given.unwrap_or(usual)
    };
    let (jobs, runs) = (number(0, 100_000), number(1, 9));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    runtime.block_on(fill(&data, jobs));
    measure(&data, runs as usize);
}

async fn serve(data: &str, patient: bool) {
    let flags = [
        ("bind", "127.0.0.1:0"),
        ("data", data),
        ("default_model", "part"),
        ("log", "warn"),
    ];
    let flags = flags.map(|(name, value)| (name, value.to_owned()));
    let settings = Settings::load(Sources {
        flags: flags.into_iter().collect(),
        ..Sources::default()
    })
    .unwrap();
    let builder = App::builder(settings).providers(vec![Arc::new(Part { patient })]);
    let app = builder.start().unwrap();
    println!("{}", app.address);
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    app.stop().await;
}

struct Server {
    child: Child,
    /// What it says, and when.
    said: Receiver<(Instant, String)>,
    address: String,
    /// When it first said so, if it was before its address.
    asked: Option<Instant>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Server {
    fn start(data: &Path, kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", data.to_str().unwrap(), kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = tell.send((Instant::now(), line));
            }
        });
        let (mut asked, mut address) = (None, String::new());
        while address.is_empty() {
            match said.recv().unwrap() {
                (at, line) if line == ASKED => asked = asked.or(Some(at)),
                (_, line) => address = line,
            }
        }
        Self {
            child,
            said,
            address,
            asked,
        }
    }

    fn first_asked(&self) -> Instant {
        self.asked.unwrap_or_else(|| self.said.recv().unwrap().0)
    }
}

fn database(data: &Path) -> PathBuf {
    data.join("rivulet.db")
}

/// Two jobs made by servers, one ended and one in its middle, and copies of them.
async fn fill(data: &Path, jobs: u64) {
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let begun = Instant::now();
    let ended = {
        let server = Server::start(data, "hasty");
        start_job(&client, &server, "completed", 0).await
    };
    let open = {
        let server = Server::start(data, "patient");
        start_job(&client, &server, "processing", DONE as u64).await
    };
    let mut connection = Connection::open(database(data)).unwrap();
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
        .unwrap();
    let transaction = connection.transaction().unwrap();
    for number in 2..jobs {
        let from = if number % OPEN_IN == 0 { &open } else { &ended };
        copy(&transaction, from);
    }
    transaction
        .execute(
            "UPDATE tenants SET active_jobs = (SELECT count(*) FROM jobs WHERE ended_ms IS NULL)",
            (),
        )
        .unwrap();
    transaction.commit().unwrap();
    drop(connection);
    let size = std::fs::metadata(database(data)).unwrap().len();
    println!(
        "{jobs} jobs, {} of them open, {} MiB, filled in {:.0?}",
        jobs / OPEN_IN,
        size >> 20,
        begun.elapsed()
    );
}

/// A job that has come so far.
async fn start_job(client: &Client, server: &Server, status: &str, succeeded: u64) -> String {
    let field = json!({"type": ["string", "null"]});
    let part =
        json!({"type": "object", "properties": {"a": field, "b": field, "c": field, "d": field}});
    let parts: serde_json::Map<_, _> = (0..SUBTREES)
        .map(|index| (format!("part_{index}"), part.clone()))
        .collect();
    let jobs = format!("http://{}/v1/extract/jobs", server.address);
    let body = json!({
        "document": "Invoice 17 of 2026, total 12.50 EUR.",
        "schema": {"type": "object", "properties": parts},
        "config": {"max_num_concurrent_requests": 10},
    });
    let answer = client.post(&jobs).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let id = answer["job_id"].as_str().unwrap().to_owned();
    loop {
        let answer = client.get(format!("{jobs}/{id}")).send().await.unwrap();
        let job: Value = answer.json().await.unwrap();
        let done = job["progress"]["subtrees_succeeded"].as_u64();
        if job["status"] == status && done.is_none_or(|done| done >= succeeded) {
            // What it has said of itself is on the disk by now.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn copy(connection: &Connection, from: &str) {
    let old = uuid::Uuid::parse_str(from).unwrap();
    let new = uuid::Uuid::now_v7();
    let ids = params![old.as_bytes(), new.as_bytes()];
    for sql in [
        "INSERT INTO jobs SELECT ?2, scope, status, sequence, created_ms, updated_ms, ended_ms, \
         expires_ms, state, document_id, document_sha256, NULL, NULL, epoch, 0 \
         FROM jobs WHERE id = ?1",
        "INSERT INTO specs SELECT ?2, document_name, schema_name, plan, spec \
         FROM specs WHERE job_id = ?1",
        "INSERT INTO outcomes SELECT ?2, ordinal, sequence, aside FROM outcomes WHERE job_id = ?1",
    ] {
        connection
            .prepare_cached(sql)
            .unwrap()
            .execute(ids)
            .unwrap();
    }
    connection
        .prepare_cached(
            "INSERT INTO events SELECT ?2, sequence, kind, replace(payload, ?3, ?4) \
             FROM events WHERE job_id = ?1",
        )
        .unwrap()
        .execute(params![
            old.as_bytes(),
            new.as_bytes(),
            from,
            new.to_string()
        ])
        .unwrap();
}

fn measure(data: &Path, runs: usize) {
    let (mut healthy, mut running) = (Vec::new(), Vec::new());
    let (mut opened, mut read) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let begun = Instant::now();
        let server = Server::start(data, "patient");
        assert!(get(&server.address).starts_with("HTTP/1.1 200"));
        healthy.push(begun.elapsed());
        running.push(server.first_asked() - begun);
        drop(server);
        let (open, all) = raw(&database(data));
        opened.push(open);
        read.push(all);
        // Three deaths in the middle of a job would end it.
        let connection = Connection::open(database(data)).unwrap();
        let forget = "UPDATE jobs SET crashes = 0 WHERE ended_ms IS NULL";
        connection.execute(forget, ()).unwrap();
    }
    let (running, read) = (median(running), median(read));
    println!("to the first healthy answer   {:8.1} ms", median(healthy));
    println!("to the first call of a model  {running:8.1} ms");
    println!("file: open, find open jobs    {:8.1} ms", median(opened));
    println!(
        "file: and read their events   {read:8.1} ms; the first call is {:.2} of it",
        running / read
    );
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What the file alone takes.
fn raw(path: &Path) -> (Duration, Duration) {
    let begun = Instant::now();
    let connection = Connection::open(path).unwrap();
    let mut open = connection
        .prepare("SELECT id FROM jobs WHERE ended_ms IS NULL AND owner IS NOT NULL UNION ALL SELECT id FROM jobs INDEXED BY jobs_waiting WHERE ended_ms IS NULL AND owner IS NULL")
        .unwrap();
    let jobs = open.query_map((), |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let jobs: Vec<_> = jobs.map(Result::unwrap).collect();
    let opened = begun.elapsed();
    let mut events = connection
        .prepare("SELECT payload FROM events WHERE job_id = ?1 ORDER BY sequence")
        .unwrap();
    let mut bytes = 0;
    for job in jobs {
        let mut rows = events.query([job]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            bytes += row.get_ref(0).unwrap().as_str().unwrap().len();
        }
    }
    assert!(bytes > 0);
    (opened, begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}
