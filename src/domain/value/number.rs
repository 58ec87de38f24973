//! Numbers and money as printed: both comma habits, signs, brackets, percents, currencies.

use super::pattern;

/// Which sign stands before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// `1,234.50`
    Point,
    /// `1.234,50`, `1 234,50`
    Comma,
}

/// A number read from a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    pub value: f64,
    /// Digits printed after the decimal sign.
    pub decimals: usize,
    pub percent: bool,
    /// ISO 4217 code of the sign or code printed with it.
    pub currency: Option<&'static str>,
}

/// Currency signs, the longer before those they contain.
const SIGNS: &[(&str, &str)] = &[
    ("US$", "USD"),
    ("CA$", "CAD"),
    ("AU$", "AUD"),
    ("NZ$", "NZD"),
    ("HK$", "HKD"),
    ("SG$", "SGD"),
    ("MX$", "MXN"),
    ("NT$", "TWD"),
    ("C$", "CAD"),
    ("A$", "AUD"),
    ("S$", "SGD"),
    ("R$", "BRL"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("¥", "JPY"),
    ("₹", "INR"),
    ("₩", "KRW"),
    ("₽", "RUB"),
    ("₺", "TRY"),
    ("₪", "ILS"),
    ("฿", "THB"),
    ("zł", "PLN"),
    ("Kč", "CZK"),
    ("RM", "MYR"),
    ("Fr.", "CHF"),
    ("SFr.", "CHF"),
];

/// ISO 4217 codes that documents print.
const CODES: &[&str] = &[
    "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "SGD", "HKD", "MYR", "CNY", "INR",
    "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "BGN", "TRY", "RUB", "UAH", "ILS", "ZAR",
    "BRL", "MXN", "ARS", "CLP", "COP", "PEN", "KRW", "TWD", "THB", "IDR", "PHP", "VND", "AED",
    "SAR", "QAR", "KWD", "EGP", "NGN", "KES", "MAD", "TND", "ISK", "RSD", "PKR", "BDT", "LKR",
    "XPF", "XOF", "XAF",
];

/// Currency names in words, folded.
const NAMES: &[(&str, &str)] = &[
    ("euro", "EUR"),
    ("euros", "EUR"),
    ("us dollar", "USD"),
    ("us dollars", "USD"),
    ("united states dollars", "USD"),
    ("dollars", "USD"),
    ("pound sterling", "GBP"),
    ("pounds sterling", "GBP"),
    ("swiss francs", "CHF"),
    ("schweizer franken", "CHF"),
    ("yen", "JPY"),
];

/// The ISO code a text states, if it is a currency sign, code or name and nothing else.
pub fn currency(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_matches(['(', ')', '.', ',', ':', ';']);
    let upper = text.to_uppercase();
    let folded = super::fold(text);
    CODES
        .iter()
        .find(|code| **code == upper)
        .copied()
        .or_else(|| {
            SIGNS
                .iter()
                .find(|(sign, _)| *sign == text)
                .map(|(_, code)| *code)
        })
        .or_else(|| {
            NAMES
                .iter()
                .find(|(name, _)| *name == folded)
                .map(|(_, code)| *code)
        })
}

pattern!(BODY = r"^[0-9][0-9.,'’\u{a0}\u{202f} ]*$|^[.,][0-9]+$");

/// The number `text` is, with its sign, currency and percent; `None` when there is anything else.
pub fn parse(text: &str, habit: Option<Habit>) -> Option<Number> {
    let mut rest = text.trim();
    if rest.len() > 64 || !rest.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut negative = false;
    let mut percent = false;
    let mut money = None;
    for _ in 0..6 {
        let before = rest.len();
        if let Some(inner) = rest
            .strip_prefix('(')
            .and_then(|tail| tail.strip_suffix(')'))
        {
            negative = true;
            rest = inner.trim();
        }
        (rest, money) = strip_currency(rest, money);
        if let Some(tail) = rest.strip_prefix(['-', '−', '–']) {
            negative = true;
            rest = tail.trim_start();
        } else if let Some(tail) = rest.strip_prefix('+') {
            rest = tail.trim_start();
        }
        if let Some(head) = rest.strip_suffix(['-', '−']) {
            negative = true;
            rest = head.trim_end();
        }
        if let Some(head) = rest.strip_suffix('%') {
            percent = true;
            rest = head.trim_end();
        }
        if rest.len() == before {
            break;
        }
    }
    if !BODY.is_match(rest) {
        return None;
    }
    let (value, decimals) = digits(rest, habit)?;
    Some(Number {
        value: if negative { -value } else { value },
        decimals,
        percent,
        currency: money,
    })
}

fn strip_currency<'t>(
    text: &'t str,
    known: Option<&'static str>,
) -> (&'t str, Option<&'static str>) {
    for (sign, code) in SIGNS {
        if let Some(rest) = text.strip_prefix(sign) {
            return (rest.trim_start(), Some(code));
        }
        if let Some(rest) = text.strip_suffix(sign) {
            return (rest.trim_end(), Some(code));
        }
    }
    for code in CODES {
        let head = text
            .get(..3)
            .is_some_and(|head| head.eq_ignore_ascii_case(code));
        if head {
            return (text[3..].trim_start(), Some(code));
        }
        let at = text.len().saturating_sub(3);
        if text
            .get(at..)
            .is_some_and(|tail| tail.eq_ignore_ascii_case(code))
        {
            return (text[..at].trim_end(), Some(code));
        }
    }
    (text, known)
}

