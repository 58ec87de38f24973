//! Blobs in a local folder.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use rivulet::blob::{Files, Local};
use rivulet::engine::ports::{Blobs as _, StoreError};
use tempfile::TempDir;

const KEY: &str = "documents/9f86d081884c7d65";

fn local() -> (TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Local::open(&folder.path().join("blobs")).unwrap();
    (folder, blobs)
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn what_was_put_is_got_after_a_restart_too() {
    let (folder, blobs) = local();
    let large = Bytes::from(vec![7; 3_000_000]);
    blobs
        .put(KEY, Bytes::from_static(b"%PDF-1.7"))
        .await
        .unwrap();
    blobs.put("parsed/9f86.json", large.clone()).await.unwrap();
    blobs.put("empty", Bytes::new()).await.unwrap();
    drop(blobs);
    let blobs = Local::open(&folder.path().join("blobs")).unwrap();
    let get = |key| blobs.get(key);
    assert_eq!(get(KEY).await.unwrap().as_deref(), Some(&b"%PDF-1.7"[..]));
    assert_eq!(get("parsed/9f86.json").await.unwrap(), Some(large));
    assert_eq!(get("empty").await.unwrap(), Some(Bytes::new()));
    assert_eq!(get("documents/00").await.unwrap(), None);
}

fn pieces(sizes: &[usize]) -> Vec<Result<Bytes, StoreError>> {
    let pieces = sizes.iter().zip(1..);
    let pieces = pieces.map(|(size, byte)| Ok(Bytes::from(vec![byte; *size])));
    pieces.collect()
}

#[tokio::test]
async fn a_file_in_pieces_is_whole_or_not_there_and_is_read_in_parts() {
    let (folder, blobs) = local();
    for sizes in [&[][..], &[10, 20], &[5 << 20; 5], &[8 << 20, 8 << 20]] {
        let parts = pieces(sizes);
        let whole: Vec<u8> = parts.iter().flatten().flatten().copied().collect();
        let put = blobs.put_pieces(KEY, stream::iter(parts).boxed());
        put.await.unwrap();
        assert!(blobs.get(KEY).await.unwrap().unwrap() == whole);
        let part = blobs.get_range(KEY, 15..20).await.unwrap();
        let expected = whole.get(15..20);
        if let Some(expected) = expected {
            assert_eq!(part.as_deref(), Some(expected));
        }
    }
    let end = blobs
        .get_range(KEY, (16 << 20) - 3..17 << 20)
        .await
        .unwrap();
    assert_eq!(end.unwrap().len(), 3);
    assert_eq!(blobs.get_range("documents/00", 0..1).await.unwrap(), None);
    for sizes in [&[10][..], &[9 << 20]] {
        let mut parts = pieces(sizes);
        parts.push(Err(StoreError::Failed("planned".into())));
        let put = blobs.put_pieces("documents/01", stream::iter(parts).boxed());
        assert!(matches!(put.await, Err(StoreError::Failed(_))));
        assert_eq!(blobs.get("documents/01").await.unwrap(), None);
    }
    assert_eq!(files(folder.path()), ["9f86d081884c7d65"]);
}

#[tokio::test]
async fn the_same_key_can_be_put_again_and_by_many_at_once() {
    let (folder, blobs) = local();
    let bytes = Bytes::from(vec![1; 100_000]);
    let puts = (0..16).map(|_| blobs.put(KEY, bytes.clone()));
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    assert_eq!(blobs.get(KEY).await.unwrap(), Some(bytes));
    assert_eq!(files(folder.path()), ["9f86d081884c7d65"]);
}

#[tokio::test]
async fn a_damaged_file_is_mended_by_the_next_put() {
    let (folder, blobs) = local();
    blobs.put(KEY, Bytes::from_static(b"whole")).await.unwrap();
    fs::write(folder.path().join("blobs").join(KEY), "wrong").unwrap();
    blobs.put(KEY, Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(
        blobs.get(KEY).await.unwrap().as_deref(),
        Some(&b"whole"[..])
    );
}

#[tokio::test]
async fn a_deleted_blob_is_gone_and_deleting_it_again_is_no_error() {
    let (_folder, blobs) = local();
    blobs.put(KEY, Bytes::from_static(b"x")).await.unwrap();
    blobs
        .put("documents/other", Bytes::from_static(b"y"))
        .await
        .unwrap();
    blobs.delete(KEY).await.unwrap();
    blobs.delete(KEY).await.unwrap();
    assert_eq!(blobs.get(KEY).await.unwrap(), None);
    assert!(blobs.get("documents/other").await.unwrap().is_some());
}

#[tokio::test]
async fn keys_are_listed_only_where_one_catalog_knows_of_all_files() {
    use futures_util::TryStreamExt as _;
    let (folder, blobs) = local();
    for key in [KEY, "parsed/9f86.json"] {
        blobs.put(key, Bytes::from_static(b"1")).await.unwrap();
    }
    let keys = |blobs: Files| async move {
        let mut keys: Vec<String> = blobs.own_keys().try_collect().await.unwrap();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(blobs.of_one_catalog()).await,
        [KEY, "parsed/9f86.json"]
    );
    // What they do not need may be needed elsewhere.
    let blobs = Local::open(&folder.path().join("blobs")).unwrap();
    assert!(keys(blobs).await.is_empty());
}

#[tokio::test]
async fn a_key_never_leads_out_of_the_folder() {
    let (folder, blobs) = local();
    let long = "x".repeat(201);
    for key in [
        "",
        "/",
        "/etc/passwd",
        "../secret",
        "a/../../secret",
        "a/..",
        "..",
        ".",
        "a//b",
        "a/",
        "A",
        "a b",
        "a#1",
        "a\\b",
        "ä",
        "a\0",
        "a%2e",
        long.as_str(),
    ] {
        for refused in [
            blobs.put(key, Bytes::from_static(b"x")).await.err(),
            blobs.get(key).await.err(),
            blobs.delete(key).await.err(),
        ] {
            assert!(
                matches!(refused, Some(StoreError::Failed(_))),
                "{key:?}: {refused:?}"
            );
        }
    }
    assert!(files(folder.path()).is_empty());
    for key in ["a", "b/b-c_d.json", "0/.hidden", &"x".repeat(200)] {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_removed_at_the_next_start() {
    let (folder, blobs) = local();
    blobs.put(KEY, Bytes::from_static(b"whole")).await.unwrap();
    drop(blobs);
    let root = folder.path().join("blobs");
    // The name under which half a file stands until it is whole.
    fs::write(root.join("documents/0000#1"), "half").unwrap();
    fs::write(root.join("top#12"), "half").unwrap();
    let blobs = Local::open(&root).unwrap();
    assert_eq!(files(&root), ["9f86d081884c7d65"]);
    assert!(blobs.get(KEY).await.unwrap().is_some());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("no/such/blobs");
    let Err(StoreError::Failed(message)) = Local::open(&root) else {
        panic!("it was opened")
    };
    assert!(message.contains("no/such/blobs"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_folder_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, _blobs) = local();
    let root = fs::metadata(folder.path().join("blobs")).unwrap();
    assert_eq!(root.permissions().mode() & 0o777, 0o700);
}
