//! What the engine needs from outside. Small object-safe traits, owned by their user.

mod blobs;
mod definitions;
mod files;
mod keys;
mod outbox;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::attachment;
use crate::domain::document::{Document, DocumentInput, Kind};
use crate::domain::error::{Code, Error, Fault};
use crate::domain::event::{self, Envelope, ValidationError};
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::filter::JobFilter;
use crate::domain::id::{DocumentId, IdempotencyKey, JobId, SchemaId, Scope};
use crate::domain::job::{AnswerKey, Draft, JobView, Ordinal, Refusal};
use crate::domain::outline::Outline;
use crate::domain::own_key::OwnKey;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::plan::Plan;
use crate::domain::status::Status;
use crate::domain::time::Time;
pub use crate::domain::usage::Price;
use crate::domain::usage::Usage;
pub use blobs::{Blobs, Pieces};
pub use definitions::{Defined, DefinitionKind, Definitions, StoredDefinition};
pub use files::{Appended, Files, Finished, StoredChunk, StoredFile, StoredUpload};
pub use keys::{Keys, SECRET_BYTES, StoredKey};
pub use outbox::{
    About, Attempt, Delivery, DisabledBy, Due, Message, Outbox, Sender, Sent, StoredWebhook,
};

/// What a port answers with, boxed: beside a disk or a model its allocation costs nothing.
pub type Answered<'a, T, E = StoreError> = BoxFuture<'a, Result<T, E>>;

/// Why a store or blob call failed. The cause is for the log only.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Trying again may help.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// There is no room for what was to be written, and nothing of it was. Trying again helps once
    /// there is.
    #[error("the store is full: {0}")]
    Full(String),
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }

    /// The cause without its kind.
    pub fn into_cause(self) -> String {
        match self {
            Self::Unavailable(cause) | Self::Full(cause) | Self::Failed(cause) => cause,
        }
    }
}

/// The moment now. Injected, so that tests can set it.
pub trait Clock: Send + Sync {
    fn now(&self) -> Time;

    /// A new id. Version 7: ordered by time, so that lists and indexes are too.
    fn mint(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A job to be stored, with the event that opens its log.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub scope: Scope,
    pub view: JobView,
    pub start: Envelope,
    /// Jobs of the scope that may be active at once, this one included.
    pub active_limit: u32,
    /// Jobs of all scopes that may be active at once.
    pub queue_limit: u32,
    /// The plan under `view.spec.plan`; stored when it is not there yet.
    pub plan: Arc<Plan>,
    /// What the client calls the request; `view.spec.request_hash` is kept with it.
    pub key: Option<IdempotencyKey>,
}

/// The job that a key stands for, read in one transaction.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Hash of the request that the key came with.
    pub request_hash: String,
    pub view: JobView,
}

/// What became of [`Jobs::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Stored,
    /// Nothing was written: the key stands for another job of the scope.
    KeyTaken,
    /// Nothing was written: the scope has as many active jobs as it may.
    TooManyActive,
    /// Nothing was written: all scopes together have as many active jobs as they may.
    QueueFull,
    /// Nothing was written: the document is gone.
    DocumentGone,
}

/// A job that a worker now owns.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub scope: Scope,
    pub view: JobView,
    /// The fence: writes of the owner carry it, and are refused once another has claimed.
    pub epoch: u64,
    /// How often the job was taken over from an owner that died.
    pub crashes: u32,
}

/// Why a lease is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The owner stops in good order. The next claim does not count as a crash.
    HandedOver,
    /// The owner could not go on. The next claim counts as a crash.
    Broken,
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The owner of the lease: refused when the epoch has moved on.
    Lease { epoch: u64 },
    /// The caller whose job it is: moves the epoch on, so that the owner's late writes are refused.
    Caller { scope: Scope },
}

/// Events to append to one job's log, all or none.
#[derive(Debug, Clone)]
pub struct Commit {
    pub job: JobId,
    pub guard: Guard,
    /// The end of the log that this rests on. An owner says it, so that a commit whose answer was
    /// lost is not made twice; `None` takes the log as it is.
    pub at_sequence: Option<u64>,
    /// Admitted in this order. An outcome whose ordinal has one already is left out.
    pub drafts: Vec<Draft>,
}

