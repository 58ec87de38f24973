//! Where in a file one document ends and the next begins, told by what is printed.

use std::collections::HashSet;
use std::ops::Range;

use super::document::Page;
use super::value::fold;

/// What speaks for a new document at a page, or against it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Boundary {
    /// Above 0 for, below 0 against; [`Boundary::is_clear`] says when it is enough.
    pub score: f64,
    /// What speaks for it, in words for people.
    pub reasons: Vec<String>,
}

const ENOUGH: f64 = 0.6;
/// Lines at the top and at the foot of a page that may say the same on each.
const HEAD: usize = 4;
const FOOT: usize = 2;
/// Lines of a page among which its number and its title are looked for.
const EDGE: usize = 6;
/// Numbers of documents looked at on one page, and the shortest.
const MOST_NUMBERS: usize = 12;
const SHORTEST_NUMBER: usize = 4;

impl Boundary {
    pub fn is_clear(&self) -> bool {
        self.score >= ENOUGH
    }

    fn add(&mut self, score: f64, reason: &str) {
        self.score += score;
        if score > 0.0 {
            self.reasons.push(reason.to_owned());
        }
    }
}

/// For each page but the first, whether a document begins there.
pub fn boundaries(pages: &[Page]) -> Vec<Boundary> {
    let marks: Vec<Marks> = pages.iter().map(Marks::of).collect();
    let pairs = marks.windows(2).enumerate();
    pairs
        .map(|(at, pair)| {
            let before = at.checked_sub(1).and_then(|at| marks.get(at));
            boundary(before, &pair[0], &pair[1])
        })
        .collect()
}

/// Indices of pages, each run a document: all pages, in order.
pub fn documents(boundaries: &[Boundary], pages: usize) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut start = 0;
    for (at, boundary) in boundaries.iter().enumerate() {
        if boundary.is_clear() {
            all.push(start..at + 1);
            start = at + 1;
        }
    }
    if start < pages {
        all.push(start..pages);
    }
    all
}

fn boundary(earlier: Option<&Marks>, last: &Marks, here: &Marks) -> Boundary {
    let mut found = Boundary::default();
    match (last.number, here.number) {
        (Some(last), Some(here)) if here.follows(last) => found.add(-1.5, ""),
        (_, Some(here)) if here.number == 1 => {
            found.add(1.0, "The page is numbered as a first one.");
        }
        (Some(last), Some(_)) if last.is_last() => {
            found.add(0.5, "The page before is numbered as the last one.");
        }
        (Some(last), None) if last.is_last() => {
            found.add(0.7, "The page before is numbered as the last one.");
        }
        (Some(last), None) if last.total.is_some() => found.add(-0.8, ""),
        (_, Some(here)) if here.number > 1 => found.add(-0.8, ""),
        _ => {}
    }
    if !last.numbers.is_empty() && !here.numbers.is_empty() {
        if last.numbers.is_disjoint(&here.numbers) {
            found.add(0.5, "Another document number is named.");
        } else {
            found.add(-0.8, "");
        }
    }
    if alike(&last.head, &here.head) >= 0.6 || alike(&last.foot, &here.foot) >= 0.8 {
        found.add(-0.4, "");
    } else if earlier.is_some_and(|earlier| alike(&earlier.head, &last.head) >= 0.6) {
        found.add(0.4, "The head of the pages changes.");
    }
    if here.has_title {
        found.add(0.4, "The page begins with a title.");
    }
    if last.size != here.size {
        found.add(0.15, "The size of the page changes.");
    }
    found
}

/// What a page says of the document that it is of.
struct Marks {
    number: Option<Numbered>,
    /// Words of the lines at the top and at the foot, without figures.
    head: HashSet<String>,
    foot: HashSet<String>,
    /// Numbers that stand behind a word such as `No.`.
    numbers: HashSet<String>,
    has_title: bool,
    /// Points, rounded to tens.
    size: (i64, i64),
}

/// `Page 2 of 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    number: u32,
    total: Option<u32>,
}

impl Numbered {
    fn follows(self, last: Self) -> bool {
        self.number == last.number + 1 && self.total == last.total
    }

    fn is_last(self) -> bool {
        self.total == Some(self.number)
    }
}

impl Marks {
    fn of(page: &Page) -> Self {
        let count = page.lines.len();
        let lines: Vec<Vec<String>> = (0..count).map(|line| folded(page, line)).collect();
        let edges = (0..count.min(EDGE)).chain(count.saturating_sub(EDGE).max(EDGE)..count);
        let number = edges.rev().find_map(|line| numbered(&lines[line]));
        let set = |lines: &[Vec<String>]| {
            let words = lines.iter().flatten();
            let words = words.filter(|word| !word.contains(|char: char| char.is_ascii_digit()));
            words.cloned().collect()
        };
        Self {
            number,
            head: set(&lines[..count.min(HEAD)]),
            foot: set(&lines[count.saturating_sub(FOOT)..]),
            numbers: numbers(&lines),
            has_title: has_title(page),
            size: (tens(page.width), tens(page.height)),
        }
    }
}

fn tens(points: f32) -> i64 {
    (points / 10.0).round() as i64
}

fn folded(page: &Page, line: usize) -> Vec<String> {
    let words = page.line(line).iter();
    words.map(|word| fold(&word.text)).collect()
}

