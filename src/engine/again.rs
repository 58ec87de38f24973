//! An ended job goes on: what failed or is missing is asked for once more.

use tracing::error;

use super::batch::{End, Settled, end};
use super::keys::Principal;
use super::plans::Planned;
use super::ports::{Outcome, Reopen, Reopened, Snapshot};
use super::{Engine, no_job, stored};
use crate::domain::error::{Code, Error};
use crate::domain::event::{ArrayVerdict, Envelope, Event, Kind};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{JobView, Ordinal};
use crate::domain::own_key::{HEADER, OwnKey};
use crate::domain::record::Batch;

impl Engine {
    /// Puts a job that failed, was cancelled or ended without some subtrees in line again. Its
    /// results so far stay; its log goes on after the `end`.
    ///
    /// Refused with `job_active`, `nothing_to_retry`, `result_expired`, `document_not_found`,
    /// `too_many_jobs` and `queue_full`.
    pub async fn retry(&self, caller: &Principal, job: JobId) -> Result<JobView, Error> {
        self.retry_under(caller, job, None).await
    }

    /// [`Engine::retry`] of a job that runs under a key of its caller's own, which is sent again.
    ///
    /// Also refused with `own_key_required` where the job had such a key and none comes now, with
    /// `invalid_request` where it had none, and with `model_not_found`.
    pub async fn retry_under(
        &self,
        caller: &Principal,
        job: JobId,
        own_key: Option<OwnKey>,
    ) -> Result<JobView, Error> {
        let (inner, scope) = (&self.inner, &caller.scope);
        inner.refuse_new_work()?;
        let view = &self.job(scope, job).await?;
        if !view.status.is_terminal() {
            return Err(active(job));
        }
        inner.refuse_expired(view, Code::ResultExpired)?;
        if !view.is_partial() {
            return Err(Error::new(
                Code::NothingToRetry,
                format!(
                    "Every subtree of job {job} succeeded. Start a new job to extract it anew."
                ),
            ));
        }
        self.check_key(view, own_key.as_ref())?;
        let missing = match view.spec.batch {
            Some(batch) => self.missing_of_records(scope, view, batch).await?,
            None => self.missing(scope, job).await?,
        };
        let reopen = Reopen {
            scope: scope.clone(),
            job,
            at_sequence: view.sequence,
            failed_fields: missing.fields,
            incomplete: missing.incomplete,
            active_limit: inner.active_limit(caller),
            queue_limit: inner.settings.max_queued_jobs,
        };
        let place = (job, view.run + 1);
        let has_own_key = own_key.is_some();
        if let Some(own_key) = own_key
            && !inner.own_keys.hold(place, scope, own_key)?
        {
            return Err(active(job));
        }
        let reopened = stored(inner.jobs.reopen(reopen).await);
        if has_own_key && !matches!(reopened, Ok(Reopened::Stored { .. })) {
            inner.own_keys.drop_at(place);
        }
        match reopened? {
            Reopened::Stored { view, event } => {
                inner.live.publish(job, vec![event]);
                inner.work.notify_one();
                Ok(*view)
            }
            Reopened::TooManyActive => Err(inner.too_many_active(caller)),
            Reopened::QueueFull => Err(inner.queue_full()),
            Reopened::Missing => Err(no_job(job)),
            Reopened::DocumentGone => Err(Error::new(
                Code::DocumentNotFound,
                format!("Document {} was deleted.", view.spec.document_id),
            )),
            // Somebody else was faster.
            Reopened::Changed => Err(active(job)),
        }
    }

