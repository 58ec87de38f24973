//! What became of each record: a reading of its outcomes.

use serde_json::Value;

use super::settled::{Settled, end};
use super::track::{End, Ends};
use crate::domain::error::{Code, Error, Fault};
use crate::domain::event::Validation;
use crate::domain::evidence::Attributions;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{JobView, Ordinal};
use crate::domain::record::{Batch, RecordStatus};
use crate::engine::ports::{Outcome, Snapshot};
use crate::engine::{Engine, FailedSubtree, FoundArray, JobResult};

/// Bytes of values after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// What became of one record.
#[derive(Debug, Clone)]
pub struct RecordResult {
    /// Among the records of the job, from 0.
    pub index: u64,
    pub id: Option<String>,
    pub status: RecordStatus,
    /// What was extracted; none where nothing was. Of a record that is not whole what failed is
    /// absent.
    pub value: Option<Value>,
    /// `None` when the job did not ask for attributions, or nothing was extracted.
    pub attributions: Option<Attributions>,
    pub failed: Vec<FailedSubtree>,
    /// Whether rows are missing, of each array that was looked at.
    pub arrays: Vec<FoundArray>,
    pub validation: Option<Validation>,
    /// The first thing that went wrong, of a record that is not whole.
    pub error: Option<(Fault, String)>,
}

impl Engine {
    /// Records that have come to an end, in the order in which they were sent: those after number
    /// `after`, at most `limit`, and fewer where they are large. With an empty answer there are no
    /// more of them now.
    ///
    /// Refused with `job_not_found`, `invalid_request` where the job is no batch, and
    /// `result_expired`.
    pub async fn record_results(
        &self,
        scope: &Scope,
        job: JobId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<RecordResult>, Error> {
        let view = self.job(scope, job).await?;
        let batch = view.spec.batch.ok_or_else(|| no_batch(job))?;
        self.inner.refuse_expired(&view, Code::ResultExpired)?;
        let from = after.map_or(0, |after| after.saturating_add(1));
        if from >= batch.records {
            return Ok(Vec::new());
        }
        let mut settled = Settled::of(scope, job, batch.first(from));
        let (mut results, mut bytes) = (Vec::new(), 0);
        for index in from..batch.records {
            if results.len() >= limit as usize || bytes > PAGE_BYTES || settled.is_over() {
                break;
            }
            let outcomes = settled.take(&self.inner, batch.first(index), batch.subtrees);
            let outcomes = outcomes.await?;
            bytes += outcomes.iter().map(size).sum::<usize>();
            results.extend(RecordResult::of(index, &view, batch, outcomes)?);
        }
        Ok(results)
    }
}

impl Batch {
    /// Number of the first outcome of a record.
    pub(in crate::engine) fn first(&self, index: u64) -> Ordinal {
        // At most `MAX_OUTCOMES`.
        index as Ordinal * self.subtrees
    }
}

fn size(outcome: &Outcome) -> usize {
    outcome.event.payload.len() + outcome.aside.as_ref().map_or(0, bytes::Bytes::len)
}

fn no_batch(job: JobId) -> Error {
    Error::new(
        Code::InvalidRequest,
        format!("Job {job} is of one document. Its results are at /v1/extract/jobs/{job}/results."),
    )
}

impl RecordResult {
    /// `None` when it has not come to an end. `outcomes` are numbered by subtree.
    pub(super) fn of(
        index: u64,
        view: &JobView,
        batch: Batch,
        outcomes: Vec<Outcome>,
    ) -> Result<Option<Self>, Error> {
        let requires_rows = view.spec.config.require_complete_arrays;
        let mut ends = Ends::new(batch.subtrees as usize, requires_rows);
        for outcome in &outcomes {
            ends.settle(outcome.ordinal as usize, end(outcome));
        }
        let Some(status) = ends.status() else {
            return Ok(None);
        };
        let id = outcomes.first().and_then(name);
        let has_value = outcomes.iter().any(|outcome| end(outcome) != End::Failed);
        let view = view.clone();
        let result = JobResult::of(Snapshot { view, outcomes })?;
        let error = (status != RecordStatus::Succeeded).then(|| error(&result));
        Ok(Some(Self {
            index,
            id,
            status,
            value: has_value.then_some(result.results),
            attributions: result.attributions.filter(|_| has_value),
            failed: result.failed,
            arrays: result.arrays,
            validation: result.validation.filter(|_| has_value),
            error,
        }))
    }
}

/// The client's name for the record, as its events have it.
fn name(outcome: &Outcome) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        record_id: Option<String>,
    }
    let named: Named = serde_json::from_slice(&outcome.event.payload).ok()?;
    named.record_id
}

fn error(result: &JobResult) -> (Fault, String) {
    match result.failed.first() {
        Some(failed) => (failed.error_type, failed.error_message.clone()),
        None => (
            Fault::IncompleteArray,
            "Rows are missing from an array of this record. What was read is in its result.".into(),
        ),
    }
}
