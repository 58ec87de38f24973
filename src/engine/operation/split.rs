//! A file of several documents: which pages each has. Every page is in exactly one.

use std::ops::Range;

use serde_json::{Value, json};

use super::classify::{choice, described};
use super::failed;
use crate::domain::boundary::{Boundary, boundaries, documents};
use crate::domain::document::Document;
use crate::domain::error::Fault;
use crate::domain::likeness::{choose, likeness, rounded};
use crate::domain::operation::Split;
use crate::engine::ports::CallError;

/// Confidence in a boundary that had to be mended.
const MENDED: f64 = 0.3;
/// A score of this is no evidence either way.
const NEUTRAL: f64 = -0.3;

pub(super) fn question(asked: &Split) -> Value {
    let mut properties = json!({
        "title": {"type": ["string", "null"], "description": "What the document calls itself, as printed"},
        "first_page": {"type": "integer", "minimum": 1, "description": "Number of its first page in the file"},
        "last_page": {"type": "integer", "minimum": 1, "description": "Number of its last page in the file"}
    });
    if !asked.kinds.is_empty() {
        let kinds = described(&asked.kinds);
        let description = format!("The kind that it is; null where none fits. Kinds are: {kinds}");
        properties["kind"] = choice(&asked.kinds, &description);
    }
    json!({
        "type": "object",
        "title": "The documents that the file is made of",
        "description": "The file holds one document or several, one after the other. Say for each on which page of the file it begins and ends. Every page belongs to exactly one. A page of another kind, letterhead, number or date that does not go on from the page before begins a document; an annex that is named in a document is part of it.",
        "properties": {
            "documents": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": properties,
                    "required": properties_required(asked)
                },
                "description": "In the order of their pages"
            }
        },
        "required": ["documents"]
    })
}

fn properties_required(asked: &Split) -> Vec<&'static str> {
    let mut names = vec!["title", "first_page", "last_page"];
    names.extend((!asked.kinds.is_empty()).then_some("kind"));
    names
}

/// What is printed alone tells: where it does not, all pages are one document.
pub(super) fn evident(document: &Document, asked: &Split) -> Value {
    let pages = &document.pages;
    let found = boundaries(pages);
    let parts = documents(&found, pages.len()).into_iter().map(|part| {
        let kind = choose(&likeness(&pages[part.clone()], &asked.kinds));
        let sure = |at: usize| {
            let distance = (found[at].score - 0.6).abs();
            (0.5 + 0.4 * distance).min(0.95)
        };
        Part {
            kind: kind.map(|(at, _)| asked.kinds[at].name.clone()),
            kind_confidence: kind.map(|(_, confidence)| confidence),
            title: None,
            confidence: edges(&part, found.len()).map(sure).fold(1.0, f64::min),
            reasons: reasons(&found, part.start),
            pages: part,
        }
    });
    told(parts.collect(), document)
}

/// The places between pages that a part depends on: its ends, and those inside.
fn edges(part: &Range<usize>, count: usize) -> Range<usize> {
    part.start.saturating_sub(1)..part.end.min(count)
}

fn reasons(found: &[Boundary], start: usize) -> Vec<String> {
    let boundary = start.checked_sub(1).and_then(|at| found.get(at));
    boundary.map_or_else(Vec::new, |boundary| boundary.reasons.clone())
}

struct Part {
    kind: Option<String>,
    kind_confidence: Option<f64>,
    title: Option<String>,
    /// Indices.
    pages: Range<usize>,
    confidence: f64,
    reasons: Vec<String>,
}

fn told(parts: Vec<Part>, document: &Document) -> Value {
    let number = |at: usize| {
        document
            .pages
            .get(at)
            .map_or(at as u32 + 1, |page| page.number)
    };
    let part = |part: Part| {
        json!({
            "kind": part.kind,
            "kind_confidence": part.kind_confidence,
            "title": part.title,
            "first_page": number(part.pages.start),
            "last_page": number(part.pages.end - 1),
            "confidence": rounded(part.confidence),
            "reasons": part.reasons,
        })
    };
    json!({
        "page_count": document.pages.len(),
        "documents": parts.into_iter().map(part).collect::<Vec<_>>(),
    })
}

/// What a model says of one document.
struct Said {
    /// From 1, both included.
    first: usize,
    last: usize,
    kind: Option<String>,
    title: Option<String>,
    is_mended: bool,
}

