//! A document as Markdown: headings by their size, tables where they were found, all else as
//! paragraphs. Nothing is added and no word is left out.

use std::fmt::Write as _;

use super::document::{Document, Kind, Page, Word};
use super::outline::{Run, Table};

/// How much larger than most words a heading is set, and one of the first level.
const HEADING: f32 = 1.25;
const TITLE: f32 = 1.6;
/// The most words of a heading.
const MOST_WORDS: usize = 16;
/// White space above a line, in heights of it, that begins a paragraph.
const PARAGRAPH: f32 = 0.75;

/// All pages, one after the other. A file that is Markdown stays as it is.
pub fn markdown(document: &Document, tables: &[Table]) -> String {
    let mut text = String::new();
    if document.kind == Kind::Markdown {
        for page in &document.pages {
            paragraph(&mut text);
            text.push_str(page.text.trim_end());
        }
        return text;
    }
    let body = body_size(document);
    let whole: Vec<Placed> = tables
        .iter()
        .filter_map(|table| Placed::of(document, table))
        .collect();
    for (index, page) in document.pages.iter().enumerate() {
        paragraph(&mut text);
        add_page(&mut text, (index, page), &whole, body);
    }
    text.truncate(text.trim_end().len());
    text
}

fn add_page(text: &mut String, (index, page): (usize, &Page), tables: &[Placed], body: f32) {
    let mut above: Option<&Word> = None;
    for line in 0..page.lines.len() {
        let words = page.line(line);
        let Some(first) = words.first() else { continue };
        let table = tables.iter().find(|table| table.covers(index, line));
        if let Some(table) = table {
            if table.begins(index, line) {
                paragraph(text);
                table.write(text);
            }
            above = None;
            continue;
        }
        let mark = heading(words, body);
        let is_new = above.is_none_or(|above| is_apart(above, first)) || !mark.is_empty();
        if is_new {
            paragraph(text);
        } else {
            text.push('\n');
        }
        let said: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        text.push_str(mark);
        text.push_str(&plain(&said.join(" ")));
        above = Some(first).filter(|_| mark.is_empty());
    }
}

/// Ends what stands before with an empty line.
fn paragraph(text: &mut String) {
    if !text.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
}

/// A line that no sign at its beginning makes into something else.
fn plain(line: &str) -> String {
    if line.starts_with(['#', '>', '`', '~']) {
        format!("\\{line}")
    } else {
        line.to_owned()
    }
}

fn is_apart(above: &Word, below: &Word) -> bool {
    let height = (above.bbox[3] - above.bbox[1]).min(below.bbox[3] - below.bbox[1]);
    let gap = below.bbox[1] - above.bbox[3];
    // A line further up begins another column.
    gap > PARAGRAPH * height || below.bbox[1] < above.bbox[1] - height
}

fn heading(words: &[Word], body: f32) -> &'static str {
    let least = words.iter().map(|word| word.size).fold(f32::MAX, f32::min);
    let has_letters = words
        .iter()
        .any(|word| word.text.contains(char::is_alphabetic));
    if body <= 0.0 || words.len() > MOST_WORDS || !has_letters || least < body * HEADING {
        ""
    } else if least >= body * TITLE {
        "# "
    } else {
        "## "
    }
}

/// The size that most words are set in; 0 where the format has none.
fn body_size(document: &Document) -> f32 {
    let words = document.pages.iter().flat_map(|page| &page.words);
    let mut sizes: Vec<f32> = words.map(|word| word.size).collect();
    sizes.sort_by(f32::total_cmp);
    sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
}

/// A table that stands alone on its lines.
struct Placed<'t> {
    table: &'t Table,
    /// By page, the first and the last line of it.
    lines: Vec<(usize, usize, usize)>,
}

impl<'t> Placed<'t> {
    /// None where other words stand on its lines: they would be lost.
    fn of(document: &Document, table: &'t Table) -> Option<Self> {
        let mut lines: Vec<(usize, usize, usize)> = Vec::new();
        for run in &table.runs {
            let page = document.pages.get(run.page)?;
            let line = line_of(page, run.first)?;
            match lines.iter_mut().find(|(page, ..)| *page == run.page) {
                Some((_, first, last)) => {
                    (*first, *last) = ((*first).min(line), (*last).max(line));
                }
                None => lines.push((run.page, line, line)),
            }
        }
        let is_whole = lines.iter().all(|(index, first, last)| {
            let page = &document.pages[*index];
            let words = page.lines[*first].start as usize..page.lines[*last].end as usize;
            has_all(&table.runs, *index, words)
        });
        (is_whole && table.rows.len() >= 2 && !lines.is_empty()).then_some(Self { table, lines })
    }

