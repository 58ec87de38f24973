//! Many jobs of several clients, and a server that is killed, or asked to stop, again and again at
//! random moments.
//!
//! `RIVULET_KILLS=200` and `RIVULET_STOPS=20` make the storms as long as that; `RIVULET_SEED`
//! repeats one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kill::{Server, body};
use crate::support::dice::Dice;
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};

const CLIENTS: usize = 5;
/// Each client runs at least so many jobs, and goes on while there are kills.
const JOBS: usize = 10;
const KILLS: u64 = 20;
const STOPS: u64 = 5;
/// How long a stop takes at most.
const STOPPED: Duration = Duration::from_secs(30);
/// Events that all clients together see between two kills: at least so many, and up to as many
/// more at random. A job that is hit three times is given up on purpose, so none must be.
const CALM: u64 = 160;
/// A storm that does not move on fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_mins(2);

/// What all clients share.
struct Storm {
    client: Client,
    /// Where the server is now; it has another port after each kill.
    base: watch::Receiver<String>,
    seen: watch::Sender<u64>,
    body: Value,
    expected: Value,
    is_over: AtomicBool,
}

impl Storm {
    fn base(&self) -> String {
        self.base.borrow().clone()
    }

    /// Waits until the server that did not answer has been started again.
    async fn wait_for_another(&self, than: &str) {
        let mut base = self.base.clone();
        let moved = base.wait_for(|now| now != than);
        tokio::time::timeout(PATIENCE, moved)
            .await
            .expect("the server comes back")
            .unwrap();
    }

    /// Asks for a job under a key until it is acknowledged.
    async fn submit(&self, key: &str) -> String {
        loop {
            let base = self.base();
            let request = self.client.post(format!("{base}/jobs"));
            let request = request.header("Idempotency-Key", key).json(&self.body);
            let Ok(answer) = request.send().await else {
                self.wait_for_another(&base).await;
                continue;
            };
            let status = answer.status();
            let Ok(answer) = answer.json::<Value>().await else {
                self.wait_for_another(&base).await;
                continue;
            };
            if answer["code"] == "draining" {
                self.wait_for_another(&base).await;
                continue;
            }
            assert!(
                matches!(status, StatusCode::ACCEPTED | StatusCode::OK),
                "{answer}"
            );
            return answer["job_id"].as_str().unwrap().to_owned();
        }
    }

    /// The whole log of a job, put together over kills.
    async fn follow(&self, job: &str) -> Vec<Frame> {
        let mut log: Vec<Frame> = Vec::new();
        while log.last().is_none_or(|frame| frame.event != "end") {
            let base = self.base();
            let mut request = self.client.get(format!("{base}/jobs/{job}/events"));
            if let Some(last) = log.last() {
                request = request.header("Last-Event-ID", &last.id);
            }
            match request.send().await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200, "an acknowledged job is lost");
                    let see = |_: &Frame| self.seen.send_modify(|seen| *seen += 1);
                    log.extend(Stream::of(answer).until_cut(see).await);
                }
                Err(_) => self.wait_for_another(&base).await,
            }
        }
        log
    }

    /// One client: job after job, each as it would be without a storm.
    async fn work(self: Arc<Self>, name: usize) -> Vec<String> {
        let mut jobs = Vec::new();
        while jobs.len() < JOBS || !self.is_over.load(Ordering::SeqCst) {
            let key = format!("client-{name}-job-{}", jobs.len());
            let job = self.submit(&key).await;
            let log = tokio::time::timeout(PATIENCE, self.follow(&job)).await;
            let log = log.expect("the job goes on by itself");
            assert_lawful(&log);
            assert_eq!(rebuild(&log), self.expected, "{key}");
            // Whoever asks again is led to the same job, also after a kill.
            assert_eq!(self.submit(&key).await, job);
            jobs.push(job);
        }
        jobs
    }
}

pub fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given
        .and_then(|given| given.parse().ok())
        .unwrap_or(otherwise)
}

/// How a server ends, and how often.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Stop,
}

impl Blow {
    fn times(self) -> u64 {
        match self {
            Self::Kill => number("RIVULET_KILLS", KILLS),
            Self::Stop => number("RIVULET_STOPS", STOPS),
        }
    }

    fn strike(self, server: Server) {
        match self {
            Self::Kill => server.kill(),
            Self::Stop => {
                let took = server.stop();
                println!("a stop took {took:?}");
                assert!(took <= STOPPED, "{took:?}");
            }
        }
    }
}

/// Ends the server and starts it again, often enough; says how long the starts took.
async fn rage(
    blow: Blow,
    storm: &Storm,
    data: &Path,
    base: &watch::Sender<String>,
    dice: &mut Dice,
) -> Server {
    let (mut server, mut starts) = (Server::start(data), Vec::new());
    base.send_replace(server.base.clone());
    let mut seen = storm.seen.subscribe();
    for _ in 0..blow.times() {
        let then = *seen.borrow() + CALM + dice.roll(CALM);
        let moved = seen.wait_for(|now| *now >= then);
        tokio::time::timeout(PATIENCE, moved)
            .await
            .expect("events are seen")
            .unwrap();
        blow.strike(server);
        let began = Instant::now();
        server = Server::start(data);
        starts.push(began.elapsed());
        base.send_replace(server.base.clone());
    }
    starts.sort();
    println!(
        "{} ends; a start took {:?}",
        starts.len(),
        starts.get(starts.len() / 2)
    );
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_keys_lose_nothing_in_a_storm_of_kills_and_each_key_is_one_job() {
    lose_nothing(Blow::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_keys_lose_nothing_in_a_storm_of_stops_and_each_key_is_one_job() {
    lose_nothing(Blow::Stop).await;
}

async fn lose_nothing(blow: Blow) {
    let seed = number("RIVULET_SEED", u64::from(std::process::id()) | 1 << 40);
    println!("RIVULET_SEED={seed}");
    rivulet::tls::install();
    let client = Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut body = body();

    let server = Server::start(&data);
    let mut calm = body.clone();
    calm["stream"] = json!(true);
    let request = client.post(format!("{}/jobs", server.base)).json(&calm);
    let whole = Stream::of(request.send().await.unwrap()).rest().await;
    body["document_id"] = whole[0].payload()["document_id"].clone();
    body.as_object_mut().unwrap().shift_remove("document");
    server.kill();

    let (base, at) = watch::channel(String::new());
    let storm = Arc::new(Storm {
        client,
        base: at,
        seen: watch::Sender::new(0),
        body,
        expected: rebuild(&whole),
        is_over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| tokio::spawn(Arc::clone(&storm).work(name)))
        .collect();
    let server = rage(blow, &storm, &data, &base, &mut Dice(seed)).await;
    storm.is_over.store(true, Ordering::SeqCst);
    let mut jobs = Vec::new();
    for client in clients {
        jobs.extend(client.await.unwrap());
    }
    let count = jobs.len() as u64;
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len() as u64, count, "two keys led to one job");
    let list = format!("{}/jobs?limit=1&job_status=completed", server.base);
    let list: Value = storm
        .client
        .get(list)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    // And the one of before the storm.
    assert_eq!(list["total_count"], count + 1, "a key led to two jobs");
    println!("{count} jobs");
}
