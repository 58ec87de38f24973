//! One window of a long array: asked for, gone on with where it was cut off, and kept.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::kept::{Piece, Whole};
use super::rows::{Came, Reading, unread};
use super::{Array, offload};
use crate::domain::completeness::Outcome;
use crate::domain::document::Document;
use crate::domain::job::AnswerKey;
use crate::domain::rows::{Place, Stretch, Window, place, show};
use crate::engine::call::{Progress, Run};
use crate::engine::journal::Halt;
use crate::engine::ports::CallError;

/// Calls that one window may take.
const MOST_CALLS: usize = 40;
/// Lines that are shown around a part of a window that is asked for by itself.
const AROUND: usize = 3;
/// Lines above the first row of a window that are shown again with its rest.
const MOST_HEADING: usize = 12;

/// What became of a window.
pub(super) struct Read {
    pub(super) whole: Whole,
    pub(super) outcome: Outcome,
    /// Why not all of it was read.
    pub(super) error: Option<CallError>,
}

impl Read {
    /// What was read before.
    pub(super) fn before(whole: Whole) -> Self {
        Self {
            whole,
            outcome: Outcome::Read,
            error: None,
        }
    }

    /// Adds what the next answer gave of the window.
    fn add(&mut self, next: Self) {
        self.outcome = match next.outcome {
            Outcome::Read => self.outcome,
            Outcome::Failed if self.whole.pieces.is_empty() => Outcome::Failed,
            Outcome::Failed | Outcome::CutShort => Outcome::CutShort,
        };
        self.whole.usage.add(&next.whole.usage);
        self.whole.attempts += next.whole.attempts;
        self.whole.pieces.extend(next.whole.pieces);
        self.error = next.error;
    }
}

impl Run {
    /// Reads one window when there is a slot for it; `before`: what its first answer gave, if it
    /// was there already. What each answer gave is on disk before it is gone on from.
    pub(super) async fn read_window(
        &self,
        array: &Arc<Array>,
        window: &Window,
        before: Option<Whole>,
        slots: &Semaphore,
    ) -> Result<Read, Halt> {
        let _slot = tokio::select! {
            biased;
            () = self.engine.drained() => return Err(Halt::Drained),
            slot = slots.acquire() => slot.map_err(|_| Halt::Lost)?,
        };
        self.waits.begin(&self.journal).await?;
        let read = self.read_parts(array, window, before).await?;
        self.waits.end(&self.journal).await?;
        Ok(read)
    }

    async fn read_parts(
        &self,
        array: &Arc<Array>,
        window: &Window,
        mut before: Option<Whole>,
    ) -> Result<Read, Halt> {
        let mut read = Read::before(Whole {
            pieces: Vec::new(),
            left: Vec::new(),
            usage: self.blank.clone(),
            attempts: 0,
            run: self.number,
        });
        let mut left = VecDeque::from([window.clone()]);
        let mut calls = 0;
        while let Some(next) = left.pop_front() {
            if calls == MOST_CALLS {
                read.outcome = Outcome::CutShort;
                break;
            }
            let key = self.window_key(array, &next);
            if calls > 0 {
                before = self.windows_before(array, &[key]).await?.remove(&key);
            }
            calls += 1;
            let mut part = match before.take() {
                Some(part) => Read::before(part),
                None => self.ask_part(array, next, key).await?,
            };
            let rest = std::mem::take(&mut part.whole.left).into_iter().rev();
            rest.for_each(|one| left.push_front(one));
            read.add(part);
            if read.error.is_some() {
                break;
            }
        }
        Ok(read)
    }

    /// One answer. With all rows that it gave it is on disk when this resolves.
    async fn ask_part(
        &self,
        array: &Arc<Array>,
        window: Window,
        key: AnswerKey,
    ) -> Result<Read, Halt> {
        let mut progress = self.progress_of(array, &window).await?;
        self.ask_until_settled(&mut progress).await?;
        let mut part = Read::before(Whole {
            pieces: Vec::new(),
            left: Vec::new(),
            usage: progress.spent.clone(),
            attempts: progress.attempt,
            run: self.number,
        });
        let reading = progress.reading.take();
        let (came, failed) = reading.map_or((None, None), |one| (one.came, one.failed));
        let Some(came) = came else {
            part.error = Some(failed.unwrap_or_else(unread));
            part.outcome = Outcome::Failed;
            return Ok(part);
        };
        let (is_cut, lacks_rows) = (came.is_cut, came.lacks_rows);
        let mut piece = self.placed(array, window, came).await?;
        let rest = if is_cut {
            rest(self.document.as_ref(), &mut piece)
        } else {
            Some(Vec::new())
        };
        if lacks_rows || rest.is_none() {
            part.outcome = Outcome::CutShort;
        }
        part.whole.left = rest.unwrap_or_default();
        part.whole.pieces.push(piece);
        if matches!(part.outcome, Outcome::Read) {
            self.keep_window(array.index, key, &part.whole).await?;
        }
        Ok(part)
    }

