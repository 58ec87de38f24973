//! `rivulet extract`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::input::{elsewhere, embedded_sources, read_document, read_schema};
use super::narrate::Narrator;
use super::scratch::Scratch;
use super::show::Show;
use super::signals::Signals;
use crate::app::App;
use crate::domain::event::Envelope;
use crate::domain::metadata::Metadata;
use crate::domain::schema;
use crate::domain::status::Status;
use crate::engine::keys::Principal;
use crate::engine::{Engine, Follow, JobRequest, JobResult, News, SchemaSource, Wanted};
use crate::settings::Settings;
use crate::telemetry;

const EXAMPLES: &str = "\
Events go to stderr as they happen, the result goes to stdout. Settings come from the environment
and from the file that RIVULET_CONFIG names, as for `rivulet serve`.

Exit codes:
  0    complete: every subtree has a value, and the schema allows all of them
  1    failed: there is no result
  2    the arguments, the settings, the schema or the document cannot be used
  3    partial: some subtrees have no value, or one that the schema does not allow
  130  interrupted

Examples:
  rivulet extract invoice.pdf --schema invoice.schema.json
  rivulet extract invoice.pdf --schema invoice.schema.json --json 2>/dev/null | jq .metadata
  cat notes.txt | rivulet extract - --schema notes.schema.json --output notes.json";

/// Extract from one document, without a server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PDF, plain text or Markdown file; - reads stdin
    file: PathBuf,
    /// File with a JSON Schema of what is wanted
    #[arg(long)]
    schema: PathBuf,
    /// Model to ask; the setting default_model if not given
    #[arg(long)]
    model: Option<String>,
    /// What else the model should know
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
    /// Print results, attributions and metadata as one line of JSON, not only the results
    #[arg(long)]
    json: bool,
    /// Write to a file, not to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let scratch = Scratch::new("extract");
    let settings = Settings::load(embedded_sources(&scratch))?;
    telemetry::start(&settings.log);
    let definition = read_schema(&args.schema)?;
    let wanted = schema::wanted(&definition);
    let request = JobRequest {
        schema: SchemaSource::Inline(definition),
        document: read_document(&args.file, settings.limits.max_document_bytes)?,
        config: Some(config(&args)),
        callback_url: None,
        callback_secret: None,
        metadata: Metadata::default(),
        dialect: None,
        endpoint: None,
        options: None,
    };
    let mut signals = Signals::listen()?;
    let embedded = App::builder(settings).embedded()?;
    let outcome = tokio::select! {
        result = extract(&embedded.engine, request) => result,
        () = signals.next() => Err(Failure::of(Exit::Interrupted, "Interrupted.")),
    };
    embedded.stop().await;
    let result = outcome.map_err(|failure| elsewhere(&wanted, failure, "POST /v1/extract/jobs"))?;
    write(&args, &result)?;
    Ok(verdict(&result))
}

fn config(args: &Args) -> Value {
    json!({
        "model": args.model,
        "additional_instructions": args.instructions,
        "per_key_attribution": true,
    })
}

async fn extract(engine: &Engine, request: JobRequest) -> Result<JobResult, Failure> {
    let caller = Principal::local();
    let scope = &caller.scope;
    let mut show = Show::stderr();
    let view = engine.submit(&caller, request).await?;
    for warning in &view.spec.warnings {
        show.line(format_args!("note: {}", warning.message))?;
    }
    if let Follow::Stream(mut follower) = engine.follow(scope, view.id, None).await? {
        let mut narrator = Narrator::new(&mut show);
        while let News::Page(page) = follower.next().await? {
            for event in page.events() {
                narrator.tell(&read(&event.payload)?)?;
            }
        }
    }
    Ok(engine.result(scope, view.id, Wanted::Final).await?)
}

fn read(payload: &[u8]) -> Result<Envelope, Failure> {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    Envelope::decode(text)
        .map_err(|cause| Failure::of(Exit::Failed, format!("An event cannot be read: {cause}")))
}

fn write(args: &Args, result: &JobResult) -> Result<(), Failure> {
    let text = if args.json {
        whole(result).to_string()
    } else {
        format!("{:#}", result.results)
    };
    match &args.output {
        // A script must not take an empty object for a result.
        _ if !args.json && result.view.status != Status::Completed => Ok(()),
        None => Ok(Show::stdout().line(text)?),
        Some(path) => std::fs::write(path, text + "\n").map_err(|cause| {
            Failure::of(
                Exit::Failed,
                format!(
                    "The result cannot be written to `{}`: {cause}",
                    path.display()
                ),
            )
        }),
    }
}

/// The result with everything known about it, by the names of the HTTP API.
fn whole(result: &JobResult) -> Value {
    let view = &result.view;
    let error = view
        .error
        .as_ref()
        .filter(|_| view.status == Status::Failed);
    json!({
        "results": result.results,
        "attributions": result.attributions,
        "metadata": {
            "status": view.status,
            "partial": view.is_partial(),
            "document": {"name": view.spec.document_name, "sha256": view.spec.document_sha256},
            "model": view.spec.config.model,
            "prompt_version": view.spec.prompt_version,
            "duration_ms": view.ended_at.map(|end| end.since(view.created_at)),
            "total_subtrees": view.total_subtrees,
            "subtrees_succeeded": view.subtrees_succeeded,
            "subtrees_failed": view.subtrees_failed,
            "failed_subtrees": result.failed,
            "arrays": result.arrays,
            "validation": result.validation,
            "warnings": view.spec.warnings,
            "error_type": error.map(|(fault, _)| fault),
            "error_message": error.map(|(_, message)| message),
            "usage_metadata": view.usage,
        },
    })
}

fn verdict(result: &JobResult) -> Exit {
    let is_valid = result
        .validation
        .as_ref()
        .is_none_or(|validation| validation.valid);
    match result.view.status {
        Status::Completed if is_valid && !result.view.is_partial() => Exit::Complete,
        Status::Completed => Exit::Partial,
        _ => Exit::Failed,
    }
}
