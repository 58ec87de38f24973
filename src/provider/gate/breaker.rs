//! Stops asking a server that does not answer, and finds out when it is back.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const STRAIGHT_FAILURES: u32 = 5;
/// How long it stays open, and how long a probe may keep the next one waiting.
const REST: Duration = Duration::from_secs(10);

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing before `until`.
    Open { until: Instant },
    /// One call, which is on its way; another one at `until` when it says nothing.
    HalfOpen { until: Instant },
}

/// Counts failures in a row: overload, 5xx, timeouts, lost connections. What the server refuses
/// with 4xx is an answer.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    failures: u32,
    /// Number of the newest probe.
    probe: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            probe: 0,
        }
    }
}

impl Breaker {
    pub fn state(&self) -> State {
        self.state
    }

    /// When a call may go; `None` for now.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { until } | State::HalfOpen { until } => (until > now).then_some(until),
        }
    }

    /// A call goes, which [`Breaker::wait`] allowed. The number is the probe's, if it is one.
    pub fn enter(&mut self, now: Instant) -> Option<u64> {
        if self.state == State::Closed {
            return None;
        }
        self.probe += 1;
        self.state = State::HalfOpen { until: now + REST };
        Some(self.probe)
    }

    /// The server lives, whichever call it was that found out.
    pub fn answered(&mut self) {
        if self.state != State::Closed {
            self.succeeded();
        }
    }

    /// A call came to a good end, or was refused in order.
    pub fn succeeded(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
    }

    /// While it is not closed only the newest probe counts: what was sent before it opened fails
    /// late and says nothing new.
    pub fn failed(&mut self, probe: Option<u64>, now: Instant) {
        match self.state {
            State::Closed => {
                self.failures += 1;
                if self.failures >= STRAIGHT_FAILURES {
                    self.state = State::Open { until: now + REST };
                }
            }
            // The rest counts from the sending of the probe, so that a slow failure does not make
            // the next one later.
            State::HalfOpen { until } if probe == Some(self.probe) => {
                self.state = State::Open { until };
            }
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// A call was given up before it said anything: its probe may be taken by another at once.
    pub fn given_up(&mut self, probe: Option<u64>, now: Instant) {
        if probe == Some(self.probe) && matches!(self.state, State::HalfOpen { .. }) {
            self.state = State::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..STRAIGHT_FAILURES {
            assert_eq!(breaker.wait(now), None);
            breaker.failed(None, now);
        }
        breaker
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_them_starts_over() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 0..4 {
                breaker.failed(None, now);
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(opened(now).wait(now), Some(now + REST));
    }

    #[test]
    fn one_probe_goes_when_the_rest_is_over_and_its_success_closes_it() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert!(breaker.wait(start + seconds(9)).is_some());
        let later = start + seconds(10);
        assert_eq!(breaker.wait(later), None);
        assert!(breaker.enter(later).is_some());
        assert_eq!(breaker.wait(later), Some(later + REST));
        breaker.answered();
        assert_eq!(
            (breaker.state(), breaker.wait(later)),
            (State::Closed, None)
        );
    }

    #[test]
    fn a_server_that_is_down_for_a_minute_is_probed_once_in_ten_seconds_and_found_soon() {
        let start = Instant::now();
        for (answers_after, hangs) in [(0, false), (5, false), (60, true)] {
            let mut breaker = opened(start);
            let (mut probes, mut pending) = (Vec::new(), Vec::new());
            for tick in 1..=75 {
                let now = start + seconds(tick);
                pending.retain(|&(sent, probe)| {
                    let is_due = now >= sent + seconds(answers_after);
                    if is_due && !hangs {
                        breaker.failed(probe, now);
                    }
                    !is_due
                });
                if breaker.wait(now).is_none() && breaker.state() != State::Closed {
                    let probe = breaker.enter(now);
                    probes.push(tick);
                    if tick >= 60 {
                        breaker.answered();
                    } else {
                        pending.push((now, probe));
                    }
                }
            }
            assert!(
                probes.windows(2).all(|pair| pair[1] - pair[0] >= 10),
                "{probes:?}"
            );
            assert!(
                probes.iter().any(|tick| (60..=70).contains(tick)),
                "{probes:?}"
            );
            assert_eq!(breaker.state(), State::Closed);
        }
    }

    #[test]
    fn failures_of_calls_from_before_change_nothing_and_a_probe_given_up_frees_its_place() {
        let start = Instant::now();
        let mut breaker = opened(start);
        breaker.failed(None, start + seconds(8));
        assert_eq!(breaker.wait(start + seconds(9)), Some(start + REST));
        let now = start + seconds(11);
        let probe = breaker.enter(now);
        breaker.failed(None, now + seconds(1));
        assert_eq!(breaker.state(), State::HalfOpen { until: now + REST });
        breaker.given_up(probe, now + seconds(2));
        assert_eq!(breaker.wait(now + seconds(2)), None);
    }
}
