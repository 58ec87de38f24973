//! Keys, and the secret of the installation.

use rivulet::domain::id::Scope;
use rivulet::domain::time::Time;
use rivulet::engine::ports::StoredKey;

use super::bed::{Bed, START};

fn key(number: u8) -> StoredKey {
    StoredKey {
        id: format!("{number:012x}"),
        hash: [number; 32],
        user: Scope::new("ada"),
        name: "laptop, blue".into(),
        created_at: START,
        revoked_at: None,
        max_active_jobs: None,
    }
}

pub async fn a_key_is_kept_as_it_was_and_its_id_is_nobody_elses(bed: Bed) {
    let store = &bed.store;
    assert!(store.insert_key(key(1)).await.unwrap());
    assert_eq!(store.key(&key(1).id).await.unwrap(), Some(key(1)));
    assert_eq!(store.key("00").await.unwrap(), None);
    let other = StoredKey {
        user: Scope::new("eve"),
        ..key(1)
    };
    assert!(!store.insert_key(other).await.unwrap());
    assert_eq!(store.keys().await.unwrap(), [key(1)]);
}

pub async fn a_revoked_key_stays_and_keeps_the_moment(bed: Bed) {
    let store = &bed.store;
    store.insert_key(key(1)).await.unwrap();
    store.insert_key(key(2)).await.unwrap();
    let revoked = StoredKey {
        revoked_at: Some(START.plus_millis(5)),
        ..key(1)
    };
    for later in [5, 9] {
        let at = START.plus_millis(later);
        let answer = store.revoke_key(&key(1).id, at).await.unwrap();
        assert_eq!(answer, Some(revoked.clone()));
    }
    assert_eq!(store.revoke_key("00", START).await.unwrap(), None);
    assert_eq!(store.keys().await.unwrap(), [revoked, key(2)]);
}

pub async fn the_limit_of_a_key_is_kept_changed_and_taken_back(bed: Bed) {
    let store = &bed.store;
    let limited = |max_active_jobs| StoredKey {
        max_active_jobs,
        ..key(1)
    };
    store.insert_key(limited(Some(3))).await.unwrap();
    store.insert_key(key(2)).await.unwrap();
    assert_eq!(store.key(&key(1).id).await.unwrap(), Some(limited(Some(3))));
    for limit in [Some(1), Some(u32::MAX), None, Some(20)] {
        let answer = store.limit_key(&key(1).id, limit).await.unwrap();
        assert_eq!(answer, Some(limited(limit)));
        assert_eq!(store.key(&key(1).id).await.unwrap(), Some(limited(limit)));
    }
    assert_eq!(store.limit_key("00", Some(1)).await.unwrap(), None);
    let bed = bed.restart();
    assert_eq!(
        bed.store.keys().await.unwrap(),
        [limited(Some(20)), key(2)],
        "only the one that was named"
    );
}

pub async fn keys_are_listed_the_oldest_first(bed: Bed) {
    let store = &bed.store;
    for (number, age) in [(1, 3), (2, 9), (3, 6)] {
        let created_at = Time(START.0 - age);
        let aged = StoredKey {
            created_at,
            ..key(number)
        };
        store.insert_key(aged).await.unwrap();
    }
    let hashes: Vec<_> = store
        .keys()
        .await
        .unwrap()
        .iter()
        .map(|k| k.hash[0])
        .collect();
    assert_eq!(hashes, [2, 3, 1]);
}

pub async fn there_are_keys_once_there_was_one(bed: Bed) {
    let store = &bed.store;
    assert!(!store.has_keys().await.unwrap());
    store.insert_key(key(1)).await.unwrap();
    assert!(store.has_keys().await.unwrap());
    store.revoke_key(&key(1).id, START).await.unwrap();
    assert!(store.has_keys().await.unwrap());
}

pub async fn everybody_who_asks_at_once_gets_the_same_secret(bed: Bed) {
    let asked = (1..=50).map(|number| bed.store.secret("tickets", [number; 32]));
    let secrets = futures_util::future::join_all(asked).await;
    let first = *secrets[0].as_ref().unwrap();
    assert!(
        secrets
            .iter()
            .all(|secret| *secret.as_ref().unwrap() == first)
    );
    let other = bed.store.secret("another", [77; 32]).await.unwrap();
    assert_eq!(other, [77; 32]);
}

pub async fn keys_and_the_secret_outlive_a_restart(bed: Bed) {
    bed.store.insert_key(key(1)).await.unwrap();
    bed.store.secret("tickets", [1; 32]).await.unwrap();
    let bed = bed.restart();
    assert_eq!(bed.store.keys().await.unwrap(), [key(1)]);
    assert_eq!(bed.store.secret("tickets", [2; 32]).await.unwrap(), [1; 32]);
}
