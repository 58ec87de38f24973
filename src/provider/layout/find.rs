//! Scalars: the value that stands beside, behind or below a field's label.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::document::Document;

use super::identity::is_prose;
use super::kind::Kind;
use super::label::{Label, Labels, Mark, Phrase};
use super::page::{Cell, Sheet, Span, words};
use super::query::is_known;
use super::schema::Leaf;
use super::text::tokens;
use super::value::{Habits, Read, Side, read};

/// A document with everything that is known of it before a field is asked for.
#[derive(Debug)]
pub(super) struct Analysis {
    pub sheet: Sheet,
    pub labels: Labels,
    /// Rows of each word.
    pub words: HashMap<String, Vec<u32>>,
}

impl Analysis {
    pub(super) fn of(document: &Document) -> Self {
        let sheet = Sheet::of(document);
        let labels = Labels::of(document, &sheet);
        let mut words: HashMap<String, Vec<u32>> = HashMap::new();
        for cell in &sheet.cells {
            for (token, _) in &cell.tokens {
                let rows = words.entry(token.clone()).or_default();
                if rows.last() != Some(&(cell.row as u32)) {
                    rows.push(cell.row as u32);
                }
            }
        }
        Self {
            sheet,
            labels,
            words,
        }
    }
}

/// A document and its analysis.
#[derive(Clone, Copy)]
pub(super) struct Source<'d> {
    pub document: &'d Document,
    pub analysis: &'d Analysis,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub value: Value,
    pub spans: Vec<Span>,
    /// 0 to 1.
    pub confidence: f32,
    /// How it was found, in words for people.
    pub how: &'static str,
}

/// A part of one page: rows, and what lies between two edges of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    pub first_row: usize,
    pub last_row: usize,
    pub x0: f32,
    pub x1: f32,
}

impl Region {
    pub(super) fn holds(&self, cell: &Cell) -> bool {
        (self.first_row..=self.last_row).contains(&cell.row)
            && cell.x0 >= self.x0
            && cell.x0 < self.x1
    }
}

/// What counts least: a value under a label that hardly fits is not given.
const LEAST: f32 = 0.5;
/// Labels tried for one field.
const TRIED: usize = 80;

impl<'d> Source<'d> {
    pub(super) fn habits(&self) -> Habits {
        Habits {
            order: self.analysis.sheet.order,
            habit: self.analysis.sheet.habit,
        }
    }

