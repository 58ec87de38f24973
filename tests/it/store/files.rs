//! Files, uploads in chunks, and whose they are.

use rivulet::domain::id::{FileId, Scope};
use rivulet::domain::page::{ListCursor, ListQuery};
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Appended, Finished, StoredChunk, StoredFile, StoredUpload};

use super::bed::{Bed, MINUTE, START, scope, whole_list};

fn file(bed: &Bed, name: &str, expires_at: Option<Time>) -> StoredFile {
    let id = FileId(bed.id());
    StoredFile {
        id,
        name: name.into(),
        media_type: "application/x-ndjson".into(),
        size: u64::from(u32::MAX) * 2,
        sha256: format!("{:064x}", id.0.as_u128()),
        created_at: START,
        expires_at,
    }
}

fn upload(bed: &Bed) -> StoredUpload {
    StoredUpload {
        id: FileId(bed.id()),
        name: "Datensätze „2026“.jsonl".into(),
        media_type: "application/x-ndjson".into(),
        size: Some(7),
        sha256: None,
        received: 0,
        created_at: START,
        updated_at: START,
        expires_at: START.plus_millis(MINUTE),
    }
}

fn chunk(offset: u64, size: u64, seed: u8) -> StoredChunk {
    StoredChunk {
        offset,
        size,
        sha256: format!("{seed:064x}"),
    }
}

pub async fn files_are_kept_as_they_were_until_they_are_deleted(bed: Bed) {
    let (scope, store) = (scope(), &bed.store);
    let kept = file(&bed, "Datensätze „2026“.jsonl", None);
    store.insert_file(&scope, kept.clone()).await.unwrap();
    let found = store.file(&scope, kept.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&kept));
    assert!(store.is_blob_needed(&kept.sha256).await.unwrap());
    let gone = store.delete_file(&scope, kept.id).await.unwrap();
    assert_eq!(gone.as_ref(), Some(&kept));
    assert_eq!(store.delete_file(&scope, kept.id).await.unwrap(), None);
    assert!(!store.is_blob_needed(&kept.sha256).await.unwrap());
}

pub async fn files_page_without_those_whose_time_is_over(bed: Bed) {
    let (scope, store) = (scope(), &bed.store);
    let end = START.plus_millis(MINUTE);
    let mut ids = Vec::new();
    for (name, end) in [
        ("a", None),
        ("over", Some(end)),
        ("B.jsonl", None),
        ("b", None),
    ] {
        let file = file(&bed, name, end);
        ids.push(file.id);
        store.insert_file(&scope, file).await.unwrap();
    }
    let list = async |now, query| {
        let page = store.files(&scope, now, query).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|file| file.id).collect();
        (ids, page)
    };
    let (all, _) = list(Time(end.0 - 1), whole_list()).await;
    assert_eq!(all, [ids[3], ids[2], ids[1], ids[0]]);
    let (left, page) = list(end, whole_list()).await;
    assert_eq!(left, [ids[3], ids[2], ids[0]]);
    assert_eq!(page.total_count, 3);
    let two = ListQuery {
        limit: 2,
        ..whole_list()
    };
    let (first, page) = list(end, two.clone()).await;
    assert_eq!(first, [ids[3], ids[2]]);
    assert_eq!(page.next_cursor, Some(ListCursor::Older(ids[2].0)));
    let next = ListQuery {
        cursor: page.next_cursor,
        ..two.clone()
    };
    assert_eq!(list(end, next).await.0, [ids[0]]);
    let search = ListQuery {
        search: Some("B".into()),
        ..two
    };
    assert_eq!(list(end, search).await.0, [ids[3], ids[2]]);
}

pub async fn files_and_uploads_whose_time_is_over_are_listed_the_oldest_first(bed: Bed) {
    let (scope, store) = (scope(), &bed.store);
    let at = |minutes| START.plus_millis(MINUTE * minutes);
    let ends = [Some(at(2)), None, Some(at(1)), Some(at(3))];
    let mut ids = Vec::new();
    for end in ends {
        let file = file(&bed, "x", end);
        ids.push((scope.clone(), file.id));
        store.insert_file(&scope, file).await.unwrap();
    }
    let old = async |at, limit| store.files_before(at, limit).await.unwrap();
    assert_eq!(old(at(2), 9).await, [ids[2].clone(), ids[0].clone()]);
    assert_eq!(old(at(9), 1).await, [ids[2].clone()]);
    assert!(old(Time(at(1).0 - 1), 9).await.is_empty());
    let upload = upload(&bed);
    store
        .insert_upload(&scope, upload.clone(), 9)
        .await
        .unwrap();
    let old = async |at| store.uploads_before(at, 9).await.unwrap();
    assert!(old(Time(at(1).0 - 1)).await.is_empty());
    assert_eq!(old(at(1)).await, [(scope, upload.id)]);
}

