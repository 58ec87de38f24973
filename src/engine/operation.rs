//! Operations beside extraction: one file each says what it does without a model, what a model is
//! asked for, and what becomes of its answer.
//!
//! Each is a job with one subtree, whose value has the form of `schemas/api/operation_*.json`.
//! With a model it is asked for as any schema is; only the value that becomes the outcome is put
//! together from the answer, by code that checks it against the document.

mod classify;
mod direct;
mod generate_schema;
mod parse;
mod split;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::{Run, millis};
use super::journal::{Halt, Journal};
use super::metrics::label;
use super::plans::Planned;
use super::ports::CallError;
use super::run::patiently;
use super::settle::raw;
use super::{Engine, Inner, SchemaSource, sha256_hex};
use crate::domain::config::Config;
use crate::domain::document::{Document, DocumentInput};
use crate::domain::error::{Code, Error, Fault};
use crate::domain::evidence::{
    Attribution, Attributions, Claim, Index, Logprobs, Match, Quote, prove,
};
use crate::domain::id::Scope;
use crate::domain::job::{Draft, Ending, ErrorDraft, JobSpec, ResultDraft, Warning};
use crate::domain::operation::Operation;
use crate::domain::outline::Outline;
use crate::domain::plan::{Kind, Plan, Subtree, Take};
use crate::domain::pointer::Pointer;
use crate::domain::usage::Usage;

/// An operation that was asked for, and what of the config changes nothing in it.
pub(super) struct Wish {
    pub(super) operation: Operation,
    pub(super) unused: Vec<Warning>,
}

impl Engine {
    /// What is asked for, with all that it needs to be kept with its job. Sets what is the same
    /// for all jobs of the operation: they prove what they say themselves.
    ///
    /// Refused with `document_not_found`, `document_without_text` and `invalid_config`.
    pub(super) async fn wish(
        &self,
        scope: &Scope,
        source: &SchemaSource,
        config: &mut Config,
    ) -> Result<Wish, Error> {
        let SchemaSource::Operation(operation) = source else {
            return Ok(Wish {
                operation: Operation::Extract,
                unused: Vec::new(),
            });
        };
        let mut operation = operation.clone();
        let mut unused = Vec::new();
        let mut leave = |field: &str, why: &str| {
            if config.given.iter().any(|given| given == field) {
                unused.push(Warning {
                    field: field.to_owned(),
                    message: format!("{why}; `{field}` changes nothing."),
                });
            }
        };
        if config.per_key_attribution {
            leave(
                "per_key_attribution",
                "The answer names its evidence itself",
            );
            config.per_key_attribution = false;
        }
        if matches!(operation, Operation::Parse(_))
            && let Some(embedded) = self.inner.embedded_model()
            && embedded != config.model
        {
            leave("model", "`parse` asks no model");
            config.model = embedded;
        }
        if let Operation::GenerateSchema(asked) = &mut operation
            && !asked.documents.is_empty()
        {
            only_text(config)?;
            for further in &mut asked.documents {
                let document = self.document(scope, further.document_id).await?;
                if !document.kind.has_text() {
                    let message = format!(
                        "Document {} has no text. A schema of several documents is made from their text; send it alone.",
                        document.id
                    );
                    return Err(Error::new(Code::DocumentWithoutText, message));
                }
                further.sha256 = document.sha256;
            }
        }
        Ok(Wish { operation, unused })
    }
}

/// Several documents go to a model as text only.
fn only_text(config: &mut Config) -> Result<(), Error> {
    let form = config.document_input;
    if !matches!(form, DocumentInput::Auto | DocumentInput::Text) {
        let message = format!(
            "Several documents go to a model as text: `{}` is not allowed here; expected `auto` or `text`.",
            form.name()
        );
        return Err(
            Error::new(Code::InvalidConfig, message.clone()).at("/config/document_input", message)
        );
    }
    config.document_input = DocumentInput::Text;
    Ok(())
}

/// What a model is asked for. `parse` asks none.
fn question(operation: &Operation) -> Value {
    let mut schema = match operation {
        Operation::Extract | Operation::Parse(_) => json!({"type": "object"}),
        Operation::Classify(asked) => classify::question(asked),
        Operation::Split(asked) => split::question(asked),
        Operation::GenerateSchema(_) => generate_schema::question(),
    };
    // No schema of a user's has the same plan.
    schema["$comment"] = json!(format!("operation {}", operation.name()));
    schema
}

