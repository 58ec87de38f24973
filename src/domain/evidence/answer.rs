//! Yes and no, as forms print them.
//!
//! A word counts only where it is set off as an answer. In a sentence `no` is a word among
//! others ("no later than May"), and what a sentence means is not for code to say.

use super::derive::{Bearing, Passage};
use super::token::{is_ticked, is_unticked};

const YES: &[&str] = &["yes", "ja", "oui", "true", "wahr", "vrai", "sí", "si"];
const NO: &[&str] = &["no", "nein", "non", "false", "falsch", "faux"];

/// How `value` stands to the answers of the passage.
pub(super) fn bears(passage: &Passage<'_>, value: bool) -> Bearing {
    let (mut yes, mut no) = (0, 0);
    let mut ticked = None;
    for token in &passage.tokens {
        let key = passage.index.key(*token);
        let answer = YES.contains(&key);
        if answer || NO.contains(&key) {
            // The box before a word says whether it is meant.
            let said = ticked.take().unwrap_or_else(|| is_set_off(passage, *token));
            if said {
                *(if answer { &mut yes } else { &mut no }) += 1;
            }
        }
        ticked = key.chars().next().and_then(tick).or(ticked);
    }
    match (yes > 0, no > 0) {
        (true, false) | (false, true) if (yes > 0) == value => Bearing::Follows,
        (true, false) | (false, true) => Bearing::Differs,
        (false, false) if ticked == Some(!value) && passage.tokens.len() == 1 => Bearing::Differs,
        (false, false) if ticked == Some(value) && boxes(passage) == 1 => Bearing::Follows,
        _ => Bearing::Open,
    }
}

fn tick(c: char) -> Option<bool> {
    match c {
        c if is_ticked(c) => Some(true),
        c if is_unticked(c) => Some(false),
        _ => None,
    }
}

fn boxes(passage: &Passage<'_>) -> usize {
    let keys = passage.tokens.iter().map(|token| passage.index.key(*token));
    keys.filter(|key| key.chars().next().is_some_and(|c| tick(c).is_some()))
        .count()
}

/// Whether a word stands behind a colon, a question mark or a bar, and nothing goes on after it.
fn is_set_off(passage: &Passage<'_>, token: u32) -> bool {
    let Some(there) = passage.index.tokens.get(token as usize) else {
        return false;
    };
    let Some(page) = passage.document.pages.get(there.page as usize) else {
        return false;
    };
    let Some(word) = page.words.get(there.word as usize) else {
        return false;
    };
    let line = page
        .lines
        .get(page.lines.partition_point(|line| line.end <= there.word));
    let (first, end) = line.map_or((0, u32::MAX), |line| (line.start, line.end));
    let before = (there.word > first)
        .then(|| page.words.get(there.word as usize - 1))
        .flatten();
    let after = (there.word + 1 < end)
        .then(|| page.words.get(there.word as usize + 1))
        .flatten();
    let head: String = word
        .text
        .chars()
        .take((there.start - word.start) as usize)
        .collect();
    let tail: String = word
        .text
        .chars()
        .skip((there.end - word.start) as usize)
        .collect();
    let tail = tail.trim_matches(['*', '"', '\'', ')', ']']);
    let opens = head.ends_with([':', '?', '|', '(', '['])
        || before.is_some_and(|b| {
            b.text
                .trim_end_matches(['*', '"'])
                .ends_with([':', '?', '|'])
        });
    let alone = head.is_empty() && before.is_none() && passage.tokens.len() == 1;
    let closes = tail.starts_with(['.', ',', ';', '|'])
        || (tail.is_empty() && after.is_none_or(|a| a.text.starts_with(['|', '(', '-', '–'])));
    // `No.` alone is short for number.
    (opens && closes) || (alone && after.is_none() && tail.is_empty())
}
