//! The words of documents, read from the table `lexicon.txt`.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::text::{key, tokens};

/// The table as lists.
#[derive(Default)]
pub(super) struct Lexicon {
    /// Labels that mean the same, the most telling first.
    pub rings: Vec<Vec<&'static str>>,
    /// Words that turn the meaning of a label they are added to.
    pub turns: Vec<&'static str>,
    /// How rows begin that sum up a table.
    pub sums: Vec<&'static str>,
    /// The same, but only of rows with a single figure.
    pub weak_sums: Vec<&'static str>,
    /// Headings of the blocks of parties, as keys of their tokens.
    parties: HashSet<String>,
    /// Words of the titles of papers.
    pub titles: Vec<&'static str>,
    pub senders: Vec<&'static str>,
    pub receivers: Vec<&'static str>,
    pub legal_forms: Vec<&'static str>,
    pub yes: Vec<&'static str>,
    pub no: Vec<&'static str>,
    /// Folded names with ISO 3166 codes.
    pub countries: Vec<(&'static str, &'static str)>,
    /// Folded names of states of the USA with their postal codes.
    pub states: Vec<(&'static str, &'static str)>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| parse(include_str!("lexicon.txt")));

/// The words of documents.
pub(super) fn lexicon() -> &'static Lexicon {
    &LEXICON
}

fn parse(table: &'static str) -> Lexicon {
    let mut lexicon = Lexicon::default();
    let mut parties: Vec<&str> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let Some((kind, entries)) = line.split_once(": ") else {
            continue;
        };
        let entries = entries.split(" | ").map(str::trim);
        let pairs = || entries.clone().filter_map(|entry| entry.split_once(" = "));
        match kind {
            "ring" => lexicon.rings.push(entries.collect()),
            "turn" => lexicon.turns.extend(entries),
            "sum" => lexicon.sums.extend(entries),
            "weak sum" => lexicon.weak_sums.extend(entries),
            "party" => parties.extend(entries),
            "title" => lexicon.titles.extend(entries),
            "sender" => lexicon.senders.extend(entries),
            "receiver" => lexicon.receivers.extend(entries),
            "legal form" => lexicon.legal_forms.extend(entries),
            "yes" => lexicon.yes.extend(entries),
            "no" => lexicon.no.extend(entries),
            "country" => lexicon.countries.extend(pairs()),
            "state" => lexicon.states.extend(pairs()),
            _ => {}
        }
    }
    let plain = |entry: &&str| key(&tokens(entry));
    let rings = lexicon
        .rings
        .iter()
        .filter(|ring| ring.iter().take(3).any(|entry| parties.contains(entry)));
    lexicon.parties = rings.flatten().map(plain).collect();
    lexicon
}

impl Lexicon {
    /// Whether the tokens head the block of a party.
    pub(super) fn is_party(&self, tokens: &[String]) -> bool {
        self.parties.contains(&key(tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        for line in include_str!("lexicon.txt").lines() {
            let kind = line.split(": ").next().unwrap_or_default();
            let known = [
                "ring",
                "turn",
                "sum",
                "weak sum",
                "party",
                "sender",
                "receiver",
                "title",
                "legal form",
                "yes",
                "no",
                "country",
                "state",
            ]
            .contains(&kind);
            assert!(line.is_empty() || line.starts_with('#') || known, "{line}");
        }
        let lexicon = lexicon();
        assert!(lexicon.rings.len() > 80 && lexicon.rings.iter().all(|ring| ring.len() > 1));
        assert_eq!(lexicon.states.len(), 51);
    }
}
