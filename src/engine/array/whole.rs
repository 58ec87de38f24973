//! The verdict on a short array, which came in one answer.

use std::sync::Arc;

use serde_json::Value;

use super::Array;
use crate::domain::completeness::{Completeness, Outcome, Reading, judge};
use crate::domain::rows::{Part, Stretch, Window, merge, place};
use crate::engine::call::Run;

impl Run {
    /// Whether rows are missing from a value that was answered in one piece; none where it is no
    /// array of objects, or was not read from words.
    pub(in crate::engine) async fn judged_whole(
        &self,
        index: usize,
        value: &Value,
    ) -> Option<Completeness> {
        let array = self.arrays.get(index)?;
        let rows = array.rows(value.clone()).unwrap_or_default();
        let judged = tokio::task::spawn_blocking(move || judged(&array, rows));
        judged.await.ok()?
    }
}

fn judged(array: &Arc<Array>, rows: Vec<Value>) -> Option<Completeness> {
    let windows = &array.located.windows;
    let (first, last) = (windows.first()?, windows.last()?);
    let window = Window {
        shown: Stretch {
            first: first.shown.first,
            last: last.shown.last,
        },
        own: Stretch {
            first: first.own.first,
            last: last.own.last,
        },
        context: first.context.clone(),
    };
    let places = place(&array.survey, &array.list, &window, &rows);
    let reading = Reading {
        windows: vec![(window.clone(), Outcome::Read)],
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
