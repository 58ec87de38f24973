//! Webhooks: endpoints of a user, and what became of deliveries.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DeletedBody, list_body, refuse_others, wrong};
use crate::domain::error::Error;
use crate::domain::event::BASE;
use crate::domain::id::{JobId, WebhookId};
use crate::domain::time::Time;
use crate::domain::webhook::Topic;
use crate::engine::ports::{Delivery, DisabledBy, StoredWebhook};
use crate::engine::{Engine, WebhookDraft};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, resource};

/// Bytes of a body.
const MAX_BODY: usize = 64 << 10;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/webhooks",
            [on(Method::POST, create), on(Method::GET, list)],
        ))
        .service(resource(
            "/webhooks/callback-secret",
            [on(Method::GET, callback_secret)],
        ))
        .service(resource(
            "/webhooks/{id}",
            [
                on(Method::GET, show),
                on(Method::PUT, update),
                on(Method::DELETE, delete),
            ],
        ))
        .service(resource(
            "/webhooks/{id}/rotate",
            [on(Method::POST, rotate)],
        ))
        .service(resource(
            "/webhooks/{id}/deliveries",
            [on(Method::GET, deliveries)],
        ))
        .service(resource("/jobs/{id}/deliveries", [on(Method::GET, of_job)]));
}

const MEMBERS: [&str; 4] = ["url", "description", "events", "enabled"];

/// The members of a body that were sent.
struct WebhookRequest {
    url: Option<String>,
    /// Null is a value here: it takes the description away.
    description: Option<Value>,
    topics: Option<Vec<Topic>>,
    enabled: Option<bool>,
}

impl TryFrom<Value> for WebhookRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        refuse_others(&members, &MEMBERS)?;
        Ok(Self {
            url: match sent(&mut members, "url") {
                None => None,
                Some(Value::String(url)) => Some(url),
                Some(_) => return Err(wrong("/url", "Expected text.")),
            },
            description: match members.shift_remove("description") {
                Some(value) if !(value.is_null() || value.is_string()) => {
                    return Err(wrong("/description", "Expected text or null."));
                }
                sent => sent,
            },
            topics: sent(&mut members, "events").map(topics).transpose()?,
            enabled: match sent(&mut members, "enabled") {
                None => None,
                Some(Value::Bool(enabled)) => Some(enabled),
                Some(_) => return Err(wrong("/enabled", "Expected true or false.")),
            },
        })
    }
}

impl WebhookRequest {
    fn create(self) -> Result<WebhookDraft, Error> {
        Ok(WebhookDraft {
            url: self
                .url
                .ok_or_else(|| wrong("/url", "A webhook needs a URL."))?,
            description: self.description.as_ref().and_then(text_of),
            topics: self.topics.unwrap_or_else(|| Topic::ALL.to_vec()),
            enabled: self.enabled.unwrap_or(true),
        })
    }

