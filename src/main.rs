use std::process::ExitCode;

use clap::Parser as _;
use rivulet::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
