//! The tokens of a whole document, and where each stands.

use std::collections::HashMap;

use super::super::document::{Document, Page, Word};
use super::super::value::date::{self, Order};
use super::super::value::number::Habit;
use super::day::Day;
use super::figure::Figure;
use super::token::{Piece, ends_in_hyphen, has_digit, pieces};
use super::{day, figure};

/// A token of the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    /// Index into the document's pages.
    pub page: u32,
    /// Index into the page's words.
    pub word: u32,
    /// Counted through the document.
    pub line: u32,
    /// Code points of the page's text.
    pub start: u32,
    pub end: u32,
    /// Number of the key.
    pub id: u32,
    pub symbol: bool,
    pub digit: bool,
    /// The first half of a word that goes on in the next line.
    pub bound: bool,
}

/// The tokens of a page.
#[derive(Debug, Clone, Default)]
pub(super) struct PageTokens {
    pub first: u32,
    /// Exclusive.
    pub end: u32,
    /// First token of each line that has any.
    pub lines: Vec<u32>,
    /// Byte of every 64th character of the page's text.
    marks: Vec<u32>,
}

/// Every so many characters the byte is noted.
const STRIDE: usize = 64;

/// Search index over a document's text: build it once and share it. Building reads every word
/// once; a search then touches only the places of the words it looks for.
#[derive(Debug)]
pub struct Index {
    pub(super) tokens: Vec<Token>,
    pub(super) pages: Vec<PageTokens>,
    ids: HashMap<String, u32>,
    keys: Vec<String>,
    /// Tokens by number of their key, in order.
    postings: Vec<Vec<u32>>,
    /// What a token at the end of a line is together with the next one.
    joined: HashMap<u32, [u32; 2]>,
    /// The token at the end of the line before, where that ends in a hyphen.
    open: Option<u32>,
    /// Numbers in the order they stand.
    pub(super) figures: Vec<Figure>,
    /// Dates in the order they stand.
    pub(super) days: Vec<Day>,
    pub(super) numbers: HashMap<super::super::value::decimal::Decimal, Vec<u32>>,
    pub(super) dates: HashMap<date::Date, Vec<u32>>,
}

/// A token looked for.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub key: String,
    /// `None` when the document has no such token.
    pub id: Option<u32>,
    pub symbol: bool,
    pub digit: bool,
}

impl Index {
    pub fn new(document: &Document) -> Self {
        let mut index = Self {
            tokens: Vec::with_capacity(document.word_count() + document.word_count() / 4),
            pages: Vec::with_capacity(document.pages.len()),
            ids: HashMap::new(),
            keys: Vec::new(),
            postings: Vec::new(),
            joined: HashMap::new(),
            open: None,
            figures: Vec::new(),
            days: Vec::new(),
            numbers: HashMap::new(),
            dates: HashMap::new(),
        };
        let mut lines = 0;
        for (number, page) in document.pages.iter().enumerate() {
            let tokens = index.add_page(number as u32, page, &mut lines);
            index.pages.push(tokens);
        }
        index.figures = figure::figures(document, &index);
        index.days = day::days(document, &index);
        for (number, figure) in index.figures.iter().enumerate() {
            for reading in figure.readings.iter().filter(|reading| reading.sure) {
                let places = index.numbers.entry(reading.value).or_default();
                places.push(number as u32);
            }
        }
        for (number, day) in index.days.iter().enumerate() {
            index.dates.entry(day.date).or_default().push(number as u32);
        }
        index
    }

    fn add_page(&mut self, number: u32, page: &Page, lines: &mut u32) -> PageTokens {
        let mut tokens = PageTokens {
            first: self.tokens.len() as u32,
            marks: page
                .text
                .char_indices()
                .step_by(STRIDE)
                .map(|(byte, _)| byte as u32)
                .collect(),
            ..PageTokens::default()
        };
        for range in &page.lines {
            let before = self.tokens.len();
            let words = page.words.get(range.start as usize..range.end as usize);
            for (word, at) in words.into_iter().flatten().zip(range.start..) {
                let open = self.open.take();
                self.add_word(number, at, *lines, word);
                if let Some(half) = open.filter(|half| (*half as usize) + 1 < self.tokens.len()) {
                    self.bind(half);
                }
            }
            if self.tokens.len() > before {
                tokens.lines.push(before as u32);
                let last = words.and_then(<[Word]>::last);
                let token = self.tokens.last();
                let is_open = token.zip(last).is_some_and(|(token, word)| {
                    !token.symbol && token.end + 1 == word.end() && ends_in_hyphen(&word.text)
                });
                self.open = is_open.then(|| self.tokens.len() as u32 - 1);
            }
            *lines += 1;
        }
        tokens.end = self.tokens.len() as u32;
        tokens
    }

