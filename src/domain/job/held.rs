//! A job whose result is held back until somebody has looked at it.

use super::{Ending, JobView, Refusal};
use crate::domain::error::Fault;
use crate::domain::event::{Event, JobStatus, Reason, Step, Validation};
use crate::domain::review::{Correction, Decision, Review};
use crate::domain::status::Status;
use crate::domain::time::Time;

/// What a reviewer says of a result that is held back.
#[derive(Debug, Clone)]
pub struct ReviewDraft {
    /// The version of the review that was looked at.
    pub version: u32,
    pub corrections: Vec<Correction>,
    /// The schema's word on the values with these and the earlier corrections.
    pub validation: Option<Validation>,
    pub comment: Option<String>,
    /// None where values are corrected and nothing is decided yet.
    pub decision: Option<Decision>,
}

impl JobView {
    /// Whether values of the job are not to be shown: there is a gate, and it has not let them
    /// through.
    pub fn is_withheld(&self) -> bool {
        self.spec.config.review.is_some() && !self.released
    }

    /// A message as the log may have it: what is held back stands in messages too.
    pub(super) fn spoken(&self, fault: Fault, message: String) -> String {
        if self.spec.config.review.is_none() {
            return message;
        }
        format!(
            "`{}`; the message is withheld with the values.",
            fault.name()
        )
    }

    pub(super) fn hold(&mut self, flagged: u64, at: Time) -> Result<Event, Refusal> {
        let settled = self.subtrees_succeeded + self.subtrees_failed;
        let previous_status = self.status;
        if settled < self.total_subtrees {
            let total = self.total_subtrees;
            return Err(Refusal::Unsettled { settled, total });
        }
        self.status = Status::ReviewRequired;
        self.step = Step::AwaitingReview;
        self.review = Some(Box::new(Review::open(flagged, at)));
        Ok(Event::JobStatus(JobStatus {
            status: self.status,
            previous_status,
            reason: Reason::ReviewRequired,
            progress: self.progress(),
            message: Some(format!("{flagged} fields are to be looked at.")),
            retry_at: None,
        }))
    }

    pub(super) fn decide(
        &mut self,
        draft: ReviewDraft,
        at: Time,
        retention_ms: u64,
    ) -> Result<Event, Refusal> {
        let held = self.review.as_mut();
        let held = held.filter(|_| self.status == Status::ReviewRequired);
        let review = held.ok_or(Refusal::NotHeld)?;
        if review.version != draft.version {
            let version = review.version;
            return Err(Refusal::Stale { version });
        }
        review.version += 1;
        review.correct(draft.corrections);
        review.validation = draft.validation.or(review.validation.take());
        review.comment = draft.comment.or(review.comment.take());
        review.decision = draft.decision;
        review.decided_at = draft.decision.map(|_| at);
        match draft.decision {
            Some(Decision::Approve) => self.end(Ending::Settled, at, retention_ms),
            Some(Decision::Reject) => {
                let ending = Ending::Failed {
                    fault: Fault::ReviewRejected,
                    message: "A reviewer rejected the result.".to_owned(),
                };
                self.end(ending, at, retention_ms)
            }
            None => Ok(Event::JobStatus(JobStatus {
                status: self.status,
                previous_status: self.status,
                reason: Reason::Corrected,
                progress: self.progress(),
                message: None,
                retry_at: None,
            })),
        }
    }
}
