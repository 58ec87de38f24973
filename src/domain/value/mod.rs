//! Values as documents print them: dates and numbers in the habits of several languages.

pub mod date;
pub mod decimal;
pub mod number;

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A regular expression compiled on first use. One that does not compile never matches; a test
/// holds every pattern of this module tree to compiling.
pub struct Pattern(LazyLock<Option<Regex>>);

impl Pattern {
    pub const fn new(compile: fn() -> Option<Regex>) -> Self {
        Self(LazyLock::new(compile))
    }

    pub fn get(&self) -> Option<&Regex> {
        self.0.as_ref()
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.get().is_some_and(|regex| regex.is_match(text))
    }

    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.get()?.captures(text)
    }
}

/// Declares a [`Pattern`].
macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident = $source:expr) => {
        $(#[$doc])*
        static $name: $crate::domain::value::Pattern =
            $crate::domain::value::Pattern::new(|| regex::Regex::new($source).ok());
    };
}
pub(crate) use pattern;

/// Lower case without accents; typographic dashes and quotes made plain.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        fold_char(c, &mut out);
    }
    out
}

fn fold_char(c: char, out: &mut String) {
    let plain = match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'ì'..='ï' | 'ī' | 'į' => "i",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ß' => "ss",
        'š' | 'ś' => "s",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ž' | 'ź' | 'ż' => "z",
        'ł' => "l",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        '’' | '‘' | '´' | '`' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '‐'..='―' | '−' => "-",
        '\u{a0}' | '\u{202f}' | '\u{2009}' => " ",
        '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200d}' => "",
        other => return out.push(other),
    };
    out.push_str(plain);
}
