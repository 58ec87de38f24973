//! A key to a provider that a caller brings for one job.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{Code, Error};

/// The header that carries it.
pub const HEADER: &str = "X-BYOK-Key";
/// Bytes of a key.
const MAX_KEY: usize = 1_024;

/// Held in memory for as long as its job runs, and overwritten then. Never printed and never stored:
/// it can neither be serialized nor compared.
#[derive(Clone)]
pub struct OwnKey(Arc<Zeroizing<String>>);

impl OwnKey {
    /// Refused with `invalid_request`; the text is not repeated.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let is_key = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key && (1..=MAX_KEY).contains(&text.len()) {
            return Ok(Self(Arc::new(Zeroizing::new(text.to_owned()))));
        }
        let message = format!(
            "`{HEADER}` takes one key of 1 to {MAX_KEY} visible ASCII characters, as the provider gave it."
        );
        Err(Error::new(Code::InvalidRequest, message.clone()).at(format!("/{HEADER}"), message))
    }

    /// For the provider that is asked.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed_and_a_bad_one_not_repeated() {
        let key = OwnKey::parse(" sk-secret ").unwrap();
        assert_eq!(key.reveal(), "sk-secret");
        assert!(!format!("{key:?}").contains("secret"));
        for bad in ["", "two words", "naïve-secret", &"x".repeat(1_025)] {
            let error = OwnKey::parse(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
    }
}
