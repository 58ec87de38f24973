//! Subtrees into calls.
//!
//! A call carries as many subtrees as its answer has room for; since the answer is read while it
//! is written, each still has its own early event. How many calls that comes to is chosen by what
//! they would take: see [`cost`](super::cost).

mod bins;

use serde::{Deserialize, Serialize};

use super::cost::{Bill, Bound, Estimate, Span, Start, Terms, Weight, bill, size};
use super::plan::{Kind, Plan, Take};

/// One request to a model, before it is made: indices into the plan's subtrees.
pub type Load = Vec<usize>;

/// What packing is to be good at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The earliest end, at any price.
    Fast,
    /// A further call where it gains more time than it costs.
    #[default]
    Balanced,
    /// The fewest tokens.
    Cheap,
}

impl Aim {
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::Cheap];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Cheap => "cheap",
        }
    }
}

/// How subtrees are to share calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    #[serde(rename = "packing", default)]
    pub aim: Aim,
    /// The most calls, where answers have room for their subtrees.
    #[serde(default)]
    pub max_calls: Option<u32>,
    /// The most tokens that one answer is planned for; never more than the model allows.
    #[serde(default)]
    pub max_tokens_per_call: Option<u32>,
    /// Whether the first call reads the document before the others begin.
    #[serde(default)]
    pub leader_first: Option<bool>,
}

/// What a job may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// US dollars.
    #[serde(default)]
    pub max_cost: Option<f64>,
    /// Prompt, answers and thoughts of all calls.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// From the acceptance of the job.
    #[serde(default)]
    pub max_seconds: Option<f64>,
}

impl Budget {
    pub fn is_set(&self) -> bool {
        self.max_cost.is_some() || self.max_tokens.is_some() || self.max_seconds.is_some()
    }

    fn holds(&self, bill: &Bill) -> bool {
        let within = |figure: f64, most: Option<f64>| most.is_none_or(|most| figure <= most);
        within(bill.tokens(), self.max_tokens.map(|most| most as f64))
            && within(bill.seconds, self.max_seconds)
            && within(bill.cost.unwrap_or(0.0), self.max_cost)
    }
}

/// What one call may have, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Of the answer; none: each subtree is asked for by itself.
    pub output: Option<u64>,
    /// Of prompt and answer together; none where nobody knows.
    pub context: Option<u64>,
}

/// A subtree, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// Into the plan's subtrees.
    pub index: usize,
    /// What asking for it takes.
    pub question: f64,
    pub answer: Span,
    /// Of unknown length; it needs every page.
    pub is_list: bool,
}

/// All that packing goes by.
#[derive(Debug, Clone)]
pub struct Work {
    pub items: Vec<Item>,
    /// Tokens that every call begins with.
    pub shared: f64,
    /// Whether each call gets pages of its own choice, since the document is too long: `shared` is
    /// then as much as they may be. Lists share no call with others: they get the whole, and fail
    /// where the model cannot take it.
    pub is_excerpted: bool,
    pub room: Room,
    pub terms: Terms,
    pub packing: Packing,
    pub budget: Budget,
}

/// The calls of a job, the heaviest first; inside a call the lightest subtree is first, since its
/// result is read before the others are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Packed {
    pub loads: Vec<Load>,
    pub weights: Vec<Weight>,
    /// Calls that are made beside them if things go otherwise than is likely.
    pub doubtful: Vec<Weight>,
    pub start: Start,
}

impl Packed {
    /// `width` is the share by which prompts may have more or fewer tokens.
    pub fn estimate(&self, terms: &Terms, width: f64) -> Estimate {
        Estimate::of(terms, (&self.weights, &self.doubtful), self.start, width)
    }
}

/// A gain in time that nobody pays a further call for, seconds.
const UNFELT: f64 = 2.0;
/// How much later than the earliest end may be, for fewer calls.
const AS_GOOD: f64 = 1.02;
/// What a token of an answer counts beside one of a prompt, where no price is known.
const ANSWER: f64 = 6.0;
/// What a token counts that was read before, likewise.
const READ_BEFORE: f64 = 0.25;

