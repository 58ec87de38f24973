//! Servers of models: the tables `[servers.NAME]` of the file, and the vendors' usual variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::Value;
use serde::Deserialize;

use super::form::Secret;

/// The table of the file.
pub(super) const TABLE: &str = "servers";

/// Whose wire format a server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    Gemini,
    Anthropic,
    /// Also vLLM, Ollama, llama.cpp and all others that are compatible.
    #[default]
    OpenAi,
}

/// A server that can be asked.
#[derive(Debug, Clone)]
pub struct ModelServer {
    /// Models without a name that tells their vendor are addressed as `NAME/MODEL`.
    pub name: String,
    pub dialect: Dialect,
    /// The vendor's own address when there is none.
    pub base_url: Option<String>,
    /// Not every server of one's own wants one.
    pub key: Option<Secret>,
    /// Models to list beside those that are known or that the server tells of.
    pub models: Vec<String>,
    /// Whether answers are read while they are written.
    pub stream: bool,
    /// Whether its models are asked how likely their tokens were; what is known of each model
    /// where nothing is said.
    pub logprobs: Option<bool>,
}

/// Why a server is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}`: {cause}. A table [servers.NAME] may have: dialect (openai, gemini or anthropic), base_url, key, key_variable, models, stream, logprobs.", file.display())]
    Table { file: PathBuf, cause: String },
    #[error(
        "`{name}` is not allowed as the name of a server ([servers.{name}] in `{}`). Allowed are letters, digits, `-` and `_`.", file.display()
    )]
    Name { name: String, file: PathBuf },
    #[error(
        "`{url}` is not allowed for base_url of the server `{name}` ({origin}). Allowed is an address that begins with https:// or http://."
    )]
    Url {
        url: String,
        name: String,
        origin: String,
    },
    #[error(
        "The server `{name}` has no key. Set {variable}, or key or key_variable in [servers.{name}]."
    )]
    NoKey { name: String, variable: String },
    #[error(
        "The variable {variable} holds no key, and [servers.{name}] names it as key_variable. Set it, or leave the table out."
    )]
    EmptyVariable { name: String, variable: String },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dialect: Option<Dialect>,
    base_url: Option<String>,
    key: Option<String>,
    key_variable: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    stream: Option<bool>,
    logprobs: Option<bool>,
}

/// What has a name of its own and variables of its own.
const VENDORS: [(&str, Dialect, &str); 3] = [
    ("gemini", Dialect::Gemini, "GEMINI"),
    ("anthropic", Dialect::Anthropic, "ANTHROPIC"),
    ("openai", Dialect::OpenAi, "OPENAI"),
];

/// The servers that are set, by name. A vendor is one once it has a key or an address.
pub(super) fn read<'a>(
    file: Option<(&Path, Value)>,
    said: impl Fn(&str) -> Option<&'a str>,
) -> Result<Vec<ModelServer>, Error> {
    let (file, table) = match file {
        Some((file, table)) => (file, Some(table)),
        None => (Path::new(""), None),
    };
    let mut entries = BTreeMap::<String, Entry>::new();
    if let Some(table) = table {
        entries = table.deserialize().map_err(|cause| Error::Table {
            file: file.to_owned(),
            cause: cause.to_string(),
        })?;
    }
    let mut servers = Vec::new();
    for (name, dialect, prefix) in VENDORS {
        let entry = entries.remove(name);
        let variable = format!("{prefix}_API_KEY");
        let key = said(&variable).map(str::to_owned);
        let base_url = said(&format!("{prefix}_BASE_URL")).map(str::to_owned);
        if entry.is_none() && key.is_none() && base_url.is_none() {
            continue;
        }
        let mut entry = entry.unwrap_or_default();
        entry.dialect = entry.dialect.or(Some(dialect));
        entry.key = key.or(entry.key);
        entry.base_url = base_url.or(entry.base_url);
        servers.push(server(name, entry, &variable, file, &said)?);
    }
    for (name, entry) in entries {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            let file = file.to_owned();
            return Err(Error::Name { name, file });
        }
        servers.push(server(&name, entry, "key_variable", file, &said)?);
    }
    Ok(servers)
}

