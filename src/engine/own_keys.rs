//! Keys that callers brought for a job: in the memory of this process and nowhere else.
//!
//! A key is put here before its job can be claimed, and is dropped when the run of the job ends. A
//! job that is run where its key is not, after a restart or by another node, fails and says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::ports::{Claimed, Model, Provider};
use super::{Engine, Inner};
use crate::domain::error::{Code, Error, Fault};
use crate::domain::id::{JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::own_key::{HEADER, OwnKey};
use crate::domain::status::Status;

/// Keys that are held at once.
const MOST: usize = 4_096;
/// How often it is looked whether a key is still of use, and how old it is before that.
const PERIOD: Duration = Duration::from_mins(1);
/// How long a job that waits in line is left to the process that has its key.
const LEFT_TO_OWNER: Duration = Duration::from_mins(1);

/// A job, and which run of it.
type Place = (JobId, u32);

struct Held {
    key: OwnKey,
    scope: Scope,
    since: Instant,
}

/// The keys of jobs that have not ended.
#[derive(Default)]
pub(super) struct OwnKeys(Mutex<HashMap<Place, Held>>);

impl OwnKeys {
    /// Holds the key of a run; false when there is one already.
    ///
    /// Refused with `queue_full`.
    pub(super) fn hold(&self, place: Place, scope: &Scope, key: OwnKey) -> Result<bool, Error> {
        let mut held = self.0.lock();
        if held.contains_key(&place) {
            return Ok(false);
        }
        if held.len() >= MOST {
            let message = format!(
                "{MOST} jobs with keys of their callers' own are active, the limit of this server. Try again in a moment."
            );
            return Err(Error::new(Code::QueueFull, message));
        }
        let held_since = Held {
            key,
            scope: scope.clone(),
            since: Instant::now(),
        };
        held.insert(place, held_since);
        Ok(true)
    }

    pub(super) fn drop_of(&self, view: &JobView) {
        self.drop_at((view.id, view.run));
    }

    pub(super) fn drop_at(&self, place: Place) {
        self.0.lock().remove(&place);
    }

    fn get(&self, view: &JobView) -> Option<OwnKey> {
        let held = self.0.lock();
        held.get(&(view.id, view.run)).map(|held| held.key.clone())
    }

    /// Those that were not put here a moment ago.
    fn settled(&self) -> Vec<(Place, Scope)> {
        let held = self.0.lock();
        let settled = held
            .iter()
            .filter(|(_, held)| held.since.elapsed() > PERIOD);
        let settled = settled.map(|(place, held)| (*place, held.scope.clone()));
        settled.collect()
    }
}

/// Who answers, or why nobody does.
pub(super) type Served = Result<(Model, Arc<dyn Provider>), (Fault, String)>;

impl Engine {
    /// The model of this name and who answers for it under this key; without one as for everybody.
    ///
    /// Refused with `model_not_found`, and with `invalid_request` where the model takes no key.
    pub(super) fn served_under(
        &self,
        name: &str,
        key: Option<&OwnKey>,
    ) -> Result<(Model, Arc<dyn Provider>), Error> {
        let Some(key) = key else {
            return self.served(name);
        };
        self.inner.served_with(name, key).ok_or_else(|| {
            if self.inner.served(name).is_none() {
                return self.inner.no_model(name);
            }
            let message = format!(
                "The model `{name}` takes no key of yours: it is asked without one. Leave `{HEADER}` out, or name a model of a provider."
            );
            Error::new(Code::InvalidRequest, message.clone()).at(format!("/{HEADER}"), message)
        })
    }
}

impl Inner {
    fn served_with(&self, name: &str, key: &OwnKey) -> Option<(Model, Arc<dyn Provider>)> {
        let mut providers = self.providers.iter();
        providers.find_map(|provider| {
            let provider = provider.with_key(key)?;
            Some((provider.model(name)?, provider))
        })
    }

    /// Who answers for a job that runs here.
    pub(super) fn served_for(&self, view: &JobView) -> Served {
        let name = &view.spec.config.model;
        let served = if view.spec.has_own_key {
            let key = self.own_keys.get(view).ok_or_else(|| lost(view.id))?;
            self.served_with(name, &key)
        } else {
            self.served(name)
        };
        served.ok_or_else(|| {
            let message = format!("The model `{name}` is no longer configured here.");
            (Fault::ProviderError, message)
        })
    }

    /// Whether a job that was claimed here waits for a moment for the process that has its key.
    pub(super) fn leaves_to_owner(&self, claimed: &Claimed) -> bool {
        let view = &claimed.view;
        let age = self.clock.now().since(view.updated_at);
        view.spec.has_own_key
            && view.status == Status::Pending
            && self.jobs.is_shared()
            && Duration::from_millis(age) < LEFT_TO_OWNER
            && self.own_keys.get(view).is_none()
    }
}

fn lost(job: JobId) -> (Fault, String) {
    let message = format!(
        "The caller's own key of this job was kept in the memory of one process only, which has stopped or lost the job. Go on with POST /v1/extract/jobs/{job}/retry and the header {HEADER}: what was found stays."
    );
    (Fault::OwnKeyLost, message)
}

/// Drops keys of jobs that have come to an end elsewhere, or that nobody knows any more.
pub(super) async fn keep_swept(engine: Arc<Inner>) {
    loop {
        tokio::select! {
            biased;
            () = engine.drained() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        for (place, scope) in engine.own_keys.settled() {
            let (job, run) = place;
            if engine.running.contains_key(&job) {
                continue;
            }
            // A store that does not answer is asked again.
            let Ok(view) = engine.jobs.view(&scope, job).await else {
                continue;
            };
            let is_of_use = view.is_some_and(|view| view.run <= run && !view.status.is_terminal());
            if !is_of_use {
                engine.own_keys.drop_at(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(text: &str) -> OwnKey {
        OwnKey::parse(text).unwrap()
    }

    #[test]
    fn a_run_has_one_key_and_no_more_are_held_than_there_is_room_for() {
        let (keys, scope) = (OwnKeys::default(), Scope::local());
        let job = |number: usize| JobId(Uuid::from_u128(number as u128));
        assert!(keys.hold((job(0), 1), &scope, key("a")).unwrap());
        assert!(!keys.hold((job(0), 1), &scope, key("b")).unwrap());
        for number in 1..MOST {
            assert!(keys.hold((job(number), 1), &scope, key("a")).unwrap());
        }
        let refused = keys.hold((job(0), 2), &scope, key("a")).unwrap_err();
        assert_eq!(refused.code, Code::QueueFull);
        assert!(keys.settled().is_empty(), "all were put there just now");
    }
}
