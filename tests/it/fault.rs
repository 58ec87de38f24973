//! The server dies at every named point around its writes, and what is there when it is started
//! again on the same folder.
//!
//! `RIVULET_HITS=1` lets it die the first time only that it comes to each point;
//! `RIVULET_POINT=jobs.create.after:1` at one only.

mod check;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::storm::number;
use crate::support::child::Child;
use crate::support::points::WRITES;
use work::{Died, Work};

/// Servers that die at the same time.
const AT_ONCE: usize = 3;
/// It dies at a point the first time that it comes there, in another life the second time, and so
/// on up to here, where it comes that often.
const HITS: u64 = 3;

/// The points that are reached by the whole work, and how often.
async fn hits_of_a_whole_life() -> BTreeMap<String, u32> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut work = Work::on(Child::start(&data, "", |_| {}).await);
    assert!(work.all("").await.is_ok());
    let hits = work.stop().await.expect("nothing kills it");
    assert!(!work.child.died().await);
    check::restarted(&data, &work.known).await;
    serde_json::from_str(&hits).unwrap()
}

/// Whether the server died there, and how many files without a row that left.
async fn dies_at(fatal: &str) -> (bool, u64) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut work = Work::on(Child::start(&data, fatal, |_| {}).await);
    let outcome = work.all(fatal).await;
    if outcome.is_ok() {
        let _: Result<_, Died> = work.stop().await;
    }
    let died = work.child.died().await;
    check_integrity(&data);
    let orphans = check::restarted(&data, &work.known).await;
    check_integrity(&data);
    (died, orphans)
}

fn check_integrity(data: &Path) {
    let connection = Connection::open(data.join("rivulet.db")).unwrap();
    let said: String = connection
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
    let mut dangling = connection.prepare("PRAGMA foreign_key_check").unwrap();
    assert!(!dangling.exists(()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_wherever_the_server_dies() {
    let mut deaths = Vec::new();
    if let Ok(point) = std::env::var("RIVULET_POINT") {
        deaths.push(point);
    } else {
        let hits = hits_of_a_whole_life().await;
        for write in WRITES {
            for side in ["before", "after"] {
                let point = format!("{write}.{side}");
                let count = u64::from(*hits.get(&point).unwrap_or(&0));
                assert!(count > 0, "{point} is never reached");
                for hit in 1..=count.min(number("RIVULET_HITS", HITS)) {
                    deaths.push(format!("{point}:{hit}"));
                }
            }
        }
    }
    // Those of the heartbeat take seconds, in which they do nothing.
    deaths.sort_by_key(|fatal| !fatal.contains("renew"));
    let (turns, mut lives) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    let count = deaths.len();
    for fatal in deaths {
        let turns = Arc::clone(&turns);
        lives.spawn(async move {
            let waits = fatal.contains("renew");
            let _turn = if waits {
                None
            } else {
                Some(turns.acquire().await.unwrap())
            };
            let work = std::panic::AssertUnwindSafe(dies_at(&fatal));
            match futures_util::FutureExt::catch_unwind(work).await {
                Ok((died, orphans)) => Ok((fatal, died, orphans)),
                Err(_) => Err(fatal),
            }
        });
    }
    let (mut broken, mut alive, mut files) = (Vec::new(), Vec::new(), 0);
    while let Some(life) = lives.join_next().await {
        match life.unwrap() {
            Ok((fatal, died, orphans)) => {
                files += orphans;
                if !died {
                    alive.push(fatal);
                }
            }
            Err(fatal) => broken.push(fatal),
        }
    }
    println!("{count} deaths, which left {files} files; not reached again: {alive:?}");
    assert!(broken.is_empty(), "RIVULET_POINT: {broken:?}");
    // How events share commits is not the same every time, so a later time may not come.
    assert!(files > 0 || count == 1, "nothing was left to sweep");
    assert!(
        alive.iter().all(|fatal| !fatal.ends_with(":1")),
        "{alive:?}"
    );
}
