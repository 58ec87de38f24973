//! The part of a view without a column of its own, the same in every store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::error::Fault;
use crate::domain::event::{ArrayVerdict, Step};
use crate::domain::id::{FileId, JobId};
use crate::domain::job::{JobSpec, JobView, Paid, TakenBack};
use crate::domain::record::RecordTally;
use crate::domain::review::Review;
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::domain::usage::Usage;
use crate::engine::ports::StoreError;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(default = "first")]
    run: u32,
    step: Step,
    total_subtrees: u64,
    subtrees_succeeded: u64,
    subtrees_failed: u64,
    total_fields: u64,
    fields_processed: u64,
    usage: Usage,
    error: Option<(Fault, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    arrays: Vec<ArrayVerdict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken_back: Vec<TakenBack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paid: Vec<Paid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<RecordTally>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_file: Option<FileId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    review: Option<Box<Review>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
}

/// Rows of before there were retries have no number.
fn first() -> u32 {
    1
}

/// What the columns of a job hold.
pub struct Columns<'row> {
    pub id: Uuid,
    pub status: &'row str,
    pub sequence: i64,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub ended_ms: Option<i64>,
    pub expires_ms: Option<i64>,
    /// JSON, as [`write()`] makes it.
    pub state: &'row str,
    pub spec: Arc<JobSpec>,
}

pub fn read(columns: Columns) -> Result<JobView, StoreError> {
    let state: State = serde_json::from_str(columns.state)?;
    let status = columns.status;
    Ok(JobView {
        id: JobId(columns.id),
        status: Status::parse(status).ok_or_else(|| unknown("status", status))?,
        sequence: columns.sequence as u64,
        created_at: Time(columns.created_ms),
        updated_at: Time(columns.updated_ms),
        ended_at: columns.ended_ms.map(Time),
        expires_at: columns.expires_ms.map(Time),
        run: state.run,
        step: state.step,
        total_subtrees: state.total_subtrees,
        subtrees_succeeded: state.subtrees_succeeded,
        subtrees_failed: state.subtrees_failed,
        total_fields: state.total_fields,
        fields_processed: state.fields_processed,
        usage: state.usage,
        error: state.error,
        arrays: state.arrays,
        taken_back: state.taken_back,
        paid: state.paid,
        records: state.records,
        output_file: state.output_file,
        review: state.review,
        released: state.released,
        started_at: state.started_at,
        spec: columns.spec,
    })
}

/// JSON of what has no column.
pub fn write(view: &JobView) -> Result<String, serde_json::Error> {
    // Without `..`, so that a new field is not forgotten here.
    let JobView {
        id: _,
        status: _,
        sequence: _,
        created_at: _,
        updated_at: _,
        ended_at: _,
        expires_at: _,
        run,
        step,
        total_subtrees,
        subtrees_succeeded,
        subtrees_failed,
        total_fields,
        fields_processed,
        usage,
        error,
        arrays,
        taken_back,
        paid,
        records,
        output_file,
        review,
        released,
        started_at,
        spec: _,
    } = view;
    serde_json::to_string(&State {
        run: *run,
        step: *step,
        total_subtrees: *total_subtrees,
        subtrees_succeeded: *subtrees_succeeded,
        subtrees_failed: *subtrees_failed,
        total_fields: *total_fields,
        fields_processed: *fields_processed,
        usage: usage.clone(),
        error: error.clone(),
        arrays: arrays.clone(),
        taken_back: taken_back.clone(),
        paid: paid.clone(),
        records: *records,
        output_file: *output_file,
        review: review.clone(),
        released: *released,
        started_at: *started_at,
    })
}

/// A name that this version does not know.
pub fn unknown(what: &str, name: &str) -> StoreError {
    StoreError::Failed(format!("the database holds an unknown {what}, `{name}`"))
}
