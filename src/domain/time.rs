//! Moments in milliseconds, shown as RFC 3339 UTC.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z. Serialized as RFC 3339 with three decimals and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub i64);

impl Time {
    /// Reads a moment as RFC 3339 has it, or the first one of a day, `YYYY-MM-DD`, in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let midnight = || {
            let day = (text.len() == 10).then(|| text.parse::<Date>().ok())??;
            day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp())
        };
        let moment = text.parse::<Timestamp>().ok().or_else(midnight)?;
        Some(Self(moment.as_millisecond()))
    }

    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis))
    }

    pub fn plus(self, duration: Duration) -> Self {
        self.plus_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds from `earlier` to here; 0 when it lies after.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::MAX);
        write!(f, "{moment:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Timestamp>()
            .map(|moment| Self(moment.as_millisecond()))
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_or_a_day_is_read_and_nothing_else() {
        let day = Time::parse("2025-11-21").unwrap();
        assert_eq!(day.to_string(), "2025-11-21T00:00:00.000Z");
        assert_eq!(Time::parse("2025-11-21T01:00:00+01:00"), Some(day));
        for bad in [
            "",
            "2025-11-31",
            "2025-11",
            "20251121",
            "yesterday",
            "1763762400",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_written_with_three_decimals_and_read_back() {
        let time = Time(1_763_762_400_000);
        assert_eq!(time.to_string(), "2025-11-21T22:00:00.000Z");
        let text = serde_json::to_string(&time.plus_millis(7)).unwrap();
        assert_eq!(text, "\"2025-11-21T22:00:00.007Z\"");
        assert_eq!(
            serde_json::from_str::<Time>(&text).unwrap(),
            time.plus_millis(7)
        );
    }
}
