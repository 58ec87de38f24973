//! Subtrees into calls.

use super::plan::Plan;

/// One request to a model, before it is made: indices into the plan's subtrees.
pub type Load = Vec<usize>;

/// Packs the subtrees that have no outcome into calls, the longest first, so that the last call
/// to start is not the longest.
///
/// Every call carries one subtree: the embedded extractor gains nothing from sharing a call.
pub fn pack(plan: &Plan, pending: &[usize]) -> Vec<Load> {
    let mut order: Vec<usize> = pending.to_vec();
    order.sort_by_key(|index| {
        let fields = plan
            .subtrees
            .get(*index)
            .map_or(0, |subtree| subtree.total_fields);
        (std::cmp::Reverse(fields), *index)
    });
    order.into_iter().map(|index| vec![index]).collect()
}
