//! The forms that values of settings have: how they are read, and what is allowed.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::blob::bucket::SCHEMES;
use crate::store::postgres;

/// How the value of a setting is written.
pub trait Form: Sync {
    type Value;

    /// `None` when the text is not allowed.
    fn read(&self, text: &str) -> Option<Self::Value>;

    /// What is allowed, in words that follow "Allowed is".
    fn allowed(&self) -> String;

    /// Stands for the value in a command line.
    fn placeholder(&self) -> &'static str;

    /// The text as it may be shown.
    fn shown(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Address and port.
pub struct Address;

impl Form for Address {
    type Value = SocketAddr;

    fn read(&self, text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; port 0 takes a free one"
            .into()
    }

    fn placeholder(&self) -> &'static str {
        "ADDR:PORT"
    }
}

/// A folder, relative to the working directory.
pub struct Folder;

impl Form for Folder {
    type Value = PathBuf;

    fn read(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn allowed(&self) -> String {
        "the path of a folder; it is created".into()
    }

    fn placeholder(&self) -> &'static str {
        "DIR"
    }
}

/// The address of a database, or nothing.
pub struct Database;

impl Form for Database {
    type Value = Option<Secret>;

    fn read(&self, text: &str) -> Option<Self::Value> {
        if text.is_empty() {
            return Some(None);
        }
        let place = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))?;
        (!place.is_empty()).then(|| Some(Secret(text.to_owned())))
    }

    fn allowed(&self) -> String {
        "postgres://USER:PASSWORD@HOST:PORT/DATABASE, over TLS unless the host is this machine or sslmode=disable is added".into()
    }

    fn placeholder(&self) -> &'static str {
        "URL"
    }

    fn shown(&self, text: &str) -> String {
        postgres::redacted(text)
    }
}

/// Text that is not printed by mistake.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The address of a bucket, or nothing.
pub struct Bucket;

impl Form for Bucket {
    type Value = Option<String>;

    fn read(&self, text: &str) -> Option<Self::Value> {
        if text.is_empty() {
            return Some(None);
        }
        let place = SCHEMES
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
        let has_name = !place.is_empty() && !place.starts_with('/');
        (has_name && place.chars().all(is_plain)).then(|| Some(text.to_owned()))
    }

    fn allowed(&self) -> String {
        "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, the prefix being optional and credentials coming from the usual variables, such as AWS_ACCESS_KEY_ID; or file:///FOLDER, one that all servers have mounted".into()
    }

    fn placeholder(&self) -> &'static str {
        "URL"
    }
}

/// A name that is checked later, against what is there.
pub struct Name(pub &'static str);

impl Form for Name {
    type Value = Option<String>;

    fn read(&self, text: &str) -> Option<Self::Value> {
        Some((!text.is_empty()).then(|| text.to_owned()))
    }

    fn allowed(&self) -> String {
        self.0.into()
    }

    fn placeholder(&self) -> &'static str {
        "NAME"
    }
}

/// A file that is there to be read, or nothing.
pub struct File;

impl Form for File {
    type Value = Option<PathBuf>;

    fn read(&self, text: &str) -> Option<Self::Value> {
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn allowed(&self) -> String {
        "the path of a file".into()
    }

    fn placeholder(&self) -> &'static str {
        "FILE"
    }
}

/// On or off.
pub struct Switch;

impl Form for Switch {
    type Value = bool;

    fn read(&self, text: &str) -> Option<bool> {
        match text {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        }
    }

    fn allowed(&self) -> String {
        "on or off".into()
    }

    fn placeholder(&self) -> &'static str {
        "on|off"
    }
}

/// The items of a list, or `None` when one of them is not allowed.
fn list(text: &str, item: impl Fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let items = text.split(',').map(str::trim);
    items.filter(|text| !text.is_empty()).map(item).collect()
}

/// Names of hosts, without ports, in lower case.
pub struct Hosts;

impl Form for Hosts {
    type Value = Vec<String>;

    fn read(&self, text: &str) -> Option<Vec<String>> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']');
        let is_host = |text: &str| text.chars().all(|c| is_name(c) || c == ':');
        list(text, |host| {
            let has_port = !host.starts_with('[') && host.contains(':');
            (is_host(host) && !has_port).then(|| host.to_ascii_lowercase())
        })
    }

    fn allowed(&self) -> String {
        "host names without a port, separated by commas, such as extract.example.com".into()
    }

    fn placeholder(&self) -> &'static str {
        "HOSTS"
    }
}

