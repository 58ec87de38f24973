//! Words to values: what a field of a kind reads from the words beside its label.

use serde_json::{Number as JsonNumber, Value};

use super::choice::{boolean_of, choice_of};
use super::date::{self, Order};
use super::identity::text_like;
use super::kind::Kind;
use super::number::{self, Habit, Number};
use super::schema::Leaf;

/// What the document shows of how it writes dates and numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub order: Order,
    pub habit: Option<Habit>,
}

/// Which date of a range is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Any,
    From,
    To,
}

/// A value read, with the first and last of the words it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub value: Value,
    pub first: usize,
    pub last: usize,
    /// How well the words fit the kind, 0 to 1.
    pub fit: f32,
}

/// The most words looked at for one value.
const LONGEST_TEXT: usize = 40;

/// Reads a value of the leaf's kind from the beginning of `words`, which is all that stands
/// where the value is expected. `None` when nothing there is of the kind, or the schema does not
/// take it.
pub(super) fn read(leaf: &Leaf, words: &[&str], habits: Habits, side: Side) -> Option<Read> {
    let words = &words[..words.len().min(LONGEST_TEXT)];
    let read = match leaf.kind {
        Kind::Date { iso } => date_of(words, habits, side, iso),
        Kind::Number | Kind::Money | Kind::Percent => number_of(leaf, words, habits),
        Kind::Year => year_of(leaf, words),
        Kind::Boolean => boolean_of(words),
        Kind::Choice => choice_of(leaf, words, habits),
        Kind::Amount { plain } => amount_of(words, habits, plain),
        kind => text_like(kind, words),
    }?;
    leaf.takes(&read.value).then_some(read)
}

fn date_of(words: &[&str], habits: Habits, side: Side, iso: bool) -> Option<Read> {
    let all = date::find(words, habits.order);
    let (date, first, last) = match side {
        Side::From if all.len() >= 2 => all[0],
        Side::To if all.len() >= 2 => all[1],
        Side::From | Side::To => return None,
        Side::Any => *all.first()?,
    };
    // A date deep in a sentence is not the answer to a label before it.
    if side != Side::To && first > 4 {
        return None;
    }
    let text = if iso {
        date.iso()
    } else {
        words[first..=last].join(" ")
    };
    let printed = text.trim_end_matches([',', ';', '.']).to_owned();
    Some(Read {
        value: Value::String(printed),
        first,
        last,
        fit: if first == 0 || side == Side::To {
            1.0
        } else {
            0.9
        },
    })
}

/// Numbers in the words, each with its first and last word: the longest reading at each place.
pub(super) fn numbers(words: &[&str], habit: Option<Habit>) -> Vec<(Number, usize, usize)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = (1..=4.min(words.len() - at)).rev().find_map(|count| {
            let text = words[at..at + count].join(" ");
            let last = words[at + count - 1];
            // A word that is only a sign ends no number: `5 -` is a quantity and a dash.
            if count > 1 && matches!(last, "-" | "–" | "(") {
                return None;
            }
            let number = number::parse(text.trim_end_matches([',', ';']), habit)?;
            Some((number, at, at + count - 1))
        });
        match longest {
            Some(found) => {
                at = found.2 + 1;
                all.push(found);
            }
            None => at += 1,
        }
    }
    all
}

fn number_of(leaf: &Leaf, words: &[&str], habits: Habits) -> Option<Read> {
    let all = numbers(words, habits.habit);
    let percent = leaf.kind == Kind::Percent;
    let fits = |number: &Number| percent || !number.percent;
    let (number, first, last) = all
        .iter()
        .find(|(number, _, _)| percent && number.percent)
        .or_else(|| all.iter().find(|(number, _, _)| fits(number)))?;
    // A figure behind words that are no currency is of something else.
    let bare = words[..*first]
        .iter()
        .all(|word| number::currency(word).is_some() || !word.contains(char::is_alphabetic));
    if *first > 3 || (!bare && !number.percent) {
        return None;
    }
    let value = json_number(number, leaf)?;
    // Money shows itself by its currency or cents; a bare count is of something else more often,
    // and where the document prints cents it always is.
    let money = leaf.kind != Kind::Money || number.currency.is_some() || number.decimals >= 2;
    if !money && habits.habit.is_some() && number.value.abs() < 1000.0 && number.value != 0.0 {
        return None;
    }
    let place = if *first == 0 { 1.0 } else { 0.85 };
    Some(Read {
        value,
        first: *first,
        last: *last,
        fit: place
            * match (leaf.kind, money, number.currency) {
                (Kind::Money, true, None) => 0.93,
                (_, true, _) => 1.0,
                _ => 0.7,
            },
    })
}

