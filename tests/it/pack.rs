//! Packing a real schema: every leaf is asked for, in as few calls as answers have room for.

use std::collections::BTreeSet;

use rivulet::domain::cost::{Pace, Terms, size};
use rivulet::domain::pack::{Aim, Budget, Item, Packing, Room, Work};
use rivulet::domain::plan::SplitterConfigs;
use rivulet::domain::plan::{Kind, Plan};
use serde_json::Value;

use crate::support::app::file;

fn filing() -> Plan {
    let schema: Value =
        serde_json::from_slice(&file("tests/fixtures/filings/10kq.schema.json")).unwrap();
    rivulet::domain::schema::accept(&schema).unwrap();
    Plan::of(&schema, SplitterConfigs::default())
}

fn work(plan: &Plan, output: u64, aim: Aim) -> Work {
    let items = plan
        .subtrees
        .iter()
        .enumerate()
        .map(|(index, subtree)| Item {
            index,
            question: size::question(subtree),
            answer: size::answer(subtree, None, false),
            is_list: subtree.kind == Kind::AgenticArray,
        });
    Work {
        items: items.collect(),
        shared: 60_000.0,
        is_excerpted: false,
        room: Room {
            output: Some(output),
            context: Some(1_000_000),
        },
        terms: Terms {
            pace: Pace::UNKNOWN,
            price: None,
            slots: 20,
            caches: true,
        },
        packing: Packing {
            aim,
            ..Packing::default()
        },
        budget: Budget::default(),
    }
}

#[test]
fn the_calls_for_a_filing_ask_for_every_leaf_once() {
    let plan = filing();
    let arrays = plan
        .subtrees
        .iter()
        .filter(|subtree| subtree.kind == Kind::AgenticArray);
    assert_eq!((plan.total_fields(), arrays.count()), (369, 52));
    for aim in Aim::ALL {
        let packed = work(&plan, 32_768, aim).pack();
        let asked: Vec<usize> = packed.loads.concat();
        let once: BTreeSet<usize> = asked.iter().copied().collect();
        assert_eq!(
            (asked.len(), once.len()),
            (plan.subtrees.len(), plan.subtrees.len())
        );
    }
}

/// A number of calls that no packing comes below: by the sum of all, and for each size by how many
/// at least as long fit into one.
fn least(sizes: &[f64], output: f64) -> usize {
    let (alone, shared): (Vec<f64>, Vec<f64>) = sizes.iter().partition(|size| **size >= output);
    let by_sum = (shared.iter().sum::<f64>() / output).ceil() as usize;
    let by_count = shared.iter().map(|size| {
        let as_long = shared.iter().filter(|other| *other >= size).count();
        as_long.div_ceil((output / size) as usize)
    });
    alone.len() + by_count.max().unwrap_or(0).max(by_sum)
}

#[test]
fn a_filing_takes_at_most_a_twentieth_more_calls_than_the_output_allows() {
    let plan = filing();
    for output in [4_096_u64, 8_192, 16_384, 32_768, 65_536] {
        let work = work(&plan, output, Aim::Cheap);
        let sizes: Vec<f64> = work.items.iter().map(|item| item.answer.likely).collect();
        let least = least(&sizes, output as f64);
        let calls = work.pack().loads.len();
        assert!(
            calls as f64 <= (least as f64 * 1.05).ceil(),
            "{calls} calls for {output} tokens, and {least} would do"
        );
    }
}
