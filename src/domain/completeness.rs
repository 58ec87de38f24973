//! Whether an array has every row of its document, and how that is known.
//!
//! `complete` is said only where a reading of another kind comes to the same rows and nothing
//! speaks against it. Who trusts a list that lacks a row is worse off than who is told to look.

mod census;
mod ordinal;
mod stated;
mod sums;
mod trace;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::census::{Census as Lines, Counter};
use self::ordinal::{Numbering, numbering};
use self::stated::stated;
use self::sums::sums;
use self::trace::{Row, Trace, trace};
use super::error::Fault;
use super::rows::{List, Merged, Stretch, Survey, Window, says_sum};

/// What the evidence comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Another reading of the document comes to the same rows, and nothing speaks against it.
    Complete,
    /// Something in the document, or a window that was not read, shows that rows are missing.
    Incomplete,
    /// Neither.
    Unknown,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Read,
    /// The answer ended before its last row, and was not continued to its end.
    CutShort,
    /// No answer that could be used.
    Failed,
}

/// Every window of an array, with what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub windows: Vec<(Window, Outcome)>,
    /// Why the first of those that were not read was not.
    pub fault: Option<Fault>,
    /// Lines whose rows code has read, by what a model has read of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Stretch>,
}

/// The verdict on an array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completeness {
    pub verdict: Verdict,
    pub evidence: Evidence,
}

/// What speaks for and against it. Bounded: lists name at most 20 of a kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub rows_read: u32,
    /// Of them, those that code has read off a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_from_tables: Option<u32>,
    /// Rows that were found on no line of the document, or on one that another row has.
    pub rows_without_place: u32,
    /// Rows of which a value was not found where those of other rows are.
    pub rows_unproved: u32,
    pub windows: u32,
    pub windows_read: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows_failed: Vec<Stretch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows_cut_short: Vec<Stretch>,
    pub census: Census,
    /// Lines that look like rows and that no row was read from.
    pub missing: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_at: Vec<Stretch>,
    /// In words, what decided; at most 20.
    pub reasons: Vec<String>,
}

/// What readings of other kinds come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// Lines of the shape that rows have.
    pub table_rows: Option<u32>,
    /// The rows that the numbers printed before them make.
    pub ordinals: Option<u32>,
    /// Counts that the document states of the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<Stated>,
    /// Printed sums of a column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sums: Vec<Sum>,
}

impl Completeness {
    /// Of rows that nothing could be held against.
    pub fn unknown(rows: usize, reason: &str) -> Self {
        Self {
            verdict: Verdict::Unknown,
            evidence: Evidence {
                rows_read: u32::try_from(rows).unwrap_or(u32::MAX),
                reasons: vec![reason.to_owned()],
                ..Evidence::default()
            },
        }
    }
}

/// A count that is printed in the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    pub count: u32,
    pub at: Stretch,
    /// Whether as many rows were read.
    pub agrees: bool,
}

/// A printed sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// JSON Pointer of the property that it sums up, relative to a row.
    pub property: String,
    pub at: Stretch,
    /// Whether it is the sum of the rows that were read.
    pub agrees: bool,
}

/// Judges an array by what was read of it and by the document.
///
/// Time grows with the words of the document and the rows, times the logarithm of either.
pub fn judge(survey: &Survey, list: &List, merged: &Merged, reading: &Reading) -> Completeness {
    let trace = trace(survey, list, merged);
    let mut judge = Judge {
        survey,
        list,
        counter: Counter::new(survey, &trace),
        trace,
        evidence: Evidence {
            rows_read: merged.items.len() as u32,
            windows: reading.windows.len() as u32,
            ..Evidence::default()
        },
        lacks: false,
        doubts: false,
        agrees: false,
        sums: Vec::new(),
    };
    judge.look_at_windows(reading);
    judge.look_at_tables_read(merged, reading);
    judge.look_at_rows(merged);
    judge.look_at_lines();
    judge.finish()
}

/// Lists in the evidence name at most so many.
const MOST_NAMED: usize = 20;

/// A table of which rows were read: its first and last line with the shape of a row, and the
/// first such line of the next table.
struct Span {
    first: usize,
    last: usize,
    next: usize,
}

struct Judge<'j> {
    survey: &'j Survey,
    list: &'j List,
    trace: Trace<'j>,
    counter: Counter<'j>,
    evidence: Evidence,
    /// Something shows that rows are missing.
    lacks: bool,
    /// Something speaks against the rows, or leaves them open.
    doubts: bool,
    /// A reading of another kind comes to the same rows.
    agrees: bool,
    /// Lines on which all figures in the columns of the list are sums of its rows.
    sums: Vec<usize>,
}

