use proptest::prelude::*;

use super::super::cost::Pace;
use super::*;

fn terms(slots: usize) -> Terms {
    Terms {
        pace: Pace::UNKNOWN,
        price: None,
        slots,
        caches: true,
    }
}

fn work(answers: &[f64], output: Option<u64>) -> Work {
    let items = answers.iter().enumerate().map(|(index, tokens)| Item {
        index,
        question: 20.0,
        answer: Span::exactly(*tokens),
        is_list: false,
    });
    Work {
        items: items.collect(),
        shared: 1_000.0,
        is_excerpted: false,
        room: Room {
            output,
            context: None,
        },
        terms: terms(5),
        packing: Packing::default(),
        budget: Budget::default(),
    }
}

fn aiming(aim: Aim, work: Work) -> Work {
    Work {
        packing: Packing {
            aim,
            ..work.packing
        },
        ..work
    }
}

#[test]
fn without_a_budget_each_subtree_is_a_call_and_the_heaviest_is_first() {
    let packed = work(&[16.0, 80.0, 48.0], None).pack();
    assert_eq!(packed.loads, [[1], [2], [0]]);
}

#[test]
fn what_fits_one_answer_is_one_call_and_the_lightest_is_first() {
    let packed = work(&[32.0, 80.0, 16.0], Some(128)).pack();
    assert_eq!(packed.loads, [[2, 0, 1]]);
}

#[test]
fn what_is_light_shares_calls_no_longer_than_the_heaviest() {
    let answers = [200.0, 300.0, 250.0, 4_000.0, 500.0, 700.0];
    let packed = aiming(Aim::Fast, work(&answers, Some(8_000))).pack();
    assert_eq!(packed.loads, [vec![3], vec![0, 2, 1, 4, 5]]);
}

#[test]
fn cheap_makes_the_fewest_calls_and_fast_the_earliest_end() {
    let answers = [2_000.0; 8];
    let calls = |aim| aiming(aim, work(&answers, Some(8_000))).pack().loads.len();
    assert_eq!(calls(Aim::Cheap), 2);
    assert_eq!(calls(Aim::Fast), 4);
}

#[test]
fn a_gain_that_nobody_feels_is_not_paid_for() {
    let packed = work(&[128.0, 128.0], Some(8_000)).pack();
    assert_eq!(packed.loads.len(), 1);
    let packed = work(&[2_000.0, 2_000.0], Some(8_000)).pack();
    assert_eq!(packed.loads.len(), 2, "12 seconds are felt");
}

#[test]
fn the_others_wait_for_the_leader_where_its_lead_makes_that_free() {
    let long = Work {
        shared: 40_000.0,
        ..work(&[4_000.0, 800.0, 900.0], Some(4_500))
    };
    let packed = long.pack();
    assert_eq!((packed.start, packed.loads.len()), (Start::LeaderFirst, 2));
    let blind = Work {
        terms: Terms {
            caches: false,
            ..terms(5)
        },
        ..long.clone()
    };
    assert_eq!(blind.pack().start, Start::AtOnce);
    let told = Work {
        packing: Packing {
            leader_first: Some(false),
            ..Packing::default()
        },
        ..long
    };
    assert_eq!(told.pack().start, Start::AtOnce);
}

#[test]
fn a_context_that_is_nearly_full_divides_calls_as_well() {
    let narrow = Work {
        room: Room {
            output: Some(8_000),
            context: Some(1_000 + 2 * 620),
        },
        ..work(&[600.0; 4], None)
    };
    assert_eq!(aiming(Aim::Cheap, narrow).pack().loads.len(), 2);
}

#[test]
fn overrides_go_before_what_would_be_chosen() {
    let answers = [2_000.0; 8];
    let with = |packing| Work {
        packing,
        ..work(&answers, Some(16_000))
    };
    let fast = Packing {
        aim: Aim::Fast,
        ..Packing::default()
    };
    let capped = with(Packing {
        max_calls: Some(2),
        ..fast
    });
    assert_eq!(capped.pack().loads.len(), 2);
    let small = with(Packing {
        max_tokens_per_call: Some(2_000),
        ..fast
    });
    assert_eq!(small.pack().loads.len(), 8, "a limit of answers is kept");
}

