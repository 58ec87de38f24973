//! Tables whose rows are read off the page by code, once a model has shown how.
//!
//! A model reads a few rows of each table. Where every value that it gave stands, as it gave it, in
//! one column of all these rows, the other rows are read from their columns. Rows of another kind
//! than those that were shown, lines that are none, and tables of which the model said anything
//! else are left to it: what only looks like a value is worse than what has to be asked for.

mod cell;
mod column;
mod learn;
mod lines;
mod read;
mod sample;

use std::ops::Range;

use super::{List, Stretch, Survey, Window};

use self::column::Columns;
use self::lines::Line;

pub use learn::{Lesson, Lessons};
pub use read::{Coded, Division};
pub use sample::Sample;

/// Rows of a table below which it is not worth while to learn how it is read.
const LEAST_ROWS: usize = 30;
/// Words of a schema that say that not all rows are meant; what they mean code cannot tell.
const SELECTIVE: [&str; 24] = [
    "only",
    "except",
    "excluding",
    "exclude",
    "without",
    "unless",
    "ignore",
    "skip",
    "omit",
    "other",
    "not",
    "first",
    "last",
    "top",
    "nur",
    "ohne",
    "ausser",
    "nicht",
    "sauf",
    "sans",
    "seulement",
    "excepte",
    "hors",
    "solo",
];

/// The tables of a document that may be those of an array, as far as their lines show.
#[derive(Debug)]
pub struct Tables {
    columns: Columns,
    /// What each line of the document is.
    lines: Vec<Line>,
    /// In order.
    rows: Vec<Row>,
    /// In order, each with enough rows to be learned from.
    parts: Vec<Part>,
    /// Where rows may be at all.
    regions: Vec<Range<usize>>,
    /// Where the document has as many tables as the schema has lists of such rows: which one is
    /// the list's own.
    own: Option<usize>,
    /// Whether the schema has other lists of such rows.
    has_twins: bool,
}

/// Lines that seem to be one row.
#[derive(Debug)]
struct Row {
    lines: Range<usize>,
    /// Which columns are filled and with what: rows of one kind have the same.
    kind: u32,
    /// Goes on on the next page.
    is_parted: bool,
}

/// A table, or what is between two breaks in it.
#[derive(Debug)]
struct Part {
    /// Into the rows.
    rows: Range<usize>,
    /// All lines from its heading to behind its last row.
    lines: Range<usize>,
    /// The words of its header: what is learned from one holds for others that are called alike.
    header: String,
}

impl Tables {
    /// Looks for tables; none where there are none that are worth it, or where the schema asks for
    /// more than what stands in a row.
    pub fn of(survey: &Survey, list: &List) -> Option<Self> {
        let is_whole = survey.document().unread.is_empty();
        if !is_whole || list.inner().next().is_some() || is_selective(list) {
            return None;
        }
        let regions = super::region::regions(survey, list);
        let outline = super::cut::Outline::of(survey);
        let columns = Columns::of(survey, &outline.starts)?;
        let (lines, rows) = lines::read(survey, &columns);
        let parts = lines::parts(survey, &lines, &rows, &regions);
        let has_twins = list.twins > 1;
        let is_each = has_twins && parts.len() == list.twins && list.before < parts.len();
        let tables = Self {
            own: is_each.then_some(list.before),
            has_twins,
            columns,
            lines,
            rows,
            parts,
            regions,
        };
        (!tables.parts.is_empty()).then_some(tables)
    }
}

/// Whether the array or one of its properties is described with a condition.
fn is_selective(list: &List) -> bool {
    let said = list.array.get("description").and_then(|said| said.as_str());
    let words = said.into_iter().flat_map(str::split_whitespace);
    let mut words = words.map(super::printed::bare);
    words.any(|word| SELECTIVE.contains(&word.as_str()))
}

/// The lines of a stretch as one of the document.
fn stretch(survey: &Survey, lines: &Range<usize>) -> Option<Stretch> {
    survey.stretch(lines.start, lines.end.checked_sub(1)?)
}

/// A window that shows and answers for the same lines.
fn window(survey: &Survey, lines: &Range<usize>) -> Option<Window> {
    let own = stretch(survey, lines)?;
    Some(Window {
        shown: own,
        own,
        context: Vec::new(),
    })
}
