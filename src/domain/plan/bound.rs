//! Which subtrees the schema says something of together.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Subtree, Take};
use crate::domain::pointer::Pointer;

/// What no subtree's own schema says, and whom it concerns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The whole schema, as it was accepted.
    pub schema: Value,
    /// Indices into the plan's subtrees; disjoint, in order, each group at least two. Subtrees are
    /// in one group where a chain of keywords binds them.
    pub groups: Vec<Vec<usize>>,
    /// Indices of groups that are bound only by a least number of members: what holds of some of
    /// their values holds of all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub least: Vec<usize>,
}

/// Members of the object at `at` that one keyword binds; all of them where `names` is none.
pub(super) struct Tie {
    pub(super) at: Pointer,
    pub(super) names: Option<BTreeSet<String>>,
    /// Whether it only says how many there are at least.
    pub(super) is_least: bool,
}

/// The groups that ties make, each with all that shares a subtree with it, and whether only ties
/// of a least number made it.
pub(super) fn groups(subtrees: &[Subtree], ties: &[Tie]) -> Vec<(Vec<usize>, bool)> {
    let mut groups: Vec<(BTreeSet<usize>, bool)> = Vec::new();
    for tie in ties {
        let is_tied = |(_, subtree): &(usize, &Subtree)| subtree.carries(&tie.at, &tie.names);
        let tied = subtrees.iter().enumerate().filter(is_tied);
        let mut tied: BTreeSet<usize> = tied.map(|(index, _)| index).collect();
        if tied.len() < 2 {
            continue;
        }
        let mut is_least = tie.is_least;
        groups.retain(|(group, of_least)| {
            let is_apart = group.is_disjoint(&tied);
            if !is_apart {
                tied.extend(group);
                is_least &= of_least;
            }
            is_apart
        });
        groups.push((tied, is_least));
    }
    groups.sort();
    groups
        .into_iter()
        .map(|(group, is_least)| (group.into_iter().collect(), is_least))
        .collect()
}

impl Subtree {
    /// Whether it carries one of these members of the object at `at`, or what is below one; any
    /// member where there are no names.
    pub fn carries(&self, at: &Pointer, names: &Option<BTreeSet<String>>) -> bool {
        let Some(rest) = self.path.as_str().strip_prefix(at.as_str()) else {
            return false;
        };
        let Some(below) = rest.strip_prefix('/') else {
            return rest.is_empty() && names.as_ref().is_none_or(|names| self.takes_one_of(names));
        };
        let member = below.split('/').next().unwrap_or_default();
        let member = if member.contains('~') {
            Cow::Owned(member.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(member)
        };
        names.as_ref().is_none_or(|names| names.contains(&*member))
    }

    fn takes_one_of(&self, names: &BTreeSet<String>) -> bool {
        match &self.take {
            Take::Whole => true,
            Take::Keys(keys) => keys.iter().any(|key| names.contains(key)),
            Take::Rest(others) => names.iter().any(|name| !others.contains(name)),
        }
    }
}
