//! What was kept for a time only.

use rivulet::domain::status::Status;

use super::bed::{Bed, caller, cancelled, error, result, scope, settled};

const DAY: i64 = 86_400_000;

pub async fn a_log_is_swept_in_bounded_steps_and_its_job_stays(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 8).await;
    let drafts = (0..8).map(|n| if n == 3 { error(n) } else { result(n) });
    let ended = bed
        .commit(job, &guard, drafts.chain([settled()]).collect())
        .await;
    let after = ended.expires_at.unwrap();
    let mut steps = Vec::new();
    loop {
        let rows = bed.store.sweep(after, 4).await.unwrap();
        if rows == 0 {
            break;
        }
        steps.push(rows);
        if steps.len() == 1 {
            // The first step took four events and has not marked the job yet.
            assert_eq!(bed.view(&scope, job).await.status, Status::Completed);
        }
    }
    // Eleven events and the mark.
    assert!(steps.iter().all(|rows| *rows <= 4), "{steps:?}");
    assert_eq!(steps.iter().sum::<u32>(), 12, "{steps:?}");
    let view = bed.view(&scope, job).await;
    assert_eq!(
        (view.status, view.sequence),
        (Status::Expired, ended.sequence)
    );
    assert!(bed.log(&scope, job).await.is_empty());
    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    assert!(snapshot.outcomes.is_empty());
}

pub async fn what_may_not_go_yet_is_left(bed: Bed) {
    let scope = scope();
    let active = bed.stored(&scope, 1).await;
    let ended = bed.stored(&scope, 1).await;
    let view = bed.commit(ended, &caller(&scope), vec![cancelled()]).await;
    let a_moment_before = rivulet::domain::time::Time(view.expires_at.unwrap().0 - 1);
    assert_eq!(bed.store.sweep(a_moment_before, 100).await.unwrap(), 0);
    assert_eq!(bed.log(&scope, ended).await.len(), 2);
    let long_after = view.expires_at.unwrap().plus_millis(DAY as u64 * 1_000);
    assert_eq!(bed.store.sweep(long_after, 100).await.unwrap(), 3);
    assert_eq!(bed.log(&scope, active).await.len(), 1);
    assert_eq!(bed.view(&scope, active).await.status, Status::Pending);
}

pub async fn old_documents_are_listed_unless_a_job_needs_them(bed: Bed) {
    let scope = scope();
    let needed = bed.document(&scope, "needed.pdf").await;
    let job = bed.store_job(bed.job(&scope, &needed, 1)).await;
    let free = bed.document(&scope, "free.pdf").await;
    let later = needed.uploaded_at.max(free.uploaded_at).plus_millis(1);
    let listed = bed.store.documents_before(later, 10).await.unwrap();
    assert_eq!(listed, [(scope.clone(), free.id)]);
    let none = bed.store.documents_before(free.uploaded_at, 10).await;
    assert!(none.unwrap().is_empty());
    bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    let listed = bed.store.documents_before(later, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    let bounded = bed.store.documents_before(later, 1).await.unwrap();
    assert_eq!(bounded.len(), 1);
}

pub async fn old_schemas_are_deleted_in_bounded_steps(bed: Bed) {
    let scope = scope();
    let mut last = None;
    for _ in 0..3 {
        last = Some(bed.schema(&scope, "Invoice").await);
    }
    let updated = last.unwrap().updated_at;
    let delete = |at, limit| bed.store.delete_schemas_before(at, limit);
    assert_eq!(delete(updated, 10).await.unwrap(), 0);
    let later = updated.plus_millis(1);
    assert_eq!(delete(later, 2).await.unwrap(), 2);
    assert_eq!(delete(later, 2).await.unwrap(), 1);
    assert_eq!(delete(later, 2).await.unwrap(), 0);
}
