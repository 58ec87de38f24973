//! A token bucket as vendors keep one, and how it tells of itself.

use std::time::Duration;

use tokio::time::Instant;

use super::asked::Wire;
use super::failure::Hint;
use super::openai::spell;

/// How a 429 spells when the next call may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    None,
    Seconds,
    Date,
    Millis,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meter {
    pub capacity: f64,
    pub per_second: f64,
}

/// What a key may do.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub calls: Meter,
    /// Of prompt tokens.
    pub tokens: Option<Meter>,
    pub style: Style,
    /// Whether answers carry the vendor's rate headers.
    pub tells: bool,
}

impl Limit {
    pub fn new(capacity: f64, per_second: f64, style: Style) -> Self {
        Self {
            calls: Meter {
                capacity,
                per_second,
            },
            tokens: None,
            style,
            tells: false,
        }
    }

    pub fn telling(mut self) -> Self {
        self.tells = true;
        self
    }

    pub fn tokens(mut self, capacity: f64, per_second: f64) -> Self {
        self.tokens = Some(Meter {
            capacity,
            per_second,
        });
        self
    }
}

/// What went through, was refused, or came although it had been told to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub calls: u64,
    pub refused: u64,
    pub early: u64,
}

struct Level {
    meter: Meter,
    left: f64,
    at: Instant,
}

impl Level {
    fn new(meter: Meter) -> Self {
        Self {
            meter,
            left: meter.capacity,
            at: Instant::now(),
        }
    }

    fn refill(&mut self, now: Instant) {
        let earned = (now - self.at).as_secs_f64() * self.meter.per_second;
        self.left = (self.left + earned).min(self.meter.capacity);
        self.at = now;
    }

    /// Seconds until so many are there. What is larger than the bucket passes when it is full.
    fn wait(&self, cost: f64) -> f64 {
        let missing = cost.min(self.meter.capacity) - self.left;
        (missing / self.meter.per_second).max(0.0)
    }

    fn until_full(&self) -> f64 {
        (self.meter.capacity - self.left) / self.meter.per_second
    }
}

/// A limit with its levels.
pub struct Gauge {
    limit: Limit,
    calls: Level,
    tokens: Option<Level>,
}

impl Gauge {
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            calls: Level::new(limit.calls),
            tokens: limit.tokens.map(Level::new),
        }
    }

    /// Takes one call of so many tokens, or says when one could come.
    pub fn take(&mut self, tokens: u64, now: Instant) -> Result<(), Hint> {
        self.calls.refill(now);
        let mut wait = self.calls.wait(1.0);
        if let Some(level) = &mut self.tokens {
            level.refill(now);
            wait = wait.max(level.wait(tokens as f64));
        }
        // Sums of small steps may miss a whole token by less than this.
        if wait < 1e-9 {
            self.calls.left -= 1.0;
            if let Some(level) = &mut self.tokens {
                level.left -= tokens as f64;
            }
            return Ok(());
        }
        Err(match self.limit.style {
            Style::None => Hint::None,
            Style::Seconds => Hint::Seconds(wait.ceil() as u64),
            Style::Date => Hint::Date(wait.ceil() as u64),
            Style::Millis => Hint::Millis((wait * 1000.0).ceil() as u64),
            Style::Body => Hint::Body(Duration::from_millis((wait * 1000.0).ceil() as u64)),
        })
    }

    /// The vendor's rate headers; Gemini has none.
    pub fn headers(&self, wire: Wire) -> Vec<(String, String)> {
        if !self.limit.tells {
            return Vec::new();
        }
        let mut headers = told(wire, "requests", &self.calls);
        headers.extend(
            self.tokens
                .iter()
                .flat_map(|level| told(wire, "tokens", level)),
        );
        headers
    }
}

fn told(wire: Wire, what: &str, level: &Level) -> Vec<(String, String)> {
    rate_headers(
        wire,
        what,
        level.meter.capacity,
        level.left.max(0.0),
        level.until_full(),
    )
}

/// The three headers of one limit, as the wire spells them.
pub fn rate_headers(
    wire: Wire,
    what: &str,
    limit: f64,
    remaining: f64,
    reset: f64,
) -> Vec<(String, String)> {
    let (limit, remaining) = (limit.floor().to_string(), remaining.floor().to_string());
    match wire {
        Wire::Gemini => Vec::new(),
        Wire::OpenAi => vec![
            (format!("x-ratelimit-limit-{what}"), limit),
            (format!("x-ratelimit-remaining-{what}"), remaining),
            (format!("x-ratelimit-reset-{what}"), spell(reset)),
        ],
        Wire::Anthropic => {
            let at =
                jiff::Timestamp::now() + jiff::SignedDuration::from_millis((reset * 1000.0) as i64);
            let at = at.round(jiff::Unit::Second).unwrap();
            vec![
                (format!("anthropic-ratelimit-{what}-limit"), limit),
                (format!("anthropic-ratelimit-{what}-remaining"), remaining),
                (format!("anthropic-ratelimit-{what}-reset"), at.to_string()),
            ]
        }
    }
}