    pub(super) fn words(&self, span: Span) -> Vec<&'d str> {
        words(self.document, span)
    }

    pub(super) fn text(&self, cell: &Cell) -> String {
        self.words(cell.span).join(" ")
    }

    /// The best value under one of the labels, in the region if one is given.
    pub(super) fn labelled(
        &self,
        leaf: &Leaf,
        phrases: &[Phrase],
        side: Side,
        region: Option<&Region>,
    ) -> Option<Found> {
        let mut best: Option<Found> = None;
        let labels = &self.analysis.labels;
        for hit in labels.find(phrases).into_iter().take(TRIED) {
            let known = best.as_ref().map_or(LEAST, |found| found.confidence);
            if hit.score <= known {
                break;
            }
            let label = &labels.list[hit.label];
            if region.is_some_and(|region| !region.holds(&self.analysis.sheet.cells[label.cell])) {
                continue;
            }
            if let Some(found) = self.beside(leaf, label, side) {
                let confidence = hit.score * found.confidence;
                if confidence > known {
                    best = Some(Found {
                        confidence,
                        ..found
                    });
                }
            }
        }
        best
    }

    /// The value of one label: what follows it, else what stands right of it or below.
    fn beside(&self, leaf: &Leaf, label: &Label, side: Side) -> Option<Found> {
        let cell = &self.analysis.sheet.cells[label.cell];
        if label.value_end > label.last {
            let span = Span {
                page: cell.span.page,
                first: label.last + 1,
                last: label.value_end,
            };
            let found = self.read(leaf, span, side)?;
            let place = match label.mark {
                Mark::Colon => 0.99,
                _ if !follows(leaf.kind, &found) => return None,
                _ => 0.9,
            };
            return Some(found.scaled(place, "follows its label"));
        }
        // `Plaintiff,` stands behind the name it is about, not before it.
        let trails = label.mark == Mark::Whole
            && self
                .words(cell.span)
                .last()
                .is_some_and(|word| word.ends_with(',') || (word.ends_with('.') && word.len() > 4));
        if trails && matches!(leaf.kind, Kind::Text | Kind::Name) {
            return self.styled(leaf, cell);
        }
        if let Some(above) = self.captioned(leaf, label, side) {
            return Some(above.scaled(0.9, "above its caption"));
        }
        let heading = label.mark == Mark::Whole && self.heads_columns(cell);
        let right = self.right(leaf, label.cell, side);
        let below = self.below(leaf, cell, side);
        let (right, below) = if heading {
            (
                right.map(|found| found.scaled(0.6, "right of its label")),
                below.map(|found| found.scaled(0.92, "below its label")),
            )
        } else {
            (
                right.map(|found| found.scaled(0.96, "right of its label")),
                below.map(|found| found.scaled(0.84, "below its label")),
            )
        };
        match (right, below) {
            (Some(right), Some(below)) => Some(if right.confidence >= below.confidence {
                right
            } else {
                below
            }),
            (right, below) => right.or(below),
        }
    }

    fn read(&self, leaf: &Leaf, span: Span, side: Side) -> Option<Found> {
        let read: Read = read(leaf, &self.words(span), self.habits(), side)?;
        let prose = leaf.kind == Kind::Name && read.value.as_str().is_some_and(is_prose);
        if prose {
            return None;
        }
        let spans = vec![Span {
            page: span.page,
            first: span.first + read.first,
            last: span.first + read.last,
        }];
        Some(Found {
            value: read.value,
            spans,
            confidence: read.fit,
            how: "",
        })
    }

    /// The value above a label in brackets, as forms caption their blanks: `(Exact name of
    /// registrant)`.
    fn captioned(&self, leaf: &Leaf, label: &Label, side: Side) -> Option<Found> {
        let sheet = &self.analysis.sheet;
        let cell = &sheet.cells[label.cell];
        let words = self.words(cell.span);
        let caption = words.first()?.starts_with('(') && words.last()?.ends_with(')');
        if !caption || label.mark != Mark::Whole {
            return None;
        }
        let mut row = cell.row;
        for _ in 0..2 {
            let above = row
                .checked_sub(1)
                .filter(|above| sheet.rows[*above].page == cell.span.page)?;
            if sheet.gap_above(row) > 2.1 {
                return None;
            }
            let value = sheet
                .row(above)
                .iter()
                .find(|other| is_under(cell, other, self.line(cell)));
            if let Some(value) = value {
                return self.read(leaf, value.span, side);
            }
            row = above;
        }
        None
    }

    /// The name above what it is in a case: `JANE ROE,` over `Petitioner,`.
    fn styled(&self, leaf: &Leaf, label: &Cell) -> Option<Found> {
        let sheet = &self.analysis.sheet;
        let mut spans: Vec<Span> = Vec::new();
        let mut row = label.row;
        while let Some(above) = row
            .checked_sub(1)
            .filter(|above| sheet.rows[*above].page == label.span.page && spans.len() < 4)
        {
            let widest = if spans.is_empty() { 2.2 } else { 0.9 };
            let Some(cell) = sheet.row(above).first().filter(|cell| {
                sheet.gap_above(row) <= widest && cell.x0 <= label.x0 + self.line(label)
            }) else {
                break;
            };
            let versus = matches!(
                super::text::fold(&self.text(cell)).as_str(),
                "v." | "vs." | "v" | "vs" | "- v -"
            );
            if versus || self.is_label(cell) || cell.heading {
                break;
            }
            spans.insert(0, cell.span);
            row = above;
        }
        let words: Vec<&str> = spans.iter().flat_map(|span| self.words(*span)).collect();
        let read = read(leaf, &words, self.habits(), Side::Any)?;
        Some(Found {
            value: read.value,
            spans,
            confidence: 0.9,
            how: "above what it is in the case",
        })
    }

    /// Whether a label is one of a line of headings with their values below: its neighbour is no
    /// value of it, by its looks or because both have something else right below.
    fn heads_columns(&self, cell: &Cell) -> bool {
        let sheet = &self.analysis.sheet;
        let line = self.line(cell);
        let Some(next) = sheet.below(cell.row) else {
            return false;
        };
        if cell.boxed && !self.begins_table(cell.row) {
            return false;
        }
        let under = |cell: &Cell| {
            let below = sheet
                .row(next)
                .iter()
                .find(|other| (other.x0 - cell.x0).abs() < line);
            below.filter(|_| sheet.gap_above(next) < 1.2)
        };
        let Some(value) = under(cell).filter(|value| !self.is_label(value)) else {
            return false;
        };
        let Some(right) = sheet.row(cell.row).iter().find(|other| other.x0 > cell.x1) else {
            return true;
        };
        let looks = |a: &Cell, b: &Cell| {
            a.bold == b.bold && (a.size - b.size).abs() <= 0.2 * a.size.max(b.size)
        };
        if !looks(cell, value) && looks(cell, right) {
            return true;
        }
        if looks(cell, value) && !looks(cell, right) {
            return false;
        }
        let figures = |cell: &Cell| self.text(cell).contains(|c: char| c.is_ascii_digit());
        !figures(right) && under(right).is_some()
    }

    pub(super) fn line(&self, cell: &Cell) -> f32 {
        self.analysis
            .sheet
            .line
            .get(cell.span.page)
            .copied()
            .unwrap_or(1.0)
    }

    /// The value in the next cell of the row that says something, unless that is a label; money
    /// may stand behind counts.
    fn right(&self, leaf: &Leaf, index: usize, side: Side) -> Option<Found> {
        let sheet = &self.analysis.sheet;
        let row = sheet.cells.get(index)?.row;
        let end = sheet.rows.get(row)?.end;
        let reach = if leaf.kind == Kind::Money { 6 } else { 1 };
        let mut best: Option<Found> = None;
        for cell in sheet.cells[index + 1..end]
            .iter()
            .filter(|cell| !cell.tokens.is_empty())
            .take(reach)
        {
            if self.is_label(cell) {
                break;
            }
            // `Governing law ........ 19` is a line of contents: the leader is left out of cells.
            let led = cell.span.first > sheet.cells[index].span.last + 1;
            let page = self
                .words(cell.span)
                .iter()
                .all(|word| word.len() <= 3 && word.parse::<u32>().is_ok());
            let text = matches!(leaf.kind, Kind::Text | Kind::Name | Kind::Narrative);
            if page && (text || (led && leaf.kind == Kind::Identifier)) {
                break;
            }
            if let Some(found) = self.read(leaf, cell.span, side) {
                let known = best.as_ref().map_or(0.0, |best| best.confidence);
                if found.confidence > known {
                    best = Some(found);
                }
            }
        }
        best
    }

    /// Whether a cell is a label and no value.
    pub(super) fn is_label(&self, cell: &Cell) -> bool {
        is_label_text(&self.words(cell.span))
    }

    /// The value in the first row below that has something under the label.
    fn below(&self, leaf: &Leaf, label: &Cell, side: Side) -> Option<Found> {
        let sheet = &self.analysis.sheet;
        let mut row = label.row;
        let widest = if self.document.kind.is_printed() {
            1.7
        } else {
            2.1
        };
        for _ in 0..2 {
            row = sheet.below(row)?;
            // In a text file a blank line parts a plain label from what is below it.
            let parted = !self.document.kind.is_printed()
                && sheet.gap_above(row) > 0.8
                && !label.heading
                && !label.bold;
            if sheet.gap_above(row) > widest || parted {
                return None;
            }
            let under = sheet
                .row(row)
                .iter()
                .find(|cell| is_under(label, cell, self.line(label)));
            let Some(cell) = under else { continue };
            if self.is_label(cell) || cell.tokens.is_empty() || cell.heading {
                return None;
            }
            let found = self.read_block(leaf, cell, side)?;
            return (!self.goes_on(leaf, label, row)).then_some(found);
        }
        None
    }

    /// A cell, or for some sentences its whole paragraph.
    fn read_block(&self, leaf: &Leaf, cell: &Cell, side: Side) -> Option<Found> {
        if leaf.kind != Kind::Narrative {
            // A sentence below a label is the text that goes on, not a value.
            let sentence = cell.span.last - cell.span.first >= 8 && leaf.kind == Kind::Text;
            return self.read(leaf, cell.span, side).filter(|_| !sentence);
        }
        let sheet = &self.analysis.sheet;
        let mut spans = vec![cell.span];
        let mut row = cell.row;
        while let Some(next) = sheet.below(row) {
            if sheet.gap_above(next) > 0.8 || spans.len() >= 30 {
                break;
            }
            let Some(more) = sheet
                .row(next)
                .iter()
                .find(|other| is_under(cell, other, self.line(cell)))
            else {
                break;
            };
            spans.push(more.span);
            row = next;
        }
        let text = super::page::text_of(self.document, &spans);
        let value = Value::String(text);
        leaf.takes(&value).then_some(Found {
            value,
            spans,
            confidence: 0.9,
            how: "",
        })
    }

    /// Whether a row of boxed cells is the first of its table.
    fn begins_table(&self, row: usize) -> bool {
        let above = row
            .checked_sub(1)
            .map_or(&[][..], |above| self.analysis.sheet.row(above));
        above.iter().all(|cell| !cell.boxed) || self.analysis.sheet.gap_above(row) > 0.5
    }

    /// Whether the values below a label go on like a column of a table: then none of them is the
    /// one value of a field.
    fn goes_on(&self, leaf: &Leaf, label: &Cell, row: usize) -> bool {
        let sheet = &self.analysis.sheet;
        let heads = sheet.row(label.row);
        let Some(next) = sheet.below(row).filter(|_| heads.len() >= 3) else {
            return false;
        };
        let line = self.line(label);
        let under = |head: &Cell| {
            sheet
                .row(next)
                .iter()
                .find(|cell| is_under(head, cell, line))
        };
        let goes =
            |cell: &Cell| !self.is_label(cell) && self.read(leaf, cell.span, Side::Any).is_some();
        let figures = matches!(
            leaf.kind,
            Kind::Number | Kind::Money | Kind::Percent | Kind::Date { .. } | Kind::Identifier
        );
        let columns = heads.iter().filter(|head| under(head).is_some()).count();
        under(label).is_some_and(goes) && (figures || columns >= 3)
    }
}

