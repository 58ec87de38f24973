//! Documents that a model is given as they are, and not as the words that were read from them.

use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use super::call::Run;
use super::journal::Halt;
use super::ports::{Attachment, Model, StoredDocument};
use super::run::patiently;
use crate::domain::attachment::{Limits, Measure, Taken, choose};
use crate::domain::document::{Document, DocumentInput, Kind};
use crate::domain::error::{Error, Fault};

/// The form in which the model is given the document.
pub(super) fn form(
    wish: DocumentInput,
    document: &StoredDocument,
    model: &Model,
) -> Result<DocumentInput, Error> {
    let measure = Measure {
        kind: document.kind,
        bytes: document.size,
        pages: document.page_count,
    };
    let taken = Taken {
        model: &model.id,
        inputs: &model.document_inputs,
        limits: model.attachment_limits,
    };
    choose(wish, measure, &taken)
}

impl Run {
    /// Reads what is sent in place of the words, once for all calls.
    pub(super) async fn attach(&self) -> Result<Result<(), (Fault, String)>, Halt> {
        let config = &self.spec.config;
        let model = self.provider.model(&config.model);
        let limits = model.and_then(|model| model.attachment_limits);
        let (form, limits) = match (config.document_input, limits) {
            (DocumentInput::Auto | DocumentInput::Text, _) => return Ok(Ok(())),
            (form, Some(limits)) => (form, limits),
            (form, None) => {
                let message = format!(
                    "The model `{}` no longer takes documents as `{}`.",
                    config.model,
                    form.name()
                );
                return Ok(Err((Fault::ProviderError, message)));
            }
        };
        let read = || self.engine.attached(&self.document, form, limits);
        Ok(match patiently(&self.engine, read).await? {
            Ok(attachments) => {
                // Nobody else sets it.
                let _ = self.attachments.set(attachments);
                Ok(())
            }
            Err(error) => Err((Fault::DocumentUnreadable, error.detail)),
        })
    }

    pub(super) fn attachments(&self) -> Arc<[Attachment]> {
        self.attachments.get().cloned().unwrap_or_default()
    }
}

impl Inner {
    async fn attached(
        &self,
        document: &Document,
        form: DocumentInput,
        limits: Limits,
    ) -> Result<Arc<[Attachment]>, Error> {
        let bytes = self.document_bytes(&document.sha256).await?;
        if form == DocumentInput::Pages && !document.kind.is_picture() {
            return self.drawn(bytes, limits).await;
        }
        let whole = Attachment {
            media_type: document.kind.media_type(),
            bytes,
            pages: document.pages.len() as u32,
        };
        Ok([whole].into())
    }

    async fn drawn(&self, pdf: Bytes, limits: Limits) -> Result<Arc<[Attachment]>, Error> {
        let pictures = self
            .on_reader(&self.drawing, move |reader| reader.pictures(&pdf, &limits))
            .await?;
        let page = |bytes| Attachment {
            media_type: Kind::Png.media_type(),
            bytes,
            pages: 1,
        };
        Ok(pictures.into_iter().map(page).collect())
    }
}
