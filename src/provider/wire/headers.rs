//! What headers and bodies say about waiting and rates.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::header::HeaderMap;

/// The longest wait that is told apart: an absurd one is as good as this.
const LONGEST: Duration = Duration::from_hours(24);

/// The rates a provider grants a key, and what is left of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests: Quota,
    pub tokens: Quota,
}

impl Limits {
    /// `None` when nothing is known.
    pub fn known(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// How long until what is used up is there again.
    pub fn wait(&self) -> Option<Duration> {
        let used_up = [self.requests, self.tokens]
            .into_iter()
            .filter(|quota| quota.remaining == Some(0));
        used_up.filter_map(|quota| quota.reset).max()
    }
}

/// One rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// From the moment of the answer until all of it is there again.
    pub reset: Option<Duration>,
}

impl Quota {
    /// Reads three headers; what is not a number or a time is as if it were missing.
    pub fn read(headers: &HeaderMap, [limit, remaining, reset]: [&str; 3], now: Timestamp) -> Self {
        let number = |name| text(headers, name)?.parse().ok();
        Self {
            limit: number(limit),
            remaining: number(remaining),
            reset: text(headers, reset).and_then(|reset| until(reset, now)),
        }
    }
}

pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The wait that the headers ask for: milliseconds, seconds or a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis =
        text(headers, "retry-after-ms").and_then(|ms| seconds(ms.parse::<f64>().ok()? / 1e3));
    millis.or_else(|| until(text(headers, "retry-after")?, now))
}

/// A wait as a span (`31s`, `6m0s`, `1.5`) or as the moment of its end (HTTP date, RFC 3339).
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let moment = || {
        let http = || rfc2822::parse(text).ok().map(|date| date.timestamp());
        let end = text.parse::<Timestamp>().ok().or_else(http)?;
        let wait = end.duration_since(now).max(SignedDuration::ZERO);
        Some(Duration::try_from(wait).ok()?.min(LONGEST))
    };
    span(text).or_else(moment)
}

/// A span of time as providers write it: a number of seconds, or numbers with units
/// (`1h2m3.5s`, `20ms`). At most a day; `None` when it is no span.
pub fn span(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return seconds(number);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        total += number
            * match &unit[..end] {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &unit[end..];
    }
    (!text.is_empty()).then(|| seconds(total))?
}

/// The span behind the first of these phrases in a text.
pub fn span_after(text: &str, phrases: &[&str]) -> Option<Duration> {
    phrases.iter().find_map(|phrase| {
        let (_, rest) = text.split_once(phrase)?;
        let word = rest.split([' ', ',', '\n', '"']).next()?;
        span(word.trim_end_matches('.'))
    })
}

fn seconds(number: f64) -> Option<Duration> {
    let is_span = number >= 0.0;
    let wait = || Duration::try_from_secs_f64(number).unwrap_or(LONGEST);
    is_span.then(|| wait().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::wire::fixed;

    fn now() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn spans_are_read_in_every_spelling_in_use() {
        for (text, millis) in [
            ("31s", 31_000),
            ("6m0s", 360_000),
            ("1h2m3.5s", 3_723_500),
            ("20ms", 20),
            ("0", 0),
            ("1.5", 1_500),
            ("35585.72s", 35_585_720),
            ("1e300", 86_400_000),
            ("99999999999999999999", 86_400_000),
        ] {
            assert_eq!(span(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "-3s", "5 s", "soon", "NaN", "3x", "1s5"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_read_as_milliseconds_before_seconds_before_a_date() {
        let wait = |pairs: &[(&'static str, &'static str)]| {
            retry_after(&fixed(pairs), now()).map(|wait| wait.as_millis())
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(7_000));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(
            wait(&[("retry-after", "7"), ("retry-after-ms", "1250.5")]),
            Some(1_250)
        );
        assert_eq!(
            wait(&[("retry-after", "Fri, 01 May 2026 12:00:09 GMT")]),
            Some(9_000)
        );
        assert_eq!(
            wait(&[("retry-after", "Fri, 01 May 2026 11:00:00 GMT")]),
            Some(0)
        );
        assert_eq!(
            wait(&[("retry-after", "Fri, 01 May 2099 11:00:00 GMT")]),
            Some(86_400_000)
        );
        assert_eq!(wait(&[("retry-after", "tomorrow")]), None);
        assert_eq!(wait(&[("retry-after", "-5")]), None);
    }

    #[test]
    fn only_what_is_used_up_is_waited_for() {
        let names = ["l", "r", "t"];
        let quota = |left, reset| {
            Quota::read(
                &fixed(&[("l", "60"), ("r", left), ("t", reset)]),
                names,
                now(),
            )
        };
        let limits = Limits {
            requests: quota("3", "1h"),
            tokens: quota("0", "2026-05-01T12:00:04Z"),
        };
        assert_eq!(limits.requests.remaining, Some(3));
        assert_eq!(limits.wait(), Some(Duration::from_secs(4)));
        assert_eq!(
            quota("-1", "?"),
            Quota {
                limit: Some(60),
                ..Quota::default()
            }
        );
    }
}