impl Work {
    /// The calls for all items.
    pub fn pack(&self) -> Packed {
        let ways = self.ways();
        let within: Vec<&Way> = ways
            .iter()
            .filter(|way| self.budget.holds(&way.bill))
            .collect();
        let chosen = if within.is_empty() {
            // Over the budget either way: what comes nearest to it.
            let all: Vec<&Way> = ways.iter().collect();
            cheapest(&all)
        } else {
            choose(&within, self.packing.aim)
        };
        chosen.map(|way| way.packed.clone()).unwrap_or_default()
    }

    /// The least that the items can be had for, each figure by itself: over all ways to pack
    /// them, with answers as short as they may be.
    pub fn floor(&self) -> Bill {
        let free = Self {
            packing: Packing {
                aim: self.packing.aim,
                ..Packing::default()
            },
            ..self.clone()
        };
        let bills = free.ways().into_iter().map(|way| {
            let Packed { weights, start, .. } = &way.packed;
            bill(&self.terms, weights, *start, Bound::Low)
        });
        let least = |a: Bill, b: Bill| Bill {
            seconds: a.seconds.min(b.seconds),
            first_seconds: a.first_seconds.min(b.first_seconds),
            prompt: a.prompt.min(b.prompt),
            cached: a.cached.max(b.cached),
            answer: a.answer.min(b.answer),
            cost: a.cost.zip(b.cost).map(|(a, b)| a.min(b)),
        };
        bills.reduce(least).unwrap_or_default()
    }

    /// Every way that is worth a look: from the fewest calls to as many as may be made at once,
    /// with and without a leader.
    fn ways(&self) -> Vec<Way> {
        if self.items.is_empty() {
            return Vec::new();
        }
        if self.room.output.is_none() {
            return vec![self.way(bins::alone(&self.items), Start::AtOnce)];
        }
        let limits = self.limits();
        let (lists, items): (Vec<Item>, Vec<Item>) = self
            .items
            .iter()
            .partition(|item| self.is_excerpted && item.is_list);
        let lists = bins::alone(&lists);
        let with_lists = |bins: Vec<Vec<Item>>| [lists.clone(), bins].concat();
        let fewest = bins::fewest(&items, &limits);
        let least = fewest.len();
        let most = self
            .packing
            .max_calls
            .map_or(self.terms.slots, |most| most as usize);
        let most = most.min(self.terms.slots).min(items.len());
        let mut ways = self.both(with_lists(fewest));
        for count in least.max(1)..=most.max(least) {
            if let Some(even) = bins::even(&items, count, &limits) {
                ways.extend(self.both(with_lists(even)));
            }
        }
        ways
    }

    fn limits(&self) -> bins::Limits {
        let planned = self.packing.max_tokens_per_call.map_or(u64::MAX, u64::from);
        let output = self.room.output.unwrap_or(u64::MAX).min(planned);
        let context = self.room.context.map_or(f64::INFINITY, |context| {
            (context as f64 - self.shared).max(0.0)
        });
        bins::Limits {
            answer: output as f64,
            whole: context,
        }
    }

    /// At once, and after a leader where that is possible and wanted.
    fn both(&self, bins: Vec<Vec<Item>>) -> Vec<Way> {
        let may_lead = bins.len() > 1 && self.terms.caches;
        let (at_once, after) = match self.packing.leader_first {
            Some(leads) => (!leads || bins.len() < 2, leads && bins.len() > 1),
            None => (true, may_lead),
        };
        let mut ways = Vec::new();
        if after {
            ways.push(self.way(bins.clone(), Start::LeaderFirst));
        }
        if at_once {
            ways.push(self.way(bins, Start::AtOnce));
        }
        ways
    }

