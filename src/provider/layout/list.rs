//! Lists that are no tables: lines such as `Repair: 7 × $10.00 = $70.00`, and pairs of a label and
//! a figure under a heading.

use super::find::{Found, Source};
use super::header::Wanted;
use super::kind::Kind;
use super::lexicon::lexicon;
use super::number::Number;
use super::page::{Cell, Span};
use super::query::Phrases;
use super::table::Record;
use super::text::{fold, key, tokens};
use super::value::{json_number, numbers, read};

/// What a figure of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Quantity,
    Price,
    Amount,
}

/// The leaves of an item by what a line says of it; `None` where the item has no such leaf.
struct Roles {
    name: usize,
    quantity: usize,
    price: Option<usize>,
    amount: usize,
}

impl Roles {
    fn of(wanted: &Wanted<'_>) -> Option<Self> {
        let find = |text: &str, kinds: fn(Kind) -> bool| {
            (0..wanted.leaves.len())
                .filter(|leaf| kinds(wanted.leaves[*leaf].1.kind))
                .filter_map(|leaf| Some((leaf, wanted.weight(leaf, &tokens(text))?)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(leaf, _)| leaf)
        };
        let figure = |kind: Kind| matches!(kind, Kind::Number | Kind::Money);
        let quantity = find("quantity", figure)?;
        let price = find("unit price", figure).filter(|price| *price != quantity);
        Some(Self {
            name: find("description", |kind| {
                matches!(kind, Kind::Text | Kind::Name)
            })?,
            quantity,
            price,
            amount: find("line total", figure)
                .filter(|amount| *amount != quantity && Some(*amount) != price)?,
        })
    }

    fn leaf(&self, part: Part) -> Option<usize> {
        match part {
            Part::Name => Some(self.name),
            Part::Quantity => Some(self.quantity),
            Part::Price => self.price,
            Part::Amount => Some(self.amount),
        }
    }
}

type Pieces = Vec<(Part, Span)>;

/// Lines that state an item with its quantity and amount. At least two of them, or one whose sum
/// is right.
pub(super) fn lines(source: &Source<'_>, wanted: &Wanted<'_>) -> Vec<Record> {
    let Some(roles) = Roles::of(wanted) else {
        return Vec::new();
    };
    let sheet = &source.analysis.sheet;
    let mut all = Vec::new();
    let mut sure = false;
    for row in 0..sheet.rows.len() {
        let cells = sheet.row(row);
        if cells.len() > 3 || cells.first().is_none_or(|cell| is_sum(source, cell)) {
            continue;
        }
        let Some((pieces, proven)) = line(source, cells) else {
            continue;
        };
        sure |= proven;
        let mut record: Record = vec![None; wanted.leaves.len()];
        for (part, span) in pieces {
            let Some(leaf) = roles.leaf(part) else {
                continue;
            };
            record[leaf] = value(source, wanted, leaf, part, span);
        }
        all.push(record);
    }
    if all.len() >= 2 || sure {
        all
    } else {
        Vec::new()
    }
}

fn value(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    leaf: usize,
    part: Part,
    span: Span,
) -> Option<Found> {
    let words = source.words(span);
    let leaf = wanted.leaves[leaf].1;
    let value = if part == Part::Quantity {
        let trimmed: Vec<&str> = words
            .iter()
            .map(|word| word.trim_end_matches(['x', '×', 'X']))
            .collect();
        let (number, _, _) = numbers(&trimmed, source.habits().habit)
            .into_iter()
            .next()?;
        json_number(&number, leaf)?
    } else {
        read(leaf, &words, source.habits(), super::value::Side::Any)?.value
    };
    leaf.takes(&value).then_some(Found {
        value,
        spans: vec![span],
        confidence: 0.85,
        how: "in a line of the list",
    })
}

fn is_sum(source: &Source<'_>, cell: &Cell) -> bool {
    let words = source.words(cell.span);
    let lead: Vec<String> = words.iter().take(3).flat_map(|word| tokens(word)).collect();
    (1..=lead.len().min(3)).any(|count| {
        let said = key(&lead[..count]);
        lexicon()
            .sums
            .iter()
            .chain(&lexicon().weak_sums)
            .any(|sum| key(&tokens(sum)) == said)
    })
}

/// A line's parts, and whether quantity times price is the amount.
fn line(source: &Source<'_>, cells: &[Cell]) -> Option<(Pieces, bool)> {
    let first = cells.first()?.span;
    let span = Span {
        last: cells.last()?.span.last,
        ..first
    };
    if span.first > span.last || span.page != cells.last()?.span.page || span.last - span.first > 40
    {
        return None;
    }
    let words = source.words(span);
    by_sign(source, span, &words).or_else(|| by_count(source, span, &words))
}

/// `Repair: 7 × $10.00 = $70.00`
fn by_sign(source: &Source<'_>, span: Span, words: &[&str]) -> Option<(Pieces, bool)> {
    let times = words
        .iter()
        .position(|word| matches!(*word, "×" | "x" | "X" | "*" | "@"))?;
    let equal = words
        .iter()
        .rposition(|word| *word == "=")
        .unwrap_or(words.len());
    let habit = source.habits().habit;
    let one = |first: usize, last: usize| -> Option<(Number, usize, usize)> {
        let all = numbers(words.get(first..last)?, habit);
        let (number, a, b) = all.into_iter().next()?;
        Some((number, first + a, first + b))
    };
    let quantity = one(times.checked_sub(1)?, times)?;
    let price = one(times + 1, equal.min(words.len()))?;
    let amount = one(
        if equal < words.len() {
            equal + 1
        } else {
            price.2 + 1
        },
        words.len(),
    )?;
    let proven = (quantity.0.value * price.0.value - amount.0.value).abs()
        < 0.02 * quantity.0.value.abs().max(1.0);
    let at = |first: usize, last: usize| Span {
        page: span.page,
        first: span.first + first,
        last: span.first + last,
    };
    let name = quantity.1.checked_sub(1)?;
    proven.then(|| {
        let pieces = vec![
            (Part::Name, at(0, name)),
            (Part::Quantity, at(quantity.1, quantity.2)),
            (Part::Price, at(price.1, price.2)),
            (Part::Amount, at(amount.1, amount.2)),
        ];
        (pieces, true)
    })
}

/// `21x Consultation 3.686,34 €`
fn by_count(source: &Source<'_>, span: Span, words: &[&str]) -> Option<(Pieces, bool)> {
    let first = words.first()?;
    let digits = first.trim_end_matches(['x', '×', 'X']);
    let counted = digits.len() < first.len()
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit());
    if !counted || words.len() < 3 {
        return None;
    }
    let (number, from, to) = numbers(&words[1..], source.habits().habit).pop()?;
    let last = to + 1 == words.len() - 1;
    let money = number.currency.is_some() || number.decimals == 2;
    let at = |first: usize, last: usize| Span {
        page: span.page,
        first: span.first + first,
        last: span.first + last,
    };
    (last && money && from >= 1).then(|| {
        (
            vec![
                (Part::Quantity, at(0, 0)),
                (Part::Name, at(1, from)),
                (Part::Amount, at(from + 1, to + 1)),
            ],
            false,
        )
    })
}

