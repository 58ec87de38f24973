//! Texts that name something: identifiers, accounts, people, places.

use serde_json::Value;

use super::date::{self, Order};
use super::kind::Kind;
use super::lexicon::lexicon;
use super::number;
use super::text::{fold, pattern};
use super::value::Read;

const LONGEST_NAME: usize = 14;

const LONGEST_IDENTIFIER: usize = 4;

/// Reads the kinds of text that have a form of their own, and any other text as it stands.
pub(super) fn text_like(kind: Kind, words: &[&str]) -> Option<Read> {
    match kind {
        Kind::Email => found(&EMAIL, words, str::to_owned),
        Kind::Url => found(&URL, words, |text| {
            text.trim_end_matches(['.', ',', ';']).to_owned()
        }),
        Kind::Phone => found(&PHONE, words, |text| text.trim().to_owned()),
        Kind::Iban => iban_of(words, false),
        Kind::Bic => found(&BIC, words, str::to_owned),
        Kind::VatId => found(&VAT_ID, words, |text| text.replace(' ', "")),
        Kind::Postcode => found(&POSTCODE, words, str::to_owned),
        Kind::Country { code } => country_of(words, code),
        Kind::State { code } => state_of(words, code),
        Kind::Currency => currency_of(words),
        Kind::Identifier => identifier_of(words),
        Kind::Name => name_of(words),
        _ => text_of(words),
    }
}

pattern!(EMAIL = r"(?i)[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+");

pattern!(
    URL = r"(?i)(?:https?://|www\.)\S+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|de|fr|eu|io|gov|edu|tv|co\.uk)(?:/\S*)?\b"
);

pattern!(PHONE = r"\+?\(?\d[\d\s()./\-]{5,18}\d");

pattern!(BIC = r"\b[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b");

pattern!(
    VAT_ID = r"\b(?:AT ?U\d{8}|[A-Z]{2} ?[0-9A-Z]{2}(?: ?\d{3}){3}|[A-Z]{2} ?\d{8,12}|FR ?[0-9A-Z]{2} ?\d{9}|NL ?\d{9}B\d{2}|CHE[-. ]?\d{3}\.?\d{3}\.?\d{3})\b"
);

pattern!(
    POSTCODE = r"\b(?:[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{5}(?:-\d{4})?|\d{4} ?[A-Z]{2}|\d{4})\b"
);

pattern!(IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}(?: ?[A-Z0-9]{1,3})?\b");

/// The first match of a pattern in the words.
fn found(
    pattern: &'static super::text::Pattern,
    words: &[&str],
    value: impl Fn(&str) -> String,
) -> Option<Read> {
    let text = words.join(" ");
    let hit = pattern.get()?.find(&text)?;
    let text_value = value(hit.as_str());
    let (first, last) = words_at(words, hit.start(), hit.end());
    (!text_value.is_empty()).then_some(Read {
        value: Value::String(text_value),
        first,
        last,
        fit: if first <= 1 { 1.0 } else { 0.85 },
    })
}

/// The words that bytes `start..end` of their joined text lie on.
fn words_at(words: &[&str], start: usize, end: usize) -> (usize, usize) {
    let mut at = 0;
    let (mut first, mut last) = (0, words.len().saturating_sub(1));
    for (index, word) in words.iter().enumerate() {
        let (from, to) = (at, at + word.len());
        if from <= start {
            first = index;
        }
        if from < end {
            last = index;
        }
        at = to + 1;
    }
    (first, last)
}

