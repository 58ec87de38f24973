//! How likely each token of an answer was, as vendors tell it.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Tokens that are read of one piece of an answer; of a longer one nothing is.
const MOST: usize = 1 << 18;

/// Tokens in the order they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenLogprobs {
    /// What they spell, end to end. A token may end inside a character.
    pub text: Vec<u8>,
    /// How many bytes of it each has, and the natural logarithm of its probability, at most 0.
    pub tokens: Vec<(usize, f64)>,
}

impl TokenLogprobs {
    /// Those of a piece of an answer: OpenAI's `logprobs`, Gemini's `logprobsResult`. None where
    /// they are not of the known form: they are never worth an answer.
    pub fn read(said: &RawValue) -> Option<Self> {
        let said: Said = serde_json::from_str(said.get()).ok()?;
        said.tokens.filter(|said| !said.tokens.is_empty())
    }
}

#[derive(Deserialize)]
struct Said {
    #[serde(alias = "content", alias = "chosenCandidates")]
    tokens: Option<TokenLogprobs>,
}

#[derive(Deserialize)]
struct Piece {
    token: Option<String>,
    #[serde(alias = "logProbability")]
    logprob: f64,
    /// Where a token is no text by itself, only these are right.
    bytes: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for TokenLogprobs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Tokens)
    }
}

/// Takes one token after the other: as a list of structs a body of the allowed size could grow to
/// many times of it.
struct Tokens;

impl<'de> Visitor<'de> for Tokens {
    type Value = TokenLogprobs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = TokenLogprobs::default();
        while let Some(token) = list.next_element::<Piece>()? {
            let spelled = token.token.map(String::into_bytes);
            let bytes = token.bytes.or(spelled);
            let bytes = bytes.ok_or_else(|| A::Error::missing_field("token"))?;
            if all.tokens.len() == MOST {
                return Err(A::Error::custom("too many tokens"));
            }
            all.tokens.push((bytes.len(), token.logprob.min(0.0)));
            all.text.extend(bytes);
        }
        Ok(all)
    }
}