/// What became of [`Jobs::commit`].
#[derive(Debug, Clone)]
pub enum Committed {
    /// On disk; `view` is the state after it, `events` what was written, in order.
    Stored {
        view: Box<JobView>,
        events: Vec<StoredEvent>,
        /// The epoch after it: that of the lease, or one more than that of the last owner.
        epoch: u64,
    },
    /// Nothing was written: the log ends at `sequence`, not where it was thought to. While the
    /// lease is held only its owner writes, so an earlier try of the same commit has landed.
    Moved { sequence: u64 },
    /// Nothing was written: another owner has the job, or a caller ended it.
    Fenced,
    /// Nothing was written: no such job in the scope.
    Missing,
    /// Nothing was written: a draft does not fit the log.
    Refused { refusal: Refusal, status: Status },
}

/// A committed event as the bytes it was committed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub sequence: u64,
    pub kind: event::Kind,
    /// One line of JSON.
    pub payload: Bytes,
}

/// A part of a job's log and the state of the job, read in one transaction.
#[derive(Debug, Clone)]
pub struct LogPage {
    pub events: Vec<StoredEvent>,
    /// Number of the last event of the log.
    pub last_sequence: u64,
    /// Whether `last_sequence` is the end.
    pub terminal: bool,
}

/// A settled subtree.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub ordinal: Ordinal,
    /// A `subtree_result` or `subtree_error`.
    pub event: StoredEvent,
    /// JSON of [`event::Aside`]: what an oversize frame leaves out.
    pub aside: Option<Bytes>,
}

/// An outcome that was found by the key of its answer.
#[derive(Debug, Clone)]
pub struct Kept {
    pub key: AnswerKey,
    /// A `subtree_result`, of this job or another one of the scope.
    pub outcome: Outcome,
}

/// A window of a long array that was read before.
#[derive(Debug, Clone)]
pub struct KeptWindow {
    pub key: AnswerKey,
    /// Whose bill it is on.
    pub job: JobId,
    /// [`WindowDraft::body`](crate::domain::job::WindowDraft::body).
    pub body: String,
}

/// All outcomes of a job and the state they belong to, read in one transaction.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub view: JobView,
    /// By sequence number.
    pub outcomes: Vec<Outcome>,
}

/// Which jobs a list shows.
#[derive(Debug, Clone)]
pub struct JobQuery {
    pub page: ListQuery,
    /// All of it but the pattern is the store's.
    pub filter: JobFilter,
    /// For the engine: a store lists the newest first.
    pub order: Order,
}

/// In which order a list is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Gone,
    Missing,
    /// Nothing was deleted: a job that has not ended needs it (or is it).
    InUse,
}

/// An ended job that is to go on, with what failed or is missing.
#[derive(Debug, Clone)]
pub struct Reopen {
    pub scope: Scope,
    pub job: JobId,
    /// The end of the log that this rests on.
    pub at_sequence: u64,
    /// Leaf fields of the subtrees that are asked for again.
    pub failed_fields: u64,
    /// Subtrees whose outcome is an array of which something is known to be missing.
    pub incomplete: Vec<Ordinal>,
    /// Jobs of the scope that may be active at once, this one included.
    pub active_limit: u32,
    /// Jobs of all scopes that may be active at once.
    pub queue_limit: u32,
}

/// What became of [`Jobs::reopen`].
#[derive(Debug, Clone)]
pub enum Reopened {
    Stored {
        view: Box<JobView>,
        event: StoredEvent,
    },
    /// Nothing was written, nor by any of the following.
    TooManyActive,
    QueueFull,
    Missing,
    DocumentGone,
    /// The log does not end where it was thought to, or cannot go on.
    Changed,
}

/// What another process did, as a hint: it may come late, twice or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The log of a job reaches this event.
    Event { job: JobId, sequence: u64 },
    /// A job waits to be claimed.
    Work,
}

/// Jobs, their logs and their outcomes. Every write is on disk when its future resolves.
///
/// Leases are measured by the store's own clock, since owners may disagree about the time.
pub trait Jobs: Send + Sync {
    /// Counts the job against its scope by a conditional row, stores the job, its plan, its key
    /// and its first event in one transaction.
    fn create(&self, new: NewJob) -> Answered<'_, Created>;

    /// Gives up to `limit` waiting jobs to `owner` for as long as `lease`, the scope served longest
    /// ago first, then the oldest job; also jobs whose lease ran out.
    fn claim(&self, owner: &str, lease: Duration, limit: u32) -> Answered<'_, Vec<Claimed>>;

