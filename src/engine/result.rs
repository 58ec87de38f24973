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
use crate::domain::event::{Aside, Envelope, Event, SubtreeResult, Validation};
use crate::domain::evidence::Attributions;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::merge::place;
use crate::domain::pointer::Pointer;
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
    pub async fn result(
        &self,
        scope: &Scope,
        job: JobId,
        wanted: Wanted,
    ) -> Result<JobResult, Error> {
        let snapshot = stored(self.inner.jobs.snapshot(scope, job).await)?;
        let snapshot = snapshot.ok_or_else(|| no_job(job))?;
        self.inner
            .refuse_expired(&snapshot.view, Code::ResultExpired)?;
        if wanted == Wanted::Final && !snapshot.view.status.is_terminal() {
            return Err(Error::new(
                Code::ResultNotReady,
                format!(
                    "Job {job} is {}. Follow its events, poll it, or ask for `?partial=true`.",
                    snapshot.view.status.name()
                ),
            ));
        }
        JobResult::of(snapshot)
    }
}

impl Inner {
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
    fn of(snapshot: Snapshot) -> Result<Self, Error> {
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
        event: SubtreeResult,
        outcome: &Outcome,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (value, attributions) = match &outcome.aside {
            Some(aside) => {
                let aside: Aside = serde_json::from_slice(aside)?;
                (aside.extracted_result, aside.attributions)
            }
            None => (event.extracted_result, event.attributions),
        };
        if let Some(completeness) = event.completeness {
            // An array may be only a part of the value that its event carries.
            let mut known = self.view.arrays.iter();
            let known = known.find(|array| array.subtree_id == event.subtree_id);
            let path = known.map_or(&event.path, |array| &array.path).clone();
            self.arrays.push(FoundArray {
                subtree_id: event.subtree_id,
                path,
                completeness,
            });
        }
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
