//! Pages of lists: newest first, by keyset.

use uuid::Uuid;

use super::error::{Code, Error};

/// Where a page begins: ids are ordered by time, so an id is a place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListCursor {
    /// Items older than this one.
    Older(Uuid),
    /// Items newer than this one, the nearest of them.
    Newer(Uuid),
}

impl ListCursor {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let read = |make: fn(Uuid) -> Self, id: &str| Uuid::try_parse(id).ok().map(make);
        match text.split_at_checked(1) {
            Some(("o", id)) => read(Self::Older, id),
            Some(("n", id)) => read(Self::Newer, id),
            _ => None,
        }
        .ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::new(
                Code::InvalidCursor,
                format!("`{shown}` is not a list cursor. Send `next_cursor` or `prev_cursor` of an earlier page, or none."),
            )
        })
    }

    /// The opaque text that clients send back.
    pub fn encode(self) -> String {
        match self {
            Self::Older(id) => format!("o{}", id.simple()),
            Self::Newer(id) => format!("n{}", id.simple()),
        }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// 1..=100.
    pub limit: u32,
    pub cursor: Option<ListCursor>,
    /// Matched anywhere in names, without regard to ASCII case.
    pub search: Option<String>,
}

/// One page of a list, newest first.
#[derive(Debug, Clone)]
pub struct ListPage<T> {
    pub items: Vec<T>,
    /// Items that match the search, over all pages.
    pub total_count: u64,
    pub next_cursor: Option<ListCursor>,
    pub prev_cursor: Option<ListCursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_cursors_survive_the_way_through_a_client() {
        let id = Uuid::from_u128(42);
        for cursor in [ListCursor::Older(id), ListCursor::Newer(id)] {
            assert_eq!(ListCursor::parse(&cursor.encode()).unwrap(), cursor);
        }
        for bad in ["", "o", "x0000", "é", "o123"] {
            assert_eq!(
                ListCursor::parse(bad).unwrap_err().code,
                Code::InvalidCursor,
                "{bad}"
            );
        }
    }
}
