//! A request becomes a job: everything is checked before the job exists.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::batch::Records;
use super::keys::Principal;
use super::plans::Planned;
use super::ports::{Created, Model, NewJob, StoredDocument};
use super::{Engine, attach, operation, stored};
use crate::domain::config::Config;
use crate::domain::error::{Code, Error};
use crate::domain::id::{DocumentId, IdempotencyKey, JobId, SchemaId, Scope};
use crate::domain::job::{Asked, JobSpec, JobView, Warning};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Operation, Parse};
use crate::domain::own_key::OwnKey;
use crate::domain::record::Batch;
use crate::domain::webhook::Secret;

/// Where the document of a job comes from.
#[derive(Debug, Clone)]
pub enum DocumentSource {
    Stored(DocumentId),
    /// Came with the request; kept like an upload.
    Inline {
        name: String,
        bytes: Bytes,
    },
    /// Many of them: the job is a batch.
    Records(Records),
}

/// Where the schema of a job comes from.
#[derive(Debug, Clone)]
pub enum SchemaSource {
    Stored(SchemaId),
    Inline(Value),
    /// None is needed: the document is not extracted.
    Operation(Operation),
    /// Of the template of this name or id, with its instructions and settings.
    Template(String),
    /// Of the template that a filter chooses by what the document is.
    Filter {
        /// Its name or id.
        filter: String,
        /// Where the filter leaves it to the request.
        template: Option<String>,
    },
}

/// What a client asks for, read but not yet checked.
#[derive(Debug, Clone)]
pub struct JobRequest {
    pub document: DocumentSource,
    pub schema: SchemaSource,
    pub config: Option<Value>,
    /// Where the end of the job is to be told.
    pub callback_url: Option<String>,
    /// What that is signed with; none: with the secret that is the user's.
    pub callback_secret: Option<Secret>,
    pub metadata: Metadata,
    /// The wire dialect of the request; none for the native one.
    pub dialect: Option<String>,
    /// The endpoint of the request, where its dialect has several.
    pub endpoint: Option<String>,
    /// What the dialect keeps with the job.
    pub asked: Option<Asked>,
}

/// What a job may have beside its request.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// How the document's text is cut into chunks, for [`Engine::parsed`].
    pub chunks: Option<Parse>,
    /// A key to the model's provider, for this job only.
    pub own_key: Option<OwnKey>,
    /// Whether what its callback is told is worded by its dialect, see [`Engine::word_callbacks`].
    pub has_own_callback: bool,
}

/// Refuses what a job over many records cannot have. A gate looks at one result: what of many is to
/// be looked at, it does not say.
fn refuse_of_batch(request: &JobRequest, config: &Config) -> Result<(), Error> {
    if !matches!(request.document, DocumentSource::Records(_)) {
        return Ok(());
    }
    if config.review.is_some() {
        let message = "A job over many records has no review. Start a job for each record that is to be looked at, or leave `review` out.";
        return Err(Error::new(Code::InvalidConfig, message).at("/config/review", message));
    }
    if let SchemaSource::Operation(operation) = &request.schema
        && !operation.is_extract()
    {
        let message = "Records are only extracted from. Send the document itself to do anything else with it.";
        return Err(Error::new(Code::InvalidRequest, message).at("/operation", message));
    }
    Ok(())
}

/// What a new job is known by, beside its id, and what it has beside its request.
#[derive(Default)]
pub(super) struct Name {
    pub(super) request_hash: Option<String>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) extras: Extras,
}

impl Engine {
    /// Checks a request, stores it as a job with its first event, and lets a worker know.
    ///
    /// Refused with the codes of the document, schema and config, `callback_url_forbidden` and
    /// `too_many_jobs`.
    pub async fn submit(&self, caller: &Principal, request: JobRequest) -> Result<JobView, Error> {
        let submitted = self.begin(caller, request, Name::default()).await?;
        // Nobody else uses the name that there is not.
        submitted.ok_or_else(Error::internal)
    }

    /// [`Engine::submit`] under a name; `None` when its key was taken a moment ago.
    pub(super) async fn begin(
        &self,
        caller: &Principal,
        request: JobRequest,
        name: Name,
    ) -> Result<Option<JobView>, Error> {
        let (inner, scope) = (&self.inner, &caller.scope);
        inner.refuse_new_work()?;
        let (request, template) = self.templated(scope, request).await?;
        let mut config = Config::parse(request.config.as_ref(), &inner.settings.default_model)?;
        refuse_of_batch(&request, &config)?;
        let callback_url = request.callback_url.as_deref();
        let callback_url = callback_url.map(|url| self.checked_callback(url));
        let callback_url = callback_url.transpose()?;
        let wish = self.wish(scope, &request.schema, &mut config).await?;
        let own_key = name.extras.own_key;
        let (model, provider) = self.served_under(&config.model, own_key.as_ref())?;
        let (schema_id, schema_name, planned) =
            self.planned(scope, request.schema, &config).await?;
        let is_inline = !matches!(request.document, DocumentSource::Stored(_));
        let (document, batch) = self.source(scope, request.document, &planned).await?;
        match attach::form(config.document_input, &document, &model) {
            Ok(form) => config.document_input = form,
            Err(refused) => {
                self.forget(scope, document.id, is_inline).await;
                return Err(refused);
            }
        }
        let forecast = match batch {
            None => {
                let served = (&model, &provider);
                self.forecast(&config, &planned, &document.sha256, served)
                    .await
            }
            // What the records hold is not known before they are read.
            Some(_) => Ok(None),
        };
        let spec = |forecast| JobSpec {
            document_id: document.id,
            document_name: document.name.clone(),
            document_sha256: document.sha256.clone(),
            schema_id,
            schema_name: schema_name.or_else(|| template.as_ref()?.template.clone()),
            plan: planned.key.clone(),
            warnings: [wish.unused, warnings(&config, &model)].concat(),
            prompt_version: provider.manner(&config.model).version,
            config,
            forecast,
            request_hash: name.request_hash,
            callback_url,
            callback_secret: request.callback_secret,
            metadata: request.metadata,
            dialect: request.dialect,
            endpoint: request.endpoint,
            asked: request.asked,
            batch,
            operation: wish.operation,
            chunks: name.extras.chunks,
            has_own_key: own_key.is_some(),
            has_own_callback: name.extras.has_own_callback,
            template,
        };
        let created = match forecast {
            Ok(forecast) => {
                let spec = spec(forecast);
                self.create(caller, (spec, own_key), name.key, &planned, &document)
                    .await
            }
            Err(refused) => Err(refused),
        };
        if !matches!(created, Ok(Some(_))) {
            self.forget(scope, document.id, is_inline).await;
        }
        created
    }

