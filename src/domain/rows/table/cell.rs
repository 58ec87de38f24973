//! What a cell says: as it stands, as a number, as a day.

use serde_json::{Number as JsonNumber, Value};

use super::super::printed::{bare, parted};
use super::super::survey::Survey;
use crate::domain::value::date;
use crate::domain::value::decimal::{Decimal, readings};
use crate::domain::value::number;

/// What stands in a cell in place of a value, or for the one above.
const NOTHING: [&str; 18] = [
    "n/a", "na", "n.a", "none", "nil", "null", "tbd", "tba", "unknown", "keine", "entfallt", "k.a",
    "dito", "ditto", "idem", "id", "neant", "s.o",
];

/// How a value is read from a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Text,
    Number,
    /// As `YYYY-MM-DD`.
    Day,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Text, Self::Number, Self::Day];

    /// What a cell that is not empty says in this form; none where that is not certain.
    pub(super) fn read(self, survey: &Survey, text: &str) -> Option<Value> {
        match self {
            Self::Text => is_said(text).then(|| Value::String(text.to_owned())),
            Self::Number => number_of(survey, text),
            Self::Day => day(survey, text).map(Value::String),
        }
    }
}

/// Whether a cell says anything, and for itself.
pub(super) fn is_said(text: &str) -> bool {
    let word = bare(text);
    !word.is_empty() && !NOTHING.contains(&word.as_str())
}

/// Whether two values are the same, however numbers are written.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    let decimal = |value: &Value| match value {
        Value::Number(number) => Decimal::parse(&number.to_string()),
        _ => None,
    };
    match (decimal(one), decimal(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// What kind of thing a cell says, with all of it that is no digit of a number: a kind that was not
/// shown to a model, such as a negative number or another currency, is not taken for a known one.
pub(super) fn kind(survey: &Survey, text: &str) -> String {
    if !is_said(text) {
        return format!("-{text}");
    }
    if day(survey, text).is_some() {
        return "D".to_owned();
    }
    let Some((head, body, tail)) = parted(text) else {
        return "T".to_owned();
    };
    let sure = number_of(survey, text);
    let is_zero = sure.as_ref().and_then(Value::as_f64) == Some(0.0);
    let decimals = number::parse(text, survey.habit).map_or(0, |number| number.decimals);
    let is_padded = body.len() > 1 && body.starts_with('0') && !body.contains(['.', ',']);
    let is_sure = sure.is_some();
    format!("N{head}|{tail}|{decimals}{is_sure}{is_zero}{is_padded}")
}

fn number_of(survey: &Survey, text: &str) -> Option<Value> {
    let (head, body, tail) = parted(text)?;
    let plain = body.replace(['\u{a0}', '\u{202f}', '\u{2009}'], " ");
    let sure: Vec<Decimal> = readings(&plain, survey.habit)
        .into_iter()
        .filter(|reading| reading.sure)
        .map(|reading| reading.value)
        .collect();
    let [size] = sure.as_slice() else { return None };
    let is_negative = head.contains(['-', '−', '–', '(']) || tail.contains(['-', '−']);
    let exact = if is_negative { size.negated() } else { *size };
    let read = number::parse(text, survey.habit)?;
    let is_whole = read.decimals == 0 && read.value.abs() < 9.0e15;
    let value = if is_whole {
        Value::from(read.value as i64)
    } else {
        Value::Number(JsonNumber::from_f64(read.value)?)
    };
    // Two ways of reading that must come to the same.
    (Decimal::parse(&value.to_string()) == Some(exact)).then_some(value)
}

/// The one day that a cell says, and nothing else, with the whole of its year.
fn day(survey: &Survey, text: &str) -> Option<String> {
    let words: Vec<&str> = text.split(' ').collect();
    let found = date::find(&words, survey.order);
    let [(date, 0, last)] = found.as_slice() else {
        return None;
    };
    let has_year = text.contains(&format!("{:04}", date.year));
    (last + 1 == words.len() && has_year).then(|| date.iso())
}