    async fn progress_of(&self, array: &Arc<Array>, window: &Window) -> Result<Progress, Halt> {
        let (survey, shown) = (Arc::clone(&array.survey), window.clone());
        let shown = offload(&self.document, move || show(&survey, &shown)).await?;
        let mut progress = self.progress(vec![array.index]);
        progress.document = Arc::new(shown);
        progress.reading = Some(Reading::of(array, window.own));
        Ok(progress)
    }

    /// The rows with the lines that they stand on.
    async fn placed(&self, array: &Arc<Array>, window: Window, came: Came) -> Result<Piece, Halt> {
        let array = Arc::clone(array);
        offload(&self.document, move || {
            let places = place(&array.survey, &array.list, &window, &came.rows);
            Piece {
                window,
                rows: came.rows,
                places,
                attributions: came.attributions,
                logprobs: came.logprobs,
                is_absent: came.is_absent,
            }
        })
        .await
    }
}

/// What is still to be read of a window whose answer was cut off: what comes after the last row
/// that was found on the page, or both halves where none was. None where it cannot be divided.
fn rest(document: &Document, piece: &mut Piece) -> Option<Vec<Window>> {
    let window = &piece.window;
    let last = piece.places.iter().flatten().last().copied();
    let last = last.filter(|last| last.first > window.shown.first);
    let Some(last) = last else {
        // Of an answer that long, nothing is to be trusted.
        let halves = halves(document, window)?;
        piece.rows.clear();
        piece.places.clear();
        piece.attributions.clear();
        piece.logprobs.clear();
        return Some(halves);
    };
    let first = piece
        .places
        .iter()
        .flatten()
        .map(|place| place.first)
        .min()?;
    let above = heading(document, window, first);
    let after = Lines::of(document).after(last.last);
    let Some(after) = after.filter(|after| *after <= window.own.last) else {
        return Some(Vec::new());
    };
    let mut context = window.context.clone();
    context.extend(above);
    let rest = Window {
        shown: Stretch {
            first: last.first,
            last: window.shown.last,
        },
        own: Stretch {
            first: after,
            last: window.own.last,
        },
        context,
    };
    piece.window.own.last = last.last.max(piece.window.own.first);
    Some(vec![rest])
}

/// The lines above the first row of a window, which say what its columns are.
pub(super) fn heading(document: &Document, window: &Window, row: Place) -> Option<Stretch> {
    let lines = Lines::of(document);
    let last = lines
        .before(row)
        .filter(|last| *last >= window.shown.first)?;
    let above = lines.between(window.shown.first, last);
    let first = above.get(above.len().saturating_sub(MOST_HEADING))?;
    Some(Stretch {
        first: *first,
        last,
    })
}

fn halves(document: &Document, window: &Window) -> Option<Vec<Window>> {
    let lines = Lines::of(document);
    let own = lines.between(window.own.first, window.own.last);
    if own.len() < 2 {
        return None;
    }
    let (upper, lower) = own.split_at(own.len() / 2);
    let half = |part: &[Place]| {
        let own = Stretch {
            first: *part.first()?,
            last: *part.last()?,
        };
        Some(around(document, window, own))
    };
    Some(vec![half(upper)?, half(lower)?])
}

/// A window for a part of another, with a few lines around it.
pub(super) fn around(document: &Document, window: &Window, own: Stretch) -> Window {
    let lines = Lines::of(document);
    let shown = lines.between(window.shown.first, window.shown.last);
    let first = shown.partition_point(|line| *line < own.first);
    let last = shown.partition_point(|line| *line <= own.last);
    let (first, last) = (
        first.saturating_sub(AROUND),
        (last + AROUND).min(shown.len()).saturating_sub(1),
    );
    let shown = Stretch {
        first: shown
            .get(first)
            .copied()
            .unwrap_or(own.first)
            .min(own.first),
        last: shown.get(last).copied().unwrap_or(own.last).max(own.last),
    };
    Window {
        shown,
        own,
        context: window.context.clone(),
    }
}

/// The lines of a document in order.
struct Lines<'a> {
    document: &'a Document,
}

impl<'a> Lines<'a> {
    fn of(document: &'a Document) -> Self {
        Self { document }
    }