/// A number as the schema wants it: whole where it is whole and printed so.
pub(super) fn json_number(number: &Number, leaf: &Leaf) -> Option<Value> {
    let whole = number.value.fract() == 0.0 && number.value.abs() < 9.0e15;
    if whole && (leaf.integer || number.decimals == 0) {
        return Some(Value::from(number.value as i64));
    }
    if leaf.integer {
        return None;
    }
    JsonNumber::from_f64(number.value).map(Value::Number)
}

fn amount_of(words: &[&str], habits: Habits, plain: bool) -> Option<Read> {
    let (_, first, last) = numbers(words, habits.habit)
        .into_iter()
        .find(|(n, _, _)| !n.percent)?;
    if first > 3 {
        return None;
    }
    let printed = words[first..=last].join(" ");
    let text = if plain {
        printed.trim_matches(|c: char| {
            !c.is_ascii_digit() && c != '-' && c != '.' && c != ',' && c != '(' && c != ')'
        })
    } else {
        printed.as_str()
    };
    Some(Read {
        value: Value::String(text.to_owned()),
        first,
        last,
        fit: if first == 0 { 1.0 } else { 0.85 },
    })
}

fn year_of(leaf: &Leaf, words: &[&str]) -> Option<Read> {
    words.iter().take(6).enumerate().find_map(|(at, word)| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_digit());
        let year: i64 = digits.parse().ok()?;
        let plausible = digits.len() == 4 && (1800..=2200).contains(&year);
        (plausible && leaf.number).then_some(Read {
            value: Value::from(year),
            first: at,
            last: at,
            fit: if at == 0 { 1.0 } else { 0.8 },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Form, compile};
    use super::*;
    use serde_json::json;

    fn read_as(name: &str, schema: Value, text: &str) -> Option<Value> {
        let root = compile(&json!({"type": "object", "properties": {name: schema}}));
        let Form::Object(fields) = &root.form else {
            panic!()
        };
        let Form::Leaf(leaf) = &fields[0].form else {
            panic!()
        };
        let words: Vec<&str> = text.split(' ').collect();
        let habits = Habits {
            order: Order::MonthFirst,
            habit: Some(Habit::Point),
        };
        read(leaf, &words, habits, Side::Any).map(|read| read.value)
    }

    #[test]
    fn values_are_read_by_kind() {
        let text = || json!({"type": "string"});
        let number = || json!({"type": "number"});
        for (name, schema, printed, value) in [
            (
                "invoice_number",
                text(),
                "47110818 vom 31.10.2018",
                json!("47110818"),
            ),
            (
                "contract_num",
                text(),
                "9752880 (Rev 0)",
                json!("9752880 (Rev 0)"),
            ),
            ("total", number(), "$ 112,350.00", json!(112_350.0)),
            ("quantity", number(), "-5 Stk", json!(-5)),
            ("tax_percent", number(), "19 % VAT (S)", json!(19)),
            (
                "due_date",
                json!({"type": "string", "format": "date"}),
                "Aug 15, 2024",
                json!("2024-08-15"),
            ),
            ("due_date", text(), "12.05.2024", json!("12.05.2024")),
            (
                "paid",
                json!({"type": "boolean"}),
                "☐ Yes ☒ No",
                json!(false),
            ),
            ("paid", json!({"type": "boolean"}), "Ja", json!(true)),
            (
                "iban",
                text(),
                "DE88 2008 0000 0970 3757 00 BIC COBADEFFXXX",
                json!("DE88200800000970375700"),
            ),
            (
                "vat_id",
                text(),
                "FR11999999998 - SIRET",
                json!("FR11999999998"),
            ),
            (
                "status",
                json!({"enum": ["Open", "Closed"]}),
                "CLOSED",
                json!("Closed"),
            ),
            ("email", text(), "a.b@example.com", json!("a.b@example.com")),
            ("currency", text(), "EUR", json!("EUR")),
            (
                "total_amount",
                json!({"type": "string", "description": "no currency sign"}),
                "$7.00",
                json!("7.00"),
            ),
        ] {
            assert_eq!(
                read_as(name, schema, printed),
                Some(value),
                "{name} {printed}"
            );
        }
    }

    #[test]
    fn what_is_not_of_the_kind_is_not_a_value() {
        let text = || json!({"type": "string"});
        for (name, schema, printed) in [
            ("invoice_number", text(), "Date"),
            ("total", json!({"type": "number"}), "see page 3"),
            ("due_date", text(), "on receipt"),
            ("paid", json!({"type": "boolean"}), "Maybe"),
            (
                "status",
                json!({"enum": ["insured", "uninsured"]}),
                "partly covered",
            ),
            (
                "status",
                json!({"enum": ["Open", "Closed"]}),
                "Open / Closed",
            ),
            ("name", text(), "n/a"),
            ("count", json!({"type": "integer"}), "2.5"),
            ("score", json!({"type": "number", "maximum": 5}), "7"),
        ] {
            assert_eq!(read_as(name, schema, printed), None, "{name} {printed}");
        }
    }
}
