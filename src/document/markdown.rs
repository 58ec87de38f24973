//! Markdown: its marks are no words, and a table looks like a printed one. The text stays as it
//! is, so offsets count in what was uploaded.

use super::grid::{Grid, Placed, Ruling, across, after, drawn_rule, plain_words};
use super::inline;

/// Empty columns between two columns of a table, wide enough to part cells for sure.
const CELL_GAP: usize = 4;
const MAX_RULINGS: usize = 10_000;

/// Whether a text uses enough of Markdown to be read as such.
pub fn is_markdown(text: &str) -> bool {
    const LOOKED_AT: usize = 5_000;
    const ENOUGH: u32 = 2;
    let mut score = 0;
    for line in text.lines().take(LOOKED_AT) {
        let line = line.trim();
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        let is_heading = (1..=6).contains(&hashes) && line[hashes..].starts_with(' ');
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        score += 2 * u32::from(is_heading || is_fence || is_delimiter(line));
        score += u32::from(has_strong(line)) + u32::from(has_link(line));
        if score >= ENOUGH {
            return true;
        }
    }
    false
}

/// `**words**`, but not the `***` of redacted passages.
fn has_strong(line: &str) -> bool {
    let parts: Vec<&str> = line.split("**").collect();
    parts.windows(3).any(|part| {
        let inner = part[1];
        !inner.is_empty()
            && inner.trim() == inner
            && !inner.starts_with('*')
            && !part[2].starts_with('*')
            && !part[0].ends_with('*')
    })
}

fn has_link(line: &str) -> bool {
    line.find("](")
        .is_some_and(|at| line[..at].contains('[') && line[at..].contains(')'))
}

/// The row under a table's head: `|---|:--:|`.
fn is_delimiter(line: &str) -> bool {
    let line = line.trim();
    line.contains('|')
        && line.contains("--")
        && line
            .chars()
            .all(|char| matches!(char, '|' | '-' | ':' | ' ' | '\t'))
}

/// A line of the page and the offset of its first character.
struct Line {
    letters: Vec<char>,
    start: u32,
}

/// The words of a Markdown page on its grid.
pub fn grid(text: &str) -> Grid {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        let letters: Vec<char> = line.chars().collect();
        let next = start + letters.len() as u32 + 1;
        lines.push(Line { letters, start });
        start = next;
    }
    let mut grid = Grid::default();
    let mut fence: Option<char> = None;
    while let Some(line) = lines.get(grid.rows.len()) {
        let row = grid.rows.len();
        if let Some(mark) =
            fence_mark(&line.letters).filter(|mark| fence.is_none_or(|f| f == *mark))
        {
            fence = fence.is_none().then_some(mark);
            grid.rows.push(Vec::new());
        } else if let Some(columns) = drawn_rule(&line.letters) {
            grid.rulings.push(across(row, columns));
            grid.rows.push(Vec::new());
        } else if fence.is_some() {
            grid.rows.push(plain_words(&line.letters, line.start));
        } else if let Some(count) = table_rows(&lines[row..]) {
            table(&lines[row..row + count], &mut grid);
        } else {
            grid.rows.push(block_words(line));
        }
    }
    grid.rulings.truncate(MAX_RULINGS);
    grid
}

fn fence_mark(line: &[char]) -> Option<char> {
    let mut marks = line.iter().skip_while(|char| char.is_whitespace());
    let first = *marks.next()?;
    (matches!(first, '`' | '~') && marks.take(2).filter(|char| **char == first).count() == 2)
        .then_some(first)
}

/// The words of a line outside tables: without the marks of headings, quotes and lists.
fn block_words(line: &Line) -> Vec<Placed> {
    let letters = &line.letters;
    let mut from = 0;
    let blank = |at: usize| letters.get(at).is_none_or(|char| char.is_whitespace());
    let skip_blanks = |mut at: usize| {
        while at < letters.len() && blank(at) {
            at += 1;
        }
        at
    };
    from = skip_blanks(from);
    while letters.get(from) == Some(&'>') {
        from = skip_blanks(from + 1);
    }
    let hashes = letters[from..]
        .iter()
        .take_while(|char| **char == '#')
        .count();
    let is_heading = (1..=6).contains(&hashes) && blank(from + hashes);
    let mut to = letters.len();
    if is_heading {
        from += hashes;
        while to > from && (blank(to - 1) || letters[to - 1] == '#') {
            to -= 1;
        }
    } else if matches!(letters.get(from), Some('-' | '*' | '+')) && blank(from + 1) {
        from += 1;
    }
    let columns = columns(letters);
    let mut words = inline::words(&letters[from..to]);
    for word in &mut words {
        let at = from + word.start as usize;
        word.column = columns[at];
        word.start = line.start + at as u32;
        word.bold |= is_heading;
    }
    words
}

/// The column of each character.
fn columns(letters: &[char]) -> Vec<usize> {
    let mut column = 0;
    let place = |char: &char| {
        let here = column;
        column = after(column, *char);
        here
    };
    letters.iter().map(place).collect()
}

/// How many lines the table has that begins here, its delimiter row included.
fn table_rows(lines: &[Line]) -> Option<usize> {
    let [head, delimiter, ..] = lines else {
        return None;
    };
    let delimiter: String = delimiter.letters.iter().collect();
    if !head.letters.contains(&'|') || !is_delimiter(&delimiter) {
        return None;
    }
    let rows = lines.iter().take_while(|line| line.letters.contains(&'|'));
    Some(rows.count())
}

