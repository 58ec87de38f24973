//! `Outbox` in PostgreSQL.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{FutureExt as _, try_join};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::connection::Param;
use super::page::Listing;
use super::rows::storable;
use crate::domain::id::{JobId, Scope, WebhookId};
use crate::domain::job::JobView;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::domain::webhook::{Endpoint, Notice, Secret, notices};
use crate::engine::ports::{
    About, Answered, Attempt, Delivery, Due, Outbox, StoreError, StoredWebhook,
};
use crate::store::outbox::{DELIVERY, DeliveryColumns, WEBHOOK, WebhookColumns, endpoint};

/// Who wants to hear of the ends of these jobs.
pub(super) const ENDPOINTS: &str = "SELECT scope, id, url, topics FROM webhooks \
     WHERE disabled IS NULL AND scope IN (SELECT scope FROM jobs WHERE id = ANY($1))";
pub(super) const POST: &str = "INSERT INTO outbox (id, scope, job_id, webhook_id, receiver, \
     topic, url, body, next_ms, state) SELECT *, 'pending' FROM unnest($1::uuid[], $2::text[], \
     $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[])";
/// To the callback URL of a job, as long as the job is there.
const POST_ONE: &str = "INSERT INTO outbox (id, scope, job_id, receiver, topic, url, body, \
     next_ms, state) SELECT $1::uuid, scope, id, $4::text, $5::text, $6::text, $7::text, \
     $8::bigint, 'pending' FROM jobs WHERE scope = $2 AND id = $3";
pub(super) const SWEEP: &str = "DELETE FROM outbox WHERE job_id = $1";

/// Two that come at once wait for each other here: else both would find room for one.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))";
const INSERT: &str = "INSERT INTO webhooks (scope, id, url, description, topics, secret, \
     old_secret, old_until_ms, disabled, created_ms) \
     SELECT $1, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::text, \
     $10::bigint WHERE (SELECT count(*) FROM webhooks WHERE scope = $1) < $11 RETURNING id";
const UPDATE: &str = "WITH changed AS ( \
     UPDATE webhooks SET url = $3, description = $4, topics = $5, disabled = $6 \
     WHERE scope = $1 AND id = $2 RETURNING id, disabled), \
     abandoned AS ( \
     UPDATE outbox SET state = 'disabled', next_ms = NULL, lease_ms = NULL FROM changed \
     WHERE changed.disabled IS NOT NULL AND outbox.webhook_id = changed.id \
     AND outbox.scope = $1 AND outbox.state = 'pending') \
     SELECT id FROM changed";
const DELETE: &str = "WITH gone AS ( \
     DELETE FROM webhooks WHERE scope = $1 AND id = $2 RETURNING id), \
     abandoned AS ( \
     UPDATE outbox SET state = 'disabled', next_ms = NULL, lease_ms = NULL FROM gone \
     WHERE outbox.webhook_id = gone.id AND outbox.scope = $1 AND outbox.state = 'pending') \
     SELECT id FROM gone";

/// The receivers that something is pending for are found one after the other in the index; each
/// gives the oldest of what is due and not taken, as much as there is room for. Whoever has the
/// least under way goes first.
const TAKE: &str = "WITH RECURSIVE waiting AS ( \
     (SELECT receiver FROM outbox WHERE state = 'pending' ORDER BY receiver LIMIT 1) \
     UNION ALL \
     SELECT (SELECT outbox.receiver FROM outbox WHERE state = 'pending' \
     AND outbox.receiver > waiting.receiver ORDER BY outbox.receiver LIMIT 1) \
     FROM waiting WHERE waiting.receiver IS NOT NULL), \
     room AS ( \
     SELECT waiting.receiver, coalesce(busy.count, 0) AS has FROM waiting \
     LEFT JOIN unnest($5::text[], $6::bigint[]) AS busy (receiver, count) \
     ON busy.receiver = waiting.receiver \
     WHERE waiting.receiver IS NOT NULL AND coalesce(busy.count, 0) < $4), \
     next AS ( \
     SELECT first.id, room.has + first.turn AS turn, first.next_ms \
     FROM room CROSS JOIN LATERAL ( \
     SELECT id, next_ms, row_number() OVER (ORDER BY next_ms, id) AS turn FROM ( \
     SELECT id, next_ms FROM outbox WHERE state = 'pending' \
     AND outbox.receiver = room.receiver AND next_ms <= (SELECT coalesce($1::bigint, clock_ms())) \
     AND (lease_ms IS NULL OR lease_ms < (SELECT coalesce($1::bigint, clock_ms()))) \
     ORDER BY next_ms, id LIMIT $4 - room.has) AS due) AS first \
     ORDER BY turn, first.next_ms, first.id LIMIT $3), \
     free AS ( \
     SELECT outbox.id, next.turn, next.next_ms FROM next JOIN outbox USING (id) \
     WHERE outbox.state = 'pending' \
     AND (outbox.lease_ms IS NULL OR outbox.lease_ms < (SELECT coalesce($1::bigint, clock_ms()))) \
     FOR NO KEY UPDATE OF outbox SKIP LOCKED), \
     taken AS ( \
     UPDATE outbox SET lease_ms = coalesce($1::bigint, clock_ms()) + $2 FROM free \
     WHERE outbox.id = free.id RETURNING outbox.*, free.turn)";
