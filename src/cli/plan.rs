//! `rivulet plan`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::show::Show;
use crate::domain::config::SplitterConfigs;
use crate::domain::event::PlannedSubtree;
use crate::domain::plan::Plan;
use crate::domain::schema;

const EXAMPLES: &str = "\
Exit codes: 0 the schema can be used, 2 it cannot.

Examples:
  rivulet plan invoice.schema.json
  rivulet plan invoice.schema.json --json | jq '.subtrees[].path'";

/// Show the subtrees that a schema splits into
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// File with a JSON Schema
    schema: PathBuf,
    /// Print one line of JSON, not a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit, Failure> {
    let definition = read_schema(&args.schema)?;
    schema::accept(&definition).map_err(|error| {
        let shown = args.schema.display();
        Failure::of(
            Exit::Unusable,
            format!(
                "The schema `{shown}` cannot be used. {}",
                Failure::from(error).message
            ),
        )
    })?;
    let plan = Plan::of(&definition, SplitterConfigs::default());
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

/// The JSON Schema in a file, not yet looked into.
pub fn read_schema(path: &Path) -> Result<Value, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|cause| {
        Failure::of(
            Exit::Unusable,
            format!("The schema `{shown}` cannot be read: {cause}"),
        )
    })?;
    serde_json::from_str(&text).map_err(|cause| {
        Failure::of(
            Exit::Unusable,
            format!("The schema `{shown}` is not JSON: {cause}"),
        )
    })
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

/// `1 field`, `2 fields`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
