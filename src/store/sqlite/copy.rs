//! A copy of the database while others work on it.

use std::path::Path;

use rusqlite::OpenFlags;

use super::{APPLICATION_ID, connect};
use crate::engine::ports::StoreError;

/// Writes the state of one moment to a new file `to` and gives the keys of the documents that it
/// needs: lower-case hexadecimal SHA-256, each once.
///
/// Errors: there is no database at `from`, it belongs to another program, `to` is there.
pub fn copy(from: &Path, to: &Path) -> Result<Vec<String>, StoreError> {
    let connection = connect(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let program = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    if program? != APPLICATION_ID {
        return Err(StoreError::Failed(format!(
            "`{}` is a database of another program",
            from.display()
        )));
    }
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    let copied = connect(to, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = copied.prepare(
        "SELECT sha256 FROM documents UNION SELECT sha256 FROM files UNION \
         SELECT document_sha256 FROM jobs WHERE ended_ms IS NULL",
    )?;
    let keys = statement.query_map((), |row| row.get(0))?;
    Ok(keys.collect::<Result<_, _>>()?)
}
