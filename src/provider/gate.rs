//! Lets calls to a provider go when its server will take them: one gate a key, shared by all jobs.
//!
//! A gate starts open. What the server says of its limits, in headers and in refusals, becomes a
//! pace ([`pacing`]); failures in a row close it for a while ([`breaker`]). Both are plain logic on
//! a clock that is handed in; here they get tokio's.

pub mod breaker;
pub mod declared;
pub mod learned;
pub mod pacing;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};

pub use breaker::{Breaker, State};
pub use declared::Meter;
pub use pacing::{Pacing, Rates, Ticket, Wait};

/// Keys that are remembered; callers may bring their own.
const KEYS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Why a call may not go within its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// The key's limit; it may go after so long.
    RateLimited(Duration),
    /// The server does not answer; it is tried again after so long.
    Unavailable(Duration),
}

/// A gate as it stands, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    pub breaker: State,
    /// Calls at once and calls a second, learned from refusals.
    pub known: Option<(f64, f64)>,
    /// How long the last refusal keeps it closed.
    pub closed_for: Duration,
    /// 429s since the start.
    pub refusals: u64,
}

#[derive(Default)]
struct Inside {
    pacing: Pacing,
    breaker: Breaker,
}

impl Inside {
    fn blocked(&mut self, tokens: u64, now: Instant) -> Option<Blocked> {
        if let Some(until) = self.breaker.wait(now) {
            return Some(Blocked::Unavailable(until - now));
        }
        self.pacing.wait(tokens, now).map(Blocked::RateLimited)
    }
}

impl Blocked {
    pub fn wait(self) -> Duration {
        match self {
            Self::RateLimited(wait) | Self::Unavailable(wait) => wait,
        }
    }
}

/// One key's gate.
pub struct Gate {
    inside: Mutex<Inside>,
    /// Callers wait in order; the first alone looks at the clock.
    turnstile: Semaphore,
    changed: Notify,
    random: fn() -> f64,
}

/// From 0 to 1; the middle when the system has no randomness.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(chance)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Gate {
    /// `random` gives numbers from 0 to 1.
    pub fn new(random: fn() -> f64) -> Self {
        Self {
            inside: Mutex::default(),
            turnstile: Semaphore::new(1),
            changed: Notify::new(),
            random,
        }
    }

    /// Waits until a call of so many prompt tokens may go. Fails at once when it is known that it
    /// may not within `patience`, counted from when it is first in line.
    pub async fn acquire(
        self: &Arc<Self>,
        tokens: u64,
        patience: Duration,
    ) -> Result<Pass, Blocked> {
        let _first = self.turnstile.acquire().await;
        let patient_until = now() + patience;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let blocked = match self.enter(tokens) {
                Ok(pass) => return Ok(pass),
                Err(blocked) => blocked,
            };
            let until = now() + blocked.wait();
            if until > patient_until {
                return Err(blocked);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
    }

    /// Lets a call go now, or says why not. Does not stand in line.
    pub fn enter(self: &Arc<Self>, tokens: u64) -> Result<Pass, Blocked> {
        let now = now();
        let mut inside = self.inside.lock();
        if let Some(blocked) = inside.blocked(tokens, now) {
            return Err(blocked);
        }
        Ok(Pass {
            ticket: inside.pacing.send(tokens, now),
            probe: inside.breaker.enter(now),
            gate: Arc::clone(self),
            is_answered: false,
            is_settled: false,
        })
    }

    pub fn view(&self) -> View {
        let inside = self.inside.lock();
        let closed_until = inside.pacing.closed_until();
        View {
            breaker: inside.breaker.state(),
            known: inside.pacing.known(),
            closed_for: closed_until.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(now())
            }),
            refusals: inside.pacing.refusals(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Inside, Instant)) {
        change(&mut self.inside.lock(), now());
        self.changed.notify_waiters();
    }
}

/// A call that was let through. Says how it went; dropped without a word it was given up.
#[must_use = "the gate learns from how the call went"]
pub struct Pass {
    gate: Arc<Gate>,
    ticket: Ticket,
    probe: Option<u64>,
    is_answered: bool,
    is_settled: bool,
}

impl Pass {
    /// The headers of an answer that is no failure and no 429 are there; its body may still come.
    /// Said once: what comes later changes nothing.
    pub fn answered(&mut self, rates: &Rates) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        self.gate.change(|inside, _| {
            inside.pacing.answered(&self.ticket, rates);
            inside.breaker.answered();
        });
    }

    /// 429: when to come again, if it says so, and what it says of the limits.
    pub fn refused(mut self, hint: Option<Wait>, rates: &Rates) {
        self.is_settled = true;
        let random = (self.gate.random)();
        self.gate.change(|inside, now| {
            inside
                .pacing
                .refused(&self.ticket, hint, rates, random, now);
            inside.breaker.succeeded();
        });
    }

    /// The whole answer came, or a 4xx that blames the call.
    pub fn succeeded(mut self) {
        self.is_settled = true;
        self.answered(&Rates::default());
        self.gate.change(|inside, _| inside.breaker.succeeded());
    }

    /// Overload, 5xx, a timeout or a lost connection, before the answer or inside it.
    pub fn failed(mut self) {
        self.is_settled = true;
        let (probe, is_answered) = (self.probe, self.is_answered);
        self.gate.change(|inside, now| {
            if !is_answered {
                inside.pacing.left();
            }
            inside.breaker.failed(probe, now);
        });
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_settled {
            let (probe, is_answered) = (self.probe, self.is_answered);
            self.gate.change(|inside, now| {
                if !is_answered {
                    inside.pacing.left();
                }
                inside.breaker.given_up(probe, now);
            });
        }
    }
}

/// The gates of all keys. Beyond 1,024 of them the one that was used longest ago is forgotten.
pub struct Gates {
    gates: Mutex<LruCache<[u8; 32], Arc<Gate>>>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            gates: Mutex::new(LruCache::new(KEYS)),
        }
    }
}

impl Gates {
    /// The gate of a key at a server. The key itself is not kept.
    pub fn of(&self, server: &str, key: &str) -> Arc<Gate> {
        let mut hash = Sha256::new();
        hash.update((server.len() as u64).to_le_bytes());
        hash.update(server);
        hash.update(key);
        let mut gates = self.gates.lock();
        Arc::clone(gates.get_or_insert(hash.finalize().into(), Arc::default))
    }
}
