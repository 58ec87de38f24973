//! Items into bins.

use super::Item;

/// What a bin may have, in tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) answer: f64,
    /// Questions and answers.
    pub(super) whole: f64,
}

struct Bin {
    items: Vec<Item>,
    answer: f64,
    whole: f64,
}

impl Bin {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            answer: 0.0,
            whole: 0.0,
        }
    }

    /// An empty bin takes anything: what is too large by itself has to go somewhere.
    fn fits(&self, item: &Item, limits: &Limits) -> bool {
        let answer = self.answer + item.answer.likely;
        let whole = self.whole + item.question + item.answer.likely;
        self.items.is_empty() || (answer <= limits.answer && whole <= limits.whole)
    }

    fn put(&mut self, item: Item) {
        self.answer += item.answer.likely;
        self.whole += item.question + item.answer.likely;
        self.items.push(item);
    }
}

/// The longest first; those of one length in the order of the plan.
fn longest_first(items: &[Item]) -> Vec<Item> {
    let mut ordered = items.to_vec();
    ordered.sort_by(|a, b| {
        let by_size = b.answer.likely.total_cmp(&a.answer.likely);
        by_size.then(a.index.cmp(&b.index))
    });
    ordered
}

fn items(bins: Vec<Bin>) -> Vec<Vec<Item>> {
    bins.into_iter().map(|bin| bin.items).collect()
}

/// Each by itself.
pub(super) fn alone(all: &[Item]) -> Vec<Vec<Item>> {
    longest_first(all)
        .into_iter()
        .map(|item| vec![item])
        .collect()
}

/// As few bins as best fit finds, the longest first: at most 11/9 of the fewest, plus one.
pub(super) fn fewest(all: &[Item], limits: &Limits) -> Vec<Vec<Item>> {
    let mut bins: Vec<Bin> = Vec::new();
    for item in longest_first(all) {
        let fitting = bins.iter_mut().filter(|bin| bin.fits(&item, limits));
        if let Some(bin) = fitting.max_by(|a, b| a.answer.total_cmp(&b.answer)) {
            bin.put(item);
        } else {
            let mut bin = Bin::new();
            bin.put(item);
            bins.push(bin);
        }
    }
    items(bins)
}

/// `count` bins of nearly one length: the longest item first, each into the bin that has least.
/// None where that would overfill one.
pub(super) fn even(all: &[Item], count: usize, limits: &Limits) -> Option<Vec<Vec<Item>>> {
    let mut bins: Vec<Bin> = (0..count).map(|_| Bin::new()).collect();
    for item in longest_first(all) {
        let fitting = bins.iter_mut().filter(|bin| bin.fits(&item, limits));
        fitting
            .min_by(|a, b| a.answer.total_cmp(&b.answer))?
            .put(item);
    }
    bins.retain(|bin| !bin.items.is_empty());
    Some(items(bins))
}
