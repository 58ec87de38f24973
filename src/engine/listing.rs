//! Lists of jobs, in every order and by every filter.

use super::ports::{JobQuery, Order};
use super::{Engine, stored};
use crate::domain::error::Error;
use crate::domain::filter::NamePattern;
use crate::domain::id::Scope;
use crate::domain::job::JobView;
use crate::domain::page::{ListCursor, ListPage};
use uuid::Uuid;

/// Jobs of one look at the store, where a pattern decides.
const LOOK: u32 = 100;
/// Jobs that a pattern is held against for one page: where more must be seen, the page ends early
/// and its cursor leads on.
const MAX_SEEN: u32 = 2_000;

impl Engine {
    /// One page of a list of jobs. Cursors are places among all jobs, whatever the order: with the
    /// oldest first, the next page holds newer ones.
    ///
    /// Where a [pattern](crate::domain::filter::JobFilter::name_pattern) decides, the count is that
    /// of the page, and a page may be short although another follows.
    pub async fn jobs(
        &self,
        scope: &Scope,
        mut query: JobQuery,
    ) -> Result<ListPage<JobView>, Error> {
        let order = query.order;
        if order == Order::OldestFirst && query.page.cursor.is_none() {
            query.page.cursor = Some(ListCursor::Newer(Uuid::nil()));
        }
        let mut page = match query.filter.name_pattern.take() {
            None => stored(self.inner.jobs.list(scope, query).await)?,
            Some(pattern) => self.matching(scope, query, &pattern).await?,
        };
        if order == Order::OldestFirst {
            page.items.reverse();
            std::mem::swap(&mut page.next_cursor, &mut page.prev_cursor);
        }
        Ok(page)
    }

    async fn matching(
        &self,
        scope: &Scope,
        query: JobQuery,
        pattern: &NamePattern,
    ) -> Result<ListPage<JobView>, Error> {
        let goes_up = matches!(query.page.cursor, Some(ListCursor::Newer(_)));
        let (limit, mut look) = (query.page.limit as usize, query);
        look.page.limit = LOOK;
        let (mut items, mut seen, mut back) = (Vec::new(), 0, None);
        let onward = loop {
            let page = stored(self.inner.jobs.list(scope, look.clone()).await)?;
            let (ahead, behind) = if goes_up {
                (page.prev_cursor, page.next_cursor)
            } else {
                (page.next_cursor, page.prev_cursor)
            };
            if seen == 0 {
                back = behind;
            }
            let mut found = page.items;
            if goes_up {
                found.reverse();
            }
            let mut last = None;
            for job in found {
                last = Some(job.id.0);
                seen += 1;
                if pattern.is_in(&job.spec.document_name) {
                    items.push(job);
                }
                if items.len() == limit {
                    break;
                }
            }
            let place = |id| {
                if goes_up {
                    ListCursor::Newer(id)
                } else {
                    ListCursor::Older(id)
                }
            };
            let is_full = items.len() == limit || seen >= MAX_SEEN;
            // Also where the last one of the look is the last of all: then the next page is empty.
            let onward = if is_full { last.map(place) } else { ahead };
            if is_full || onward.is_none() {
                break onward;
            }
            look.page.cursor = onward;
        };
        if goes_up {
            items.reverse();
        }
        let (next_cursor, prev_cursor) = if goes_up {
            (back, onward)
        } else {
            (onward, back)
        };
        Ok(ListPage {
            total_count: items.len() as u64,
            items,
            next_cursor,
            prev_cursor,
        })
    }
}
