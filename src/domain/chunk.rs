//! A text in pieces of a bounded length, cut where a reader would pause.

use std::ops::Range;

use super::operation::Parse;

/// A piece of the pages' text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Without white space at its ends; never empty.
    pub text: String,
    /// Pages it begins and ends on, from 1.
    pub pages: (u32, u32),
}

/// What parts two pages.
const BETWEEN_PAGES: &str = "\n\n";

/// The pages' text in chunks of at most `chunk_size` characters, each beginning at most `overlap`
/// characters before the end of the one before.
///
/// Cut, in this order, after a paragraph, a sentence, a line or a word that ends in the last
/// quarter of what a chunk may have; else between two characters, and never inside one that is
/// made of several code points. All of the text but white space is in some chunk.
pub fn chunks<'p>(pages: impl IntoIterator<Item = (u32, &'p str)>, limits: Parse) -> Vec<Chunk> {
    let text = Text::of(pages);
    let (size, overlap) = (limits.chunk_size.max(4) as usize, limits.overlap as usize);
    let overlap = overlap.min(size / 2);
    let mut all = Vec::new();
    let mut start = 0;
    while start < text.letters.len() {
        let end = text.end_of(start, size);
        all.extend(text.chunk(start..end));
        if end == text.letters.len() {
            break;
        }
        start = text.start_before(end, overlap);
    }
    all
}

/// Part of a text's characters that say something: signs for what could not be read do not.
pub fn legible(text: &str) -> f64 {
    let letters = text.chars().filter(|char| !char.is_whitespace());
    let (mut all, mut lost) = (0_u32, 0_u32);
    for char in letters {
        all += 1;
        let is_private = matches!(char, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..);
        lost += u32::from(char == '\u{fffd}' || char.is_control() || is_private);
    }
    if all == 0 {
        return 1.0;
    }
    let part = f64::from(all - lost) / f64::from(all);
    (part * 1_000.0).floor() / 1_000.0
}

/// All pages, and where each begins.
struct Text {
    letters: Vec<char>,
    pages: Vec<(usize, u32)>,
}

