use std::collections::BTreeSet;

use rivulet::domain::cost::{Pace, Span, Start, Terms};
use rivulet::domain::pack::{Aim, Budget, Item, Packing, Room, Work};
use rivulet::domain::usage::Price;

use super::{once_in, pick, run};
use crate::support::dice::Dice;

/// Mostly small, sometimes nothing, sometimes huge.
fn figure(dice: &mut Dice) -> f64 {
    let scale = *pick(dice, &[0.0, 1.0, 100.0, 1_000.0, 1e6]);
    (dice.roll(1_000) as f64 / 500.0 * scale).round()
}

fn some<T>(dice: &mut Dice, one: T) -> Option<T> {
    (!once_in(dice, 3)).then_some(one)
}

fn work(dice: &mut Dice) -> Work {
    let items = (0..dice.roll(41)).map(|at| {
        let likely = figure(dice);
        Item {
            index: (at * 3) as usize,
            question: figure(dice),
            answer: Span {
                low: likely / 2.0,
                likely,
                high: likely * 3.0,
            },
            is_list: once_in(dice, 3),
        }
    });
    let items = items.collect();
    let (output, context) = (1 + dice.roll(20_000), dice.roll(1 << 20));
    let price = Price {
        prompt: figure(dice),
        cached: figure(dice),
        answer: figure(dice),
    };
    let (calls, tokens) = (1 + dice.roll(12) as u32, 1 + dice.roll(9_000) as u32);
    Work {
        items,
        shared: figure(dice),
        is_excerpted: once_in(dice, 3),
        room: Room {
            output: some(dice, output),
            context: some(dice, context),
        },
        terms: Terms {
            pace: Pace::UNKNOWN,
            price: some(dice, price),
            slots: 1 + dice.roll(20) as usize,
            caches: once_in(dice, 2),
        },
        packing: Packing {
            aim: *pick(dice, &Aim::ALL),
            max_calls: some(dice, calls),
            max_tokens_per_call: some(dice, tokens),
            leader_first: *pick(dice, &[None, Some(true), Some(false)]),
        },
        budget: Budget {
            max_cost: once_in(dice, 4).then(|| figure(dice)),
            max_tokens: once_in(dice, 4).then_some(tokens.into()),
            max_seconds: once_in(dice, 4).then(|| figure(dice)),
        },
    }
}

fn case(dice: &mut Dice) {
    let work = work(dice);
    let packed = work.pack();
    let asked = packed.loads.concat();
    let once: BTreeSet<usize> = asked.iter().copied().collect();
    let all: BTreeSet<usize> = work.items.iter().map(|item| item.index).collect();
    assert_eq!((asked.len(), &once), (all.len(), &all), "{work:?}");
    assert_eq!(packed.weights.len(), packed.loads.len());
    assert!(packed.loads.iter().all(|load| !load.is_empty()), "{work:?}");
    if work.packing.leader_first == Some(false) {
        assert_eq!(packed.start, Start::AtOnce, "{work:?}");
    }
    let planned = work
        .packing
        .max_tokens_per_call
        .map_or(f64::INFINITY, f64::from);
    let output = work
        .room
        .output
        .map_or(0.0, |most| most as f64)
        .min(planned);
    // Where what all calls begin with is too much by itself, nothing else can help.
    let context = work
        .room
        .context
        .map_or(f64::INFINITY, |most| (most as f64 - work.shared).max(0.0));
    for (load, weight) in packed.loads.iter().zip(&packed.weights) {
        assert_eq!(*weight, work.weight_of(load), "{work:?}");
        let whole = weight.own + weight.answer.likely;
        let is_within = weight.answer.likely <= output && whole <= context;
        assert!(load.len() == 1 || is_within, "{load:?} of {work:?}");
    }
    let (floor, estimate) = (work.floor(), packed.estimate(&work.terms, 0.0));
    for figure in [
        floor.seconds,
        floor.prompt,
        floor.answer,
        estimate.seconds.likely,
    ] {
        assert!(figure.is_finite() && figure >= 0.0, "{floor:?} of {work:?}");
    }
    assert_eq!(
        packed,
        work.pack(),
        "the same work is packed otherwise: {work:?}"
    );
}

#[test]
fn packing() {
    run("packing", 400, case);
}
