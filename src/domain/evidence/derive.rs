//! Whether a value follows from what stands at a place.
//!
//! What is read is the page, never the quote: a quote only says where to look.

use serde_json::Value;

use super::super::document::Document;
use super::super::value::date::Date;
use super::super::value::decimal::Decimal;
use super::super::value::number;
use super::answer;
use super::day::centuries_apart;
use super::index::{Index, Term};
use super::leaf::{Facts, Leaf};
use super::locate::Place;

/// How a value stands to what is printed; the greater, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bearing {
    /// It says something else.
    Differs,
    /// It may say so.
    Open,
    /// It says so.
    Follows,
}

/// What stands at a place.
pub(super) struct Passage<'d> {
    pub document: &'d Document,
    pub index: &'d Index,
    pub tokens: Vec<u32>,
}

impl<'d> Passage<'d> {
    pub(super) fn of(document: &'d Document, index: &'d Index, place: &Place) -> Self {
        Self {
            document,
            index,
            tokens: place.tokens().collect(),
        }
    }

    /// How the leaf's value stands to the passage.
    pub(super) fn bears(&self, leaf: &Leaf<'_>) -> Bearing {
        match leaf.value {
            Value::String(text) => self.text(text, &leaf.facts),
            Value::Number(number) => match Decimal::parse(&number.to_string()) {
                Some(value) => self.number(value, leaf.facts.integer),
                None => Bearing::Differs,
            },
            Value::Bool(value) => answer::bears(self, *value),
            Value::Null | Value::Array(_) | Value::Object(_) => Bearing::Differs,
        }
    }

    /// Other values of the same sort that the passage prints.
    pub(super) fn rivals(&self, value: &Value) -> usize {
        match value {
            Value::Number(number) => {
                let value = Decimal::parse(&number.to_string());
                self.figures()
                    .filter(|figure| figure.readings.iter().all(|r| Some(r.value) != value))
                    .count()
            }
            Value::String(text) => {
                let date = iso(text).map(|(date, _)| date);
                let others = self.days().filter(|day| Some(day.date) != date);
                others.count() * usize::from(date.is_some())
            }
            _ => 0,
        }
    }

    fn holds(&self, first: u32, last: u32) -> bool {
        self.tokens.binary_search(&first).is_ok() && self.tokens.binary_search(&last).is_ok()
    }

    fn overlaps(&self, first: u32, last: u32) -> bool {
        let at = self.tokens.partition_point(|token| *token < first);
        self.tokens.get(at).is_some_and(|token| *token <= last)
    }

    fn number(&self, value: Decimal, integer: bool) -> Bearing {
        let mut best = Bearing::Differs;
        for figure in self.figures() {
            // In `1 234` neither number is told to be one of its own.
            let whole = self.holds(figure.first, figure.last);
            for reading in figure.readings.iter().filter(|r| r.value == value) {
                let only = integer
                    && figure.readings.iter().all(|r| !r.sure)
                    && reading.value.is_whole()
                    && figure
                        .readings
                        .iter()
                        .filter(|r| r.value.is_whole())
                        .count()
                        == 1
                    && figure.readings.len() == 2
                    && figure.readings[0].value != figure.readings[1].value.negated();
                let settled = reading.sure || (only && self.is_plain(figure.first, figure.last));
                let bearing = if whole && settled {
                    Bearing::Follows
                } else {
                    Bearing::Open
                };
                best = best.max(bearing);
            }
        }
        let year = value.small().and_then(|year| i32::try_from(year).ok());
        for day in self.days().filter(|day| Some(day.date.year) == year) {
            let whole = self.holds(day.first, day.last) && day.sure && !day.short_year;
            best = best.max(if whole {
                Bearing::Follows
            } else {
                Bearing::Open
            });
        }
        if best == Bearing::Differs && self.spells(value) {
            best = Bearing::Open;
        }
        best
    }

    /// Whether the token is digits with one point before three of them: to an integer nothing
    /// but thousands.
    fn is_plain(&self, first: u32, last: u32) -> bool {
        let key = self.index.key(first);
        first == last
            && key
                .split_once(['.', ','])
                .is_some_and(|(a, b)| a.len() <= 3 && b.len() == 3)
    }

    fn figures(&self) -> impl Iterator<Item = &super::figure::Figure> {
        let first = self.tokens.first().copied().unwrap_or(0);
        let last = self.tokens.last().copied().unwrap_or(0);
        // Parts of a grouped number stand behind it, so a few more before the place may reach in.
        let from = self.index.figures.partition_point(|f| f.first + 8 < first);
        self.index.figures[from..]
            .iter()
            .take_while(move |figure| figure.first <= last)
            .filter(|figure| self.overlaps(figure.first, figure.last))
    }

    fn days(&self) -> impl Iterator<Item = &super::day::Day> {
        let first = self.tokens.first().copied().unwrap_or(0);
        let last = self.tokens.last().copied().unwrap_or(0);
        let from = self
            .index
            .days
            .partition_point(|day| day.first + 12 < first);
        self.index.days[from..]
            .iter()
            .take_while(move |day| day.first <= last)
            .filter(|day| self.overlaps(day.first, day.last))
    }

