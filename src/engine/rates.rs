//! What calls have taken so far: the pace of each model, the sizes of each schema's answers.
//!
//! Kept in memory alone: a server that starts anew assumes again, and learns within a few calls.
//! All maps are bounded; what was used longest ago is forgotten.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::Inner;
use super::plans::Planned;
use super::ports::{Manner, Model};
use crate::domain::config::Config;
use crate::domain::cost::learn::{Count, Fit, Mean, Sample};
use crate::domain::cost::{Span, Terms, size};
use crate::domain::document::Document;
use crate::domain::pack::{Item, Packing, Room, Work};
use crate::domain::plan::{Kind, Plan, Subtree};
use crate::domain::prompt;
use crate::domain::usage::Usage;

/// Models, schemas and documents that something is known of.
const MODELS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
const SCHEMAS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);
const DOCUMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// The part of a model's context that a document may fill: questions and answers need the rest,
/// and tokens are estimated.
const FILLED: f64 = 0.8;
/// The part that an excerpt is chosen for.
const EXCERPT: f64 = 0.5;

pub(super) struct Rates {
    models: Mutex<LruCache<String, OfModel>>,
    schemas: Mutex<LruCache<SizesKey, OfSchema>>,
    /// Characters of documents as prompts show them, by hash.
    letters: Mutex<LruCache<String, u64>>,
}

#[derive(Default)]
struct OfModel {
    fit: Fit,
    count: Count,
    has_cached: bool,
}

/// Model, plan, and whether values are quoted.
type SizesKey = (String, String, bool);

#[derive(Default)]
struct OfSchema {
    /// Tokens of each subtree's answer.
    answers: Vec<Mean>,
    /// Of arrays, by subtree: tokens of the answer for each row that was located, and the share of
    /// the rows that code has read.
    rows: BTreeMap<usize, (Mean, Mean)>,
}

impl OfSchema {
    fn add(&mut self, planned: &Planned, index: usize, tokens: f64) {
        self.answers
            .resize(planned.plan.subtrees.len(), Mean::default());
        if let Some(mean) = self.answers.get_mut(index) {
            mean.add(tokens);
        }
    }
}

/// What reading the rows of an array took.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsTaken {
    /// Into the plan's subtrees.
    pub(super) index: usize,
    /// None where no rows were located.
    pub(super) located: Option<u32>,
    /// Of answers, had the model read all rows.
    pub(super) tokens: f64,
    /// The share of the rows that code has read; none where it was not to.
    pub(super) coded: Option<f64>,
}

/// What reading the rows of an array took before.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsKnown {
    pub(super) tokens: Span,
    pub(super) coded: Option<f64>,
}

/// A call that went well.
pub(super) struct Taken<'a> {
    pub(super) usage: &'a Usage,
    /// Until the answer began.
    pub(super) first_ms: u64,
    /// The subtrees that were answered, with the letters of their values.
    pub(super) said: &'a [(usize, usize)],
    /// Of those that are arrays, the rows that were located.
    pub(super) located: &'a dyn Fn(usize) -> Option<u32>,
    /// Tokens that were estimated for the prompt, before anything was learned.
    pub(super) shared: f64,
    pub(super) own: f64,
}

/// What is known of the figures behind an estimate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) calls: u64,
    pub(super) has_sizes: bool,
    /// Tokens that calls with the whole document would begin with.
    pub(super) shared: f64,
    /// The share by which prompts may have more or fewer tokens.
    pub(super) prompt_width: f64,
    /// Tokens for each one that is estimated, of documents and of questions.
    pub(super) counts: (f64, f64),
}

impl Rates {
    pub(super) fn new() -> Self {
        Self {
            models: Mutex::new(LruCache::new(MODELS)),
            schemas: Mutex::new(LruCache::new(SCHEMAS)),
            letters: Mutex::new(LruCache::new(DOCUMENTS)),
        }
    }

    /// Learns from a call that was one request.
    pub(super) fn learn(&self, config: &Config, planned: &Planned, taken: &Taken<'_>) {
        let usage = taken.usage;
        if usage.request_count != 1 || usage.prompt_token_count == 0 {
            return;
        }
        let prompt = usage.prompt_token_count as f64;
        let cached = usage.cached_content_token_count as f64;
        let written = usage.candidates_token_count + usage.thoughts_token_count;
        {
            let mut models = self.models.lock();
            let known = models.get_or_insert_mut(config.model.clone(), OfModel::default);
            known.fit.add(&Sample {
                fresh: (prompt - cached).max(0.0),
                cached,
                answer: written as f64,
                first: taken.first_ms as f64 / 1e3,
                total: usage.latency_ms as f64 / 1e3,
            });
            known.count.add(taken.shared, taken.own, prompt);
            known.has_cached |= cached > 0.0;
        }
        let letters: usize = taken.said.iter().map(|(_, letters)| letters).sum();
        if letters == 0 {
            return;
        }
        let each = usage.candidates_token_count as f64 / letters as f64;
        let mut schemas = self.schemas.lock();
        let sizes = schemas.get_or_insert_mut(sizes_key(config, planned), OfSchema::default);
        for (index, letters) in taken.said {
            sizes.add(planned, *index, *letters as f64 * each);
            if let Some(rows) = (taken.located)(*index) {
                let (tokens, _) = sizes.rows.entry(*index).or_default();
                tokens.add(*letters as f64 * each / f64::from(rows));
            }
        }
    }

    /// Learns from an array that was read window by window.
    pub(super) fn learn_rows(&self, config: &Config, planned: &Planned, taken: &RowsTaken) {
        let mut schemas = self.schemas.lock();
        let sizes = schemas.get_or_insert_mut(sizes_key(config, planned), OfSchema::default);
        let Some(rows) = taken.located else {
            sizes.add(planned, taken.index, taken.tokens);
            return;
        };
        let (tokens, coded) = sizes.rows.entry(taken.index).or_default();
        tokens.add(taken.tokens / f64::from(rows));
        taken.coded.into_iter().for_each(|share| coded.add(share));
    }

