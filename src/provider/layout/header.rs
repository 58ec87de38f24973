//! Headers: rows whose cells are called like the properties of an array's items.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::find::Source;
use super::page::Cell;
use super::query::{column, is_known};
use super::schema::{Field, Form, Leaf};
use super::text::{key, tokens};

/// A column: where it lies, and which property it is of.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub x0: f32,
    pub x1: f32,
    /// Index into the leaves asked for.
    pub leaf: Option<usize>,
    pub weight: f32,
    /// Key of the header's words, to know a repeated header.
    pub text: String,
}

/// A header found: its rows and columns.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub first_row: usize,
    pub last_row: usize,
    pub columns: Vec<Column>,
    pub score: f32,
}

/// What an array's items are asked for: the leaves of the item, nested objects included.
pub(super) struct Wanted<'f> {
    pub leaves: Vec<(&'f Field, &'f Leaf)>,
    /// Leaves by the key of each heading they may have, the best first.
    headings: HashMap<String, Vec<(usize, f32)>>,
    words: HashSet<String>,
}

impl<'f> Wanted<'f> {
    pub(super) fn of(item: &'f Field) -> Self {
        let mut leaves = Vec::new();
        collect(item, &mut leaves);
        let mut headings: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
        let mut words = HashSet::new();
        for (leaf, (field, _)) in leaves.iter().enumerate() {
            for phrase in column(field).list() {
                headings
                    .entry(key(&phrase.tokens))
                    .or_default()
                    .push((leaf, phrase.weight));
                words.extend(phrase.tokens);
            }
        }
        for offers in headings.values_mut() {
            offers.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        }
        Self {
            leaves,
            headings,
            words,
        }
    }

