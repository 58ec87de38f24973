//! `rivulet keys`.

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::show::Show;
use crate::app;
use crate::domain::id::Scope;
use crate::engine::keys::{Keyring, MAX_ACTIVE_JOBS, is_id};
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
  rivulet keys limit 9f2c41d07be3 20               20 active jobs, in the place of the setting
  rivulet keys revoke 9f2c41d07be3";

/// Make, list, limit and revoke API keys
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
    /// Set how many jobs may be active for a key to start another one
    Limit(Limit),
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
    /// Jobs of the user that may be active, one started with this key included; without it, as many
    /// as the server's setting of this name says
    #[arg(long, value_name = "NUMBER")]
    max_active_jobs: Option<u32>,
    #[command(flatten)]
    settings: DataFlags,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    settings: DataFlags,
}

#[derive(Debug, clap::Args)]
struct Limit {
    /// Id of the key: what stands between `rvl_` and the next `_`
    id: String,
    /// Jobs of the user that may be active, one started with this key included; `default` for as
    /// many as the server's setting says
    #[arg(value_name = "NUMBER|default", value_parser = jobs)]
    max_active_jobs: Jobs,
    #[command(flatten)]
    settings: DataFlags,
}

/// A limit as it is given: none is the server's.
#[derive(Debug, Clone, Copy)]
struct Jobs(Option<u32>);

fn jobs(text: &str) -> Result<Jobs, String> {
    if text == "default" {
        return Ok(Jobs(None));
    }
    let number = text.parse().map_err(|_| {
        format!("it takes a whole number from 1 to {MAX_ACTIVE_JOBS}, or `default`")
    })?;
    Ok(Jobs(Some(number)))
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
        Action::Limit(args) => limit(args).await,
        Action::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: Create) -> Result<Exit, Failure> {
    let storage = storage(args.settings)?;
    let keyring = app::keyring(&storage)?;
    let (key, text) = keyring
        .create(&args.user, &args.name, args.max_active_jobs)
        .await?;
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

async fn limit(args: Limit) -> Result<Exit, Failure> {
    refuse_other_than_id(&args.id)?;
    let storage = storage(args.settings)?;
    let Jobs(most) = args.max_active_jobs;
    let limited = match existing(&storage)? {
        Some(keyring) => keyring.limit(&args.id, most).await?,
        None => None,
    };
    let key = limited.ok_or_else(|| no_key(&args.id, &storage))?;
    let limit = match key.max_active_jobs {
        Some(1) => "1 active job".to_owned(),
        Some(jobs) => format!("{jobs} active jobs"),
        None => "as many active jobs as the server's setting max_active_jobs says".to_owned(),
    };
    Show::stderr().line(format_args!(
        "Key {} of user `{}` may have {limit}. Servers go by it within a second.",
        key.id,
        key.user.as_str()
    ))?;
    Ok(Exit::Complete)
}

async fn revoke(args: Revoke) -> Result<Exit, Failure> {
    refuse_other_than_id(&args.id)?;
    let storage = storage(args.settings)?;
    let revoked = match existing(&storage)? {
        Some(keyring) => keyring.revoke(&args.id).await?,
        None => None,
    };
    let key = revoked.ok_or_else(|| no_key(&args.id, &storage))?;
    Show::stderr().line(format_args!(
        "Key {} of user `{}` is revoked. Servers refuse it within a second.",
        key.id,
        key.user.as_str()
    ))?;
    Ok(Exit::Complete)
}

fn refuse_other_than_id(text: &str) -> Result<(), Failure> {
    if is_id(text) {
        return Ok(());
    }
    // Not repeated: it may be a whole key.
    Err(Failure::of(
        Exit::Unusable,
        "This is not the id of a key. The id is what stands between `rvl_` and the next `_`; `rivulet keys list` shows it.",
    ))
}

fn no_key(id: &str, storage: &Storage) -> Failure {
    let place = app::place(storage);
    Failure::of(
        Exit::Unusable,
        format!(
            "There is no key `{id}` in `{place}`. `rivulet keys list` shows those that are; name another folder with --data, or another database with --store."
        ),
    )
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
    let jobs =
        |limit: Option<u32>| limit.map_or_else(|| "default".to_owned(), |jobs| jobs.to_string());
    let mut rows = vec![["ID", "USER", "NAME", "JOBS", "CREATED", "REVOKED"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        [
            key.id.clone(),
            key.user.as_str().to_owned(),
            key.name.clone(),
            jobs(key.max_active_jobs),
            moment(Some(key.created_at)),
            moment(key.revoked_at),
        ]
    }));
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths);
        let padded = cells.map(|(cell, width)| format!("{cell:width$}  "));
        padded.chain(row.last().cloned()).collect()
    };
    rows.iter().map(line).collect()
}
