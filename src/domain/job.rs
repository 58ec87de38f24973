//! A job: what was asked, the fold of its events, and which events may come next.
//!
//! [`JobView`] is the fold of a job's events. A store calls [`JobView::admit`] inside the
//! transaction that writes the event, so the log and the row can never tell different stories.

mod arrays;
mod held;
mod kept;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::completeness::Completeness;
use super::config::Config;
use super::error::Fault;
use super::event::{
    ArrayProgress, ArrayVerdict, End, Envelope, Event, ItemsPreview, JobStatus, JudgedArray, Links,
    PROTOCOL_VERSION, Phase, PlannedSubtree, Progress, Reason, Start, Step, SubtreeError,
    SubtreeResult, SubtreeRetry, Validation,
};
use super::explain::Forecast;
use super::id::{DocumentId, FileId, JobId, SchemaId};
use super::metadata::Metadata;
use super::operation::{Operation, Parse};
use super::pointer::Pointer;
use super::record::{Batch, RecordMark, RecordTally};
use super::review::Review;
use super::status::Status;
use super::template::TemplateUse;
use super::time::Time;
use super::usage::Usage;
use super::webhook::Secret;
pub use arrays::{Paid, TakenBack};
pub use held::ReviewDraft;
pub use kept::Asked;

/// A checked request, as it is kept with the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub document_id: DocumentId,
    pub document_name: String,
    /// Lower-case hexadecimal SHA-256 of the document's bytes: the key of its blobs.
    pub document_sha256: String,
    /// Null when the schema came with the request.
    pub schema_id: Option<SchemaId>,
    pub schema_name: Option<String>,
    /// Key of the stored plan.
    pub plan: String,
    pub config: Config,
    /// What the chosen model cannot honour of the request.
    pub warnings: Vec<Warning>,
    /// Names the words that the model is asked with, as they were when the job was accepted. None
    /// for models that are not asked in words, and in jobs of before it was kept.
    #[serde(default)]
    pub prompt_version: Option<String>,
    /// What the job was thought to come to when it was accepted; none where answers cost no
    /// tokens, and for jobs of before there were forecasts.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// What tells the request from others, lower-case hexadecimal SHA-256. None for jobs that
    /// did not come over the wire, and for those of before it was kept: no request repeats them.
    #[serde(default)]
    pub request_hash: Option<String>,
    /// Where the end of the job is told, beside the webhooks of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// What `callback_url` is signed with; none: with the secret that is the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_secret: Option<Secret>,
    /// What the client keeps with the job.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The wire dialect it was asked for in; none for the native one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The endpoint it was asked for at, where its dialect has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What its dialect keeps with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Of a job over many records, which the document then holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// What is done with the document. Left out where values are extracted.
    #[serde(default, skip_serializing_if = "Operation::is_extract")]
    pub operation: Operation,
    /// How the document's text is cut into chunks beside what is extracted; none where nobody wants
    /// any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Parse>,
    /// Whether models are asked under a key of the caller's own, which is not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_own_key: bool,
    /// Whether the callback is told of the job in the words of its dialect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_own_callback: bool,
    /// The template it was made with, and the filter that chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateUse>,
}

/// A setting that was accepted and changes nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub field: String,
    pub message: String,
}

/// The fold of a job's events: what a poll shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    pub id: JobId,
    pub status: Status,
    /// 1, and one more each time it was retried after its end.
    pub run: u32,
    /// Number of the last committed event.
    pub sequence: u64,
    pub created_at: Time,
    /// Time of the last committed event.
    pub updated_at: Time,
    /// When its run was begun; none while it waits for that, and in jobs of before it was kept.
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub step: Step,
    pub total_subtrees: u64,
    pub subtrees_succeeded: u64,
    pub subtrees_failed: u64,
    pub total_fields: u64,
    pub fields_processed: u64,
    pub usage: Usage,
    /// Of the job when it failed; until then of the last failed subtree.
    pub error: Option<(Fault, String)>,
    /// What is known of each array that was read, in the order of their events. Not of a batch:
    /// there it counts in the end of its record.
    pub arrays: Vec<ArrayVerdict>,
    /// Incomplete arrays that were taken back: what they did cost until then is in `usage`.
    pub taken_back: Vec<TakenBack>,
    /// What was paid for windows of arrays that have no outcome; it is not in `usage`.
    pub paid: Vec<Paid>,
    /// What became of the review, once one was needed.
    pub review: Option<Box<Review>>,
    /// The job has ended in a way that gives out its result; only asked where there is a gate.
    pub released: bool,
    /// Of a batch: its records by their ends.
    pub records: Option<RecordTally>,
    /// Of a batch that has ended: what became of its records, a line each.
    pub output_file: Option<FileId>,
    /// Never changed, so all views of the job share it.
    pub spec: Arc<JobSpec>,
}

