//! Events in words.

use std::io;

use serde_json::Value;

use super::show::count;
use super::show::{Show, tame};
use super::values::{INDENT, Leaf, aligned, leaves};
use crate::domain::event::{
    ArrayProgress, End, Envelope, Event, JobStatus, Start, SubtreeError, SubtreeResult,
    SubtreeRetry,
};
use crate::domain::evidence::Attributions;
use crate::domain::pointer::Pointer;
use crate::domain::time::Time;

/// Characters of what went wrong.
const MAX_MESSAGE: usize = 300;

/// Tells events one after the other: a line each, and below a result its values and their places.
pub struct Narrator<'a> {
    show: &'a mut Show,
    /// When the job was accepted.
    began: Option<Time>,
}

impl<'a> Narrator<'a> {
    pub fn new(show: &'a mut Show) -> Self {
        Self { show, began: None }
    }

    pub fn tell(&mut self, envelope: &Envelope) -> io::Result<()> {
        let began = *self.began.get_or_insert(envelope.at);
        let after = format!("{} ms", envelope.at.since(began));
        let (number, kind) = (envelope.sequence, envelope.event.kind().name());
        let kind = self.show.bold(&format!("{kind:<14}"));
        self.show_event(
            &envelope.event,
            &format!("{number:>4}  {after:>7}  {kind}  "),
        )
    }

    fn show_event(&mut self, event: &Event, head: &str) -> io::Result<()> {
        let show = &mut *self.show;
        match event {
            Event::Start(start) => {
                show.line(format_args!("{head}{}", started(start)))?;
                show.begin_bar(start.total_subtrees)?;
            }
            Event::JobStatus(change) => show.line(format_args!("{head}{}", moved(change)))?,
            Event::SubtreeResult(result) => {
                let (text, leaves) = found(result);
                let (below, refused) = (aligned(show, &leaves), refused(show, result));
                show.line(format_args!("{head}{text}{below}{refused}"))?;
                show.advance_bar();
            }
            Event::SubtreeError(error) => {
                show.line(format_args!("{head}{}", show.alarming(&failed(error))))?;
                show.advance_bar();
            }
            Event::SubtreeRetry(retry) => show.line(format_args!("{head}{}", tried(retry)))?,
            Event::ArrayProgress(array) => show.line(format_args!("{head}{}", read(array)))?,
            Event::End(end) => {
                show.end_bar();
                show.line(format_args!("{head}{}", ended(end)))?;
            }
        }
        Ok(())
    }
}

fn moved(change: &JobStatus) -> String {
    let reason = serde_json::to_value(change.reason).ok();
    let reason = reason.as_ref().and_then(Value::as_str).unwrap_or_default();
    format!("{} ({reason})", change.status.name())
}

fn started(start: &Start) -> String {
    let fields = count(start.total_fields, "field");
    let subtrees = count(start.total_subtrees, "subtree");
    format!("{fields} in {subtrees}, model {}", start.model)
}

fn failed(error: &SubtreeError) -> String {
    format!(
        "{}  {}: {}",
        at(&error.path),
        error.error_type.name(),
        tame(&error.error_message, MAX_MESSAGE)
    )
}

fn tried(retry: &SubtreeRetry) -> String {
    format!(
        "{}  attempt {} of {} failed ({}), again in {} ms",
        at(&retry.path),
        retry.attempt,
        retry.max_attempts,
        retry.error_type.name(),
        retry.retry_delay_ms
    )
}

fn read(array: &ArrayProgress) -> String {
    format!(
        "{}  {} so far, {} of {} read",
        at(&array.path),
        count(array.items_found, "row"),
        array.windows_done,
        count(array.windows_total, "window")
    )
}

fn ended(end: &End) -> String {
    let text = format!(
        "{}, {} of {} in {} ms",
        end.status.name(),
        end.subtrees_succeeded,
        count(end.total_subtrees, "subtree"),
        end.duration_ms
    );
    match (end.error_type, &end.error_message) {
        (Some(fault), Some(message)) => {
            format!("{text}; {}: {}", fault.name(), tame(message, MAX_MESSAGE))
        }
        _ => text,
    }
}

fn at(path: &Pointer) -> &str {
    if path.is_root() { "/" } else { path.as_str() }
}

fn found(result: &SubtreeResult) -> (String, Vec<Leaf>) {
    let value: Value = serde_json::from_str(result.extracted_result.get()).unwrap_or_default();
    let attributions: Attributions = result
        .attributions
        .as_ref()
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let leaves = leaves(&value, &result.path, &attributions);
    let known = leaves.iter().filter(|leaf| leaf.value.is_some()).count();
    let text = match &value {
        _ if result.oversize => "too large to show".to_owned(),
        Value::Array(items) if items.is_empty() => "no items".to_owned(),
        Value::Array(items) => {
            let items = count(items.len() as u64, "item");
            format!("{items}, {known} of {} values", leaves.len())
        }
        _ => format!("{known} of {} values", leaves.len()),
    };
    (format!("{}  {text}", at(&result.path)), leaves)
}

/// What the schema does not allow, each with a line feed before it.
fn refused(show: &Show, result: &SubtreeResult) -> String {
    let errors = result
        .validation
        .as_ref()
        .map_or(&[][..], |validation| &validation.errors);
    let lines = errors.iter().map(|error| {
        let text = format!(
            "not allowed at {}: {}",
            at(&error.path),
            tame(&error.message, MAX_MESSAGE)
        );
        format!("\n{:INDENT$}{}", "", show.alarming(&text))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Fault;

    #[test]
    fn a_retry_says_which_attempt_failed_and_when_the_next_one_is() {
        let retry = SubtreeRetry {
            subtree_id: "seller".into(),
            path: Pointer::root().join("seller"),
            record_index: None,
            record_id: None,
            attempt: 1,
            max_attempts: 3,
            error_message: "busy".into(),
            error_type: Fault::ProviderOverloaded,
            retry_delay_ms: 500,
            window: None,
        };
        assert_eq!(
            tried(&retry),
            "/seller  attempt 1 of 3 failed (provider_overloaded), again in 500 ms"
        );
    }
}
