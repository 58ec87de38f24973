//! Values and quotes planted in real documents: what is right is verified, what is wrong never.
//!
//! The documents are read by the real readers. What is right is told here by plain means of the
//! test's own: a quote is a stretch of the page's text, and counted in the text of all pages.
//! `RIVULET_EVIDENCE_DOCUMENTS` may name a folder whose documents are used too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rivulet::document::Readers;
use rivulet::domain::document::{Document, Page};
use rivulet::domain::evidence::{
    Attribution, Attributions, Claim, Index, Match, Quote, Verdict, prove,
};
use rivulet::engine::ports::Reader as _;
use serde_json::{Value, json};

const CASES: usize = 2_000;

/// A small generator, so that a seed gives the same cases everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        if of.is_empty() {
            None
        } else {
            of.get(self.roll(of.len()))
        }
    }
}

/// A document with its text as one row of lower-case words.
struct Planted {
    path: String,
    document: Document,
    index: Index,
    text: String,
}

impl Planted {
    fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let document = Readers.read(&bytes).ok()?;
        let pages = document.pages.iter().map(|page| plain(&page.text));
        let text = format!(" {} ", pages.collect::<Vec<_>>().join(" "));
        Some(Self {
            path: path.display().to_string(),
            index: Index::new(&document),
            document,
            text,
        })
    }

    /// How often a text stands in the document, even inside longer words.
    fn count(&self, text: &str) -> usize {
        let wanted = plain(text);
        let mut rest = self.text.as_str();
        let mut count = 0;
        while let Some(at) = rest.find(&wanted) {
            count += 1;
            let step = rest[at..].chars().next().map_or(1, char::len_utf8);
            rest = &rest[at + step..];
        }
        count
    }

    fn prove(
        &self,
        schema: Value,
        value: &Value,
        quotes: &[(&str, &str, Option<u32>)],
    ) -> Attributions {
        let mut attributions = Attributions::new();
        for (at, text, page) in quotes {
            let quote = Quote {
                text: (*text).to_owned(),
                page: *page,
                bbox: None,
                start: None,
                end: None,
                verified: false,
                matched: Match::None,
            };
            let leaf: &mut Attribution = attributions.entry((*at).to_owned()).or_default();
            leaf.quotes.push(quote);
        }
        let claim = Claim {
            schema: &schema,
            value,
            attributions,
            invalid: &[],
            signals: &BTreeMap::new(),
        };
        prove(&self.document, &self.index, claim)
    }
}

fn plain(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
        .replace('ß', "ss")
}

/// The runs of letters and digits, with a space around each.
fn worded(text: &str) -> String {
    let runs = plain(text);
    let runs = runs.split(|c: char| !c.is_alphanumeric());
    let runs: Vec<&str> = runs.filter(|run| !run.is_empty()).collect();
    format!(" {} ", runs.join(" "))
}

fn documents() -> Vec<Planted> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![
        root.join("tests/fixtures/documents"),
        root.join("schemas/examples"),
    ];
    folders.extend(std::env::var_os("RIVULET_EVIDENCE_DOCUMENTS").map(PathBuf::from));
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let known = path
                .extension()
                .is_some_and(|kind| ["pdf", "md", "txt"].iter().any(|known| kind == *known));
            if path.is_dir() {
                folders.push(path);
            } else if known && !path.ends_with("SOURCES.md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let readable = paths.iter().filter_map(|path| Planted::read(path));
    readable
        .filter(|planted| planted.document.word_count() > 20)
        .collect()
}

/// What a case expects, and what came of it.
struct Outcome {
    what: &'static str,
    right: bool,
    verified: bool,
    story: String,
}

/// A stretch of words of one page as its reader gives it.
fn stretch(dice: &mut Dice, page: &Page, words: usize) -> Option<(usize, usize)> {
    let first = dice.roll(page.words.len());
    let last = first + words - 1;
    let bare = |at: usize| {
        let text = &page.words[at].text;
        text.chars().next().is_some_and(char::is_alphanumeric)
            && text.chars().last().is_some_and(char::is_alphanumeric)
    };
    (last < page.words.len() && bare(first) && bare(last)).then_some((first, last))
}

fn text_of(page: &Page, (first, last): (usize, usize)) -> &str {
    page.slice(page.words[first].start, page.words[last].end())
        .unwrap()
}

fn page_of<'p>(dice: &mut Dice, planted: &'p Planted) -> Option<&'p Page> {
    dice.pick(&planted.document.pages)
}

