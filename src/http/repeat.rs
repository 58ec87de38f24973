//! POSTs that come again: what they say about it, and what makes two of them the same.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::error::{Code, Error};
use crate::domain::id::IdempotencyKey;

const KEY: &str = "Idempotency-Key";
const REPLAY: HeaderName = HeaderName::from_static("x-idempotent-replay");

/// `Idempotency-Key`, at most one. A key names a request within its dialect.
pub fn key(request: &HttpRequest, dialect: Option<&str>) -> Result<Option<IdempotencyKey>, Error> {
    let mut given = request.headers().get_all(KEY);
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(Error::new(
            Code::InvalidRequest,
            "`Idempotency-Key` is there more than once. Send one.",
        ));
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let key = IdempotencyKey::parse(&text)?;
    Ok(Some(match dialect {
        Some(dialect) => key.within(dialect),
        None => key,
    }))
}

/// Says on an answer that the job was there before.
pub fn mark(response: &mut HttpResponse) {
    let headers = response.headers_mut();
    headers.insert(REPLAY, HeaderValue::from_static("true"));
}

/// SHA-256 of a body's members in canonical form: two bodies have the same when they ask for the
/// same in another order of members, or with and without a null where null counts as not given.
///
/// Takes the members that were given. Inside a schema a null is a value.
pub fn body_sha256(members: &Map<String, Value>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in sorted(members) {
        text(&mut hash, name);
        canonical(&mut hash, value, name == "config");
    }
    hash.finalize().into()
}

fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// Kinds and lengths stand before what they are of, so that no two values write the same bytes.
/// Goes no deeper than the parser that made the value.
fn canonical(hash: &mut Sha256, value: &Value, without_nulls: bool) {
    match value {
        Value::Object(members) => {
            let mut members = sorted(members);
            members.retain(|(_, value)| !(without_nulls && value.is_null()));
            hash.update(format!("{{{}:", members.len()));
            for (name, value) in members {
                text(hash, name);
                canonical(hash, value, without_nulls);
            }
        }
        Value::Array(items) => {
            hash.update(format!("[{}:", items.len()));
            for item in items {
                canonical(hash, item, without_nulls);
            }
        }
        Value::String(string) => text(hash, string),
        plain => hash.update(format!("{plain};")),
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update(format!("\"{}:", text.len()));
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> [u8; 32] {
        body_sha256(body.as_object().unwrap())
    }

    #[test]
    fn the_order_of_members_and_nulls_in_the_config_make_no_other_request() {
        let one = json!({
            "schema": {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}},
            "document": "x", "config": {"seed": 1, "splitter_configs": {"max_subtrees": 3}},
        });
        let same = json!({
            "config": {
                "model": null, "splitter_configs": {"max_fields_to_join": null, "max_subtrees": 3},
                "seed": 1,
            },
            "document": "x",
            "schema": {"properties": {"b": {}, "a": {"type": "string"}}, "type": "object"},
        });
        assert_eq!(of(&one), of(&same));
    }

    #[test]
    fn whatever_else_differs_makes_another_request() {
        let bodies = [
            json!({"document": "x", "schema": {"enum": ["a", "b"]}}),
            json!({"document": "x", "schema": {"enum": ["b", "a"]}}),
            json!({"document": "x", "schema": {"enum": ["a,b"]}}),
            json!({"document": "x", "schema": {"enum": [["a"], "b"]}}),
            json!({"document": "x", "schema": {"enum": ["a", "b"], "const": null}}),
            json!({"document": "x", "schema": {"enum": ["a", "b"], "const": "null"}}),
            json!({"document": "y", "schema": {"enum": ["a", "b"]}}),
            json!({"document_id": "x", "schema": {"enum": ["a", "b"]}}),
            json!({"document": "x", "schema": {"enum": ["a", "b"]}, "config": {"seed": 1}}),
            json!({"document": "x", "schema": {"enum": ["a", "b"]}, "config": {"seed": "1"}}),
            json!({"document": "x", "schema": {"enum": ["a", "b"]}, "config": {"seed": [1]}}),
        ];
        let hashes: std::collections::HashSet<_> = bodies.iter().map(of).collect();
        assert_eq!(hashes.len(), bodies.len());
    }
}
