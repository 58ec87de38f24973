//! The write-ahead log, and when it is copied into the file.

use std::time::Duration;

use rusqlite::Connection;

use super::BUSY_TIMEOUT;

/// Pages of the write-ahead log that are worth copying into the file: many, since a page that
/// was written often is copied once.
const LONG_LOG: i64 = 4_000;
/// Pages after which the log has to start over.
const FULL_LOG: i64 = 16_384;
/// How often and how long each time it waits for readers to do so.
const ATTEMPTS: u32 = 10;
const PATIENCE: Duration = Duration::from_millis(100);

/// Keeps the write-ahead log from growing without end.
pub struct Log {
    /// Pages at which readers are waited for.
    forced_at: i64,
}

impl Log {
    pub fn new() -> Self {
        Self {
            forced_at: FULL_LOG,
        }
    }

    /// Copies the log into the file when there is enough of it.
    ///
    /// The log starts over only in a moment in which nobody reads from it. Where somebody always
    /// does, such a moment must be waited for; where somebody does not stop, not at every commit.
    pub fn check(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let (_, logged, copied) = checkpoint(connection, "NOOP")?;
        if logged >= self.forced_at {
            let has_ended = start_over(connection);
            connection.busy_timeout(BUSY_TIMEOUT)?;
            self.forced_at = FULL_LOG + if has_ended? { 0 } else { logged };
        } else if logged - copied >= LONG_LOG {
            checkpoint(connection, "PASSIVE")?;
        }
        if logged < FULL_LOG {
            self.forced_at = FULL_LOG;
        }
        Ok(())
    }
}

/// Waits until nobody reads from the log; false when that takes too long. New readers do not come:
/// once all of the log is in the file, they read that.
///
/// Tried a few times, since SQLite waits for the readers of a mark, be they old or new, and looks
/// for other marks only when it begins.
fn start_over(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(PATIENCE)?;
    for _ in 0..ATTEMPTS {
        let (is_busy, ..) = checkpoint(connection, "RESTART")?;
        if !is_busy {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something was in the way, pages in the log, and how many of them are in the file too.
pub fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(bool, i64, i64)> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;

    /// A file with a table, and connections to it.
    fn file() -> (TempDir, impl Fn() -> Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let open = move || {
            let connection = Connection::open(&path).unwrap();
            let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
                 PRAGMA wal_autocheckpoint = 0; CREATE TABLE IF NOT EXISTS notes (text)";
            connection.execute_batch(settings).unwrap();
            connection
        };
        (folder, open)
    }

    /// Puts about `pages` pages into the log.
    fn write(connection: &Connection, pages: i64) {
        let bytes = pages * 4_000;
        let sql = format!("DELETE FROM notes; INSERT INTO notes VALUES (zeroblob({bytes}))");
        connection.execute_batch(&sql).unwrap();
    }

    fn logged(connection: &Connection) -> i64 {
        checkpoint(connection, "NOOP").unwrap().1
    }

    #[test]
    fn the_log_starts_over_though_somebody_always_reads() {
        let (_folder, open) = file();
        let (connection, mut log) = (open(), Log::new());
        let readers = [open(), open()];
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let reading = std::thread::spawn(move || {
            let look = "BEGIN; SELECT count(*) FROM notes; WITH RECURSIVE
                 k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 30000)
                 SELECT count(*) FROM k";
            let mut turn = 0;
            readers[turn].execute_batch(look).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                // The next one begins before the last one ends.
                readers[1 - turn].execute_batch(look).unwrap();
                readers[turn].execute_batch("COMMIT").unwrap();
                turn = 1 - turn;
            }
        });
        let mut largest = 0;
        for _ in 0..120 {
            write(&connection, LONG_LOG / 2);
            log.check(&connection).unwrap();
            largest = largest.max(logged(&connection));
        }
        stop.store(true, Ordering::Relaxed);
        reading.join().unwrap();
        assert!(largest < 3 * FULL_LOG, "{largest} pages of about 60000");
    }

    #[test]
    fn a_reader_that_does_not_stop_is_not_waited_for_at_every_commit() {
        let (_folder, open) = file();
        let (connection, reader, mut log) = (open(), open(), Log::new());
        reader.execute_batch("BEGIN; SELECT * FROM notes").unwrap();
        write(&connection, 2 * FULL_LOG);
        log.check(&connection).unwrap();
        assert_eq!(log.forced_at, logged(&connection) + FULL_LOG);

        reader.execute_batch("COMMIT").unwrap();
        write(&connection, 1);
        log.check(&connection).unwrap();
        let (_, logged, copied) = checkpoint(&connection, "NOOP").unwrap();
        assert_eq!(copied, logged);
        write(&connection, 1);
        log.check(&connection).unwrap();
        assert_eq!(log.forced_at, FULL_LOG, "the log did not start over");
    }
}
