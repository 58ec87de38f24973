//! Which column says which property, learned from rows that a model has read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::cell::{Form, is_said, is_same};
use super::lines::texts;
use super::{Sample, Tables};
use crate::domain::rows::Survey;

/// Rows from which it is learned how a table is read, at least.
const LEAST: usize = 6;
/// Rows of a table of which none was read, where it is another list's.
const LEAST_OF_OTHERS: usize = 4;
/// Rows that are shown for each property that more than one column may say.
const TELLING: usize = 3;
/// Such rows of one table.
const MOST_TELLING: usize = 12;

/// A sample, and what a model read of it.
#[derive(Debug, Clone)]
pub struct Lesson {
    pub sample: Sample,
    pub rows: Vec<Value>,
}

/// What was learned.
#[derive(Debug, Default)]
pub struct Lessons {
    /// For each part of the tables, how it is read; none where that was not learned.
    pub(super) ways: Vec<Option<usize>>,
    pub(super) known: Vec<Way>,
    /// Rows that were shown.
    pub(super) shown: HashSet<usize>,
    /// Parts that are tables of other lists.
    pub(super) others: Vec<usize>,
    /// Rows in which columns differ that may say the same property as far as is known.
    pub doubts: Vec<Sample>,
}

impl Lessons {
    /// Whether any table can be read by code.
    pub fn is_any(&self) -> bool {
        self.ways.iter().any(Option::is_some)
    }
}

/// How the rows of tables with the same header are read.
#[derive(Debug)]
pub(super) struct Way {
    /// By pointer into a row: all that says it, and must say the same.
    properties: BTreeMap<String, Vec<Source>>,
    /// For each kind of rows that were shown, one of them.
    forms: HashMap<u32, Value>,
}

/// What says a property.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Column(usize, Form),
    /// The same in all rows that were shown.
    Always(Value),
}

/// A row that was shown, with what was read of it.
struct Shown<'l> {
    kind: u32,
    texts: Vec<Option<String>>,
    /// By pointer.
    leaves: BTreeMap<String, &'l Value>,
    row: &'l Value,
}

impl Tables {
    /// Learns from all samples that were read.
    pub fn learn(&self, survey: &Survey, lessons: &[Lesson]) -> Lessons {
        let mut learned = Lessons {
            ways: vec![None; self.parts.len()],
            shown: lessons
                .iter()
                .flat_map(|lesson| lesson.sample.rows.iter().copied())
                .collect(),
            others: (0..self.parts.len())
                .filter(|at| self.own.is_some_and(|own| own != *at) && is_anothers(lessons, *at))
                .collect(),
            ..Lessons::default()
        };
        let headers: BTreeSet<&str> = self.parts.iter().map(|part| part.header.as_str()).collect();
        for header in headers {
            let parts = (0..self.parts.len()).filter(|at| self.parts[*at].header == header);
            // Of a table of which other rows were read than its own, nothing is known.
            let taught: Vec<usize> = parts.filter(|at| is_taught(lessons, *at)).collect();
            let own: Vec<&Lesson> = lessons
                .iter()
                .filter(|lesson| taught.contains(&lesson.sample.part))
                .collect();
            let Some(way) = self.way(survey, &own) else {
                continue;
            };
            learned.doubts.extend(self.doubts(survey, &way, &taught));
            for part in taught {
                learned.ways[part] = Some(learned.known.len());
            }
            learned.known.push(way);
        }
        learned
    }

