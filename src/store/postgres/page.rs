//! A page of a list, read at one moment.

use futures_util::try_join;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Param, Pool};
use crate::domain::page::{ListCursor, ListPage, ListQuery};
use crate::engine::ports::StoreError;
use crate::store::page::{Bounds, Counts, page};

/// A list: what is selected, and `FROM ... WHERE ...` of everything that matches.
///
/// Parameters of `matching` are numbered from 1; `columns` has none.
pub struct Listing<'a, T> {
    pub columns: &'a str,
    pub from: &'a str,
    pub matching: &'a str,
    pub params: &'a [Param<'a>],
    /// The column that orders the list.
    pub id: &'a str,
    pub id_of: fn(&T) -> Uuid,
    pub read: fn(&Row) -> Result<T, StoreError>,
}

impl<T> Listing<'_, T> {
    pub async fn page(&self, pool: &Pool, query: &ListQuery) -> Result<ListPage<T>, StoreError> {
        let connection = pool.connection().await?;
        let items = self.items(&connection, query).await?;
        let ids: Vec<_> = items.iter().map(self.id_of).collect();
        let bounds = Bounds::of(&ids, query.cursor);
        let counts = self.counts(&connection, bounds).await?;
        Ok(page(items, bounds, counts))
    }

    /// Newest first, whichever way the cursor points. Begins the transaction.
    async fn items(
        &self,
        connection: &Connection,
        query: &ListQuery,
    ) -> Result<Vec<T>, StoreError> {
        let (compare, order, start) = match query.cursor {
            None => ("<=", "DESC", Uuid::max()),
            Some(ListCursor::Older(id)) => ("<", "DESC", id),
            Some(ListCursor::Newer(id)) => (">", "ASC", id),
        };
        let Self {
            columns,
            from,
            matching,
            id,
            ..
        } = self;
        let next = self.params.len() + 1;
        let sql = format!(
            "SELECT {columns} FROM {from} WHERE {matching} AND {id} {compare} ${next} \
             ORDER BY {id} {order} LIMIT ${}",
            next + 1
        );
        let statement = connection.statement(&sql).await?;
        let limit = i64::from(query.limit);
        let params = [self.params, &[&start as Param, &limit]].concat();
        let answers = async {
            Ok(try_join!(
                connection.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                connection.send(&statement, &params),
            )?)
        };
        let ((), rows) = connection.within(answers).await?;
        let items = rows.iter().map(self.read);
        let mut items = items.collect::<Result<Vec<_>, _>>()?;
        if order == "ASC" {
            items.reverse();
        }
        Ok(items)
    }

    /// Ends the transaction.
    async fn counts(&self, connection: &Connection, bounds: Bounds) -> Result<Counts, StoreError> {
        let Self {
            from, matching, id, ..
        } = self;
        let (newest, oldest) = (self.params.len() + 1, self.params.len() + 2);
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE {id} > ${newest}), \
             count(*) FILTER (WHERE {id} < ${oldest}) FROM {from} WHERE {matching}"
        );
        let statement = connection.statement(&sql).await?;
        let params = [self.params, &[&bounds.newest as Param, &bounds.oldest]].concat();
        let answers = async {
            Ok(try_join!(
                connection.send(&statement, &params),
                connection.commit(),
            )?)
        };
        let (rows, ()) = connection.within(answers).await?;
        connection.settle();
        let none = || StoreError::Failed("a count has no answer".into());
        let row = rows.first().ok_or_else(none)?;
        let count = |column| row.try_get::<_, i64>(column).map(|count| count as u64);
        Ok(Counts {
            total: count(0)?,
            newer: count(1)?,
            older: count(2)?,
        })
    }
}
