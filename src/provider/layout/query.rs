//! What a field is called: the labels it may stand under, from its name, title, description and
//! owners.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::label::Phrase;
use super::lexicon;
use super::schema::Field;
use super::text::{fold, key, name_words, tokens};
use super::value::Side;

/// A ring of the lexicon as tokens, with what each phrase is worth.
struct Ring {
    phrases: Vec<Phrase>,
}

struct Lexicon {
    rings: Vec<Ring>,
    /// Rings a phrase is a strong member of, with its rank there.
    members: HashMap<String, Vec<(usize, usize)>>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut lexicon = Lexicon {
        rings: Vec::new(),
        members: HashMap::new(),
    };
    for (index, phrases) in lexicon::lexicon().rings.iter().enumerate() {
        let mut ring = Ring {
            phrases: Vec::new(),
        };
        for (rank, text) in phrases.iter().enumerate() {
            let (weak, text) = text
                .strip_prefix('~')
                .map_or((false, *text), |text| (true, text));
            let tokens = distinct(tokens(text));
            if tokens.is_empty() {
                continue;
            }
            if !weak {
                let members = lexicon.members.entry(key(&tokens)).or_default();
                if members.iter().all(|(known, _)| *known != index) {
                    members.push((index, rank));
                }
            }
            let weight = if weak {
                0.62
            } else {
                (1.0 - 0.008 * rank as f32).max(0.8)
            };
            ring.phrases.push(Phrase { tokens, weight });
        }
        lexicon.rings.push(ring);
    }
    lexicon
});

fn distinct(mut tokens: Vec<String>) -> Vec<String> {
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Whether the tokens are a label known to the lexicon.
pub(super) fn is_known(tokens: &[String]) -> bool {
    LEXICON.members.contains_key(&key(tokens))
}

/// The ring a name is of, with or without its last word: whose `claimant_name` is.
pub(super) fn ring_of(name: &[String]) -> Option<usize> {
    let ring = |tokens: &[String]| {
        let members = LEXICON.members.get(&key(tokens))?;
        let best = members.iter().min_by_key(|(_, rank)| *rank)?;
        Some(best.0)
    };
    ring(name).or_else(|| ring(&without_tail(name)?))
}

/// The phrases of the rings the tokens belong to best.
fn ring_phrases(tokens: &[String]) -> Vec<&'static Phrase> {
    let Some(members) = LEXICON.members.get(&key(tokens)) else {
        return Vec::new();
    };
    let best = members.iter().map(|(_, rank)| *rank).min().unwrap_or(0);
    members
        .iter()
        .filter(|(_, rank)| *rank <= best + 1)
        .flat_map(|(ring, _)| LEXICON.rings[*ring].phrases.iter())
        .collect()
}

/// Phrases, each once at its best weight.
#[derive(Debug, Default, Clone)]
pub(super) struct Phrases(HashMap<String, Phrase>);

impl Phrases {
    pub(super) fn add(&mut self, tokens: Vec<String>, weight: f32) {
        let tokens = distinct(tokens);
        if tokens.is_empty() || tokens.len() > 10 {
            return;
        }
        let phrase = self
            .0
            .entry(key(&tokens))
            .or_insert_with(|| Phrase { tokens, weight });
        phrase.weight = phrase.weight.max(weight);
    }

    /// The phrase itself and those that mean the same.
    pub(super) fn add_ring(&mut self, tokens: &[String], weight: f32) {
        for phrase in ring_phrases(tokens) {
            self.add(phrase.tokens.clone(), weight * phrase.weight);
        }
        self.add(tokens.to_vec(), weight);
    }

    pub(super) fn list(&self) -> Vec<Phrase> {
        let mut list: Vec<Phrase> = self.0.values().cloned().collect();
        list.sort_by(|a, b| {
            b.weight
                .total_cmp(&a.weight)
                .then_with(|| a.tokens.cmp(&b.tokens))
        });
        list
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for phrase in other.0.values() {
            self.add(phrase.tokens.clone(), phrase.weight);
        }
    }

    /// What a label made of exactly these tokens is worth.
    pub(super) fn weight(&self, tokens: &[String]) -> Option<f32> {
        self.0.get(&key(tokens)).map(|phrase| phrase.weight)
    }
}

