//! What calls take before they are made: time, tokens and money.
//!
//! | module | what |
//! |---|---|
//! | [`size`] | tokens of a document, of a question and of its answer |
//! | [`learn`] | running means, and a model's pace from what its calls took |
//!
//! A call takes `delay + fresh / read + cached / cached_rate + answer / write`. What several calls
//! have in common (the document) is read at the lower rate once one of them has read it.

pub mod learn;
pub mod size;

use serde::{Deserialize, Serialize};

use super::usage::Price;

/// A figure that is not known yet: what it is at least, probably and at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub low: f64,
    pub likely: f64,
    pub high: f64,
}

impl Span {
    pub fn exactly(figure: f64) -> Self {
        Self {
            low: figure,
            likely: figure,
            high: figure,
        }
    }

    pub fn of(figure: impl Fn(Bound) -> f64) -> Self {
        Self {
            low: figure(Bound::Low),
            likely: figure(Bound::Likely),
            high: figure(Bound::High),
        }
    }

    pub fn at(&self, bound: Bound) -> f64 {
        match bound {
            Bound::Low => self.low,
            Bound::Likely => self.likely,
            Bound::High => self.high,
        }
    }

    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::of(|bound| self.at(bound) + other.at(bound))
    }

    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self::of(|bound| self.at(bound) * factor)
    }
}

/// Which end of a [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Low,
    Likely,
    High,
}

/// How fast a model is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds before anything is read.
    pub delay: f64,
    /// Tokens a second, of what nobody has read before.
    pub read: f64,
    /// Tokens a second, of what was read before.
    pub cached: f64,
    /// Tokens a second, thoughts included.
    pub write: f64,
}

impl Pace {
    /// Of a model that was never asked: the middle of what hosted models of the day do.
    pub const UNKNOWN: Self = Self {
        delay: 0.5,
        read: 20_000.0,
        cached: 200_000.0,
        write: 160.0,
    };
}

/// One call, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weight {
    /// What all calls begin with: the rules and the document.
    pub shared: f64,
    /// The rest of the prompt.
    pub own: f64,
    pub answer: Span,
    /// The part of the answer up to the end of its first subtree.
    pub first: f64,
    /// Seconds before which it does not begin, since it waits for the answers of others.
    pub after: f64,
}

impl Weight {
    pub fn prompt(&self) -> f64 {
        self.shared + self.own
    }

    /// With another count of the prompt's tokens.
    fn counted(&self, factor: f64) -> Self {
        Self {
            shared: self.shared * factor,
            own: self.own * factor,
            ..*self
        }
    }
}

/// When the calls of a job begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// As many at once as may be.
    #[default]
    AtOnce,
    /// The others when the first has read the document, so that they find it in the cache.
    LeaderFirst,
}

/// What holds for all calls to a model.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub pace: Pace,
    /// None where no price is known.
    pub price: Option<Price>,
    /// Calls at the same time, at least 1.
    pub slots: usize,
    /// Whether what was read is found again by the calls that follow.
    pub caches: bool,
}

/// What a set of calls comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// From the begin of the first call to the end of the last.
    pub seconds: f64,
    /// Until the first subtree is whole.
    pub first_seconds: f64,
    pub prompt: f64,
    /// Part of `prompt`.
    pub cached: f64,
    pub answer: f64,
    /// US dollars.
    pub cost: Option<f64>,
}

impl Bill {
    pub fn tokens(&self) -> f64 {
        self.prompt + self.answer
    }
}

/// The bill of calls that begin in this order, each as soon as a slot is free.
pub fn bill(terms: &Terms, calls: &[Weight], start: Start, bound: Bound) -> Bill {
    let pace = &terms.pace;
    let mut free = vec![0.0_f64; terms.slots.clamp(1, calls.len().max(1))];
    // When somebody has read what all have in common.
    let mut warm = f64::INFINITY;
    let mut bill = Bill {
        first_seconds: f64::INFINITY,
        ..Bill::default()
    };
    for (index, call) in calls.iter().enumerate() {
        let Some(slot) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) else {
            break;
        };
        let begins = match start {
            Start::LeaderFirst if index > 0 => slot.max(warm),
            _ => *slot,
        };
        let begins = begins.max(call.after);
        let cached = if terms.caches && begins >= warm {
            call.shared
        } else {
            0.0
        };
        let reading = (call.prompt() - cached) / pace.read + cached / pace.cached;
        let token = begins + pace.delay + reading;
        let answer = call.answer.at(bound);
        warm = warm.min(token);
        *slot = token + answer / pace.write;
        bill.seconds = bill.seconds.max(*slot);
        bill.first_seconds = bill
            .first_seconds
            .min(token + call.first.min(answer) / pace.write);
        bill.prompt += call.prompt();
        bill.cached += cached;
        bill.answer += answer;
    }
    if calls.is_empty() {
        bill.first_seconds = 0.0;
    }
    bill.cost = terms.price.map(|price| money(&price, &bill));
    bill
}

