//! Creating jobs.

use std::sync::Arc;

use rivulet::domain::event::{Envelope, Event, Kind};
use rivulet::domain::id::Scope;
use rivulet::engine::ports::{Created, NewJob};

use super::bed::{Bed, begin, caller, cancelled, jobs, result, scope, settled, whole_list};

fn limited(job: NewJob, active_limit: u32) -> NewJob {
    NewJob {
        active_limit,
        ..job
    }
}

pub async fn a_new_job_has_its_start_event_and_its_plan(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let new = bed.job(&scope, &document, 3);
    let job = bed.store_job(new.clone()).await;

    assert_eq!(bed.view(&scope, job).await, new.view);
    let page = bed.page(&scope, job, 0, 100).await;
    assert_eq!(
        (page.events.len(), page.last_sequence, page.terminal),
        (1, 1, false)
    );
    assert_eq!(
        (page.events[0].sequence, page.events[0].kind),
        (1, Kind::Start)
    );
    let payload = str::from_utf8(&page.events[0].payload).unwrap();
    assert_eq!(payload, new.start.encode(usize::MAX).unwrap().payload);
    let Event::Start(start) = Envelope::decode(payload).unwrap().event else {
        panic!("{payload}")
    };
    assert_eq!(start.total_subtrees, 3);
    let plan = bed.store.plan(&new.view.spec.plan).await.unwrap();
    assert_eq!(plan.as_ref(), Some(&*new.plan));
    assert_eq!(bed.store.plan("another").await.unwrap(), None);
}

pub async fn a_scope_has_no_more_active_jobs_than_its_limit(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let of_alice = bed.document(&alice, "a.pdf").await;
    let of_bob = bed.document(&bob, "b.pdf").await;
    for expected in [Created::Stored, Created::Stored, Created::TooManyActive] {
        let job = limited(bed.job(&alice, &of_alice, 1), 2);
        assert_eq!(bed.store.create(job).await.unwrap(), expected);
    }
    let job = limited(bed.job(&bob, &of_bob, 1), 2);
    assert_eq!(bed.store.create(job).await.unwrap(), Created::Stored);
    let job = limited(bed.job(&alice, &of_alice, 1), 3);
    assert_eq!(bed.store.create(job).await.unwrap(), Created::Stored);
}

pub async fn a_refused_job_leaves_nothing_behind(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let refused = limited(bed.job(&scope, &document, 7), 0);
    let (id, plan) = (refused.view.id, refused.view.spec.plan.clone());
    let created = bed.store.create(refused).await.unwrap();
    assert_eq!(created, Created::TooManyActive);
    assert!(bed.store.view(&scope, id).await.unwrap().is_none());
    assert!(bed.store.plan(&plan).await.unwrap().is_none());
    assert!(bed.claim("worker", 10).await.is_empty());
    let job = limited(bed.job(&scope, &document, 1), 1);
    assert_eq!(bed.store.create(job).await.unwrap(), Created::Stored);
}

pub async fn the_end_of_a_job_gives_its_slot_back(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let one = |_: u32| limited(bed.job(&scope, &document, 1), 1);

    let worked = bed.store_job(one(1)).await;
    let created = bed.store.create(one(2)).await.unwrap();
    assert_eq!(created, Created::TooManyActive);
    let epoch = bed.claim("worker", 1).await[0].epoch;
    let lease = rivulet::engine::ports::Guard::Lease { epoch };
    bed.commit(worked, &lease, vec![begin(), result(0), settled()])
        .await;

    let ended_by_its_caller = bed.store_job(one(3)).await;
    let created = bed.store.create(one(4)).await.unwrap();
    assert_eq!(created, Created::TooManyActive);
    bed.commit(ended_by_its_caller, &caller(&scope), vec![cancelled()])
        .await;
    bed.try_commit(ended_by_its_caller, &caller(&scope), vec![cancelled()])
        .await;
    bed.commit(ended_by_its_caller, &caller(&scope), vec![])
        .await;

    bed.store_job(one(5)).await;
    let created = bed.store.create(one(6)).await.unwrap();
    assert_eq!(
        created,
        Created::TooManyActive,
        "a slot was given back twice"
    );
}

pub async fn a_hundred_parallel_creates_never_pass_the_limit(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let creates: Vec<_> = (0..100)
        .map(|_| {
            let job = limited(bed.job(&scope, &document, 1), 5);
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move { store.create(job).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for create in creates {
        stored += u32::from(create.await.unwrap() == Created::Stored);
    }
    assert_eq!(stored, 5);
    let page = bed.store.list(&scope, jobs(whole_list())).await.unwrap();
    assert_eq!((page.total_count, page.items.len()), (5, 5));
}

pub async fn a_job_needs_a_document_of_its_own_scope(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let of_bob = bed.document(&bob, "b.pdf").await;
    let created = bed.store.create(bed.job(&alice, &of_bob, 1)).await.unwrap();
    assert_eq!(created, Created::DocumentGone);
    let page = jobs(whole_list());
    assert_eq!(bed.store.list(&alice, page).await.unwrap().total_count, 0);
}

pub async fn a_job_that_cannot_be_stored_does_not_fail_its_neighbours(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let taken = bed.job(&scope, &document, 1);
    bed.store_job(taken.clone()).await;
    let creates: Vec<_> = (0..64)
        .map(|number| {
            let has_taken_id = number % 2 == 0;
            let job = if has_taken_id {
                taken.clone()
            } else {
                bed.job(&scope, &document, 1)
            };
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move { (has_taken_id, store.create(job).await) })
        })
        .collect();
    for create in creates {
        let (has_taken_id, created) = create.await.unwrap();
        assert_eq!(created.is_err(), has_taken_id, "{created:?}");
    }
    let page = bed.store.list(&scope, jobs(whole_list())).await.unwrap();
    assert_eq!(page.total_count, 33);
    let job = limited(bed.job(&scope, &document, 1), 34);
    assert_eq!(bed.store.create(job).await.unwrap(), Created::Stored);
    let job = limited(bed.job(&scope, &document, 1), 34);
    assert_eq!(bed.store.create(job).await.unwrap(), Created::TooManyActive);
}

pub async fn all_scopes_together_have_no_more_active_jobs_than_the_limit(bed: Bed) {
    let queued = |job: NewJob| NewJob {
        queue_limit: 2,
        ..job
    };
    for (name, expected) in [
        ("alice", Created::Stored),
        ("bob", Created::Stored),
        ("carol", Created::QueueFull),
    ] {
        let scope = Scope::new(name);
        let document = bed.document(&scope, "a.pdf").await;
        let job = queued(bed.job(&scope, &document, 1));
        assert_eq!(bed.store.create(job).await.unwrap(), expected, "{name}");
    }
    let claimed = bed.claim("worker", 10).await;
    assert_eq!(claimed.len(), 2);
    let ended = claimed[0].view.id;
    bed.commit(ended, &caller(&claimed[0].scope), vec![cancelled()])
        .await;
    let carol = Scope::new("carol");
    let document = bed.document(&carol, "b.pdf").await;
    let job = queued(bed.job(&carol, &document, 1));
    assert_eq!(bed.store.create(job).await.unwrap(), Created::Stored);
}