/// Words that name hardly anything without their owner.
const GENERIC: &[&str] = &[
    "name",
    "number",
    "date",
    "id",
    "amount",
    "type",
    "code",
    "value",
    "description",
    "title",
    "status",
    "total",
    "text",
    "label",
    "key",
    "address",
    "note",
    "comment",
    "unit",
    "content",
    "percent",
    "rate",
    "kind",
    "category",
    "year",
    "time",
    "page",
    "position",
    "level",
    "item",
    "line",
    "identifier",
    "reference",
    "start",
    "end",
    "from",
    "to",
    "count",
];

pub(super) fn is_generic(tokens: &[String]) -> bool {
    tokens.iter().all(|token| GENERIC.contains(&token.as_str()))
}

/// The labels a field may stand under by its own words; generic ones are worth little.
pub(super) fn own(field: &Field) -> Phrases {
    let mut phrases = Phrases::default();
    let name = tokens(&name_words(&field.name));
    let weight = |tokens: &[String], weight: f32| {
        if is_generic(tokens) {
            weight * 0.7
        } else {
            weight
        }
    };
    if !name.is_empty() {
        phrases.add_ring(&name, weight(&name, 1.0));
        if let Some(short) = without_tail(&name) {
            let worth = if is_generic(&short) { 0.5 } else { 0.86 };
            phrases.add_ring(&short, worth);
        }
    }
    if let Some((side, base)) = end_of(&name).filter(|(_, base)| !base.is_empty()) {
        let ends = if side == Side::From {
            ["start", "start date", "from"]
        } else {
            ["end", "end date", "to"]
        };
        for end in ends {
            phrases.add([base.clone(), tokens(end)].concat(), 0.95);
        }
    }
    if let Some(title) = &field.title {
        let title = tokens(title);
        phrases.add_ring(&title, weight(&title, 1.0));
    }
    if let Some(description) = &field.description {
        add_description(&mut phrases, description);
    }
    phrases
}

/// The headings a column of the field may have: in a table even the plainest word tells.
pub(super) fn column(field: &Field) -> Phrases {
    let mut phrases = own(field);
    let name = tokens(&name_words(&field.name));
    phrases.add_ring(&name, 1.0);
    if let Some(short) = without_tail(&name) {
        phrases.add_ring(&short, 0.8);
    }
    if let Some(description) = &field.description {
        let whole = tokens(
            description
                .split(['.', ';', '('])
                .next()
                .unwrap_or_default(),
        );
        if (1..=6).contains(&whole.len()) {
            phrases.add_ring(&whole, 0.95);
        }
    }
    phrases
}

/// `insured_name` without `name`, `effective_date` without `date`: the rest is a label too.
fn without_tail(name: &[String]) -> Option<Vec<String>> {
    let (last, head) = name.split_last()?;
    let tail =
        ["name", "date", "number", "amount", "limit", "id", "address"].contains(&last.as_str());
    (tail && !head.is_empty()).then(|| head.to_vec())
}

/// A short description is a label itself, and so is what a long one puts in quotes.
fn add_description(phrases: &mut Phrases, description: &str) {
    let clause = description
        .split(['.', ';', ':', '(', '\n', '—', '–'])
        .next()
        .unwrap_or_default()
        .trim();
    let mut whole = tokens(clause);
    whole.retain(|token| token != "printed");
    if (1..=6).contains(&whole.len()) {
        phrases.add_ring(&whole, if is_generic(&whole) { 0.55 } else { 0.9 });
    }
    // `Box 4 — Federal income tax withheld`: what stands behind the dash is the label.
    let first = description
        .split(['.', ';', '(', '\n'])
        .next()
        .unwrap_or_default();
    for part in first.split(['—', '–']).skip(1) {
        let part = tokens(part);
        if (2..=6).contains(&part.len()) {
            phrases.add_ring(&part, 0.9);
        }
    }
    for part in clause.split([',', '/']).flat_map(|part| part.split(" or ")) {
        let part = tokens(part);
        if (1..=3).contains(&part.len())
            && !is_generic(&part)
            && part.len() < whole.len()
            && is_known(&part)
        {
            phrases.add_ring(&part, 0.8);
        }
    }
    for sentence in description.split(['.', '\n']).take(24) {
        let folded = fold(sentence);
        let about_others = ["not ", "never", "example", "e.g", "null", "unlike"]
            .iter()
            .any(|word| folded.contains(word));
        if !about_others {
            for quoted in quoted(&folded) {
                let quoted = tokens(quoted);
                if (1..=6).contains(&quoted.len()) && !is_generic(&quoted) {
                    phrases.add(quoted, 0.9);
                }
            }
        }
    }
}

