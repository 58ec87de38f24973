//! Events in words.

use std::io;

use serde_json::Value;

use super::plan::count;
use super::show::{Show, tame};
use crate::domain::document::Bbox;
use crate::domain::event::{
    End, Envelope, Event, JobStatus, Start, SubtreeError, SubtreeResult, SubtreeRetry,
};
use crate::domain::evidence::{Attributions, Quote};
use crate::domain::pointer::Pointer;
use crate::domain::time::Time;

/// Values of one subtree that are shown.
const MAX_LEAVES: usize = 60;
/// Columns before a value.
const INDENT: usize = 8;
/// Characters of a name, a value and a quote.
const MAX_NAME: usize = 32;
const MAX_VALUE: usize = 36;
const MAX_QUOTE: usize = 60;
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

/// A primitive inside a result.
struct Leaf {
    name: String,
    /// `None` where the document has nothing.
    value: Option<String>,
    place: String,
}

fn found(result: &SubtreeResult) -> (String, Vec<Leaf>) {
    let value: Value = serde_json::from_str(result.extracted_result.get()).unwrap_or_default();
    let attributions: Attributions = result
        .attributions
        .as_ref()
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let mut leaves = Vec::new();
    gather(
        &value,
        &Pointer::root(),
        &result.path,
        &attributions,
        &mut leaves,
    );
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

fn gather(
    value: &Value,
    inside: &Pointer,
    base: &Pointer,
    attributions: &Attributions,
    leaves: &mut Vec<Leaf>,
) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                gather(member, &inside.join(name), base, attributions, leaves);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                gather(item, &inside.index(index), base, attributions, leaves);
            }
        }
        _ => {
            let attribution = attributions.get(base.concat(inside).as_str());
            let quotes = attribution.map_or(&[][..], |attribution| &attribution.quotes);
            leaves.push(Leaf {
                name: tame(inside.as_str().trim_start_matches('/'), MAX_NAME),
                value: (!value.is_null()).then(|| tame(&value.to_string(), MAX_VALUE)),
                place: if value.is_null() {
                    "not found".to_owned()
                } else {
                    place(quotes)
                },
            });
        }
    }
}

/// Where a value stands: `page 1, top left, 'Invoice 7'`.
fn place(quotes: &[Quote]) -> String {
    let Some(quote) = quotes.first() else {
        return "no place known".to_owned();
    };
    let page = quote
        .page
        .map(|page| format!("page {page}, "))
        .unwrap_or_default();
    let corner = quote
        .bbox
        .map(|bbox| format!("{}, ", corner(bbox)))
        .unwrap_or_default();
    let doubt = if quote.verified { "" } else { ", not verified" };
    let more = match quotes.len() {
        1 => String::new(),
        number => format!(" and {} more", number - 1),
    };
    format!(
        "{page}{corner}'{}'{more}{doubt}",
        tame(&quote.text, MAX_QUOTE)
    )
}

/// The ninth of the page that the middle of a box lies in.
fn corner(bbox: Bbox) -> &'static str {
    const NAMES: [[&str; 3]; 3] = [
        ["top left", "top", "top right"],
        ["left", "middle", "right"],
        ["bottom left", "bottom", "bottom right"],
    ];
    let third = |low: f32, high: f32| (((low + high) * 1.5) as usize).min(2);
    NAMES[third(bbox[1], bbox[3])][third(bbox[0], bbox[2])]
}

/// Lines of names, values and places, each with a line feed before it.
fn aligned(show: &Show, leaves: &[Leaf]) -> String {
    let shown = &leaves[..leaves.len().min(MAX_LEAVES)];
    let widest = |width: fn(&Leaf) -> usize| shown.iter().map(width).max().unwrap_or(0);
    let names = widest(|leaf| leaf.name.chars().count());
    let values = widest(|leaf| leaf.value.as_ref().map_or(1, |value| value.chars().count()));
    let mut lines: Vec<_> = shown
        .iter()
        .map(|leaf| {
            let value = leaf.value.as_deref().unwrap_or("-");
            let place = show.faint(&leaf.place);
            format!(
                "\n{:INDENT$}{:names$}  {value:values$}  {place}",
                "", leaf.name
            )
        })
        .collect();
    let hidden = leaves.len() - shown.len();
    if hidden > 0 {
        lines.push(format!("\n{:INDENT$}and {hidden} more", ""));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Match;

    fn quote(bbox: Option<Bbox>, verified: bool) -> Quote {
        Quote {
            text: "Total  due".into(),
            page: Some(2),
            bbox,
            start: None,
            end: None,
            verified,
            matched: Match::Exact,
        }
    }

    #[test]
    fn a_place_names_page_corner_and_quote() {
        let bbox = Some([0.7, 0.9, 0.9, 0.95]);
        assert_eq!(
            place(&[quote(bbox, true)]),
            "page 2, bottom right, 'Total due'"
        );
        assert_eq!(
            place(&[quote(None, false), quote(None, true)]),
            "page 2, 'Total due' and 1 more, not verified"
        );
        assert_eq!(place(&[]), "no place known");
    }

    #[test]
    fn the_edges_of_a_page_belong_to_it() {
        assert_eq!(corner([0.0, 0.0, 0.0, 0.0]), "top left");
        assert_eq!(corner([1.0, 1.0, 1.0, 1.0]), "bottom right");
        assert_eq!(corner([0.4, 0.4, 0.6, 0.6]), "middle");
    }
}
