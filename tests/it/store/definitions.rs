//! Templates and filters: kept by name, each kind and each scope by itself.

use rivulet::domain::id::Scope;
use rivulet::domain::page::ListQuery;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Defined, DefinitionKind, Deleted, StoredDefinition};
use serde_json::json;

use super::bed::{Bed, START, scope, whole_list};

use DefinitionKind::{Filter, Template};

fn definition(bed: &Bed, kind: DefinitionKind, name: &str) -> StoredDefinition {
    StoredDefinition {
        kind,
        id: bed.id(),
        name: name.into(),
        body: json!({"z": [1.5, null, "ü\u{2028}"], "a": {}}),
        created_at: START,
        updated_at: START,
    }
}

async fn insert(bed: &Bed, scope: &Scope, one: &StoredDefinition) -> Defined {
    let inserted = bed.store.insert_definition(scope, one.clone(), 3);
    inserted.await.unwrap()
}

pub async fn a_definition_is_kept_as_it_was_until_it_is_replaced_and_deleted(bed: Bed) {
    let scope = scope();
    let first = definition(&bed, Template, "Rechnung „Müller“");
    assert_eq!(insert(&bed, &scope, &first).await, Defined::Stored);
    let by_id = bed.store.definition(&scope, Template, first.id);
    assert_eq!(by_id.await.unwrap().as_ref(), Some(&first));
    let named = |name: &'static str| bed.store.definition_named(&scope, Template, name);
    let found = named("Rechnung „Müller“").await.unwrap().unwrap();
    assert_eq!(found, first);
    assert_eq!(
        found.body.to_string(),
        first.body.to_string(),
        "in its order"
    );
    let second = StoredDefinition {
        name: "Invoice".into(),
        body: json!(7),
        created_at: Time(0),
        updated_at: START.plus_millis(5),
        ..first.clone()
    };
    let replaced = bed.store.replace_definition(&scope, second.clone());
    assert_eq!(replaced.await.unwrap(), Defined::Stored);
    let expected = StoredDefinition {
        created_at: START,
        ..second
    };
    assert_eq!(named("Invoice").await.unwrap(), Some(expected));
    assert_eq!(named("Rechnung „Müller“").await.unwrap(), None);
    let delete = || bed.store.delete_definition(&scope, Template, first.id);
    assert_eq!(delete().await.unwrap(), Deleted::Gone);
    assert_eq!(delete().await.unwrap(), Deleted::Missing);
    assert_eq!(named("Invoice").await.unwrap(), None);
    let late = bed.store.replace_definition(&scope, first);
    assert_eq!(late.await.unwrap(), Defined::Missing);
}

pub async fn a_name_is_given_once_within_its_kind_and_scope(bed: Bed) {
    let (alice, bob) = (scope(), Scope::new("bob"));
    let first = definition(&bed, Template, "Invoice");
    assert_eq!(insert(&bed, &alice, &first).await, Defined::Stored);
    let again = definition(&bed, Template, "Invoice");
    assert_eq!(insert(&bed, &alice, &again).await, Defined::NameTaken);
    for (scope, one) in [
        (&alice, definition(&bed, Filter, "Invoice")),
        (&bob, definition(&bed, Template, "Invoice")),
        (&alice, definition(&bed, Template, "invoice")),
    ] {
        assert_eq!(insert(&bed, scope, &one).await, Defined::Stored);
    }
    let mut other = definition(&bed, Template, "Other");
    assert_eq!(insert(&bed, &alice, &other).await, Defined::Stored);
    other.name = "Invoice".into();
    let renamed = bed.store.replace_definition(&alice, other.clone());
    assert_eq!(renamed.await.unwrap(), Defined::NameTaken);
    let kept = bed.store.definition(&alice, Template, other.id);
    assert_eq!(kept.await.unwrap().unwrap().name, "Other");
    // Nothing of it is there for another scope, or as another kind.
    for (scope, kind) in [(&bob, Template), (&alice, Filter)] {
        let found = bed.store.definition(scope, kind, first.id);
        assert_eq!(found.await.unwrap(), None);
        let deleted = bed.store.delete_definition(scope, kind, first.id);
        assert_eq!(deleted.await.unwrap(), Deleted::Missing);
    }
    let stolen = StoredDefinition {
        name: "Mine".into(),
        ..first.clone()
    };
    let stolen = bed.store.replace_definition(&bob, stolen);
    assert_eq!(stolen.await.unwrap(), Defined::Missing);
    let kept = bed.store.definition(&alice, Template, first.id);
    assert_eq!(kept.await.unwrap(), Some(first));
}

pub async fn a_scope_has_no_more_of_a_kind_than_its_limit(bed: Bed) {
    let scope = scope();
    for name in ["a", "b", "c"] {
        let one = definition(&bed, Filter, name);
        assert_eq!(insert(&bed, &scope, &one).await, Defined::Stored);
    }
    let fourth = definition(&bed, Filter, "d");
    assert_eq!(insert(&bed, &scope, &fourth).await, Defined::TooMany);
    let other = definition(&bed, Template, "d");
    assert_eq!(insert(&bed, &scope, &other).await, Defined::Stored);
    let theirs = insert(&bed, &Scope::new("bob"), &fourth).await;
    assert_eq!(theirs, Defined::Stored);
}

pub async fn definitions_page_and_are_searched_by_name(bed: Bed) {
    let scope = scope();
    for name in ["Invoice 1", "Receipt", "invoice 2"] {
        insert(&bed, &scope, &definition(&bed, Template, name)).await;
    }
    insert(&bed, &scope, &definition(&bed, Filter, "invoice")).await;
    let names = async |query: ListQuery| {
        let page = bed.store.definitions(&scope, Template, query).await;
        let page = page.unwrap();
        let names = page.items.into_iter().map(|one| one.name);
        (
            names.collect::<Vec<_>>(),
            page.total_count,
            page.next_cursor,
        )
    };
    let (all, count, _) = names(whole_list()).await;
    assert_eq!((all.len(), count), (3, 3));
    assert_eq!(all[0], "invoice 2", "the newest first");
    let searched = ListQuery {
        limit: 1,
        cursor: None,
        search: Some("INVOICE".into()),
    };
    let (first, count, next) = names(searched.clone()).await;
    assert_eq!((first, count), (vec!["invoice 2".to_owned()], 2));
    let (second, _, end) = names(ListQuery {
        cursor: next,
        ..searched
    })
    .await;
    assert_eq!((second, end), (vec!["Invoice 1".to_owned()], None));
}
