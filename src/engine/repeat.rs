//! Requests that are made again: they lead to the job they started, and start no other.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::keys::Principal;
use super::submit::Name;
use super::{Engine, Extras, JobRequest, sha256_hex, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{IdempotencyKey, JobId, Scope};
use crate::domain::job::JobView;

/// What tells whether a request was made before.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// SHA-256 of what is asked, in the dialect's canonical form.
    pub body_sha256: [u8; 32],
    /// The client's name for the request; goes before `seen`.
    pub key: Option<IdempotencyKey>,
    /// The job whose events the client has read. Meant when the same request started it.
    pub seen: Option<JobId>,
}

impl Repeat {
    /// Whose request it is counts too.
    fn request_hash(&self, scope: &Scope) -> String {
        sha256_hex(&[&self.body_sha256[..], scope.as_str().as_bytes()].concat())
    }
}

/// What became of a request for a job.
#[derive(Debug, Clone)]
pub struct Submitted {
    pub view: JobView,
    /// Whether the job was there before: nothing was started now.
    pub is_repeat: bool,
}

impl Submitted {
    fn before(view: JobView) -> Self {
        Self {
            view,
            is_repeat: true,
        }
    }
}

/// Keys remembered at once. Each is held by a request under way; beyond them only the store
/// decides, which costs the loser of a race its work but starts no second job either.
const MAX_CREATING: usize = 4_096;

/// The keys whose jobs are being made by this process.
#[derive(Default)]
pub(super) struct Creating {
    keys: Mutex<HashSet<(Scope, IdempotencyKey)>>,
}

impl Creating {
    /// A place that holds the key until it is dropped; `None` when there is no room.
    fn enter(
        self: &Arc<Self>,
        scope: &Scope,
        key: &IdempotencyKey,
    ) -> Result<Option<Place>, Error> {
        let entry = (scope.clone(), key.clone());
        let mut keys = self.keys.lock();
        if keys.contains(&entry) {
            return Err(in_use(key));
        }
        if keys.len() >= MAX_CREATING {
            return Ok(None);
        }
        keys.insert(entry.clone());
        Ok(Some(Place {
            creating: Arc::clone(self),
            entry,
        }))
    }
}

struct Place {
    creating: Arc<Creating>,
    entry: (Scope, IdempotencyKey),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.creating.keys.lock().remove(&self.entry);
    }
}

impl Engine {
    /// The job that an equal request has started, or else a new one as by [`Engine::submit`].
    ///
    /// Also refused with `idempotency_key_reused` when the key stands for another request, and
    /// with `idempotency_key_in_use` while the first request under the key is still being worked
    /// on. A refused request leaves its key free.
    pub async fn submit_once(
        &self,
        caller: &Principal,
        request: JobRequest,
        repeat: Repeat,
    ) -> Result<Submitted, Error> {
        self.submit_with(caller, request, repeat, Extras::default())
            .await
    }

    /// [`Engine::submit_once`] of a job that has more than its request says. What it has more does
    /// not tell two requests apart: what of it does, the dialect puts into the hash.
    pub async fn submit_with(
        &self,
        caller: &Principal,
        request: JobRequest,
        repeat: Repeat,
        extras: Extras,
    ) -> Result<Submitted, Error> {
        let scope = &caller.scope;
        let hash = repeat.request_hash(scope);
        if let Some(view) = self.earlier(scope, &repeat, &hash).await? {
            return Ok(Submitted::before(view));
        }
        let mut place = None;
        if let Some(key) = &repeat.key {
            place = self.inner.creating.enter(scope, key)?;
            // Whoever held the key until now has stored its job since we looked.
            if let Some(view) = self.keyed(scope, key, &hash).await? {
                return Ok(Submitted::before(view));
            }
        }
        let name = Name {
            request_hash: Some(hash.clone()),
            key: repeat.key.clone(),
            extras,
        };
        let begun = self.begin(caller, request, name).await?;
        drop(place);
        match (begun, &repeat.key) {
            (Some(view), _) => Ok(Submitted {
                view,
                is_repeat: false,
            }),
            // Another process was faster, or a request of ours whose client did not wait for it.
            (None, Some(key)) => {
                let view = self.keyed(scope, key, &hash).await?;
                view.map(Submitted::before).ok_or_else(|| in_use(key))
            }
            (None, None) => Err(Error::internal()),
        }
    }

    async fn earlier(
        &self,
        scope: &Scope,
        repeat: &Repeat,
        hash: &str,
    ) -> Result<Option<JobView>, Error> {
        if let Some(key) = &repeat.key {
            return self.keyed(scope, key, hash).await;
        }
        let Some(job) = repeat.seen else {
            return Ok(None);
        };
        let view = stored(self.inner.jobs.view(scope, job).await)?;
        Ok(view.filter(|view| view.spec.request_hash.as_deref() == Some(hash)))
    }

    async fn keyed(
        &self,
        scope: &Scope,
        key: &IdempotencyKey,
        hash: &str,
    ) -> Result<Option<JobView>, Error> {
        match stored(self.inner.jobs.by_key(scope, key).await)? {
            Some(keyed) if keyed.request_hash != hash => Err(Error::new(
                Code::IdempotencyKeyReused,
                format!(
                    "`Idempotency-Key: {}` came with another body before and stands for job {}. Send a new key with a new request.",
                    key.sent(),
                    keyed.view.id
                ),
            )),
            keyed => Ok(keyed.map(|keyed| keyed.view)),
        }
    }
}

fn in_use(key: &IdempotencyKey) -> Error {
    Error::new(
        Code::IdempotencyKeyInUse,
        format!(
            "The first request with `Idempotency-Key: {}` is still being worked on. Send it again in a moment to get its job.",
            key.sent()
        ),
    )
    .retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_until_its_place_is_dropped_and_for_its_scope_only() {
        let creating = Arc::new(Creating::default());
        let key = IdempotencyKey::parse("k").unwrap();
        let (alice, bob) = (Scope::new("alice"), Scope::new("bob"));
        let held = creating.enter(&alice, &key).unwrap();
        assert!(held.is_some());
        assert!(creating.enter(&alice, &key).is_err());
        assert!(creating.enter(&bob, &key).unwrap().is_some());
        drop(held);
        assert!(creating.enter(&alice, &key).unwrap().is_some());
        assert!(creating.keys.lock().is_empty());
    }

    #[test]
    fn no_more_keys_are_held_than_there_is_room_for() {
        let creating = Arc::new(Creating::default());
        let scope = Scope::local();
        let enter = |name: usize| {
            let key = IdempotencyKey::parse(&name.to_string()).unwrap();
            creating.enter(&scope, &key).unwrap()
        };
        let held: Vec<_> = (0..MAX_CREATING).map(enter).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(enter(MAX_CREATING).is_none());
        drop(held);
        assert!(enter(MAX_CREATING).is_some());
    }

    #[test]
    fn the_same_body_of_two_users_is_two_requests() {
        let repeat = Repeat {
            body_sha256: [7; 32],
            key: None,
            seen: None,
        };
        let of = |name: &str| repeat.request_hash(&Scope::new(name));
        assert_ne!(of("alice"), of("bob"));
        assert_eq!(of("alice"), of("alice"));
    }
}