/// The second part only when the receiver wants no more.
const RECORD: &str = "WITH tried AS ( \
     UPDATE outbox SET state = $3, attempts = attempts + $4, last_status = $5, last_error = $6, \
     last_ms = CASE WHEN $4::bigint = 1 THEN coalesce($7::bigint, clock_ms()) ELSE last_ms END, \
     next_ms = coalesce($7::bigint, clock_ms()) + $8::bigint, lease_ms = NULL \
     WHERE id = $1 AND attempts = $2 AND state = 'pending' RETURNING webhook_id, scope), \
     gone AS ( \
     UPDATE webhooks SET disabled = 'gone' FROM tried \
     WHERE $9 AND webhooks.scope = tried.scope AND webhooks.id = tried.webhook_id \
     AND webhooks.disabled IS NULL) \
     UPDATE outbox SET state = 'disabled', next_ms = NULL, lease_ms = NULL FROM tried \
     WHERE $9 AND outbox.webhook_id = tried.webhook_id AND outbox.scope = tried.scope \
     AND outbox.id <> $1 AND outbox.state = 'pending'";

/// Those who want to hear of the ends of a group's jobs, by scope.
pub(super) type Endpoints = HashMap<String, Vec<Endpoint>>;

pub(super) fn endpoints(rows: &[Row]) -> Result<Endpoints, StoreError> {
    let mut found = Endpoints::new();
    for row in rows {
        let one = endpoint(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)?;
        found.entry(row.try_get(0)?).or_default().push(one);
    }
    Ok(found)
}

/// What a group of commits puts into the outbox, by column.
#[derive(Default)]
pub(super) struct New {
    ids: Vec<Uuid>,
    scopes: Vec<String>,
    jobs: Vec<Uuid>,
    webhooks: Vec<Option<Uuid>>,
    receivers: Vec<String>,
    topics: Vec<&'static str>,
    urls: Vec<String>,
    bodies: Vec<String>,
    times: Vec<i64>,
}

impl New {
    /// What is to be told of a job that has just ended.
    pub(super) fn add(&mut self, scope: &Scope, view: &JobView, endpoints: &Endpoints) {
        let endpoints = endpoints.get(scope.as_str());
        let endpoints = endpoints.map_or(&[][..], Vec::as_slice);
        for notice in notices(scope, view, endpoints) {
            self.ids.push(notice.id);
            self.scopes.push(scope.as_str().to_owned());
            self.jobs.push(view.id.0);
            self.webhooks.push(notice.webhook.map(|id| id.0));
            self.receivers.push(notice.receiver);
            self.topics.push(notice.topic.name());
            self.urls.push(notice.url);
            self.bodies.push(notice.body);
            self.times.push(view.updated_at.0);
        }
    }

    pub(super) fn take(&mut self, more: Self) {
        self.ids.extend(more.ids);
        self.scopes.extend(more.scopes);
        self.jobs.extend(more.jobs);
        self.webhooks.extend(more.webhooks);
        self.receivers.extend(more.receivers);
        self.topics.extend(more.topics);
        self.urls.extend(more.urls);
        self.bodies.extend(more.bodies);
        self.times.extend(more.times);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Of [`POST`].
    pub(super) fn columns(&self) -> [Param<'_>; 9] {
        [
            &self.ids,
            &self.scopes,
            &self.jobs,
            &self.webhooks,
            &self.receivers,
            &self.topics,
            &self.urls,
            &self.bodies,
            &self.times,
        ]
    }
}

impl Outbox for Postgres {
    fn insert_webhook(
        &self,
        scope: &Scope,
        webhook: StoredWebhook,
        limit: u32,
    ) -> Answered<'_, bool> {
        let scope = scope.clone();
        async move { self.add_webhook(&scope, &webhook, limit).await }.boxed()
    }

