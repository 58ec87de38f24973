//! API keys, and what the installation signs with.

use super::Answered;
use crate::domain::id::Scope;
use crate::domain::time::Time;

/// Bytes of a secret, and of the hash of one.
pub const SECRET_BYTES: usize = 32;

/// An API key as it is kept: all of it but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The part of the key that is no secret.
    pub id: String,
    /// SHA-256 of the secret.
    pub hash: [u8; SECRET_BYTES],
    /// Whose data it opens.
    pub user: Scope,
    pub name: String,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
    /// How many jobs of its user may be active, one that is started with it included; at least 1,
    /// and none for as many as the server's setting says.
    pub max_active_jobs: Option<u32>,
}

/// API keys, and what the installation signs with. A key is never deleted. Every write is on disk
/// when its future resolves.
pub trait Keys: Send + Sync {
    fn key(&self, id: &str) -> Answered<'_, Option<StoredKey>>;
    /// All of them, revoked ones included, the oldest first.
    fn keys(&self) -> Answered<'_, Vec<StoredKey>>;
    /// Whether there is any, revoked or not.
    fn has_keys(&self) -> Answered<'_, bool>;
    /// False, and nothing written, when its id is taken.
    fn insert_key(&self, key: StoredKey) -> Answered<'_, bool>;
    /// The key as it is then; one that was revoked before keeps that moment.
    fn revoke_key(&self, id: &str, at: Time) -> Answered<'_, Option<StoredKey>>;
    /// Sets [`StoredKey::max_active_jobs`]; the key as it is then.
    fn limit_key(&self, id: &str, max_active_jobs: Option<u32>) -> Answered<'_, Option<StoredKey>>;
    /// The secret of that name. `fresh` becomes it when there is none, for whoever asks at once.
    fn secret(&self, name: &str, fresh: [u8; SECRET_BYTES]) -> Answered<'_, [u8; SECRET_BYTES]>;
}
