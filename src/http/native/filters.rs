//! Filters: save, list, look at, replace, delete.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::schemas::take_text;
use super::templates::named;
use super::{DeletedBody, list_body, wrong};
use crate::domain::error::Error;
use crate::domain::event::BASE;
use crate::domain::id::FilterId;
use crate::domain::operation::Operation;
use crate::domain::template::{Filter, Route, Rule};
use crate::domain::time::Time;
use crate::engine::{Engine, Saved};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, resource};

/// Bytes of a body: as many kinds as there may be, with long descriptions.
const MAX_BODY: usize = 2 << 20;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/filters",
            [on(Method::POST, create), on(Method::GET, list)],
        ))
        .service(resource(
            "/filters/{id}",
            [
                on(Method::GET, show),
                on(Method::PUT, replace),
                on(Method::DELETE, delete),
            ],
        ));
}

const MEMBERS: [&str; 4] = ["name", "description", "rules", "otherwise"];
const OF_A_RULE: [&str; 4] = ["kind", "description", "template", "skip"];

/// A filter and its name, read.
struct FilterRequest {
    name: String,
    filter: Filter,
}

impl TryFrom<Value> for FilterRequest {
    type Error = Error;

    fn try_from(body: Value) -> Result<Self, Error> {
        let mut members = named(body, &MEMBERS)?;
        let name = take_text(&mut members, "name")?;
        let rules = match members.shift_remove("rules") {
            Some(Value::Array(rules)) if !rules.is_empty() => rules,
            _ => {
                let message = "Expected a list of at least one rule, `{kind, template}`.";
                return Err(wrong("/rules", message));
            }
        };
        let otherwise = match members.shift_remove("otherwise") {
            None => Route::Skip,
            Some(Value::Object(otherwise)) => route("/otherwise", &otherwise, &OF_A_RULE[2..])?,
            Some(_) => return Err(wrong("/otherwise", "Expected an object.")),
        };
        Ok(Self {
            name: name.ok_or_else(|| wrong("/name", "A filter needs a name."))?,
            filter: Filter {
                description: take_text(&mut members, "description")?,
                rules: read(rules)?,
                otherwise,
            },
        })
    }
}

fn read(rules: Vec<Value>) -> Result<Vec<Rule>, Error> {
    let mut routes = Vec::new();
    let mut kinds = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let at = format!("/rules/{index}");
        let Value::Object(mut rule) = rule else {
            return Err(wrong(&at, "Expected an object."));
        };
        routes.push(route(&at, &rule, &OF_A_RULE)?);
        let name = rule.shift_remove("kind");
        if !matches!(name, Some(Value::String(_))) {
            let message = "Expected the name of a kind of documents.";
            return Err(wrong(&format!("{at}/kind"), message));
        }
        kinds.push(json!({ "name": name, "description": rule.get("description") }));
    }
    // Kinds are what documents are classified by.
    let classify = Operation::read("classify", Some(&json!({ "categories": kinds })));
    let Operation::Classify(classify) = classify.map_err(renamed)? else {
        return Err(Error::internal());
    };
    let kinds = classify.categories.into_iter();
    let rules = kinds.zip(routes).map(|(kind, route)| Rule { kind, route });
    Ok(rules.collect())
}

fn renamed(mut error: Error) -> Error {
    for detail in &mut error.errors {
        let ours = detail.pointer.replace("/classify/categories", "/rules");
        let ours = ours
            .strip_suffix("/name")
            .map_or(ours.clone(), |rule| format!("{rule}/kind"));
        error.detail = error.detail.replace(&detail.pointer, &ours);
        detail.pointer = ours;
    }
    error
}

/// What is done with a document: at most one of two members says so.
fn route(at: &str, members: &Map<String, Value>, known: &[&str]) -> Result<Route, Error> {
    if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
        let shown: String = name.chars().take(80).collect();
        let message = format!(
            "There is no such member. Members are: {}.",
            known.join(", ")
        );
        return Err(wrong(&format!("{at}/{shown}"), &message));
    }
    let given = |name: &str| members.get(name).filter(|value| !value.is_null());
    match (given("template"), given("skip")) {
        (None, None | Some(Value::Bool(false))) => Ok(Route::Classify),
        (None, Some(Value::Bool(true))) => Ok(Route::Skip),
        (Some(Value::String(name)), None | Some(Value::Bool(false))) => {
            Ok(Route::Template(name.clone()))
        }
        (Some(Value::String(_)), Some(Value::Bool(true))) => Err(wrong(
            at,
            "A document that is skipped has no template. Send one of `template` and `skip`.",
        )),
        (Some(Value::String(_)) | None, Some(_)) => {
            Err(wrong(&format!("{at}/skip"), "Expected true or false."))
        }
        (Some(_), _) => Err(wrong(
            &format!("{at}/template"),
            "Expected the name of a template.",
        )),
    }
}

#[derive(Serialize)]
struct FilterBody {
    filter_id: FilterId,
    name: String,
    description: Option<String>,
    rules: Vec<Value>,
    otherwise: Value,
    created_at: Time,
    updated_at: Time,
}

impl From<&Saved<Filter>> for FilterBody {
    fn from(saved: &Saved<Filter>) -> Self {
        let rules = saved.of.rules.iter().map(|rule| {
            let mut body = told(&rule.route);
            body["kind"] = json!(rule.kind.name);
            body["description"] = json!(rule.kind.description);
            body
        });
        Self {
            filter_id: FilterId(saved.id),
            name: saved.name.clone(),
            description: saved.of.description.clone(),
            rules: rules.collect(),
            otherwise: told(&saved.of.otherwise),
            created_at: saved.created_at,
            updated_at: saved.updated_at,
        }
    }
}

fn told(route: &Route) -> Value {
    let (template, skip) = match route {
        Route::Template(name) => (Some(name), false),
        Route::Classify => (None, false),
        Route::Skip => (None, true),
    };
    json!({ "template": template, "skip": skip })
}

async fn create(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BODY).await?;
    let FilterRequest { name, filter } = body.try_into()?;
    let saved = engine.create_filter(&caller.0, &name, filter).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("{BASE}/filters/{}", saved.id)))
        .json(FilterBody::from(&saved)))
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.list()?;
    let page = engine.filters(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("filters", &page, FilterBody::from)))
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let saved = engine.filter(&caller.0, FilterId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(FilterBody::from(&saved)))
}

async fn replace(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = FilterId::parse(&id)?;
    let body = body::json(&request, payload, MAX_BODY).await?;
    // Whether it is there comes before what is wrong with the body.
    engine.filter(&caller.0, id).await?;
    let FilterRequest { name, filter } = body.try_into()?;
    let saved = engine.replace_filter(&caller.0, id, &name, filter).await?;
    Ok(HttpResponse::Ok().json(FilterBody::from(&saved)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FilterId::parse(&id)?;
    engine.delete_filter(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}
