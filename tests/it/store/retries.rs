//! Ended jobs that go on.

use rivulet::domain::event::Kind;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::JobView;
use rivulet::domain::status::Status;
use rivulet::engine::ports::{Deleted, Reopen, Reopened};

use super::bed::{Bed, caller, cancelled, error, result, scope, settled};

fn reopen(scope: &Scope, job: JobId, at_sequence: u64) -> Reopen {
    Reopen {
        scope: scope.clone(),
        job,
        at_sequence,
        failed_fields: 2,
        incomplete: Vec::new(),
        active_limit: 10,
        queue_limit: 10,
    }
}

async fn reopened(bed: &Bed, reopen: Reopen) -> JobView {
    match bed.store.reopen(reopen).await.unwrap() {
        Reopened::Stored { view, .. } => *view,
        other => panic!("{other:?}"),
    }
}

pub async fn a_reopened_job_waits_again_and_has_no_failed_outcome(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 3).await;
    let drafts = vec![result(0), error(1), result(2), settled()];
    let ended = bed.commit(job, &guard, drafts).await;
    let before = bed.log(&scope, job).await;

    let view = reopened(&bed, reopen(&scope, job, ended.sequence)).await;
    assert_eq!((view.status, view.run), (Status::Pending, 2));
    assert_eq!((view.subtrees_succeeded, view.subtrees_failed), (2, 0));
    assert_eq!((view.fields_processed, view.total_fields), (4, 6));
    assert_eq!((view.ended_at, view.expires_at), (None, None));
    assert_eq!(bed.view(&scope, job).await, view);

    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    let left: Vec<_> = snapshot.outcomes.iter().map(|one| one.ordinal).collect();
    assert_eq!(left, [0, 2]);
    let log = bed.log(&scope, job).await;
    assert_eq!(&log[..before.len()], &before[..]);
    let after: Vec<_> = log[before.len()..].iter().map(|event| event.kind).collect();
    assert_eq!(after, [Kind::JobStatus]);

    // The owner of the first run is shut out; the second run settles what failed.
    let late = bed.try_commit(job, &guard, vec![result(1)]).await;
    assert!(format!("{late:?}").contains("Fenced"), "{late:?}");
    let claimed = bed.claim("another", 10).await;
    assert_eq!((claimed.len(), claimed[0].crashes), (1, 0));
    let guard = rivulet::engine::ports::Guard::Lease {
        epoch: claimed[0].epoch,
    };
    let view = bed.commit(job, &guard, vec![result(1), settled()]).await;
    assert_eq!(
        (view.status, view.subtrees_succeeded),
        (Status::Completed, 3)
    );
    assert_eq!(view.fields_processed, 6);
}

pub async fn only_the_end_it_rests_on_is_reopened_and_only_once(bed: Bed) {
    let scope = scope();
    let job = bed.stored(&scope, 2).await;
    let ended = bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    let tries = (0..8).map(|_| bed.store.reopen(reopen(&scope, job, ended.sequence)));
    let outcomes = futures_util::future::join_all(tries).await;
    let stored = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Reopened::Stored { .. })));
    assert_eq!(stored.count(), 1);
    let changed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Reopened::Changed)));
    assert_eq!(changed.count(), 7);
    let of_another = reopen(&Scope::new("bob"), job, ended.sequence + 1);
    let missing = bed.store.reopen(of_another).await.unwrap();
    assert!(matches!(missing, Reopened::Missing), "{missing:?}");

    // A whole job has nothing to go on with.
    let (whole, guard) = bed.begun(&scope, 1).await;
    let ended = bed.commit(whole, &guard, vec![result(0), settled()]).await;
    let refused = bed
        .store
        .reopen(reopen(&scope, whole, ended.sequence))
        .await;
    assert!(matches!(refused, Ok(Reopened::Changed)), "{refused:?}");
}

pub async fn a_reopened_job_takes_a_slot_and_needs_its_document(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let job = bed.store_job(bed.job(&scope, &document, 1)).await;
    let ended = bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    let once = |active_limit, queue_limit| Reopen {
        active_limit,
        queue_limit,
        ..reopen(&scope, job, ended.sequence)
    };
    let refused = bed.store.reopen(once(0, 10)).await.unwrap();
    assert!(matches!(refused, Reopened::TooManyActive), "{refused:?}");
    let refused = bed.store.reopen(once(1, 0)).await.unwrap();
    assert!(matches!(refused, Reopened::QueueFull), "{refused:?}");
    assert_eq!(bed.view(&scope, job).await, ended);

    let deleted = bed.store.delete_document(&scope, document.id).await;
    assert_eq!(deleted.unwrap(), Deleted::Gone);
    let refused = bed.store.reopen(once(1, 10)).await.unwrap();
    assert!(matches!(refused, Reopened::DocumentGone), "{refused:?}");
    // No refusal has cost a slot.
    let document = bed.document(&scope, "another.pdf").await;
    let mut new = bed.job(&scope, &document, 1);
    new.active_limit = 1;
    bed.store_job(new).await;
}
