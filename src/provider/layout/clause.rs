//! Running text: what contracts say in sentences rather than under labels.

use serde_json::Value;

use super::date;
use super::find::{Found, Source};
use super::kind::Kind;
use super::lexicon::lexicon;
use super::page::{Span, bare};
use super::query::Phrases;
use super::schema::Leaf;
use super::text::{Pattern, fold, pattern, tokens};
use super::value::{Side, read};

/// Words of the beginning of a document, where its date and parties are stated.
const OPENING: usize = 700;
/// Words looked through in all.
const LONGEST: usize = 120_000;

/// The words of the document one after the other, with where each begins in their text.
struct Flow<'d> {
    text: String,
    /// Byte, page and index of each word.
    words: Vec<(usize, usize, usize, &'d str)>,
}

impl<'d> Flow<'d> {
    fn of(source: &Source<'d>, most: usize) -> Self {
        let mut flow = Self {
            text: String::new(),
            words: Vec::new(),
        };
        for (index, page) in source.document.pages.iter().enumerate() {
            for (at, word) in page.words.iter().enumerate() {
                if flow.words.len() >= most {
                    return flow;
                }
                let bare = bare(&word.text);
                if !bare.is_empty() {
                    flow.words.push((flow.text.len(), index, at, bare));
                    flow.text.push_str(bare);
                    flow.text.push(' ');
                }
            }
        }
        flow
    }

    /// Index of the word at a byte.
    fn word_at(&self, byte: usize) -> usize {
        self.words
            .partition_point(|(start, ..)| *start <= byte)
            .saturating_sub(1)
    }

    /// The places of the words `first..=last`, one span a page.
    fn spans(&self, first: usize, last: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (_, page, at, _) in &self.words[first..=last.min(self.words.len().saturating_sub(1))] {
            match spans.last_mut() {
                Some(span) if span.page == *page && *at <= span.last + 3 => span.last = *at,
                _ => spans.push(Span {
                    page: *page,
                    first: *at,
                    last: *at,
                }),
            }
        }
        spans
    }

    /// The text before a byte, `most` bytes of it or a little less.
    fn before(&self, byte: usize, most: usize) -> &str {
        let mut from = byte.saturating_sub(most);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        self.text.get(from..byte).unwrap_or_default()
    }

    fn slice(&self, first: usize, count: usize) -> Vec<&'d str> {
        self.words
            .iter()
            .skip(first)
            .take(count)
            .map(|(.., word)| *word)
            .collect()
    }
}

pattern!(
    LAW = r"(?i)\blaws\s+of\s+(?:the\s+)?(?:(?:state|commonwealth|province|republic)\s+of\s+)?"
);
pattern!(
    VERSUS = r"(?P<p>[^;:]{3,160}?),? (?:Plaintiff|Petitioner|Appell)[\w–/-]*(?: and [A-Z]\w+)?,? vs?\. (?P<d>[^;:]{3,160}?),? (?:Defendant|Respondent|Appell)[\w–/-]*"
);
pattern!(GOVERNED = r"(?i)\b(?:govern|constru|interpret|enforced)\w*\b[^;]*$");
pattern!(
    DATED = r"(?i)\b(?:dated\s+(?:as\s+of|effective)?|effective\s+(?:as\s+of|date\s+of|on)?|(?:made|entered\s+into)(?:\s+and\s+entered\s+into)?(?:,?\s+effective)?\s+(?:as\s+of|on|this)|as\s+of\s+(?:the\s+)?)\s*"
);
pattern!(BETWEEN = r"(?i)\b(?:by\s+and\s+)?(?:between|among)\s+");
pattern!(
    TERM = r"(?i)\b(?:terms?|expires?|terminates?|force|effect|survives?|continues?|period)\b[^.;]{0,70}?\b(?P<n>\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|eighteen|twenty|twenty-four|thirty|thirty-six)\s*(?:\((?P<d>\d{1,3})\)\s*)?[- ]?(?P<u>years?|months?|days?)\b"
);
pattern!(
    NAME_END = r",\s+(?:a|an|the|with|having|whose|located|organized|doing|and)\s|\s\(|\s+and\s|;|,\s*$|\.\s"
);

const COUNTS: &[(&str, u32)] = &[
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("twelve", 12),
    ("fifteen", 15),
    ("eighteen", 18),
    ("twenty", 20),
    ("twenty-four", 24),
    ("thirty", 30),
    ("thirty-six", 36),
];

