//! Characters to words to lines.

use std::collections::{BTreeMap, HashMap};

use super::content::Character;
use crate::domain::document::{Bbox, Word};

/// How far above and below the baseline a word's box reaches, as parts of the font size.
const ASCENT: f64 = 0.76;
const DESCENT: f64 = 0.22;
/// How far, in parts of the font size, the next letter of a word may stand back or ahead of the
/// end of the last one: kerning and letter spacing.
const SAME_RUN: (f64, f64) = (-0.3, 0.1);
/// The same for strings drawn apart, where only the place says that they belong together;
/// neighbouring cells may touch or overlap.
const SAME_SIZE: (f64, f64) = (-0.2, 0.1);
const OTHER_SIZE: (f64, f64) = (-0.05, 0.05);
/// Baselines within this part of the font size are one line.
const SAME_LINE: f64 = 0.3;

/// The lines of a page, each a list of words from left to right, in reading order. Boxes are
/// fractions of the page; offsets are not set.
pub fn assemble(characters: Vec<Character>, width: f32, height: f32) -> Vec<Vec<Word>> {
    let mut directions: BTreeMap<i32, Vec<Character>> = BTreeMap::new();
    for character in without_duplicates(characters) {
        directions
            .entry(degrees(&character))
            .or_default()
            .push(character);
    }
    let mut groups: Vec<_> = directions.into_iter().collect();
    // The main direction is read first: a page of sideways text is still a page of text.
    groups.sort_by_key(|(angle, group)| (std::cmp::Reverse(group.len()), *angle));
    let mut lines = Vec::new();
    for (angle, group) in groups {
        let frame = Frame::new(angle, f64::from(width), f64::from(height));
        let pieces = pieces(&group, &frame);
        for row in rows(pieces) {
            let words = glue(row);
            lines.push(words.into_iter().map(|piece| piece.word(&frame)).collect());
        }
    }
    lines
}

/// The direction of the baseline in whole degrees, nearly straight angles made straight.
fn degrees(character: &Character) -> i32 {
    let angle = character.advance.y.atan2(character.advance.x).to_degrees();
    let quarter = (angle / 90.0).round() * 90.0;
    let angle = if (angle - quarter).abs() < 3.0 {
        quarter
    } else {
        angle
    };
    (angle.round() as i32).rem_euclid(360)
}

/// Page space turned so that text of one direction runs from left to right.
struct Frame {
    cos: f64,
    sin: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn new(degrees: i32, width: f64, height: f64) -> Self {
        let (sin, cos) = match degrees {
            0 => (0.0, 1.0),
            90 => (1.0, 0.0),
            180 => (0.0, -1.0),
            270 => (-1.0, 0.0),
            other => f64::from(other).to_radians().sin_cos(),
        };
        Self {
            cos,
            sin,
            width,
            height,
        }
    }

    /// Along the baseline, and down from line to line.
    fn turn(&self, x: f64, y: f64) -> (f64, f64) {
        (x * self.cos + y * self.sin, y * self.cos - x * self.sin)
    }

    /// The box on the page of a box in the frame.
    fn bbox(&self, u0: f64, v0: f64, u1: f64, v1: f64) -> Bbox {
        let corners = [(u0, v0), (u1, v0), (u0, v1), (u1, v1)]
            .map(|(u, v)| (u * self.cos - v * self.sin, u * self.sin + v * self.cos));
        let mut bbox = [1.0_f32, 1.0, 0.0, 0.0];
        for (x, y) in corners {
            let x = (x / self.width).clamp(0.0, 1.0) as f32;
            let y = (y / self.height).clamp(0.0, 1.0) as f32;
            bbox = [
                bbox[0].min(x),
                bbox[1].min(y),
                bbox[2].max(x),
                bbox[3].max(y),
            ];
        }
        bbox
    }
}

/// A word in the making, in frame space.
#[derive(Debug)]
struct Piece {
    text: String,
    start: f64,
    end: f64,
    baseline: f64,
    size: f64,
    bold: bool,
    /// A space was drawn before or after: never glued on that side.
    closed_before: bool,
    closed_after: bool,
    run: u32,
    /// Every character is cut off by a clip.
    clipped: bool,
}

impl Piece {
    fn word(self, frame: &Frame) -> Word {
        Word {
            bbox: frame.bbox(
                self.start,
                self.baseline - ASCENT * self.size,
                self.end,
                self.baseline + DESCENT * self.size,
            ),
            text: self.text,
            start: 0,
            size: self.size as f32,
            bold: self.bold,
        }
    }

