//! Tables: a header row whose cells are called like the properties, and the rows below it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::find::{Found, Source};
use super::lexicon::lexicon;
use super::page::{Cell, Span};
use super::query::{Phrases, column, is_known};
use super::schema::{Field, Form, Kind, Leaf};
use super::text::{key, tokens};
use super::value::{Side, read};

/// A column: where it lies, and which property it is of.
#[derive(Debug, Clone)]
struct Column {
    x0: f32,
    x1: f32,
    /// Index into the leaves asked for.
    leaf: Option<usize>,
    weight: f32,
    /// Key of the header's words, to know a repeated header.
    text: String,
}

/// A header found: its rows and columns.
#[derive(Debug, Clone)]
pub(super) struct Header {
    first_row: usize,
    last_row: usize,
    columns: Vec<Column>,
    score: f32,
}

/// What an array's items are asked for: the leaves of the item, nested objects included.
pub(super) struct Wanted<'f> {
    pub leaves: Vec<(&'f Field, &'f Leaf)>,
    /// Leaves by the key of each heading they may have, the best first.
    headings: HashMap<String, Vec<(usize, f32)>>,
    words: HashSet<String>,
}

/// One row: for each leaf asked for, what was found.
pub(super) type Record = Vec<Option<Found>>;

const MAX_RECORDS: usize = 20_000;
/// Rows that fit no column, one after the other, before a table is over.
const PATIENCE: usize = 14;

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

/// Every record of the tables whose headers answer the item best.
///
/// `near`: what must be said right above or in the header, where the item alone does not tell
/// whose table it is.
pub(super) fn records(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    headers: &[Header],
    near: Option<&Phrases>,
) -> Vec<Record> {
    let mut headers: Vec<&Header> = headers.iter().collect();
    if let Some(phrases) = near {
        let labels = &source.analysis.labels;
        let rows: Vec<usize> = labels
            .find(&phrases.list())
            .into_iter()
            .filter(|hit| hit.score >= 0.85)
            .map(|hit| source.analysis.sheet.cells[labels.list[hit.label].cell].row)
            .collect();
        headers.retain(|header| {
            rows.iter()
                .any(|row| *row <= header.last_row && row + 4 >= header.first_row)
        });
    }
    let Some(best) = headers.iter().map(|header| header.score).reduce(f32::max) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut done = 0;
    let mut shape: Option<String> = None;
    for header in headers.iter().filter(|header| header.score >= best - 0.01) {
        // Tables with the same header are one list; others of equal score are another's.
        let text = shape_of(header);
        if header.first_row < done || shape.as_ref().is_some_and(|shape| *shape != text) {
            continue;
        }
        let mut walk = Walk::new(source, wanted, header);
        walk.run();
        done = walk.row;
        if !walk.records.is_empty() {
            shape = Some(text);
            all.append(&mut walk.records);
        }
        if all.len() >= MAX_RECORDS {
            break;
        }
    }
    all
}

fn shape_of(header: &Header) -> String {
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

/// Goes down from a header and gathers records.
struct Walk<'w, 'd, 'f> {
    source: &'w Source<'d>,
    wanted: &'w Wanted<'f>,
    header: &'w Header,
    row: usize,
    records: Vec<Record>,
    /// For each column, the last line of the record under way.
    open: HashMap<usize, (Cell, f32)>,
    /// How many figures a first record has; others must not have far fewer.
    figures: usize,
    misses: usize,
}

impl<'w, 'd, 'f> Walk<'w, 'd, 'f> {
    fn new(source: &'w Source<'d>, wanted: &'w Wanted<'f>, header: &'w Header) -> Self {
        Self {
            source,
            wanted,
            header,
            row: header.last_row + 1,
            records: Vec::new(),
            open: HashMap::new(),
            figures: 0,
            misses: 0,
        }
    }

    fn run(&mut self) {
        let sheet = &self.source.analysis.sheet;
        while self.row < sheet.rows.len()
            && self.misses < PATIENCE
            && self.records.len() < MAX_RECORDS
        {
            let row = self.row;
            if self.repeats_header(row) {
                self.row += self.header.last_row - self.header.first_row + 1;
                self.misses = 0;
                self.open.clear();
                continue;
            }
            let new_page = sheet.rows[row].page != sheet.rows[row - 1].page;
            let far = !new_page && sheet.gap_above(row) > 2.6;
            if far && !self.records.is_empty() && !self.fits(row) {
                break;
            }
            if self.is_sum(row) {
                self.open.clear();
                self.misses += 4;
            } else if let Some(record) = self.record(row) {
                self.records.push(record);
                self.misses = 0;
            } else {
                if self.ends_here(row) {
                    break;
                }
                self.continue_record(row);
                self.misses += 1;
            }
            self.row += 1;
        }
    }

    fn repeats_header(&self, row: usize) -> bool {
        let sheet = &self.source.analysis.sheet;
        let tokens = |row: usize| {
            let mut all: Vec<String> = sheet
                .row(row)
                .iter()
                .flat_map(|cell| cell.tokens.iter().map(|(token, _)| token.clone()))
                .collect();
            all.sort();
            all
        };
        row > self.header.last_row && tokens(row) == tokens(self.header.first_row)
    }

