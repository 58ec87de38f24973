//! Records of a batch: a job over many of them, each of which settles alone.

mod text;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::DocumentId;
pub use text::text;

/// Records of one job that come from a file.
pub const MAX_RECORDS: u64 = 100_000;
/// Records that come with the request.
pub const MAX_INPUTS: usize = 1_000;
/// Outcomes of one job: records times the subtrees of each.
pub const MAX_OUTCOMES: u64 = 1_000_000;
/// Characters of a record's id.
pub const MAX_ID: usize = 200;

/// One record, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordInput {
    /// The client's own name for it, at most [`MAX_ID`] characters; need not be unique.
    pub id: Option<String>,
    pub source: RecordSource,
}

/// What is extracted from.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordSource {
    /// Any JSON: a document is made of it, see [`text()`].
    Data(Value),
    /// The words of a document.
    Text(String),
    /// An uploaded document.
    Document(DocumentId),
}

impl RecordInput {
    /// A record of data, as most are.
    pub fn data(id: Option<String>, data: Value) -> Self {
        let source = RecordSource::Data(data);
        Self { id, source }
    }

    /// Reads a line of a file. An object that has one of `data`, `text` and `document_id`, and
    /// beside it no more than an `id`, is a record in that form; all other JSON is the data itself.
    ///
    /// The error is a sentence about what is wrong.
    pub fn of_line(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(members) if is_formed(&members) => Self::of_members(members),
            data => Ok(Self::data(None, data)),
        }
    }

    /// Reads a record whose members are known to be those of a record.
    ///
    /// The error is a sentence about what is wrong.
    pub fn of_members(mut members: Map<String, Value>) -> Result<Self, String> {
        members.retain(|name, value| name == "data" || !value.is_null());
        if let Some(other) = members
            .keys()
            .find(|name| !MEMBERS.contains(&name.as_str()))
        {
            let shown: String = other.chars().take(80).collect();
            return Err(format!(
                "`{shown}` is no member of a record. Members are: {}.",
                MEMBERS.join(", ")
            ));
        }
        let id = match members.shift_remove("id") {
            None => None,
            Some(Value::String(id)) if id.chars().count() <= MAX_ID => Some(id),
            Some(_) => {
                return Err(format!(
                    "The `id` of a record is text of at most {MAX_ID} characters."
                ));
            }
        };
        if members.len() != 1 {
            return Err("A record has exactly one of `data`, `text` and `document_id`.".into());
        }
        let source = match members.into_iter().next() {
            Some((name, Value::String(text))) if name == "text" => RecordSource::Text(text),
            Some((name, Value::String(id))) if name == "document_id" => {
                RecordSource::Document(DocumentId::parse(&id).map_err(|error| error.detail)?)
            }
            Some((name, data)) if name == "data" => RecordSource::Data(data),
            _ => return Err("`text` and `document_id` of a record are text.".into()),
        };
        Ok(Self { id, source })
    }

    /// The record as [`Self::of_line`] reads it.
    pub fn to_line(&self) -> Value {
        let mut members = Map::new();
        if let Some(id) = &self.id {
            members.insert("id".into(), Value::String(id.clone()));
        }
        let (name, value) = match &self.source {
            RecordSource::Data(data) => ("data", data.clone()),
            RecordSource::Text(text) => ("text", Value::String(text.clone())),
            RecordSource::Document(id) => ("document_id", Value::String(id.to_string())),
        };
        members.insert(name.into(), value);
        Value::Object(members)
    }
}

const MEMBERS: [&str; 4] = ["id", "data", "text", "document_id"];

fn is_formed(members: &Map<String, Value>) -> bool {
    let has = |name: &&str| members.contains_key(*name);
    let sources = MEMBERS[1..].iter().filter(|name| has(name)).count();
    sources == 1 && members.len() == 1 + usize::from(members.contains_key("id"))
}

/// The records of a job, as they are kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub records: u64,
    /// Bytes of the lines that they are kept in.
    pub bytes: u64,
    /// Subtrees of each.
    pub subtrees: u32,
    /// They came as a file: so does what is made of them.
    pub is_file: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// All of it is there.
    Succeeded,
    /// Some subtrees failed, or an array is known to lack rows.
    Partial,
    Failed,
}

/// Which record an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMark {
    /// Among the records of the job, from 0.
    pub index: u64,
    pub id: Option<String>,
    /// Set with the outcome that is the last one of the record.
    pub end: Option<RecordStatus>,
}

/// How many records have come to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTally {
    pub total: u64,
    pub succeeded: u64,
    pub partial: u64,
    pub failed: u64,
}

impl RecordTally {
    pub fn of(total: u64) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// Records that have come to an end.
    pub fn done(&self) -> u64 {
        self.succeeded + self.partial + self.failed
    }

    pub fn count(&mut self, status: RecordStatus) {
        match status {
            RecordStatus::Succeeded => self.succeeded += 1,
            RecordStatus::Partial => self.partial += 1,
            RecordStatus::Failed => self.failed += 1,
        }
    }

    /// What is not whole is asked for once more.
    pub fn reopen(&mut self) {
        (self.partial, self.failed) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_a_record_in_form_or_data_as_it_is() {
        let read = |line: Value| RecordInput::of_line(line).unwrap();
        let plain = json!({"id": "a", "data": {"x": 1}, "more": 2});
        assert_eq!(read(plain.clone()), RecordInput::data(None, plain));
        assert_eq!(read(json!([1])), RecordInput::data(None, json!([1])));
        assert_eq!(
            read(json!({"id": "a", "data": null})),
            RecordInput::data(Some("a".into()), json!(null))
        );
        let text = read(json!({"text": "Total: 7"}));
        assert_eq!(text.source, RecordSource::Text("Total: 7".into()));
    }

    #[test]
    fn a_record_reads_back_from_the_line_that_is_made_of_it() {
        let document = DocumentId(uuid::Uuid::from_u128(7));
        for record in [
            RecordInput::data(Some("a".into()), json!({"data": 1})),
            RecordInput::data(None, json!({"id": "b", "text": "c"})),
            RecordInput {
                id: None,
                source: RecordSource::Document(document),
            },
        ] {
            assert_eq!(RecordInput::of_line(record.to_line()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_what_is_wrong() {
        for (line, wrong) in [
            (json!({"id": 7, "data": 1}), "`id`"),
            (json!({"document_id": "7"}), "`7` is not a document id"),
            (json!({"text": 7}), "`text`"),
            (json!({"id": "x".repeat(201), "data": 1}), "200"),
        ] {
            let error = RecordInput::of_line(line).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
