//! The one table of error codes: name, HTTP status, whether trying again may help, title.
//!
//! [`Code`] is what a request can be refused with, before a job exists. [`Fault`] is what can
//! happen to a subtree or a whole job after it was accepted. Every dialect words its bodies
//! from these rows.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:literal $retryable:literal $title:literal;)*) => {
        /// Why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable machine name, as in the `code` member of a problem body.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whether the same request may succeed later.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// A short text for people, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" 400 false "The body is not JSON";
    InvalidRequest "invalid_request" 400 false "The request is not of the form this route takes";
    InvalidJobId "invalid_job_id" 400 false "The job id is not a UUID";
    InvalidDocumentId "invalid_document_id" 400 false "The document id is not a UUID";
    InvalidSchemaId "invalid_schema_id" 400 false "The schema id is not a UUID";
    InvalidWebhookId "invalid_webhook_id" 400 false "The webhook id is not a UUID";
    InvalidFileId "invalid_file_id" 400 false "The file id is not a UUID";
    InvalidTemplateId "invalid_template_id" 400 false "The template id is not a UUID";
    InvalidFilterId "invalid_filter_id" 400 false "The filter id is not a UUID";
    UnresolvedWebhookCoverage "unresolved_webhook_coverage" 400 false "No webhook is there to be told";
    InvalidCursor "invalid_cursor" 400 false "The list cursor cannot be read";
    InvalidLastEventId "invalid_last_event_id" 400 false "The event cursor cannot be read";
    LastEventIdOutOfRange "last_event_id_out_of_range" 400 false "The event cursor lies beyond the log";
    UnsupportedProtocol "unsupported_protocol" 400 false "This protocol version is not spoken here";
    Unauthorized "unauthorized" 401 false "A valid API key is needed";
    ForbiddenOrigin "forbidden_origin" 403 false "Requests from this origin or host are not allowed";
    NotFound "not_found" 404 false "There is nothing at this address";
    DocumentNotFound "document_not_found" 404 false "No such document";
    SchemaNotFound "schema_not_found" 404 false "No such schema";
    JobNotFound "job_not_found" 404 false "No such job";
    WebhookNotFound "webhook_not_found" 404 false "No such webhook";
    FileNotFound "file_not_found" 404 false "No such file";
    TemplateNotFound "template_not_found" 404 false "No such template";
    FilterNotFound "filter_not_found" 404 false "No such filter";
    MethodNotAllowed "method_not_allowed" 405 false "The route does not take this method";
    NotAcceptable "not_acceptable" 406 false "None of the accepted media types can be sent";
    ResultNotReady "result_not_ready" 409 true "The job has not ended";
    JobAlreadyEnded "job_already_ended" 409 false "The job has already ended";
    JobFailed "job_failed" 409 false "The job has failed";
    NameTaken "name_taken" 409 false "The name is taken";
    TooManyDefinitions "too_many_definitions" 409 false "Too many templates or filters";
    NothingToRetry "nothing_to_retry" 409 false "Every part of the job succeeded";
    JobActive "job_active" 409 true "The job is still active";
    IdempotencyKeyInUse "idempotency_key_in_use" 409 true "A request with this key is being worked on";
    DocumentInUse "document_in_use" 409 true "A job that has not ended needs the document";
    TooManyWebhooks "too_many_webhooks" 409 false "Too many webhooks";
    UploadConflict "upload_conflict" 409 false "The upload is not where the request takes it to be";
    UploadIncomplete "upload_incomplete" 409 true "The file is still being uploaded";
    TooManyUploads "too_many_uploads" 409 false "Too many open uploads";
    ReviewRequired "review_required" 409 true "The result is held back until it is reviewed";
    ReviewRejected "review_rejected" 409 false "A reviewer rejected the result";
    NotInReview "not_in_review" 409 false "The job does not wait for a review";
    StaleReview "stale_review" 409 false "The review was changed in the meantime";
    EventsExpired "events_expired" 410 false "The log of the job has expired";
    ResultExpired "result_expired" 410 false "The result of the job has expired";
    TooLarge "too_large" 413 false "The body is larger than the limit";
    UnsupportedMediaType "unsupported_media_type" 415 false "This kind of file or body is not read here";
    InvalidForm "invalid_form" 422 false "A field of the form has a value that is not allowed";
    ProcessFailed "process_failed" 422 false "The document could not be processed as asked";
    InvalidSchema "invalid_schema" 422 false "The JSON Schema cannot be used";
    SchemaTooComplex "schema_too_complex" 422 false "The JSON Schema is over a limit";
    OwnKeyRequired "own_key_required" 422 false "The job runs under a key of its caller's own";
    InvalidCorrection "invalid_correction" 422 false "A corrected value cannot stand there";
    InvalidConfig "invalid_config" 422 false "A config value is out of its range";
    BudgetTooSmall "budget_too_small" 422 false "The job cannot be done within its budget";
    ModelNotFound "model_not_found" 422 false "No such model here";
    CallbackUrlForbidden "callback_url_forbidden" 422 false "Nothing is sent to this URL";
    IdempotencyKeyReused "idempotency_key_reused" 422 false "The key was used for another request";
    DocumentCorrupt "document_corrupt" 422 false "The document cannot be read";
    DocumentEmpty "document_empty" 422 false "The document has no content";
    DocumentWithoutText "document_without_text" 422 false "The document has pictures but no text";
    DocumentTooComplex "document_too_complex" 422 false "The document is over a limit";
    PasswordRequired "password_required" 422 false "The document is encrypted";
    TooManyJobs "too_many_jobs" 429 true "Too many active jobs";
    RateLimited "rate_limited" 429 true "Too many requests with a wrong key";
    TooManyPolls "too_many_polls" 429 true "The job is polled too often";
    TooManyStreams "too_many_streams" 429 true "Too many open streams";
    Internal "internal" 500 false "The server failed";
    StoreUnavailable "store_unavailable" 503 true "The store does not answer";
    QueueFull "queue_full" 503 true "Too many jobs wait on this server";
    Draining "draining" 503 true "The server is shutting down";
    StorageFull "storage_full" 507 true "The server has no room";
}

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident $name:literal $retryable:literal;)*) => {
        /// What went wrong with a subtree or a job after it was accepted: `error_type` in events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Fault { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether asking again may help.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }
        }
    };
}