/// A number of a word, if it can be read in one way only: digits, or digits and two decimals
/// behind groups of three.
fn amount(word: &str) -> Option<(Value, String)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(word) && word.len() <= 9 && !word.starts_with('0') {
        return Some((json!(word.parse::<i64>().ok()?), word.to_owned()));
    }
    let (whole, cents) = word.split_at_checked(word.len().checked_sub(3)?)?;
    let sign = cents.chars().next()?;
    let group = if sign == '.' { ',' } else { '.' };
    if !matches!(sign, '.' | ',') || !digits(&cents[1..]) {
        return None;
    }
    let mut groups = whole.split(group);
    let head = groups.next()?;
    let fits =
        digits(head) && head.len() <= 3 && groups.all(|part| digits(part) && part.len() == 3);
    let text = format!("{}.{}", whole.replace(group, ""), &cents[1..]);
    let value: f64 = text.parse().ok()?;
    (fits && !(head.len() > 1 && head.starts_with('0'))).then(|| (json!(value), text))
}

fn day(word: &str) -> Option<String> {
    let parts: Vec<&str> = word.split('.').collect();
    let [day, month, year] = parts.as_slice() else {
        return None;
    };
    let fits = day.len() == 2 && month.len() == 2 && year.len() == 4;
    let sound = day.parse::<u32>().is_ok_and(|d| (1..=28).contains(&d))
        && month.parse::<u32>().is_ok_and(|m| (1..=12).contains(&m))
        && year.parse::<u32>().is_ok_and(|y| (1900..2100).contains(&y));
    (fits && sound).then(|| format!("{year}-{month}-{day}"))
}

fn other_digit(dice: &mut Dice, text: &str) -> Option<String> {
    let places: Vec<usize> = text
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    let at = *dice.pick(&places)?;
    let old = text.as_bytes()[at] - b'0';
    let new = (old + 1 + dice.roll(9) as u8) % 10;
    Some(format!("{}{new}{}", &text[..at], &text[at + 1..]))
}

/// As a model may copy it: other white space, other case.
fn as_copied(dice: &mut Dice, text: &str) -> String {
    match dice.roll(4) {
        0 => text.to_uppercase(),
        1 => text.split_whitespace().collect::<Vec<_>>().join("  "),
        2 => text.split_whitespace().collect::<Vec<_>>().join("\n"),
        _ => text.to_owned(),
    }
}

