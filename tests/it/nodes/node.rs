//! A node: this test program, started once more as a server with a slow model.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use reqwest::Client;
use rivulet::app::App;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::evidence::Attributions;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Model, Provider};
use rivulet::settings::{Settings, Sources};
use serde_json::Value;

use crate::support::postgres::Database;
use crate::support::provider::plain_value;
use crate::support::sse::Stream;

const STORE: &str = "NODE_STORE";
const FOLDER: &str = "NODE_FOLDER";
const DELAY: &str = "NODE_DELAY";
const ASKED: &str = "asked for ";
const LISTENING: &str = "listening on ";

/// Gives each subtree after a while, and says which one it was asked for.
struct Slow(Duration);

impl Provider for Slow {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "slow".into(),
            display_name: "Slow".into(),
            description: "Takes its time.".into(),
            provider: "tests".into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let delay = self.0;
        async_stream::stream! {
            for index in call.subtrees.clone() {
                let subtree = Arc::clone(&call.plan.subtrees[index]);
                println!("{ASKED}{}", subtree.id);
                tokio::time::sleep(delay).await;
                let (value, attributions) = (plain_value(&subtree), Attributions::new());
                yield Ok(Answer::Subtree { index, value, attributions, logprobs: Default::default() });
            }
            yield Ok(Answer::Usage(Usage { request_count: 1, ..Usage::default() }));
        }
        .boxed()
    }
}

/// What nodes share.
pub struct Shared {
    store: String,
    folder: tempfile::TempDir,
}

impl Shared {
    pub fn on(database: &Database) -> Self {
        Self {
            store: database.url(),
            folder: tempfile::tempdir().unwrap(),
        }
    }
}

/// Does nothing unless it was started as a node; then it serves until it is killed, or until
/// nobody holds its input any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_program_is_a_node_when_it_is_told_so() {
    let Ok(store) = std::env::var(STORE) else {
        return;
    };
    #[allow(
        clippy::exit,
        reason = "a node whose starter is gone has nobody to stop it"
    )]
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let flag = |name| std::env::var(name).unwrap();
    let flags = [
        ("bind", "127.0.0.1:0".to_owned()),
        ("store", store),
        ("blobs", format!("file://{}", flag(FOLDER))),
        ("default_model", "slow".to_owned()),
    ];
    let sources = Sources {
        flags: flags.into_iter().collect(),
        ..Sources::default()
    };
    let delay = Duration::from_millis(flag(DELAY).parse().unwrap());
    let builder = App::builder(Settings::load(sources).unwrap());
    let app = builder.providers(vec![Arc::new(Slow(delay))]).start();
    let mut app = app.unwrap();
    println!("{LISTENING}http://{}", app.address);
    app.run().await.unwrap();
}

/// A node at work. It is killed when this is dropped.
pub struct Node {
    child: Child,
    pub base: String,
    client: Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// A model that takes so many milliseconds for a subtree.
    pub async fn start(shared: &Shared, delay: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "nodes::node::this_program_is_a_node_when_it_is_told_so",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(STORE, &shared.store)
            .env(FOLDER, shared.folder.path())
            .env(DELAY, delay.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (told, base) = tokio::sync::oneshot::channel();
        let list = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut told = Some(told);
            for line in said.lines().map_while(Result::ok) {
                if let Some(subtree) = line.strip_prefix(ASKED) {
                    list.lock().push(subtree.to_owned());
                } else if let Some((_, url)) = line.split_once(LISTENING)
                    && let Some(told) = told.take()
                {
                    told.send(url.to_owned()).unwrap();
                }
            }
        });
        rivulet::tls::install();
        Self {
            child,
            base: format!("{}/v1/extract", base.await.unwrap()),
            client: Client::builder().no_proxy().build().unwrap(),
            asked,
        }
    }

    /// The subtrees that its model was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// SIGKILL, SIGSTOP or SIGCONT.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn submit(&self, body: &Value) -> String {
        let url = format!("{}/jobs", self.base);
        let answer = self.client.post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer: Value = answer.json().await.unwrap();
        answer["job_id"].as_str().unwrap().to_owned()
    }

    pub fn follow(&self, job: &str, cursor: Option<&str>) -> impl Future<Output = Stream> + use<> {
        let mut request = self.client.get(format!("{}/jobs/{job}/events", self.base));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        async move { Stream::of(request.send().await.unwrap()) }
    }
}
