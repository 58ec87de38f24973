//! The engine among seeded faults: processes that die, freeze and come back, a store that is
//! slow, away or ambiguous, a model that fails, clocks that jump. Time is simulated, so that a
//! seed of minutes takes milliseconds, and the same seed is the same story.
//!
//! `RIVULET_SEED=n` tells one story; `RIVULET_SEEDS=n` sets how many are run.

mod client;
mod definitions;
mod files;
mod law;
mod ledger;
mod lists;
mod memory;
mod model;
mod outbox;
mod shelf;
mod town;
mod weather;
mod wire;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use memory::Memory;
pub use shelf::Shelf;

const SEEDS: u64 = 2_000;
const THREADS: u64 = 2;
/// Seeds between two words of progress.
const STEP: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number of seeds"))
}

fn tell(seed: u64, violation: &str, trace: &[String]) -> String {
    format!(
        "{}\n\nseed {seed}, {violation}\nreplay: RIVULET_SEED={seed} cargo test --test it simulation -- --nocapture",
        trace.join("\n")
    )
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("RIVULET_SEED") {
        let outcome = town::run(seed, true, true);
        println!("{}", outcome.trace.join("\n"));
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    let seeds = number("RIVULET_SEEDS").unwrap_or(SEEDS);
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let broken: Mutex<Option<u64>> = Mutex::new(None);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                while broken.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds {
                        break;
                    }
                    if town::run(seed, false, false).violation.is_some() {
                        *broken.lock().unwrap() = Some(seed);
                    }
                    if seed % STEP == STEP - 1 {
                        println!("{} seeds, {:.0?}", seed + 1, begun.elapsed());
                    }
                }
            });
        }
    });
    if let Some(seed) = broken.into_inner().unwrap() {
        // The same seed is the same story: now with its trace.
        let outcome = town::run(seed, true, false);
        let violation = outcome
            .violation
            .unwrap_or_else(|| "which did not repeat itself".into());
        panic!("{}", tell(seed, &violation, &outcome.trace));
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..40 {
        let (first, second) = (town::run(seed, true, true), town::run(seed, true, true));
        let differs = first
            .trace
            .iter()
            .zip(&second.trace)
            .position(|(one, other)| one != other);
        if let Some(at) = differs {
            let from = at.saturating_sub(20);
            panic!(
                "seed {seed} differs:\n{}\n  once: {}\n  then: {}",
                first.trace[from..at].join("\n"),
                first.trace[at],
                second.trace[at]
            );
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        assert!(first.trace.len() > 100, "seed {seed} tells nothing");
    }
}
