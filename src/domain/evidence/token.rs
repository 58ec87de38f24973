//! Words made comparable: what is a word of its own, and when two are the same.
//!
//! A token is the smallest thing a quote may begin or end with. Characters that make one thing
//! of what stands beside them stay inside (`1,234.50`, `12/05/2024`, `INV-17`, `a.b@c.de`), so
//! that a part of a number is never found for the whole.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// In characters of the text.
    pub start: usize,
    /// Exclusive.
    pub end: usize,
    /// What tokens are compared by.
    pub key: String,
    /// A sign that means something by itself: of a currency, a percentage, a ticked box.
    pub symbol: bool,
}

impl Piece {
    pub(super) fn has_digit(&self) -> bool {
        has_digit(&self.key)
    }
}

pub(super) fn has_digit(key: &str) -> bool {
    key.chars().any(char::is_numeric)
}

/// The tokens of a text, from left to right.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    if is_plain(text) {
        return vec![Piece {
            start: 0,
            end: text.len(),
            key: text.to_ascii_lowercase(),
            symbol: false,
        }];
    }
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let end = if is_symbol(chars[at]) {
            at + 1
        } else if begins(&chars, at) {
            end_of(&chars, at)
        } else {
            at += 1;
            continue;
        };
        out.push(Piece {
            start: at,
            end,
            key: key(&chars[at..end]),
            symbol: end == at + 1 && is_symbol(chars[at]),
        });
        at = end;
    }
    out
}

/// The common case, in which the whole text is one token.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn begins(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    if c.is_alphanumeric() {
        return true;
    }
    // `.50`, but not the last dot of a dotted line.
    let before = at.checked_sub(1).map(|before| chars[before]);
    c == '.'
        && chars.get(at + 1).is_some_and(char::is_ascii_digit)
        && before.is_none_or(|before| is_symbol(before) || "([-−+ ".contains(before))
}

fn end_of(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    // Scripts without spaces: each character stands for itself.
    if is_ideograph(chars[start]) {
        return at;
    }
    while at < chars.len() {
        let c = chars[at];
        if is_ideograph(c) {
            break;
        }
        if c.is_alphanumeric() || is_combining_mark(c) || is_invisible(c) {
            at += 1;
            continue;
        }
        let joined = chars
            .get(at + 1)
            .is_some_and(|next| joins(&chars[start..at], c, *next));
        if !joined {
            break;
        }
        at += 2;
    }
    while at > start + 1 && is_invisible(chars[at - 1]) {
        at -= 1;
    }
    at
}

/// Whether `sign` makes one token of what stands before and after it.
fn joins(before: &[char], sign: char, after: char) -> bool {
    if !after.is_alphanumeric() || is_ideograph(after) {
        return false;
    }
    let Some(last) = before.iter().rev().find(|c| !is_invisible(**c)) else {
        return false;
    };
    match (last.is_numeric() || *last == '.', after.is_numeric()) {
        (true, true) => ".,:/'’_@&+-‐‑–−·\\".contains(sign),
        (false, false) => "-‐‑_@.&".contains(sign),
        (letter_last, _) if sign == '.' => {
            // `No.17` is a word and a number, `A.5` one thing.
            !letter_last && before.iter().all(|c| !c.is_alphabetic()) || before.len() == 1
        }
        _ => "-‐‑_/@&+".contains(sign),
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
    )
}

/// Currency signs.
pub(super) fn is_currency(c: char) -> bool {
    matches!(
        c,
        '$' | '¢' | '£' | '¤' | '¥' | '\u{20a0}'..='\u{20cf}' | '฿' | '＄' | '￡' | '￥'
    )
}

fn is_symbol(c: char) -> bool {
    is_currency(c) || is_box(c) || "%‰<>≤≥~≈±".contains(c)
}

fn is_box(c: char) -> bool {
    is_ticked(c) || is_unticked(c)
}

pub(super) fn is_ticked(c: char) -> bool {
    matches!(
        c,
        '☑' | '☒' | '✓' | '✔' | '✗' | '✘' | '🗹' | '🗷' | '■' | '●' | '◉'
    )
}

pub(super) fn is_unticked(c: char) -> bool {
    matches!(c, '☐' | '□' | '○' | '◯' | '❏' | '❑')
}

/// Whether a word ends in a hyphen that may go on in the next line.
pub(super) fn ends_in_hyphen(word: &str) -> bool {
    let mut back = word.chars().rev();
    back.next().is_some_and(|c| "-‐\u{ad}¬".contains(c))
        && back.next().is_some_and(char::is_alphanumeric)
}

/// The form that tokens are compared in: compatibility forms (ligatures, full width, combining
/// accents) composed, lower case, dashes and quotes plain, invisible characters gone.
fn key(chars: &[char]) -> String {
    let visible = chars.iter().copied().filter(|c| !is_invisible(*c));
    let mut out = String::with_capacity(chars.len());
    for c in visible.nfkc().flat_map(char::to_lowercase) {
        match c {
            'ß' => out.push_str("ss"),
            '’' | '‘' => out.push('\''),
            '‐'..='―' | '−' => out.push('-'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        pieces(text).into_iter().map(|piece| piece.key).collect()
    }

    #[test]
    fn what_is_one_thing_is_one_token() {
        for one in [
            "1,234.50",
            "12/05/2024",
            "inv-17",
            "a.b@c.de",
            "10:30",
            "müller-schmidt",
            "r&d",
            "a.5",
            ".50",
            "1'234.50",
        ] {
            assert_eq!(keys(one), [one]);
        }
    }

    #[test]
    fn signs_around_a_word_are_not_of_it() {
        assert_eq!(keys("(Total):"), ["total"]);
        assert_eq!(keys("$1,234.50."), ["$", "1,234.50"]);
        assert_eq!(keys("No.17"), ["no", "17"]);
        assert_eq!(keys("Seller’s"), ["seller", "s"]);
        assert_eq!(keys("Total.....5"), ["total", "5"]);
        assert_eq!(keys("☒ 5%"), ["☒", "5", "%"]);
        assert_eq!(keys("合計5円"), ["合", "計", "5", "円"]);
    }

    #[test]
    fn spelling_forms_of_a_word_are_the_same_token() {
        for (a, b) in [
            ("ﬁle", "file"),
            ("Mu\u{308}ller", "müller"),
            ("Kraft\u{ad}fahrt", "kraftfahrt"),
            ("STRASSE", "straße"),
            ("１２", "12"),
            ("A‑1", "a-1"),
        ] {
            assert_eq!(keys(a), keys(b), "{a} {b}");
        }
    }
}
