//! Schemas: save, list, look at, replace, delete, check.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DeletedBody, in_member, list_body, refuse_others, wrong};
use crate::domain::error::{Code, Detail, Error};
use crate::domain::event::{BASE, PlannedSubtree};
use crate::domain::id::SchemaId;
use crate::domain::plan::Plan;
use crate::domain::plan::SplitterConfigs;
use crate::domain::schema::{self, advice::advise};
use crate::domain::time::Time;
use crate::engine::ports::StoredSchema;
use crate::engine::{Engine, SchemaDraft};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, resource};

/// Bytes of a body that carries a schema: the schema's own limit and room for the rest.
const MAX_BODY: usize = 2 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/schemas",
            [on(Method::POST, create), on(Method::GET, list)],
        ))
        .service(resource("/schemas/validate", [on(Method::POST, validate)]))
        .service(resource("/schemas/infer", [on(Method::POST, infer)]))
        .service(resource(
            "/schemas/{id}",
            [
                on(Method::GET, show),
                on(Method::PUT, update),
                on(Method::DELETE, delete),
            ],
        ));
}

const MEMBERS: [&str; 4] = ["name", "description", "schema_definition", "metadata"];

/// The members of a create or update body that were sent.
struct SchemaRequest {
    name: Option<String>,
    /// Null is a value here: it takes the description away.
    description: Option<Value>,
    definition: Option<Value>,
    metadata: Option<Value>,
}

impl TryFrom<Value> for SchemaRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let Value::Object(mut members) = body else {
            return Err(wrong("", "The body must be an object."));
        };
        let request = Self {
            name: take_text(&mut members, "name")?,
            description: match members.shift_remove("description") {
                Some(value) if !(value.is_null() || value.is_string()) => {
                    return Err(wrong("/description", "Expected text or null."));
                }
                sent => sent,
            },
            definition: members.shift_remove("schema_definition"),
            metadata: members
                .shift_remove("metadata")
                .filter(|value| !value.is_null()),
        };
        refuse_others(&members, &MEMBERS)?;
        Ok(request)
    }
}

impl SchemaRequest {
    fn create(self) -> Result<SchemaDraft, Error> {
        Ok(SchemaDraft {
            name: self
                .name
                .ok_or_else(|| wrong("/name", "A schema needs a name."))?,
            description: self
                .description
                .as_ref()
                .and_then(Value::as_str)
                .map(str::to_owned),
            definition: self
                .definition
                .ok_or_else(|| wrong("/schema_definition", "The JSON Schema is missing."))?,
            metadata: self.metadata.unwrap_or_else(|| json!({})),
        })
    }

    /// What was not sent stays as it is.
    fn update(self, before: StoredSchema) -> SchemaDraft {
        SchemaDraft {
            name: self.name.unwrap_or(before.name),
            description: match self.description {
                Some(sent) => sent.as_str().map(str::to_owned),
                None => before.description,
            },
            definition: self.definition.unwrap_or(before.definition),
            metadata: self.metadata.unwrap_or(before.metadata),
        }
    }
}

#[derive(Serialize)]
struct SchemaBody {
    schema_id: SchemaId,
    name: String,
    description: Option<String>,
    schema_definition: Value,
    metadata: Value,
    created_at: Time,
    updated_at: Time,
}

impl From<&StoredSchema> for SchemaBody {
    fn from(schema: &StoredSchema) -> Self {
        Self {
            schema_id: schema.id,
            name: schema.name.clone(),
            description: schema.description.clone(),
            schema_definition: schema.definition.clone(),
            metadata: schema.metadata.clone(),
            created_at: schema.created_at,
            updated_at: schema.updated_at,
        }
    }
}

#[derive(Serialize)]
struct PlanBody {
    subtrees: Vec<PlannedSubtree>,
    total_subtrees: usize,
    total_fields: u32,
}

