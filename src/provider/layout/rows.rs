//! Arrays: the rows of tables, the items of lists, tables for their own sake.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::pointer::Pointer;

use super::fill::{Filler, Owners};
use super::find::Found;
use super::grid::{self, Grid};
use super::header::{self, Wanted};
use super::kind::Kind;
use super::list;
use super::page::{Span, text_of};
use super::query;
use super::schema::{Field, Form, Leaf};
use super::table::{self, Among, Record};
use super::text::{name_words, tokens};
use super::value::{Side, read};

impl Filler<'_> {
    pub(super) fn array(
        &mut self,
        field: &Field,
        item: &Field,
        most: usize,
        at: &Pointer,
        owners: &Owners,
    ) -> Option<Value> {
        let rows = match &item.form {
            Form::Object(fields) if fields.iter().any(is_matrix) => self.tables(fields, most, at),
            Form::Object(_) => self.rows(field, item, most, at),
            Form::Array { item: cell, .. } if matches!(cell.form, Form::Leaf(_)) => {
                let largest = grid::grids(&self.source)
                    .into_iter()
                    .max_by_key(|grid| grid.rows.len());
                largest.map_or_else(Vec::new, |grid| self.matrix(&grid, cell, most, at))
            }
            Form::Leaf(leaf) => self.scalars(field, leaf, most, at, owners),
            _ => Vec::new(),
        };
        (!rows.is_empty()).then_some(Value::Array(rows))
    }

    /// The rows of a table, or of a list that says as much.
    fn rows(&mut self, field: &Field, item: &Field, most: usize, at: &Pointer) -> Vec<Value> {
        let signature = Wanted::signature(item);
        let all = self.alike.get(&signature).map_or(&[][..], Vec::as_slice);
        let alike = all.len();
        let number = all.iter().position(|other| std::ptr::eq(*other, item));
        let wanted = Wanted::of(item);
        let near = (alike > 1).then(|| Among {
            owner: query::owner(field),
            number: number.unwrap_or(alike),
            alike,
        });
        let headers = self
            .headers
            .entry(signature)
            .or_insert_with(|| header::headers(&self.source, &wanted));
        let mut records = table::records(&self.source, &wanted, headers, near.as_ref());
        if records.is_empty() && alike <= 1 {
            records = list::lines(&self.source, &wanted);
        }
        self.values(item, &wanted, records, most, at)
    }

    fn values(
        &mut self,
        item: &Field,
        wanted: &Wanted<'_>,
        records: Vec<Record>,
        most: usize,
        at: &Pointer,
    ) -> Vec<Value> {
        let mut rows = Vec::new();
        for (index, record) in records.into_iter().take(most).enumerate() {
            let mut found: HashMap<*const Field, Found> = HashMap::new();
            for ((field, _), value) in wanted.leaves.iter().zip(record) {
                if let Some(value) = value {
                    found.insert(std::ptr::from_ref(*field), value);
                }
            }
            let row = self.record(item, &mut found, "", &at.index(index));
            rows.push(row.unwrap_or(Value::Null));
        }
        rows
    }

    /// The items of a list under the array's label.
    fn scalars(
        &mut self,
        field: &Field,
        leaf: &Leaf,
        most: usize,
        at: &Pointer,
        owners: &Owners,
    ) -> Vec<Value> {
        let phrases = Self::phrases(field, owners);
        let mut rows = Vec::new();
        if phrases
            .weight(&tokens("parties"))
            .is_some_and(|weight| weight >= 0.7)
        {
            for found in self.source.parties(leaf).into_iter().take(most) {
                let value = self.keep(found, &at.index(rows.len()));
                rows.push(value);
            }
            return rows;
        }
        for span in list::bullets(&self.source, &phrases) {
            let words = self.source.words(span);
            let read = read(leaf, &words, self.source.habits(), Side::Any);
            if let Some(read) = read.filter(|_| rows.len() < most) {
                let span = Span {
                    page: span.page,
                    first: span.first + read.first,
                    last: span.first + read.last,
                };
                let found = Found {
                    value: read.value,
                    spans: vec![span],
                    confidence: 0.8,
                    how: "in the list under its label",
                };
                let value = self.keep(found, &at.index(rows.len()));
                rows.push(value);
            }
        }
        rows
    }

    /// Every table of the document, for items that hold the rows of a table as lists of cells.
    fn tables(&mut self, fields: &[Field], most: usize, at: &Pointer) -> Vec<Value> {
        let mut tables = Vec::new();
        for grid in grid::grids(&self.source).into_iter().take(most) {
            let at = at.index(tables.len());
            let mut map = Map::new();
            for field in fields {
                let at = at.join(&field.name);
                let value = match &field.form {
                    Form::Array { item, most } if is_matrix(field) => match &item.form {
                        Form::Array { item: cell, .. } => {
                            Some(Value::Array(self.matrix(&grid, cell, *most, &at)))
                        }
                        _ => None,
                    },
                    Form::Leaf(leaf)
                        if tokens(&name_words(&field.name))
                            .iter()
                            .any(|token| token == "page") =>
                    {
                        self.page_of(&grid, leaf, &at)
                    }
                    _ => None,
                };
                if let Some(value) = value.or_else(|| field.empty()) {
                    map.insert(field.name.clone(), value);
                }
            }
            tables.push(Value::Object(map));
        }
        tables
    }

    /// The number of the page a table stands on; its first cell is the evidence.
    fn page_of(&mut self, grid: &Grid, leaf: &Leaf, at: &Pointer) -> Option<Value> {
        let value = Value::from(self.source.document.pages.get(grid.page)?.number);
        let span = *grid.rows.iter().flatten().flatten().next()?;
        leaf.takes(&value).then(|| {
            let found = Found {
                value,
                spans: vec![span],
                confidence: 0.9,
                how: "the page of the table",
            };
            self.keep(found, at)
        })
    }

    fn matrix(&mut self, grid: &Grid, cell: &Field, most: usize, at: &Pointer) -> Vec<Value> {
        let Form::Leaf(leaf) = &cell.form else {
            return Vec::new();
        };
        let text = |spans: &[Span]| Value::String(text_of(self.source.document, spans));
        let fits = |row: &Vec<Vec<Span>>| row.iter().all(|cell| leaf.takes(&text(cell)));
        if !grid.rows.iter().take(most).all(fits) {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for (index, row) in grid.rows.iter().take(most).enumerate() {
            let at = at.index(index);
            let mut cells = Vec::new();
            for (column, spans) in row.iter().enumerate() {
                let text = Value::String(text_of(self.source.document, spans));
                if !spans.is_empty() {
                    let found = Found {
                        value: text.clone(),
                        spans: spans.clone(),
                        confidence: 0.7,
                        how: "in its cell of the table",
                    };
                    self.keep(found, &at.index(column));
                }
                cells.push(text);
            }
            rows.push(Value::Array(cells));
        }
        rows
    }

    /// Puts what a row holds into the item's shape. `owner` is what tells the row from others,
    /// for lists that stand elsewhere under its name.
    fn record(
        &mut self,
        field: &Field,
        found: &mut HashMap<*const Field, Found>,
        owner: &str,
        at: &Pointer,
    ) -> Option<Value> {
        match &field.form {
            Form::Object(fields) => {
                let named = fields.iter().find_map(|child| match &child.form {
                    Form::Leaf(leaf) if leaf.kind == Kind::Identifier => found
                        .get(&std::ptr::from_ref(child))?
                        .value
                        .as_str()
                        .map(str::to_owned),
                    _ => None,
                });
                let owner = named.as_deref().unwrap_or(owner);
                let mut map = Map::new();
                for child in fields {
                    let value = self.record(child, found, owner, &at.join(&child.name));
                    if let Some(value) = value.or_else(|| child.empty()) {
                        map.insert(child.name.clone(), value);
                    }
                }
                Some(Value::Object(map))
            }
            Form::Leaf(_) => {
                let found = found.remove(&std::ptr::from_ref(field))?;
                Some(self.keep(found, at))
            }
            Form::Array { item, most } => {
                let wanted = Wanted::of(item);
                let records = list::pairs(&self.source, &wanted, owner);
                let rows = self.values(item, &wanted, records, *most, at);
                (!rows.is_empty()).then_some(Value::Array(rows))
            }
            Form::Closed => None,
        }
    }
}

/// The items of all arrays of rows, by what they ask for, in the order of the schema.
pub(super) fn count_alike(field: &Field, alike: &mut HashMap<String, Vec<*const Field>>) {
    match &field.form {
        Form::Object(fields) => fields.iter().for_each(|field| count_alike(field, alike)),
        Form::Array { item, .. } if matches!(item.form, Form::Object(_)) => {
            let items = alike.entry(Wanted::signature(item)).or_default();
            items.push(std::ptr::from_ref(&**item));
        }
        _ => {}
    }
}

/// Whether a field holds the rows of a table as lists of cells.
fn is_matrix(field: &Field) -> bool {
    let Form::Array { item, .. } = &field.form else {
        return false;
    };
    matches!(&item.form, Form::Array { item, .. } if matches!(item.form, Form::Leaf(_)))
}
