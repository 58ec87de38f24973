//! The combined result of a job: a reading of its outcomes.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::error;

use super::ports::{Outcome, Snapshot};
use super::{Engine, Inner, no_job, stored};
use crate::domain::completeness::Completeness;
use crate::domain::error::{Code, Error, Fault};
use crate::domain::event::{Aside, Envelope, Event, Links, SubtreeResult, Validation};
use crate::domain::evidence::Attributions;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::merge::place;
use crate::domain::pointer::Pointer;
use crate::domain::review::Decision;
use crate::domain::status::Status;

/// Which state of a result is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The end; refused before it.
    Final,
    /// What is there now.
    SoFar,
}

/// A subtree without a value, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedSubtree {
    pub subtree_id: String,
    pub path: Pointer,
    pub error_type: Fault,
    pub error_message: String,
}

/// An array, and what is known of rows that are missing.
#[derive(Debug, Clone, Serialize)]
pub struct FoundArray {
    pub subtree_id: String,
    pub path: Pointer,
    #[serde(flatten)]
    pub completeness: Box<Completeness>,
}

/// Value tree, evidence tree and what is missing, all of one moment.
#[derive(Debug, Clone)]
pub struct JobResult {
    pub view: JobView,
    pub results: Value,
    /// `None` when the job did not ask for attributions.
    pub attributions: Option<Attributions>,
    pub failed: Vec<FailedSubtree>,
    /// Whether rows are missing, of each array that was looked at.
    pub arrays: Vec<FoundArray>,
    /// The schema's word on all values; `None` when the job did not ask for it.
    pub validation: Option<Validation>,
}

impl Engine {
    /// The combined result of a job over one document; that of a batch is asked for by record.
    pub async fn result(
        &self,
        scope: &Scope,
        job: JobId,
        wanted: Wanted,
    ) -> Result<JobResult, Error> {
        let view = self.job(scope, job).await?;
        if view.spec.batch.is_some() {
            return Err(Error::new(
                Code::InvalidRequest,
                format!(
                    "Job {job} is a batch: it has a result for each record, at /v1/extract/jobs/{job}/records."
                ),
            ));
        }
        let snapshot = stored(self.inner.jobs.snapshot(scope, job).await)?;
        let snapshot = snapshot.ok_or_else(|| no_job(job))?;
        self.inner.refuse_unready(&snapshot.view, wanted)?;
        JobResult::of(snapshot)
    }

    /// Whether the result of an ended job is still there and may be given out.
    pub fn has_result(&self, view: &JobView) -> bool {
        self.inner.refuse_unready(view, Wanted::Final).is_ok()
    }

    /// A batch of which the result is there: it says what became of how many records.
    pub async fn batch_result(
        &self,
        scope: &Scope,
        job: JobId,
        wanted: Wanted,
    ) -> Result<JobView, Error> {
        let view = self.job(scope, job).await?;
        self.inner.refuse_unready(&view, wanted)?;
        Ok(view)
    }
}

/// Refuses what nobody has reviewed, or what was rejected.
fn refuse_withheld(view: &JobView) -> Result<(), Error> {
    if !view.is_withheld() {
        return Ok(());
    }
    let rejected = view.review.as_ref().and_then(|review| review.decision);
    Err(match rejected {
        Some(Decision::Reject) => Error::new(
            Code::ReviewRejected,
            format!("A reviewer rejected the result of job {}.", view.id),
        ),
        _ => Error::new(
            Code::ReviewRequired,
            format!(
                "The result of job {} is held back until it is reviewed; the job is {}. GET {}/review shows what is to be looked at.",
                view.id,
                view.status.name(),
                Links::of(view.id).job
            ),
        ),
    })
}

impl Inner {
    pub(super) fn refuse_unready(&self, view: &JobView, wanted: Wanted) -> Result<(), Error> {
        self.refuse_expired(view, Code::ResultExpired)?;
        if view.status.is_idle() {
            refuse_withheld(view)?;
        }
        if wanted == Wanted::Final && !view.status.is_terminal() {
            return Err(Error::new(
                Code::ResultNotReady,
                format!(
                    "Job {} is {}. Follow its events, poll it, or ask for `?partial=true`.",
                    view.id,
                    view.status.name()
                ),
            ));
        }
        refuse_withheld(view)
    }

