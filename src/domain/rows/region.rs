//! Which lines may hold rows.

use std::ops::Range;

use super::List;
use super::survey::Survey;

/// Ranges of lines, disjoint and in order, outside of which there is surely no row.
pub(super) fn regions(survey: &Survey, _list: &List) -> Vec<Range<usize>> {
    let all = 0..survey.lines.len();
    if all.is_empty() {
        Vec::new()
    } else {
        vec![all]
    }
}
