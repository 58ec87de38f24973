//! The pages of a long document that fit a question best.
//!
//! Where the whole document is more than a model takes, a call gets the first page, the pages
//! that say most of what it asks for, and the headings of all others. It is not used for lists:
//! a row on a page that was left out would be missed, and nobody would see it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use super::cost::size::LETTERS_A_TOKEN;
use super::document::{Document, Page};
use super::plan::Plan;

/// Words of a question that pages are searched for.
const MOST_WORDS: usize = 400;
/// Heading lines that are kept of a page.
const MOST_HEADINGS: usize = 4;
/// Characters of a heading.
const LONGEST_HEADING: usize = 160;
/// How soon a further mention of a word stops to count.
const ENOUGH: f64 = 1.5;

/// The document for a call about these subtrees, in about `tokens`. Page numbers stay as they
/// are; the name tells it from the whole and from other excerpts.
pub fn excerpt(document: &Document, plan: &Plan, load: &[usize], tokens: f64) -> Document {
    let whole = chosen(document, &question(plan, load), tokens * LETTERS_A_TOKEN);
    let mut name = DefaultHasher::new();
    whole.hash(&mut name);
    let pages = document.pages.iter().zip(&whole);
    Document {
        kind: document.kind,
        sha256: format!("{}-{:016x}", document.sha256, name.finish()),
        pages: pages
            .map(|(page, is_whole)| {
                if *is_whole {
                    page.clone()
                } else {
                    headings(document, page)
                }
            })
            .collect(),
        unread: document.unread.clone(),
    }
}

/// Which pages are kept whole: the first, and then the best for as long as there is room.
fn chosen(document: &Document, question: &HashSet<String>, letters: f64) -> Vec<bool> {
    let length = |page: &Page| page.text.chars().count() as f64 * 1.1 + 40.0;
    // The headings of every page are paid for first.
    let mut left = letters;
    for page in &document.pages {
        left -= length(&headings(document, page));
    }
    let mut whole = vec![false; document.pages.len()];
    let scores = scores(document, question);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    if !order.is_empty() {
        order.retain(|page| *page != 0);
        order.insert(0, 0);
    }
    for page in order {
        let taken = length(&document.pages[page]);
        if page == 0 || taken <= left {
            left -= taken;
            whole[page] = true;
        }
    }
    whole
}

/// What each page says of the question: rare words count more, and often said ones not much more.
fn scores(document: &Document, question: &HashSet<String>) -> Vec<f64> {
    let counts: Vec<HashMap<String, f64>> = document
        .pages
        .iter()
        .map(|page| {
            let mut counts = HashMap::new();
            for word in words(&page.text).filter(|word| question.contains(word)) {
                *counts.entry(word).or_insert(0.0) += 1.0;
            }
            counts
        })
        .collect();
    let pages = counts.len() as f64;
    let mut having: HashMap<&str, f64> = HashMap::new();
    for word in counts.iter().flat_map(HashMap::keys) {
        *having.entry(word).or_insert(0.0) += 1.0;
    }
    let score = |counts: &HashMap<String, f64>| {
        let each = counts.iter().map(|(word, count)| {
            let on = having.get(word.as_str()).copied().unwrap_or(1.0);
            (1.0 + pages / on).ln() * count / (count + ENOUGH)
        });
        each.sum()
    };
    counts.iter().map(score).collect()
}

/// The words of names, titles, descriptions and choices.
fn question(plan: &Plan, load: &[usize]) -> HashSet<String> {
    let mut found = HashSet::new();
    for subtree in load.iter().filter_map(|index| plan.subtrees.get(*index)) {
        let path = subtree.path.as_str();
        found.extend(words(path));
        gather(&subtree.schema, &mut found);
    }
    found
}

fn gather(schema: &Value, found: &mut HashSet<String>) {
    if found.len() >= MOST_WORDS {
        return;
    }
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("properties" | "$defs", Value::Object(inner)) => {
                        for (name, value) in inner {
                            found.extend(words(name));
                            gather(value, found);
                        }
                    }
                    ("title" | "description" | "const", Value::String(text)) => {
                        found.extend(words(text));
                    }
                    _ => gather(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        _ => {}
    }
}

