//! Every event of the protocol, and the bytes it becomes.
//!
//! An event is encoded once, when it is committed; the store keeps those bytes, streams send
//! them and replays repeat them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::completeness::{Completeness, Verdict};
use super::error::Fault;
use super::explain::ExplainedSubtree;
use super::id::{DocumentId, FileId, JobId, SchemaId};
use super::plan;
use super::pointer::Pointer;
use super::record::RecordTally;
use super::rows::Stretch;
use super::status::Status;
use super::time::Time;
use super::usage::Usage;

/// `major.minor` of the protocol that logs are written in.
pub const PROTOCOL_VERSION: &str = "1.0";
/// Where the protocol is served; links in events begin with it.
pub const BASE: &str = "/v1/extract";
/// The default of `max_event_bytes`: the largest payload, bytes.
pub const MAX_EVENT_BYTES: usize = 262_144;
/// The most subtrees that `start` lists.
pub const MAX_LISTED_SUBTREES: usize = 1_000;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0..=100, never falling within a job.
    pub completion_percentage: f64,
    pub current_step: Step,
    pub fields_processed: u64,
    pub total_fields: u64,
    /// Of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordTally>,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Queued,
    LoadingDocument,
    Extracting,
    AwaitingReview,
    Done,
}

impl Step {
    /// The step in words, for `current_activity`.
    pub fn activity(self) -> &'static str {
        match self {
            Self::Queued => "Waiting for a worker",
            Self::LoadingDocument => "Reading the document",
            Self::Extracting => "Extracting subtrees",
            Self::AwaitingReview => "Waiting for a review",
            Self::Done => "Done",
        }
    }
}

/// Where a client finds what belongs to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    #[serde(rename = "self")]
    pub job: String,
    pub results: String,
    pub events: String,
    pub cancel: String,
}

impl Links {
    pub fn of(job: JobId) -> Self {
        let job = format!("{BASE}/jobs/{job}");
        Self {
            results: format!("{job}/results"),
            events: format!("{job}/events"),
            cancel: format!("{job}/cancel"),
            job,
        }
    }
}

/// One line of the plan in `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSubtree {
    pub subtree_id: String,
    pub path: Pointer,
    pub kind: plan::Kind,
    pub total_fields: u32,
}

impl From<&plan::Subtree> for PlannedSubtree {
    fn from(subtree: &plan::Subtree) -> Self {
        Self {
            subtree_id: subtree.id.clone(),
            path: subtree.path.clone(),
            kind: subtree.kind,
            total_fields: subtree.total_fields,
        }
    }
}

