//! Documents that a model is given as they are, and not as the words that were read from them.

use std::sync::Arc;

use super::Inner;
use super::call::Run;
use super::journal::Halt;
use super::ports::{Attachment, Model, StoredDocument};
use super::run::patiently;
use crate::domain::attachment::{Measure, Taken, choose};
use crate::domain::document::{Document, DocumentInput};
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
        let form = self.spec.config.document_input;
        if matches!(form, DocumentInput::Auto | DocumentInput::Text) {
            return Ok(Ok(()));
        }
        let attached = patiently(&self.engine, || self.engine.attached(&self.document)).await?;
        Ok(match attached {
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
    async fn attached(&self, document: &Document) -> Result<Arc<[Attachment]>, Error> {
        let bytes = self.document_bytes(&document.sha256).await?;
        let whole = Attachment {
            media_type: document.kind.media_type(),
            bytes,
            pages: document.pages.len() as u32,
        };
        Ok([whole].into())
    }
}
