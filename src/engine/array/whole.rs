//! Arrays that came in one answer: told of where they are long, and judged, each by itself.

use serde_json::Value;

use super::told::Told;
use super::{Array, Arrays, Words, offload};
use crate::domain::completeness::{Completeness, Outcome, Reading, Verdict, judge};
use crate::domain::event::{JudgedArray, Phase};
use crate::domain::job::Draft;
use crate::domain::pointer::Pointer;
use crate::domain::rows::{
    List, Listed, Part, Stretch, Window, WindowLimits, merge, place, windows,
};
use crate::engine::call::Run;
use crate::engine::journal::Halt;

/// Why nothing is known of an array that the model saw in a picture or in a file.
const UNSEEN: &str = "The document was not given as words, so that nothing could be counted.";
/// The same where no line may be of a row.
const NO_LINES: &str = "The document has no lines that could be counted.";

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

    /// Whether rows are missing from the arrays of a value that was answered in one piece.
    pub(in crate::engine) async fn judged_whole(
        &self,
        index: usize,
        value: &Value,
    ) -> Result<Judged, Halt> {
        if let Some(array) = self.arrays.get(index) {
            let rows = array.rows(value.clone()).unwrap_or_default();
            if let Some(draft) = self.arrays.verify(&array, &rows) {
                self.journal.push(draft).await?;
            }
        }
        let lists: Vec<Listed> = self.arrays.of_subtree(index).cloned().collect();
        let rows = lists.into_iter().map(|listed| {
            let rows = listed.at.get(value).and_then(Value::as_array);
            let rows = rows.cloned().unwrap_or_default();
            (listed, rows)
        });
        let rows: Vec<(Listed, Vec<Value>)> = rows.collect();
        if rows.is_empty() {
            return Ok(Judged::default());
        }
        let (path, words) = (self.path(index), self.arrays.words.clone());
        offload(&self.document, move || {
            let mut judged = Judged::default();
            for (listed, rows) in rows {
                judged.add(
                    &path,
                    &listed,
                    completeness(words.as_deref(), &listed.list, rows),
                );
            }
            judged
        })
        .await
    }

    fn path(&self, index: usize) -> Pointer {
        let subtree = self.planned.plan.subtrees.get(index);
        subtree
            .map(|subtree| subtree.path.clone())
            .unwrap_or_default()
    }
}

/// What is known of the arrays of one value.
#[derive(Default)]
pub(in crate::engine) struct Judged {
    /// Of the array that the subtree is.
    pub(in crate::engine) own: Option<Completeness>,
    /// Of each array that shares the subtree with other fields.
    pub(in crate::engine) inside: Vec<JudgedArray>,
}

impl Judged {
    pub(in crate::engine) fn own(completeness: Completeness) -> Self {
        Self {
            own: Some(completeness),
            inside: Vec::new(),
        }
    }

    fn add(&mut self, path: &Pointer, listed: &Listed, completeness: Completeness) {
        if listed.is_own {
            self.own = Some(completeness);
            return;
        }
        self.inside.push(JudgedArray {
            path: path.concat(&listed.at),
            completeness,
        });
    }

    pub(in crate::engine) fn lacks_rows(&self) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| own.verdict == Verdict::Incomplete)
            || self.inside.iter().any(JudgedArray::is_incomplete)
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

fn completeness(words: Option<&Words>, list: &List, rows: Vec<Value>) -> Completeness {
    let Some(words) = words else {
        return Completeness::unknown(rows.len(), UNSEEN);
    };
    let survey = words.survey();
    let located = windows(survey, list, WindowLimits::default());
    let Some(window) = window(&located.windows) else {
        return Completeness::unknown(rows.len(), NO_LINES);
    };
    let places = place(survey, list, &window, &rows);
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
    let merged = merge(survey, list, vec![part]);
    judge(survey, list, &merged, &reading)
}
