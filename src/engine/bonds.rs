//! Answers of subtrees that the schema binds together: kept until all of them are there, and
//! checked against each other before any is told.
//!
//! An outcome is final once it is in the log, so what does not fit has to be found before. Where
//! an answer is not asked for twice, nothing is won by waiting: each is told as it comes, and a
//! breach with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tracing::error;

use super::call::Run;
use super::journal::Halt;
use super::metrics::label;
use super::ports::Correction;
use crate::domain::event::{Validation, ValidationError};
use crate::domain::job::{Draft, ResultDraft};
use crate::domain::merge::{Breach, merge};
use crate::domain::pack::pack;
use crate::domain::plan::Plan;
use crate::domain::pointer::Pointer;
use crate::domain::usage::Usage;

/// Bytes of answers that may wait for others in one run. Past it they are told as they come, and
/// are not checked together.
const MAX_HELD: usize = 64 << 20;
/// Subtrees that a breach names in words.
const MAX_NAMED: usize = 10;

/// The groups of one run, of which something is still to be asked.
#[derive(Default)]
pub(super) struct Bonds {
    /// Whether answers wait for each other.
    holds: bool,
    groups: Mutex<Vec<Group>>,
}

#[derive(Default)]
struct Group {
    members: Vec<usize>,
    /// Subtrees of which there is neither an answer nor an error.
    awaited: BTreeSet<usize>,
    /// Values that are in the log, or on their way into it.
    told: BTreeMap<usize, Arc<RawValue>>,
    /// Answers that wait.
    held: BTreeMap<usize, ResultDraft>,
    /// The same subtrees, asked for once more.
    again: BTreeMap<usize, ResultDraft>,
    /// What the held answers break.
    breaches: Vec<Breach>,
    /// They are to be asked for once more.
    is_broken: bool,
    /// There is too much of it to be kept and checked.
    is_over: bool,
}

/// What becomes of an answer.
enum Taken {
    /// It is to be told.
    Free(Vec<ResultDraft>),
    Held,
    /// It is held, and the last of this group.
    Last(usize),
}

impl Bonds {
    /// The groups that `pending` subtrees are in. `settled` are the values of subtrees that have
    /// one from before; `holds` is whether an answer that does not fit is asked for once more.
    pub(super) fn new(
        plan: &Plan,
        pending: &[usize],
        mut settled: BTreeMap<usize, Arc<RawValue>>,
        holds: bool,
    ) -> Self {
        let groups = plan.bound.iter().flat_map(|bound| &bound.groups);
        let groups = groups.filter_map(|members| {
            let awaited = members.iter().filter(|index| pending.contains(index));
            let awaited: BTreeSet<usize> = awaited.copied().collect();
            let told = members.iter();
            let told = told.filter_map(|index| Some((*index, settled.remove(index)?)));
            let group = Group {
                told: told.collect(),
                members: members.clone(),
                awaited,
                ..Group::default()
            };
            (!group.awaited.is_empty()).then_some(group)
        });
        Self {
            holds,
            groups: Mutex::new(groups.collect()),
        }
    }

    /// Whether an answer of this subtree is there and not told.
    pub(super) fn has(&self, index: usize) -> bool {
        let groups = self.groups.lock();
        groups.iter().any(|group| group.held.contains_key(&index))
    }

    fn take(&self, draft: ResultDraft) -> Taken {
        let index = draft.ordinal as usize;
        let mut groups = self.groups.lock();
        let waiting: usize = groups.iter().map(Group::bytes).sum();
        let is_full = waiting + draft.extracted_result.get().len() > MAX_HELD;
        let Some((at, group)) = find(&mut groups, index) else {
            return Taken::Free(vec![draft]);
        };
        if group.held.contains_key(&index) {
            group.again.insert(index, draft);
            return Taken::Held;
        }
        group.awaited.remove(&index);
        if is_full || group.is_over {
            return Taken::Free(group.give_up(draft));
        }
        let is_last = group.awaited.is_empty();
        if !is_last && !self.holds {
            let value = Arc::from(draft.extracted_result.clone());
            group.told.insert(index, value);
            return Taken::Free(vec![draft]);
        }
        group.held.insert(index, draft);
        if is_last {
            Taken::Last(at)
        } else {
            Taken::Held
        }
    }

    /// A subtree has no answer. Gives its group when it was the last that others wait for.
    fn lose(&self, index: usize) -> Option<usize> {
        let mut groups = self.groups.lock();
        let (at, group) = find(&mut groups, index)?;
        (group.awaited.remove(&index) && group.awaited.is_empty()).then_some(at)
    }

