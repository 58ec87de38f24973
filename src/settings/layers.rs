//! The sources of settings, laid over each other, and where each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::form::Form;
use super::servers::{self, ModelServer};
use super::table::{self, CONFIG_VARIABLE, Setting};

/// What was given by whom, as text.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By name of the setting.
    pub flags: BTreeMap<&'static str, String>,
    /// Environment variables; those that name no setting are passed over.
    pub variables: Vec<(String, String)>,
    /// The TOML file, when a flag names one.
    pub config: Option<PathBuf>,
    /// What goes in the place of the table's defaults.
    pub defaults: BTreeMap<&'static str, String>,
}

impl Sources {
    /// What the environment of this process says.
    pub fn environment() -> Self {
        // A value that is no text keeps a mark, by which it is refused when a setting wants it.
        let text = |(name, value): (OsString, OsString)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            ..Self::default()
        }
    }

    /// A value that goes before all others.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.flags.insert(name, value.to_string());
        self
    }

    /// A value for when nobody gives one.
    #[must_use]
    pub fn by_default(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.defaults.insert(name, value.to_string());
        self
    }

    /// Variables that look like settings and are none: spelling mistakes, perhaps.
    pub fn strangers(&self) -> Vec<&str> {
        let is_known = |name: &str| {
            name == CONFIG_VARIABLE
                || table::ALL
                    .iter()
                    .any(|row| table::variable(row.name()) == name)
        };
        let names = self.variables.iter().map(|(name, _)| name.as_str());
        names
            .filter(|name| name.starts_with(table::PREFIX) && !is_known(name))
            .collect()
    }
}

/// Who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    Key { name: &'static str, file: PathBuf },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Key { name, file } => write!(f, "key {name} in `{}`", file.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Why the settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{value}` is not allowed for {name} ({origin}). Allowed is {allowed}.")]
    Value {
        name: &'static str,
        value: String,
        origin: Origin,
        allowed: String,
    },
    #[error("`{}` has the key `{key}`, which is no setting. Settings are: {}, and tables [servers.NAME].", file.display(), known())]
    UnknownKey { file: PathBuf, key: String },
    #[error("The settings file `{}` cannot be read: {cause}. Name another one with --config or {CONFIG_VARIABLE}, or leave it out.", file.display())]
    File { file: PathBuf, cause: io::Error },
    #[error("The settings file `{}` is not TOML: {cause}", file.display())]
    Toml { file: PathBuf, cause: String },
    #[error(transparent)]
    Server(#[from] servers::Error),
}

fn known() -> String {
    let names: Vec<_> = table::ALL.iter().map(|row| row.name()).collect();
    names.join(", ")
}

/// One source as figment takes it.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

const DEFAULTS: &str = "defaults";
const FILE: &str = "file";
const ENVIRONMENT: &str = "environment";
const FLAGS: &str = "flags";

/// All sources, the strongest on top.
pub(super) struct Layers {
    figment: Figment,
    file: Option<PathBuf>,
    servers: Option<Value>,
    /// Those that name a key or an address of a server of models.
    variables: Vec<(String, String)>,
}

impl Layers {
    pub(super) fn of(sources: Sources) -> Result<Self, Error> {
        let said = |name: &str| {
            let given = sources.variables.iter().find(|(known, _)| known == name);
            given
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty())
        };
        let file = sources
            .config
            .clone()
            .or_else(|| said(CONFIG_VARIABLE).map(PathBuf::from));
        let mut in_file = file.as_deref().map(read).transpose()?.unwrap_or_default();
        let servers = in_file.remove(servers::TABLE);
        let in_environment = table::ALL
            .iter()
            .filter_map(|row| {
                Some((
                    row.name().to_owned(),
                    said(&table::variable(row.name()))?.into(),
                ))
            })
            .collect();
        let given = |values: &BTreeMap<&'static str, String>| {
            let pair =
                |(name, value): (&&str, &String)| ((*name).to_owned(), value.as_str().into());
            values.iter().map(pair).collect()
        };
        let figment = Figment::new()
            .merge(Layer {
                name: DEFAULTS,
                values: given(&sources.defaults),
            })
            .merge(Layer {
                name: FILE,
                values: in_file,
            })
            .merge(Layer {
                name: ENVIRONMENT,
                values: in_environment,
            })
            .merge(Layer {
                name: FLAGS,
                values: given(&sources.flags),
            });
        Ok(Self {
            figment,
            file,
            servers,
            variables: sources.variables,
        })
    }

    /// The value of a setting, from whoever is strongest.
    pub(super) fn get<F: Form>(&self, setting: &Setting<F>) -> Result<F::Value, Error> {
        let given = self.figment.find_value(setting.name).ok();
        let text = given.map_or_else(|| setting.default.to_owned(), written);
        let is_text = !text.contains(char::REPLACEMENT_CHARACTER);
        let value = setting.form.read(text.trim()).filter(|_| is_text);
        value.ok_or_else(|| Error::Value {
            name: setting.name,
            value: setting.form.shown(&text),
            origin: self.origin(setting),
            allowed: setting.form.allowed(),
        })
    }

    /// The servers of models that are set.
    pub(super) fn servers(&self) -> Result<Vec<ModelServer>, Error> {
        let said = |name: &str| {
            let given = self.variables.iter().find(|(known, _)| known == name);
            given
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty())
        };
        let table = self.file.as_deref().zip(self.servers.clone());
        Ok(servers::read(table, said)?)
    }

    pub(super) fn origin<F>(&self, setting: &Setting<F>) -> Origin {
        let name = setting.name;
        let layer = self
            .figment
            .find_metadata(name)
            .map(|metadata| metadata.name.as_ref());
        match (layer, &self.file) {
            (Some(FILE), Some(file)) => Origin::Key {
                name,
                file: file.clone(),
            },
            (Some(ENVIRONMENT), _) => Origin::Variable(table::variable(name)),
            (Some(FLAGS), _) => Origin::Flag(table::flag(name)),
            _ => Origin::Default,
        }
    }
}

/// The keys of a TOML file, all of them settings.
fn read(file: &Path) -> Result<Dict, Error> {
    let text = fs::read_to_string(file).map_err(|cause| Error::File {
        file: file.into(),
        cause,
    })?;
    let values: Dict = Toml::from_str(&text).map_err(|cause| Error::Toml {
        file: file.into(),
        cause: cause.to_string(),
    })?;
    let is_known =
        |key: &str| key == servers::TABLE || table::ALL.iter().any(|row| row.name() == key);
    match values.keys().find(|key| !is_known(key)) {
        Some(key) => Err(Error::UnknownKey {
            file: file.into(),
            key: key.clone(),
        }),
        None => Ok(values),
    }
}

/// A value as it would be written for a flag.
fn written(value: Value) -> String {
    match value {
        Value::String(_, text) => text,
        Value::Char(_, letter) => letter.to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => String::new(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
    }
}
