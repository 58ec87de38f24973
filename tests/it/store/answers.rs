//! Outcomes that are found again by the key of their answer.

use rivulet::domain::event::Kind;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::{AnswerKey, Draft};
use rivulet::domain::time::Time;
use rivulet::engine::ports::Deleted;

use super::bed::{Bed, result_of, scope, settled};

/// A success of `length` characters that is kept under `key`.
fn kept(ordinal: u32, length: usize, key: AnswerKey) -> Draft {
    match result_of(ordinal, length) {
        Draft::Result(mut draft) => {
            draft.answer = Some(key);
            Draft::Result(draft)
        }
        other => other,
    }
}

async fn ended_with(bed: &Bed, scope: &Scope, drafts: Vec<Draft>) -> JobId {
    let (job, guard) = bed.begun(scope, drafts.len() as u32).await;
    bed.commit(job, &guard, drafts).await;
    bed.commit(job, &guard, vec![settled()]).await;
    job
}

pub async fn an_outcome_is_found_by_the_key_of_its_answer(bed: Bed) {
    let scope = scope();
    let drafts = vec![kept(0, 20, [1; 32]), kept(1, 30, [2; 32]), result_of(2, 40)];
    let job = ended_with(&bed, &scope, drafts).await;
    let keys = [[2; 32], [9; 32], [1; 32]];
    let mut found = bed.store.answers(&scope, &keys).await.unwrap();
    found.sort_by_key(|kept| kept.key);
    let outcomes = bed.store.snapshot(&scope, job).await.unwrap().unwrap();
    assert_eq!(found.len(), 2);
    for (found, outcome) in found.iter().zip(&outcomes.outcomes) {
        assert_eq!(found.outcome.event, outcome.event);
        assert_eq!(found.outcome.event.kind, Kind::SubtreeResult);
    }
    assert_eq!(bed.store.answers(&scope, &[]).await.unwrap().len(), 0);
}

pub async fn the_answers_of_another_scope_are_not_found(bed: Bed) {
    let (scope, other) = (scope(), Scope::new("another"));
    ended_with(&bed, &other, vec![kept(0, 20, [1; 32])]).await;
    assert!(
        bed.store
            .answers(&scope, &[[1; 32]])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        bed.store.answers(&other, &[[1; 32]]).await.unwrap().len(),
        1
    );
}

pub async fn an_oversize_answer_is_found_with_what_was_set_aside(bed: Bed) {
    let scope = scope();
    ended_with(&bed, &scope, vec![kept(0, 400_000, [1; 32])]).await;
    let found = bed.store.answers(&scope, &[[1; 32]]).await.unwrap();
    let aside = found[0].outcome.aside.as_ref().unwrap();
    assert!(aside.len() > 400_000);
}

pub async fn the_newest_answer_counts_and_the_older_one_after_it_is_gone(bed: Bed) {
    let scope = scope();
    let old = ended_with(&bed, &scope, vec![kept(0, 20, [1; 32])]).await;
    let new = ended_with(&bed, &scope, vec![kept(0, 30, [1; 32])]).await;
    let found = async |job: JobId| {
        let found = bed.store.answers(&scope, &[[1; 32]]).await.unwrap();
        let payload = String::from_utf8(found[0].outcome.event.payload.to_vec()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(payload.contains(&job.to_string()), "{payload}");
    };
    found(new).await;
    assert_eq!(bed.store.delete(&scope, new).await.unwrap(), Deleted::Gone);
    found(old).await;
}

pub async fn an_answer_expires_with_its_job(bed: Bed) {
    let scope = scope();
    let job = ended_with(&bed, &scope, vec![kept(0, 20, [1; 32])]).await;
    let expiry = bed.view(&scope, job).await.expires_at.unwrap();
    bed.store.sweep(Time(expiry.0 + 1), 100).await.unwrap();
    assert!(
        bed.store
            .answers(&scope, &[[1; 32]])
            .await
            .unwrap()
            .is_empty()
    );
}