    /// Adds what was spent in vain to the bill of an answer that waits; false when there is none.
    fn charge(&self, index: usize, spent: &Usage) -> bool {
        let mut groups = self.groups.lock();
        let held = find(&mut groups, index).and_then(|(_, group)| group.held.get_mut(&index));
        held.map(|draft| draft.usage.add(spent)).is_some()
    }

    /// The values of a group, with the answers that came when it was asked for once more.
    fn values(&self, at: usize) -> Vec<(usize, Arc<RawValue>)> {
        let groups = self.groups.lock();
        let Some(group) = groups.get(at) else {
            return Vec::new();
        };
        let mut values = group.told.clone();
        for (index, draft) in group.held.iter().chain(&group.again) {
            values.insert(*index, Arc::from(draft.extracted_result.clone()));
        }
        values.into_iter().collect()
    }

    /// Marks a group to be asked for once more; false where none of it can be.
    fn mark(&self, at: usize, breaches: &[Breach]) -> bool {
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(at).filter(|_| self.holds) else {
            return false;
        };
        breaches.clone_into(&mut group.breaches);
        let mut named = breaches.iter().flat_map(|breach| &breach.subtrees);
        group.is_broken = named.any(|index| group.held.contains_key(index));
        group.is_broken
    }

    /// What is wrong with a group, to be told with what is held of it.
    fn found(&self, at: usize, breaches: Vec<Breach>) {
        if let Some(group) = self.groups.lock().get_mut(at) {
            group.breaches = breaches;
        }
    }

    fn members(&self, at: usize) -> Vec<usize> {
        let groups = self.groups.lock();
        groups
            .get(at)
            .map_or_else(Vec::new, |group| group.members.clone())
    }

    /// The next group that is to be asked for once more, and what is wrong with which subtrees.
    fn broken(&self, plan: &Plan) -> Option<(usize, Vec<Correction>)> {
        let mut groups = self.groups.lock();
        let mut all = groups.iter_mut().enumerate();
        let (at, group) = all.find(|(_, group)| group.is_broken)?;
        group.is_broken = false;
        let corrections = group.held.keys().filter_map(|index| {
            let of_it = group.breaches.iter();
            let of_it = of_it.filter(|breach| breach.subtrees.contains(index));
            let errors: Vec<_> = of_it
                .map(|breach| ValidationError {
                    path: Pointer::root(),
                    message: format!(
                        "does not fit the other parts: at `{}`: {}",
                        breach.at,
                        worded(plan, breach)
                    ),
                })
                .collect();
            (!errors.is_empty()).then_some(Correction {
                index: *index,
                errors,
            })
        });
        Some((at, corrections.collect()))
    }

    /// Keeps of each subtree the first answer or, when that leaves fewer `breaches`, the second.
    fn choose(&self, at: usize, breaches: Vec<Breach>) {
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(at) else {
            return;
        };
        let is_better = breaches.len() < group.breaches.len();
        if is_better {
            group.breaches = breaches;
        }
        for (index, mut second) in std::mem::take(&mut group.again) {
            let Some(first) = group.held.get_mut(&index) else {
                continue;
            };
            if is_better {
                std::mem::swap(first, &mut second);
            }
            first.usage.add(&second.usage);
            first.attempts += second.attempts;
            first.duration_ms += second.duration_ms;
        }
    }

    /// What is held of a group, each with the breaches that it is part of.
    fn release(&self, at: usize, plan: &Plan) -> Vec<ResultDraft> {
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(at) else {
            return Vec::new();
        };
        group.is_broken = false;
        let mut held: Vec<_> = std::mem::take(&mut group.held).into_values().collect();
        for breach in &group.breaches {
            let is_part = |draft: &ResultDraft| {
                let index = draft.ordinal as usize;
                breach.subtrees.contains(&index)
            };
            if held.iter().any(is_part) {
                let parts = held.iter_mut().filter(|draft| is_part(draft));
                parts.for_each(|draft| draft.break_by(plan, breach));
            } else if let Some(last) = held.last_mut() {
                // All that are part of it are told already.
                last.break_by(plan, breach);
            }
        }
        for draft in &held {
            let value = Arc::from(draft.extracted_result.clone());
            group.told.insert(draft.ordinal as usize, value);
        }
        held
    }

