//! Webhooks and deliveries on the disk.

use std::time::Duration;

use rivulet::domain::id::{JobId, Scope, WebhookId};
use rivulet::domain::job::JobView;
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::domain::time::Time;
use rivulet::domain::webhook::{DeliveryState, Endpoint, Notice, Secret, notices};
use rivulet::engine::ports::{
    About, Answered, Attempt, Delivery, DisabledBy, Due, Outbox, StoredWebhook,
};

use super::lists::page;
use super::memory::Memory;
use super::shelf::Shelf;

/// A delivery as it lies on the disk.
#[derive(Clone)]
pub struct Parcel {
    scope: Scope,
    receiver: String,
    body: String,
    delivery: Delivery,
    leased_until: Option<Time>,
}

impl Memory {
    /// What is to be told of a job that has just ended.
    pub fn post(&mut self, scope: &Scope, view: &JobView) {
        let endpoints = self
            .webhooks
            .iter()
            .filter(|((of, _), webhook)| of == scope.as_str() && webhook.disabled.is_none());
        let endpoints = endpoints.map(|(_, webhook)| Endpoint {
            id: webhook.id,
            url: webhook.url.clone(),
            topics: webhook.topics.clone(),
        });
        for notice in notices(scope, view, &endpoints.collect::<Vec<_>>()) {
            self.put(scope, view, notice);
        }
    }

    fn put(&mut self, scope: &Scope, view: &JobView, notice: Notice) {
        let delivery = Delivery {
            id: notice.id,
            job: view.id,
            webhook: notice.webhook,
            topic: notice.topic,
            url: notice.url,
            state: DeliveryState::Pending,
            attempts: 0,
            last_status: None,
            last_error: None,
            last_attempt_at: None,
            next_attempt_at: Some(view.updated_at),
        };
        let parcel = Parcel {
            scope: scope.clone(),
            receiver: notice.receiver,
            body: notice.body,
            delivery,
            leased_until: None,
        };
        self.outbox.insert(notice.id, parcel);
    }

    pub fn forget_parcels(&mut self, job: JobId) {
        self.outbox.retain(|_, parcel| parcel.delivery.job != job);
    }

    pub fn clear_parcels(&mut self) {
        for parcel in self.outbox.values_mut() {
            parcel.leased_until = None;
        }
    }

    fn abandon(&mut self, scope: &Scope, id: WebhookId) {
        for parcel in self.outbox.values_mut() {
            let delivery = &mut parcel.delivery;
            let is_pending = delivery.state == DeliveryState::Pending;
            if parcel.scope == *scope && delivery.webhook == Some(id) && is_pending {
                delivery.state = DeliveryState::Disabled;
                delivery.next_attempt_at = None;
                parcel.leased_until = None;
            }
        }
    }

    fn take_due(
        &mut self,
        now: Time,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: &[(String, u32)],
    ) -> Vec<Due> {
        let mut waiting: Vec<_> = self
            .outbox
            .values()
            .filter(|parcel| {
                let is_due = parcel
                    .delivery
                    .next_attempt_at
                    .is_some_and(|next| next <= now);
                is_due && parcel.leased_until.is_none_or(|until| until < now)
            })
            .collect();
        waiting.sort_by_key(|parcel| (parcel.delivery.next_attempt_at, parcel.delivery.id));
        let mut turns: std::collections::HashMap<&str, u32> =
            busy.iter().map(|(name, count)| (&**name, *count)).collect();
        let mut next: Vec<_> = waiting
            .into_iter()
            .filter_map(|parcel| {
                let turn = turns.entry(&parcel.receiver).or_default();
                *turn += 1;
                (*turn <= each).then_some((
                    *turn,
                    parcel.delivery.next_attempt_at,
                    parcel.delivery.id,
                ))
            })
            .collect();
        next.sort_unstable();
        next.truncate(limit as usize);
        let mut taken = Vec::new();
        for (_, _, id) in next {
            let parcel = self.outbox.get_mut(&id).unwrap();
            parcel.leased_until = Some(now.plus(lease));
            let delivery = &parcel.delivery;
            let key = delivery
                .webhook
                .map(|id| (parcel.scope.as_str().to_owned(), id));
            taken.push(Due {
                id,
                job: delivery.job,
                scope: parcel.scope.clone(),
                receiver: parcel.receiver.clone(),
                url: delivery.url.clone(),
                body: parcel.body.clone(),
                attempts: delivery.attempts,
                webhook_id: delivery.webhook,
                webhook: key.and_then(|key| self.webhooks.get(&key).cloned()),
            });
        }
        taken
    }

