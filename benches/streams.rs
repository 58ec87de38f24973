//! What open streams cost: memory of idle ones, one event to many, readers that stall, and the
//! replay of a long log.
//!
//! `cargo bench --bench streams [-- idle | fan-out | stalled | replay]` prints figures of this
//! server beside a bare web server that streams from memory, each in a fresh process. Absolute
//! figures depend on the machine; ratios of one run do not, much. `idle` opens 10,000 sockets:
//! the limit of open files must allow that.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::pedantic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::{App as Web, HttpResponse, HttpServer, web};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use reqwest::Client;
use rivulet::app::{App, SystemClock};
use rivulet::domain::config::Config;
use rivulet::domain::document::{DocumentInput, Kind};
use rivulet::domain::error::Fault;
use rivulet::domain::event::SubtreeRetry;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::id::{DocumentId, JobId, Scope};
use rivulet::domain::job::{Draft, Ending, JobSpec, JobView};
use rivulet::domain::metadata::Metadata;
use rivulet::domain::operation::Operation;
use rivulet::domain::plan::Plan;
use rivulet::domain::pointer::Pointer;
use rivulet::engine::ports::{
    Answer, Call, CallError, Catalog, Clock, Commit, Committed, Guard, Jobs, Model, NewJob,
    Provider, StoredDocument,
};
use rivulet::settings::{Settings, Sources};
use rivulet::store::{Sqlite, SqliteOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};

const IDLE: usize = 10_000;
const FANNED_OUT: usize = 1_000;
const STALLED: usize = 200;
const LOG: usize = 100_000;

/// Answers take a pass each; standard input gives them out.
static GATE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Answers subtree by subtree as the gate lets it. The model's name is the length of its values.
struct Gated;