    /// Whether a small number is written out.
    fn spells(&self, value: Decimal) -> bool {
        let Some(value) = value.small() else {
            return false;
        };
        SPELT.iter().any(|names| {
            names
                .get(value as usize)
                .is_some_and(|name| self.says(name))
        })
    }

    pub(super) fn says(&self, key: &str) -> bool {
        let id = self.index.id(key);
        id.is_some() && self.ids().any(|there| Some(there) == id)
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        let tokens = self.tokens.iter();
        tokens.filter_map(|token| Some(self.index.tokens.get(*token as usize)?.id))
    }

    fn text(&self, text: &str, facts: &Facts<'_>) -> Bearing {
        if facts.choices.len() > 1 || facts.choices.first() == Some(&text) {
            return self.choice(text, &facts.choices);
        }
        let printed = self.contains(text);
        if printed == Bearing::Follows {
            return printed;
        }
        let others = [
            self.date(text),
            self.plain_number(text),
            self.money(text),
            self.clock(text),
            self.compact(text),
        ];
        let best = others.into_iter().flatten().max();
        let best = best.into_iter().chain([printed]).max();
        match best {
            Some(bearing) if bearing > Bearing::Differs => bearing,
            _ if self.resembles(text) => Bearing::Open,
            _ => Bearing::Differs,
        }
    }

    /// Whether the text stands in the passage word for word.
    fn contains(&self, text: &str) -> Bearing {
        let text = text.trim();
        let below = text.starts_with(['-', '−', '–', '(']) || text.ends_with(['-', '−']);
        let found = self.index.inside(&self.tokens, &self.index.terms(text));
        let bearing = |(first, last): (usize, usize)| {
            if self.is_cut(self.tokens[first], self.tokens[last], below) {
                Bearing::Open
            } else {
                Bearing::Follows
            }
        };
        let all = found.into_iter().map(bearing);
        all.max().unwrap_or(Bearing::Differs)
    }

    /// Whether an end of the span lies inside a number, or the span is a number of another sign
    /// than is `below` zero.
    fn is_cut(&self, first: u32, last: u32, below: bool) -> bool {
        self.figures().any(|figure| {
            let reaches = figure.first <= last && first <= figure.last;
            let out = figure.first < first || figure.last > last;
            let only = figure.first == first && figure.last == last;
            let negative = figure.readings.iter().any(|r| r.value.is_negative());
            let zero = figure.readings.iter().any(|r| r.value.small() == Some(0));
            let parted = figure.first < figure.last;
            reaches && ((out && parted) || (only && negative != below && !zero))
        })
    }

    /// A member of an enumeration: it must be named, and no other beside it.
    fn choice(&self, text: &str, choices: &[&str]) -> Bearing {
        let spans = |choice: &str| {
            let words = spaced(choice);
            let plain = self.index.inside(&self.tokens, &self.index.terms(choice));
            let apart = self.index.inside(&self.tokens, &self.index.terms(&words));
            plain.into_iter().chain(apart).collect::<Vec<_>>()
        };
        let own = spans(text);
        let others: Vec<_> = choices
            .iter()
            .filter(|choice| **choice != text)
            .flat_map(|choice| spans(choice))
            .collect();
        // `paid` is not said where `partially paid` stands.
        let inside = |a: &(usize, usize), b: &(usize, usize)| b.0 <= a.0 && a.1 <= b.1 && a != b;
        let free = |own: &&(usize, usize)| !others.iter().any(|other| inside(own, other));
        let own: Vec<_> = own.iter().filter(free).collect();
        let rivals = others
            .iter()
            .filter(|other| !own.iter().any(|own| inside(other, own)))
            .count();
        let denied = |at: usize| {
            let before = self.tokens[at].checked_sub(1);
            before.is_some_and(|before| NEGATIONS.contains(&self.index.key(before)))
        };
        match (own.iter().any(|(at, _)| !denied(*at)), rivals) {
            (true, 0) => Bearing::Follows,
            (false, 1..) => Bearing::Differs,
            (false, 0) => self.money(text).unwrap_or(Bearing::Open),
            _ => Bearing::Open,
        }
    }

    fn date(&self, text: &str) -> Option<Bearing> {
        let (date, time) = iso(text)?;
        let mut best = Bearing::Differs;
        for day in self.days() {
            let bearing = if day.date == date && day.sure && self.holds(day.first, day.last) {
                Bearing::Follows
            } else if day.date == date || centuries_apart(day, date) {
                Bearing::Open
            } else {
                Bearing::Differs
            };
            best = best.max(bearing);
        }
        // A time of day that nobody printed does not follow.
        let told = time.is_none_or(|time| self.clock(time) == Some(Bearing::Follows));
        Some(if told { best } else { best.min(Bearing::Open) })
    }

