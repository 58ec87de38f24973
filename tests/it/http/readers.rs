//! Many readers, slow readers, readers that are cut off: none misses an event, none holds another
//! up, and what they may take is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::{Draft, Ending};
use rivulet::engine::ports::{
    Answer, Call, CallError, Commit, Committed, Guard, Jobs, Model, Provider,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, Server, plain_value};
use crate::support::sse::{Frame, Stream, assert_lawful};
use crate::support::store::Wrapped;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn bytes(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.bytes.as_str()).collect()
}

/// A metric without labels.
async fn metric(app: &TestApp, name: &str) -> u64 {
    let request = app.client.get(app.url("/metrics"));
    let text = request.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no metric {name}"));
    value.trim().parse().unwrap()
}

/// Waits until `count` streams are open.
async fn streams(app: &TestApp, count: u64) {
    let reached = async {
        while metric(app, "rivulet_streams ").await != count {
            tokio::task::yield_now().await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "never {count} streams");
}

/// A seeded sequence (SplitMix64).
struct Dice(u64);

impl Dice {
    /// 1 to `most`.
    fn roll(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most + 1
    }
}

/// A model with a gate for each job, which is named by `additional_instructions`.
#[derive(Default)]
struct Gates(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Gates {
    fn of(&self, job: &str) -> Arc<Semaphore> {
        let mut gates = self.0.lock();
        let gate = gates.entry(job.to_owned());
        Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(0))))
    }
}

struct Gated(Arc<Gates>);

impl Provider for Gated {
    fn models(&self) -> Vec<Model> {
        Server(Scripted::plain()).models()
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let gate = self.0.of(call.additional_instructions.as_deref().unwrap());
        let answers = futures_util::stream::iter(call.subtrees).then(move |index| {
            let (gate, plan) = (Arc::clone(&gate), Arc::clone(&call.plan));
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(Answer::Subtree {
                    index,
                    value: plain_value(&plan.subtrees[index]),
                    attributions: Default::default(),
                    logprobs: Default::default(),
                })
            }
        });
        answers.boxed()
    }
}

