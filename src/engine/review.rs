//! Results that are held back until somebody has looked at them.

use std::sync::Arc;

use serde_json::Value;
use tracing::{error, info};

use super::journal::{Halt, Journal};
use super::plans::Planned;
use super::ports::{Claimed, Commit, Committed, Guard};
use super::result::JobResult;
use super::run::patiently;
use super::{Engine, Inner, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::event::{ArrayVerdict, Links, Validation, ValidationError};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{Draft, JobView, Refusal, ReviewDraft};
use crate::domain::merge;
use crate::domain::pointer::Pointer;
use crate::domain::review::{
    Correction, Decision, Flag, MAX_CORRECTED_BYTES, MAX_CORRECTIONS, Review, Seen, flags,
    has_place,
};
use crate::domain::status::Status;

/// Faults of one correction that are told.
const TOLD: usize = 20;

/// What a reviewer says.
#[derive(Debug, Clone)]
pub struct ReviewRequest {
    /// The version that was looked at.
    pub version: u32,
    pub corrections: Vec<Correction>,
    pub comment: Option<String>,
    /// None where values are only corrected.
    pub decision: Option<Decision>,
}

/// A review as its reviewer sees it, values included.
#[derive(Debug, Clone)]
pub struct ReviewState {
    pub review: Review,
    /// What is to be looked at now; what was corrected is not flagged any more.
    pub flagged: Vec<Flag>,
    /// With the corrections so far in it.
    pub result: JobResult,
}

impl Engine {
    /// What is to be looked at, or was.
    ///
    /// Refused with `not_in_review` where nothing was held back, `result_not_ready` before
    /// everything is extracted, and `result_expired`.
    pub async fn review(&self, scope: &Scope, job: JobId) -> Result<ReviewState, Error> {
        let (result, planned) = self.held(scope, job).await?;
        let view = &result.view;
        let review = view.review.as_deref().cloned();
        let review = review.ok_or_else(|| not_held(view))?;
        let mut flagged = look(view, &planned, &result);
        let corrected = |flag: &Flag| {
            let mut corrections = review.corrections.iter();
            corrections.any(|correction| correction.path == flag.path)
        };
        flagged.retain(|flag| !corrected(flag));
        Ok(ReviewState {
            review,
            flagged,
            result,
        })
    }

    /// Corrects values of a result that is held back, and approves or rejects it, in one step.
    ///
    /// Refused with `not_in_review`, with `stale_review` when another version was looked at, and
    /// with `invalid_correction` where the schema does not take a corrected value.
    pub async fn decide(
        &self,
        scope: &Scope,
        job: JobId,
        request: ReviewRequest,
    ) -> Result<JobView, Error> {
        let (result, planned) = self.held(scope, job).await?;
        let view = &result.view;
        let review = view.review.as_deref();
        let review = review.filter(|_| view.status == Status::ReviewRequired);
        let review = review.ok_or_else(|| not_held(view))?;
        if review.version != request.version {
            return Err(stale(job, review.version));
        }
        let validation = if request.corrections.is_empty() {
            None
        } else {
            Some(check(&planned, &result, review, &request.corrections)?)
        };
        let draft = ReviewDraft {
            version: request.version,
            corrections: request.corrections,
            validation,
            comment: request.comment,
            decision: request.decision,
        };
        self.tell(scope, job, draft).await
    }

    /// The result of a job with a gate, shown to nobody but its reviewer.
    async fn held(&self, scope: &Scope, job: JobId) -> Result<(JobResult, Arc<Planned>), Error> {
        let inner = &self.inner;
        let snapshot = stored(inner.jobs.snapshot(scope, job).await)?;
        let snapshot = snapshot.ok_or_else(|| no_job(job))?;
        let view = &snapshot.view;
        inner.refuse_expired(view, Code::ResultExpired)?;
        if view.spec.config.review.is_some() && !view.status.is_idle() {
            return Err(Error::new(
                Code::ResultNotReady,
                format!(
                    "Job {job} is {}; what is to be looked at is known when all is extracted.",
                    view.status.name()
                ),
            ));
        }
        let planned = inner.stored_plan(&view.spec.plan).await?;
        Ok((JobResult::of(snapshot)?, planned))
    }

    async fn tell(&self, scope: &Scope, job: JobId, draft: ReviewDraft) -> Result<JobView, Error> {
        let inner = &self.inner;
        let commit = Commit {
            job,
            guard: Guard::Caller {
                scope: scope.clone(),
            },
            at_sequence: None,
            drafts: vec![Draft::Review(draft)],
        };
        match stored(inner.jobs.commit(commit).await)? {
            Committed::Stored { view, events, .. } => {
                inner.live.publish(job, events);
                if view.status.is_terminal() {
                    inner.posted.notify_one();
                }
                Ok(*view)
            }
            Committed::Missing => Err(no_job(job)),
            Committed::Refused {
                refusal: Refusal::Stale { version },
                ..
            } => Err(stale(job, version)),
            Committed::Refused { .. } => {
                let view = stored(inner.jobs.view(scope, job).await)?;
                Err(not_held(&view.ok_or_else(|| no_job(job))?))
            }
            Committed::Moved { .. } | Committed::Fenced => Err(Error::internal()),
        }
    }
}

/// Holds an extracted job back when its gate finds something to look at. The run is over then.
pub(super) async fn holds(
    engine: &Inner,
    claimed: &Claimed,
    planned: &Planned,
    journal: &Journal,
) -> Result<bool, Halt> {
    if claimed.view.spec.config.review.is_none() {
        return Ok(false);
    }
    journal.flush().await?;
    let snapshot = patiently(engine, || async {
        let snapshot = engine.jobs.snapshot(&claimed.scope, claimed.view.id);
        stored(snapshot.await)?.ok_or_else(Error::internal)
    });
    let result = snapshot.await?.and_then(JobResult::of);
    let result = result.map_err(|cause| {
        // Nothing is given out unseen: the lease runs out and the job is claimed again.
        error!(%cause, "job.gate: the outcomes cannot be read");
        Halt::Lost
    })?;
    let flagged = look(&result.view, planned, &result).len() as u64;
    if flagged > 0 {
        info!(flagged, "job.held: fields are to be looked at");
        journal.record(Draft::Hold { flagged }).await?;
    }
    Ok(flagged > 0)
}

fn look(view: &JobView, planned: &Planned, result: &JobResult) -> Vec<Flag> {
    let Some(gate) = &view.spec.config.review else {
        return Vec::new();
    };
    let incomplete = view.arrays.iter().filter(|array| array.is_incomplete());
    let seen = Seen {
        plan: &planned.plan,
        results: &result.results,
        attributions: result.attributions.as_ref(),
        incomplete: incomplete.map(|array: &ArrayVerdict| &array.path).collect(),
        failed: result.failed.iter().map(|failed| &failed.path).collect(),
    };
    flags(gate, &seen)
}

/// The schema's word on the result with the corrections in it.
fn check(
    planned: &Planned,
    result: &JobResult,
    review: &Review,
    corrections: &[Correction],
) -> Result<Validation, Error> {
    let mut whole = review.clone();
    whole.correct(corrections.to_vec());
    let count = whole.corrections.len();
    let bytes = serde_json::to_vec(&whole.corrections).map_or(usize::MAX, |json| json.len());
    if count > MAX_CORRECTIONS || bytes > MAX_CORRECTED_BYTES {
        let message = format!(
            "There are {count} corrections of {bytes} bytes together; the limits are {MAX_CORRECTIONS} and {MAX_CORRECTED_BYTES}."
        );
        return Err(
            Error::new(Code::InvalidCorrection, message.clone()).at("/corrections", message)
        );
    }
    let mut results = result.results.clone();
    for (index, correction) in corrections.iter().enumerate() {
        if !has_place(&results, &correction.path) {
            let message = format!(
                "The result has no place `{}`. Correct the object or array that it would be in.",
                correction.path
            );
            let at = format!("/corrections/{index}/path");
            return Err(Error::new(Code::InvalidCorrection, message.clone()).at(at, message));
        }
        let one = Review {
            corrections: vec![correction.clone()],
            ..review.clone()
        };
        one.apply(&mut results, None);
    }
    let errors = faults(planned, &results);
    for (index, correction) in corrections.iter().enumerate() {
        let at = correction.path.as_str();
        let about = |error: &&ValidationError| {
            let inside = error.path.as_str().strip_prefix(at);
            inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(fault) = errors.iter().find(about) {
            let at = format!("/corrections/{index}/value");
            let message = format!("At `{}`: {}", fault.path, fault.message);
            return Err(Error::new(Code::InvalidCorrection, message.clone()).at(at, message));
        }
    }
    Ok(Validation {
        valid: errors.is_empty(),
        errors,
    })
}

/// What the schema of each subtree says against its part.
fn faults(planned: &Planned, results: &Value) -> Vec<ValidationError> {
    let parts = merge::split(&planned.plan, results);
    let mut errors = Vec::new();
    for (index, (subtree, part)) in planned.plan.subtrees.iter().zip(parts).enumerate() {
        let (Some(part), Ok(validator)) = (part, planned.validator(index)) else {
            continue;
        };
        errors.extend(validator.iter_errors(&part).take(TOLD).map(|error| {
            let inside = Pointer::parse(&error.instance_path().to_string());
            ValidationError {
                path: subtree.path.concat(&inside.unwrap_or_else(Pointer::root)),
                message: error.to_string().chars().take(500).collect(),
            }
        }));
    }
    let breaches = planned.breaches(results).into_iter();
    errors.extend(breaches.map(|breach| ValidationError {
        path: breach.at,
        message: breach.message,
    }));
    errors
}

fn not_held(view: &JobView) -> Error {
    let job = view.id;
    let why = match (&view.spec.config.review, view.status) {
        (None, _) => "it was started without `config.review`",
        (Some(_), Status::ReviewRequired) => "somebody else was faster",
        (Some(_), Status::Cancelled) => "it was cancelled",
        (Some(_), _) if view.review.is_some() => "it was decided already",
        (Some(_), _) => "its gate found nothing to look at",
    };
    Error::new(
        Code::NotInReview,
        format!(
            "Job {job} does not wait for a review: {why}. GET {} shows where it stands.",
            Links::of(job).job
        ),
    )
}

fn stale(job: JobId, version: u32) -> Error {
    Error::new(
        Code::StaleReview,
        format!(
            "The review of job {job} is at version {version}. Look at it again with GET {}/review, and decide on that version.",
            Links::of(job).job
        ),
    )
}