    /// Lets go of answers of before that do not fit each other. Gives their subtrees.
    pub(super) fn refuse(&self) -> Vec<usize> {
        let mut refused = Vec::new();
        for group in self.groups.lock().iter_mut() {
            if std::mem::take(&mut group.is_broken) {
                group.breaches.clear();
                group.awaited.extend(group.held.keys());
                refused.extend(std::mem::take(&mut group.held).into_keys());
            }
        }
        refused
    }

    fn count(&self) -> usize {
        self.groups.lock().len()
    }
}

impl Group {
    /// Bytes of the values that it keeps.
    fn bytes(&self) -> usize {
        let held = self.held.values().chain(self.again.values());
        let held = held.map(|draft| draft.extracted_result.get().len());
        let told = self.told.values().map(|value| value.get().len());
        held.chain(told).sum()
    }

    /// Keeps nothing any more; gives what is to be told.
    fn give_up(&mut self, draft: ResultDraft) -> Vec<ResultDraft> {
        self.is_over = true;
        self.told.clear();
        let mut all: Vec<_> = std::mem::take(&mut self.held).into_values().collect();
        all.push(draft);
        if self.awaited.is_empty()
            && let Some(last) = all.last_mut()
        {
            let path = last.path.clone();
            last.complain(ValidationError {
                path,
                message: "This and the parts of the document that the schema binds to it are too large to be checked together.".into(),
            });
        }
        all
    }
}

fn find(groups: &mut [Group], index: usize) -> Option<(usize, &mut Group)> {
    let mut groups = groups.iter_mut().enumerate();
    groups.find(|(_, group)| group.members.binary_search(&index).is_ok())
}

/// A breach in words, with whom it concerns.
fn worded(plan: &Plan, breach: &Breach) -> String {
    let named = breach.subtrees.iter().take(MAX_NAMED);
    let named = named.filter_map(|index| plan.subtrees.get(*index));
    let mut names: Vec<_> = named.map(|subtree| format!("`{}`", subtree.id)).collect();
    if breach.subtrees.len() > MAX_NAMED {
        names.push("others".into());
    }
    format!("{} (of {} together)", breach.message, names.join(", "))
}

impl ResultDraft {
    fn break_by(&mut self, plan: &Plan, breach: &Breach) {
        self.complain(ValidationError {
            path: breach.at.clone(),
            message: worded(plan, breach),
        });
    }

    fn complain(&mut self, error: ValidationError) {
        // Beside other answers it may fit; nobody can know, so it is not used again.
        self.answer = None;
        let validation = self.validation.get_or_insert_with(|| Validation {
            valid: true,
            errors: Vec::new(),
        });
        validation.valid = false;
        validation.errors.push(error);
    }
}

impl Run {
    /// Queues an answer, or keeps it until those that it is bound to are there.
    pub(super) async fn deliver(&self, draft: ResultDraft) -> Result<(), Halt> {
        match self.bonds.take(draft) {
            Taken::Free(drafts) => self.tell(drafts).await,
            Taken::Held => Ok(()),
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
            self.journal.push(Draft::Result(draft)).await?;
        }
        Ok(())
    }

    /// A group is whole.
    async fn close(&self, group: usize) -> Result<(), Halt> {
        let breaches = self.together(group).await;
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
            for load in pack(plan, &asked, self.output_tokens) {
                let known = corrections.iter();
                let known = known.filter(|known| load.contains(&known.index)).cloned();
                let known = known.collect();
                self.ask_again(load, known).await?;
            }
            let breaches = self.together(group).await;
            self.bonds.choose(group, breaches);
            self.release(group).await?;
        }
        Ok(())
    }

    async fn release(&self, group: usize) -> Result<(), Halt> {
        self.tell(self.bonds.release(group, &self.planned.plan))
            .await
    }

    /// Tells what still waits when no further call is made. What it waits for is then checked
    /// against it by whoever goes on with the job.
    pub(super) async fn release_all(&self) -> Result<(), Halt> {
        for group in 0..self.bonds.count() {
            self.release(group).await?;
        }
        Ok(())
    }

    /// What the values of a group break together.
    ///
    /// A breach is not told where a subtree that is part of it has no value: that may be all that
    /// is wrong, and is told by itself.
    async fn together(&self, group: usize) -> Vec<Breach> {
        let values = self.bonds.values(group);
        let members = self.bonds.members(group);
        let planned = Arc::clone(&self.planned);
        let checked = tokio::task::spawn_blocking(move || {
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
                !named.is_empty() && named.iter().all(|index| there.contains(index))
            });
            found
        });
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
