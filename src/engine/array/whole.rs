//! An array that came in one answer: told of where it is long, and judged.

use std::sync::Arc;

use serde_json::Value;

use super::told::Told;
use super::{Array, Arrays};
use crate::domain::completeness::{Completeness, Outcome, Reading, judge};
use crate::domain::event::Phase;
use crate::domain::job::Draft;
use crate::domain::rows::{Part, Stretch, Window, merge, place};
use crate::engine::call::Run;
use crate::engine::journal::Halt;

impl Run {
    /// Tells those who watch that a call is about to read long arrays, each of them whole.
    pub(in crate::engine) async fn tell_of_whole(&self, load: &[usize]) -> Result<(), Halt> {
        for index in load {
            if let Some(draft) = self.arrays.begin(*index) {
                self.journal.push(draft).await?;
            }
        }
        Ok(())
    }

    /// Whether rows are missing from a value that was answered in one piece; none where it is no
    /// array of objects, or was not read from words.
    pub(in crate::engine) async fn judged_whole(
        &self,
        index: usize,
        value: &Value,
    ) -> Result<Option<Completeness>, Halt> {
        let Some(array) = self.arrays.get(index) else {
            return Ok(None);
        };
        let rows = array.rows(value.clone()).unwrap_or_default();
        if let Some(draft) = self.arrays.verify(&array, &rows) {
            self.journal.push(draft).await?;
        }
        let judged = tokio::task::spawn_blocking(move || judged(&array, rows));
        Ok(judged.await.ok().flatten())
    }
}

impl Arrays {
    /// What is told before an array is read whole.
    fn begin(&self, index: usize) -> Option<Draft> {
        let array = self.known.get(&index).filter(|array| array.is_told)?;
        let mut told = Told::of(array);
        told.turn(Phase::Extracting);
        let draft = told.tell(array);
        self.told.lock().insert(index, told);
        draft
    }

    /// What is told of rows that came, if that is not too soon after what was told before.
    fn verify(&self, array: &Array, rows: &[Value]) -> Option<Draft> {
        let mut told = self.told.lock().remove(&array.index)?;
        told.come(0, rows.iter());
        told.turn(Phase::Verifying);
        told.tell(array)
    }
}

/// One window of all.
pub(super) fn window(windows: &[Window]) -> Option<Window> {
    let (first, last) = (windows.first()?, windows.last()?);
    Some(Window {
        shown: Stretch {
            first: first.shown.first,
            last: last.shown.last,
        },
        own: Stretch {
            first: first.own.first,
            last: last.own.last,
        },
        context: first.context.clone(),
    })
}

fn judged(array: &Arc<Array>, rows: Vec<Value>) -> Option<Completeness> {
    let window = window(&array.located.windows)?;
    let places = place(&array.survey, &array.list, &window, &rows);
    let reading = Reading {
        windows: vec![(window.clone(), Outcome::Read)],
        fault: None,
        tables: Vec::new(),
    };
    let part = Part {
        window,
        rows,
        places,
    };
    let merged = merge(&array.survey, &array.list, vec![part]);
    Some(judge(&array.survey, &array.list, &merged, &reading))
}