    /// Whether a character or piece that begins there goes on with this word.
    fn takes(&self, start: f64, baseline: f64, size: f64, run: u32) -> bool {
        let larger = size.max(self.size);
        let gap = (start - self.end) / larger;
        let (back, ahead) = if run == self.run {
            SAME_RUN
        } else if size.min(self.size) > 0.95 * larger {
            SAME_SIZE
        } else {
            OTHER_SIZE
        };
        (baseline - self.baseline).abs() < 0.15 * larger && gap > back && gap < ahead
    }
}

/// Words in the order they were drawn: inside a word that order is the best witness there is.
fn pieces(characters: &[Character], frame: &Frame) -> Vec<Piece> {
    let mut done: Vec<Piece> = Vec::new();
    let mut open: Option<Piece> = None;
    let mut space = false;
    for character in characters {
        if character.char == ' ' {
            if let Some(mut piece) = open.take() {
                piece.closed_after = true;
                done.push(piece);
            }
            space = true;
            continue;
        }
        let (start, baseline) = frame.turn(character.origin.x, character.origin.y);
        let end = start + character.advance.hypot();
        let size = f64::from(character.size);
        match &mut open {
            Some(piece) if piece.takes(start, baseline, size, character.run) => {
                piece.run = character.run;
                piece.clipped &= character.clipped;
                piece.text.push(character.char);
                piece.end = piece.end.max(end);
                piece.start = piece.start.min(start);
                piece.size = piece.size.max(size);
            }
            _ => {
                done.extend(open.replace(Piece {
                    text: character.char.into(),
                    start,
                    end,
                    baseline,
                    size,
                    bold: character.bold,
                    closed_before: space,
                    closed_after: false,
                    run: character.run,
                    clipped: character.clipped,
                }));
            }
        }
        space = false;
    }
    done.extend(open);
    done.retain(|piece| !piece.clipped);
    done
}

/// Pieces on one baseline, from left to right; rows from top to bottom.
fn rows(mut pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    pieces.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<(f64, f64, Vec<Piece>)> = Vec::new();
    for piece in pieces {
        match rows.last_mut() {
            Some((baseline, size, row))
                if (piece.baseline - *baseline).abs() < SAME_LINE * size.min(piece.size) =>
            {
                if piece.size > *size {
                    (*baseline, *size) = (piece.baseline, piece.size);
                }
                row.push(piece);
            }
            _ => rows.push((piece.baseline, piece.size, vec![piece])),
        }
    }
    rows.into_iter()
        .map(|(_, _, mut row)| {
            row.sort_by(|a, b| a.start.total_cmp(&b.start));
            row
        })
        .collect()
}

/// Joins pieces of one word that were drawn apart.
fn glue(row: Vec<Piece>) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::with_capacity(row.len());
    for piece in row {
        match words.last_mut() {
            Some(last)
                if !last.closed_after
                    && !piece.closed_before
                    && last.takes(piece.start, piece.baseline, piece.size, piece.run) =>
            {
                last.text.push_str(&piece.text);
                last.end = last.end.max(piece.end);
                last.size = last.size.max(piece.size);
                last.closed_after = piece.closed_after;
            }
            _ => words.push(piece),
        }
    }
    words
}

/// Bold text is sometimes drawn twice, a hair apart: one of two equal characters goes.
fn without_duplicates(characters: Vec<Character>) -> Vec<Character> {
    /// Grid on which equal characters are looked for, points.
    const CELL: f64 = 2.0;
    /// Looked at per cell, so that a page of nothing but one place stays cheap.
    const MOST: usize = 8;
    let mut seen: HashMap<(char, i32, i32), Vec<(f64, f64)>> = HashMap::new();
    let mut kept = Vec::with_capacity(characters.len());
    for character in characters {
        if character.char == ' ' {
            kept.push(character);
            continue;
        }
        let (x, y) = (character.origin.x, character.origin.y);
        let near = (0.1 * f64::from(character.size)).min(CELL);
        let cell = |at: f64| (at / CELL).floor() as i32;
        let twice = (cell(x - near)..=cell(x + near)).any(|column| {
            (cell(y - near)..=cell(y + near)).any(|row| {
                seen.get(&(character.char, column, row))
                    .is_some_and(|places| {
                        let mut places = places.iter().rev().take(MOST);
                        places.any(|(a, b)| (a - x).abs() < near && (b - y).abs() < near)
                    })
            })
        });
        if !twice {
            seen.entry((character.char, cell(x), cell(y)))
                .or_default()
                .push((x, y));
            kept.push(character);
        }
    }
    kept
}
