//! Exact decimal numbers, and what printed digits may mean as one.
//!
//! Binary floating point takes two long numbers that differ in their last digit for the same;
//! a proof may not.

use super::number::{Habit, is_grouped};

/// The most digits that are told apart.
const MAX_DIGITS: usize = 36;

/// A decimal number: `mantissa * 10^exponent`, the mantissa without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    mantissa: u128,
    exponent: i32,
}

impl Decimal {
    /// From digits with `decimals` of them behind the decimal sign; `None` for more digits than
    /// are told apart.
    fn of_digits(digits: &str, decimals: usize) -> Option<Self> {
        let digits = digits.trim_start_matches('0');
        if digits.len() > MAX_DIGITS {
            return None;
        }
        let mantissa = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
        Some(Self::normal(
            false,
            mantissa,
            -i32::try_from(decimals).ok()?,
        ))
    }

    fn normal(negative: bool, mut mantissa: u128, mut exponent: i32) -> Self {
        if mantissa == 0 {
            return Self {
                negative: false,
                mantissa: 0,
                exponent: 0,
            };
        }
        while mantissa.is_multiple_of(10) {
            mantissa /= 10;
            exponent += 1;
        }
        Self {
            negative,
            mantissa,
            exponent,
        }
    }

    /// From the text of a JSON number, such as `-12.50` or `1e21`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (body, power) = match rest.split_once(['e', 'E']) {
            Some((body, power)) => (body, power.trim_start_matches('+').parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || power.abs() > 400 {
            return None;
        }
        let plain = Self::of_digits(&format!("{whole}{fraction}"), fraction.len())?;
        Some(Self::normal(
            negative,
            plain.mantissa,
            plain.exponent + power,
        ))
    }

    pub fn negated(self) -> Self {
        Self::normal(!self.negative, self.mantissa, self.exponent)
    }

    /// The exact sum; `None` for more digits than are told apart.
    pub fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let scaled = |number: Self| {
            let power = u32::try_from(number.exponent - exponent).ok()?;
            let size = number.mantissa.checked_mul(10_u128.checked_pow(power)?)?;
            let size = i128::try_from(size).ok()?;
            Some(if number.negative { -size } else { size })
        };
        let sum = scaled(self)?.checked_add(scaled(other)?)?;
        Some(Self::normal(sum < 0, sum.unsigned_abs(), exponent))
    }

    /// Times ten to the power.
    pub fn shifted(self, power: i32) -> Self {
        Self::normal(self.negative, self.mantissa, self.exponent + power)
    }

    pub fn is_negative(self) -> bool {
        self.negative
    }

    pub fn is_whole(self) -> bool {
        self.exponent >= 0
    }

    /// Digits from the first to the last that is not zero.
    pub fn significant(self) -> u32 {
        self.mantissa.checked_ilog10().map_or(0, |log| log + 1)
    }

    /// Every number with one digit different, down to the hundredths or its own last digit.
    pub fn misread(self) -> Vec<Self> {
        let scale = self.exponent.min(-2);
        let factor = u32::try_from(self.exponent - scale)
            .ok()
            .and_then(|power| 10u128.checked_pow(power));
        let Some(whole) = factor.and_then(|factor| self.mantissa.checked_mul(factor)) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        let mut place = 1u128;
        while place <= whole {
            let digit = whole / place % 10;
            let rest = whole - digit * place;
            let others = (0..10).filter(|other| *other != digit);
            out.extend(
                others.map(|other| Self::normal(self.negative, rest + other * place, scale)),
            );
            let Some(next) = place.checked_mul(10) else {
                break;
            };
            place = next;
        }
        out
    }

    /// The number, if it is a whole one of at most six digits.
    pub fn small(self) -> Option<u32> {
        let factor = 10u128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        let value = self.mantissa.checked_mul(factor)?;
        u32::try_from(value)
            .ok()
            .filter(|value| !self.negative && *value < 1_000_000)
    }
}

/// One thing that printed digits may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub value: Decimal,
    /// Whether it is what they mean, as far as the document shows.
    pub sure: bool,
}

/// What digits with separators and nothing else may mean: `1,234.50`, `1.234,50`, `1 234,50`,
/// `1'234.50`. One sign before three digits is read by the document's habit. Without one a comma
/// is taken to part thousands, while a point leaves both readings open. Empty for what is no
/// number, such as `12.05.2024`.
pub fn readings(body: &str, habit: Option<Habit>) -> Vec<Reading> {
    let body = body.replace(['\'', '’', '\u{a0}', '\u{202f}'], " ");
    let (points, commas) = (body.matches('.').count(), body.matches(',').count());
    let sure = |value: Option<Decimal>| value.map(|value| Reading { value, sure: true });
    match (points, commas) {
        (1, 0) | (0, 1) => one_sign(&body, if points == 1 { '.' } else { ',' }, habit),
        (_, 0) | (0, _) => sure(whole(&body)).into_iter().collect(),
        _ => {
            let sign = if body.rfind('.') > body.rfind(',') {
                '.'
            } else {
                ','
            };
            let single = body.matches(sign).count() == 1;
            let value = if single { parted(&body, sign) } else { None };
            sure(value).into_iter().collect()
        }
    }
}

