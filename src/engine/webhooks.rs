//! The endpoints of users, their secrets, and what became of deliveries.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::keys::{Keyring, random};
use super::ports::{About, Delivery, DisabledBy, SECRET_BYTES, StoredWebhook};
use super::{Engine, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{JobId, Scope, WebhookId};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::webhook::{Secret, Topic};

/// Endpoints of one user.
pub const MAX_WEBHOOKS: u32 = 20;
/// How long the secret of before signs as well.
const OLD_SECRET: Duration = Duration::from_hours(24);
/// Characters of a description.
const MAX_DESCRIPTION: usize = 1_000;
/// What the secret of callbacks is made from begins with this: no other use of the installation's
/// secret can be taken for it.
const PURPOSE: &str = "rivulet callback secret 1";

/// An endpoint as its user describes it.
#[derive(Debug, Clone)]
pub struct WebhookDraft {
    pub url: String,
    pub description: Option<String>,
    pub topics: Vec<Topic>,
    pub enabled: bool,
}

impl From<StoredWebhook> for WebhookDraft {
    fn from(webhook: StoredWebhook) -> Self {
        Self {
            url: webhook.url,
            description: webhook.description,
            topics: webhook.topics,
            enabled: webhook.disabled.is_none(),
        }
    }
}

impl Engine {
    /// Registers an endpoint. Its secret is minted here.
    ///
    /// Refused with `callback_url_forbidden` and `too_many_webhooks`.
    pub async fn create_webhook(
        &self,
        scope: &Scope,
        draft: WebhookDraft,
    ) -> Result<StoredWebhook, Error> {
        let draft = self.checked_webhook(draft)?;
        let webhook = StoredWebhook {
            id: WebhookId(self.inner.clock.mint()),
            url: draft.url,
            description: draft.description,
            topics: draft.topics,
            secret: fresh_secret()?,
            old_secret: None,
            disabled: (!draft.enabled).then_some(DisabledBy::User),
            created_at: self.inner.clock.now(),
        };
        let inserted = self
            .inner
            .outbox
            .insert_webhook(scope, webhook.clone(), MAX_WEBHOOKS);
        if stored(inserted.await)? {
            return Ok(webhook);
        }
        Err(Error::new(
            Code::TooManyWebhooks,
            format!(
                "You have {MAX_WEBHOOKS} webhooks, the limit. Delete one that is not needed any more."
            ),
        ))
    }

    pub async fn webhook(&self, scope: &Scope, id: WebhookId) -> Result<StoredWebhook, Error> {
        stored(self.inner.outbox.webhook(scope, id).await)?.ok_or_else(|| no_webhook(id))
    }

    /// All of the user, the newest first.
    pub async fn webhooks(&self, scope: &Scope) -> Result<Vec<StoredWebhook>, Error> {
        stored(self.inner.outbox.webhooks(scope).await)
    }

    /// Replaces what a user says of an endpoint. What is pending for one that is disabled will not
    /// be sent, nor when it is enabled again.
    pub async fn update_webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
        draft: WebhookDraft,
    ) -> Result<StoredWebhook, Error> {
        let before = self.webhook(scope, id).await?;
        // One that stays as it is may have been allowed under another setting.
        let draft = if draft.url == before.url {
            described(draft)?
        } else {
            self.checked_webhook(draft)?
        };
        let webhook = StoredWebhook {
            url: draft.url,
            description: draft.description,
            topics: draft.topics,
            disabled: (!draft.enabled).then(|| before.disabled.unwrap_or(DisabledBy::User)),
            ..before
        };
        let updated = self.inner.outbox.update_webhook(scope, webhook.clone());
        if stored(updated.await)? {
            Ok(webhook)
        } else {
            Err(no_webhook(id))
        }
    }

    /// Gives an endpoint a new secret. The one of before signs as well for 24 hours; one before
    /// that no longer does.
    pub async fn rotate_webhook(
        &self,
        scope: &Scope,
        id: WebhookId,
    ) -> Result<StoredWebhook, Error> {
        let until = self.inner.clock.now().plus(OLD_SECRET);
        let rotated = self
            .inner
            .outbox
            .rotate_secret(scope, id, fresh_secret()?, until);
        stored(rotated.await)?.ok_or_else(|| no_webhook(id))
    }

    pub async fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Result<(), Error> {
        if stored(self.inner.outbox.delete_webhook(scope, id).await)? {
            Ok(())
        } else {
            Err(no_webhook(id))
        }
    }

    /// What was sent to an endpoint, or will be, the newest first.
    pub async fn webhook_deliveries(
        &self,
        scope: &Scope,
        id: WebhookId,
        page: ListQuery,
    ) -> Result<ListPage<Delivery>, Error> {
        self.webhook(scope, id).await?;
        let about = About::Webhook(id);
        stored(self.inner.outbox.deliveries(scope, about, page).await)
    }

    /// What was told of a job, or will be, the newest first.
    pub async fn job_deliveries(
        &self,
        scope: &Scope,
        job: JobId,
        page: ListQuery,
    ) -> Result<ListPage<Delivery>, Error> {
        self.job(scope, job).await?;
        let about = About::Job(job);
        stored(self.inner.outbox.deliveries(scope, about, page).await)
    }

    /// What the callbacks of a user's jobs are signed with.
    pub async fn callback_secret(&self, scope: &Scope) -> Result<Secret, Error> {
        self.keyring().callback_secret(scope).await
    }

    /// The URL that a job's end is to be told to, in its usual form.
    ///
    /// Refused with `callback_url_forbidden`.
    pub(super) fn checked_callback(&self, url: &str) -> Result<String, Error> {
        let checked = self.inner.sender.check(url);
        checked.map_err(|error| at(error, "/callback_url"))
    }

    fn checked_webhook(&self, draft: WebhookDraft) -> Result<WebhookDraft, Error> {
        let draft = described(draft)?;
        let checked = self.inner.sender.check(&draft.url);
        Ok(WebhookDraft {
            url: checked.map_err(|error| at(error, "/url"))?,
            ..draft
        })
    }
}

