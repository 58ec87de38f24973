//! Who sends and who receives a paper whose parties no heading names.

use super::address::{Part, city_line, country};
use super::find::{Found, Source, is_under};
use super::lexicon::lexicon;
use super::page::{Cell, Span};
use super::party::{Party, is_name, plain};
use super::schema::Leaf;
use super::text::{fold, tokens};
use super::value::{Side, read};

impl Source<'_> {
    /// The sender without a heading: the first address of the first page.
    pub(super) fn sender(&self) -> Option<Party> {
        self.unheaded().into_iter().find(|party| !party.greeted)
    }

    /// The receiver without a heading: the next address that is another one.
    pub(super) fn receiver(&self) -> Option<Party> {
        let blocks = self.unheaded();
        if let Some(greeted) = blocks.iter().find(|party| party.greeted) {
            return Some(greeted.clone());
        }
        let mut blocks = blocks.into_iter();
        let first = blocks.next()?;
        let key = |party: &Party| {
            let text = |part: &Option<Part>| part.as_ref().map(|part| fold(&part.text));
            (text(&party.address.postcode), text(&party.address.city))
        };
        blocks.find(|party| key(party) != key(&first))
    }

    /// The name at the head of the first page: the first line that is no title, label or figure.
    pub(super) fn letterhead(&self, leaf: &Leaf) -> Option<Found> {
        let sheet = &self.analysis.sheet;
        let rows = sheet.pages.first()?.clone();
        let title = |cell: &Cell| {
            plain(cell)
                .iter()
                .any(|token| lexicon().titles.contains(&token.as_str()))
        };
        let cell = rows
            .take(5)
            .filter(|row| sheet.row(*row).len() == 1)
            .map(|row| &sheet.row(row)[0])
            .find(|cell| {
                let words = self.words(cell.span);
                let figures = words
                    .iter()
                    .any(|word| word.contains(|c: char| c.is_ascii_digit()));
                (2..=8).contains(&words.len())
                    && !figures
                    && !title(cell)
                    && !self.is_labelled(cell)
                    && is_name(self, cell.span)
            })?;
        let read = read(leaf, &self.words(cell.span), self.habits(), Side::Any)?;
        Some(Found {
            value: read.value,
            spans: vec![cell.span],
            confidence: 0.62,
            how: "at the head of the first page",
        })
    }

    /// Addresses of the upper half of the first page that no heading claims, top to bottom and
    /// left to right.
    fn unheaded(&self) -> Vec<Party> {
        let sheet = &self.analysis.sheet;
        let Some(rows) = sheet.pages.first().cloned() else {
            return Vec::new();
        };
        let lowest = if self.document.kind.is_printed() {
            self.document
                .pages
                .first()
                .map_or(0.0, |page| page.height * 0.55)
        } else {
            40.0
        };
        let mut found = Vec::new();
        for row in rows.filter(|row| sheet.rows[*row].y1 <= lowest).take(120) {
            for cell in sheet.row(row) {
                let parts = self.parts(cell.span);
                let ends = parts
                    .iter()
                    .any(|part| city_line(&self.words(*part).join(" ")).is_some());
                if !ends || self.is_labelled(cell) {
                    continue;
                }
                let mut lines = parts;
                if lines.len() < 3 {
                    let Some(above) = self.stack_above(cell) else {
                        continue;
                    };
                    lines.splice(0..0, above);
                }
                lines.extend(self.stack_below(cell));
                let mut party = Party {
                    sure: 0.72,
                    ..Party::default()
                };
                party.set_lines(self, lines);
                if !party.address.name.is_empty() {
                    found.push(party);
                }
            }
        }
        found
    }

    /// Lines right above a cell in its column, top first; `None` when a heading claims them.
    fn stack_above(&self, cell: &Cell) -> Option<Vec<Span>> {
        let sheet = &self.analysis.sheet;
        let mut lines = Vec::new();
        let mut row = cell.row;
        let mut below = cell;
        while let Some(above) = row
            .checked_sub(1)
            .filter(|above| sheet.rows[*above].page == cell.span.page)
        {
            let line = self.line(cell);
            let next = sheet
                .row(above)
                .iter()
                .find(|other| (other.x0 - below.x0).abs() < line * 0.6);
            let Some(next) = next else {
                // A row of other columns only does not part the lines of this one.
                row = above;
                if below.y0 - sheet.rows[above].y1 > line * 1.8 {
                    break;
                }
                continue;
            };
            // An address window may set its town off by a blank line.
            if below.y0 - next.y1 > line * if lines.is_empty() { 2.6 } else { 1.8 }
                || lines.len() >= 6
            {
                break;
            }
            let text = fold(&self.text(next));
            if self.is_labelled(next) || self.heads_another(next) {
                let claimed = lexicon().is_party(&tokens(&text));
                if claimed {
                    return None;
                }
                break;
            }
            lines.insert(0, next.span);
            below = next;
            row = above;
        }
        Some(lines)
    }

    fn stack_below(&self, cell: &Cell) -> Vec<Span> {
        let sheet = &self.analysis.sheet;
        let Some(next) = sheet.below(cell.row) else {
            return Vec::new();
        };
        sheet
            .row(next)
            .iter()
            .filter(|other| sheet.gap_above(next) < 0.9 && is_under(cell, other, self.line(cell)))
            .filter(|other| country(&self.text(other)).is_some())
            .map(|other| other.span)
            .collect()
    }
}
