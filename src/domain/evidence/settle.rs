//! Which of several places is meant: the one beside its neighbours, else the one on the page
//! that was named, else none.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::document::Document;
use super::super::pointer::Pointer;
use super::index::Index;
use super::locate::{Place, Places};

/// Places that were settled make others settle; more rounds than this change little.
const ROUNDS: usize = 3;
/// Lines from its neighbours at which a value may still be theirs.
const NEAR: u32 = 6;

/// Something that stands at one of several places.
#[derive(Debug)]
pub(super) struct Sought {
    /// The leaf, or the object, that it is of.
    pub at: Pointer,
    pub places: Rc<Places>,
    /// The page that was named, from 1.
    pub page: Option<u32>,
    /// Index into the places.
    pub settled: Option<usize>,
    /// Whether others may be settled by it.
    pub anchors: bool,
}

impl Sought {
    pub(super) fn new(at: Pointer, places: Rc<Places>, page: Option<u32>, anchors: bool) -> Self {
        let only = places.list.len() == 1 && !places.more;
        Self {
            settled: only.then_some(0),
            at,
            places,
            page,
            anchors,
        }
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.places.list.get(self.settled?)
    }
}

/// Lines that settled places take, by the object they are in; and the columns of settled leaves
/// of rows, by the leaf.
#[derive(Default)]
struct Ground {
    lines: HashMap<String, Vec<(usize, u32, u32)>>,
    columns: HashMap<String, Vec<[f32; 2]>>,
}

/// Settles as many as can be.
pub(super) fn settle(document: &Document, index: &Index, all: &mut [Sought]) {
    for _ in 0..ROUNDS {
        let open: Vec<usize> = (0..all.len())
            .filter(|at| {
                let sought = &all[*at];
                sought.settled.is_none() && !sought.places.more && !sought.places.list.is_empty()
            })
            .collect();
        if open.is_empty() {
            return;
        }
        let ground = Ground::of(document, index, all);
        let mut moved = false;
        for at in open {
            let choice = ground.choose(document, index, &all[at], at);
            moved |= choice.is_some();
            all[at].settled = choice;
        }
        if !moved {
            break;
        }
    }
    for sought in all.iter_mut().filter(|sought| sought.settled.is_none()) {
        sought.settled = on_page(document, index, sought);
    }
}

/// The only place on the page that was named.
fn on_page(document: &Document, index: &Index, sought: &Sought) -> Option<usize> {
    let page = sought.page.filter(|_| !sought.places.more)?;
    let is_there = |place: &Place| {
        index
            .tokens
            .get(place.span.first as usize)
            .and_then(|token| document.pages.get(token.page as usize))
            .is_some_and(|there| there.number == page)
    };
    let mut there = (0..sought.places.list.len()).filter(|at| is_there(&sought.places.list[*at]));
    let first = there.next()?;
    there.next().is_none().then_some(first)
}

fn is_index(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit())
}

/// The leaf in any row: indices become `*`. `None` for what is in no row.
fn column_of(at: &Pointer) -> Option<String> {
    let tokens: Vec<String> = at.tokens().collect();
    let in_row = tokens.iter().any(|token| is_index(token));
    let starred = tokens
        .into_iter()
        .map(|t| if is_index(&t) { "*".into() } else { t });
    in_row.then(|| starred.collect::<Vec<String>>().join("/"))
}

impl Ground {
    fn of(document: &Document, index: &Index, all: &[Sought]) -> Self {
        let mut ground = Self::default();
        for (number, sought) in all.iter().enumerate().filter(|(_, sought)| sought.anchors) {
            let Some(place) = sought.place() else {
                continue;
            };
            let lines = lines_of(index, place);
            let own = (number, lines.0, lines.1);
            let parent = sought.at.parent();
            let above = parent
                .as_ref()
                .filter(|p| !p.last().is_some_and(|t| is_index(&t)));
            let above = above.and_then(Pointer::parent);
            for object in [Some(sought.at.clone()), parent, above]
                .into_iter()
                .flatten()
            {
                let key = object.as_str().to_owned();
                ground.lines.entry(key).or_default().push(own);
            }
            if let Some(column) = column_of(&sought.at) {
                let sides = sides_of(document, index, place);
                ground.columns.entry(column).or_default().extend(sides);
            }
        }
        ground
    }

    fn choose(
        &self,
        document: &Document,
        index: &Index,
        sought: &Sought,
        number: usize,
    ) -> Option<usize> {
        let list = &sought.places.list;
        let anchors = self.neighbours(sought, number)?;
        let distance = |place: &Place| {
            let (first, last) = lines_of(index, place);
            anchors
                .iter()
                .map(|(from, to)| from.saturating_sub(last).max(first.saturating_sub(*to)))
                .min()
                .unwrap_or(u32::MAX)
        };
        let ranked: Vec<u32> = list.iter().map(distance).collect();
        let least = ranked.iter().min().copied()?;
        let nearest: Vec<usize> = (0..list.len()).filter(|at| ranked[*at] == least).collect();
        let second = ranked.iter().filter(|far| **far > least).min();
        let clear = least <= NEAR && second.is_none_or(|far| *far > least * 2);
        if !clear {
            return None;
        }
        match nearest.as_slice() {
            [only] => Some(*only),
            several => self.in_column(document, index, sought, several),
        }
    }

    /// Lines of the settled parts of the same object, else of the object around it.
    fn neighbours(&self, sought: &Sought, number: usize) -> Option<Vec<(u32, u32)>> {
        let parent = sought.at.parent()?;
        let in_row = parent.last().is_some_and(|token| is_index(&token));
        let around = if in_row { None } else { parent.parent() };
        [Some(parent), around]
            .into_iter()
            .flatten()
            .filter_map(|object| self.lines.get(object.as_str()))
            .map(|lines| {
                let others = lines.iter().filter(|(of, _, _)| *of != number);
                others
                    .map(|(_, first, last)| (*first, *last))
                    .collect::<Vec<_>>()
            })
            .find(|lines| !lines.is_empty())
    }

    /// The only one of several places in a line that stands where the same leaf of other rows
    /// does.
    fn in_column(
        &self,
        document: &Document,
        index: &Index,
        sought: &Sought,
        several: &[usize],
    ) -> Option<usize> {
        let column = self.columns.get(&column_of(&sought.at)?)?;
        let mut within = several.iter().filter(|at| {
            let sides = sides_of(document, index, &sought.places.list[**at]);
            sides.is_some_and(|[left, right]| {
                column.iter().any(|[from, to]| left < *to && *from < right)
            })
        });
        let first = within.next()?;
        within.next().is_none().then_some(*first)
    }
}

fn lines_of(index: &Index, place: &Place) -> (u32, u32) {
    let line = |token: u32| {
        index
            .tokens
            .get(token as usize)
            .map_or(0, |token| token.line)
    };
    (line(place.span.first), line(place.span.last))
}

/// Left and right end of the place on its page.
fn sides_of(document: &Document, index: &Index, place: &Place) -> Option<[f32; 2]> {
    let side = |token: u32, at: usize| {
        let token = index.tokens.get(token as usize)?;
        let page = document.pages.get(token.page as usize)?;
        Some(page.words.get(token.word as usize)?.bbox[at])
    };
    Some([side(place.span.first, 0)?, side(place.span.last, 2)?])
}
