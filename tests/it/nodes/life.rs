//! Nodes that die, and nodes that freeze.
//!
//! `RIVULET_FROZEN=60` keeps one frozen for as many seconds.

use std::time::{Duration, Instant};

use super::node::{Node, Shared};
use super::{PATIENCE, body};
use crate::storm::number;
use crate::support::postgres::{Database, database};
use crate::support::sse::{Frame, Stream, assert_lawful};

const SUBTREES: usize = 40;
/// For a subtree, milliseconds.
const DELAY: u64 = 150;
/// A lease, and what may come on top of it.
const TAKEOVER: Duration = Duration::from_secs(15 + 5);

/// A job in the middle of its life.
struct Scene {
    /// Runs the job.
    first: Node,
    other: Node,
    job: String,
    /// What the other node has shown of the log so far, and how it goes on.
    seen: Vec<Frame>,
    stream: Stream,
    _shared: Shared,
}

impl Scene {
    async fn on(database: &Database) -> Self {
        let shared = Shared::on(database);
        let first = Node::start(&shared, DELAY).await;
        let job = first.submit(&body(SUBTREES)).await;
        let mut stream = first.follow(&job, None).await;
        stream.until("subtree_result").await;
        // Only now, so that it is clear who has the job.
        let other = Node::start(&shared, DELAY).await;
        let mut stream = other.follow(&job, None).await;
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(stream.until("subtree_result").await);
        }
        Self {
            first,
            other,
            job,
            seen,
            stream,
            _shared: shared,
        }
    }

    /// The rest of the log as the other node shows it, and how long it stood still.
    async fn end(&mut self, since: Instant) -> Duration {
        let mut pause = Duration::ZERO;
        while let Some(frame) = self.stream.next().await {
            // The status that tells why is the first word of the new owner.
            if frame.payload()["reason"] == "server_restart" {
                pause = since.elapsed();
            }
            self.seen.push(frame);
        }
        pause
    }

    /// How many subtrees a model was asked for more than once.
    fn repeats(&self) -> usize {
        let asked = self.first.asked().len() + self.other.asked().len();
        asked - SUBTREES
    }

    fn results(&self) -> usize {
        let is_result = |frame: &&Frame| frame.event == "subtree_result";
        self.seen.iter().filter(is_result).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_is_taken_over_by_another() {
    let Some(database) = database().await else {
        return;
    };
    let mut scene = Scene::on(&database).await;
    scene.first.signal("-KILL");
    let pause = tokio::time::timeout(PATIENCE, scene.end(Instant::now())).await;
    let pause = pause.unwrap();
    println!("killed, and taken over after {pause:?}");
    assert!(!pause.is_zero() && pause <= TAKEOVER, "{pause:?}");
    assert_lawful(&scene.seen);
    assert_eq!(scene.results(), SUBTREES);
    assert!(scene.repeats() <= 2, "{}", scene.repeats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_writes_nothing_once_it_was_taken_over() {
    let Some(database) = database().await else {
        return;
    };
    let mut scene = Scene::on(&database).await;
    scene.first.signal("-STOP");
    let frozen = Instant::now();
    let pause = tokio::time::timeout(PATIENCE, scene.end(frozen)).await;
    let pause = pause.unwrap();
    println!("frozen, and taken over after {pause:?}");
    assert!(!pause.is_zero() && pause <= TAKEOVER, "{pause:?}");
    assert_lawful(&scene.seen);
    assert_eq!(scene.results(), SUBTREES);
    let rest = Duration::from_secs(number("RIVULET_FROZEN", 0)).saturating_sub(frozen.elapsed());
    tokio::time::sleep(rest).await;
    // It wakes in the middle of a call whose result it then wants to write, and serves what the
    // other has made of the job.
    scene.first.signal("-CONT");
    let job = scene.first.submit(&body(2)).await;
    scene.first.follow(&job, None).await.rest().await;
    let log = scene.first.follow(&scene.job, None).await.rest().await;
    assert_eq!(log, scene.seen);
    let repeats = scene.repeats() - 2;
    println!(
        "woken after {:?}, {repeats} repeated calls",
        frozen.elapsed()
    );
    // The two of the other job, and what it asked for before it learned that it had lost this one.
    assert!(scene.repeats() <= 2 + 5, "{}", scene.repeats());
}
