//! Long arrays: read in windows, each kept as soon as it is there, merged by place, and judged.
//!
//! One answer with hundreds of rows is cut off, or loses rows that nobody misses. So an array of a
//! long document is asked for window by window, at once; a window that is cut off is gone on with
//! from its last whole row. What was read and what was not stands in the verdict on the array.
//!
//! A provider that reads the page itself, without tokens, gives each array whole: its table goes by
//! one header, however many pages it has, and to read it anew costs nothing that a kept window
//! could save. Such arrays are one window, told of and judged as the others are.

mod forecast;
mod kept;
mod read;
mod rebase;
mod rows;
mod table;
mod told;
mod whole;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::Value;
use tracing::error;

use super::journal::Halt;
use super::plans::Planned;
use crate::domain::config::Config;
use crate::domain::cost::{Pace, Span, Terms, Weight, chunked, size};
use crate::domain::document::{Document, DocumentInput};
use crate::domain::pack::{Aim, Work};
use crate::domain::plan::{Kind, Plan, Subtree, Take};
use crate::domain::pointer::Pointer;
use crate::domain::rows::{List, Listed, Located, Survey, Tables, WindowLimits, windows};

pub(super) use forecast::Calls;
use kept::Paid;
pub(super) use rows::Reading;
use told::Told;
pub(super) use whole::Judged;

/// Tokens that the answer of one window is planned for: in longer ones models leave out rows.
const ANSWER: f64 = 4_500.0;
/// An array whose answer is longer is read in windows, though its document fits one.
const LONG_ANSWER: f64 = 8_000.0;
/// An answer that is not divided further, tokens: the call itself takes as long.
const LEAST_ANSWER: f64 = 100.0;
/// Rows of an array for which it is worth while to have a model show how they are read.
const TABLE_ROWS: u32 = 60;
/// How much later than at its soonest an array may be there, for fewer calls.
const AS_GOOD: f64 = 1.15;
/// Words of a document that are looked through in less than a millisecond.
const FEW_WORDS: usize = 1_000;
/// The part of a window that other windows show as well.
const OVERLAP: f64 = 0.1;
/// Keywords of an array that are about all of its rows, and say nothing of those of one window.
const OF_THE_WHOLE: [&str; 6] = [
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
];

/// What it depends on whether an array is long.
pub(super) struct Look<'a> {
    pub(super) config: &'a Config,
    /// Tokens that one answer of the model may safely have; none where it does not answer in tokens.
    pub(super) output_tokens: Option<u64>,
    /// What the other calls go by.
    pub(super) work: &'a Work,
}

/// The arrays of a job: those that can be read in windows, and all that are judged.
#[derive(Default)]
pub(super) struct Arrays {
    known: BTreeMap<usize, Arc<Array>>,
    /// Of the whole plan.
    lists: Arc<Vec<Listed>>,
    /// What they are judged by; none where the model is shown no words.
    words: Option<Arc<Words>>,
    /// Whether the model answers in tokens, which may be too few for an array.
    may_be_cut: bool,
    /// What was told of arrays that come whole.
    told: Mutex<BTreeMap<usize, Told>>,
    /// What was paid for windows, until their outcomes tell of it.
    paid: Mutex<BTreeMap<usize, Paid>>,
}

/// An array of objects, and where its rows are.
pub(super) struct Array {
    /// Into the plan's subtrees.
    pub(super) index: usize,
    pub(super) subtree: Arc<Subtree>,
    survey: Arc<Survey>,
    list: List,
    located: Located,
    limits: WindowLimits,
    /// Whether it is read in windows.
    is_long: bool,
    /// Whether it comes whole from more pages than one window has: those who watch are told.
    is_told: bool,
    /// Tables that code may read when it was shown how.
    tables: Option<Arc<Tables>>,
    /// The member of the subtree's value that holds the rows; none where they are all of it.
    member: Option<String>,
    /// The plan of the job, with a schema for the rows of one window in the array's place.
    pub(super) plan: Arc<Plan>,
    pub(super) plan_key: String,
    /// What one window is thought to take.
    pub(super) weight: Weight,
    /// Tokens that a row is thought to take as long as none was read.
    row: f64,
}

