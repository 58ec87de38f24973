//! Copies of documents that a provider keeps, so that the calls of a job name the document and
//! do not send it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Inner;
use super::exchange::{Exchange, LONGEST_HELD, estimate, settle};
use crate::provider::wire::{Ask, Cache, FailureKind, Vendor};

/// How long a provider is asked to keep a copy.
const KEPT_FOR: Duration = Duration::from_mins(10);
/// Documents that are remembered.
const DOCUMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// A document that the provider keeps; without a name one that it does not keep, which is not
/// offered again until then.
struct Kept {
    name: Option<Arc<str>>,
    until: Instant,
}

/// Held while the copy is made: the other calls of a job wait for it, those of others do not.
type Place = tokio::sync::Mutex<Option<Kept>>;

/// The copies of one server, by model and document.
pub(super) struct Copies {
    places: Mutex<LruCache<String, Arc<Place>>>,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            places: Mutex::new(LruCache::new(DOCUMENTS)),
        }
    }
}

impl Copies {
    fn place(&self, key: &str) -> Arc<Place> {
        let mut places = self.places.lock();
        Arc::clone(places.get_or_insert_ref(key, Arc::default))
    }

    /// The provider does not know the copy of this name any more: until its time is over the
    /// document is sent.
    pub(super) async fn forget(&self, key: &str, name: &str) {
        let place = self.place(key);
        let mut copy = place.lock().await;
        if let Some(copy) = copy.as_mut()
            && copy.name.as_deref() == Some(name)
        {
            copy.name = None;
        }
    }
}

impl Inner {
    /// The name of the copy, which is made when there is none, in its turn among the calls.
    async fn copy(&self, key: &str, ask: &Ask) -> Option<Arc<str>> {
        let place = self.lane.copies.place(key);
        let mut copy = place.lock().await;
        let now = Instant::now();
        if let Some(copy) = copy.as_ref().filter(|copy| copy.until > now) {
            return copy.name.clone();
        }
        let pass = self
            .lane
            .gate
            .acquire(estimate(ask), LONGEST_HELD)
            .await
            .ok()?;
        let created = self.client.create_cache(ask, KEPT_FOR).await;
        settle(pass, created.as_ref().err());
        let name: Option<Arc<str>> = match created {
            Ok(name) => Some(name.into()),
            // The next call may find it willing.
            Err(failure) if failure.kind == FailureKind::Rate => return None,
            Err(_) => None,
        };
        *copy = Some(Kept {
            name: name.clone(),
            // Before the provider drops it, with time for a call.
            until: now + KEPT_FOR / 2,
        });
        name
    }
}

impl Exchange {
    /// Has the provider keep the document for the calls that follow, where the caller wants it.
    pub(super) async fn keep_document(&mut self) {
        let Some(key) = &self.cached_as else {
            return;
        };
        match self.inner.client.vendor() {
            Vendor::Anthropic => self.ask.cache = Cache::Marked,
            Vendor::OpenAi => {}
            Vendor::Gemini => {
                if let Some(name) = self.inner.copy(key, &self.ask).await {
                    self.ask.cache = Cache::Entry(name);
                }
            }
        }
    }
}
