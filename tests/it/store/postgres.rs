//! What only a store in PostgreSQL promises.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rivulet::domain::error::Fault;
use rivulet::domain::event::SubtreeRetry;
use rivulet::domain::job::Draft;
use rivulet::domain::pointer::Pointer;
use rivulet::engine::ports::{
    Catalog as _, Commit, Committed, Jobs as _, Keys as _, News, StoreError,
};
use rivulet::store::{Postgres, PostgresOptions};

use tokio::time::timeout;

use super::bed::{Bed, LEASE, MINUTE, START, postgres, result, scope, settled};
use crate::support::line::{Line, State};
use crate::support::postgres::{Database, database};

fn open(url: String) -> Result<Postgres, StoreError> {
    Postgres::open(PostgresOptions {
        url,
        connections: 8,
        patience: Duration::from_secs(30),
        max_event_bytes: 1_000,
        retention_ms: 0,
        clock: None,
    })
}

fn refusal(url: String) -> String {
    match open(url) {
        Err(StoreError::Failed(message)) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let Some(database) = database().await else {
        return;
    };
    drop(open(database.url()).unwrap());
    database.run("UPDATE rivulet SET version = 77").await;
    let message = refusal(database.url());
    assert!(
        message.contains("version 77") && message.contains("knows versions up to "),
        "{message}"
    );
    assert!(message.contains("newer program"), "{message}");
}

#[tokio::test]
async fn a_database_of_the_first_version_opens_and_keeps_its_keys() {
    let Some(database) = database().await else {
        return;
    };
    let first = concat!(
        "CREATE TABLE rivulet (version BIGINT NOT NULL); INSERT INTO rivulet VALUES (1);",
        include_str!("../../../src/store/postgres.sql"),
        ";INSERT INTO keys VALUES ('00', decode(repeat('07', 32), 'hex'), 'ada', 'old', 5, NULL)"
    );
    database.run(first).await;
    let store = open(database.url()).unwrap();
    let key = store.key("00").await.unwrap().unwrap();
    assert_eq!((key.hash, key.max_active_jobs), ([7; 32], None));
    let limited = store.limit_key("00", Some(2)).await.unwrap().unwrap();
    assert_eq!(limited.max_active_jobs, Some(2));
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let Some(database) = database().await else {
        return;
    };
    database.run("CREATE TABLE songs (name TEXT)").await;
    let message = refusal(database.url());
    assert!(
        message.contains("`songs`") && message.contains("another program"),
        "{message}"
    );
    database
        .run("DROP TABLE songs; CREATE TABLE jobs (id INT)")
        .await;
    refusal(database.url());
    // An own schema beside it is as good as an own database.
    database.run("CREATE SCHEMA ours").await;
    let url = format!("{}?options=-csearch_path%3Dours", database.url());
    drop(open(url).unwrap());
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_named_without_its_password() {
    let url = "postgres://ada:geheim@127.0.0.1:1/none".to_owned();
    let message = refusal(url);
    assert!(
        message.contains("postgres://ada@127.0.0.1:1/none"),
        "{message}"
    );
    assert!(!message.contains("geheim"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_may_create_the_schema_at_once() {
    let Some(database) = database().await else {
        return;
    };
    let opened = (0..6).map(|_| {
        let url = database.url();
        tokio::task::spawn_blocking(move || open(url).map(drop))
    });
    for one in futures_util::future::join_all(opened).await {
        one.unwrap().unwrap();
    }
}

/// Two nodes on one database, the second behind a line.
async fn two(database: &Database) -> (Bed, Postgres, Line) {
    let bed = Bed::on(database);
    let line = Line::to(database.port).await;
    let other = postgres(&database.through(line.port), bed.clock.clone());
    (bed, other, line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_commits_is_told_to_the_others() {
    let Some(database) = database().await else {
        return;
    };
    let (bed, other, line) = two(&database).await;
    let mut news = other.news();
    // It listens from here on.
    assert_eq!(next(&mut news).await, News::Work);
    let (job, guard) = bed.begun(&scope(), 2).await;
    assert_eq!(next(&mut news).await, News::Work);
    assert_eq!(next(&mut news).await, News::Event { job, sequence: 2 });
    bed.commit(job, &guard, vec![result(0), result(1), settled()])
        .await;
    assert_eq!(next(&mut news).await, News::Event { job, sequence: 5 });
    // And again after the line was lost.
    line.set(State::Cut);
    line.set(State::Open);
    assert_eq!(next(&mut news).await, News::Work);
    bed.stored(&scope(), 1).await;
    assert_eq!(next(&mut news).await, News::Work);
}

async fn next(news: &mut BoxStream<'static, News>) -> News {
    let next = timeout(Duration::from_mins(1), news.next());
    next.await.expect("there is news").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    let Some(database) = database().await else {
        return;
    };
    let (bed, other, line) = two(&database).await;
    let (job, guard) = bed.begun(&scope(), 2).await;
    for sequence in 3..6 {
        line.set(State::LosesCommit);
        let commit = || Commit {
            job,
            guard: guard.clone(),
            at_sequence: Some(sequence - 1),
            // Without that, the log would take it as often as it comes.
            drafts: vec![retry()],
        };
        let lost = other.commit(commit()).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
        assert_eq!(line.state(), State::Open);
        let again = other.commit(commit()).await;
        let is_told = matches!(again, Ok(Committed::Moved { sequence: end }) if end == sequence);
        assert!(is_told, "{again:?}");
        assert_eq!(bed.log(&scope(), job).await.len() as u64, sequence);
    }
    let other_draft = vec![result(0), result(1), settled()];
    let view = bed.commit(job, &guard, other_draft).await;
    assert_eq!(view.sequence, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_lost_runs_out() {
    let Some(database) = database().await else {
        return;
    };
    let (bed, other, line) = two(&database).await;
    let job = bed.stored(&scope(), 1).await;
    line.set(State::LosesCommit);
    let lost = other.claim("worker", LEASE, 1).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert!(other.claim("worker", LEASE, 1).await.unwrap().is_empty());
    // The worker knows of no job, so it renews none.
    bed.clock.set(START.plus_millis(MINUTE));
    other.renew("worker", &[], LEASE).await.unwrap();
    bed.clock.set(START.plus_millis(MINUTE + 1));
    let claimed = other.claim("worker", LEASE, 1).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].view.id), (1, job));
    assert_eq!(claimed[0].crashes, 0);
}

fn retry() -> Draft {
    Draft::Retry(SubtreeRetry {
        subtree_id: "part-0".into(),
        path: Pointer::root(),
        record_index: None,
        record_id: None,
        attempt: 1,
        max_attempts: 3,
        error_message: "The model did not answer in time.".into(),
        error_type: Fault::Timeout,
        retry_delay_ms: 5,
        window: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_held_by_many_who_store_them_or_by_one_who_deletes_them() {
    let Some(database) = database().await else {
        return;
    };
    let (bed, other, _line) = two(&database).await;
    let (mine, theirs) = (
        bed.store.hold_bytes("ab", false),
        other.hold_bytes("ab", false),
    );
    let (mine, theirs) = (mine.await.unwrap(), theirs.await.unwrap());
    let mut alone = other.hold_bytes("ab", true);
    let _another = other.hold_bytes("cd", true).await.unwrap();
    drop(theirs);
    assert!(
        timeout(Duration::from_millis(300), &mut alone)
            .await
            .is_err()
    );
    drop(mine);
    let alone = timeout(Duration::from_mins(1), alone)
        .await
        .unwrap()
        .unwrap();
    let mut together = bed.store.hold_bytes("ab", false);
    assert!(
        timeout(Duration::from_millis(300), &mut together)
            .await
            .is_err()
    );
    drop(alone);
    let together = timeout(Duration::from_mins(1), together).await;
    together.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_is_unavailable_soon_and_back_at_once() {
    let Some(database) = database().await else {
        return;
    };
    let (bed, _, line) = two(&database).await;
    let job = bed.stored(&scope(), 1).await;
    let other = Postgres::open(PostgresOptions {
        url: database.through(line.port),
        connections: 8,
        patience: rivulet::store::postgres::PATIENCE,
        max_event_bytes: 1_000,
        retention_ms: 0,
        clock: None,
    });
    let other = Arc::new(other.unwrap());
    other.view(&scope(), job).await.unwrap();
    for state in [State::Silent, State::Cut] {
        line.set(state);
        let asked = std::time::Instant::now();
        let answer = other.view(&scope(), job).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
        line.set(State::Open);
        // Connections that were lost are found out one by one.
        let mut tries = 0;
        while other.view(&scope(), job).await.is_err() {
            tries += 1;
            assert!(tries < 10);
        }
    }
}
