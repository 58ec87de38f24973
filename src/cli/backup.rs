//! `rivulet backup`.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::show::Show;
use crate::app;
use crate::settings::{Flags, Settings};

const EXAMPLES: &str = "\
Also while a server works on the folder. To go on from a backup, unpack it into an empty folder
and serve that: jobs that were running then go on.

Examples:
  rivulet backup monday.tar
  mkdir restored && tar -xf monday.tar -C restored && rivulet serve --data restored";

/// Write everything that is kept to one file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The new file, a tar archive
    file: PathBuf,
    #[command(flatten)]
    settings: Flags,
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    let settings = Settings::load(args.settings.over_environment())?;
    if settings.storage.store.is_some() || settings.storage.blobs.is_some() {
        return Err(Failure::of(
            Exit::Unusable,
            "This backs up a data folder, and the settings `store` or `blobs` keep things elsewhere. Back the database up with its own tools first (pg_dump), then the bucket: files are never changed.",
        ));
    }
    let backup = app::backup(&settings.storage.data, &args.file)?;
    Show::stderr().line(format_args!(
        "{}: {} documents, {} bytes",
        args.file.display(),
        backup.documents,
        backup.bytes
    ))?;
    Ok(Exit::Complete)
}