/// What one client of a job sees over ten connections, each cut after a random number of bytes
/// while the job runs, and one that lasts.
async fn cut_ten_times(app: &TestApp, job: &str, gate: &Semaphore, mut dice: Dice) -> Vec<Frame> {
    /// No frame is shorter.
    const FRAME: u64 = 300;
    let (mut seen, mut released): (Vec<Frame>, u64) = (Vec::new(), 2);
    for _ in 0..10 {
        let passes = dice.roll(2);
        gate.add_permits(passes as usize);
        released += passes;
        let cursor = seen.last().map(|frame| frame.id.clone());
        let stream = app.follow(job, cursor.as_deref()).await;
        assert_eq!(stream.response_status, 200);
        // No more than will come for sure while the job waits at its gate.
        let ahead = (released - seen.len() as u64) * FRAME;
        let (frames, was_cut) = stream.within(dice.roll(ahead) as usize).await;
        assert!(was_cut, "the job still runs");
        seen.extend(frames);
    }
    gate.add_permits(100);
    let cursor = seen.last().map(|frame| frame.id.clone());
    seen.extend(app.follow(job, cursor.as_deref()).await.rest().await);
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_cuts_over_a_hundred_running_jobs_lose_nothing_and_repeat_nothing() {
    const JOBS: u64 = 100;
    let gates = Arc::<Gates>::default();
    let app = TestApp::start()
        .provider(Arc::new(Gated(Arc::clone(&gates))))
        .set("max_active_jobs", JOBS)
        .set("max_running_jobs", JOBS)
        .set("max_streams_per_user", 1_000)
        .run()
        .await;
    let body = app.job_body(wide_schema(25), json!({})).await;
    let clients = (0..JOBS).map(|number| {
        let (app, gates, mut body) = (&app, &gates, body.clone());
        async move {
            let name = number.to_string();
            body["config"] = json!({"additional_instructions": name});
            let job = app.submit(&body).await;
            let seen = cut_ten_times(app, &job, &gates.of(&name), Dice(number)).await;
            assert_lawful(&seen);
            assert_eq!(seen.len(), 28);
            let whole = app.follow(&job, None).await.rest().await;
            assert_eq!(bytes(&seen), bytes(&whole), "job {number}");
        }
    });
    join_all(clients).await;
    streams(&app, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_a_running_job_share_its_pages_and_get_the_bytes_of_the_log() {
    const FOLLOWERS: u64 = 30;
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let body = app.job_body(wide_schema(60), json!({})).await;
    let job = app.submit(&body).await;
    let mut followers = join_all((0..FOLLOWERS).map(|_| app.follow(&job, None))).await;
    let mut logs = join_all(
        followers
            .iter_mut()
            .map(|stream| stream.until("job_status")),
    )
    .await;
    for _ in 0..20 {
        scripted.pass(3);
        for (stream, log) in followers.iter_mut().zip(&mut logs) {
            for _ in 0..3 {
                log.extend(stream.until("subtree_result").await);
            }
        }
    }
    let rest = join_all(followers.into_iter().map(Stream::rest)).await;
    let read = metric(&app, "rivulet_log_reads_total ").await;
    assert!(
        (1..=FOLLOWERS * 3).contains(&read),
        "{read} reads for {FOLLOWERS} followers of 63 events"
    );
    let whole = app.follow(&job, None).await.rest().await;
    assert_lawful(&whole);
    for (mut log, rest) in logs.into_iter().zip(rest) {
        log.extend(rest);
        assert_eq!(bytes(&log), bytes(&whole));
    }
}

/// A model that answers with values of `size` bytes.
fn large(size: usize) -> Arc<Scripted> {
    let value = json!({"a": "x".repeat(size)});
    Scripted::new(move |_, _| Reply::Value(value.clone()))
}

/// A connection that has asked for a job's events, with next to no room for them.
async fn narrow(app: &TestApp, job: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(app.app.address).await.unwrap();
    let request = format!(
        "GET /v1/extract/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// The frames of a whole chunked answer, without comments between them.
fn frames_of(answer: &[u8]) -> String {
    let at = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap();
    let (mut rest, mut body) = (&answer[at + 4..], Vec::new());
    loop {
        let at = rest.windows(2).position(|end| end == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            let body = String::from_utf8(body).unwrap();
            let frames = body.split_inclusive('\n').skip(2);
            return frames.filter(|line| !line.starts_with(':')).collect();
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + size + 4..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_far_behind_gets_every_event_and_holds_nobody_up() {
    let model = large(60_000);
    model.close();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 20});
    let job = app
        .submit(&app.job_body(wide_schema(200), config).await)
        .await;
    let mut slow = narrow(&app, &job).await;
    let mut fast = app.follow(&job, None).await;
    streams(&app, 2).await;
    model.pass(1_000);
    let seen = timeout(PATIENCE, fast.until("end")).await.unwrap();
    assert_lawful(&seen);
    let before = metric(&app, "rivulet_log_reads_total ").await;
    let mut answer = Vec::new();
    let reading = slow.read_to_end(&mut answer);
    timeout(PATIENCE, reading).await.unwrap().unwrap();
    let (slow, fast) = (frames_of(&answer), bytes(&seen));
    let same = slow.bytes().zip(fast.bytes()).take_while(|(a, b)| a == b);
    let same = same.count();
    assert!(slow == fast, "other bytes from {same}");
    let read = metric(&app, "rivulet_log_reads_total ").await - before;
    assert!(read > 50, "the slow one was behind: {read} reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_takes_nothing_is_closed_while_idle_readers_stay() {
    let model = large(60_000);
    model.close();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .set("stalled_after", 1)
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 20});
    let job = app
        .submit(&app.job_body(wide_schema(200), config).await)
        .await;
    let mut stuck = narrow(&app, &job).await;
    let mut idle = app.follow(&job, None).await;
    streams(&app, 2).await;
    model.pass(150);
    for _ in 0..150 {
        let next = timeout(PATIENCE, idle.until("subtree_result")).await;
        next.expect("the other reader goes on");
    }
    // Both have had nothing to do with the server since; one of them has much to take.
    streams(&app, 1).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stuck.read_to_end(&mut answer)).await;
    assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "a cut, not an end");
    model.pass(1_000);
    timeout(PATIENCE, idle.until("end")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_limited_per_job_and_per_user_and_make_room_when_they_close() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .set("max_streams_per_job", 3)
        .set("max_streams_per_user", 5)
        .run()
        .await;
    let body = app.job_body(wide_schema(2), json!({})).await;
    let (one, other) = (app.submit(&body).await, app.submit(&body).await);
    let refused = async |job: &str| {
        let path = format!("/v1/extract/jobs/{job}/events");
        let answer = app.get(&path, "problem").await;
        let known = answer.headers.contains_key("retry-after");
        assert!(known || answer.status != 429);
        let detail = answer.body["detail"].as_str().unwrap().to_owned();
        (answer.refusal().0, answer.refusal().1.to_owned(), detail)
    };
    let mut open = join_all((0..3).map(|_| app.follow(&one, None))).await;
    let (status, code, detail) = refused(&one).await;
    assert_eq!((status, code.as_str()), (429, "too_many_streams"));
    assert!(detail.contains(&one) && detail.contains('3'), "{detail}");
    let nobodys = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";
    assert_eq!(refused(nobodys).await.0, 404);

    open.extend(join_all((0..2).map(|_| app.follow(&other, None))).await);
    assert!(open.iter().all(|stream| stream.response_status == 200));
    let (status, code, detail) = refused(&other).await;
    assert_eq!((status, code.as_str()), (429, "too_many_streams"));
    assert!(detail.contains("user") && detail.contains('5'), "{detail}");
    // A job whose stream cannot be opened is not started, so that nobody pays for it unseen.
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let answer = app.post("/v1/extract/jobs", &streamed, "problem").await;
    assert_eq!(answer.refusal(), (429, "too_many_streams"));
    let jobs = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(jobs.body["total_count"], 2);

    drop(open.remove(0));
    streams(&app, 4).await;
    open.push(app.stream(&streamed).await);
    assert_eq!(open[4].response_status, 200);
    scripted.pass(100);
    for stream in open {
        assert_lawful(&stream.rest().await);
    }
    streams(&app, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_noticed_long_before_the_next_heartbeat() {
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::gated())))
        .set("heartbeat_seconds", 30)
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(1), json!({})).await)
        .await;
    let mut stream = app.follow(&job, None).await;
    stream.until("job_status").await;
    streams(&app, 1).await;
    drop(stream);
    let gone = timeout(Duration::from_secs(15), streams(&app, 0)).await;
    assert!(gone.is_ok(), "the stream of a client that left is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_too_old_ends_cleanly_and_can_be_taken_up() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .set("max_stream_age", 1)
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(3), json!({})).await)
        .await;
    let began = std::time::Instant::now();
    let seen = timeout(PATIENCE, app.follow(&job, None).await.rest());
    let mut seen = seen.await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(seen.last().unwrap().event, "job_status");
    scripted.pass(100);
    let cursor = seen.last().unwrap().id.clone();
    seen.extend(app.follow(&job, Some(&cursor)).await.rest().await);
    assert_lawful(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_can_be_broken_by_pings_that_a_page_sees() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .set("heartbeat_seconds", 1)
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(1), json!({})).await)
        .await;
    let path = format!("/v1/extract/jobs/{job}/events?heartbeat=event");
    let answer = app.client.get(app.url(&path)).send().await.unwrap();
    let mut stream = Stream::of(answer);
    let mut seen = stream.until("job_status").await;
    let ping = timeout(PATIENCE, stream.ping()).await.unwrap();
    assert!(ping["time"].as_str().unwrap() > seen[1].payload()["time"].as_str().unwrap());
    scripted.pass(9);
    seen.extend(stream.until("end").await);
    assert_lawful(&seen);
    assert!(!stream.beside.iter().any(|line| line == ":hb"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_server_answers_with_when_to_come_back_and_ends_the_stream() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(1), json!({})).await)
        .await;
    let mut open = app.follow(&job, None).await;
    open.until("job_status").await;
    app.app.engine.stop(Duration::ZERO).await;
    assert!(timeout(PATIENCE, open.next()).await.unwrap().is_none());
    let pace = |line: &str| -> u64 { line.strip_prefix("retry: ").unwrap().parse().unwrap() };
    assert!((500..=5_000).contains(&pace(open.beside.last().unwrap())));

    let answer = app.open_events(&job, None).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let body = answer.text().await.unwrap();
    let (first, last) = body.trim_end().split_once('\n').unwrap();
    assert_eq!(first, ":ok");
    assert!((500..=5_000).contains(&pace(last)));
}

