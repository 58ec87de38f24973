//! SQLite in a file: one thread writes and groups commits, a few read.
//!
//! The file has one owner process; whoever opens a [`Sqlite`] has made sure of that. A command
//! beside it opens [`SqliteKeys`], which touches nothing but keys.

mod catalog;
mod copy;
mod definitions;
mod files;
mod filter;
mod jobs;
mod keys;
mod leases;
mod log;
mod outbox;
mod page;
mod readers;
mod rows;
mod wal;
mod windows;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

pub use self::copy::copy;
pub use self::keys::SqliteKeys;
use self::readers::Readers;
use self::writer::{Change, Writer};
use crate::engine::ports::{Clock, StoreError};

/// One script a version, applied in order to a file that has fewer.
const MIGRATIONS: [&str; 10] = [
    include_str!("sqlite.sql"),
    include_str!("sqlite-2.sql"),
    include_str!("sqlite-3.sql"),
    include_str!("sqlite-4.sql"),
    include_str!("sqlite-5.sql"),
    include_str!("sqlite-6.sql"),
    include_str!("sqlite-7.sql"),
    include_str!("sqlite-8.sql"),
    include_str!("sqlite-9.sql"),
    include_str!("sqlite-10.sql"),
];
/// Marks the file as ours ("Rvlt"), so that no other program's database is changed.
const APPLICATION_ID: i64 = 0x5276_6c74;
/// Our own threads never wait for each other's locks; this is for a backup or a shell beside us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that a connection keeps, in KiB: the inner pages of all indexes stay at hand.
const CACHE_KIB: i64 = 8 << 10;
/// More than there are statements, so that none is prepared twice.
const CACHED_STATEMENTS: usize = 96;

/// How to open a [`Sqlite`] store.
pub struct SqliteOptions {
    /// The database file. Its folder must be there; the file is created, readable by its owner only.
    pub path: PathBuf,
    /// The largest payload of an event, bytes; a larger result is set aside.
    pub max_event_bytes: usize,
    /// How long results are kept after the end of their job.
    pub retention_ms: u64,
    /// Threads that read, at least 1.
    pub readers: usize,
    /// Times the events as they are admitted.
    pub clock: Arc<dyn Clock>,
}

/// What admitting an event needs to know.
struct Terms {
    max_event_bytes: usize,
    retention_ms: u64,
    clock: Arc<dyn Clock>,
    specs: rows::Specs,
}

/// Jobs and catalog in one SQLite file. Dropping it writes what was accepted and ends its threads.
pub struct Sqlite {
    // Dropped in this order: once nobody reads any more, the writer can empty the write-ahead log.
    readers: Readers,
    writer: Writer,
    terms: Arc<Terms>,
}

impl Sqlite {
    /// Opens or creates the file, brings its schema up to date and takes every lease away from the
    /// owners of before, who are dead.
    ///
    /// Errors: the file cannot be opened, belongs to another program or was written by a newer
    /// version.
    pub fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        let path = &options.path;
        let connection = open_file(path)?;
        leases::clear(&connection)?;
        outbox::clear(&connection)?;
        let readers = (0..options.readers.max(1))
            .map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            readers: Readers::start(readers)?,
            writer: Writer::start(connection)?,
            terms: Arc::new(Terms {
                max_event_bytes: options.max_event_bytes,
                retention_ms: options.retention_ms,
                clock: options.clock,
                specs: rows::Specs::default(),
            }),
        })
    }

    /// Runs `work` in a transaction of its own or shared with others; resolves when it is on disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Terms) -> Result<Change<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let terms = Arc::clone(&self.terms);
        self.writer
            .run(move |connection| work(connection, &terms))
            .await
    }

    /// Runs `work` in one read transaction.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // A read that sorts on a full disk has no room for that either, but stores nothing.
        let answer = self.readers.run(work).await;
        answer.map_err(|error| match error {
            StoreError::Full(cause) => StoreError::Unavailable(cause),
            other => other,
        })
    }
}

/// The file, created where there is none, with its schema up to date.
fn open_file(path: &Path) -> Result<Connection, StoreError> {
    reserve(path).map_err(|error| {
        StoreError::Failed(format!("cannot open `{}`: {error}", path.display()))
    })?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Creates the file before SQLite would, which would let everybody read it.
fn reserve(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Every command has a savepoint, for which SQLite puts aside each page that it changes: by
    // default, past some pages, in a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

/// Refuses files that are not ours or from the future, before anything in them is changed.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let known = MIGRATIONS.len();
    // In one transaction: another process may be creating the file at this moment.
    let moment = connection.unchecked_transaction()?;
    let is_current = check(&moment, path)? == known;
    drop(moment);
    use_wal(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Reach beyond the cache of the drive on macOS; without effect elsewhere.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // The writer does it itself, when nobody waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    if is_current {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Looked at again: whoever held the lock before may have done the work.
    let version = check(&transaction, path)?;
    if version < known {
        for script in MIGRATIONS.iter().skip(version) {
            transaction.execute_batch(script)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known as i64)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Turns the write-ahead log on. While another process does so, SQLite refuses at once instead of
/// waiting its turn.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        let done = connection.pragma_update(None, "journal_mode", "WAL");
        let code = done
            .as_ref()
            .err()
            .and_then(rusqlite::Error::sqlite_error_code);
        let is_busy = matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        );
        if !is_busy || begun.elapsed() > BUSY_TIMEOUT {
            return done;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The version of a file of ours, or of an empty one: 0.
fn check(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, program) = (number("user_version")?, number("application_id")?);
    let is_new = version == 0 && program == 0 && is_empty(connection)?;
    if !is_new && program != APPLICATION_ID {
        return Err(StoreError::Failed(format!(
            "`{}` is a database of another program. Name another file or folder.",
            path.display()
        )));
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::Failed(format!(
            "`{}` has schema version {version}; this program knows versions up to {known}. \
             Start the newer program that wrote it, or name another data folder.",
            path.display()
        )));
    }
    Ok(usize::try_from(version).unwrap_or(0))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", (), |row| {
        row.get(0)
    })
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::ReadOnly,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
