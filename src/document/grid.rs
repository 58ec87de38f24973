//! Text as a printed page: words stand on a grid of lines and columns.

use crate::domain::document::{Page, Rule, Word};

/// Columns from one tab stop to the next.
const TAB: usize = 8;

/// A word on the grid. `start` counts code points of the page's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub text: String,
    pub start: u32,
    pub column: usize,
    pub bold: bool,
}

/// A line drawn on the grid: rows and columns, in either direction of no width.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    pub rows: (f32, f32),
    pub columns: (f32, f32),
}

/// The words of a page by line.
#[derive(Debug, Default)]
pub struct Grid {
    pub rows: Vec<Vec<Placed>>,
    pub rulings: Vec<Ruling>,
}

impl Grid {
    /// The page whose text is `text`, unchanged.
    pub fn into_page(self, number: u32, text: &str) -> Page {
        let words = self.rows.iter().flatten();
        let ends = words.map(|word| word.column + word.text.chars().count());
        let width = ends.max().unwrap_or(0).max(1) as f32;
        let height = self.rows.len().max(1) as f32;
        let mut page = Page {
            number,
            width,
            height,
            text: text.to_owned(),
            words: Vec::new(),
            lines: Vec::new(),
            rules: Vec::new(),
        };
        page.rules
            .extend(self.rulings.into_iter().map(|ruling| Rule {
                bbox: [
                    (ruling.columns.0 / width).clamp(0.0, 1.0),
                    (ruling.rows.0 / height).clamp(0.0, 1.0),
                    (ruling.columns.1 / width).clamp(0.0, 1.0),
                    (ruling.rows.1 / height).clamp(0.0, 1.0),
                ],
            }));
        for (row, words) in self.rows.into_iter().enumerate() {
            let first = page.words.len() as u32;
            page.words.extend(words.into_iter().map(|placed| {
                let end = placed.column + placed.text.chars().count();
                Word {
                    bbox: [
                        placed.column as f32 / width,
                        row as f32 / height,
                        end as f32 / width,
                        (row + 1) as f32 / height,
                    ],
                    text: placed.text,
                    start: placed.start,
                    size: 0.0,
                    bold: placed.bold,
                }
            }));
            let end = page.words.len() as u32;
            page.lines.extend((end > first).then_some(first..end));
        }
        page
    }
}

/// The grid of a plain text.
pub fn plain(text: &str) -> Grid {
    let mut grid = Grid::default();
    let mut start = 0;
    for line in text.split('\n') {
        let letters: Vec<char> = line.chars().collect();
        let row = grid.rows.len();
        if let Some(columns) = drawn_rule(&letters) {
            grid.rulings.push(across(row, columns));
            grid.rows.push(Vec::new());
        } else {
            grid.rows.push(plain_words(&letters, start));
        }
        start += letters.len() as u32 + 1;
    }
    grid
}

/// A ruling through the middle of a row.
pub fn across(row: usize, columns: (usize, usize)) -> Ruling {
    let middle = row as f32 + 0.5;
    Ruling {
        rows: (middle, middle),
        columns: (columns.0 as f32, columns.1 as f32),
    }
}

/// The columns a line spans that is nothing but a drawn rule, such as `-----` or `+---+---+`.
pub fn drawn_rule(line: &[char]) -> Option<(usize, usize)> {
    let mut span: Option<(usize, usize)> = None;
    let mut strokes = 0;
    let mut column = 0;
    for char in line {
        let next = after(column, *char);
        match char {
            '-' | '=' | '_' | '*' | '─' | '━' | '═' => strokes += 1,
            '+' | '|' | ':' | '\u{2500}'..='\u{257f}' => {}
            space if space.is_whitespace() => {
                column = next;
                continue;
            }
            _ => return None,
        }
        span = Some((span.map_or(column, |span| span.0), next));
        column = next;
    }
    span.filter(|_| strokes >= 3)
}

/// The words of a line at the columns they stand in; strokes between cells are no words.
pub fn plain_words(line: &[char], start: u32) -> Vec<Placed> {
    let is_row = line.iter().find(|char| !char.is_whitespace()) == Some(&'|');
    let mut words: Vec<Placed> = Vec::new();
    let mut open = false;
    let mut column = 0;
    for (at, char) in line.iter().enumerate() {
        let stroke = matches!(char, '\u{2500}'..='\u{257f}') || (is_row && *char == '|');
        if char.is_whitespace() || stroke {
            open = false;
        } else if let Some(word) = words.last_mut().filter(|_| open) {
            word.text.push(*char);
        } else {
            open = true;
            words.push(Placed {
                text: char.to_string(),
                start: start + at as u32,
                column,
                bold: false,
            });
        }
        column = after(column, *char);
    }
    words.retain(|word| word.text != "|");
    words
}

/// The column after a character.
pub fn after(column: usize, char: char) -> usize {
    if char == '\t' {
        (column / TAB + 1) * TAB
    } else {
        column + 1
    }
}
