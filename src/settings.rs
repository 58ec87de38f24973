//! Everything an operator can set: defaults < TOML file < environment < flags.
//!
//! A setting has one name: `max_reads` is the key of the TOML file, `RIVULET_MAX_READS` the
//! variable, `--max-reads` the flag. [`table::ALL`] lists them; flags, help and the README's table
//! are made from it.

pub mod flags;
pub mod form;
mod layers;
mod servers;
pub mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use flags::{DataFlags, Flags};
pub use form::{LogFormat, Secret};
use layers::Layers;
pub use layers::{Error, Origin, Sources};
pub use servers::{Dialect, ModelServer};

/// Settings after checking.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: Listen,
    pub storage: Storage,
    pub limits: Limits,
    pub models: Models,
    pub webhooks: Webhooks,
    pub log: Log,
}

/// Who answers.
#[derive(Debug, Clone)]
pub struct Models {
    /// The model of jobs that name none; `None` leaves it to what there is.
    pub default: Option<String>,
    /// Other servers than the embedded extractor.
    pub servers: Vec<ModelServer>,
    /// A file with prices and limits of models, in the place of those that are built in.
    pub profiles: Option<PathBuf>,
    /// Whether a call that is late is sent a second time.
    pub hedging: bool,
}

/// How clients reach the server.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Port 0 takes a free one. Without keys only a loopback address is taken at the start.
    pub bind: SocketAddr,
    /// Who said where to listen.
    pub bind_origin: Origin,
    /// Threads that serve connections.
    pub http_workers: usize,
    /// Silence on a stream before a heartbeat.
    pub heartbeat: Duration,
    /// Host names beside loopback ones under which a server without keys may be asked.
    pub public_hosts: Vec<String>,
    /// Origins of web pages that may use the server from elsewhere.
    pub cors_origins: Vec<String>,
    /// How long a stream ticket is good for.
    pub ticket_lifetime: Duration,
    /// How long a stream stays open.
    pub max_stream_age: Duration,
    /// How long a client may take nothing of what is sent.
    pub stalled_after: Duration,
    /// How long calls under way may go on at a stop.
    pub drain: Duration,
}

/// Where data is kept, and how.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The data folder; one process owns it. Not used when there are a store and blobs elsewhere.
    pub data: PathBuf,
    /// Address of the database, when it is not in the data folder.
    pub store: Option<Secret>,
    /// Address of the bucket, when files are not in the data folder.
    pub blobs: Option<String>,
    /// How long results are kept after the end of their job.
    pub retention: Duration,
    /// How long documents are kept after their upload; `None` until they are deleted.
    pub document_retention: Option<Duration>,
    /// How long schemas are kept after they were last changed; `None` until they are deleted.
    pub schema_retention: Option<Duration>,
    /// How long files are kept after their upload; `None` until they are deleted.
    pub file_retention: Option<Duration>,
    /// The largest payload of an event, bytes.
    pub max_event_bytes: usize,
    /// Threads that read the database in the data folder.
    pub store_readers: usize,
    /// Connections to a database elsewhere.
    pub store_connections: usize,
}

/// How much is taken on.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs of one user that may be active at once.
    pub max_active_jobs: u32,
    /// Jobs of all users that may be active at once.
    pub max_queued_jobs: u32,
    /// Jobs that run at once.
    pub max_running_jobs: usize,
    /// Bytes of one document.
    pub max_document_bytes: u64,
    /// Documents that are read at once.
    pub max_reads: usize,
    /// Streams of one job that may be open at once.
    pub max_streams_per_job: usize,
    /// Streams of one user that may be open at once.
    pub max_streams_per_user: usize,
}

/// Where webhooks may be sent.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Also to this machine, and over plain HTTP there.
    pub loopback: bool,
}