    fn way(&self, survey: &Survey, lessons: &[&Lesson]) -> Option<Way> {
        let pairs = lessons
            .iter()
            .flat_map(|lesson| lesson.sample.rows.iter().zip(&lesson.rows));
        let shown: Option<Vec<Shown<'_>>> = pairs
            .map(|(at, row)| {
                let known = &self.rows[*at];
                Some(Shown {
                    kind: known.kind,
                    texts: texts(survey, &self.columns, &self.lines, known),
                    leaves: leaves(row)?,
                    row,
                })
            })
            .collect();
        let all = shown?;
        let counts = self.counts();
        let is_usual = |one: &Shown<'_>| {
            counts
                .get(&one.kind)
                .is_some_and(|count| *count >= self.usual())
        };
        let (shown, rare): (Vec<_>, Vec<_>) = all.into_iter().partition(is_usual);
        if shown.len() < LEAST {
            return None;
        }
        let names: BTreeSet<&String> = shown.iter().flat_map(|one| one.leaves.keys()).collect();
        let mut properties = BTreeMap::new();
        for name in names {
            let sources = sources(survey, self.columns.count(), &shown, name);
            let is_told = match sources.as_slice() {
                [] => false,
                [Source::Always(value)] => value.is_null(),
                _ => true,
            };
            if !is_told {
                return None;
            }
            properties.insert(name.clone(), sources);
        }
        let mut way = Way {
            properties,
            forms: forms(&shown),
        };
        way.add(survey, &rare);
        Some(way)
    }

    /// Rows that tell apart the columns that may say the same property.
    fn doubts(&self, survey: &Survey, way: &Way, parts: &[usize]) -> Vec<Sample> {
        let open: Vec<&Vec<Source>> = way
            .properties
            .values()
            .filter(|sources| sources.len() > 1)
            .collect();
        if open.is_empty() {
            return Vec::new();
        }
        let mut samples = Vec::new();
        for at in parts {
            let part = &self.parts[*at];
            let mut telling: Vec<Vec<usize>> = vec![Vec::new(); open.len()];
            for row in part.rows.clone().filter(|row| self.is_clear(part, *row)) {
                if !way.forms.contains_key(&self.rows[row].kind) {
                    continue;
                }
                let texts = texts(survey, &self.columns, &self.lines, &self.rows[row]);
                for (sources, telling) in open.iter().zip(&mut telling) {
                    let said = sources.iter().map(|source| source.say(survey, &texts));
                    let said: Option<Vec<Value>> = said.collect();
                    let differs = |said: Vec<Value>| said.iter().any(|one| !is_same(one, &said[0]));
                    if said.is_some_and(differs) {
                        telling.push(row);
                    }
                }
            }
            let mut rows: BTreeSet<usize> = BTreeSet::new();
            for telling in telling {
                let picked =
                    (1..=TELLING).filter_map(|n| telling.get(telling.len() * n / (TELLING + 1)));
                rows.extend(picked);
            }
            let rows: Vec<usize> = rows.into_iter().take(MOST_TELLING).collect();
            if !rows.is_empty() {
                samples.extend(self.sample(survey, *at, rows));
            }
        }
        samples
    }
}

fn is_taught(lessons: &[Lesson], part: usize) -> bool {
    let mut own = lessons.iter().filter(|lesson| lesson.sample.part == part);
    let is_right = |lesson: &Lesson| lesson.rows.len() == lesson.sample.rows.len();
    own.clone().next().is_some() && own.all(is_right)
}

/// Whether nothing was read of what was shown of a table, at either end of it.
fn is_anothers(lessons: &[Lesson], part: usize) -> bool {
    let mut own = lessons.iter().filter(|lesson| lesson.sample.part == part);
    own.clone()
        .any(|lesson| lesson.sample.rows.len() >= LEAST_OF_OTHERS)
        && own.all(|lesson| lesson.rows.is_empty())
}

/// The leaves of a row by pointer; none where it holds a list.
fn leaves(row: &Value) -> Option<BTreeMap<String, &Value>> {
    let mut leaves = BTreeMap::new();
    gather(row, String::new(), &mut leaves)?;
    (row.is_object() && !leaves.is_empty()).then_some(leaves)
}

fn gather<'v>(
    value: &'v Value,
    at: String,
    leaves: &mut BTreeMap<String, &'v Value>,
) -> Option<()> {
    match value {
        Value::Array(_) => None,
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            gather(value, format!("{at}/{key}"), leaves)
        }),
        leaf => {
            leaves.insert(at, leaf);
            Some(())
        }
    }
}

