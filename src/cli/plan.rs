//! `rivulet plan`: without a model what a schema splits into, with one what a job would take.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::input::{elsewhere, embedded_sources, read_document, read_schema};
use super::scratch::Scratch;
use super::show::{Show, count};
use crate::app::App;
use crate::domain::cost::Span;
use crate::domain::event::PlannedSubtree;
use crate::domain::explain::Explained;
use crate::domain::plan::Plan;
use crate::domain::plan::SplitterConfigs;
use crate::domain::schema;
use crate::engine::keys::Principal;
use crate::engine::{PlanRequest, SchemaSource};
use crate::settings::Settings;
use crate::telemetry;

const EXAMPLES: &str = "\
Exit codes: 0 the schema can be used, 2 it cannot.

With a document or a model it also shows the calls that a job would make, and what they may come to.
Settings come from the environment and from the file that RIVULET_CONFIG names, as for
`rivulet serve`; no model is asked.

Examples:
  rivulet plan invoice.schema.json
  rivulet plan invoice.schema.json --document invoice.pdf --model gemini-2.5-flash
  rivulet plan invoice.schema.json --json | jq '.subtrees[].path'";

/// Where a server makes plans.
const ROUTE: &str = "POST /v1/extract/plans";

/// Show the subtrees that a schema splits into
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// File with a JSON Schema
    schema: PathBuf,
    /// PDF, plain text or Markdown file to extract from; - reads stdin
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Model to ask; the setting default_model if not given
    #[arg(long)]
    model: Option<String>,
    /// fast, balanced or cheap: what calls are packed for
    #[arg(long, value_name = "AIM")]
    packing: Option<String>,
    /// Print one line of JSON, not a table
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether only the cuts are asked for, which need no model and no settings.
    fn is_of_schema_alone(&self) -> bool {
        self.document.is_none() && self.model.is_none() && self.packing.is_none()
    }
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let definition = read_schema(&args.schema)?;
    let wanted = schema::wanted(&definition);
    let done = if args.is_of_schema_alone() {
        cuts(&args, &definition)
    } else {
        explain(&args, definition).await
    };
    done.map_err(|failure| elsewhere(&wanted, failure, ROUTE))
}

/// What a job would do, by the engine that would do it.
async fn explain(args: &Args, definition: Value) -> Result<Exit, Failure> {
    let scratch = Scratch::new("plan");
    let settings = Settings::load(embedded_sources(&scratch))?;
    telemetry::start(&settings.log);
    let limit = settings.limits.max_document_bytes;
    let document = args.document.as_deref();
    let request = PlanRequest {
        document: document
            .map(|path| read_document(path, limit))
            .transpose()?,
        schema: SchemaSource::Inline(definition),
        config: Some(json!({
            "model": args.model,
            "splitter_configs": { "packing": args.packing },
        })),
    };
    let embedded = App::builder(settings).embedded()?;
    let caller = Principal::local();
    let explained = embedded.engine.explain(&caller.scope, request).await;
    embedded.stop().await;
    let explained = explained?;
    let show = Show::stdout();
    if args.json {
        let body = serde_json::to_string(&explained)
            .map_err(|cause| Failure::of(Exit::Failed, cause.to_string()))?;
        show.line(body)?;
    } else {
        for line in report(&explained) {
            show.line(line)?;
        }
    }
    Ok(Exit::Complete)
}

/// The table of cuts, the calls, and what they may come to.
fn report(explained: &Explained) -> Vec<String> {
    let rows: Vec<_> = explained
        .subtrees
        .iter()
        .map(PlannedSubtree::from)
        .collect();
    let mut lines = table(&rows);
    lines.push(String::new());
    for (at, call) in explained.calls.iter().enumerate() {
        let leads = if call.is_leader { ", first" } else { "" };
        lines.push(format!(
            "call {}: {} prompt tokens, {} answer tokens{leads}: {}",
            at + 1,
            call.prompt_tokens,
            span(&call.answer_tokens, 0),
            call.subtree_ids.join(" ")
        ));
    }
    let forecast = &explained.forecast;
    let estimate = &forecast.estimate;
    lines.push(String::new());
    lines.push(format!("model:          {}", explained.model));
    lines.push(format!("packing:        {}", forecast.packing.name()));
    lines.push(format!(
        "document:       {}, about {} tokens",
        count(forecast.pages, "page"),
        forecast.document_tokens
    ));
    lines.push(format!(
        "prompt tokens:  {}",
        span(&estimate.prompt_tokens, 0)
    ));
    lines.push(format!(
        "answer tokens:  {}",
        span(&estimate.answer_tokens, 0)
    ));
    lines.push(format!("seconds:        {}", span(&estimate.seconds, 1)));
    lines.push(format!(
        "first result:   {} s",
        span(&estimate.first_result_seconds, 1)
    ));
    lines.push(match &estimate.cost_usd {
        Some(cost) => format!("US dollars:     {}", span(cost, 6)),
        None => "US dollars:     no price is known for this model".to_owned(),
    });
    if !explained.lowered.is_empty() {
        lines.push(String::new());
        lines.push("Asked for otherwise than the schema says:".to_owned());
    }
    lines.extend(explained.lowered.iter().map(|change| {
        let place = format!("{} {}", change.subtree_id, change.pointer);
        format!("  {}: {}", place.trim_end(), change.what)
    }));
    lines
}

/// `12`, or `8 to 20, likely 12`.
fn span(span: &Span, digits: usize) -> String {
    let [low, likely, high] = [span.low, span.likely, span.high].map(|n| format!("{n:.digits$}"));
    if low == high {
        return low;
    }
    format!("{low} to {high}, likely {likely}")
}

fn cuts(args: &Args, definition: &Value) -> Result<Exit, Failure> {
    schema::accept(definition).map_err(|error| {
        let shown = args.schema.display();
        Failure::of(
            Exit::Unusable,
            format!(
                "The schema `{shown}` cannot be used. {}",
                Failure::from(error).message
            ),
        )
    })?;
    let plan = Plan::of(definition, SplitterConfigs::default());
    let rows: Vec<PlannedSubtree> = plan
        .subtrees
        .iter()
        .map(|subtree| subtree.as_ref().into())
        .collect();
    let show = Show::stdout();
    if args.json {
        let body = json!({
            "total_subtrees": rows.len(),
            "total_fields": plan.total_fields(),
            "subtrees": rows,
        });
        show.line(format_args!("{body}"))?;
    } else {
        for line in table(&rows) {
            show.line(line)?;
        }
    }
    Ok(Exit::Complete)
}

fn table(rows: &[PlannedSubtree]) -> Vec<String> {
    let mut cells = vec![["SUBTREE", "PATH", "KIND", "FIELDS"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let path = if row.path.is_root() {
            "(root)"
        } else {
            row.path.as_str()
        };
        let kind = serde_json::to_value(row.kind).ok();
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        [
            row.subtree_id.clone(),
            path.to_owned(),
            kind.to_owned(),
            row.total_fields.to_string(),
        ]
    }));
    let width = |column: usize| {
        cells
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (id, path, kind, fields) = (width(0), width(1), width(2), width(3));
    let mut lines: Vec<_> = cells
        .iter()
        .map(|row| {
            format!(
                "{:id$}  {:path$}  {:kind$}  {:>fields$}",
                row[0], row[1], row[2], row[3]
            )
        })
        .collect();
    let total: u32 = rows.iter().map(|row| row.total_fields).sum();
    lines.push(String::new());
    lines.push(format!(
        "{}, {}",
        count(rows.len() as u64, "subtree"),
        count(u64::from(total), "field")
    ));
    lines
}
