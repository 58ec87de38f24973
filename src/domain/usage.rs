//! Tokens, requests, time and price of provider calls.

use serde::{Deserialize, Serialize};

/// What one or more provider calls cost. Sums with [`Usage::add`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "usage_metadata")]
pub struct Usage {
    pub provider: String,
    pub model: String,
    /// Tokens of the prompt, cached ones included.
    pub prompt_token_count: u64,
    /// Tokens of the answer.
    pub candidates_token_count: u64,
    pub thoughts_token_count: u64,
    /// Part of `prompt_token_count`.
    pub cached_content_token_count: u64,
    pub total_token_count: u64,
    /// Calls made, retries included.
    pub request_count: u64,
    /// Sum of the call times, milliseconds.
    pub latency_ms: u64,
    /// Subtrees whose answer was paid for before: found in an earlier job, or in an earlier run.
    #[serde(default)]
    pub reused_subtree_count: u64,
    /// US dollars; null where no price is known.
    pub cost_usd: Option<f64>,
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    pub prompt: f64,
    /// Of prompt tokens that came from a cache.
    pub cached: f64,
    /// Of the answer, thoughts included.
    pub answer: f64,
}

impl Usage {
    /// Adds the counts of `other`; a price is known only while every part has one.
    pub fn add(&mut self, other: &Self) {
        let first = self.request_count == 0 && self.provider.is_empty();
        if first {
            self.provider.clone_from(&other.provider);
            self.model.clone_from(&other.model);
        }
        self.prompt_token_count += other.prompt_token_count;
        self.candidates_token_count += other.candidates_token_count;
        self.thoughts_token_count += other.thoughts_token_count;
        self.cached_content_token_count += other.cached_content_token_count;
        self.total_token_count += other.total_token_count;
        self.request_count += other.request_count;
        self.latency_ms += other.latency_ms;
        self.reused_subtree_count += other.reused_subtree_count;
        self.cost_usd = match (self.cost_usd, other.cost_usd) {
            (None, cost) if first => cost,
            (Some(a), Some(b)) => Some(a + b),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_known_only_while_every_part_has_one() {
        let priced = Usage {
            request_count: 1,
            cost_usd: Some(0.5),
            ..Usage::default()
        };
        let free_of_price = Usage {
            request_count: 1,
            ..Usage::default()
        };
        let mut sum = Usage::default();
        sum.add(&priced);
        sum.add(&priced);
        assert_eq!((sum.cost_usd, sum.request_count), (Some(1.0), 2));
        sum.add(&free_of_price);
        sum.add(&priced);
        assert_eq!(sum.cost_usd, None);
    }
}
