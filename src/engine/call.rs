//! One call: ask, settle each subtree as it closes, ask again for what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use super::Inner;
use super::journal::{Halt, Journal};
use super::metrics::label;
use super::plans::Planned;
use super::ports::{Answer, Call, CallError, Provider};
use crate::domain::document::Document;
use crate::domain::error::Fault;
use crate::domain::event::{SubtreeRetry, Validation, ValidationError};
use crate::domain::evidence::{Attributions, Claim, Index, prove};
use crate::domain::job::{Draft, ErrorDraft, JobSpec, ResultDraft};
use crate::domain::pack::Load;
use crate::domain::plan::Subtree;
use crate::domain::pointer::Pointer;
use crate::domain::retry;
use crate::domain::usage::Usage;

/// Faults of a value that are told.
const MAX_VALIDATION_ERRORS: usize = 20;

/// What all calls of a run share.
pub(super) struct Run {
    pub(super) engine: Arc<Inner>,
    pub(super) spec: JobSpec,
    pub(super) document: Arc<Document>,
    pub(super) planned: Arc<Planned>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) journal: Journal,
    /// Names the provider and model, counts nothing: what every bill starts from.
    pub(super) blank: Usage,
    /// The document's words, made once when attributions are asked for.
    pub(super) index: OnceCell<Arc<Index>>,
}

/// A call under way: what is still missing, and what was spent on it that no event has told yet.
struct Progress {
    missing: Load,
    attempt: u32,
    started: Instant,
    spent: Usage,
}

impl Run {
    /// Brings every subtree of `load` to an outcome. While the engine drains, no request is begun.
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
                        () = tokio::time::sleep(delay) => {}
                        () = self.engine.drained() => {}
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
        attributions: Attributions,
    ) -> Result<(), Halt> {
        let Some(subtree) = self.planned.plan.subtrees.get(index) else {
            return Ok(());
        };
        let validation = self.validate(index, subtree, &value);
        let (value, attributions) = if self.spec.config.per_key_attribution {
            let proved = self.prove(subtree, value, attributions, validation.as_ref());
            match proved.await {
                Ok((value, proved)) => (value, Some(proved)),
                Err(error) => return self.fail(progress, index, &error).await,
            }
        } else {
            (value, None)
        };
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

    /// The document's index, built on a thread of its own: it takes a while for a long document.
    pub(super) async fn index(&self) -> Result<Arc<Index>, CallError> {
        let build = || async {
            let document = Arc::clone(&self.document);
            let built = tokio::task::spawn_blocking(move || Index::new(&document)).await;
            built.map(Arc::new).map_err(|_| unproved())
        };
        self.index.get_or_try_init(build).await.map(Arc::clone)
    }

    /// Checks every leaf against the pages; keys become absolute.
    async fn prove(
        &self,
        subtree: &Arc<Subtree>,
        value: Value,
        attributions: Attributions,
        validation: Option<&Validation>,
    ) -> Result<(Value, Attributions), CallError> {
        let index = self.index().await?;
        let (document, subtree) = (Arc::clone(&self.document), Arc::clone(subtree));
        let errors = validation.map_or(&[][..], |validation| &validation.errors);
        let within = |error: &ValidationError| {
            Pointer::parse(error.path.as_str().strip_prefix(subtree.path.as_str())?)
        };
        let invalid: Vec<Pointer> = errors.iter().filter_map(within).collect();
        let proved = tokio::task::spawn_blocking(move || {
            let claim = Claim {
                schema: &subtree.schema,
                value: &value,
                attributions,
                invalid: &invalid,
                signals: &BTreeMap::new(),
            };
            let proved = prove(&document, &index, claim).into_iter();
            let keyed = proved.map(|(key, leaf)| (format!("{}{key}", subtree.path), leaf));
            let keyed: Attributions = keyed.collect();
            (value, keyed)
        });
        proved.await.map_err(|_| unproved())
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
                        &Pointer::parse(&error.instance_path().to_string()).unwrap_or_default(),
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
            uuid::Uuid::new_v4().as_u128() as u64,
        )
        .map(Duration::from_millis)
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

fn unproved() -> CallError {
    CallError {
        fault: Fault::Internal,
        message: "The value could not be checked against the document.".into(),
        retry_after_ms: None,
    }
}

fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
