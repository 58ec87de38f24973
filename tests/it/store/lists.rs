//! Lists: pages, searches, filters.

use std::future::Future;
use std::sync::Arc;

use rivulet::domain::filter::JobFilter;
use rivulet::domain::id::{SchemaId, Scope};
use rivulet::domain::job::JobSpec;
use rivulet::domain::metadata::Metadata;
use rivulet::domain::page::{ListCursor, ListPage, ListQuery};
use rivulet::domain::status::Status;
use rivulet::engine::ports::{Created, JobQuery};
use serde_json::json;
use uuid::Uuid;

use super::bed::{
    Bed, MINUTE, START, caller, cancelled, jobs, result, scope, search, settled, whole_list,
};

/// Walks a list of `count` items to its end and back, in pages of 10.
async fn walk<T, F: Future<Output = ListPage<T>>>(
    read: impl Fn(ListQuery) -> F,
    id: impl Fn(&T) -> Uuid,
    search: &str,
    newest_first: &[Uuid],
) {
    let query = |cursor| ListQuery {
        limit: 10,
        cursor,
        search: Some(search.to_owned()),
    };
    let ids = |page: &ListPage<T>| page.items.iter().map(&id).collect::<Vec<_>>();
    let mut page = read(query(None)).await;
    assert_eq!(
        page.prev_cursor, None,
        "nothing is newer than the first page"
    );
    let mut pages = vec![ids(&page)];
    while let Some(cursor) = page.next_cursor {
        assert_eq!(page.total_count, newest_first.len() as u64);
        page = read(query(Some(cursor))).await;
        pages.push(ids(&page));
    }
    assert_eq!(pages.concat(), newest_first);
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 5]);

    let mut back = vec![ids(&page)];
    while let Some(cursor) = page.prev_cursor {
        page = read(query(Some(cursor))).await;
        back.insert(0, ids(&page));
    }
    assert_eq!(back, pages);
}

fn name(number: u32) -> String {
    let kind = if number.is_multiple_of(2) {
        "Invoice"
    } else {
        "contract"
    };
    format!("{kind} {number}.pdf")
}

/// 50 numbers: 25 invoices, 25 contracts.
const NUMBERS: std::ops::Range<u32> = 0..50;

pub async fn jobs_page_both_ways_without_loss(bed: Bed) {
    let mut invoices = Vec::new();
    for number in NUMBERS {
        let document = bed.document(&scope(), &name(number)).await;
        let job = bed.store_job(bed.job(&scope(), &document, 1)).await;
        if number.is_multiple_of(2) {
            invoices.insert(0, job.0);
        }
    }
    let read = |query| async { bed.store.list(&scope(), jobs(query)).await.unwrap() };
    let named = |query: ListQuery| {
        // The schema's name is the same everywhere: the document's must decide.
        assert_eq!(query.search.as_deref(), Some("invoice "));
        read(query)
    };
    walk(named, |view| view.id.0, "invoice ", &invoices).await;
}

pub async fn documents_page_both_ways_without_loss(bed: Bed) {
    let mut invoices = Vec::new();
    for number in NUMBERS {
        let document = bed.document(&scope(), &name(number)).await;
        if number.is_multiple_of(2) {
            invoices.insert(0, document.id.0);
        }
    }
    let read = |query| async { bed.store.documents(&scope(), query).await.unwrap() };
    walk(read, |document| document.id.0, "INVOICE", &invoices).await;
}

pub async fn schemas_page_both_ways_without_loss(bed: Bed) {
    let mut invoices = Vec::new();
    for number in NUMBERS {
        let schema = bed.schema(&scope(), &name(number)).await;
        if number.is_multiple_of(2) {
            invoices.insert(0, schema.id.0);
        }
    }
    let read = |query| async { bed.store.schemas(&scope(), query).await.unwrap() };
    walk(read, |schema| schema.id.0, "invoice", &invoices).await;
}

pub async fn a_page_that_became_empty_leads_back(bed: Bed) {
    let scope = scope();
    let mut documents = Vec::new();
    for number in 0..3 {
        documents.push(bed.document(&scope, &name(number)).await.id);
    }
    let page = |query| bed.store.documents(&scope, query);
    let ids = |page: ListPage<_>| -> Vec<_> {
        page.items
            .iter()
            .map(|document: &rivulet::engine::ports::StoredDocument| document.id)
            .collect()
    };
    let at = |cursor| ListQuery {
        limit: 2,
        cursor,
        search: None,
    };
    let first = page(at(None)).await.unwrap();
    bed.store
        .delete_document(&scope, documents[0])
        .await
        .unwrap();
    let empty = page(at(first.next_cursor)).await.unwrap();
    assert!(empty.items.is_empty() && empty.next_cursor.is_none());
    assert_eq!(empty.total_count, 2);
    let back = page(at(empty.prev_cursor)).await.unwrap();
    assert!(empty.prev_cursor.is_some());
    assert_eq!(ids(back), [documents[2], documents[1]]);

    // The same beyond the new end: the newest one goes while a client is on the page after it.
    let one = |cursor| ListQuery {
        limit: 1,
        cursor,
        search: None,
    };
    let first = page(one(None)).await.unwrap();
    let second = page(one(first.next_cursor)).await.unwrap();
    bed.store
        .delete_document(&scope, documents[2])
        .await
        .unwrap();
    let empty = page(one(second.prev_cursor)).await.unwrap();
    assert!(empty.items.is_empty() && empty.prev_cursor.is_none());
    let on = page(one(empty.next_cursor)).await.unwrap();
    assert!(empty.next_cursor.is_some());
    assert_eq!(ids(on), [documents[1]]);

    bed.store
        .delete_document(&scope, documents[1])
        .await
        .unwrap();
    let nothing = page(at(None)).await.unwrap();
    assert_eq!(
        (
            nothing.total_count,
            nothing.next_cursor,
            nothing.prev_cursor
        ),
        (0, None, None)
    );
}