/// Lower-case words of at least three letters; `invoiceNumber` and `invoice_number` are two.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut was_small = false;
    for letter in text.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && was_small) {
            parts.push(std::mem::take(&mut part));
        }
        was_small = letter.is_lowercase();
        if letter.is_alphanumeric() {
            part.extend(letter.to_lowercase());
        }
    }
    parts.push(part);
    parts.into_iter().filter(|word| word.chars().count() >= 3)
}

/// A page with nothing but its headings.
fn headings(document: &Document, page: &Page) -> Page {
    let mut kept = Page {
        text: String::new(),
        words: Vec::new(),
        lines: Vec::new(),
        rules: Vec::new(),
        ..*page
    };
    let is_short = |text: &&str| text.chars().count() <= LONGEST_HEADING;
    if !document.kind.is_printed() {
        let lines = page.text.lines().filter(|line| line.starts_with('#'));
        let lines: Vec<&str> = lines.filter(is_short).take(MOST_HEADINGS).collect();
        kept.text = lines.join("\n");
        return kept;
    }
    let mut sizes: Vec<f32> = page.words.iter().map(|word| word.size).collect();
    sizes.sort_by(f32::total_cmp);
    let usual = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
    let lines = (0..page.lines.len()).map(|index| page.line(index));
    let large = lines.filter(|line| {
        let letters: usize = line.iter().map(|word| word.text.chars().count() + 1).sum();
        let stands_out = |size: f32, bold: bool| bold || size > usual * 1.15;
        letters <= LONGEST_HEADING && line.iter().all(|word| stands_out(word.size, word.bold))
    });
    let large = large.take(MOST_HEADINGS).map(<[_]>::to_vec).collect();
    Page::from_lines(page.number, page.width, page.height, large, Vec::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::document::Kind;
    use super::super::plan::SplitterConfigs;
    use super::super::prompt;
    use super::*;

    fn document(pages: usize) -> Document {
        let page = |at: usize| {
            let about = match at {
                17 => "The interest rate is 4.5 % a year, the maturity date 1 March 2031.",
                30 => "The lender is Hansa Bank of Bremen.",
                _ => "Nothing of note stands here, only words that fill a page.",
            };
            Page {
                number: at as u32 + 1,
                width: 80.0,
                height: 40.0,
                text: format!(
                    "# Part {at}\n{about}\n{}",
                    "Further words follow. ".repeat(40)
                ),
                words: Vec::new(),
                lines: Vec::new(),
                rules: Vec::new(),
            }
        };
        Document {
            kind: Kind::Markdown,
            sha256: "d".into(),
            pages: (0..pages).map(page).collect(),
            unread: vec![],
        }
    }

    fn plan(schema: &Value) -> Plan {
        Plan::of(schema, SplitterConfigs::default())
    }

    #[test]
    fn the_pages_that_say_what_is_asked_are_whole_and_the_others_keep_their_headings() {
        let document = document(60);
        let plan = plan(&json!({"type": "object", "properties": {
            "interestRate": {"type": "number"}, "maturity_date": {"type": "string"},
            "a": {"type": "string", "description": "Who the lender is"}}}));
        let short = excerpt(&document, &plan, &[0], 1_800.0);
        let whole: Vec<u32> = short
            .pages
            .iter()
            .filter(|page| page.text.contains("Further"))
            .map(|page| page.number)
            .collect();
        assert!(
            [1, 18, 31].iter().all(|page| whole.contains(page)),
            "{whole:?}"
        );
        assert!(whole.len() < 12, "{whole:?}");
        assert_eq!(short.pages.len(), 60);
        assert!(short.pages[40].text.starts_with("# Part 40"));
        let letters = prompt::document(&short).chars().count() as f64;
        assert!(letters <= 1_800.0 * LETTERS_A_TOKEN * 1.25, "{letters}");
    }

    #[test]
    fn another_choice_of_pages_has_another_name_and_the_same_has_the_same() {
        let document = document(60);
        let plan = plan(&json!({"type": "object", "properties": {"lender": {"type": "string"}}}));
        let name = |tokens| excerpt(&document, &plan, &[0], tokens).sha256;
        assert_eq!(name(1_800.0), name(1_800.0));
        assert_ne!(name(1_800.0), name(4_000.0));
        assert_ne!(name(1_800.0), document.sha256);
    }

    #[test]
    fn names_are_words() {
        let found: Vec<String> = words("invoiceNumber due_date of VAT-ID").collect();
        assert_eq!(found, ["invoice", "number", "due", "date", "vat"]);
    }
}