    /// Makes the leases that `owner` has of these jobs run for as long as `lease` from now.
    ///
    /// The jobs are named, since an owner may hold one that it does not know of: a claim whose
    /// answer was lost.
    fn renew(&self, owner: &str, jobs: &[JobId], lease: Duration) -> Answered<'_, ()>;

    /// Gives a lease back before it runs out: another owner may claim the job after `pause`.
    /// Nothing happens when the epoch has moved on.
    fn release(
        &self,
        job: JobId,
        epoch: u64,
        pause: Duration,
        release: Release,
    ) -> Answered<'_, ()>;

    /// Appends events and changes the job row in one transaction. Gives back the slot of the
    /// scope when the log ends.
    fn commit(&self, commit: Commit) -> Answered<'_, Committed>;

    /// Takes the failed outcomes of an ended job back, and those of incomplete arrays, appends the
    /// event that says so and puts the job in line again, in one transaction. Its crashes are
    /// forgotten.
    fn reopen(&self, reopen: Reopen) -> Answered<'_, Reopened>;

    fn view(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<JobView>>;

    /// The job that `key` stands for. A key lives as long as its job.
    fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Answered<'_, Option<Keyed>>;

    fn list(&self, scope: &Scope, query: JobQuery) -> Answered<'_, ListPage<JobView>>;

    /// Events after `after`, at most `limit` of them and about `max_bytes` (at least one).
    fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<LogPage>>;

    /// Number of the last event of each of these jobs, whoever they belong to; jobs that are gone
    /// are left out.
    fn positions(&self, jobs: &[JobId]) -> Answered<'_, Vec<(JobId, u64)>>;

    fn snapshot(&self, scope: &Scope, job: JobId) -> Answered<'_, Option<Snapshot>>;

    /// Outcomes numbered `from` and above, by ordinal: at most `limit` of them and about `max_bytes`
    /// of events (at least one).
    fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        limit: u32,
        max_bytes: usize,
    ) -> Answered<'_, Option<Vec<Outcome>>>;

    /// The newest outcomes of the scope under these keys. They live as long as their jobs.
    fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Answered<'_, Vec<Kept>>;

    /// Under each key that there is a window for, the one of `job` itself or else the newest of the
    /// scope. Windows live as long as their jobs.
    fn windows(
        &self,
        scope: &Scope,
        job: JobId,
        keys: &[AnswerKey],
    ) -> Answered<'_, Vec<KeptWindow>>;

    /// The plan stored under `key`.
    fn plan(&self, key: &str) -> Answered<'_, Option<Plan>>;

    /// Deletes an ended job with its log, its outcomes and its key.
    fn delete(&self, scope: &Scope, job: JobId) -> Answered<'_, Deleted>;

    /// Deletes logs and outcomes that were kept until before `now`, at most `limit` events; a job
    /// that has none left is marked as expired. Gives how many rows it changed: with none,
    /// nothing is left to sweep.
    fn sweep(&self, now: Time, limit: u32) -> Answered<'_, u32>;

    /// Whether other processes may write to this store while it is open here.
    fn is_shared(&self) -> bool {
        false
    }

    /// Which of these jobs, each with the epoch of a claim, are still that claim's: they have not
    /// ended, and nobody has claimed, cancelled, reopened or deleted them since.
    fn held(&self, claims: &[(JobId, u64)]) -> Answered<'_, Vec<JobId>>;

    /// What other processes do with this store; nothing when there are none.
    fn news(&self) -> BoxStream<'static, News> {
        futures_util::stream::empty().boxed()
    }
}

/// An uploaded document.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDocument {
    pub id: DocumentId,
    pub name: String,
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    pub page_count: u32,
    pub uploaded_at: Time,
}

/// A saved schema.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSchema {
    pub id: SchemaId,
    pub name: String,
    pub description: Option<String>,
    pub definition: Value,
    pub metadata: Value,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What is held while this lives.
pub type Hold = Box<dyn Send + Sync>;

