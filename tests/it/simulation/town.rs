//! One seed from its beginning to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rivulet::document::Readers;
use rivulet::domain::document::{Document, Kind, Page};
use rivulet::domain::error::Error;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Message, Reader, Sender, Sent, StoredDocument};
use rivulet::engine::{Engine, Lifetimes, Outside, Settings};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::law;
use super::ledger::LifeNumber;
use super::memory::is_active;
use super::model::{NAME, Simulated, text};
use super::shelf::Shelf;
use super::weather::{Act, CALM, JOBS};
use super::wire::{BEFORE, Wire, short};
use super::world::{LifeClock, Running, World};

const SHA256: &str = "5eed";
/// How long everything may take once nothing fails any more.
const PATIENCE: Duration = Duration::from_mins(15);

/// A lease, and a while for the others to notice, milliseconds.
const TAKEOVER: u64 = 22_000;

/// What became of a seed.
pub struct Outcome {
    pub violation: Option<String>,
    pub trace: Vec<String>,
}

/// Runs a seed in a runtime of its own.
pub fn run(seed: u64, is_traced: bool, is_whole: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = World::new(seed, is_traced);
        tokio::select! {
            biased;
            () = world.until_violated() => {}
            () = story(&world) => {}
        }
        world
    });
    for node in &world.nodes {
        // The engine holds what holds the world.
        node.running.lock().take();
    }
    drop(runtime);
    Outcome {
        violation: world.violation(),
        trace: world.trace(is_whole),
    }
}

/// Gives the document of the town, whatever it reads.
struct Given {
    text: String,
}

impl Reader for Given {
    fn read(&self, _bytes: &[u8]) -> Result<Document, Error> {
        if !self.text.is_empty() {
            let read = Readers.read(self.text.as_bytes())?;
            return Ok(Document {
                sha256: SHA256.into(),
                ..read
            });
        }
        Ok(Document {
            kind: Kind::Text,
            sha256: SHA256.into(),
            pages: vec![Page::from_lines(1, 1.0, 1.0, Vec::new(), Vec::new())],
            unread: vec![],
        })
    }
}

async fn story(world: &Arc<World>) {
    world.note(|| format!("{:?}", world.weather));
    for scope in Client::scopes() {
        let document = StoredDocument {
            id: world.document(),
            name: "document.txt".into(),
            kind: Kind::Text,
            size: 1,
            sha256: SHA256.into(),
            page_count: 1,
            uploaded_at: Time(0),
        };
        let inserted = world.disk.lock().insert_document(&scope, document);
        inserted.unwrap();
    }
    for node in 0..world.nodes.len() {
        start(world, node).await;
    }
    let mut clients = JoinSet::new();
    for client in Client::all(world) {
        clients.spawn(client.live());
    }
    for (at, act) in world.weather.acts.clone() {
        world.sleep_until(at).await;
        befall(world, act).await;
    }
    tokio::spawn(take_over(Arc::clone(world)));
    let mut kept = Vec::new();
    let all = async {
        while let Some(client) = clients.join_next().await {
            match client {
                Ok(job) => kept.extend(job),
                Err(panic) => world.violate(format!("a client broke: {panic}")),
            }
        }
        // Jobs whose client was never told of them end as well.
        while world.disk.lock().jobs.values().any(is_active) {
            sleep(Duration::from_secs(1)).await;
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        world.violate(format!("not everything ends: {}", left(world)));
    }
    judge(world, &kept);
}

/// By then no job is with a process that is dead or does not know of it.
async fn take_over(world: Arc<World>) {
    world.sleep_until(CALM + TAKEOVER).await;
    if world.weather.max_running_jobs < JOBS as usize {
        return;
    }
    let before = orphans(&world);
    // The answer to a claim may have been on its way.
    sleep(Duration::from_millis(500)).await;
    let after = orphans(&world);
    for orphan in after.iter().filter(|orphan| before.contains(orphan)) {
        let (job, owner) = orphan;
        world.violate(format!(
            "nobody has taken {} over from {owner:?}",
            short(*job)
        ));
    }
}

/// Jobs that the store gave to somebody who does not work on them.
fn orphans(world: &World) -> Vec<(JobId, (LifeNumber, u64))> {
    let running = (0..world.nodes.len()).filter_map(|node| world.running(node));
    let alive: Vec<_> = running.map(|running| running.life.number).collect();
    let (disk, ledger) = (world.disk.lock(), world.ledger.lock());
    let active = disk.jobs.values().filter(|row| is_active(row));
    let owned = active.filter_map(|row| Some((row.view.id, ledger.owner(row.view.id)?)));
    let lost = owned.filter(|(job, (life, epoch))| {
        !alive.contains(life) || !ledger.has_learned(*life, *job, *epoch)
    });
    lost.collect()
}

fn left(world: &World) -> String {
    let disk = world.disk.lock();
    let left = disk.jobs.values().filter(|row| is_active(row));
    let left: Vec<_> = left
        .map(|row| format!("{} is {:?}", short(row.view.id), row.view.status))
        .collect();
    left.join(", ")
}

async fn befall(world: &Arc<World>, act: Act) {
    world.note(|| format!("-- {act:?}"));
    match act {
        Act::Start(node) => start(world, node).await,
        Act::Kill(node) => kill(world, node),
        Act::Freeze(node) => drop(world.running(node).map(|running| running.life.freeze())),
        Act::Thaw(node) => drop(world.running(node).map(|running| running.life.thaw())),
        Act::Stop(node, grace) => stop(world, node, Duration::from_millis(grace)),
        Act::Cut(node) => *world.nodes[node].is_cut.lock() = true,
        Act::Join(node) => *world.nodes[node].is_cut.lock() = false,
        Act::Away => *world.is_away.lock() = true,
        Act::Back => *world.is_away.lock() = false,
        Act::Jump(node, by) => {
            world.nodes[node].skew.fetch_add(by, Ordering::SeqCst);
        }
        Act::Calm => calm(world).await,
    }
}

async fn calm(world: &Arc<World>) {
    *world.is_away.lock() = false;
    for node in 0..world.nodes.len() {
        *world.nodes[node].is_cut.lock() = false;
        match world.running(node) {
            Some(running) if !*running.life.is_stopping.lock() => running.life.thaw(),
            _ => start(world, node).await,
        }
    }
    *world.is_calm.lock() = true;
    world.calmed.notify_waiters();
}

fn kill(world: &World, node: usize) {
    let running = world.nodes[node].running.lock().take();
    if let Some(Running { life, .. }) = running {
        life.die();
    }
}

fn stop(world: &Arc<World>, node: usize, grace: Duration) {
    let Some(Running { life, engine }) = world.running(node) else {
        return;
    };
    let world = Arc::clone(world);
    tokio::spawn(async move {
        life.awake().await;
        *life.is_stopping.lock() = true;
        engine.stop(grace).await;
        world.note(|| format!("{life} has stopped"));
        let mut running = world.nodes[node].running.lock();
        if running
            .as_ref()
            .is_some_and(|now| now.life.number == life.number)
        {
            running.take();
        }
        drop(running);
        life.die();
    });
}

/// Reaches nobody. No job of the simulation is to be told of.
struct Silent;

impl Sender for Silent {
    fn check(&self, url: &str) -> Result<String, Error> {
        Ok(url.to_owned())
    }

    fn send(&self, _: Message) -> BoxFuture<'_, Sent> {
        std::future::ready(Sent::Unreached("nobody is there".into())).boxed()
    }
}

