//! Writes that wait, taken together.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::engine::ports::StoreError;

/// Writes that may wait; further ones wait to get in.
const QUEUE: usize = 512;
/// The most writes in one transaction.
const GROUP: usize = 64;

/// Who does the writes.
pub trait Server<T, A>: Send + 'static {
    /// Does a group in one transaction. An error says that none of it was done; it tells nothing
    /// about each one when there are several.
    fn serve<'a>(&'a mut self, group: &'a [T]) -> BoxFuture<'a, Result<Vec<A>, StoreError>>;
}

struct Entry<T, A> {
    write: T,
    answer: oneshot::Sender<Result<A, StoreError>>,
}

/// A queue with a few servers, each of which takes all that waits: a write waits for no more than
/// one transaction, and the more there are the fewer transactions they need each. Ends when this
/// is dropped.
pub struct Line<T, A> {
    queue: mpsc::Sender<Entry<T, A>>,
}

impl<T: Send + Sync + 'static, A: Send + 'static> Line<T, A> {
    pub fn start<S: Server<T, A>>(servers: usize, server: impl Fn() -> S) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        let entries = Arc::new(Mutex::new(entries));
        for _ in 0..servers {
            tokio::spawn(run(server(), Arc::clone(&entries)));
        }
        Self { queue }
    }

    /// The answer, once the write is on disk. It may be done even when this is dropped.
    pub async fn put(&self, write: T) -> Result<A, StoreError> {
        let (answer, answered) = oneshot::channel();
        let closed = || StoreError::Unavailable("the store is closed".into());
        let put = self.queue.send(Entry { write, answer }).await;
        put.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

async fn run<T: Send + Sync, A: Send>(
    mut server: impl Server<T, A>,
    entries: Arc<Mutex<mpsc::Receiver<Entry<T, A>>>>,
) {
    loop {
        let mut group = Vec::new();
        if entries.lock().await.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        // Whoever stopped waiting before we began asks again, if at all.
        group.retain(|entry| !entry.answer.is_closed());
        let (writes, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|entry| (entry.write, entry.answer))
            .unzip();
        for (answer, done) in answers.into_iter().zip(all(&mut server, &writes).await) {
            let _ = answer.send(done);
        }
    }
}

/// Does all together, or, when one of them spoils it for the others, each alone.
async fn all<T: Sync, A>(
    server: &mut impl Server<T, A>,
    writes: &[T],
) -> Vec<Result<A, StoreError>> {
    if writes.is_empty() {
        return Vec::new();
    }
    let refused = match server.serve(writes).await {
        Ok(answers) => return answers.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if writes.len() == 1 || refused.is_passing() {
        return writes.iter().map(|_| Err(refused.clone())).collect();
    }
    let mut done = Vec::with_capacity(writes.len());
    for write in writes {
        let alone = server.serve(std::slice::from_ref(write)).await;
        done.push(alone.and_then(|mut answers| answers.pop().ok_or_else(|| refused.clone())));
    }
    done
}
