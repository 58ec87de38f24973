//! How likely the tokens of each value were: what a provider tells of its tokens, laid against the
//! text that it sent.

use std::ops::Range;

use super::Limits;
use super::leaves::leaves;
use crate::provider::wire::TokenLogprobs;

/// Tokens of an answer.
const MOST_TOKENS: usize = 1 << 18;

/// A scalar of a member's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Names and indices from the value down.
    pub at: Vec<String>,
    /// Natural logarithm of the probability of its least sure token.
    ///
    /// Not of the mean: nearly all tokens of a wrong number are copied as surely as those of a
    /// right one, and over ten of them the mean hides the one that was guessed. Marks around the
    /// value do not count unless a token has some of both: how surely a model sets its commas
    /// says nothing of the value.
    pub logprob: f64,
}

/// The tokens of one answer. Tokens come before the text that they spell. Once the two differ, or
/// text comes of which no tokens were told, nothing is known of the rest.
#[derive(Debug)]
pub struct Tally {
    limits: Limits,
    is_sound: bool,
    /// What the tokens spell, from the start of the answer.
    spelled: Vec<u8>,
    /// Bytes of it that have come as text.
    seen: usize,
    /// Where each token ends, and its logprob.
    tokens: Vec<(usize, f64)>,
}

impl Tally {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_sound: true,
            spelled: Vec::new(),
            seen: 0,
            tokens: Vec::new(),
        }
    }

    /// Takes the tokens that were written next.
    pub fn tell(&mut self, said: &TokenLogprobs) {
        if !self.is_sound {
            return;
        }
        let mut end = self.spelled.len();
        // The sign that ends an answer spells nothing.
        for (bytes, logprob) in said.tokens.iter().filter(|(bytes, _)| *bytes > 0) {
            end += bytes;
            self.tokens.push((end, *logprob));
        }
        self.spelled.extend_from_slice(&said.text);
        let is_small = self.tokens.len() <= MOST_TOKENS && end as u64 <= self.limits.bytes;
        if !is_small || end != self.spelled.len() {
            self.end();
        }
    }

    /// Takes the text of the answer that came next.
    pub fn feed(&mut self, text: &str) {
        let end = self.seen + text.len();
        if self.is_sound && self.spelled.get(self.seen..end) == Some(text.as_bytes()) {
            self.seen = end;
        } else {
            self.end();
        }
    }

    /// The scalars of the value that stands there, bytes of the answer's text; none where nothing
    /// is known of its tokens.
    pub fn scores(&self, span: &Range<u64>) -> Vec<Scored> {
        self.known(span).unwrap_or_default()
    }

    fn known(&self, span: &Range<u64>) -> Option<Vec<Scored>> {
        let (start, end) = (span.start as usize, span.end as usize);
        let text = self.spelled[..self.seen].get(start..end)?;
        let text = str::from_utf8(text).ok()?;
        let scored = leaves(text)?.into_iter().filter_map(|(at, inside)| {
            let logprob = self.least(start + inside.start..start + inside.end)?;
            Some(Scored { at, logprob })
        });
        Some(scored.collect())
    }

    /// Of the tokens that have a byte of it.
    fn least(&self, range: Range<usize>) -> Option<f64> {
        let first = self.tokens.partition_point(|(end, _)| *end <= range.start);
        let mut least: Option<f64> = None;
        for (end, logprob) in &self.tokens[first..] {
            least = Some(least.map_or(*logprob, |least| least.min(*logprob)));
            if *end >= range.end {
                break;
            }
        }
        least
    }

    fn end(&mut self) {
        self.is_sound = false;
        self.seen = 0;
        self.spelled = Vec::new();
        self.tokens = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::answer::Members;

    /// Tokens of these texts, each with a probability in percent.
    fn tokens(all: &[(&[u8], f64)]) -> TokenLogprobs {
        TokenLogprobs {
            text: all.iter().flat_map(|(text, _)| text.to_vec()).collect(),
            tokens: all
                .iter()
                .map(|(text, percent)| (text.len(), (percent / 100.0).ln()))
                .collect(),
        }
    }

    /// What is known of each scalar, in percent, when tokens and text come in these pieces.
    fn scored(pieces: &[(TokenLogprobs, &str)]) -> Value {
        let (mut tally, mut members) = (Tally::new(Limits::default()), Members::default());
        let mut all = serde_json::Map::new();
        for (said, text) in pieces {
            tally.tell(said);
            tally.feed(text);
            for closed in members.feed(text).unwrap() {
                for leaf in tally.scores(&closed.span) {
                    let at = format!("{}/{}", closed.name, leaf.at.join("/"));
                    all.insert(at, json!((leaf.logprob.exp() * 100.0).round() as u64));
                }
            }
        }
        Value::Object(all)
    }

    const TEXT: &str = "{\"s0\": {\"no\": \"R-10\\\"17\", \"gr\\u00f6\\u00dfe\": [1204.5, {\"x\": \"\"}, null,]}, \"s1\": \"Köln ☃\"}";

    fn known() -> TokenLogprobs {
        tokens(&[
            (b"{\"s0\": {\"no\":", 1.0),
            (b" \"R-", 90.0),
            (b"10\\", 80.0),
            (b"\"17\", \"", 70.0),
            (b"gr\\u00f6\\u00dfe\": [", 2.0),
            (b"1204", 60.0),
            (b".5", 95.0),
            (b", {\"x\": \"", 50.0),
            (b"\"}, ", 40.0),
            (b"null,]", 30.0),
            (b"}, \"s1\": \"", 3.0),
            (b"K\xc3", 99.0),
            (b"\xb6ln \xe2\x98", 97.0),
            (b"\x83\"", 98.0),
            (b"}", 4.0),
            (b"", 5.0),
        ])
    }

    fn expected() -> Value {
        json!({
            "s0/no": 70, "s0/größe/0": 60, "s0/größe/1/x": 40, "s0/größe/2": 30, "s1/": 97,
        })
    }

    #[test]
    fn a_scalar_is_as_sure_as_the_least_sure_token_that_has_a_byte_of_it() {
        assert_eq!(scored(&[(known(), TEXT)]), expected());
    }

    #[test]
    fn the_text_may_come_in_any_pieces_behind_its_tokens() {
        for at in (0..=TEXT.len()).filter(|at| TEXT.is_char_boundary(*at)) {
            let (head, tail) = TEXT.split_at(at);
            let pieces = [(known(), head), (TokenLogprobs::default(), tail)];
            assert_eq!(scored(&pieces), expected(), "{at}");
        }
        // A token and the text that is whole by its end, one after the other.
        let known = known();
        let (mut from, mut told) = (0, 0);
        let mut pieces = Vec::new();
        for (bytes, logprob) in &known.tokens {
            let text = known.text[told..told + bytes].to_vec();
            told += bytes;
            let whole = (from..=told).rev().find(|at| TEXT.is_char_boundary(*at));
            let said = TokenLogprobs {
                text,
                tokens: vec![(*bytes, *logprob)],
            };
            pieces.push((said, &TEXT[from..whole.unwrap()]));
            from = whole.unwrap();
        }
        assert_eq!(scored(&pieces), expected());
    }

    #[test]
    fn of_text_that_differs_from_its_tokens_nothing_is_known() {
        for at in 0..TEXT.len() {
            let mut wrong = known();
            wrong.text[at] ^= 1;
            assert_eq!(scored(&[(wrong, TEXT)]), json!({}), "{at}");
        }
        let mut short = known();
        short.tokens.pop();
        short.tokens.pop();
        assert_eq!(scored(&[(short, TEXT)]), json!({}), "text without a token");
        assert_eq!(scored(&[(TokenLogprobs::default(), TEXT)]), json!({}));
        // What had closed before keeps its scores.
        let (head, tail) = TEXT.split_at(TEXT.find(" \"s1\"").unwrap());
        let mut cut = known();
        cut.text.truncate(head.len());
        cut.tokens.truncate(11);
        cut.tokens[10].0 = 2;
        let got = scored(&[(cut, head), (TokenLogprobs::default(), tail)]);
        assert_eq!(got["s0/no"], 70, "{got}");
        assert_eq!(got.get("s1/"), None, "{got}");
    }

    #[test]
    fn no_more_tokens_are_kept_than_an_answer_has() {
        let mut tally = Tally::new(Limits::default());
        let many = TokenLogprobs {
            text: vec![b' '; MOST_TOKENS],
            tokens: vec![(1, -0.1); MOST_TOKENS],
        };
        tally.tell(&many);
        assert!(tally.is_sound);
        tally.tell(&many);
        assert!(!tally.is_sound && tally.tokens.is_empty() && tally.spelled.is_empty());
    }
}