/// US dollars.
pub fn money(price: &Price, bill: &Bill) -> f64 {
    let fresh = bill.prompt - bill.cached;
    (fresh * price.prompt + bill.cached * price.cached + bill.answer * price.answer) / 1e6
}

/// What an array takes that is read in `chunks` windows of pages at once instead of in one call,
/// seconds; `overlap` is the share of the document that windows have in common.
pub fn chunked(terms: &Terms, call: &Weight, chunks: usize, overlap: f64) -> Bill {
    let share = chunks.max(1) as f64;
    let window = Weight {
        shared: 0.0,
        own: call.own + call.shared * (1.0 + overlap) / share,
        answer: call.answer.times(1.0 / share),
        first: call.first / share,
        after: 0.0,
    };
    bill(
        terms,
        &vec![window; chunks.max(1)],
        Start::AtOnce,
        Bound::Likely,
    )
}

/// What a job comes to, as far as it is known beforehand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub calls: u64,
    pub start: Start,
    pub prompt_tokens: Span,
    /// Part of `prompt_tokens`.
    pub cached_tokens: Span,
    pub answer_tokens: Span,
    pub seconds: Span,
    pub first_result_seconds: Span,
    /// US dollars; null where no price is known.
    pub cost_usd: Option<Span>,
}

impl Estimate {
    /// At its lowest every later call finds the document in the cache, at its highest none does.
    /// Prompts may have as much more or fewer tokens as `width`, a share of them below 1, says.
    /// `doubtful` calls are made beside the others only at the highest.
    pub fn of(
        terms: &Terms,
        (calls, doubtful): (&[Weight], &[Weight]),
        start: Start,
        width: f64,
    ) -> Self {
        let counts = Span {
            low: 1.0 - width,
            likely: 1.0,
            high: 1.0 + width,
        };
        let at = |bound: Bound| {
            let terms = Terms {
                caches: terms.caches && bound != Bound::High,
                ..*terms
            };
            let more = doubtful.iter().filter(|_| bound == Bound::High);
            let calls = calls.iter().chain(more);
            let counted = calls.map(|call| call.counted(counts.at(bound)));
            bill(&terms, &counted.collect::<Vec<_>>(), start, bound)
        };
        let (low, likely, high) = (at(Bound::Low), at(Bound::Likely), at(Bound::High));
        let span = |figure: fn(&Bill) -> f64| Span {
            low: figure(&low),
            likely: figure(&likely),
            high: figure(&high),
        };
        let cost_usd = terms.price.map(|_| span(|bill| bill.cost.unwrap_or(0.0)));
        Self {
            calls: calls.len() as u64,
            start,
            prompt_tokens: span(|bill| bill.prompt),
            cached_tokens: Span {
                low: high.cached,
                likely: likely.cached,
                high: low.cached * counts.high / counts.low,
            },
            answer_tokens: span(|bill| bill.answer),
            seconds: span(|bill| bill.seconds),
            first_result_seconds: span(|bill| bill.first_seconds),
            cost_usd,
        }
    }

    /// In figures that people read: whole tokens, milliseconds, millionths of a dollar.
    #[must_use]
    pub fn rounded(self) -> Self {
        let to =
            |span: &Span, digits: f64| Span::of(|bound| (span.at(bound) * digits).round() / digits);
        Self {
            prompt_tokens: to(&self.prompt_tokens, 1.0),
            cached_tokens: to(&self.cached_tokens, 1.0),
            answer_tokens: to(&self.answer_tokens, 1.0),
            seconds: to(&self.seconds, 1e3),
            first_result_seconds: to(&self.first_result_seconds, 1e3),
            cost_usd: self.cost_usd.map(|cost| to(&cost, 1e6)),
            ..self
        }
    }

