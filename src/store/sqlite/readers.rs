//! The threads that read, each with a connection of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::writer::{closed, dropped};
use crate::engine::ports::StoreError;

/// Reads that may wait for a thread; further ones wait to get in.
const QUEUE: usize = 256;

type Read = Box<dyn FnOnce(&Connection) + Send>;

pub struct Readers {
    queue: Option<mpsc::Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let (queue, reads) = mpsc::channel(QUEUE);
        let reads = Arc::new(Mutex::new(reads));
        let threads = connections
            .into_iter()
            .map(|connection| {
                let reads = Arc::clone(&reads);
                Builder::new()
                    .name("store-reader".into())
                    .spawn(move || serve(&connection, &reads))
                    .map_err(|error| StoreError::Failed(format!("cannot start a thread: {error}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            queue: Some(queue),
            threads,
        })
    }

    /// Runs `work` in one read transaction: all its statements see the same state.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let read = Box::new(move |connection: &Connection| {
            if !answer.is_closed() {
                let _ = answer.send(snapshot(connection, work));
            }
        });
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue.send(read).await.map_err(|_| closed())?;
        answered.await.map_err(|_| dropped())?
    }
}

fn snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Kept statements: parsing the two each time cost more than most reads.
    connection.prepare_cached("BEGIN")?.execute(())?;
    let answer = catch_unwind(AssertUnwindSafe(|| work(connection)));
    // Nothing was written. Some errors, of the disk for one, have ended the transaction: what is
    // told then is the error, not that there is nothing to end.
    if !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK")?.execute(())?;
    }
    answer.unwrap_or_else(|panic| resume_unwind(panic))
}

fn serve(connection: &Connection, reads: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        // Bound on its own, so that the lock is free again while the read runs.
        let next = reads.lock().blocking_recv();
        let Some(read) = next else { return };
        if catch_unwind(AssertUnwindSafe(|| read(connection))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_that_ends_the_transaction_is_told_and_the_next_read_goes_on() {
        let readers = Readers::start(vec![Connection::open_in_memory().unwrap()]).unwrap();
        // As the database itself does on some errors.
        let broken = |connection: &Connection| {
            connection.execute_batch("ROLLBACK")?;
            Err::<(), _>(StoreError::Unavailable("planned".into()))
        };
        let told = readers.run(broken).await;
        assert!(matches!(&told, Err(StoreError::Unavailable(cause)) if cause == "planned"));
        let panics = |_: &Connection| -> Result<(), StoreError> { panic!("as a test") };
        assert!(readers.run(panics).await.is_err());
        let one = readers.run(|connection| {
            Ok(connection.query_row("SELECT 1", (), |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(one.await.unwrap(), 1);
    }
}