/// Whether the leaf is verified at a place where its text stands; a verified leaf at any other
/// place fails at once.
fn verified(planted: &Planted, leaf: &Attribution, text: &str) -> bool {
    if leaf.verdict != Some(Verdict::Verified) {
        return false;
    }
    let quotes = leaf.quotes.iter().filter(|quote| quote.verified);
    let there: Vec<String> = quotes
        .map(|quote| {
            let pages = &planted.document.pages;
            let page = pages
                .iter()
                .find(|page| Some(page.number) == quote.page)
                .unwrap();
            page.slice(quote.start.unwrap(), quote.end.unwrap())
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        plain(&there.join(" ")),
        plain(text),
        "{}: stands elsewhere",
        planted.path
    );
    true
}

fn one(
    planted: &Planted,
    what: &'static str,
    right: bool,
    kind: Value,
    value: Value,
    quote: &str,
    page: Option<u32>,
) -> Outcome {
    let schema = json!({"properties": {"x": kind}});
    let value = json!({"x": value});
    let proved = planted.prove(schema, &value, &[("/x", quote, page)]);
    let leaf = &proved["/x"];
    let verified = if right {
        verified(planted, leaf, quote)
    } else {
        leaf.verdict == Some(Verdict::Verified)
    };
    let story = format!(
        "{}: {value} from `{quote}` (page {page:?}) is {:?}",
        planted.path, leaf.verdict
    );
    Outcome {
        what,
        right,
        verified,
        story,
    }
}

type Kind = fn(&mut Dice, &Planted) -> Option<Outcome>;

const KINDS: &[Kind] = &[
    right_text,
    right_number,
    right_date,
    wrong_page,
    over_line_break,
    altered_value,
    altered_quote,
    mid_word,
    repeated,
    repeated_on_named_page,
    repeated_beside_its_row,
    value_not_in_quote,
    wrong_number_of_quote,
];

fn text() -> Value {
    json!({"type": "string"})
}

fn unique(dice: &mut Dice, planted: &Planted, page: &Page) -> Option<(usize, usize)> {
    let words = 2 + dice.roll(6);
    let span = stretch(dice, page, words)?;
    (planted.count(text_of(page, span)) == 1).then_some(span)
}

fn right_text(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let (first, last) = unique(dice, planted, page)?;
    let from = first + dice.roll(last - first + 1);
    let to = from + dice.roll(last - from + 1);
    let value = text_of(page, (from, to)).replace('\n', " ");
    let value = value.trim_matches(|c: char| !c.is_alphanumeric());
    let quote = as_copied(dice, text_of(page, (first, last)));
    // A sign before a number is of it: `-5` is no `5`.
    let sound = value.chars().any(char::is_alphabetic);
    sound.then(|| {
        one(
            planted,
            "right text",
            true,
            text(),
            json!(value),
            &quote,
            Some(page.number),
        )
    })
}

/// A unique stretch of words with one that `read` takes.
fn around<T>(
    dice: &mut Dice,
    planted: &Planted,
    read: fn(&str) -> Option<T>,
) -> Option<(T, String, u32)> {
    let page = page_of(dice, planted)?;
    let places: Vec<usize> = (0..page.words.len())
        .filter(|at| read(&page.words[*at].text).is_some())
        .collect();
    let at = *dice.pick(&places)?;
    let line = page
        .lines
        .iter()
        .find(|line| (line.start as usize..line.end as usize).contains(&at))?;
    let first = at - dice.roll((at - line.start as usize).min(4) + 1);
    let last = at + dice.roll((line.end as usize - 1 - at).min(4) + 1);
    let bare = |word: &str| {
        word.chars().next().is_some_and(char::is_alphanumeric)
            && word.chars().last().is_some_and(char::is_alphanumeric)
    };
    let quote = text_of(page, (first, last));
    let whole = bare(&page.words[first].text) && bare(&page.words[last].text);
    (whole && planted.count(quote) == 1).then(|| {
        let value = read(&page.words[at].text).unwrap();
        (value, quote.to_owned(), page.number)
    })
}

fn right_number(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let ((value, _), quote, _) = around(dice, planted, amount)?;
    // Figures that a space parts may be one number: neither reading is planted.
    let words: Vec<&str> = quote.split_whitespace().collect();
    let figure = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let grouped = words
        .windows(2)
        .any(|pair| figure(&pair[0]) && figure(&pair[1]));
    let edges = words.first().is_some_and(&figure) || words.last().is_some_and(&figure);
    let lone = edges
        && value
            .as_f64()
            .is_some_and(|v| v < 1000.0 || v.fract() != 0.0);
    if grouped || lone {
        return None;
    }
    Some(one(
        planted,
        "right number",
        true,
        json!({"type": "number"}),
        value,
        &quote,
        None,
    ))
}

fn right_date(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let (value, quote, _) = around(dice, planted, day)?;
    let kind = json!({"type": "string", "format": "date"});
    Some(one(
        planted,
        "right date",
        true,
        kind,
        json!(value),
        &quote,
        None,
    ))
}

fn wrong_page(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let span = unique(dice, planted, page)?;
    let quote = text_of(page, span);
    let wrong = page.number % planted.document.pages.len() as u32 + 1 + dice.roll(2) as u32;
    let wrong = if wrong == page.number {
        wrong + 1
    } else {
        wrong
    };
    Some(one(
        planted,
        "wrong page named",
        true,
        text(),
        json!(plain(quote)),
        quote,
        Some(wrong),
    ))
}

fn over_line_break(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let line = page
        .lines
        .get(dice.roll(page.lines.len().saturating_sub(1)))?;
    let end = line.end as usize;
    let first = end
        .saturating_sub(1 + dice.roll(3))
        .max(line.start as usize);
    let last = (end + dice.roll(3)).min(page.words.len() - 1);
    let bare = |at: usize| {
        let word = &page.words[at].text;
        word.chars().next().is_some_and(char::is_alphanumeric)
            && word.chars().last().is_some_and(char::is_alphanumeric)
    };
    let quote = plain(text_of(page, (first, last)));
    let fits = last >= end && bare(first) && bare(last) && planted.count(&quote) == 1;
    fits.then(|| {
        one(
            planted,
            "over a line break",
            true,
            text(),
            json!(quote.clone()),
            &quote,
            None,
        )
    })
}

fn altered_value(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let ((_, digits), quote, page) = around(dice, planted, amount)?;
    let other = other_digit(dice, &digits)?;
    let value: Value = serde_json::from_str(&other).ok()?;
    let same = quote.split_whitespace().any(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_digit());
        let there = amount(bare).and_then(|(there, _)| there.as_f64());
        there.or(bare.parse().ok()) == value.as_f64()
    });
    (!same).then(|| {
        one(
            planted,
            "altered digit in the value",
            false,
            json!({"type": "number"}),
            value,
            &quote,
            Some(page),
        )
    })
}