/// Digits with separators -> value and count of decimals.
fn digits(body: &str, habit: Option<Habit>) -> Option<(f64, usize)> {
    let body: String = body
        .chars()
        .map(|c| match c {
            '’' | '\'' | '\u{a0}' | '\u{202f}' => ' ',
            other => other,
        })
        .collect();
    let body = body.trim_end_matches(['.', ',']).trim();
    let decimal = decimal_sign(body, habit);
    let (whole, fraction) = match decimal {
        Some(sign) => {
            let at = body.rfind(sign)?;
            (&body[..at], &body[at + 1..])
        }
        None => (body, ""),
    };
    if !fraction.chars().all(|c| c.is_ascii_digit()) || !is_grouped(whole) {
        return None;
    }
    let plain: String = whole.chars().filter(char::is_ascii_digit).collect();
    if plain.len() + fraction.len() > 17 {
        return None;
    }
    let text = format!(
        "{}.{}",
        if plain.is_empty() { "0" } else { &plain },
        fraction
    );
    text.trim_end_matches('.')
        .parse()
        .ok()
        .map(|value| (value, fraction.len()))
}

/// Which of the signs in `body`, if any, stands before decimals.
fn decimal_sign(body: &str, habit: Option<Habit>) -> Option<char> {
    let (points, commas) = (body.matches('.').count(), body.matches(',').count());
    match (points, commas) {
        (0, 0) => None,
        (_, 0) | (0, _) => {
            let sign = if points > 0 { '.' } else { ',' };
            if points + commas > 1 {
                return None;
            }
            let (whole, fraction) = body.split_once(sign)?;
            let thousands =
                fraction.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            let habitual = match habit {
                Some(Habit::Comma) => sign == ',',
                Some(Habit::Point) | None => sign == '.',
            };
            (!thousands || habitual).then_some(sign)
        }
        _ => {
            let sign = if body.rfind('.') > body.rfind(',') {
                '.'
            } else {
                ','
            };
            (body.matches(sign).count() == 1).then_some(sign)
        }
    }
}

/// Whether the digits are unbroken or in groups of three behind a first of one to three, all
/// divided by the same sign.
pub(super) fn is_grouped(whole: &str) -> bool {
    let Some(sign) = whole.chars().find(|c| !c.is_ascii_digit()) else {
        return true;
    };
    let mut groups = whole.split(sign);
    let first = groups.next().is_some_and(|group| is_digits(group, 1..=3));
    first && groups.all(|group| is_digits(group, 3..=3))
}

fn is_digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

pattern!(POINTS = r"^\D{0,4}\d{1,3}(?:,\d{3})*\.\d{2}\D{0,4}$");
pattern!(COMMAS = r"^\D{0,4}\d{1,3}(?:[. ]\d{3})*,\d{2}\D{0,4}$");

/// The habit of a text, by the count of its unmistakable amounts; `None` without any.
pub fn habit<'t>(words: impl Iterator<Item = &'t str>) -> Option<Habit> {
    let (mut points, mut commas) = (0usize, 0usize);
    for word in words.filter(|word| word.len() < 24) {
        if POINTS.is_match(word) {
            points += 1;
        } else if COMMAS.is_match(word) {
            commas += 1;
        }
    }
    match points.cmp(&commas) {
        std::cmp::Ordering::Greater => Some(Habit::Point),
        std::cmp::Ordering::Less => Some(Habit::Comma),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, habit: Option<Habit>) -> Option<f64> {
        parse(text, habit).map(|number| number.value)
    }

    #[test]
    fn both_comma_habits_are_read() {
        for (text, expected) in [
            ("1,234.50", 1234.5),
            ("1.234,50", 1234.5),
            ("1 234,50", 1234.5),
            ("1'234.50", 1234.5),
            ("(1,234.50)", -1234.5),
            ("($15.00)", -15.0),
            ("1.234,50-", -1234.5),
            ("-20,48 €", -20.48),
            ("€-0.01", -0.01),
            ("C$-0.01", -0.01),
            ("12.345.678", 12_345_678.0),
            ("20,0%", 20.0),
            ("US$ 5", 5.0),
            ("EUR 1.000,00", 1000.0),
            (".50", 0.5),
            ("0.125", 0.125),
        ] {
            assert_eq!(value(text, None), Some(expected), "{text}");
        }
    }

    #[test]
    fn one_sign_before_three_digits_follows_the_habit_of_the_document() {
        assert_eq!(value("1.234", Some(Habit::Comma)), Some(1234.0));
        assert_eq!(value("1.234", Some(Habit::Point)), Some(1.234));
        assert_eq!(value("1,234", Some(Habit::Point)), Some(1234.0));
        assert_eq!(value("1,234", Some(Habit::Comma)), Some(1.234));
    }

    #[test]
    fn what_is_not_one_number_is_none() {
        for text in [
            "12.05.2024",
            "05/12/2024",
            "INV-12",
            "10:30",
            "1,23,4",
            "",
            "$",
            "7 x 3",
            "5 Unit(s)",
        ] {
            assert_eq!(value(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_currency_is_known_by_sign_code_or_name() {
        assert_eq!(
            parse("CA$168.20", None).and_then(|n| n.currency),
            Some("CAD")
        );
        assert_eq!(
            parse("12,00 EUR", None).and_then(|n| n.currency),
            Some("EUR")
        );
        assert_eq!(currency("(eur)"), Some("EUR"));
        assert_eq!(currency("EURO"), Some("EUR"));
        assert_eq!(currency("Total"), None);
    }

    #[test]
    fn the_habit_is_what_most_amounts_show() {
        assert_eq!(
            habit(["1.234,50", "3,00", "2.50"].into_iter()),
            Some(Habit::Comma)
        );
        assert_eq!(habit(["12", "a"].into_iter()), None);
    }
}
