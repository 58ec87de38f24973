//! Whether an array has every row of its document, and how that is known.
//!
//! `complete` is said only where a reading of another kind comes to the same rows and nothing
//! speaks against it. Who trusts a list that lacks a row is worse off than who is told to look.

use serde::{Deserialize, Serialize};

use super::rows::{List, Merged, Stretch, Survey, Window};

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
pub fn judge(survey: &Survey, list: &List, merged: &Merged, reading: &Reading) -> Completeness {
    let _ = (survey, list);
    let mut evidence = Evidence {
        rows_read: merged.items.len() as u32,
        windows: reading.windows.len() as u32,
        ..Evidence::default()
    };
    for (window, outcome) in &reading.windows {
        match outcome {
            Outcome::Read => evidence.windows_read += 1,
            Outcome::CutShort => evidence.windows_cut_short.push(window.own),
            Outcome::Failed => evidence.windows_failed.push(window.own),
        }
    }
    let is_short = !evidence.windows_cut_short.is_empty() || !evidence.windows_failed.is_empty();
    Completeness {
        verdict: if is_short {
            Verdict::Incomplete
        } else {
            Verdict::Unknown
        },
        evidence,
    }
}