/// Whether words read as a label: a colon near their beginning, a number of a form's box, a known
/// label, or a few words that name some number or date and give none.
pub(super) fn is_label_text(words: &[&str]) -> bool {
    let colon = words
        .iter()
        .take(6)
        .any(|word| word.len() > 1 && word.ends_with(':') && !word.starts_with("http"));
    let counted = words.len() > 1
        && words[0].ends_with('.')
        && words[0]
            .trim_end_matches('.')
            .parse::<u32>()
            .is_ok_and(|count| count < 100);
    if colon || counted {
        return true;
    }
    let tokens: Vec<String> = words.iter().take(7).flat_map(|word| tokens(word)).collect();
    let figures = words
        .iter()
        .any(|word| word.contains(|c: char| c.is_ascii_digit()));
    // `No` alone is an answer; only with a point is it a number.
    let named = words.iter().filter(|word| !word.eq_ignore_ascii_case("no"));
    let names = named
        .take(7)
        .flat_map(|word| super::text::tokens(word))
        .any(|token| {
            matches!(
                token.as_str(),
                "date" | "number" | "code" | "type" | "id" | "reference" | "address" | "signature"
            )
        });
    tokens.len() <= 6 && (is_known(&tokens) || (names && !figures))
}

/// Whether a cell stands under another: their sides meet.
pub(super) fn is_under(above: &Cell, cell: &Cell, line: f32) -> bool {
    let shared = above.x1.min(cell.x1) - above.x0.max(cell.x0);
    let narrow = (above.x1 - above.x0).min(cell.x1 - cell.x0);
    (above.x0 - cell.x0).abs() < line * 0.8 || shared > narrow * 0.5
}

/// Whether a value may follow a label that no colon ends: only what cannot be more of the label.
fn follows(kind: Kind, found: &Found) -> bool {
    match kind {
        Kind::Text
        | Kind::Name
        | Kind::Narrative
        | Kind::Street
        | Kind::City
        | Kind::Address
        | Kind::State { .. }
        | Kind::Country { .. } => false,
        // A choice is told by the schema, but only as what comes right behind the label.
        Kind::Choice => found.confidence >= 0.79,
        Kind::Identifier => found.value.as_str().is_some_and(|text| {
            text.split(' ')
                .next()
                .is_some_and(|word| word.contains(|c: char| c.is_ascii_digit()))
        }),
        _ => true,
    }
}

impl Found {
    fn scaled(self, factor: f32, how: &'static str) -> Self {
        Self {
            confidence: self.confidence * factor,
            how,
            ..self
        }
    }
}