pub async fn a_search_is_literal_and_without_case(bed: Bed) {
    let scope = scope();
    let names = [
        "100%.pdf",
        "a_b.pdf",
        r"back\slash.pdf",
        "Plain.PDF",
        "Größe.pdf",
    ];
    for name in names {
        let document = bed.document(&scope, name).await;
        bed.schema(&scope, name).await;
        bed.store_job(bed.job(&scope, &document, 1)).await;
    }
    for (text, expected) in [
        ("%", vec![names[0]]),
        ("_", vec![names[1]]),
        ("a_b", vec![names[1]]),
        ("aXb", vec![]),
        (r"\", vec![names[2]]),
        (r"\slash", vec![names[2]]),
        ("'", vec![]),
        ("pLAIN.p", vec![names[3]]),
        ("größe", vec![names[4]]),
        (
            ".pdf",
            vec![names[4], names[3], names[2], names[1], names[0]],
        ),
        ("", vec![names[4], names[3], names[2], names[1], names[0]]),
    ] {
        let documents = bed.store.documents(&scope, search(text)).await.unwrap();
        let found: Vec<_> = documents
            .items
            .iter()
            .map(|item| item.name.as_str())
            .collect();
        assert_eq!(found, expected, "documents with `{text}`");
        assert_eq!(documents.total_count, expected.len() as u64);
        let schemas = bed.store.schemas(&scope, search(text)).await.unwrap();
        let found: Vec<_> = schemas
            .items
            .iter()
            .map(|item| item.name.as_str())
            .collect();
        assert_eq!(found, expected, "schemas with `{text}`");
        let listed = bed.store.list(&scope, jobs(search(text))).await.unwrap();
        let found: Vec<_> = listed
            .items
            .iter()
            .map(|item| item.spec.document_name.as_str())
            .collect();
        assert_eq!(found, expected, "jobs with `{text}`");
    }
}

pub async fn a_job_is_found_by_its_schema_and_by_its_id(bed: Bed) {
    let scope = scope();
    let document = bed.document(&scope, "scan.pdf").await;
    let mut contract = bed.job(&scope, &document, 1);
    Arc::make_mut(&mut contract.view.spec).schema_name = Some("Contract".into());
    let contract = bed.store_job(contract).await;
    let mut unnamed = bed.job(&scope, &document, 1);
    Arc::make_mut(&mut unnamed.view.spec).schema_name = None;
    let unnamed = bed.store_job(unnamed).await;
    let id = unnamed.to_string();
    for (text, expected) in [
        ("contract", vec![contract]),
        ("scan", vec![unnamed, contract]),
        (&id, vec![unnamed]),
        (&id.to_uppercase(), vec![unnamed]),
        (&id.replace('-', ""), vec![unnamed]),
        (&id[24..], vec![unnamed]),
        ("00", vec![]),
    ] {
        let listed = bed.store.list(&scope, jobs(search(text))).await.unwrap();
        let found: Vec<_> = listed.items.iter().map(|view| view.id).collect();
        assert_eq!(found, expected, "{text}");
    }
}

pub async fn jobs_are_listed_by_status(bed: Bed) {
    let scope = scope();
    let (done, guard) = bed.begun(&scope, 1).await;
    bed.commit(done, &guard, vec![result(0), settled()]).await;
    let (processing, _) = bed.begun(&scope, 1).await;
    let cancelled_one = bed.stored(&scope, 1).await;
    bed.commit(cancelled_one, &caller(&scope), vec![cancelled()])
        .await;
    let pending = bed.stored(&scope, 1).await;
    for (status, expected) in [
        (Some(Status::Completed), vec![done]),
        (Some(Status::Processing), vec![processing]),
        (Some(Status::Cancelled), vec![cancelled_one]),
        (Some(Status::Pending), vec![pending]),
        (Some(Status::Failed), vec![]),
        (None, vec![pending, cancelled_one, processing, done]),
    ] {
        let query = filtered(JobFilter {
            statuses: status.into_iter().collect(),
            ..JobFilter::default()
        });
        let listed = bed.store.list(&scope, query).await.unwrap();
        let found: Vec<_> = listed.items.iter().map(|view| view.id).collect();
        assert_eq!(found, expected, "{status:?}");
        assert_eq!(listed.total_count, expected.len() as u64);
    }
    let others = bed
        .store
        .list(&Scope::new("bob"), jobs(whole_list()))
        .await
        .unwrap();
    assert_eq!(others.total_count, 0);
}

fn filtered(filter: JobFilter) -> JobQuery {
    JobQuery {
        filter,
        ..jobs(whole_list())
    }
}

pub async fn jobs_are_listed_by_all_that_a_filter_says(bed: Bed) {
    let scope = scope();
    let metadata = |value| Metadata::parse("", &value).unwrap();
    let mut ids = Vec::new();
    for (name, minutes, dialect, endpoint, pairs) in [
        (
            "Rechnung.PDF",
            0,
            None,
            None,
            json!({"team": "billing", "ümläut \"q\"": "1"}),
        ),
        (
            "invoice.pdf",
            1,
            Some("structflow"),
            None,
            json!({"team": "billing"}),
        ),
        (
            "invoice-2.pdf",
            2,
            Some("retab"),
            Some("/v1/documents/extract"),
            json!({}),
        ),
    ] {
        bed.clock.set(START.plus_millis(minutes * MINUTE));
        let document = bed.document(&scope, name).await;
        let mut new = bed.job(&scope, &document, 1);
        let spec = JobSpec {
            dialect: dialect.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            schema_id: endpoint.map(|_| SchemaId(Uuid::from_u128(7))),
            metadata: metadata(pairs),
            ..(*new.view.spec).clone()
        };
        new.view.spec = Arc::new(spec);
        ids.push(new.view.id);
        assert_eq!(bed.store.create(new).await.unwrap(), Created::Stored);
    }
    let at = |minutes| Some(START.plus_millis(minutes * MINUTE));
    let text = |text: &str| Some(text.to_owned());
    let any = JobFilter::default;
    let (first, second, third) = (ids[0], ids[1], ids[2]);
    for (filter, expected) in [
        (any(), vec![third, second, first]),
        (
            JobFilter {
                id: Some(second),
                ..any()
            },
            vec![second],
        ),
        (
            JobFilter {
                statuses: vec![Status::Failed, Status::Pending],
                from: at(2),
                ..any()
            },
            vec![third],
        ),
        (
            JobFilter {
                from: at(1),
                ..any()
            },
            vec![third, second],
        ),
        (
            JobFilter {
                from: at(0),
                to: at(1),
                ..any()
            },
            vec![first],
        ),
        (
            JobFilter {
                schema_id: Some(SchemaId(Uuid::from_u128(7))),
                ..any()
            },
            vec![third],
        ),
        (
            JobFilter {
                schema_id: Some(SchemaId(Uuid::from_u128(8))),
                ..any()
            },
            vec![],
        ),
        (
            JobFilter {
                dialect: text("native"),
                ..any()
            },
            vec![first],
        ),
        (
            JobFilter {
                dialect: text("retab"),
                ..any()
            },
            vec![third],
        ),
        (
            JobFilter {
                endpoint: text("/v1/documents/extract"),
                ..any()
            },
            vec![third],
        ),
        (
            JobFilter {
                model: text("layout"),
                to: at(1),
                ..any()
            },
            vec![first],
        ),
        (
            JobFilter {
                model: text("lay"),
                ..any()
            },
            vec![],
        ),
        (
            JobFilter {
                name_contains: text("INVOICE"),
                ..any()
            },
            vec![third, second],
        ),
        (
            JobFilter {
                name_contains: text("%"),
                ..any()
            },
            vec![],
        ),
        (
            JobFilter {
                metadata: metadata(json!({"team": "billing"})),
                ..any()
            },
            vec![second, first],
        ),
        (
            JobFilter {
                metadata: metadata(json!({"team": "billing", "ümläut \"q\"": "1"})),
                ..any()
            },
            vec![first],
        ),
        (
            JobFilter {
                metadata: metadata(json!({"team": "bill"})),
                ..any()
            },
            vec![],
        ),
        (
            JobFilter {
                metadata: metadata(json!({"Team": "billing"})),
                ..any()
            },
            vec![],
        ),
    ] {
        let shown = format!("{filter:?}");
        let listed = bed.store.list(&scope, filtered(filter)).await.unwrap();
        let found: Vec<_> = listed.items.iter().map(|view| view.id).collect();
        assert_eq!(found, expected, "{shown}");
        assert_eq!(listed.total_count, expected.len() as u64, "{shown}");
    }
    let narrow = JobQuery {
        page: ListQuery {
            limit: 1,
            ..whole_list()
        },
        ..filtered(JobFilter {
            metadata: metadata(json!({"team": "billing"})),
            ..any()
        })
    };
    let page = bed.store.list(&scope, narrow).await.unwrap();
    assert_eq!(page.items[0].id, second);
    assert_eq!(page.next_cursor, Some(ListCursor::Older(second.0)));
}