    /// The same for all items that ask for the same.
    pub(super) fn signature(item: &Field) -> String {
        let mut leaves = Vec::new();
        collect(item, &mut leaves);
        leaves
            .iter()
            .map(|(field, _)| field.name.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What the words are worth as a heading of a leaf.
    pub(super) fn weight(&self, leaf: usize, header: &[String]) -> Option<f32> {
        let offers = self.best(header).iter();
        offers
            .filter(|(at, _)| *at == leaf)
            .map(|(_, weight)| *weight)
            .next()
    }

    /// The leaves a header text names, the best first.
    fn best(&self, header: &[String]) -> &[(usize, f32)] {
        self.headings.get(&key(header)).map_or(&[], Vec::as_slice)
    }
}

fn collect<'f>(field: &'f Field, leaves: &mut Vec<(&'f Field, &'f Leaf)>) {
    match &field.form {
        Form::Object(fields) => fields.iter().for_each(|field| collect(field, leaves)),
        Form::Leaf(leaf) if leaves.len() < 200 => leaves.push((field, leaf)),
        _ => {}
    }
}

pub(super) fn shape_of(header: &Header) -> String {
    header
        .columns
        .iter()
        .map(|column| column.text.as_str())
        .collect::<Vec<_>>()
        .join("|")
}

/// All rows that read as a header of the item, top to bottom.
pub(super) fn headers(source: &Source<'_>, wanted: &Wanted<'_>) -> Vec<Header> {
    let least = if wanted.leaves.len() == 1 { 1 } else { 2 };
    let mut said: BTreeMap<usize, usize> = BTreeMap::new();
    for word in &wanted.words {
        for row in source.analysis.words.get(word).into_iter().flatten() {
            *said.entry(*row as usize).or_default() += 1;
        }
    }
    // Headings may be spread over rows below one another.
    let near = |row: usize| {
        (row..row + 3)
            .filter_map(|row| said.get(&row))
            .sum::<usize>()
    };
    let mut found: Vec<Header> = Vec::new();
    for row in said.keys().copied().filter(|row| near(*row) >= least) {
        let mut best: Option<Header> = None;
        for height in 1..=4 {
            let Some(header) = header(source, wanted, row, height) else {
                break;
            };
            let known = best.as_ref().map_or(0.0, |best| best.score);
            let matched = header
                .columns
                .iter()
                .filter(|column| column.leaf.is_some())
                .count();
            // A few of many headings are those of another list.
            let share = matched * 9 >= header.columns.len() * 4;
            let own = share || matched >= 4 || matched == wanted.leaves.len();
            if matched >= least && own && header.score > known + 0.2 {
                best = Some(header);
            }
        }
        found.extend(best);
    }
    found
}

/// Reads `height` rows from `row` as one header.
fn header(source: &Source<'_>, wanted: &Wanted<'_>, row: usize, height: usize) -> Option<Header> {
    let sheet = &source.analysis.sheet;
    let last = row + height - 1;
    let same_page = sheet.rows.get(last)?.page == sheet.rows[row].page;
    if !same_page || (row + 1..=last).any(|row| sheet.gap_above(row) > 0.9) {
        return None;
    }
    let mut stacks: Vec<(f32, f32, Vec<String>)> = Vec::new();
    for at in row..=last {
        for piece in sheet
            .row(at)
            .iter()
            .flat_map(|cell| pieces(source, wanted, cell))
        {
            let over = stacks.iter_mut().find(|stack| {
                let shared = stack.1.min(piece.1) - stack.0.max(piece.0);
                shared > 0.4 * (stack.1 - stack.0).min(piece.1 - piece.0)
            });
            match over {
                Some(stack) => {
                    stack.0 = stack.0.min(piece.0);
                    stack.1 = stack.1.max(piece.1);
                    stack.2.extend(piece.2);
                }
                None => stacks.push(piece),
            }
        }
    }
    stacks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: Vec<Column> = stacks
        .iter()
        .map(|(x0, x1, tokens)| Column {
            x0: *x0,
            x1: *x1,
            leaf: None,
            weight: 0.0,
            text: key(tokens),
        })
        .collect();
    let mut offers: Vec<(f32, usize, usize)> = Vec::new();
    for (at, (_, _, tokens)) in stacks.iter().enumerate() {
        offers.extend(
            wanted
                .best(tokens)
                .iter()
                .map(|(leaf, weight)| (*weight, at, *leaf)),
        );
    }
    offers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut taken: HashSet<usize> = HashSet::new();
    for (weight, at, leaf) in offers {
        if columns[at].leaf.is_none() && taken.insert(leaf) {
            columns[at].leaf = Some(leaf);
            columns[at].weight = weight;
        }
    }
    let score = columns.iter().map(|column| column.weight).sum();
    Some(Header {
        first_row: row,
        last_row: last,
        columns,
        score,
    })
}

/// A header cell, cut where narrow gaps have joined several headings.
fn pieces(source: &Source<'_>, wanted: &Wanted<'_>, cell: &Cell) -> Vec<(f32, f32, Vec<String>)> {
    let all: Vec<String> = cell.tokens.iter().map(|(token, _)| token.clone()).collect();
    let whole = vec![(cell.x0, cell.x1, all.clone())];
    let count = cell.span.last - cell.span.first + 1;
    if !wanted.best(&all).is_empty() || is_known(&all) || !(2..=8).contains(&count) {
        return whole;
    }
    let Some(page) = source.document.pages.get(cell.span.page) else {
        return whole;
    };
    let named =
        |text: &[String]| !text.is_empty() && (!wanted.best(text).is_empty() || is_known(text));
    let mut cuts = Vec::new();
    let mut hits = 0;
    let mut at = cell.span.first;
    while at <= cell.span.last {
        let run = (at..=cell.span.last.min(at + 3)).rev().find(|end| {
            let text: Vec<String> = (at..=*end)
                .flat_map(|word| tokens(&page.words[word].text))
                .collect();
            named(&text)
        });
        hits += usize::from(run.is_some());
        let end = run.unwrap_or(at);
        let text: Vec<String> = (at..=end)
            .flat_map(|word| tokens(&page.words[word].text))
            .collect();
        // Text files widen Markdown cells; only the words' own places are used for cuts.
        cuts.push((
            page.words[at].bbox[0] * page.width,
            page.words[end].bbox[2] * page.width,
            text,
        ));
        at = end + 1;
    }
    if hits >= 2 && !cell.boxed {
        cuts
    } else {
        whole
    }
}
