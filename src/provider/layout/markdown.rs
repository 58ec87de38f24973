//! Markdown tables: cells between pipes, given the places they have when the table is printed.

use crate::domain::document::{Kind, Page};

use super::page::{Box4, Sheet, bare, cell};

impl Sheet {
    /// A row of a Markdown table: cells between the pipes. Returns each cell's column.
    pub(super) fn add_pipe_row(&mut self, index: usize, page: &Page, row: &[Box4]) -> Vec<usize> {
        let (mut column, mut columns) = (0, Vec::new());
        let mut start = 0;
        let mut cells = Vec::new();
        for (at, b) in row.iter().enumerate() {
            let text = &page.words[b.word].text;
            let leading = text.starts_with('|') || bare(text).is_empty();
            if leading && start < at {
                cells.push(start..at);
                columns.push(column);
                start = at;
            }
            if leading {
                column += text.matches('|').count().max(1);
            }
            if bare(text).is_empty() {
                start = at + 1;
            } else if text.len() > 1 && text.ends_with('|') {
                cells.push(start..at + 1);
                columns.push(column);
                column += 1;
                start = at + 1;
            }
        }
        if start < row.len() {
            cells.push(start..row.len());
            columns.push(column);
        }
        let first = self.cells.len();
        for range in cells {
            let cell = cell(index, page, Kind::Markdown, &row[range], self.rows.len());
            self.cells.push(cell);
        }
        self.push_row(index, first, row);
        columns
    }

    /// Gives the cells of Markdown tables the places they have when the table is printed: text
    /// in a pipe table need not line up.
    pub(super) fn align_pipes(&mut self, first_row: usize, columns: &[Vec<usize>]) {
        let mut at = 0;
        while at < columns.len() {
            let end = (at..columns.len())
                .find(|row| columns[*row].is_empty())
                .unwrap_or(columns.len());
            let mut widths: Vec<f32> = Vec::new();
            for (row, columns) in columns.iter().enumerate().take(end).skip(at) {
                let cells = self.row(first_row + row);
                for (cell, column) in cells.iter().zip(columns) {
                    if widths.len() <= *column {
                        widths.resize(*column + 1, 1.0);
                    }
                    widths[*column] = widths[*column].max(cell.x1 - cell.x0);
                }
            }
            for (row, columns) in columns.iter().enumerate().take(end).skip(at) {
                let Some(range) = self.rows.get(first_row + row).map(|row| row.first..row.end)
                else {
                    continue;
                };
                for (cell, column) in self.cells[range].iter_mut().zip(columns) {
                    let left: f32 = widths[..*column].iter().map(|width| width + 3.0).sum();
                    cell.x1 = left + (cell.x1 - cell.x0);
                    cell.x0 = left;
                    cell.boxed = true;
                }
            }
            at = end.max(at + 1);
        }
    }
}