impl From<&ExplainedSubtree> for PlannedSubtree {
    fn from(subtree: &ExplainedSubtree) -> Self {
        Self {
            subtree_id: subtree.subtree_id.clone(),
            path: subtree.path.clone(),
            kind: subtree.kind,
            total_fields: subtree.total_fields,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub protocol_version: String,
    pub total_subtrees: u64,
    pub total_fields: u64,
    pub start_time: Time,
    pub status: Status,
    pub document_id: Option<DocumentId>,
    pub schema_id: Option<SchemaId>,
    pub model: String,
    pub per_key_attribution: bool,
    /// Of a batch; `subtrees` are then those of each record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_count: Option<u64>,
    pub subtrees: Option<Vec<PlannedSubtree>>,
    /// Values are not in the log: they are given out with the result, after a review if need be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub results_withheld: bool,
    pub links: Links,
}

/// Why a status changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Scheduled,
    ProviderUnavailable,
    RateLimited,
    ServerRestart,
    Resumed,
    /// Somebody asked for what failed or is missing, after the end.
    Retried,
    /// Fields are to be looked at before the result is given out.
    ReviewRequired,
    /// A reviewer corrected values; the result is still held back.
    Corrected,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobStatus {
    pub status: Status,
    pub previous_status: Status,
    pub reason: Reason,
    pub progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// The schema's word on a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    pub valid: bool,
    pub errors: Vec<ValidationError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationError {
    /// Absolute in the result.
    pub path: Pointer,
    pub message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubtreeResult {
    pub subtree_id: String,
    pub path: Pointer,
    /// Of a batch: the record, from 0, and the client's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// Any JSON; null is a value unless `oversize` or `withheld`.
    pub extracted_result: Box<RawValue>,
    /// Null when `per_key_attribution` is off.
    pub attributions: Option<Box<RawValue>>,
    pub usage_metadata: Usage,
    pub attempts: u32,
    pub duration_ms: u64,
    pub validation: Option<Validation>,
    /// Of an array that was looked at for missing rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Box<Completeness>>,
    /// The same of each array that shares the subtree with other fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrays: Vec<JudgedArray>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oversize: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_url: Option<String>,
    pub progress: Progress,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubtreeError {
    pub subtree_id: String,
    pub path: Pointer,
    /// Of a batch: the record, from 0, and the client's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    pub error_message: String,
    pub error_type: Fault,
    pub attempts: u32,
    pub usage_metadata: Usage,
    pub duration_ms: u64,
    pub progress: Progress,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubtreeRetry {
    pub subtree_id: String,
    pub path: Pointer,
    /// Of a batch: the record, from 0, and the client's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub error_message: String,
    pub error_type: Fault,
    pub retry_delay_ms: u64,
    /// The part of the document that the call was about, where it was one window of a long array:
    /// each has attempts of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Stretch>,
}

/// An array, and whether rows of it are missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedArray {
    pub path: Pointer,
    #[serde(flatten)]
    pub completeness: Completeness,
}

impl JudgedArray {
    pub fn is_incomplete(&self) -> bool {
        self.completeness.verdict == Verdict::Incomplete
    }
}

/// Whether rows of an array are missing, in a word. The evidence is in its `subtree_result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayVerdict {
    pub subtree_id: String,
    pub path: Pointer,
    pub verdict: Verdict,
}

impl ArrayVerdict {
    pub fn is_incomplete(&self) -> bool {
        self.verdict == Verdict::Incomplete
    }
}

/// What is being done about a long array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Where in the document its rows are.
    Locating,
    Extracting,
    /// Whether rows are missing.
    Verifying,
    Merging,
}

/// Some of the rows so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemsPreview {
    /// Index of the first.
    pub offset: u64,
    pub items: Vec<Box<RawValue>>,
}

/// How far the reading of a long array is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArrayProgress {
    pub subtree_id: String,
    pub path: Pointer,
    /// Of a batch: the record, from 0, and the client's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    pub phase: Phase,
    pub items_found: u64,
    /// Since the event before.
    pub items_new: u64,
    /// With a value for every property. 0 in logs that were written before it was told.
    #[serde(default)]
    pub items_completed: u64,
    /// From 1: 2 and more where what seemed to be missing is read once more.
    #[serde(default = "first")]
    pub iteration: u64,
    pub windows_done: u64,
    pub windows_total: u64,
    /// Pages just read, from 1.
    pub pages: Vec<u32>,
    pub pages_processed: u64,
    pub total_pages: u64,
    pub total_items_estimate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items_preview: Option<ItemsPreview>,
    pub progress: Progress,
}

/// The iteration of events that do not tell theirs.
fn first() -> u64 {
    1
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    pub status: Status,
    pub end_time: Time,
    pub duration_ms: u64,
    pub total_subtrees: u64,
    pub subtrees_succeeded: u64,
    pub subtrees_failed: u64,
    pub partial: bool,
    pub results_available: bool,
    pub results_url: Option<String>,
    pub results_expire_at: Option<Time>,
    pub error_type: Option<Fault>,
    pub error_message: Option<String>,
    pub cancel_reason: Option<String>,
    /// Of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file_id: Option<FileId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrays: Vec<ArrayVerdict>,
    pub usage_metadata: Usage,
    pub progress: Progress,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    Start(Start),
    JobStatus(JobStatus),
    SubtreeResult(SubtreeResult),
    SubtreeError(SubtreeError),
    SubtreeRetry(SubtreeRetry),
    ArrayProgress(ArrayProgress),
    End(End),
}

/// Names of events, as in `event:` lines and the payload's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Start,
    JobStatus,
    SubtreeResult,
    SubtreeError,
    SubtreeRetry,
    ArrayProgress,
    End,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::JobStatus,
        Self::SubtreeResult,
        Self::SubtreeError,
        Self::SubtreeRetry,
        Self::ArrayProgress,
        Self::End,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::JobStatus => "job_status",
            Self::SubtreeResult => "subtree_result",
            Self::SubtreeError => "subtree_error",
            Self::SubtreeRetry => "subtree_retry",
            Self::ArrayProgress => "agentic_array_progress",
            Self::End => "end",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Event {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Start(_) => Kind::Start,
            Self::JobStatus(_) => Kind::JobStatus,
            Self::SubtreeResult(_) => Kind::SubtreeResult,
            Self::SubtreeError(_) => Kind::SubtreeError,
            Self::SubtreeRetry(_) => Kind::SubtreeRetry,
            Self::ArrayProgress(_) => Kind::ArrayProgress,
            Self::End(_) => Kind::End,
        }
    }

    /// Bytes of what was extracted, which is most of an event that is large.
    fn size_of_values(&self) -> usize {
        let Self::SubtreeResult(result) = self else {
            return 0;
        };
        let attributions = result.attributions.as_ref();
        result.extracted_result.get().len() + attributions.map_or(0, |json| json.get().len())
    }
}

