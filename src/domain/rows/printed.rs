//! Figures and words as they are printed.

use super::survey::Survey;
use crate::domain::value::decimal::{Decimal, readings};
use crate::domain::value::fold;
use crate::domain::value::number::Habit;

/// The most words of one figure: `1 234 567,50 EUR`.
const FIGURE_WORDS: usize = 5;

/// A number on a line.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub value: Decimal,
    /// Index into the line's cells.
    pub cell: usize,
    /// Whether the whole cell is this number.
    pub is_whole: bool,
}

/// Every number of a line, in each of the ways it can be read.
pub(super) fn figures(survey: &Survey, line: usize) -> Vec<Figure> {
    let mut found = Vec::new();
    let words = survey.words(line);
    let cells = survey.cells(line);
    let Some(start) = cells.first().map(|cell| cell.first) else {
        return found;
    };
    for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.has_digit) {
        let texts = words.get(cell.first - start..=cell.last - start);
        let texts: Vec<&str> = texts
            .unwrap_or_default()
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        for from in 0..texts.len() {
            for to in from..texts.len().min(from + FIGURE_WORDS) {
                if to > from && !texts[to].contains(|c: char| c.is_ascii_digit()) {
                    break;
                }
                let is_whole = from == 0 && to + 1 == texts.len();
                for value in read(&texts[from..=to].join(" "), survey.habit) {
                    found.push(Figure {
                        value,
                        cell: index,
                        is_whole,
                    });
                }
            }
        }
    }
    found
}

/// What stands before the digits of a printed number, the digits with their signs, and what stands
/// behind them; none for what is no number.
pub(super) fn parted(text: &str) -> Option<(&str, &str, &str)> {
    let is_digit = |char: char| char.is_ascii_digit();
    let (first, last) = (text.find(is_digit)?, text.rfind(is_digit)?);
    let (head, body, tail) = (&text[..first], &text[first..=last], &text[last + 1..]);
    let is_sign = |part: &str| part.chars().count() <= 5 && !part.contains(['/', '_', '#']);
    // Letters before or behind digits make a code of them, unless they are those of a currency.
    let is_code = |part: &str| {
        let letters = part.chars().filter(|char| char.is_alphabetic()).count();
        letters > 0 && (letters != 3 || part.contains(char::is_lowercase))
    };
    let is_number = is_sign(head) && is_sign(tail) && !is_code(head) && !is_code(tail);
    is_number.then_some((head, body, tail))
}

/// What a printed number may mean; nothing for what is no number.
pub(crate) fn read(text: &str, habit: Option<Habit>) -> Vec<Decimal> {
    let Some((head, body, tail)) = parted(text) else {
        return Vec::new();
    };
    let negative = head.contains(['-', '−', '–', '(']) || tail.contains(['-', '−']);
    let plain: String = body
        .chars()
        .map(|char| {
            if matches!(char, '\u{a0}' | '\u{202f}' | '\u{2009}') {
                ' '
            } else {
                char
            }
        })
        .collect();
    let all = readings(&plain, habit).into_iter();
    all.map(|reading| {
        if negative {
            reading.value.negated()
        } else {
            reading.value
        }
    })
    .collect()
}

/// A word as words are compared: folded, without the signs around it. Empty for signs alone.
pub(crate) fn bare(word: &str) -> String {
    let folded = fold(word);
    folded
        .trim_matches(|char: char| !char.is_alphanumeric())
        .to_owned()
}
