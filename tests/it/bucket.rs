//! The real binary with its files in a bucket.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::s3::S3;

fn command(s3: &S3, folder: &tempfile::TempDir, bucket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
    for (name, _) in std::env::vars() {
        if name.starts_with("RIVULET_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .args([
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--blobs",
            bucket,
            "--data",
        ])
        .arg(folder.path())
        .envs(s3.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(s3: &S3, folder: &tempfile::TempDir, bucket: &str) -> (Server, String) {
    let mut command = command(s3, folder, bucket);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap();
    (Server(child), format!("{url}/v1/extract/documents"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_put_into_a_bucket_got_and_deleted() {
    rivulet::tls::install();
    let Some(s3) = S3::start("bucket::documents_are_put_into_a_bucket_got_and_deleted").await
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (server, documents) = serve(&s3, &folder, "s3://files/of/rivulet");
    let client = Client::builder().no_proxy().build().unwrap();
    let bytes = "Invoice number: 7\n".repeat(100_000);
    let part = Part::bytes(bytes.clone().into_bytes()).file_name("long.txt");
    let upload = client.post(format!("{documents}/upload"));
    let answer = upload.multipart(Form::new().part("file", part));
    let answer: Value = answer.send().await.unwrap().json().await.unwrap();
    let id = answer["document_id"].as_str().unwrap().to_owned();
    let listing = s3.listing().await;
    assert!(listing.contains("of/rivulet/documents/"), "{listing}");
    assert!(listing.contains("of/rivulet/parsed/"), "{listing}");
    assert!(!folder.path().join("blobs").exists());
    drop(server);

    // Another server on the same data finds it there.
    let (_server, documents) = serve(&s3, &folder, "s3://files/of/rivulet");
    let content = client.get(format!("{documents}/{id}/content")).send();
    assert_eq!(content.await.unwrap().text().await.unwrap(), bytes);
    let deleted = client.delete(format!("{documents}/{id}")).send();
    assert!(deleted.await.unwrap().status().is_success());
    let listing = s3.listing().await;
    assert!(!listing.contains("of/rivulet/documents/"), "{listing}");
    assert!(!listing.contains("of/rivulet/parsed/"), "{listing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_named_at_the_start() {
    rivulet::tls::install();
    let Some(s3) = S3::start("bucket::a_bucket_that_is_not_there_is_named_at_the_start").await
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&s3, &folder, "s3://nowhere/files");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(
        said.contains("--blobs") && said.contains("s3://nowhere/files"),
        "{said}"
    );
}