/// What the engine wants to say next. Numbers, times and progress are filled in when it is
/// admitted, in the order of the log.
#[derive(Debug, Clone)]
pub enum Draft {
    Status {
        status: Status,
        reason: Reason,
        message: Option<String>,
    },
    Result(ResultDraft),
    Error(ErrorDraft),
    Retry(SubtreeRetry),
    /// A part of a long array, kept until the array is whole. It is no event.
    Window(WindowDraft),
    Array(ArrayDraft),
    /// All is extracted, and a person is to look at this many fields.
    Hold {
        flagged: u64,
    },
    Review(ReviewDraft),
    End(Ending),
    /// After the end: what failed or is missing is asked for once more.
    Reopen {
        /// Leaf fields of the subtrees that are asked for again.
        failed_fields: u64,
        /// Of them, those whose outcome was an array with rows missing.
        incomplete: u64,
    },
}

/// Names an answer by all that it was asked with, the scope included: SHA-256.
pub type AnswerKey = [u8; 32];

/// What was read in one window of a document, for one array.
#[derive(Debug, Clone)]
pub struct WindowDraft {
    /// The outcome that the array will have.
    pub ordinal: Ordinal,
    /// What all windows of that array did cost that no outcome has told of, this one included.
    pub paid: Usage,
    /// Names it by all that it was asked with.
    pub key: AnswerKey,
    /// Rows, where they stand, and what they did cost. Only the engine reads it.
    pub body: Box<RawValue>,
}

/// How far the reading of a long array is; the rest of the event is filled in.
#[derive(Debug, Clone)]
pub struct ArrayDraft {
    pub subtree_id: String,
    pub path: Pointer,
    pub phase: Phase,
    pub items_found: u64,
    pub items_new: u64,
    pub items_completed: u64,
    pub iteration: u64,
    pub windows_done: u64,
    pub windows_total: u64,
    pub pages: Vec<u32>,
    pub pages_processed: u64,
    pub total_pages: u64,
    pub total_items_estimate: Option<u64>,
    pub items_preview: Option<ItemsPreview>,
    /// Of a batch.
    pub record: Option<RecordMark>,
}

/// Which outcome of which job: at most one is ever admitted.
pub type Ordinal = u32;

#[derive(Debug, Clone)]
pub struct ResultDraft {
    pub ordinal: Ordinal,
    pub subtree_id: String,
    pub path: Pointer,
    pub fields: u32,
    pub extracted_result: Box<RawValue>,
    pub attributions: Option<Box<RawValue>>,
    pub usage: Usage,
    pub attempts: u32,
    pub duration_ms: u64,
    pub validation: Option<Validation>,
    /// Of an array: whether rows are missing; none where nobody looked.
    pub completeness: Option<Box<Completeness>>,
    /// Where that array goes, if not to `path`.
    pub array_path: Option<Pointer>,
    /// What is known of arrays that are a part of the value.
    pub arrays: Vec<JudgedArray>,
    /// Under which the answer is found again; none where it is not to be used again.
    pub answer: Option<AnswerKey>,
    /// Of a batch.
    pub record: Option<RecordMark>,
}

#[derive(Debug, Clone)]
pub struct ErrorDraft {
    pub ordinal: Ordinal,
    pub subtree_id: String,
    pub path: Pointer,
    pub fields: u32,
    pub fault: Fault,
    pub message: String,
    pub usage: Usage,
    pub attempts: u32,
    pub duration_ms: u64,
    /// Of a batch.
    pub record: Option<RecordMark>,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Every subtree has an outcome: completed when one succeeded, else failed.
    Settled,
    /// The same of a batch, whose output is written.
    Written {
        output: FileId,
    },
    Failed {
        fault: Fault,
        message: String,
    },
    Cancelled {
        reason: Option<String>,
    },
}

