//! Counts of rows that a document states: `Number of lines: 1,200`.

use crate::domain::rows::{Edge, Survey, bare};

/// Words of a line that states a count.
const LONGEST: usize = 10;

/// What is counted.
const ROWS: [&str; 44] = [
    "item",
    "items",
    "line",
    "lines",
    "row",
    "rows",
    "entry",
    "entries",
    "record",
    "records",
    "position",
    "positions",
    "transaction",
    "transactions",
    "product",
    "products",
    "article",
    "articles",
    "posten",
    "positionen",
    "zeile",
    "zeilen",
    "eintrag",
    "eintrage",
    "datensatze",
    "buchungen",
    "artikel",
    "umsatze",
    "ligne",
    "lignes",
    "element",
    "elements",
    "entree",
    "entrees",
    "enregistrements",
    "operation",
    "operations",
    "ecritures",
    "payments",
    "employees",
    "members",
    "orders",
    "holdings",
    "claims",
];
/// That it is a count.
const COUNTS: [&str; 15] = [
    "number",
    "count",
    "total",
    "totals",
    "no",
    "anzahl",
    "gesamtzahl",
    "zahl",
    "insgesamt",
    "nombre",
    "nb",
    "nbre",
    "quantite",
    "in",
    "listed",
];

/// The count that a line states, with the cell it stands in.
pub(super) fn stated(survey: &Survey, line: usize) -> Option<(u32, Edge)> {
    let words = survey.words(line);
    if words.len() > LONGEST || words.len() < 2 {
        return None;
    }
    let bared: Vec<String> = words.iter().map(|word| bare(&word.text)).collect();
    let says = |list: &[&str]| bared.iter().any(|word| list.contains(&word.as_str()));
    if !says(&ROWS) || !says(&COUNTS) {
        return None;
    }
    let mut counts = survey.cells(line).iter().filter_map(|cell| {
        let text = survey.cell_text(line, cell);
        let from = text.find(|char: char| char.is_ascii_digit())?;
        let number = whole(text[from..].trim_end_matches(|char: char| !char.is_ascii_digit()))?;
        // A number before its label, or behind it; never one inside a word.
        let before = text[..from].chars().next_back();
        before
            .is_none_or(|char| !char.is_alphanumeric())
            .then_some((number, cell.edge))
    });
    let found = counts.next()?;
    let others = survey
        .cells(line)
        .iter()
        .filter(|cell| cell.has_digit)
        .count();
    (others == 1).then_some(found)
}

/// Digits, unbroken or in groups of three.
fn whole(text: &str) -> Option<u32> {
    let text = text.split_whitespace().collect::<Vec<_>>();
    let digits: Vec<&str> = text
        .iter()
        .copied()
        .take_while(|word| word.starts_with(|char: char| char.is_ascii_digit()))
        .collect();
    if digits.len() < text.len() && digits.len() > 1 {
        return None;
    }
    let joined = digits.join(" ");
    let mut groups = joined.split(['.', ',', ' ', '\'', '\u{a0}', '\u{202f}']);
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grouped = rest
        .iter()
        .all(|group| group.len() == 3 && is_digits(group));
    let short = rest.is_empty() || first.len() <= 3;
    (is_digits(first) && grouped && short && joined.len() <= 12)
        .then(|| format!("{first}{}", rest.concat()).parse().ok())
        .flatten()
}