/// Origins of web pages, as browsers send them.
pub struct Origins;

impl Form for Origins {
    type Value = Vec<String>;

    fn read(&self, text: &str) -> Option<Vec<String>> {
        list(text, |origin| {
            let origin = origin.to_ascii_lowercase();
            let (scheme, host) = origin.split_once("://")?;
            let has_host = !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']);
            (matches!(scheme, "http" | "https") && has_host).then_some(origin)
        })
    }

    fn allowed(&self) -> String {
        "origins separated by commas, each a scheme, a host and, when it is not the usual one, a port, such as https://app.example.com".into()
    }

    fn placeholder(&self) -> &'static str {
        "ORIGINS"
    }
}

/// What the digits of a number count, and the suffixes that may stand behind them.
pub enum Unit {
    Things,
    Bytes,
    Seconds,
}

impl Unit {
    fn suffixes(&self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Things => &[],
            Self::Bytes => &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
            Self::Seconds => &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)],
        }
    }

    /// The number with the largest suffix that leaves it whole.
    fn show(&self, number: u64) -> String {
        let fit = |(_, of): &&(&str, u64)| number > 0 && number.is_multiple_of(*of);
        match self.suffixes().iter().rev().find(fit) {
            Some((suffix, of)) => format!("{}{suffix}", number / of),
            None => number.to_string(),
        }
    }
}

/// A whole number within limits, which are allowed themselves.
pub struct Number {
    pub unit: Unit,
    pub low: u64,
    pub high: u64,
}

impl Form for Number {
    type Value = u64;

    fn read(&self, text: &str) -> Option<u64> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, suffix) = (&text[..end], text[end..].trim_start());
        let of = match suffix {
            "" => 1,
            _ => {
                self.unit
                    .suffixes()
                    .iter()
                    .find(|(name, _)| *name == suffix)?
                    .1
            }
        };
        let number = digits.parse::<u64>().ok()?.checked_mul(of)?;
        (self.low..=self.high).contains(&number).then_some(number)
    }

    fn allowed(&self) -> String {
        let (low, high) = (self.unit.show(self.low), self.unit.show(self.high));
        match self.unit {
            Unit::Things => format!("a whole number from {low} to {high}"),
            Unit::Bytes => {
                format!("a number of bytes from {low} to {high}, such as 65536 or 64KiB")
            }
            Unit::Seconds => format!(
                "a time from {low} to {high}, such as 90s, 30m, 12h or 7d; a bare number is seconds"
            ),
        }
    }

    fn placeholder(&self) -> &'static str {
        match self.unit {
            Unit::Things => "N",
            Unit::Bytes => "BYTES",
            Unit::Seconds => "TIME",
        }
    }
}

/// A time after which something goes, or `never`.
pub struct Lifetime;

impl Lifetime {
    const RANGE: Number = Number {
        unit: Unit::Seconds,
        low: 60,
        high: 3_650 * 86_400,
    };
}

impl Form for Lifetime {
    type Value = Option<Duration>;

    fn read(&self, text: &str) -> Option<Option<Duration>> {
        if text == "never" {
            return Some(None);
        }
        let seconds = Self::RANGE.read(text)?;
        Some(Some(Duration::from_secs(seconds)))
    }

    fn allowed(&self) -> String {
        format!("never, or {}", Self::RANGE.allowed())
    }

    fn placeholder(&self) -> &'static str {
        "TIME"
    }
}

/// A number of threads, or `auto`: one for each core, but not more than a few.
pub struct Threads {
    pub high: u64,
    pub auto_high: usize,
}

impl Form for Threads {
    type Value = usize;

    fn read(&self, text: &str) -> Option<usize> {
        if text == "auto" {
            let cores = available_parallelism().map_or(1, NonZeroUsize::get);
            return Some(cores.min(self.auto_high));
        }
        let range = Number {
            unit: Unit::Things,
            low: 1,
            high: self.high,
        };
        range.read(text).map(|number| number as usize)
    }

    fn allowed(&self) -> String {
        format!(
            "a whole number from 1 to {}, or auto: one for each core, at most {}",
            self.high, self.auto_high
        )
    }

    fn placeholder(&self) -> &'static str {
        "N"
    }
}

/// Directives of a log filter.
pub struct Filter;

impl Form for Filter {
    type Value = String;