    fn add_word(&mut self, page: u32, at: u32, line: u32, word: &Word) {
        for piece in pieces(&word.text) {
            let token = self.tokens.len() as u32;
            let digit = piece.has_digit();
            let id = self.number_of(piece.key);
            self.postings[id as usize].push(token);
            self.tokens.push(Token {
                page,
                word: at,
                line,
                start: word.start + piece.start as u32,
                end: word.start + piece.end as u32,
                id,
                symbol: piece.symbol,
                digit,
                bound: false,
            });
        }
    }

    fn number_of(&mut self, key: String) -> u32 {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.ids.insert(key, id);
        self.postings.push(Vec::new());
        id
    }

    /// Joins a word that is hyphenated over the end of a line. Two halves in letters are never
    /// words of their own; beside a digit the hyphen may as well be a sign.
    fn bind(&mut self, half: u32) {
        let rest = self.key(half + 1);
        let half_key = self.key(half);
        let letters =
            half_key.ends_with(char::is_alphabetic) && rest.starts_with(char::is_alphabetic);
        let (with, without) = (format!("{half_key}-{rest}"), format!("{half_key}{rest}"));
        let with = self.number_of(with);
        let without = if letters {
            self.number_of(without)
        } else {
            with
        };
        self.tokens[half as usize].bound = letters;
        self.joined.insert(half, [with, without]);
        self.postings[with as usize].push(half);
        if without != with {
            self.postings[without as usize].push(half);
        }
    }

    pub(super) fn key(&self, token: u32) -> &str {
        self.tokens
            .get(token as usize)
            .map_or("", |token| self.keys[token.id as usize].as_str())
    }

    pub(super) fn id(&self, key: &str) -> Option<u32> {
        self.ids.get(key).copied()
    }

    pub(super) fn joined(&self, token: u32) -> Option<&[u32; 2]> {
        self.joined.get(&token)
    }

    /// Where a token stands, in order.
    pub(super) fn places(&self, id: u32) -> &[u32] {
        self.postings.get(id as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn terms(&self, text: &str) -> Vec<Term> {
        let term = |piece: Piece| Term {
            id: self.id(&piece.key),
            symbol: piece.symbol,
            digit: has_digit(&piece.key),
            key: piece.key,
        };
        pieces(text).into_iter().map(term).collect()
    }

    /// The text of a page between two code points.
    pub(super) fn slice<'d>(
        &self,
        document: &'d Document,
        page: u32,
        start: u32,
        end: u32,
    ) -> Option<&'d str> {
        let text = &document.pages.get(page as usize)?.text;
        let from = self.byte(text, page, start)?;
        let to = self.byte(text, page, end)?;
        text.get(from..to)
    }

    fn byte(&self, text: &str, page: u32, at: u32) -> Option<usize> {
        let marks = &self.pages.get(page as usize)?.marks;
        let (block, rest) = (at as usize / STRIDE, at as usize % STRIDE);
        let Some(mark) = marks.get(block) else {
            let end = block == marks.len() && rest == 0;
            return end.then_some(text.len());
        };
        let tail = text.get(*mark as usize..)?;
        let mut bytes = tail
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([tail.len()]);
        Some(*mark as usize + bytes.nth(rest)?)
    }
}

/// The order of day and month that the document shows.
pub(super) fn order(document: &Document) -> Option<Order> {
    let words = document.pages.iter().flat_map(|page| page.words.iter());
    let dated = words.filter(|word| {
        let bytes = word.text.as_bytes();
        bytes.contains(&b'/') || bytes.contains(&b'-')
    });
    date::order(dated.map(|word| word.text.as_str()))
}

/// The sign before decimals that (nearly) all unmistakable numbers of the document have.
pub(super) fn habit(index: &Index) -> Option<Habit> {
    let (mut points, mut commas) = (0usize, 0usize);
    for (key, places) in index.keys.iter().zip(&index.postings) {
        match figure::habit_of(key) {
            Some(Habit::Point) => points += places.len(),
            Some(Habit::Comma) => commas += places.len(),
            None => {}
        }
    }
    if points > commas * 20 {
        Some(Habit::Point)
    } else if commas > points * 20 {
        Some(Habit::Comma)
    } else {
        None
    }
}