/// Starts a process on a node, in the place of the one that may be there.
///
/// Time stands still meanwhile. What runs on threads beside ours ends at a moment that nobody
/// knows, so all else comes to rest before we go on.
async fn start(world: &Arc<World>, node: usize) {
    kill(world, node);
    let life = world.life(node);
    let clock = Arc::new(LifeClock {
        world: Arc::clone(world),
        life: Arc::clone(&life),
    });
    if world.nodes.len() == 1 {
        world.disk.lock().clear_leases();
    }
    let shelf = Shelf {
        disk: Arc::clone(&world.disk),
        clock: clock.clone(),
    };
    let wire = Arc::new(Wire {
        world: Arc::clone(world),
        life: Arc::clone(&life),
        shelf: Arc::new(shelf),
    });
    let outside = Outside {
        jobs: wire.clone(),
        catalog: wire.clone(),
        files: wire.shelf.clone(),
        keys: wire.shelf.clone(),
        outbox: wire.shelf.clone(),
        sender: Arc::new(Silent),
        blobs: wire.clone(),
        reader: Arc::new(Given {
            text: text(&world.weather),
        }),
        providers: vec![Arc::new(Simulated {
            world: Arc::clone(world),
            life: Arc::clone(&life),
        })],
        clock,
    };
    let engine = Engine::start(settings(world), outside);
    let before = Scope::new(BEFORE);
    let bytes = Bytes::from_static(b"document");
    engine.upload(&before, "document.txt", bytes).await.unwrap();
    let planned = engine.plan(&world.schema, Default::default()).await;
    planned.unwrap();
    for _ in 0..100 {
        yield_now().await;
    }
    *life.is_serving.lock() = true;
    world.note(|| format!("{life} serves"));
    *world.nodes[node].running.lock() = Some(Running { life, engine });
}

fn settings(world: &World) -> Settings {
    let weather = &world.weather;
    Settings {
        max_active_jobs: weather.max_active_jobs,
        max_queued_jobs: weather.max_queued_jobs,
        max_running_jobs: weather.max_running_jobs,
        max_document_bytes: 1_000,
        default_model: NAME.into(),
        max_reads: 1,
        lifetimes: Lifetimes::default(),
        max_streams_per_job: 8,
        max_streams_per_user: weather.max_streams_per_user,
    }
}

/// What must hold when all is over.
fn judge(world: &World, kept: &[JobId]) {
    let disk = world.disk.lock();
    for row in disk.jobs.values() {
        world.hold(law::is_lawful(row), || short(row.view.id));
    }
    for job in kept {
        if !disk.jobs.contains_key(job) {
            world.violate(format!("{} was acknowledged and is lost", short(*job)));
        }
    }
    for (scope, tenant) in &disk.tenants {
        if tenant.active != 0 {
            world.violate(format!("`{scope}` has {} slots taken", tenant.active));
        }
    }
    for (client, jobs) in &world.ledger.lock().stored {
        let there = jobs.iter().filter(|job| disk.jobs.contains_key(job));
        if there.count() > 1 {
            world.violate(format!("client {client} has several jobs: {jobs:?}"));
        }
    }
}