impl Draft {
    /// The subtree this settles, when it is an outcome.
    pub fn ordinal(&self) -> Option<Ordinal> {
        match self {
            Self::Result(draft) => Some(draft.ordinal),
            Self::Error(draft) => Some(draft.ordinal),
            _ => None,
        }
    }

    /// The key that the outcome is found again by.
    pub fn answer(&self) -> Option<AnswerKey> {
        match self {
            Self::Result(draft) => draft.answer,
            _ => None,
        }
    }
}

/// Why a draft does not fit the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the job has ended")]
    Ended,
    #[error("a job that is {from:?} does not become {to:?}")]
    IllegalMove { from: Status, to: Status },
    #[error("{settled} of {total} subtrees have an outcome")]
    Unsettled { settled: u64, total: u64 },
    #[error("nothing is left to do")]
    Whole,
    #[error("it is kept beside the log and is no event")]
    NoEvent,
    #[error("the job does not wait for a review")]
    NotHeld,
    #[error("the review is at version {version}")]
    Stale { version: u32 },
}

impl JobView {
    /// The state of a new job and its first event.
    pub fn open(
        id: JobId,
        spec: JobSpec,
        subtrees: &[PlannedSubtree],
        at: Time,
    ) -> (Self, Envelope) {
        let record_count = spec.batch.map(|batch| batch.records);
        let records = record_count.unwrap_or(1);
        let total_subtrees = records * subtrees.len() as u64;
        let fields = subtrees
            .iter()
            .map(|subtree| u64::from(subtree.total_fields));
        let total_fields = records * fields.sum::<u64>();
        let start = Start {
            protocol_version: PROTOCOL_VERSION.to_owned(),
            total_subtrees,
            total_fields,
            start_time: at,
            status: Status::Pending,
            document_id: Some(spec.document_id),
            schema_id: spec.schema_id,
            model: spec.config.model.clone(),
            per_key_attribution: spec.config.per_key_attribution,
            record_count,
            subtrees: (subtrees.len() <= super::event::MAX_LISTED_SUBTREES)
                .then(|| subtrees.to_vec()),
            results_withheld: spec.config.review.is_some(),
            links: Links::of(id),
        };
        let view = Self {
            id,
            status: Status::Pending,
            run: 1,
            sequence: 1,
            created_at: at,
            updated_at: at,
            started_at: None,
            ended_at: None,
            expires_at: None,
            step: Step::Queued,
            total_subtrees,
            subtrees_succeeded: 0,
            subtrees_failed: 0,
            total_fields,
            fields_processed: 0,
            usage: Usage::default(),
            error: None,
            arrays: Vec::new(),
            taken_back: Vec::new(),
            paid: Vec::new(),
            review: None,
            released: false,
            records: record_count.map(RecordTally::of),
            output_file: None,
            spec: Arc::new(spec),
        };
        let envelope = Envelope {
            job: id,
            sequence: 1,
            at,
            event: Event::Start(start),
        };
        (view, envelope)
    }

    pub fn progress(&self) -> Progress {
        let share = if self.status == Status::Completed {
            100.0
        } else if self.total_fields == 0 {
            0.0
        } else {
            self.fields_processed as f64 * 100.0 / self.total_fields as f64
        };
        Progress {
            completion_percentage: (share * 10.0).floor() / 10.0,
            current_step: self.step,
            fields_processed: self.fields_processed,
            total_fields: self.total_fields,
            records: self.records,
        }
    }

    /// Whether anything is known to be missing: a subtree, or rows of an array.
    pub fn is_partial(&self) -> bool {
        let mut arrays = self.arrays.iter();
        self.subtrees_succeeded < self.total_subtrees
            || arrays.any(ArrayVerdict::is_incomplete)
            || self
                .records
                .is_some_and(|tally| tally.partial + tally.failed > 0)
    }