    fn fits(&self, row: usize) -> bool {
        self.columns_of(row)
            .iter()
            .filter(|column| column.is_some())
            .count()
            >= 2
    }

    /// A row of other headings: another table begins.
    fn ends_here(&self, row: usize) -> bool {
        let cells = self.source.analysis.sheet.row(row);
        let headings = cells
            .iter()
            .filter(|cell| {
                let tokens: Vec<String> =
                    cell.tokens.iter().map(|(token, _)| token.clone()).collect();
                is_known(&tokens)
            })
            .count();
        !self.records.is_empty() && headings >= 3 && headings * 2 >= cells.len()
    }

    /// Whether a row sums up the rows above. Words said of rows too, such as `VAT`, count only
    /// for a row with hardly a figure.
    fn is_sum(&self, row: usize) -> bool {
        let cells = self.source.analysis.sheet.row(row);
        let Some(first) = cells.iter().find(|cell| !cell.tokens.is_empty()) else {
            return false;
        };
        let texts = self.source.words(first.span);
        let lead: Vec<String> = texts.iter().take(4).flat_map(|word| tokens(word)).collect();
        let says = |sums: &[&str]| {
            (1..=lead.len().min(3)).any(|count| {
                let said = key(&lead[..count]);
                sums.iter().any(|sum| key(&tokens(sum)) == said)
            })
        };
        let short = texts.len() <= 5 || texts.iter().any(|word| word.ends_with(':'));
        let few = cells.len() <= 4.max(self.header.columns.len() / 2);
        short
            && ((few && says(&lexicon().sums)) || (cells.len() <= 2 && says(&lexicon().weak_sums)))
    }

    /// The words of a row by column.
    fn columns_of(&self, row: usize) -> Vec<Option<(Span, Cell)>> {
        let mut columns: Vec<Option<(Span, Cell)>> = vec![None; self.header.columns.len()];
        for cell in self.source.analysis.sheet.row(row) {
            for (column, span, x0, x1) in self.split(cell) {
                match &mut columns[column] {
                    Some((known, place)) if known.page == span.page && known.last < span.first => {
                        known.last = span.last;
                        place.x1 = x1;
                    }
                    Some(_) => {}
                    empty => {
                        let place = Cell {
                            x0,
                            x1,
                            span,
                            ..cell.clone()
                        };
                        *empty = Some((span, place));
                    }
                }
            }
        }
        columns
    }

    /// A cell's words by the columns they stand under.
    fn split(&self, cell: &Cell) -> Vec<(usize, Span, f32, f32)> {
        let over: Vec<usize> = self.over(cell.x0, cell.x1);
        let Some(page) = self.source.document.pages.get(cell.span.page) else {
            return Vec::new();
        };
        if over.len() <= 1 || cell.boxed {
            let column = over
                .first()
                .copied()
                .or_else(|| self.nearest(cell.x0, cell.x1));
            return column
                .map(|column| (column, cell.span, cell.x0, cell.x1))
                .into_iter()
                .collect();
        }
        let mut parts: Vec<(usize, Span, f32, f32)> = Vec::new();
        for at in cell.span.first..=cell.span.last {
            let Some(word) = page.words.get(at) else {
                continue;
            };
            let (x0, x1) = (word.bbox[0] * page.width, word.bbox[2] * page.width);
            let column = self.over(x0, x1).first().copied();
            match (column, parts.last_mut()) {
                (Some(column), Some(part)) if part.0 == column => (part.1.last, part.3) = (at, x1),
                (None, Some(part)) => (part.1.last, part.3) = (at, x1),
                (column, _) => {
                    let column = column.or_else(|| self.nearest(x0, x1));
                    let span = Span {
                        page: cell.span.page,
                        first: at,
                        last: at,
                    };
                    parts.extend(column.map(|column| (column, span, x0, x1)));
                }
            }
        }
        parts
    }

