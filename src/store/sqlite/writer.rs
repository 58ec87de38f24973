//! The thread that writes: all commands that wait become one transaction and share its flush.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::wal::{Log, checkpoint};
use crate::engine::ports::StoreError;

/// Commands that may wait; further ones wait to get in.
const QUEUE: usize = 512;
/// The most commands in one transaction.
const GROUP: usize = 256;
/// What a command wants done with its writes.
pub enum Change<T> {
    Keep(T),
    /// Take them back, and theirs only.
    Undo(T),
}

/// Told how the transaction went, passes a command's result on.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is left of a command that ran.
struct Ran {
    keep: bool,
    /// Why it wants nothing kept, when that was not its own wish.
    error: Option<StoreError>,
    answer: Answer,
}

/// Given an error instead of the connection, it does not run and answers with that.
type Command = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Ran + Send>;

pub struct Writer {
    queue: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, commands) = mpsc::channel(QUEUE);
        let thread = Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(&connection, commands))
            .map_err(|error| StoreError::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction shared with others; resolves after its commit. An error of
    /// `work` takes back its own writes only.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Change<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let command = Box::new(move |connection: Result<&Connection, StoreError>| {
            let (keep, result) = match connection.and_then(work) {
                Ok(Change::Keep(value)) => (true, Ok(value)),
                Ok(Change::Undo(value)) => (false, Ok(value)),
                Err(error) => (false, Err(error)),
            };
            let error = result.as_ref().err().cloned();
            // Even a refusal waits for the commit: it may rest on what a neighbour wrote.
            let answer = Box::new(move |committed: Result<(), StoreError>| {
                let _ = answer.send(committed.and(result));
            });
            Ran {
                keep,
                error,
                answer,
            }
        });
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue.send(command).await.map_err(|_| closed())?;
        answered.await.map_err(|_| dropped())?
    }
}

pub fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

pub fn dropped() -> StoreError {
    StoreError::Failed("the store gave up on the command".into())
}

fn serve(connection: &Connection, mut commands: mpsc::Receiver<Command>) {
    let mut health = Ok(());
    let mut log = Log::new();
    while let Some(first) = commands.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = commands.try_recv()
        {
            group.push(next);
        }
        write(connection, group, &mut health);
        // After the answers: they do not wait for this.
        if health.is_ok()
            && let Err(error) = log.check(connection)
        {
            tracing::warn!(%error, "the write-ahead log could not be copied");
            health = flushed(&error);
        }
    }
    if health.is_err() {
        // What is on disk is for the next start to read; nothing is copied over it.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        return;
    }
    // Readers are gone by now, so all of the log can go into the file.
    if let Err(error) = checkpoint(connection, "TRUNCATE") {
        tracing::warn!(%error, "the write-ahead log stays until the next start");
    }
}

/// Runs a group in one transaction, commits it and only then answers its commands.
///
/// Once a flush has failed, nobody knows what the disk holds of this file: `health` keeps the
/// error, and no command runs until a restart has read the file again.
fn write(connection: &Connection, group: Vec<Command>, health: &mut Result<(), StoreError>) {
    let mut answers = Vec::with_capacity(group.len());
    let begun = health
        .clone()
        .and_then(|()| step(connection, "BEGIN IMMEDIATE"));
    let ran = group.into_iter().fold(begun, |state, command| match state {
        Ok(()) => run(connection, command, &mut answers),
        Err(error) => {
            answers.push(command(Err(error.clone())).answer);
            Err(error)
        }
    });
    let committed = ran.and_then(|()| commit(connection, health));
    if let Err(error) = &committed {
        tracing::error!(%error, commands = answers.len(), "writes were rolled back");
    }
    if !connection.is_autocommit()
        && let Err(error) = step(connection, "ROLLBACK")
    {
        tracing::error!(%error, "a transaction could not be rolled back");
    }
    for answer in answers {
        answer(committed.clone());
    }
}