impl Arrays {
    /// Looks the document through for the rows of all pending arrays. Where that is switched off
    /// for a model that answers in tokens they are only judged; where the model is shown files or
    /// pictures in place of words nothing can be known of them.
    pub(super) async fn of(
        look: &Look<'_>,
        document: &Arc<Document>,
        planned: &Planned,
        pending: &[usize],
    ) -> Self {
        let config = look.config;
        let form = config.document_input;
        let is_read = matches!(form, DocumentInput::Auto | DocumentInput::Text);
        let may_be_cut = look.output_tokens.is_some();
        let lists = Arc::clone(planned.lists());
        let mut arrays = Self {
            lists: Arc::clone(&lists),
            ..Self::default()
        };
        if !is_read || !document.kind.has_text() {
            return arrays;
        }
        let words = Arc::new(Words::of(document));
        arrays.words = Some(Arc::clone(&words));
        let own = lists.iter().filter(|listed| listed.is_own);
        let own: BTreeSet<usize> = own.map(|listed| listed.subtree).collect();
        let own: Vec<usize> = pending
            .iter()
            .copied()
            .filter(|at| own.contains(at))
            .collect();
        if own.is_empty() || may_be_cut && !config.enable_agentic_array_extraction {
            return arrays;
        }
        let surveyor = Surveyor {
            plan: Arc::clone(&planned.plan),
            lists,
            words,
            plan_key: planned.key.clone(),
            document: Arc::clone(document),
            output: look.output_tokens.map(|tokens| tokens as f64),
            shared: look.work.shared,
            // Windows are kept under what they show. Were they cut by what was learned since, or by
            // what is left to do, whoever goes on with the job would find none of them.
            terms: Terms {
                pace: Pace::UNKNOWN,
                caches: false,
                ..look.work.terms
            },
            others: others(&planned.plan, config.per_key_attribution),
            aim: look.work.packing.aim,
            quotes: config.per_key_attribution,
            reads_tables: !is_instructed(config),
        };
        let known = offload(document, move || surveyor.arrays(&own)).await;
        arrays.may_be_cut = may_be_cut;
        arrays.known = known.unwrap_or_else(|_| {
            // They are asked for in one call, as short ones are.
            error!("array.unlocated: the document could not be looked through");
            BTreeMap::new()
        });
        arrays
    }

    /// The arrays that a subtree has.
    fn of_subtree(&self, index: usize) -> impl Iterator<Item = &Listed> {
        let lists = self.lists.iter();
        lists.filter(move |listed| listed.subtree == index)
    }

    /// Where in its value a subtree that is an array has it; none where it is no array.
    pub(super) fn place(&self, index: usize) -> Option<&Pointer> {
        let mut own = self.of_subtree(index).filter(|listed| listed.is_own);
        own.next().map(|listed| &listed.at)
    }

    pub(super) fn is_long(&self, index: usize) -> bool {
        self.known.get(&index).is_some_and(|array| array.is_long)
    }

    /// The calls at a time that the windows of long arrays leave to others: at least a third.
    pub(super) fn slots_left(&self, slots: usize) -> usize {
        let windows = self.long().map(|array| array.located.windows.len());
        let windows: usize = windows.sum();
        slots.saturating_sub(windows).max(slots.div_ceil(3))
    }

    pub(super) fn long(&self) -> impl Iterator<Item = &Arc<Array>> {
        self.known.values().filter(|array| array.is_long)
    }

    pub(super) fn get(&self, index: usize) -> Option<Arc<Array>> {
        self.known.get(&index).cloned()
    }

    /// Whether an array whose answer is cut off can be read in windows.
    pub(super) fn are_read_in_windows(&self) -> bool {
        self.may_be_cut && !self.known.is_empty()
    }
}

impl Array {
    /// Where the array goes in the result.
    pub(super) fn path(&self) -> Pointer {
        let path = &self.subtree.path;
        let member = self.member.as_ref();
        member.map_or_else(|| path.clone(), |name| path.join(name))
    }
}

/// A document's words, looked through when somebody first asks.
struct Words {
    document: Arc<Document>,
    survey: OnceLock<Arc<Survey>>,
}

impl Words {
    fn of(document: &Arc<Document>) -> Self {
        Self {
            document: Arc::clone(document),
            survey: OnceLock::new(),
        }
    }

