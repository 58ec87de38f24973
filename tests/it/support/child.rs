//! A server in a process of its own whose model and clock do as they are told: this test program,
//! started once more. It is told by lines of its input, and answers each with a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rivulet::app::App;
use rivulet::domain::error::Fault;
use rivulet::settings::{Settings, Sources};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::clock::Shifted;
use super::points::{Points, wrapped};
use super::provider::{Reply, Rows, Scripted, Server, fault, plain_value};

const DATA: &str = "CHILD_DATA";
const FATAL: &str = "CHILD_DIES_AT";
const LISTENING: &str = "listening on ";
const GIVEN: &str = "given ";
const DONE: &str = "done ";
/// Longer than a child takes for anything.
const PATIENCE: Duration = Duration::from_mins(1);
const MONTH: i64 = 30 * 86_400_000;
/// More answers than anybody asks for.
const ALL: usize = 1 << 40;

/// What the lines are about.
struct Told {
    app: App,
    model: Arc<Scripted>,
    clock: Arc<Shifted>,
    points: Arc<Points>,
    fails: Arc<AtomicBool>,
}

impl Told {
    fn start(data: &str) -> Self {
        let points = Points::new(&std::env::var(FATAL).unwrap_or_default());
        let clock = Arc::new(Shifted::default());
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let model = Scripted::new(move |subtree, _| {
            if failing.load(Ordering::SeqCst) && subtree.id.ends_with('1') {
                return fault(Fault::ContentFiltered, None);
            }
            println!("{GIVEN}{}", subtree.id);
            Reply::Value(plain_value(subtree))
        });
        let flags = [
            ("bind", "127.0.0.1:0"),
            ("data", data),
            ("drain", "0"),
            ("heartbeat_seconds", "1"),
            ("document_retention", "1d"),
            ("schema_retention", "1d"),
            ("default_model", "scripted"),
            ("webhooks_loopback", "on"),
        ];
        let flags = flags.map(|(name, value)| (name, value.to_owned()));
        let sources = Sources {
            flags: flags.into_iter().collect(),
            ..Sources::default()
        };
        let around = Arc::clone(&points);
        let app = App::builder(Settings::load(sources).unwrap())
            .clock(Arc::clone(&clock) as _)
            .providers(vec![Arc::new(Server(Arc::clone(&model))), Arc::new(Rows)])
            .rewire(move |outside| wrapped(&around, outside))
            .start()
            .unwrap();
        Self {
            app,
            model,
            clock,
            points,
            fails,
        }
    }

    /// Does what a line says and gives the answer.
    async fn hear(&self, line: &str) -> String {
        let engine = &self.app.engine;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "begin" => self.points.begin(),
            "hits" => return json!(self.points.hits()).to_string(),
            "close" => self.model.close(),
            "pass" => self.model.pass(rest.parse().unwrap()),
            "open" => self.model.pass(ALL),
            "fail" => self.fails.store(true, Ordering::SeqCst),
            "mend" => self.fails.store(false, Ordering::SeqCst),
            "sweep" => {
                self.clock.forward(MONTH);
                engine.sweep().await;
                self.clock.forward(-MONTH);
            }
            "sweep_files" => return engine.sweep_files().await.to_string(),
            "key" => {
                let (key, text) = engine.keyring().create(rest, "", None).await.unwrap();
                return format!("{} {text}", key.id);
            }
            "revoke" => drop(engine.keyring().revoke(rest).await.unwrap()),
            _ => panic!("{line}"),
        }
        String::new()
    }
}

/// Does nothing unless it was started as a server; then it serves until it is killed, told to
/// stop, or nobody holds its input any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_program_is_a_server_when_it_is_told_so() {
    let Ok(data) = std::env::var(DATA) else {
        return;
    };
    let told = Told::start(&data);
    println!("{LISTENING}http://{}", told.app.address);
    let (heard, mut lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = heard.send(line);
        }
    });
    while let Some(line) = lines.recv().await {
        if line == "stop" {
            break;
        }
        println!("{DONE}{}", told.hear(&line).await);
    }
    let points = told.points;
    told.app.stop().await;
    println!("{DONE}{}", json!(points.hits()));
}

/// A server that runs. It is killed when this is dropped.
pub struct Child {
    process: Process,
    input: ChildStdin,
    answers: UnboundedReceiver<String>,
    given: Arc<Mutex<Vec<String>>>,
    /// Without the API's path.
    pub base: String,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Child {
    /// A server on a data folder that dies at `fatal`, such as `jobs.create.after:1`, or does not.
    pub async fn start(data: &Path, fatal: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "support::child::this_program_is_a_server_when_it_is_told_so",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(DATA, data)
            .env(FATAL, fatal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        change(&mut command);
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let given = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&given);
        let (answer, mut answers) = unbounded_channel();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if let Some(subtree) = line.strip_prefix(GIVEN) {
                    list.lock().push(subtree.to_owned());
                } else if let Some((_, text)) = line.split_once(LISTENING) {
                    let _ = answer.send(text.to_owned());
                } else if let Some(text) = line.strip_prefix(DONE) {
                    let _ = answer.send(text.to_owned());
                }
            }
        });
        rivulet::tls::install();
        let base = tokio::time::timeout(PATIENCE, answers.recv()).await;
        Self {
            input: process.stdin.take().unwrap(),
            process,
            answers,
            given,
            base: base.unwrap().expect("it starts"),
        }
    }

    /// Tells it something and gives its answer; none when it died.
    pub async fn say(&mut self, line: &str) -> Option<String> {
        let _ = writeln!(self.input, "{line}");
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        answer.unwrap_or_else(|_| panic!("no answer to {line}"))
    }

    /// The subtrees that its model gave.
    pub fn given(&self) -> Vec<String> {
        self.given.lock().clone()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end by itself; whether it died as it was told to, at a point.
    pub async fn died(&mut self) -> bool {
        let ended = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status: ExitStatus = tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("it ends");
        assert!(status.success() || status.signal() == Some(6), "{status}");
        !status.success()
    }
}
