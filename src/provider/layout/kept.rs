//! What is kept between calls: the analysis of a document and its values for a plan, each made
//! once however many calls ask at the same time.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::domain::document::Document;
use crate::domain::plan::Plan;

use super::find::Analysis;
use super::whole::Filled;

/// Documents whose analysis is kept.
const DOCUMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// Plans whose values are kept for each of them.
const PLANS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

type PlanKey = [u8; 32];

/// A document's analysis, and its values by plan.
struct Kept {
    analysis: OnceLock<Analysis>,
    filled: Mutex<LruCache<PlanKey, Arc<OnceLock<Filled>>>>,
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
                .get_or_insert(key(plan), || Arc::new(OnceLock::new())),
        );
        take(filled.get_or_init(|| {
            let analysis = kept.analysis.get_or_init(|| Analysis::of(document));
            Filled::of(document, analysis, plan)
        }))
    }
}

fn key(plan: &Plan) -> PlanKey {
    let mut hash = Sha256::new();
    for subtree in &plan.subtrees {
        // A plan came from JSON: it goes back without failing.
        hash.update(serde_json::to_vec(subtree).unwrap_or_default());
    }
    hash.finalize().into()
}
