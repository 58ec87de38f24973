//! A page of a list, read in the transaction of its caller.

use rusqlite::{Connection, Row, ToSql};
use uuid::Uuid;

use crate::domain::page::{ListCursor, ListPage, ListQuery};
use crate::engine::ports::StoreError;
use crate::store::page::{Bounds, Counts, page};

/// A list: what is selected, and `FROM ... WHERE ...` of everything that matches.
///
/// Parameters of `matching` are numbered from 1; `columns` has none.
pub struct Listing<'a, T> {
    pub columns: &'a str,
    pub matching: &'a str,
    pub params: &'a [&'a dyn ToSql],
    /// The column that orders the list.
    pub id: &'a str,
    pub id_of: fn(&T) -> Uuid,
    pub read: fn(&Row) -> Result<T, StoreError>,
}

impl<'a, T> Listing<'a, T> {
    pub fn page(
        &self,
        connection: &Connection,
        query: &ListQuery,
    ) -> Result<ListPage<T>, StoreError> {
        let items = self.items(connection, query)?;
        let ids: Vec<_> = items.iter().map(self.id_of).collect();
        let bounds = Bounds::of(&ids, query.cursor);
        let counts = self.counts(connection, bounds)?;
        Ok(page(items, bounds, counts))
    }

    /// Newest first, whichever way the cursor points.
    fn items(&self, connection: &Connection, query: &ListQuery) -> Result<Vec<T>, StoreError> {
        let (compare, order, from) = match query.cursor {
            None => ("<=", "DESC", Uuid::max()),
            Some(ListCursor::Older(id)) => ("<", "DESC", id),
            Some(ListCursor::Newer(id)) => (">", "ASC", id),
        };
        let Self {
            columns,
            matching,
            id,
            params,
            ..
        } = self;
        let next = params.len() + 1;
        let sql = format!(
            "SELECT {columns} {matching} AND {id} {compare} ?{next} ORDER BY {id} {order} LIMIT ?{}",
            next + 1
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(&*self.with(&[from.as_bytes(), &query.limit]))?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            items.push((self.read)(row)?);
        }
        if order == "ASC" {
            items.reverse();
        }
        Ok(items)
    }

    fn counts(&self, connection: &Connection, bounds: Bounds) -> Result<Counts, StoreError> {
        let Self {
            matching,
            id,
            params,
            ..
        } = self;
        let (newest, oldest) = (params.len() + 1, params.len() + 2);
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE {id} > ?{newest}), \
             count(*) FILTER (WHERE {id} < ?{oldest}) {matching}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let bounds = self.with(&[bounds.newest.as_bytes(), bounds.oldest.as_bytes()]);
        let counts = statement.query_row(&*bounds, |row| {
            let count = |column| row.get::<_, i64>(column).map(|count| count as u64);
            Ok(Counts {
                total: count(0)?,
                newer: count(1)?,
                older: count(2)?,
            })
        })?;
        Ok(counts)
    }

    fn with(&self, more: &[&'a dyn ToSql]) -> Vec<&'a dyn ToSql> {
        [self.params, more].concat()
    }
}
