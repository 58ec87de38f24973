//! `rivulet keys`.

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::show::Show;
use crate::app;
use crate::domain::id::Scope;
use crate::engine::keys::{Keyring, is_id};
use crate::engine::ports::StoredKey;
use crate::settings::{DataFlags, Settings, Storage};

const EXAMPLES: &str = "\
A server with a key asks for one in every request; a server without any serves this machine only.
Keys belong to a user, and users do not see each other's documents, schemas and jobs. All of it
works while the server runs, which notices within a second.

Examples:
  rivulet keys create                              the first key sees what was stored without keys
  KEY=$(rivulet keys create --user ada --name laptop)
  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8080/v1/extract/jobs
  rivulet keys list
  rivulet keys revoke 9f2c41d07be3";

/// Make, list and revoke API keys
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, this once
    Create(Create),
    /// Show all keys, without their secrets
    List(List),
    /// Take a key out of use, for good
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose data the key opens
    #[arg(long, value_name = "NAME", default_value_t = Scope::local().as_str().to_owned())]
    user: String,
    /// What the key is for, as the list shows it
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    #[command(flatten)]
    settings: DataFlags,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    settings: DataFlags,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Id of the key: what stands between `rvl_` and the next `_`
    id: String,
    #[command(flatten)]
    settings: DataFlags,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    match args.action {
        Action::Create(args) => create(args).await,
        Action::List(args) => list(args).await,
        Action::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: Create) -> Result<Exit, Failure> {
    let storage = storage(args.settings)?;
    let keyring = app::keyring(&storage)?;
    let (key, text) = keyring.create(&args.user, &args.name).await?;
    // The key alone goes to stdout, so that a shell can take it from there.
    Show::stdout().line(text)?;
    Show::stderr().line(format_args!(
        "Key {} of user `{}`. Keep it: it cannot be shown again. To take it out of use: rivulet keys revoke {}",
        key.id,
        key.user.as_str(),
        key.id
    ))?;
    Ok(Exit::Complete)
}

async fn list(args: List) -> Result<Exit, Failure> {
    let storage = storage(args.settings)?;
    let keys = match existing(&storage)? {
        Some(keyring) => keyring.list().await?,
        None => Vec::new(),
    };
    if keys.is_empty() {
        let place = app::place(&storage);
        Show::stderr().line(format_args!(
            "There are no keys in `{place}`. To make one: rivulet keys create"
        ))?;
    }
    let show = Show::stdout();
    for line in table(&keys) {
        show.line(line)?;
    }
    Ok(Exit::Complete)
}

async fn revoke(args: Revoke) -> Result<Exit, Failure> {
    if !is_id(&args.id) {
        // Not repeated: it may be a whole key.
        return Err(Failure::of(
            Exit::Unusable,
            "This is not the id of a key. The id is what stands between `rvl_` and the next `_`; `rivulet keys list` shows it.",
        ));
    }
    let storage = storage(args.settings)?;
    let revoked = match existing(&storage)? {
        Some(keyring) => keyring.revoke(&args.id).await?,
        None => None,
    };
    let Some(key) = revoked else {
        let place = app::place(&storage);
        return Err(Failure::of(
            Exit::Unusable,
            format!(
                "There is no key `{}` in `{place}`. `rivulet keys list` shows those that are; name another folder with --data, or another database with --store.",
                args.id
            ),
        ));
    };
    Show::stderr().line(format_args!(
        "Key {} of user `{}` is revoked. Servers refuse it within a second.",
        key.id,
        key.user.as_str()
    ))?;
    Ok(Exit::Complete)
}

fn storage(flags: DataFlags) -> Result<Storage, Failure> {
    Ok(Settings::load(flags.over_environment())?.storage)
}

/// The keys of a folder that holds something; looking must not make one where none was.
fn existing(storage: &Storage) -> Result<Option<Keyring>, Failure> {
    if !app::has_data(storage) {
        return Ok(None);
    }
    Ok(Some(app::keyring(storage)?))
}

fn table(keys: &[StoredKey]) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let moment = |time: Option<_>| time.map_or_else(|| "-".to_owned(), |time| format!("{time}"));
    let mut rows = vec![["ID", "USER", "NAME", "CREATED", "REVOKED"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        [
            key.id.clone(),
            key.user.as_str().to_owned(),
            key.name.clone(),
            moment(Some(key.created_at)),
            moment(key.revoked_at),
        ]
    }));
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let (id, user, name, created) = (width(0), width(1), width(2), width(3));
    let line = |row: &[String; 5]| {
        format!(
            "{:id$}  {:user$}  {:name$}  {:created$}  {}",
            row[0], row[1], row[2], row[3], row[4]
        )
    };
    rows.iter().map(line).collect()
}
