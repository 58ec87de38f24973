//! The commands. What they say goes through `show`; what they return is an `Exit`.

mod backup;
mod client;
mod demo;
mod draw;
mod exit;
mod extract;
mod input;
mod keys;
mod narrate;
mod plan;
mod scratch;
mod serve;
mod show;
mod signals;
mod values;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::{Parser, Subcommand};
use tokio::runtime;

use exit::{Exit, Failure};
use show::Show;

/// The most threads of the runtime; connections have threads of their own.
const MAX_THREADS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  rivulet demo                                     see it work on an invoice
  rivulet serve                                    listen on 127.0.0.1:8080
  rivulet extract invoice.pdf --schema s.json      one document, no server
  rivulet plan s.json                              what a schema splits into
  rivulet backup monday.tar                        everything that is kept, in one file
  rivulet keys create --user ada                   an API key; from then on every request needs one";

/// A streaming structured-extraction server: a document and a JSON Schema in, every part of the
/// answer streamed as it lands.
#[derive(Debug, Parser)]
#[command(name = "rivulet", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Extract(extract::Args),
    Plan(plan::Args),
    Backup(backup::Args),
    Keys(keys::Args),
    #[command(hide = true)]
    DrawPages(draw::Args),
}

impl Cli {
    /// Runs the command to its end and says on stderr why it failed, if it did.
    pub fn execute(self) -> ExitCode {
        let outcome = match self.command {
            Command::Plan(args) => block_on(plan::run(args)),
            Command::DrawPages(args) => draw::run(&args),
            Command::Backup(args) => backup::run(args),
            Command::Keys(args) => block_on(keys::run(args)),
            Command::Serve(args) => block_on(serve::run(args)),
            Command::Demo(args) => block_on(demo::run(args)),
            Command::Extract(args) => block_on(extract::run(args)),
        };
        let exit = outcome.unwrap_or_else(|failure| {
            // Where even stderr is gone, the exit code has to do.
            let _ = Show::stderr().line(format_args!("error: {}", failure.message));
            failure.exit
        });
        exit.into()
    }
}

fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, MAX_THREADS))
        .enable_all()
        .build()
        .map_err(|cause| {
            Failure::of(
                Exit::Failed,
                format!("The runtime cannot be started: {cause}"),
            )
        })?;
    let outcome = runtime.block_on(work);
    // A file that is still being read on a blocking thread must not hold up the exit.
    runtime.shutdown_background();
    outcome
}
