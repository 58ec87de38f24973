//! `Outbox` in SQLite.

use std::time::Duration;

use futures_util::FutureExt as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::page::Listing;
use super::rows;
use super::{Change, Sqlite};
use crate::domain::id::{JobId, Scope, WebhookId};
use crate::domain::job::JobView;
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;
use crate::domain::webhook::{Notice, Secret, notices};
use crate::engine::ports::{
    About, Answered, Attempt, Delivery, DisabledBy, Due, Outbox, StoreError, StoredWebhook,
};
use crate::store::outbox::{DELIVERY, DeliveryColumns, WEBHOOK, WebhookColumns, endpoint};

/// Receivers that something is pending for, one step in the index for each, and since when.
const RECEIVERS: &str = "WITH RECURSIVE waiting (receiver) AS ( \
     SELECT * FROM (SELECT receiver FROM outbox WHERE state = 'pending' \
     ORDER BY receiver LIMIT 1) \
     UNION ALL \
     SELECT (SELECT outbox.receiver FROM outbox WHERE state = 'pending' \
     AND outbox.receiver > waiting.receiver ORDER BY outbox.receiver LIMIT 1) \
     FROM waiting WHERE waiting.receiver IS NOT NULL), \
     first AS ( \
     SELECT receiver, (SELECT next_ms FROM outbox WHERE state = 'pending' \
     AND outbox.receiver = waiting.receiver ORDER BY next_ms LIMIT 1) AS next_ms \
     FROM waiting WHERE receiver IS NOT NULL) \
     SELECT receiver, next_ms FROM first WHERE next_ms <= ?1";

impl Outbox for Sqlite {
    fn insert_webhook(
        &self,
        scope: &Scope,
        webhook: StoredWebhook,
        limit: u32,
    ) -> Answered<'_, bool> {
        let scope = scope.clone();
        self.write(move |connection, _| {
            insert(connection, &scope, &webhook, limit).map(Change::Keep)
        })
        .boxed()
    }

    fn webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, Option<StoredWebhook>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {WEBHOOK} FROM webhooks WHERE scope = ?1 AND id = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![scope.as_str(), id.0.as_bytes()])?;
            rows.next()?.map(|row| webhook(row, 0)).transpose()
        })
        .boxed()
    }

    fn webhooks(&self, scope: &Scope) -> Answered<'_, Vec<StoredWebhook>> {
        let scope = scope.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {WEBHOOK} FROM webhooks WHERE scope = ?1 ORDER BY id DESC");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_and_then([scope.as_str()], |row| webhook(row, 0))?;
            rows.collect()
        })
        .boxed()
    }

    fn update_webhook(&self, scope: &Scope, webhook: StoredWebhook) -> Answered<'_, bool> {
        let scope = scope.clone();
        self.write(move |connection, _| update(connection, &scope, &webhook).map(Change::Keep))
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
        self.write(move |connection, _| {
            rotate(connection, &scope, id, &fresh, old_until).map(Change::Keep)
        })
        .boxed()
    }

    fn delete_webhook(&self, scope: &Scope, id: WebhookId) -> Answered<'_, bool> {
        let scope = scope.clone();
        self.write(move |connection, _| delete(connection, &scope, id).map(Change::Keep))
            .boxed()
    }

    fn post(&self, scope: &Scope, notice: Notice, job: &JobView) -> Answered<'_, bool> {
        let (scope, id, due) = (scope.clone(), job.id, job.updated_at);
        self.write(move |connection, _| {
            let of_scope = "SELECT 1 FROM jobs WHERE scope = ?1 AND id = ?2";
            let mut statement = connection.prepare_cached(of_scope)?;
            let is_there = statement.exists(params![scope.as_str(), id.0.as_bytes()])?;
            if is_there {
                put(connection, &scope, id, &notice, due)?;
            }
            Ok(Change::Keep(is_there))
        })
        .boxed()
    }

    fn deliveries(
        &self,
        scope: &Scope,
        about: About,
        page: ListQuery,
    ) -> Answered<'_, ListPage<Delivery>> {
        let scope = scope.clone();
        self.read(move |connection| list(connection, &scope, about, &page))
            .boxed()
    }

    fn take_due(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
        busy: Vec<(String, u32)>,
    ) -> Answered<'_, Vec<Due>> {
        self.write(move |connection, terms| {
            let now = terms.clock.now();
            let until = now.plus(lease);
            let mut due = Vec::new();
            for (receiver, room) in waiting(connection, now, each, &busy)? {
                let left = limit.saturating_sub(due.len() as u32);
                take(connection, &receiver, now, until, room.min(left), &mut due)?;
            }
            Ok(Change::Keep(due))
        })
        .boxed()
    }

    fn record(&self, attempt: Attempt) -> Answered<'_, ()> {
        self.write(move |connection, terms| {
            record(connection, &attempt, terms.clock.now()).map(Change::Keep)
        })
        .boxed()
    }
}