/// The pieces of a text between straight double quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"')
        .skip(1)
        .step_by(2)
        .filter(|piece| piece.len() < 60)
}

/// The labels and headings an enclosing object goes by.
pub(super) fn owner(field: &Field) -> Phrases {
    let mut phrases = Phrases::default();
    let name = tokens(&name_words(&field.name));
    phrases.add_ring(&name, 1.0);
    if let Some(title) = &field.title {
        phrases.add_ring(&tokens(title), 0.95);
    }
    if let Some(description) = &field.description {
        let clause = tokens(
            description
                .split(['.', ';', ':', '('])
                .next()
                .unwrap_or_default(),
        );
        if (1..=4).contains(&clause.len()) {
            phrases.add_ring(&clause, 0.9);
        }
    }
    phrases
}

/// Words for the first and the last day of a time.
const FROM: &[&str] = &[
    "from",
    "start",
    "begin",
    "beginning",
    "first",
    "effective",
    "inception",
    "von",
    "debut",
];
const TO: &[&str] = &[
    "to",
    "end",
    "until",
    "through",
    "expiration",
    "expiry",
    "last",
    "bi",
    "fin",
    "termination",
];

/// Which end of a time a name is about, and the name without the words that say so.
fn end_of(name: &[String]) -> Option<(Side, Vec<String>)> {
    let side = |list: &[&str]| name.iter().any(|token| list.contains(&token.as_str()));
    let side = match (side(FROM), side(TO)) {
        (true, false) => Side::From,
        (false, true) => Side::To,
        _ => return None,
    };
    let mut base = name.to_vec();
    base.retain(|token| {
        ![FROM, TO].iter().any(|list| list.contains(&token.as_str()))
            && token != "date"
            && token != "day"
    });
    Some((side, base))
}

/// When a field is one end of a time: which end, and the labels of the whole time.
pub(super) fn range(field: &Field) -> Option<(Side, Phrases)> {
    let (side, base) = end_of(&tokens(&name_words(&field.name)))?;
    let mut phrases = Phrases::default();
    if base.is_empty() || is_generic(&base) {
        for text in [
            "policy period",
            "billing period",
            "period",
            "term",
            "coverage period",
        ] {
            phrases.add_ring(&tokens(text), 0.8);
        }
    } else {
        phrases.add_ring(&base, 0.92);
    }
    Some((side, phrases))
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Form, compile};
    use super::*;
    use serde_json::{Value, json};

    fn weight(name: &str, schema: Value, label: &str) -> f32 {
        let root = compile(&json!({"type": "object", "properties": {name: schema}}));
        let Form::Object(fields) = &root.form else {
            panic!()
        };
        own(&fields[0]).weight(&tokens(label)).unwrap_or(0.0)
    }

    #[test]
    fn a_field_is_found_by_name_synonym_and_description() {
        let text = || json!({"type": "string"});
        assert!(weight("invoice_number", text(), "Rechnungs-Nr.:") > 0.9);
        assert!(weight("due_date", text(), "Date d'échéance") > 0.8);
        assert!(weight("netTotal", json!({"type": "number"}), "Total HT") > 0.8);
        assert!(
            weight(
                "x",
                json!({"type": "string", "description": "Labeled \"Named Entity\" on the form."}),
                "Named entity:"
            ) > 0.8
        );
        assert!(weight("insured_name", text(), "Insured") > 0.8);
    }

    #[test]
    fn what_a_description_warns_of_is_no_label() {
        let schema = json!({"type": "string", "description": "Free text.\nDo NOT extract from \"Nature of Injury\"."});
        assert_eq!(weight("story", schema, "Nature of injury"), 0.0);
    }

    #[test]
    fn both_ends_of_a_time_are_told_apart() {
        let root = compile(
            &json!({"type": "object", "properties": {"flight_to": {"type": "string", "format": "date"}}}),
        );
        let Form::Object(fields) = &root.form else {
            panic!()
        };
        let (side, phrases) = range(&fields[0]).unwrap();
        assert_eq!(side, Side::To);
        assert!(phrases.weight(&tokens("Flight Dates")).is_some());
    }
}