/// Pairs of a label and a figure under the heading that holds `owner`'s words: the two leaves of
/// the item, a text and a number.
pub(super) fn pairs(source: &Source<'_>, wanted: &Wanted<'_>, owner: &str) -> Vec<Record> {
    if wanted.leaves.len() != 2 || owner.len() < 4 {
        return Vec::new();
    }
    let kind = |leaf: usize| wanted.leaves[leaf].1.kind;
    let figure = |leaf: &usize| matches!(kind(*leaf), Kind::Number | Kind::Money | Kind::Percent);
    let (Some(number), Some(text)) = ((0..2).find(figure), (0..2).find(|leaf| !figure(leaf)))
    else {
        return Vec::new();
    };
    let sheet = &source.analysis.sheet;
    let heading = (0..sheet.rows.len()).find(|row| {
        let cells = sheet.row(*row);
        cells.len() == 1
            && fold(&source.text(&cells[0])).contains(&fold(owner))
            && pair(source, wanted, number, text, *row + 1).is_some()
    });
    let Some(heading) = heading else {
        return Vec::new();
    };
    (heading + 1..sheet.rows.len())
        .map_while(|row| pair(source, wanted, number, text, row))
        .take(200)
        .collect()
}

fn pair(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    number: usize,
    text: usize,
    row: usize,
) -> Option<Record> {
    let cells = source.analysis.sheet.row(row);
    let page = cells.first()?.span.page;
    let (first, last) = (cells.first()?.span.first, cells.last()?.span.last);
    let words = source.words(Span { page, first, last });
    let colon = words.iter().position(|word| word.ends_with(':'))?;
    let place = |leaf: usize, from: usize, to: usize| {
        let read = read(
            wanted.leaves[leaf].1,
            words.get(from..=to)?,
            source.habits(),
            super::value::Side::Any,
        )?;
        let spans = vec![Span {
            page,
            first: first + from + read.first,
            last: first + from + read.last,
        }];
        Some(Found {
            value: read.value,
            spans,
            confidence: 0.88,
            how: "in the list under its heading",
        })
    };
    let mut record: Record = vec![None, None];
    record[text] = place(text, 0, colon);
    record[number] = place(number, colon + 1, words.len() - 1);
    record.iter().all(Option::is_some).then_some(record)
}

/// The labels of a plain list, for arrays of scalars.
pub(super) fn bullets(source: &Source<'_>, phrases: &Phrases) -> Vec<Span> {
    let labels = &source.analysis.labels;
    let sheet = &source.analysis.sheet;
    for hit in labels
        .find(&phrases.list())
        .into_iter()
        .take(10)
        .filter(|hit| hit.score >= 0.7)
    {
        let label = &labels.list[hit.label];
        let cell = &sheet.cells[label.cell];
        if label.value_end > label.last {
            continue;
        }
        let mut spans = Vec::new();
        let mut row = cell.row;
        while let Some(next) = sheet.below(row).filter(|_| spans.len() < 500) {
            let cells = sheet.row(next);
            let item = cells.len() == 1 && is_item(source, &cells[0]);
            if !item || sheet.gap_above(next) > 1.6 {
                break;
            }
            spans.push(cells[0].span);
            row = next;
        }
        if !spans.is_empty() {
            return spans;
        }
    }
    Vec::new()
}

/// Whether a bullet or a number stands before a cell.
fn is_item(source: &Source<'_>, cell: &Cell) -> bool {
    let before = cell
        .span
        .first
        .checked_sub(1)
        .and_then(|before| source.document.pages.get(cell.span.page)?.words.get(before));
    let first = source.words(cell.span).first().copied().unwrap_or_default();
    let counted = first.len() <= 4
        && first.ends_with(['.', ')'])
        && first
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
            .is_ok();
    counted
        || before.is_some_and(|word| {
            matches!(word.text.as_str(), "-" | "*" | "•" | "–" | "●" | "▪" | "·")
        })
}