impl Provider for Gated {
    fn models(&self) -> Vec<Model> {
        let model = |id: &str| Model {
            id: id.into(),
            display_name: id.into(),
            description: "Answers when it may.".into(),
            provider: "bench".into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        };
        vec![model("100"), model("30000")]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let value = json!({"a": "x".repeat(call.model.parse().unwrap())});
        stream::iter(call.subtrees)
            .then(move |index| {
                let value = value.clone();
                async move {
                    GATE.acquire().await.unwrap().forget();
                    Ok(Answer::Subtree {
                        index,
                        value,
                        attributions: Attributions::new(),
                        logprobs: Logprobs::new(),
                    })
                }
            })
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
    match arguments.first().map(String::as_str) {
        Some("serve-rivulet") => runtime.block_on(serve_rivulet(&arguments[1])),
        Some("serve-bare") => runtime.block_on(serve_bare()),
        Some("seed") => runtime.block_on(seed(Path::new(&arguments[1]))),
        chosen => runtime.block_on(measure(chosen)),
    }
}

async fn serve_rivulet(data: &str) {
    let flags = [
        ("bind", "127.0.0.1:0"),
        ("data", data),
        ("default_model", "100"),
        ("max_active_jobs", "1000"),
        ("max_streams_per_job", "1000000"),
        ("max_streams_per_user", "1000000"),
        ("heartbeat_seconds", "30"),
        ("http_workers", "2"),
    ];
    let flags = flags
        .map(|(name, value)| (name, value.to_owned()))
        .into_iter()
        .collect();
    let settings = Settings::load(Sources {
        flags,
        ..Sources::default()
    })
    .unwrap();
    let app = App::builder(settings)
        .providers(vec![Arc::new(Gated)])
        .start()
        .unwrap();
    println!("{}", app.address);
    obey(|| GATE.add_permits(1)).await;
    app.stop().await;
}

/// Streams one frame whenever it is told to: what is left when everything but the web server is
/// taken away.
async fn serve_bare() {
    let (frames, watching) = watch::channel(web::Bytes::new());
    let server = HttpServer::new(move || {
        let watching = watching.clone();
        Web::new()
            .route(
                "/healthz",
                web::get().to(async || HttpResponse::Ok().finish()),
            )
            .route(
                "/stream",
                web::get().to(move || {
                    let mut watching = watching.clone();
                    let frames = async_stream::stream! {
                        yield Ok::<_, std::io::Error>(web::Bytes::from(bare_frame(1_000)));
                        while watching.changed().await.is_ok() {
                            let frame = watching.borrow_and_update().clone();
                            yield Ok(frame);
                        }
                    };
                    async move {
                        HttpResponse::Ok()
                            .content_type("text/event-stream")
                            .streaming(frames)
                    }
                }),
            )
    })
    .workers(2)
    .tcp_nodelay(true)
    .bind("127.0.0.1:0")
    .unwrap();
    println!("{}", server.addrs()[0]);
    let running = server.run();
    let obeying = obey(move || {
        frames.send_replace(bare_frame(640).into());
    });
    tokio::select! { _ = running => {}, () = obeying => {} }
}

fn bare_frame(size: usize) -> String {
    let payload = json!({"type": "subtree_result", "text": "x".repeat(size)});
    format!("event: subtree_result\ndata: {payload}\nid: job.1\n\n")
}

/// Does `act` as often as each line of standard input says, with the milliseconds between that it
/// says. Ends with the other end of the pipe.
async fn obey(act: impl Fn()) {
    let (lines, mut said) = tokio::sync::mpsc::unbounded_channel();
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    while let Some(line) = said.recv().await {
        let (times, pause) = line.split_once(' ').unwrap();
        for _ in 0..times.parse().unwrap() {
            act();
            tokio::time::sleep(Duration::from_millis(pause.parse().unwrap())).await;
        }
    }
}

/// Stores a finished job with a long log, and prints its id.
async fn seed(data: &Path) {
    std::fs::create_dir_all(data).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Sqlite::open(SqliteOptions {
        path: data.join("rivulet.db"),
        max_event_bytes: 262_144,
        retention_ms: 86_400_000,
        readers: 1,
        clock: Arc::clone(&clock),
    })
    .unwrap();
    let scope = Scope::local();
    let document = StoredDocument {
        id: DocumentId(uuid::Uuid::now_v7()),
        name: "long.txt".into(),
        kind: Kind::Text,
        size: 1,
        sha256: "0".repeat(64),
        page_count: 1,
        uploaded_at: clock.now(),
    };
    store
        .insert_document(&scope, document.clone())
        .await
        .unwrap();
    let spec = JobSpec {
        document_id: document.id,
        document_name: document.name,
        document_sha256: document.sha256,
        schema_id: None,
        schema_name: None,
        plan: "none".into(),
        config: Config::parse(None, "100").unwrap(),
        warnings: Vec::new(),
        prompt_version: None,
        forecast: None,
        request_hash: None,
        callback_url: None,
        callback_secret: None,
        metadata: Metadata::default(),
        dialect: None,
        endpoint: None,
        asked: None,
        batch: None,
        operation: Operation::Extract,
        chunks: None,
        has_own_key: false,
        has_own_callback: false,
        template: None,
    };
    let (view, start) = JobView::open(JobId(uuid::Uuid::now_v7()), spec, &[], clock.now());
    let job = view.id;
    let new = NewJob {
        scope: scope.clone(),
        view,
        start,
        active_limit: 1,
        queue_limit: 1,
        plan: Arc::new(Plan {
            shells: Vec::new(),
            bound: None,
            subtrees: Vec::new(),
        }),
        key: None,
    };
    store.create(new).await.unwrap();
    let retry = SubtreeRetry {
        subtree_id: "part_000".into(),
        path: Pointer::root().join("part_000"),
        record_index: None,
        record_id: None,
        attempt: 1,
        max_attempts: 3,
        error_message: "The provider had no capacity for this request, which will be made again."
            .into(),
        error_type: Fault::ProviderOverloaded,
        retry_delay_ms: 500,
        window: None,
    };
    let mut drafts: Vec<_> = (2..LOG).map(|_| Draft::Retry(retry.clone())).collect();
    drafts.push(Draft::End(Ending::Cancelled { reason: None }));
    for drafts in drafts.chunks(5_000) {
        let commit = Commit {
            job,
            guard: Guard::Caller {
                scope: scope.clone(),
            },
            at_sequence: None,
            drafts: drafts.to_vec(),
        };
        let committed = store.commit(commit).await.unwrap();
        assert!(matches!(committed, Committed::Stored { .. }));
    }
    println!("{job}");
}

/// A server in a process of its own.
struct Server {
    child: Child,
    orders: Option<ChildStdin>,
    address: SocketAddr,
}

fn child(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().to_owned())
}

