//! The dates a document prints.

use super::super::document::{Document, Page};
use super::super::value::date::{self, Date, Found, Order};
use super::super::value::fold;
use super::index::{Index, order};

/// One thing a printed date may mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// Tokens, both inclusive.
    pub first: u32,
    pub last: u32,
    pub date: Date,
    /// Whether it is what it means, as far as the document shows.
    pub sure: bool,
    pub short_year: bool,
}

/// The dates of a document in the order they stand.
pub(super) fn days(document: &Document, index: &Index) -> Vec<Day> {
    let order = order(document);
    let mut out = Vec::new();
    for (number, page) in document.pages.iter().enumerate() {
        let mut first = index.pages.get(number).map_or(0, |tokens| tokens.first);
        let end = index.pages.get(number).map_or(0, |tokens| tokens.end);
        for (found, words, whole) in of_page(page, order.unwrap_or(Order::DayFirst)) {
            while first < end && index.tokens[first as usize].word < words.0 {
                first += 1;
            }
            let mut last = first;
            while last + 1 < end && index.tokens[last as usize + 1].word <= words.1 {
                last += 1;
            }
            let (first, last) = trimmed(index, first, last);
            let sure = whole && (found.other.is_none() || order.is_some());
            let day = Day {
                first,
                last,
                date: found.date,
                sure,
                short_year: found.short_year,
            };
            out.push(day);
            out.extend(found.other.map(|date| Day {
                date,
                sure: false,
                ..day
            }));
        }
    }
    out
}

/// Without what else stands in the first and the last word: `Date:12.05.2024`.
fn trimmed(index: &Index, mut first: u32, mut last: u32) -> (u32, u32) {
    let aside = |token: u32, next: u32| {
        let (token, next) = (&index.tokens[token as usize], &index.tokens[next as usize]);
        token.word == next.word && !token.digit
    };
    while first < last && aside(first, first + 1) {
        first += 1;
    }
    while first < last && aside(last, last - 1) {
        last -= 1;
    }
    (first, last)
}

/// Dates of a page, each with its first and last word and whether nothing is joined to it.
fn of_page(page: &Page, order: Order) -> Vec<(Found, (u32, u32), bool)> {
    let mut out = Vec::new();
    let mut words = 0;
    // A date takes a few words around a digit: the rest of the page is not searched.
    while words < page.words.len() {
        let has_digit = |at: usize| {
            page.words
                .get(at)
                .is_some_and(|word| word.text.bytes().any(|b| b.is_ascii_digit()))
        };
        if !has_digit(words) {
            words += 1;
            continue;
        }
        let first = words.saturating_sub(BEFORE);
        let mut last = words;
        while (last + 1..=last + AFTER).any(has_digit) {
            last += 1;
        }
        last = (last + AFTER).min(page.words.len() - 1);
        out.extend(of_words(page, first, last, order));
        words = last + 1;
    }
    out
}

/// Words of a date before its first digit and between two of its digits.
const BEFORE: usize = 1;
const AFTER: usize = 4;

fn of_words(
    page: &Page,
    first: usize,
    last: usize,
    order: Order,
) -> Vec<(Found, (u32, u32), bool)> {
    let mut text = String::new();
    let mut ends = Vec::with_capacity(last - first + 1);
    for word in &page.words[first..=last] {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&fold(&word.text));
        ends.push(text.len());
    }
    let word_at = |byte: usize| (first + ends.partition_point(|end| *end <= byte)) as u32;
    let all = date::scan(&text, order);
    let whole = |found: &Found| {
        stands_free(&text[..found.start], &text[found.end..])
            || all.iter().any(|other| {
                text.get(other.end..found.start) == Some("-")
                    || text.get(found.end..other.start) == Some("-")
            })
            || text[..found.end].ends_with('t')
    };
    all.iter()
        .map(|found| {
            let words = (word_at(found.start), word_at(found.end - 1));
            (*found, words, whole(found))
        })
        .collect()
}

/// Whether what stands around a date is not joined to it, as in `INV-2024-05-12-7`.
fn stands_free(before: &str, after: &str) -> bool {
    ends_free(before.chars().rev()) && ends_free(after.chars())
}

/// Whether the characters away from a date begin with none that belongs to it.
fn ends_free(mut away: impl Iterator<Item = char>) -> bool {
    match away.next() {
        Some('-' | '/' | '.' | '_' | '@') => !away.next().is_some_and(char::is_alphanumeric),
        nearest => !nearest.is_some_and(char::is_alphanumeric),
    }
}

/// Whether two dates are the same but for a century that was not printed.
pub(super) fn centuries_apart(printed: &Day, date: Date) -> bool {
    printed.short_year
        && printed.date != date
        && (printed.date.month, printed.date.day) == (date.month, date.day)
        && (printed.date.year - date.year) % 100 == 0
}