#[test]
fn a_budget_chooses_among_the_ways_and_its_floor_is_the_least_of_all() {
    let answers = [2_000.0; 8];
    let fast = aiming(Aim::Fast, work(&answers, Some(16_000)));
    assert!(fast.pack().loads.len() > 1);
    let floor = fast.floor();
    let poor = Work {
        budget: Budget {
            max_tokens: Some(18_000),
            ..Budget::default()
        },
        ..fast
    };
    let packed = poor.pack();
    assert_eq!(packed.loads.len(), 1);
    let bill = bill(&poor.terms, &packed.weights, packed.start, Bound::Likely);
    assert!(floor.tokens() <= bill.tokens() && floor.seconds < bill.seconds);
}

#[test]
fn where_pages_are_chosen_lists_share_no_call_with_what_needs_only_some() {
    let mut long = Work {
        is_excerpted: true,
        ..aiming(Aim::Cheap, work(&[300.0, 400.0, 500.0], Some(8_000)))
    };
    long.items[1].is_list = true;
    assert_eq!(long.pack().loads, [vec![0, 2], vec![1]]);
    long.is_excerpted = false;
    assert_eq!(long.pack().loads, [[0, 1, 2]]);
}

/// The least number of bins that any packing needs.
fn bound(answers: &[f64], output: f64) -> usize {
    let (large, small): (Vec<f64>, Vec<f64>) =
        answers.iter().partition(|tokens| **tokens >= output);
    large.len() + (small.iter().sum::<f64>() / output).ceil() as usize
}

fn aims() -> impl Strategy<Value = Aim> {
    prop_oneof![Just(Aim::Fast), Just(Aim::Balanced), Just(Aim::Cheap)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_are_disjoint_and_complete_and_none_is_over_the_budget_unless_alone(
        answers in prop::collection::vec(1_u32..4_000, 0..60),
        output in 500_u64..6_000,
        context in prop::option::of(1_500_u64..20_000),
        slots in 1_usize..20,
        aim in aims(),
        max_calls in prop::option::of(1_u32..30),
        leader_first in prop::option::of(any::<bool>()),
    ) {
        let answers: Vec<f64> = answers.into_iter().map(f64::from).collect();
        let work = Work {
            room: Room { output: Some(output), context },
            terms: terms(slots),
            packing: Packing { aim, max_calls, leader_first, max_tokens_per_call: None },
            ..work(&answers, None)
        };
        let packed = work.pack();
        let mut all = packed.loads.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..answers.len()).collect::<Vec<_>>());
        prop_assert_eq!(packed.loads.len(), packed.weights.len());
        for load in &packed.loads {
            let sum: f64 = load.iter().map(|index| answers[*index]).sum();
            let whole = work.shared + sum + 20.0 * load.len() as f64;
            let fits = sum <= output as f64 && context.is_none_or(|most| whole <= most as f64);
            prop_assert!(!load.is_empty() && (fits || load.len() == 1), "{load:?}");
        }
        let order: Vec<f64> = packed.weights.iter().map(|weight| weight.answer.likely).collect();
        prop_assert!(order.is_sorted_by(|a, b| a >= b), "the heaviest is first: {order:?}");
    }

    #[test]
    fn cheap_makes_few_more_calls_than_any_packing_must(
        answers in prop::collection::vec(1_u32..1_000, 1..120),
        output in 4_000_u64..8_000,
    ) {
        let answers: Vec<f64> = answers.into_iter().map(f64::from).collect();
        let packed = aiming(Aim::Cheap, work(&answers, Some(output))).pack();
        let least = bound(&answers, output as f64);
        // No item is longer than a quarter, so that only the last call is less than 3/4 full.
        let most = (least * 4).div_ceil(3) + 1;
        prop_assert!(packed.loads.len() <= most, "{} for {least}", packed.loads.len());
    }

    #[test]
    fn what_is_faster_is_never_said_to_be_slower(
        answers in prop::collection::vec(1_u32..4_000, 1..40),
        shared in 100_u32..100_000,
    ) {
        let answers: Vec<f64> = answers.into_iter().map(f64::from).collect();
        let base = Work { shared: f64::from(shared), ..work(&answers, Some(6_000)) };
        let bill_of = |aim| {
            let packed = aiming(aim, base.clone()).pack();
            bill(&base.terms, &packed.weights, packed.start, Bound::Likely)
        };
        let (fast, balanced, cheap) = (bill_of(Aim::Fast), bill_of(Aim::Balanced), bill_of(Aim::Cheap));
        prop_assert!(fast.seconds <= balanced.seconds * AS_GOOD + 1e-6);
        prop_assert!(fast.seconds <= cheap.seconds * AS_GOOD + 1e-6);
        prop_assert!(cheap.prompt <= balanced.prompt + 1e-6 && cheap.prompt <= fast.prompt + 1e-6);
    }
}
