//! Templates and filters: saved, and put into jobs.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::error;
use uuid::Uuid;

use super::ports::{Defined, DefinitionKind, Deleted, StoredDefinition};
use super::submit::{DocumentSource, JobRequest, SchemaSource};
use super::{Engine, stored};
use crate::domain::config::Config;
use crate::domain::document::Document;
use crate::domain::error::{Code, Error};
use crate::domain::id::{FilterId, Scope, TemplateId};
use crate::domain::operation::{Classify, Operation};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::plan::SplitterConfigs;
use crate::domain::template::{Filter, INSTRUCTIONS, Route, Template, TemplateUse};
use crate::domain::time::Time;

/// Templates of one user, and filters.
pub const MAX_DEFINITIONS: u32 = 1_000;
/// Characters of a name, and of a description.
const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 10_000;

/// A template or filter as it is saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved<T> {
    pub id: Uuid,
    pub name: String,
    pub of: T,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What can be saved under a name: a template or a filter.
pub trait Definition: Serialize + DeserializeOwned {
    const KIND: DefinitionKind;
    const MISSING: Code;

    fn description(&self) -> Option<&str>;
}

impl Definition for Template {
    const KIND: DefinitionKind = DefinitionKind::Template;
    const MISSING: Code = Code::TemplateNotFound;

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

impl Definition for Filter {
    const KIND: DefinitionKind = DefinitionKind::Filter;
    const MISSING: Code = Code::FilterNotFound;

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

impl Engine {
    /// Saves a template under a name that no other has.
    ///
    /// Refused with `invalid_request`, `invalid_config`, the codes of schemas, `name_taken` and
    /// `too_many_definitions`.
    pub async fn create_template(
        &self,
        scope: &Scope,
        name: &str,
        template: Template,
    ) -> Result<Saved<Template>, Error> {
        self.check_template(scope, &template).await?;
        self.save(scope, name, template).await
    }

    pub async fn template(&self, scope: &Scope, id: TemplateId) -> Result<Saved<Template>, Error> {
        self.saved(scope, id.0).await
    }

