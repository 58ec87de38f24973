//! How long answers take to begin, and when one is late.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

/// Answers of each model that are looked back on.
const WINDOW: usize = 64;
/// Below so many nothing is known of how widely they spread.
const FEWEST: usize = 20;
/// Hedging pays where the slow ones take at least so many times the median.
const SPREAD: u32 = 2;
/// Models that are looked at; a server with more is not hedged.
const MODELS: usize = 256;

#[derive(Default)]
pub(super) struct Tardiness {
    waits: Mutex<HashMap<String, VecDeque<Duration>>>,
}

impl Tardiness {
    /// An answer of the model began after `wait`.
    pub(super) fn began(&self, model: &str, wait: Duration) {
        let mut waits = self.waits.lock();
        if waits.len() >= MODELS && !waits.contains_key(model) {
            return;
        }
        let window = waits.entry(model.to_owned()).or_default();
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(wait);
    }

    /// After which an answer is late: later than 19 of 20, where waits spread widely.
    pub(super) fn late_after(&self, model: &str) -> Option<Duration> {
        let waits = self.waits.lock();
        let mut sorted: Vec<_> = waits.get(model)?.iter().copied().collect();
        drop(waits);
        if sorted.len() < FEWEST {
            return None;
        }
        sorted.sort_unstable();
        let slow = sorted[sorted.len() * 19 / 20];
        let median = sorted[sorted.len() / 2];
        (slow >= median * SPREAD).then_some(slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late_after(waits: impl IntoIterator<Item = u64>) -> Option<Duration> {
        let tardiness = Tardiness::default();
        for wait in waits {
            tardiness.began("m", Duration::from_millis(wait));
        }
        tardiness.late_after("m")
    }

    #[test]
    fn an_answer_is_late_only_where_answers_spread_widely() {
        assert_eq!(late_after(std::iter::repeat_n(100, 64)), None);
        assert_eq!(late_after([100; 5].into_iter().chain([900])), None);
        let spread = (0..40).map(|n| if n % 10 == 9 { 900 } else { 100 });
        assert_eq!(late_after(spread), Some(Duration::from_millis(900)));
        let forgotten = std::iter::repeat_n(900, 9).chain(std::iter::repeat_n(100, 64));
        assert_eq!(late_after(forgotten), None);
    }
}
