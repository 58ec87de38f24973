//! How fast a model reads and writes, and what it has read before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::speech::{TOKEN, tokens};

/// A model's speeds, tokens a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Before anything is read.
    pub delay: Duration,
    pub read: f64,
    /// Of what someone has read before.
    pub read_cached: f64,
    pub write: f64,
    /// Prefixes shorter than this are never cached, tokens.
    pub least_cached: u64,
}

impl Pace {
    /// What the benchmarks go by: 0.3 s, 20,000 read, 200,000 read again, 160 written.
    pub fn usual() -> Self {
        Self {
            delay: Duration::from_millis(300),
            read: 20_000.0,
            read_cached: 200_000.0,
            write: 160.0,
            least_cached: 0,
        }
    }

    pub fn reading(&self, prompt: u64, cached: u64) -> Duration {
        let fresh = (prompt - cached) as f64 / self.read;
        self.delay + Duration::from_secs_f64(fresh + cached as f64 / self.read_cached)
    }

    pub fn writing(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(tokens / self.write)
    }

    /// What a call takes from its arrival to its last token.
    pub fn ideal(&self, prompt: u64, cached: u64, written: u64) -> Duration {
        self.reading(prompt, cached) + self.writing(written as f64)
    }
}

/// Tokens of a block: prefixes are kept in whole blocks.
const BLOCK: usize = 32;

/// Prefixes that someone has read, and since when: a call that comes before hits nothing.
#[derive(Default)]
pub struct Cache {
    warm_at: HashMap<u64, Instant>,
}

impl Cache {
    /// Tokens of a prompt that came at `now`: all, and those read before.
    pub fn look(&self, prompt: &str, now: Instant, least: u64) -> (u64, u64) {
        let warm = blocks(prompt).take_while(|block| {
            let at = self.warm_at.get(block);
            at.is_some_and(|at| *at <= now)
        });
        let cached = (warm.count() * BLOCK) as u64;
        let all = tokens(prompt);
        (all, if cached >= least { cached.min(all) } else { 0 })
    }

    /// From `at` on the prompt's prefixes are warm.
    pub fn warm(&mut self, prompt: &str, at: Instant) {
        for block in blocks(prompt) {
            let known = self.warm_at.entry(block).or_insert(at);
            *known = (*known).min(at);
        }
    }
}

/// One number for each prefix of whole blocks.
fn blocks(prompt: &str) -> impl Iterator<Item = u64> + '_ {
    let mut hasher = DefaultHasher::new();
    let mut count = 0;
    prompt.chars().filter_map(move |c| {
        hasher.write_u32(c as u32);
        count += 1;
        (count % (BLOCK * TOKEN) == 0).then(|| hasher.clone().finish())
    })
}