    fn way(&self, mut bins: Vec<Vec<Item>>, start: Start) -> Way {
        let total = |bin: &Vec<Item>| bin.iter().map(|item| item.answer.likely).sum::<f64>();
        bins.sort_by(|a, b| total(b).total_cmp(&total(a)));
        for bin in &mut bins {
            bin.sort_by(|a, b| {
                let by_size = a.answer.likely.total_cmp(&b.answer.likely);
                by_size.then(a.index.cmp(&b.index))
            });
        }
        let weights: Vec<Weight> = bins.iter().map(|bin| self.weight(bin)).collect();
        let likely = bill(&self.terms, &weights, start, Bound::Likely);
        Way {
            price: price(&likely),
            bill: likely,
            packed: Packed {
                loads: bins
                    .iter()
                    .map(|bin| bin.iter().map(|item| item.index).collect())
                    .collect(),
                weights,
                doubtful: Vec::new(),
                start,
            },
        }
    }

    /// One call for these subtrees, asked for in this order.
    pub fn weight_of(&self, load: &[usize]) -> Weight {
        let items = load.iter().filter_map(|index| {
            let mut items = self.items.iter();
            items.find(|item| item.index == *index)
        });
        self.weight(&items.copied().collect::<Vec<_>>())
    }

    fn weight(&self, bin: &[Item]) -> Weight {
        let none = Span::default();
        Weight {
            shared: self.shared,
            own: bin.iter().map(|item| item.question).sum(),
            answer: bin.iter().fold(none, |sum, item| sum.plus(&item.answer)),
            first: bin.first().map_or(0.0, |item| item.answer.likely),
            after: 0.0,
        }
    }
}

/// A way to pack, and what it takes.
struct Way {
    packed: Packed,
    bill: Bill,
    /// Only good to compare ways.
    price: f64,
}

fn price(bill: &Bill) -> f64 {
    let fresh = bill.prompt - bill.cached;
    match bill.cost {
        Some(cost) if cost > 0.0 => cost,
        _ => fresh + bill.cached * READ_BEFORE + bill.answer * ANSWER,
    }
}

fn cheapest<'a>(ways: &[&'a Way]) -> Option<&'a Way> {
    let order = |a: &&&Way, b: &&&Way| {
        let by_calls = a.packed.loads.len().cmp(&b.packed.loads.len());
        by_calls
            .then(a.price.total_cmp(&b.price))
            .then(a.bill.seconds.total_cmp(&b.bill.seconds))
    };
    ways.iter().min_by(order).copied()
}

fn choose<'a>(ways: &[&'a Way], aim: Aim) -> Option<&'a Way> {
    let base = cheapest(ways)?;
    match aim {
        Aim::Cheap => Some(base),
        Aim::Fast => {
            let seconds = ways.iter().map(|way| way.bill.seconds);
            let best = seconds.fold(f64::INFINITY, f64::min);
            let good: Vec<&Way> = ways
                .iter()
                .filter(|way| way.bill.seconds <= best * AS_GOOD)
                .copied()
                .collect();
            good.iter()
                .min_by(|a, b| a.price.total_cmp(&b.price))
                .copied()
        }
        Aim::Balanced => {
            let score = |way: &Way| {
                way.bill.seconds / base.bill.seconds.max(1e-9) + way.price / base.price.max(1e-12)
            };
            let better = ways
                .iter()
                .filter(|way| base.bill.seconds - way.bill.seconds >= UNFELT)
                .min_by(|a, b| score(a).total_cmp(&score(b)))
                .copied();
            Some(better.filter(|way| score(way) < 2.0).unwrap_or(base))
        }
    }
}

/// The most tokens that an answer with these subtrees is given, many times what it is thought to
/// need: a model that does not find its end costs no more. None where lists are asked for, alone or
/// among many parts in one subtree, whose length nobody knows.
pub fn most_tokens(plan: &Plan, load: &[usize], quotes: bool) -> Option<u64> {
    let mut fields = 0;
    for subtree in load.iter().filter_map(|index| plan.subtrees.get(*index)) {
        let is_group = matches!(&subtree.take, Take::Keys(keys) if keys.len() > 1);
        if subtree.kind == Kind::AgenticArray || is_group {
            return None;
        }
        fields += u64::from(subtree.total_fields);
    }
    let quoted = if quotes { 4 } else { 1 };
    Some(256 + fields * size::TOKENS_A_FIELD * quoted * 4)
}

#[cfg(test)]
mod tests;
