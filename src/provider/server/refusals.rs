//! What was too much for a provider, so that it is not asked twice.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::provider::wire::FailureKind;

/// Schemas that are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// The hash of what was asked for.
pub(super) type Mark = [u8; 32];

/// A bounded memory of refusals. Lost with the process: a provider may have learned more.
pub(super) struct Refusals {
    known: Mutex<LruCache<Mark, FailureKind>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            known: Mutex::new(LruCache::new(KEPT)),
        }
    }
}

impl Refusals {
    /// Of what was asked: names first, such as those of the model and the document.
    pub(super) fn mark(names: &[&str], schema: &Value) -> Mark {
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name);
            hash.update([0]);
        }
        hash.update(schema.to_string());
        hash.finalize().into()
    }

    /// Why what has this mark was refused.
    pub(super) fn get(&self, mark: &Mark) -> Option<FailureKind> {
        self.known.lock().get(mark).copied()
    }

    pub(super) fn add(&self, mark: Mark, why: FailureKind) {
        self.known.lock().put(mark, why);
    }
}