    /// What was not sent stays as it is.
    fn update(self, before: StoredWebhook) -> WebhookDraft {
        let before = WebhookDraft::from(before);
        WebhookDraft {
            url: self.url.unwrap_or(before.url),
            description: match &self.description {
                Some(sent) => text_of(sent),
                None => before.description,
            },
            topics: self.topics.unwrap_or(before.topics),
            enabled: self.enabled.unwrap_or(before.enabled),
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn sent(members: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let member = members.shift_remove(name);
    member.filter(|value| !value.is_null())
}

/// Events by name, each once, in their usual order.
fn topics(value: Value) -> Result<Vec<Topic>, Error> {
    let expected = || {
        let known = Topic::ALL.map(Topic::name).join(", ");
        wrong("/events", &format!("Expected an array of: {known}."))
    };
    let names = value.as_array().ok_or_else(expected)?;
    let topics = names
        .iter()
        .map(|name| name.as_str().and_then(Topic::parse));
    let sent = topics.collect::<Option<Vec<_>>>().ok_or_else(expected)?;
    let mut all = Topic::ALL.to_vec();
    all.retain(|topic| sent.contains(topic));
    Ok(all)
}

#[derive(Serialize)]
struct WebhookBody<'a> {
    webhook_id: WebhookId,
    url: &'a str,
    description: Option<&'a str>,
    events: Vec<&'static str>,
    enabled: bool,
    disabled_reason: Option<&'static str>,
    old_secret_expires_at: Option<Time>,
    created_at: Time,
    /// Shown once: at the creation and at a rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl<'a> WebhookBody<'a> {
    fn of(webhook: &'a StoredWebhook) -> Self {
        Self {
            webhook_id: webhook.id,
            url: &webhook.url,
            description: webhook.description.as_deref(),
            events: webhook.topics.iter().map(|topic| topic.name()).collect(),
            enabled: webhook.disabled.is_none(),
            disabled_reason: webhook.disabled.map(DisabledBy::name),
            old_secret_expires_at: webhook.old_secret.as_ref().map(|(_, until)| *until),
            created_at: webhook.created_at,
            secret: None,
        }
    }

    fn with_secret(webhook: &'a StoredWebhook) -> Self {
        Self {
            secret: Some(webhook.secret.reveal()),
            ..Self::of(webhook)
        }
    }
}

#[derive(Serialize)]
struct DeliveryBody<'a> {
    delivery_id: uuid::Uuid,
    job_id: JobId,
    webhook_id: Option<WebhookId>,
    event: &'static str,
    url: &'a str,
    state: &'static str,
    attempts: u32,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    last_attempt_at: Option<Time>,
    next_attempt_at: Option<Time>,
}

impl<'a> From<&'a Delivery> for DeliveryBody<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            delivery_id: delivery.id,
            job_id: delivery.job,
            webhook_id: delivery.webhook,
            event: delivery.topic.name(),
            url: &delivery.url,
            state: delivery.state.name(),
            attempts: delivery.attempts,
            last_status: delivery.last_status,
            last_error: delivery.last_error.as_deref(),
            last_attempt_at: delivery.last_attempt_at,
            next_attempt_at: delivery.next_attempt_at,
        }
    }
}

async fn create(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let draft = WebhookRequest::try_from(body)?.create()?;
    let webhook = engine.create_webhook(&caller.0, draft).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("{BASE}/webhooks/{}", webhook.id)))
        .json(WebhookBody::with_secret(&webhook)))
}

async fn list(engine: web::Data<Engine>, caller: Caller) -> Result<HttpResponse, Problem> {
    let webhooks = engine.webhooks(&caller.0).await?;
    let bodies: Vec<_> = webhooks.iter().map(WebhookBody::of).collect();
    Ok(HttpResponse::Ok().json(json!({
        "total_count": bodies.len(),
        "webhooks": bodies,
    })))
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let webhook = engine.webhook(&caller.0, WebhookId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(WebhookBody::of(&webhook)))
}

async fn update(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = WebhookId::parse(&id)?;
    let body = body::json(&request, payload, MAX_BODY).await?;
    let before = engine.webhook(&caller.0, id).await?;
    let draft = WebhookRequest::try_from(body)?.update(before);
    let webhook = engine.update_webhook(&caller.0, id, draft).await?;
    Ok(HttpResponse::Ok().json(WebhookBody::of(&webhook)))
}

async fn rotate(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = WebhookId::parse(&id)?;
    let webhook = engine.rotate_webhook(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(WebhookBody::with_secret(&webhook)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = WebhookId::parse(&id)?;
    engine.delete_webhook(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}

async fn deliveries(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = WebhookId::parse(&id)?;
    let query = Parameters::of(&request)?.list()?;
    let page = engine.webhook_deliveries(&caller.0, id, query).await?;
    Ok(HttpResponse::Ok().json(list_body("deliveries", &page, DeliveryBody::from)))
}

async fn of_job(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let query = Parameters::of(&request)?.list()?;
    let page = engine.job_deliveries(&caller.0, id, query).await?;
    Ok(HttpResponse::Ok().json(list_body("deliveries", &page, DeliveryBody::from)))
}

async fn callback_secret(
    engine: web::Data<Engine>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let secret = engine.callback_secret(&caller.0).await?;
    Ok(HttpResponse::Ok().json(json!({ "secret": secret.reveal() })))
}
