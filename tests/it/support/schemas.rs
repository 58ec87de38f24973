//! The published schemas, closed: an answer or event with a member that no schema names fails.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let mut definitions = Map::new();
    for (folder, prefix) in [
        ("api", ""),
        ("events", ""),
        ("dialects/extraction_jobs", "extraction_jobs_"),
        ("dialects/structflow", "structflow_"),
        ("dialects/retab", "retab_"),
        ("dialects/parseflow", "parseflow_"),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas")
            .join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path.file_stem().unwrap().to_string_lossy();
            let name = format!("{prefix}{name}");
            let mut schema: Value =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let members = schema.as_object_mut().unwrap();
            members.shift_remove("$id");
            members.shift_remove("$schema");
            localize(&mut schema);
            // Closed at the top only: a member that the schema does not evaluate is a surprise.
            if schema.get("properties").is_some() {
                schema["unevaluatedProperties"] = json!(false);
            }
            definitions.insert(name, schema);
        }
    }
    definitions
        .keys()
        .map(|name| {
            let root = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": format!("#/$defs/{name}"),
                "$defs": definitions,
            });
            (
                name.clone(),
                jsonschema::options().offline().build(&root).unwrap(),
            )
        })
        .collect()
});

fn localize(node: &mut Value) {
    match node {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        let (file, rest) = reference.split_once(".json").unwrap();
                        let name = file.rsplit('/').next().unwrap();
                        *reference = format!("#/$defs/{name}{}", rest.trim_start_matches('#'));
                    }
                    other => localize(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(localize),
        _ => {}
    }
}

/// Asserts that `value` is of the published schema `name`.
pub fn check(name: &str, value: &Value) {
    let validator = VALIDATORS
        .get(name)
        .unwrap_or_else(|| panic!("no schema `{name}`"));
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("at `{}`: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "not a `{name}`:\n{}\n{value:#}",
        errors.join("\n")
    );
}
