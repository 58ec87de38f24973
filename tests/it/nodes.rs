//! Several nodes on one database, each a process of its own: what one does the others see, and
//! what one leaves behind another takes up.

mod away;
mod cancel;
mod life;
mod node;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::app::wide_schema;
use crate::support::postgres::database;
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
    let job = a.submit(&body(40)).await;
    let times = |node: &Node| {
        let following = node.follow(&job, None);
        async move {
            let (mut stream, mut times) = (following.await, Vec::new());
            while let Some(frame) = stream.next().await {
                times.push((Instant::now(), frame));
            }
            times
        }
    };
    let (on_a, on_b) = tokio::join!(times(&a), times(&b));
    let bytes = |times: &[(Instant, crate::support::sse::Frame)]| {
        let frames = times.iter().map(|(_, frame)| frame.bytes.clone());
        frames.collect::<Vec<_>>()
    };
    assert_eq!(bytes(&on_a), bytes(&on_b));
    // The first events may be older than the streams.
    let lags = on_a.iter().zip(&on_b).skip(5).map(|((a, _), (b, _))| {
        let later = a.max(b);
        later.duration_since(*a.min(b))
    });
    let mut lags: Vec<_> = lags.collect();
    lags.sort_unstable();
    println!(
        "lag between nodes: median {:?}, longest {:?}",
        lags[lags.len() / 2],
        lags.last()
    );
    // Without hints it would be half a second, the pace of the polls.
    assert!(
        lags[lags.len() / 2] < Duration::from_millis(100),
        "{lags:?}"
    );
}
