//! What all of a simulated town share: time, chance, the disk, the trace, and who lives.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rivulet::domain::id::{DocumentId, JobId};
use rivulet::domain::time::Time;
use rivulet::engine::Engine;
use rivulet::engine::ports::{Clock, News};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ledger::{Ledger, LifeNumber};
use super::memory::{Memory, Now, Row};
use super::model::schema;
use super::shelf::{Disk, millis};
use super::weather::Weather;
use crate::support::dice::Dice;

const START: Time = Time(1_763_762_400_000);
const RETENTION_MS: u64 = 7 * 86_400_000;
/// Who had no trouble for so long has kept its leases.
const LEASE: Duration = Duration::from_secs(16);
/// Lines of the trace that are kept.
const TAIL: usize = 400;

/// Chance of its own for everybody, so that one who draws more changes nobody else's luck.
pub fn dice(seed: u64, whose: u64) -> Dice {
    let mut mixed = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(whose.wrapping_mul(0xd1b5_4a32_d192_ed03));
    for shift in [30, 27, 31] {
        mixed = (mixed ^ (mixed >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    Dice(mixed | 1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Frozen,
    Dead,
}

/// A process of a node, from its start to its death.
pub struct Life {
    pub number: LifeNumber,
    pub node: usize,
    state: Mutex<State>,
    turned: Notify,
    pub dice: Mutex<Dice>,
    /// When something last went wrong with it.
    troubled: Mutex<Instant>,
    pub is_serving: Mutex<bool>,
    pub is_stopping: Mutex<bool>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<News>>>,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.node, self.number)
    }
}

impl Life {
    fn turn(&self, state: State) {
        let mut now = self.state.lock();
        if *now != State::Dead {
            *now = state;
        }
        drop(now);
        self.trouble();
        self.turned.notify_waiters();
    }

    pub fn freeze(&self) {
        self.turn(State::Frozen);
    }

    pub fn thaw(&self) {
        self.turn(State::Alive);
    }

    pub fn die(&self) {
        self.turn(State::Dead);
        self.listeners.lock().clear();
    }

    pub fn is_dead(&self) -> bool {
        *self.state.lock() == State::Dead
    }

    async fn until(&self, wanted: State) {
        loop {
            let turned = self.turned.notified();
            if *self.state.lock() == wanted {
                return;
            }
            turned.await;
        }
    }

    /// Goes on while the process runs: later when it is frozen, never when it is dead.
    pub async fn awake(&self) {
        self.until(State::Alive).await;
    }

    pub async fn died(&self) {
        self.until(State::Dead).await;
    }

    pub fn trouble(&self) {
        *self.troubled.lock() = Instant::now();
    }

    /// Whether nothing went wrong for so long before a moment, nor after it.
    pub fn is_well_for(&self, moment: Instant, before: Duration) -> bool {
        let trouble = *self.troubled.lock();
        *self.state.lock() == State::Alive && moment.saturating_duration_since(trouble) > before
    }

    pub fn listen(&self) -> mpsc::UnboundedReceiver<News> {
        let (tell, told) = mpsc::unbounded_channel();
        self.listeners.lock().push(tell);
        told
    }
}

/// A node with a process on it.
#[derive(Clone)]
pub struct Running {
    pub life: Arc<Life>,
    pub engine: Engine,
}

pub struct Node {
    pub running: Mutex<Option<Running>>,
    /// Of its wall clock, milliseconds.
    pub skew: AtomicI64,
    pub is_cut: Mutex<bool>,
}

pub struct World {
    pub seed: u64,
    pub weather: Weather,
    /// What all clients want to have filled.
    pub schema: Value,
    pub disk: Disk,
    pub ledger: Mutex<Ledger>,
    pub nodes: Vec<Node>,
    pub is_away: Mutex<bool>,
    pub is_calm: Mutex<bool>,
    pub calmed: Notify,
    began: Instant,
    minted: AtomicU64,
    lives: AtomicU32,
    trace: Mutex<Option<VecDeque<String>>>,
    lines: AtomicU64,
    violation: Mutex<Option<String>>,
    violated: Notify,
}

impl World {
    pub fn new(seed: u64, is_traced: bool) -> Arc<Self> {
        let weather = Weather::of(&mut dice(seed, 0));
        let node = |_| Node {
            running: Mutex::new(None),
            skew: AtomicI64::new(0),
            is_cut: Mutex::new(false),
        };
        let memory = Memory::new(weather.max_event_bytes, RETENTION_MS);
        Arc::new(Self {
            seed,
            nodes: (0..weather.nodes).map(node).collect(),
            schema: schema(&weather),
            weather,
            disk: Arc::new(Mutex::new(memory)),
            ledger: Mutex::default(),
            is_away: Mutex::new(false),
            is_calm: Mutex::new(false),
            calmed: Notify::new(),
            began: Instant::now(),
            minted: AtomicU64::new(0),
            lives: AtomicU32::new(0),
            trace: Mutex::new(is_traced.then(VecDeque::new)),
            lines: AtomicU64::new(0),
            violation: Mutex::new(None),
            violated: Notify::new(),
        })
    }

    /// Milliseconds since the beginning.
    pub fn at(&self) -> u64 {
        millis(self.began.elapsed())
    }

    pub async fn sleep_until(&self, at: u64) {
        tokio::time::sleep_until(self.began + Duration::from_millis(at)).await;
    }

    /// What time it is on a node. Leases are measured by the store's own clock, which never jumps.
    pub fn now(&self, node: usize) -> Now {
        let lease = START.plus_millis(self.at());
        let skew = self.nodes[node].skew.load(Ordering::SeqCst);
        Now {
            wall: Time(lease.0 + skew),
            lease,
        }
    }

    pub fn mint(&self) -> Uuid {
        let number = self.minted.fetch_add(1, Ordering::SeqCst);
        Uuid::from_u128(0x0193_4f00_0000_7000_8000_0000_0000_0000 + u128::from(number))
    }

    pub fn document(&self) -> DocumentId {
        DocumentId(Uuid::from_u128(7))
    }

    pub fn life(&self, node: usize) -> Arc<Life> {
        let number = self.lives.fetch_add(1, Ordering::SeqCst);
        Arc::new(Life {
            number,
            node,
            state: Mutex::new(State::Alive),
            turned: Notify::new(),
            dice: Mutex::new(dice(self.seed, 1_000 + u64::from(number))),
            troubled: Mutex::new(Instant::now()),
            is_serving: Mutex::new(false),
            is_stopping: Mutex::new(false),
            listeners: Mutex::default(),
        })
    }

    pub fn running(&self, node: usize) -> Option<Running> {
        self.nodes[node].running.lock().clone()
    }

    /// Whether an operation of this node does not come to the store.
    pub fn is_unreachable(&self, node: usize) -> bool {
        *self.is_away.lock() || *self.nodes[node].is_cut.lock()
    }

    pub fn is_calm(&self) -> bool {
        *self.is_calm.lock()
    }

    pub async fn until_calm(&self) {
        loop {
            let calmed = self.calmed.notified();
            if self.is_calm() {
                return;
            }
            calmed.await;
        }
    }

    /// Tells other processes, late or never.
    pub fn spread(self: &Arc<Self>, news: News) {
        if self.nodes.len() == 1 {
            return;
        }
        for node in 0..self.nodes.len() {
            let Some(Running { life, .. }) = self.running(node) else {
                continue;
            };
            let (is_unheard, late) = {
                let mut dice = life.dice.lock();
                let lost = dice.roll(1_000) < self.weather.unheard;
                (lost, dice.roll(self.weather.way * 3))
            };
            if is_unheard || self.is_unreachable(node) {
                continue;
            }
            tokio::spawn(async move {
                sleep(Duration::from_millis(late)).await;
                life.awake().await;
                for listener in &*life.listeners.lock() {
                    let _ = listener.send(news);
                }
            });
        }
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut *self.trace.lock() {
            self.lines.fetch_add(1, Ordering::SeqCst);
            trace.push_back(format!("{:>7} {}", self.at(), line()));
        }
    }

    /// Everything that was noted, or its end.
    pub fn trace(&self, is_whole: bool) -> Vec<String> {
        let trace = self.trace.lock();
        let lines: Vec<_> = trace.iter().flatten().cloned().collect();
        let from = if is_whole {
            0
        } else {
            lines.len().saturating_sub(TAIL)
        };
        lines[from..].to_vec()
    }

    /// Something that must never be has been. Only the first is kept.
    pub fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATION: {what}"));
        let mut violation = self.violation.lock();
        if violation.is_none() {
            *violation = Some(format!("at {} ms: {what}", self.at()));
            self.violated.notify_one();
        }
    }

    pub fn hold(&self, held: Result<(), String>, of: impl FnOnce() -> String) {
        if let Err(cause) = held {
            self.violate(format!("{}: {cause}", of()));
        }
    }

    pub fn violation(&self) -> Option<String> {
        self.violation.lock().clone()
    }

    pub async fn until_violated(&self) {
        self.violated.notified().await;
    }

    /// Runs after every write: what is cheap to look at.
    pub fn look_at(&self, disk: &Memory, job: JobId) {
        let Some(row) = disk.jobs.get(&job) else {
            return;
        };
        self.hold(super::law::is_closed(row), || format!("job {job}"));
        let scope = row.scope.as_str();
        let (counted, taken) = (disk.active(scope), disk.tenants[scope].active);
        if counted != taken {
            self.violate(format!(
                "`{scope}` has {counted} active jobs and {taken} slots taken"
            ));
        }
    }

    /// A job is taken only from those who could not keep it.
    pub fn is_free(&self, job: JobId) {
        let ledger = self.ledger.lock();
        let Some((owner, epoch)) = ledger.owner(job) else {
            return;
        };
        let has_learned = ledger.has_learned(owner, job, epoch) && !ledger.has_given_up(owner, job);
        drop(ledger);
        let running = (0..self.nodes.len()).filter_map(|node| self.running(node));
        let mut owners = running.filter(|running| running.life.number == owner);
        let now = Instant::now();
        if has_learned && owners.any(|owner| owner.life.is_well_for(now, LEASE)) {
            self.violate(format!("{job} is taken from life {owner}, which is well"));
        }
    }

    pub fn row(&self, job: JobId) -> Option<Row> {
        self.disk.lock().jobs.get(&job).cloned()
    }
}

/// The clock of a process.
pub struct LifeClock {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl Clock for LifeClock {
    fn now(&self) -> Time {
        self.world.now(self.life.node).wall
    }

    fn mint(&self) -> Uuid {
        if *self.life.is_serving.lock() {
            self.world.mint()
        } else {
            // Nobody knows what else is minted at that moment.
            Uuid::from_u128(u128::from(self.life.number))
        }
    }
}
