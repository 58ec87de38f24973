//! Connections, and how long anything may take on one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::target::Target;
use crate::engine::ports::StoreError;

pub type Param<'a> = &'a (dyn ToSql + Sync);
/// A statement that was sent when this was first polled. Statements of one connection are answered
/// in the order in which they were sent, so several may be under way.
pub type Sent<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

#[derive(Clone)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
    /// How long a caller waits for an answer, a connection included.
    pub patience: Duration,
}

impl Pool {
    pub fn new(target: &Target, size: usize, patience: Duration) -> Result<Self, StoreError> {
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(target.config.clone(), target.tls.clone(), config);
        let timeouts = Timeouts {
            wait: Some(patience),
            create: Some(patience),
            recycle: Some(patience),
        };
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(size.max(8))
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self {
            connections,
            patience,
        })
    }

    /// A connection on which everything must be done in time.
    pub async fn connection(&self) -> Result<Connection, StoreError> {
        let deadline = Instant::now() + self.patience;
        let object = timeout_at(deadline, self.connections.get()).await;
        Ok(Connection {
            object: Some(object.map_err(|_| late())??),
            deadline,
            state: AtomicU8::new(IDLE),
        })
    }
}

/// Nothing is under way on a connection.
const IDLE: u8 = 0;
/// A transaction is.
const BUSY: u8 = 1;
/// An answer did not come in time; it may never.
const LATE: u8 = 2;

/// A connection of ours. When it is dropped, a transaction that is under way is taken back, and
/// one that owes us an answer is closed.
pub struct Connection {
    object: Option<Object>,
    deadline: Instant,
    state: AtomicU8,
}

impl Connection {
    fn object(&self) -> Result<&Object, StoreError> {
        // It is there until the drop.
        self.object.as_ref().ok_or_else(late)
    }

    /// A statement, prepared once on each connection.
    pub async fn statement(&self, sql: &str) -> Result<Statement, StoreError> {
        let prepared = self.object()?.prepare_cached(sql);
        self.within(async { prepared.await.map_err(StoreError::from) })
            .await
    }

    /// Waits for answers until the deadline.
    pub async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if let Ok(answer) = timeout_at(self.deadline, answer).await {
            return answer;
        }
        self.state.store(LATE, Ordering::Relaxed);
        Err(late())
    }

    pub fn send<'a>(
        &'a self,
        statement: &'a Statement,
        params: &'a [Param<'a>],
    ) -> Sent<'a, Vec<Row>> {
        Box::pin(async move {
            match &self.object {
                Some(object) => object.query(statement, params).await,
                None => Ok(Vec::new()),
            }
        })
    }

    /// From here on the transaction is taken back when this is dropped before [`Self::settle`].
    pub fn begin<'a>(&'a self, how: &'a str) -> Sent<'a, ()> {
        self.state.store(BUSY, Ordering::Relaxed);
        Box::pin(async move {
            match &self.object {
                Some(object) => object.batch_execute(how).await,
                None => Ok(()),
            }
        })
    }

    pub fn commit(&self) -> Sent<'_, ()> {
        Box::pin(async move {
            match &self.object {
                Some(object) => object.batch_execute("COMMIT").await,
                None => Ok(()),
            }
        })
    }

    /// The transaction has ended.
    pub fn settle(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// Runs one statement.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(sql).await?;
        let rows = self.send(&statement, params);
        self.within(async { Ok(rows.await?) }).await
    }

    /// Runs one statement and counts what it changed.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let statement = self.statement(sql).await?;
        let changed = self.object()?.execute(&statement, params);
        self.within(async { Ok(changed.await?) }).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        match self.state.load(Ordering::Relaxed) {
            IDLE => {}
            // Sent, and not waited for: whatever is sent next is answered after it.
            BUSY => drop(object.batch_execute("ROLLBACK").now_or_never()),
            _ => drop(Object::take(object)),
        }
    }
}

pub fn late() -> StoreError {
    StoreError::Unavailable("the database did not answer in time".into())
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let cause = std::error::Error::source(&error);
            return if error.is_closed()
                || cause.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
            {
                Self::Unavailable(told(&error))
            } else {
                Self::Failed(told(&error))
            };
        };
        // Without the detail, which quotes rows.
        let text = format!("{} ({})", said.message(), said.code().code());
        if *said.code() == SqlState::DISK_FULL {
            Self::Full(text)
        } else if is_passing(said.code()) {
            Self::Unavailable(text)
        } else {
            Self::Failed(text)
        }
    }
}

/// An error and its cause.
fn told(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether trying again may help: lost connections, full memories, shutdowns, lost races, and a standby that has not been promoted yet.
fn is_passing(code: &SqlState) -> bool {
    let classes = ["08", "40", "53", "57", "58"];
    classes.iter().any(|class| code.code().starts_with(class))
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(code)
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            // Whatever is wrong with getting there may be put right while we run.
            PoolError::Backend(error) => Self::Unavailable(Self::from(error).into_cause()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}
