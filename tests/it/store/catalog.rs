//! Documents, schemas and whose they are.

use std::sync::Arc;

use rivulet::domain::document::Kind;
use rivulet::domain::id::Scope;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Committed, Deleted, StoredDocument, StoredSchema};
use serde_json::json;

use super::bed::{Bed, START, caller, cancelled, jobs, scope, whole_list};

pub async fn documents_are_kept_as_they_were(bed: Bed) {
    let scope = scope();
    let first = bed.document(&scope, "Rechnung „Müller“.pdf").await;
    for (kind, size) in [(Kind::Markdown, 0), (Kind::Text, u64::from(u32::MAX) * 4)] {
        let document = StoredDocument {
            id: rivulet::domain::id::DocumentId(bed.id()),
            kind,
            size,
            ..first.clone()
        };
        bed.store
            .insert_document(&scope, document.clone())
            .await
            .unwrap();
        let found = bed.store.document(&scope, document.id).await.unwrap();
        assert_eq!(found, Some(document));
    }
    assert_eq!(
        bed.store.document(&scope, first.id).await.unwrap(),
        Some(first.clone())
    );
    let listed = bed.store.documents(&scope, whole_list()).await.unwrap();
    assert_eq!(listed.items.len(), 3);
    assert_eq!(listed.items[2], first);
    let again = bed.store.insert_document(&scope, first).await;
    assert!(again.is_err(), "an id is given once");
}

pub async fn schemas_are_kept_as_they_were(bed: Bed) {
    let scope = scope();
    let schema = StoredSchema {
        description: None,
        definition: json!({"z": 1, "a": {"b": [1.5, null, "ü\u{2028}"]}, "m": true}),
        ..bed.schema(&scope, "First").await
    };
    let schema = StoredSchema {
        id: rivulet::domain::id::SchemaId(bed.id()),
        ..schema
    };
    bed.store
        .insert_schema(&scope, schema.clone())
        .await
        .unwrap();
    let found = bed.store.schema(&scope, schema.id).await.unwrap().unwrap();
    assert_eq!(found, schema);
    let keys: Vec<_> = found.definition.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["z", "a", "m"],
        "the order of the properties is the user's"
    );
    assert_eq!(
        bed.store.delete_schema(&scope, schema.id).await.unwrap(),
        Deleted::Gone
    );
    assert_eq!(
        bed.store.delete_schema(&scope, schema.id).await.unwrap(),
        Deleted::Missing
    );
    assert_eq!(bed.store.schema(&scope, schema.id).await.unwrap(), None);
    assert_eq!(
        bed.store
            .schemas(&scope, whole_list())
            .await
            .unwrap()
            .total_count,
        1
    );
}

pub async fn a_schema_is_found_by_its_own_address(bed: Bed) {
    let scope = scope();
    let plain = bed.schema(&scope, "Without").await;
    let at = |definition: serde_json::Value, updated: u64| StoredSchema {
        id: rivulet::domain::id::SchemaId(bed.id()),
        updated_at: Time(START.0 + updated as i64),
        definition,
        ..plain.clone()
    };
    let long = format!("https://example.com/{}", "x".repeat(5_000));
    let first = at(
        json!({"$id": "https://example.com/a.json#", "title": "First"}),
        1,
    );
    let second = at(
        json!({"$id": "https://example.com/a.json", "title": "Second"}),
        2,
    );
    let old = at(json!({"id": "https://example.com/old.json"}), 1);
    let far = at(json!({"$id": long.clone()}), 1);
    for schema in [&second, &first, &old, &far] {
        bed.store
            .insert_schema(&scope, schema.clone())
            .await
            .unwrap();
    }
    let found = async |address: &str| bed.store.schema_at(&scope, address).await.unwrap();
    assert_eq!(
        found("https://example.com/a.json").await.as_ref(),
        Some(&second)
    );
    assert_eq!(
        found("https://example.com/old.json").await.as_ref(),
        Some(&old)
    );
    assert_eq!(found(&long).await.as_ref(), Some(&far));
    assert_eq!(found(&format!("{long}y")).await, None);
    assert_eq!(found("https://example.com/").await, None);
    let other = Scope::new("somebody else");
    let theirs = bed.store.schema_at(&other, "https://example.com/a.json");
    assert_eq!(theirs.await.unwrap(), None);
    let moved = StoredSchema {
        definition: json!({"$id": "https://example.com/b.json"}),
        ..second.clone()
    };
    assert!(
        bed.store
            .update_schema(&scope, moved.clone())
            .await
            .unwrap()
    );
    assert_eq!(
        found("https://example.com/a.json").await.as_ref(),
        Some(&first)
    );
    assert_eq!(found("https://example.com/b.json").await, Some(moved));
    bed.store.delete_schema(&scope, first.id).await.unwrap();
    assert_eq!(found("https://example.com/a.json").await, None);
}

