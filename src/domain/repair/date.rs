//! Dates as printed in English, German and French, where there is one reading.

const MONTHS: [(&str, u32); 57] = [
    ("january", 1),
    ("jan", 1),
    ("januar", 1),
    ("jänner", 1),
    ("janvier", 1),
    ("janv", 1),
    ("february", 2),
    ("feb", 2),
    ("februar", 2),
    ("février", 2),
    ("fevrier", 2),
    ("févr", 2),
    ("fév", 2),
    ("march", 3),
    ("mar", 3),
    ("märz", 3),
    ("maerz", 3),
    ("mär", 3),
    ("mrz", 3),
    ("mars", 3),
    ("april", 4),
    ("apr", 4),
    ("avril", 4),
    ("avr", 4),
    ("may", 5),
    ("mai", 5),
    ("june", 6),
    ("jun", 6),
    ("juni", 6),
    ("juin", 6),
    ("july", 7),
    ("jul", 7),
    ("juli", 7),
    ("juillet", 7),
    ("juil", 7),
    ("august", 8),
    ("aug", 8),
    ("août", 8),
    ("aout", 8),
    ("september", 9),
    ("sept", 9),
    ("sep", 9),
    ("septembre", 9),
    ("october", 10),
    ("oct", 10),
    ("oktober", 10),
    ("okt", 10),
    ("octobre", 10),
    ("november", 11),
    ("nov", 11),
    ("novembre", 11),
    ("december", 12),
    ("dec", 12),
    ("dezember", 12),
    ("dez", 12),
    ("décembre", 12),
    ("déc", 12),
];

/// The day that a text is, as `YYYY-MM-DD`, if there is one reading of it.
///
/// `05/06/2024` has two, and so has a year of two digits. A day before a dot comes first.
pub fn iso(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    let text = without_midnight(text);
    let (year, month, day) = numeric(text).or_else(|| in_words(text))?;
    is_day(year, month, day).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// A moment that only says the day.
fn without_midnight(text: &str) -> &str {
    let Some((day, time)) = text.split_once(['T', ' ']) else {
        return text;
    };
    if ["00:00", "00:00:00", "00:00:00Z", "00:00:00.000Z"].contains(&time) {
        day
    } else {
        text
    }
}

fn number(text: &str, widths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (widths.contains(&text.len()) && is_digits)
        .then(|| text.parse().ok())
        .flatten()
}

fn numeric(text: &str) -> Option<(u32, u32, u32)> {
    let sign = text.chars().find(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = text.split(sign).map(str::trim).collect();
    let [first, second, third] = parts[..] else {
        return None;
    };
    if let Some(year) = number(first, 4..=4) {
        return Some((year, number(second, 1..=2)?, number(third, 1..=2)?));
    }
    let year = number(third, 4..=4)?;
    let (first, second) = (number(first, 1..=2)?, number(second, 1..=2)?);
    match (first, second) {
        (day, month) if sign == '.' => Some((year, month, day)),
        (day, month) if day > 12 || day == month => Some((year, month, day)),
        (month, day) if day > 12 => Some((year, month, day)),
        _ => None,
    }
}

fn in_words(text: &str) -> Option<(u32, u32, u32)> {
    let folded = text.to_lowercase();
    let is_between = |c: char| c.is_whitespace() || [',', '-', '.', '/'].contains(&c);
    let parts: Vec<&str> = folded
        .split(is_between)
        .filter(|part| !part.is_empty() && *part != "of")
        .collect();
    let [first, second, third] = parts[..] else {
        return None;
    };
    let month = |name: &str| {
        let found = MONTHS.iter().find(|(known, _)| *known == name);
        found.map(|(_, month)| *month)
    };
    let year = number(third, 4..=4)?;
    match (month(first), month(second)) {
        (Some(month), None) => Some((year, month, day(second)?)),
        (None, Some(month)) => Some((year, month, day(first)?)),
        _ => None,
    }
}

/// A day with or without the ending of an ordinal.
fn day(text: &str) -> Option<u32> {
    let endings = ["st", "nd", "rd", "th", "er"];
    let digits = endings.iter().find_map(|ending| text.strip_suffix(ending));
    number(digits.unwrap_or(text), 1..=2)
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let last = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    year >= 1000 && (1..=last).contains(&day)
}