    /// Admits a draft as the next event and folds it in.
    ///
    /// The caller has made sure that an outcome of the same ordinal was not admitted before.
    /// `retention_ms` is how long results are kept after the end.
    pub fn admit(
        &mut self,
        draft: Draft,
        now: Time,
        retention_ms: u64,
    ) -> Result<Envelope, Refusal> {
        let reopens = matches!(draft, Draft::Reopen { .. });
        if self.status.is_terminal() && !reopens {
            return Err(Refusal::Ended);
        }
        let at = now.max(self.updated_at);
        let event = match draft {
            Draft::Status {
                status,
                reason,
                message,
            } => self.move_to(status, reason, message)?,
            Draft::Result(draft) => self.succeed(draft),
            Draft::Error(draft) => self.fail(draft),
            Draft::Retry(mut retry) => {
                retry.error_message = self.spoken(retry.error_type, retry.error_message);
                Event::SubtreeRetry(retry)
            }
            Draft::Window(_) => return Err(Refusal::NoEvent),
            Draft::Array(draft) => Event::ArrayProgress(self.advance(draft)),
            Draft::Hold { flagged } => self.hold(flagged, at)?,
            Draft::Review(draft) => self.decide(draft, at, retention_ms)?,
            Draft::End(ending) => self.end(ending, at, retention_ms)?,
            Draft::Reopen {
                failed_fields,
                incomplete,
            } => self.reopen(failed_fields, incomplete)?,
        };
        if self.status == Status::Processing {
            self.started_at.get_or_insert(at);
        }
        self.sequence += 1;
        self.updated_at = at;
        Ok(Envelope {
            job: self.id,
            sequence: self.sequence,
            at,
            event,
        })
    }

    fn move_to(
        &mut self,
        status: Status,
        reason: Reason,
        message: Option<String>,
    ) -> Result<Event, Refusal> {
        let previous_status = self.status;
        if !previous_status.may_move_to(status) {
            return Err(Refusal::IllegalMove {
                from: previous_status,
                to: status,
            });
        }
        self.status = status;
        if status == Status::Processing && self.step == Step::Queued {
            self.step = Step::LoadingDocument;
        }
        let progress = self.progress();
        Ok(Event::JobStatus(JobStatus {
            status,
            previous_status,
            reason,
            progress,
            message,
            retry_at: None,
        }))
    }

    fn reopen(&mut self, failed_fields: u64, incomplete: u64) -> Result<Event, Refusal> {
        let previous_status = self.status;
        let (from, to) = (previous_status, Status::Pending);
        if !from.is_terminal() || from == Status::Expired {
            return Err(Refusal::IllegalMove { from, to });
        }
        if !self.is_partial() {
            return Err(Refusal::Whole);
        }
        self.status = to;
        self.run += 1;
        self.step = Step::Queued;
        self.subtrees_failed = 0;
        self.subtrees_succeeded = self.subtrees_succeeded.saturating_sub(incomplete);
        self.take_arrays_back();
        if let Some(tally) = &mut self.records {
            tally.reopen();
        }
        self.output_file = None;
        self.fields_processed = self.fields_processed.saturating_sub(failed_fields);
        self.error = None;
        self.review = None;
        self.released = false;
        self.started_at = None;
        self.ended_at = None;
        self.expires_at = None;
        Ok(Event::JobStatus(JobStatus {
            status: to,
            previous_status,
            reason: Reason::Retried,
            progress: self.progress(),
            message: None,
            retry_at: None,
        }))
    }

    fn succeed(&mut self, draft: ResultDraft) -> Event {
        self.settle(draft.fields, &draft.usage, draft.record.as_ref());
        self.settle_windows(draft.ordinal, &draft.usage);
        self.subtrees_succeeded += 1;
        self.add_arrays(&draft);
        let (record_index, record_id) = named(draft.record);
        Event::SubtreeResult(SubtreeResult {
            subtree_id: draft.subtree_id,
            path: draft.path,
            record_index,
            record_id,
            extracted_result: draft.extracted_result,
            attributions: draft.attributions,
            usage_metadata: draft.usage,
            attempts: draft.attempts,
            duration_ms: draft.duration_ms,
            validation: draft.validation,
            completeness: draft.completeness,
            arrays: draft.arrays,
            oversize: false,
            withheld: self.spec.config.review.is_some(),
            result_url: None,
            progress: self.progress(),
        })
    }

