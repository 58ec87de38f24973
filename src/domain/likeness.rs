//! How well a document's words fit the names of kinds: a count of words, and no understanding.
//!
//! A word counts by how few of the kinds it is said of, more in a heading and on the first page.
//! Where nothing stands out no kind is [chosen](choose): a guess that looks sure does harm.

use std::collections::{HashMap, HashSet};

use super::document::{Page, Word};
use super::operation::Category;
use super::value::fold;

/// How well one kind fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeness {
    /// Index of the category.
    pub category: usize,
    /// 0..=1.
    pub score: f64,
    /// Lines that say its words, the heaviest first, each with its page.
    pub lines: Vec<(u32, String)>,
}

/// A score below this, or so little above the next one, tells nothing.
const LEAST: f64 = 0.35;
const MARGIN: f64 = 0.15;
/// Words alone make nobody surer than this.
const MOST_SURE: f64 = 0.95;
/// Words of a page, and of all pages, that are looked at.
const MOST_WORDS: usize = 60_000;
/// What a word in a heading, and on the first page, counts.
const IN_HEADING: f64 = 4.0;
const ON_FIRST_PAGE: f64 = 1.5;
/// Lines at the top of the first page that are its head.
const HEAD_LINES: usize = 6;
/// Words of a heading.
const MOST_HEADING: usize = 8;
/// What a name counts that is in no heading.
const IN_TEXT_ONLY: f64 = 0.5;
/// The part of a name's score in the whole, where there is a description too.
const NAME: f64 = 0.7;
/// Lines given for a kind, and characters of one.
const MOST_LINES: usize = 3;
const MOST_LETTERS: usize = 200;
/// The shortest word that counts where it begins a longer one.
const SHORTEST_HEAD: usize = 6;

const STOP: [&str; 40] = [
    "a",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "by",
    "das",
    "de",
    "der",
    "des",
    "die",
    "document",
    "documents",
    "et",
    "for",
    "from",
    "in",
    "is",
    "it",
    "la",
    "le",
    "les",
    "of",
    "on",
    "or",
    "other",
    "that",
    "the",
    "this",
    "to",
    "und",
    "von",
    "which",
    "with",
    "page",
    "file",
    "type",
];

/// The likeness of each category, the best first; those alike in their order.
pub fn likeness(pages: &[Page], categories: &[Category]) -> Vec<Likeness> {
    let terms = Terms::of(categories);
    let seen = Seen::of(pages, &terms);
    let mut all: Vec<Likeness> = (0..categories.len())
        .map(|category| terms.judge(category, &seen))
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}

/// The kind that stands out, and how surely, 0..=1; none where none does.
pub fn choose(likeness: &[Likeness]) -> Option<(usize, f64)> {
    let best = likeness.first()?;
    let next = likeness.get(1).map_or(0.0, |next| next.score);
    let is_clear = best.score >= LEAST && best.score - next >= MARGIN;
    let sure = (best.score - next / 2.0).min(MOST_SURE);
    is_clear.then(|| (best.category, rounded(sure)))
}

/// To three places.
pub fn rounded(part: f64) -> f64 {
    (part.clamp(0.0, 1.0) * 1_000.0).round() / 1_000.0
}

/// Words of a text as they are compared.
fn words(text: &str) -> Vec<String> {
    let folded = fold(text);
    folded
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| word.chars().count() >= 2 && !STOP.contains(word))
        .map(stem)
        .collect()
}

fn stem(word: &str) -> String {
    let is_plural = word.len() > 3
        && word.ends_with('s')
        && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    let end = word.len() - usize::from(is_plural);
    word[..end].to_owned()
}

/// What is looked for: distinct words, and the categories that they are said of.
struct Terms {
    numbers: HashMap<String, usize>,
    /// By category, the words of its name and of its description.
    names: Vec<Vec<usize>>,
    descriptions: Vec<Vec<usize>>,
    weights: Vec<f64>,
}

