//! Inputs nobody wrote, made from seeds: real schemas changed at random, and schemas and values
//! made up together. Each target states what holds of everything it is given.
//!
//! | target | what holds |
//! |---|---|
//! | [`acceptance`] | a schema is compiled, or refused with a code, a place and, over a limit, the limit; what is accepted is cut within the splitter's bounds |
//! | [`division`] | every instance comes apart and together again, each scalar of it in one subtree |
//! | [`packing`] | every subtree is in one call, and calls stay within the room |
//! | [`lowering`] | a value laid out for a provider comes back as it was, and is one its schema takes where all of its members are named |
//!
//! In every target: no panic, and no case that takes longer than [`SLOWEST`]. A failure names its
//! seed.
//!
//! The suite runs a few seeds. `RIVULET_FUZZ_SECONDS=3600 cargo test --release --test it
//! fuzz::acceptance -- --nocapture` goes on for an hour, and `RIVULET_FUZZ_SEED=17` runs that one
//! seed; `RIVULET_FUZZ_FROM` is the first of many.

mod acceptance;
mod division;
mod generate;
mod instance;
mod lowering;
mod mutate;
mod packing;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::dice::Dice;

/// The longest that one case may take. Without optimization all is many times slower.
const SLOWEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

/// Runs a target's seeds: `few` of them, or as the environment says.
fn run(target: &'static str, few: u64, case: fn(&mut Dice)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let one: Option<u64> = number("RIVULET_FUZZ_SEED");
    let time = number("RIVULET_FUZZ_SECONDS").map(Duration::from_secs);
    let first = one.or_else(|| number("RIVULET_FUZZ_FROM")).unwrap_or(0);
    let (give, take) = channel::<u64>();
    let (tell, told) = channel::<()>();
    // As the server does it: on a thread of its own, with a stack of the usual size.
    let worker = std::thread::spawn(move || {
        for seed in take {
            // Neighbouring seeds are to be nothing alike.
            let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut dice = Dice(mixed ^ (mixed >> 31) | 1);
            (0..8).for_each(|_| {
                dice.roll(2);
            });
            case(&mut dice);
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    let (begun, mut seed, mut slowest) = (Instant::now(), first, (Duration::ZERO, first));
    loop {
        let is_over = match (one, time) {
            (Some(_), _) => seed > first,
            (None, Some(time)) => begun.elapsed() >= time,
            (None, None) => seed >= first + few,
        };
        if is_over {
            break;
        }
        let once = || {
            let started = Instant::now();
            give.send(seed).unwrap();
            match told.recv_timeout(10 * SLOWEST) {
                Ok(()) => started.elapsed(),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{target}: RIVULET_FUZZ_SEED={seed} does not end")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{target}: RIVULET_FUZZ_SEED={seed} fails as told above")
                }
            }
        };
        let mut took = once();
        if took > SLOWEST {
            // The machine may have been busy with something else.
            took = took.min(once());
        }
        assert!(
            took <= SLOWEST,
            "{target}: RIVULET_FUZZ_SEED={seed} takes {took:?}"
        );
        slowest = slowest.max((took, seed));
        seed += 1;
    }
    drop(give);
    worker.join().unwrap();
    println!(
        "{target}: {} seeds in {:.0?}, the slowest {} in {:.0?}",
        seed - first,
        begun.elapsed(),
        slowest.1,
        slowest.0
    );
}

/// A schema with values that it takes.
struct Real {
    schema: Value,
    valid: Vec<Value>,
}

/// The real schemas and the groups of the official test suite.
static REAL: LazyLock<Arc<[Real]>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let read = |path: &std::path::Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let files = |name: &str| {
        let entries = std::fs::read_dir(folder.join(name)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        paths
    };
    let mut real = Vec::new();
    for path in files("schemas") {
        let mut case = read(&path);
        // A case is to be small, so that there can be many.
        if case["schema"].to_string().len() < 30_000 {
            real.push(Real {
                schema: case["schema"].take(),
                valid: case["valid"].as_array().unwrap().clone(),
            });
        }
    }
    for path in files("suite") {
        let drafts = read(&path);
        for group in drafts.as_object().unwrap().values() {
            for group in group.as_array().unwrap() {
                let tests = group["tests"].as_array().unwrap().iter();
                let valid = tests.filter(|test| test["valid"] == true);
                real.push(Real {
                    schema: group["schema"].clone(),
                    valid: valid.map(|test| test["data"].clone()).collect(),
                });
            }
        }
    }
    real.into()
});

/// One of these.
fn pick<'a, T>(dice: &mut Dice, among: &'a [T]) -> &'a T {
    &among[dice.roll(among.len() as u64) as usize]
}

/// One time in so many.
fn once_in(dice: &mut Dice, many: u64) -> bool {
    dice.roll(many) == 0
}

/// A schema and values that it may take: made up, or real and changed a little. The first of the
/// values, as many as the number says, have only members that the schema names.
fn subject(dice: &mut Dice, changes: u64) -> (Value, Vec<Value>, usize) {
    let (mut schema, mut instances) = if once_in(dice, 2) {
        (generate::schema(dice), Vec::new())
    } else {
        let real = pick(dice, &REAL);
        (real.schema.clone(), real.valid.clone())
    };
    for _ in 0..dice.roll(changes + 1) {
        mutate::schema(dice, &mut schema);
    }
    let made: Vec<Value> = (0..4).map(|_| instance::of(dice, &schema)).collect();
    let named = made.len();
    instances.splice(0..0, made);
    for at in 0..instances.len().min(6) {
        let mut changed = instances[at].clone();
        mutate::value(dice, &mut changed);
        instances.push(changed);
    }
    (schema, instances, named)
}
