//! A request up to the moment at which its answer begins.
//!
//! Here a late call is sent a second time, where that is switched on: the answer that begins first
//! is read, the other request is dropped. And here a call is sent once more with the document in
//! it, when the provider does not have the copy any more that the call named.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, timeout};

use super::exchange::{Exchange, LONGEST_HELD, estimate, rates};
use crate::provider::gate::Pass;
use crate::provider::wire::{Cache, Delta, Failure, FailureKind};

type Item = Option<Result<Delta, Failure>>;

/// A request on its way. Every one has a pass of its own: each counts at the provider.
pub(super) struct Leg {
    pub(super) pass: Pass,
    pub(super) deltas: BoxStream<'static, Result<Delta, Failure>>,
}

/// What was sent for one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) requests: u64,
    /// Whether the answer tells what all of them cost: nobody counts the one that was dropped.
    pub(super) is_counted: bool,
}

/// An answer that has begun, or failed to.
pub(super) struct Begun {
    pub(super) leg: Leg,
    /// What comes first of it.
    pub(super) first: Item,
    pub(super) sent: Sent,
}

impl Exchange {
    /// Sends the request.
    pub(super) async fn begin(&mut self, pass: Pass) -> Begun {
        let mut sent = Sent {
            requests: 1,
            is_counted: true,
        };
        let mut leg = self.leg(pass);
        let mut first = self.first(&mut leg, &mut sent).await;
        if is_lost_copy(&first) {
            let lost = std::mem::replace(&mut self.ask.cache, Cache::Off);
            if let (Cache::Entry(name), Some(key)) = (lost, &self.cached_as) {
                self.inner.lane.copies.forget(key, &name).await;
            }
            // The refusal stays the answer where there is no place for another request.
            let again = self
                .inner
                .lane
                .gate
                .acquire(estimate(&self.ask), LONGEST_HELD);
            if let Ok(pass) = again.await {
                std::mem::replace(&mut leg, self.leg(pass)).pass.succeeded();
                sent.requests += 1;
                first = self.first(&mut leg, &mut sent).await;
            }
        }
        match &first {
            Some(Ok(Delta::Limits(limits))) => leg.pass.answered(&rates(Some(limits))),
            Some(Ok(_)) => leg.pass.answered(&rates(None)),
            _ => {}
        }
        Begun { leg, first, sent }
    }

    fn leg(&self, pass: Pass) -> Leg {
        Leg {
            pass,
            deltas: self.inner.client.ask(self.ask.clone()).boxed(),
        }
    }

    /// The first of the answer; `leg` is the request whose answer it is.
    async fn first(&self, leg: &mut Leg, sent: &mut Sent) -> Item {
        let began = Instant::now();
        let tardiness = &self.inner.lane.tardiness;
        let late_after = tardiness
            .late_after(&self.ask.model)
            .filter(|_| self.inner.hedging);
        let on_time = timeout(late_after.unwrap_or(Duration::MAX), leg.deltas.next()).await;
        let item = match on_time {
            Ok(item) => item,
            Err(_) => match self.inner.lane.gate.enter(estimate(&self.ask)) {
                Ok(pass) => {
                    sent.requests += 1;
                    sent.is_counted = false;
                    self.sooner(leg, self.leg(pass)).await
                }
                // A server that takes no more calls is not asked for more.
                Err(_) => leg.deltas.next().await,
            },
        };
        if matches!(item, Some(Ok(_))) {
            tardiness.began(&self.ask.model, began.elapsed());
        }
        item
    }

    /// The first of the one that answers sooner, which becomes `leg`. One that fails leaves the
    /// word to the other.
    async fn sooner(&self, leg: &mut Leg, mut second: Leg) -> Item {
        let (item, is_second) = tokio::select! {
            biased;
            item = leg.deltas.next() => (item, false),
            item = second.deltas.next() => (item, true),
        };
        if is_second {
            std::mem::swap(leg, &mut second);
        }
        match item {
            Some(Err(failure)) => {
                let failed = std::mem::replace(leg, second);
                self.report(failed.pass, Some(&failure));
                leg.deltas.next().await
            }
            item => item,
        }
    }
}

fn is_lost_copy(item: &Item) -> bool {
    matches!(item, Some(Err(failure)) if failure.kind == FailureKind::Cache)
}
