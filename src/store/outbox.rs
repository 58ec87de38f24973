//! Webhooks and deliveries, the part that is the same for every store.

use uuid::Uuid;

use super::state::unknown;
use crate::domain::id::{JobId, WebhookId};
use crate::domain::time::Time;
use crate::domain::webhook::{DeliveryState, Endpoint, Secret, Topic};
use crate::engine::ports::{Delivery, DisabledBy, StoreError, StoredWebhook};

/// What [`WebhookColumns`] are, in this order.
pub const WEBHOOK: &str = "webhooks.id, webhooks.url, webhooks.description, webhooks.topics, \
     webhooks.secret, webhooks.old_secret, webhooks.old_until_ms, webhooks.disabled, \
     webhooks.created_ms";
/// What [`DeliveryColumns`] are, in this order.
pub const DELIVERY: &str = "outbox.id, outbox.job_id, outbox.webhook_id, outbox.topic, outbox.url, \
     outbox.state, outbox.attempts, outbox.last_status, outbox.last_error, outbox.last_ms, \
     outbox.next_ms";

/// A row of `webhooks`, its scope left out.
pub struct WebhookColumns {
    pub id: Uuid,
    pub url: String,
    pub description: Option<String>,
    pub topics: String,
    pub secret: String,
    pub old_secret: Option<String>,
    pub old_until_ms: Option<i64>,
    pub disabled: Option<String>,
    pub created_ms: i64,
}

impl WebhookColumns {
    pub fn read(self) -> Result<StoredWebhook, StoreError> {
        let old = self.old_secret.as_deref().map(secret).transpose()?;
        let by = |name: &str| DisabledBy::parse(name).ok_or_else(|| unknown("reason", name));
        Ok(StoredWebhook {
            id: WebhookId(self.id),
            url: self.url,
            description: self.description,
            topics: topics(&self.topics)?,
            secret: secret(&self.secret)?,
            old_secret: old.zip(self.old_until_ms.map(Time)),
            disabled: self.disabled.as_deref().map(by).transpose()?,
            created_at: Time(self.created_ms),
        })
    }

    pub fn write(webhook: &StoredWebhook) -> Self {
        let old = webhook.old_secret.as_ref();
        Self {
            id: webhook.id.0,
            url: webhook.url.clone(),
            description: webhook.description.clone(),
            topics: names(&webhook.topics),
            secret: webhook.secret.reveal(),
            old_secret: old.map(|(secret, _)| secret.reveal()),
            old_until_ms: old.map(|(_, until)| until.0),
            disabled: webhook.disabled.map(|by| by.name().to_owned()),
            created_ms: webhook.created_at.0,
        }
    }
}

/// A row of `outbox`, without what only its sender needs.
pub struct DeliveryColumns {
    pub id: Uuid,
    pub job: Uuid,
    pub webhook: Option<Uuid>,
    pub topic: String,
    pub url: String,
    pub state: String,
    pub attempts: i64,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub last_ms: Option<i64>,
    pub next_ms: Option<i64>,
}

impl DeliveryColumns {
    pub fn read(self) -> Result<Delivery, StoreError> {
        let state = DeliveryState::parse(&self.state);
        Ok(Delivery {
            id: self.id,
            job: JobId(self.job),
            webhook: self.webhook.map(WebhookId),
            topic: topic(&self.topic)?,
            url: self.url,
            state: state.ok_or_else(|| unknown("state of a delivery", &self.state))?,
            attempts: self.attempts as u32,
            last_status: self.last_status.map(|status| status as u16),
            last_error: self.last_error,
            last_attempt_at: self.last_ms.map(Time),
            next_attempt_at: self.next_ms.map(Time),
        })
    }
}

pub fn endpoint(id: Uuid, url: String, topics: &str) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        id: WebhookId(id),
        url,
        topics: self::topics(topics)?,
    })
}

fn secret(text: &str) -> Result<Secret, StoreError> {
    let odd = |_| StoreError::Failed("a secret of a webhook cannot be read".into());
    Secret::parse(text).map_err(odd)
}

fn topic(name: &str) -> Result<Topic, StoreError> {
    Topic::parse(name).ok_or_else(|| unknown("topic", name))
}

fn topics(names: &str) -> Result<Vec<Topic>, StoreError> {
    names.split(' ').map(topic).collect()
}

fn names(topics: &[Topic]) -> String {
    let names: Vec<_> = topics.iter().map(|topic| topic.name()).collect();
    names.join(" ")
}
