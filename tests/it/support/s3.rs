//! A server of S3, from PyPI, with one bucket in it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::browser::skip;
use super::clients::venv;

pub struct S3 {
    pub base: String,
    child: Child,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl S3 {
    /// With the bucket `files`; or a word in the list of skipped tests.
    pub async fn start(test: &str) -> Option<Self> {
        let python = tokio::task::spawn_blocking(|| venv("s3", "s3.txt"));
        let python = match python.await.unwrap() {
            Ok((python, _)) => python,
            Err(reason) => {
                skip(test, &reason);
                return None;
            }
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut child = Command::new(python.with_file_name("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("Running on")));
        // What it says of each request must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        let s3 = Self {
            base: format!("http://{address}"),
            child,
        };
        let bucket = reqwest::Client::new().put(format!("{}/files", s3.base));
        assert!(bucket.send().await.unwrap().status().is_success());
        Some(s3)
    }

    /// The keys in the bucket, as the server lists them.
    pub async fn listing(&self) -> String {
        let url = format!("{}/files?list-type=2", self.base);
        let answer = reqwest::get(url).await.unwrap();
        answer.text().await.unwrap()
    }

    /// What a server of ours needs to be told.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", self.base.clone()),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "testing".into()),
            ("AWS_SECRET_ACCESS_KEY", "testing".into()),
        ]
    }
}
