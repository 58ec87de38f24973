//! Windows that are kept: written when they are read, and found again by whoever goes on.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{Array, Arrays};
use crate::domain::config::Cache;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::job::{AnswerKey, Draft, WindowDraft};
use crate::domain::rows::{Part, Stretch, Window};
use crate::domain::usage::Usage;
use crate::engine::call::Run;
use crate::engine::journal::Halt;
use crate::engine::run::patiently;
use crate::engine::stored;

/// Changes whenever the same answer of a window would be kept as something else.
const FORM: &str = "rows-2";

/// The rows of one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Piece {
    /// What was shown and asked for.
    pub(super) window: Window,
    pub(super) rows: Vec<Value>,
    pub(super) places: Vec<Option<Stretch>>,
    /// By pointer into `rows`.
    #[serde(default, skip_serializing_if = "Attributions::is_empty")]
    pub(super) attributions: Attributions,
    #[serde(default, skip_serializing_if = "Logprobs::is_empty")]
    pub(super) logprobs: Logprobs,
    #[serde(default)]
    pub(super) is_absent: bool,
}

impl Piece {
    pub(super) fn part(&self) -> Part {
        Part {
            window: self.window.clone(),
            rows: self.rows.clone(),
            places: self.places.clone(),
        }
    }

    /// The rows that it answers for: those that begin in what is its own.
    pub(super) fn own(&self) -> impl Iterator<Item = &Value> {
        let rows = self.rows.iter().zip(&self.places);
        let own = rows
            .filter(|(_, place)| place.is_none_or(|place| self.window.own.contains(place.first)));
        own.map(|(row, _)| row)
    }
}

/// What was read in one window. On disk it is what one answer gave of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Whole {
    pub(super) pieces: Vec<Piece>,
    /// Windows for what an answer that was cut off has left of its own; each is kept by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) left: Vec<Window>,
    pub(super) usage: Usage,
    pub(super) attempts: u32,
    /// Which time the job ran.
    pub(super) run: u32,
}

impl Run {
    /// Names a window of an array by all that it is asked with.
    pub(super) fn window_key(&self, array: &Array, window: &Window) -> AnswerKey {
        let mut hash = Sha256::new();
        hash.update(FORM);
        match self.key(array.index) {
            Some(answer) => hash.update(answer),
            // Answers are not kept for other jobs; for this one they are.
            None => hash.update(format!("{}/{}", self.lease.job, self.ordinal(array.index))),
        }
        hash.update(serde_json::to_vec(window).unwrap_or_default());
        hash.finalize().into()
    }

    /// The windows that were read before: by this job, or by others where answers are used again.
    pub(super) async fn windows_before(
        &self,
        array: &Array,
        keys: &[AnswerKey],
    ) -> Result<HashMap<AnswerKey, Whole>, Halt> {
        let job = self.lease.job;
        let found = patiently(&self.engine, || async {
            stored(self.engine.jobs.windows(&self.scope, job, keys).await)
        });
        let Ok(found) = found.await? else {
            // To ask again costs money; not to go on costs the job.
            warn!("array.windows: windows that were read before cannot be read");
            return Ok(HashMap::new());
        };
        let mut before = self.taken_back.iter();
        let before = before.find(|before| before.subtree_id == array.subtree.id);
        let told = before.map_or(0, |before| before.run);
        let is_shared = self.spec.config.cache == Cache::On;
        let usable = found
            .into_iter()
            .filter(|kept| is_shared || kept.job == job);
        let read = usable.filter_map(|kept| {
            let mut whole: Whole = serde_json::from_str(&kept.body).ok()?;
            if kept.job == job && whole.run > told {
                // No outcome has told of it yet.
                self.purse.charge(&whole.usage);
                self.arrays.pay(array.index, kept.key, &whole.usage);
            } else {
                whole.usage = self.blank.clone();
                whole.attempts = 0;
            }
            Some((kept.key, whole))
        });
        Ok(read.collect())
    }

    /// Waits until a window is on disk.
    pub(super) async fn keep_window(
        &self,
        index: usize,
        key: AnswerKey,
        whole: &Whole,
    ) -> Result<(), Halt> {
        let Ok(body) = serde_json::value::to_raw_value(whole) else {
            return Ok(());
        };
        let window = WindowDraft {
            ordinal: self.ordinal(index),
            paid: self.arrays.pay(index, key, &whole.usage),
            key,
            body,
        };
        self.journal.record(Draft::Window(window)).await
    }
}

impl Arrays {
    /// What the windows of an array did cost that no outcome has told of.
    pub(in crate::engine) fn paid(&self, index: usize) -> Usage {
        let all = self.paid.lock();
        let paid = all.get(&index);
        paid.map(|paid| paid.usage.clone()).unwrap_or_default()
    }

    /// What the windows of an array did cost that no outcome has told of, with this one, which
    /// counts once.
    fn pay(&self, index: usize, key: AnswerKey, usage: &Usage) -> Usage {
        let mut all = self.paid.lock();
        let paid = all.entry(index).or_default();
        if paid.windows.insert(key) {
            paid.usage.add(usage);
        }
        paid.usage.clone()
    }
}

/// Windows that were paid for.
#[derive(Default)]
pub(super) struct Paid {
    windows: HashSet<AnswerKey>,
    usage: Usage,
}
