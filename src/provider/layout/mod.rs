//! The embedded extractor: reads labels, values and tables off the page. Deterministic, without
//! a network or a key.

mod clause;
mod date;
mod fill;
mod find;
mod grid;
mod label;
mod lexicon;
mod list;
mod lone;
mod number;
mod page;
mod party;
mod query;
mod schema;
mod table;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::BoxStream;
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value;

use crate::domain::document::Document;
use crate::domain::error::Fault;
use crate::domain::evidence::Attributions;
use crate::domain::plan::Plan;
use crate::domain::usage::Usage;
use crate::engine::ports::{Answer, Call, CallError, Model, Provider};

use find::{Analysis, Source};
use label::Labels;
use page::Sheet;

/// The name of the provider and of its one model.
pub const NAME: &str = "layout";

/// Documents whose analysis is kept.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The provider of the model `layout`.
pub struct Layout {
    analyses: Arc<Mutex<LruCache<String, Arc<Analysis>>>>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            analyses: Arc::new(Mutex::new(LruCache::new(KEPT))),
        }
    }
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
            ]
            .map(str::to_owned)
            .to_vec(),
        }]
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let analyses = Arc::clone(&self.analyses);
        Box::pin(async_stream::stream! {
            let began = Instant::now();
            let call = Arc::new(call);
            for index in call.subtrees.clone() {
                let (call, analyses) = (Arc::clone(&call), Arc::clone(&analyses));
                let done = tokio::task::spawn_blocking(move || {
                    let analysis = analysis(&analyses, &call.document);
                    extract_with(&call.document, &analysis, &call.plan, index)
                })
                .await;
                match done {
                    Ok(Some((value, attributions))) => yield Ok(Answer::Subtree { index, value, attributions }),
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
        fault: Fault::ProviderError,
        message,
        retry_after_ms: None,
    }
}

/// The analysis of a document: made once, kept while it is among the last ones used.
fn analysis(kept: &Mutex<LruCache<String, Arc<Analysis>>>, document: &Document) -> Arc<Analysis> {
    let known = kept.lock().get(&document.sha256).cloned();
    known.unwrap_or_else(|| {
        let made = Arc::new(analyse(document));
        kept.lock().put(document.sha256.clone(), Arc::clone(&made));
        made
    })
}

fn analyse(document: &Document) -> Analysis {
    let sheet = Sheet::of(document);
    let labels = Labels::of(document, &sheet);
    let mut words: HashMap<String, Vec<u32>> = HashMap::new();
    for cell in &sheet.cells {
        for (token, _) in &cell.tokens {
            let rows = words.entry(token.clone()).or_default();
            if rows.last() != Some(&(cell.row as u32)) {
                rows.push(cell.row as u32);
            }
        }
    }
    Analysis {
        sheet,
        labels,
        words,
    }
}

/// The value of subtree `index` of the plan, with where each leaf was read; attribution keys are
/// relative to the value. `None` when the plan has no such subtree.
pub fn extract(document: &Document, plan: &Plan, index: usize) -> Option<(Value, Attributions)> {
    extract_with(document, &analyse(document), plan, index)
}

fn extract_with(
    document: &Document,
    analysis: &Analysis,
    plan: &Plan,
    index: usize,
) -> Option<(Value, Attributions)> {
    let subtree = plan.subtrees.get(index)?;
    let root = schema::compile(&subtree.schema);
    let source = Source { document, analysis };
    Some(fill::fill(source, &root, &subtree.context))
}
