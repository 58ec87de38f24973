//! Parties: the block of lines under a heading such as `Seller` or `Bill to`, or the letterhead
//! and the address window where nothing heads them.

use serde_json::Value;

use super::address::{Address, Part, city_line, country, is_state_next, is_street};
use super::find::{Found, Region, Source, is_label_text};
use super::identity::is_prose;
use super::kind::Kind;
use super::label::{Label, Mark};
use super::lexicon::lexicon;
use super::page::{Cell, Span};
use super::query::{Phrases, is_known};
use super::schema::Leaf;
use super::text::{fold, tokens};
use super::value::{Side, read};

/// Which party of a paper an object or a field is about, when it is one of the two that need no
/// heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Sender,
    Receiver,
}

/// The lines that are about one party.
#[derive(Debug, Clone, Default)]
pub(super) struct Party {
    /// Where its labels are; none for a letterhead.
    pub region: Option<Region>,
    pub lines: Vec<Span>,
    pub address: Address,
    /// How sure it is that these lines are about that party.
    pub sure: f32,
    /// Whether a heading says whose lines these are.
    pub headed: bool,
    /// Whether all of it stands in one line, as at the head or the foot of a letter.
    pub in_one_line: bool,
    /// Whether it stands at the very top of the first page.
    pub at_head: bool,
    /// Whether the address begins with `Mr` or the like: it is the receiver's.
    pub greeted: bool,
}

/// Lines that greet the receiver above the name.
const GREETINGS: &[&str] = &[
    "herr", "herrn", "frau", "firma", "mr", "mr.", "mrs", "mrs.", "ms", "ms.", "monsieur",
    "madame", "m.", "mme",
];

/// Rows of a block.
const LONGEST: usize = 16;

