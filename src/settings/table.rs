//! The one table of settings.

use std::fmt::Write as _;

use super::form::{
    Address, Bucket, Database, File, Filter, Folder, Form, Format, Hosts, Lifetime, Name, Number,
    Origins, Switch, Threads, Unit,
};

/// One row: a setting, its default and its form.
pub struct Setting<F> {
    /// As in the TOML file; variable and flag are made from it.
    pub name: &'static str,
    /// As it would be written.
    pub default: &'static str,
    pub help: &'static str,
    pub form: F,
}

/// A row without the type of its value: what is printed of it.
pub trait Row: Sync {
    fn name(&self) -> &'static str;
    fn default(&self) -> &'static str;
    fn help(&self) -> &'static str;
    fn allowed(&self) -> String;
    fn placeholder(&self) -> &'static str;
    /// Whether the form takes this text.
    fn takes(&self, text: &str) -> bool;
}

impl<F: Form> Row for Setting<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> &'static str {
        self.default
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn allowed(&self) -> String {
        self.form.allowed()
    }

    fn placeholder(&self) -> &'static str {
        self.form.placeholder()
    }

    fn takes(&self, text: &str) -> bool {
        self.form.read(text).is_some()
    }
}

pub const BIND: Setting<Address> = Setting {
    name: "bind",
    default: "127.0.0.1:8080",
    help: "Address and port to listen on; only loopback addresses while there is no key",
    form: Address,
};
pub const PUBLIC_HOSTS: Setting<Hosts> = Setting {
    name: "public_hosts",
    default: "",
    help: "Names under which a server without keys may be asked, beside loopback ones",
    form: Hosts,
};
pub const CORS_ORIGINS: Setting<Origins> = Setting {
    name: "cors_origins",
    default: "",
    help: "Web pages of other origins that may use the server",
    form: Origins,
};
pub const TICKET_LIFETIME: Setting<Number> = Setting {
    name: "ticket_lifetime",
    default: "1h",
    help: "How long a stream ticket is good for",
    form: Number {
        unit: Unit::Seconds,
        low: 60,
        high: 86_400,
    },
};
pub const DATA: Setting<Folder> = Setting {
    name: "data",
    default: "./rivulet-data",
    help: "Folder of everything that is kept; one process at a time owns it",
    form: Folder,
};
pub const STORE: Setting<Database> = Setting {
    name: "store",
    default: "",
    help: "Database that several servers share, instead of one in the data folder; a secret, so better a variable than a flag",
    form: Database,
};
pub const BLOBS: Setting<Bucket> = Setting {
    name: "blobs",
    default: "",
    help: "Bucket or shared folder for the files, instead of the data folder",
    form: Bucket,
};
pub const DEFAULT_MODEL: Setting<Name> = Setting {
    name: "default_model",
    default: "",
    help: "Model of jobs that name none; if empty, gemini-2.5-flash once GEMINI_API_KEY is set, else layout",
    form: Name("the name of a model, as in GET /v1/extract/models"),
};
pub const MODEL_PROFILES: Setting<File> = Setting {
    name: "model_profiles",
    default: "",
    help: "JSON file with prices and limits of models, beside and before those that are built in",
    form: File,
};
pub const HEDGING: Setting<Switch> = Setting {
    name: "hedging",
    default: "off",
    help: "Whether a call whose answer is late is sent a second time, where call times spread widely",
    form: Switch,
};
pub const WEBHOOKS_LOOPBACK: Setting<Switch> = Setting {
    name: "webhooks_loopback",
    default: "off",
    help: "Whether webhooks may be sent to this machine, and over plain HTTP there; for trials",
    form: Switch,
};
pub const MAX_ACTIVE_JOBS: Setting<Number> = Setting {
    name: "max_active_jobs",
    default: "5",
    help: "Jobs of one user that may be active at once, waiting ones included",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 10_000,
    },
};
pub const MAX_QUEUED_JOBS: Setting<Number> = Setting {
    name: "max_queued_jobs",
    default: "10000",
    help: "Jobs of all users that may be active at once, waiting ones included; more are refused",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 10_000_000,
    },
};
pub const MAX_RUNNING_JOBS: Setting<Number> = Setting {
    name: "max_running_jobs",
    default: "64",
    help: "Jobs that run at once; more wait",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 10_000,
    },
};
pub const MAX_DOCUMENT_BYTES: Setting<Number> = Setting {
    name: "max_document_bytes",
    default: "50MiB",
    help: "Largest document",
    form: Number {
        unit: Unit::Bytes,
        low: 1 << 10,
        high: 1 << 30,
    },
};
pub const MAX_READS: Setting<Number> = Setting {
    name: "max_reads",
    default: "2",
    help: "Documents that are read at once; each may take a core",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 64,
    },
};
pub const RETENTION: Setting<Number> = Setting {
    name: "retention",
    default: "7d",
    help: "How long results and events are kept after the end of their job",
    form: Number {
        unit: Unit::Seconds,
        low: 60,
        high: 3_650 * 86_400,
    },
};
pub const DOCUMENT_RETENTION: Setting<Lifetime> = Setting {
    name: "document_retention",
    default: "never",
    help: "When documents are deleted, counted from their upload; one that a job needs stays",
    form: Lifetime,
};
pub const SCHEMA_RETENTION: Setting<Lifetime> = Setting {
    name: "schema_retention",
    default: "never",
    help: "When schemas are deleted, counted from their last change; jobs keep what they began with",
    form: Lifetime,
};
pub const FILE_RETENTION: Setting<Lifetime> = Setting {
    name: "file_retention",
    default: "7d",
    help: "When files are deleted, counted from their upload; a file keeps the time it was given",
    form: Lifetime,
};
pub const MAX_EVENT_BYTES: Setting<Number> = Setting {
    name: "max_event_bytes",
    default: "256KiB",
    help: "Largest event; the value of a larger one is left out and fetched by its URL",
    form: Number {
        unit: Unit::Bytes,
        low: 64 << 10,
        high: 16 << 20,
    },
};
pub const HEARTBEAT_SECONDS: Setting<Number> = Setting {
    name: "heartbeat_seconds",
    default: "15",
    help: "Silence on a stream before a heartbeat",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 30,
    },
};
pub const MAX_STREAMS_PER_JOB: Setting<Number> = Setting {
    name: "max_streams_per_job",
    default: "32",
    help: "Streams of one job that may be open at once",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 1_000_000,
    },
};
pub const MAX_STREAMS_PER_USER: Setting<Number> = Setting {
    name: "max_streams_per_user",
    default: "100",
    help: "Streams of one user that may be open at once",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 1_000_000,
    },
};
pub const MAX_STREAM_AGE: Setting<Number> = Setting {
    name: "max_stream_age",
    default: "30m",
    help: "How long a stream stays open before its client is asked to come back",
    form: Number {
        unit: Unit::Seconds,
        low: 1,
        high: 86_400,
    },
};
pub const STALLED_AFTER: Setting<Number> = Setting {
    name: "stalled_after",
    default: "60s",
    help: "How long a client may take nothing of what is sent before it is cut off",
    form: Number {
        unit: Unit::Seconds,
        low: 1,
        high: 3_600,
    },
};
pub const DRAIN: Setting<Number> = Setting {
    name: "drain",
    default: "25s",
    help: "How long calls under way may go on when the server is asked to stop",
    form: Number {
        unit: Unit::Seconds,
        low: 0,
        high: 3_600,
    },
};
pub const HTTP_WORKERS: Setting<Threads> = Setting {
    name: "http_workers",
    default: "auto",
    help: "Threads that serve connections",
    form: Threads {
        high: 64,
        auto_high: 4,
    },
};
pub const STORE_READERS: Setting<Number> = Setting {
    name: "store_readers",
    default: "2",
    help: "Threads that read the database in the data folder",
    form: Number {
        unit: Unit::Things,
        low: 1,
        high: 16,
    },
};
pub const STORE_CONNECTIONS: Setting<Number> = Setting {
    name: "store_connections",
    default: "16",
    help: "Connections to the database of --store, and one more to listen",
    form: Number {
        unit: Unit::Things,
        low: 8,
        high: 500,
    },
};
pub const LOG: Setting<Filter> = Setting {
    name: "log",
    default: "info",
    help: "What is logged to stderr",
    form: Filter,
};
pub const LOG_FORMAT: Setting<Format> = Setting {
    name: "log_format",
    default: "text",
    help: "How log lines are written",
    form: Format,
};