fn altered_quote(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let words = 2 + dice.roll(6);
    let span = stretch(dice, page, words)?;
    let quote = other_digit(dice, text_of(page, span))?;
    (planted.count(&quote) == 0).then(|| {
        one(
            planted,
            "altered digit in the quote",
            false,
            text(),
            json!(plain(&quote)),
            &quote,
            None,
        )
    })
}

fn mid_word(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let words = 1 + dice.roll(3);
    let span = stretch(dice, page, words)?;
    let chars: Vec<char> = text_of(page, span).chars().collect();
    let (from, to) = if dice.roll(2) == 0 {
        (1, chars.len())
    } else {
        (0, chars.len() - 1)
    };
    let quote: String = chars.get(from..to)?.iter().collect();
    let inner = quote.trim() == quote && quote.len() >= 2;
    let ends = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    let cut = ends(chars.first())
        && ends(chars.last())
        && quote.starts_with(char::is_alphanumeric)
        && quote.ends_with(char::is_alphanumeric);
    // Nowhere in the document may it be whole words.
    let at_word = planted
        .text
        .match_indices(&plain(&quote))
        .any(|(at, found)| {
            let before = planted.text[..at].chars().next_back();
            let after = planted.text[at + found.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        });
    // Nor with other signs between them, which are no part of words.
    let parts: Vec<&str> = quote
        .split(|c: char| c.is_whitespace() || "[](){};".contains(c))
        .collect();
    let parted = parts.len() > 1 && worded(&planted.text).contains(&worded(&quote));
    let value = match amount(&quote) {
        Some((number, _)) if dice.roll(2) == 0 => number,
        _ => json!(quote),
    };
    let kind = if value.is_number() {
        json!({"type": "number"})
    } else {
        text()
    };
    (inner && cut && !at_word && !parted).then(|| {
        one(
            planted,
            "mid-word",
            false,
            kind,
            value,
            &quote,
            Some(page.number),
        )
    })
}

/// Words that stand as they are more than once, and the pages they stand on.
fn repeated_words(dice: &mut Dice, planted: &Planted) -> Option<(String, Vec<u32>)> {
    let page = page_of(dice, planted)?;
    let words = 1 + dice.roll(2);
    let span = stretch(dice, page, words)?;
    let wanted = plain(text_of(page, span));
    let mut pages = Vec::new();
    for page in &planted.document.pages {
        let all: Vec<String> = page
            .words
            .iter()
            .map(|word| word.text.to_lowercase())
            .collect();
        let parts: Vec<&str> = wanted.split(' ').collect();
        let count = all
            .windows(parts.len())
            .filter(|there| there.iter().zip(&parts).all(|(a, b)| a == b))
            .count();
        pages.extend(std::iter::repeat_n(page.number, count));
    }
    (pages.len() > 1).then_some((wanted, pages))
}

fn repeated(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let (quote, _) = repeated_words(dice, planted)?;
    Some(one(
        planted,
        "repeated quote",
        false,
        text(),
        json!(quote.clone()),
        &quote,
        None,
    ))
}

fn repeated_on_named_page(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let (quote, pages) = repeated_words(dice, planted)?;
    let page = *dice.pick(&pages)?;
    let alone = pages.iter().filter(|there| **there == page).count() == 1;
    // Counted as text it may stand there once more, with signs around it or inside a word.
    let there = planted
        .document
        .pages
        .iter()
        .find(|there| there.number == page)?;
    let alone = alone && plain(&there.text).matches(&quote).count() == 1;
    alone.then(|| {
        one(
            planted,
            "repeated quote, page named",
            true,
            text(),
            json!(quote.clone()),
            &quote,
            Some(page),
        )
    })
}

/// A word that is repeated in the document, in a row whose other cell is not.
fn repeated_beside_its_row(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let (wanted, _) = repeated_words(dice, planted)?;
    let mut lines = Vec::new();
    for page in &planted.document.pages {
        for line in &page.lines {
            let words: Vec<String> = (line.start..line.end)
                .map(|at| plain(&page.words[at as usize].text))
                .collect();
            let row = words.join(" ");
            if row.matches(&wanted).count() == 1 && words.contains(&wanted) {
                let others: Vec<String> = words
                    .into_iter()
                    .filter(|word| *word != wanted && planted.count(word) == 1)
                    .collect();
                lines.extend(
                    dice.pick(&others)
                        .cloned()
                        .map(|other| (other, page.number)),
                );
            }
        }
    }
    let (other, page) = dice.pick(&lines)?.clone();
    let bare = other.starts_with(char::is_alphanumeric) && other.ends_with(char::is_alphanumeric);
    if !bare {
        return None;
    }
    let schema =
        json!({"properties": {"rows": {"items": {"properties": {"a": text(), "b": text()}}}}});
    let value = json!({"rows": [{"a": wanted, "b": other}]});
    let proved = planted.prove(
        schema,
        &value,
        &[("/rows/0/a", &wanted, None), ("/rows/0/b", &other, None)],
    );
    let leaf = &proved["/rows/0/a"];
    let placed = verified(planted, leaf, &wanted);
    if placed {
        let beside = &proved["/rows/0/b"].quotes[0];
        assert_eq!(
            (leaf.quotes[0].page, beside.page),
            (Some(page), Some(page)),
            "{}: {value}",
            planted.path
        );
        let there = planted
            .document
            .pages
            .iter()
            .find(|there| there.number == page)
            .unwrap();
        let line = |quote: &Quote| {
            there
                .lines
                .iter()
                .position(|line| there.words[line.end as usize - 1].end() >= quote.end.unwrap())
        };
        assert_eq!(
            line(&leaf.quotes[0]),
            line(beside),
            "{}: {value} is in another row",
            planted.path
        );
    }
    let story = format!("{}: {value} is {:?}", planted.path, leaf.verdict);
    Some(Outcome {
        what: "repeated quote beside its row",
        right: true,
        verified: placed,
        story,
    })
}

fn value_not_in_quote(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let page = page_of(dice, planted)?;
    let quote = text_of(page, unique(dice, planted, page)?);
    let other = page_of(dice, planted)?;
    let words = 1 + dice.roll(3);
    let value = plain(text_of(other, stretch(dice, other, words)?));
    let apart = !plain(quote).contains(&value) && !squeezed(quote).contains(&squeezed(&value));
    apart.then(|| {
        one(
            planted,
            "value not in the quote",
            false,
            text(),
            json!(value),
            quote,
            Some(page.number),
        )
    })
}

fn squeezed(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn wrong_number_of_quote(dice: &mut Dice, planted: &Planted) -> Option<Outcome> {
    let ((value, _), _, _) = around(dice, planted, amount)?;
    let page = page_of(dice, planted)?;
    let quote = text_of(page, unique(dice, planted, page)?);
    let digits: String = value
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let apart = !quote
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .contains(digits.trim_end_matches('0'));
    apart.then(|| {
        one(
            planted,
            "number not in the quote",
            false,
            json!({"type": "number"}),
            value,
            quote,
            Some(page.number),
        )
    })
}

#[test]
fn what_is_right_is_verified_and_what_is_wrong_never() {
    let documents = documents();
    assert!(documents.len() >= 5, "the documents are gone");
    let cases = CASES.max(documents.len() * 60);
    let mut dice = Dice(20_260_301);
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut right, mut held, mut count) = (0, 0, 0);
    let (mut missed, mut wrong) = (Vec::new(), Vec::new());
    for turn in 0.. {
        if count == cases {
            break;
        }
        assert!(
            turn < cases * 400,
            "too few cases can be made of the documents"
        );
        let kind = KINDS[turn % KINDS.len()];
        let planted = &documents[dice.roll(documents.len())];
        let Some(outcome) = kind(&mut dice, planted) else {
            continue;
        };
        count += 1;
        let entry = seen.entry(outcome.what).or_default();
        entry.0 += 1;
        entry.1 += usize::from(outcome.verified == outcome.right);
        if outcome.right {
            right += 1;
            held += usize::from(outcome.verified);
            if !outcome.verified {
                missed.push(format!("{}: {}", outcome.what, outcome.story));
            }
        } else if outcome.verified {
            wrong.push(format!("{}: {}", outcome.what, outcome.story));
        }
    }
    println!(
        "{} documents, {count} cases, {held} of {right} right ones verified",
        documents.len()
    );
    for (what, (all, good)) in &seen {
        println!("  {what}: {good} of {all}");
    }
    let some: Vec<_> = missed.iter().take(20).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong ones are verified:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(seen.len() >= 12 && right * 3 > count, "{seen:?}");
    assert!(
        held * 100 >= right * 98,
        "{held} of {right} right ones verified; not:\n{some:#?}"
    );
}