/// Lays a table out: each column as wide as its widest cell.
fn table(lines: &[Line], grid: &mut Grid) {
    const DELIMITER: usize = 1;
    let top = grid.rows.len();
    let mut rows: Vec<Vec<Vec<Placed>>> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let cells = if at == DELIMITER {
            Vec::new()
        } else {
            cells(line)
        };
        rows.push(cells);
    }
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for (width, cell) in rows.iter().flat_map(|row| widths_of(row)) {
        widths[cell] = widths[cell].max(width);
    }
    let mut begins = Vec::with_capacity(count);
    let mut column = 0;
    for width in &widths {
        begins.push(column);
        column += width + CELL_GAP;
    }
    let right = column.saturating_sub(CELL_GAP);
    for row in rows {
        let placed = row.into_iter().zip(&begins).flat_map(|(cell, begin)| {
            cell.into_iter().map(move |mut word| {
                word.column += begin;
                word
            })
        });
        grid.rows.push(placed.collect());
    }
    grid.rulings.push(across(top + DELIMITER, (0, right)));
    let bottom = grid.rows.len() as f32;
    grid.rulings.extend(begins.iter().skip(1).map(|begin| {
        let middle = *begin as f32 - CELL_GAP as f32 / 2.0;
        Ruling {
            rows: (top as f32, bottom),
            columns: (middle, middle),
        }
    }));
}

fn widths_of(row: &[Vec<Placed>]) -> impl Iterator<Item = (usize, usize)> {
    row.iter().enumerate().map(|(cell, words)| {
        let end = |word: &Placed| word.column + word.text.chars().count();
        (words.last().map_or(0, end), cell)
    })
}

/// The words of each cell of a row, columns counted from the first word of the cell.
fn cells(line: &Line) -> Vec<Vec<Placed>> {
    let letters = &line.letters;
    let mut bars: Vec<usize> = Vec::new();
    for (at, char) in letters.iter().enumerate() {
        if *char == '|' && (at == 0 || letters[at - 1] != '\\') {
            bars.push(at);
        }
    }
    let blank = |range: &[char]| range.iter().all(|char| char.is_whitespace());
    let mut begin = 0;
    let mut ranges = Vec::with_capacity(bars.len() + 1);
    for end in bars.into_iter().chain([letters.len()]) {
        ranges.push(begin..end);
        begin = end + 1;
    }
    // The outer bars of a row part no cells.
    if ranges
        .first()
        .is_some_and(|range| blank(&letters[range.clone()]))
    {
        ranges.remove(0);
    }
    if ranges
        .last()
        .is_some_and(|range| blank(&letters[range.clone()]))
    {
        ranges.pop();
    }
    let cell = |range: std::ops::Range<usize>| {
        let mut words = inline::words(&letters[range.clone()]);
        let first = words.first().map_or(0, |word| word.start as usize);
        for word in &mut words {
            word.column = word.start as usize - first;
            word.start += line.start + range.start as u32;
        }
        words
    };
    ranges.into_iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use crate::document::text::read;
    use crate::domain::document::{Kind, Page};

    fn page(text: &str) -> Page {
        let (_, mut pages) = read(text).unwrap();
        assert_eq!(pages.len(), 1);
        let page = pages.remove(0);
        for word in &page.words {
            assert_eq!(page.slice(word.start, word.end()), Some(word.text.as_str()));
        }
        page
    }

    #[test]
    fn a_table_stands_in_columns_with_clear_gaps() {
        let page = page(
            "| Item | Price |\n|:--|--:|\n| A very long *description* | 5.00 |\n| B | |\nafter",
        );
        assert_eq!(page.lines.len(), 4);
        let find = |text: &str| page.words.iter().find(|word| word.text == text).unwrap();
        assert_eq!(find("Price").bbox[0], find("5.00").bbox[0]);
        let gap = (find("5.00").bbox[0] - find("description").bbox[2]) * page.width;
        assert!(gap >= 3.0, "{gap}");
        assert_eq!(find("Item").bbox[0], 0.0);
        assert_eq!(find("5.00").bbox[1], 2.0 / 5.0);
        assert_eq!(page.rules.len(), 2);
        assert!(page.rules[0].is_horizontal(&page));
        assert!(!page.rules[1].is_horizontal(&page));
        let middle = page.rules[1].bbox[0];
        assert!(middle > find("description").bbox[2] && middle < find("5.00").bbox[0]);
    }

    #[test]
    fn a_bar_behind_a_stroke_parts_no_cells() {
        let page = page("| a | b |\n|---|---|\n| x \\| y | z |");
        let starts: Vec<_> = page.line(1).iter().map(|word| word.text.as_str()).collect();
        assert_eq!(starts, ["x", "|", "y", "z"]);
        assert_eq!(page.line(1)[3].bbox[0], page.line(0)[1].bbox[0]);
    }

    #[test]
    fn a_fenced_block_is_plain_text_at_its_columns() {
        let page = page("```\nQTY   AMT\n-----------\n  2  9.19*\n```");
        let texts: Vec<_> = page.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["QTY", "AMT", "2", "9.19*"]);
        assert!((page.words[3].bbox[0] - 5.0 / page.width).abs() < 1e-6);
        assert_eq!(page.rules.len(), 1);
    }

    #[test]
    fn markdown_is_told_by_its_shape() {
        let kind = |text: &str| read(text).unwrap().0;
        assert_eq!(kind("# Invoice\n\nTotal 5"), Kind::Markdown);
        assert_eq!(kind("a | b\n---|---\n1 | 2"), Kind::Markdown);
        assert_eq!(kind("**Acme**\n\n**Total: 5**"), Kind::Markdown);
        assert_eq!(kind("```\ncode\n```"), Kind::Markdown);
        assert_eq!(
            kind("Invoice #5\n- item\n* item\nTotal ** 5 **\n[***] and [***]"),
            Kind::Text
        );
        assert_eq!(kind("#1 of 5\n---------\nA | B"), Kind::Text);
    }
}