/// An event with its place in the log and its moment of commit.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub job: JobId,
    /// From 1, without gaps.
    pub sequence: u64,
    /// Never falling within a job.
    pub at: Time,
    pub event: Event,
}

/// An envelope as bytes.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// One line of JSON.
    pub payload: String,
    /// What the payload of an oversize or withheld result leaves out.
    pub aside: Option<Aside>,
}

/// What an oversize or withheld frame leaves out; kept beside the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Aside {
    pub extracted_result: Box<RawValue>,
    pub attributions: Option<Box<RawValue>>,
    /// Of withheld results only: its messages repeat values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Of withheld results only: its evidence holds printed sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Box<Completeness>>,
    /// Their evidence may be long, and holds printed sums.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrays: Vec<JudgedArray>,
}

impl Aside {
    /// Takes value and attributions out of a result.
    fn of(result: &mut SubtreeResult) -> Self {
        Self {
            extracted_result: std::mem::replace(
                &mut result.extracted_result,
                RawValue::NULL.to_owned(),
            ),
            attributions: result.attributions.take(),
            validation: None,
            completeness: None,
            arrays: std::mem::take(&mut result.arrays),
        }
    }

    /// Puts back what was taken out.
    pub fn restore(self, result: &mut SubtreeResult) {
        result.extracted_result = self.extracted_result;
        result.attributions = self.attributions;
        result.validation = self.validation.or(result.validation.take());
        result.completeness = self.completeness.or(result.completeness.take());
        result.arrays = self.arrays;
    }
}

impl Envelope {
    /// The payload, at most `max_bytes` long: a larger result is taken out and set aside.
    pub fn encode(&self, max_bytes: usize) -> Result<Encoded, serde_json::Error> {
        if let Event::SubtreeResult(result) = &self.event
            && result.withheld
        {
            return self.withhold(result.clone());
        }
        let payload = self.payload(&self.event)?;
        match &self.event {
            Event::SubtreeResult(result) if payload.len() > max_bytes => {
                let mut small = result.clone();
                let aside = Aside::of(&mut small);
                small.oversize = true;
                small.result_url = Some(format!("{}?partial=true", Links::of(self.job).results));
                if let Some(validation) = &mut small.validation {
                    validation.errors.truncate(20);
                }
                let payload = self.payload(&Event::SubtreeResult(small))?;
                Ok(Encoded {
                    payload,
                    aside: Some(aside),
                })
            }
            Event::Start(start) if payload.len() > max_bytes && start.subtrees.is_some() => {
                let small = Start {
                    subtrees: None,
                    ..start.clone()
                };
                Ok(Encoded {
                    payload: self.payload(&Event::Start(small))?,
                    aside: None,
                })
            }
            _ => Ok(Encoded {
                payload,
                aside: None,
            }),
        }
    }