    fn webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, Option<StoredWebhook>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {WEBHOOK} FROM webhooks WHERE scope = $1 AND id = $2");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str(), &id.0]).await?;
            rows.first().map(|row| webhook(row, 0)).transpose()
        }
        .boxed()
    }

    fn webhooks(&self, scope: &Scope) -> Answered<'_, Vec<StoredWebhook>> {
        let scope = scope.clone();
        async move {
            let sql = format!("SELECT {WEBHOOK} FROM webhooks WHERE scope = $1 ORDER BY id DESC");
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &[&scope.as_str()]).await?;
            rows.iter().map(|row| webhook(row, 0)).collect()
        }
        .boxed()
    }

    fn update_webhook(&self, scope: &Scope, webhook: StoredWebhook) -> Answered<'_, bool> {
        let scope = scope.clone();
        async move {
            let columns = WebhookColumns::write(&webhook);
            let params: [Param; 6] = [
                &scope.as_str(),
                &columns.id,
                &columns.url,
                &columns.description.as_deref().map(storable),
                &columns.topics,
                &columns.disabled,
            ];
            let connection = self.pool.connection().await?;
            Ok(!connection.query(UPDATE, &params).await?.is_empty())
        }
        .boxed()
    }

    fn rotate_secret(
        &self,
        scope: &Scope,
        id: WebhookId,
        fresh: Secret,
        old_until: Time,
    ) -> Answered<'_, Option<StoredWebhook>> {
        let scope = scope.clone();
        async move {
            let sql = format!(
                "UPDATE webhooks SET old_secret = secret, old_until_ms = $4, secret = $3 \
                 WHERE scope = $1 AND id = $2 RETURNING {WEBHOOK}"
            );
            let params: [Param; 4] = [&scope.as_str(), &id.0, &fresh.reveal(), &old_until.0];
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &params).await?;
            rows.first().map(|row| webhook(row, 0)).transpose()
        }
        .boxed()
    }

    fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, bool> {
        let scope = scope.clone();
        async move {
            let connection = self.pool.connection().await?;
            let gone = connection.query(DELETE, &[&scope.as_str(), &id.0]).await?;
            Ok(!gone.is_empty())
        }
        .boxed()
    }

    fn post(&self, scope: &Scope, notice: Notice, job: &JobView) -> Answered<'_, bool> {
        let (scope, id, due) = (scope.clone(), job.id.0, job.updated_at.0);
        async move {
            let params: [Param; 8] = [
                &notice.id,
                &scope.as_str(),
                &id,
                &notice.receiver,
                &notice.topic.name(),
                &notice.url,
                &notice.body,
                &due,
            ];
            let connection = self.pool.connection().await?;
            Ok(connection.execute(POST_ONE, &params).await? > 0)
        }
        .boxed()
    }

    fn deliveries(
        &self,
        scope: &Scope,
        about: About,
        page: ListQuery,
    ) -> Answered<'_, ListPage<Delivery>> {
        let scope = scope.clone();
        async move {
            let (matching, id) = match about {
                About::Job(id) => ("outbox.scope = $1 AND outbox.job_id = $2", id.0),
                About::Webhook(id) => ("outbox.scope = $1 AND outbox.webhook_id = $2", id.0),
            };
            Listing {
                columns: DELIVERY,
                from: "outbox",
                matching,
                params: &[&scope.as_str(), &id],
                id: "outbox.id",
                id_of: |delivery: &Delivery| delivery.id,
                read: delivery,
            }
            .page(&self.pool, &page)
            .await
        }
        .boxed()
    }

    fn take_due(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: Vec<(String, u32)>,
    ) -> Answered<'_, Vec<Due>> {
        async move {
            let sql = format!(
                "{TAKE} SELECT {WEBHOOK}, outbox.id, outbox.scope, outbox.receiver, outbox.url, \
                 outbox.body, outbox.attempts, outbox.webhook_id, outbox.job_id FROM taken AS outbox LEFT JOIN webhooks \
                 ON webhooks.scope = outbox.scope AND webhooks.id = outbox.webhook_id \
                 ORDER BY outbox.turn, outbox.next_ms, outbox.id"
            );
            let (names, counts): (Vec<_>, Vec<_>) = busy
                .into_iter()
                .map(|(receiver, count)| (receiver, i64::from(count)))
                .unzip();
            let (now, lease) = (self.terms.now(), lease.as_millis() as i64);
            let (limit, each) = (i64::from(limit), i64::from(each));
            let params: [Param; 6] = [&now, &lease, &limit, &each, &names, &counts];
            let connection = self.pool.connection().await?;
            let rows = connection.query(&sql, &params).await?;
            rows.iter().map(due).collect()
        }
        .boxed()
    }

    fn record(&self, attempt: Attempt) -> Answered<'_, ()> {
        async move {
            let was_tried = attempt.status.is_some() || attempt.error.is_some();
            let params: [Param; 9] = [
                &attempt.id,
                &i64::from(attempt.before),
                &attempt.state.name(),
                &i64::from(was_tried),
                &attempt.status.map(i64::from),
                &attempt.error,
                &self.terms.now(),
                &attempt.pause.map(|pause| pause.as_millis() as i64),
                &attempt.is_gone,
            ];
            let connection = self.pool.connection().await?;
            connection.execute(RECORD, &params).await?;
            Ok(())
        }
        .boxed()
    }
}