/// Documents and schemas. Every write is on disk when its future resolves.
pub trait Catalog: Definitions {
    fn insert_document(&self, scope: &Scope, document: StoredDocument) -> Answered<'_, ()>;
    fn document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Option<StoredDocument>>;
    fn documents(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredDocument>>;
    /// Documents of all scopes that were uploaded before then and that no job needs which has not
    /// ended; at most `limit`, the oldest first.
    fn documents_before(
        &self,
        uploaded: Time,
        limit: u32,
    ) -> Answered<'_, Vec<(Scope, DocumentId)>>;
    /// Refused while a job that has not ended needs it.
    fn delete_document(&self, scope: &Scope, id: DocumentId) -> Answered<'_, Deleted>;
    /// Keeps other processes from deleting these bytes between a blob and its row, or, `alone`,
    /// from storing them between a row and its blob. Within a process the engine sees to that.
    fn hold_bytes(&self, _sha256: &str, _alone: bool) -> Answered<'_, Hold> {
        std::future::ready(Ok(Box::new(()) as Hold)).boxed()
    }
    /// Whether any document or file of any scope, or a job that has not ended, has these bytes.
    fn is_blob_needed(&self, sha256: &str) -> Answered<'_, bool>;

    fn insert_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, ()>;
    fn schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Option<StoredSchema>>;
    fn schemas(&self, scope: &Scope, query: ListQuery) -> Answered<'_, ListPage<StoredSchema>>;
    /// The schema of the scope whose own address, its `$id`, is this one; of several the one that
    /// was changed last.
    fn schema_at(&self, scope: &Scope, address: &str) -> Answered<'_, Option<StoredSchema>>;
    /// Replaces all but id and creation time; false when it is not there.
    fn update_schema(&self, scope: &Scope, schema: StoredSchema) -> Answered<'_, bool>;
    fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Answered<'_, Deleted>;
    /// Deletes at most `limit` schemas of all scopes that were not changed since then; gives how
    /// many there were.
    fn delete_schemas_before(&self, updated: Time, limit: u32) -> Answered<'_, u32>;
}

/// Reads files. Runs on a blocking thread; never fetches anything the bytes name.
pub trait Reader: Send + Sync {
    /// The document in `bytes`, its kind told by the bytes and not by the name.
    ///
    /// Errors carry `unsupported_media_type`, `document_corrupt`, `document_empty`,
    /// `document_too_complex` or `password_required`.
    fn read(&self, bytes: &[u8]) -> Result<Document, Error>;

    /// A PNG of each page of a PDF, the same for the same bytes; all of them within `limits`.
    ///
    /// Errors carry `document_corrupt` or `document_too_complex`.
    fn pictures(&self, _pdf: &[u8], _limits: &attachment::Limits) -> Result<Vec<Bytes>, Error> {
        Err(Error::new(
            Code::DocumentTooComplex,
            "The pages cannot be made into pictures here. Send the document as `text` or `native`.",
        ))
    }
}

/// A model that can be named in `config.model`, and what it can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    pub display_name: String,
    pub description: String,
    pub provider: String,
    /// Names of the `config` fields that change nothing with this model.
    pub ignores: Vec<String>,
    /// The forms in which it takes a document, without [`DocumentInput::Auto`].
    pub document_inputs: Vec<DocumentInput>,
    /// How much of files and pictures it takes; none where it takes neither.
    pub attachment_limits: Option<attachment::Limits>,
    /// Tokens that document, task and answer may have together; none where there are no tokens.
    pub context_tokens: Option<u32>,
    /// Tokens of one answer.
    pub output_tokens: Option<u32>,
    /// None where no price is known.
    pub price: Option<Price>,
}

/// A part of a document that a model is given as it is.
#[derive(Clone)]
pub struct Attachment {
    pub media_type: &'static str,
    pub bytes: Bytes,
    /// Pages that are in it.
    pub pages: u32,
}

/// Sizes only: what a document says does not belong into a log.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Attachment({}, {} bytes)",
            self.media_type,
            self.bytes.len()
        )
    }
}

/// One request to a model: one or more subtrees of one document.
#[derive(Debug, Clone)]
pub struct Call {
    pub model: String,
    pub document: Arc<Document>,
    /// What the model is given in place of the document's words, in the order of its pages;
    /// empty: it is given the words. The same in all calls of a job.
    pub attachments: Arc<[Attachment]>,
    pub plan: Arc<Plan>,
    /// Names the plan by its content: what a provider works out for a plan is kept under it.
    pub plan_key: String,
    /// Indices into `plan.subtrees`, what this call asks for.
    pub subtrees: Vec<usize>,
    pub additional_instructions: Option<String>,
    pub temperature: Option<f64>,
    pub seed: Option<i64>,
    pub enable_thinking: bool,
    pub per_key_attribution: bool,
    /// The document may be kept with the provider for the calls that follow, at a price.
    pub use_explicit_context_cache: bool,
    /// What was wrong with earlier answers of some of the subtrees.
    pub corrections: Vec<Correction>,
    /// Whether of an array whose answer is cut off the whole rows are wanted.
    pub keeps_rows: bool,
}

