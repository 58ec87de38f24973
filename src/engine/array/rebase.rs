//! What is known of rows, by their place in the merged array.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::kept::Piece;
use super::rows::split;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::rows::{Merged, Place, Stretch};

/// Attributions and probabilities by pointer into the array's value; `above` leads to the rows.
///
/// What a merged row says otherwise than the one it was made of has none.
pub(super) fn rebased(pieces: &[Piece], merged: &Merged, above: &str) -> (Attributions, Logprobs) {
    let is_silent = |piece: &Piece| piece.attributions.is_empty() && piece.logprobs.is_empty();
    let (mut attributions, mut logprobs) = (Attributions::new(), Logprobs::new());
    if pieces.iter().all(is_silent) {
        return (attributions, logprobs);
    }
    let indices = Sources::of(pieces).assigned(merged);
    for (number, piece) in pieces.iter().enumerate() {
        let moved = |at: &str| {
            let (row, rest) = split(at)?;
            let index = *indices.get(&(number, row))?;
            let same = piece.rows.get(row)?.pointer(rest)? == merged.items[index].pointer(rest)?;
            same.then(|| format!("{above}/{index}{rest}"))
        };
        place(&piece.attributions, moved, &mut attributions);
        place(&piece.logprobs, moved, &mut logprobs);
    }
    (attributions, logprobs)
}

fn place<T: Clone>(
    known: &BTreeMap<String, T>,
    moved: impl Fn(&str) -> Option<String>,
    into: &mut BTreeMap<String, T>,
) {
    for (at, one) in known {
        if let Some(at) = moved(at) {
            into.entry(at).or_insert_with(|| one.clone());
        }
    }
}

/// A row of a piece.
type Source = (usize, usize);

/// The rows of all pieces, by where they stand, or by what they say where that is not known.
struct Sources<'a> {
    pieces: &'a [Piece],
    placed: HashMap<Place, Vec<Source>>,
    others: HashMap<String, Vec<Source>>,
}

impl<'a> Sources<'a> {
    fn of(pieces: &'a [Piece]) -> Self {
        let mut sources = Self {
            pieces,
            placed: HashMap::new(),
            others: HashMap::new(),
        };
        // Taken from the end.
        for (number, piece) in pieces.iter().enumerate().rev() {
            for (at, (row, place)) in piece.rows.iter().zip(&piece.places).enumerate().rev() {
                let rows = match place {
                    Some(place) => sources.placed.entry(place.first).or_default(),
                    None => sources.others.entry(row.to_string()).or_default(),
                };
                rows.push((number, at));
            }
        }
        sources
    }

    /// The index of each row that was kept in the merged array.
    fn assigned(mut self, merged: &Merged) -> HashMap<Source, usize> {
        let items = merged.items.iter().zip(&merged.places).enumerate();
        let found =
            items.filter_map(|(at, (item, place))| Some((self.source(item, place.as_ref())?, at)));
        found.collect()
    }

    fn source(&mut self, item: &Value, place: Option<&Stretch>) -> Option<Source> {
        let Some(place) = place else {
            return self.others.get_mut(&item.to_string())?.pop();
        };
        let pieces = self.pieces;
        let candidates = self.placed.get(&place.first)?;
        let says_it = |source: &&Source| pieces[source.0].rows[source.1] == *item;
        let owns_it = |source: &&Source| pieces[source.0].window.own.contains(place.first);
        let mut by_owner = candidates.iter().filter(owns_it);
        let found = candidates.iter().rev().find(says_it);
        found.or_else(|| by_owner.next()).copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::evidence::Attribution;
    use crate::domain::rows::Window;

    fn line(line: u32) -> Stretch {
        let place = Place { page: 1, line };
        Stretch {
            first: place,
            last: place,
        }
    }

    /// Rows of these numbers on these lines, each with a reason that names piece and row.
    fn piece(name: &str, own: (u32, u32), rows: &[(u32, Option<u32>)]) -> Piece {
        let own = Stretch {
            first: line(own.0).first,
            last: line(own.1).last,
        };
        let told = rows.iter().enumerate().map(|(at, _)| {
            let why = Attribution {
                reasoning: Some(format!("{name}{at}")),
                ..Attribution::default()
            };
            (format!("/{at}/n"), why)
        });
        Piece {
            window: Window {
                shown: own,
                own,
                context: Vec::new(),
            },
            attributions: told.collect(),
            logprobs: rows
                .iter()
                .enumerate()
                .map(|(at, _)| (format!("/{at}/n"), -(at as f64)))
                .collect(),
            rows: rows.iter().map(|(n, _)| json!({"n": n})).collect(),
            places: rows.iter().map(|(_, at)| at.map(line)).collect(),
            is_absent: false,
        }
    }

    #[test]
    fn what_is_known_of_a_row_goes_with_it_into_the_merged_array() {
        let pieces = [
            piece("a", (0, 3), &[(7, Some(1)), (8, Some(2)), (9, Some(4))]),
            // The same row again, one that says otherwise, one of no known place.
            piece(
                "b",
                (4, 9),
                &[(9, Some(4)), (8, Some(6)), (5, None), (4, Some(7))],
            ),
        ];
        let merged = Merged {
            items: vec![
                json!({"n": 7}),
                json!({"n": 8}),
                json!({"n": 9}),
                json!({"n": 8}),
                json!({"n": 5}),
                json!({"n": 3}),
            ],
            places: vec![
                Some(line(1)),
                Some(line(2)),
                Some(line(4)),
                Some(line(6)),
                None,
                Some(line(7)),
            ],
            doubled: 1,
        };
        let (attributions, logprobs) = rebased(&pieces, &merged, "/rows");
        let told: Vec<_> = attributions
            .iter()
            .map(|(at, one)| (at.as_str(), one.reasoning.as_deref().unwrap()))
            .collect();
        assert_eq!(told[..2], [("/rows/0/n", "a0"), ("/rows/1/n", "a1")]);
        assert_eq!(told[3..], [("/rows/3/n", "b1"), ("/rows/4/n", "b2")]);
        assert!(["a2", "b0"].contains(&told[2].1), "{told:?}");
        assert!((logprobs["/rows/3/n"] + 1.0).abs() < 1e-9);
        assert_eq!(
            logprobs.len(),
            5,
            "what was merged to something else is not vouched for"
        );
    }
}
