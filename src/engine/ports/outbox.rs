//! Webhooks: the endpoints of users, what is to be sent to them, and who sends it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::Answered;
use crate::domain::error::Error;
use crate::domain::id::{JobId, Scope, WebhookId};
use crate::domain::job::JobView;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::domain::webhook::{DeliveryState, Notice, Secret, Topic};

/// Who took an endpoint out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledBy {
    User,
    /// It answered 410.
    Receiver,
}

impl DisabledBy {
    pub const ALL: [Self; 2] = [Self::User, Self::Receiver];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "requested",
            Self::Receiver => "gone",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// An endpoint that a user registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWebhook {
    pub id: WebhookId,
    /// One that may be sent to, as [`Sender::check`] gives it.
    pub url: String,
    pub description: Option<String>,
    /// At least one.
    pub topics: Vec<Topic>,
    pub secret: Secret,
    /// The secret of before, and until when it signs as well.
    pub old_secret: Option<(Secret, Time)>,
    /// None while it is enabled.
    pub disabled: Option<DisabledBy>,
    pub created_at: Time,
}

/// What is known of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The value of `webhook-id`.
    pub id: Uuid,
    pub job: JobId,
    /// None for the callback URL of the job.
    pub webhook: Option<WebhookId>,
    pub topic: Topic,
    pub url: String,
    pub state: DeliveryState,
    /// Tries that were made.
    pub attempts: u32,
    /// The HTTP status of the last try; none when it was not answered.
    pub last_status: Option<u16>,
    /// Why the last try was not answered.
    pub last_error: Option<String>,
    pub last_attempt_at: Option<Time>,
    /// None once it is not pending any more.
    pub next_attempt_at: Option<Time>,
}

/// Whose deliveries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Job(JobId),
    Webhook(WebhookId),
}

/// A delivery that was taken to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub job: JobId,
    pub id: Uuid,
    pub scope: Scope,
    /// Names who is sent to; see [`Notice::receiver`](crate::domain::webhook::Notice).
    pub receiver: String,
    pub url: String,
    pub body: String,
    /// Tries that were made before.
    pub attempts: u32,
    /// None for the callback URL of a job.
    pub webhook_id: Option<WebhookId>,
    /// The endpoint as it is now; none when it is gone, too.
    pub webhook: Option<StoredWebhook>,
}

/// What became of a try, or of a delivery that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub id: Uuid,
    /// As in [`Due::attempts`]: what comes late is left out.
    pub before: u32,
    pub state: DeliveryState,
    pub status: Option<u16>,
    pub error: Option<String>,
    /// Until the next try; for a delivery that stays pending.
    pub pause: Option<Duration>,
    /// The endpoint wants no more: it is disabled, with all that is pending for it.
    pub is_gone: bool,
}

/// Endpoints and deliveries. What is to be delivered is written by [`Jobs::commit`](super::Jobs)
/// in the transaction that ends a job, and goes with the log of the job. Every write is on disk
/// when its future resolves.
pub trait Outbox: Send + Sync {
    /// False, and nothing written, when the scope has `limit` endpoints.
    fn insert_webhook(
        &self,
        scope: &Scope,
        webhook: StoredWebhook,
        limit: u32,
    ) -> Answered<'_, bool>;
    fn webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, Option<StoredWebhook>>;
    /// All of the scope, the newest first.
    fn webhooks(&self, scope: &Scope) -> Answered<'_, Vec<StoredWebhook>>;
    /// Replaces all but id, secrets and creation time; false when it is not there. What is pending
    /// for an endpoint that is disabled will not be sent.
    fn update_webhook(&self, scope: &Scope, webhook: StoredWebhook) -> Answered<'_, bool>;
    /// Gives an endpoint a new secret; the one of before signs as well until then. The endpoint as
    /// it is then.
    fn rotate_secret(
        &self,
        scope: &Scope,
        id: WebhookId,
        fresh: Secret,
        old_until: Time,
    ) -> Answered<'_, Option<StoredWebhook>>;
    /// False when it is not there. What is pending for it will not be sent.
    fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, bool>;

    /// Puts one more message about a job into the outbox; false when the job is not there.
    fn post(&self, scope: &Scope, notice: Notice, job: &JobView) -> Answered<'_, bool>;

    /// Deliveries of the scope, the newest first.
    fn deliveries(
        &self,
        scope: &Scope,
        about: About,
        page: ListQuery,
    ) -> Answered<'_, ListPage<Delivery>>;

    /// Takes deliveries whose time has come, at most `limit`, for as long as `lease`; of each
    /// receiver the oldest first, and at most `each`, less as many as `busy` says that it has
    /// already.
    fn take_due(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: Vec<(String, u32)>,
    ) -> Answered<'_, Vec<Due>>;

    /// Records a try and gives the delivery back. Nothing happens when it is not pending any more,
    /// or another try was recorded meanwhile.
    fn record(&self, attempt: Attempt) -> Answered<'_, ()>;
}

/// One request that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub url: String,
    /// The headers `webhook-id`, `webhook-timestamp` (Unix time) and `webhook-signature`.
    pub id: String,
    pub seconds: i64,
    pub signatures: String,
    pub body: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The HTTP status.
    Answered(u16),
    /// No answer came, and why; safe to show.
    Unreached(String),
    /// Nothing was sent: the address is not one that may be dialled.
    Forbidden(String),
}

/// Sends webhooks to addresses of the open internet, and to no others.
pub trait Sender: Send + Sync {
    /// The URL in its usual form. Names in it are looked up when something is sent.
    ///
    /// Errors carry `callback_url_forbidden`.
    fn check(&self, url: &str) -> Result<String, Error>;
    fn send(&self, message: Message) -> BoxFuture<'_, Sent>;
}
