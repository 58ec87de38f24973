//! What a request would come to, and whether its budget takes that.

use std::sync::Arc;

use super::array::{Arrays, Calls, Look, offload};
use super::plans::Planned;
use super::ports::{Call, Manner, Model, Provider};
use super::rates::{Asked, Known};
use super::submit::{DocumentSource, SchemaSource};
use super::{Engine, Inner};
use crate::domain::config::Config;
use crate::domain::cost::size;
use crate::domain::document::{Document, Kind};
use crate::domain::error::{Code, Error};
use crate::domain::explain::{Change, Explained, Forecast};
use crate::domain::id::Scope;
use crate::domain::pack::{Packed, Work};

/// What is to be explained, read but not yet checked.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// Without one the estimate leaves the document out.
    pub document: Option<DocumentSource>,
    pub schema: SchemaSource,
    pub config: Option<serde_json::Value>,
}

/// Changes of one plan that are told.
const MAX_CHANGES: usize = 500;

impl Engine {
    /// The calls that a job would make, and what they may come to. Nothing is stored or sent.
    ///
    /// Refused as the job would be, `budget_too_small` included.
    pub async fn explain(&self, scope: &Scope, request: PlanRequest) -> Result<Explained, Error> {
        let inner = &self.inner;
        let config = Config::parse(request.config.as_ref(), &inner.settings.default_model)?;
        let (model, provider) = self.served(&config.model)?;
        let (_, _, planned) = self.planned(scope, request.schema, &config).await?;
        let document = match request.document {
            // What records hold is not known before they are read.
            None | Some(DocumentSource::Records(_)) => None,
            Some(DocumentSource::Stored(id)) => {
                let stored = self.document(scope, id).await?;
                Some(inner.parsed_document(&stored.sha256).await?)
            }
            Some(DocumentSource::Inline { bytes, .. }) => Some(inner.read(bytes).await?),
        };
        let manner = provider.manner(&config.model);
        let asked = Asked {
            config: &config,
            model: &model,
            manner: &manner,
            planned: &planned,
        };
        let pending: Vec<usize> = (0..planned.plan.subtrees.len()).collect();
        let (work, known) = inner.work(&asked, document.as_ref(), &pending).await;
        if is_weighed(&manner) {
            afford(&work, &model)?;
        }
        let packed = inner.packed(&work, &asked, document.as_ref(), &known).await;
        let lowered = lowered(&provider, &config, &planned, &packed);
        let forecast = forecast(&work, &packed, &known, document.as_deref()).lowering(&lowered);
        let explained = Explained::of(
            &config.model,
            &planned.plan,
            &work.items,
            &packed,
            forecast,
            config.budget,
        );
        Ok(Explained {
            lowered,
            ..explained
        })
    }

    /// What a job may come to. None where answers cost no tokens, and where nothing of it can be
    /// known; refused where its budget does not take it.
    pub(super) async fn forecast(
        &self,
        config: &Config,
        planned: &Planned,
        document_sha256: &str,
        (model, provider): (&Model, &Arc<dyn Provider>),
    ) -> Result<Option<Forecast>, Error> {
        let inner = &self.inner;
        let manner = provider.manner(&config.model);
        if !is_weighed(&manner) {
            return Ok(None);
        }
        let document = match inner.parsed_document(document_sha256).await {
            Ok(document) => document,
            Err(error) if config.budget.is_set() => return Err(error),
            // The job will say so.
            Err(_) => return Ok(None),
        };
        let asked = Asked {
            config,
            model,
            manner: &manner,
            planned,
        };
        let pending: Vec<usize> = (0..planned.plan.subtrees.len()).collect();
        let (work, known) = inner.work(&asked, Some(&document), &pending).await;
        afford(&work, model)?;
        let packed = inner.packed(&work, &asked, Some(&document), &known).await;
        let lowered = lowered(provider, config, planned, &packed);
        let forecast = forecast(&work, &packed, &known, Some(&document));
        Ok(Some(forecast.lowering(&lowered)))
    }

    pub(super) fn served(&self, name: &str) -> Result<(Model, Arc<dyn Provider>), Error> {
        self.inner
            .served(name)
            .ok_or_else(|| self.inner.no_model(name))
    }
}

impl Inner {
    pub(super) fn no_model(&self, name: &str) -> Error {
        let models = self.models();
        let known: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
        let message = format!(
            "`{name}` is not a model of this server. Models are: {}.",
            known.join(", ")
        );
        Error::new(Code::ModelNotFound, message.clone()).at("/config/model", message)
    }
}

fn is_weighed(manner: &Manner) -> bool {
    manner.output_tokens.is_some()
}

fn forecast(work: &Work, packed: &Packed, known: &Known, document: Option<&Document>) -> Forecast {
    let document_tokens = document.map_or(0.0, |_| known.shared - size::shared(0));
    Forecast {
        packing: work.packing.aim,
        pages: document.map_or(0, |document| document.pages.len() as u64),
        document_tokens: document_tokens.max(0.0).round(),
        is_excerpted: work.is_excerpted,
        calls_learned_from: known.calls,
        sizes_learned: known.has_sizes,
        lowered: Vec::new(),
        estimate: packed.estimate(&work.terms, known.prompt_width).rounded(),
    }
}