impl Source<'_> {
    /// What the sentences of a contract say of a field with these labels.
    pub(super) fn said(&self, leaf: &Leaf, phrases: &Phrases) -> Option<Found> {
        let about = |text: &str| {
            phrases
                .weight(&tokens(text))
                .is_some_and(|weight| weight >= 0.7)
        };
        if matches!(leaf.kind, Kind::Date { .. })
            && (about("effective date") || about("agreement date"))
        {
            self.dated(leaf)
        } else if leaf.kind == Kind::Name && (about("plaintiff") || about("defendant")) {
            self.litigant(leaf, if about("plaintiff") { "p" } else { "d" })
        } else if leaf.kind == Kind::Text && about("term") {
            self.term(leaf)
        } else {
            None
        }
    }

    /// The law that governs, for a field about it: a sentence states it far more often than a
    /// label.
    pub(super) fn law_of(&self, leaf: &Leaf, phrases: &Phrases) -> Option<Found> {
        let about = phrases
            .weight(&tokens("governing law"))
            .is_some_and(|weight| weight >= 0.7);
        if about { self.law(leaf) } else { None }
    }

    /// The state or country whose law governs: the first one named after `laws of` where the
    /// sentence speaks of governing, else the first state at all.
    fn law(&self, leaf: &Leaf) -> Option<Found> {
        let flow = Flow::of(self, LONGEST);
        let mut first_state = None;
        for hit in LAW.get()?.find_iter(&flow.text) {
            let first = flow.word_at(hit.end());
            let words = flow.slice(first, 4);
            let place = |count: &usize| {
                let text = words[..*count].join(" ");
                let name = fold(text.trim_matches(|c: char| !c.is_alphanumeric()));
                let known = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == name);
                let state = known(&lexicon().states);
                (state || known(&lexicon().countries)).then_some((*count, state))
            };
            let Some((count, state)) = (1..=words.len()).rev().find_map(|count| place(&count))
            else {
                continue;
            };
            if GOVERNED.is_match(flow.before(hit.start(), 260)) {
                return self.law_at(leaf, &flow, (first, count), 0.85);
            }
            if state && first_state.is_none() {
                first_state = Some((first, count));
            }
        }
        self.law_at(leaf, &flow, first_state?, 0.7)
    }

    fn law_at(
        &self,
        leaf: &Leaf,
        flow: &Flow<'_>,
        (first, count): (usize, usize),
        sure: f32,
    ) -> Option<Found> {
        let read = read(leaf, &flow.slice(first, count), self.habits(), Side::Any)?;
        let text = read.value.as_str()?.trim_end_matches(['.', ',', ';']);
        let value = Value::String(text.to_owned());
        let spans = flow.spans(first, first + count - 1);
        leaf.takes(&value).then(|| found(value, spans, sure))
    }

    /// A side of a case that the opening words name: `A, Plaintiff, v. B, Defendant.`
    fn litigant(&self, leaf: &Leaf, side: &str) -> Option<Found> {
        let flow = Flow::of(self, OPENING);
        let hit = VERSUS.get()?.captures(&flow.text)?.name(side)?;
        let (mut first, last) = (flow.word_at(hit.start()), flow.word_at(hit.end() - 1));
        let (_, page, at, _) = *flow.words.get(last)?;
        if side == "p" {
            // What stands in lines above is of the title.
            let lines = &self.document.pages.get(page)?.lines;
            let line = lines.iter().find(|line| line.contains(&(at as u32)))?;
            let begins = |index: &usize| {
                let (_, there, word, _) = flow.words[*index];
                there == page && word >= line.start as usize
            };
            first = (first..=last).find(begins)?;
        }
        let words = flow.slice(first, last + 1 - first);
        let read = read(leaf, &words, self.habits(), Side::Any)?;
        Some(found(read.value, flow.spans(first, last), 0.8))
    }

    /// The date the opening words give the paper.
    fn dated(&self, leaf: &Leaf) -> Option<Found> {
        let flow = Flow::of(self, OPENING);
        for hit in DATED.get()?.find_iter(&flow.text) {
            let first = flow.word_at(hit.end());
            let words = flow.slice(first, 7);
            let dates = date::find(&words, self.habits().order);
            let Some((_, from, to)) = dates.first().filter(|(_, from, _)| *from <= 1) else {
                continue;
            };
            let read = read(leaf, &words[*from..=*to], self.habits(), Side::Any)?;
            return Some(found(
                read.value,
                flow.spans(first + from, first + to),
                0.75,
            ));
        }
        None
    }

    /// How long an agreement lasts, as a number and a unit: the one length the text speaks of.
    fn term(&self, leaf: &Leaf) -> Option<Found> {
        let flow = Flow::of(self, LONGEST);
        let mut only: Option<(String, usize, usize)> = None;
        for hit in TERM.get()?.captures_iter(&flow.text) {
            let count = hit
                .name("d")
                .and_then(|digits| digits.as_str().parse().ok())
                .or_else(|| {
                    let word = hit["n"].to_lowercase();
                    let known = COUNTS
                        .iter()
                        .find(|(name, _)| *name == word)
                        .map(|(_, count)| *count);
                    known.or_else(|| word.parse().ok())
                });
            let Some(count) = count.filter(|_| !hit["u"].to_lowercase().starts_with("day")) else {
                continue;
            };
            // A term of employment or of notice is not that of the agreement.
            let start = hit.get(0).map_or(0, |whole| whole.start());
            let number = hit.name("n")?.start();
            let before = fold(flow.before(number, number - start + 160));
            if !["this agreement", "confidential", "obligation"]
                .iter()
                .any(|word| before.contains(word))
            {
                continue;
            }
            let unit = hit["u"].to_lowercase();
            let unit = unit.trim_end_matches('s');
            let text = format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
            let (start, end) = (hit.name("n")?.start(), hit.name("u")?.end());
            match &only {
                Some((known, _, _)) if *known == text => {}
                Some(_) => return None,
                None => {
                    only = Some((
                        text,
                        flow.word_at(start),
                        flow.word_at(end.saturating_sub(1)),
                    ));
                }
            }
        }
        let (text, first, last) = only?;
        let value = Value::String(text);
        leaf.takes(&value)
            .then(|| found(value, flow.spans(first, last), 0.6))
    }

    /// The names behind `between`, each up to what says what they are.
    pub(super) fn parties(&self, leaf: &Leaf) -> Vec<Found> {
        let flow = Flow::of(self, OPENING);
        let Some(hit) = first(&BETWEEN, &flow.text) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        let mut at = hit;
        while all.len() < 6 {
            let Some((start, end, next)) = name(&flow.text, at) else {
                break;
            };
            let (first, last) = (flow.word_at(start), flow.word_at(end.saturating_sub(1)));
            let text = flow.text[start..end].trim_end_matches([',', ' ', '.', ';']);
            // `Inc.` keeps its point.
            let dotted = flow.text[start..end].trim_end().ends_with('.');
            let abbreviated = ["Inc", "Corp", "Ltd", "Co", "L.P", "N.A", "L.L.C"]
                .iter()
                .any(|end| text.ends_with(end));
            let text = if dotted && abbreviated {
                format!("{text}.")
            } else {
                text.to_owned()
            };
            let value = Value::String(text);
            if !leaf.takes(&value) {
                break;
            }
            all.push(found(value, flow.spans(first, last), 0.7));
            let Some(next) = next else { break };
            at = next;
        }
        if all.len() >= 2 { all } else { Vec::new() }
    }
}

