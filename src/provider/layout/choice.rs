//! Answers out of a few: yes and no, ticked boxes, the values of an enum.

use serde_json::Value;

use super::lexicon::lexicon;
use super::schema::Leaf;
use super::text::fold;
use super::value::{Habits, Read, numbers};

const TICKED: &[&str] = &["☒", "☑", "✓", "✔", "[x]", "[X]", "(x)", "(X)", "x", "X"];

const EMPTY: &[&str] = &["☐", "[", "[]", "()", "□"];

pub(super) fn boolean_of(words: &[&str]) -> Option<Read> {
    let says = |word: &str| {
        let folded =
            fold(word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '[' && c != ']'));
        if lexicon().yes.contains(&folded.as_str()) {
            Some(true)
        } else if lexicon().no.contains(&folded.as_str()) {
            Some(false)
        } else {
            None
        }
    };
    let boxes = words.iter().any(|word| {
        TICKED[..4].contains(word) || EMPTY.contains(word) || TICKED[4..8].contains(word)
    });
    let at = if boxes {
        // `☒ Yes ☐ No`: the answer is the word after the ticked box.
        let ticked = words.iter().position(|word| TICKED.contains(word))?;
        let word_after = words.get(ticked + 1).and_then(|word| says(word));
        let value = word_after.unwrap_or(true);
        return Some(Read {
            value: Value::Bool(value),
            first: ticked,
            last: (ticked + usize::from(word_after.is_some())),
            fit: 0.95,
        });
    } else {
        0
    };
    let value = says(words.first()?)?;
    (words.len() <= 4).then_some(Read {
        value: Value::Bool(value),
        first: at,
        last: at,
        fit: 1.0,
    })
}

/// The one choice the words state: all its words must stand there, and no other choice may.
pub(super) fn choice_of(leaf: &Leaf, words: &[&str], habits: Habits) -> Option<Read> {
    let mut best: Option<(usize, Read)> = None;
    let mut rivals = 0;
    for choice in &leaf.choices {
        let hit = match choice {
            Value::String(text) => stated(text, words),
            Value::Number(number) => numbers(words, habits.habit)
                .iter()
                .find(|(read, _, _)| number.as_f64() == Some(read.value))
                .map(|(_, first, last)| (*first, *last)),
            Value::Bool(value) => boolean_of(words)
                .filter(|read| read.value == Value::Bool(*value))
                .map(|read| (read.first, read.last)),
            _ => None,
        };
        let Some((first, last)) = hit else { continue };
        let length = last - first + 1;
        let read = Read {
            value: choice.clone(),
            first,
            last,
            fit: if length == words.len() { 1.0 } else { 0.8 },
        };
        match &best {
            // `Non-Disclosure Agreement` says `Disclosure Agreement` too; the longer one is meant.
            Some((_, known)) if known.first <= first && last <= known.last => {}
            Some((_, known)) if first <= known.first && known.last <= last => {
                best = Some((length, read));
            }
            Some(_) => rivals += 1,
            None => best = Some((length, read)),
        }
    }
    best.filter(|_| rivals == 0).map(|(_, read)| read)
}

/// Where the words of `text` stand one after the other in `words`, case and accents aside.
fn stated(text: &str, words: &[&str]) -> Option<(usize, usize)> {
    let split = |text: &str| -> Vec<String> {
        fold(text)
            .split(|c: char| !c.is_alphanumeric())
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let wanted = split(text);
    let mut there: Vec<(String, usize)> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        there.extend(split(word).into_iter().map(|part| (part, index)));
    }
    if wanted.is_empty() {
        return None;
    }
    there.windows(wanted.len()).find_map(|window| {
        let same = window
            .iter()
            .zip(&wanted)
            .all(|((part, _), want)| part == want);
        same.then(|| (window[0].1, window[window.len() - 1].1))
    })
}
