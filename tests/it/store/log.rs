//! Committing to a job's log and reading it.

use std::sync::Arc;

use rivulet::domain::event::{Aside, Envelope, Event, Kind};
use rivulet::domain::id::JobId;
use rivulet::domain::job::{Draft, Refusal};
use rivulet::domain::status::Status;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Commit, Committed, Deleted, Guard, StoredEvent};
use uuid::Uuid;

use super::bed::{
    Bed, MAX_EVENT_BYTES, RETENTION_MS, START, caller, cancelled, error, result, result_of, scope,
    settled,
};

fn kinds(events: &[StoredEvent]) -> Vec<Kind> {
    events.iter().map(|event| event.kind).collect()
}

fn numbers(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

pub async fn outcomes_are_read_in_pages_by_ordinal(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 9).await;
    for ordinal in [7, 2, 5, 0, 8] {
        let draft = if ordinal == 5 {
            error(5)
        } else {
            result_of(ordinal, 1_000)
        };
        bed.commit(job, &guard, vec![draft]).await;
    }
    let large = result_of(3, MAX_EVENT_BYTES * 2);
    bed.commit(job, &guard, vec![large]).await;
    let page = async |from, limit, max_bytes| {
        let page = bed
            .store
            .outcomes(&scope, job, from, limit, max_bytes)
            .await;
        let page = page.unwrap().unwrap();
        page.iter()
            .map(|outcome| outcome.ordinal)
            .collect::<Vec<_>>()
    };
    let much = 100 * MAX_EVENT_BYTES;
    assert_eq!(page(0, 100, much).await, [0, 2, 3, 5, 7, 8]);
    assert_eq!(page(3, 2, much).await, [3, 5]);
    assert_eq!(page(4, 100, much).await, [5, 7, 8]);
    assert!(page(9, 100, much).await.is_empty());
    // What is set aside counts, and the first one is always there.
    assert_eq!(page(2, 100, MAX_EVENT_BYTES).await, [2]);
    assert_eq!(page(3, 100, 1).await, [3]);
    let whole = bed
        .store
        .outcomes(&scope, job, 3, 1, much)
        .await
        .unwrap()
        .unwrap();
    assert!(whole[0].aside.is_some());
    let failed = bed
        .store
        .outcomes(&scope, job, 5, 1, much)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(failed[0].event.kind, Kind::SubtreeError);
    let stranger = rivulet::domain::id::Scope::new("stranger");
    assert!(
        bed.store
            .outcomes(&stranger, job, 0, 9, much)
            .await
            .unwrap()
            .is_none()
    );
    let nobody = JobId(Uuid::from_u128(7));
    assert!(
        bed.store
            .outcomes(&scope, nobody, 0, 9, much)
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn parallel_commits_to_one_job_leave_no_gap(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 32).await;
    let commits: Vec<_> = (0..32)
        .map(|ordinal| {
            let (store, guard) = (Arc::clone(&bed.store), guard.clone());
            let drafts = vec![result(ordinal)];
            tokio::spawn(async move {
                store
                    .commit(Commit {
                        job,
                        guard,
                        at_sequence: None,
                        drafts,
                    })
                    .await
            })
        })
        .collect();
    let mut seen = Vec::new();
    for commit in commits {
        match commit.await.unwrap().unwrap() {
            Committed::Stored { view, .. } => seen.push(view.sequence),
            other => panic!("{other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        (3..=34).collect::<Vec<_>>(),
        "each commit saw the state after itself"
    );
    let log = bed.log(&scope, job).await;
    assert_eq!(numbers(&log), (1..=34).collect::<Vec<_>>());
    let view = bed.view(&scope, job).await;
    assert_eq!(
        (
            view.sequence,
            view.subtrees_succeeded,
            view.fields_processed
        ),
        (34, 32, 64)
    );
    assert_eq!(view.usage.request_count, 32);
}

pub async fn an_ordinal_has_one_outcome(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    bed.commit(job, &guard, vec![result(0), error(0), result(0)])
        .await;
    let view = bed.commit(job, &guard, vec![error(0), result(1)]).await;
    assert_eq!((view.subtrees_succeeded, view.subtrees_failed), (2, 0));
    let repeats: Vec<_> = (0..8)
        .map(|_| {
            let (store, guard) = (Arc::clone(&bed.store), guard.clone());
            let drafts = vec![result(0), result(1)];
            tokio::spawn(async move {
                store
                    .commit(Commit {
                        job,
                        guard,
                        at_sequence: None,
                        drafts,
                    })
                    .await
            })
        })
        .collect();
    for repeat in repeats {
        assert!(matches!(
            repeat.await.unwrap().unwrap(),
            Committed::Stored { .. }
        ));
    }
    let log = bed.log(&scope, job).await;
    let expected = [
        Kind::Start,
        Kind::JobStatus,
        Kind::SubtreeResult,
        Kind::SubtreeResult,
    ];
    assert_eq!(kinds(&log), expected);
    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    let ordinals: Vec<_> = snapshot
        .outcomes
        .iter()
        .map(|outcome| outcome.ordinal)
        .collect();
    assert_eq!(ordinals, [0, 1]);
    assert_eq!(snapshot.view.usage.request_count, 2);
}

pub async fn a_refused_draft_takes_the_whole_commit_back(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    let before = bed.view(&scope, job).await;
    let committed = bed
        .try_commit(job, &guard, vec![result(0), settled()])
        .await;
    let Committed::Refused { refusal, status } = committed else {
        panic!("{committed:?}")
    };
    assert_eq!(
        refusal,
        Refusal::Unsettled {
            settled: 1,
            total: 2
        }
    );
    assert_eq!(status, Status::Processing);
    assert_eq!(bed.view(&scope, job).await, before);
    assert_eq!(bed.log(&scope, job).await.len(), 2);
    // The outcome that was taken back can still be committed.
    let view = bed
        .commit(job, &guard, vec![result(0), error(1), settled()])
        .await;
    assert_eq!((view.status, view.sequence), (Status::Completed, 5));
}

pub async fn nothing_follows_the_end(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 1).await;
    let ended = bed.commit(job, &guard, vec![error(0), settled()]).await;
    assert_eq!(ended.status, Status::Failed);
    assert_eq!(ended.expires_at, Some(START.plus_millis(RETENTION_MS)));
    let late = bed.try_commit(job, &guard, vec![result(0)]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    let cancel = bed
        .try_commit(job, &caller(&scope), vec![cancelled()])
        .await;
    let Committed::Refused { refusal, status } = cancel else {
        panic!("{cancel:?}")
    };
    assert_eq!((refusal, status), (Refusal::Ended, Status::Failed));
    let page = bed.page(&scope, job, 0, 100).await;
    assert_eq!(page.events.last().unwrap().kind, Kind::End);
    assert_eq!((page.last_sequence, page.terminal), (4, true));
    assert_eq!(bed.view(&scope, job).await, ended);
}

pub async fn a_commit_to_an_unknown_job_is_missing(bed: Bed) {
    let unknown = JobId(Uuid::from_u128(9));
    for guard in [Guard::Lease { epoch: 0 }, caller(&scope())] {
        let committed = bed.try_commit(unknown, &guard, vec![cancelled()]).await;
        assert!(matches!(committed, Committed::Missing), "{committed:?}");
    }
    assert!(bed.store.view(&scope(), unknown).await.unwrap().is_none());
    assert!(
        bed.store
            .snapshot(&scope(), unknown)
            .await
            .unwrap()
            .is_none()
    );
    let page = bed
        .store
        .events(&scope(), unknown, 0, 10, 10)
        .await
        .unwrap();
    assert!(page.is_none());
}

pub async fn the_clock_of_a_log_never_runs_backwards(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    bed.clock.set(START.plus_millis(500));
    bed.commit(job, &guard, vec![result(0)]).await;
    bed.clock.set(Time(START.0 - 7_200_000));
    bed.commit(job, &guard, vec![result(1)]).await;
    let times: Vec<_> = bed
        .log(&scope, job)
        .await
        .iter()
        .map(|event| {
            Envelope::decode(str::from_utf8(&event.payload).unwrap())
                .unwrap()
                .at
        })
        .collect();
    let later = START.plus_millis(500);
    assert_eq!(times, [START, START, later, later]);
    assert_eq!(bed.view(&scope, job).await.updated_at, later);
}

pub async fn events_are_read_in_pages(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 8).await;
    bed.commit(job, &guard, (0..8).map(result).collect()).await;
    let whole = bed.log(&scope, job).await;
    assert_eq!(numbers(&whole), (1..=10).collect::<Vec<_>>());

    let mut pages = Vec::new();
    while pages.len() < 10 {
        let page = bed.page(&scope, job, pages.len() as u64, 3).await;
        assert!((1..=3).contains(&page.events.len()));
        assert_eq!((page.last_sequence, page.terminal), (10, false));
        pages.extend(page.events);
    }
    assert_eq!(pages, whole);

    let read = |after, bytes| bed.store.events(&scope, job, after, 100, bytes);
    let page = read(2, 0).await.unwrap().unwrap();
    assert_eq!(numbers(&page.events), [3], "at least one, however large");
    let two = whole[2].payload.len() + whole[3].payload.len();
    let page = read(2, two).await.unwrap().unwrap();
    assert_eq!(numbers(&page.events), [3, 4]);
    let page = read(2, two - 1).await.unwrap().unwrap();
    assert_eq!(numbers(&page.events), [3]);
    for beyond in [10, 11, u64::MAX] {
        let page = read(beyond, usize::MAX).await.unwrap().unwrap();
        assert_eq!((page.events.len(), page.last_sequence), (0, 10), "{beyond}");
    }
}

pub async fn an_oversize_result_is_set_aside(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    let large = result_of(0, MAX_EVENT_BYTES);
    let Draft::Result(given) = large.clone() else {
        unreachable!()
    };
    bed.commit(job, &guard, vec![large, result(1)]).await;
    let log = bed.log(&scope, job).await;
    assert!(
        log.iter()
            .all(|event| event.payload.len() <= MAX_EVENT_BYTES)
    );
    let payload = str::from_utf8(&log[2].payload).unwrap();
    let Event::SubtreeResult(sent) = Envelope::decode(payload).unwrap().event else {
        panic!("{payload}")
    };
    assert!(sent.oversize && sent.result_url.is_some());
    assert_eq!(sent.extracted_result.get(), "null");

    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    let aside = snapshot.outcomes[0].aside.as_ref().unwrap();
    let aside: Aside = serde_json::from_slice(aside).unwrap();
    assert_eq!(aside.extracted_result.get(), given.extracted_result.get());
    assert_eq!(snapshot.outcomes[1].aside, None);
}

pub async fn a_snapshot_holds_every_outcome_and_the_state_they_belong_to(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 3).await;
    bed.commit(job, &guard, vec![result(2), error(0)]).await;
    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    assert_eq!(snapshot.view, bed.view(&scope, job).await);
    let log = bed.log(&scope, job).await;
    let found: Vec<_> = snapshot
        .outcomes
        .iter()
        .map(|outcome| (outcome.ordinal, outcome.event.clone()))
        .collect();
    assert_eq!(found, [(2, log[2].clone()), (0, log[3].clone())]);
}

pub async fn a_read_sees_one_moment(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 60).await;
    let writer = {
        let (store, guard) = (Arc::clone(&bed.store), guard.clone());
        tokio::spawn(async move {
            for ordinal in 0..60 {
                let (guard, drafts) = (guard.clone(), vec![result(ordinal)]);
                store
                    .commit(Commit {
                        job,
                        guard,
                        at_sequence: None,
                        drafts,
                    })
                    .await
                    .unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
        let settled = snapshot.outcomes.len() as u64;
        assert_eq!(settled, snapshot.view.subtrees_succeeded);
        let page = bed.page(&scope, job, 0, 100).await;
        assert_eq!(page.last_sequence, page.events.last().unwrap().sequence);
    }
    writer.await.unwrap();
    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    assert_eq!(snapshot.outcomes.len(), 60);
}

pub async fn an_ended_job_is_deleted_whole_and_an_active_one_is_not(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 1).await;
    let other = bed.stored(&scope, 1).await;
    let delete = || bed.store.delete(&scope, job);
    assert_eq!(delete().await.unwrap(), Deleted::InUse);
    assert_eq!(bed.log(&scope, job).await.len(), 2);
    bed.commit(job, &guard, vec![result(0), settled()]).await;
    let plan = bed.view(&scope, job).await.spec.plan.clone();
    assert_eq!(delete().await.unwrap(), Deleted::Gone);
    assert_eq!(delete().await.unwrap(), Deleted::Missing);
    assert!(bed.store.view(&scope, job).await.unwrap().is_none());
    let events = bed.store.events(&scope, job, 0, 10, 1_000).await.unwrap();
    assert!(events.is_none());
    assert!(bed.store.snapshot(&scope, job).await.unwrap().is_none());
    assert_eq!(bed.log(&scope, other).await.len(), 1);

    assert!(
        bed.store.plan(&plan).await.unwrap().is_some(),
        "the other job has the same plan"
    );
    bed.commit(other, &caller(&scope), vec![cancelled()]).await;
    assert_eq!(
        bed.store.delete(&scope, other).await.unwrap(),
        Deleted::Gone
    );
    assert!(bed.store.plan(&plan).await.unwrap().is_none());
}
