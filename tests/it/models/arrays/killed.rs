//! The real binary, killed in the middle of long arrays.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::{INSTRUCTIONS, WIRE, reader, windows};
use crate::long::{Document, Spec};
use crate::models::model_of;
use crate::support::model::{KEY, Pace, Server};
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RIVULET_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--bind", "127.0.0.1:0", "--data"])
            .arg(data)
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
    let document = Document::make(Spec::plain(seed, 400));
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
    let request = client.post(format!("{}/jobs", server.base)).json(&body);
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    let job = accepted["job_id"].as_str().unwrap().to_owned();
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
    let url = format!("{}/jobs/{job}/results", server.base);
    let results: Value = client.get(url).send().await.unwrap().json().await.unwrap();
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
    for (seed, done) in [(21, 1), (22, 2), (23, 3)] {
        tokio::time::timeout(PATIENCE, round(seed, done))
            .await
            .unwrap();
    }
}