    /// Refuses what was promised only for a time.
    pub(super) fn refuse_expired(&self, view: &JobView, code: Code) -> Result<(), Error> {
        match view.expires_at {
            // What was swept stays gone, also when the clock was ahead then and was set back.
            Some(expired) if expired <= self.clock.now() || view.status == Status::Expired => {
                Err(Error::new(
                    code,
                    format!(
                        "Job {} was kept until {expired}. Run it again for a new result.",
                        view.id
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

impl JobResult {
    pub(super) fn of(snapshot: Snapshot) -> Result<Self, Error> {
        let with_attributions = snapshot.view.spec.config.per_key_attribution;
        let mut result = Self {
            results: Value::Object(serde_json::Map::new()),
            attributions: with_attributions.then(Attributions::new),
            failed: Vec::new(),
            arrays: Vec::new(),
            validation: (snapshot.view.spec.config.validate_response_schema).then(|| Validation {
                valid: true,
                errors: Vec::new(),
            }),
            view: snapshot.view,
        };
        // In the order of the plan, so that the result reads the same however the calls ended.
        let mut outcomes = snapshot.outcomes;
        outcomes.sort_by_key(|outcome| outcome.ordinal);
        for outcome in &outcomes {
            result.add(outcome).map_err(|cause| {
                error!(job = %result.view.id, %cause, "result.unreadable: a stored outcome cannot be read");
                Error::internal()
            })?;
        }
        if let Some(review) = &result.view.review {
            review.apply(&mut result.results, result.attributions.as_mut());
            if let (Some(told), Some(anew)) = (&mut result.validation, &review.validation) {
                told.clone_from(anew);
            }
        }
        if let Some(validation) = &mut result.validation {
            // What several break together is said with each of them.
            let mut told = HashSet::new();
            let errors = &mut validation.errors;
            errors.retain(|error| told.insert((error.path.clone(), error.message.clone())));
        }
        Ok(result)
    }

    fn add(&mut self, outcome: &Outcome) -> Result<(), Box<dyn std::error::Error>> {
        let payload = std::str::from_utf8(&outcome.event.payload)?;
        match Envelope::decode(payload)?.event {
            Event::SubtreeResult(event) => self.add_value(event, outcome)?,
            Event::SubtreeError(event) => self.failed.push(FailedSubtree {
                subtree_id: event.subtree_id,
                path: event.path,
                error_type: event.error_type,
                error_message: event.error_message,
            }),
            _ => {}
        }
        Ok(())
    }

    fn add_value(
        &mut self,
        mut event: SubtreeResult,
        outcome: &Outcome,
    ) -> Result<(), Box<dyn std::error::Error>> {
        if let Some(aside) = &outcome.aside {
            let aside: Aside = serde_json::from_slice(aside)?;
            aside.restore(&mut event);
        }
        let (value, attributions) = (event.extracted_result, event.attributions);
        let subtree_id = event.subtree_id;
        if let Some(completeness) = event.completeness {
            // An array may be only a part of the value that its event carries.
            let mut known = self.view.arrays.iter();
            let known = known.find(|array| array.subtree_id == subtree_id);
            let path = known.map_or(&event.path, |array| &array.path).clone();
            self.arrays.push(FoundArray {
                subtree_id: subtree_id.clone(),
                path,
                completeness,
            });
        }
        self.arrays
            .extend(event.arrays.into_iter().map(|array| FoundArray {
                subtree_id: subtree_id.clone(),
                path: array.path,
                completeness: Box::new(array.completeness),
            }));
        if let (Some(all), Some(one)) = (&mut self.validation, event.validation) {
            all.valid &= one.valid;
            all.errors.extend(one.errors);
        }
        place(
            &mut self.results,
            &event.path,
            serde_json::from_str(value.get())?,
        );
        if let (Some(all), Some(more)) = (&mut self.attributions, attributions) {
            all.extend(read_attributions(&more)?);
        }
        Ok(())
    }
}

fn read_attributions(raw: &RawValue) -> Result<Attributions, serde_json::Error> {
    serde_json::from_str(raw.get())
}