    fn covers(&self, page: usize, line: usize) -> bool {
        let mut lines = self.lines.iter();
        lines.any(|(at, first, last)| *at == page && (*first..=*last).contains(&line))
    }

    fn begins(&self, page: usize, line: usize) -> bool {
        let first = self.lines.first();
        first.is_some_and(|(at, first, _)| (*at, *first) == (page, line))
    }

    fn write(&self, text: &mut String) {
        let rows = &self.table.rows;
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        for (number, row) in rows.iter().enumerate() {
            text.push('|');
            for column in 0..columns {
                let cell = row.get(column).map_or("", String::as_str);
                let cell = cell.split_whitespace().collect::<Vec<_>>().join(" ");
                let _ = write!(text, " {} |", cell.replace('|', "\\|"));
            }
            text.push('\n');
            if number == 0 {
                text.push('|');
                text.push_str(&" --- |".repeat(columns));
                text.push('\n');
            }
        }
    }
}

fn line_of(page: &Page, word: usize) -> Option<usize> {
    let line = page.lines.partition_point(|line| line.end as usize <= word);
    let range = page.lines.get(line)?;
    (range.start as usize <= word).then_some(line)
}

/// Whether each of these words of a page is in one of the runs.
fn has_all(runs: &[Run], page: usize, words: std::ops::Range<usize>) -> bool {
    let mut taken = vec![false; words.len()];
    for run in runs.iter().filter(|run| run.page == page) {
        for word in run.first..=run.last {
            if let Some(at) = word.checked_sub(words.start)
                && let Some(taken) = taken.get_mut(at)
            {
                *taken = true;
            }
        }
    }
    taken.into_iter().all(|taken| taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, x: f32, y: f32, size: f32) -> Word {
        Word {
            text: text.into(),
            bbox: [x, y, x + 0.05, y + 0.01],
            start: 0,
            size,
            bold: false,
        }
    }

    fn document(lines: Vec<Vec<Word>>) -> Document {
        Document {
            kind: Kind::Pdf,
            sha256: String::new(),
            pages: vec![Page::from_lines(1, 100.0, 100.0, lines, vec![])],
            unread: vec![],
        }
    }

    fn cells(rows: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        rows.iter().map(row).collect()
    }

    #[test]
    fn headings_paragraphs_and_tables_are_written_as_such() {
        let document = document(vec![
            vec![word("Invoice", 0.1, 0.1, 20.0)],
            vec![word("#1", 0.1, 0.2, 10.0), word("of", 0.2, 0.2, 10.0)],
            vec![word("May", 0.1, 0.212, 10.0)],
            vec![word("Item", 0.1, 0.3, 10.0), word("Price", 0.5, 0.3, 10.0)],
            vec![
                word("A|B", 0.1, 0.312, 10.0),
                word("5.00", 0.5, 0.312, 10.0),
            ],
            vec![word("end", 0.1, 0.4, 10.0)],
        ]);
        let run = |first, last| Run {
            page: 0,
            first,
            last,
        };
        let table = Table {
            rows: cells(&[&["Item", "Price"], &["A|B", "5.00"]]),
            runs: vec![run(4, 4), run(5, 5), run(6, 6), run(7, 7)],
        };
        let text = markdown(&document, std::slice::from_ref(&table));
        assert_eq!(
            text,
            "# Invoice\n\n\\#1 of\nMay\n\n| Item | Price |\n| --- | --- |\n| A\\|B | 5.00 |\n\nend"
        );
        // Without one of its words it would take the place of more than it says.
        let torn = Table {
            runs: table.runs[..3].to_vec(),
            ..table
        };
        let text = markdown(&document, &[torn]);
        assert!(text.contains("A|B 5.00") && !text.contains("---"), "{text}");
    }
}
