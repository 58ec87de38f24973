//! Several nodes on one database, each a process of its own: what one does the others see, and
//! what one leaves behind another takes up.
//!
//! `RIVULET_ROUNDS=20` measures that many jobs.

mod away;
mod cancel;
mod life;
mod node;
mod storm;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::storm::number;
use crate::support::app::wide_schema;
use crate::support::postgres::database;
use crate::support::sse::Frame;
use node::{Node, Shared};

/// Longer than any of it takes.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A job of so many subtrees, asked for one after the other.
pub fn body(subtrees: usize) -> serde_json::Value {
    json!({
        "document": "Invoice number: 7\nTotal: 12.50 EUR\n",
        "schema": wide_schema(subtrees),
        "config": {"max_num_concurrent_requests": 1},
    })
}

/// When a node showed each event of a job.
async fn times(node: &Node, job: &str) -> Vec<(Instant, Frame)> {
    let (mut stream, mut times) = (node.follow(job, None).await, Vec::new());
    while let Some(frame) = stream.next().await {
        times.push((Instant::now(), frame));
    }
    times
}

/// The one of which so many of a hundred are no larger.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_on_one_node_is_seen_on_another_at_once() {
    let Some(database) = database().await else {
        return;
    };
    let shared = Shared::on(&database);
    let (a, b) = (
        Node::start(&shared, 20).await,
        Node::start(&shared, 20).await,
    );
    let mut lags = Vec::new();
    for _ in 0..number("RIVULET_ROUNDS", 1) {
        let before = a.asked().len();
        let job = a.submit(&body(40)).await;
        let (on_a, on_b) = tokio::join!(times(&a, &job), times(&b, &job));
        let bytes = |times: &[(Instant, Frame)]| {
            let frames = times.iter().map(|(_, frame)| frame.bytes.clone());
            frames.collect::<Vec<_>>()
        };
        assert_eq!(bytes(&on_a), bytes(&on_b));
        let (here, there) = if a.asked().len() > before {
            (&on_a, &on_b)
        } else {
            (&on_b, &on_a)
        };
        // The first events may be older than the streams.
        let both = here.iter().zip(there).skip(5);
        lags.extend(both.map(|((here, _), (there, _))| there.saturating_duration_since(*here)));
    }
    lags.sort_unstable();
    let (p50, p99) = (percentile(&lags, 50), percentile(&lags, 99));
    println!(
        "{} events, seen elsewhere later by: p50 {p50:?}, p99 {p99:?}, at most {:?}",
        lags.len(),
        percentile(&lags, 100)
    );
    // Without hints it would be half a second, the pace of the polls.
    assert!(p50 < Duration::from_millis(100), "{lags:?}");
}