/// The plan of an operation: one subtree, the whole.
pub(super) fn planned(inner: &Inner, operation: &Operation) -> Arc<Planned> {
    let schema = question(operation);
    let key = sha256_hex(format!("operation {schema}").as_bytes());
    let keep = || {
        let subtree = Subtree {
            id: operation.name().to_owned(),
            path: Pointer::root(),
            kind: Kind::Object,
            take: Take::Whole,
            schema,
            total_fields: 1,
            context: Vec::new(),
        };
        let plan = Plan {
            subtrees: vec![Arc::new(subtree)],
            shells: Vec::new(),
            bound: None,
        };
        inner.plans.keep(key.clone(), plan)
    };
    inner.plans.get(&key).unwrap_or_else(keep)
}

/// Does an operation that needs no model, or whose model is the embedded one. `None`: a model is
/// to be asked.
///
/// `pending`: the subtrees without an outcome.
pub(super) async fn settle_here(
    engine: &Arc<Inner>,
    spec: &JobSpec,
    pending: &[usize],
    journal: &Journal,
) -> Result<Option<Ending>, Halt> {
    if !engine.is_done_here(spec) {
        return Ok(None);
    }
    if pending.is_empty() {
        return Ok(Some(Ending::Settled));
    }
    // As before a call: the job may have been cancelled since the store gave it to us.
    journal.flush().await?;
    let started = Instant::now();
    let documents = match patiently(engine, || engine.documents_of(spec)).await? {
        Ok(documents) => documents,
        Err(error) => {
            let (fault, message) = (Fault::DocumentUnreadable, error.detail);
            return Ok(Some(Ending::Failed { fault, message }));
        }
    };
    let (inner, operation) = (Arc::clone(engine), spec.operation.clone());
    let done = tokio::task::spawn_blocking(move || done(&inner, &operation, &documents)).await;
    let value = done.unwrap_or_else(|_| {
        Err(failed(
            Fault::Internal,
            "The server failed on this document.",
        ))
    });
    let duration_ms = millis(started.elapsed());
    let usage = Usage {
        provider: engine
            .served(&spec.config.model)
            .map(|(model, _)| model.provider)
            .unwrap_or_default(),
        model: spec.config.model.clone(),
        latency_ms: duration_ms,
        cost_usd: Some(0.0),
        ..Usage::default()
    };
    journal.push(outcome(engine, spec, value, usage)).await?;
    Ok(Some(Ending::Settled))
}

fn done(
    inner: &Inner,
    operation: &Operation,
    documents: &[Arc<Document>],
) -> Result<Value, CallError> {
    let Some(document) = documents.first() else {
        return Err(failed(Fault::Internal, "The job has no document."));
    };
    match operation {
        Operation::Parse(asked) => {
            let outline = inner.outline(document).unwrap_or_default();
            Ok(parse::parsed(document, *asked, &outline.tables))
        }
        Operation::Classify(asked) => Ok(classify::likely(document, asked)),
        Operation::Split(asked) => Ok(split::evident(document, asked)),
        Operation::GenerateSchema(_) => {
            let outlines = documents.iter();
            let outlines = outlines.filter_map(|document| inner.outline(document));
            generate_schema::shown(&outlines.collect::<Vec<_>>())
        }
        Operation::Extract => Err(failed(Fault::Internal, "Nothing was to be done here.")),
    }
}

fn outcome(engine: &Inner, spec: &JobSpec, value: Result<Value, CallError>, usage: Usage) -> Draft {
    let written = value.and_then(|value| {
        raw(&value).map_err(|_| failed(Fault::Internal, "The value could not be written as JSON."))
    });
    let outcomes = &engine.metrics.subtrees;
    let name = if written.is_ok() { "result" } else { "error" };
    outcomes.get_or_create(&label("outcome", name)).inc();
    let subtree_id = spec.operation.name().to_owned();
    let duration_ms = usage.latency_ms;
    match written {
        Ok(extracted_result) => Draft::Result(ResultDraft {
            ordinal: 0,
            subtree_id,
            path: Pointer::root(),
            record: None,
            fields: 1,
            extracted_result,
            attributions: None,
            usage,
            attempts: 1,
            duration_ms,
            validation: None,
            completeness: None,
            array_path: None,
            answer: None,
        }),
        Err(error) => Draft::Error(ErrorDraft {
            ordinal: 0,
            subtree_id,
            path: Pointer::root(),
            record: None,
            fields: 1,
            fault: error.fault,
            message: error.message,
            usage,
            attempts: 1,
            duration_ms,
        }),
    }
}

