//! One call: ask, settle each subtree as it closes, ask again for what is missing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Inner;
use super::journal::{Halt, Journal};
use super::metrics::label;
use super::plans::Planned;
use super::ports::{Answer, Call, CallError, Provider};
use crate::domain::document::Document;
use crate::domain::error::Fault;
use crate::domain::event::{SubtreeRetry, Validation, ValidationError};
use crate::domain::evidence::{Attributions, prove};
use crate::domain::id::JobId;
use crate::domain::job::{Draft, ErrorDraft, JobSpec, ResultDraft};
use crate::domain::pack::Load;
use crate::domain::plan::Subtree;
use crate::domain::retry;
use crate::domain::usage::Usage;

/// Faults of a value that are told.
const MAX_VALIDATION_ERRORS: usize = 20;

/// What all calls of a run share.
pub(super) struct Run {
    pub(super) engine: Arc<Inner>,
    pub(super) job: JobId,
    pub(super) epoch: u64,
    pub(super) spec: JobSpec,
    pub(super) document: Arc<Document>,
    pub(super) planned: Arc<Planned>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) journal: Journal,
    /// Names the provider and model, counts nothing: what every bill starts from.
    pub(super) blank: Usage,
}

/// A call under way: what is still missing, and what was spent on it that no event has told yet.
struct Progress {
    missing: Load,
    attempt: u32,
    started: Instant,
    spent: Usage,
}

impl Run {
    /// Brings every subtree of `load` to an outcome. While the engine drains, and once the job is
    /// known to be no longer ours, no request is begun.
    pub(super) async fn call(&self, load: Load) -> Result<(), Halt> {
        let mut progress = Progress {
            missing: load,
            attempt: 1,
            started: Instant::now(),
            spent: self.blank.clone(),
        };
        loop {
            if self.engine.is_draining() {
                return Err(Halt::Drained);
            }
            // Whoever owns the job now asks for the rest; an ended one is asked for no more. A task
            // that was told to stop may still get to run.
            if self.journal.is_lost() || !self.engine.is_running(self.job, self.epoch) {
                return Err(Halt::Lost);
            }
            let outcome = self.ask(&mut progress).await?;
            let error = match outcome {
                Ok(()) if progress.missing.is_empty() => return Ok(()),
                Ok(()) => CallError {
                    fault: Fault::InvalidJson,
                    message: "The answer ended without this part.".into(),
                    retry_after_ms: None,
                },
                Err(error) => error,
            };
            match self.delay(&progress, &error) {
                Some(delay) => {
                    self.announce_retry(&progress, &error, delay).await?;
                    tokio::select! {
                        biased;
                        () = self.engine.drained() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                    progress.attempt += 1;
                }
                None => return self.give_up(progress, error).await,
            }
        }
    }

    /// One request; settles what it answers.
    async fn ask(&self, progress: &mut Progress) -> Result<Result<(), CallError>, Halt> {
        let mut answers = self.provider.ask(self.request(&progress.missing));
        let mut last: Option<(usize, Value, Attributions)> = None;
        let mut failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Answer::Subtree {
                    index,
                    value,
                    attributions,
                }) => {
                    if !progress.missing.contains(&index) {
                        continue;
                    }
                    progress.missing.retain(|missing| *missing != index);
                    if progress.missing.is_empty() {
                        // The last one waits for the bill, which comes at the end of the answer.
                        last = Some((index, value, attributions));
                    } else {
                        self.settle(progress, index, value, attributions).await?;
                    }
                }
                Ok(Answer::Usage(usage)) => progress.spent.add(&usage),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if let Some((index, value, attributions)) = last {
            self.settle(progress, index, value, attributions).await?;
        }
        let outcome = failure
            .as_ref()
            .map_or("answered", |error| error.fault.name());
        let labels = [
            label("model", &self.spec.config.model),
            label("outcome", outcome),
        ]
        .concat();
        self.engine.metrics.calls.get_or_create(&labels).inc();
        Ok(match failure {
            Some(error) if !progress.missing.is_empty() => Err(error),
            _ => Ok(()),
        })
    }

    fn request(&self, missing: &Load) -> Call {
        let config = &self.spec.config;
        Call {
            model: config.model.clone(),
            document: Arc::clone(&self.document),
            plan: Arc::clone(&self.planned.plan),
            plan_key: self.planned.key.clone(),
            subtrees: missing.clone(),
            additional_instructions: config.additional_instructions.clone(),
            temperature: config.temperature,
            seed: config.seed,
            enable_thinking: config.enable_thinking,
            per_key_attribution: config.per_key_attribution,
        }
    }

