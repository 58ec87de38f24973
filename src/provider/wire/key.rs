//! Keys of providers.

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// The key of a provider, overwritten when it is dropped. Never printed, and sent as a header that is not logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<Zeroizing<String>>);

/// The text is no key; it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key is empty or has characters that no key has; a key is one line of visible ASCII characters"
)]
pub struct BadKey;

impl Key {
    /// Blanks around the key are left out.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let is_key = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let key = || Self(Arc::new(Zeroizing::new(text.to_owned())));
        is_key.then(key).ok_or(BadKey)
    }

    /// `prefix` and the key as the value of a header.
    pub fn header(&self, prefix: &str) -> Result<HeaderValue, BadKey> {
        let mut value =
            HeaderValue::try_from(format!("{prefix}{}", self.0.as_str())).map_err(|_| BadKey)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let key = Key::new(" sk-secret\n").unwrap();
        let header = key.header("Bearer ").unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer sk-secret");
        assert!(!format!("{key:?} {header:?}").contains("secret"));
        for bad in ["", "two words", "naïve", "a\nb"] {
            let error = Key::new(bad).unwrap_err();
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
    }
}