fn bare(word: &str) -> &str {
    word.trim_matches(|char: char| !char.is_alphanumeric())
}

/// The page number that a line says: `Page 1 of 3`, `Seite 1/3`, `1 of 3`.
fn numbered(words: &[String]) -> Option<Numbered> {
    const PAGE: [&str; 7] = ["page", "seite", "pag", "pagina", "p", "blatt", "sheet"];
    const OF: [&str; 6] = ["of", "von", "sur", "de", "di", "/"];
    let number = |text: &str| {
        bare(text)
            .parse::<u32>()
            .ok()
            .filter(|number| *number < 10_000)
    };
    for (at, word) in words.iter().enumerate() {
        let rest = &words[at + 1..];
        if PAGE.contains(&bare(word)) {
            let Some(first) = rest.first() else { continue };
            if let Some((one, all)) = first.split_once('/')
                && let (Some(number), Some(total)) = (number(one), number(all))
            {
                return Some(Numbered {
                    number,
                    total: Some(total),
                });
            }
            let Some(one) = number(first) else { continue };
            let total = rest.get(1).filter(|word| OF.contains(&word.as_str()));
            let total = total.and_then(|_| number(rest.get(2)?));
            return Some(Numbered { number: one, total });
        }
        // Alone on its line: `1 of 3`.
        if words.len() == 3
            && at == 0
            && let (Some(one), true, Some(total)) = (
                number(word),
                OF.contains(&rest[0].as_str()),
                number(&rest[1]),
            )
            && (1..=total).contains(&one)
        {
            return Some(Numbered {
                number: one,
                total: Some(total),
            });
        }
    }
    None
}

/// What a document is known by: figures behind a word that announces them.
fn numbers(lines: &[Vec<String>]) -> HashSet<String> {
    const SAYS: [&str; 9] = [
        "no",
        "nr",
        "number",
        "nummer",
        "numero",
        "id",
        "ref",
        "reference",
        "#",
    ];
    let mut found = HashSet::new();
    for words in lines {
        for pair in words.windows(2) {
            let label = if pair[0] == "#" { "#" } else { bare(&pair[0]) };
            let is_label =
                SAYS.contains(&label) || ["nummer", "nr"].iter().any(|end| label.ends_with(end));
            let value = bare(&pair[1]);
            let digits = value.chars().filter(char::is_ascii_digit).count();
            if is_label && value.len() >= SHORTEST_NUMBER && digits >= 3 {
                found.insert(value.to_owned());
            }
            if found.len() >= MOST_NUMBERS {
                return found;
            }
        }
    }
    found
}

/// Whether one of the first lines is set clearly larger than most of the page.
fn has_title(page: &Page) -> bool {
    let mut sizes: Vec<f32> = page.words.iter().map(|word| word.size).collect();
    sizes.sort_by(f32::total_cmp);
    let body = sizes.get(sizes.len() / 2).copied().unwrap_or(0.0);
    body > 0.0
        && (0..page.lines.len().min(EDGE)).any(|line| {
            let words = page.line(line);
            words.len() <= 8 && words.iter().all(|word| word.size >= body * 1.3)
        })
}

/// The part of the words that both have, 0..=1; nothing where either has none.
fn alike(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    let both = a.intersection(b).count() as f64;
    let all = a.union(b).count() as f64;
    if all > 0.0 { both / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::document::Word;
    use super::*;

    fn page(number: u32, text: &str) -> Page {
        let word = |text: &str| Word {
            text: text.into(),
            bbox: [0.0; 4],
            start: 0,
            size: 10.0,
            bold: false,
        };
        let lines = text.lines();
        let lines = lines.map(|line| line.split_whitespace().map(word).collect());
        Page::from_lines(number, 595.0, 842.0, lines.collect(), vec![])
    }

    fn split(texts: &[&str]) -> Vec<(usize, usize)> {
        let pages = texts.iter().zip(1..);
        let pages: Vec<_> = pages.map(|(text, number)| page(number, text)).collect();
        let all = documents(&boundaries(&pages), pages.len()).into_iter();
        all.map(|part| (part.start, part.end)).collect()
    }

    #[test]
    fn numbering_that_begins_again_begins_a_document() {
        let found = split(&[
            "ACME\nInvoice\nPage 1 of 2",
            "ACME\nmore\nPage 2 of 2",
            "ACME\nInvoice\nPage 1 of 1",
            "Bolt\nOffer\nSeite 1/2",
            "Bolt\nmore\nSeite 2/2",
        ]);
        assert_eq!(found, [(0, 2), (2, 3), (3, 5)]);
    }

    #[test]
    fn another_number_under_another_head_begins_a_document_and_the_same_one_does_not() {
        let head = "North Sea Trading Limited\nHarbour Road 4, Leith\nInvoice No. ";
        let other = "Bolt Brothers\nMill Lane 9, Ayr\nBolts and nuts\nInvoice No. 99881\nThe end";
        let found = split(&[
            &format!("{head}10017\nfirst"),
            &format!("{head}10017\nsecond"),
            other,
        ]);
        assert_eq!(found, [(0, 2), (2, 3)]);
    }

    #[test]
    fn without_evidence_all_pages_are_one_document() {
        assert_eq!(split(&["one", "two", "three"]), [(0, 3)]);
        assert_eq!(split(&["alone"]), [(0, 1)]);
        assert_eq!(split(&[]), []);
    }
}
