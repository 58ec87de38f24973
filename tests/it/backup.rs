//! A copy of everything, taken while the server works.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::json;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};

fn backup(data: &Path, file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rivulet"))
        .arg("backup")
        .arg(file)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

fn unpacked(file: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = std::fs::File::open(file).unwrap();
    tar::Archive::new(archive)
        .unpack(folder.path().join("data"))
        .unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_opens_and_its_jobs_go_on() {
    let model = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .set("max_active_jobs", 50)
        .run()
        .await;
    let mut jobs = Vec::new();
    for number in 0..10 {
        let text = format!("Invoice number: {number}");
        let body = json!({"document": text, "schema": wide_schema(4)});
        jobs.push(app.submit(&body).await);
    }
    // The first answers land while the copy is made.
    model.pass(12);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monday.tar");
    let (data, to) = (app.data(), file.clone());
    let output = tokio::task::spawn_blocking(move || backup(&data, &to)).await;
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("10 documents"), "{said}");
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "parts were left behind");

    let restored = TestApp::on(unpacked(&file))
        .provider(Arc::new(Server(Scripted::plain())))
        .run()
        .await;
    for job in &jobs {
        assert_eq!(restored.end_of(job).await["subtrees_succeeded"], 4);
    }
    model.pass(1_000);
    for job in &jobs {
        app.end_of(job).await;
        let (original, copied) = (app.results(job).await, restored.results(job).await);
        assert_eq!(original.body["results"], copied.body["results"]);
    }
}

#[test]
fn a_backup_is_never_written_over_a_file_nor_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.tar");
    let missing = backup(&folder.path().join("nowhere"), &file);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nowhere") && said.contains("--data"),
        "{said}"
    );
    assert!(!file.exists() && !folder.path().join("nowhere").exists());

    let elsewhere = Command::new(env!("CARGO_BIN_EXE_rivulet"))
        .args([
            "backup",
            "a.tar",
            "--store",
            "postgres://nobody@localhost/none",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&elsewhere.stderr);
    assert_eq!(elsewhere.status.code(), Some(2), "{said}");
    assert!(said.contains("pg_dump"), "{said}");

    std::fs::write(&file, "precious").unwrap();
    std::fs::write(folder.path().join("rivulet.db"), "").unwrap();
    let refused = backup(folder.path(), &file);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("kept.tar") && said.contains("is there already"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
