//! Answers that were paid for before, found again by all that they were asked with.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::call::Run;
use super::journal::Halt;
use super::metrics::label;
use super::ports::{Kept, Outcome};
use super::run::patiently;
use super::stored;
use crate::domain::completeness::Completeness;
use crate::domain::config::{Cache, Config};
use crate::domain::document::{Document, DocumentInput};
use crate::domain::event::{Aside, JudgedArray, Kind, Validation};
use crate::domain::id::Scope;
use crate::domain::job::{AnswerKey, ResultDraft};
use crate::domain::plan::{Plan, Subtree};
use crate::domain::usage::Usage;

/// What an answer depends on beside its subtree.
pub(super) struct Asking<'a> {
    pub(super) scope: &'a Scope,
    /// What the provider says that its answers depend on.
    pub(super) version: &'a str,
    pub(super) config: &'a Config,
    pub(super) document: &'a Document,
}

/// The key of each subtree's answer.
///
/// The document counts by the text that was read from it and not only by its bytes, so that a
/// better reader asks again. What only changes how calls are made (how many at once, how often
/// again) does not count.
pub(super) fn keys(asking: &Asking, plan: &Plan) -> Vec<AnswerKey> {
    let config = asking.config;
    let mut text = Sha256::new();
    for page in &asking.document.pages {
        text.update(page.text.as_bytes());
        text.update([0]);
    }
    let shared = json!([
        asking.scope.as_str(),
        asking.version,
        config.model,
        config.additional_instructions,
        config.temperature,
        config.seed,
        config.enable_thinking,
        config.per_key_attribution,
        config.validate_response_schema,
        config.enable_agentic_array_extraction,
        asking.document.sha256,
    ]);
    let mut shared_hash = Sha256::new();
    shared_hash.update(shared.to_string());
    shared_hash.update(text.finalize());
    // What was asked as text keeps the keys that it had before there were other forms.
    if matches!(
        config.document_input,
        DocumentInput::Pages | DocumentInput::Native
    ) {
        shared_hash.update(config.document_input.name());
    }
    let key = |subtree: &Subtree| {
        let subtree = json!([
            subtree.path,
            subtree.kind,
            subtree.take,
            subtree.schema,
            subtree.context,
        ]);
        let mut hash = shared_hash.clone();
        hash.update(subtree.to_string());
        hash.finalize().into()
    };
    plan.subtrees.iter().map(|subtree| key(subtree)).collect()
}

/// The parts of a stored `subtree_result` that are used again.
#[derive(Deserialize)]
struct Settled {
    extracted_result: Box<RawValue>,
    attributions: Option<Box<RawValue>>,
    validation: Option<Validation>,
    #[serde(default)]
    completeness: Option<Box<Completeness>>,
    #[serde(default)]
    arrays: Vec<JudgedArray>,
}

impl Settled {
    fn read(outcome: &Outcome) -> Result<Self, serde_json::Error> {
        let mut settled: Self = serde_json::from_slice(&outcome.event.payload)?;
        if let Some(aside) = &outcome.aside {
            let aside: Aside = serde_json::from_slice(aside)?;
            settled.extracted_result = aside.extracted_result;
            settled.attributions = aside.attributions;
            settled.validation = aside.validation.or(settled.validation);
            settled.completeness = aside.completeness.or(settled.completeness);
            settled.arrays = aside.arrays;
        }
        Ok(settled)
    }
}

/// The value of a stored outcome; none where it is an error.
pub(super) fn value(outcome: &Outcome) -> Option<Arc<RawValue>> {
    let is_result = outcome.event.kind == Kind::SubtreeResult;
    let settled = is_result.then(|| Settled::read(outcome).ok()).flatten()?;
    Some(Arc::from(settled.extracted_result))
}

impl Run {
    /// Settles those of `pending` whose answer is there already, and gives the others.
    pub(super) async fn reuse(
        &self,
        scope: &Scope,
        pending: Vec<usize>,
    ) -> Result<Vec<usize>, Halt> {
        if self.keys.is_empty() || self.spec.config.cache == Cache::Off {
            return Ok(pending);
        }
        let asked: Vec<_> = pending
            .iter()
            .filter_map(|index| self.key(*index))
            .collect();
        let found = patiently(&self.engine, || async {
            stored(self.engine.jobs.answers(scope, &asked).await)
        });
        let Ok(found) = found.await? else {
            // To ask again costs money; not to go on costs the job.
            warn!("job.answers: earlier answers cannot be read");
            return Ok(pending);
        };
        let mut left = Vec::with_capacity(pending.len());
        for index in pending {
            let key = self.key(index);
            match found.iter().find(|kept| Some(kept.key) == key) {
                Some(kept) if self.settle_again(index, kept).await? => {}
                _ => left.push(index),
            }
        }
        left.extend(self.bonds.refuse());
        Ok(left)
    }

    pub(super) fn key(&self, index: usize) -> Option<AnswerKey> {
        self.keys.get(index).copied()
    }

    /// Whether the stored answer could be used.
    async fn settle_again(&self, index: usize, kept: &Kept) -> Result<bool, Halt> {
        let (Some(subtree), Ok(settled)) = (
            self.planned.plan.subtrees.get(index),
            Settled::read(&kept.outcome),
        ) else {
            return Ok(false);
        };
        let outcomes = &self.engine.metrics.subtrees;
        outcomes.get_or_create(&label("outcome", "reused")).inc();
        let draft = ResultDraft {
            ordinal: index as u32,
            subtree_id: subtree.id.clone(),
            path: subtree.path.clone(),
            fields: subtree.total_fields,
            extracted_result: settled.extracted_result,
            attributions: settled.attributions,
            usage: Usage {
                reused_subtree_count: 1,
                ..self.blank.clone()
            },
            attempts: 0,
            duration_ms: 0,
            validation: settled.validation,
            array_path: self.array_path(index),
            completeness: settled.completeness,
            arrays: settled.arrays,
            answer: Some(kept.key),
            record: None,
        };
        self.deliver(draft).await?;
        Ok(true)
    }
}
