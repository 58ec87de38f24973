//! One figure for how far a value may be trusted, from what was checked and nothing else.
//!
//! `evidence` is where it starts: the verdict, which separates right from wrong far better than
//! anything a model says of itself. A second, independent reading moves it halfway to its
//! agreement. What remains only takes away, by its weight: the extractor's own certainty and the
//! legibility of the page up to 30 %, the model's token probabilities, which are high for wrong
//! answers too, up to 20 %. A value that breaks its schema keeps half. However many readings
//! agree, a value that its own quote contradicts stays at [`REFUTED`] or below.

use serde::{Deserialize, Serialize};

use super::{Match, Verdict};

/// The most confidence in a value that does not follow from its quote, or whose quote is nowhere.
const REFUTED: f64 = 0.3;
const SOURCE_WEIGHT: f64 = 0.3;
const OCR_WEIGHT: f64 = 0.3;
const LOGPROB_WEIGHT: f64 = 0.2;
const INVALID: f64 = 0.5;

/// What a confidence is made of, each 0..=1; what was not measured is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceParts {
    /// The verdict, and how the quote was found.
    pub evidence: f64,
    /// 1 when the value fits its schema, else 0.
    pub validation: f64,
    /// How far a second reading gave the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Probability of the value's least sure token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f64>,
    /// How legible the words of the quote were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocr: Option<f64>,
    /// The certainty of an extractor that measures its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<f64>,
}

/// What is known of a value beside its evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Signals {
    /// How far a second reading gave the same, 0..=1.
    pub agreement: Option<f64>,
    /// Natural logarithm of the probability of the value's least sure token, at most 0.
    pub logprob: Option<f64>,
    /// How legible the words of the quote were, 0..=1.
    pub ocr: Option<f64>,
}

/// How a verdict was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a quote of the value itself.
    Quoted(Match),
    /// By a quote of the object that it belongs to.
    Around,
    /// By looking for the value.
    Searched,
}

/// How much a verdict alone says. `rivals` counts other values of the same sort in the quote,
/// which could as well be meant.
pub(super) fn evidence(verdict: Verdict, way: Way, rivals: usize) -> f64 {
    match verdict {
        Verdict::Verified => {
            let found = match way {
                Way::Quoted(Match::Exact) => 0.98,
                Way::Quoted(Match::Normalized) => 0.97,
                Way::Quoted(Match::Fuzzy | Match::None) => 0.92,
                Way::Around => 0.94,
                Way::Searched => 0.88,
            };
            found - 0.02 * rivals.min(5) as f64
        }
        Verdict::Ambiguous => 0.5,
        Verdict::None => 0.35,
        Verdict::Mismatch => 0.12,
        Verdict::NotFound => 0.08,
    }
}

/// The parts and what they come to, 0..=1 with two decimals.
pub(super) fn confidence(
    verdict: Verdict,
    evidence: f64,
    valid: bool,
    signals: Signals,
    source: Option<f64>,
) -> (f64, ConfidenceParts) {
    let share = |value: Option<f64>| value.filter(|v| v.is_finite()).map(|v| v.clamp(0.0, 1.0));
    let parts = ConfidenceParts {
        evidence: rounded(evidence),
        validation: f64::from(u8::from(valid)),
        agreement: share(signals.agreement).map(rounded),
        logprob: share(signals.logprob.map(f64::exp)).map(rounded),
        ocr: share(signals.ocr).map(rounded),
        source: share(source).map(rounded),
    };
    let mut sum = parts.evidence;
    if let Some(agreement) = parts.agreement {
        sum = f64::midpoint(sum, agreement);
    }
    for (part, weight) in [
        (parts.source, SOURCE_WEIGHT),
        (parts.ocr, OCR_WEIGHT),
        (parts.logprob, LOGPROB_WEIGHT),
    ] {
        sum *= 1.0 - weight * (1.0 - part.unwrap_or(1.0));
    }
    if !valid {
        sum *= INVALID;
    }
    if matches!(verdict, Verdict::Mismatch | Verdict::NotFound) {
        sum = sum.min(REFUTED);
    }
    (rounded(sum), parts)
}

fn rounded(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(verdict: Verdict, signals: Signals, source: Option<f64>, valid: bool) -> f64 {
        let way = Way::Quoted(Match::Exact);
        confidence(verdict, evidence(verdict, way, 0), valid, signals, source).0
    }

    #[test]
    fn no_certainty_of_others_saves_what_its_quote_contradicts() {
        let sure = Signals {
            agreement: Some(1.0),
            logprob: Some(0.0),
            ocr: Some(1.0),
        };
        for verdict in [Verdict::Mismatch, Verdict::NotFound] {
            assert!(of(verdict, sure, Some(1.0), true) <= 0.3);
        }
        assert!(of(Verdict::Verified, sure, Some(1.0), true) > 0.95);
    }

    #[test]
    fn every_signal_moves_the_confidence_its_own_way() {
        let none = Signals::default();
        let plain = of(Verdict::Verified, none, None, true);
        assert!(of(Verdict::Verified, none, Some(0.5), true) < plain);
        assert!(of(Verdict::Verified, none, None, false) < 0.5);
        let guessed = Signals {
            logprob: Some(0.5_f64.ln()),
            ..none
        };
        let sure = Signals {
            logprob: Some(0.0),
            ..none
        };
        assert!(of(Verdict::Verified, guessed, None, true) < plain - 0.05);
        assert!((of(Verdict::Verified, sure, None, true) - plain).abs() < 1e-9);
        let doubted = Signals {
            agreement: Some(0.0),
            ..none
        };
        assert!(of(Verdict::Verified, doubted, None, true) < 0.5);
        let agreed = Signals {
            agreement: Some(1.0),
            ..none
        };
        let alone = of(Verdict::Ambiguous, none, None, true);
        assert!(of(Verdict::Ambiguous, agreed, None, true) > alone);
    }
}