pub async fn chunks_are_appended_in_order_and_become_a_file(bed: Bed) {
    let (scope, store) = (scope(), &bed.store);
    let open = upload(&bed);
    assert!(store.insert_upload(&scope, open.clone(), 9).await.unwrap());
    assert_eq!(
        store.upload(&scope, open.id).await.unwrap(),
        Some(open.clone())
    );
    let (first, second) = (chunk(0, 4, 1), chunk(4, 3, 2));
    let append = async |chunk: &StoredChunk| {
        let now = START.plus_millis(5);
        let appended = store.append_chunk(&scope, open.id, chunk.clone(), now);
        appended.await.unwrap()
    };
    let Appended::Stored(after) = append(&first).await else {
        panic!("the first chunk is taken");
    };
    assert_eq!(
        (after.received, after.updated_at),
        (4, START.plus_millis(5))
    );
    let again = append(&first).await;
    assert_eq!(
        again,
        Appended::Elsewhere(after.clone(), Some(first.clone()))
    );
    assert_eq!(
        append(&chunk(2, 4, 1)).await,
        Appended::Elsewhere(after, None)
    );
    assert!(matches!(append(&second).await, Appended::Stored(_)));
    let chunks = store.chunks(&scope, open.id).await.unwrap();
    assert_eq!(chunks, [first, second]);
    let whole = StoredFile {
        id: open.id,
        size: 4,
        ..file(&bed, "x", None)
    };
    let early = store.finish_upload(&scope, whole.clone()).await.unwrap();
    assert_eq!(early, Finished::Changed);
    let whole = StoredFile { size: 7, ..whole };
    let finish = async || store.finish_upload(&scope, whole.clone()).await.unwrap();
    assert_eq!(finish().await, Finished::Stored);
    assert_eq!(finish().await, Finished::Missing);
    assert_eq!(store.upload(&scope, open.id).await.unwrap(), None);
    assert!(store.chunks(&scope, open.id).await.unwrap().is_empty());
    assert!(!store.has_upload(open.id).await.unwrap());
    assert_eq!(
        store.file(&scope, open.id).await.unwrap(),
        Some(whole.clone())
    );
    assert_eq!(append(&chunk(7, 1, 3)).await, Appended::Missing);
}

pub async fn of_chunks_at_once_for_one_place_one_is_taken(bed: Bed) {
    let (scope, store) = (scope(), bed.store.clone());
    let open = upload(&bed);
    store.insert_upload(&scope, open.clone(), 9).await.unwrap();
    let appends = (0..20).map(|seed| {
        let (store, scope) = (store.clone(), scope.clone());
        tokio::spawn(async move {
            let chunk = chunk(0, 1 + u64::from(seed), seed);
            store.append_chunk(&scope, open.id, chunk, START).await
        })
    });
    let mut taken = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        if let Appended::Stored(upload) = append.await.unwrap().unwrap() {
            taken.push(upload.received);
        }
    }
    let chunks = store.chunks(&scope, open.id).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].size, taken[0]);
}

pub async fn a_scope_has_no_more_open_uploads_than_its_limit(bed: Bed) {
    let (mine, store) = (scope(), &bed.store);
    let begin = async |scope: &Scope, upload| store.insert_upload(scope, upload, 2).await.unwrap();
    assert!(begin(&mine, upload(&bed)).await);
    let second = upload(&bed);
    assert!(begin(&mine, second.clone()).await);
    assert!(!begin(&mine, upload(&bed)).await);
    assert!(begin(&Scope::new("another"), upload(&bed)).await);
    let gone = store.delete_upload(&mine, second.id).await.unwrap();
    assert_eq!(gone, Some(Vec::new()));
    assert_eq!(store.delete_upload(&mine, second.id).await.unwrap(), None);
    assert!(begin(&mine, upload(&bed)).await);
    let later = StoredUpload {
        created_at: START.plus_millis(MINUTE),
        updated_at: START.plus_millis(MINUTE),
        expires_at: START.plus_millis(2 * MINUTE),
        ..upload(&bed)
    };
    assert!(
        begin(&mine, later).await,
        "those whose time is over do not count"
    );
}

pub async fn the_files_and_uploads_of_another_scope_are_not_there(bed: Bed) {
    let (mine, other, store) = (scope(), Scope::new("another"), &bed.store);
    let (kept, open) = (file(&bed, "x", None), upload(&bed));
    store.insert_file(&mine, kept.clone()).await.unwrap();
    store.insert_upload(&mine, open.clone(), 9).await.unwrap();
    let mine_chunk = store.append_chunk(&mine, open.id, chunk(0, 7, 1), START);
    mine_chunk.await.unwrap();
    assert_eq!(store.file(&other, kept.id).await.unwrap(), None);
    let listed = store.files(&other, START, whole_list()).await.unwrap();
    assert_eq!(listed.total_count, 0);
    assert_eq!(store.delete_file(&other, kept.id).await.unwrap(), None);
    assert_eq!(store.upload(&other, open.id).await.unwrap(), None);
    assert!(store.chunks(&other, open.id).await.unwrap().is_empty());
    let append = store.append_chunk(&other, open.id, chunk(7, 1, 1), START);
    assert_eq!(append.await.unwrap(), Appended::Missing);
    let theft = StoredFile {
        id: open.id,
        size: 7,
        ..kept.clone()
    };
    let finished = store.finish_upload(&other, theft).await.unwrap();
    assert_eq!(finished, Finished::Missing);
    assert_eq!(store.delete_upload(&other, open.id).await.unwrap(), None);
    assert!(store.file(&mine, kept.id).await.unwrap().is_some());
    assert_eq!(
        store
            .upload(&mine, open.id)
            .await
            .unwrap()
            .unwrap()
            .received,
        7
    );
}