    fn read(&self, text: &str) -> Option<String> {
        EnvFilter::builder()
            .parse(text)
            .ok()
            .map(|_| text.to_owned())
    }

    fn allowed(&self) -> String {
        "error, warn, info, debug, trace or off, also by module, such as warn,rivulet::engine=debug"
            .into()
    }

    fn placeholder(&self) -> &'static str {
        "FILTER"
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One of [`LogFormat`].
pub struct Format;

impl Form for Format {
    type Value = LogFormat;

    fn read(&self, text: &str) -> Option<LogFormat> {
        match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }

    fn allowed(&self) -> String {
        "text or json".into()
    }

    fn placeholder(&self) -> &'static str {
        "FORMAT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_allowed_and_what_lies_beyond_is_not() {
        let range = Number {
            unit: Unit::Things,
            low: 2,
            high: 30,
        };
        let read = |text| range.read(text);
        assert_eq!((read("2"), read("30")), (Some(2), Some(30)));
        for text in [
            "1",
            "31",
            "",
            "-2",
            "+2",
            "2.0",
            "2 x",
            "3s",
            "99999999999999999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn suffixes_multiply_and_overflow_is_refused() {
        let bytes = Number {
            unit: Unit::Bytes,
            low: 0,
            high: u64::MAX,
        };
        assert_eq!(bytes.read("50MiB"), Some(52_428_800));
        assert_eq!(bytes.read("50 MiB"), Some(52_428_800));
        assert_eq!(bytes.read("99999999999GiB"), None);
        let time = Number {
            unit: Unit::Seconds,
            low: 0,
            high: u64::MAX,
        };
        assert_eq!(
            (time.read("7d"), time.read("90")),
            (Some(604_800), Some(90))
        );
        assert_eq!(
            time.allowed().split(',').next(),
            Some("a time from 0 to 18446744073709551615s")
        );
    }

    #[test]
    fn no_folder_is_empty_and_an_empty_name_is_none() {
        assert!(Folder.read("").is_none() && Name("a name").read("") == Some(None));
        assert_eq!(Folder.read("a b"), Some(PathBuf::from("a b")));
    }

    #[test]
    fn a_database_is_one_of_postgresql_and_its_password_is_not_shown() {
        for good in ["postgres://u:p@h/d", "postgresql://h/d?sslmode=disable"] {
            assert!(matches!(Database.read(good), Some(Some(_))), "{good}");
        }
        for bad in ["mysql://h/d", "postgres://", "h:5432", "sqlite://a"] {
            assert!(Database.read(bad).is_none(), "{bad}");
        }
        assert!(matches!(Database.read(""), Some(None)));
        assert_eq!(Database.shown("mysql://u:secret@h/d"), "mysql://u@h/d");
        let secret = Database.read("postgres://u:secret@h/d");
        assert!(!format!("{secret:?}").contains("secret"));
    }

    #[test]
    fn a_bucket_has_a_scheme_and_a_name() {
        for good in [
            "s3://bucket",
            "gs://a-bucket/with/prefix",
            "az://container/",
            "file:///srv/files",
        ] {
            assert_eq!(Bucket.read(good), Some(Some(good.to_owned())));
        }
        for bad in ["s3://", "s3:///a", "file://a", "bucket", "s3://a b"] {
            assert_eq!(Bucket.read(bad), None, "{bad}");
        }
        assert_eq!(Bucket.read(""), Some(None));
    }

    #[test]
    fn lists_take_each_item_or_nothing() {
        let none: Option<Vec<String>> = Some(Vec::new());
        assert_eq!((Hosts.read(""), Origins.read(" , ")), (none.clone(), none));
        let hosts = Hosts.read("A.example, [::1]").unwrap();
        assert_eq!(hosts, ["a.example", "[::1]"]);
        assert!(Hosts.read("a.example:80").is_none() && Hosts.read("a/b").is_none());
        let origins = Origins
            .read("https://A.example:8443,http://localhost:3000")
            .unwrap();
        assert_eq!(origins, ["https://a.example:8443", "http://localhost:3000"]);
        for bad in [
            "*",
            "a.example",
            "https://a.example/",
            "ftp://a",
            "https://*.a",
            "null",
        ] {
            assert!(Origins.read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(Filter.read("warn,rivulet::engine=debug").is_some());
        assert!(Filter.read("rivulet=loud").is_none());
    }
}
