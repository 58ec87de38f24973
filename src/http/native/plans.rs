//! Plans: what a job would do, and what it would come to.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::jobs::{inline_document, one_of, text};
use super::{in_member, refuse_others, wrong};
use crate::domain::error::Error;
use crate::domain::id::{DocumentId, SchemaId};
use crate::engine::{DocumentSource, Engine, PlanRequest, SchemaSource};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::{body, on, resource};

/// Room beside an inline document, bytes: the schema and the config.
const BESIDE_DOCUMENT: usize = 2 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/plans", [on(Method::POST, explain)]));
}

const MEMBERS: [&str; 5] = ["document_id", "document", "schema_id", "schema", "config"];

impl TryFrom<Value> for PlanRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        members.retain(|_, value| !value.is_null());
        refuse_others(&members, &MEMBERS)?;
        let mut take = |name: &str| members.shift_remove(name);
        let document = match (take("document_id"), take("document")) {
            (None, None) => None,
            (Some(id), None) => Some(DocumentSource::Stored(DocumentId::parse(text(
                "/document_id",
                &id,
            )?)?)),
            (None, Some(document)) => Some(inline_document(text("/document", &document)?)?),
            (Some(_), Some(_)) => return Err(one_of("document_id", "document")),
        };
        let schema = match (take("schema_id"), take("schema")) {
            (Some(id), None) => SchemaSource::Stored(SchemaId::parse(text("/schema_id", &id)?)?),
            (None, Some(schema)) => SchemaSource::Inline(schema),
            _ => return Err(one_of("schema_id", "schema")),
        };
        Ok(Self {
            document,
            schema,
            config: take("config"),
        })
    }
}

async fn explain(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    // Base64 takes four bytes for three.
    let limit = engine.max_document_bytes() as usize / 3 * 4 + BESIDE_DOCUMENT;
    let body = body::json(&request, payload, limit).await?;
    let read = web::block(move || PlanRequest::try_from(body)).await;
    let asked = read.unwrap_or_else(|_| Err(Error::internal()))?;
    let is_inline = matches!(asked.schema, SchemaSource::Inline(_));
    let explained = engine.explain(&caller.0, asked).await.map_err(|error| {
        if is_inline {
            in_member(error, "schema")
        } else {
            error
        }
    })?;
    Ok(HttpResponse::Ok().json(explained))
}
