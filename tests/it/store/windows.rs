//! Windows of long arrays that are kept beside the log.

use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::{AnswerKey, Draft, WindowDraft};
use rivulet::domain::time::Time;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Deleted, Reopen, Reopened};

use super::bed::{Bed, error, result, scope, settled};

fn window(key: AnswerKey, body: &str) -> Draft {
    let body = serde_json::value::RawValue::from_string(body.to_owned()).unwrap();
    Draft::Window(WindowDraft {
        ordinal: 0,
        paid: Usage::default(),
        key,
        body,
    })
}

async fn found(bed: &Bed, scope: &Scope, job: JobId, keys: &[AnswerKey]) -> Vec<(JobId, String)> {
    let found = bed.store.windows(scope, job, keys).await.unwrap();
    found
        .into_iter()
        .map(|kept| (kept.job, kept.body))
        .collect()
}

pub async fn a_window_is_kept_and_is_no_event(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    let before = bed.log(&scope, job).await;
    let drafts = vec![window([1; 32], "{\"a\":1}"), window([2; 32], "[]")];
    let view = bed.commit(job, &guard, drafts).await;
    assert_eq!(bed.log(&scope, job).await, before);
    assert_eq!(bed.view(&scope, job).await, view);
    // Once more, as after an answer that was lost, and among events.
    let drafts = vec![
        window([1; 32], "{\"a\":2}"),
        result(0),
        window([3; 32], "3"),
    ];
    bed.commit(job, &guard, drafts).await;
    assert_eq!(bed.log(&scope, job).await.len(), before.len() + 1);
    let kept = found(&bed, &scope, job, &[[1; 32], [9; 32], [3; 32]]).await;
    let mut bodies: Vec<_> = kept.iter().map(|(of, body)| (*of, body.as_str())).collect();
    bodies.sort_by_key(|(_, body)| body.len());
    assert_eq!(bodies, [(job, "3"), (job, "{\"a\":1}")]);
    assert!(found(&bed, &scope, job, &[]).await.is_empty());
}

pub async fn a_late_window_of_an_owner_who_lost_the_job_is_not_kept(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 1).await;
    bed.commit(
        job,
        &super::bed::caller(&scope),
        vec![super::bed::cancelled()],
    )
    .await;
    let late = bed
        .try_commit(job, &guard, vec![window([1; 32], "1")])
        .await;
    assert!(format!("{late:?}").contains("Fenced"), "{late:?}");
    assert!(found(&bed, &scope, job, &[[1; 32]]).await.is_empty());
}

pub async fn the_window_of_the_job_itself_goes_before_newer_ones_and_no_other_scope_sees_it(
    bed: Bed,
) {
    let (scope, other) = (scope(), Scope::new("another"));
    let mut jobs = Vec::new();
    for body in ["1", "2", "3"] {
        let (job, guard) = bed.begun(&scope, 1).await;
        bed.commit(job, &guard, vec![window([1; 32], body)]).await;
        jobs.push(job);
    }
    let (none, _) = bed.begun(&scope, 1).await;
    let own = found(&bed, &scope, jobs[0], &[[1; 32]]).await;
    assert_eq!(own, [(jobs[0], "1".to_owned())]);
    let newest = found(&bed, &scope, none, &[[1; 32]]).await;
    assert_eq!(newest, [(jobs[2], "3".to_owned())]);
    assert!(found(&bed, &other, jobs[0], &[[1; 32]]).await.is_empty());
}

pub async fn windows_go_with_their_job(bed: Bed) {
    let scope = scope();
    let mut jobs = Vec::new();
    for key in [[1; 32], [2; 32]] {
        let (job, guard) = bed.begun(&scope, 1).await;
        let drafts = vec![window(key, "1"), result(0), settled()];
        bed.commit(job, &guard, drafts).await;
        jobs.push(job);
    }
    let keys = [[1; 32], [2; 32]];
    let deleted = bed.store.delete(&scope, jobs[0]).await;
    assert_eq!(deleted.unwrap(), Deleted::Gone);
    let left = found(&bed, &scope, jobs[1], &keys).await;
    assert_eq!(left, [(jobs[1], "1".to_owned())]);
    let expiry = bed.view(&scope, jobs[1]).await.expires_at.unwrap();
    bed.store.sweep(Time(expiry.0 + 1), 100).await.unwrap();
    assert!(found(&bed, &scope, jobs[1], &keys).await.is_empty());
}

pub async fn an_incomplete_array_is_taken_back_when_its_job_is_reopened_and_its_windows_stay(
    bed: Bed,
) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 3).await;
    let drafts = vec![
        window([1; 32], "1"),
        result(0),
        result(1),
        error(2),
        settled(),
    ];
    let ended = bed.commit(job, &guard, drafts).await;
    let reopen = Reopen {
        scope: scope.clone(),
        job,
        at_sequence: ended.sequence,
        failed_fields: 4,
        incomplete: vec![1],
        active_limit: 10,
        queue_limit: 10,
    };
    let Reopened::Stored { view, .. } = bed.store.reopen(reopen).await.unwrap() else {
        panic!("not reopened");
    };
    assert_eq!((view.subtrees_succeeded, view.subtrees_failed), (1, 0));
    let snapshot = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    let left: Vec<_> = snapshot.outcomes.iter().map(|one| one.ordinal).collect();
    assert_eq!(left, [0]);
    assert_eq!(found(&bed, &scope, job, &[[1; 32]]).await.len(), 1);
}
