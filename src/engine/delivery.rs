//! Sends what is in the outbox: when, how often, and when it is given up.
//!
//! A delivery is taken under a lease, sent and recorded. Whoever dies in between leaves it to be
//! sent again, with the same id and body.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::metrics::label;
use super::ports::{Attempt, Due, Message, Sent};
use super::{Inner, stored};
use crate::domain::error::Error;
use crate::domain::webhook::{DeliveryState, Secret, Verdict, chance, pause, signatures};

/// How long a delivery is ours without a word. Longer than a try takes.
const LEASE: Duration = Duration::from_mins(1);
/// How often the outbox is looked at without a hint: for tries whose time has come, and for what
/// other processes left.
const POLL: Duration = Duration::from_secs(1);
/// After a look into the outbox, so many times as long it is not looked again: jobs need the store
/// as well, and where many receivers are dead a look takes its time.
const REST: u32 = 4;
/// Tries under way at once, of this process; and to one receiver, so that one that is slow takes
/// no more than its part.
const AT_ONCE: usize = 64;
const EACH: u32 = 4;

/// How many tries are under way, by receiver.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<HashMap<String, u32>>>);

impl Busy {
    fn list(&self) -> Vec<(String, u32)> {
        let busy = self.0.lock();
        busy.iter()
            .map(|(receiver, count)| (receiver.clone(), *count))
            .collect()
    }

    /// One more, until the place is dropped.
    fn enter(&self, receiver: &str) -> Place {
        *self.0.lock().entry(receiver.to_owned()).or_default() += 1;
        Place {
            busy: self.clone(),
            receiver: receiver.to_owned(),
        }
    }
}

struct Place {
    busy: Busy,
    receiver: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock();
        if let Some(count) = busy.get_mut(&self.receiver) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.receiver);
            }
        }
    }
}

