//! Jobs whose results are held back.

use rivulet::domain::event::Kind;
use rivulet::domain::job::{Draft, Refusal, ReviewDraft};
use rivulet::domain::pointer::Pointer;
use rivulet::domain::review::{Correction, Decision};
use rivulet::domain::status::Status;
use rivulet::engine::ports::{Committed, Created, Guard};
use serde_json::{Value, json};

use super::bed::{Bed, MINUTE, START, caller, cancelled, result, scope, settled};

fn hold() -> Draft {
    Draft::Hold { flagged: 1 }
}

fn review(version: u32, decision: Option<Decision>, corrections: Vec<Correction>) -> Draft {
    Draft::Review(ReviewDraft {
        version,
        corrections,
        validation: None,
        comment: None,
        decision,
    })
}

pub async fn a_held_job_is_nobodys_and_takes_no_slot(bed: Bed) {
    let (job, lease) = bed.gated(&scope()).await;
    let view = bed.commit(job, &lease, vec![hold()]).await;
    assert_eq!(view.status, Status::ReviewRequired);
    let document = bed.document(&scope(), "other.pdf").await;
    let mut next = bed.job(&scope(), &document, 1);
    next.active_limit = 1;
    next.queue_limit = 1;
    let next_id = next.view.id;
    assert_eq!(bed.store.create(next).await.unwrap(), Created::Stored);
    bed.clock.set(START.plus_millis(1_000 * MINUTE));
    let bed = bed.restart();
    let claimed = bed.claim("another", 1_000).await;
    let ids: Vec<_> = claimed.iter().map(|claim| claim.view.id).collect();
    assert_eq!(ids, [next_id]);
    // Nor is anything written by the one who had it.
    let late = bed.try_commit(job, &lease, vec![settled()]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    // A correction leaves it where it is.
    let corrected = vec![review(1, None, Vec::new())];
    bed.commit(job, &caller(&scope()), corrected).await;
    let bed = bed.restart();
    assert!(
        bed.claim("another", 1_000)
            .await
            .iter()
            .all(|claim| claim.view.id != job)
    );
}

pub async fn a_held_job_ends_once_and_gives_no_slot_back_twice(bed: Bed) {
    let (held, lease) = bed.gated(&scope()).await;
    bed.commit(held, &lease, vec![hold()]).await;
    let (stopped, lease) = bed.gated(&scope()).await;
    bed.commit(stopped, &lease, vec![hold()]).await;
    let caller = caller(&scope());
    let approve = || review(1, Some(Decision::Approve), Vec::new());
    let view = bed.commit(held, &caller, vec![approve()]).await;
    assert_eq!(view.status, Status::Completed);
    assert!(!view.is_withheld());
    let again = bed.try_commit(held, &caller, vec![approve()]).await;
    let refused = matches!(
        again,
        Committed::Refused {
            refusal: Refusal::Ended,
            ..
        }
    );
    assert!(refused, "{again:?}");
    let view = bed.commit(stopped, &caller, vec![cancelled()]).await;
    assert!(view.is_withheld());
    // With a limit of two: the third is one too many, whatever was given back.
    let document = bed.document(&scope(), "other.pdf").await;
    for expected in [Created::Stored, Created::Stored, Created::TooManyActive] {
        let mut next = bed.job(&scope(), &document, 1);
        next.active_limit = 2;
        assert_eq!(bed.store.create(next).await.unwrap(), expected);
    }
}

pub async fn a_decision_on_another_version_changes_nothing(bed: Bed) {
    let (job, lease) = bed.gated(&scope()).await;
    bed.commit(job, &lease, vec![hold()]).await;
    let caller = caller(&scope());
    let correction = Correction {
        path: Pointer::parse("/part0/text").unwrap(),
        value: json!("read anew"),
    };
    let draft = review(1, None, vec![correction.clone()]);
    let view = bed.commit(job, &caller, vec![draft]).await;
    assert_eq!(view.status, Status::ReviewRequired);
    let stale = review(1, Some(Decision::Approve), Vec::new());
    let refused = bed.try_commit(job, &caller, vec![stale]).await;
    let is_stale = matches!(
        refused,
        Committed::Refused {
            refusal: Refusal::Stale { version: 2 },
            ..
        }
    );
    assert!(is_stale, "{refused:?}");
    let view = bed.view(&scope(), job).await;
    let review = view.review.as_deref().unwrap();
    assert_eq!((review.version, review.decision), (2, None));
    assert_eq!(review.corrections, [correction]);
}

pub async fn the_log_of_a_gated_job_has_no_value_and_the_outcome_has(bed: Bed) {
    let (job, lease) = bed.gated(&scope()).await;
    bed.commit(job, &lease, vec![hold()]).await;
    let log = bed.log(&scope(), job).await;
    let told: Vec<Value> = log
        .iter()
        .map(|event| serde_json::from_slice(&event.payload).unwrap())
        .collect();
    assert_eq!(told[0]["results_withheld"], true);
    let outcome = told.iter().find(|event| event["type"] == "subtree_result");
    let outcome = outcome.unwrap();
    assert_eq!(outcome["withheld"], true);
    assert_eq!(outcome["extracted_result"], Value::Null);
    assert!(
        log.iter()
            .all(|event| !event.payload.windows(4).any(|four| four == b"xxxx"))
    );
    let snapshot = bed.store.snapshot(&scope(), job).await.unwrap().unwrap();
    let aside = snapshot.outcomes[0].aside.as_ref().unwrap();
    assert!(aside.windows(4).any(|four| four == b"xxxx"));
    assert_eq!(log.last().unwrap().kind, Kind::JobStatus);
}

pub async fn nothing_is_held_before_all_is_extracted(bed: Bed) {
    let (job, lease) = bed.begun(&scope(), 2).await;
    bed.commit(job, &lease, vec![result(0)]).await;
    let early = bed.try_commit(job, &lease, vec![hold()]).await;
    let is_early = matches!(
        early,
        Committed::Refused {
            refusal: Refusal::Unsettled {
                settled: 1,
                total: 2
            },
            ..
        }
    );
    assert!(is_early, "{early:?}");
    let nobody = Guard::Caller { scope: scope() };
    let draft = review(1, Some(Decision::Approve), Vec::new());
    let refused = bed.try_commit(job, &nobody, vec![draft]).await;
    let is_refused = matches!(
        refused,
        Committed::Refused {
            refusal: Refusal::NotHeld,
            ..
        }
    );
    assert!(is_refused, "{refused:?}");
}