    /// The document of a job, kept if it came with the request; of many records what they are.
    async fn source(
        &self,
        scope: &Scope,
        source: DocumentSource,
        planned: &Planned,
    ) -> Result<(StoredDocument, Option<Batch>), Error> {
        match source {
            DocumentSource::Stored(id) => Ok((self.document(scope, id).await?, None)),
            DocumentSource::Inline { name, bytes } => {
                Ok((self.upload(scope, &name, bytes).await?.document, None))
            }
            DocumentSource::Records(records) => {
                let (document, batch) = self.keep_records(scope, records, planned).await?;
                Ok((document, Some(batch)))
            }
        }
    }

    /// Deletes a document that came with a request of which no job was made: nobody knows of it.
    /// Where it cannot be deleted it only takes up room.
    async fn forget(&self, scope: &Scope, document: DocumentId, is_inline: bool) {
        if is_inline {
            let _ = self.delete_document(scope, document).await;
        }
    }

    async fn create(
        &self,
        caller: &Principal,
        (spec, own_key): (JobSpec, Option<OwnKey>),
        key: Option<IdempotencyKey>,
        planned: &Planned,
        document: &StoredDocument,
    ) -> Result<Option<JobView>, Error> {
        let inner = &self.inner;
        let subtrees: Vec<_> = planned
            .plan
            .subtrees
            .iter()
            .map(|subtree| subtree.as_ref().into())
            .collect();
        let (id, now) = (JobId(inner.clock.mint()), inner.clock.now());
        let (view, start) = JobView::open(id, spec, &subtrees, now);
        let new = NewJob {
            scope: caller.scope.clone(),
            view: view.clone(),
            start,
            active_limit: inner.active_limit(caller),
            queue_limit: inner.settings.max_queued_jobs,
            plan: Arc::clone(&planned.plan),
            key,
        };
        // Before the job can be claimed.
        let has_own_key = own_key.is_some();
        if let Some(own_key) = own_key {
            inner
                .own_keys
                .hold((id, view.run), &caller.scope, own_key)?;
        }
        let created = stored(inner.jobs.create(new).await);
        if has_own_key && !matches!(created, Ok(Created::Stored)) {
            inner.own_keys.drop_of(&view);
        }
        match created? {
            Created::Stored => {
                inner.metrics.jobs_created.inc();
                inner.work.notify_one();
                Ok(Some(view))
            }
            Created::KeyTaken => Ok(None),
            Created::TooManyActive => Err(inner.too_many_active(caller)),
            Created::QueueFull => Err(inner.queue_full()),
            Created::DocumentGone => Err(Error::new(
                Code::DocumentNotFound,
                format!("Document {} was deleted a moment ago.", document.id),
            )),
        }
    }

    pub(super) async fn planned(
        &self,
        scope: &Scope,
        source: SchemaSource,
        config: &Config,
    ) -> Result<(Option<SchemaId>, Option<String>, Arc<Planned>), Error> {
        let (id, name, definition) = match source {
            SchemaSource::Stored(id) => {
                let schema = self.schema(scope, id).await?;
                (Some(id), Some(schema.name), schema.definition)
            }
            SchemaSource::Inline(definition) => (None, None, definition),
            SchemaSource::Operation(asked) => {
                return Ok((None, None, operation::planned(&self.inner, &asked)));
            }
            // Resolved before the config is read, which they have a say in.
            SchemaSource::Template(_) | SchemaSource::Filter { .. } => {
                return Err(Error::internal());
            }
        };
        let definition = self.embed(scope, definition).await?;
        let planned = self
            .inner
            .plans
            .of(&definition, config.splitter_configs.cut)
            .await?;
        Ok((id, name, planned))
    }
}

/// What the request named and the model cannot honour. Asking for what is so anyway is no fault.
fn warnings(config: &Config, model: &Model) -> Vec<Warning> {
    let asks = |field: &str| match field {
        "enable_thinking" => config.enable_thinking,
        "use_explicit_context_cache" => config.use_explicit_context_cache,
        "enable_agentic_array_extraction" => config.enable_agentic_array_extraction,
        _ => true,
    };
    config
        .given
        .iter()
        .filter(|field| model.ignores.contains(field) && asks(field))
        .map(|field| Warning {
            field: field.clone(),
            message: format!(
                "The model `{}` does not take `{field}`; it changes nothing.",
                model.id
            ),
        })
        .collect()
}
