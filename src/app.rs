//! The composition root: the only place that names concrete adapters.
//!
//! Started in this order, and stopped in the reverse: port, data folder, store, engine, web
//! server. The port comes first, since a start that fails there must leave no folder behind; and
//! before it is looked whether there is a key, where one is needed to listen there.

mod backup;
mod folder;
mod keys;
mod models;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::blob::{Local, bucket};
use crate::document::sandbox::Sandbox;
use crate::domain::time::Time;
use crate::engine::ports::{Catalog, Clock, Files, Jobs, Keys, Outbox, Provider, StoreError};
use crate::engine::{self, Engine, Outside};
use crate::http;
use crate::settings::{Origin, Secret, Settings, Storage, table};
use crate::store::{Postgres, PostgresOptions, Sqlite, SqliteOptions, postgres};
use crate::tls;
use crate::webhook::{HttpSender, Reach};
pub use backup::{Backup, backup};
use folder::DataFolder;
pub use keys::{has_data, keyring, place};

/// Longer than the web server gives its connections.
const GRACE: Duration = Duration::from_secs(4);

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The port of {address} is taken by another program. Choose another one, such as --bind {}:{}, or let the system choose: --bind {}:0.", address.ip(), address.port().saturating_add(1), address.ip())]
    PortTaken { address: SocketAddr },
    #[error("Cannot listen on {address}: {cause}. Choose another address with --bind.")]
    Bind {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error("The data folder `{folder}` cannot be used: {cause}. Name another one with --data.")]
    Folder { folder: String, cause: io::Error },
    #[error(
        "The data folder `{folder}` is in use by another Rivulet process. Stop that one, or name another folder with --data."
    )]
    FolderInUse { folder: String },
    #[error("The data in `{folder}` cannot be opened: {cause}")]
    Store { folder: String, cause: StoreError },
    #[error(
        "The database of --store (variable {}) cannot be used: {cause}",
        table::variable(table::STORE.name)
    )]
    Database { cause: StoreError },
    #[error(
        "The bucket of --blobs (variable {}) cannot be used: {cause}",
        table::variable(table::BLOBS.name)
    )]
    Bucket { cause: StoreError },
    #[error(
        "`{name}` is not a model of this server. Set default_model (variable {}) to one of: {known}.",
        table::variable(table::DEFAULT_MODEL.name)
    )]
    Model { name: String, known: String },
    #[error("The server of models `{name}` cannot be used: {cause}.")]
    ModelServer { name: String, cause: String },
    #[error(
        "The file `{file}` of model_profiles (variable {}) cannot be used: {cause}.",
        table::variable(table::MODEL_PROFILES.name)
    )]
    Profiles { file: String, cause: String },
    #[error("The backup `{file}` cannot be written: {cause}.")]
    Backup { file: String, cause: io::Error },
    #[error(
        "{bind} ({origin}) can be reached from other machines, and there is no key in `{place}`: whoever reaches the server could read and delete everything. Make a key first, with `rivulet keys create --user NAME {flag}`, or bind a loopback address, such as 127.0.0.1:{}.", bind.port()
    )]
    Exposed {
        bind: SocketAddr,
        origin: Origin,
        place: String,
        /// Names the place to the command.
        flag: String,
    },
    #[error("The web server failed: {0}")]
    Server(io::Error),
}

/// The clock of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_millisecond())
    }
}

type Rewire = Box<dyn FnOnce(Outside) -> Outside + Send>;

/// Settings, and what is put in the place of the usual parts.
pub struct Builder {
    settings: Settings,
    /// In the place of the system's.
    clock: Option<Arc<dyn Clock>>,
    rewires: Vec<Rewire>,
}

impl Builder {
    /// Another clock, for the engine and the store.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// These providers and no others.
    #[must_use]
    pub fn providers(self, providers: Vec<Arc<dyn Provider>>) -> Self {
        self.rewire(|outside| Outside {
            providers,
            ..outside
        })
    }

    /// Something around the store of jobs.
    #[must_use]
    pub fn jobs(self, wrap: impl FnOnce(Arc<dyn Jobs>) -> Arc<dyn Jobs> + Send + 'static) -> Self {
        self.rewire(|outside| Outside {
            jobs: wrap(outside.jobs),
            ..outside
        })
    }

