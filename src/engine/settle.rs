//! An answer becomes an outcome: repaired where that is certain, checked, proved, queued.

use serde_json::Value;
use serde_json::value::RawValue;

use super::array::Judged;
use super::call::{Progress, Run, millis};
use super::journal::Halt;
use super::metrics::label;
use super::ports::CallError;
use crate::domain::error::Fault;
use crate::domain::event::{Validation, ValidationError};
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::job::{Draft, ErrorDraft, ResultDraft};
use crate::domain::pack::Load;
use crate::domain::plan::Subtree;
use crate::domain::pointer::Pointer;
use crate::domain::repair;

/// Faults of a value that are told.
const MAX_VALIDATION_ERRORS: usize = 20;

/// A value and what its schema says of it.
pub(super) struct Checked {
    value: Value,
    /// At most [`MAX_VALIDATION_ERRORS`]; none at all where nobody asked for validation.
    faults: Option<Vec<Miss>>,
}

/// One thing that the schema does not allow.
struct Miss {
    /// Relative to the value.
    at: Pointer,
    message: String,
    /// Only something that is not there: the model said that the document does not tell. That is
    /// reported and neither asked again nor filled in.
    is_abstention: bool,
}

impl Checked {
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// Where the value breaks its schema, relative to it.
    pub(super) fn invalid(&self) -> Vec<Pointer> {
        let faults = self.faults.iter().flatten();
        faults.map(|fault| fault.at.clone()).collect()
    }

    /// What is wrong beside abstentions.
    pub(super) fn breaches(&self) -> Vec<ValidationError> {
        let faults = self.faults.iter().flatten();
        faults
            .filter(|fault| !fault.is_abstention)
            .map(|fault| fault.error(&Pointer::root()))
            .collect()
    }

    fn validation(&self, subtree: &Subtree) -> Option<Validation> {
        let faults = self.faults.as_ref()?;
        Some(Validation {
            valid: faults.is_empty(),
            errors: faults
                .iter()
                .map(|fault| fault.error(&subtree.path))
                .collect(),
        })
    }
}

impl Miss {
    fn of(error: &jsonschema::ValidationError) -> Self {
        use jsonschema::error::ValidationErrorKind as Kind;
        let instance = error.instance();
        let is_abstention = match error.kind() {
            Kind::Required { .. } => true,
            // A choice fails as a whole for what is not there inside.
            Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => has_null(instance),
            _ => instance.is_null(),
        };
        Self {
            at: Pointer::parse(&error.instance_path().to_string()).unwrap_or_default(),
            message: error.to_string().chars().take(500).collect(),
            is_abstention,
        }
    }

    fn error(&self, above: &Pointer) -> ValidationError {
        ValidationError {
            path: above.concat(&self.at),
            message: self.message.clone(),
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

impl Run {
    /// The value of subtree `index` beside its faults; none when the plan has no such subtree.
    pub(super) fn checked(&self, index: usize, mut value: Value) -> Option<Checked> {
        let subtree = self.planned.plan.subtrees.get(index)?;
        if self.takes_corrections {
            let _ = repair::repair(&subtree.schema, &mut value);
        }
        let faults = self.spec.config.validate_response_schema.then(|| {
            match self.planned.validator(index) {
                Ok(validator) => validator
                    .iter_errors(&value)
                    .take(MAX_VALIDATION_ERRORS)
                    .map(|error| Miss::of(&error))
                    .collect(),
                Err(error) => vec![Miss {
                    at: Pointer::root(),
                    message: error.detail.chars().take(500).collect(),
                    is_abstention: true,
                }],
            }
        });
        Some(Checked { value, faults })
    }

    /// A value that breaks its schema where it could have been asked for again is no result.
    pub(super) async fn settle(
        &self,
        progress: &mut Progress,
        index: usize,
        checked: Checked,
        said: (Attributions, Logprobs),
    ) -> Result<(), Halt> {
        let Some(subtree) = self.planned.plan.subtrees.get(index) else {
            return Ok(());
        };
        if self.takes_corrections
            && let Some(breach) = checked.breaches().first()
        {
            return self.fail(progress, index, &invalid(subtree, breach)).await;
        }
        let judged = self.judged_whole(index, checked.value()).await?;
        self.conclude(progress, index, checked, said, judged).await
    }

    /// Makes a value an outcome, whatever its schema says of it.
    pub(super) async fn conclude(
        &self,
        progress: &mut Progress,
        index: usize,
        checked: Checked,
        said: (Attributions, Logprobs),
        judged: Judged,
    ) -> Result<(), Halt> {
        let Some(subtree) = self.planned.plan.subtrees.get(index) else {
            return Ok(());
        };
        let validation = checked.validation(subtree);
        let finished = async {
            let logprobs = said.1.clone();
            let (value, attributions) = self.proved(subtree, checked, said).await?;
            Ok::<_, CallError>((self.finished(value, logprobs).await?, attributions))
        };
        let (value, attributions) = match finished.await {
            Ok(finished) => finished,
            Err(error) => return self.fail(progress, index, &error).await,
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
        self.count_result(index);
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
            // With rows missing it is worth asking again.
            answer: self.key(index).filter(|_| !judged.lacks_rows()),
            array_path: self.array_path(index),
            completeness: judged.own.map(Box::new),
            arrays: judged.inside,
            record: None,
        };
        self.deliver(draft).await
    }

    /// Where the array that a subtree is goes, if not to the path of the subtree.
    pub(super) fn array_path(&self, index: usize) -> Option<Pointer> {
        let at = self.arrays.place(index).filter(|at| !at.is_root())?;
        let subtree = self.planned.plan.subtrees.get(index)?;
        Some(subtree.path.concat(at))
    }

    pub(super) async fn give_up(
        &self,
        progress: &mut Progress,
        error: CallError,
    ) -> Result<(), Halt> {
        if let Some(reading) = &mut progress.reading {
            reading.failed = Some(error);
            return Ok(());
        }
        for index in std::mem::take(&mut progress.missing) {
            self.fail(progress, index, &error).await?;
        }
        Ok(())
    }

    /// Fails the subtrees of a call that panicked. Those it had settled keep their outcome: the
    /// store leaves a second one out.
    pub(super) async fn fail_broken(&self, load: Load) -> Result<(), Halt> {
        let error = CallError {
            fault: Fault::Internal,
            message: "The server failed on this part of the document.".into(),
            retry_after_ms: None,
        };
        let mut progress = self.progress(load);
        for index in progress.missing.clone() {
            progress.spent.add(&self.arrays.paid(index));
        }
        self.give_up(&mut progress, error).await
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
        if self.falls_back(index, &progress.spent) {
            progress.spent = self.blank.clone();
            return Ok(());
        }
        let outcomes = &self.engine.metrics.subtrees;
        outcomes.get_or_create(&label("outcome", "error")).inc();
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
            record: None,
        };
        self.say(Draft::Error(draft)).await?;
        self.let_go(index).await
    }
}

fn invalid(subtree: &Subtree, breach: &ValidationError) -> CallError {
    let at = subtree.path.concat(&breach.path);
    CallError {
        fault: Fault::ValidationFailed,
        message: format!(
            "The model's answer does not follow the schema, also when asked again with the fault named: at `{at}`: {}",
            breach.message
        ),
        retry_after_ms: None,
    }
}

pub(super) fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}