/// A model's answer, each page in one document: overlaps go to the document that begins later,
/// gaps to the one before.
pub(super) fn answered(
    value: &Value,
    document: &Document,
    asked: &Split,
) -> Result<Value, CallError> {
    let count = document.pages.len();
    let said = mended(read(value, count, asked), count);
    if said.is_empty() {
        return Err(failed(
            Fault::ValidationFailed,
            "The model's answer names no document with pages of the file.",
        ));
    }
    let found = boundaries(&document.pages);
    let parts = said.into_iter().map(|said| {
        let pages = said.first - 1..said.last;
        let sure = |at: usize| {
            let is_edge = at + 1 == pages.start || at + 1 == pages.end;
            agreement(is_edge, found[at].score)
        };
        let sure = edges(&pages, found.len()).map(sure).fold(0.95, f64::min);
        let likely = choose(&likeness(&document.pages[pages.clone()], &asked.kinds));
        let agrees =
            likely.is_some_and(|(at, _)| Some(&asked.kinds[at].name) == said.kind.as_ref());
        Part {
            kind_confidence: said
                .kind
                .is_some()
                .then_some(if agrees { 0.9 } else { 0.6 }),
            kind: said.kind,
            title: said.title,
            confidence: if said.is_mended {
                sure.min(MENDED)
            } else {
                sure
            },
            reasons: reasons(&found, pages.start),
            pages,
        }
    });
    Ok(told(parts.collect(), document))
}

/// How sure a place between two pages is, of which a model says whether a document begins there.
fn agreement(is_edge: bool, score: f64) -> f64 {
    let speaks_for = score >= 0.6;
    let speaks_against = score <= NEUTRAL;
    match (is_edge, speaks_for, speaks_against) {
        (true, true, _) | (false, _, true) => 0.95,
        (true, false, false) => 0.7,
        (false, false, false) => 0.8,
        (true, false, true) => 0.4,
        (false, true, _) => 0.5,
    }
}

fn read(value: &Value, count: usize, asked: &Split) -> Vec<Said> {
    let all = value["documents"].as_array().into_iter().flatten();
    let page = |item: &Value, name: &str| {
        item[name]
            .as_u64()
            .and_then(|page| usize::try_from(page).ok())
    };
    let one = |item: &Value| {
        let (first, last) = (page(item, "first_page")?, page(item, "last_page")?);
        let kind = item["kind"].as_str();
        let known = asked
            .kinds
            .iter()
            .find(|known| Some(known.name.as_str()) == kind);
        (1..=count).contains(&first).then(|| Said {
            first,
            last: last.clamp(first, count),
            kind: known.map(|known| known.name.clone()),
            title: item["title"].as_str().map(str::to_owned),
            is_mended: !(first..=count).contains(&last),
        })
    };
    all.filter_map(one).collect()
}

fn mended(mut said: Vec<Said>, count: usize) -> Vec<Said> {
    said.sort_by_key(|one| (one.first, one.last));
    let mut all: Vec<Said> = Vec::new();
    for mut one in said {
        match all.last_mut() {
            None if one.first > 1 => (one.first, one.is_mended) = (1, true),
            Some(before) if before.first == one.first => {
                // Two of the same page: the one that names more of them stays.
                one.is_mended = true;
                *before = one;
                continue;
            }
            Some(before) if before.last + 1 != one.first => {
                before.last = one.first - 1;
                (before.is_mended, one.is_mended) = (true, true);
            }
            _ => {}
        }
        all.push(one);
    }
    if let Some(last) = all.last_mut()
        && last.last != count
    {
        (last.last, last.is_mended) = (count, true);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(said: &[(usize, usize)], count: usize) -> Vec<(usize, usize, bool)> {
        let items: Vec<Value> = said
            .iter()
            .map(|(first, last)| json!({"first_page": first, "last_page": last}))
            .collect();
        let read = read(&json!({"documents": items}), count, &Split::default());
        let all = mended(read, count).into_iter();
        all.map(|one| (one.first, one.last, one.is_mended))
            .collect()
    }

    #[test]
    fn every_page_is_in_one_document_whatever_a_model_says() {
        assert_eq!(ranges(&[(1, 2), (3, 3)], 3), [(1, 2, false), (3, 3, false)]);
        assert_eq!(ranges(&[(3, 3), (1, 2)], 3), [(1, 2, false), (3, 3, false)]);
        assert_eq!(ranges(&[(2, 2)], 3), [(1, 3, true)]);
        assert_eq!(ranges(&[(1, 3), (3, 5)], 5), [(1, 2, true), (3, 5, true)]);
        assert_eq!(ranges(&[(1, 1), (4, 5)], 5), [(1, 3, true), (4, 5, true)]);
        assert_eq!(ranges(&[(1, 9)], 4), [(1, 4, true)]);
        assert_eq!(ranges(&[(1, 1), (1, 4)], 4), [(1, 4, true)]);
        assert_eq!(ranges(&[(0, 4), (9, 12)], 4), []);
        let overlapping = [(1, 6), (2, 3), (2, 5), (6, 6)];
        let mut next = 1;
        for (first, last, _) in ranges(&overlapping, 6) {
            assert_eq!(first, next);
            assert!(last >= first);
            next = last + 1;
        }
        assert_eq!(next, 7);
    }
}