/// Runs one command inside a savepoint, so that it fails alone.
fn run(
    connection: &Connection,
    command: Command,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    step(connection, "SAVEPOINT command")?;
    let ran = catch_unwind(AssertUnwindSafe(|| command(Ok(connection))));
    let keep = ran.as_ref().is_ok_and(|ran| ran.keep);
    let mut cause = None;
    if let Ok(ran) = ran {
        answers.push(ran.answer);
        cause = ran.error;
    } else {
        tracing::error!("a write panicked");
    }
    if connection.is_autocommit() {
        // Some errors, a full disk among them, end the whole transaction. Going on would commit
        // the rest of the group alone and acknowledge what is lost.
        let told = "the database took back a whole group of writes";
        return Err(match cause {
            Some(StoreError::Full(cause)) => StoreError::Full(format!("{told}: {cause}")),
            _ => StoreError::Unavailable(told.into()),
        });
    }
    if !keep {
        step(connection, "ROLLBACK TO command")?;
    }
    step(connection, "RELEASE command")
}

fn commit(connection: &Connection, health: &mut Result<(), StoreError>) -> Result<(), StoreError> {
    let done = connection
        .prepare_cached("COMMIT")
        .and_then(|mut commit| commit.execute(()));
    let Err(error) = done else { return Ok(()) };
    *health = flushed(&error);
    Err(error.into())
}

/// An error when this one says that a flush failed.
fn flushed(error: &rusqlite::Error) -> Result<(), StoreError> {
    let code = error.sqlite_error().map(|error| error.extended_code);
    match code {
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
            Err(StoreError::Unavailable(format!(
                "the disk failed to flush ({error}); nothing is written until a restart"
            )))
        }
        _ => Ok(()),
    }
}

