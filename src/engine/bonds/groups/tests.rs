use serde_json::json;

use super::*;
use crate::domain::plan::SplitterConfigs;

/// Three objects and the loose field beside them, of which the schema says something together.
fn plan() -> Plan {
    let part = json!({"type": "object", "properties": {"a": {}, "b": {}, "c": {}, "d": {}}});
    let schema = json!({
        "type": "object",
        "properties": {"one": part, "two": part, "three": part},
        "maxProperties": 3,
    });
    Plan::of(&schema, SplitterConfigs::default())
}

fn draft(plan: &Plan, ordinal: u32, bytes: usize) -> ResultDraft {
    let text = serde_json::to_string(&"x".repeat(bytes)).unwrap();
    let subtree = &plan.subtrees[ordinal as usize];
    ResultDraft {
        ordinal,
        subtree_id: subtree.id.clone(),
        path: subtree.path.clone(),
        fields: 1,
        extracted_result: RawValue::from_string(text).unwrap(),
        attributions: None,
        usage: Usage::default(),
        attempts: 1,
        duration_ms: 0,
        validation: None,
        completeness: None,
        arrays: Vec::new(),
        array_path: None,
        answer: None,
        record: None,
    }
}

fn told(taken: Taken) -> Vec<u32> {
    match taken {
        Taken::Free(drafts) => drafts.iter().map(|draft| draft.ordinal).collect(),
        Taken::Held | Taken::Perhaps(_) | Taken::Last(_) => Vec::new(),
    }
}

#[test]
fn answers_wait_for_each_other_until_the_last() {
    let plan = plan();
    let bonds = Bonds::new(&plan, &[0, 1, 2], BTreeMap::new(), true);
    assert!(matches!(bonds.take(draft(&plan, 2, 1)), Taken::Held));
    assert!(matches!(bonds.take(draft(&plan, 0, 1)), Taken::Held));
    assert!(matches!(bonds.take(draft(&plan, 1, 1)), Taken::Last(0)));
    let released = bonds.release(0, &plan);
    let ordinals: Vec<u32> = released.iter().map(|draft| draft.ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2]);
    assert!(bonds.release(0, &plan).is_empty(), "each is told once");
}

#[test]
fn what_is_too_large_to_wait_is_told_and_says_that_it_is_unchecked() {
    let plan = plan();
    let bonds = Bonds::new(&plan, &[0, 1, 2], BTreeMap::new(), true);
    let half = MAX_HELD / 2;
    assert!(told(bonds.take(draft(&plan, 0, half))).is_empty());
    // The quotes around the text are over the bound.
    assert_eq!(told(bonds.take(draft(&plan, 1, half))), [0, 1]);
    let waiting: usize = bonds.groups.lock().iter().map(Group::bytes).sum();
    assert_eq!(waiting, 0, "nothing of it is kept");
    let Taken::Free(last) = bonds.take(draft(&plan, 2, 1)) else {
        panic!("the last one waits for nobody");
    };
    let validation = last[0].validation.as_ref().unwrap();
    assert!(!validation.valid);
    assert!(
        validation.errors[0]
            .message
            .contains("too large to be checked together")
    );
    assert!(bonds.release(0, &plan).is_empty());
}

#[test]
fn an_answer_within_the_bound_waits() {
    let plan = plan();
    let bonds = Bonds::new(&plan, &[0, 1, 2], BTreeMap::new(), true);
    let half = MAX_HELD / 2 - 2;
    for ordinal in 0..2 {
        assert!(matches!(
            bonds.take(draft(&plan, ordinal, half)),
            Taken::Held
        ));
    }
    assert_eq!(told(bonds.take(draft(&plan, 2, 1))), [0, 1, 2]);
}