    fn count(&self, page: u32) -> u32 {
        let mut pages = self.document.pages.iter();
        let page = pages.find(|one| one.number == page);
        page.map_or(0, |page| page.lines.len() as u32)
    }

    fn after(&self, place: Place) -> Option<Place> {
        if place.line + 1 < self.count(place.page) {
            return Some(Place {
                line: place.line + 1,
                ..place
            });
        }
        let pages = self.document.pages.iter();
        let mut later = pages.filter(|page| page.number > place.page && !page.lines.is_empty());
        later.next().map(|page| Place {
            page: page.number,
            line: 0,
        })
    }

    fn before(&self, place: Place) -> Option<Place> {
        if place.line > 0 {
            return Some(Place {
                line: place.line - 1,
                ..place
            });
        }
        let pages = self.document.pages.iter().rev();
        let mut earlier = pages.filter(|page| page.number < place.page && !page.lines.is_empty());
        earlier.next().map(|page| Place {
            page: page.number,
            line: page.lines.len() as u32 - 1,
        })
    }

    /// Both of them and all between.
    fn between(&self, first: Place, last: Place) -> Vec<Place> {
        let pages = self.document.pages.iter();
        let pages = pages.filter(|page| (first.page..=last.page).contains(&page.number));
        let lines = pages.flat_map(|page| {
            let number = page.number;
            (0..page.lines.len() as u32).map(move |line| Place { page: number, line })
        });
        let inside = lines.filter(|place| first <= *place && *place <= last);
        inside.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Readers;
    use crate::domain::evidence::{Attributions, Logprobs};
    use crate::engine::ports::Reader as _;

    fn document() -> Document {
        let page = |from: u32| {
            let lines = (from..from + 10).map(|n| format!("row {n}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        Readers
            .read(format!("{}\u{c}{}", page(0), page(10)).as_bytes())
            .unwrap()
    }

    fn at(page: u32, line: u32) -> Place {
        Place { page, line }
    }

    fn window(first: Place, last: Place) -> Window {
        let all = Stretch { first, last };
        Window {
            shown: all,
            own: all,
            context: Vec::new(),
        }
    }

    fn piece(window: Window, places: Vec<Option<Stretch>>) -> Piece {
        Piece {
            rows: vec![serde_json::Value::Null; places.len()],
            window,
            places,
            attributions: Attributions::new(),
            logprobs: Logprobs::new(),
            is_absent: false,
        }
    }

    fn line(page: u32, line: u32) -> Stretch {
        let place = at(page, line);
        Stretch {
            first: place,
            last: place,
        }
    }

    #[test]
    fn a_window_that_was_cut_off_goes_on_after_its_last_row_and_over_the_end_of_a_page() {
        let document = document();
        assert_eq!(document.pages[0].lines.len(), 10);
        let mut cut = piece(
            window(at(1, 0), at(2, 9)),
            vec![Some(line(1, 2)), None, Some(line(1, 9)), None],
        );
        let rest = rest(&document, &mut cut).unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(
            (rest[0].shown.first, rest[0].own.first),
            (at(1, 9), at(2, 0))
        );
        assert_eq!((rest[0].shown.last, rest[0].own.last), (at(2, 9), at(2, 9)));
        let heading = Stretch {
            first: at(1, 0),
            last: at(1, 1),
        };
        assert_eq!(rest[0].context, [heading]);
        assert_eq!((cut.window.own.last, cut.rows.len()), (at(1, 9), 4));
    }

    #[test]
    fn a_window_of_which_no_row_was_found_is_halved_down_to_one_line() {
        let document = document();
        let mut cut = piece(window(at(1, 0), at(2, 9)), vec![None, None]);
        let both = rest(&document, &mut cut).unwrap();
        assert!(cut.rows.is_empty());
        assert_eq!(
            both[0].own,
            Stretch {
                first: at(1, 0),
                last: at(1, 9)
            }
        );
        assert_eq!(
            both[1].own,
            Stretch {
                first: at(2, 0),
                last: at(2, 9)
            }
        );
        assert_eq!(
            (both[0].shown.last, both[1].shown.first),
            (at(2, 2), at(1, 7))
        );
        let mut one = piece(window(at(1, 3), at(1, 3)), vec![None]);
        assert_eq!(rest(&document, &mut one), None);
        // The last row of the window was there: nothing is left.
        let mut whole = piece(window(at(1, 0), at(1, 4)), vec![Some(line(1, 4))]);
        assert_eq!(rest(&document, &mut whole), Some(Vec::new()));
    }
}
