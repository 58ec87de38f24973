//! A job is cancelled on one node while another runs it. Both are in this process, so that one
//! clock tells what came first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::job::{Draft, Ending};
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Commit, Guard, Jobs, Model, Provider};
use serde_json::json;
use tokio::sync::watch;

use super::PATIENCE;
use crate::support::app::{TestApp, wide_schema};
use crate::support::dice::Dice;
use crate::support::line::{Line, State};
use crate::support::postgres::{Database, database};
use crate::support::provider::plain_value;
use crate::support::store::{Hold, Wrapped};

const RACES: usize = 100;
const AT_ONCE: usize = 10;
const SUBTREES: usize = 120;
const CALLS_AT_ONCE: usize = 12;
/// From the answer to a cancel until the last call in flight is dropped.
const SOON: Duration = Duration::from_secs(1);
/// A run that is going to begin one more call has done so by then.
const SETTLED: Duration = Duration::from_secs(2);

/// Names of jobs whose calls go on for ever, and of such whose calls take long.
const ENDLESS: &str = "endless";
const SLOW: &str = "slow";

/// What became of the calls of one job.
#[derive(Default)]
struct Calls {
    begun: Vec<Instant>,
    under_way: watch::Sender<usize>,
}

/// Answers after a while, and knows which calls of which job have begun and not yet ended.
#[derive(Default)]
struct Counted {
    /// By the instructions of the job.
    jobs: Mutex<HashMap<String, Calls>>,
    more: watch::Sender<()>,
}

/// A call that goes on; also when nobody waits for it to end.
struct UnderWay {
    counted: Arc<Counted>,
    job: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let jobs = self.counted.jobs.lock();
        jobs[&self.job].under_way.send_modify(|count| *count -= 1);
    }
}

impl Counted {
    fn begin(self: &Arc<Self>, job: &str) -> UnderWay {
        let mut jobs = self.jobs.lock();
        let calls = jobs.entry(job.to_owned()).or_default();
        calls.begun.push(Instant::now());
        calls.under_way.send_modify(|count| *count += 1);
        // Whoever waits takes the locks in the other order.
        drop(jobs);
        self.more.send_replace(());
        UnderWay {
            counted: Arc::clone(self),
            job: job.to_owned(),
        }
    }

    fn begun(&self, job: &str) -> Vec<Instant> {
        let jobs = self.jobs.lock();
        jobs.get(job)
            .map_or_else(Vec::new, |calls| calls.begun.clone())
    }

    async fn until_begun(&self, job: &str, count: usize) {
        let mut more = self.more.subscribe();
        more.wait_for(|()| self.begun(job).len() >= count)
            .await
            .unwrap();
    }

    async fn until_none_is_under_way(&self, job: &str) {
        let mut under_way = self.jobs.lock()[job].under_way.subscribe();
        under_way.wait_for(|count| *count == 0).await.unwrap();
    }
}

struct Counting(Arc<Counted>);

impl Provider for Counting {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "counted".into(),
            display_name: "Counted".into(),
            description: "Counts.".into(),
            provider: "tests".into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let counted = Arc::clone(&self.0);
        async_stream::stream! {
            let job = call.additional_instructions.clone().unwrap();
            let _under_way = counted.begin(&job);
            let index = call.subtrees[0];
            let delay = match (&*job, index as u64 % 24) {
                (ENDLESS, _) | (_, 5) => 60_000,
                (SLOW, _) => 300,
                // Not in step.
                (_, step) => 30 + 3 * step,
            };
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let value = plain_value(&call.plan.subtrees[index]);
            yield Ok(Answer::Subtree { index, value, attributions: Attributions::new(), logprobs: Logprobs::new() });
            yield Ok(Answer::Usage(Usage::default()));
        }
        .boxed()
    }
}

/// Two servers on one database: one is asked, the other runs the jobs.
struct Pair {
    asked: TestApp,
    runs: TestApp,
    model: Arc<Counted>,
    _files: tempfile::TempDir,
}