impl Text {
    fn of<'p>(pages: impl IntoIterator<Item = (u32, &'p str)>) -> Self {
        let mut text = Self {
            letters: Vec::new(),
            pages: Vec::new(),
        };
        for (number, page) in pages {
            if !text.letters.is_empty() {
                text.letters.extend(BETWEEN_PAGES.chars());
            }
            text.pages.push((text.letters.len(), number));
            text.letters.extend(page.chars());
        }
        text
    }

    fn at(&self, index: usize) -> char {
        self.letters.get(index).copied().unwrap_or('\n')
    }

    /// Where the chunk that begins at `start` ends.
    fn end_of(&self, start: usize, size: usize) -> usize {
        let most = start + size;
        if most >= self.letters.len() {
            return self.letters.len();
        }
        let least = start + size - size / 4;
        let cut =
            |is_cut: fn(&Self, usize) -> bool| (least..=most).rev().find(|at| is_cut(self, *at));
        cut(Self::ends_paragraph)
            .or_else(|| cut(Self::ends_sentence))
            .or_else(|| cut(Self::ends_line))
            .or_else(|| cut(Self::ends_word))
            .or_else(|| cut(|text, at| !text.is_inside(at)))
            .unwrap_or(most)
    }

    fn ends_paragraph(&self, at: usize) -> bool {
        at >= 2 && self.at(at - 1) == '\n' && self.at(at - 2) == '\n'
    }

    fn ends_sentence(&self, at: usize) -> bool {
        let ends = |char: char| matches!(char, '.' | '!' | '?' | '。' | '！' | '？' | '…');
        at >= 1 && ends(self.at(at - 1)) && self.at(at).is_whitespace()
            || at >= 1 && matches!(self.at(at - 1), '。' | '！' | '？')
    }

    fn ends_line(&self, at: usize) -> bool {
        at >= 1 && self.at(at - 1) == '\n'
    }

    fn ends_word(&self, at: usize) -> bool {
        self.at(at).is_whitespace()
    }

    /// Whether a cut here would part the code points of one character.
    fn is_inside(&self, at: usize) -> bool {
        let goes_on = |char: char| {
            matches!(char,
                '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}'
                | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}'
                | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200d}'
                | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
                | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
        };
        goes_on(self.at(at)) || at >= 1 && self.at(at - 1) == '\u{200d}'
    }

    /// Where the chunk after one that ends at `end` begins: at a word, at most `overlap` before.
    fn start_before(&self, end: usize, overlap: usize) -> usize {
        let from = end - overlap;
        let begins = |at: &usize| !self.at(*at).is_whitespace() && self.at(at - 1).is_whitespace();
        let word = (from.max(1)..end).find(begins);
        let whole = || (from..end).find(|at| !self.is_inside(*at));
        let after = || (end..self.letters.len()).find(|at| !self.at(*at).is_whitespace());
        word.or_else(whole)
            .or_else(after)
            .unwrap_or(self.letters.len())
    }

    fn chunk(&self, range: Range<usize>) -> Option<Chunk> {
        let is_said = |at: &usize| !self.at(*at).is_whitespace();
        let first = range.clone().find(is_said)?;
        let last = range.rev().find(is_said)?;
        Some(Chunk {
            text: self.letters[first..=last].iter().collect(),
            pages: (self.page(first), self.page(last)),
        })
    }

    fn page(&self, letter: usize) -> u32 {
        let after = self.pages.partition_point(|(start, _)| *start <= letter);
        let page = after.checked_sub(1).and_then(|at| self.pages.get(at));
        page.map_or(1, |(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(chunk_size: u32, overlap: u32) -> Parse {
        Parse {
            chunk_size,
            overlap,
        }
    }

    fn texts(chunks: &[Chunk]) -> Vec<&str> {
        chunks.iter().map(|chunk| chunk.text.as_str()).collect()
    }

    #[test]
    fn a_short_text_is_one_chunk_over_all_its_pages() {
        let all = chunks([(1, "One."), (2, ""), (3, " Two.\n")], limits(200, 20));
        assert_eq!(texts(&all), ["One.\n\n\n\n Two."]);
        assert_eq!(all[0].pages, (1, 3));
        assert_eq!(chunks([(1, " \n"), (2, "")], limits(200, 20)), []);
    }

    #[test]
    fn it_is_cut_after_paragraphs_then_sentences_then_words() {
        let paragraph = format!("{}\n\n{}", "a".repeat(18), "b".repeat(30));
        let all = chunks([(1, paragraph.as_str())], limits(24, 0));
        assert_eq!(all[0].text, "a".repeat(18));
        let sentence = format!("{}. {} c", "a".repeat(18), "b".repeat(30));
        let all = chunks([(1, sentence.as_str())], limits(24, 0));
        assert_eq!(all[0].text, format!("{}.", "a".repeat(18)));
        let words = format!("{} {} c", "a".repeat(19), "b".repeat(30));
        let all = chunks([(1, words.as_str())], limits(24, 0));
        assert_eq!(all[0].text, "a".repeat(19));
        assert_eq!(all[1].text, "b".repeat(24));
    }

    #[test]
    fn all_of_the_text_is_there_and_no_chunk_is_too_long_whatever_the_limits() {
        let word = |index: usize| format!("w{index}{}", "x".repeat(index * 7 % 13));
        let words: Vec<String> = (0..900).map(word).collect();
        let pages = [words[..300].join(" "), words[300..].join("\n\n")];
        for (size, overlap) in [
            (200, 0),
            (200, 100),
            (333, 20),
            (2_000, 1_000),
            (10_000, 2_000),
        ] {
            let pages = [(1, pages[0].as_str()), (2, pages[1].as_str())];
            let all = chunks(pages, limits(size, overlap));
            for chunk in &all {
                assert!(chunk.text.chars().count() <= size as usize);
            }
            for word in &words {
                assert!(all.iter().any(|chunk| chunk.text.contains(word)), "{word}");
            }
            assert_eq!(chunks(pages, limits(size, overlap)), all);
        }
    }

    #[test]
    fn neighbours_share_what_was_asked_for_and_begin_at_a_word() {
        let text = "alpha beta gamma delta ".repeat(60);
        let all = chunks([(1, text.as_str())], limits(200, 50));
        for pair in all.windows(2) {
            let shared = (1..=50)
                .rev()
                .find(|count| pair[0].text.ends_with(&pair[1].text[..*count]));
            assert!(shared.unwrap() >= 35, "{shared:?}");
            let word = pair[1].text.split(' ').next().unwrap();
            assert!(
                ["alpha", "beta", "gamma", "delta"].contains(&word),
                "{word}"
            );
        }
    }

    #[test]
    fn no_cut_is_inside_a_character() {
        let text = "e\u{301}".repeat(301);
        for chunk in chunks([(1, text.as_str())], limits(201, 33)) {
            assert!(chunk.text.starts_with('e') && chunk.text.ends_with('\u{301}'));
        }
    }

    #[test]
    fn what_could_not_be_read_lowers_the_confidence() {
        assert!((legible("plain text") - 1.0).abs() < 1e-9);
        assert!((legible("ab\u{fffd}\u{fffd}") - 0.5).abs() < 1e-9);
        assert!((legible(" ") - 1.0).abs() < 1e-9);
    }
}
