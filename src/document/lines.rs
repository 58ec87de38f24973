//! Words to lines, lines to reading order.

use super::words::{Piece, Walls, glue};

/// Baselines within this part of the font size are one line; within the larger part they are if
/// the words stand beside each other, as labels and values of other fonts do.
const SAME_LINE: (f64, f64) = (0.3, 0.42);

/// One visual row of the page.
struct Row {
    baseline: f64,
    size: f64,
    pieces: Vec<Piece>,
}

impl Row {
    fn new(piece: Piece) -> Self {
        Self {
            baseline: piece.baseline,
            size: piece.size,
            pieces: vec![piece],
        }
    }

    fn takes(&self, piece: &Piece) -> bool {
        /// Longer rows are not looked through.
        const MOST: usize = 512;
        let off = (piece.baseline - self.baseline).abs() / self.size.min(piece.size);
        let beside = |other: &Piece| piece.start >= other.end || piece.end <= other.start;
        off < SAME_LINE.0
            || (off < SAME_LINE.1 && self.pieces.len() < MOST && self.pieces.iter().all(beside))
    }

    fn add(&mut self, piece: Piece) {
        if piece.size > self.size {
            (self.baseline, self.size) = (piece.baseline, piece.size);
        }
        self.pieces.push(piece);
    }
}

/// Pieces as lines in the order they are read. A row of a form or table stays one line; only
/// columns of running text are read one after the other.
pub fn in_reading_order(pieces: Vec<Piece>, walls: &Walls) -> Vec<Vec<Piece>> {
    let rows = with_raised(rows(pieces));
    let lines = rows.into_iter().map(|mut row| {
        row.pieces.sort_by(|a, b| a.start.total_cmp(&b.start));
        glue(row.pieces, walls)
    });
    by_columns(lines.collect(), 3)
}

/// Rows from top to bottom.
fn rows(mut pieces: Vec<Piece>) -> Vec<Row> {
    pieces.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<Row> = Vec::new();
    for piece in pieces {
        match rows.last_mut() {
            Some(row) if row.takes(&piece) => row.add(piece),
            _ => rows.push(Row::new(piece)),
        }
    }
    rows
}

/// Raised and lowered small print (footnote marks, powers) joins the row it stands in.
fn with_raised(rows: Vec<Row>) -> Vec<Row> {
    let mut settled: Vec<Row> = Vec::with_capacity(rows.len());
    for mut row in rows {
        match settled.last_mut() {
            Some(last) if stands_in(last, &row) => {
                row.pieces.append(&mut last.pieces);
                *last = row;
            }
            Some(last) if stands_in(&row, last) => last.pieces.append(&mut row.pieces),
            _ => settled.push(row),
        }
    }
    settled
}

fn stands_in(small: &Row, row: &Row) -> bool {
    /// Rows longer than these are no footnote marks.
    const MOST: (usize, usize) = (64, 1024);
    let middle = small.baseline - 0.35 * small.size;
    small.size < 0.8 * row.size
        && middle > row.baseline - 0.9 * row.size
        && middle < row.baseline + 0.25 * row.size
        && small.pieces.len() <= MOST.0
        && row.pieces.len() <= MOST.1
        && small.pieces.iter().all(|mark| {
            let overlaps = |word: &Piece| {
                mark.start.max(word.start) + 0.2 * mark.size < mark.end.min(word.end)
            };
            let touches = |word: &Piece| {
                let gap = (mark.start - word.end).max(word.start - mark.end);
                gap < 2.0 * row.size
            };
            !row.pieces.iter().any(overlaps) && row.pieces.iter().any(touches)
        })
}

type Line = Vec<Piece>;

/// A column of running text has at least so many lines.
const COLUMN_LINES: usize = 8;

/// Reads columns of running text one after the other, `depth` levels deep.
fn by_columns(lines: Vec<Line>, depth: usize) -> Vec<Line> {
    if depth == 0 || lines.len() < COLUMN_LINES {
        return lines;
    }
    let Some((from, to, gutter)) = gutters(&lines)
        .into_iter()
        .find_map(|x| column_block(&lines, x).map(|(from, to)| (from, to, x)))
    else {
        return lines;
    };
    let mut above = lines;
    let mut block = above.split_off(from);
    let below = block.split_off(to - from);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for line in block {
        let (a, b): (Line, Line) = line.into_iter().partition(|word| word.start < gutter);
        left.extend((!a.is_empty()).then_some(a));
        right.extend((!b.is_empty()).then_some(b));
    }
    let mut ordered = by_columns(above, depth - 1);
    for part in [left, right, below] {
        ordered.extend(by_columns(part, depth - 1));
    }
    ordered
}

