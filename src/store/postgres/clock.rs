//! The database's clock, read here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Time;
use crate::engine::ports::Clock;

/// A round trip that took longer tells too little about when the database looked at its clock.
const PROMPT: Duration = Duration::from_millis(20);

/// Our own clock, set by the database's: nodes whose clocks differ agree about the time.
pub struct DatabaseClock {
    given: Option<Arc<dyn Clock>>,
    /// Milliseconds that the database's clock is ahead of ours.
    ahead: AtomicI64,
}

impl DatabaseClock {
    /// `given` tells the time in the place of the database.
    pub fn new(given: Option<Arc<dyn Clock>>) -> Self {
        Self {
            given,
            ahead: AtomicI64::new(0),
        }
    }

    /// Learns from an answer that holds the database's time and was asked for at `asked`.
    pub fn learn(&self, database: i64, asked: Instant) {
        let took = asked.elapsed();
        if took <= PROMPT {
            let half = took.as_millis() as i64 / 2;
            self.ahead
                .store(database - (here() - half), Ordering::Relaxed);
        }
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Time {
        match &self.given {
            Some(given) => given.now(),
            None => Time(here() + self.ahead.load(Ordering::Relaxed)),
        }
    }
}

fn here() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
