//! A clock that is moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use rivulet::app::SystemClock;
use rivulet::domain::time::Time;
use rivulet::engine::ports::Clock;

/// The system's time and an offset.
#[derive(Default)]
pub struct Shifted {
    millis: AtomicI64,
}

impl Shifted {
    pub fn forward(&self, millis: i64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Time {
        Time(SystemClock.now().0 + self.millis.load(Ordering::SeqCst))
    }
}