/// Places where many lines begin anew after a gap, the most common first.
fn gutters(lines: &[Line]) -> Vec<f64> {
    const BIN: f64 = 3.0;
    const MOST: usize = 6;
    let mut begins: Vec<f64> = Vec::new();
    for line in lines {
        let mut end = f64::MIN;
        for word in line {
            if word.start - end > 0.8 * word.size {
                begins.push(word.start);
            }
            end = end.max(word.end);
        }
    }
    begins.sort_by(f64::total_cmp);
    let mut bins: Vec<(usize, f64)> = Vec::new();
    let mut at = 0;
    while let Some(first) = begins.get(at) {
        let count = begins[at..]
            .iter()
            .take_while(|x| **x < first + BIN)
            .count();
        bins.push((count, first - 0.5));
        at += count;
    }
    bins.retain(|(count, _)| *count >= COLUMN_LINES / 2);
    bins.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    bins.truncate(MOST);
    bins.into_iter().map(|(_, x)| x).collect()
}

/// The longest range of lines that nothing crosses at `x`, with running text on both sides.
fn column_block(lines: &[Line], x: f64) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    let mut from = 0;
    for to in 0..=lines.len() {
        if lines.get(to).is_some_and(|line| !is_crossed(line, x)) {
            continue;
        }
        let longer = best.is_none_or(|(a, b)| b - a < to - from);
        if longer && to - from >= COLUMN_LINES && are_columns(&lines[from..to], x) {
            best = Some((from, to));
        }
        from = to + 1;
    }
    let (from, to) = best?;
    // Lines above both columns, such as a heading, are read first wherever they stand.
    let first = |wanted: fn(&Piece, f64) -> bool| {
        (from..to).find(|at| lines[*at].iter().any(|word| wanted(word, x)))
    };
    let left = first(|word, x| word.start < x)?;
    let right = first(|word, x| word.start >= x)?;
    Some((left.max(right).saturating_sub(1).max(from), to))
}

/// Whether a word stands across `x`, or two words meet there without a gutter.
fn is_crossed(line: &[Piece], x: f64) -> bool {
    let split = line.iter().position(|word| word.start >= x);
    let left = &line[..split.unwrap_or(line.len())];
    let end = left.iter().map(|word| word.end).fold(f64::MIN, f64::max);
    match split {
        Some(split) => line[split].start - end < 0.8 * line[split].size,
        None => end > x,
    }
}

fn are_columns(lines: &[Line], x: f64) -> bool {
    let side = |left: bool| -> Vec<Vec<&Piece>> {
        let sides = lines.iter().map(|line| {
            let words = line.iter().filter(|word| (word.start < x) == left);
            words.collect::<Vec<_>>()
        });
        sides.filter(|words| !words.is_empty()).collect()
    };
    is_running_text(&side(true)) && is_running_text(&side(false))
}

/// Sentences fill their lines; cells of tables and forms do not.
fn is_running_text(lines: &[Vec<&Piece>]) -> bool {
    if lines.len() < COLUMN_LINES {
        return false;
    }
    let begin = |line: &Vec<&Piece>| line.first().map_or(0.0, |word| word.start);
    let end = |line: &Vec<&Piece>| line.last().map_or(0.0, |word| word.end);
    let least = lines.iter().map(begin).fold(f64::MAX, f64::min);
    let most = lines.iter().map(end).fold(f64::MIN, f64::max);
    let count = lines.len() as f64;
    let filled: f64 = lines.iter().map(|line| end(line) - begin(line)).sum();
    let words: usize = lines.iter().map(Vec::len).sum();
    let whole = lines.iter().filter(|line| {
        let mut pairs = line.windows(2);
        pairs.all(|pair| pair[1].start - pair[0].end < 2.0 * pair[0].size)
    });
    let (mut letters, mut all) = (0, 0);
    for char in lines.iter().flatten().flat_map(|word| word.text.chars()) {
        letters += usize::from(char.is_alphabetic());
        all += 1;
    }
    filled > 0.65 * count * (most - least)
        && words as f64 > 3.5 * count
        && whole.count() as f64 > 0.85 * count
        && letters * 10 > all * 6
}
