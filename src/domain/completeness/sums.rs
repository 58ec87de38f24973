//! Printed sums, held against the rows that were read.

use std::collections::HashMap;

use serde_json::Value;

use super::trace::{Row, Trace};
use crate::domain::rows::{Edge, Survey};
use crate::domain::value::decimal::Decimal;

/// A figure in a column of the list, on a line that is no row.
#[derive(Debug, Clone)]
pub(super) struct Printed {
    pub line: usize,
    pub property: String,
    /// Whether it is the sum of the column so far, or since the sum before.
    pub agrees: bool,
}

/// Sums of one column.
struct Column<'c> {
    property: &'c str,
    /// Sums of the rows above, from the first of the table on and since the last printed sum;
    /// `None` once a value is no number.
    all: Option<Decimal>,
    since: Option<Decimal>,
}

/// The figures on `lines`, in order, that stand in a column of numbers, held against `rows`, those
/// of the same table in order.
pub(super) fn sums(
    survey: &Survey,
    trace: &Trace<'_>,
    rows: &[&Row<'_>],
    lines: &[usize],
) -> Vec<Printed> {
    let zero = Decimal::parse("0");
    let mut columns: HashMap<&str, Column<'_>> = HashMap::new();
    let mut found = Vec::new();
    let mut rows = rows.iter().copied().peekable();
    for line in lines {
        while let Some(row) = rows.next_if(|row| row.lines.start < *line) {
            for property in trace.columns.values() {
                let column = columns.entry(property).or_insert(Column {
                    property,
                    all: zero,
                    since: zero,
                });
                let value = number(row.value, property);
                let add = |sum: Option<Decimal>| sum?.plus(value?);
                (column.all, column.since) = (add(column.all), add(column.since));
            }
        }
        for (edge, readings) in figures(survey, *line) {
            let Some(column) = trace.columns.get(&edge) else {
                continue;
            };
            let Some(column) = columns.get_mut(column.as_str()) else {
                continue;
            };
            if column.all.is_none() {
                continue;
            }
            let is = |sum: Option<Decimal>| sum.is_some_and(|sum| readings.contains(&sum));
            found.push(Printed {
                line: *line,
                property: column.property.to_owned(),
                agrees: is(column.all) || is(column.since),
            });
            column.since = zero;
        }
    }
    found
}

/// The value of a property in a row: 0 where there is none, `None` where it is no number.
fn number(row: &Value, property: &str) -> Option<Decimal> {
    match row.pointer(property) {
        None | Some(Value::Null) => Decimal::parse("0"),
        Some(Value::Number(number)) => Decimal::parse(&number.to_string()),
        Some(_) => None,
    }
}

/// What the cells of a line may mean as numbers.
fn figures(survey: &Survey, line: usize) -> Vec<(Edge, Vec<Decimal>)> {
    let cells = survey.cells(line);
    let mut found: Vec<(Edge, Vec<Decimal>)> = Vec::new();
    let mut at = None;
    for figure in survey
        .figures(line)
        .into_iter()
        .filter(|figure| figure.is_whole)
    {
        let Some(cell) = cells.get(figure.cell) else {
            continue;
        };
        match found.last_mut() {
            Some((_, readings)) if at == Some(figure.cell) => readings.push(figure.value),
            _ => found.push((cell.edge, vec![figure.value])),
        }
        at = Some(figure.cell);
    }
    found
}
