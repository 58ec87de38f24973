//! What the commands that need no server are given: a document, a schema, an engine's settings.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::scratch::Scratch;
use crate::engine::DocumentSource;
use crate::settings::Sources;

/// The settings of an engine that lives as long as the command and keeps nothing.
pub fn embedded_sources(scratch: &Scratch) -> Sources {
    Sources::environment()
        .by_default("log", "warn,actix_server=off")
        .with("bind", "127.0.0.1:0")
        .with("store", "")
        .with("blobs", "")
        .with("data", scratch.path().display())
}

/// The bytes of a file or of stdin. No more is read than may be used.
pub fn read_document(path: &Path, limit: u64) -> Result<DocumentSource, Failure> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let unusable = |what: String| {
        Failure::of(
            Exit::Unusable,
            format!("The document `{}` {what}", path.display()),
        )
    };
    let mut bytes = Vec::new();
    let from: io::Result<Box<dyn Read>> = if path == Path::new("-") {
        Ok(Box::new(io::stdin().lock()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    from.and_then(|from| from.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|cause| unusable(format!("cannot be read: {cause}")))?;
    if bytes.len() as u64 > limit {
        return Err(unusable(format!(
            "has more than {limit} bytes, the limit. Set RIVULET_MAX_DOCUMENT_BYTES to raise it."
        )));
    }
    Ok(DocumentSource::Inline {
        name,
        bytes: Bytes::from(bytes),
    })
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

/// Says where a schema can be used that failed for references to schemas that a server has.
pub fn elsewhere(wanted: &[String], failure: Failure, route: &str) -> Failure {
    let Some(address) = wanted.first() else {
        return failure;
    };
    Failure {
        message: format!(
            "{} This command knows no stored schemas and looks into no data folder: send the schema to {route} of the server that has `{address}`.",
            failure.message
        ),
        ..failure
    }
}
