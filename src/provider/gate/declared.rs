//! A limit that the server tells of itself in the headers of its answers.

use std::time::{Duration, Instant};

use super::Wait;

/// One limit, as an answer's headers have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meter {
    /// Calls or tokens of a full bucket.
    pub limit: f64,
    /// What was left after the call that was answered.
    pub remaining: f64,
    /// How long after the answer the bucket is full again.
    pub reset: Option<Wait>,
}

/// Whole seconds below this say too little of the rate.
const COARSE: Duration = Duration::from_secs(5);

/// The limit as it stands now, by what was told last. Units are calls or tokens.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    limit: f64,
    level: f64,
    /// A second; unknown until a bucket that is not full was seen.
    rate: Option<f64>,
    at: Instant,
}

impl Declared {
    /// By an answer to a call sent at `sent`, after which `since` more were sent that it cannot
    /// have counted.
    pub fn told(known: Option<Self>, meter: &Meter, sent: Instant, since: f64) -> Option<Self> {
        if !(meter.limit >= 1.0 && meter.remaining >= 0.0) {
            return known;
        }
        let missing = meter.limit - meter.remaining;
        let reset = match meter.reset {
            Some(Wait::Exact(reset)) => Some(reset),
            Some(Wait::Whole(reset)) if reset >= COARSE => Some(reset),
            _ => None,
        };
        let seen = reset
            .map(|reset| missing / reset.as_secs_f64())
            .filter(|rate| rate.is_finite() && *rate > 0.0);
        Some(Self {
            limit: meter.limit,
            level: meter.remaining - since,
            rate: seen.or(known.and_then(|known| known.rate)),
            at: sent,
        })
    }

    fn refill(&mut self, now: Instant) {
        let earned =
            now.saturating_duration_since(self.at).as_secs_f64() * self.rate.unwrap_or(0.0);
        self.level = (self.level + earned).min(self.limit);
        self.at = self.at.max(now);
    }

    /// How long until `cost` is there; `None` for now. What is larger than the whole bucket passes
    /// when the bucket is full; what no rate is known for passes, since the server alone knows.
    pub fn wait(&mut self, cost: f64, now: Instant) -> Option<Duration> {
        self.refill(now);
        let missing = cost.min(self.limit) - self.level;
        let rate = self.rate?;
        (missing > 1e-9).then(|| Duration::from_secs_f64((missing / rate).min(3600.0)))
    }

    pub fn take(&mut self, cost: f64) {
        self.level -= cost;
    }

    /// Whether it is why a call was refused.
    pub fn is_spent(&self, cost: f64) -> bool {
        self.rate.is_some() && self.level < cost.min(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(remaining: f64, reset: Wait) -> Meter {
        Meter {
            limit: 500.0,
            remaining,
            reset: Some(reset),
        }
    }

    #[test]
    fn rate_and_level_follow_from_what_is_left_and_when_it_is_full() {
        let now = Instant::now();
        let told = meter(0.0, Wait::Exact(Duration::from_mins(1)));
        let mut declared = Declared::told(None, &told, now, 0.0).unwrap();
        let wait = declared.wait(1.0, now).unwrap();
        assert!((wait.as_secs_f64() - 0.12).abs() < 0.001, "{wait:?}");
        assert_eq!(declared.wait(1.0, now + Duration::from_millis(121)), None);
    }

    #[test]
    fn calls_that_the_answer_cannot_have_counted_are_taken_off() {
        let now = Instant::now();
        let told = meter(3.0, Wait::Exact(Duration::from_secs(497)));
        let mut declared = Declared::told(None, &told, now, 3.0).unwrap();
        let wait = declared.wait(1.0, now).unwrap();
        assert!((wait.as_secs_f64() - 1.0).abs() < 0.001, "{wait:?}");
    }

    #[test]
    fn a_rate_that_coarse_seconds_hide_stops_nobody() {
        let now = Instant::now();
        let told = meter(0.0, Wait::Whole(Duration::from_secs(1)));
        let mut declared = Declared::told(None, &told, now, 0.0).unwrap();
        assert_eq!(declared.wait(1.0, now), None);
    }

    #[test]
    fn a_call_larger_than_the_bucket_goes_when_the_bucket_is_full() {
        let now = Instant::now();
        let told = meter(400.0, Wait::Exact(Duration::from_secs(10)));
        let mut declared = Declared::told(None, &told, now, 0.0).unwrap();
        assert!(declared.wait(9_000.0, now).is_some());
        assert_eq!(declared.wait(9_000.0, now + Duration::from_secs(11)), None);
    }
}