/// An IBAN; `strict` asks for the right check digits, which a label makes unnecessary.
pub(super) fn iban_of(words: &[&str], strict: bool) -> Option<Read> {
    let text = words.join(" ");
    let hit = IBAN.get()?.find(&text)?;
    let mut end = hit.end();
    let mut compact: String = hit.as_str().split(' ').collect();
    // A word that follows, such as `BIC`, may look like a last group: cut until the digits check.
    let valid = loop {
        if is_iban(&compact) {
            break true;
        }
        match text[hit.start()..end].rfind(' ') {
            Some(cut) if cut > 12 => {
                end = hit.start() + cut;
                compact = text[hit.start()..end].split(' ').collect();
            }
            _ => break false,
        }
    };
    if !valid {
        let groups: Vec<&str> = hit
            .as_str()
            .split(' ')
            .take_while(|group| group.chars().any(|c| c.is_ascii_digit()))
            .collect();
        compact = groups.concat();
        end = hit.start() + groups.join(" ").len();
        if strict || !(15..=34).contains(&compact.len()) {
            return None;
        }
    }
    let (first, last) = words_at(words, hit.start(), end);
    Some(Read {
        value: Value::String(compact),
        first,
        last,
        fit: if valid { 1.0 } else { 0.75 },
    })
}

/// ISO 13616: moved around, letters as numbers, the remainder by 97 is 1.
fn is_iban(text: &str) -> bool {
    if !(15..=34).contains(&text.len()) || !text.is_ascii() {
        return false;
    }
    let remainder = text[4..]
        .chars()
        .chain(text[..4].chars())
        .try_fold(0u32, |sum, c| {
            let digit = c.to_digit(36)?;
            Some((sum * if digit > 9 { 100 } else { 10 } + digit) % 97)
        });
    remainder == Some(1)
}

fn country_of(words: &[&str], code: bool) -> Option<Read> {
    let text = words.join(" ");
    let folded = fold(text.trim_matches(|c: char| !c.is_alphanumeric()));
    let known = lexicon()
        .countries
        .iter()
        .find(|(name, iso)| *name == folded || iso.eq_ignore_ascii_case(&folded));
    let (_, iso) = known?;
    let value = if code { (*iso).to_owned() } else { text };
    Some(Read {
        value: Value::String(value),
        first: 0,
        last: words.len() - 1,
        fit: 1.0,
    })
}

fn state_of(words: &[&str], code: bool) -> Option<Read> {
    let text = words.join(" ");
    let clean = text.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let folded = fold(&clean);
    let known = lexicon()
        .states
        .iter()
        .find(|(name, short)| *name == folded || *short == clean);
    let value = match known {
        Some((_, short)) if code => (*short).to_owned(),
        None if code => return None,
        _ => clean,
    };
    let short =
        words.len() <= 4 && !value.is_empty() && !value.contains(|c: char| c.is_ascii_digit());
    short.then(|| Read {
        value: Value::String(value),
        first: 0,
        last: words.len() - 1,
        fit: if known.is_some() { 1.0 } else { 0.7 },
    })
}

fn currency_of(words: &[&str]) -> Option<Read> {
    words.iter().take(3).enumerate().find_map(|(at, word)| {
        let code = number::currency(word).or_else(|| number::parse(word, None)?.currency)?;
        Some(Read {
            value: Value::String(code.to_owned()),
            first: at,
            last: at,
            fit: if at == 0 { 1.0 } else { 0.8 },
        })
    })
}

/// Words that end an identifier: a date, another statement or a sentence follows.
const AFTER: &[&str] = &[
    "vom", "dated", "date", "du", "-", "–", "—", "|", "/", "from", "for", "to", "on", "(rev",
    "and", "page", "seite",
];

