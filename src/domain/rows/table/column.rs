//! Columns: edges that the cells of rows share, and which cell stands in which.

use std::collections::HashMap;

use super::super::survey::{Cell, Edge, Survey};

/// How far from its column's edge a cell may begin or end: in points, and on a grid.
const CLOSE: (f32, f32) = (2.5, 0.1);
/// The part of the rows, in hundredths, that a column is filled in at least.
const FILLED: usize = 5;
/// The most columns of a table.
const MOST_COLUMNS: usize = 60;

/// A column.
#[derive(Debug, Clone)]
struct Column {
    edge: Edge,
    /// Where its cells line up.
    at: f32,
    /// Where they usually begin and end.
    usual: (f32, f32),
    /// How far to the right any of them goes.
    reach: f32,
}

/// The columns of most rows of a document, from left to right.
#[derive(Debug)]
pub(super) struct Columns {
    all: Vec<Column>,
    close: f32,
    /// Columns that most rows fill.
    pub(super) most: usize,
}

/// For each cell of a line, in its order, the column that it stands in.
pub(super) type Places = Vec<usize>;

impl Columns {
    /// Of the lines on which rows seem to begin; none where fewer than two columns can be told.
    pub(super) fn of(survey: &Survey, starts: &[bool]) -> Option<Self> {
        let rows: Vec<usize> = (0..starts.len()).filter(|line| starts[*line]).collect();
        let mut cells: HashMap<Edge, Vec<&Cell>> = HashMap::new();
        for line in &rows {
            for cell in survey.cells(*line) {
                cells.entry(cell.edge).or_default().push(cell);
            }
        }
        let least = (rows.len() * FILLED / 100).max(3);
        let mut edges: Vec<(Edge, Vec<&Cell>)> = cells
            .into_iter()
            .filter(|(_, cells)| cells.len() >= least)
            .collect();
        edges.sort_by_key(|(edge, cells)| (std::cmp::Reverse(cells.len()), *edge));
        let close = if survey.document().kind.is_printed() {
            CLOSE.0
        } else {
            CLOSE.1
        };
        let mut columns: Vec<Column> = Vec::new();
        for (edge, cells) in edges {
            let column = Column::of(edge, &cells);
            // The same place lined up otherwise is that of the column that has more.
            let is_free = columns.iter().all(|known| !known.overlaps(&column));
            if is_free && columns.len() < MOST_COLUMNS {
                columns.push(column);
            }
        }
        columns.sort_by(|a, b| a.usual.0.total_cmp(&b.usual.0));
        let mut found = Self {
            all: columns,
            close,
            most: 0,
        };
        let mut filled: Vec<usize> = rows
            .iter()
            .filter_map(|line| found.places(survey, *line))
            .map(|places| places.len())
            .collect();
        filled.sort_unstable();
        found.most = filled.get(filled.len() / 2).copied().unwrap_or(0);
        (found.all.len() >= 2 && found.most >= 2).then_some(found)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The column of each cell of a line; none where one of them stands in no column for certain,
    /// lies across another, or shares one.
    pub(super) fn places(&self, survey: &Survey, line: usize) -> Option<Places> {
        let mut places: Places = Vec::new();
        for cell in survey.cells(line) {
            let at = self.place(cell)?;
            if places.last().is_some_and(|last| *last >= at) {
                return None;
            }
            places.push(at);
        }
        (!places.is_empty()).then_some(places)
    }

    /// How many cells of a line stand in a column.
    pub(super) fn shared(&self, survey: &Survey, line: usize) -> usize {
        let cells = survey.cells(line).iter();
        cells.filter(|cell| self.place(cell).is_some()).count()
    }

    fn place(&self, cell: &Cell) -> Option<usize> {
        let fits = |column: &Column| (side(cell, column.edge) - column.at).abs() <= self.close;
        let mut fitting = (0..self.all.len()).filter(|at| fits(&self.all[*at]));
        let at = fitting.next()?;
        let across =
            |column: &Column| cell.x0 + self.close < column.at && column.at < cell.x1 - self.close;
        let others = self.all.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != at);
        let is_alone = fitting.next().is_none() && !others.any(|(_, column)| across(column));
        is_alone.then_some(at)
    }

    /// Whether the first words of a cell had no room behind those of one above it.
    pub(super) fn wraps(&self, column: usize, above: &Cell, width: f32, space: f32) -> bool {
        let column = self.all.get(column);
        column.is_some_and(|column| above.x1 + space + width > column.reach)
    }
}

impl Column {
    fn of(edge: Edge, cells: &[&Cell]) -> Self {
        let middle = |of: fn(&Cell) -> f32| {
            let mut all: Vec<f32> = cells.iter().map(|cell| of(cell)).collect();
            all.sort_by(f32::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let mut edges: Vec<f32> = cells.iter().map(|cell| side(cell, edge)).collect();
        edges.sort_by(f32::total_cmp);
        Self {
            edge,
            at: edges.get(edges.len() / 2).copied().unwrap_or_default(),
            usual: (middle(|cell| cell.x0), middle(|cell| cell.x1)),
            reach: cells.iter().map(|cell| cell.x1).fold(f32::MIN, f32::max),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.usual.0 < other.usual.1 && other.usual.0 < self.usual.1
    }
}

/// Where a cell has the side that an edge is of.
fn side(cell: &Cell, edge: Edge) -> f32 {
    match edge.side() {
        0 => cell.x0,
        1 => cell.x1,
        _ => f32::midpoint(cell.x0, cell.x1),
    }
}