faults! {
    ProviderRateLimit "provider_rate_limit" true;
    ProviderOverloaded "provider_overloaded" true;
    ProviderError "provider_error" true;
    Timeout "timeout" true;
    OutputTruncated "output_truncated" true;
    /// The provider refuses the key, or the key does not open the model.
    ProviderAuthentication "provider_authentication" false;
    /// The caller's own key was in the memory of a process that is gone.
    OwnKeyLost "own_key_lost" false;
    ContentFiltered "content_filtered" false;
    SchemaTooComplex "schema_too_complex" false;
    InvalidJson "invalid_json" true;
    ValidationFailed "validation_failed" false;
    DocumentUnreadable "document_unreadable" false;
    BudgetExceeded "budget_exceeded" false;
    /// Rows of an array are missing, and the job requires all of them.
    IncompleteArray "incomplete_array" false;
    /// A reviewer refused the result.
    ReviewRejected "review_rejected" false;
    Internal "internal" false;
}

/// One thing wrong inside a body, by JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub pointer: String,
    pub message: String,
}

/// A refusal: the code, what exactly is wrong, and where.
#[derive(Debug, Clone)]
pub struct Error {
    pub code: Code,
    /// Names the offending value, the allowed ones and the next step. Safe to show.
    pub detail: String,
    pub errors: Vec<Detail>,
    pub retry_after_seconds: Option<u32>,
}

impl Error {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_seconds = match code.status() {
            429 if code.is_retryable() => Some(5),
            503 | 507 if code.is_retryable() => Some(2),
            _ => None,
        };
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds,
        }
    }

    /// Says when to try again, seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(Detail {
            pointer: pointer.into(),
            message: message.into(),
        });
        self
    }

    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Detail>) -> Self {
        self.errors = errors;
        self
    }

    /// A failure of ours: the cause goes to the log where it is handled, never into the body.
    pub fn internal() -> Self {
        Self::new(
            Code::Internal,
            "The server could not do this. The log names the cause under the request id.",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)?;
        for error in &self.errors {
            write!(f, "\n  at `{}`: {}", error.pointer, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_snake_case_and_no_two_codes_share_one() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for name in names
            .iter()
            .chain(&Fault::ALL.iter().map(|f| f.name()).collect::<Vec<_>>())
        {
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
        }
    }

    #[test]
    fn a_fault_is_stored_under_its_name() {
        for fault in Fault::ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
    }
}