impl Pair {
    /// `runs_on`: how the server that runs the jobs reaches the database.
    async fn on(database: &Database, runs_on: String, is_deaf: bool) -> Self {
        let (model, files) = (Arc::new(Counted::default()), tempfile::tempdir().unwrap());
        let start = |store: String| {
            TestApp::start()
                .provider(Arc::new(Counting(Arc::clone(&model))))
                .set("store", store)
                .set("blobs", format!("file://{}", files.path().display()))
                .set("max_active_jobs", 1_000)
        };
        let never = Arc::new(Hold::default());
        never.close();
        let wrap = move |inner| {
            Arc::new(Wrapped {
                claims: never,
                ..Wrapped::around(inner)
            }) as _
        };
        let asked = start(database.url()).build(move |builder| builder.jobs(wrap));
        let wrap = move |inner| {
            Arc::new(Wrapped {
                is_deaf,
                ..Wrapped::around(inner)
            }) as _
        };
        let runs = start(runs_on).build(move |builder| builder.jobs(wrap));
        Self {
            asked: asked.run().await,
            runs: runs.run().await,
            model,
            _files: files,
        }
    }

    /// A job that has begun so many calls.
    async fn begun(&self, name: &str, calls: usize) -> JobId {
        begun(&self.asked, &self.model, name, calls).await
    }

    async fn cancel(&self, job: JobId) -> Option<Instant> {
        cancel(&self.asked, job).await
    }
}

async fn begun(app: &TestApp, model: &Counted, name: &str, calls: usize) -> JobId {
    let config = json!({
        "max_num_concurrent_requests": CALLS_AT_ONCE,
        "additional_instructions": name,
    });
    let body =
        json!({"document": "Total: 5 EUR", "schema": wide_schema(SUBTREES), "config": config});
    let job = app.submit(&body).await;
    model.until_begun(name, calls).await;
    JobId::parse(&job).unwrap()
}

/// When the cancel was answered; none when the job had ended.
async fn cancel(app: &TestApp, job: JobId) -> Option<Instant> {
    let answer = app.app.engine.cancel(&Scope::local(), job, None).await;
    answer.ok().map(|_| Instant::now())
}

