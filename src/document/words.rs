//! Characters to words.

use std::collections::{BTreeMap, HashMap};

use hayro_interpret::kurbo::Rect;

use super::content::Character;
use super::lines;
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
/// The same for strings of another size or another clip: most are cells of their own.
const ELSEWHERE: (f64, f64) = (-0.05, 0.05);

/// The lines of a page, each a list of words from left to right, in reading order. Boxes are
/// fractions of the page; offsets are not set. No word crosses one of the `rulings`.
pub fn assemble(
    characters: Vec<Character>,
    rulings: &[Rect],
    width: f32,
    height: f32,
) -> Vec<Vec<Word>> {
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
    let mut page = Vec::new();
    for (angle, group) in groups {
        let frame = Frame::new(angle, f64::from(width), f64::from(height));
        let walls = Walls::new(rulings, &frame);
        let pieces = closed_up(pieces(&group, &frame, &walls));
        for row in lines::in_reading_order(pieces, &walls) {
            let words = row.into_iter().filter(Piece::is_readable);
            page.push(words.map(|piece| piece.word(&frame)).collect());
        }
    }
    page
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
        let mut bbox = [1.0_f32, 1.0, 0.0, 0.0];
        for (u, v) in [(u0, v0), (u1, v0), (u0, v1), (u1, v1)] {
            let x = (u * self.cos - v * self.sin) / self.width;
            let y = (u * self.sin + v * self.cos) / self.height;
            let (x, y) = (x.clamp(0.0, 1.0) as f32, y.clamp(0.0, 1.0) as f32);
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

/// Rulings square to the baseline, as `(u, v0, v1)` in frame space, from left to right.
pub struct Walls(Vec<(f64, f64, f64)>);

impl Walls {
    fn new(rulings: &[Rect], frame: &Frame) -> Self {
        let ends = |line: &Rect| {
            let (u0, v0) = frame.turn(line.x0, line.y0);
            let (u1, v1) = frame.turn(line.x1, line.y1);
            ((u1 - u0).abs() < (v1 - v0).abs())
                .then(|| (f64::midpoint(u0, u1), v0.min(v1), v0.max(v1)))
        };
        let mut walls: Vec<_> = rulings.iter().filter_map(ends).collect();
        walls.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(walls)
    }

    /// Whether a ruling stands where `left` ends and `right` begins: the text of a cell may run
    /// over the ruling, but the next cell's begins behind it.
    fn part(&self, left: &Piece, right: &Piece) -> bool {
        /// No table has more rulings in one place; looking at all would let a page be slow.
        const MOST: usize = 256;
        let from = left.end.min(right.start) - 0.15 * left.size;
        let to = right.start + 0.03 * right.size;
        let middle = right.baseline - 0.3 * right.size;
        let first = self.0.partition_point(|wall| wall.0 < from);
        let near = self.0[first..].iter().take(MOST);
        let mut between = near.take_while(|wall| wall.0 <= to);
        // Rulings also run through words that stand across two cells.
        let is_low = |char: Option<char>| char.is_some_and(char::is_lowercase);
        let inside = is_low(left.text.chars().next_back()) && is_low(right.text.chars().next());
        !inside && between.any(|(_, top, bottom)| (*top..=*bottom).contains(&middle))
    }
}

/// A word in the making, in frame space.
#[derive(Debug, Clone)]
pub struct Piece {
    pub text: String,
    pub start: f64,
    pub end: f64,
    pub baseline: f64,
    pub size: f64,
    bold: bool,
    /// A space was drawn before or after: never glued on that side.
    closed_before: bool,
    closed_after: bool,
    /// The string it was drawn with last.
    run: u32,
    cell: u32,
    /// Every character is cut off by a clip.
    clipped: bool,
}

impl Piece {
    fn new(character: &Character, start: f64, baseline: f64, after_space: bool) -> Self {
        Self {
            text: character.char.into(),
            start,
            end: start + character.advance.hypot(),
            baseline,
            size: f64::from(character.size),
            bold: character.bold,
            closed_before: after_space,
            closed_after: false,
            run: character.run,
            cell: character.cell,
            clipped: character.clipped,
        }
    }

    fn word(self, frame: &Frame) -> Word {
        let top = self.baseline - ASCENT * self.size;
        let bottom = self.baseline + DESCENT * self.size;
        Word {
            bbox: frame.bbox(self.start, top, self.end, bottom),
            text: self.text,
            start: 0,
            size: self.size as f32,
            bold: self.bold,
        }
    }

    /// Letters without a Unicode value say nothing alone; inside a word they show what is missing.
    fn is_readable(&self) -> bool {
        self.text.chars().any(|char| char != '\u{fffd}')
    }

    /// Whether `next` begins where this one ends, so that both are one word.
    fn goes_on_with(&self, next: &Self, walls: &Walls) -> bool {
        let larger = next.size.max(self.size);
        let gap = (next.start - self.end) / larger;
        let (back, ahead) = if next.run == self.run {
            SAME_RUN
        } else if next.size.min(self.size) > 0.95 * larger && next.cell == self.cell {
            SAME_SIZE
        } else {
            ELSEWHERE
        };
        !self.closed_after
            && !next.closed_before
            && (next.baseline - self.baseline).abs() < 0.15 * larger
            && gap > back
            && gap < ahead
            && (next.run == self.run || !walls.part(self, next))
    }

    fn append(&mut self, next: &Self) {
        self.text.push_str(&next.text);
        self.start = self.start.min(next.start);
        self.end = self.end.max(next.end);
        self.size = self.size.max(next.size);
        self.closed_after = next.closed_after;
        self.run = next.run;
        self.clipped &= next.clipped;
    }
}

/// Words in the order they were drawn: inside a word that order is the best witness there is.
fn pieces(characters: &[Character], frame: &Frame, walls: &Walls) -> Vec<Piece> {
    let mut done: Vec<Piece> = Vec::new();
    let mut space = false;
    for character in characters {
        if character.char == ' ' {
            if let Some(last) = done.last_mut() {
                last.closed_after = true;
            }
            space = true;
            continue;
        }
        let (start, baseline) = frame.turn(character.origin.x, character.origin.y);
        let next = Piece::new(character, start, baseline, space);
        space = false;
        match done.last_mut() {
            Some(last) if last.goes_on_with(&next, walls) => last.append(&next),
            _ => done.push(next),
        }
    }
    done.retain(|piece| !piece.clipped);
    done
}

/// Joins pieces of one line that were drawn apart but make one word.
pub fn glue(row: Vec<Piece>, walls: &Walls) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::with_capacity(row.len());
    for piece in row {
        match words.last_mut() {
            Some(last) if last.goes_on_with(&piece, walls) => last.append(&piece),
            _ => words.push(piece),
        }
    }
    words
}

/// Letter-spaced words made whole: single letters of one string, evenly apart.
fn closed_up(pieces: Vec<Piece>) -> Vec<Piece> {
    const LEAST: usize = 4;
    const WIDEST: f64 = 0.8;
    const UNEVEN: f64 = 0.1;
    let is_letter = |piece: &Piece| piece.text.chars().nth(1).is_none();
    let spaced = |a: &Piece, b: &Piece| {
        let gap = (b.start - a.end) / a.size;
        (is_letter(a) && is_letter(b) && a.run == b.run)
            .then_some(gap)
            .filter(|gap| *gap > 0.0 && *gap < WIDEST && !a.closed_after && !b.closed_before)
    };
    let mut words: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut at = 0;
    while at < pieces.len() {
        let mut end = at + 1;
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        while let Some(gap) = pieces
            .get(end)
            .and_then(|next| spaced(&pieces[end - 1], next))
        {
            (least, most) = (least.min(gap), most.max(gap));
            if most - least > UNEVEN {
                break;
            }
            end += 1;
        }
        let mut word = pieces[at].clone();
        if end - at >= LEAST {
            pieces[at + 1..end]
                .iter()
                .for_each(|next| word.append(next));
            at = end;
        } else {
            at += 1;
        }
        words.push(word);
    }
    words
}

/// Bold text is sometimes drawn twice, a hair apart: one of two equal characters goes.
fn without_duplicates(characters: Vec<Character>) -> Vec<Character> {
    /// Grid on which equal characters are looked for, points.
    const CELL: f64 = 2.0;
    /// Looked at per cell, so that a page of nothing but one place stays cheap.
    const MOST: usize = 8;
    let cell = |at: f64| (at / CELL).floor() as i32;
    let mut seen: HashMap<(char, i32, i32), Vec<(f64, f64)>> = HashMap::new();
    let mut kept = Vec::with_capacity(characters.len());
    for character in characters {
        if character.char == ' ' {
            kept.push(character);
            continue;
        }
        let (x, y) = (character.origin.x, character.origin.y);
        let near = (0.1 * f64::from(character.size)).min(CELL);
        let stands_at = |column, row| {
            seen.get(&(character.char, column, row))
                .is_some_and(|places: &Vec<_>| {
                    let mut places = places.iter().rev().take(MOST);
                    places.any(|(a, b)| f64::abs(a - x) < near && f64::abs(b - y) < near)
                })
        };
        let twice = (cell(x - near)..=cell(x + near))
            .any(|column| (cell(y - near)..=cell(y + near)).any(|row| stands_at(column, row)));
        if !twice {
            seen.entry((character.char, cell(x), cell(y)))
                .or_default()
                .push((x, y));
            kept.push(character);
        }
    }
    kept
}