impl Source<'_> {
    /// The party under a heading, the fullest if there are several; else by its role.
    pub(super) fn party(&self, headings: &Phrases, role: Option<Role>) -> Option<Party> {
        self.headed_party(headings).or_else(|| match role? {
            Role::Sender => self.sender(),
            Role::Receiver => self.receiver(),
        })
    }

    /// The fullest block under one of the headings.
    pub(super) fn headed_party(&self, headings: &Phrases) -> Option<Party> {
        let labels = &self.analysis.labels;
        let mut best: Option<Party> = None;
        for hit in labels.find(&headings.list()).into_iter().take(40) {
            let label = &labels.list[hit.label];
            if hit.score < 0.75 || label.mark == Mark::Prefix {
                continue;
            }
            let Some(party) = self.headed(label, hit.score) else {
                continue;
            };
            let better = best
                .as_ref()
                .is_none_or(|known| party.worth() > known.worth() + 0.01);
            if better {
                best = Some(party);
            }
        }
        best.filter(|party| party.worth() > 1.0)
    }

    /// The block that a label heads: what follows it, and the lines below in its column.
    fn headed(&self, label: &Label, score: f32) -> Option<Party> {
        let sheet = &self.analysis.sheet;
        let cell = &sheet.cells[label.cell];
        let line = self.line(cell);
        let right = sheet
            .row(cell.row)
            .iter()
            .find(|other| other.x0 > cell.x1 + line * 0.2);
        let x1 = right
            .filter(|_| label.value_end == label.last)
            .map_or(f32::MAX, |other| other.x0 - line * 0.3);
        let mut region = Region {
            first_row: cell.row,
            last_row: cell.row,
            x0: if cell.heading {
                f32::MIN
            } else {
                cell.x0 - line
            },
            x1,
        };
        if cell.boxed && sheet.row(cell.row).len() >= 3 {
            // The heading of a column, not of a block.
            return None;
        }
        let mut lines = Vec::new();
        if label.value_end > label.last {
            lines.push(Span {
                page: cell.span.page,
                first: label.last + 1,
                last: label.value_end,
            });
        } else if label.mark == Mark::Colon {
            lines.extend(
                right
                    .filter(|other| !self.is_label(other))
                    .map(|other| other.span),
            );
            if !lines.is_empty() {
                region.x1 = f32::MAX;
            }
        }
        let mut row = cell.row;
        let widest = if self.document.kind.is_printed() {
            2.4
        } else {
            1.1
        };
        while let Some(next) = sheet.below(row) {
            if sheet.gap_above(next) > widest || next - cell.row > LONGEST {
                break;
            }
            let inside: Vec<&Cell> = sheet
                .row(next)
                .iter()
                .filter(|other| other.x0 >= region.x0 && other.x0 < region.x1)
                .collect();
            if inside
                .iter()
                .any(|other| other.heading || self.heads_another(other))
            {
                break;
            }
            row = next;
            region.last_row = row;
            for other in inside {
                if !self.is_labelled(other) {
                    lines.push(other.span);
                }
            }
        }
        let mut party = Party {
            region: Some(region),
            headed: true,
            sure: score.min(0.95),
            ..Party::default()
        };
        party.set_lines(self, lines);
        (!party.lines.is_empty() || region.last_row > region.first_row).then_some(party)
    }

    /// A cell that begins with a label and a colon, or only is one.
    pub(super) fn is_labelled(&self, cell: &Cell) -> bool {
        self.words(cell.span)
            .iter()
            .take(5)
            .any(|word| word.ends_with(':'))
            || (cell.tokens.len() <= 3
                && is_known(&plain(cell))
                && cell.tokens.len() == self.words(cell.span).len())
    }

    /// The heading of another part of the paper: known, alone, and without a value behind it.
    pub(super) fn heads_another(&self, cell: &Cell) -> bool {
        let words = self.words(cell.span);
        let colon = words.last().is_some_and(|word| word.ends_with(':'));
        let party = lexicon().is_party(&tokens(&words.join(" ")));
        (party && (colon || words.len() <= 4)) || (cell.bold && is_known(&plain(cell)) && !colon)
    }

    /// A line cut at its separators, and at commas where it holds a whole address.
    pub(super) fn parts(&self, span: Span) -> Vec<Span> {
        let words = self.words(span);
        let signs =
            |word: &str| matches!(word, "-" | "–" | "—" | "•" | "●" | "·" | "|" | "*" | "/");
        let commas = words.iter().filter(|word| word.ends_with(',')).count() >= 1
            && words
                .iter()
                .any(|word| word.chars().filter(char::is_ascii_digit).count() >= 4);
        let mut parts = Vec::new();
        let mut first = 0;
        for (at, word) in words.iter().enumerate() {
            if signs(word) {
                if first < at {
                    parts.push((first, at - 1));
                }
                first = at + 1;
            } else if commas && word.ends_with(',') && !is_state_next(&words, at) {
                parts.push((first, at));
                first = at + 1;
            }
        }
        if first < words.len() {
            parts.push((first, words.len() - 1));
        }
        parts
            .into_iter()
            .map(|(first, last)| Span {
                page: span.page,
                first: span.first + first,
                last: span.first + last,
            })
            .collect()
    }
}

pub(super) fn plain(cell: &Cell) -> Vec<String> {
    cell.tokens.iter().map(|(token, _)| token.clone()).collect()
}

impl Party {
    fn worth(&self) -> f32 {
        let address = [
            self.address.postcode.is_some(),
            self.address.street.is_some(),
            !self.address.name.is_empty(),
        ];
        let region = self
            .region
            .map_or(0, |region| (region.last_row - region.first_row).min(4));
        self.sure
            + address.iter().filter(|there| **there).count() as f32
            + region as f32 * 0.2
            + if self.lines.is_empty() { 0.0 } else { 0.4 }
    }