    fn fail(&mut self, draft: ErrorDraft) -> Event {
        self.settle(draft.fields, &draft.usage, draft.record.as_ref());
        self.settle_windows(draft.ordinal, &draft.usage);
        self.subtrees_failed += 1;
        let message = self.spoken(draft.fault, draft.message);
        self.error = Some((draft.fault, message.clone()));
        let (record_index, record_id) = named(draft.record);
        Event::SubtreeError(SubtreeError {
            subtree_id: draft.subtree_id,
            path: draft.path,
            record_index,
            record_id,
            error_message: message,
            error_type: draft.fault,
            attempts: draft.attempts,
            usage_metadata: draft.usage,
            duration_ms: draft.duration_ms,
            progress: self.progress(),
        })
    }

    fn advance(&mut self, draft: ArrayDraft) -> ArrayProgress {
        self.step = Step::Extracting;
        let (record_index, record_id) = named(draft.record);
        ArrayProgress {
            subtree_id: draft.subtree_id,
            path: draft.path,
            record_index,
            record_id,
            phase: draft.phase,
            items_found: draft.items_found,
            items_new: draft.items_new,
            items_completed: draft.items_completed,
            iteration: draft.iteration,
            windows_done: draft.windows_done,
            windows_total: draft.windows_total,
            pages: draft.pages,
            pages_processed: draft.pages_processed,
            total_pages: draft.total_pages,
            total_items_estimate: draft.total_items_estimate,
            items_preview: draft
                .items_preview
                .filter(|_| self.spec.config.review.is_none()),
            progress: self.progress(),
        }
    }

    fn settle(&mut self, fields: u32, usage: &Usage, record: Option<&RecordMark>) {
        self.step = Step::Extracting;
        let end = record.and_then(|record| record.end);
        if let (Some(tally), Some(end)) = (&mut self.records, end) {
            tally.count(end);
        }
        self.fields_processed += u64::from(fields);
        self.usage.add(usage);
    }

    fn end(&mut self, ending: Ending, at: Time, retention_ms: u64) -> Result<Event, Refusal> {
        let settled = self.subtrees_succeeded + self.subtrees_failed;
        let mut cancel_reason = None;
        let ending = match ending {
            Ending::Written { output } => {
                self.output_file = Some(output);
                Ending::Settled
            }
            other => other,
        };
        self.released = matches!(ending, Ending::Settled) && self.spec.config.review.is_some();
        self.status = match ending {
            Ending::Settled if settled < self.total_subtrees => {
                return Err(Refusal::Unsettled {
                    settled,
                    total: self.total_subtrees,
                });
            }
            Ending::Settled if self.lacks_rows_it_requires() => {
                self.error = Some((Fault::IncompleteArray, self.lacking()));
                Status::Failed
            }
            Ending::Settled if self.subtrees_succeeded > 0 => Status::Completed,
            Ending::Settled | Ending::Written { .. } => {
                let (fault, last) = self
                    .error
                    .take()
                    .unwrap_or((Fault::Internal, String::new()));
                let message = format!("No subtree could be extracted. The last error: {last}");
                self.error = Some((fault, message.chars().take(2000).collect()));
                Status::Failed
            }
            Ending::Failed { fault, message } => {
                self.error = Some((fault, message));
                Status::Failed
            }
            Ending::Cancelled { reason } => {
                cancel_reason = reason;
                Status::Cancelled
            }
        };
        if self.status != Status::Failed {
            self.error = None;
        }
        self.step = Step::Done;
        self.ended_at = Some(at);
        self.expires_at = Some(self.kept_until(at, retention_ms));
        let available = self.subtrees_succeeded > 0 && !self.is_withheld();
        let (error_type, error_message) = self.error.clone().unzip();
        Ok(Event::End(End {
            status: self.status,
            end_time: at,
            duration_ms: at.since(self.created_at),
            total_subtrees: self.total_subtrees,
            subtrees_succeeded: self.subtrees_succeeded,
            subtrees_failed: self.subtrees_failed,
            partial: self.is_partial(),
            results_available: available,
            results_url: available.then(|| Links::of(self.id).results),
            results_expire_at: self.expires_at,
            error_type,
            error_message,
            cancel_reason,
            output_file_id: self.output_file,
            arrays: self.arrays.clone(),
            usage_metadata: self.spent(),
            progress: self.progress(),
        }))
    }
}

fn named(record: Option<RecordMark>) -> (Option<u64>, Option<String>) {
    record.map_or((None, None), |record| (Some(record.index), record.id))
}