    fn survey(&self) -> &Arc<Survey> {
        let look = || Arc::new(Survey::of(Arc::clone(&self.document)));
        self.survey.get_or_init(look)
    }
}

/// Work on a document, off the threads that serve requests: short work is done before another
/// thread would be awake.
pub(super) async fn offload<T: Send + 'static>(
    document: &Document,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Halt> {
    let pages = document.pages.iter();
    let words: usize = pages.map(|page| page.words.len()).sum();
    if words > FEW_WORDS {
        let done = tokio::task::spawn_blocking(work);
        return done.await.map_err(|_| Halt::Lost);
    }
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Halt::Lost)
}

/// How an array is read.
struct Cut {
    located: Located,
    limits: WindowLimits,
    is_long: bool,
    is_told: bool,
    tables: Option<Arc<Tables>>,
}

impl Cut {
    /// In one window over all that was located.
    fn whole(mut located: Located) -> Self {
        let is_told = located.windows.len() > 1;
        located.windows = whole::window(&located.windows).into_iter().collect();
        Self {
            located,
            limits: WindowLimits::default(),
            is_long: false,
            is_told,
            tables: None,
        }
    }
}

struct Surveyor {
    plan: Arc<Plan>,
    lists: Arc<Vec<Listed>>,
    words: Arc<Words>,
    plan_key: String,
    document: Arc<Document>,
    /// None where the model does not answer in tokens.
    output: Option<f64>,
    shared: f64,
    terms: Terms,
    /// Tokens of the answers that are no arrays.
    others: f64,
    aim: Aim,
    quotes: bool,
    /// Nobody gave instructions that code could not follow.
    reads_tables: bool,
}

impl Surveyor {
    fn arrays(&self, indices: &[usize]) -> BTreeMap<usize, Arc<Array>> {
        let survey = self.words.survey();
        let arrays = indices.iter().filter_map(|index| {
            let array = self.array(survey, *index)?;
            Some((*index, Arc::new(array)))
        });
        arrays.collect()
    }

    fn array(&self, survey: &Arc<Survey>, index: usize) -> Option<Array> {
        let subtree = Arc::clone(self.plan.subtrees.get(index)?);
        let mut own = self.lists.iter().filter(|listed| listed.is_own);
        let list = own.find(|listed| listed.subtree == index)?.list.clone();
        let row = size::answer(&subtree, None, self.quotes).likely / size::ROWS as f64;
        let cut = if let Some(output) = self.output {
            self.cut(survey, &list, &subtree, (output, row))
        } else {
            Cut::whole(windows(survey, &list, WindowLimits::default()))
        };
        let located = cut.located;
        let answer = f64::from(located.estimate.unwrap_or_default()) * row;
        let member = match &subtree.take {
            Take::Keys(_) => Some(list.name.clone()),
            Take::Whole | Take::Rest(_) => None,
        };
        let (plan, plan_key) = self.plan_of_a_window(index, &subtree, member.as_deref());
        let share = located.windows.len().max(1) as f64;
        Some(Array {
            index,
            weight: Weight {
                shared: 0.0,
                own: size::question(&subtree) + self.shared * (1.0 + OVERLAP) / share,
                answer: Span::exactly(answer.max(row) / share),
                first: answer / share,
                after: 0.0,
            },
            row,
            survey: Arc::clone(survey),
            subtree,
            list,
            located,
            limits: cut.limits,
            is_long: cut.is_long,
            is_told: cut.is_told,
            tables: cut.tables,
            member,
            plan,
            plan_key,
        })
    }

