//! The real binary, killed while it works, and what is there when it is started again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::support::dice::Dice;
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};

const ROUNDS: u64 = 10;
const PARTS: usize = 40;
const FOLLOWERS: usize = 3;
/// Longer than any round takes: a job that does not go on fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The binary at work on a data folder. It is killed when this is dropped.
pub struct Server {
    child: Child,
    pub base: String,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same, in an environment with these variables.
    pub fn start_with(data: &Path, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RIVULET_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--bind", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
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

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing of the process runs any more.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how long it then took to its end, which is a good one.
    pub fn stop(mut self) -> Duration {
        let (began, id) = (Instant::now(), self.child.id().to_string());
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success());
        began.elapsed()
    }

    async fn get(&self, client: &Client, path: &str) -> Value {
        let answer = client
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    pub async fn follow(&self, client: &Client, job: &str, cursor: Option<&str>) -> Stream {
        let mut request = client.get(format!("{}/jobs/{job}/events", self.base));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        Stream::of(request.send().await.unwrap())
    }

    pub async fn results(&self, client: &Client, job: &str) -> Value {
        let mut results = self.get(client, &format!("/jobs/{job}/results")).await;
        assert_eq!(results["status"], "completed");
        json!([
            results["results"].take(),
            results["attributions"].take(),
            results["wrapped_results"].take()
        ])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A document and a schema of which every part has something to find.
pub fn body() -> Value {
    let mut text = String::new();
    let mut parts = Map::new();
    for index in 0..PARTS {
        text.push_str(&format!("Section {index}\n\n"));
        let mut fields = Map::new();
        for name in ["net", "tax", "due", "fee"] {
            let amount = index * 10 + name.len();
            text.push_str(&format!("{name} amount {index}: {amount}.50 EUR\n"));
            fields.insert(
                format!("{name}_amount_{index}"),
                json!({"type": ["number", "null"]}),
            );
        }
        text.push_str(
            &"The parties agree on what is written above, and on nothing else.\n".repeat(10),
        );
        parts.insert(
            format!("section_{index}"),
            json!({"type": "object", "properties": fields}),
        );
    }
    json!({
        "document": text,
        "schema": {"type": "object", "properties": parts},
        // One after the other, so that there is a middle to be killed in.
        "config": {"max_num_concurrent_requests": 1, "per_key_attribution": true},
    })
}

/// What one round saw.
struct Round {
    /// Frames until the kill, of each follower.
    before: Vec<Vec<Frame>>,
    /// The whole logs, as each follower put them together.
    logs: Vec<Vec<Frame>>,
    results: Value,
}

/// Starts a job, kills the server when some follower has seen `moment` frames, starts it again
/// and follows the job to its end.
async fn round(client: &Client, data: &Path, body: &Value, moment: usize) -> Round {
    let server = Server::start(data);
    let request = client.post(format!("{}/jobs", server.base)).json(body);
    let accepted = request.send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let accepted: Value = accepted.json().await.unwrap();
    let job = accepted["job_id"].as_str().unwrap().to_owned();
    let (seen, mut most) = watch::channel(0);
    let mut following = Vec::new();
    // At moment 0 the job is acknowledged and nobody follows it yet.
    for _ in 0..if moment == 0 { 0 } else { FOLLOWERS } {
        let stream = server.follow(client, &job, None).await;
        let seen = seen.clone();
        let see = move |frame: &Frame| {
            seen.send_modify(|most| *most = frame.sequence().max(*most));
        };
        following.push(tokio::spawn(stream.until_cut(see)));
    }
    most.wait_for(|most| *most >= moment as u64).await.unwrap();
    server.kill();
    let mut before = Vec::new();
    for follower in following {
        before.push(follower.await.unwrap());
    }
    let server = Server::start(data);
    let mut logs = Vec::new();
    for seen in &before {
        let cursor = seen.last().map(|frame| frame.id.clone());
        let stream = server.follow(client, &job, cursor.as_deref()).await;
        let rest = stream.rest().await;
        logs.push(seen.iter().cloned().chain(rest).collect());
    }
    logs.push(server.follow(client, &job, None).await.rest().await);
    let results = server.results(client, &job).await;
    Round {
        before,
        logs,
        results,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_a_kill_at_any_moment_and_its_followers_see_one_log() {
    let given = std::env::var("RIVULET_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    println!("RIVULET_SEED={seed}");
    let mut dice = Dice(seed);
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut body = body();

    let server = Server::start(&data);
    let mut undisturbed = body.clone();
    undisturbed["stream"] = json!(true);
    let request = client
        .post(format!("{}/jobs", server.base))
        .json(&undisturbed);
    let whole = Stream::of(request.send().await.unwrap()).rest().await;
    assert_lawful(&whole);
    let start = whole[0].payload();
    let expected = server
        .results(&client, start["job_id"].as_str().unwrap())
        .await;
    assert_eq!(expected[0], rebuild(&whole));
    assert!(
        expected[0].to_string().matches(".5").count() >= PARTS,
        "{}",
        expected[0]
    );
    body["document_id"] = start["document_id"].clone();
    body.as_object_mut().unwrap().shift_remove("document");
    server.kill();

    let mut in_the_middle = 0;
    for number in 0..ROUNDS {
        // Early enough for the job to be still at work when the kill comes.
        let late = whole.len() as u64 * 2 / 3;
        let moment = if number == 0 {
            0
        } else {
            1 + dice.roll(late) as usize
        };
        let round = round(&client, &data, &body, moment);
        let round = tokio::time::timeout(PATIENCE, round).await;
        let round = round.expect("the job goes on by itself");
        let log = round.logs.last().unwrap();
        assert_lawful(log);
        for (before, put_together) in round.before.iter().zip(&round.logs) {
            assert_eq!(
                before[..],
                log[..before.len()],
                "what was seen stays, byte for byte"
            );
            assert_eq!(put_together, log);
        }
        assert_eq!(
            rebuild(log),
            expected[0],
            "round {number}, killed at {moment}"
        );
        assert_eq!(
            round.results, expected,
            "round {number}, killed at {moment}"
        );
        let restarted = |frame: &Frame| frame.data.contains("\"reason\":\"server_restart\"");
        in_the_middle += u64::from(log.iter().any(restarted));
    }
    println!("{in_the_middle} of {ROUNDS} kills came in the middle");
    assert!(
        in_the_middle >= ROUNDS / 3,
        "{in_the_middle} kills came in the middle"
    );
}