    pub(super) fn set_lines(&mut self, source: &Source<'_>, lines: Vec<Span>) {
        let mut cut: Vec<Span> = lines
            .iter()
            .flat_map(|line| {
                let parts = source.parts(*line);
                let address = parts
                    .iter()
                    .any(|part| city_line(&source.words(*part).join(" ")).is_some());
                if address { parts } else { vec![*line] }
            })
            .collect();
        let text = |span: &Span| source.words(*span).join(" ");
        let greeting = cut.iter().position(|span| {
            let line = fold(&text(span));
            GREETINGS.iter().any(|greeting| line == *greeting)
        });
        self.greeted |= greeting.is_some();
        let cut: Vec<Span> = cut.split_off(greeting.map_or(0, |at| at + 1));
        let postcode = |at: usize| city_line(&text(&cut[at])).map_or(0, |read| read.postcode.len());
        let city = (0..cut.len()).find(|at| postcode(*at) > 0).map(|first| {
            // `1242 chemin X - 84340 Y`: a street number reads as a short postcode.
            let later =
                (first + 1..cut.len().min(first + 3)).find(|at| postcode(*at) > postcode(first));
            later.filter(|_| postcode(first) == 4).unwrap_or(first)
        });
        if let Some(at) = city {
            let span = cut[at];
            let part = |text: String| Part { text, span };
            if let Some(read) = city_line(&text(&span)) {
                self.address.postcode = Some(part(read.postcode));
                self.address.city = Some(part(read.city));
                self.address.state = read.state.map(part);
                self.address.country = read.country.map(part);
            }
            let street = (0..at).find(|above| is_street(&text(&cut[*above])));
            self.address.street = street.map(|street| cut[street]);
            self.address.name = cut[..street.unwrap_or(at)].to_vec();
            let named = cut[at + 1..]
                .iter()
                .take(2)
                .find(|span| country(&text(span)).is_some());
            if let (Some(span), None) = (named, &self.address.country) {
                self.address.country = Some(Part {
                    text: text(span),
                    span: *span,
                });
            }
        } else {
            self.address.name = cut.iter().take(1).copied().collect();
        }
        self.lines = cut;
    }

    /// What the party's lines say of a field that no label names.
    /// `kind` is what is asked of the party where that is not the leaf's own kind.
    pub(super) fn unlabelled(&self, source: &Source<'_>, leaf: &Leaf, kind: Kind) -> Option<Found> {
        let habits = source.habits();
        let whole = |span: &Span| {
            let read = read(leaf, &source.words(*span), habits, Side::Any)?;
            Some((
                read.value,
                Span {
                    page: span.page,
                    first: span.first + read.first,
                    last: span.first + read.last,
                },
            ))
        };
        let part = |part: &Option<Part>| {
            let part = part.as_ref()?;
            let value = Value::String(part.text.clone());
            leaf.takes(&value).then_some((value, part.span))
        };
        let (value, span) = match kind {
            Kind::Name => self
                .address
                .name
                .iter()
                .find_map(|span| is_name(source, *span).then(|| whole(span)).flatten()),
            Kind::Street => self.address.street.as_ref().and_then(whole),
            Kind::Postcode => part(&self.address.postcode),
            Kind::City => part(&self.address.city),
            Kind::State { .. } => part(&self.address.state),
            Kind::Country { code } => self.address.country.as_ref().and_then(|part| {
                let iso = country(&part.text)
                    .map(str::to_owned)
                    .or_else(|| (part.text.len() == 2).then(|| part.text.clone()));
                let value = Value::String(if code { iso? } else { part.text.clone() });
                leaf.takes(&value).then_some((value, part.span))
            }),
            Kind::Address => return self.full_address(source, leaf),
            Kind::VatId | Kind::Email | Kind::Url | Kind::Phone => {
                self.lines.iter().find_map(whole)
            }
            _ => None,
        }?;
        Some(Found {
            value,
            spans: vec![span],
            confidence: self.sure,
            how: "in the block of its party",
        })
    }

    fn full_address(&self, source: &Source<'_>, leaf: &Leaf) -> Option<Found> {
        let city = self.address.city.as_ref()?.span;
        let mut spans: Vec<Span> = self.address.street.into_iter().collect();
        spans.push(city);
        let text: Vec<String> = spans
            .iter()
            .map(|span| {
                source
                    .words(*span)
                    .join(" ")
                    .trim_end_matches(',')
                    .to_owned()
            })
            .collect();
        let value = Value::String(text.join(", "));
        leaf.takes(&value).then_some(Found {
            value,
            spans,
            confidence: self.sure,
            how: "in the block of its party",
        })
    }
}

/// Whether a line can be a name: letters, and no label, number or code of something else.
pub(super) fn is_name(source: &Source<'_>, span: Span) -> bool {
    let words = source.words(span);
    let text = words.join(" ");
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    letters >= 2
        && digits * 2 <= letters
        && !text.contains('@')
        && !is_label_text(&words)
        && !is_prose(&text)
}

/// Which of the two plain roles the words are of.
pub(super) fn role(name: &[String]) -> Option<Role> {
    let says = |list: &[&str]| name.iter().any(|token| list.contains(&token.as_str()));
    if says(&lexicon().senders) {
        Some(Role::Sender)
    } else if says(&lexicon().receivers) {
        Some(Role::Receiver)
    } else {
        None
    }
}
