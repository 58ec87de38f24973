//! What only a store in a file promises.

use std::fs;
use std::path::Path;

use futures_util::FutureExt as _;
use rivulet::domain::page::ListPage;
use rivulet::engine::ports::{Catalog as _, Jobs as _, Keys as _, StoreError, StoredKey};
use rivulet::store::{Sqlite, SqliteKeys, SqliteOptions};
use rusqlite::Connection;

use super::bed::{Bed, LEASE, START, begin, jobs, result, scope, sqlite, whole_list};

fn open(bed: &Bed, path: &Path) -> Result<Sqlite, StoreError> {
    Sqlite::open(SqliteOptions {
        path: path.to_owned(),
        max_event_bytes: 1_000,
        retention_ms: 0,
        readers: 0,
        clock: bed.clock.clone(),
    })
}

fn refusal(bed: &Bed, path: &Path) -> String {
    match open(bed, path) {
        Err(StoreError::Failed(message)) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files_before_they_are_closed() {
    let bed = Bed::sqlite();
    let (job, guard) = bed.begun(&scope(), 2).await;
    let view = bed.commit(job, &guard, vec![result(0)]).await;
    // What a killed process leaves: nobody has closed anything.
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(bed.folder.path()).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let copy = sqlite(&copy.path().join("rivulet.db"), bed.clock.clone());
    assert_eq!(copy.view(&scope(), job).await.unwrap(), Some(view));
    let log = copy.events(&scope(), job, 0, 10, 10_000).await.unwrap();
    assert_eq!(log.unwrap().events, bed.log(&scope(), job).await);
}

#[tokio::test]
async fn a_restart_frees_every_lease() {
    let bed = Bed::sqlite();
    let (begun, _) = bed.begun(&scope(), 1).await;
    let waiting = bed.stored(&scope(), 1).await;
    bed.claim("worker", 10).await;
    let bed = bed.restart();
    // A lease that a dead owner left must not be kept alive by its namesake.
    let jobs = [begun, waiting];
    bed.store.renew("worker", &jobs, LEASE).await.unwrap();
    let claimed = bed.claim("worker", 10).await;
    let taken: Vec<_> = claimed.iter().map(|claim| claim.view.id).collect();
    assert_eq!(taken, jobs);
    assert_eq!((claimed[0].crashes, claimed[1].crashes), (1, 0));
}

#[tokio::test]
async fn a_closed_store_leaves_one_file() {
    let bed = Bed::sqlite();
    bed.begun(&scope(), 2).await;
    let Bed { store, folder, .. } = bed;
    drop(store);
    let files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, ["rivulet.db"]);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let bed = Bed::sqlite();
    let path = bed.folder.path().join("newer.db");
    drop(open(&bed, &path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 77).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let message = refusal(&bed, &path);
    assert!(
        message.contains("newer.db") && message.contains("version 77"),
        "{message}"
    );
    assert!(message.contains("versions up to "), "{message}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    let bed = Bed::sqlite();
    let path = bed.folder.path().join("other.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE songs (name)")
        .unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let message = refusal(&bed, &path);
    assert!(
        message.contains("other.db") && message.contains("another program"),
        "{message}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);

    let text = bed.folder.path().join("notes.txt");
    fs::write(
        &text,
        "not a database, but long enough to be mistaken for one by its size",
    )
    .unwrap();
    refusal(&bed, &text);
    let nowhere = refusal(&bed, &bed.folder.path().join("no/such/folder.db"));
    assert!(nowhere.contains("no/such/folder.db"), "{nowhere}");
}

#[tokio::test]
async fn a_job_of_before_request_hashes_were_kept_is_read_and_has_none() {
    let bed = Bed::sqlite();
    let job = bed.stored(&scope(), 1).await;
    let connection = Connection::open(bed.folder.path().join("rivulet.db")).unwrap();
    let changed = connection.execute(
        "UPDATE specs SET spec = json_remove(spec, '$.request_hash') \
         WHERE json_type(spec, '$.request_hash') IS NOT NULL",
        (),
    );
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(bed.view(&scope(), job).await.spec.request_hash, None);
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_can_be_read_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::sqlite();
    bed.stored(&scope(), 1).await;
    for file in fs::read_dir(bed.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn one_runtime_thread_and_one_reader_are_enough() {
    let bed = Bed::sqlite();
    let path = bed.folder.path().join("one.db");
    let store = open(&bed, &path).unwrap();
    let scope = scope();
    let reads = (0..1_000).map(|_| store.list(&scope, jobs(whole_list())));
    let pages = futures_util::future::join_all(reads).await;
    assert!(
        pages
            .iter()
            .all(|page| matches!(page, Ok(ListPage { total_count: 0, .. })))
    );
    let document = bed.document(&scope, "invoice.pdf").await;
    let writes = (0..2_000).map(|_| {
        let id = rivulet::domain::id::DocumentId(bed.id());
        let document = rivulet::engine::ports::StoredDocument {
            id,
            ..document.clone()
        };
        store.insert_document(&scope, document)
    });
    let written = futures_util::future::join_all(writes).await;
    assert!(written.iter().all(Result::is_ok));
    let listed = store.documents(&scope, whole_list()).await.unwrap();
    assert_eq!((listed.total_count, listed.items.len()), (2_000, 100));
}

#[tokio::test]
async fn an_abandoned_write_still_happens_and_harms_nobody() {
    let bed = Bed::sqlite();
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 2).await;
    let abandoned = rivulet::engine::ports::Commit {
        job,
        guard: guard.clone(),
        at_sequence: None,
        drafts: vec![result(0)],
    };
    let mut write = bed.store.commit(abandoned);
    // Polled once, so that the command is on its way, and dropped.
    assert!((&mut write).now_or_never().is_none());
    drop(write);
    let view = bed.commit(job, &guard, vec![result(1)]).await;
    assert_eq!(view.subtrees_succeeded, 2);
    let committed = bed.try_commit(job, &guard, vec![begin()]).await;
    assert!(matches!(
        committed,
        rivulet::engine::ports::Committed::Refused { .. }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_can_be_made_beside_a_store_that_is_open() {
    let bed = Bed::sqlite();
    let (job, _) = bed.begun(&scope(), 2).await;
    let claimed = bed.view(&scope(), job).await;
    let path = bed.folder.path().join("rivulet.db");
    let beside = SqliteKeys::open(&path).unwrap();
    assert!(!beside.has_usable_key().unwrap());
    let key = StoredKey {
        id: "00".into(),
        hash: [7; 32],
        user: scope(),
        name: String::new(),
        created_at: START,
        revoked_at: None,
        max_active_jobs: None,
    };
    assert!(beside.insert_key(key.clone()).await.unwrap());
    assert_eq!(bed.store.key("00").await.unwrap(), Some(key));
    assert!(beside.has_usable_key().unwrap());
    bed.store.revoke_key("00", START).await.unwrap();
    assert!(!beside.has_usable_key().unwrap());
    assert!(beside.has_keys().await.unwrap());
    // The lease of the job is where it was.
    bed.clock.set(START.plus_millis(1));
    let again = bed.claim("other", 10).await;
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(bed.view(&scope(), job).await, claimed);
}

#[test]
fn many_may_create_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rivulet.db");
    let opened: Vec<_> = (0..12)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || SqliteKeys::open(&path).map(drop))
        })
        .collect();
    for one in opened {
        one.join().unwrap().unwrap();
    }
}
