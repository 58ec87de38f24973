//! What the server itself costs: jobs of ten subtrees over a 4 KiB document, with a provider that
//! answers at once. Everything is on: store, validation, streaming.
//!
//! `cargo bench --bench job [-- JOBS]` prints, for this server and for a bare web server that
//! streams the same bytes from memory, the time of a job (one at a time) and the processor time
//! of a subtree; then start time and memory of the idle binary. Absolute times depend on the
//! machine; ratios of one run do not, much.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App as Web, HttpResponse, HttpServer, web};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Client;
use rivulet::app::App;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Model, Provider};
use rivulet::settings::{Settings, Sources};
use serde_json::{Value, json};

const SUBTREES: usize = 10;
const WARM_UP: usize = 50;

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
        let value = json!({"a": "alpha", "b": "beta", "c": null, "d": "delta and some more text"});
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
        futures_util::stream::iter(
            answers
                .chain([Ok(Answer::Usage(usage))])
                .collect::<Vec<_>>(),
        )
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
        other => {
            let jobs = other.and_then(|text| text.parse().ok()).unwrap_or(400);
            runtime.block_on(measure(jobs));
        }
    }
}

async fn serve_rivulet(data: &str) {
    let flags = [
        ("bind", "127.0.0.1:0"),
        ("data", data),
        ("default_model", "instant"),
        ("max_active_jobs", "1000"),
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
        .providers(vec![Arc::new(Instantly)])
        .start()
        .unwrap();
    println!("{}", app.address);
    wait_for_parent().await;
    app.stop().await;
}

/// The same frames from memory: what is left when everything but the web server is taken away.
async fn serve_bare() {
    let frames: Vec<_> = (1..=SUBTREES + 3).map(bare_frame).collect();
    let server = HttpServer::new(move || {
        let frames = frames.clone();
        Web::new().route(
            "/v1/extract/jobs",
            web::post().to(move |_: web::Bytes| {
                let frames =
                    futures_util::stream::iter(frames.clone()).map(Ok::<_, std::io::Error>);
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
    tokio::select! { _ = running => {}, () = wait_for_parent() => {} }
}

fn bare_frame(number: usize) -> web::Bytes {
    let payload =
        json!({"type": "subtree_result", "sequence_number": number, "text": "x".repeat(600)});
    format!("event: subtree_result\ndata: {payload}\nid: job.{number}\n\n").into()
}

/// Ends when the other end of standard input is gone.
async fn wait_for_parent() {
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
}

struct Server {
    child: Child,
    base: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
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
        Self {
            child,
            base: format!("http://{}", line.trim()),
        }
    }

    /// Processor time of the server so far, user and system.
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
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn measure(jobs: usize) {
    let data = tempfile::tempdir().unwrap();
    let rivulet = Server::start(&["serve-rivulet", data.path().join("data").to_str().unwrap()]);
    let bare = Server::start(&["serve-bare"]);
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let body = job_body(&client, &rivulet.base).await;
    for base in [&rivulet.base, &bare.base] {
        run_jobs(&client, base, &body, WARM_UP).await;
    }
    println!("{jobs} jobs of {SUBTREES} subtrees, one at a time, alternating in fifths");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (cpu_ours, cpu_theirs) = (rivulet.cpu(), bare.cpu());
    for _ in 0..5 {
        ours.extend(run_jobs(&client, &rivulet.base, &body, jobs / 5).await);
        theirs.extend(run_jobs(&client, &bare.base, &body, jobs / 5).await);
    }
    let cpu_ours = rivulet.cpu().saturating_sub(cpu_ours);
    let cpu_theirs = bare.cpu().saturating_sub(cpu_theirs);
    report("rivulet", &mut ours, cpu_ours);
    report("bare actix-web", &mut theirs, cpu_theirs);
    println!("ratio of medians {:.2}", median(&ours) / median(&theirs));
    drop((rivulet, bare));
    idle(&client).await;
}

async fn job_body(client: &Client, base: &str) -> Value {
    let text = "Invoice 17 of 2026, total 12.50 EUR.\n".repeat(111);
    let part = reqwest::multipart::Part::bytes(text.into_bytes()).file_name("note.txt");
    let form = reqwest::multipart::Form::new().part("file", part);
    let upload = format!("{base}/v1/extract/documents/upload");
    let answer: Value = client
        .post(upload)
        .multipart(form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let field = json!({"type": ["string", "null"]});
    let part =
        json!({"type": "object", "properties": {"a": field, "b": field, "c": field, "d": field}});
    let parts: serde_json::Map<_, _> = (0..SUBTREES)
        .map(|index| (format!("part_{index}"), part.clone()))
        .collect();
    json!({
        "document_id": answer["document_id"],
        "schema": {"type": "object", "properties": parts},
        "config": {"max_num_concurrent_requests": 10, "per_key_attribution": true},
        "stream": true,
    })
}

/// Milliseconds of each job, from request to the last byte of its stream.
async fn run_jobs(client: &Client, base: &str, body: &Value, count: usize) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        let request = client.post(format!("{base}/v1/extract/jobs")).json(body);
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        let frames = bytes.windows(2).filter(|pair| pair == b"\n\n").count();
        assert_eq!(frames, SUBTREES + 3, "{}", String::from_utf8_lossy(&bytes));
    }
    times
}

fn report(name: &str, times: &mut [f64], cpu: Duration) {
    times.sort_by(f64::total_cmp);
    let each = cpu.as_secs_f64() * 1_000.0 / (times.len() * SUBTREES) as f64;
    println!(
        "{name:15} job p50 {:.2} ms, p99 {:.2} ms; processor time a subtree {each:.3} ms",
        median(times),
        times[times.len() * 99 / 100]
    );
}

fn median(sorted: &[f64]) -> f64 {
    let mut sorted = sorted.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Start to first 200 and memory of the idle binary, a fresh process each time.
async fn idle(client: &Client) {
    let (mut starts, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let data = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rivulet"))
            .args(["serve", "--bind", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let base = line.trim().rsplit(' ').next().unwrap().to_owned();
        let answer = client.get(format!("{base}/healthz")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        starts.push(started.elapsed().as_secs_f64() * 1_000.0);
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        sizes.push(kib / 1_024.0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("start to first 200: median {:.1} ms", median(&starts));
    println!("idle memory (RSS): median {:.1} MiB", median(&sizes));
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_rivulet"))
        .unwrap()
        .len();
    println!("binary: {:.1} MB", binary as f64 / 1e6);
}
