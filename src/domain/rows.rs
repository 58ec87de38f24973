//! Long arrays: where their rows stand, windows to read them in, and one list of what was read.
//!
//! A row is known by its place, the line of the document that it begins on. So rows that say the
//! same are all kept, and a row that two windows show is there once.

mod cut;
mod list;
mod merge;
mod place;
mod printed;
mod region;
mod show;
mod sum;
mod survey;
mod table;

use serde::{Deserialize, Serialize};

pub use cut::{Located, WindowLimits, windows};
pub use list::{List, Listed, lists};
pub use merge::{Merged, Part, merge};
pub use place::place;
pub(crate) use place::{Haystack, Needle, find, needles};
pub(crate) use printed::bare;
pub use show::show;
pub(crate) use sum::says_sum;
pub(crate) use survey::Edge;
pub use survey::Survey;
pub use table::{Coded, Division, Lesson, Lessons, Sample, Tables};

/// A line of a document. Places are ordered as the document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Number of the page, from 1.
    pub page: u32,
    /// Index into the lines of the page of the whole document, from 0.
    pub line: u32,
}

/// Lines from `first` to `last`, both of them and all between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stretch {
    pub first: Place,
    pub last: Place,
}

impl Stretch {
    pub fn contains(&self, place: Place) -> bool {
        self.first <= place && place <= self.last
    }
}

/// A part of a document that is read by one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// What a model is shown: the window's own and a few rows around it.
    pub shown: Stretch,
    /// What this window answers for. The own stretches of all windows are disjoint, in order, and
    /// cover the regions.
    pub own: Stretch,
    /// Lines before `shown` that are shown too: the heading and the header of a table that began
    /// earlier. In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<Stretch>,
}
