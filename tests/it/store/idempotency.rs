//! Keys of clients: which job one stands for, and for how long.

use std::sync::Arc;

use rivulet::domain::id::{IdempotencyKey, JobId, Scope};
use rivulet::engine::ports::{Created, Deleted, NewJob, StoredDocument};

use super::bed::{Bed, caller, cancelled, jobs, scope, whole_list};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn named(bed: &Bed, scope: &Scope, document: &StoredDocument, name: &str, hash: &str) -> NewJob {
    let mut new = bed.job(scope, document, 1);
    Arc::make_mut(&mut new.view.spec).request_hash = Some(hash.into());
    new.key = Some(key(name));
    new
}

async fn found(bed: &Bed, scope: &Scope, name: &str) -> Option<(JobId, String)> {
    let keyed = bed.store.by_key(scope, &key(name)).await.unwrap();
    keyed.map(|keyed| (keyed.view.id, keyed.request_hash))
}

async fn count(bed: &Bed, scope: &Scope) -> u64 {
    let page = bed.store.list(scope, jobs(whole_list())).await.unwrap();
    page.total_count
}

pub async fn a_key_leads_to_the_job_it_was_stored_with(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "a.pdf").await;
    let new = named(&bed, &scope, &document, "k", "hash");
    let job = bed.store_job(new.clone()).await;
    let keyed = bed.store.by_key(&scope, &key("k")).await.unwrap().unwrap();
    assert_eq!((keyed.view, &*keyed.request_hash), (new.view, "hash"));
    assert_eq!(
        bed.view(&scope, job).await.spec.request_hash,
        Some("hash".into())
    );
    assert_eq!(found(&bed, &scope, "K").await, None);
}

pub async fn a_taken_key_stores_nothing_whatever_else_has_changed(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "a.pdf").await;
    let first = bed
        .store_job(named(&bed, &scope, &document, "k", "1"))
        .await;
    let again = named(&bed, &scope, &document, "k", "2");
    let full = NewJob {
        active_limit: 1,
        ..again.clone()
    };
    let mut gone = again.clone();
    Arc::make_mut(&mut gone.view.spec).document_id = rivulet::domain::id::DocumentId(bed.id());
    for new in [again, full, gone] {
        assert_eq!(bed.store.create(new).await.unwrap(), Created::KeyTaken);
    }
    assert_eq!(found(&bed, &scope, "k").await, Some((first, "1".into())));
    assert_eq!(count(&bed, &scope).await, 1);
    let counted = NewJob {
        active_limit: 2,
        ..bed.job(&scope, &document, 1)
    };
    assert_eq!(
        bed.store.create(counted).await.unwrap(),
        Created::Stored,
        "a slot was taken"
    );
}

pub async fn a_refused_job_leaves_its_key_free(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "a.pdf").await;
    let mut refused = named(&bed, &scope, &document, "k", "1");
    refused.active_limit = 0;
    assert_eq!(
        bed.store.create(refused).await.unwrap(),
        Created::TooManyActive
    );
    assert_eq!(found(&bed, &scope, "k").await, None);
    let job = bed
        .store_job(named(&bed, &scope, &document, "k", "2"))
        .await;
    assert_eq!(found(&bed, &scope, "k").await, Some((job, "2".into())));
}

pub async fn the_same_key_of_two_scopes_stands_for_two_jobs(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let mut expected = Vec::new();
    for scope in [&alice, &bob] {
        let document = bed.document(scope, "a.pdf").await;
        let job = bed
            .store_job(named(&bed, scope, &document, "k", "hash"))
            .await;
        expected.push(Some((job, "hash".to_owned())));
    }
    let stored = [found(&bed, &alice, "k").await, found(&bed, &bob, "k").await];
    assert_eq!(stored.as_slice(), expected);
    assert_eq!(found(&bed, &Scope::new("carol"), "k").await, None);
}

pub async fn a_hundred_parallel_creates_with_one_key_store_one_job(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "a.pdf").await;
    let creates: Vec<_> = (0..100)
        .map(|_| {
            let new = named(&bed, &scope, &document, "k", "hash");
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move { (new.view.id, store.create(new).await.unwrap()) })
        })
        .collect();
    let mut stored = Vec::new();
    for create in creates {
        match create.await.unwrap() {
            (job, Created::Stored) => stored.push(job),
            (_, other) => assert_eq!(other, Created::KeyTaken),
        }
    }
    assert_eq!(stored.len(), 1);
    assert_eq!(
        found(&bed, &scope, "k").await,
        Some((stored[0], "hash".into()))
    );
    assert_eq!(count(&bed, &scope).await, 1);
}

pub async fn a_key_lives_as_long_as_its_job(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "a.pdf").await;
    let job = bed
        .store_job(named(&bed, &scope, &document, "k", "1"))
        .await;
    bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    let bed = bed.restart();
    assert_eq!(found(&bed, &scope, "k").await, Some((job, "1".into())));
    assert_eq!(bed.store.delete(&scope, job).await.unwrap(), Deleted::Gone);
    assert_eq!(found(&bed, &scope, "k").await, None);
    let next = bed
        .store_job(named(&bed, &scope, &document, "k", "2"))
        .await;
    assert_eq!(found(&bed, &scope, "k").await, Some((next, "2".into())));
}