    pub(super) fn rows(
        &self,
        config: &Config,
        planned: &Planned,
        index: usize,
    ) -> Option<RowsKnown> {
        let mut schemas = self.schemas.lock();
        let (tokens, coded) = schemas.get(&sizes_key(config, planned))?.rows.get(&index)?;
        Some(RowsKnown {
            tokens: tokens.span()?,
            coded: coded.get(),
        })
    }

    /// Tokens of a subtree's answer, where it was answered before.
    fn answers(&self, config: &Config, planned: &Planned) -> Vec<Option<Span>> {
        let mut schemas = self.schemas.lock();
        let known = schemas.get(&sizes_key(config, planned));
        known.map_or_else(Vec::new, |known| {
            known.answers.iter().map(Mean::span).collect()
        })
    }
}

fn sizes_key(config: &Config, planned: &Planned) -> SizesKey {
    (
        config.model.clone(),
        planned.key.clone(),
        config.per_key_attribution,
    )
}

/// Tokens that asking for these subtrees takes, before anything was learned.
pub(super) fn questions(plan: &Plan, load: &[usize]) -> f64 {
    let subtrees = load.iter().filter_map(|index| plan.subtrees.get(*index));
    subtrees.map(|subtree| size::question(subtree)).sum()
}

/// How calls are to be packed. An answer that is read at its end would hold up the others until
/// then, so that nobody waits for it.
fn packing(config: &Config, manner: &Manner) -> Packing {
    let asked = config.splitter_configs.packing;
    Packing {
        leader_first: if manner.is_streamed {
            asked.leader_first
        } else {
            Some(false)
        },
        ..asked
    }
}

/// A subtree where nothing is weighed but which one takes longest.
fn by_fields(index: usize, subtree: &Subtree) -> Item {
    let is_list = subtree.kind == Kind::AgenticArray;
    let rows = if is_list { size::ROWS } else { 1 };
    Item {
        index,
        question: 0.0,
        is_list,
        answer: Span::exactly((u64::from(subtree.total_fields) * rows) as f64),
    }
}

impl Inner {
    /// Tokens of what all calls about a document begin with, before anything was learned. The
    /// text is made once: it is as long as the document.
    pub(super) async fn shared_tokens(&self, document: Option<&Arc<Document>>) -> f64 {
        let Some(document) = document else {
            return size::shared(0);
        };
        let known = self.rates.letters.lock().get(&document.sha256).copied();
        if let Some(letters) = known {
            return size::shared(letters);
        }
        let read = Arc::clone(document);
        let letters =
            tokio::task::spawn_blocking(move || prompt::document(&read).chars().count() as u64);
        let letters = letters.await.unwrap_or_default();
        let mut kept = self.rates.letters.lock();
        kept.put(document.sha256.clone(), letters);
        size::shared(letters)
    }

    /// What packing the pending subtrees goes by.
    pub(super) async fn work(
        &self,
        asked: &Asked<'_>,
        document: Option<&Arc<Document>>,
        pending: &[usize],
    ) -> (Work, Known) {
        let Asked {
            config,
            model,
            manner,
            planned,
        } = asked;
        // Where answers cost no tokens there is nothing to weigh.
        let is_weighed = manner.output_tokens.is_some();
        let shared = if is_weighed {
            self.shared_tokens(document).await
        } else {
            0.0
        };
        let (pace, factors, prompt_width, has_cached, calls) = {
            let mut models = self.rates.models.lock();
            let unknown = OfModel::default();
            let known = models.get(&config.model).unwrap_or(&unknown);
            let fit = &known.fit;
            let factors = known.count.factors();
            let width = known.count.width();
            (fit.pace(), factors, width, known.has_cached, fit.samples())
        };
        let answers = self.rates.answers(config, planned);
        let room = document.map(|_| shared);
        let items = pending.iter().filter_map(|index| {
            let subtree = planned.plan.subtrees.get(*index)?;
            if !is_weighed {
                return Some(by_fields(*index, subtree));
            }
            let learned = answers.get(*index).copied().flatten();
            Some(Item {
                index: *index,
                question: size::question(subtree) * factors.1,
                is_list: subtree.kind == Kind::AgenticArray,
                answer: learned
                    .unwrap_or_else(|| size::answer(subtree, room, config.per_key_attribution)),
            })
        });
        let is_cheaper = model.price.is_some_and(|price| price.cached < price.prompt);
        let whole = shared * factors.0;
        let most = model.context_tokens.map_or(f64::INFINITY, f64::from);
        let is_excerpted = is_weighed && whole > most * FILLED;
        let work = Work {
            items: items.collect(),
            shared: if is_excerpted { most * EXCERPT } else { whole },
            is_excerpted,
            room: Room {
                output: manner.output_tokens,
                context: model.context_tokens.map(u64::from),
            },
            terms: Terms {
                pace,
                price: model.price,
                slots: config.max_num_concurrent_requests as usize,
                // Calls with pages of their own have little in common.
                caches: (has_cached || is_cheaper) && !is_excerpted,
            },
            packing: packing(config, manner),
            budget: config.budget,
        };
        let known = Known {
            calls,
            shared: whole,
            prompt_width,
            counts: factors,
            has_sizes: answers.iter().any(Option::is_some),
        };
        (work, known)
    }
}

/// Who is asked for what.
pub(super) struct Asked<'a> {
    pub(super) config: &'a Config,
    pub(super) model: &'a Model,
    pub(super) manner: &'a Manner,
    pub(super) planned: &'a Planned,
}
