//! Words to values: what a field of a kind reads from the words beside its label.

use serde_json::{Number as JsonNumber, Value};

use super::date::{self, Order};
use super::lexicon::lexicon;
use super::number::{self, Habit, Number};
use super::schema::{Kind, Leaf};
use super::text::{fold, pattern};

/// What the document shows of how it writes dates and numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub order: Order,
    pub habit: Option<Habit>,
}

/// Which date of a range is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Any,
    From,
    To,
}

/// A value read, with the first and last of the words it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub value: Value,
    pub first: usize,
    pub last: usize,
    /// How well the words fit the kind, 0 to 1.
    pub fit: f32,
}

/// The most words of a text, a name and an identifier.
const LONGEST_TEXT: usize = 40;
const LONGEST_NAME: usize = 14;
const LONGEST_IDENTIFIER: usize = 4;

/// Reads a value of the leaf's kind from the beginning of `words`, which is all that stands
/// where the value is expected. `None` when nothing there is of the kind, or the schema does not
/// take it.
pub(super) fn read(leaf: &Leaf, words: &[&str], habits: Habits, side: Side) -> Option<Read> {
    let words = &words[..words.len().min(LONGEST_TEXT)];
    let read = match leaf.kind {
        Kind::Date { iso } => date_of(words, habits, side, iso),
        Kind::Number | Kind::Money | Kind::Percent => number_of(leaf, words, habits),
        Kind::Year => year_of(leaf, words),
        Kind::Boolean => boolean_of(words),
        Kind::Choice => choice_of(leaf, words, habits),
        Kind::Amount { plain } => amount_of(words, habits, plain),
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
        Kind::Text | Kind::Narrative | Kind::Street | Kind::City | Kind::Address => text_of(words),
    }?;
    leaf.takes(&read.value).then_some(read)
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

fn date_of(words: &[&str], habits: Habits, side: Side, iso: bool) -> Option<Read> {
    let all = date::find(words, habits.order);
    let (date, first, last) = match side {
        Side::From if all.len() >= 2 => all[0],
        Side::To if all.len() >= 2 => all[1],
        Side::From | Side::To => return None,
        Side::Any => *all.first()?,
    };
    // A date deep in a sentence is not the answer to a label before it.
    if side != Side::To && first > 4 {
        return None;
    }
    let text = if iso {
        date.iso()
    } else {
        words[first..=last].join(" ")
    };
    let printed = text.trim_end_matches([',', ';', '.']).to_owned();
    Some(Read {
        value: Value::String(printed),
        first,
        last,
        fit: if first == 0 || side == Side::To {
            1.0
        } else {
            0.9
        },
    })
}

/// Numbers in the words, each with its first and last word: the longest reading at each place.
pub(super) fn numbers(words: &[&str], habit: Option<Habit>) -> Vec<(Number, usize, usize)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = (1..=4.min(words.len() - at)).rev().find_map(|count| {
            let text = words[at..at + count].join(" ");
            let last = words[at + count - 1];
            // A word that is only a sign ends no number: `5 -` is a quantity and a dash.
            if count > 1 && matches!(last, "-" | "–" | "(") {
                return None;
            }
            let number = number::parse(text.trim_end_matches([',', ';']), habit)?;
            Some((number, at, at + count - 1))
        });
        match longest {
            Some(found) => {
                at = found.2 + 1;
                all.push(found);
            }
            None => at += 1,
        }
    }
    all
}

fn number_of(leaf: &Leaf, words: &[&str], habits: Habits) -> Option<Read> {
    let all = numbers(words, habits.habit);
    let percent = leaf.kind == Kind::Percent;
    let fits = |number: &Number| percent || !number.percent;
    let (number, first, last) = all
        .iter()
        .find(|(number, _, _)| percent && number.percent)
        .or_else(|| all.iter().find(|(number, _, _)| fits(number)))?;
    // A figure behind words that are no currency is of something else.
    let bare = words[..*first]
        .iter()
        .all(|word| number::currency(word).is_some() || !word.contains(char::is_alphabetic));
    if *first > 3 || (!bare && !number.percent) {
        return None;
    }
    let value = json_number(number, leaf)?;
    // Money shows itself by its currency or cents; a bare count is of something else more often,
    // and where the document prints cents it always is.
    let money = leaf.kind != Kind::Money || number.currency.is_some() || number.decimals >= 2;
    if !money && habits.habit.is_some() && number.value.abs() < 1000.0 && number.value != 0.0 {
        return None;
    }
    let place = if *first == 0 { 1.0 } else { 0.85 };
    Some(Read {
        value,
        first: *first,
        last: *last,
        fit: place
            * match (leaf.kind, money, number.currency) {
                (Kind::Money, true, None) => 0.93,
                (_, true, _) => 1.0,
                _ => 0.7,
            },
    })
}

/// A number as the schema wants it: whole where it is whole and printed so.
pub(super) fn json_number(number: &Number, leaf: &Leaf) -> Option<Value> {
    let whole = number.value.fract() == 0.0 && number.value.abs() < 9.0e15;
    if whole && (leaf.integer || number.decimals == 0) {
        return Some(Value::from(number.value as i64));
    }
    if leaf.integer {
        return None;
    }
    JsonNumber::from_f64(number.value).map(Value::Number)
}