impl From<&Plan> for PlanBody {
    fn from(plan: &Plan) -> Self {
        Self {
            subtrees: plan
                .subtrees
                .iter()
                .map(|subtree| subtree.as_ref().into())
                .collect(),
            total_subtrees: plan.subtrees.len(),
            total_fields: plan.total_fields(),
        }
    }
}

async fn create(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let draft = SchemaRequest::try_from(body)?.create()?;
    let schema = engine
        .create_schema(&caller.0, draft)
        .await
        .map_err(|error| in_member(error, "schema_definition"))?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("{BASE}/schemas/{}", schema.id)))
        .json(SchemaBody::from(&schema)))
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.list()?;
    let page = engine.schemas(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("schemas", &page, SchemaBody::from)))
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let schema = engine.schema(&caller.0, SchemaId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(SchemaBody::from(&schema)))
}

async fn update(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = SchemaId::parse(&id)?;
    let body = body::json(&request, payload, MAX_BODY).await?;
    let before = engine.schema(&caller.0, id).await?;
    let draft = SchemaRequest::try_from(body)?.update(before);
    let schema = engine
        .update_schema(&caller.0, id, draft)
        .await
        .map_err(|error| in_member(error, "schema_definition"))?;
    Ok(HttpResponse::Ok().json(SchemaBody::from(&schema)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = SchemaId::parse(&id)?;
    engine.delete_schema(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}

/// What is wrong with a schema, or the plan when nothing is. A schema that cannot be used is a
/// good answer to this question, not an error.
async fn validate(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let Value::Object(mut members) = body else {
        return Err(wrong("", "The body must be an object.").into());
    };
    let definition = members
        .shift_remove("schema_definition")
        .ok_or_else(|| wrong("/schema_definition", "The JSON Schema is missing."))?;
    refuse_others(&members, &["schema_definition"])?;
    let planned = match engine.embed(&caller.0, definition.clone()).await {
        Ok(whole) => engine.plan(&whole, SplitterConfigs::default()).await,
        Err(error) => Err(error),
    };
    let body = match planned {
        Ok(plan) => {
            let advised = advise(&definition);
            json!({
                "valid": true,
                "errors": [],
                "plan": PlanBody::from(plan.as_ref()),
                "warnings": advised.shown,
                "total_warnings": advised.total,
            })
        }
        Err(error) if matches!(error.code, Code::InvalidSchema | Code::SchemaTooComplex) => {
            let errors = if error.errors.is_empty() {
                vec![Detail {
                    pointer: String::new(),
                    message: error.detail,
                }]
            } else {
                error.errors
            };
            json!({
                "valid": false,
                "errors": errors,
                "plan": null,
                "warnings": [],
                "total_warnings": 0,
            })
        }
        Err(error) => return Err(error.into()),
    };
    Ok(HttpResponse::Ok().json(body))
}

/// The schema of values like those that were sent.
async fn infer(
    engine: web::Data<Engine>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let Value::Object(mut members) = body else {
        return Err(wrong("", "The body must be an object.").into());
    };
    let examples = match members.shift_remove("examples") {
        Some(Value::Array(examples)) if !examples.is_empty() => examples,
        _ => {
            let message = "Expected an array of at least one example of what is wanted, any JSON.";
            return Err(wrong("/examples", message).into());
        }
    };
    refuse_others(&members, &["examples"])?;
    let definition = schema::infer::infer(&examples);
    // What nests too deeply, or has too many names, makes a schema that no job would take.
    let plan = engine.plan(&definition, SplitterConfigs::default()).await?;
    let advised = advise(&definition);
    Ok(HttpResponse::Ok().json(json!({
        "schema_definition": definition,
        "plan": PlanBody::from(plan.as_ref()),
        "warnings": advised.shown,
        "total_warnings": advised.total,
    })))
}

pub(super) fn take_text(
    members: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<String>, Error> {
    match members.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(&format!("/{name}"), "Expected text.")),
    }
}
