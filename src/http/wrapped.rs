//! The wrapped view of a result: each primitive becomes what is known of it.

use serde_json::{Map, Value, json};

use crate::domain::evidence::{Attribution, Attributions};
use crate::domain::pointer::Pointer;

/// `results` with every primitive replaced by
/// `{extracted_value, reasoning, confidence, location}`; `location` is the first quote.
pub fn wrap(value: &Value, attributions: &Attributions) -> Value {
    at(value, &Pointer::root(), attributions)
}

fn at(value: &Value, place: &Pointer, attributions: &Attributions) -> Value {
    match value {
        Value::Object(members) => {
            let wrapped = members
                .iter()
                .map(|(key, value)| (key.clone(), at(value, &place.join(key), attributions)));
            Value::Object(wrapped.collect::<Map<_, _>>())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| at(item, &place.index(index), attributions))
            .collect(),
        primitive => leaf(primitive, attributions.get(place.as_str())),
    }
}

fn leaf(value: &Value, attribution: Option<&Attribution>) -> Value {
    json!({
        "extracted_value": value,
        "reasoning": attribution.and_then(|a| a.reasoning.as_ref()),
        "confidence": attribution.and_then(|a| a.confidence),
        "location": attribution.and_then(|a| a.quotes.first()),
    })
}