impl Terms {
    fn of(categories: &[Category]) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |text: &str| -> Vec<usize> {
            let mut list = Vec::new();
            for word in words(text) {
                let next = numbers.len();
                let number = *numbers.entry(word).or_insert(next);
                if !list.contains(&number) {
                    list.push(number);
                }
            }
            list
        };
        let names: Vec<_> = categories.iter().map(|one| number(&one.name)).collect();
        let descriptions: Vec<_> = categories
            .iter()
            .map(|one| number(one.description.as_deref().unwrap_or_default()))
            .collect();
        let mut said_of = vec![0_u32; numbers.len()];
        for (name, description) in names.iter().zip(&descriptions) {
            let both: HashSet<usize> = name.iter().chain(description).copied().collect();
            for term in both {
                said_of[term] += 1;
            }
        }
        let all = categories.len() as f64;
        let weight = |count: &u32| {
            if categories.len() == 1 {
                1.0
            } else {
                (all / f64::from(*count)).ln()
            }
        };
        Self {
            weights: said_of.iter().map(weight).collect(),
            numbers,
            names,
            descriptions,
        }
    }

    /// The terms that a word is, or begins with.
    fn find<'t>(&'t self, word: &'t str) -> impl Iterator<Item = (usize, f64)> + 't {
        let whole = self.numbers.get(word).map(|term| (*term, 1.0));
        let ends = word.char_indices().map(|(at, _)| at).skip(SHORTEST_HEAD);
        let heads = ends.filter_map(|end| Some((*self.numbers.get(&word[..end])?, 0.5)));
        whole.into_iter().chain(heads)
    }

    fn judge(&self, category: usize, seen: &Seen) -> Likeness {
        let name = &self.names[category];
        let mut score = self.part(name, seen) * seen.named(name);
        let description = &self.descriptions[category];
        if !description.is_empty() {
            let described = self.part(description, seen);
            // What is not described must not count against what is.
            score = (NAME * score + (1.0 - NAME) * described).max(score * 0.9);
        }
        if seen.is_titled(name) && name.iter().any(|term| self.weights[*term] > 0.0) {
            score = 0.25 + score.max(0.5);
        }
        let mut heavy: Vec<usize> = name.iter().chain(description).copied().collect();
        let mass = |term: &usize| self.weights[*term] * seen.part(*term);
        heavy.retain(|term| mass(term) > 0.0);
        heavy.sort_by(|a, b| mass(b).total_cmp(&mass(a)));
        let mut lines: Vec<(u32, String)> = Vec::new();
        for line in heavy.iter().filter_map(|term| seen.lines.get(term)) {
            let line = (line.1, line.2.clone());
            if lines.len() < MOST_LINES && !lines.contains(&line) {
                lines.push(line);
            }
        }
        Likeness {
            category,
            score: score.clamp(0.0, 1.0),
            lines,
        }
    }

    /// Which part of the terms, by their weight, the document says.
    fn part(&self, terms: &[usize], seen: &Seen) -> f64 {
        let all: f64 = terms.iter().map(|term| self.weights[*term]).sum();
        let said = terms.iter();
        let said: f64 = said
            .map(|term| self.weights[*term] * seen.part(*term))
            .sum();
        if all > 0.0 { said / all } else { 0.0 }
    }
}

/// How often and where the document says the terms.
#[derive(Default)]
struct Seen {
    mass: HashMap<usize, f64>,
    /// The line that says a term where it counts most: what it counts, its page, the line.
    lines: HashMap<usize, (f64, u32, String)>,
    /// The terms of each heading of the first page.
    headings: Vec<HashSet<usize>>,
}

impl Seen {
    fn of(pages: &[Page], terms: &Terms) -> Self {
        let mut seen = Self::default();
        let mut left = MOST_WORDS;
        for (index, page) in pages.iter().enumerate() {
            let body = body(page);
            for line in 0..page.lines.len() {
                let said = page.line(line);
                if said.len() > left {
                    return seen;
                }
                left -= said.len();
                let is_heading = is_heading(said, body, index == 0 && line < HEAD_LINES);
                seen.add(page, said, (index == 0, is_heading), terms);
            }
        }
        seen
    }

    fn add(
        &mut self,
        page: &Page,
        said: &[Word],
        (is_first, is_heading): (bool, bool),
        terms: &Terms,
    ) {
        let place = if is_heading { IN_HEADING } else { 1.0 };
        let place = place * if is_first { ON_FIRST_PAGE } else { 1.0 };
        let mut here = HashSet::new();
        for word in said.iter().flat_map(|word| words(&word.text)) {
            for (term, part) in terms.find(&word) {
                here.insert(term);
                let mass = part * place;
                *self.mass.entry(term).or_default() += mass;
                let known = self.lines.get(&term).map_or(0.0, |(known, ..)| *known);
                if mass > known {
                    let line: Vec<&str> = said.iter().map(|word| word.text.as_str()).collect();
                    let line = line.join(" ").chars().take(MOST_LETTERS).collect();
                    self.lines.insert(term, (mass, page.number, line));
                }
            }
        }
        if is_first && is_heading && !here.is_empty() {
            self.headings.push(here);
        }
    }