    /// Prompt and answers.
    pub fn tokens(&self) -> Span {
        self.prompt_tokens.plus(&self.answer_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        delay: 0.3,
        read: 20_000.0,
        cached: 200_000.0,
        write: 250.0,
    };

    fn terms(slots: usize) -> Terms {
        Terms {
            pace: PACE,
            price: Some(Price {
                prompt: 0.3,
                cached: 0.03,
                answer: 2.5,
            }),
            slots,
            caches: true,
        }
    }

    fn call(answer: f64) -> Weight {
        Weight {
            shared: 8_000.0,
            own: 0.0,
            answer: Span::exactly(answer),
            first: answer / 2.0,
            after: 0.0,
        }
    }

    fn near(figure: f64, expected: f64) {
        assert!(
            (figure - expected).abs() < 1e-6,
            "{figure} is not {expected}"
        );
    }

    #[test]
    fn one_call_takes_its_delay_its_reading_and_its_writing() {
        let bill = bill(&terms(5), &[call(2_000.0)], Start::AtOnce, Bound::Likely);
        near(bill.seconds, 0.3 + 0.4 + 8.0);
        near(bill.first_seconds, 0.3 + 0.4 + 4.0);
        near(bill.cost.unwrap(), (8_000.0 * 0.3 + 2_000.0 * 2.5) / 1e6);
    }

    #[test]
    fn calls_that_begin_at_once_find_nothing_in_the_cache() {
        let calls = [call(1_000.0), call(500.0)];
        let bill = bill(&terms(5), &calls, Start::AtOnce, Bound::Likely);
        near(bill.seconds, 0.7 + 4.0);
        near(bill.cached, 0.0);
        near(bill.prompt, 16_000.0);
    }

    #[test]
    fn a_leader_warms_the_cache_and_costs_nothing_when_it_is_long_enough() {
        let calls = [call(1_000.0), call(500.0)];
        let bill = bill(&terms(5), &calls, Start::LeaderFirst, Bound::Likely);
        near(bill.seconds, 0.7 + 4.0);
        near(bill.cached, 8_000.0);
        // 2b + D/P + D/P' + o/R of the second.
        let calls = [call(500.0), call(500.0)];
        let later = super::bill(&terms(5), &calls, Start::LeaderFirst, Bound::Likely);
        near(later.seconds, 0.7 + 0.3 + 0.04 + 2.0);
    }

    #[test]
    fn calls_without_a_slot_wait_and_find_the_document_read() {
        let calls = [call(250.0), call(250.0)];
        let bill = bill(&terms(1), &calls, Start::AtOnce, Bound::Likely);
        near(bill.seconds, 0.7 + 1.0 + 0.3 + 0.04 + 1.0);
        near(bill.cached, 8_000.0);
    }

    #[test]
    fn an_estimate_is_a_range_around_what_is_likely() {
        let unsure = Weight {
            answer: Span {
                low: 100.0,
                likely: 400.0,
                high: 900.0,
            },
            ..call(0.0)
        };
        let estimate = Estimate::of(&terms(5), (&[unsure, unsure], &[]), Start::LeaderFirst, 0.1);
        for span in [
            estimate.seconds,
            estimate.prompt_tokens,
            estimate.answer_tokens,
            estimate.cost_usd.unwrap(),
        ] {
            assert!(
                span.low < span.likely && span.likely < span.high,
                "{span:?}"
            );
        }
        near(estimate.cached_tokens.low, 0.0);
        near(estimate.cached_tokens.likely, 8_000.0);
        near(estimate.cached_tokens.high, 8_800.0);
        near(estimate.prompt_tokens.low, 14_400.0);
        near(estimate.prompt_tokens.likely, 16_000.0);
        near(estimate.prompt_tokens.high, 17_600.0);
    }

    #[test]
    fn what_waits_for_others_ends_after_them_and_what_is_doubtful_counts_at_the_highest() {
        let later = Weight {
            after: 5.0,
            ..call(500.0)
        };
        let calls = [call(250.0), later];
        let bill = bill(&terms(5), &calls, Start::AtOnce, Bound::Likely);
        near(bill.seconds, 5.0 + 0.3 + 0.04 + 2.0);
        let (sure, doubtful) = calls.split_at(1);
        let estimate = Estimate::of(&terms(5), (sure, doubtful), Start::AtOnce, 0.0);
        assert_eq!(estimate.calls, 1);
        near(estimate.answer_tokens.likely, 250.0);
        near(estimate.answer_tokens.high, 750.0);
    }

    #[test]
    fn pages_read_in_windows_divide_the_time_and_add_only_the_overlap() {
        let whole = call(2_000.0);
        let chunks = chunked(&terms(8), &whole, 8, 0.1);
        near(chunks.seconds, 0.3 + 8_000.0 * 1.1 / 8.0 / 20_000.0 + 1.0);
        near(chunks.prompt, 8_800.0);
        near(chunks.answer, 2_000.0);
    }
}
