//! The output of a batch as a file: a line for each record, in the order in which they were sent.

use serde_json::{Map, Value, json};

use super::results::RecordResult;
use crate::domain::record::RecordStatus;

/// The member of a line that says that its record is not whole.
const ERROR: &str = "$error";

impl RecordResult {
    /// The record as a line of the output, without its end: the value; or, of a record that is not
    /// whole, an object whose only member is `$error`, with what there is of the value as
    /// `partial`.
    ///
    /// No value is taken for that: of one that has a top-level member of this name, or of this name
    /// with further `$` before it, the name gets one more.
    pub fn to_line(&self) -> Value {
        if self.status == RecordStatus::Succeeded {
            return self.value.clone().map_or(Value::Null, escaped);
        }
        let (code, message) = match &self.error {
            Some((fault, message)) => (fault.name(), message.as_str()),
            None => ("internal", ""),
        };
        let mut told = json!({ "code": code, "message": message });
        if let Some(value) = &self.value {
            told["partial"] = value.clone();
        }
        json!({ ERROR: told })
    }
}

fn escaped(value: Value) -> Value {
    match value {
        Value::Object(members) if members.keys().any(|name| is_taken(name)) => {
            let members = members.into_iter().map(|(name, value)| {
                let name = if is_taken(&name) {
                    format!("${name}")
                } else {
                    name
                };
                (name, value)
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn is_taken(name: &str) -> bool {
    name.ends_with(ERROR) && name.trim_start_matches('$') == "error"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Fault;

    fn record(status: RecordStatus, value: Option<Value>) -> RecordResult {
        RecordResult {
            index: 0,
            id: None,
            status,
            value,
            attributions: None,
            failed: Vec::new(),
            arrays: Vec::new(),
            validation: None,
            error: Some((Fault::Timeout, "late".into())),
        }
    }

    #[test]
    fn a_value_is_its_line_and_a_failure_says_why() {
        let whole = record(RecordStatus::Succeeded, Some(json!({"a": {"$error": 1}})));
        assert_eq!(whole.to_line(), json!({"a": {"$error": 1}}));
        let failed = record(RecordStatus::Failed, None).to_line();
        assert_eq!(
            failed,
            json!({"$error": {"code": "timeout", "message": "late"}})
        );
        let partial = record(RecordStatus::Partial, Some(json!({"a": 1}))).to_line();
        assert_eq!(
            partial,
            json!({"$error": {"code": "timeout", "message": "late", "partial": {"a": 1}}})
        );
    }

    #[test]
    fn no_value_is_taken_for_a_failure_and_none_for_another() {
        let line = |value: Value| record(RecordStatus::Succeeded, Some(value)).to_line();
        assert_eq!(
            line(json!({"$error": {"code": "timeout"}, "$$error": 2, "error": 3, "a$error": 4})),
            json!({"$$error": {"code": "timeout"}, "$$$error": 2, "error": 3, "a$error": 4})
        );
        assert_eq!(line(json!(["$error"])), json!(["$error"]));
    }
}