impl Server {
    fn rivulet(data: &Path) -> Self {
        Self::start(&["serve-rivulet", data.to_str().unwrap()])
    }

    fn bare() -> Self {
        Self::start(&["serve-bare"])
    }

    fn start(arguments: &[&str]) -> Self {
        let (mut child, line) = child(arguments);
        Self {
            orders: child.stdin.take(),
            child,
            address: line.parse().unwrap(),
        }
    }

    fn order(&mut self, times: usize, pause_ms: u64) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{times} {pause_ms}").unwrap();
    }

    /// Processor time so far, user and system.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Memory of its own, KiB.
    fn memory(&self) -> f64 {
        self.mapped("Pss:")
    }

    /// The same without code and other files.
    fn heap(&self) -> f64 {
        self.mapped("Pss_Anon:")
    }

    fn mapped(&self, what: &str) -> f64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = std::fs::read_to_string(path).unwrap();
        let line = rollup.lines().find(|line| line.starts_with(what));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

async fn measure(chosen: Option<&str>) {
    let is_chosen = |name: &str| chosen.is_none_or(|chosen| chosen == name);
    if is_chosen("idle") {
        idle().await;
    }
    if is_chosen("fan-out") {
        fan_out().await;
    }
    if is_chosen("stalled") {
        stalled().await;
    }
    if is_chosen("replay") {
        replay().await;
    }
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Starts a job that waits at the gate, and gives the path of its events.
async fn job(server: &Server, model: &str, subtrees: usize) -> String {
    let field = json!({"type": ["string", "null"]});
    let part =
        json!({"type": "object", "properties": {"a": field, "b": field, "c": field, "d": field}});
    let parts: serde_json::Map<_, _> = (0..subtrees)
        .map(|index| (format!("part_{index:03}"), part.clone()))
        .collect();
    let body = json!({
        "document": "Invoice 17 of 2026, total 12.50 EUR.",
        "schema": {"type": "object", "properties": parts},
        "config": {"model": model, "max_num_concurrent_requests": 20},
    });
    let request = client().post(server.url("/v1/extract/jobs")).json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer["job_id"].is_string(), "{answer}");
    let job = answer["job_id"].as_str().unwrap();
    format!("/v1/extract/jobs/{job}/events")
}

/// Opens a stream and reads until its first `frames` are there.
async fn open(address: SocketAddr, path: &str, frames: usize) -> TcpStream {
    let socket = ask(address, path, None).await;
    read_frames(socket, frames).await
}