    fn record(&mut self, attempt: Attempt, now: Time) {
        let Some(parcel) = self.outbox.get_mut(&attempt.id) else {
            return;
        };
        let delivery = &mut parcel.delivery;
        if delivery.attempts != attempt.before || delivery.state != DeliveryState::Pending {
            return;
        }
        if attempt.status.is_some() || attempt.error.is_some() {
            delivery.attempts += 1;
            delivery.last_attempt_at = Some(now);
        }
        delivery.state = attempt.state;
        delivery.last_status = attempt.status;
        delivery.last_error = attempt.error;
        delivery.next_attempt_at = attempt.pause.map(|pause| now.plus(pause));
        parcel.leased_until = None;
        if let Some(id) = delivery.webhook.filter(|_| attempt.is_gone) {
            let scope = parcel.scope.clone();
            if let Some(webhook) = self.webhooks.get_mut(&(scope.as_str().to_owned(), id)) {
                webhook.disabled.get_or_insert(DisabledBy::Receiver);
            }
            self.abandon(&scope, id);
        }
    }
}

impl Outbox for Shelf {
    fn insert_webhook(
        &self,
        scope: &Scope,
        webhook: StoredWebhook,
        limit: u32,
    ) -> Answered<'_, bool> {
        self.done(|disk| {
            let own = disk.webhooks.keys().filter(|(of, _)| of == scope.as_str());
            let has_room = own.count() < limit as usize;
            if has_room {
                let key = (scope.as_str().to_owned(), webhook.id);
                disk.webhooks.insert(key, webhook);
            }
            has_room
        })
    }

    fn webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, Option<StoredWebhook>> {
        self.done(|disk| disk.webhooks.get(&(scope.as_str().to_owned(), id)).cloned())
    }

    fn webhooks(&self, scope: &Scope) -> Answered<'_, Vec<StoredWebhook>> {
        self.done(|disk| {
            let all = disk.webhooks.iter().rev();
            let own = all.filter(|((of, _), _)| of == scope.as_str());
            own.map(|(_, webhook)| webhook.clone()).collect()
        })
    }

    fn update_webhook(&self, scope: &Scope, webhook: StoredWebhook) -> Answered<'_, bool> {
        self.done(|disk| {
            let key = (scope.as_str().to_owned(), webhook.id);
            let Some(kept) = disk.webhooks.get_mut(&key) else {
                return false;
            };
            *kept = StoredWebhook {
                secret: kept.secret.clone(),
                old_secret: kept.old_secret.clone(),
                created_at: kept.created_at,
                ..webhook
            };
            if kept.disabled.is_some() {
                disk.abandon(scope, key.1);
            }
            true
        })
    }

    fn rotate_secret(
        &self,
        scope: &Scope,
        id: WebhookId,
        fresh: Secret,
        old_until: Time,
    ) -> Answered<'_, Option<StoredWebhook>> {
        self.done(|disk| {
            let webhook = disk.webhooks.get_mut(&(scope.as_str().to_owned(), id))?;
            let old = std::mem::replace(&mut webhook.secret, fresh);
            webhook.old_secret = Some((old, old_until));
            Some(webhook.clone())
        })
    }

    fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, bool> {
        self.done(|disk| {
            disk.abandon(scope, id);
            disk.webhooks
                .remove(&(scope.as_str().to_owned(), id))
                .is_some()
        })
    }

    fn post(&self, scope: &Scope, notice: Notice, job: &JobView) -> Answered<'_, bool> {
        let job = job.clone();
        self.done(|disk| {
            let row = disk.jobs.get(&job.id);
            let is_there = row.is_some_and(|row| row.scope == *scope);
            if is_there {
                disk.put(scope, &job, notice);
            }
            is_there
        })
    }

    fn deliveries(
        &self,
        scope: &Scope,
        about: About,
        query: ListQuery,
    ) -> Answered<'_, ListPage<Delivery>> {
        self.done(|disk| {
            let own = disk.outbox.values().filter(|parcel| {
                let is_meant = match about {
                    About::Job(job) => parcel.delivery.job == job,
                    About::Webhook(id) => parcel.delivery.webhook == Some(id),
                };
                is_meant && parcel.scope == *scope
            });
            let all = own.map(|parcel| parcel.delivery.clone()).collect();
            page(all, |delivery: &Delivery| delivery.id, &query)
        })
    }

    fn take_due(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: Vec<(String, u32)>,
    ) -> Answered<'_, Vec<Due>> {
        let now = self.clock.now();
        self.done(|disk| disk.take_due(now, lease, limit, each, &busy))
    }

    fn record(&self, attempt: Attempt) -> Answered<'_, ()> {
        let now = self.clock.now();
        self.done(|disk| disk.record(attempt, now))
    }
}
