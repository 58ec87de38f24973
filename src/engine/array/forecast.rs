//! What the calls for an array are thought to take.

use super::{Array, Arrays};
use crate::domain::cost::{Bound, Span, Start, Terms, Weight, bill, size};
use crate::domain::pack::Item;
use crate::domain::prompt;
use crate::domain::rows::{Window, show};
use crate::engine::rates::{RowsKnown, RowsTaken};

/// How many times as long as thought the answer for a row may be that was never read.
const DOUBT: f64 = 2.5;

/// The calls that read a long array.
#[derive(Debug, Default)]
pub(in crate::engine) struct Calls {
    pub(in crate::engine) likely: Vec<Weight>,
    /// Those that are made beside them where code cannot read a table as it is thought to.
    pub(in crate::engine) doubtful: Vec<Weight>,
}

impl Arrays {
    /// The rows of a short array that were located; none where there is nothing to go by.
    pub(in crate::engine) fn located(&self, index: usize) -> Option<u32> {
        self.known.get(&index)?.located_rows()
    }

    /// Sizes the answers of short arrays by the rows that were located, where rows of theirs were
    /// read before.
    pub(in crate::engine) fn size<'a>(
        &self,
        items: impl Iterator<Item = &'a mut Item>,
        known: impl Fn(usize) -> Option<RowsKnown>,
    ) {
        for item in items {
            let rows = self.located(item.index);
            if let (Some(rows), Some(known)) = (rows, known(item.index)) {
                item.answer = known.tokens.times(f64::from(rows));
            }
        }
    }
}

impl Array {
    /// `counts`: tokens for each one that is estimated, of documents and of questions. `whole`: the
    /// answer where no rows were located.
    pub(in crate::engine) fn calls(
        &self,
        terms: &Terms,
        counts: (f64, f64),
        whole: Span,
        known: Option<RowsKnown>,
    ) -> Calls {
        let row = known.map_or_else(|| self.unread_row(), |known| known.tokens);
        let rows = self.located_rows().map(f64::from);
        let windows = &self.located.windows;
        let answer = rows.map_or(whole, |rows| row.times(rows));
        let answer = answer.times(1.0 / windows.len().max(1) as f64);
        let windows = windows.iter();
        let windows: Vec<Weight> = windows
            .map(|window| self.weight_of(window, answer, counts))
            .collect();
        let Some(tables) = &self.tables else {
            return Calls {
                likely: windows,
                doubtful: Vec::new(),
            };
        };
        let samples = tables.samples(&self.survey).into_iter();
        let mut likely: Vec<Weight> = samples
            .map(|sample| self.weight_of(&sample.window, row.times(sample.rows() as f64), counts))
            .collect();
        let alone = |call: &Weight| bill(terms, &[*call], Start::AtOnce, Bound::Likely).seconds;
        let after = likely.iter().map(alone).fold(0.0, f64::max);
        let coded = known.and_then(|known| known.coded).unwrap_or(1.0);
        let left = (windows.len() as f64 * (1.0 - coded)).round() as usize;
        let mut windows: Vec<Weight> = windows
            .into_iter()
            .map(|window| Weight { after, ..window })
            .collect();
        let doubtful = windows.split_off(left.min(windows.len()));
        likely.extend(windows);
        Calls { likely, doubtful }
    }

    fn located_rows(&self) -> Option<u32> {
        self.located.estimate.filter(|rows| *rows > 0)
    }

    fn unread_row(&self) -> Span {
        Span {
            low: 1.0,
            likely: self.row,
            high: self.row * DOUBT,
        }
    }

    fn weight_of(&self, window: &Window, answer: Span, (shown, asked): (f64, f64)) -> Weight {
        let text = prompt::document(&show(&self.survey, window));
        let shown = size::shared(text.chars().count() as u64) * shown;
        Weight {
            own: size::question(&self.subtree) * asked + shown,
            answer,
            first: answer.likely,
            ..Weight::default()
        }
    }

    /// What reading its rows took: `tokens` of answers for `asked` rows of the model's, and how
    /// many code has read beside them.
    pub(super) fn taken(
        &self,
        tokens: u64,
        (asked, coded): (usize, usize),
        found: usize,
    ) -> RowsTaken {
        let found = found.max(1) as f64;
        RowsTaken {
            index: self.index,
            located: self.located_rows(),
            tokens: tokens as f64 / asked.max(1) as f64 * found,
            coded: self.tables.as_ref().map(|_| coded as f64 / found),
        }
    }
}
