//! Polls of one job, counted.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::domain::id::JobId;

/// Polls of one job in one window: five times as many as its clients are told to make.
const ALLOWED: u32 = 60;
const WINDOW: Duration = Duration::from_mins(1);
/// Jobs that are remembered; the one that was quiet for the longest time is forgotten first.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// Since when it is counted, and how many there were.
type Window = (Instant, u32);

/// What is remembered of jobs that are polled.
pub struct Polls {
    windows: Mutex<LruCache<JobId, Window>>,
}

impl Polls {
    pub fn new() -> Self {
        Self {
            windows: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Counts one more. Once there are too many: the seconds until it is counted anew.
    pub fn count(&self, job: JobId) -> Option<u32> {
        self.count_at(job, Instant::now())
    }

    fn count_at(&self, job: JobId, now: Instant) -> Option<u32> {
        let mut windows = self.windows.lock();
        let window = windows.get_or_insert_mut(job, || (now, 0));
        if now.duration_since(window.0) >= WINDOW {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(window.0));
        (window.1 > ALLOWED).then(|| left.as_secs() as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_job_is_polled_sixty_times_a_minute_and_each_by_itself() {
        let (polls, start) = (Polls::new(), Instant::now());
        let (one, other) = (JobId(Uuid::from_u128(1)), JobId(Uuid::from_u128(2)));
        for _ in 0..60 {
            assert_eq!(polls.count_at(one, start), None);
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(polls.count_at(one, later), Some(41));
        assert_eq!(polls.count_at(other, later), None);
        assert_eq!(polls.count_at(one, start + WINDOW), None);
    }
}