    /// Whether the key that comes with a retry is what the job is run under.
    fn check_key(&self, view: &JobView, own_key: Option<&OwnKey>) -> Result<(), Error> {
        match (view.spec.has_own_key, own_key) {
            (true, Some(_)) => {
                let model = &view.spec.config.model;
                self.served_under(model, own_key).map(drop)
            }
            (true, None) => Err(Error::new(
                Code::OwnKeyRequired,
                format!(
                    "Job {} was started with a key of your own, which was kept for that time only. Send it again in the header {HEADER}.",
                    view.id
                ),
            )),
            (false, Some(_)) => {
                let message = format!(
                    "Job {} was started without a key of your own. Leave {HEADER} out, or start a new job with it.",
                    view.id
                );
                Err(Error::new(Code::InvalidRequest, message.clone())
                    .at(format!("/{HEADER}"), message))
            }
            (false, None) => Ok(()),
        }
    }

    async fn missing(&self, scope: &Scope, job: JobId) -> Result<Missing, Error> {
        let snapshot = stored(self.inner.jobs.snapshot(scope, job).await)?;
        let snapshot = snapshot.ok_or_else(|| no_job(job))?;
        let planned = self.inner.stored_plan(&snapshot.view.spec.plan).await?;
        let incomplete = incomplete(&snapshot);
        let mut fields = 0;
        for outcome in &snapshot.outcomes {
            let is_error = outcome.event.kind == Kind::SubtreeError;
            if is_error || incomplete.contains(&outcome.ordinal) {
                fields += fields_of(&planned, job, outcome.ordinal)?;
            }
        }
        Ok(Missing { fields, incomplete })
    }

    /// The same of a batch, whose outcomes are never all in memory.
    async fn missing_of_records(
        &self,
        scope: &Scope,
        view: &JobView,
        batch: Batch,
    ) -> Result<Missing, Error> {
        let planned = self.inner.stored_plan(&view.spec.plan).await?;
        let mut settled = Settled::of(scope, view.id, 0);
        let mut missing = Missing::default();
        for index in 0..batch.records {
            if settled.is_over() {
                break;
            }
            let first = batch.first(index);
            for outcome in settled.take(&self.inner, first, batch.subtrees).await? {
                let end = end(&outcome);
                if end == End::Lacking {
                    missing.incomplete.push(first + outcome.ordinal);
                }
                if end != End::Whole {
                    missing.fields += fields_of(&planned, view.id, outcome.ordinal)?;
                }
            }
        }
        Ok(missing)
    }
}

/// What is asked for again.
#[derive(Default)]
struct Missing {
    /// Leaf fields of it that count as processed.
    fields: u64,
    /// Arrays that lack rows.
    incomplete: Vec<Ordinal>,
}

fn fields_of(planned: &Planned, job: JobId, subtree: Ordinal) -> Result<u64, Error> {
    let Some(subtree) = planned.plan.subtrees.get(subtree as usize) else {
        error!(%job, subtree, "retry.unplanned: an outcome is of no subtree of the plan");
        return Err(Error::internal());
    };
    Ok(u64::from(subtree.total_fields))
}

/// Arrays of which rows are known to be missing: what of them was read is kept beside the log.
fn incomplete(snapshot: &Snapshot) -> Vec<Ordinal> {
    let arrays = &snapshot.view.arrays;
    let lacks = |outcome: &&Outcome| {
        outcome.event.kind == Kind::SubtreeResult
            && std::str::from_utf8(&outcome.event.payload)
                .ok()
                .and_then(|payload| Envelope::decode(payload).ok())
                .is_some_and(|envelope| match envelope.event {
                    Event::SubtreeResult(result) => arrays.iter().any(|array| {
                        array.is_incomplete() && array.subtree_id == result.subtree_id
                    }),
                    _ => false,
                })
    };
    if !arrays.iter().any(ArrayVerdict::is_incomplete) {
        return Vec::new();
    }
    let outcomes = snapshot.outcomes.iter().filter(lacks);
    outcomes.map(|outcome| outcome.ordinal).collect()
}

fn active(job: JobId) -> Error {
    Error::new(
        Code::JobActive,
        format!("Job {job} has not ended, so there is nothing to retry yet."),
    )
}