    /// The columns whose heading stands above `x0..x1`, the one that shares most first.
    fn over(&self, x0: f32, x1: f32) -> Vec<usize> {
        let mut all: Vec<(usize, f32)> = self
            .header
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| (at, column.x1.min(x1) - column.x0.max(x0)))
            .filter(|(_, shared)| *shared > 0.05)
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.into_iter().map(|(at, _)| at).collect()
    }

    fn nearest(&self, x0: f32, x1: f32) -> Option<usize> {
        let away = |column: &Column| {
            (column.x0 - x0)
                .abs()
                .min((column.x1 - x1).abs())
                .min((column.x0 - x1).max(x0 - column.x1))
        };
        self.header
            .columns
            .iter()
            .enumerate()
            .min_by(|a, b| away(a.1).total_cmp(&away(b.1)))
            .map(|(at, _)| at)
    }

    /// Reads a row as a record: its figures must be there.
    fn record(&mut self, row: usize) -> Option<Record> {
        let columns = self.columns_of(row);
        let mut record: Record = vec![None; self.wanted.leaves.len()];
        let (mut figures, mut values) = (0, 0);
        for (column, place) in self.header.columns.iter().zip(&columns) {
            let (Some(leaf), Some((span, _))) = (column.leaf, place) else {
                continue;
            };
            let found = self.read(leaf, *span, column.weight);
            values += usize::from(found.is_some());
            figures += usize::from(found.is_some() && is_figure(self.wanted.leaves[leaf].1.kind));
            record[leaf] = found;
        }
        let some = self.header.columns.iter().any(|column| {
            column
                .leaf
                .is_some_and(|leaf| is_figure(self.wanted.leaves[leaf].1.kind))
        });
        let enough = if some {
            figures >= 1 && figures * 2 >= self.figures && values >= 2.min(self.matched())
        } else {
            values >= 2.min(self.matched()) && values * 2 >= self.matched()
        };
        let labelled = self
            .source
            .words(self.source.analysis.sheet.row(row).first()?.span)
            .iter()
            .any(|word| word.ends_with(':'));
        if !enough || labelled {
            return None;
        }
        self.figures = self.figures.max(figures);
        self.open = columns
            .into_iter()
            .enumerate()
            .filter_map(|(at, place)| place.map(|(_, cell)| (at, (cell, 0.0))))
            .collect();
        Some(record)
    }

    fn matched(&self) -> usize {
        self.header
            .columns
            .iter()
            .filter(|column| column.leaf.is_some())
            .count()
    }

    fn read(&self, leaf: usize, span: Span, weight: f32) -> Option<Found> {
        let words = self.source.words(span);
        let read = read(
            self.wanted.leaves[leaf].1,
            &words,
            self.source.habits(),
            Side::Any,
        )?;
        Some(Found {
            value: read.value,
            spans: vec![Span {
                page: span.page,
                first: span.first + read.first,
                last: span.first + read.last,
            }],
            confidence: read.fit * weight.min(1.0) * 0.95,
            how: "in its column of the table",
        })
    }

    /// Figures set a little lower than the rest of their row belong to it.
    fn add_late_figures(&mut self, row: usize, columns: &[Option<(Span, Cell)>]) {
        if self.open.is_empty() || self.source.analysis.sheet.gap_above(row) > 0.3 {
            return;
        }
        for (at, place) in columns.iter().enumerate() {
            let (Some((span, _)), Some(leaf)) = (place, self.header.columns[at].leaf) else {
                continue;
            };
            let late = is_figure(self.wanted.leaves[leaf].1.kind) && !self.open.contains_key(&at);
            let found = late
                .then(|| self.read(leaf, *span, self.header.columns[at].weight))
                .flatten();
            if let (Some(found), Some(record)) = (found, self.records.last_mut()) {
                record[leaf].get_or_insert(found);
            }
        }
    }

    /// Adds a wrapped line to the texts of the record above.
    fn continue_record(&mut self, row: usize) {
        let sheet = &self.source.analysis.sheet;
        let columns = self.columns_of(row);
        let filled = columns.iter().filter(|column| column.is_some()).count();
        if filled == 0 || filled > 2 || sheet.gap_above(row) > 0.8 {
            self.open.clear();
            return;
        }
        self.add_late_figures(row, &columns);
        let Some(record) = self.records.last_mut() else {
            return;
        };
        let mut open = HashMap::new();
        for (at, place) in columns.into_iter().enumerate() {
            let (Some((span, cell)), Some(leaf)) = (place, self.header.columns[at].leaf) else {
                continue;
            };
            let Some((above, _)) = self.open.get(&at) else {
                continue;
            };
            let kind = self.wanted.leaves[leaf].1.kind;
            let texts = matches!(
                kind,
                Kind::Text | Kind::Name | Kind::Narrative | Kind::Address
            );
            if !texts || !wraps(self.source, self.header, at, above, &cell) {
                continue;
            }
            if let Some(found) = &mut record[leaf] {
                found.spans.push(span);
                let text = super::page::text_of(self.source.document, &found.spans);
                let value = serde_json::Value::String(text);
                if self.wanted.leaves[leaf].1.takes(&value) {
                    found.value = value;
                } else {
                    found.spans.pop();
                }
                open.insert(at, (cell, 0.0));
            }
        }
        self.open = open;
    }
}

/// Whether the line above had no room for the first word of this one.
fn wraps(source: &Source<'_>, header: &Header, at: usize, above: &Cell, cell: &Cell) -> bool {
    let Some(page) = source.document.pages.get(cell.span.page) else {
        return false;
    };
    let Some(word) = page.words.get(cell.span.first) else {
        return false;
    };
    let width = (word.bbox[2] - word.bbox[0]) * page.width;
    let right = header
        .columns
        .get(at + 1)
        .map_or(page.width, |next| next.x0);
    let aligned = (above.x0 - cell.x0).abs() < source.line(cell) * 0.6;
    aligned && above.x1 + width + source.line(cell) * 0.5 > right
}

fn is_figure(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Number
            | Kind::Money
            | Kind::Percent
            | Kind::Date { .. }
            | Kind::Year
            | Kind::Amount { .. }
    )
}