pub async fn an_updated_schema_keeps_its_creation_time(bed: Bed) {
    let scope = scope();
    let schema = bed.schema(&scope, "Invoice").await;
    let other = bed.schema(&scope, "Other").await;
    let update = StoredSchema {
        name: "Rechnung".into(),
        description: None,
        definition: json!({"type": "array"}),
        metadata: json!(null),
        created_at: Time(0),
        updated_at: START.plus_millis(5),
        ..schema.clone()
    };
    assert!(
        bed.store
            .update_schema(&scope, update.clone())
            .await
            .unwrap()
    );
    let found = bed.store.schema(&scope, schema.id).await.unwrap().unwrap();
    assert_eq!(
        found,
        StoredSchema {
            created_at: START,
            ..update.clone()
        }
    );
    assert_eq!(
        bed.store.schema(&scope, other.id).await.unwrap(),
        Some(other)
    );
    let unknown = StoredSchema {
        id: rivulet::domain::id::SchemaId(bed.id()),
        ..update
    };
    assert!(!bed.store.update_schema(&scope, unknown).await.unwrap());
}

pub async fn a_document_is_kept_while_a_job_needs_it(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "invoice.pdf").await;
    let job = bed.store_job(bed.job(&scope, &document, 1)).await;
    let delete = || bed.store.delete_document(&scope, document.id);
    assert_eq!(delete().await.unwrap(), Deleted::InUse);
    assert!(
        bed.store
            .document(&scope, document.id)
            .await
            .unwrap()
            .is_some()
    );
    let ended = bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    assert_eq!(delete().await.unwrap(), Deleted::Gone);
    assert_eq!(delete().await.unwrap(), Deleted::Missing);
    assert!(
        bed.store
            .document(&scope, document.id)
            .await
            .unwrap()
            .is_none()
    );
    // The ended job is shown as before.
    assert_eq!(bed.view(&scope, job).await, ended);
    assert_eq!(bed.log(&scope, job).await.len(), 2);
    assert_eq!(bed.store.delete(&scope, job).await.unwrap(), Deleted::Gone);
}

pub async fn bytes_are_needed_while_a_document_or_an_active_job_has_them(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let document = bed.document(&alice, "invoice.pdf").await;
    let copy = StoredDocument {
        id: rivulet::domain::id::DocumentId(bed.id()),
        ..document.clone()
    };
    bed.store.insert_document(&bob, copy.clone()).await.unwrap();
    let is_needed = || bed.store.is_blob_needed(&document.sha256);
    assert!(!bed.store.is_blob_needed("0000").await.unwrap());
    bed.store
        .delete_document(&alice, document.id)
        .await
        .unwrap();
    assert!(
        is_needed().await.unwrap(),
        "another scope has the same bytes"
    );
    bed.store.delete_document(&bob, copy.id).await.unwrap();
    assert!(!is_needed().await.unwrap());

    let other = bed.document(&alice, "other.pdf").await;
    let mut job = bed.job(&alice, &other, 1);
    Arc::make_mut(&mut job.view.spec)
        .document_sha256
        .clone_from(&document.sha256);
    let job = bed.store_job(job).await;
    assert!(is_needed().await.unwrap(), "an active job has the bytes");
    bed.commit(job, &caller(&alice), vec![cancelled()]).await;
    assert!(!is_needed().await.unwrap());
}

pub async fn another_scope_sees_nothing_and_changes_nothing(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let document = bed.document(&alice, "invoice.pdf").await;
    let schema = bed.schema(&alice, "Invoice").await;
    let active = bed.store_job(bed.job(&alice, &document, 1)).await;
    let ended = bed.store_job(bed.job(&alice, &document, 1)).await;
    bed.commit(ended, &caller(&alice), vec![cancelled()]).await;
    let before = (
        bed.view(&alice, active).await,
        bed.view(&alice, ended).await,
    );

    let store = &bed.store;
    assert!(store.document(&bob, document.id).await.unwrap().is_none());
    assert!(store.schema(&bob, schema.id).await.unwrap().is_none());
    assert_eq!(
        store
            .documents(&bob, whole_list())
            .await
            .unwrap()
            .total_count,
        0
    );
    assert_eq!(
        store.schemas(&bob, whole_list()).await.unwrap().total_count,
        0
    );
    assert_eq!(
        store
            .list(&bob, jobs(whole_list()))
            .await
            .unwrap()
            .total_count,
        0
    );
    assert_eq!(
        store.delete_document(&bob, document.id).await.unwrap(),
        Deleted::Missing
    );
    assert_eq!(
        store.delete_schema(&bob, schema.id).await.unwrap(),
        Deleted::Missing
    );
    let update = StoredSchema {
        name: "Mine".into(),
        ..schema.clone()
    };
    assert!(!store.update_schema(&bob, update).await.unwrap());
    for job in [active, ended] {
        assert!(store.view(&bob, job).await.unwrap().is_none());
        assert!(store.snapshot(&bob, job).await.unwrap().is_none());
        assert!(
            store
                .events(&bob, job, 0, 10, 1_000)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(store.delete(&bob, job).await.unwrap(), Deleted::Missing);
        let committed = bed.try_commit(job, &caller(&bob), vec![cancelled()]).await;
        assert!(matches!(committed, Committed::Missing), "{committed:?}");
    }

    let after = (
        bed.view(&alice, active).await,
        bed.view(&alice, ended).await,
    );
    assert_eq!(after, before);
    assert_eq!(
        store.document(&alice, document.id).await.unwrap(),
        Some(document)
    );
    assert_eq!(store.schema(&alice, schema.id).await.unwrap(), Some(schema));
}
