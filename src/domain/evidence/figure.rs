//! The numbers a document prints, with all that their signs and neighbours make of them.

use super::super::document::{Document, Word};
use super::super::value::decimal::{Reading, readings};
use super::super::value::number::{self, Habit};
use super::index::{Index, Token, habit};
use super::token::is_currency;

/// A printed number.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// Tokens, both inclusive.
    pub first: u32,
    pub last: u32,
    pub readings: Vec<Reading>,
    /// Digits printed.
    pub digits: u32,
    /// A whole number that may be a year.
    pub is_year: bool,
}

/// Words behind a number that multiply it, by their powers of ten.
const SCALES: &[(&str, i32)] = &[
    ("hundred", 2),
    ("thousand", 3),
    ("tausend", 3),
    ("tsd", 3),
    ("mille", 3),
    ("million", 6),
    ("millions", 6),
    ("millionen", 6),
    ("mio", 6),
    ("billion", 9),
    ("billions", 9),
    ("milliarde", 9),
    ("milliarden", 9),
    ("milliard", 9),
    ("milliards", 9),
    ("mrd", 9),
    ("trillion", 12),
];

/// The numbers of a document in the order they stand. Where a space may part thousands or two
/// numbers, the whole is listed first and the parts after it, as doubtful.
pub(super) fn figures(document: &Document, index: &Index) -> Vec<Figure> {
    let reader = Reader {
        document,
        index,
        habit: habit(index),
    };
    let mut out: Vec<Figure> = Vec::new();
    let mut at = 0;
    while (at as usize) < index.tokens.len() {
        let last = reader.group(at);
        out.extend(reader.figure(at, last, true));
        if last > at {
            out.extend((at..=last).filter_map(|part| reader.figure(part, part, false)));
        }
        at = last + 1;
    }
    out
}

/// The habit that a token shows beyond doubt.
pub(super) fn habit_of(key: &str) -> Option<Habit> {
    if !is_body(key) {
        return None;
    }
    let (point, comma) = (key.rfind('.'), key.rfind(','));
    let groups = |sign: char| key.matches(sign).count() > 1 && readings(key, None).len() == 1;
    match (point, comma) {
        (Some(point), Some(comma)) if readings(key, None).len() == 1 => Some(if point > comma {
            Habit::Point
        } else {
            Habit::Comma
        }),
        (Some(point), None) if key.len() == point + 3 => Some(Habit::Point),
        (None, Some(comma)) if key.len() == comma + 3 => Some(Habit::Comma),
        (Some(_), None) if groups('.') => Some(Habit::Comma),
        (None, Some(_)) if groups(',') => Some(Habit::Point),
        _ => None,
    }
}

/// Digits and the signs that part them.
fn is_body(key: &str) -> bool {
    key.bytes().any(|b| b.is_ascii_digit())
        && key
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'\''))
}

/// The sign before a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    Minus,
    /// In brackets, behind the number, or a dash: likely below zero.
    Likely,
    /// About, above or below.
    Bound,
}

struct Reader<'d> {
    document: &'d Document,
    index: &'d Index,
    habit: Option<Habit>,
}