impl Run {
    /// What becomes of a checked answer: the value itself, or that of the operation.
    pub(super) async fn finished(
        &self,
        value: Value,
        logprobs: Logprobs,
    ) -> Result<Value, CallError> {
        if self.spec.operation.is_extract() {
            return Ok(value);
        }
        let (spec, document) = (Arc::clone(&self.spec), Arc::clone(&self.document));
        let was_shown_whole = !self.work.is_excerpted;
        let finish = move || match &spec.operation {
            Operation::Classify(asked) => {
                Ok(classify::answered(&value, &document, asked, &logprobs))
            }
            Operation::Split(asked) if was_shown_whole => split::answered(&value, &document, asked),
            Operation::Split(_) => Err(failed(
                Fault::ValidationFailed,
                "The document is longer than what the model can be shown at once, so it cannot say where every page belongs. Split it with the model `layout`.",
            )),
            Operation::GenerateSchema(_) => generate_schema::answered(&value),
            Operation::Extract | Operation::Parse(_) => Ok(value),
        };
        let finished = tokio::task::spawn_blocking(finish).await;
        finished
            .unwrap_or_else(|_| Err(failed(Fault::Internal, "The server failed on this answer.")))
    }
}

impl Inner {
    /// The model that is asked nothing over a wire.
    pub(super) fn embedded_model(&self) -> Option<String> {
        let models = self.models().into_iter().map(|model| model.id);
        models.into_iter().find(|model| self.is_embedded(model))
    }

    fn is_embedded(&self, model: &str) -> bool {
        let served = self.served(model);
        served.is_some_and(|(_, provider)| provider.manner(model).version.is_none())
    }

    fn is_done_here(&self, spec: &JobSpec) -> bool {
        match &spec.operation {
            Operation::Extract => false,
            Operation::Parse(_) => true,
            _ => self.is_embedded(&spec.config.model),
        }
    }

    fn outline(&self, document: &Document) -> Option<Outline> {
        let mut providers = self.providers.iter();
        providers.find_map(|provider| provider.outline(document))
    }

    /// The document that a job is about; of several, the pages of all of them.
    pub(super) async fn document_of(&self, spec: &JobSpec) -> Result<Arc<Document>, Error> {
        let documents = self.documents_of(spec).await?;
        match documents.as_slice() {
            [one] => Ok(Arc::clone(one)),
            several => Ok(Arc::new(joined(several))),
        }
    }

    async fn documents_of(&self, spec: &JobSpec) -> Result<Vec<Arc<Document>>, Error> {
        let mut documents = vec![self.parsed_document(&spec.document_sha256).await?];
        if let Operation::GenerateSchema(asked) = &spec.operation {
            for further in &asked.documents {
                documents.push(self.parsed_document(&further.sha256).await?);
            }
        }
        Ok(documents)
    }
}

fn joined(documents: &[Arc<Document>]) -> Document {
    let mut all = Document {
        kind: documents
            .first()
            .map_or(crate::domain::document::Kind::Text, |first| first.kind),
        sha256: String::new(),
        pages: Vec::new(),
        unread: Vec::new(),
    };
    for document in documents {
        let before = all.pages.len() as u32;
        let pages = document.pages.iter().cloned().enumerate();
        all.pages.extend(pages.map(|(at, mut page)| {
            page.number = before + at as u32 + 1;
            page
        }));
        all.unread
            .extend(document.unread.iter().map(|number| before + number));
        all.sha256.push_str(&document.sha256);
    }
    all.sha256 = sha256_hex(all.sha256.as_bytes());
    all
}

/// Those of the texts that stand in the document, each with its page.
fn found_on_pages(document: &Document, texts: &[&str]) -> Vec<(String, u32)> {
    let value = json!(texts);
    let quote = |text: &&str| Attribution {
        quotes: vec![Quote {
            text: (*text).to_owned(),
            page: None,
            bbox: None,
            start: None,
            end: None,
            verified: false,
            matched: Match::None,
        }],
        ..Attribution::default()
    };
    let attributions = texts.iter().enumerate();
    let attributions: Attributions = attributions
        .map(|(at, text)| (format!("/{at}"), quote(text)))
        .collect();
    let claim = Claim {
        schema: &json!({"type": "array", "items": {"type": "string"}}),
        value: &value,
        attributions,
        invalid: &[],
        signals: &std::collections::BTreeMap::default(),
    };
    let proved = prove(document, &Index::new(document), claim);
    let quotes = (0..texts.len()).filter_map(|at| {
        let quotes = &proved.get(&format!("/{at}"))?.quotes;
        let quote = quotes.iter().find(|quote| quote.matched != Match::None)?;
        Some((quote.text.clone(), quote.page?))
    });
    quotes.collect()
}

fn failed(fault: Fault, message: &str) -> CallError {
    CallError {
        fault,
        message: message.to_owned(),
        retry_after_ms: None,
    }
}