/// Every setting, in the order of the README.
pub const ALL: [&dyn Row; 32] = [
    &BIND,
    &PUBLIC_HOSTS,
    &CORS_ORIGINS,
    &TICKET_LIFETIME,
    &DATA,
    &STORE,
    &BLOBS,
    &DEFAULT_MODEL,
    &MODEL_PROFILES,
    &HEDGING,
    &WEBHOOKS_LOOPBACK,
    &MAX_ACTIVE_JOBS,
    &MAX_QUEUED_JOBS,
    &MAX_RUNNING_JOBS,
    &MAX_DOCUMENT_BYTES,
    &MAX_READS,
    &RETENTION,
    &DOCUMENT_RETENTION,
    &SCHEMA_RETENTION,
    &FILE_RETENTION,
    &MAX_EVENT_BYTES,
    &HEARTBEAT_SECONDS,
    &MAX_STREAMS_PER_JOB,
    &MAX_STREAMS_PER_USER,
    &MAX_STREAM_AGE,
    &STALLED_AFTER,
    &DRAIN,
    &HTTP_WORKERS,
    &STORE_READERS,
    &STORE_CONNECTIONS,
    &LOG,
    &LOG_FORMAT,
];

/// What the names of all variables begin with.
pub const PREFIX: &str = "RIVULET_";
/// The variable that names the TOML file.
pub const CONFIG_VARIABLE: &str = "RIVULET_CONFIG";

/// The environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// The flag of a setting, without its dashes.
pub fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// The table as the README shows it.
pub fn markdown() -> String {
    let mut text = String::from(
        "| key | flag | variable | default | what it is, and what is allowed |\n|---|---|---|---|---|\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "| - | `--config` | `{CONFIG_VARIABLE}` | none | TOML file with any of the keys below |"
    );
    for row in ALL {
        let (name, default) = (row.name(), row.default());
        let default = match default {
            "" => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let _ = writeln!(
            text,
            "| `{name}` | `--{}` | `{}` | {default} | {}: {} |",
            flag(name),
            variable(name),
            row.help(),
            row.allowed(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_setting_takes() {
        for row in ALL {
            assert!(row.takes(row.default()), "{}", row.name());
        }
    }

    #[test]
    fn no_two_settings_share_a_name_and_each_has_a_line_in_the_table() {
        let names: HashSet<_> = ALL.iter().map(|row| row.name()).collect();
        assert_eq!(names.len(), ALL.len());
        let table = markdown();
        assert_eq!(table.lines().count(), ALL.len() + 3);
        assert!(table.contains("| `max_reads` | `--max-reads` | `RIVULET_MAX_READS` | `2` |"));
    }
}
