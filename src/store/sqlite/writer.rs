//! The thread that writes: all commands that wait become one transaction and share its flush.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

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
            // Even a refusal waits for the commit: it may rest on what a neighbour wrote.
            let answer = Box::new(move |committed: Result<(), StoreError>| {
                let _ = answer.send(committed.and(result));
            });
            Ran { keep, answer }
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
    while let Some(first) = commands.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = commands.try_recv()
        {
            group.push(next);
        }
        write(connection, group, &mut health);
    }
    // Readers are gone by now, so all of the log can go into the file.
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())) {
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
    match ran {
        Ok(ran) => answers.push(ran.answer),
        Err(_) => tracing::error!("a write panicked"),
    }
    if connection.is_autocommit() {
        // Some errors, a full disk among them, end the whole transaction. Going on would commit
        // the rest of the group alone and acknowledge what is lost.
        return Err(StoreError::Unavailable(
            "the database took back a whole group of writes".into(),
        ));
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
    if let Some(code) = error.sqlite_error().map(|error| error.extended_code)
        && matches!(code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
    {
        *health = Err(StoreError::Unavailable(format!(
            "the disk failed to flush ({error}); nothing is written until a restart"
        )));
    }
    Err(error.into())
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
