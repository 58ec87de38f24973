//! A server on a disk that is full, that cannot flush, or that is slow.
//!
//! `RIVULET_FULL=30` leaves the disk full for as many seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::storm::number;
use crate::support::app::wide_schema;
use crate::support::child::Child;
use crate::support::disk::{Disk, State};
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a disk is full, seconds.
const FULL: u64 = 3;
/// How soon a job goes on once there is room.
const RESUMED: Duration = Duration::from_secs(10);
const SUBTREES: usize = 8;

/// A server on a disk of ours, and a document that it knows.
struct Scene {
    server: Child,
    client: Client,
    body: Value,
    /// The result of such a job.
    expected: Value,
    disk: Disk,
    folder: tempfile::TempDir,
}

impl Scene {
    /// One job has run before anything happens to the disk.
    async fn set() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::under(folder.path())?;
        let data = folder.path().join("data");
        let mut scene = Self {
            server: Child::start(&data, "", |command| disk.below(command)).await,
            client: Client::builder().no_proxy().build().unwrap(),
            body: json!({
                "document": "Total: 12.50 EUR\n",
                "schema": wide_schema(SUBTREES),
                "config": {"max_num_concurrent_requests": 1},
            }),
            expected: Value::Null,
            disk,
            folder,
        };
        let job = id(scene.create("before").await).await;
        let whole = scene.follow(&job).await.rest().await;
        scene.expected = rebuild(&whole);
        let document = whole[0].payload()["document_id"].clone();
        let body = scene.body.as_object_mut().unwrap();
        body.shift_remove("document");
        body.insert("document_id".to_owned(), document);
        Some(scene)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/extract{path}", self.server.base)
    }

    async fn follow(&self, job: &str) -> Stream {
        let url = self.url(&format!("/jobs/{job}/events"));
        Stream::of(self.client.get(url).send().await.unwrap())
    }

    /// The job goes on to its end, and that is what it should be.
    async fn check(&self, job: &str) {
        let log = tokio::time::timeout(PATIENCE, self.follow(job).await.rest());
        let log = log.await.expect("the job goes on by itself");
        assert_lawful(&log);
        assert_eq!(log.last().unwrap().payload()["status"], "completed");
        let url = self.url(&format!("/jobs/{job}/results"));
        let results: Value = self
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(results["results"], self.expected);
    }

    async fn create(&self, key: &str) -> Response {
        let request = self.client.post(self.url("/jobs"));
        let request = request.header("Idempotency-Key", key).json(&self.body);
        request.send().await.unwrap()
    }

    async fn upload(&self, text: &str) -> Response {
        let part = reqwest::multipart::Part::text(text.to_owned()).file_name("note.txt");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self
            .client
            .post(self.url("/documents/upload"))
            .multipart(form);
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> u16 {
        self.client
            .get(self.url(path))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    /// Health and readiness are not below the API's path.
    async fn probe(&self, path: &str) -> u16 {
        let answer = self.client.get(format!("{}{path}", self.server.base));
        answer.send().await.unwrap().status().as_u16()
    }

    /// A job that is held in the middle, how far it was seen, and how it goes on.
    async fn job_in_the_middle(&mut self) -> (String, Vec<Frame>, Stream) {
        self.server.say("close").await.unwrap();
        let job = id(self.create("in the middle").await).await;
        let mut stream = self.follow(&job).await;
        self.server.say("pass 2").await.unwrap();
        let mut seen = stream.until("subtree_result").await;
        seen.extend(stream.until("subtree_result").await);
        (job, seen, stream)
    }

    /// SIGKILL and a start on a disk that works; what is in the file is whole.
    async fn restart(&mut self) {
        let data = self.folder.path().join("data");
        self.server.kill();
        check_integrity(&data);
        self.server = Child::start(&data, "", |_| {}).await;
    }

    async fn count(&self, of: &str) -> Value {
        let url = self.url(&format!("/{of}?limit=1"));
        let list: Value = self
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        list["total_count"].clone()
    }
}

async fn id(created: Response) -> String {
    let status = created.status().as_u16();
    let created: Value = created.json().await.unwrap();
    assert!(matches!(status, 200 | 202), "{created}");
    created["job_id"].as_str().unwrap().to_owned()
}

fn check_integrity(data: &Path) {
    let connection = Connection::open(data.join("rivulet.db")).unwrap();
    let said: String = connection
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
}

/// Refused with this status and code, and told when to come again.
async fn assert_refused(answer: Response, status: u16, code: &str) {
    let retry_after = answer.headers().get("retry-after").cloned();
    let said = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(
        (said, &problem["code"]),
        (status, &json!(code)),
        "{problem}"
    );
    assert!(retry_after.is_some(), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_is_new_and_jobs_go_on_once_there_is_room() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    let (job, mut seen, mut stream) = scene.job_in_the_middle().await;
    scene.disk.set(State::Full);
    // The model goes on: what it gives waits.
    scene.server.say("open").await.unwrap();
    let began = Instant::now();
    assert_refused(scene.create("while full").await, 507, "storage_full").await;
    assert_refused(scene.upload("Total: 1.50 EUR").await, 507, "storage_full").await;
    let full = Duration::from_secs(number("RIVULET_FULL", FULL));
    while began.elapsed() < full {
        for path in [&*format!("/jobs/{job}"), "/jobs", "/documents"] {
            assert_eq!(scene.get(path).await, 200, "{path}");
        }
        assert_eq!(scene.probe("/healthz").await, 200);
        seen.extend(stream.heartbeat().await);
    }
    assert!(scene.disk.faults() > 2, "{} faults", scene.disk.faults());
    assert_refused(scene.create("while full").await, 507, "storage_full").await;

    scene.disk.set(State::Works);
    let freed = Instant::now();
    let next = stream.until("subtree_result");
    seen.extend(tokio::time::timeout(RESUMED, next).await.unwrap());
    println!("full for {full:?}, went on after {:?}", freed.elapsed());
    seen.extend(tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap());
    assert_lawful(&seen);
    let taken = |frame: &Frame| frame.data.contains("server_restart");
    assert!(!seen.iter().any(taken), "the job was taken from its owner");
    // Of two jobs, the one of before and this one.
    assert_eq!(scene.server.given().len(), 2 * SUBTREES, "asked for twice");
    let refused_before = id(scene.create("while full").await).await;
    assert_eq!(scene.upload("Total: 1.50 EUR").await.status(), 201);

    scene.restart().await;
    for job in [job, refused_before] {
        scene.check(&job).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_nothing_is_acknowledged_until_a_restart() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    let (job, seen, _stream) = scene.job_in_the_middle().await;
    scene.disk.set(State::FailsToFlush);
    let refused = "store_unavailable";
    assert_refused(scene.create("first").await, 503, refused).await;
    assert!(scene.disk.faults() > 0);
    // That the disk seems to work again does not tell what it lost.
    scene.disk.set(State::Works);
    scene.server.say("open").await.unwrap();
    for key in ["first", "second"] {
        assert_refused(scene.create(key).await, 503, refused).await;
    }
    assert_eq!(scene.probe("/readyz").await, 503);
    assert_eq!(scene.probe("/healthz").await, 200);
    assert_eq!(scene.get(&format!("/jobs/{job}")).await, 200);

    scene.restart().await;
    let mut jobs = vec![job.clone()];
    for key in ["first", "second"] {
        jobs.push(id(scene.create(key).await).await);
    }
    for job in &jobs {
        scene.check(job).await;
    }
    let log = scene.follow(&job).await.rest().await;
    assert_eq!(log[..seen.len()], seen, "what was shown stays");
    // And the one of before.
    assert_eq!(scene.count("jobs").await, 4, "a key led to two jobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_file_could_not_be_flushed_no_file_is_taken_until_a_restart() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    let refused = "store_unavailable";
    scene.disk.set(State::FailsToFlush);
    assert_refused(scene.upload("Total: 1.50 EUR").await, 503, refused).await;
    scene.disk.set(State::Works);
    assert_refused(scene.upload("Total: 2.50 EUR").await, 503, refused).await;
    scene.restart().await;
    assert_eq!(scene.upload("Total: 1.50 EUR").await.status(), 201);
    assert_eq!(
        scene.count("documents").await,
        2,
        "a refused upload was kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_delays_and_loses_nothing() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    let (job, mut seen, stream) = scene.job_in_the_middle().await;
    scene.disk.set(State::Slow);
    scene.server.say("open").await.unwrap();
    let began = Instant::now();
    let other = id(scene.create("while slow").await).await;
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "it is not slow"
    );
    seen.extend(tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap());
    assert_lawful(&seen);
    for job in [job, other] {
        scene.check(&job).await;
    }
}
