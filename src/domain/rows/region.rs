//! Which lines may hold rows.

use std::ops::Range;

use super::List;
use super::printed::bare;
use super::survey::Survey;

/// Pages up to which a document is read whole.
const FEW_PAGES: usize = 6;
/// Properties that a header must name, at least.
const NAMED: usize = 3;
/// The part of the pages, in hundredths, that must be free of rows for it to pay.
const WORTH: usize = 25;

/// Ranges of lines, disjoint and in order, outside of which there is surely no row.
///
/// Pages are left out only where a header names the list's properties, so that its rows are known
/// to be those of a table, and only such as have no line of several cells with a figure, and no
/// neighbour that has one.
pub(super) fn regions(survey: &Survey, list: &List) -> Vec<Range<usize>> {
    let all = 0..survey.lines.len();
    if all.is_empty() {
        return Vec::new();
    }
    let pages = survey.document().pages.len();
    // What stands on a page without words is not known.
    let is_whole = pages <= FEW_PAGES || !survey.document().unread.is_empty();
    if is_whole || !all.clone().any(|line| names(survey, list, line)) {
        return vec![all];
    }
    let mut kept = vec![false; pages];
    for line in all.clone() {
        let cells = survey.cells(line);
        let may_hold = cells.len() >= 2 && cells.iter().any(|cell| cell.has_digit);
        if may_hold || names(survey, list, line) {
            let page = survey.lines[line].page;
            kept[page.saturating_sub(1)..pages.min(page + 2)].fill(true);
        }
    }
    let left_out = kept.iter().filter(|kept| !**kept).count();
    if left_out * 100 < pages * WORTH {
        return vec![all];
    }
    let mut regions: Vec<Range<usize>> = Vec::new();
    for line in all.filter(|line| kept[survey.lines[*line].page]) {
        match regions.last_mut() {
            Some(region) if region.end == line => region.end += 1,
            _ => regions.push(line..line + 1),
        }
    }
    regions
}

/// Whether the cells of a line are called like properties of the rows.
fn names(survey: &Survey, list: &List, line: usize) -> bool {
    let cells = survey.cells(line);
    if cells.len() < 2 || cells.iter().any(|cell| cell.has_digit) {
        return false;
    }
    let said: Vec<String> = survey
        .words(line)
        .iter()
        .map(|word| bare(&word.text))
        .collect();
    let named = list.properties.iter().filter(|property| {
        let mut words = property.words.iter();
        words.any(|word| said.contains(word))
    });
    let least = NAMED.max(list.properties.len().div_ceil(2));
    named.count() >= least
}