    pub async fn templates(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<Saved<Template>>, Error> {
        self.all_saved(scope, query).await
    }

    /// Puts another template in the place of one. Jobs that were made from it keep their copies.
    pub async fn replace_template(
        &self,
        scope: &Scope,
        id: TemplateId,
        name: &str,
        template: Template,
    ) -> Result<Saved<Template>, Error> {
        self.check_template(scope, &template).await?;
        self.replace(scope, id.0, name, template).await
    }

    pub async fn delete_template(&self, scope: &Scope, id: TemplateId) -> Result<(), Error> {
        self.delete::<Template>(scope, id.0).await
    }

    /// Saves a filter under a name that no other has. The templates that it names must be there.
    ///
    /// Refused with `invalid_request`, `template_not_found`, `name_taken` and
    /// `too_many_definitions`.
    pub async fn create_filter(
        &self,
        scope: &Scope,
        name: &str,
        filter: Filter,
    ) -> Result<Saved<Filter>, Error> {
        self.check_filter(scope, &filter).await?;
        self.save(scope, name, filter).await
    }

    pub async fn filter(&self, scope: &Scope, id: FilterId) -> Result<Saved<Filter>, Error> {
        self.saved(scope, id.0).await
    }

    pub async fn filters(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<Saved<Filter>>, Error> {
        self.all_saved(scope, query).await
    }

    pub async fn replace_filter(
        &self,
        scope: &Scope,
        id: FilterId,
        name: &str,
        filter: Filter,
    ) -> Result<Saved<Filter>, Error> {
        self.check_filter(scope, &filter).await?;
        self.replace(scope, id.0, name, filter).await
    }

    pub async fn delete_filter(&self, scope: &Scope, id: FilterId) -> Result<(), Error> {
        self.delete::<Filter>(scope, id.0).await
    }

    async fn check_template(&self, scope: &Scope, template: &Template) -> Result<(), Error> {
        check_description(template)?;
        if template.config.contains_key(INSTRUCTIONS) {
            let message = "In a template this is the member `instructions`.";
            let at = format!("/config/{INSTRUCTIONS}");
            return Err(Error::new(Code::InvalidConfig, message).at(at, message));
        }
        let config = template.applied(None);
        let config = Config::parse(config.as_ref(), self.default_model())?;
        let whole = self.embed(scope, template.schema.clone()).await?;
        let cut: SplitterConfigs = config.splitter_configs.cut;
        self.plan(&whole, cut).await.map(drop)
    }

    async fn check_filter(&self, scope: &Scope, filter: &Filter) -> Result<(), Error> {
        check_description(filter)?;
        for name in filter.templates() {
            self.named::<Template>(scope, name).await?;
        }
        Ok(())
    }

    async fn save<T: Definition>(
        &self,
        scope: &Scope,
        name: &str,
        of: T,
    ) -> Result<Saved<T>, Error> {
        let now = self.inner.clock.now();
        let saved = Saved {
            id: self.inner.clock.mint(),
            name: checked_name(name)?,
            of,
            created_at: now,
            updated_at: now,
        };
        let catalog = &self.inner.catalog;
        let inserted = catalog.insert_definition(scope, saved.to_stored()?, MAX_DEFINITIONS);
        saved.when(stored(inserted.await)?)
    }

    async fn replace<T: Definition>(
        &self,
        scope: &Scope,
        id: Uuid,
        name: &str,
        of: T,
    ) -> Result<Saved<T>, Error> {
        let before = self.saved::<T>(scope, id).await?;
        let saved = Saved {
            name: checked_name(name)?,
            of,
            updated_at: self.inner.clock.now(),
            ..before
        };
        let catalog = &self.inner.catalog;
        let replaced = catalog.replace_definition(scope, saved.to_stored()?);
        saved.when(stored(replaced.await)?)
    }

    async fn saved<T: Definition>(&self, scope: &Scope, id: Uuid) -> Result<Saved<T>, Error> {
        let found = self.inner.catalog.definition(scope, T::KIND, id).await;
        let found = stored(found)?.ok_or_else(|| missing::<T>(&id.to_string()))?;
        Saved::of_stored(found)
    }

    async fn named<T: Definition>(&self, scope: &Scope, name: &str) -> Result<Saved<T>, Error> {
        let found = self.inner.catalog.definition_named(scope, T::KIND, name);
        let found = stored(found.await)?.ok_or_else(|| missing::<T>(name))?;
        Saved::of_stored(found)
    }

    /// By its name, or by its id: no name is one.
    async fn called<T: Definition>(&self, scope: &Scope, word: &str) -> Result<Saved<T>, Error> {
        match Uuid::try_parse(word) {
            Ok(id) => self.saved(scope, id).await,
            Err(_) => self.named(scope, word).await,
        }
    }

    async fn all_saved<T: Definition>(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<Saved<T>>, Error> {
        let page = self.inner.catalog.definitions(scope, T::KIND, query).await;
        let page = stored(page)?;
        let items = page.items.into_iter().map(Saved::of_stored);
        Ok(ListPage {
            items: items.collect::<Result<_, _>>()?,
            total_count: page.total_count,
            next_cursor: page.next_cursor,
            prev_cursor: page.prev_cursor,
        })
    }

    async fn delete<T: Definition>(&self, scope: &Scope, id: Uuid) -> Result<(), Error> {
        let deleted = self
            .inner
            .catalog
            .delete_definition(scope, T::KIND, id)
            .await;
        match stored(deleted)? {
            Deleted::Missing => Err(missing::<T>(&id.to_string())),
            Deleted::Gone | Deleted::InUse => Ok(()),
        }
    }

    /// Puts what a request names of templates and filters into it, and says what that was.
    ///
    /// A filter looks at the words of the document; no model is asked.
    pub(super) async fn templated(
        &self,
        scope: &Scope,
        mut request: JobRequest,
    ) -> Result<(JobRequest, Option<TemplateUse>), Error> {
        let (word, filtered) = match &request.schema {
            SchemaSource::Template(word) => (Some(word.clone()), None),
            SchemaSource::Filter { filter, template } => {
                let filter = self.called::<Filter>(scope, filter).await?;
                let document = self.looked_at(scope, &request.document).await?;
                (template.clone(), Some((filter, document)))
            }
            _ => return Ok((request, None)),
        };
        let mut used = TemplateUse::default();
        let mut word = word;
        let mut kinds = Vec::new();
        if let Some((filter, document)) = filtered {
            let (kind, route) = filter.of.route(&document.pages);
            match route {
                Route::Template(name) => word = Some(name.clone()),
                Route::Classify => {}
                Route::Skip => word = None,
            }
            used.kind = kind.map(str::to_owned);
            used.filter = Some(filter.name);
            kinds = filter.of.kinds();
        }
        let Some(word) = word else {
            // Nothing is extracted: what there is to say is what the document was taken for.
            let categories = Classify { categories: kinds };
            request.schema = SchemaSource::Operation(Operation::Classify(categories));
            let embedded = self.inner.embedded_model();
            request.config = embedded.map(|model| json!({ "model": model }));
            return Ok((request, Some(used)));
        };
        let template = self.called::<Template>(scope, &word).await?;
        request.config = template.of.applied(request.config);
        request.schema = SchemaSource::Inline(template.of.schema);
        used.template = Some(template.name);
        Ok((request, Some(used)))
    }

    /// The document of a request that is not kept yet.
    async fn looked_at(
        &self,
        scope: &Scope,
        source: &DocumentSource,
    ) -> Result<std::sync::Arc<Document>, Error> {
        match source {
            DocumentSource::Stored(id) => {
                let document = self.document(scope, *id).await?;
                self.inner.parsed_document(&document.sha256).await
            }
            DocumentSource::Inline { bytes, .. } => {
                self.refuse_large(bytes)?;
                self.inner.read(bytes.clone()).await
            }
            DocumentSource::Records(_) => {
                let message = "Records are not told apart by a filter. Name a template.";
                Err(Error::new(Code::InvalidRequest, message).at("/filter", message))
            }
        }
    }

    /// Refuses a document that is larger than the limit.
    pub(super) fn refuse_large(&self, bytes: &Bytes) -> Result<(), Error> {
        let (size, limit) = (bytes.len(), self.inner.settings.max_document_bytes);
        if size as u64 <= limit {
            return Ok(());
        }
        let message = format!("The file has {size} bytes; the limit is {limit}.");
        Err(Error::new(Code::TooLarge, message))
    }
}

impl<T: Definition> Saved<T> {
    fn of_stored(stored: StoredDefinition) -> Result<Self, Error> {
        let of = serde_json::from_value(stored.body).map_err(|cause| {
            error!(id = %stored.id, %cause, "templates.unreadable: what is saved cannot be read");
            Error::internal()
        })?;
        Ok(Self {
            id: stored.id,
            name: stored.name,
            of,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        })
    }

    fn to_stored(&self) -> Result<StoredDefinition, Error> {
        let body = serde_json::to_value(&self.of).map_err(|cause| {
            error!(%cause, "templates.unwritable: what is to be saved cannot be written");
            Error::internal()
        })?;
        Ok(StoredDefinition {
            kind: T::KIND,
            id: self.id,
            name: self.name.clone(),
            body,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }

    fn when(self, defined: Defined) -> Result<Self, Error> {
        let noun = T::KIND.name();
        match defined {
            Defined::Stored => Ok(self),
            Defined::NameTaken => {
                let message = format!(
                    "You have a {noun} `{}` already. Choose another name, or replace that one with PUT /v1/extract/{noun}s/ID.",
                    self.name
                );
                Err(Error::new(Code::NameTaken, message.clone()).at("/name", message))
            }
            Defined::TooMany => Err(Error::new(
                Code::TooManyDefinitions,
                format!(
                    "You have {MAX_DEFINITIONS} {noun}s, the limit. Delete one that is not needed any more."
                ),
            )),
            Defined::Missing => Err(missing::<T>(&self.id.to_string())),
        }
    }
}

fn check_description(of: &impl Definition) -> Result<(), Error> {
    let length = of.description().map_or(0, |text| text.chars().count());
    if length <= MAX_DESCRIPTION {
        return Ok(());
    }
    let message = format!("At most {MAX_DESCRIPTION} characters.");
    Err(Error::new(
        Code::InvalidRequest,
        format!("At `/description`: {message}"),
    )
    .at("/description", message))
}

fn checked_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    if fits && Uuid::try_parse(name).is_err() && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    let message = format!(
        "Expected a name of 1 to {MAX_NAME} characters, none of them a control character, and not a UUID."
    );
    Err(Error::new(Code::InvalidRequest, format!("At `/name`: {message}")).at("/name", message))
}

fn missing<T: Definition>(word: &str) -> Error {
    let noun = T::KIND.name();
    let shown: String = word.chars().take(80).collect();
    Error::new(
        T::MISSING,
        format!(
            "There is no {noun} `{shown}`. GET /v1/extract/{noun}s lists them; create it first with POST /v1/extract/{noun}s."
        ),
    )
}