/// Puts what is to be told of the end of a job into the outbox.
pub fn post(connection: &Connection, scope: &Scope, view: &JobView) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, url, topics FROM webhooks WHERE scope = ?1 AND disabled IS NULL",
    )?;
    let endpoints = statement.query_and_then([scope.as_str()], |row| {
        endpoint(rows::uuid(row, 0)?, row.get(1)?, rows::text(row, 2)?)
    })?;
    let endpoints = endpoints.collect::<Result<Vec<_>, StoreError>>()?;
    for notice in notices(scope, view, &endpoints) {
        put(connection, scope, view.id, &notice, view.updated_at)?;
    }
    Ok(())
}

fn put(
    connection: &Connection,
    scope: &Scope,
    job: JobId,
    notice: &Notice,
    due: Time,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO outbox (id, scope, job_id, webhook_id, receiver, topic, url, body, \
             state, next_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending', ?9)",
        )?
        .execute(params![
            notice.id.as_bytes(),
            scope.as_str(),
            job.0.as_bytes(),
            notice.webhook.map(|id| *id.0.as_bytes()),
            notice.receiver,
            notice.topic.name(),
            notice.url,
            notice.body,
            due.0,
        ])?;
    Ok(())
}

/// Lets go of what was to be told of a job.
pub fn sweep(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM outbox WHERE job_id = ?1")?
        .execute([job.0.as_bytes()])?;
    Ok(())
}

/// Takes deliveries away from a sender of before, who is dead.
pub fn clear(connection: &Connection) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE outbox SET lease_ms = NULL WHERE state = 'pending' AND lease_ms IS NOT NULL",
        (),
    )?;
    Ok(())
}

fn insert(
    connection: &Connection,
    scope: &Scope,
    webhook: &StoredWebhook,
    limit: u32,
) -> Result<bool, StoreError> {
    let columns = WebhookColumns::write(webhook);
    let inserted = connection
        .prepare_cached(
            "INSERT INTO webhooks (scope, id, url, description, topics, secret, old_secret, \
             old_until_ms, disabled, created_ms) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 \
             WHERE (SELECT count(*) FROM webhooks WHERE scope = ?1) < ?11",
        )?
        .execute(params![
            scope.as_str(),
            columns.id.as_bytes(),
            columns.url,
            columns.description,
            columns.topics,
            columns.secret,
            columns.old_secret,
            columns.old_until_ms,
            columns.disabled,
            columns.created_ms,
            limit,
        ])?;
    Ok(inserted == 1)
}

