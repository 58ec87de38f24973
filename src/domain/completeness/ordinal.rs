//! Numbers printed before rows.

use crate::domain::rows::{Survey, bare};

/// Words that stand before an ordinal.
const MARKS: [&str; 12] = [
    "pos", "position", "no", "nr", "item", "line", "row", "zeile", "ligne", "n", "num", "artikel",
];
/// The part of neighbours, in hundredths, that must follow each other for rows to be numbered.
const NUMBERED: usize = 80;

/// The number that a line begins with: `17`, `17.`, `17)`, `#17`, `Pos. 17`.
pub(super) fn ordinal(survey: &Survey, line: usize) -> Option<u32> {
    let mut words = survey.words(line).iter().map(|word| word.text.as_str());
    let first = words.next()?;
    let number = |word: &str| -> Option<u32> {
        let word = word.trim_start_matches(['#', '(', '[']);
        let word = word.trim_end_matches(['.', ')', ']', ':']);
        let is_plain = (1..=6).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        if is_plain { word.parse().ok() } else { None }
    };
    number(first).or_else(|| {
        let is_mark = MARKS.contains(&bare(first).as_str());
        if is_mark {
            words.next().and_then(number)
        } else {
            None
        }
    })
}

/// What the ordinals of the rows of one table say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Rows are not numbered.
    None,
    /// From 1 on without a gap: as many as there are rows.
    Whole(u32),
    /// Numbers are missing between them, before the first or out of order.
    Broken,
}

/// `lines`: those on which the rows of a table begin, in order.
pub(super) fn numbering(survey: &Survey, lines: &[usize]) -> Numbering {
    let numbers: Vec<Option<u32>> = lines.iter().map(|line| ordinal(survey, *line)).collect();
    let follows = |pair: &[Option<u32>]| match pair {
        [Some(a), Some(b)] => *b == a + 1,
        _ => false,
    };
    let pairs = numbers.len().saturating_sub(1);
    let steps = numbers.windows(2).filter(|pair| follows(pair)).count();
    if pairs < 2 || steps * 100 < pairs * NUMBERED {
        return Numbering::None;
    }
    if steps == pairs && numbers.first() == Some(&Some(1)) {
        return Numbering::Whole(numbers.len() as u32);
    }
    Numbering::Broken
}
