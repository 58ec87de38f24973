//! Names of stored things. Minted by the engine, parsed at the door.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{Code, Error};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $code:ident $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads the canonical text form; refuses everything else before a store sees it.
            pub fn parse(text: &str) -> Result<Self, Error> {
                Uuid::try_parse(text).map(Self).map_err(|_| {
                    let shown: String = text.chars().take(80).collect();
                    Error::new(
                        Code::$code,
                        format!(
                            concat!(
                                "`{}` is not a ", $noun, " id: a ", $noun,
                                " id is a UUID, such as `018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11`."
                            ),
                            shown
                        ),
                    )
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    JobId InvalidJobId "job";
    DocumentId InvalidDocumentId "document";
    SchemaId InvalidSchemaId "schema";
    /// An endpoint of webhooks.
    WebhookId InvalidWebhookId "webhook";
    /// A file, also while it is still being uploaded in chunks.
    FileId InvalidFileId "file";
    TemplateId InvalidTemplateId "template";
    FilterId InvalidFilterId "filter";
}

/// Whose data a query may see. Every read and write of a store takes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The one user of a server without keys.
    pub fn local() -> Self {
        Self("local".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client's own name for a request: sent again under the same name, it does nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The most characters.
    pub const MAX: usize = 255;

    /// Takes 1 to [`Self::MAX`] printable characters of ASCII, blanks included.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (count, max) = (text.chars().count(), Self::MAX);
        if (1..=max).contains(&count) && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::new(
            Code::InvalidRequest,
            format!(
                "`Idempotency-Key: {shown}` has {count} characters; it takes 1 to {max} printable ASCII characters. Send a UUID, for instance."
            ),
        ))
    }

    /// The key of a request in another dialect than the native one: never the same as one of
    /// another dialect, since no client can send the character that divides the two.
    #[must_use]
    pub fn within(self, dialect: &str) -> Self {
        Self(format!("{dialect}{DIVIDER}{}", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as its client sent it.
    pub fn sent(&self) -> &str {
        let divided = self.0.split_once(DIVIDER);
        divided.map_or(&*self.0, |(_, sent)| sent)
    }
}

/// Between the name of a dialect and a key.
const DIVIDER: char = '\u{1f}';

/// A place in a job's event log: everything up to and including `sequence` has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The job the cursor was given for; `None` for a bare number.
    pub job: Option<JobId>,
    pub sequence: u64,
}

impl Cursor {
    /// Reads `JOBID.SEQ` or `SEQ`; empty text is no cursor.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let unreadable = || {
            let shown: String = text.chars().take(80).collect();
            Error::new(
                Code::InvalidLastEventId,
                format!(
                    "`{shown}` is not an event cursor. Send `JOBID.NUMBER` or `NUMBER`, as in the `id:` line of the last event received."
                ),
            )
        };
        let (job, number) = match text.split_once('.') {
            Some((job, number)) => (
                Some(JobId(Uuid::try_parse(job).map_err(|_| unreadable())?)),
                number,
            ),
            None => (None, text),
        };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = number
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(unreadable)?;
        Ok(Some(Self { job, sequence }))
    }

    /// The sequence to read after in the log of `job`: another job's cursor means the start.
    pub fn after(self, job: JobId) -> u64 {
        match self.job {
            Some(other) if other != job => 0,
            _ => self.sequence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_take_both_forms_and_nothing_else() {
        let job = JobId(Uuid::from_u128(7));
        let parse = |text: &str| Cursor::parse(text).unwrap();
        assert_eq!(parse(""), None);
        assert_eq!(
            parse("12"),
            Some(Cursor {
                job: None,
                sequence: 12
            })
        );
        assert_eq!(
            parse(&format!("{job}.3")),
            Some(Cursor {
                job: Some(job),
                sequence: 3
            })
        );
        for bad in [
            "x",
            "-1",
            "+1",
            "1.2.3",
            "abc.1",
            "1 ",
            "99999999999999999999",
            ".",
        ] {
            let error = Cursor::parse(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidLastEventId, "{bad}");
        }
    }

    #[test]
    fn keys_are_printable_and_of_255_characters_at_most() {
        for good in ["a", "~ !", &"k".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", &"k".repeat(256), "k\tk", "k\u{7f}", "schl\u{fc}ssel"] {
            let error = IdempotencyKey::parse(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest, "{bad}");
            assert!(error.detail.contains("1 to 255"), "{}", error.detail);
        }
    }

    #[test]
    fn the_same_key_of_two_dialects_is_two_keys() {
        let key = || IdempotencyKey::parse("k").unwrap();
        let (one, other) = (key().within("structflow"), key().within("retab"));
        assert_ne!(one, other);
        assert_ne!(one, key());
        assert_eq!((one.sent(), key().sent()), ("k", "k"));
    }

    #[test]
    fn a_cursor_of_another_job_starts_from_the_beginning() {
        let (a, b) = (JobId(Uuid::from_u128(1)), JobId(Uuid::from_u128(2)));
        let cursor = Cursor {
            job: Some(a),
            sequence: 9,
        };
        assert_eq!((cursor.after(a), cursor.after(b)), (9, 0));
    }
}
