//! When the next call of a key may go, by all that the server has said of its limits.

use std::time::{Duration, Instant};

use super::declared::{Declared, Meter};
use super::learned::Learned;

/// How long to wait, as the server told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// In whole seconds, rounded up: `Retry-After`, HTTP dates.
    Whole(Duration),
    /// To the millisecond or better: `retry-after-ms`, `RetryInfo` with a fraction.
    Exact(Duration),
}

impl Wait {
    pub fn duration(self) -> Duration {
        match self {
            Self::Whole(wait) | Self::Exact(wait) => wait,
        }
    }
}

/// What the headers of an answer say of the key's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub requests: Option<Meter>,
    pub tokens: Option<Meter>,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    number: u64,
    sent: Instant,
    /// Tokens of it.
    cost: f64,
    /// Tokens of all calls up to it.
    tokens_through: f64,
}

/// Hints beyond this are taken for a mistake.
const BELIEVED: Duration = Duration::from_hours(1);
/// What such a hint is taken for.
const DISBELIEVED: Duration = Duration::from_mins(1);
/// Without a hint: doubled with each refusal that no passed call came between.
const UNTOLD: Duration = Duration::from_millis(500);
const UNTOLD_MOST: Duration = Duration::from_secs(30);
/// No hint is shorter.
const LEAST: Duration = Duration::from_millis(5);
/// Share of a wait that chance may add to it, and the most it may add.
const JITTER: f64 = 0.05;
/// Where whole seconds are told.
const JITTER_TOLD: f64 = 0.02;
const JITTER_MOST: Duration = Duration::from_millis(250);

/// One key's pace. Starts without a limit. Its size does not depend on use.
#[derive(Debug, Default)]
pub struct Pacing {
    learned: Learned,
    requests: Option<Declared>,
    tokens: Option<Declared>,
    closed_until: Option<Instant>,
    tokens_sent: f64,
    refusals: u64,
    /// Refusals without a hint since a call last passed.
    untold: u32,
}

impl Pacing {
    /// How long a call of so many tokens must wait; `None` when it may go now.
    pub fn wait(&mut self, tokens: u64, now: Instant) -> Option<Duration> {
        let closed = self
            .closed_until
            .and_then(|until| until.checked_duration_since(now));
        let closed = closed.filter(|wait| !wait.is_zero());
        let told = |declared: &mut Option<Declared>, cost: f64| declared.as_mut()?.wait(cost, now);
        let requests = told(&mut self.requests, 1.0);
        let tokens = told(&mut self.tokens, tokens as f64);
        let learned = self.learned.wait(now);
        closed.max(requests).max(tokens).max(learned)
    }

    /// The call goes. Only after [`Pacing::wait`] said that it may.
    pub fn send(&mut self, tokens: u64, now: Instant) -> Ticket {
        let cost = tokens as f64;
        self.tokens_sent += cost;
        if let Some(requests) = &mut self.requests {
            requests.take(1.0);
        }
        if let Some(tokens) = &mut self.tokens {
            tokens.take(cost);
        }
        Ticket {
            number: self.learned.sent(now),
            sent: now,
            cost,
            tokens_through: self.tokens_sent,
        }
    }

    /// The server took the call.
    pub fn answered(&mut self, ticket: &Ticket, rates: &Rates) {
        self.untold = 0;
        self.learned.answered();
        self.told(ticket, rates);
    }

    /// The call failed or was given up before the server took or refused it.
    pub fn left(&mut self) {
        self.learned.left();
    }

    fn told(&mut self, ticket: &Ticket, rates: &Rates) {
        if let Some(meter) = &rates.requests {
            let since = (self.learned.count() - ticket.number) as f64;
            self.requests = Declared::told(self.requests, meter, ticket.sent, since);
        }
        if let Some(meter) = &rates.tokens {
            let since = self.tokens_sent - ticket.tokens_through;
            self.tokens = Declared::told(self.tokens, meter, ticket.sent, since);
        }
    }

    /// The server answered 429 and said when to come again, or did not. `random` is from 0 to 1.
    pub fn refused(
        &mut self,
        ticket: &Ticket,
        hint: Option<Wait>,
        rates: &Rates,
        random: f64,
        now: Instant,
    ) {
        self.refusals += 1;
        self.learned.left();
        self.told(ticket, rates);
        let wait = self.believed(hint, now);
        // Whole seconds are rounded up: what is told so is late as it is.
        let share = match (wait, hint) {
            (Wait::Whole(_), Some(_)) => JITTER_TOLD,
            _ => JITTER,
        };
        let jitter = wait
            .duration()
            .mul_f64(share * random.clamp(0.0, 1.0))
            .min(JITTER_MOST);
        let reopens = now + wait.duration() + jitter;
        self.closed_until = Some(
            self.closed_until
                .map_or(reopens, |until| until.max(reopens)),
        );
        let spent = |declared: &Option<Declared>, cost: f64| {
            declared.is_some_and(|known| known.is_spent(cost))
        };
        if spent(&self.requests, 1.0) || spent(&self.tokens, ticket.cost) {
            // The limit that refused is told: there is nothing to learn of another.
            self.learned.forgive(ticket.number);
        } else {
            self.learned
                .refused(ticket.number, (wait, hint.is_some()), reopens, now);
        }
    }

    fn believed(&mut self, hint: Option<Wait>, now: Instant) -> Wait {
        match hint {
            Some(hint) if hint.duration() > BELIEVED => Wait::Whole(DISBELIEVED),
            Some(Wait::Exact(wait)) => Wait::Exact(wait.max(LEAST)),
            Some(Wait::Whole(wait)) if !wait.is_zero() => Wait::Whole(wait),
            _ => {
                // Those that come while it is closed were sent together with the first.
                if self.closed_until.is_none_or(|until| until <= now) {
                    self.untold += 1;
                }
                let doubled = UNTOLD * 2_u32.pow(self.untold.clamp(1, 8) - 1);
                Wait::Whole(doubled.min(UNTOLD_MOST))
            }
        }
    }

    /// Until when the last refusal closed it.
    pub fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }

    /// 429s since the start.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Calls sent since the start.
    pub fn count(&self) -> u64 {
        self.learned.count()
    }

    /// Calls at once and calls a second, learned from refusals.
    pub fn known(&self) -> Option<(f64, f64)> {
        self.learned.known()
    }
}