fn identifier_of(words: &[&str]) -> Option<Read> {
    let mut end = words.len();
    for (at, word) in words.iter().enumerate() {
        if at > 0 && AFTER.contains(&fold(word).as_str()) && fold(word) != "(rev" {
            end = at;
            break;
        }
    }
    let mut start = 0;
    while start < end && !words[start].contains(|c: char| c.is_alphanumeric()) {
        start += 1;
    }
    if end - start > LONGEST_IDENTIFIER {
        // A sentence, not a number: only its first word can be one.
        end = start + 1;
    }
    let text = words.get(start..end)?.join(" ");
    let text = text
        .trim_end_matches([',', ';', '.', ')'])
        .trim_start_matches(['#', '(', ':'])
        .trim();
    // What is bracketed without a figure is a remark: `WC-7361 (Workers Compensation)`.
    let text = match text.split_once(" (") {
        Some((head, remark)) if !remark.contains(|c: char| c.is_ascii_digit()) => head,
        _ => text,
    };
    let closed = if text.contains('(') && !text.contains(')') {
        format!("{text})")
    } else {
        text.to_owned()
    };
    let digits = closed.chars().filter(char::is_ascii_digit).count();
    let letters = closed.chars().filter(|c| c.is_alphabetic()).count();
    let dates = !date::find(&words[start..end], Order::DayFirst).is_empty()
        && end - start == 1
        && letters == 0;
    let amount = number::parse(&closed, None).is_some_and(|number| number.decimals == 2);
    (digits > 0 && !amount && digits * 4 >= letters && closed.len() <= 48 && !dates).then_some(
        Read {
            value: Value::String(closed),
            first: start,
            last: end - 1,
            fit: if end - start == 1 { 1.0 } else { 0.97 },
        },
    )
}

fn name_of(words: &[&str]) -> Option<Read> {
    let read = text_of(words)?;
    let text = read.value.as_str()?;
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let short = read.last - read.first < LONGEST_NAME;
    (short && letters >= 2 && letters > digits).then_some(read)
}

/// Words that join the parts of a name, and are written small.
const JOINTS: &[&str] = &[
    "of", "and", "the", "for", "de", "du", "des", "la", "le", "et", "von", "van", "und", "der",
    "den", "dba", "d/b/a", "c/o", "in", "on", "at", "by",
];

/// Whether a text is a piece of a sentence, a title or a remark rather than a name: it begins
/// or breaks off in mid-phrase, or most of its words are small.
pub(super) fn is_prose(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let plain = |word: &str| {
        fold(word)
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_owned()
    };
    let ends = [words.first(), words.last()];
    let (first, last) = (
        ends[0].map_or_else(String::new, |word| plain(word)),
        ends[1].map_or_else(String::new, |word| plain(word)),
    );
    let cut = matches!(
        first.as_str(),
        "and" | "or" | "of" | "is" | "it" | "to" | "that" | "which"
    ) || matches!(
        last.as_str(),
        "of" | "and" | "or" | "the" | "by" | "to" | "for" | "a"
    );
    let small = words
        .iter()
        .filter(|word| {
            word.starts_with(char::is_lowercase) && !JOINTS.contains(&plain(word).as_str())
        })
        .count();
    let titles = words.iter().all(|word| {
        let word = plain(word);
        word.is_empty() || lexicon().titles.contains(&word.as_str())
    });
    let many = words.len() >= 5 && small * 2 > words.len();
    let begins_small = words
        .first()
        .is_some_and(|word| word.chars().all(char::is_lowercase) && !JOINTS.contains(word));
    begins_small || cut && words.len() > 1 || many || titles || text.starts_with(['(', '['])
}

/// What documents print where there is nothing.
const NOTHING: &[&str] = &[
    "n/a", "na", "-", "--", "—", "tbd", "none", "n.a.", "nil", "?",
];

fn text_of(words: &[&str]) -> Option<Read> {
    let empty = |word: &&str| {
        !word.contains(|c: char| c.is_alphanumeric()) && !word.starts_with(['"', '“', '('])
    };
    let first = words.iter().position(|word| !empty(word))?;
    let last = words
        .iter()
        .rposition(|word| word.contains(|c: char| c.is_alphanumeric()))?;
    let text = words.get(first..=last)?.join(" ");
    let text = text.trim_end_matches([',', ';', ':']).trim().to_owned();
    let nothing =
        text.is_empty() || NOTHING.contains(&fold(&text).as_str()) || text.starts_with("___");
    (!nothing).then_some(Read {
        value: Value::String(text),
        first,
        last,
        fit: 0.95,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_tell_an_iban() {
        assert!(is_iban("DE88200800000970375700"));
        assert!(!is_iban("DE88200800000970375701"));
    }
}
