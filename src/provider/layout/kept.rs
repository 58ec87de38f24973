//! What is kept between calls: the analysis of a document and its values for a plan, each made
//! once however many calls ask at the same time.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;

use crate::domain::document::Document;
use crate::domain::plan::Plan;

use super::find::Analysis;
use super::whole::Filled;

/// Documents whose analysis is kept.
const DOCUMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// Plans whose values are kept for each of them.
const PLANS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// A document's analysis, and its values by plan.
struct Kept {
    analysis: OnceLock<Analysis>,
    /// By the plan's key.
    filled: Mutex<LruCache<String, Arc<OnceLock<Filled>>>>,
}

pub(super) struct Shelf {
    documents: Mutex<LruCache<String, Arc<Kept>>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            documents: Mutex::new(LruCache::new(DOCUMENTS)),
        }
    }
}

impl Shelf {
    /// Hands the values of a document for a plan to `take`. Who comes while they are being made
    /// waits for them; the locks are held only to look them up.
    pub(super) fn with<T>(
        &self,
        document: &Document,
        plan: &Plan,
        plan_key: &str,
        take: impl FnOnce(&Filled) -> T,
    ) -> T {
        let kept = Arc::clone(
            self.documents
                .lock()
                .get_or_insert(document.sha256.clone(), || {
                    Arc::new(Kept {
                        analysis: OnceLock::new(),
                        filled: Mutex::new(LruCache::new(PLANS)),
                    })
                }),
        );
        let filled = Arc::clone(
            kept.filled
                .lock()
                .get_or_insert(plan_key.to_owned(), || Arc::new(OnceLock::new())),
        );
        take(filled.get_or_init(|| {
            let analysis = kept.analysis.get_or_init(|| Analysis::of(document));
            Filled::of(document, analysis, plan)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::from_ref;
    use std::sync::Barrier;

    use serde_json::json;

    use super::*;
    use crate::domain::document::Kind;
    use crate::domain::plan::SplitterConfigs;

    fn document(name: usize) -> Document {
        Document {
            kind: Kind::Text,
            sha256: name.to_string(),
            pages: vec![],
            unread: vec![],
        }
    }

    fn plan(key: &str) -> Plan {
        let schema = json!({"type": "object", "properties": {key: {"type": "string"}}});
        Plan::of(&schema, SplitterConfigs::default())
    }

    #[test]
    fn calls_that_come_at_once_share_the_same_values() {
        let (shelf, together) = (Shelf::default(), Barrier::new(8));
        let place = |key: &str| {
            shelf.with(&document(1), &plan(key), key, |filled| {
                from_ref(filled).addr()
            })
        };
        let places: Vec<usize> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        place("a")
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        assert_ne!(place("b"), places[0]);
    }

    #[test]
    fn no_more_documents_and_plans_are_kept_than_said() {
        let shelf = Shelf::default();
        for index in 0..DOCUMENTS.get() + 5 {
            shelf.with(&document(index), &plan("a"), "a", |_| ());
        }
        for index in 0..PLANS.get() + 5 {
            let key = index.to_string();
            shelf.with(&document(0), &plan(&key), &key, |_| ());
        }
        let mut documents = shelf.documents.lock();
        assert_eq!(documents.len(), DOCUMENTS.get());
        let plans = documents.get("0").map(|kept| kept.filled.lock().len());
        assert_eq!(plans, Some(PLANS.get()));
    }
}