    /// A time of day, `10:30` or `10:30:00`, in full or as the end of a date.
    fn clock(&self, text: &str) -> Option<Bearing> {
        let time = text.get(..5)?;
        let bytes = time.as_bytes();
        let digits = [0, 1, 3, 4].iter().all(|at| bytes[*at].is_ascii_digit());
        if bytes[2] != b':' || !digits {
            return None;
        }
        let rest = text[5..].trim_end_matches(['z', 'Z']);
        let full = text.trim_end_matches(['z', 'Z']).to_lowercase();
        let whole_minute = rest.is_empty() || rest == ":00" || rest == ":00.000";
        let short = time.strip_prefix('0');
        let said = self.tokens.iter().any(|token| {
            let key = self.index.key(*token);
            let clock = key.rsplit('t').next().unwrap_or(key).trim_end_matches('z');
            clock == full || (whole_minute && (clock == time || Some(clock) == short))
        });
        // `2:30 pm`
        let half = ["pm", "p.m", "am", "a.m"]
            .iter()
            .any(|word| self.says(word));
        Some(match (said, half) {
            (true, false) => Bearing::Follows,
            (_, true) => Bearing::Open,
            _ => Bearing::Differs,
        })
    }

    /// A number kept as a string without its separators: `1234.50`.
    fn plain_number(&self, text: &str) -> Option<Bearing> {
        let bare = text.trim_start_matches('-');
        let plain = bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let leading = bare.starts_with('0') && !bare.starts_with("0.") && bare != "0";
        if !plain || leading {
            return None;
        }
        Some(self.number(Decimal::parse(text)?, false))
    }

    /// The code of a currency that is printed as a sign or in words.
    fn money(&self, text: &str) -> Option<Bearing> {
        let code = number::currency(text).filter(|code| *code == text)?;
        let printed: Vec<&str> = self
            .tokens
            .iter()
            .filter_map(|token| number::currency(self.index.key(*token)))
            .collect();
        // Many countries write `$`, two write `¥`.
        let shared = matches!(code, "USD" | "JPY");
        Some(match (printed.contains(&code), shared) {
            (true, false) if printed.iter().all(|other| *other == code) => Bearing::Follows,
            (true, _) => Bearing::Open,
            (false, _) => Bearing::Differs,
        })
    }

    /// An identifier printed with spaces or hyphens: `DE88 2008 0000 ...`.
    fn compact(&self, text: &str) -> Option<Bearing> {
        let wanted = squeezed(text);
        if wanted.len() < 8 || !super::token::has_digit(&wanted) {
            return None;
        }
        let keys: Vec<String> = self
            .tokens
            .iter()
            .map(|token| squeezed(self.index.key(*token)))
            .collect();
        let reads = |start: usize| {
            let mut rest = wanted.as_str();
            for key in &keys[start..] {
                match rest.strip_prefix(key.as_str()) {
                    Some("") => return true,
                    Some(tail) => rest = tail,
                    None => return false,
                }
            }
            false
        };
        Some(if (0..keys.len()).any(reads) {
            Bearing::Follows
        } else {
            Bearing::Differs
        })
    }

    /// Whether most words of a longer text are in the passage, and all its figures: a summary,
    /// or a name with a letter put right.
    fn resembles(&self, text: &str) -> bool {
        let terms = self.index.terms(text);
        let here: std::collections::HashSet<u32> = self.ids().collect();
        let said = |term: &&Term| term.id.is_some_and(|id| here.contains(&id));
        let figures = terms
            .iter()
            .filter(|term| term.digit)
            .all(|term| said(&term));
        let count = terms.iter().filter(said).count();
        terms.len() >= 2 && figures && count * 3 >= terms.len() * 2
    }
}

/// Words that turn what follows them round.
const NEGATIONS: &[&str] = &[
    "not", "no", "non", "never", "without", "nicht", "kein", "keine", "nie", "ohne", "pas", "sans",
    "ni", "neither",
];

/// Small numbers in words, from zero.
const SPELT: [[&str; 13]; 3] = [
    [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ],
    [
        "null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn",
        "elf", "zwölf",
    ],
    [
        "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix",
        "onze", "douze",
    ],
];

/// `2024-05-12`, and the time of day behind it.
pub(super) fn iso(text: &str) -> Option<(Date, Option<&str>)> {
    let (day, time) = match text.split_at_checked(10)? {
        (day, "") => (day, None),
        (day, rest) => (day, Some(rest.strip_prefix(['T', 't', ' '])?)),
    };
    let mut parts = day.split('-');
    let mut part = |length: usize| {
        let digits = parts.next()?;
        let fits = digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse::<u32>().ok())?
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    Some((Date::new(year as i32, month, day)?, time))
}

/// Letters and digits only, as far as nothing but spaces, hyphens and brackets is lost by it.
pub(super) fn squeezed(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .filter(|c| !c.is_whitespace() && !"-‐‑–()".contains(*c))
        .collect()
}

/// `in_progress` and `inProgress` as words.
pub(super) fn spaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        out.push(if matches!(c, '_' | '-' | '.') { ' ' } else { c });
        before = c;
    }
    out
}