impl Judge<'_> {
    fn lack(&mut self, reason: String) {
        self.lacks = true;
        self.say(reason);
    }

    fn doubt(&mut self, reason: String) {
        self.doubts = true;
        self.say(reason);
    }

    fn agree(&mut self, reason: String) {
        self.agrees = true;
        self.say(reason);
    }

    fn say(&mut self, reason: String) {
        if self.evidence.reasons.len() < MOST_NAMED {
            self.evidence.reasons.push(reason);
        }
    }

    fn look_at_windows(&mut self, reading: &Reading) {
        for (window, outcome) in &reading.windows {
            match outcome {
                Outcome::Read => self.evidence.windows_read += 1,
                Outcome::CutShort => self.evidence.windows_cut_short.push(window.own),
                Outcome::Failed => self.evidence.windows_failed.push(window.own),
            }
        }
        let (failed, cut) = (
            self.evidence.windows_failed.len(),
            self.evidence.windows_cut_short.len(),
        );
        self.evidence.windows_failed.truncate(MOST_NAMED);
        self.evidence.windows_cut_short.truncate(MOST_NAMED);
        if failed > 0 {
            let why = reading.fault.map(|fault| format!(" ({})", fault.name()));
            self.lack(format!(
                "{failed} of {} windows were not read{}.",
                reading.windows.len(),
                why.unwrap_or_default()
            ));
        }
        if cut > 0 {
            self.lack(format!(
                "The answers for {cut} windows ended before their last row."
            ));
        }
        let unread = self.survey.document().unread.len();
        if unread > 0 {
            self.doubt(format!(
                "{unread} pages have no words that could be counted."
            ));
        }
    }

    fn look_at_tables_read(&mut self, merged: &Merged, reading: &Reading) {
        let places = merged.places.iter().flatten();
        let coded = places.filter(|place| {
            let after = reading
                .tables
                .partition_point(|known| known.first <= place.first);
            let known = after.checked_sub(1).and_then(|at| reading.tables.get(at));
            known.is_some_and(|known| known.contains(place.first))
        });
        let coded = coded.count() as u32;
        self.evidence.rows_from_tables = (coded > 0).then_some(coded);
    }

    /// What the rows say themselves, and the limits that the schema sets.
    fn look_at_rows(&mut self, merged: &Merged) {
        let rows = merged.items.len() as u64;
        self.evidence.rows_without_place = self.trace.without_place;
        self.evidence.rows_unproved = self.trace.unproved;
        if self.trace.without_place > 0 {
            self.doubt(format!(
                "{} rows were found on no line of their own.",
                self.trace.without_place
            ));
        }
        if self.trace.unproved > 0 {
            self.doubt(format!(
                "{} rows have a value that does not stand where other rows have it.",
                self.trace.unproved
            ));
        }
        if let Some(least) = self.list.limit("minItems").filter(|least| rows < *least) {
            self.lack(format!(
                "The schema wants at least {least} rows, and {rows} were read."
            ));
        }
        if let Some(most) = self.list.limit("maxItems").filter(|most| rows > *most) {
            self.doubt(format!(
                "The schema allows {most} rows, and {rows} were read."
            ));
        }
        if self.list.is_unique() && has_equal(&merged.items) {
            self.doubt("The schema wants every row once, and some are there twice.".to_owned());
        }
    }

    /// What the lines of the document come to.
    fn look_at_lines(&mut self) {
        if self.trace.rows.is_empty() {
            self.doubt("No row was read.".to_owned());
            return;
        }
        let lines = self.counter.census();
        let (touched, untouched): (Vec<_>, Vec<_>) = lines
            .tables
            .iter()
            .cloned()
            .enumerate()
            .partition(|(_, table)| lines.likes[table.clone()].iter().any(|(_, read)| *read));
        self.look_at_tables(&lines, &touched, untouched.len());
        let spans: Vec<Span> = touched
            .iter()
            .map(|(at, table)| Span {
                first: lines.likes[table.start].0,
                last: lines.likes[table.end - 1].0,
                next: lines
                    .tables
                    .get(at + 1)
                    .map_or(self.survey.lines.len(), |next| lines.likes[next.start].0),
            })
            .collect();
        let is_missing = self.look_for_missing(&lines, &touched);
        self.look_at_ordinals(&spans);
        self.look_at_sums(&spans);
        self.look_at_counts(&lines, &spans);
        let unexplained = spans.iter();
        let unexplained: usize = unexplained
            .map(|span| self.counter.unexplained(span.first, span.last).len())
            .sum();
        let is_shaped = lines.is_telling && !is_missing && unexplained == 0;
        // Code goes by the shape of lines too: what it has read is counted by column as well.
        if is_shaped && (self.evidence.rows_from_tables.is_none() || self.is_counted(&spans)) {
            self.agree("Every line with the shape of a row was read.".to_owned());
        }
    }

    /// Tables of like shape of which no row was read belong to another list only where the
    /// schema has as many lists of such rows as the document has tables, in their order.
    fn look_at_tables(
        &mut self,
        lines: &Lines,
        touched: &[(usize, std::ops::Range<usize>)],
        untouched: usize,
    ) {
        let is_shared = self.list.twins > 1 && lines.tables.len() > 1;
        let is_own = lines.tables.len() == self.list.twins
            && matches!(touched, [(at, _)] if *at == self.list.before);
        if is_shared && !is_own {
            self.doubt(format!(
                "{} lists have rows of this shape, and the document has {} tables of them.",
                self.list.twins,
                lines.tables.len()
            ));
        } else if untouched > 0 && !is_own {
            self.doubt(format!(
                "Of {untouched} tables of like shape no row was read."
            ));
        }
    }

    fn look_for_missing(
        &mut self,
        lines: &Lines,
        touched: &[(usize, std::ops::Range<usize>)],
    ) -> bool {
        let likes = touched
            .iter()
            .flat_map(|(_, table)| &lines.likes[table.clone()]);
        let mut rows = 0_u32;
        let mut missing = Vec::new();
        for (line, read) in likes {
            rows += 1;
            if !read {
                missing.push(*line);
            }
        }
        if lines.is_telling {
            self.evidence.census.table_rows = Some(rows);
        }
        self.evidence.missing = missing.len() as u32;
        let named = missing.iter().take(MOST_NAMED);
        self.evidence.missing_at = named
            .filter_map(|line| self.survey.stretch(*line, *line))
            .collect();
        if let Some(first) = self.evidence.missing_at.first().copied() {
            let reason = format!(
                "{} lines have the shape of a row and were not read, the first on page {}.",
                missing.len(),
                first.first.page
            );
            if lines.is_telling {
                self.lack(reason);
            } else {
                self.doubt(reason);
            }
        }
        !missing.is_empty()
    }

    /// The rows of the list in a table.
    fn rows_in(&self, span: &Span) -> Vec<&Row<'_>> {
        let rows = self.trace.rows.iter().filter(|row| row.class == 0);
        rows.filter(|row| (span.first..=span.last).contains(&row.lines.start))
            .collect()
    }

    fn look_at_ordinals(&mut self, spans: &[Span]) {
        let mut counted = 0;
        let mut whole = 0;
        let mut broken = false;
        for span in spans {
            let rows = self.rows_in(span);
            let starts: Vec<usize> = rows.iter().map(|row| row.lines.start).collect();
            match numbering(self.survey, &starts) {
                Numbering::Whole(count) => {
                    counted += count;
                    whole += 1;
                }
                Numbering::Broken => broken = true,
                Numbering::None => {}
            }
        }
        if broken {
            self.doubt("The numbers printed before the rows have gaps.".to_owned());
        } else if whole == spans.len() && whole > 0 {
            self.evidence.census.ordinals = Some(counted);
            self.agree(format!("The rows are numbered, and add up to {counted}."));
        }
    }

    fn look_at_sums(&mut self, spans: &[Span]) {
        let mut proved = 0;
        for span in spans {
            let rows = self.rows_in(span);
            let end = span.next.min(span.last + SUM_LINES);
            let starts: Vec<usize> = rows.iter().map(|row| row.lines.start).collect();
            let lines: Vec<usize> = (span.first..end)
                .filter(|line| says_sum(self.survey, *line))
                .filter(|line| starts.binary_search(line).is_err())
                .collect();
            let printed = sums(self.survey, &self.trace, &rows, &lines);
            let (inside, behind): (Vec<_>, Vec<_>) =
                printed.iter().partition(|sum| sum.line < span.last);
            let agrees = |line: &usize| {
                let mut own = printed.iter().filter(|sum| sum.line == *line).peekable();
                own.peek().is_some() && own.all(|sum| sum.agrees)
            };
            self.sums.extend(lines.iter().filter(|line| agrees(line)));
            let wrong = inside.iter().filter(|sum| !sum.agrees).count();
            let right = inside.len() - wrong;
            let closes = behind.iter().any(|sum| sum.agrees);
            for sum in &printed {
                if self.evidence.census.sums.len() < MOST_NAMED
                    && let Some(at) = self.survey.stretch(sum.line, sum.line)
                {
                    self.evidence.census.sums.push(Sum {
                        property: sum.property.clone(),
                        at,
                        agrees: sum.agrees,
                    });
                }
            }
            if (wrong > 0 && (right > 0 || closes)) || (!behind.is_empty() && !closes) {
                self.doubt("A printed sum is not that of the rows.".to_owned());
            } else if closes {
                proved += 1;
            }
        }
        if proved == spans.len() && proved > 0 {
            self.agree("The rows add up to the printed sum.".to_owned());
        }
    }

    /// Whether every figure in a column of the list, in its tables, is of a row or sums rows up.
    fn is_counted(&mut self, spans: &[Span]) -> bool {
        let mut told = vec![false; self.survey.lines.len()];
        for row in &self.trace.rows {
            told[row.lines.clone()].fill(true);
        }
        for line in &self.sums {
            told[*line] = true;
        }
        let is_figure = |line: usize| {
            let cells = self.survey.cells(line).iter();
            let mut cells = cells.filter(|cell| cell.has_digit);
            !self.survey.lines[line].is_furniture
                && cells.any(|cell| self.trace.columns.contains_key(&cell.edge))
        };
        let inside = spans.iter().flat_map(|span| span.first..=span.last);
        let untold = inside
            .filter(|line| !told[*line] && is_figure(*line))
            .count();
        if untold > 0 {
            self.say(format!(
                "{untold} lines have figures that are of no row and no proved sum."
            ));
        }
        untold == 0
    }

    /// Counts that the document states: each is of the rows before it, of its table, or of all.
    fn look_at_counts(&mut self, lines: &Lines, spans: &[Span]) {
        let read = self.evidence.rows_read;
        let mut agrees = false;
        for line in 0..self.survey.lines.len() {
            let Some((count, edge)) = stated(self.survey, line) else {
                continue;
            };
            let in_column = self.trace.columns.contains_key(&edge) && says_sum(self.survey, line);
            if in_column
                || lines
                    .likes
                    .binary_search_by_key(&line, |like| like.0)
                    .is_ok()
            {
                continue;
            }
            // The table that it stands in or behind; before all tables it is of all rows.
            let table = lines.tables.iter().rev();
            let table = table
                .map(|table| lines.likes[table.start].0)
                .find(|start| *start < line);
            let own = match table {
                Some(start) => spans.iter().find(|span| span.first == start),
                None => None,
            };
            if table.is_some() && own.is_none() {
                continue;
            }
            let of_table = own.map(|span| self.rows_in(span).len() as u32);
            let is_right = count == read || of_table == Some(count);
            if self.evidence.census.stated.len() < MOST_NAMED
                && let Some(at) = self.survey.stretch(line, line)
            {
                self.evidence.census.stated.push(Stated {
                    count,
                    at,
                    agrees: is_right,
                });
            }
            let most = of_table.unwrap_or(read);
            if is_right {
                agrees = true;
            } else if count > most {
                self.lack(format!(
                    "The document states {count} rows, and {most} were read."
                ));
            } else {
                self.doubt(format!(
                    "The document states {count} rows, and {most} were read."
                ));
            }
        }
        if agrees && spans.len() <= self.evidence.census.stated.len() {
            self.agree("As many rows were read as the document states.".to_owned());
        }
    }

    fn finish(self) -> Completeness {
        let verdict = if self.lacks {
            Verdict::Incomplete
        } else if self.agrees && !self.doubts && self.evidence.missing == 0 {
            Verdict::Complete
        } else {
            Verdict::Unknown
        };
        Completeness {
            verdict,
            evidence: self.evidence,
        }
    }
}

/// Lines behind the last row in which its sums stand.
const SUM_LINES: usize = 10;

/// Whether two rows are the same.
fn has_equal(items: &[Value]) -> bool {
    let mut seen = std::collections::HashSet::new();
    items.iter().any(|item| !seen.insert(item.to_string()))
}
