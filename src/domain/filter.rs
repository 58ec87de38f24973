//! Which jobs a list shows.

use regex::{Regex, RegexBuilder};

use super::error::{Code, Error};
use super::id::{JobId, SchemaId};
use super::metadata::Metadata;
use super::status::Status;
use super::time::Time;

/// Characters of a pattern.
const MAX_PATTERN: usize = 200;
/// Bytes of a compiled pattern.
const MAX_COMPILED: usize = 256 << 10;

/// What a job must be to be listed: all of it. The default is any job.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// One of these; empty: any.
    pub statuses: Vec<Status>,
    pub id: Option<JobId>,
    /// The wire dialect it was asked for in: a name of its own, or `native`.
    pub dialect: Option<String>,
    /// The endpoint it was asked for at, where its dialect has several.
    pub endpoint: Option<String>,
    /// The stored schema it was made with.
    pub schema_id: Option<SchemaId>,
    pub model: Option<String>,
    /// Found anywhere in the name of the document, without regard to ASCII case.
    pub name_contains: Option<String>,
    /// Found anywhere in the name of the document.
    pub name_pattern: Option<NamePattern>,
    /// Created then or later.
    pub from: Option<Time>,
    /// Created before then.
    pub to: Option<Time>,
    /// Pairs that it has.
    pub metadata: Metadata,
}

/// The dialect of jobs that no dialect is named of.
pub const NATIVE: &str = "native";

/// Regular expressions that a name must all match, each bounded in what it costs.
#[derive(Debug, Clone)]
pub struct NamePattern(Vec<Regex>);

impl NamePattern {
    /// Refused with `invalid_request`, which names the parameter `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let refused = |why: String| {
            let message = format!("`{name}` is not a regular expression that is taken: {why}");
            Error::new(Code::InvalidRequest, message.clone()).at(format!("/{name}"), message)
        };
        let count = text.chars().count();
        if count > MAX_PATTERN {
            return Err(refused(format!(
                "it has {count} characters; the limit is {MAX_PATTERN}."
            )));
        }
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        built
            .map(|regex| Self(vec![regex]))
            .map_err(|error| refused(format!("{error}.")))
    }

    pub fn is_in(&self, text: &str) -> bool {
        self.0.iter().all(|regex| regex.is_match(text))
    }

    /// What matches both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}
