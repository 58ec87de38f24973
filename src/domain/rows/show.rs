//! A window as a document of its own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::RangeInclusive;

use super::survey::Survey;
use super::{Stretch, Window};
use crate::domain::document::{Document, Page, Word};

/// The pages cut down to what the window shows. Page numbers and places on the page stay as they
/// are; pages of which nothing is shown are left out. Offsets count in the shortened text.
pub fn show(survey: &Survey, window: &Window) -> Document {
    let whole = survey.document();
    let mut name = DefaultHasher::new();
    (&window.shown, &window.context).hash(&mut name);
    let mut stretches = window.context.clone();
    stretches.push(window.shown);
    let is_printed = whole.kind.is_printed();
    let pages = whole.pages.iter().filter_map(|page| {
        let lines: Vec<usize> = (0..page.lines.len())
            .filter(|line| stretches.iter().any(|s| holds(s, page.number, *line)))
            .collect();
        // A page without words may be one that a model sees.
        let is_within = page.lines.is_empty() && holds(&window.shown, page.number, 0);
        (!lines.is_empty() || is_within).then(|| cut_page(page, &lines, is_printed))
    });
    let unread = whole.unread.iter().copied();
    Document {
        kind: whole.kind,
        sha256: format!("{}-w{:016x}", whole.sha256, name.finish()),
        pages: pages.collect(),
        unread: unread
            .filter(|page| holds(&window.shown, *page, 0))
            .collect(),
    }
}

fn holds(stretch: &Stretch, page: u32, line: usize) -> bool {
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    stretch.contains(super::Place { page, line })
}

fn cut_page(page: &Page, lines: &[usize], is_printed: bool) -> Page {
    if lines.len() == page.lines.len() {
        return page.clone();
    }
    if is_printed {
        let words = lines.iter().map(|line| page.line(*line).to_vec());
        return Page::from_lines(
            page.number,
            page.width,
            page.height,
            words.collect(),
            page.rules.clone(),
        );
    }
    cut_text(page, lines)
}

/// Of a text file the lines stay as they were written, with their spaces.
fn cut_text(page: &Page, lines: &[usize]) -> Page {
    let letters: Vec<char> = page.text.chars().collect();
    let mut cut = Page {
        text: String::new(),
        words: Vec::new(),
        lines: Vec::new(),
        ..page.clone()
    };
    let mut length = 0_u32;
    for line in lines {
        let words = page.line(*line);
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            continue;
        };
        let span = written(&letters, first, last);
        let begin = length;
        let from = *span.start() as u32;
        cut.text
            .extend(letters.get(span.clone()).into_iter().flatten());
        cut.text.push('\n');
        length += (span.end() + 1 - span.start()) as u32 + 1;
        let at = cut.words.len() as u32;
        cut.words.extend(words.iter().map(|word| Word {
            start: word.start.saturating_sub(from) + begin,
            ..word.clone()
        }));
        cut.lines.push(at..cut.words.len() as u32);
    }
    cut
}

/// The characters of the file's line that the words stand on.
fn written(letters: &[char], first: &Word, last: &Word) -> RangeInclusive<usize> {
    let is_end = |at: usize| letters.get(at).is_none_or(|char| *char == '\n');
    let mut from = first.start as usize;
    while from > 0 && !is_end(from - 1) {
        from -= 1;
    }
    let mut to = (last.end() as usize).max(from + 1) - 1;
    while !is_end(to + 1) {
        to += 1;
    }
    from..=to
}
