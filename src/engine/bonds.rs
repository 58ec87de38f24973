//! Answers of subtrees that the schema binds together: kept until all of them are there, and
//! checked against each other before any is told.
//!
//! An outcome is final once it is in the log, so what does not fit has to be found before. Where
//! an answer is not asked for twice, nothing is won by waiting: each is told as it comes, and a
//! breach with the last.

mod groups;

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::error;

use super::call::Run;
use super::journal::Halt;
use super::metrics::label;
use crate::domain::job::{Draft, ResultDraft};
use crate::domain::merge::{Breach, merge};
use crate::domain::usage::Usage;

pub(super) use groups::Bonds;
use groups::Taken;

/// Bytes of values, and fields of a plan, up to which values are checked where they are: that takes
/// less than a way to another thread and back.
const SMALL: (usize, u32) = (16 << 10, 500);

/// What a subtree without a value counts as.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Unknown,
}

impl Run {
    /// Queues an answer, or keeps it until those that it is bound to are there.
    pub(super) async fn deliver(&self, draft: ResultDraft) -> Result<(), Halt> {
        match self.bonds.take(draft) {
            Taken::Free(drafts) => self.tell(drafts).await,
            Taken::Held => Ok(()),
            Taken::Perhaps(group) => {
                if self.together(group, Beside::Nothing).await.is_empty() {
                    self.bonds.be_certain(group);
                    self.release(group).await?;
                }
                Ok(())
            }
            Taken::Last(group) => self.close(group).await,
        }
    }

    /// A subtree has no answer: those that wait for it need not.
    pub(super) async fn let_go(&self, index: usize) -> Result<(), Halt> {
        match self.bonds.lose(index) {
            Some(group) => self.close(group).await,
            None => Ok(()),
        }
    }

    /// Whether the first answer of a subtree stands, when the second came to nothing.
    pub(super) fn falls_back(&self, index: usize, spent: &Usage) -> bool {
        self.bonds.charge(index, spent)
    }

    async fn tell(&self, drafts: Vec<ResultDraft>) -> Result<(), Halt> {
        for draft in drafts {
            self.say(Draft::Result(draft)).await?;
        }
        Ok(())
    }

    /// A group is whole.
    async fn close(&self, group: usize) -> Result<(), Halt> {
        let breaches = self.together(group, Beside::Unknown).await;
        if !breaches.is_empty() && self.bonds.mark(group, &breaches) {
            return Ok(());
        }
        self.bonds.found(group, breaches);
        self.release(group).await
    }

    /// Asks once more for what does not fit together, and tells the better answers.
    pub(super) async fn mend(&self) -> Result<(), Halt> {
        let plan = &self.planned.plan;
        while let Some((group, corrections)) = self.bonds.broken(plan) {
            let asked: Vec<_> = corrections.iter().map(|known| known.index).collect();
            for mut load in self.packed(&asked).loads {
                // What takes many calls to read is not read twice.
                load.retain(|index| !self.arrays.is_long(*index));
                if load.is_empty() {
                    continue;
                }
                let known = corrections.iter();
                let known = known.filter(|known| load.contains(&known.index)).cloned();
                let known = known.collect();
                self.ask_again(load, known).await?;
            }
            let breaches = self.together(group, Beside::Unknown).await;
            self.bonds.choose(group, breaches);
            self.release(group).await?;
        }
        Ok(())
    }

    async fn release(&self, group: usize) -> Result<(), Halt> {
        self.tell(self.bonds.release(group, &self.planned.plan))
            .await
    }

    /// Tells what still waits when no further call is made here. Where the job goes on elsewhere,
    /// what it waits for is checked against it there; only what is known not to fit is left to be
    /// asked for anew.
    pub(super) async fn release_all(&self, goes_on: bool) -> Result<(), Halt> {
        for group in 0..self.bonds.count() {
            if !(goes_on && self.bonds.is_known_wrong(group)) {
                self.release(group).await?;
            }
        }
        Ok(())
    }

    /// What the values of a group break together.
    ///
    /// Beside unknown values a breach is not told where a subtree that is part of it has none:
    /// that may be all that is wrong, and is told by itself.
    async fn together(&self, group: usize, beside: Beside) -> Vec<Breach> {
        let values = self.bonds.values(group);
        let members = self.bonds.members(group);
        let planned = Arc::clone(&self.planned);
        let bytes: usize = values.iter().map(|(_, raw)| raw.get().len()).sum();
        let is_small = bytes <= SMALL.0 && planned.plan.total_fields() <= SMALL.1;
        let check = move || {
            let there: BTreeSet<usize> = values.iter().map(|(index, _)| *index).collect();
            let parsed = values.iter().filter_map(|(index, raw)| {
                let value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
                let subtree = planned.plan.subtrees.get(*index)?;
                // Null where the schema knows none says that the document does not tell.
                let is_abstention = value.is_null()
                    && planned
                        .validator(*index)
                        .is_ok_and(|validator| !validator.is_valid(&value));
                (!is_abstention).then_some((&subtree.path, value))
            });
            let mut found = planned.breaches(&merge(parsed));
            for breach in &mut found {
                breach.subtrees.retain(|index| members.contains(index));
            }
            found.retain(|breach| {
                let named = &breach.subtrees;
                let is_there = |index: &usize| there.contains(index);
                !named.is_empty() && (beside == Beside::Nothing || named.iter().all(is_there))
            });
            found
        };
        if is_small {
            return check();
        }
        let checked = tokio::task::spawn_blocking(check);
        checked.await.unwrap_or_else(|cause| {
            error!(%cause, "bonds.unchecked: values could not be checked together");
            Vec::new()
        })
    }

    /// Counts an outcome, once for each subtree.
    pub(super) fn count_result(&self, index: usize) {
        if !self.bonds.has(index) {
            let outcomes = &self.engine.metrics.subtrees;
            outcomes.get_or_create(&label("outcome", "result")).inc();
        }
    }
}
