//! What a client keeps with a job for itself: pairs of short texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Code, Error};
use super::pointer::Pointer;

/// Pairs of one job.
pub const MAX_PAIRS: usize = 16;
/// Characters of a key, at least 1.
pub const MAX_KEY: usize = 64;
/// Characters of a value.
pub const MAX_VALUE: usize = 512;

/// At most [`MAX_PAIRS`] pairs, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// Reads an object of texts that stands at `pointer` in a request.
    pub fn parse(pointer: &str, value: &Value) -> Result<Self, Error> {
        let refused = |at: &str, message: String| {
            Err(Error::new(Code::InvalidRequest, format!("At `{at}`: {message}")).at(at, message))
        };
        let Value::Object(members) = value else {
            let message = "Expected an object of texts, such as {\"team\": \"billing\"}.";
            return refused(pointer, message.to_owned());
        };
        if members.len() > MAX_PAIRS {
            let message = format!("{} pairs; the limit is {MAX_PAIRS}.", members.len());
            return refused(pointer, message);
        }
        let mut pairs = BTreeMap::new();
        for (key, value) in members {
            let shown: String = key.chars().take(MAX_KEY).collect();
            let at = format!("{pointer}{}", Pointer::root().join(&shown).as_str());
            let count = key.chars().count();
            if !(1..=MAX_KEY).contains(&count) || key.contains('\0') {
                let message =
                    format!("The key has {count} characters; it takes 1 to {MAX_KEY}, and no NUL.");
                return refused(&at, message);
            }
            let Value::String(value) = value else {
                return refused(&at, "Expected text.".to_owned());
            };
            let count = value.chars().count();
            if count > MAX_VALUE || value.contains('\0') {
                let message = format!(
                    "The value has {count} characters; the limit is {MAX_VALUE}, and no NUL."
                );
                return refused(&at, message);
            }
            pairs.insert(key.clone(), value.clone());
        }
        Ok(Self(pairs))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sixteen_pairs_of_sixty_four_and_five_hundred_and_twelve_characters_are_taken() {
        let key = |number: usize| format!("{number:02}{}", "\u{e9}".repeat(62));
        let pairs = (0..16).map(|number| (key(number), json!("\u{e9}".repeat(512))));
        let pairs: Value = pairs.collect::<serde_json::Map<_, _>>().into();
        let metadata = Metadata::parse("/metadata", &pairs).unwrap();
        assert_eq!(serde_json::to_value(&metadata).unwrap(), pairs);
        assert!(Metadata::parse("", &json!({})).unwrap().is_empty());
    }

    #[test]
    fn what_is_over_a_limit_or_no_text_is_refused_where_it_stands() {
        let many: Value = (0..17)
            .map(|number| (number.to_string(), json!("x")))
            .collect::<serde_json::Map<_, _>>()
            .into();
        for (value, pointer) in [
            (many, "/m"),
            (json!([]), "/m"),
            (json!({"": "x"}), "/m/"),
            (json!({"a/b": 1}), "/m/a~1b"),
            (json!({"a": null}), "/m/a"),
            (json!({"a": "x".repeat(513)}), "/m/a"),
            (json!({"a": "\0"}), "/m/a"),
            (
                json!({"k".repeat(65): "x"}),
                &format!("/m/{}", "k".repeat(64)),
            ),
        ] {
            let error = Metadata::parse("/m", &value).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
            assert_eq!(error.errors[0].pointer, pointer);
        }
    }
}