fn step(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(())?;
    Ok(())
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, join_all};
    use tempfile::TempDir;

    use super::*;

    type Answered<'a> = BoxFuture<'a, Result<(), StoreError>>;

    /// A writer on a table of numbers; what a number `needs` must be there at the commit.
    fn writer() -> (TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("test.db")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;
                 CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT,
                 needs INTEGER REFERENCES notes DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        (folder, Writer::start(connection).unwrap())
    }

    /// Keeps the thread busy until something is sent: what is asked for meanwhile is one group.
    async fn hold(writer: &Writer) -> (Sender<()>, Answered<'_>) {
        let (open, opened) = std::sync::mpsc::channel();
        let (start, started) = oneshot::channel();
        let held = writer.run(move |_| {
            let _ = start.send(());
            let _ = opened.recv();
            Ok(Change::Keep(()))
        });
        let held = sent(held.boxed());
        started.await.unwrap();
        (open, held)
    }

    fn sent(mut answered: Answered<'_>) -> Answered<'_> {
        assert!((&mut answered).now_or_never().is_none());
        answered
    }

    fn sql<'a>(writer: &'a Writer, sql: &str) -> Answered<'a> {
        let sql = sql.to_owned();
        let work = move |connection: &Connection| {
            connection.execute_batch(&sql)?;
            Ok(Change::Keep(()))
        };
        writer.run(work).boxed()
    }

    fn note(writer: &Writer, number: i64) -> Answered<'_> {
        sent(sql(
            writer,
            &format!("INSERT INTO notes (number) VALUES ({number})"),
        ))
    }

    async fn notes(writer: &Writer) -> Vec<i64> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT number FROM notes ORDER BY number")?;
            let numbers = statement.query_map((), |row| row.get(0))?;
            Ok(Change::Keep(numbers.collect::<Result<_, _>>()?))
        };
        writer.run(read).await.unwrap()
    }

    async fn outcomes(group: Vec<Answered<'_>>) -> Vec<bool> {
        join_all(group).await.iter().map(Result::is_ok).collect()
    }

    #[tokio::test]
    async fn a_command_that_fails_or_undoes_takes_back_its_own_writes_only() {
        let (_folder, writer) = writer();
        let (open, held) = hold(&writer).await;
        let undone = |connection: &Connection| {
            connection.execute("INSERT INTO notes (number) VALUES (3)", ())?;
            Ok(Change::Undo(()))
        };
        let half = "INSERT INTO notes (number) VALUES (4); INSERT INTO notes (number) VALUES (1);";
        let group = vec![
            note(&writer, 1),
            sent(sql(&writer, half)),
            sent(writer.run(undone).boxed()),
            note(&writer, 2),
        ];
        open.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(outcomes(group).await, [true, false, true, true]);
        assert_eq!(notes(&writer).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_command_that_panics_is_answered_and_its_neighbours_are_kept() {
        let (_folder, writer) = writer();
        let (open, held) = hold(&writer).await;
        let panics = |connection: &Connection| {
            connection.execute("INSERT INTO notes (number) VALUES (3)", ())?;
            panic!("as a test")
        };
        let group = vec![
            note(&writer, 1),
            sent(writer.run::<()>(panics).boxed()),
            note(&writer, 2),
        ];
        open.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(outcomes(group).await, [true, false, true]);
        assert_eq!(notes(&writer).await, [1, 2]);
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_when_the_commit_fails() {
        let (_folder, writer) = writer();
        let (open, held) = hold(&writer).await;
        let dangling = "INSERT INTO notes (number, needs) VALUES (2, 99)";
        let refused = |_: &Connection| Ok(Change::Undo(()));
        let group = vec![
            note(&writer, 1),
            sent(sql(&writer, dangling)),
            sent(writer.run(refused).boxed()),
            note(&writer, 3),
        ];
        open.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(outcomes(group).await, [false; 4]);
        assert!(notes(&writer).await.is_empty());
        // The next group is none the worse for it.
        sql(&writer, "INSERT INTO notes (number) VALUES (5)")
            .await
            .unwrap();
        assert_eq!(notes(&writer).await, [5]);
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_when_the_transaction_is_lost_on_the_way() {
        let (_folder, writer) = writer();
        let (open, held) = hold(&writer).await;
        // As the database itself does on some errors.
        let group = vec![
            note(&writer, 1),
            sent(sql(&writer, "ROLLBACK")),
            note(&writer, 2),
        ];
        open.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(outcomes(group).await, [false; 3]);
        assert!(notes(&writer).await.is_empty());
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_such_until_there_is_space_again() {
        let (_folder, writer) = writer();
        let large = format!(
            "INSERT INTO notes (text) VALUES ('{}')",
            "x".repeat(100_000)
        );
        sql(&writer, "PRAGMA max_page_count = 10").await.unwrap();
        let full = sql(&writer, &large).await;
        assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
        assert!(notes(&writer).await.is_empty());
        sql(&writer, "PRAGMA max_page_count = 1000").await.unwrap();
        sql(&writer, &large).await.unwrap();
        assert_eq!(notes(&writer).await.len(), 1);
    }

    #[tokio::test]
    async fn commands_that_wait_share_one_commit() {
        let (folder, writer) = writer();
        let log = || {
            std::fs::metadata(folder.path().join("test.db-wal"))
                .unwrap()
                .len()
        };
        let before = log();
        let (open, held) = hold(&writer).await;
        let group = (0..100).map(|number| note(&writer, number)).collect();
        open.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(outcomes(group).await, [true; 100]);
        // A commit each would have written a page each.
        assert!(log() - before < 20 * 4_096, "{} bytes", log() - before);
    }

    #[tokio::test]
    async fn more_commands_than_the_queue_holds_wait_their_turn() {
        let (_folder, writer) = writer();
        let (open, held) = hold(&writer).await;
        let group: Vec<_> = (0..3 * QUEUE as i64)
            .map(|number| note(&writer, number))
            .collect();
        open.send(()).unwrap();
        held.await.unwrap();
        assert!(outcomes(group).await.iter().all(|ok| *ok));
        assert_eq!(notes(&writer).await.len(), 3 * QUEUE);
    }
}
