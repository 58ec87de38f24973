//! Two nodes, one of which is killed again and again, and clients that go on through the other.
//!
//! `RIVULET_NODE_KILLS=200` makes the storm as long as that; `RIVULET_SEED` repeats one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::node::{Node, Shared};
use super::{PATIENCE, body, percentile};
use crate::storm::number;
use crate::support::dice::Dice;
use crate::support::postgres::database;
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};

/// As many as a user may have jobs.
const CLIENTS: usize = 5;
const KILLS: u64 = 3;
const SUBTREES: usize = 10;
/// For a subtree, milliseconds.
const DELAY: u64 = 60;
/// Between two kills: so many milliseconds, and up to as many more.
const CALM: u64 = 3_000;
/// A lease, and what may come on top of it.
const TAKEOVER: Duration = Duration::from_secs(15 + 5);

struct Storm {
    client: Client,
    body: Value,
    expected: Value,
    /// Where the two nodes are; one of them may be down.
    bases: watch::Receiver<[String; 2]>,
    is_over: AtomicBool,
    /// Jobs that two nodes died of: with a third one they are given up on purpose.
    endangered: watch::Sender<usize>,
    /// How long jobs stood still when their node had died.
    pauses: Mutex<Vec<Duration>>,
    resubmits: AtomicUsize,
}

impl Storm {
    fn base(&self, of: usize) -> String {
        self.bases.borrow()[of % 2].clone()
    }

    async fn submit(&self, key: &str, mut at: usize) -> String {
        loop {
            let request = self.client.post(format!("{}/jobs", self.base(at)));
            let request = request.header("Idempotency-Key", key).json(&self.body);
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if let Ok(answer) = answer.json::<Value>().await {
                    if matches!(status, StatusCode::ACCEPTED | StatusCode::OK) {
                        return answer["job_id"].as_str().unwrap().to_owned();
                    }
                    // The one that died may have held the key.
                    assert_eq!(answer["code"], "idempotency_key_in_use", "{answer}");
                }
            }
            self.resubmits.fetch_add(1, Ordering::SeqCst);
            at += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The whole log of a job, put together over kills.
    async fn follow(&self, job: &str, mut at: usize) -> Vec<Frame> {
        let (mut log, mut moved, mut crashes) = (Vec::<Frame>::new(), Instant::now(), 0);
        while log.last().is_none_or(|frame| frame.event != "end") {
            let mut request = self
                .client
                .get(format!("{}/jobs/{job}/events", self.base(at)));
            if let Some(last) = log.last() {
                request = request.header("Last-Event-ID", &last.id);
            }
            if let Ok(answer) = request.send().await {
                assert_eq!(answer.status(), 200, "an acknowledged job is lost");
                let see = |frame: &Frame| {
                    if frame.data.contains("\"reason\":\"server_restart\"") {
                        self.pauses.lock().push(moved.elapsed());
                        crashes += 1;
                        if crashes == 2 {
                            self.endangered.send_modify(|jobs| *jobs += 1);
                        }
                    }
                    moved = Instant::now();
                };
                log.extend(Stream::of(answer).until_cut(see).await);
            }
            at += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if crashes >= 2 {
            self.endangered.send_modify(|jobs| *jobs -= 1);
        }
        log
    }

    /// One client: job after job, each as it would be without a storm.
    async fn work(self: Arc<Self>, name: usize) -> Vec<String> {
        let mut jobs = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            let key = format!("client-{name}-job-{}", jobs.len());
            let at = name + jobs.len();
            let job = self.submit(&key, at).await;
            // Through the node that did not take it.
            let log = tokio::time::timeout(PATIENCE, self.follow(&job, at + 1)).await;
            let log = log.expect("the job goes on by itself");
            assert_lawful(&log);
            assert_eq!(rebuild(&log), self.expected, "{key}");
            assert_eq!(self.submit(&key, at).await, job);
            jobs.push(job);
        }
        jobs
    }
}

/// Kills and starts again until there were enough kills; gives the nodes, and how many subtrees
/// were asked for by those that died.
async fn rage(
    storm: &Storm,
    shared: &Shared,
    mut nodes: [Node; 2],
    bases: &watch::Sender<[String; 2]>,
    dice: &mut Dice,
) -> ([Node; 2], usize) {
    let (mut asked, mut endangered) = (0, storm.endangered.subscribe());
    for _ in 0..number("RIVULET_NODE_KILLS", KILLS) {
        let pause = CALM + dice.roll(CALM);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let safe = endangered.wait_for(|jobs| *jobs == 0);
        tokio::time::timeout(PATIENCE, safe).await.unwrap().unwrap();
        let which = dice.roll(2) as usize;
        nodes[which].signal("-KILL");
        asked += nodes[which].asked().len();
        // For a moment there is only the other one.
        tokio::time::sleep(Duration::from_millis(dice.roll(1_000))).await;
        nodes[which] = Node::start(shared, DELAY).await;
        let base = nodes[which].base.clone();
        bases.send_modify(|bases| bases[which] = base);
    }
    (nodes, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_lose_nothing_while_one_of_two_nodes_is_killed_again_and_again() {
    let Some(database) = database().await else {
        return;
    };
    let seed = number("RIVULET_SEED", u64::from(std::process::id()) | 1 << 40);
    println!("RIVULET_SEED={seed}");
    let shared = Shared::on(&database);
    let nodes = [
        Node::start(&shared, DELAY).await,
        Node::start(&shared, DELAY).await,
    ];
    let mut body = body(SUBTREES);
    let first = nodes[0].submit(&body).await;
    let whole = nodes[1].follow(&first, None).await.rest().await;
    body["document_id"] = whole[0].payload()["document_id"].clone();
    body.as_object_mut().unwrap().shift_remove("document");
    let (bases, at) = watch::channel([nodes[0].base.clone(), nodes[1].base.clone()]);
    let storm = Arc::new(Storm {
        client: Client::builder().no_proxy().build().unwrap(),
        body,
        expected: rebuild(&whole),
        bases: at,
        is_over: AtomicBool::new(false),
        endangered: watch::Sender::new(0),
        pauses: Mutex::default(),
        resubmits: AtomicUsize::new(0),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| tokio::spawn(Arc::clone(&storm).work(name)))
        .collect();
    let (nodes, asked) = rage(&storm, &shared, nodes, &bases, &mut Dice(seed)).await;
    storm.is_over.store(true, Ordering::SeqCst);
    let mut jobs = Vec::new();
    for client in clients {
        jobs.extend(client.await.unwrap());
    }
    let count = jobs.len();
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), count, "two keys led to one job");
    let url = format!("{}/jobs?limit=1&job_status=completed", nodes[0].base);
    let list = storm.client.get(url).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    // And the one of before the storm.
    assert_eq!(
        list["total_count"],
        json!(count + 1),
        "a key led to two jobs"
    );

    let mut pauses = storm.pauses.lock().clone();
    pauses.sort_unstable();
    let asked = asked + nodes.iter().map(|node| node.asked().len()).sum::<usize>();
    let repeats = asked - (count + 1) * SUBTREES;
    println!(
        "{count} jobs, {} taken over, {repeats} repeated calls, {} requests made again",
        pauses.len(),
        storm.resubmits.load(Ordering::SeqCst)
    );
    // One call of a job is under way when its node dies, and one may have ended just then.
    assert!(repeats <= 2 * pauses.len(), "{repeats} repeated calls");
    if let Some(longest) = pauses.last() {
        println!(
            "taken over after {:?}, at most {longest:?}",
            percentile(&pauses, 50)
        );
        assert!(*longest <= TAKEOVER, "{pauses:?}");
    }
}