fn first(pattern: &Pattern, text: &str) -> Option<usize> {
    pattern.get()?.find(text).map(|hit| hit.end())
}

/// A name that begins at a byte: its end, and where the next one begins behind `and`.
fn name(text: &str, at: usize) -> Option<(usize, usize, Option<usize>)> {
    let rest = text.get(at..)?;
    let proper = rest.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    let cut = NAME_END.get()?.find_iter(rest).find(|hit| {
        // A full stop of an abbreviation ends no sentence.
        !(hit.as_str().starts_with('.') && is_abbreviated(&rest[..hit.start()]))
    })?;
    let length = rest[..cut.start()].split(' ').count();
    let plain = !rest[..cut.start()].contains(['(', ')', '“', '”', '"', ':']);
    if !proper || !plain || length > 9 || cut.start() < 3 {
        return None;
    }
    let tail = rest.get(cut.start()..)?;
    let sentence = tail.find(". ").map_or(tail.len(), |stop| stop).min(400);
    let mut limit = sentence.min(tail.len());
    while !tail.is_char_boundary(limit) {
        limit -= 1;
    }
    let next = tail[..limit]
        .match_indices(" and ")
        .map(|(and, _)| at + cut.start() + and + 5)
        .find(|next| text[*next..].starts_with(|c: char| c.is_uppercase()));
    Some((at, at + cut.start(), next))
}

fn is_abbreviated(text: &str) -> bool {
    let last = text.rsplit(' ').next().unwrap_or_default();
    [
        "Inc", "Corp", "Ltd", "Co", "St", "Mr", "Ms", "Dr", "No", "L.P", "N.A", "L.L.C",
    ]
    .contains(&last)
        || last.chars().count() == 1
}

fn found(value: Value, spans: Vec<Span>, confidence: f32) -> Found {
    Found {
        value,
        spans,
        confidence,
        how: "stated in a sentence",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_before_what_says_what_they_are() {
        let text = "JDA Software Group, Inc., a Delaware corporation (together, “JDA”), and RedPrairie Holding, Inc., a Delaware corporation. ";
        let (start, end, next) = name(text, 0).unwrap();
        assert_eq!(&text[start..end], "JDA Software Group, Inc.");
        let (start, end, _) = name(text, next.unwrap()).unwrap();
        assert_eq!(&text[start..end], "RedPrairie Holding, Inc.");
    }
}
