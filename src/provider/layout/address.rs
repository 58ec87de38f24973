//! Addresses: lines with a street, a postcode and a town.

use super::lexicon::lexicon;
use super::page::Span;
use super::text::{fold, pattern};

#[derive(Debug, Clone, Default)]
pub(super) struct Address {
    /// Lines above the street.
    pub name: Vec<Span>,
    pub street: Option<Span>,
    pub postcode: Option<Part>,
    pub city: Option<Part>,
    pub state: Option<Part>,
    pub country: Option<Part>,
}

/// A piece of text cut out of words.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub text: String,
    pub span: Span,
}

pattern!(
    CITY_AFTER = r"^(?:(?P<c>[A-Z]{1,3})[- ]+)?(?P<z>\d{4,5}|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})[ ,]+(?P<t>\p{L}[\p{L} .'’()/-]{1,40})$"
);

pattern!(
    CITY_BEFORE =
        r"^(?P<t>\p{L}[\p{L} .'’-]{1,40}?),?\s+(?P<s>[A-Z]{2})\.?,?\s+(?P<z>\d{5}(?:-\d{4})?)$"
);

pattern!(
    STREET = r"(?i)^(?:\d{1,5}[a-z]?\b.*\p{L}|.*\p{L}.*\s\d{1,4}\s?[a-z]?(?:[-/]\d+)?$|p\.?\s?o\.?\s?box.*)"
);

/// `Concord, NH 03301` is one part.
pub(super) fn is_state_next(words: &[&str], at: usize) -> bool {
    words.get(at + 1).is_some_and(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        lexicon().states.iter().any(|(_, short)| *short == word)
    })
}

/// ISO code of a country a text names and nothing else.
pub(super) fn country(text: &str) -> Option<&'static str> {
    let folded = fold(text.trim_matches(|c: char| !c.is_alphanumeric()));
    lexicon()
        .countries
        .iter()
        .find(|(name, _)| *name == folded)
        .map(|(_, code)| *code)
}

pub(super) struct CityLine {
    pub country: Option<String>,
    pub postcode: String,
    pub city: String,
    pub state: Option<String>,
}

pub(super) fn city_line(text: &str) -> Option<CityLine> {
    let text = text.trim().trim_end_matches([',', '.', ';']);
    if text.len() > 70 {
        return None;
    }
    if let Some(c) = CITY_BEFORE.captures(text) {
        let state = c["s"].to_owned();
        if lexicon().states.iter().any(|(_, short)| *short == state) {
            return Some(CityLine {
                country: None,
                postcode: c["z"].to_owned(),
                city: c["t"].trim().to_owned(),
                state: Some(state),
            });
        }
    }
    let c = CITY_AFTER.captures(text)?;
    let country = c.name("c").map(|m| m.as_str().to_owned());
    let known = country.as_ref().is_none_or(|code| {
        matches!(code.as_str(), "D" | "F" | "A" | "CH" | "I" | "B" | "L")
            || lexicon().countries.iter().any(|(_, iso)| iso == code)
    });
    known.then(|| CityLine {
        country,
        postcode: c["z"].to_owned(),
        city: c["t"].trim().to_owned(),
        state: None,
    })
}

/// Whether a line is a street with a number, or a box.
pub(super) fn is_street(text: &str) -> bool {
    STREET.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_postcode_and_town_are_known() {
        for (text, postcode, city) in [
            ("DE 99199 MUSTERHAUSEN", "99199", "MUSTERHAUSEN"),
            ("84340 Malaucène", "84340", "Malaucène"),
            ("Denver, CO 80202", "80202", "Denver"),
            ("GB SW1B 3BN London", "SW1B 3BN", "London"),
            ("New York, NY 10018-1234", "10018-1234", "New York"),
        ] {
            let read = city_line(text).unwrap();
            assert_eq!(
                (read.postcode.as_str(), read.city.as_str()),
                (postcode, city),
                "{text}"
            );
        }
        for text in ["Total 12345", "2024", "31157", "Invoice, XX 12345 more"] {
            assert!(city_line(text).is_none(), "{text}");
        }
    }

    #[test]
    fn streets_carry_a_number() {
        for text in [
            "BAHNHOFSTRASSE 99",
            "35 rue de la République",
            "153 Victoria Street",
            "PO Box 809171",
        ] {
            assert!(STREET.is_match(text), "{text}");
        }
        assert!(!STREET.is_match("Max Mustermann"));
    }
}