fn one_sign(body: &str, sign: char, habit: Option<Habit>) -> Vec<Reading> {
    let Some((before, after)) = body.split_once(sign) else {
        return Vec::new();
    };
    let decimal = parted(body, sign);
    let open = after.len() == 3 && (1..=3).contains(&before.len()) && !before.starts_with('0');
    let thousands = if open { whole(body) } else { None };
    let decimal_sign = habit.map(|habit| match habit {
        Habit::Point => '.',
        Habit::Comma => ',',
    });
    let (decimal_sure, thousands_sure) = match (thousands, decimal_sign) {
        (None, _) => (true, false),
        (Some(_), Some(known)) => (known == sign, known != sign),
        (Some(_), None) => (false, sign == ','),
    };
    let reading = |value: Option<Decimal>, sure| value.map(|value| Reading { value, sure });
    reading(decimal, decimal_sure)
        .into_iter()
        .chain(reading(thousands, thousands_sure))
        .collect()
}

/// Digits with grouping signs only.
fn whole(body: &str) -> Option<Decimal> {
    if !is_grouped(body) {
        return None;
    }
    let digits: String = body.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    Decimal::of_digits(&digits, 0)
}

/// Digits with decimals behind `sign`.
fn parted(body: &str, sign: char) -> Option<Decimal> {
    let at = body.rfind(sign)?;
    let (before, after) = (&body[..at], &body[at + 1..]);
    if after.is_empty() || !after.bytes().all(|b| b.is_ascii_digit()) || !is_grouped(before) {
        return None;
    }
    let digits: String = before.chars().filter(char::is_ascii_digit).collect();
    Decimal::of_digits(&format!("{digits}{after}"), after.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, habit: Option<Habit>) -> Vec<(Decimal, bool)> {
        readings(body, habit)
            .into_iter()
            .map(|reading| (reading.value, reading.sure))
            .collect()
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn every_habit_gives_the_same_number() {
        for body in ["1,234.50", "1.234,50", "1 234,50", "1'234.5", "1234.50"] {
            assert_eq!(read(body, None), [(decimal("1234.5"), true)], "{body}");
        }
        assert_eq!(read("12,345,678", None), [(decimal("12345678"), true)]);
    }

    #[test]
    fn one_point_before_three_digits_is_open_unless_the_document_decides() {
        let (thousand, fraction) = (decimal("1234"), decimal("1.234"));
        assert_eq!(read("1.234", None), [(fraction, false), (thousand, false)]);
        assert_eq!(
            read("1.234", Some(Habit::Comma)),
            [(fraction, false), (thousand, true)]
        );
        assert_eq!(
            read("1.234", Some(Habit::Point)),
            [(fraction, true), (thousand, false)]
        );
        assert_eq!(read("1,234", None), [(fraction, false), (thousand, true)]);
        assert_eq!(read("0.125", None), [(decimal("0.125"), true)]);
    }

    #[test]
    fn what_is_no_number_has_no_reading() {
        for body in ["12.05.2024", "1,23,4", "1.2.3", "", "1.", "1,234,56"] {
            assert_eq!(read(body, None), [], "{body}");
        }
    }

    #[test]
    fn a_misread_number_differs_in_one_digit() {
        let all = decimal("120").misread();
        for text in ["130", "920", "121", "120.5", "120.07", "20"] {
            assert!(all.contains(&decimal(text)), "{text}");
        }
        for text in ["120", "131", "1200", "12"] {
            assert!(!all.contains(&decimal(text)), "{text}");
        }
        assert!(decimal("1e30").misread().len() > 200);
    }

    #[test]
    fn sums_are_exact() {
        let number = |text: &str| Decimal::parse(text).unwrap();
        for (a, b, sum) in [
            ("0.1", "0.2", "0.3"),
            ("12.50", "-12.5", "0"),
            ("99999999999999999.99", "0.01", "100000000000000000"),
            ("-3", "1.25", "-1.75"),
        ] {
            assert_eq!(number(a).plus(number(b)), Some(number(sum)), "{a} + {b}");
        }
        assert_eq!(number("1e300").plus(number("1")), None);
    }

    #[test]
    fn long_numbers_that_differ_in_one_digit_differ() {
        assert_ne!(decimal("9007199254740993"), decimal("9007199254740992"));
        assert_eq!(decimal("1e3"), decimal("1000.0"));
        assert_eq!(decimal("0.0"), decimal("-0"));
        assert_eq!(decimal("1.5").shifted(6), decimal("1500000"));
    }
}
