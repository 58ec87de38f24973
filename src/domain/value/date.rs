//! Dates as printed, in English, German and French.

use regex::Captures;

use super::{Pattern, fold, pattern};

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

/// Which comes first in `05/12/2024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    DayFirst,
    MonthFirst,
}

impl Date {
    /// `None` when the calendar has no such day.
    pub fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        ((1..=last).contains(&day) && (1000..=2999).contains(&year)).then_some(Self {
            year,
            month,
            day,
        })
    }

    /// Every day of the calendar that is written with one digit different.
    pub fn misread(self) -> Vec<Self> {
        let digits = self.iso();
        let places = digits.char_indices().filter(|(_, c)| c.is_ascii_digit());
        places
            .flat_map(|(at, old)| {
                let others = ('0'..='9').filter(move |new| *new != old);
                let digits = &digits;
                others.map(move |new| format!("{}{new}{}", &digits[..at], &digits[at + 1..]))
            })
            .filter_map(|text| {
                let part = |range: std::ops::Range<usize>| text[range].parse::<u32>().ok();
                Self::new(part(0..4)? as i32, part(5..7)?, part(8..10)?)
            })
            .collect()
    }

    /// `YYYY-MM-DD`
    pub fn iso(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

const MONTHS: &[(&str, u32)] = &[
    ("jan", 1),
    ("feb", 2),
    ("fev", 2),
    ("mar", 3),
    ("mrz", 3),
    ("maerz", 3),
    ("apr", 4),
    ("avr", 4),
    ("may", 5),
    ("mai", 5),
    ("jun", 6),
    ("juin", 6),
    ("juil", 7),
    ("jul", 7),
    ("aug", 8),
    ("aou", 8),
    ("sep", 9),
    ("oct", 10),
    ("okt", 10),
    ("nov", 11),
    ("dec", 12),
    ("dez", 12),
];

/// All the ways a month is written, folded.
const NAMES: &str = r"(?:january|february|march|april|may|june|july|august|september|october|november|december|januar|februar|marz|maerz|mai|juni|juli|oktober|dezember|janner|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|novembre|decembre|jan|feb|fev|fevr|mar|mrz|apr|avr|jun|jul|juil|aug|sept|sep|okt|oct|nov|dec|dez)";

fn month(name: &str) -> Option<u32> {
    // "juin" and "juil" before "jul" and "jun": the first three letters do not tell them apart.
    MONTHS
        .iter()
        .filter(|(start, _)| name.starts_with(start))
        .max_by_key(|(start, _)| start.len())
        .map(|(_, month)| *month)
}

pattern!(ISO = r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:\b|t)");
pattern!(NUMERIC = r"\b(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})\b");
pattern!(
    DAY_NAME = &format!(
        r"\b(\d{{1,2}})(?:st|nd|rd|th|er|\.)?(?:\s+day)?(?:\s+of)?(?:\s+|-)?({NAMES})[.,]?(?:\s+|-)?,?\s*(\d{{4}}|\d{{2}})\b"
    )
);
pattern!(
    NAME_DAY = &format!(
        r"\b({NAMES})\.?\s*(\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,\s*|\s+|/)(\d{{4}}|\d{{2}})\b"
    )
);

/// A date and where in the folded text it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub date: Date,
    /// What the same figures say with day and month the other way round.
    pub other: Option<Date>,
    /// Whether the century is a guess.
    pub short_year: bool,
    pub start: usize,
    pub end: usize,
}

fn year(text: &str) -> Option<i32> {
    let year: i32 = text.parse().ok()?;
    Some(match text.len() {
        2 if year < 70 => 2000 + year,
        2 => 1900 + year,
        _ => year,
    })
}

/// What the groups of a pattern say: the date, and the date in the other order.
type Reading<'r> = &'r dyn Fn(&Captures<'_>) -> Option<(Date, Option<Date>)>;

/// Every date in a folded text from left to right, none over another.
pub fn scan(text: &str, order: Order) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let readings: [(&Pattern, usize, Reading<'_>); 4] = [
        (&ISO, 1, &|c| {
            let date = Date::new(year(&c[1])?, number(&c[2]), number(&c[3]))?;
            Some((date, None))
        }),
        (&NAME_DAY, 3, &|c| {
            let date = Date::new(year(&c[3])?, month(&c[1])?, number(&c[2]))?;
            Some((date, None))
        }),
        (&DAY_NAME, 3, &|c| {
            let date = Date::new(year(&c[3])?, month(&c[2])?, number(&c[1]))?;
            Some((date, None))
        }),
        (&NUMERIC, 4, &|c| {
            let (a, b, year) = (number(&c[1]), number(&c[3]), year(&c[4])?);
            let fixed = &c[2] == ".";
            let day_first = fixed || order == Order::DayFirst;
            let (day, month) = if day_first { (a, b) } else { (b, a) };
            match (Date::new(year, month, day), Date::new(year, day, month)) {
                (Some(date), other) => Some((date, other.filter(|other| !fixed && *other != date))),
                (None, other) => other.map(|date| (date, None)),
            }
        }),
    ];
    for (pattern, years, read) in readings {
        for c in pattern
            .get()
            .into_iter()
            .flat_map(|regex| regex.captures_iter(text))
        {
            if let (Some((date, other)), Some(whole)) = (read(&c), c.get(0)) {
                all.push(Found {
                    date,
                    other,
                    short_year: c.get(years).is_some_and(|year| year.len() == 2),
                    start: whole.start(),
                    end: whole.end(),
                });
            }
        }
    }
    all.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
    let mut end = 0;
    all.retain(|found| {
        let free = found.start >= end;
        if free {
            end = found.end;
        }
        free
    });
    all
}

/// Every date in the words, with the first and last word it stands on.
pub fn find(words: &[&str], order: Order) -> Vec<(Date, usize, usize)> {
    if !words
        .iter()
        .any(|word| word.contains(|c: char| c.is_ascii_digit()))
    {
        return Vec::new();
    }
    let mut text = String::new();
    let mut ends = Vec::with_capacity(words.len());
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&fold(word));
        ends.push(text.len());
    }
    let word_at = |byte: usize| ends.partition_point(|end| *end <= byte);
    scan(&text, order)
        .into_iter()
        .map(|found| {
            (
                found.date,
                word_at(found.start),
                word_at(found.end.saturating_sub(1)),
            )
        })
        .collect()
}

