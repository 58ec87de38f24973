//! Subtrees into calls.

use super::plan::{Kind, Plan, Subtree};

/// One request to a model, before it is made: indices into the plan's subtrees.
pub type Load = Vec<usize>;

/// Tokens that a leaf field takes in an answer, on average: its name, its value and the marks
/// around them.
const TOKENS_A_FIELD: u64 = 16;
/// Rows that an array is thought to have as long as nothing is known of it.
const ROWS: u64 = 25;

/// Packs the subtrees that have no outcome into calls.
///
/// With `output_tokens`, what one answer may have, subtrees share calls up to that: the document
/// is paid for once a call. Inside a call the lightest comes first, since its result is read
/// before the others are written. Without it every call carries one subtree, the longest first,
/// so that the last call to start is not the longest.
pub fn pack(plan: &Plan, pending: &[usize], output_tokens: Option<u64>) -> Vec<Load> {
    let mut order: Vec<(u64, usize)> = pending
        .iter()
        .map(|index| {
            let subtree = plan.subtrees.get(*index);
            (subtree.map_or(0, |subtree| tokens(subtree)), *index)
        })
        .collect();
    order.sort_by_key(|(tokens, index)| (std::cmp::Reverse(*tokens), *index));
    let Some(limit) = output_tokens else {
        return order.into_iter().map(|(_, index)| vec![index]).collect();
    };
    // First fit, the heaviest first: at most 11/9 of the smallest number of calls, plus one.
    let mut bins: Vec<(u64, Load)> = Vec::new();
    for (tokens, index) in order {
        let fits = |bin: &&mut (u64, Load)| bin.0.saturating_add(tokens) <= limit;
        match bins.iter_mut().find(fits) {
            Some(bin) => {
                bin.0 += tokens;
                bin.1.push(index);
            }
            None => bins.push((tokens, vec![index])),
        }
    }
    bins.into_iter()
        .map(|(_, mut load)| {
            load.reverse();
            load
        })
        .collect()
}

/// The most tokens that an answer with these subtrees is given, many times what it is thought to
/// need: a model that does not find its end costs no more. None where lists are asked for, whose
/// length nobody knows.
pub fn most_tokens(plan: &Plan, load: &[usize], quotes: bool) -> Option<u64> {
    let mut sum = 0;
    for subtree in load.iter().filter_map(|index| plan.subtrees.get(*index)) {
        if subtree.kind == Kind::AgenticArray {
            return None;
        }
        sum += tokens(subtree);
    }
    let quoted = if quotes { 4 } else { 1 };
    Some(256 + sum * quoted * 4)
}

/// Tokens that the value of a subtree is thought to have.
fn tokens(subtree: &Subtree) -> u64 {
    let fields = u64::from(subtree.total_fields);
    match subtree.kind {
        Kind::AgenticArray => fields * TOKENS_A_FIELD * ROWS,
        Kind::Object | Kind::Fields | Kind::Value => fields * TOKENS_A_FIELD,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::super::plan::Take;
    use super::super::pointer::Pointer;
    use super::*;

    fn plan(fields: &[u32]) -> Plan {
        let subtree = |(at, total_fields): (usize, &u32)| {
            Arc::new(Subtree {
                id: format!("s{at}"),
                path: Pointer::root().join(&format!("s{at}")),
                kind: Kind::Object,
                take: Take::Whole,
                schema: Value::Bool(true),
                total_fields: *total_fields,
                context: Vec::new(),
            })
        };
        Plan {
            subtrees: fields.iter().enumerate().map(subtree).collect(),
            shells: Vec::new(),
            bound: None,
        }
    }

    #[test]
    fn without_a_budget_each_subtree_is_a_call_and_the_heaviest_is_first() {
        let loads = pack(&plan(&[1, 5, 3]), &[0, 1, 2], None);
        assert_eq!(loads, [[1], [2], [0]]);
    }

    #[test]
    fn what_fits_one_answer_is_one_call_and_the_lightest_is_first() {
        let loads = pack(&plan(&[2, 5, 1]), &[0, 1, 2], Some(8 * TOKENS_A_FIELD));
        assert_eq!(loads, [[2, 0, 1]]);
    }

    #[test]
    fn no_call_is_over_the_budget_but_one_that_cannot_be_less() {
        let fields = [9, 4, 4, 4, 2, 1, 12];
        let pending: Vec<_> = (0..fields.len()).collect();
        let loads = pack(&plan(&fields), &pending, Some(8 * TOKENS_A_FIELD));
        let mut all: Vec<_> = loads.concat();
        all.sort_unstable();
        assert_eq!(all, pending);
        for load in loads {
            let sum: u32 = load.iter().map(|index| fields[*index]).sum();
            assert!(sum <= 8 || load.len() == 1, "{load:?}");
        }
    }
}