fn server<'a>(
    name: &str,
    entry: Entry,
    variable: &str,
    file: &Path,
    said: &impl Fn(&str) -> Option<&'a str>,
) -> Result<ModelServer, Error> {
    let key = match (entry.key, entry.key_variable) {
        (Some(key), _) => Some(key),
        (None, Some(variable)) => {
            let Some(key) = said(&variable) else {
                let name = name.to_owned();
                return Err(Error::EmptyVariable { name, variable });
            };
            Some(key.to_owned())
        }
        (None, None) => None,
    };
    let dialect = entry.dialect.unwrap_or_default();
    if key.is_none() && entry.base_url.is_none() {
        return Err(Error::NoKey {
            name: name.to_owned(),
            variable: variable.to_owned(),
        });
    }
    if let Some(url) = &entry.base_url
        && !(url.starts_with("https://") || url.starts_with("http://"))
    {
        return Err(Error::Url {
            url: url.clone(),
            name: name.to_owned(),
            origin: format!("[servers.{name}] in `{}`, or a variable", file.display()),
        });
    }
    Ok(ModelServer {
        name: name.to_owned(),
        dialect,
        base_url: entry.base_url,
        key: key.map(Secret),
        models: entry.models,
        stream: entry.stream.unwrap_or(true),
        logprobs: entry.logprobs,
    })
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format as _, Toml};

    use super::*;

    fn servers(file: &str, variables: &[(&str, &str)]) -> Result<Vec<ModelServer>, String> {
        let dict: figment::value::Dict = Toml::from_str(file).unwrap();
        let table = dict.get(TABLE).cloned();
        let said = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        let file = table.map(|table| (Path::new("a.toml"), table));
        read(file, said).map_err(|error| error.to_string())
    }

    #[test]
    fn a_vendor_is_there_once_it_has_a_key() {
        assert!(servers("", &[]).unwrap().is_empty());
        let found = servers(
            "",
            &[("GEMINI_API_KEY", "g"), ("OPENAI_BASE_URL", "http://h/v1")],
        );
        let found = found.unwrap();
        let [gemini, openai] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (gemini.name.as_str(), gemini.dialect),
            ("gemini", Dialect::Gemini)
        );
        assert_eq!(gemini.key.as_ref().unwrap().0, "g");
        assert_eq!(openai.base_url.as_deref(), Some("http://h/v1"));
        assert!(openai.key.is_none());
        assert!(!format!("{found:?}").contains("\"g\""));
    }

    #[test]
    fn several_servers_of_one_dialect_are_told_apart_by_name() {
        let file = "[servers.house]\nbase_url = 'http://10.0.0.7:8000/v1'\nmodels = ['qwen3']\nlogprobs = true\n\
                    [servers.lab]\ndialect = 'anthropic'\nbase_url = 'https://lab'\n\
                    key_variable = 'LAB_KEY'\n[servers.openai]\nkey = 'from file'\n";
        let found = servers(file, &[("LAB_KEY", "l"), ("OPENAI_API_KEY", "o")]).unwrap();
        let names: Vec<_> = found.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["openai", "house", "lab"]);
        assert_eq!(
            found[0].key.as_ref().unwrap().0,
            "o",
            "a variable goes before the file"
        );
        assert_eq!(found[1].models, ["qwen3"]);
        let asked: Vec<_> = found.iter().map(|server| server.logprobs).collect();
        assert_eq!(asked, [None, Some(true), None]);
        assert_eq!(
            (found[2].dialect, &found[2].key.as_ref().unwrap().0[..]),
            (Dialect::Anthropic, "l")
        );
    }

    #[test]
    fn a_refusal_names_the_server_and_what_to_set() {
        let refused = |file: &str| servers(file, &[]).unwrap_err();
        let no_key = refused("[servers.gemini]\nmodels = ['x']");
        assert!(
            no_key.contains("`gemini`") && no_key.contains("GEMINI_API_KEY"),
            "{no_key}"
        );
        let url = refused("[servers.house]\nbase_url = 'house:80'");
        assert!(
            url.contains("`house:80`") && url.contains("https://"),
            "{url}"
        );
        let unknown = refused("[servers.house]\nurl = 'http://house'");
        assert!(
            unknown.contains("url") && unknown.contains("base_url"),
            "{unknown}"
        );
        let dialect = refused("[servers.house]\ndialect = 'cohere'\nbase_url = 'http://h'");
        assert!(dialect.contains("cohere"), "{dialect}");
        let empty = refused("[servers.lab]\nbase_url = 'http://h'\nkey_variable = 'LAB_KEY'");
        assert!(empty.contains("LAB_KEY"), "{empty}");
        let name = refused("[servers.'a b']\nbase_url = 'http://h'");
        assert!(name.contains("`a b`"), "{name}");
    }
}