    /// Any change to what the engine works with; changes are made in the order of the calls.
    #[must_use]
    pub fn rewire(mut self, change: impl FnOnce(Outside) -> Outside + Send + 'static) -> Self {
        self.rewires.push(Box::new(change));
        self
    }

    /// Starts everything but the web server.
    pub fn embedded(self) -> Result<Embedded, Error> {
        let storage = &self.settings.storage;
        let needs_folder = storage.store.is_none() || storage.blobs.is_none();
        let folder = needs_folder.then(|| DataFolder::open(&storage.data));
        let folder = folder.transpose()?;
        let mut outside = outside(storage, folder.as_ref(), self.clock)?;
        if self.settings.webhooks.loopback {
            outside.sender = Arc::new(HttpSender::new(Reach::AlsoLoopback));
        }
        outside.providers = models::providers(&self.settings.models)?;
        let outside = self
            .rewires
            .into_iter()
            .fold(outside, |outside, change| change(outside));
        let limits = &self.settings.limits;
        let settings = engine::Settings {
            max_active_jobs: limits.max_active_jobs,
            max_running_jobs: limits.max_running_jobs,
            max_document_bytes: limits.max_document_bytes,
            default_model: models::default(self.settings.models.default, &outside.providers)?,
            max_reads: limits.max_reads,
            max_queued_jobs: limits.max_queued_jobs,
            lifetimes: engine::Lifetimes {
                documents: self.settings.storage.document_retention,
                schemas: self.settings.storage.schema_retention,
                files: self.settings.storage.file_retention,
            },
            max_streams_per_job: limits.max_streams_per_job,
            max_streams_per_user: limits.max_streams_per_user,
        };
        Ok(Embedded {
            engine: Engine::start(settings, outside),
            _folder: folder,
        })
    }

    /// Starts everything. When this returns, the server answers at its address.
    pub fn start(self) -> Result<App, Error> {
        keys::refuse_exposure(&self.settings)?;
        let listen = self.settings.listen.clone();
        let listener =
            TcpListener::bind(listen.bind).map_err(|cause| refused(listen.bind, cause))?;
        let embedded = self.embedded()?;
        let engine = embedded.engine.clone();
        let options = http::Options {
            workers: listen.http_workers,
            heartbeat: listen.heartbeat,
            ticket_lifetime: listen.ticket_lifetime,
            public_hosts: listen.public_hosts,
            cors_origins: listen.cors_origins,
            max_stream_age: listen.max_stream_age,
            stalled_after: listen.stalled_after,
        };
        let (address, server) =
            http::server(engine.clone(), listener, options).map_err(Error::Server)?;
        info!(%address, "app.started");
        Ok(App {
            address,
            engine,
            handle: server.handle(),
            drain: listen.drain,
            running: tokio::spawn(server),
            embedded,
        })
    }
}

fn refused(address: SocketAddr, cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::AddrInUse => Error::PortTaken { address },
        _ => Error::Bind { address, cause },
    }
}

/// The usual parts. `folder` is there unless both database and files are elsewhere.
fn outside(
    storage: &Storage,
    folder: Option<&DataFolder>,
    clock: Option<Arc<dyn Clock>>,
) -> Result<Outside, Error> {
    let blobs = match (&storage.blobs, folder) {
        (Some(url), _) => bucket::open(url).map_err(|cause| Error::Bucket { cause })?,
        (None, folder) => {
            let folder = folder.map(DataFolder::blobs).unwrap_or_default();
            let files = Local::open(&folder).map_err(|cause| unreadable(storage, cause))?;
            // Files beside another database may be of the one in the folder.
            match &storage.store {
                None => files.of_one_catalog(),
                Some(_) => files,
            }
        }
    };
    let kept = match &storage.store {
        Some(Secret(url)) => elsewhere(storage, url, clock)?,
        None => here(storage, folder, clock)?,
    };
    Ok(Outside {
        jobs: kept.jobs,
        catalog: kept.catalog,
        files: kept.files,
        keys: kept.keys,
        outbox: kept.outbox,
        sender: Arc::new(HttpSender::new(Reach::Internet)),
        clock: kept.clock,
        blobs: Arc::new(blobs),
        reader: Arc::new(Sandbox::of_this_program()),
        providers: Vec::new(),
    })
}

