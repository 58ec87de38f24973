//! Which of some kinds a document is. None is an answer: a wrong kind sends a document the wrong
//! way.

use serde_json::{Value, json};

use super::found_on_pages;
use crate::domain::document::Document;
use crate::domain::evidence::Logprobs;
use crate::domain::likeness::{Likeness, choose, likeness, rounded};
use crate::domain::operation::{Category, Classify};

/// Quotes that a model is asked for, and alternatives that are told.
const MOST_QUOTES: usize = 5;
const MOST_ALTERNATIVES: usize = 5;
/// Confidence in a model's answer whose quotes all stand in the document, and whose quotes do not.
const PROVED: f64 = 0.9;
const UNPROVED: f64 = 0.3;

/// The kinds as a model is told them.
pub(super) fn described(categories: &[Category]) -> String {
    let one = |category: &Category| match &category.description {
        Some(description) => format!("`{}`: {description}", category.name),
        None => format!("`{}`", category.name),
    };
    categories.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A name, or null.
pub(super) fn choice(categories: &[Category], description: &str) -> Value {
    let names = categories.iter().map(|category| json!(category.name));
    let names: Vec<Value> = names.chain([Value::Null]).collect();
    json!({"type": ["string", "null"], "enum": names, "description": description})
}

pub(super) fn question(asked: &Classify) -> Value {
    let kinds = described(&asked.categories);
    json!({
        "type": "object",
        "title": "Which kind of document this is",
        "description": "Decide by what the document itself says. First find the words that show its kind. Null is a good answer where no kind fits, or where two fit as well.",
        "properties": {
            "quotes": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": MOST_QUOTES,
                "description": "Up to three short passages of the document, verbatim, that show which kind it is"
            },
            "category": choice(&asked.categories, &format!("The kind that the document is, or null. Kinds are: {kinds}")),
            "reasoning": {"type": ["string", "null"], "description": "Why, in one sentence"}
        },
        "required": ["quotes", "category", "reasoning"]
    })
}

/// What the words of the document alone say.
pub(super) fn likely(document: &Document, asked: &Classify) -> Value {
    let all = likeness(&document.pages, &asked.categories);
    let chosen = choose(&all);
    let best = all.first().filter(|_| chosen.is_some());
    let evidence = best.map_or(&[][..], |best| &best.lines);
    let reasoning = if chosen.is_some() {
        "Its words fit this category clearly better than the others."
    } else {
        "Its words fit no category clearly better than the others."
    };
    json!({
        "category": chosen.map(|(at, _)| &asked.categories[at].name),
        "confidence": chosen.map(|(_, confidence)| confidence),
        "reasoning": reasoning,
        "evidence": evidence.iter().map(quote).collect::<Vec<_>>(),
        "alternatives": alternatives(&all, asked, chosen.map(|(at, _)| at)),
    })
}

fn quote((page, text): &(u32, String)) -> Value {
    json!({"text": text, "page": page})
}

/// The other categories that the words of the document fit, the best first.
fn alternatives(all: &[Likeness], asked: &Classify, chosen: Option<usize>) -> Vec<Value> {
    let others = all
        .iter()
        .filter(|one| Some(one.category) != chosen && one.score > 0.0);
    let others = others.take(MOST_ALTERNATIVES).map(|one| {
        let name = &asked.categories[one.category].name;
        json!({"category": name, "confidence": rounded(one.score / 2.0)})
    });
    others.collect()
}

/// A model's answer, with those of its quotes that stand in the document.
pub(super) fn answered(
    value: &Value,
    document: &Document,
    asked: &Classify,
    logprobs: &Logprobs,
) -> Value {
    let name = value["category"].as_str();
    let mut categories = asked.categories.iter();
    let chosen = name.and_then(|name| categories.position(|one| one.name == name));
    let quotes = value["quotes"].as_array().into_iter().flatten();
    let quotes: Vec<&str> = quotes.filter_map(Value::as_str).take(MOST_QUOTES).collect();
    let found = found_on_pages(document, &quotes);
    let confidence = chosen.map(|_| {
        let part = found.len() as f64 / quotes.len().max(1) as f64;
        let sure = logprobs
            .get("/category")
            .map_or(1.0, |logprob| logprob.exp());
        rounded((UNPROVED + (PROVED - UNPROVED) * part) * sure)
    });
    let evidence = found
        .into_iter()
        .map(|(text, page)| json!({"text": text, "page": page}));
    let evidence: Vec<Value> = evidence.filter(|_| chosen.is_some()).collect();
    let all = likeness(&document.pages, &asked.categories);
    json!({
        "category": chosen.map(|at| &asked.categories[at].name),
        "confidence": confidence,
        "reasoning": value["reasoning"].as_str(),
        "evidence": evidence,
        "alternatives": alternatives(&all, asked, chosen),
    })
}
