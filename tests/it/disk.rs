//! The real binary on a disk that is full, that cannot flush, or that is slow.
//!
//! `RIVULET_FULL=30` leaves the disk full for as many seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::kill::{Server, body};
use crate::storm::number;
use crate::support::disk::{Disk, State};
use crate::support::sse::{Frame, Stream, assert_lawful, rebuild};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a disk is full, seconds.
const FULL: u64 = 3;
/// How soon a job goes on once there is room.
const RESUMED: Duration = Duration::from_secs(10);

/// A server on a disk of ours, and a document and a schema that it knows.
struct Scene {
    server: Server,
    client: Client,
    body: Value,
    expected: Value,
    disk: Disk,
    folder: tempfile::TempDir,
}

impl Scene {
    /// One job has run before anything happens to the disk.
    async fn set() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::under(folder.path())?;
        rivulet::tls::install();
        let client = Client::builder().no_proxy().build().unwrap();
        let server = Server::start_with(&folder.path().join("data"), |command| {
            disk.below(command);
            command.env("RIVULET_HEARTBEAT_SECONDS", "1");
        });
        let mut body = body();
        body["stream"] = json!(true);
        let request = client.post(format!("{}/jobs", server.base)).json(&body);
        let whole = Stream::of(request.send().await.unwrap()).rest().await;
        let job = whole[0].payload();
        let expected = server
            .results(&client, job["job_id"].as_str().unwrap())
            .await;
        assert_eq!(expected[0], rebuild(&whole));
        body["document_id"] = job["document_id"].clone();
        for name in ["document", "stream"] {
            body.as_object_mut().unwrap().shift_remove(name);
        }
        Some(Self {
            server,
            client,
            body,
            expected,
            disk,
            folder,
        })
    }

    async fn create(&self, key: &str) -> Response {
        let request = self.client.post(format!("{}/jobs", self.server.base));
        let request = request.header("Idempotency-Key", key).json(&self.body);
        request.send().await.unwrap()
    }

    async fn upload(&self, text: &str) -> Response {
        let part = reqwest::multipart::Part::text(text.to_owned()).file_name("note.txt");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/documents/upload", self.server.base);
        let request = self.client.post(url).multipart(form);
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.server.base);
        self.client.get(url).send().await.unwrap().status().as_u16()
    }

    /// Health and readiness are not below the API's path.
    async fn probe(&self, path: &str) -> u16 {
        let root = self.server.base.strip_suffix("/v1/extract").unwrap();
        let answer = self.client.get(format!("{root}{path}")).send().await;
        answer.unwrap().status().as_u16()
    }

    /// A job that is in the middle, how far it was seen, and how it goes on.
    async fn job_in_the_middle(&self) -> (String, Vec<Frame>, Stream) {
        let job = id(self.create("in the middle").await).await;
        let mut stream = self.server.follow(&self.client, &job, None).await;
        // From now on the rest of the job takes seconds.
        self.disk.set(State::Slow);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(stream.until("subtree_result").await);
        }
        (job, seen, stream)
    }

    /// SIGKILL and a start on a disk that works; what is in the file is whole.
    fn restart(mut self) -> Self {
        let data = self.folder.path().join("data");
        self.server.kill();
        check_integrity(&data);
        self.server = Server::start(&data);
        self
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
    let Some(scene) = Scene::set().await else {
        return;
    };
    let (job, mut seen, mut stream) = scene.job_in_the_middle().await;
    scene.disk.set(State::Full);
    let began = Instant::now();
    assert_refused(scene.create("while full").await, 507, "storage_full").await;
    assert_refused(scene.upload("Total: 1.50 EUR").await, 507, "storage_full").await;
    let full = Duration::from_secs(number("RIVULET_FULL", FULL));
    while began.elapsed() < full {
        for path in [&*format!("/jobs/{job}"), "/jobs", "/documents"] {
            assert_eq!(scene.get(path).await, 200, "{path}");
        }
        assert_eq!(scene.probe("/healthz").await, 200);
        stream.comment(":hb\n").await;
        stream.beside.clear();
    }
    assert!(scene.disk.faults() > 2, "{} faults", scene.disk.faults());
    assert_refused(scene.create("while full").await, 507, "storage_full").await;

    scene.disk.set(State::Works);
    let freed = Instant::now();
    let next = stream.until("subtree_result");
    seen.extend(tokio::time::timeout(RESUMED, next).await.unwrap());
    println!("full for {full:?}, resumed after {:?}", freed.elapsed());
    seen.extend(tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap());
    assert_lawful(&seen);
    let paused = |frame: &Frame| frame.data.contains("server_restart");
    assert!(!seen.iter().any(paused), "the job was taken from its owner");
    let results = scene.server.results(&scene.client, &job).await;
    assert_eq!(results, scene.expected);
    let refused_before = id(scene.create("while full").await).await;
    assert_eq!(scene.upload("Total: 1.50 EUR").await.status(), 201);

    let scene = scene.restart();
    for job in [job, refused_before] {
        let log = scene.server.follow(&scene.client, &job, None).await;
        assert_lawful(&log.rest().await);
        let results = scene.server.results(&scene.client, &job).await;
        assert_eq!(results, scene.expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_nothing_is_acknowledged_until_a_restart() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let (job, seen, _stream) = scene.job_in_the_middle().await;
    scene.disk.set(State::FailsToFlush);
    let refused = "store_unavailable";
    assert_refused(scene.create("first").await, 503, refused).await;
    assert!(scene.disk.faults() > 0);
    // That the disk seems to work again does not tell what it lost.
    scene.disk.set(State::Works);
    for key in ["first", "second"] {
        assert_refused(scene.create(key).await, 503, refused).await;
    }
    assert_eq!(scene.probe("/readyz").await, 503);
    assert_eq!(scene.probe("/healthz").await, 200);
    assert_eq!(scene.get(&format!("/jobs/{job}")).await, 200);

    let scene = scene.restart();
    let mut jobs = vec![job.clone()];
    for key in ["first", "second"] {
        jobs.push(id(scene.create(key).await).await);
    }
    for job in &jobs {
        let log = scene.server.follow(&scene.client, job, None).await;
        assert_lawful(&log.rest().await);
        let results = scene.server.results(&scene.client, job).await;
        assert_eq!(results, scene.expected);
    }
    let log = scene.server.follow(&scene.client, &job, None).await;
    assert_eq!(log.rest().await[..seen.len()], seen, "what was shown stays");
    let url = format!("{}/jobs?limit=1", scene.server.base);
    let list = scene.client.get(url).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    // And the one of before.
    assert_eq!(list["total_count"], 4, "a key led to two jobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_file_could_not_be_flushed_no_file_is_taken_until_a_restart() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let refused = "store_unavailable";
    scene.disk.set(State::FailsToFlush);
    assert_refused(scene.upload("Total: 1.50 EUR").await, 503, refused).await;
    scene.disk.set(State::Works);
    assert_refused(scene.upload("Total: 2.50 EUR").await, 503, refused).await;
    let scene = scene.restart();
    assert_eq!(scene.upload("Total: 1.50 EUR").await.status(), 201);
    let url = format!("{}/documents?limit=1", scene.server.base);
    let list = scene.client.get(url).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["total_count"], 2, "a refused upload was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_delays_and_loses_nothing() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let (job, mut seen, stream) = scene.job_in_the_middle().await;
    let began = Instant::now();
    let other = id(scene.create("while slow").await).await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    seen.extend(tokio::time::timeout(PATIENCE, stream.rest()).await.unwrap());
    assert_lawful(&seen);
    let log = scene.server.follow(&scene.client, &other, None).await;
    assert_lawful(&tokio::time::timeout(PATIENCE, log.rest()).await.unwrap());
    for job in [job, other] {
        let results = scene.server.results(&scene.client, &job).await;
        assert_eq!(results, scene.expected);
    }
}
