//! The property of logs: whatever was committed, the payloads tell what the view tells.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rivulet::domain::error::Fault;
use rivulet::domain::event::{Envelope, Event, Reason};
use rivulet::domain::job::{Draft, Ending, JobView};
use rivulet::domain::status::Status;
use rivulet::engine::ports::{Committed, Guard, StoredEvent};
use tokio::runtime::Handle;

use super::bed::{Bed, MAX_EVENT_BYTES, error, result_of, scope};

const SUBTREES: u32 = 4;

/// What a client knows who has read a log.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    sequence: u64,
    status: Option<Status>,
    succeeded: u64,
    failed: u64,
    fields: u64,
    has_ended: bool,
}

fn replay(log: &[StoredEvent]) -> Replayed {
    let mut state = Replayed::default();
    for stored in log {
        let envelope = Envelope::decode(str::from_utf8(&stored.payload).unwrap()).unwrap();
        assert!(!state.has_ended, "an event after the end");
        assert_eq!(envelope.sequence, state.sequence + 1);
        assert_eq!(
            (envelope.sequence, envelope.event.kind()),
            (stored.sequence, stored.kind)
        );
        state.sequence = envelope.sequence;
        match envelope.event {
            Event::Start(start) => state.status = Some(start.status),
            Event::JobStatus(event) => {
                assert_eq!(Some(event.previous_status), state.status);
                state.status = Some(event.status);
            }
            Event::SubtreeResult(event) => {
                state.succeeded += 1;
                state.fields = event.progress.fields_processed;
            }
            Event::SubtreeError(event) => {
                state.failed += 1;
                state.fields = event.progress.fields_processed;
            }
            Event::SubtreeRetry(_) | Event::ArrayProgress(_) => {}
            Event::End(end) => {
                assert_eq!(
                    (end.subtrees_succeeded, end.subtrees_failed),
                    (state.succeeded, state.failed)
                );
                state.status = Some(end.status);
                state.has_ended = true;
            }
        }
    }
    state
}

fn shown(view: &JobView) -> Replayed {
    Replayed {
        sequence: view.sequence,
        status: Some(view.status),
        succeeded: view.subtrees_succeeded,
        failed: view.subtrees_failed,
        fields: view.fields_processed,
        has_ended: view.ended_at.is_some(),
    }
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let ordinal = 0..SUBTREES;
    let length = prop_oneof![3 => 0..200_usize, 1 => MAX_EVENT_BYTES..2 * MAX_EVENT_BYTES];
    prop_oneof![
        2 => prop::sample::select(&Status::ALL[..]).prop_map(|status| Draft::Status {
            status,
            reason: Reason::Scheduled,
            message: None,
        }),
        6 => (ordinal.clone(), length).prop_map(|(ordinal, length)| result_of(ordinal, length)),
        3 => ordinal.prop_map(error),
        1 => Just(Draft::End(Ending::Settled)),
        1 => Just(Draft::End(Ending::Cancelled { reason: Some("enough".into()) })),
        1 => Just(Draft::End(Ending::Failed {
            fault: Fault::Internal,
            message: "The document could not be read.".into(),
        })),
    ]
}

async fn commit_all(bed: &Bed, commits: Vec<Vec<Draft>>) {
    let scope = scope();
    let job = bed.stored(&scope, SUBTREES).await;
    let claimed = bed.claim("worker", 1_000).await;
    let claim = claimed.iter().find(|claim| claim.view.id == job).unwrap();
    let guard = Guard::Lease { epoch: claim.epoch };
    for drafts in commits {
        let before = bed.view(&scope, job).await;
        let after = match bed.try_commit(job, &guard, drafts).await {
            Committed::Stored { view, .. } => *view,
            Committed::Fenced => {
                assert!(before.status.is_terminal());
                before
            }
            Committed::Refused { status, .. } => {
                assert_eq!(status, before.status);
                before
            }
            other @ (Committed::Missing | Committed::Moved { .. }) => panic!("{other:?}"),
        };
        assert_eq!(bed.view(&scope, job).await, after);
        assert_eq!(replay(&bed.log(&scope, job).await), shown(&after));
    }
}

pub async fn the_log_replays_to_the_view(bed: Bed) {
    let runtime = Handle::current();
    let cases = Config {
        failure_persistence: None,
        ..Config::with_cases(64)
    };
    let tried = tokio::task::spawn_blocking(move || {
        TestRunner::new(cases).run(&vec(vec(any_draft(), 0..4), 0..10), |commits| {
            runtime.block_on(commit_all(&bed, commits));
            Ok(())
        })
    });
    tried.await.unwrap().unwrap();
}