    /// A payload that says of a result only that it is there.
    fn withhold(&self, mut result: SubtreeResult) -> Result<Encoded, serde_json::Error> {
        let mut aside = Aside::of(&mut result);
        let validation = result.validation.take();
        result.validation = validation.as_ref().map(|told| Validation {
            valid: told.valid,
            errors: Vec::new(),
        });
        aside.validation = validation;
        aside.completeness = result.completeness.take();
        result.result_url = Some(Links::of(self.job).results);
        Ok(Encoded {
            payload: self.payload(&Event::SubtreeResult(result))?,
            aside: Some(aside),
        })
    }

    fn payload(&self, event: &Event) -> Result<String, serde_json::Error> {
        let mut payload = format!(
            r#"{{"type":"{}","job_id":"{}","sequence_number":{},"time":"{}""#,
            event.kind().name(),
            self.job,
            self.sequence,
            self.at
        )
        .into_bytes();
        payload.reserve(event.size_of_values() + 1_024);
        let seam = payload.len();
        match event {
            Event::Start(body) => serde_json::to_writer(&mut payload, body),
            Event::JobStatus(body) => serde_json::to_writer(&mut payload, body),
            Event::SubtreeResult(body) => serde_json::to_writer(&mut payload, body),
            Event::SubtreeError(body) => serde_json::to_writer(&mut payload, body),
            Event::SubtreeRetry(body) => serde_json::to_writer(&mut payload, body),
            Event::ArrayProgress(body) => serde_json::to_writer(&mut payload, body),
            Event::End(body) => serde_json::to_writer(&mut payload, body),
        }?;
        // The brace that opens the body: its members go on after ours.
        payload[seam] = b',';
        let payload = String::from_utf8(payload).map_err(serde::ser::Error::custom)?;
        Ok(escape_separators(payload))
    }
}

/// Writes U+0085, U+2028 and U+2029 as `\u` escapes: JSON may hold them raw, but line readers of
/// some clients cut there. They can stand only inside strings, so a plain replacement is right.
fn escape_separators(json: String) -> String {
    // Most are ASCII, which is told much faster.
    if !json.is_ascii() && json.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        json.replace('\u{85}', "\\u0085")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    } else {
        json
    }
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    job_id: JobId,
    sequence_number: u64,
    time: Time,
}

impl Envelope {
    /// Reads a stored payload back.
    pub fn decode(payload: &str) -> Result<Self, serde_json::Error> {
        use serde::de::Error as _;
        let head: Head = serde_json::from_str(payload)?;
        let kind = Kind::parse(&head.kind)
            .ok_or_else(|| serde_json::Error::custom(format!("unknown event `{}`", head.kind)))?;
        let event = match kind {
            Kind::Start => Event::Start(serde_json::from_str(payload)?),
            Kind::JobStatus => Event::JobStatus(serde_json::from_str(payload)?),
            Kind::SubtreeResult => Event::SubtreeResult(serde_json::from_str(payload)?),
            Kind::SubtreeError => Event::SubtreeError(serde_json::from_str(payload)?),
            Kind::SubtreeRetry => Event::SubtreeRetry(serde_json::from_str(payload)?),
            Kind::ArrayProgress => Event::ArrayProgress(serde_json::from_str(payload)?),
            Kind::End => Event::End(serde_json::from_str(payload)?),
        };
        Ok(Self {
            job: head.job_id,
            sequence: head.sequence_number,
            at: head.time,
            event,
        })
    }
}
