//! Who sends and who receives a paper whose parties no heading names.

use super::address::{Part, city_line, country};
use super::claim::identity;
use super::find::{Found, Region, Source, is_under};
use super::kind::Kind;
use super::lexicon::lexicon;
use super::page::{Cell, Span};
use super::party::{Party, is_name, plain};
use super::query::Phrases;
use super::schema::{Field, Leaf};
use super::text::{fold, name_words, tokens};
use super::value::{Side, read};

impl Source<'_> {
    /// The sender without a heading: an address in one line, as at the head of a letter, or the
    /// first that is not the receiver's.
    pub(super) fn sender(&self) -> Option<Party> {
        let blocks = self.unheaded();
        let headed = self.headed_role("buyer");
        let receiver = headed.as_ref().or_else(|| receiver_of(&blocks));
        let is_other = |party: &&Party| {
            !party.greeted && receiver.is_none_or(|receiver| !party.is_as(self, receiver))
        };
        // A lone block may as well be the address window.
        let certain = |party: &&Party| party.in_one_line || party.at_head || receiver.is_some();
        blocks.iter().filter(is_other).find(certain).cloned()
    }

    /// The receiver without a heading: the address that is greeted, or the one that is not the
    /// sender's.
    pub(super) fn receiver(&self) -> Option<Party> {
        let blocks = self.unheaded();
        let sender = self.headed_role("seller");
        let other = sender.and_then(|sender| {
            let is_other = |party: &&Party| !party.in_one_line && !party.is_as(self, &sender);
            blocks.iter().find(is_other)
        });
        other.or_else(|| receiver_of(&blocks)).cloned()
    }

    /// The block under a heading that says which of the two it is.
    fn headed_role(&self, role: &str) -> Option<Party> {
        let mut headings = Phrases::default();
        headings.add_ring(&tokens(role), 1.0);
        self.headed_party(&headings)
            .filter(|party| party.address.postcode.is_some())
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
        let head = lowest
            * if self.document.kind.is_printed() {
                0.2
            } else {
                0.1
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
                let in_one_line = lines.len() >= 3;
                if !in_one_line {
                    let Some(above) = self.stack_above(cell) else {
                        continue;
                    };
                    lines.splice(0..0, above);
                }
                let (below, last_row) = self.stack_below(cell);
                lines.extend(below);
                let first_row = self.row_of(lines[0]).unwrap_or(cell.row);
                let mut party = Party {
                    sure: 0.72,
                    in_one_line,
                    at_head: sheet.rows[first_row].y1 <= head,
                    region: Some(Region {
                        first_row,
                        last_row,
                        x0: cell.x0 - self.line(cell),
                        x1: cell.x1.max(cell.x0 + self.line(cell)),
                    }),
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

    /// Lines right below the town that go on with the address or say how to reach the party,
    /// and the last row of them.
    fn stack_below(&self, cell: &Cell) -> (Vec<Span>, usize) {
        let sheet = &self.analysis.sheet;
        let (mut lines, mut last) = (Vec::new(), cell.row);
        while let Some(next) = sheet.below(last).filter(|_| lines.len() < 6) {
            let line = self.line(cell);
            let under = || {
                sheet.row(next).iter().filter(|other| {
                    is_under(cell, other, line) || (other.x0 >= cell.x0 && other.x0 < cell.x1)
                })
            };
            let goes_on =
                |other: &Cell| self.is_reach(other) || country(&self.text(other)).is_some();
            if sheet.gap_above(next) >= 0.9 || !under().any(goes_on) {
                break;
            }
            lines.extend(under().flat_map(|other| self.parts(other.span)));
            last = next;
        }
        (lines, last)
    }

    /// Whether a line gives a telephone number, a mail or web address or a registration.
    fn is_reach(&self, cell: &Cell) -> bool {
        let words = self.words(cell.span);
        [Kind::Email, Kind::Url, Kind::Phone, Kind::VatId]
            .into_iter()
            .any(|kind| super::identity::text_like(kind, &words).is_some())
    }

    fn row_of(&self, span: Span) -> Option<usize> {
        let holds = |cell: &&Cell| {
            cell.span.page == span.page && (cell.span.first..=cell.span.last).contains(&span.first)
        };
        self.analysis
            .sheet
            .cells
            .iter()
            .find(holds)
            .map(|cell| cell.row)
    }
}

fn receiver_of(blocks: &[Party]) -> Option<&Party> {
    if let Some(greeted) = blocks.iter().find(|party| party.greeted) {
        return Some(greeted);
    }
    let first = blocks.first()?;
    let key = |party: &Party| {
        let text = |part: &Option<Part>| part.as_ref().map(|part| fold(&part.text));
        (text(&party.address.postcode), text(&party.address.city))
    };
    let mut others = blocks[1..].iter().filter(|party| key(party) != key(first));
    others.find(|party| !party.in_one_line)
}

impl Party {
    /// Whether both are the same by name or by street and town.
    fn is_as(&self, source: &Source<'_>, other: &Self) -> bool {
        let text = |span: Option<&Span>| span.map(|span| identity(&source.words(*span).join(" ")));
        let name = |party: &Self| text(party.address.name.first());
        let place = |party: &Self| {
            let postcode = party
                .address
                .postcode
                .as_ref()
                .map(|part| part.text.clone());
            (text(party.address.street.as_ref()), postcode)
        };
        name(self) == name(other) || place(self) == place(other)
    }

    /// A person named in the block below the name of the party.
    pub(super) fn contact(&self, source: &Source<'_>, field: &Field, leaf: &Leaf) -> Option<Found> {
        let asked = tokens(&name_words(&field.name)).iter().any(|token| {
            matches!(
                token.as_str(),
                "contact" | "attention" | "attn" | "ansprechpartner"
            )
        });
        let text = matches!(leaf.kind, Kind::Text | Kind::Name);
        let (span, _) = self
            .address
            .name
            .split_last()
            .filter(|(_, above)| asked && text && !above.is_empty())?;
        let words = source.words(*span);
        let person = (2..=4).contains(&words.len())
            && words
                .iter()
                .all(|word| word.starts_with(char::is_uppercase))
            && is_name(source, *span)
            && !words
                .iter()
                .any(|word| lexicon().legal_forms.contains(&fold(word).as_str()));
        let read = read(leaf, &words, source.habits(), Side::Any).filter(|_| person)?;
        Some(Found {
            value: read.value,
            spans: vec![*span],
            confidence: self.sure * 0.9,
            how: "below the name of its party",
        })
    }
}