fn amount_of(words: &[&str], habits: Habits, plain: bool) -> Option<Read> {
    let (_, first, last) = numbers(words, habits.habit)
        .into_iter()
        .find(|(n, _, _)| !n.percent)?;
    if first > 3 {
        return None;
    }
    let printed = words[first..=last].join(" ");
    let text = if plain {
        printed.trim_matches(|c: char| {
            !c.is_ascii_digit() && c != '-' && c != '.' && c != ',' && c != '(' && c != ')'
        })
    } else {
        printed.as_str()
    };
    Some(Read {
        value: Value::String(text.to_owned()),
        first,
        last,
        fit: if first == 0 { 1.0 } else { 0.85 },
    })
}

fn year_of(leaf: &Leaf, words: &[&str]) -> Option<Read> {
    words.iter().take(6).enumerate().find_map(|(at, word)| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_digit());
        let year: i64 = digits.parse().ok()?;
        let plausible = digits.len() == 4 && (1800..=2200).contains(&year);
        (plausible && leaf.number).then_some(Read {
            value: Value::from(year),
            first: at,
            last: at,
            fit: if at == 0 { 1.0 } else { 0.8 },
        })
    })
}

const TICKED: &[&str] = &["☒", "☑", "✓", "✔", "[x]", "[X]", "(x)", "(X)", "x", "X"];
const EMPTY: &[&str] = &["☐", "[", "[]", "()", "□"];

fn boolean_of(words: &[&str]) -> Option<Read> {
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
fn choice_of(leaf: &Leaf, words: &[&str], habits: Habits) -> Option<Read> {
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
                best = Some((length, read))
            }
            Some(_) => rivals += 1,
            None => best = Some((length, read)),
        }
    }
    best.filter(|_| rivals == 0).map(|(_, read)| read)
}

/// Where the words of `text` stand one after the other in `words`, case and accents aside.
pub(super) fn stated(text: &str, words: &[&str]) -> Option<(usize, usize)> {
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
        Some(_) => clean,
        None if code => return None,
        None => clean,
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
    use super::super::schema::{Form, compile};
    use super::*;
    use serde_json::json;

    fn read_as(name: &str, schema: Value, text: &str) -> Option<Value> {
        let root = compile(&json!({"type": "object", "properties": {name: schema}}));
        let Form::Object(fields) = &root.form else {
            panic!()
        };
        let Form::Leaf(leaf) = &fields[0].form else {
            panic!()
        };
        let words: Vec<&str> = text.split(' ').collect();
        let habits = Habits {
            order: Order::MonthFirst,
            habit: Some(Habit::Point),
        };
        read(leaf, &words, habits, Side::Any).map(|read| read.value)
    }

    #[test]
    fn values_are_read_by_kind() {
        let text = || json!({"type": "string"});
        let number = || json!({"type": "number"});
        for (name, schema, printed, value) in [
            (
                "invoice_number",
                text(),
                "47110818 vom 31.10.2018",
                json!("47110818"),
            ),
            (
                "contract_num",
                text(),
                "9752880 (Rev 0)",
                json!("9752880 (Rev 0)"),
            ),
            ("total", number(), "$ 112,350.00", json!(112_350.0)),
            ("quantity", number(), "-5 Stk", json!(-5)),
            ("tax_percent", number(), "19 % VAT (S)", json!(19)),
            (
                "due_date",
                json!({"type": "string", "format": "date"}),
                "Aug 15, 2024",
                json!("2024-08-15"),
            ),
            ("due_date", text(), "12.05.2024", json!("12.05.2024")),
            (
                "paid",
                json!({"type": "boolean"}),
                "☐ Yes ☒ No",
                json!(false),
            ),
            ("paid", json!({"type": "boolean"}), "Ja", json!(true)),
            (
                "iban",
                text(),
                "DE88 2008 0000 0970 3757 00 BIC COBADEFFXXX",
                json!("DE88200800000970375700"),
            ),
            (
                "vat_id",
                text(),
                "FR11999999998 - SIRET",
                json!("FR11999999998"),
            ),
            (
                "status",
                json!({"enum": ["Open", "Closed"]}),
                "CLOSED",
                json!("Closed"),
            ),
            ("email", text(), "a.b@example.com", json!("a.b@example.com")),
            ("currency", text(), "EUR", json!("EUR")),
            (
                "total_amount",
                json!({"type": "string", "description": "no currency sign"}),
                "$7.00",
                json!("7.00"),
            ),
        ] {
            assert_eq!(
                read_as(name, schema, printed),
                Some(value),
                "{name} {printed}"
            );
        }
    }

    #[test]
    fn what_is_not_of_the_kind_is_not_a_value() {
        let text = || json!({"type": "string"});
        for (name, schema, printed) in [
            ("invoice_number", text(), "Date"),
            ("total", json!({"type": "number"}), "see page 3"),
            ("due_date", text(), "on receipt"),
            ("paid", json!({"type": "boolean"}), "Maybe"),
            (
                "status",
                json!({"enum": ["insured", "uninsured"]}),
                "partly covered",
            ),
            (
                "status",
                json!({"enum": ["Open", "Closed"]}),
                "Open / Closed",
            ),
            ("name", text(), "n/a"),
            ("count", json!({"type": "integer"}), "2.5"),
            ("score", json!({"type": "number", "maximum": 5}), "7"),
        ] {
            assert_eq!(read_as(name, schema, printed), None, "{name} {printed}");
        }
    }

    #[test]
    fn check_digits_tell_an_iban() {
        assert!(is_iban("DE88200800000970375700"));
        assert!(!is_iban("DE88200800000970375701"));
    }
}