fn update(
    connection: &Connection,
    scope: &Scope,
    webhook: &StoredWebhook,
) -> Result<bool, StoreError> {
    let columns = WebhookColumns::write(webhook);
    let updated = connection
        .prepare_cached(
            "UPDATE webhooks SET url = ?3, description = ?4, topics = ?5, disabled = ?6 \
             WHERE scope = ?1 AND id = ?2",
        )?
        .execute(params![
            scope.as_str(),
            columns.id.as_bytes(),
            columns.url,
            columns.description,
            columns.topics,
            columns.disabled,
        ])?;
    if updated == 1 && webhook.disabled.is_some() {
        abandon(connection, scope, webhook.id)?;
    }
    Ok(updated == 1)
}

fn rotate(
    connection: &Connection,
    scope: &Scope,
    id: WebhookId,
    fresh: &Secret,
    old_until: Time,
) -> Result<Option<StoredWebhook>, StoreError> {
    let sql = format!(
        "UPDATE webhooks SET old_secret = secret, old_until_ms = ?4, secret = ?3 \
         WHERE scope = ?1 AND id = ?2 RETURNING {}",
        WEBHOOK.replace("webhooks.", "")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let params = params![scope.as_str(), id.0.as_bytes(), fresh.reveal(), old_until.0];
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| webhook(row, 0)).transpose()
}

fn delete(connection: &Connection, scope: &Scope, id: WebhookId) -> Result<bool, StoreError> {
    let deleted = connection
        .prepare_cached("DELETE FROM webhooks WHERE scope = ?1 AND id = ?2")?
        .execute(params![scope.as_str(), id.0.as_bytes()])?;
    abandon(connection, scope, id)?;
    Ok(deleted == 1)
}

/// What is pending for an endpoint will not be sent.
fn abandon(connection: &Connection, scope: &Scope, id: WebhookId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE outbox SET state = 'disabled', next_ms = NULL, lease_ms = NULL \
             WHERE webhook_id = ?1 AND scope = ?2 AND state = 'pending'",
        )?
        .execute(params![id.0.as_bytes(), scope.as_str()])?;
    Ok(())
}

fn list(
    connection: &Connection,
    scope: &Scope,
    about: About,
    page: &ListQuery,
) -> Result<ListPage<Delivery>, StoreError> {
    let (matching, id) = match about {
        About::Job(id) => (
            "FROM outbox WHERE outbox.scope = ?1 AND outbox.job_id = ?2",
            id.0,
        ),
        About::Webhook(id) => (
            "FROM outbox WHERE outbox.scope = ?1 AND outbox.webhook_id = ?2",
            id.0,
        ),
    };
    Listing {
        columns: DELIVERY,
        matching,
        params: &[&scope.as_str(), id.as_bytes()],
        id: "outbox.id",
        id_of: |delivery: &Delivery| delivery.id,
        read: delivery,
    }
    .page(connection, page)
}

/// Receivers that something may be sent to now, and how much; whoever has the least first.
fn waiting(
    connection: &Connection,
    now: Time,
    each: u32,
    busy: &[(String, u32)],
) -> Result<Vec<(String, u32)>, StoreError> {
    let mut statement = connection.prepare_cached(RECEIVERS)?;
    let mut rows = statement.query([now.0])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        let receiver: String = row.get(0)?;
        let has = busy.iter().find(|(name, _)| *name == receiver);
        let has = has.map_or(0, |(_, count)| *count);
        if has < each {
            waiting.push((has, row.get::<_, i64>(1)?, receiver));
        }
    }
    waiting.sort_unstable();
    let room = waiting
        .into_iter()
        .map(|(has, _, receiver)| (receiver, each - has));
    Ok(room.collect())
}

fn take(
    connection: &Connection,
    receiver: &str,
    now: Time,
    until: Time,
    limit: u32,
    due: &mut Vec<Due>,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {WEBHOOK}, outbox.id, outbox.scope, outbox.receiver, outbox.url, outbox.body, \
         outbox.attempts, outbox.webhook_id, outbox.job_id FROM outbox LEFT JOIN webhooks \
         ON webhooks.scope = outbox.scope AND webhooks.id = outbox.webhook_id \
         WHERE state = 'pending' AND receiver = ?1 AND next_ms <= ?2 \
         AND (lease_ms IS NULL OR lease_ms < ?2) ORDER BY next_ms, outbox.id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let taken = statement.query_and_then(params![receiver, now.0, limit], due_of)?;
    for one in taken.collect::<Result<Vec<_>, _>>()? {
        connection
            .prepare_cached("UPDATE outbox SET lease_ms = ?2 WHERE id = ?1")?
            .execute(params![one.id.as_bytes(), until.0])?;
        due.push(one);
    }
    Ok(())
}