    /// How surely a term is said, 0..1: often is not much more than twice.
    fn part(&self, term: usize) -> f64 {
        let mass = self.mass.get(&term).copied().unwrap_or_default();
        mass / (mass + 2.0)
    }

    /// What is left of a name that is said in part only, or in no heading: `receipt` stands in
    /// every contract.
    fn named(&self, terms: &[usize]) -> f64 {
        let said = terms.iter().filter(|term| self.mass.contains_key(term));
        let part = said.count() as f64 / terms.len().max(1) as f64;
        let mut headings = self.headings.iter();
        let is_in_one = headings.any(|heading| terms.iter().any(|term| heading.contains(term)));
        part * if is_in_one { 1.0 } else { IN_TEXT_ONLY }
    }

    fn is_titled(&self, terms: &[usize]) -> bool {
        let mut headings = self.headings.iter();
        !terms.is_empty() && headings.any(|heading| terms.iter().all(|term| heading.contains(term)))
    }
}

/// The size that most words of a page are set in; 0 where the format has none.
fn body(page: &Page) -> f32 {
    let mut sizes: Vec<f32> = page.words.iter().map(|word| word.size).collect();
    sizes.sort_by(f32::total_cmp);
    sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
}

fn is_heading(words: &[Word], body: f32, is_head: bool) -> bool {
    if words.is_empty() || words.len() > MOST_HEADING {
        return false;
    }
    let is_large = body > 0.0 && words.iter().all(|word| word.size >= body * 1.2);
    // A line that names a value is none.
    let is_label = words.iter().any(|word| word.text.ends_with(':'));
    is_large || (!is_label && (words.iter().all(|word| word.bold) || is_head && words.len() <= 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        let word = |text: &str| Word {
            text: text.into(),
            bbox: [0.0; 4],
            start: 0,
            size: 0.0,
            bold: false,
        };
        let lines = text.lines();
        let lines = lines.map(|line| line.split_whitespace().map(word).collect());
        Page::from_lines(1, 80.0, 60.0, lines.collect(), vec![])
    }

    fn categories(all: &[(&str, &str)]) -> Vec<Category> {
        let one = |(name, description): &(&str, &str)| Category {
            name: (*name).to_owned(),
            description: (!description.is_empty()).then(|| (*description).to_owned()),
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn a_kind_that_is_the_title_is_chosen_with_the_line_that_says_so() {
        let kinds = categories(&[
            ("invoice", "asks for money for goods or services"),
            ("contract", "an agreement between parties"),
            ("receipt", "confirms a payment"),
        ]);
        let pages = [page(
            "ACME Ltd\nINVOICE\nNumber: 7\nTotal due for services: 12.50\n",
        )];
        let all = likeness(&pages, &kinds);
        let (chosen, confidence) = choose(&all).unwrap();
        assert_eq!(kinds[chosen].name, "invoice");
        assert!(confidence > 0.5 && confidence <= 1.0, "{confidence}");
        assert_eq!(all[0].lines[0], (1, "INVOICE".to_owned()));
    }

    #[test]
    fn nothing_is_chosen_where_no_kind_or_several_are_named_alike() {
        let kinds = categories(&[("invoice", ""), ("contract", "")]);
        let nothing = likeness(&[page("Dear Anna,\nthe weather is fine.")], &kinds);
        assert_eq!(choose(&nothing), None);
        let both = likeness(
            &[page("invoice contract\nthe invoice and the contract")],
            &kinds,
        );
        assert_eq!(choose(&both), None);
        // A word that is said of all kinds tells none of them.
        let kinds = categories(&[("sales invoice", ""), ("purchase invoice", "")]);
        let shared = likeness(&[page("INVOICE\ninvoice number 7")], &kinds);
        assert_eq!(choose(&shared), None);
        assert_eq!(choose(&likeness(&[], &kinds)), None);
    }

    #[test]
    fn a_word_counts_where_it_begins_a_longer_one() {
        let kinds = categories(&[("Rechnung", ""), ("Vertrag", "")]);
        let pages = [page(
            "Rechnungsnummer 7\nRechnungsdatum 1.2.2026\nRechnungsbetrag 5,00",
        )];
        let all = likeness(&pages, &kinds);
        assert_eq!(choose(&all).unwrap().0, 0, "{all:?}");
    }
}