/// What the document shows about the order of day and month: `None` when nothing decides it.
pub fn order<'t>(words: impl Iterator<Item = &'t str>) -> Option<Order> {
    let (mut days, mut months) = (0usize, 0usize);
    for word in words.filter(|word| (6..=24).contains(&word.len())) {
        if word.eq_ignore_ascii_case("mm/dd/yyyy") || word.eq_ignore_ascii_case("(mm/dd/yyyy):") {
            months += 100;
        } else if word.eq_ignore_ascii_case("dd/mm/yyyy") {
            days += 100;
        }
        let Some(c) = NUMERIC.captures(word) else {
            continue;
        };
        let (a, b) = (c[1].parse().unwrap_or(0), c[3].parse().unwrap_or(0));
        match (&c[2], a, b) {
            (".", _, _) => {}
            (_, 13..=31, 1..=12) => days += 1,
            (_, 1..=12, 13..=31) => months += 1,
            _ => {}
        }
    }
    match days.cmp(&months) {
        std::cmp::Ordering::Greater => Some(Order::DayFirst),
        std::cmp::Ordering::Less => Some(Order::MonthFirst),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, order: Order) -> Option<String> {
        let words: Vec<&str> = text.split(' ').collect();
        find(&words, order).first().map(|(date, _, _)| date.iso())
    }

    #[test]
    fn dates_are_read_in_every_common_form() {
        for text in [
            "2024-05-12",
            "12.05.2024",
            "12.5.24",
            "May 12, 2024",
            "May 12 2024",
            "12 May 2024",
            "12. Mai 2024",
            "12 mai 2024",
            "12th day of May, 2024",
            "MAY 12, 2024",
            "May12/24",
            "12-May-2024",
            "2024/05/12",
            "2024-05-12T10:00:00Z",
        ] {
            assert_eq!(
                one(text, Order::MonthFirst).as_deref(),
                Some("2024-05-12"),
                "{text}"
            );
        }
        assert_eq!(
            one("3 août 2017", Order::DayFirst).as_deref(),
            Some("2017-08-03")
        );
        assert_eq!(
            one("1. März 2017", Order::DayFirst).as_deref(),
            Some("2017-03-01")
        );
        assert_eq!(
            one("1er juillet 2017", Order::DayFirst).as_deref(),
            Some("2017-07-01")
        );
    }

    #[test]
    fn slashes_follow_the_order_unless_only_the_other_is_possible() {
        assert_eq!(
            one("05/12/2024", Order::MonthFirst).as_deref(),
            Some("2024-05-12")
        );
        assert_eq!(
            one("05/12/2024", Order::DayFirst).as_deref(),
            Some("2024-12-05")
        );
        assert_eq!(
            one("22/08/2025", Order::MonthFirst).as_deref(),
            Some("2025-08-22")
        );
    }

    #[test]
    fn a_day_that_is_not_in_the_calendar_is_no_date() {
        for text in [
            "31.02.2024",
            "2024-13-01",
            "99/99/2024",
            "1.234.567",
            "Mayor 12",
        ] {
            assert_eq!(one(text, Order::DayFirst), None, "{text}");
        }
    }

    #[test]
    fn a_range_gives_both_dates_with_their_words() {
        let words = ["02/26/20", "-", "03/03/20", "Cash"];
        let found: Vec<_> = find(&words, Order::MonthFirst)
            .into_iter()
            .map(|(date, first, last)| (date.iso(), first, last))
            .collect();
        assert_eq!(
            found,
            [("2020-02-26".into(), 0, 0), ("2020-03-03".into(), 2, 2)]
        );
    }

    #[test]
    fn the_document_decides_the_order() {
        assert_eq!(
            order(["22/08/2025", "01/02/2025"].into_iter()),
            Some(Order::DayFirst)
        );
        assert_eq!(order(["12/31/2025"].into_iter()), Some(Order::MonthFirst));
        assert_eq!(order(["01/02/2025"].into_iter()), None);
    }
}