    /// The windows of an array, and whether it is read in them. `output` and `row`: tokens that an
    /// answer may have, and that a row is thought to take.
    fn cut(
        &self,
        survey: &Survey,
        list: &List,
        subtree: &Subtree,
        (output, row): (f64, f64),
    ) -> Cut {
        let mut limits = WindowLimits::default();
        if self.aim == Aim::Cheap {
            // Each window shows again what other calls show too.
            limits = WindowLimits {
                pages: limits.pages * 2,
                tokens: limits.tokens * 2,
                rows: None,
            };
        }
        let mut located = windows(survey, list, limits);
        let estimate = located.estimate.unwrap_or_default();
        let tables = self.tables(survey, list, estimate);
        let answer = f64::from(estimate) * row;
        let mut wanted = (answer / ANSWER.min(output)).ceil();
        let mut is_long = located.windows.len() > 1 || answer > LONG_ANSWER.min(output);
        is_long |= tables.is_some();
        if self.aim == Aim::Fast {
            let soonest = self.soonest(size::question(subtree), answer);
            is_long |= soonest > 1.0;
            wanted = wanted.max(soonest);
        }
        if is_long {
            let rows = (f64::from(estimate) / wanted.max(1.0)).ceil();
            limits = WindowLimits {
                rows: (estimate > 0).then_some(rows as u32),
                ..WindowLimits::default()
            };
            located = windows(survey, list, limits);
        }
        Cut {
            located,
            limits,
            is_long,
            is_told: false,
            tables,
        }
    }

    fn tables(&self, survey: &Survey, list: &List, estimate: u32) -> Option<Arc<Tables>> {
        let is_worth_it = self.reads_tables && estimate >= TABLE_ROWS;
        let tables = is_worth_it.then(|| Tables::of(survey, list));
        tables.flatten().map(Arc::new)
    }

    /// The windows that an array is there soonest with, and no more than gain something.
    fn soonest(&self, question: f64, answer: f64) -> f64 {
        let pages = self.document.pages.iter();
        let letters: usize = pages.map(|page| page.text.chars().count()).sum();
        let whole = Weight {
            shared: size::shared(letters as u64),
            own: question,
            answer: Span::exactly(answer),
            first: answer,
            after: 0.0,
        };
        // Others take their part of what may be called at a time.
        let slots = self.terms.slots as f64 * answer / (answer + self.others).max(1.0);
        let most = (answer / LEAST_ANSWER).clamp(1.0, slots.round().max(1.0)) as usize;
        let seconds = |count: usize| chunked(&self.terms, &whole, count, OVERLAP).seconds;
        let least = (1..=most).map(seconds).fold(f64::INFINITY, f64::min);
        let enough = (1..=most).find(|count| seconds(*count) <= least * AS_GOOD);
        enough.unwrap_or(1) as f64
    }

    fn plan_of_a_window(
        &self,
        index: usize,
        subtree: &Subtree,
        member: Option<&str>,
    ) -> (Arc<Plan>, String) {
        let mut loose = subtree.clone();
        loosen(&mut loose.schema, member);
        if loose.schema == subtree.schema {
            return (Arc::clone(&self.plan), self.plan_key.clone());
        }
        let mut plan = (*self.plan).clone();
        plan.subtrees[index] = Arc::new(loose);
        (Arc::new(plan), format!("{}/rows-{index}", self.plan_key))
    }
}

fn is_instructed(config: &Config) -> bool {
    let said = config.additional_instructions.as_deref();
    said.is_some_and(|said| !said.trim().is_empty())
}

fn others(plan: &Plan, quotes: bool) -> f64 {
    let subtrees = plan.subtrees.iter();
    let others = subtrees.filter(|subtree| subtree.kind != Kind::AgenticArray);
    others
        .map(|subtree| size::answer(subtree, None, quotes).likely)
        .sum()
}

/// Takes out of an array's schema what a part of it need not hold to.
fn loosen(schema: &mut Value, member: Option<&str>) {
    let array = match member {
        None => Some(schema),
        Some(name) => schema
            .get_mut("properties")
            .and_then(|properties| properties.get_mut(name)),
    };
    if let Some(array) = array.and_then(Value::as_object_mut) {
        for keyword in OF_THE_WHOLE {
            array.remove(keyword);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_window_is_not_held_to_what_the_whole_array_must_have() {
        let array = json!({"type": "array", "minItems": 9, "maxItems": 10, "uniqueItems": true,
            "items": {"type": "object", "properties": {"tags": {"type": "array", "minItems": 1}}}});
        let mut loose = array.clone();
        loosen(&mut loose, None);
        assert_eq!(loose["items"], array["items"]);
        assert_eq!(loose.as_object().unwrap().len(), 2);
        let mut inside =
            json!({"type": "object", "minProperties": 1, "properties": {"rows": array}});
        loosen(&mut inside, Some("rows"));
        assert_eq!(inside["properties"]["rows"], loose);
        assert_eq!(inside["minProperties"], 1);
    }
}