async fn ask(address: SocketAddr, path: &str, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    let mut socket = socket.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn read_frames(mut socket: TcpStream, frames: usize) -> TcpStream {
    let mut seen = 0;
    let mut buffer = [0; 4_096];
    while seen < frames {
        let length = socket.read(&mut buffer).await.unwrap();
        assert!(length > 0, "the stream ended");
        seen += ends(&buffer[..length]);
    }
    socket
}

/// Ends of frames: blank lines that follow an `id`. Heads of answers and sizes of chunks have
/// carriage returns.
fn ends(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| pair == b"\n\n").count()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Milliseconds of a request to a route that does nothing.
async fn health(server: &Server) -> f64 {
    let client = client();
    let mut times = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        let answer = client.get(server.url("/healthz")).send().await.unwrap();
        answer.bytes().await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    median(&times[100..])
}

async fn idle() {
    println!("{IDLE} idle streams");
    let mut sizes = Vec::new();
    for name in ["bare", "rivulet"] {
        let data = tempfile::tempdir().unwrap();
        let server = match name {
            "bare" => Server::bare(),
            _ => Server::rivulet(&data.path().join("data")),
        };
        let fresh = server.memory();
        let path = match name {
            "bare" => "/stream".to_owned(),
            _ => job(&server, "100", 1).await,
        };
        let frames = if name == "bare" { 1 } else { 2 };
        // What the first requests touch belongs to the server, not to a stream.
        drop(open(server.address, &path, frames).await);
        let health_before = health(&server).await;
        let before = (server.memory(), server.heap());
        let started = Instant::now();
        let sockets: Vec<_> = stream::iter(0..IDLE)
            .map(|_| open(server.address, &path, frames))
            .buffer_unordered(100)
            .collect()
            .await;
        let opened = started.elapsed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu = server.cpu();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let idle = (server.cpu() - cpu).as_secs_f64() / 5.0;
        let each = |then: f64, now: f64| (now - then) / sockets.len() as f64;
        let size = each(before.0, server.memory());
        println!(
            "{name:8} {size:.2} KiB a stream ({:.2} of heap; {:.2} from the start of the process), opened in {opened:.1?}",
            each(before.1, server.heap()),
            each(fresh, server.memory()),
        );
        println!(
            "         health p50 {health_before:.3} ms before, {:.3} ms with them; processor while idle {:.1} % of a core",
            health(&server).await,
            idle * 100.0
        );
        sizes.push(size);
        drop(sockets);
    }
    println!("ratio {:.2}", sizes[1] / sizes[0]);
}

/// Readers that count frames.
struct Audience {
    seen: Arc<AtomicUsize>,
    news: Arc<Notify>,
}

impl Audience {
    async fn seat(server: &Server, path: &str, frames: usize, size: usize) -> Self {
        let audience = Self {
            seen: Arc::default(),
            news: Arc::default(),
        };
        let sockets: Vec<_> = stream::iter(0..size)
            .map(|_| open(server.address, path, frames))
            .buffer_unordered(50)
            .collect()
            .await;
        for mut socket in sockets {
            let (seen, news) = (Arc::clone(&audience.seen), Arc::clone(&audience.news));
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    let more = ends(&buffer[..length]);
                    let before = seen.fetch_add(more, Ordering::SeqCst);
                    if before / FANNED_OUT != (before + more) / FANNED_OUT {
                        news.notify_one();
                    }
                }
            });
        }
        audience
    }

    async fn wait(&self, total: usize) {
        while self.seen.load(Ordering::SeqCst) < total {
            self.news.notified().await;
        }
    }
}

async fn fan_out() {
    const ROUNDS: usize = 8;
    const EVENTS: usize = 20;
    println!("one event to {FANNED_OUT} streams, {ROUNDS} rounds of {EVENTS} events, alternating");
    let data = tempfile::tempdir().unwrap();
    let mut ours = Server::rivulet(&data.path().join("data"));
    let mut bare = Server::bare();
    let path = job(&ours, "100", 10 + ROUNDS * EVENTS + 5).await;
    let seated = Audience::seat(&ours, &path, 2, FANNED_OUT).await;
    let standing = Audience::seat(&bare, "/stream", 1, FANNED_OUT).await;
    let mut sent = [0, 0];
    let (mut cpu, mut last) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..=ROUNDS {
        for side in 0..2 {
            let (server, audience) = match side {
                0 => (&mut ours, &seated),
                _ => (&mut bare, &standing),
            };
            let before = server.cpu();
            let events = if round == 0 { 10 } else { EVENTS };
            for _ in 0..events {
                let started = Instant::now();
                server.order(1, 0);
                sent[side] += FANNED_OUT;
                audience.wait(sent[side]).await;
                if round > 0 {
                    last[side].push(started.elapsed().as_secs_f64() * 1_000.0);
                }
            }
            let spent = (server.cpu() - before).as_secs_f64();
            if round > 0 {
                cpu[side].push(spent * 1e6 / (events * FANNED_OUT) as f64);
            }
        }
    }
    for (side, name) in ["rivulet", "bare"].into_iter().enumerate() {
        let mean = cpu[side].iter().sum::<f64>() / cpu[side].len() as f64;
        println!(
            "{name:8} processor {mean:.2} us an event delivered; last receiver p50 {:.2} ms",
            median(&last[side])
        );
    }
    let sum = |side: usize| cpu[side].iter().sum::<f64>();
    println!(
        "ratio of processor time {:.2}, of the last receiver {:.2}",
        sum(0) / sum(1),
        median(&last[0]) / median(&last[1])
    );
}

