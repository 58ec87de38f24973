//! How a call fails, in our words.
//!
//! What a provider writes about a failure is used to sort it and then dropped: it may hold keys,
//! prompts or parts of the document.

use std::time::Duration;

use super::{Limits, Sorted};
use crate::domain::error::Fault;
use crate::engine::ports::CallError;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $fault:ident $message:literal;)*) => {
        /// What went wrong with a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FailureKind { $($(#[$doc])* $variant,)* }

        impl FailureKind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What a subtree is told; it also says whether asking again may help.
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// For people, safe to show.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

kinds! {
    /// The provider does not take the schema: too large, too deep or not in its dialect.
    Schema SchemaTooComplex "The provider does not take the schema of this part; split the schema or simplify it";
    /// A file of the document is of a kind, size or state that the provider does not take.
    Document DocumentUnreadable "The provider cannot read the document";
    /// Document, task and schema have more tokens than the model reads at once.
    TooLong DocumentUnreadable "The document is longer than the model can read at once; use a model with a larger context";
    /// The explicit cache entry is gone.
    Cache ProviderError "The provider has dropped its copy of the document";
    /// Invalid in the eyes of the provider, and not for the schema or the document.
    Request Internal "The provider calls the request invalid";
    /// Too many requests or tokens for now.
    Rate ProviderRateLimit "The provider asks for fewer requests";
    /// No capacity for now.
    Overload ProviderOverloaded "The provider has no capacity";
    /// A fault of the provider.
    Server ProviderError "The provider failed";
    /// The answer was cut off by the token limit.
    Truncation OutputTruncated "The answer was cut off by the token limit";
    /// The model or a filter of the provider declined.
    Refusal ContentFiltered "The provider refused to answer";
    /// The key is wrong or may not do this.
    Authentication ProviderAuthentication "The provider refuses the key; check the key and what it is allowed to do";
    /// A quota or spending limit is used up: waiting a little does not help.
    Budget BudgetExceeded "The quota or the spending limit at the provider is used up";
    /// No answer, or no more of it, within the limits.
    Timeout Timeout "The provider did not answer in time";
    /// No such model or address, or not for this key.
    NotFound ProviderAuthentication "The provider has no such model at this address for this key; check the model's name and the base URL";
    /// The connection could not be made or broke, or the answer ended before its end signal.
    Broken ProviderError "The connection to the provider broke before the answer was whole";
    /// The text of the answer is no JSON of a form that is read.
    Unreadable InvalidJson "The model's answer is no JSON that can be read";
    /// What came is not an answer in the provider's format, or is larger than any should be.
    Malformed ProviderError "The provider sent something that is no answer";
}

/// Why a call failed. Nothing in it was written by the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub kind: FailureKind,
    /// Safe to show.
    pub message: String,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The least wait that the provider asked for, as it said it (but never more than a day):
    /// whether so long a wait is worth it is not decided here.
    pub retry_after: Option<Duration>,
    /// Boxed, so that a result with a failure stays small.
    pub limits: Option<Box<Limits>>,
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self {
            kind,
            message: format!("{}.", kind.message()),
            status: None,
            retry_after: None,
            limits: None,
        }
    }
}

impl From<Sorted> for Failure {
    fn from(sorted: Sorted) -> Self {
        Self {
            retry_after: sorted.retry_after,
            ..Self::from(sorted.kind)
        }
    }
}

impl Failure {
    /// Adds a remark of ours to the message.
    #[must_use]
    pub fn noting(mut self, remark: &str) -> Self {
        self.message = format!("{} ({remark}).", self.message.trim_end_matches('.'));
        self
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self.noting(&format!("HTTP {status}"))
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.kind.fault().is_retryable()
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        let millis = |wait: Duration| wait.as_nanos().div_ceil(1_000_000) as u64;
        Self {
            fault: failure.kind.fault(),
            retry_after_ms: failure.retry_after.map(millis),
            message: failure.message,
        }
    }
}

/// What a status means by itself, where the body says no more.
pub fn by_status(status: u16) -> FailureKind {
    match status {
        // A redirect would take the key to an address that nobody set.
        300..=399 | 404 | 410 => FailureKind::NotFound,
        401 | 403 | 407 => FailureKind::Authentication,
        402 => FailureKind::Budget,
        408 | 504 => FailureKind::Timeout,
        413 => FailureKind::TooLong,
        429 => FailureKind::Rate,
        503 | 529 => FailureKind::Overload,
        // A conflict with another request of the same moment.
        409 | 425 | 500..=599 => FailureKind::Server,
        400..=499 => FailureKind::Request,
        _ => FailureKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_fault_and_what_cannot_pass_is_not_asked_again() {
        use FailureKind::*;
        let again: Vec<_> = FailureKind::ALL
            .iter()
            .filter(|kind| Failure::from(**kind).is_retryable())
            .collect();
        let expected = [
            &Cache,
            &Rate,
            &Overload,
            &Server,
            &Truncation,
            &Timeout,
            &Broken,
            &Unreadable,
            &Malformed,
        ];
        assert_eq!(again, expected);
        assert_eq!(Budget.fault(), Fault::BudgetExceeded);
        assert_eq!(Authentication.fault(), Fault::ProviderAuthentication);
    }

    #[test]
    fn a_failure_becomes_a_call_error_that_waits_no_less_than_asked() {
        let failure = Failure {
            retry_after: Some(Duration::from_micros(1_500)),
            ..Failure::from(FailureKind::Rate).with_status(429)
        };
        let error = CallError::from(failure);
        assert_eq!(error.fault, Fault::ProviderRateLimit);
        assert_eq!(error.retry_after_ms, Some(2));
        assert_eq!(
            error.message,
            "The provider asks for fewer requests (HTTP 429)."
        );
    }
}
