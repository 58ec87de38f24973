//! The embedded extractor: reads labels, values and tables off the page. Deterministic, without
//! a network or a key.

mod address;
mod choice;
mod claim;
mod clause;
mod fill;
mod find;
mod grid;
mod header;
mod identity;
mod kept;
mod kind;
mod label;
mod lattice;
mod letterhead;
mod lexicon;
mod list;
mod lone;
mod markdown;
mod outline;
mod page;
mod party;
mod query;
mod rows;
mod schema;
mod table;
mod text;
mod value;
mod whole;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::domain::document::{Document, DocumentInput};
use crate::domain::error::Fault;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::outline::Outline;
use crate::domain::plan::Plan;
use crate::domain::usage::Usage;
use crate::domain::value::{date, number};
use crate::engine::ports::{Answer, Call, CallError, Model, Price, Provider};

use find::Analysis;
use kept::Shelf;
use whole::Filled;

/// The name of the provider and of its one model.
pub const NAME: &str = "layout";

/// The provider of the model `layout`.
#[derive(Default)]
pub struct Layout {
    shelf: Arc<Shelf>,
}

impl Provider for Layout {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: NAME.to_owned(),
            display_name: "Layout".to_owned(),
            description: "Reads labels, values and tables off the page, without a network or a key. Deterministic; \
                          every value stands in the document."
                .to_owned(),
            provider: NAME.to_owned(),
            ignores: [
                "temperature",
                "seed",
                "enable_thinking",
                "n_max_retries",
                "additional_instructions",
                "use_explicit_context_cache",
                "enable_agentic_array_extraction",
            ]
            .map(str::to_owned)
            .to_vec(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: Some(Price {
                prompt: 0.0,
                cached: 0.0,
                answer: 0.0,
            }),
        }]
    }

    fn outline(&self, document: &Document) -> Option<Outline> {
        Some(outline::outline(document))
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let shelf = Arc::clone(&self.shelf);
        Box::pin(async_stream::stream! {
            let began = Instant::now();
            let call = Arc::new(call);
            for index in call.subtrees.clone() {
                let (call, shelf) = (Arc::clone(&call), Arc::clone(&shelf));
                let done = tokio::task::spawn_blocking(move || {
                    let subtree = call.plan.subtrees.get(index)?;
                    let part = |filled: &Filled| filled.part(subtree);
                    Some(shelf.with(&call.document, &call.plan, &call.plan_key, part))
                })
                .await;
                match done {
                    Ok(Some((value, attributions))) => yield Ok(Answer::Subtree { index, value, attributions, logprobs: Logprobs::new() }),
                    Ok(None) => yield Err(failed(format!("The plan has no subtree {index}."))),
                    Err(_) => yield Err(failed("The extractor stopped unexpectedly on this subtree.".to_owned())),
                }
            }
            yield Ok(Answer::Usage(Usage {
                provider: NAME.to_owned(),
                model: NAME.to_owned(),
                request_count: 1,
                latency_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                cost_usd: Some(0.0),
                ..Usage::default()
            }));
        })
    }
}

fn failed(message: String) -> CallError {
    CallError {
        // Not one that is asked again: the same page is read the same way.
        fault: Fault::Internal,
        message,
        retry_after_ms: None,
    }
}

/// The value of subtree `index` of the plan, with where each leaf was read; attribution keys are
/// relative to the value. `None` when the plan has no such subtree.
pub fn extract(document: &Document, plan: &Plan, index: usize) -> Option<(Value, Attributions)> {
    let subtree = plan.subtrees.get(index)?;
    let analysis = Analysis::of(document);
    Some(Filled::of(document, &analysis, plan).part(subtree))
}
