//! `rivulet serve`.

use tracing::{info, warn};

use super::exit::{Exit, Failure};
use super::show::Show;
use super::signals::Signals;
use crate::app::App;
use crate::settings::{Flags, Settings};
use crate::telemetry;

const EXAMPLES: &str = "\
Prints one line to stdout when it is ready: `listening on http://ADDR:PORT`. Logs go to stderr.
A signal ends it once the calls under way have settled, at most after --drain; a second one ends
it at once. Jobs that were running go on at the next start.

Examples:
  rivulet serve
  rivulet serve --bind 127.0.0.1:0 --data /var/lib/rivulet
  RIVULET_LOG=debug rivulet serve --config rivulet.toml";

/// Run the server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    settings: Flags,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let sources = args.settings.over_environment();
    let strangers = sources.strangers().join(", ");
    let settings = Settings::load(sources)?;
    telemetry::start(&settings.log);
    if !strangers.is_empty() {
        warn!(
            variables = strangers,
            "settings.unknown_variables: these name no setting"
        );
    }
    let mut signals = Signals::listen()?;
    let mut app = App::builder(settings).start()?;
    Show::stdout().line(format_args!("listening on http://{}", app.address))?;
    tokio::select! {
        outcome = app.run() => outcome?,
        () = signals.next() => info!("serve.stopping: a second signal ends it at once"),
    }
    tokio::select! {
        () = app.stop() => Ok(Exit::Complete),
        () = signals.next() => Ok(Exit::Interrupted),
    }
}
