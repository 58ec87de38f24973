//! Values against the pages they are said to come from, off the threads that serve requests.

use std::sync::Arc;

use serde_json::Value;

use super::call::Run;
use super::ports::CallError;
use super::settle::Checked;
use crate::domain::error::Fault;
use crate::domain::evidence::{Attributions, Claim, Index, Logprobs, Signals, prove};
use crate::domain::plan::Subtree;

impl Run {
    /// The document's index, built on a thread of its own: it takes a while for a long document.
    pub(super) async fn index(&self) -> Result<Arc<Index>, CallError> {
        let build = || async {
            let document = Arc::clone(&self.document);
            let built = tokio::task::spawn_blocking(move || Index::new(&document)).await;
            built.map(Arc::new).map_err(|_| unproved())
        };
        self.index.get_or_try_init(build).await.map(Arc::clone)
    }

    /// The value, and the attributions as clients see them: by absolute pointer, each quote found
    /// on its page; none where nobody asked for them.
    pub(super) async fn proved(
        &self,
        subtree: &Arc<Subtree>,
        checked: Checked,
        (attributions, logprobs): (Attributions, Logprobs),
    ) -> Result<(Value, Option<Attributions>), CallError> {
        if !self.spec.config.per_key_attribution {
            return Ok((checked.into_value(), None));
        }
        let index = self.index().await?;
        let (document, subtree) = (Arc::clone(&self.document), Arc::clone(subtree));
        let proved = tokio::task::spawn_blocking(move || {
            let signals = logprobs.into_iter().map(|(key, logprob)| {
                let signals = Signals {
                    logprob: Some(logprob),
                    ..Signals::default()
                };
                (key, signals)
            });
            let claim = Claim {
                schema: &subtree.schema,
                value: checked.value(),
                attributions,
                invalid: &checked.invalid(),
                signals: &signals.collect(),
            };
            let proved = prove(&document, &index, claim).into_iter();
            let keyed = proved.map(|(key, leaf)| (format!("{}{key}", subtree.path), leaf));
            let keyed: Attributions = keyed.collect();
            (checked.into_value(), Some(keyed))
        });
        proved.await.map_err(|_| unproved())
    }
}

fn unproved() -> CallError {
    CallError {
        fault: Fault::Internal,
        message: "The value could not be checked against the document.".into(),
        retry_after_ms: None,
    }
}