/// What goes to stderr.
#[derive(Debug, Clone)]
pub struct Log {
    /// Directives such as `info` or `warn,rivulet=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Settings {
    /// Reads every source and checks every value. The first fault is returned.
    pub fn load(sources: Sources) -> Result<Self, Error> {
        let layers = Layers::of(sources)?;
        let seconds = |row| layers.get(row).map(Duration::from_secs);
        Ok(Self {
            listen: Listen {
                bind: layers.get(&table::BIND)?,
                bind_origin: layers.origin(&table::BIND),
                http_workers: layers.get(&table::HTTP_WORKERS)?,
                heartbeat: seconds(&table::HEARTBEAT_SECONDS)?,
                public_hosts: layers.get(&table::PUBLIC_HOSTS)?,
                cors_origins: layers.get(&table::CORS_ORIGINS)?,
                ticket_lifetime: seconds(&table::TICKET_LIFETIME)?,
                max_stream_age: seconds(&table::MAX_STREAM_AGE)?,
                stalled_after: seconds(&table::STALLED_AFTER)?,
                drain: seconds(&table::DRAIN)?,
            },
            storage: Storage {
                data: layers.get(&table::DATA)?,
                store: layers.get(&table::STORE)?,
                blobs: layers.get(&table::BLOBS)?,
                retention: seconds(&table::RETENTION)?,
                document_retention: layers.get(&table::DOCUMENT_RETENTION)?,
                schema_retention: layers.get(&table::SCHEMA_RETENTION)?,
                file_retention: layers.get(&table::FILE_RETENTION)?,
                max_event_bytes: layers.get(&table::MAX_EVENT_BYTES)? as usize,
                store_readers: layers.get(&table::STORE_READERS)? as usize,
                store_connections: layers.get(&table::STORE_CONNECTIONS)? as usize,
            },
            limits: Limits {
                max_active_jobs: layers.get(&table::MAX_ACTIVE_JOBS)? as u32,
                max_queued_jobs: layers.get(&table::MAX_QUEUED_JOBS)? as u32,
                max_running_jobs: layers.get(&table::MAX_RUNNING_JOBS)? as usize,
                max_document_bytes: layers.get(&table::MAX_DOCUMENT_BYTES)?,
                max_reads: layers.get(&table::MAX_READS)? as usize,
                max_streams_per_job: layers.get(&table::MAX_STREAMS_PER_JOB)? as usize,
                max_streams_per_user: layers.get(&table::MAX_STREAMS_PER_USER)? as usize,
            },
            models: Models {
                default: layers.get(&table::DEFAULT_MODEL)?,
                servers: layers.servers()?,
                profiles: layers.get(&table::MODEL_PROFILES)?,
                hedging: layers.get(&table::HEDGING)?,
            },
            webhooks: Webhooks {
                loopback: layers.get(&table::WEBHOOKS_LOOPBACK)?,
            },
            log: Log {
                filter: layers.get(&table::LOG)?,
                format: layers.get(&table::LOG_FORMAT)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(
        file: Option<&str>,
        variables: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let config = file.map(|text| {
            let path = folder.path().join("rivulet.toml");
            fs::write(&path, text).unwrap();
            path
        });
        let pairs = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let sources = Sources {
            flags: flags
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            variables: variables.iter().map(pairs).collect(),
            config,
            ..Sources::default()
        };
        Settings::load(sources).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_hold_when_nothing_is_said() {
        let settings = load(None, &[], &[]).unwrap();
        assert_eq!(settings.listen.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.storage.data, PathBuf::from("./rivulet-data"));
        assert_eq!(settings.storage.retention.as_secs(), 7 * 86_400);
        assert_eq!(settings.storage.max_event_bytes, 262_144);
        assert_eq!(settings.limits.max_active_jobs, 5);
        assert_eq!(settings.limits.max_document_bytes, 52_428_800);
        assert!((1..=4).contains(&settings.listen.http_workers));
        assert_eq!(settings.log.format, LogFormat::Text);
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_file() {
        let file = "max_reads = 3\nmax_active_jobs = 3\nmax_running_jobs = 3\n";
        let variables = [
            ("RIVULET_MAX_ACTIVE_JOBS", "4"),
            ("RIVULET_MAX_RUNNING_JOBS", "4"),
        ];
        let limits = load(Some(file), &variables, &[("max_running_jobs", "5")])
            .unwrap()
            .limits;
        assert_eq!(
            (
                limits.max_reads,
                limits.max_active_jobs,
                limits.max_running_jobs
            ),
            (3, 4, 5)
        );
    }

    #[test]
    fn a_command_can_put_its_own_default_below_and_its_own_value_above() {
        let loaded = |variables: Vec<(String, String)>| {
            let sources = Sources {
                variables,
                ..Sources::default()
            };
            let sources = sources.by_default("log", "warn").with("max_reads", 9);
            let settings = Settings::load(sources).unwrap();
            (settings.log.filter, settings.limits.max_reads)
        };
        assert_eq!(loaded(vec![]), ("warn".to_owned(), 9));
        let variables = [("RIVULET_LOG", "debug"), ("RIVULET_MAX_READS", "3")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(loaded(variables.to_vec()), ("debug".to_owned(), 9));
    }

    #[test]
    fn variables_that_only_look_like_settings_are_pointed_out() {
        let names = [
            "RIVULET_MAX_READ",
            "RIVULET_MAX_READS",
            "RIVULET_CONFIG",
            "HOME",
        ];
        let variables = names.map(|name| (name.to_owned(), String::new())).to_vec();
        let sources = Sources {
            variables,
            ..Sources::default()
        };
        assert_eq!(sources.strangers(), ["RIVULET_MAX_READ"]);
    }

    #[test]
    fn a_refused_address_of_a_database_is_shown_without_its_password() {
        let url = "mysql://u:geheim@h/d";
        let error = load(None, &[("RIVULET_STORE", url)], &[]).unwrap_err();
        assert!(
            error.contains("`mysql://u@h/d`") && error.contains("RIVULET_STORE"),
            "{error}"
        );
        assert!(!error.contains("geheim"), "{error}");
        let url = "postgres://u:geheim@h/d";
        let settings = load(None, &[("RIVULET_STORE", url)], &[]).unwrap();
        assert!(!format!("{settings:?}").contains("geheim"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_given() {
        let settings = load(None, &[("RIVULET_BIND", ""), ("RIVULET_LOG", " ")], &[]).unwrap();
        assert_eq!(settings.listen.bind.port(), 8080);
        assert_eq!(settings.log.filter, "info");
    }

    #[test]
    fn a_variable_names_the_file_and_a_flag_goes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("a.toml"), "max_reads = 3").unwrap();
        fs::write(path("b.toml"), "max_reads = 4").unwrap();
        let reads = |config: Option<PathBuf>| {
            let variables = vec![("RIVULET_CONFIG".to_owned(), path("a.toml"))];
            let sources = Sources {
                variables,
                config,
                ..Sources::default()
            };
            Settings::load(sources).unwrap().limits.max_reads
        };
        assert_eq!(reads(None), 3);
        assert_eq!(reads(Some(path("b.toml").into())), 4);
    }

    #[test]
    fn a_refusal_names_the_value_its_origin_and_what_is_allowed() {
        let from_flag = load(None, &[], &[("heartbeat_seconds", "31")]).unwrap_err();
        assert_eq!(
            from_flag,
            "`31` is not allowed for heartbeat_seconds (flag --heartbeat-seconds). \
             Allowed is a whole number from 1 to 30."
        );
        let from_variable = load(None, &[("RIVULET_LOG_FORMAT", "xml")], &[]).unwrap_err();
        assert_eq!(
            from_variable,
            "`xml` is not allowed for log_format (variable RIVULET_LOG_FORMAT). Allowed is text or json."
        );
        let from_file = load(Some("max_event_bytes = 65535"), &[], &[]).unwrap_err();
        assert!(
            from_file.starts_with(
                "`65535` is not allowed for max_event_bytes (key max_event_bytes in `"
            ),
            "{from_file}"
        );
        assert!(
            from_file.contains("rivulet.toml`). Allowed is"),
            "{from_file}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_in_the_file_is_refused() {
        let error = load(Some("max_reads = [1]"), &[], &[]).unwrap_err();
        assert!(
            error.starts_with("`a list` is not allowed for max_reads"),
            "{error}"
        );
    }

    #[test]
    fn unknown_keys_of_the_file_are_refused_by_name() {
        let error = load(Some("max_read = 3"), &[], &[]).unwrap_err();
        assert!(
            error.contains("`max_read`") && error.contains("max_reads"),
            "{error}"
        );
        let error = load(Some("[limits]\nmax_reads = 3"), &[], &[]).unwrap_err();
        assert!(error.contains("`limits`"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_or_no_toml_is_refused() {
        let config = Some(PathBuf::from("/no/such/rivulet.toml"));
        let error = Settings::load(Sources {
            config,
            ..Sources::default()
        })
        .unwrap_err();
        assert!(
            error.to_string().contains("/no/such/rivulet.toml"),
            "{error}"
        );
        let error = load(Some("max_reads 3"), &[], &[]).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn where_to_listen_keeps_its_origin() {
        let settings = load(None, &[("RIVULET_BIND", "0.0.0.0:8080")], &[]).unwrap();
        let origin = settings.listen.bind_origin.to_string();
        assert_eq!(origin, "variable RIVULET_BIND");
    }
}