impl Postgres {
    async fn add_webhook(
        &self,
        scope: &Scope,
        webhook: &StoredWebhook,
        limit: u32,
    ) -> Result<bool, StoreError> {
        let columns = WebhookColumns::write(webhook);
        let (scope, limit) = (scope.as_str(), i64::from(limit));
        let description = columns.description.as_deref().map(storable);
        let params: [Param; 11] = [
            &scope,
            &columns.id,
            &columns.url,
            &description,
            &columns.topics,
            &columns.secret,
            &columns.old_secret,
            &columns.old_until_ms,
            &columns.disabled,
            &columns.created_ms,
            &limit,
        ];
        let whose: [Param; 1] = [&scope];
        let connection = self.pool.connection().await?;
        let lock = connection.statement(LOCK).await?;
        let insert = connection.statement(INSERT).await?;
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN"),
                connection.send(&lock, &whose),
                connection.send(&insert, &params),
                connection.commit(),
            )?)
        };
        let ((), _, inserted, ()) = connection.within(answers).await?;
        connection.settle();
        Ok(!inserted.is_empty())
    }
}

fn webhook(row: &Row, at: usize) -> Result<StoredWebhook, StoreError> {
    WebhookColumns {
        id: row.try_get(at)?,
        url: row.try_get(at + 1)?,
        description: row.try_get(at + 2)?,
        topics: row.try_get(at + 3)?,
        secret: row.try_get(at + 4)?,
        old_secret: row.try_get(at + 5)?,
        old_until_ms: row.try_get(at + 6)?,
        disabled: row.try_get(at + 7)?,
        created_ms: row.try_get(at + 8)?,
    }
    .read()
}

fn due(row: &Row) -> Result<Due, StoreError> {
    let has_webhook = row.try_get::<_, Option<Uuid>>(0)?.is_some();
    Ok(Due {
        webhook: has_webhook.then(|| webhook(row, 0)).transpose()?,
        id: row.try_get(9)?,
        scope: Scope::new(row.try_get::<_, String>(10)?),
        receiver: row.try_get(11)?,
        url: row.try_get(12)?,
        body: row.try_get(13)?,
        attempts: row.try_get::<_, i64>(14)? as u32,
        webhook_id: row.try_get::<_, Option<Uuid>>(15)?.map(WebhookId),
        job: JobId(row.try_get(16)?),
    })
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    DeliveryColumns {
        id: row.try_get(0)?,
        job: row.try_get(1)?,
        webhook: row.try_get(2)?,
        topic: row.try_get(3)?,
        url: row.try_get(4)?,
        state: row.try_get(5)?,
        attempts: row.try_get(6)?,
        last_status: row.try_get(7)?,
        last_error: row.try_get(8)?,
        last_ms: row.try_get(9)?,
        next_ms: row.try_get(10)?,
    }
    .read()
}
