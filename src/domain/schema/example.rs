//! A schema from one example of the wanted output.

use serde_json::{Value, json};

use super::infer::infer;
use crate::domain::error::{Code, Error};

/// The schema, draft 2020-12, of objects like the example, which stands at `pointer` of a request.
///
/// It is closed: an answer has the members of the example, all of them and no others. Each value
/// may be null, since not every record says everything; an example is no promise that it does.
pub fn of_example(pointer: &str, example: &Value) -> Result<Value, Error> {
    let members = example.as_object().map_or(0, serde_json::Map::len);
    if members == 0 {
        let message = "Expected a JSON object with at least one member: the wanted output, with example values.";
        return Err(
            Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}"))
                .at(pointer, message),
        );
    }
    let mut schema = infer(std::slice::from_ref(example));
    close(&mut schema);
    Ok(schema)
}

/// Closes the objects that have members, and lets plain values be null.
fn close(schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        return;
    };
    if keywords.contains_key("properties") {
        keywords.insert("additionalProperties".into(), json!(false));
    }
    for (name, part) in keywords.iter_mut() {
        match (name.as_str(), part) {
            ("properties", Value::Object(members)) => members.values_mut().for_each(close),
            ("items" | "additionalProperties", part) => close(part),
            _ => {}
        }
    }
    if let Some(kind) = keywords.get_mut("type") {
        nullable(kind);
    }
}

fn nullable(kind: &mut Value) {
    match kind {
        Value::String(one) if !matches!(one.as_str(), "object" | "array" | "null") => {
            *kind = json!([one, "null"]);
        }
        Value::Array(several) if several.iter().all(|one| one != "null") => {
            several.push(json!("null"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_becomes_a_closed_object_whose_values_may_be_null() {
        let example = json!({
            "name": "ACME", "total": 119.0, "paid": true, "due": "2026-03-31",
            "lines": [{"sku": "A", "quantity": 2}], "tags": [], "buyer": {"city": null},
        });
        let schema = of_example("/example_output", &example).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        let names: Vec<_> = example.as_object().unwrap().keys().collect();
        assert_eq!(schema["required"], json!(names));
        let properties = &schema["properties"];
        assert_eq!(properties["name"]["type"], json!(["string", "null"]));
        assert_eq!(properties["total"]["type"], json!(["number", "null"]));
        assert_eq!(properties["due"]["format"], "date");
        assert_eq!(properties["lines"]["type"], "array");
        let line = &properties["lines"]["items"];
        assert_eq!(line["additionalProperties"], false);
        assert_eq!(
            line["properties"]["quantity"]["type"],
            json!(["integer", "null"])
        );
        assert_eq!(properties["buyer"]["additionalProperties"], false);
        assert!(!schema.to_string().contains("ACME"), "no value is kept");
    }

    #[test]
    fn what_is_no_object_with_members_is_refused() {
        for bad in [json!({}), json!([]), json!("{}"), json!(null), json!(7)] {
            let error = of_example("/example_output", &bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
            assert_eq!(error.errors[0].pointer, "/example_output");
        }
    }
}
