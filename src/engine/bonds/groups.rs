//! What is there of the subtrees that are bound together, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::domain::event::{Validation, ValidationError};
use crate::domain::job::ResultDraft;
use crate::domain::merge::Breach;
use crate::domain::plan::Plan;
use crate::domain::pointer::Pointer;
use crate::domain::usage::Usage;
use crate::engine::ports::Correction;

/// Bytes of answers that may wait for others in one run. Past it they are told as they come, and
/// are not checked together.
const MAX_HELD: usize = 64 << 20;
/// Subtrees that a breach names in words.
const MAX_NAMED: usize = 10;

/// The groups of one run, of which something is still to be asked.
#[derive(Default)]
pub(in crate::engine) struct Bonds {
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
    /// What holds of some of its values holds of all.
    is_of_least: bool,
    /// It holds already: nothing waits any more.
    is_certain: bool,
}

/// What becomes of an answer.
pub(super) enum Taken {
    /// It is to be told.
    Free(Vec<ResultDraft>),
    Held,
    /// It is held, and may be enough for this group.
    Perhaps(usize),
    /// It is held, and the last of this group.
    Last(usize),
}

impl Bonds {
    /// The groups that `pending` subtrees are in. `settled` are the values of subtrees that have
    /// one from before; `holds` is whether an answer that does not fit is asked for once more.
    pub(in crate::engine) fn new(
        plan: &Plan,
        pending: &[usize],
        mut settled: BTreeMap<usize, Arc<RawValue>>,
        holds: bool,
    ) -> Self {
        let groups = plan.bound.iter().flat_map(|bound| {
            let numbered = bound.groups.iter().enumerate();
            numbered.map(|(at, members)| (members, bound.least.contains(&at)))
        });
        let groups = groups.filter_map(|(members, is_of_least)| {
            let awaited = members.iter().filter(|index| pending.contains(index));
            let awaited: BTreeSet<usize> = awaited.copied().collect();
            let told = members.iter();
            let told = told.filter_map(|index| Some((*index, settled.remove(index)?)));
            let group = Group {
                told: told.collect(),
                members: members.clone(),
                awaited,
                is_of_least,
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
    pub(in crate::engine) fn has(&self, index: usize) -> bool {
        let groups = self.groups.lock();
        groups.iter().any(|group| group.held.contains_key(&index))
    }

    pub(super) fn take(&self, draft: ResultDraft) -> Taken {
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
        if !is_last && (!self.holds || group.is_certain) {
            let value = Arc::from(draft.extracted_result.clone());
            group.told.insert(index, value);
            return Taken::Free(vec![draft]);
        }
        group.held.insert(index, draft);
        if is_last {
            Taken::Last(at)
        } else if group.is_of_least {
            Taken::Perhaps(at)
        } else {
            Taken::Held
        }
    }

    /// Whatever else comes, the group holds.
    pub(super) fn be_certain(&self, at: usize) {
        if let Some(group) = self.groups.lock().get_mut(at) {
            group.is_certain = true;
        }
    }

    /// A subtree has no answer. Gives its group when it was the last that others wait for.
    pub(super) fn lose(&self, index: usize) -> Option<usize> {
        let mut groups = self.groups.lock();
        let (at, group) = find(&mut groups, index)?;
        (group.awaited.remove(&index) && group.awaited.is_empty()).then_some(at)
    }

    /// Adds what was spent in vain to the bill of an answer that waits; false when there is none.
    pub(super) fn charge(&self, index: usize, spent: &Usage) -> bool {
        let mut groups = self.groups.lock();
        let held = find(&mut groups, index).and_then(|(_, group)| group.held.get_mut(&index));
        held.map(|draft| draft.usage.add(spent)).is_some()
    }

    /// The values of a group, with the answers that came when it was asked for once more.
    pub(super) fn values(&self, at: usize) -> Vec<(usize, Arc<RawValue>)> {
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
    pub(super) fn mark(&self, at: usize, breaches: &[Breach]) -> bool {
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
    pub(super) fn found(&self, at: usize, breaches: Vec<Breach>) {
        if let Some(group) = self.groups.lock().get_mut(at) {
            group.breaches = breaches;
        }
    }

    pub(super) fn members(&self, at: usize) -> Vec<usize> {
        let groups = self.groups.lock();
        groups
            .get(at)
            .map_or_else(Vec::new, |group| group.members.clone())
    }

    /// The next group that is to be asked for once more, and what is wrong with which subtrees.
    pub(super) fn broken(&self, plan: &Plan) -> Option<(usize, Vec<Correction>)> {
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
    pub(super) fn choose(&self, at: usize, breaches: Vec<Breach>) {
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
    pub(super) fn release(&self, at: usize, plan: &Plan) -> Vec<ResultDraft> {
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
    pub(in crate::engine) fn refuse(&self) -> Vec<usize> {
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

    /// Whether what is held of a group is known not to fit.
    pub(super) fn is_known_wrong(&self, at: usize) -> bool {
        let groups = self.groups.lock();
        groups
            .get(at)
            .is_some_and(|group| !group.breaches.is_empty())
    }

    pub(super) fn count(&self) -> usize {
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

#[cfg(test)]
mod tests;