impl Reader<'_> {
    /// The last token of the number that begins at `first`, if spaces part its thousands.
    fn group(&self, first: u32) -> u32 {
        let key = self.index.key(first);
        let head = (1..=3).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_digit());
        if !head || key.starts_with('0') {
            return first;
        }
        let mut last = first;
        loop {
            let next = self.index.key(last + 1);
            let body = next.find(['.', ',']).unwrap_or(next.len());
            let fits = body == 3 && is_body(next) && self.is_close(last, last + 1);
            if !fits {
                return last;
            }
            last += 1;
            if body < next.len() || last - first >= 5 {
                return last;
            }
        }
    }

    fn token(&self, token: u32) -> Option<(&Token, &Word)> {
        let token = self.index.tokens.get(token as usize)?;
        let page = self.document.pages.get(token.page as usize)?;
        Some((token, page.words.get(token.word as usize)?))
    }

    /// Whether no more than a space between two digits parts two tokens.
    fn is_close(&self, a: u32, b: u32) -> bool {
        let (Some((a, before)), Some((b, after))) = (self.token(a), self.token(b)) else {
            return false;
        };
        if a.line != b.line {
            return false;
        }
        if a.word == b.word {
            return b.start == a.end + 1;
        }
        let adjoin = b.word == a.word + 1 && a.end == before.end() && b.start == after.start;
        if !self.document.kind.is_printed() {
            return adjoin && b.start == a.end + 1;
        }
        let height = (before.bbox[3] - before.bbox[1]).max(0.001);
        let page = self.document.pages.get(a.page as usize);
        let ratio = page.map_or(1.0, |page| page.width / page.height.max(1.0));
        adjoin && (after.bbox[0] - before.bbox[2]) * ratio < height * 0.45
    }

    fn figure(&self, first: u32, last: u32, alone: bool) -> Option<Figure> {
        let (body, certain) = self.body(first, last)?;
        let mut all = readings(&body, self.habit);
        if all.is_empty() {
            return None;
        }
        let sign = self.sign(first, last);
        // `007` is a number of a thing more likely than a count.
        let padded =
            body.starts_with('0') && body.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if sign == Sign::Bound || !certain || !alone || padded {
            doubt(&mut all);
        }
        all = all
            .into_iter()
            .flat_map(|reading| signed(reading, sign))
            .collect();
        let next = self.index.key(last + 1);
        if matches!(next, "%" | "‰") {
            let power = if next == "%" { -2 } else { -3 };
            let parts: Vec<_> = all.iter().map(|r| shifted(*r, power)).collect();
            all.extend(parts);
        } else if let Some((_, power)) = SCALES.iter().find(|(word, _)| *word == next) {
            let whole: Vec<_> = all.iter().map(|r| shifted(*r, *power)).collect();
            doubt(&mut all);
            all.extend(whole);
        }
        let digits = body.bytes().filter(u8::is_ascii_digit).count() as u32;
        Some(Figure {
            first,
            last,
            readings: all,
            digits,
            is_year: body.len() == 4 && digits == 4 && matches!(&body[..2], "18" | "19" | "20"),
        })
    }

    /// The digits of the tokens, and whether they are all that stands there: in `12kg` or `5A`
    /// they may be part of something else.
    fn body(&self, first: u32, last: u32) -> Option<(String, bool)> {
        if first != last {
            let keys: Vec<&str> = (first..=last).map(|token| self.index.key(token)).collect();
            return Some((keys.join(" "), true));
        }
        let key = self.index.key(first);
        if is_body(key) {
            return Some((key.to_owned(), true));
        }
        if !key.bytes().any(|b| b.is_ascii_digit()) || key.len() > 40 {
            return None;
        }
        let body = key.trim_matches(char::is_alphabetic);
        if !is_body(body) {
            return None;
        }
        let (before, after) = key.split_once(body)?;
        let money = |text: &str| text.is_empty() || number::currency(text).is_some();
        let unit = before.is_empty() && after.chars().count() <= 4;
        let certain = money(before) && money(after);
        (certain || unit).then(|| (body.to_owned(), certain))
    }

    fn sign(&self, first: u32, last: u32) -> Sign {
        let (Some((token, word)), Some((end, end_word))) = (self.token(first), self.token(last))
        else {
            return Sign::None;
        };
        let chars = |text: &str, from: u32, to: u32| -> String {
            let range = (to.saturating_sub(from)) as usize;
            text.chars().skip(from as usize).take(range).collect()
        };
        let mut before = chars(&word.text, 0, token.start - word.start);
        let lone = before.chars().all(is_sign);
        let previous = first.checked_sub(1).and_then(|at| self.token(at));
        let neighbour = self
            .document
            .pages
            .get(token.page as usize)
            .filter(|_| token.word > 0 && lone)
            .and_then(|page| page.words.get(token.word as usize - 1))
            .filter(|there| there.text.chars().all(is_sign) && there.text.len() < 8);
        if let Some(there) = neighbour.filter(|there| there.text.chars().any(|c| c != '-')) {
            before.insert_str(0, &there.text);
        }
        let after = chars(&end_word.text, end.end - end_word.start, u32::MAX);
        let run: String = before.chars().rev().take_while(|c| is_sign(*c)).collect();
        if run.contains(['<', '>', '≤', '≥', '~', '≈', '±']) {
            return Sign::Bound;
        }
        // `10 -12` is a range as likely as a number below zero.
        let range = previous.is_some_and(|(before, _)| before.digit && before.line == token.line);
        if run.contains(['-', '−']) {
            return if range { Sign::Likely } else { Sign::Minus };
        }
        let closed = after.contains(')') || self.closes(end);
        let trailing = after
            .strip_prefix(['-', '−'])
            .is_some_and(|rest| !rest.contains(char::is_alphanumeric));
        if run.contains('–') || (run.contains('(') && closed) || trailing {
            return Sign::Likely;
        }
        Sign::None
    }

    /// Whether the next word begins with a closing bracket.
    fn closes(&self, token: &Token) -> bool {
        let page = self.document.pages.get(token.page as usize);
        page.and_then(|page| page.words.get(token.word as usize + 1))
            .is_some_and(|word| word.text.starts_with([')', '%']) && word.text.contains(')'))
    }
}

fn doubt(all: &mut [Reading]) {
    for reading in all {
        reading.sure = false;
    }
}

fn is_sign(c: char) -> bool {
    is_currency(c) || "-−–+(<>≤≥~≈±".contains(c)
}

fn shifted(reading: Reading, power: i32) -> Reading {
    Reading {
        value: reading.value.shifted(power),
        ..reading
    }
}

fn signed(reading: Reading, sign: Sign) -> Vec<Reading> {
    let negative = Reading {
        value: reading.value.negated(),
        ..reading
    };
    match sign {
        Sign::None | Sign::Bound => vec![reading],
        Sign::Minus => vec![negative],
        Sign::Likely => vec![
            negative,
            Reading {
                sure: false,
                ..reading
            },
        ],
    }
}