/// Delivers for as long as the engine lives. Jobs never wait for it.
pub(super) async fn deliver(engine: Arc<Inner>) {
    let (busy, mut sending) = (Busy::default(), JoinSet::new());
    while !engine.is_draining() {
        // Registered before looking: what is put into the outbox in between then wakes us.
        let hint = engine.posted.notified();
        while sending.try_join_next().is_some() {}
        let (room, asked) = (AT_ONCE - sending.len(), Instant::now());
        let taken = take(&engine, &busy, room).await;
        let is_more = room > 0 && taken.len() == room;
        let rest = (asked.elapsed() * REST).min(POLL);
        for due in taken {
            let (engine, place) = (Arc::clone(&engine), busy.enter(&due.receiver));
            sending.spawn(async move {
                engine.deliver_once(due).await;
                drop(place);
            });
        }
        if is_more {
            continue;
        }
        let something = async {
            tokio::time::sleep(rest).await;
            tokio::select! {
                () = hint => {}
                // Somebody has room again.
                Some(_) = sending.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        };
        tokio::select! {
            biased;
            () = engine.drained() => {}
            () = something => {}
        }
    }
    // What is under way when the last job has stopped is sent again later.
    tokio::select! {
        biased;
        () = engine.stopped() => {}
        () = async { while sending.join_next().await.is_some() {} } => {}
    }
}

async fn take(engine: &Inner, busy: &Busy, room: usize) -> Vec<Due> {
    if room == 0 {
        return Vec::new();
    }
    let due = engine
        .outbox
        .take_due(LEASE, room as u32, EACH, busy.list())
        .await;
    due.unwrap_or_else(|cause| {
        warn!(%cause, "delivery.take: the outbox cannot be read");
        Vec::new()
    })
}

impl Inner {
    /// Makes one try and records it.
    async fn deliver_once(self: &Arc<Self>, due: Due) {
        let attempt = match self.message(&due).await {
            // Nobody is to be told: only the try counts.
            Ok(Some(message)) if message.url.is_empty() => nowhere(&due),
            Ok(Some(message)) => attempt(&due, self.sender.send(message).await),
            Ok(None) => disabled(&due),
            Err(cause) => {
                warn!(delivery = %due.id, %cause, "delivery.unsigned");
                return;
            }
        };
        info!(
            delivery = %due.id,
            state = attempt.state.name(),
            status = attempt.status,
            error = attempt.error,
            attempts = due.attempts + 1,
            "delivery.tried"
        );
        let outcome = label("outcome", attempt.state.name());
        self.metrics.webhooks.get_or_create(&outcome).inc();
        if let Err(cause) = self.outbox.record(attempt).await {
            warn!(delivery = %due.id, %cause, "delivery.unrecorded: it will be sent again");
        }
        self.tried.notify_waiters();
    }

    /// The request to be sent; none when nobody wants it any more.
    async fn message(self: &Arc<Self>, due: &Due) -> Result<Option<Message>, Error> {
        let now = self.clock.now();
        let (url, secrets) = match (&due.webhook_id, &due.webhook) {
            (None, _) => (due.url.clone(), vec![self.callback_secret(due).await?]),
            (Some(_), Some(webhook)) if webhook.disabled.is_none() => {
                let old = webhook.old_secret.iter();
                let old = old.filter(|(_, until)| now < *until);
                let secrets: Vec<Secret> = std::iter::once(&webhook.secret)
                    .chain(old.map(|(secret, _)| secret))
                    .cloned()
                    .collect();
                (webhook.url.clone(), secrets)
            }
            (Some(_), _) => return Ok(None),
        };
        let (id, seconds) = (due.id.to_string(), now.0.div_euclid(1_000));
        let Some(body) = self.worded(due).await? else {
            return Ok(None);
        };
        Ok(Some(Message {
            url,
            signatures: signatures(&secrets, &id, seconds, body.as_bytes()),
            id,
            seconds,
            body,
        }))
    }
}

impl Inner {
    /// That of the job, where its client chose one.
    async fn callback_secret(&self, due: &Due) -> Result<Secret, Error> {
        let view = stored(self.jobs.view(&due.scope, due.job).await)?;
        match view.and_then(|view| view.spec.callback_secret.clone()) {
            Some(secret) => Ok(secret),
            None => self.keyring.callback_secret(&due.scope).await,
        }
    }
}

/// What a try comes to.
fn attempt(due: &Due, sent: Sent) -> Attempt {
    let failed = due.attempts + 1;
    let again = || pause(failed, chance(due.id, failed));
    let (verdict, status, error, pause) = match sent {
        Sent::Answered(status) => {
            let verdict = Verdict::of(status);
            let pause = (verdict == Verdict::Failed).then(again).flatten();
            (verdict, Some(status), None, pause)
        }
        Sent::Unreached(why) => (Verdict::Failed, None, Some(why), again()),
        // Its name may lead elsewhere one day, but nobody should wait for that.
        Sent::Forbidden(why) => (Verdict::Failed, None, Some(why), None),
    };
    let state = match verdict {
        Verdict::Delivered => DeliveryState::Delivered,
        Verdict::Gone => DeliveryState::Disabled,
        Verdict::Failed if pause.is_some() => DeliveryState::Pending,
        Verdict::Failed => DeliveryState::Failed,
    };
    Attempt {
        id: due.id,
        before: due.attempts,
        state,
        status,
        error,
        pause,
        is_gone: verdict == Verdict::Gone,
    }
}

/// A try that was made without an address.
fn nowhere(due: &Due) -> Attempt {
    let why = "There is no callback URL: nothing was sent, and the try was only recorded.";
    attempt(due, Sent::Forbidden(why.into()))
}

fn disabled(due: &Due) -> Attempt {
    Attempt {
        id: due.id,
        before: due.attempts,
        state: DeliveryState::Disabled,
        status: None,
        error: None,
        pause: None,
        is_gone: false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::{JobId, Scope};

    fn due(attempts: u32) -> Due {
        Due {
            id: Uuid::from_u128(7),
            job: JobId(Uuid::from_u128(8)),
            scope: Scope::local(),
            receiver: "example.com local".into(),
            url: "https://example.com/".into(),
            body: "{}".into(),
            attempts,
            webhook_id: None,
            webhook: None,
        }
    }

    #[test]
    fn a_delivery_is_tried_ten_times_over_three_days_and_then_given_up() {
        let mut all = Duration::ZERO;
        for before in 0..9 {
            let attempt = attempt(&due(before), Sent::Answered(503));
            assert_eq!(attempt.state, DeliveryState::Pending);
            assert_eq!((attempt.before, attempt.status), (before, Some(503)));
            all += attempt.pause.unwrap();
        }
        assert!(all > Duration::from_hours(60) && all < Duration::from_hours(92));
        let last = attempt(&due(9), Sent::Unreached("no answer".into()));
        assert_eq!((last.state, last.pause), (DeliveryState::Failed, None));
        assert_eq!(last.error.as_deref(), Some("no answer"));
    }

    #[test]
    fn what_is_gone_or_forbidden_is_not_tried_again() {
        let gone = attempt(&due(0), Sent::Answered(410));
        assert_eq!((gone.state, gone.pause), (DeliveryState::Disabled, None));
        assert!(gone.is_gone);
        let forbidden = attempt(&due(0), Sent::Forbidden("no".into()));
        assert_eq!(
            (forbidden.state, forbidden.pause),
            (DeliveryState::Failed, None)
        );
        let redirect = attempt(&due(0), Sent::Answered(302));
        assert_eq!(redirect.state, DeliveryState::Pending);
        let delivered = attempt(&due(3), Sent::Answered(204));
        assert_eq!(
            (delivered.state, delivered.pause),
            (DeliveryState::Delivered, None)
        );
    }
}
