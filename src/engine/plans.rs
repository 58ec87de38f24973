//! Plans and compiled validators, kept by what they were made from.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jsonschema::Validator;
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::domain::error::{Code, Error};
use crate::domain::merge::{Breach, breaches};
use crate::domain::plan::Plan;
use crate::domain::plan::SplitterConfigs;
use crate::domain::rows::{Listed, lists};
use crate::domain::schema;

/// Changes whenever the same schema would get another plan.
const PLANNER: &str = "5";
/// Plans kept in memory.
const KEPT: usize = 64;
/// How long a schema may take to be accepted and cut.
const BUDGET: Duration = Duration::from_secs(2);

/// A plan with its validators, each compiled when it is first used.
pub(super) struct Planned {
    pub(super) key: String,
    pub(super) plan: Arc<Plan>,
    validators: Vec<OnceLock<Result<Validator, Error>>>,
    whole: OnceLock<Option<Validator>>,
    lists: OnceLock<Arc<Vec<Listed>>>,
}

impl Planned {
    fn new(key: String, plan: Plan) -> Self {
        let validators = plan.subtrees.iter().map(|_| OnceLock::new()).collect();
        Self {
            key,
            plan: Arc::new(plan),
            validators,
            whole: OnceLock::new(),
            lists: OnceLock::new(),
        }
    }

    /// All arrays of objects, in the order of the plan.
    pub(super) fn lists(&self) -> &Arc<Vec<Listed>> {
        self.lists.get_or_init(|| Arc::new(lists(&self.plan)))
    }

    /// What several subtrees break together in a document of their values; nothing where the
    /// schema binds none.
    pub(super) fn breaches(&self, document: &Value) -> Vec<Breach> {
        let Some(bound) = &self.plan.bound else {
            return Vec::new();
        };
        let whole = self.whole.get_or_init(|| {
            let compiled = schema::compile(&bound.schema);
            compiled
                .inspect_err(|error| warn!(cause = %error.detail, "plan.unchecked: the whole schema does not compile"))
                .ok()
        });
        whole.as_ref().map_or_else(Vec::new, |whole| {
            breaches(&self.plan, &bound.schema, whole, document)
        })
    }

    /// The validator of subtree `index`'s value.
    pub(super) fn validator(&self, index: usize) -> Result<&Validator, &Error> {
        static NONE: OnceLock<Error> = OnceLock::new();
        let (Some(subtree), Some(slot)) =
            (self.plan.subtrees.get(index), self.validators.get(index))
        else {
            return Err(NONE.get_or_init(Error::internal));
        };
        slot.get_or_init(|| schema::compile(&subtree.schema))
            .as_ref()
    }
}

/// Bounded memory of plans.
pub(super) struct Plans {
    kept: Mutex<LruCache<String, Arc<Planned>>>,
}

impl Plans {
    pub(super) fn new() -> Self {
        Self {
            kept: Mutex::new(LruCache::new(
                NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN),
            )),
        }
    }

    /// The plan of a schema; accepts and cuts it unless the same was asked before.
    pub(super) async fn of(
        &self,
        definition: &Value,
        splitter: SplitterConfigs,
    ) -> Result<Arc<Planned>, Error> {
        let key = key(definition, splitter);
        if let Some(planned) = self.kept.lock().get(&key) {
            return Ok(Arc::clone(planned));
        }
        let definition = definition.clone();
        let work = tokio::task::spawn_blocking(move || {
            schema::accept(&definition).map(|_| Plan::from_schema(definition, splitter))
        });
        let plan = match tokio::time::timeout(BUDGET, work).await {
            Ok(Ok(plan)) => plan?,
            Ok(Err(_)) => {
                return Err(Error::new(
                    Code::InvalidSchema,
                    "The schema could not be worked on.",
                ));
            }
            Err(_) => {
                let message = format!(
                    "The schema takes longer than {} s to compile, the limit.",
                    BUDGET.as_secs()
                );
                return Err(Error::new(Code::SchemaTooComplex, message.clone()).at("", message));
            }
        };
        Ok(self.keep(key, plan))
    }

    /// The plan kept under `key`, if it is in memory.
    pub(super) fn get(&self, key: &str) -> Option<Arc<Planned>> {
        self.kept.lock().get(key).cloned()
    }

    pub(super) fn keep(&self, key: String, plan: Plan) -> Arc<Planned> {
        let planned = Arc::new(Planned::new(key.clone(), plan));
        self.kept.lock().put(key, Arc::clone(&planned));
        planned
    }
}

fn key(definition: &Value, splitter: SplitterConfigs) -> String {
    let mut hash = Sha256::new();
    hash.update(PLANNER);
    hash.update(format!("{splitter:?}"));
    hash.update(definition.to_string());
    super::catalog::hex(&hash.finalize())
}
