//! What a seed decides before anything happens: how large the town is and what befalls it.

use crate::support::dice::Dice;

/// Jobs of a seed, each with a client of its own.
pub const JOBS: u64 = 20;
/// From here on nothing fails any more, milliseconds.
pub const CALM: u64 = 25_000;

/// What happens to a node or to the store, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Also after a stop, or in the place of a process that is still there.
    Start(usize),
    Kill(usize),
    Freeze(usize),
    Thaw(usize),
    /// In good order, with so many milliseconds for calls under way.
    Stop(usize, u64),
    /// The node and the store do not reach each other.
    Cut(usize),
    Join(usize),
    /// Nobody reaches the store.
    Away,
    Back,
    /// The wall clock of a node is set, by milliseconds.
    Jump(usize, i64),
    Calm,
}

#[derive(Debug, Clone)]
pub struct Weather {
    /// One node has the store for itself, as with a file; two share it.
    pub nodes: usize,
    /// The longest way to the store, and back, milliseconds.
    pub way: u64,
    /// In a thousand operations: not done, and the caller is told so.
    pub refused: u64,
    /// Done, but the caller is told that it failed.
    pub ambiguous: u64,
    /// Done after the caller was told that it failed.
    pub late: u64,
    /// Broken for good, as a store that cannot read what it holds.
    pub broken: u64,
    /// In a thousand hints to other processes: lost.
    pub unheard: u64,
    /// In a hundred asks: not a plain answer.
    pub faults: u64,
    /// The longest a model takes for a subtree, milliseconds.
    pub thinking: u64,
    /// In a hundred clients: cancels, retries, deletes, asks again.
    pub cancels: u64,
    pub retries: u64,
    pub deletes: u64,
    pub repeats: u64,
    pub max_active_jobs: u32,
    pub max_queued_jobs: u32,
    pub max_running_jobs: usize,
    pub max_streams_per_user: usize,
    pub max_event_bytes: usize,
    pub subtrees: usize,
    /// Whether the schema binds the first two subtrees together.
    pub is_bound: bool,
    /// In a hundred answers of the second: it is overlooked.
    pub overlooks: u64,
    /// Whether the document has a long table, which is read in windows.
    pub has_rows: bool,
    /// Milliseconds from the start, in their order.
    pub acts: Vec<(u64, Act)>,
}

/// One of the values.
fn pick<T: Copy>(dice: &mut Dice, values: &[T]) -> T {
    values[dice.roll(values.len() as u64) as usize]
}

impl Weather {
    pub fn of(dice: &mut Dice) -> Self {
        let nodes = pick(dice, &[1, 2, 2]);
        let mut weather = Self {
            nodes,
            way: pick(dice, &[2, 10, 40]),
            refused: pick(dice, &[0, 5, 40]),
            ambiguous: pick(dice, &[0, 5, 30]),
            late: pick(dice, &[0, 5, 30]),
            broken: pick(dice, &[0, 0, 0, 2]),
            unheard: pick(dice, &[0, 200, 1_000]),
            faults: pick(dice, &[0, 10, 30]),
            thinking: pick(dice, &[20, 400, 3_000]),
            cancels: pick(dice, &[0, 20, 50]),
            retries: pick(dice, &[0, 50, 100]),
            deletes: pick(dice, &[0, 20, 50]),
            repeats: pick(dice, &[0, 20, 50]),
            max_active_jobs: pick(dice, &[2, 5, 100]),
            max_queued_jobs: pick(dice, &[6, 100, 100]),
            max_running_jobs: pick(dice, &[1, 4, 100]),
            max_streams_per_user: pick(dice, &[4, 100]),
            max_event_bytes: pick(dice, &[400, 64 << 10]),
            subtrees: pick(dice, &[1, 2, 5]),
            is_bound: false,
            overlooks: 0,
            has_rows: false,
            acts: vec![(CALM, Act::Calm)],
        };
        for node in 0..nodes {
            weather.befall(dice, node);
        }
        weather.store_away(dice);
        weather.acts.sort_unstable();
        weather.is_bound = weather.subtrees > 1 && dice.roll(3) == 0;
        weather.overlooks = pick(dice, &[0, 30, 70]);
        weather.has_rows = dice.roll(4) == 0;
        weather
    }

    fn befall(&mut self, dice: &mut Dice, node: usize) {
        let often = pick(dice, &[0, 1, 3, 10]);
        let rest = pick(dice, &[1_000, 8_000]);
        let mut at = dice.roll(8_000);
        for _ in 0..often {
            let lasts = pick(dice, &[100, 1_000, 6_000, 20_000]);
            let until = at + 1 + dice.roll(lasts);
            let (begin, end) = match dice.roll(6) {
                0..3 => (Act::Kill(node), Act::Start(node)),
                3 => (Act::Freeze(node), Act::Thaw(node)),
                4 => (Act::Stop(node, dice.roll(3_000)), Act::Start(node)),
                _ => (Act::Cut(node), Act::Join(node)),
            };
            self.acts.push((at, begin));
            self.acts.push((until, end));
            at = until + dice.roll(rest);
        }
        for _ in 0..pick(dice, &[0, 0, 3]) {
            let by = pick(dice, &[-3_600_000, -5_000, 5_000, 3_600_000]);
            self.acts.push((dice.roll(CALM), Act::Jump(node, by)));
        }
        self.acts
            .retain(|(at, act)| *at < CALM || *act == Act::Calm);
    }

    fn store_away(&mut self, dice: &mut Dice) {
        if dice.roll(4) == 0 {
            let at = dice.roll(CALM - 10_000);
            let lasts = pick(dice, &[500, 4_000, 20_000]);
            self.acts.push((at, Act::Away));
            self.acts.push(((at + lasts).min(CALM), Act::Back));
        }
    }
}