/// A store by its ports, and the clock that goes with it.
struct Kept {
    jobs: Arc<dyn Jobs>,
    catalog: Arc<dyn Catalog>,
    files: Arc<dyn Files>,
    keys: Arc<dyn Keys>,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
}

fn unreadable(storage: &Storage, cause: StoreError) -> Error {
    Error::Store {
        folder: storage.data.display().to_string(),
        cause,
    }
}

fn retention_ms(storage: &Storage) -> u64 {
    u64::try_from(storage.retention.as_millis()).unwrap_or(u64::MAX)
}

fn here(
    storage: &Storage,
    folder: Option<&DataFolder>,
    clock: Option<Arc<dyn Clock>>,
) -> Result<Kept, Error> {
    let clock = clock.unwrap_or_else(|| Arc::new(SystemClock));
    let options = SqliteOptions {
        path: folder.map(DataFolder::database).unwrap_or_default(),
        max_event_bytes: storage.max_event_bytes,
        retention_ms: retention_ms(storage),
        readers: storage.store_readers,
        clock: Arc::clone(&clock),
    };
    let store = Sqlite::open(options).map_err(|cause| unreadable(storage, cause))?;
    let store = Arc::new(store);
    Ok(Kept {
        jobs: store.clone(),
        catalog: store.clone(),
        files: store.clone(),
        keys: store.clone(),
        outbox: store,
        clock,
    })
}

fn elsewhere(storage: &Storage, url: &str, clock: Option<Arc<dyn Clock>>) -> Result<Kept, Error> {
    if storage.blobs.is_none() {
        warn!(
            folder = %storage.data.display(),
            "app.files_of_one_node: the database can be shared, but files are in a folder of this \
             server; other servers cannot read them. Share a bucket with --blobs"
        );
    }
    let store = Arc::new(database(storage, url, clock)?);
    Ok(Kept {
        clock: store.clock(),
        jobs: store.clone(),
        catalog: store.clone(),
        files: store.clone(),
        keys: store.clone(),
        outbox: store,
    })
}

fn database(
    storage: &Storage,
    url: &str,
    clock: Option<Arc<dyn Clock>>,
) -> Result<Postgres, Error> {
    let options = PostgresOptions {
        url: url.to_owned(),
        connections: storage.store_connections,
        patience: postgres::PATIENCE,
        max_event_bytes: storage.max_event_bytes,
        retention_ms: retention_ms(storage),
        clock,
    };
    Postgres::open(options).map_err(|cause| Error::Database { cause })
}

/// An engine on its data folder, without a web server.
pub struct Embedded {
    pub engine: Engine,
    /// Given back last; none when everything is kept elsewhere.
    _folder: Option<DataFolder>,
}

impl Embedded {
    /// Stops the jobs where they are; what they committed stays.
    pub async fn stop(self) {
        self.engine.stop(Duration::ZERO).await;
    }
}

/// A server that runs.
pub struct App {
    /// Where it listens, with the port that was taken.
    pub address: SocketAddr,
    pub engine: Engine,
    handle: ServerHandle,
    drain: Duration,
    running: JoinHandle<io::Result<()>>,
    embedded: Embedded,
}

impl App {
    pub fn builder(settings: Settings) -> Builder {
        tls::install();
        Builder {
            settings,
            clock: None,
            rewires: Vec::new(),
        }
    }

    /// Waits for the web server, which goes on until it fails. May be dropped and called again.
    pub async fn run(&mut self) -> Result<(), Error> {
        match (&mut self.running).await {
            Ok(outcome) => outcome.map_err(Error::Server),
            Err(panic) => Err(Error::Server(io::Error::other(panic))),
        }
    }

    /// Takes no new work, ends streams and requests, lets calls under way settle for as long as
    /// the settings say, gives the data folder back.
    pub async fn stop(self) {
        // Jobs first, while requests are still answered: polls go on, new work is refused, and
        // whoever asks whether the server is ready hears that it is not.
        self.embedded.engine.stop(self.drain).await;
        if timeout(GRACE, self.handle.stop(true)).await.is_err() {
            warn!("app.stop: connections were still open and are cut");
        }
        self.running.abort();
        drop(self.embedded);
        info!("app.stopped");
    }
}