async fn stalled() {
    const SUBTREES: usize = 100;
    println!(
        "a job of {SUBTREES} results of 30 kB, one in 10 ms, with {STALLED} readers that take nothing"
    );
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::rivulet(&data.path().join("data"));
    let (mut times, mut memory) = ([Vec::new(), Vec::new()], 0.0);
    for round in 0..12 {
        let side = round % 2;
        let path = job(&server, "30000", SUBTREES).await;
        let reader = open(server.address, &path, 2).await;
        let stuck: Vec<_> = stream::iter(0..side * STALLED)
            .map(|_| ask(server.address, &path, Some(4_096)))
            .buffer_unordered(20)
            .collect()
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        server.order(SUBTREES, 10);
        read_frames(reader, SUBTREES + 1).await;
        if round > 1 {
            times[side].push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        // The tail of the log is let go of.
        tokio::time::sleep(Duration::from_secs(3)).await;
        if round == 10 {
            memory = server.memory();
        }
        if round == 11 {
            let each = (server.memory() - memory) / STALLED as f64;
            println!("{each:.0} KiB of memory for each that stalls");
        }
        drop(stuck);
    }
    let (without, with) = (median(&times[0]), median(&times[1]));
    println!(
        "duration p50 {without:.1} ms without, {with:.1} ms with them: {:+.1} %",
        (with / without - 1.0) * 100.0
    );
}

async fn replay() {
    println!("replay of a log of {LOG} events to one client");
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let (mut seeder, job) = child(&["seed", data.to_str().unwrap()]);
    seeder.wait().unwrap();
    let server = Server::rivulet(&data);
    let request = format!("GET /v1/extract/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (mut first, mut rates, mut bytes) = (Vec::new(), Vec::new(), 0);
    for round in 0..6 {
        let before = server.cpu();
        let (to_first, took, size) = read_all(server.address, &request);
        if round > 0 {
            first.push(to_first.as_secs_f64() * 1_000.0);
            rates.push(LOG as f64 / took.as_secs_f64());
        }
        bytes = size;
        println!(
            "  {took:.0?}, first frame {to_first:.1?}, processor {:.0?}",
            server.cpu() - before
        );
    }
    println!(
        "{:.0} events/s p50 ({:.0} bytes each), first frame p50 {:.2} ms; memory of the server {:.0} MiB",
        median(&rates),
        bytes as f64 / LOG as f64,
        median(&first),
        server.memory() / 1_024.0
    );
}

/// Time to the first byte of the first frame, time to the end, bytes.
fn read_all(address: SocketAddr, request: &str) -> (Duration, Duration, usize) {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut buffer = vec![0; 256 << 10];
    let started = Instant::now();
    socket.write_all(request.as_bytes()).unwrap();
    let (mut first, mut frames, mut size, mut last) = (None, 0, 0, 0);
    while frames < LOG {
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "{frames} frames");
        let read = &buffer[..length];
        if first.is_none() && (frames > 0 || read.windows(6).any(|word| word == b"event:")) {
            first = Some(started.elapsed());
        }
        frames += usize::from(last == b'\n' && read[0] == b'\n') + ends(read);
        last = read[length - 1];
        size += length;
    }
    (first.unwrap(), started.elapsed(), size)
}