fn due_of(row: &Row) -> Result<Due, StoreError> {
    let has_webhook = row.get_ref(0)? != ValueRef::Null;
    Ok(Due {
        webhook: has_webhook.then(|| webhook(row, 0)).transpose()?,
        id: rows::uuid(row, 9)?,
        scope: Scope::new(row.get::<_, String>(10)?),
        receiver: row.get(11)?,
        url: row.get(12)?,
        body: row.get(13)?,
        attempts: row.get(14)?,
        webhook_id: uuid_or_none(row, 15)?.map(WebhookId),
        job: JobId(rows::uuid(row, 16)?),
    })
}

fn record(connection: &Connection, attempt: &Attempt, now: Time) -> Result<(), StoreError> {
    let was_tried = attempt.status.is_some() || attempt.error.is_some();
    let webhook = connection
        .prepare_cached(
            "UPDATE outbox SET state = ?3, attempts = attempts + ?4, last_status = ?5, \
             last_error = ?6, last_ms = CASE WHEN ?4 THEN ?7 ELSE last_ms END, next_ms = ?8, \
             lease_ms = NULL \
             WHERE id = ?1 AND attempts = ?2 AND state = 'pending' RETURNING webhook_id, scope",
        )?
        .query_row(
            params![
                attempt.id.as_bytes(),
                attempt.before,
                attempt.state.name(),
                was_tried,
                attempt.status,
                attempt.error,
                now.0,
                attempt.pause.map(|pause| now.plus(pause).0),
            ],
            |row| Ok((uuid_or_none(row, 0)?, row.get::<_, String>(1)?)),
        )
        .optional()?;
    let Some((Some(id), scope)) = webhook.filter(|_| attempt.is_gone) else {
        return Ok(());
    };
    let (id, scope) = (WebhookId(id), Scope::new(scope));
    connection
        .prepare_cached(
            "UPDATE webhooks SET disabled = ?3 \
             WHERE scope = ?1 AND id = ?2 AND disabled IS NULL",
        )?
        .execute(params![
            scope.as_str(),
            id.0.as_bytes(),
            DisabledBy::Receiver.name()
        ])?;
    abandon(connection, &scope, id)
}

fn uuid_or_none(row: &Row, at: usize) -> rusqlite::Result<Option<Uuid>> {
    let bytes: Option<[u8; 16]> = row.get(at)?;
    Ok(bytes.map(Uuid::from_bytes))
}

fn webhook(row: &Row, at: usize) -> Result<StoredWebhook, StoreError> {
    WebhookColumns {
        id: rows::uuid(row, at)?,
        url: row.get(at + 1)?,
        description: row.get(at + 2)?,
        topics: row.get(at + 3)?,
        secret: row.get(at + 4)?,
        old_secret: row.get(at + 5)?,
        old_until_ms: row.get(at + 6)?,
        disabled: row.get(at + 7)?,
        created_ms: row.get(at + 8)?,
    }
    .read()
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    DeliveryColumns {
        id: rows::uuid(row, 0)?,
        job: rows::uuid(row, 1)?,
        webhook: uuid_or_none(row, 2)?,
        topic: row.get(3)?,
        url: row.get(4)?,
        state: row.get(5)?,
        attempts: row.get(6)?,
        last_status: row.get(7)?,
        last_error: row.get(8)?,
        last_ms: row.get(9)?,
        next_ms: row.get(10)?,
    }
    .read()
}
