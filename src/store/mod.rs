//! Jobs, their logs, documents, schemas, files, keys and webhooks in a database: the engine's `Jobs`,
//! `Catalog`, `Files`, `Keys` and `Outbox`.
//!
//! Every store passes the same conformance suite, `tests/it/store.rs`.

mod outbox;
mod page;
pub mod postgres;
pub mod sqlite;
mod state;

pub use postgres::{Postgres, PostgresOptions};
pub use sqlite::{Sqlite, SqliteKeys, SqliteOptions};

use crate::engine::ports::{DefinitionKind, StoreError};

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!(
            "a stored value is not of the form it should have: {error}"
        ))
    }
}

/// The kind of a saved definition, by the word it is stored under.
fn definition_kind(word: &str) -> Result<DefinitionKind, StoreError> {
    let mut kinds = [DefinitionKind::Template, DefinitionKind::Filter].into_iter();
    kinds
        .find(|kind| kind.name() == word)
        .ok_or_else(|| state::unknown("kind of definition", word))
}

/// What a list is searched for, in the form the statements compare with.
struct Search {
    /// In ASCII lower case; found anywhere in a name.
    text: Option<String>,
    /// Lower-case hexadecimal digits; found anywhere in an id.
    digits: Option<String>,
}

/// The fewest digits that are looked for in ids: fewer are in too many of them.
const MIN_ID_DIGITS: usize = 8;

impl Search {
    fn of(text: Option<&str>) -> Self {
        let text = text
            .filter(|text| !text.is_empty())
            .map(str::to_ascii_lowercase);
        let digits = text
            .as_deref()
            .map(|text| text.replace('-', ""))
            .filter(|digits| digits.len() >= MIN_ID_DIGITS)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        Self { text, digits }
    }
}