/// An answer that did not follow its schema, to be asked for once more.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// Of the subtree, in the plan.
    pub index: usize,
    /// At least one; paths are relative to the subtree's value.
    pub errors: Vec<ValidationError>,
}

/// A piece of an answer, in the order a provider gives them.
#[derive(Debug, Clone)]
pub enum Answer {
    /// One subtree is whole. Attribution keys are relative to `value`. A confidence is given only
    /// where the provider measures its own; what a model says of its answer is left out. Of
    /// leaves whose tokens nothing is known of, `logprobs` has none.
    Subtree {
        index: usize,
        value: Value,
        attributions: Attributions,
        logprobs: Logprobs,
    },
    /// The answer was cut off inside this array: its rows that were whole, or null where there are
    /// none. The array is not asked for again. Only where the call [keeps rows](Call::keeps_rows).
    Cut {
        index: usize,
        value: Value,
        attributions: Attributions,
        logprobs: Logprobs,
    },
    /// The first word of an answer came so long after the request was sent; once a request, and
    /// only where answers are read while they are written.
    Begun { after_ms: u64 },
    /// The call is held back before it is sent, for about so long: nothing is lost, and it may
    /// end at any time.
    Held { fault: Fault, for_ms: u64 },
    /// A subtree took so many bytes as the model wrote it, what is dropped for saying nothing
    /// included; before the subtree, and only where that is known.
    Written { index: usize, bytes: usize },
    /// What was too much for one request is asked for in further ones: what was spent since the
    /// last such word. The next is sent when the stream is asked for more, and not before.
    Again(Usage),
    /// What the call cost, as far as [`Answer::Again`] did not tell it; at most once, last.
    Usage(Usage),
}

/// How a model wants to be asked.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Tokens that one answer may safely have; none: each subtree is asked for by itself.
    pub output_tokens: Option<u64>,
    /// Names what answers depend on beside the call, such as the version of the prompts; none:
    /// answers cost nothing, and are not kept.
    pub version: Option<String>,
    /// Whether an answer that does not follow its schema is asked for once more.
    pub takes_corrections: bool,
    /// Whether answers are read while they are written.
    pub is_streamed: bool,
}

/// Something that a call asks for otherwise than the user's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowering {
    /// Index into the plan's subtrees.
    pub subtree: usize,
    /// JSON Pointer of the value, relative to the subtree's; `*` for any item or member.
    pub pointer: String,
    /// What was changed and why, as a sentence without a subject.
    pub what: String,
}

/// Why a call or one of its subtrees failed. The message is ours and safe to show.
#[derive(Debug, Clone)]
pub struct CallError {
    pub fault: Fault,
    pub message: String,
    /// The least wait a provider asked for, milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Something that answers calls. Dropping the stream cancels the call.
pub trait Provider: Send + Sync {
    /// What can be named now; it may change while the server runs.
    fn models(&self) -> Vec<Model>;
    /// The model of this name; also one that is not listed, where its name says whose it is.
    fn model(&self, name: &str) -> Option<Model> {
        self.models().into_iter().find(|model| model.id == name)
    }
    /// How one of its models is asked.
    fn manner(&self, _model: &str) -> Manner {
        Manner::default()
    }
    /// What a call would ask for otherwise than the schema of its subtrees says. Nothing is sent.
    fn lowered(&self, _call: &Call) -> Vec<Lowering> {
        Vec::new()
    }
    /// What a document shows of its own form; none from those who look at no document themselves.
    fn outline(&self, _document: &Document) -> Option<Outline> {
        None
    }
    /// The same, asked under a caller's own key: what is learned under it, and what a provider keeps
    /// for it, is of no other key. None where no key is taken.
    fn with_key(&self, _key: &OwnKey) -> Option<Arc<dyn Provider>> {
        None
    }
    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>>;
}
