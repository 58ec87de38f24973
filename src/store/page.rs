//! Keyset paging, the part that is the same for every store.

use uuid::Uuid;

use crate::domain::page::{ListCursor, ListPage};

/// The bounds of a page: what is newer than `newest` comes before it, what is older than `oldest`
/// after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub newest: Uuid,
    pub oldest: Uuid,
}

impl Bounds {
    /// `ids` are those of the page, newest first.
    ///
    /// An empty page lies just beyond its cursor, which itself may be an item of the neighbouring
    /// page: hence the step of one.
    pub fn of(ids: &[Uuid], cursor: Option<ListCursor>) -> Self {
        let step = |id: Uuid, by: i128| Uuid::from_u128(id.as_u128().saturating_add_signed(by));
        match (ids, cursor) {
            ([newest, .., oldest], _) => Self {
                newest: *newest,
                oldest: *oldest,
            },
            ([only], _) => Self {
                newest: *only,
                oldest: *only,
            },
            ([], Some(ListCursor::Older(id))) => Self {
                newest: step(id, -1),
                oldest: id,
            },
            ([], Some(ListCursor::Newer(id))) => Self {
                newest: id,
                oldest: step(id, 1),
            },
            ([], None) => Self {
                newest: Uuid::max(),
                oldest: Uuid::nil(),
            },
        }
    }
}

/// How many items match, and how many of them lie on either side of a page.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub total: u64,
    pub newer: u64,
    pub older: u64,
}

/// A page with cursors to those neighbours that have an item.
pub fn page<T>(items: Vec<T>, bounds: Bounds, counts: Counts) -> ListPage<T> {
    ListPage {
        items,
        total_count: counts.total,
        next_cursor: (counts.older > 0).then_some(ListCursor::Older(bounds.oldest)),
        prev_cursor: (counts.newer > 0).then_some(ListCursor::Newer(bounds.newest)),
    }
}
