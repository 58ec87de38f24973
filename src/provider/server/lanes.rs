//! What is learned under one key: a lane of its own for each, so that nobody is slowed, helped or
//! told of by what another key did.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::copies::Copies;
use super::refusals::Refusals;
use super::tardiness::Tardiness;
use crate::domain::own_key::OwnKey;
use crate::provider::gate::Gate;

/// Keys whose lane is remembered.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// The turn-taking, refusals, copies and times of one key.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) gate: Arc<Gate>,
    pub(super) refusals: Refusals,
    pub(super) tardiness: Tardiness,
    pub(super) copies: Copies,
}

/// The lanes of callers' own keys, each under a hash that nobody can try keys against: it is salted
/// with what this process alone knows. No key is kept.
pub(super) struct Lanes {
    salt: Uuid,
    known: Mutex<LruCache<[u8; 32], Arc<Lane>>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            salt: Uuid::new_v4(),
            known: Mutex::new(LruCache::new(KEPT)),
        }
    }
}

impl Lanes {
    pub(super) fn of(&self, key: &OwnKey) -> Arc<Lane> {
        let hash = Sha256::new()
            .chain_update(self.salt.as_bytes())
            .chain_update(key.reveal())
            .finalize();
        let mut known = self.known.lock();
        Arc::clone(known.get_or_insert_mut(hash.into(), Arc::default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_lane_and_two_keys_have_two() {
        let lanes = Lanes::default();
        let of = |text: &str| lanes.of(&OwnKey::parse(text).unwrap());
        assert!(Arc::ptr_eq(&of("a"), &of("a")));
        assert!(!Arc::ptr_eq(&of("a"), &of("b")));
        for number in 0..2_000 {
            of(&format!("key-{number}"));
        }
        assert_eq!(lanes.known.lock().len(), KEPT.get());
    }
}