impl Way {
    /// Takes kinds that few rows have, where it reads all of them that were shown as the model has.
    fn add(&mut self, survey: &Survey, rare: &[Shown<'_>]) {
        let forms = forms(rare);
        for (kind, form) in forms {
            self.forms.insert(kind, form);
            let mut own = rare.iter().filter(|one| one.kind == kind);
            let is_right = |one: &Shown<'_>| {
                let read = self.row(survey, kind, &one.texts);
                let is_told = one
                    .leaves
                    .keys()
                    .all(|name| self.properties.contains_key(name));
                is_told && read.is_some_and(|read| is_same_row(&read, one))
            };
            if !own.all(is_right) {
                self.forms.remove(&kind);
            }
        }
    }
}

fn is_same_row(read: &Value, shown: &Shown<'_>) -> bool {
    let mut leaves = shown.leaves.iter();
    leaves.all(|(name, value)| read.pointer(name).is_some_and(|read| is_same(read, value)))
}

/// All that says a property as it was read in every row that was shown.
fn sources(survey: &Survey, columns: usize, shown: &[Shown<'_>], name: &str) -> Vec<Source> {
    let read: Vec<&Value> = shown
        .iter()
        .map(|one| one.leaves.get(name).copied().unwrap_or(&Value::Null))
        .collect();
    let is_constant = read.iter().all(|value| is_same(value, read[0]));
    let always = is_constant.then(|| Source::Always(read[0].clone()));
    if read.iter().all(|value| value.is_null()) {
        return always.into_iter().collect();
    }
    let all = (0..columns).flat_map(|at| Form::ALL.map(|form| Source::Column(at, form)));
    let fits = |source: &Source| {
        shown.iter().zip(&read).all(|(one, value)| {
            let said = source.say(survey, &one.texts);
            said.is_some_and(|said| is_same(&said, value))
        })
    };
    all.filter(fits).chain(always).collect()
}

/// One row of each kind; none of a kind whose rows do not all have the same members.
fn forms(shown: &[Shown<'_>]) -> HashMap<u32, Value> {
    let mut forms: HashMap<u32, Option<&Shown<'_>>> = HashMap::new();
    for one in shown {
        let form = forms.entry(one.kind).or_insert(Some(one));
        *form = form.filter(|form| form.leaves.keys().eq(one.leaves.keys()));
    }
    let forms = forms.into_iter();
    forms
        .filter_map(|(kind, form)| Some((kind, form?.row.clone())))
        .collect()
}

impl Source {
    /// What it says of a row, null for an empty cell; none where that is not certain.
    fn say(&self, survey: &Survey, texts: &[Option<String>]) -> Option<Value> {
        match self {
            Self::Always(value) => Some(value.clone()),
            Self::Column(at, form) => match texts.get(*at)? {
                Some(text) if is_said(text) => form.read(survey, text),
                _ => Some(Value::Null),
            },
        }
    }
}

impl Way {
    /// Whether rows of a kind were shown.
    pub(super) fn knows(&self, kind: u32) -> bool {
        self.forms.contains_key(&kind)
    }

    /// A row by what stands in its columns; none where anything of it is not certain.
    pub(super) fn row(
        &self,
        survey: &Survey,
        kind: u32,
        texts: &[Option<String>],
    ) -> Option<Value> {
        let mut row = self.forms.get(&kind)?.clone();
        for (name, sources) in &self.properties {
            let mut said = sources.iter().map(|source| source.say(survey, texts));
            let first = said.next()??;
            for other in said {
                if !is_same(&other?, &first) {
                    return None;
                }
            }
            match row.pointer_mut(name) {
                Some(place) => *place = first,
                None if first.is_null() => {}
                None => return None,
            }
        }
        Some(row)
    }

    /// The column that each property stands in.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.properties.iter().filter_map(|(name, sources)| {
            let column = sources.iter().find_map(|source| match source {
                Source::Column(at, _) => Some(*at),
                Source::Always(_) => None,
            });
            Some((name.as_str(), column?))
        })
    }
}
