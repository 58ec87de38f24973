//! PostgreSQL, shared by any number of nodes.
//!
//! A lost database makes every call answer [`StoreError::Unavailable`] within about two seconds,
//! and nothing else: connections are made anew when they are asked for.

mod append;
mod catalog;
mod clock;
mod connection;
mod create;
mod definitions;
mod files;
mod filter;
mod jobs;
mod keys;
mod leases;
mod line;
mod log;
mod migrate;
mod news;
mod outbox;
mod page;
mod reopen;
mod retention;
mod rows;
mod target;
mod windows;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use target::redacted;

use self::append::Appender;
use self::clock::DatabaseClock;
use self::connection::Pool;
use self::create::Creator;
use self::line::Line;
use self::news::Hints;
use crate::domain::time::Time;
use crate::engine::ports::{Clock, Commit, Committed, Created, NewJob, StoreError};

/// Transactions that append at once; each takes all commits that wait. One more would only make
/// the groups smaller.
const APPENDERS: usize = 2;
/// Transactions that create at once. They contend for their scopes.
const CREATORS: usize = 2;

/// How long anybody should wait for an answer: clients hear within two seconds that there is none.
pub const PATIENCE: Duration = Duration::from_millis(1_800);

/// How to open a [`Postgres`] store.
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with `sslmode` and the other parameters of
    /// such addresses. A secret.
    pub url: String,
    /// Connections to the database at once, at least 8.
    pub connections: usize,
    /// How long anybody waits for an answer of the database.
    pub patience: Duration,
    /// The largest payload of an event, bytes; a larger result is set aside.
    pub max_event_bytes: usize,
    /// How long results are kept after the end of their job.
    pub retention_ms: u64,
    /// Tells the time in the place of the database's clock.
    pub clock: Option<Arc<dyn Clock>>,
}

/// What admitting an event needs to know.
struct Terms {
    max_event_bytes: usize,
    retention_ms: u64,
    /// In the place of the database's clock.
    clock: Option<Arc<dyn Clock>>,
}

impl Terms {
    /// What statements take for now: null for the database's own.
    fn now(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.now().0)
    }

    /// The moment of an event, by a database whose clock says `database`.
    fn moment(&self, database: i64) -> Time {
        Time(self.now().unwrap_or(database))
    }
}

/// Jobs and catalog in a PostgreSQL database.
pub struct Postgres {
    pool: Pool,
    terms: Arc<Terms>,
    clock: Arc<DatabaseClock>,
    hints: Hints,
    creates: Line<NewJob, Created>,
    commits: Line<Commit, Committed>,
}

/// Whether the database holds a key that was not revoked. Blocks; brings the schema up to date.
pub fn has_usable_key(url: &str) -> Result<bool, StoreError> {
    let target = target::Target::parse(url)?;
    migrate::before_use(&target, async |client| {
        Ok(client.query_one(keys::USABLE, &[]).await?.get(0))
    })
}

impl Postgres {
    /// Connects and brings the schema of the database up to date. Blocks; needs a tokio runtime
    /// around it.
    ///
    /// Errors: the address cannot be read or does not answer, or the database belongs to another
    /// program or was written by a newer version.
    pub fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let target = target::Target::parse(&options.url)?;
        let clock = Arc::new(DatabaseClock::new(options.clock.clone()));
        migrate::before_use(&target, async |client| {
            let asked = Instant::now();
            let now = client.query_one("SELECT clock_ms()", &[]).await?;
            clock.learn(now.get(0), asked);
            Ok(())
        })?;
        let pool = Pool::new(&target, options.connections, options.patience)?;
        let terms = Arc::new(Terms {
            max_event_bytes: options.max_event_bytes,
            retention_ms: options.retention_ms,
            clock: options.clock,
        });
        let creators = || Creator::new(pool.clone(), Arc::clone(&terms));
        let appenders = || Appender::new(pool.clone(), Arc::clone(&terms), Arc::clone(&clock));
        Ok(Self {
            creates: Line::start(CREATORS, creators),
            commits: Line::start(APPENDERS, appenders),
            hints: Hints::new(target),
            pool,
            terms,
            clock,
        })
    }

    /// The database's time, or what tells it in its place.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }
}
