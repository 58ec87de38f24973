//! `rivulet demo`.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::StreamExt as _;
use serde_json::Value;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::narrate::Narrator;
use super::scratch::Scratch;
use super::show::Show;
use super::show::count;
use super::signals::Signals;
use crate::app::App;
use crate::domain::event::{BASE, End, Event};
use crate::domain::status::Status;
use crate::settings::{Settings, Sources};
use crate::telemetry;

const DOCUMENT: &[u8] = include_bytes!("../../schemas/examples/invoice.pdf");
const DOCUMENT_NAME: &str = "invoice.pdf";
const SCHEMA: &str = include_str!("../../schemas/examples/invoice.schema.json");

const EXAMPLES: &str = "\
Starts a server on a free port of this machine with a data folder of its own, sends it an
invoice and a schema, and shows every event as it arrives. Needs no network and no key.

Examples:
  rivulet demo
  rivulet demo --keep     leave the server running for you to look at";

/// See it work on an invoice
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Leave the server running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let mut scratch = Scratch::new("demo");
    let sources = Sources::environment()
        .by_default("log", "warn,actix_server=off")
        .with("bind", "127.0.0.1:0")
        .with("drain", 0)
        .with("store", "")
        .with("blobs", "")
        .with("data", scratch.path().display());
    let settings = Settings::load(sources)?;
    telemetry::start(&settings.log);
    let mut signals = Signals::listen()?;
    let mut app = App::builder(settings).start()?;
    let address = app.address;
    let mut outcome = tokio::select! {
        outcome = tour(address, scratch.path(), args.keep) => outcome,
        () = signals.next() => Ok(Exit::Interrupted),
    };
    if matches!(outcome, Ok(Exit::Complete)) {
        // What the last lines promise stays true after the end.
        scratch.keep();
    }
    if args.keep && matches!(outcome, Ok(Exit::Complete)) {
        outcome = tokio::select! {
            failed = app.run() => failed.map(|()| Exit::Complete).map_err(Failure::from),
            () = signals.next() => Ok(Exit::Complete),
        };
    }
    tokio::select! {
        () = app.stop() => {}
        () = signals.next() => return Ok(Exit::Interrupted),
    }
    if args.keep {
        Show::stdout().line("\nStopped. To serve the data again:")?;
        Show::stdout().line(serve_again(address, scratch.path()))?;
    }
    outcome
}

/// Everything a client does, told as it happens.
async fn tour(address: SocketAddr, data: &Path, keep: bool) -> Result<Exit, Failure> {
    let mut show = Show::stdout();
    let client = Client::new(address)?;
    let schema: Value = serde_json::from_str(SCHEMA).map_err(|cause| {
        Failure::of(
            Exit::Failed,
            format!("The example schema is damaged: {cause}"),
        )
    })?;

    show.line(format_args!("server    http://{address}"))?;
    show.line(format_args!("data      {}", data.display()))?;
    let document = client.upload(DOCUMENT_NAME, DOCUMENT).await?;
    show.line(format_args!(
        "document  {DOCUMENT_NAME}: an invoice in French, {}, {} KiB",
        count(document.page_count, "page"),
        DOCUMENT.len() >> 10
    ))?;
    let saved = client.save_schema("Invoice", &schema).await?;
    show.line("schema    invoice.schema.json: what to find, in English")?;
    show.line("\nThe job, event by event. Each value comes with the place where it was read.\n")?;
    let (job, end) = follow(&client, &mut show, &document.document_id, &saved.schema_id).await?;

    let results = client.results(&job).await?;
    show.line(format_args!(
        "\n{}\n{results:#}",
        show.bold("The combined result")
    ))?;
    for line in kept(&job, &end, data)
        .into_iter()
        .chain(next_steps(address, &job, data, keep))
    {
        show.line(line)?;
    }
    Ok(match end.status {
        Status::Completed => Exit::Complete,
        _ => Exit::Failed,
    })
}

async fn follow(
    client: &Client,
    show: &mut Show,
    document: &str,
    schema: &str,
) -> Result<(String, End), Failure> {
    let mut narrator = Narrator::new(show);
    let mut events = client.stream_job(document, schema).await?;
    while let Some(envelope) = events.next().await {
        let envelope = envelope?;
        narrator.tell(&envelope)?;
        if let Event::End(end) = envelope.event {
            return Ok((envelope.job.to_string(), end));
        }
    }
    Err(Failure::of(
        Exit::Failed,
        "The stream broke off before its end.",
    ))
}

/// Where the result is.
fn kept(job: &str, end: &End, data: &Path) -> [String; 2] {
    let until = end
        .results_expire_at
        .map(|time| format!(" until {time}"))
        .unwrap_or_default();
    [
        format!("\nIt is kept in {}{until}", data.display()),
        format!("and given out as GET {BASE}/jobs/{job}/results."),
    ]
}

fn next_steps(address: SocketAddr, job: &str, data: &Path, keep: bool) -> Vec<String> {
    let mut lines = if keep {
        vec!["\nThree things to try next:".to_owned()]
    } else {
        vec![
            "\nThe server of this demo has stopped (`demo --keep` leaves it running). Start it again".to_owned(),
            "on the same data, and try three things:".to_owned(),
            format!("\n  0. {}", serve_again(address, data).trim_start()),
        ]
    };
    lines.extend([
        "\n  1. open the page of the job".to_owned(),
        format!("     http://{address}/console/jobs/{job}"),
        "\n  2. follow its events, from the first one".to_owned(),
        format!("     curl -N http://{address}{BASE}/jobs/{job}/events"),
        "\n  3. poll it".to_owned(),
        format!("     curl http://{address}{BASE}/jobs/{job}"),
    ]);
    if keep {
        lines.push("\nThe server runs until you press Ctrl-C.".to_owned());
    }
    lines
}

fn serve_again(address: SocketAddr, data: &Path) -> String {
    format!(
        "     {} serve --bind {address} --data {}",
        program(),
        data.display()
    )
}

/// This program as it was called, so that what is pasted finds it.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "rivulet".to_owned())
}
