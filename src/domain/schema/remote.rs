//! References that leave the schema.

use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Retrieve, Uri};
use referencing::Registry;
use serde_json::{Value, json};

use super::{DRAFTS, MAX_ERRORS, Survey, invalid, shorten};
use crate::domain::error::{Detail, Error};

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

/// Refuses references to what is neither in this schema nor a meta-schema, each with the address
/// that it comes to.
pub(super) fn refuse(schema: &Value, draft: Draft, survey: &Survey) -> Result<(), Error> {
    let names_document = |reference: &str| {
        let base = document_of(reference);
        !base.is_empty() && !DRAFTS.iter().any(|(known, _)| *known == base)
    };
    let leading: Vec<_> = survey
        .references
        .iter()
        .filter(|(_, reference)| names_document(reference))
        .collect();
    if leading.is_empty() {
        return Ok(());
    }
    let wanted = Wanted::default();
    let registry = Registry::new().draft(draft).retriever(wanted.clone());
    let prepared = registry
        .add("json-schema:///", schema)
        .and_then(referencing::RegistryBuilder::prepare);
    let found = std::mem::take(&mut *wanted.0.lock().unwrap_or_else(PoisonError::into_inner));
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
        && let Err(error) = prepared
    {
        errors.push(Detail {
            pointer: String::new(),
            message: shorten(&error.to_string(), 500),
        });
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(errors))
    }
}

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
    let address = shorten(
        address.strip_prefix("json-schema:///").unwrap_or(address),
        200,
    );
    let is_same = reference.starts_with(&address);
    let means = if is_same {
        String::new()
    } else {
        format!(" (`{address}`)")
    };
    Detail {
        pointer: at.to_owned(),
        message: format!(
            "`{reference}`{means} lies outside the schema and is not fetched. Put it under `$defs` and refer to it there."
        ),
    }
}
