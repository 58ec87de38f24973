//! Templates: save, list, look at, replace, delete.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};

use super::schemas::take_text;
use super::{DeletedBody, in_member, list_body, refuse_others, wrong};
use crate::domain::error::Error;
use crate::domain::event::BASE;
use crate::domain::id::TemplateId;
use crate::domain::template::Template;
use crate::domain::time::Time;
use crate::engine::{Engine, Saved};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, resource};

/// Bytes of a body: the schema's own limit and room for the rest.
const MAX_BODY: usize = 2 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/templates",
            [on(Method::POST, create), on(Method::GET, list)],
        ))
        .service(resource(
            "/templates/{id}",
            [
                on(Method::GET, show),
                on(Method::PUT, replace),
                on(Method::DELETE, delete),
            ],
        ));
}

const MEMBERS: [&str; 5] = ["name", "description", "schema", "instructions", "config"];

/// A template and its name, read.
struct TemplateRequest {
    name: String,
    template: Template,
}

impl TryFrom<Value> for TemplateRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let mut members = named(body, &MEMBERS)?;
        let name = take_text(&mut members, "name")?;
        let schema = members.shift_remove("schema");
        let config = match members.shift_remove("config") {
            None => Map::new(),
            Some(Value::Object(config)) => config,
            Some(_) => return Err(wrong("/config", "Expected an object.")),
        };
        Ok(Self {
            name: name.ok_or_else(|| wrong("/name", "A template needs a name."))?,
            template: Template {
                description: take_text(&mut members, "description")?,
                schema: schema.ok_or_else(|| wrong("/schema", "The JSON Schema is missing."))?,
                instructions: take_text(&mut members, "instructions")?,
                config,
            },
        })
    }
}

/// The members of a body that is an object; null counts as not given.
pub(super) fn named(body: Value, known: &[&str]) -> Result<Map<String, Value>, Error> {
    let Value::Object(mut members) = body else {
        return Err(wrong("", "The body must be an object."));
    };
    members.retain(|_, value| !value.is_null());
    refuse_others(&members, known)?;
    Ok(members)
}

#[derive(Serialize)]
struct TemplateBody {
    template_id: TemplateId,
    name: String,
    description: Option<String>,
    schema: Value,
    instructions: Option<String>,
    config: Map<String, Value>,
    created_at: Time,
    updated_at: Time,
}

impl From<&Saved<Template>> for TemplateBody {
    fn from(saved: &Saved<Template>) -> Self {
        let template = saved.of.clone();
        Self {
            template_id: TemplateId(saved.id),
            name: saved.name.clone(),
            description: template.description,
            schema: template.schema,
            instructions: template.instructions,
            config: template.config,
            created_at: saved.created_at,
            updated_at: saved.updated_at,
        }
    }
}

/// An error of the engine, by the names that members have here.
fn placed(error: Error) -> Error {
    let mut error = in_member(error, "schema");
    for detail in &mut error.errors {
        // Where the instructions of a template become those of a job.
        if detail.pointer == "/config/additional_instructions" && !error.detail.contains("member") {
            error.detail = error.detail.replace(&detail.pointer, "/instructions");
            "/instructions".clone_into(&mut detail.pointer);
        }
    }
    error
}

async fn create(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let TemplateRequest { name, template } = body.try_into()?;
    let saved = engine.create_template(&caller.0, &name, template).await;
    let saved = saved.map_err(placed)?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("{BASE}/templates/{}", saved.id)))
        .json(TemplateBody::from(&saved)))
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.list()?;
    let page = engine.templates(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("templates", &page, TemplateBody::from)))
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let saved = engine.template(&caller.0, TemplateId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(TemplateBody::from(&saved)))
}

async fn replace(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = TemplateId::parse(&id)?;
    let body = body::json(&request, payload, MAX_BODY).await?;
    // Whether it is there comes before what is wrong with the body.
    engine.template(&caller.0, id).await?;
    let TemplateRequest { name, template } = body.try_into()?;
    let saved = engine
        .replace_template(&caller.0, id, &name, template)
        .await
        .map_err(placed)?;
    Ok(HttpResponse::Ok().json(TemplateBody::from(&saved)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = TemplateId::parse(&id)?;
    engine.delete_template(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}
