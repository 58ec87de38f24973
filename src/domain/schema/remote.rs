//! References that leave the schema: what they lead to is looked up by somebody else, taken in, or
//! refused.

use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Retrieve, Uri};
use referencing::Registry;
use serde_json::{Value, json};

use super::local::{FreeNames, is_old};
use super::{
    DRAFTS, MAX_DEPTH, MAX_ERRORS, Survey, draft_of, invalid, is_data, is_reference, shorten,
};
use crate::domain::error::{Detail, Error};

/// Schemas taken in from elsewhere.
pub const MAX_TAKEN_IN: usize = 50;

/// Addresses that something outside the schema would be fetched from. Nothing is.
#[derive(Clone, Default)]
struct Wanted(Arc<Mutex<Vec<String>>>);

impl Retrieve for Wanted {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.push(uri.as_str().to_owned());
        Ok(json!({}))
    }
}

/// The absolute addresses that a schema refers to and that are neither in it nor known to
/// everybody; each once. Nothing is fetched.
pub fn wanted(schema: &Value) -> Vec<String> {
    if !leaves(schema, 0) {
        return Vec::new();
    }
    let (mut found, _) =
        draft_of(schema).map_or_else(|_| Default::default(), |draft| looked_for(schema, draft));
    found.retain(|address| !address.starts_with(NOWHERE));
    found.sort();
    found.dedup();
    found
}

/// The schema with others in it, each by the address that it is wanted under.
///
/// Refused where one is written in another dialect: it would mean something else in here.
pub fn take_in(mut schema: Value, others: Vec<(String, Value)>) -> Result<Value, Error> {
    let draft = draft_of(&schema)?;
    let place = if is_old(draft) {
        "definitions"
    } else {
        "$defs"
    };
    let id = if draft == Draft::Draft4 { "id" } else { "$id" };
    let Value::Object(members) = &mut schema else {
        return Ok(schema);
    };
    let definitions = members.entry(place).or_insert_with(|| json!({}));
    let Value::Object(definitions) = definitions else {
        return Ok(schema);
    };
    let mut free = FreeNames::default();
    for (address, mut other) in others {
        if draft_of(&other)? != draft {
            let message = format!(
                "`{}` is a stored schema of another dialect than this one. Give both the same `$schema`.",
                shorten(&address, 200)
            );
            return Err(invalid(vec![Detail {
                pointer: String::new(),
                message,
            }]));
        }
        if let Value::Object(members) = &mut other {
            members.shift_remove("$schema");
            members.insert(id.into(), address.as_str().into());
        }
        let mut name = free.after(&address);
        while definitions.contains_key(&name) {
            name = free.after(&address);
        }
        definitions.insert(name, other);
    }
    Ok(schema)
}

/// The address that a schema is found under; none where it has no name of its own.
pub fn address(schema: &Value) -> Option<&str> {
    let name = schema.get("$id").or_else(|| schema.get("id"))?.as_str()?;
    let name = name.strip_suffix('#').unwrap_or(name);
    (!name.is_empty() && !name.contains('#')).then_some(name)
}

/// Whether any reference names a document.
fn leaves(node: &Value, depth: usize) -> bool {
    match node {
        _ if depth > MAX_DEPTH => false,
        Value::Object(members) => members.iter().any(|(key, value)| match value {
            Value::String(reference) => is_reference(key) && names_document(reference),
            value => !is_data(key) && leaves(value, depth + 1),
        }),
        Value::Array(items) => items.iter().any(|item| leaves(item, depth + 1)),
        _ => false,
    }
}

fn names_document(reference: &str) -> bool {
    let base = document_of(reference);
    !base.is_empty() && !DRAFTS.iter().any(|(known, _)| *known == base)
}

/// The addresses that would be fetched from, and what is wrong with the references.
fn looked_for(schema: &Value, draft: Draft) -> (Vec<String>, Option<String>) {
    let wanted = Wanted::default();
    let registry = Registry::new().draft(draft).retriever(wanted.clone());
    let prepared = registry
        .add(NOWHERE, schema)
        .and_then(referencing::RegistryBuilder::prepare);
    let found = std::mem::take(&mut *wanted.0.lock().unwrap_or_else(PoisonError::into_inner));
    (found, prepared.err().map(|error| error.to_string()))
}

/// Refuses references to what is neither in this schema nor a meta-schema, each with the address
/// that it comes to.
pub(super) fn refuse(schema: &Value, draft: Draft, survey: &Survey) -> Result<(), Error> {
    let leading: Vec<_> = survey
        .references
        .iter()
        .filter(|(_, reference)| names_document(reference))
        .collect();
    if leading.is_empty() {
        return Ok(());
    }
    let (found, fault) = looked_for(schema, draft);
    let mut errors = Vec::new();
    for address in found.iter().take(MAX_ERRORS) {
        let told = leading
            .iter()
            .filter(|(_, reference)| comes_to(reference, address))
            .map(|(at, reference)| detail(at.as_str(), reference, address));
        errors.extend(told.take(MAX_ERRORS - errors.len().min(MAX_ERRORS)));
    }
    if errors.is_empty()
        && let Some(address) = found.first()
    {
        errors.push(detail("", address, address));
    }
    if errors.is_empty()
        && let Some(fault) = fault
    {
        errors.push(Detail {
            pointer: String::new(),
            message: shorten(&fault, 500),
        });
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(errors))
    }
}

/// The address of a schema that has none.
const NOWHERE: &str = "json-schema:///";

/// A reference without its fragment.
fn document_of(reference: &str) -> &str {
    reference.split('#').next().unwrap_or_default()
}

fn comes_to(reference: &str, address: &str) -> bool {
    let mut end = document_of(reference);
    while let Some(rest) = end.strip_prefix("./").or_else(|| end.strip_prefix("../")) {
        end = rest;
    }
    !end.is_empty() && address.ends_with(end)
}

fn detail(at: &str, reference: &str, address: &str) -> Detail {
    let reference = shorten(reference, 200);
    let address = shorten(address.strip_prefix(NOWHERE).unwrap_or(address), 200);
    let is_same = reference.starts_with(&address);
    let means = if is_same {
        String::new()
    } else {
        format!(" (`{address}`)")
    };
    Detail {
        pointer: at.to_owned(),
        message: format!(
            "`{reference}`{means} lies outside the schema and is not fetched. Put it under `$defs` and refer to it there, or store it with that `$id` at POST /v1/extract/schemas."
        ),
    }
}