/// The store of a server, for writing behind its engine's back.
type Behind = Arc<Mutex<Option<Arc<dyn Jobs>>>>;

async fn write(behind: &Behind, job: &str, guard: Guard, draft: Draft) {
    let jobs = behind.lock().clone().unwrap();
    let commit = Commit {
        job: JobId::parse(job).unwrap(),
        guard,
        at_sequence: None,
        drafts: vec![draft],
    };
    let committed = jobs.commit(commit).await.unwrap();
    assert!(
        matches!(committed, Committed::Stored { .. }),
        "{committed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_announced_are_found_and_leave_no_gap() {
    let behind = Behind::default();
    let scripted = Scripted::gated();
    let forgetful = Arc::new(AtomicBool::new(false));
    let (slot, loses) = (Arc::clone(&behind), Arc::clone(&forgetful));
    let app = TestApp::start()
        .provider(Arc::new(Server(scripted.clone())))
        .build(move |builder| {
            builder.jobs(move |jobs| {
                *slot.lock() = Some(Arc::clone(&jobs));
                Arc::new(Wrapped {
                    forgetful: loses,
                    ..Wrapped::around(jobs)
                })
            })
        })
        .run()
        .await;
    let job = app
        .submit(&app.job_body(wide_schema(3), json!({})).await)
        .await;
    let mut stream = app.follow(&job, None).await;
    let mut seen = stream.until("job_status").await;
    // A write lands and its answer is lost: its owner learns that it has, and no more.
    forgetful.store(true, Ordering::SeqCst);
    scripted.pass(1);
    seen.extend(
        timeout(PATIENCE, stream.until("subtree_result"))
            .await
            .unwrap(),
    );
    assert!(!forgetful.load(Ordering::SeqCst));
    // What comes now is announced with its bytes, behind a gap.
    scripted.pass(1);
    seen.extend(
        timeout(PATIENCE, stream.until("subtree_result"))
            .await
            .unwrap(),
    );
    // The end comes from somebody else.
    let caller = Guard::Caller {
        scope: Scope::local(),
    };
    let end = Draft::End(Ending::Cancelled { reason: None });
    write(&behind, &job, caller, end).await;
    seen.extend(timeout(PATIENCE, stream.rest()).await.unwrap());
    assert_lawful(&seen);
    let kinds: Vec<_> = seen.iter().map(|frame| frame.event.as_str()).collect();
    let expected = [
        "start",
        "job_status",
        "subtree_result",
        "subtree_result",
        "end",
    ];
    assert_eq!(kinds, expected);
}