impl Keyring {
    /// Worked out of the installation's secret, so that nothing is kept for users who have no
    /// callbacks.
    pub(super) async fn callback_secret(&self, scope: &Scope) -> Result<Secret, Error> {
        let secret = self.signing_secret().await?;
        // No error can be: HMAC takes a secret of any length, and gives 32 bytes.
        let mac = <Hmac<Sha256>>::new_from_slice(secret).map_err(|_| Error::internal())?;
        let mac = mac.chain_update(format!("{PURPOSE}\n{}", scope.as_str()));
        let bytes = mac.finalize().into_bytes().to_vec();
        Secret::new(bytes).map_err(|_| Error::internal())
    }
}

fn fresh_secret() -> Result<Secret, Error> {
    let bytes = random::<SECRET_BYTES>()?.to_vec();
    Secret::new(bytes).map_err(|_| Error::internal())
}

fn described(draft: WebhookDraft) -> Result<WebhookDraft, Error> {
    let invalid = |pointer: &str, message: String| {
        Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}")).at(pointer, message)
    };
    let description = draft.description.as_deref().unwrap_or_default();
    if description.chars().count() > MAX_DESCRIPTION {
        let message = format!("At most {MAX_DESCRIPTION} characters.");
        return Err(invalid("/description", message));
    }
    if draft.topics.is_empty() {
        let message = "At least one event is needed.".to_owned();
        return Err(invalid("/events", message));
    }
    Ok(draft)
}

fn at(error: Error, pointer: &str) -> Error {
    let message = error.detail.clone();
    error.at(pointer, message)
}

fn no_webhook(id: WebhookId) -> Error {
    Error::new(Code::WebhookNotFound, format!("There is no webhook {id}."))
}