    async fn settle(
        &self,
        progress: &mut Progress,
        index: usize,
        value: Value,
        mut attributions: Attributions,
    ) -> Result<(), Halt> {
        let Some(subtree) = self.planned.plan.subtrees.get(index) else {
            return Ok(());
        };
        prove(&self.document, &mut attributions);
        let validation = self.validate(index, subtree, &value);
        let attributions = self.spec.config.per_key_attribution.then(|| {
            let keyed = attributions
                .into_iter()
                .map(|(key, attribution)| (format!("{}{key}", subtree.path), attribution));
            keyed.collect::<Attributions>()
        });
        let (Ok(extracted_result), Ok(attributions)) =
            (raw(&value), attributions.as_ref().map(raw).transpose())
        else {
            let error = CallError {
                fault: Fault::Internal,
                message: "The value could not be written as JSON.".into(),
                retry_after_ms: None,
            };
            return self.fail(progress, index, &error).await;
        };
        self.engine
            .metrics
            .subtrees
            .get_or_create(&label("outcome", "result"))
            .inc();
        let draft = ResultDraft {
            ordinal: index as u32,
            subtree_id: subtree.id.clone(),
            path: subtree.path.clone(),
            fields: subtree.total_fields,
            extracted_result,
            attributions,
            usage: std::mem::replace(&mut progress.spent, self.blank.clone()),
            attempts: progress.attempt,
            duration_ms: millis(progress.started.elapsed()),
            validation,
        };
        self.journal.push(Draft::Result(draft)).await
    }

    fn validate(&self, index: usize, subtree: &Subtree, value: &Value) -> Option<Validation> {
        if !self.spec.config.validate_response_schema {
            return None;
        }
        let errors: Vec<_> = match self.planned.validator(index) {
            Ok(validator) => validator
                .iter_errors(value)
                .take(MAX_VALIDATION_ERRORS)
                .map(|error| ValidationError {
                    path: subtree.path.concat(
                        &crate::domain::pointer::Pointer::parse(&error.instance_path().to_string())
                            .unwrap_or_default(),
                    ),
                    message: error.to_string().chars().take(500).collect(),
                })
                .collect(),
            Err(error) => vec![ValidationError {
                path: subtree.path.clone(),
                message: error.detail.chars().take(500).collect(),
            }],
        };
        Some(Validation {
            valid: errors.is_empty(),
            errors,
        })
    }

    fn delay(&self, progress: &Progress, error: &CallError) -> Option<Duration> {
        retry::delay(
            progress.attempt,
            self.spec.config.n_max_retries,
            error.fault,
            error.retry_after_ms,
            self.spread(progress),
        )
        .map(Duration::from_millis)
    }

    /// Differs between calls that fail together, and is the same when all is done once more.
    fn spread(&self, progress: &Progress) -> u64 {
        let mut spread = DefaultHasher::new();
        (self.job, &progress.missing, progress.attempt).hash(&mut spread);
        spread.finish()
    }

    async fn announce_retry(
        &self,
        progress: &Progress,
        error: &CallError,
        delay: Duration,
    ) -> Result<(), Halt> {
        for index in &progress.missing {
            let Some(subtree) = self.planned.plan.subtrees.get(*index) else {
                continue;
            };
            let retry = SubtreeRetry {
                subtree_id: subtree.id.clone(),
                path: subtree.path.clone(),
                attempt: progress.attempt,
                max_attempts: self.spec.config.n_max_retries + 1,
                error_message: error.message.clone(),
                error_type: error.fault,
                retry_delay_ms: millis(delay),
            };
            self.journal.push(Draft::Retry(retry)).await?;
        }
        Ok(())
    }

    async fn give_up(&self, mut progress: Progress, error: CallError) -> Result<(), Halt> {
        for index in std::mem::take(&mut progress.missing) {
            self.fail(&mut progress, index, &error).await?;
        }
        Ok(())
    }

    /// Fails the subtrees of a call that panicked. Those it had settled keep their outcome: the
    /// store leaves a second one out.
    pub(super) async fn fail_broken(&self, load: Load) -> Result<(), Halt> {
        let progress = Progress {
            missing: load,
            attempt: 1,
            started: Instant::now(),
            spent: self.blank.clone(),
        };
        let error = CallError {
            fault: Fault::Internal,
            message: "The server failed on this part of the document.".into(),
            retry_after_ms: None,
        };
        self.give_up(progress, error).await
    }

    async fn fail(
        &self,
        progress: &mut Progress,
        index: usize,
        error: &CallError,
    ) -> Result<(), Halt> {
        let Some(subtree) = self.planned.plan.subtrees.get(index) else {
            return Ok(());
        };
        self.engine
            .metrics
            .subtrees
            .get_or_create(&label("outcome", "error"))
            .inc();
        let draft = ErrorDraft {
            ordinal: index as u32,
            subtree_id: subtree.id.clone(),
            path: subtree.path.clone(),
            fields: subtree.total_fields,
            fault: error.fault,
            message: error.message.chars().take(2_000).collect(),
            usage: std::mem::replace(&mut progress.spent, self.blank.clone()),
            attempts: progress.attempt,
            duration_ms: millis(progress.started.elapsed()),
        };
        self.journal.push(Draft::Error(draft)).await
    }
}

fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