/// Refuses what the budget does not take even if every answer says that nothing is there.
fn afford(work: &Work, model: &Model) -> Result<(), Error> {
    let budget = &work.budget;
    if !budget.is_set() {
        return Ok(());
    }
    if budget.max_cost.is_some() && model.price.is_none() {
        let message = format!(
            "The price of `{}` is not known, so no cost can be kept to. Set it in the server's table of models, or use `max_tokens`.",
            model.id
        );
        return Err(
            Error::new(Code::InvalidConfig, message.clone()).at("/config/max_cost", message)
        );
    }
    let floor = work.floor();
    let refuse = |name: &str, floor: String, most: String| {
        let message = format!(
            "`{name}` is {most}, and the job needs at least {floor}. Raise it, ask for fewer fields, or send a shorter document."
        );
        Err(Error::new(Code::BudgetTooSmall, message.clone())
            .at(format!("/config/{name}"), message))
    };
    let tokens = floor.tokens().ceil();
    if let Some(most) = budget.max_tokens.filter(|most| (*most as f64) < tokens) {
        return refuse(
            "max_tokens",
            format!("{tokens} tokens"),
            format!("{most} tokens"),
        );
    }
    let cost = floor.cost.unwrap_or(0.0);
    if let Some(most) = budget.max_cost.filter(|most| *most < cost) {
        let (floor, most) = (
            format!("{cost:.6} US dollars"),
            format!("{most} US dollars"),
        );
        return refuse("max_cost", floor, most);
    }
    if let Some(most) = budget.max_seconds.filter(|most| *most < floor.seconds) {
        let (floor, most) = (
            format!("{:.1} seconds", floor.seconds),
            format!("{most} seconds"),
        );
        return refuse("max_seconds", floor, most);
    }
    Ok(())
}

impl Inner {
    /// The calls of a job: those that subtrees share, and those for each long array.
    async fn packed(
        &self,
        work: &Work,
        asked: &Asked<'_>,
        document: Option<&Arc<Document>>,
        known: &Known,
    ) -> Packed {
        let Some(document) = document else {
            return work.pack();
        };
        let look = Look {
            config: asked.config,
            output_tokens: asked.manner.output_tokens,
            work,
        };
        let pending: Vec<usize> = work.items.iter().map(|item| item.index).collect();
        let arrays = Arrays::of(&look, document, asked.planned, &pending).await;
        let rows = |index| self.rates.rows(asked.config, asked.planned, index);
        let items = work.items.iter();
        let short = items.filter(|item| !arrays.is_long(item.index));
        let mut short = Work {
            items: short.copied().collect(),
            ..work.clone()
        };
        arrays.size(short.items.iter_mut(), rows);
        short.terms.slots = arrays.slots_left(short.terms.slots);
        let mut packed = short.pack();
        for array in arrays.long() {
            let (index, terms, counts) = (array.index, work.terms, known.counts);
            let (array, rows) = (Arc::clone(array), rows(index));
            let mut items = work.items.iter().filter(|item| item.index == index);
            let whole = items.next().map(|item| item.answer).unwrap_or_default();
            // What each of its calls shows is written out to be counted.
            let calls = offload(document, move || array.calls(&terms, counts, whole, rows));
            let Calls { likely, doubtful } = calls.await.unwrap_or_default();
            packed.loads.extend(vec![vec![index]; likely.len()]);
            packed.weights.extend(likely);
            packed.doubtful.extend(doubtful);
        }
        packed
    }
}

/// What each call would ask for otherwise than the schema says.
fn lowered(
    provider: &Arc<dyn Provider>,
    config: &Config,
    planned: &Planned,
    packed: &Packed,
) -> Vec<Change> {
    // What is lowered is the schema: no document is needed for it.
    let nothing = Arc::new(Document {
        kind: Kind::Text,
        sha256: String::new(),
        pages: Vec::new(),
        unread: Vec::new(),
    });
    let mut changes = Vec::new();
    // The windows of an array ask for the same.
    let mut loads = packed.loads.clone();
    loads.dedup();
    for load in &loads {
        let call = Call {
            model: config.model.clone(),
            document: Arc::clone(&nothing),
            attachments: Arc::new([]),
            plan: Arc::clone(&planned.plan),
            plan_key: planned.key.clone(),
            subtrees: load.clone(),
            additional_instructions: None,
            temperature: None,
            seed: None,
            enable_thinking: config.enable_thinking,
            per_key_attribution: config.per_key_attribution,
            use_explicit_context_cache: false,
            corrections: Vec::new(),
            keeps_rows: false,
        };
        changes.extend(provider.lowered(&call));
    }
    let told = changes.into_iter().take(MAX_CHANGES);
    told.filter_map(|change| {
        let subtree = planned.plan.subtrees.get(change.subtree)?;
        Some(Change {
            subtree_id: subtree.id.clone(),
            pointer: change.pointer,
            what: change.what,
        })
    })
    .collect()
}