/// Cancels jobs in the middle of their calls, and holds what the model saw against the answers.
async fn race(model: &Counted, app: &TestApp) {
    let mut dice = Dice(0x5eed);
    let mut answered = Vec::new();
    for round in 0..RACES / AT_ONCE {
        let races = (0..AT_ONCE).map(|one| {
            let (name, calls) = (format!("{round}-{one}"), 1 + dice.roll(90) as usize);
            async move {
                let job = begun(app, model, &name, calls).await;
                let at = cancel(app, job).await?;
                let dropped = model.until_none_is_under_way(&name);
                let dropped = tokio::time::timeout(SOON, dropped).await;
                dropped.expect("calls go on after the job was cancelled");
                Some((name, at))
            }
        });
        answered.extend(join_all(races).await.into_iter().flatten());
    }
    assert!(answered.len() > RACES * 9 / 10, "{}", answered.len());
    tokio::time::sleep(SETTLED).await;
    let mut in_the_middle = 0;
    for (name, at) in answered {
        let begun = model.begun(&name);
        in_the_middle += usize::from(begun.len() < SUBTREES);
        let late: Vec<_> = begun.iter().filter(|begun| **begun > at).collect();
        assert!(late.is_empty(), "{name}: {} calls began late", late.len());
    }
    assert!(in_the_middle > RACES / 2, "{in_the_middle}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_begins_after_a_cancel_on_another_node_was_answered() {
    let Some(database) = database().await else {
        return;
    };
    let pair = Pair::on(&database, database.url(), false).await;
    race(&pair.model, &pair.asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_begins_after_a_cancel_on_another_node_that_is_not_heard() {
    let Some(database) = database().await else {
        return;
    };
    let pair = Pair::on(&database, database.url(), true).await;
    race(&pair.model, &pair.asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_begins_after_a_cancel_on_the_same_node_was_answered() {
    let model = Arc::new(Counted::default());
    let app = TestApp::start()
        .provider(Arc::new(Counting(Arc::clone(&model))))
        .set("max_active_jobs", 1_000)
        .run()
        .await;
    race(&model, &app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_would_go_on_are_dropped_soon_whether_a_cancel_is_heard_or_not() {
    for is_deaf in [false, true] {
        // One for each: servers of before would take the jobs of later.
        let Some(database) = database().await else {
            return;
        };
        let pair = Pair::on(&database, database.url(), is_deaf).await;
        let job = pair.begun(ENDLESS, CALLS_AT_ONCE).await;
        let asked = Instant::now();
        let answered = pair.cancel(job);
        let dropped = pair.model.until_none_is_under_way(ENDLESS);
        let both = async { tokio::join!(answered, dropped) };
        let both = tokio::time::timeout(PATIENCE, both).await;
        assert!(both.unwrap().0.is_some());
        let took = asked.elapsed();
        assert!(took < SOON, "{took:?} with is_deaf {is_deaf}");
        assert_eq!(pair.model.begun(ENDLESS).len(), CALLS_AT_ONCE);
    }
}

/// A server of its own whose calls go on for ever, its store, and a job.
async fn endless() -> (TestApp, Arc<Counted>, Arc<dyn Jobs>, JobId) {
    let model = Arc::new(Counted::default());
    let (tell, told) = std::sync::mpsc::channel();
    let app = TestApp::start()
        .provider(Arc::new(Counting(Arc::clone(&model))))
        .build(move |builder| {
            builder.jobs(move |jobs| {
                tell.send(Arc::clone(&jobs)).unwrap();
                jobs
            })
        })
        .run()
        .await;
    let job = begun(&app, &model, ENDLESS, CALLS_AT_ONCE).await;
    (app, model, told.recv().unwrap(), job)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_nobody_waits_for_stops_the_job_all_the_same() {
    let (app, model, _, job) = endless().await;
    let scope = Scope::local();
    let cancel = app.app.engine.cancel(&scope, job, None);
    assert!(cancel.now_or_never().is_none());
    let dropped = model.until_none_is_under_way(ENDLESS);
    tokio::time::timeout(SOON * 10, dropped).await.unwrap();
    assert_eq!(app.end_of(&job.to_string()).await["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_cancelled_and_still_runs_is_stopped_by_the_next_cancel() {
    let (app, model, store, job) = endless().await;
    let commit = Commit {
        job,
        guard: Guard::Caller {
            scope: Scope::local(),
        },
        at_sequence: None,
        drafts: vec![Draft::End(Ending::Cancelled { reason: None })],
    };
    store.commit(commit).await.unwrap();
    assert!(cancel(&app, job).await.is_some());
    let dropped = model.until_none_is_under_way(ENDLESS);
    tokio::time::timeout(SOON, dropped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_begins_no_call_once_the_job_was_cancelled_on_another() {
    let Some(database) = database().await else {
        return;
    };
    let line = Line::to(database.port).await;
    let pair = Pair::on(&database, database.through(line.port), false).await;
    let job = pair.begun(SLOW, 20).await;
    line.set(State::Silent);
    let at = loop {
        // Until the database has let go of what the silent one had locked.
        if let Some(at) = pair.cancel(job).await {
            break at;
        }
    };
    tokio::time::sleep(SETTLED).await;
    let begun = pair.model.begun(SLOW);
    assert!(begun.iter().all(|begun| *begun <= at));
    // Back again, it learns that there is nothing left to do.
    line.set(State::Open);
    let other = pair.begun("another", 3).await;
    assert_eq!(pair.model.begun(SLOW).len(), begun.len());
    assert!(pair.cancel(other).await.is_some());
    drop(pair.runs);
}
