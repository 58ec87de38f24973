//! Lines that sum rows up.

use super::printed::bare;
use super::survey::Survey;

/// How lines begin, folded, that sum rows up or carry a sum over.
const SUMS: [&str; 34] = [
    "total",
    "totals",
    "subtotal",
    "sub",
    "sum",
    "grand",
    "balance",
    "carried",
    "carry",
    "brought",
    "net",
    "gross",
    "vat",
    "tax",
    "summe",
    "zwischensumme",
    "gesamt",
    "gesamtsumme",
    "gesamtbetrag",
    "endsumme",
    "endbetrag",
    "nettosumme",
    "bruttosumme",
    "ubertrag",
    "saldo",
    "mwst",
    "ust",
    "zzgl",
    "sous-total",
    "sous",
    "report",
    "montant",
    "solde",
    "tva",
];

/// Whether a line begins with a word that is said of sums.
pub(crate) fn says_sum(survey: &Survey, line: usize) -> bool {
    let mut words = survey.words(line).iter().map(|word| bare(&word.text));
    let first = words.find(|word| !word.is_empty());
    first.is_some_and(|word| SUMS.contains(&word.as_str()))
}
